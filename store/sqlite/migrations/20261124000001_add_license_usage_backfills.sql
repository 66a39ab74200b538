-- +goose Up
-- The rebuilding of a licence's rollups, one a licence: how far the last one is.
CREATE TABLE IF NOT EXISTS license_usage_backfills (
    license_id TEXT PRIMARY KEY,
    start_date INTEGER NOT NULL,
    end_date   INTEGER NOT NULL, -- inclusive
    status     TEXT NOT NULL,
    next_date  INTEGER NOT NULL,
    days       INTEGER NOT NULL,
    skipped    INTEGER NOT NULL,
    events     INTEGER NOT NULL,
    changed    INTEGER NOT NULL,
    counters   INTEGER NOT NULL,
    error      TEXT,
    actor      TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    runner     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS license_usage_backfills_running ON license_usage_backfills (license_id) WHERE status = 'RUNNING';

-- +goose Down
DROP TABLE license_usage_backfills;
