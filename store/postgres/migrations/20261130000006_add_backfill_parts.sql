-- +goose Up

-- What a large day's events come to as far as they were read: the checkpoint of a
-- backfill within the day.
ALTER TABLE license_usage_backfills ADD COLUMN IF NOT EXISTS part text;

-- +goose Down

ALTER TABLE IF EXISTS license_usage_backfills DROP COLUMN IF EXISTS part;
