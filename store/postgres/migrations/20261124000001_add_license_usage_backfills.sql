-- +goose Up
-- The rebuilding of a licence's rollups, one a licence: how far the last one is.
CREATE TABLE IF NOT EXISTS license_usage_backfills (
    license_id text COLLATE "C" PRIMARY KEY,
    start_date date NOT NULL,
    end_date   date NOT NULL, -- inclusive
    status     text NOT NULL,
    next_date  date NOT NULL,
    days       bigint NOT NULL,
    skipped    bigint NOT NULL,
    events     bigint NOT NULL,
    changed    bigint NOT NULL,
    counters   bigint NOT NULL,
    error      text,
    actor      text NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    runner     text
);
CREATE INDEX IF NOT EXISTS license_usage_backfills_running ON license_usage_backfills (license_id) WHERE status = 'RUNNING';

-- +goose Down
DROP TABLE license_usage_backfills;
