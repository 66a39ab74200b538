-- +goose Up

-- What a large day's events come to as far as they were read: the checkpoint of a
-- backfill within the day.
ALTER TABLE license_usage_backfills ADD COLUMN part TEXT;

-- +goose Down

-- The table may be gone: see 20261130000001_ease_folding.
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
    runner     TEXT,
    part       TEXT
) STRICT, WITHOUT ROWID;
ALTER TABLE license_usage_backfills DROP COLUMN part;
