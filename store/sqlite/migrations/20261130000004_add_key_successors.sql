-- +goose Up

-- The key that a rotation made in the place of this one, so that rotating it again
-- replaces that one too.
ALTER TABLE api_keys ADD COLUMN replaced_by TEXT;

-- +goose Down

-- The table may be gone: see 20261130000001_ease_folding.
CREATE TABLE IF NOT EXISTS api_keys (
    id          TEXT PRIMARY KEY,
    name        TEXT,
    role        TEXT NOT NULL,
    party_id    TEXT,
    brand_ids   TEXT, -- JSON
    license_ids TEXT, -- JSON
    scopes      TEXT, -- JSON
    hash        BLOB NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    replaced_by TEXT
) STRICT, WITHOUT ROWID;
ALTER TABLE api_keys DROP COLUMN replaced_by;
