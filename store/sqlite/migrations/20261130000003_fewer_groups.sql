-- +goose Up

-- Groups of licences go from 1 to 256 now. What waits to be folded was left by
-- the numbers of before: group 0, of several, is where everybody looks.
UPDATE pending_batches SET license_group = 0;

-- +goose Down

-- The table may be gone: see 20261130000001_ease_folding.
CREATE TABLE IF NOT EXISTS pending_batches (
    license_group INTEGER NOT NULL,
    first_seq     INTEGER NOT NULL,
    last_seq      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    batch_id      BLOB NOT NULL,
    PRIMARY KEY (license_group, first_seq)
) STRICT, WITHOUT ROWID;
UPDATE pending_batches SET license_group = 0;
