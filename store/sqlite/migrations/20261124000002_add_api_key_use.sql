-- +goose Up

-- When keys were last used. Apart from the keys, whose changes every node has to
-- notice: that a key is used is no change of it.
CREATE TABLE IF NOT EXISTS api_keys_used (
    key_id  TEXT PRIMARY KEY,
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE api_keys_used;
