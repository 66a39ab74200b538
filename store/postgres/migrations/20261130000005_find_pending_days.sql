-- What is not folded of a licence is looked for on the days that anything pending is
-- of, as a rule today and yesterday, and not on each day of its history.

-- +goose NO TRANSACTION

-- +goose Up

-- first_day is the least local day of a batch's events. A program of the version
-- before leaves it out, in which case every day is looked at.
ALTER TABLE pending_batches ADD COLUMN IF NOT EXISTS first_day date NOT NULL DEFAULT '-infinity';
CREATE INDEX IF NOT EXISTS pending_batches_days ON pending_batches (first_day);

-- +goose Down

-- The step that made the table may have been taken back before.
DROP INDEX IF EXISTS pending_batches_days;
ALTER TABLE IF EXISTS pending_batches DROP COLUMN IF EXISTS first_day;
