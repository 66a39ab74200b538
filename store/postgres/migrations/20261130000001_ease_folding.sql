-- What each fold rewrites is cheaper to write, and the events that are not folded
-- yet are found by the licence they are of, however many batches are pending. No
-- table is rewritten: who reads it with an older snapshot would find it empty. Each
-- statement is a transaction of its own, so that none waits with locks for those of
-- nodes that go on meanwhile.

-- +goose NO TRANSACTION

-- +goose Up

-- first_received is the earliest receipt of a batch's events: none of what is
-- pending was received before the least of them. A program of the version before
-- leaves it out, in which case all is looked through.
ALTER TABLE pending_batches ADD COLUMN IF NOT EXISTS first_received timestamptz NOT NULL DEFAULT '-infinity';
CREATE INDEX IF NOT EXISTS pending_batches_received ON pending_batches (first_received);

-- lz4 takes a tenth of the time that PostgreSQL's own compression does, where the
-- server was built with it. It holds for what is written from now on.
-- +goose StatementBegin
DO $$
BEGIN
    ALTER TABLE license_usage_rollups ALTER COLUMN breakdown SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    ALTER TABLE license_usage_sessions ALTER COLUMN sketch SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
-- +goose StatementEnd

-- +goose Down

-- The step that made the tables may have been taken back before.
ALTER TABLE IF EXISTS license_usage_sessions ALTER COLUMN sketch SET COMPRESSION default;
ALTER TABLE IF EXISTS license_usage_rollups ALTER COLUMN breakdown SET COMPRESSION default;
DROP INDEX IF EXISTS pending_batches_received;
ALTER TABLE IF EXISTS pending_batches DROP COLUMN IF EXISTS first_received;
