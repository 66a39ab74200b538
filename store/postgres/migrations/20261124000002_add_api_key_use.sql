-- +goose Up

-- When keys were last used. Apart from the keys, whose changes every node has to
-- notice: that a key is used is no change of it.
CREATE TABLE IF NOT EXISTS api_keys_used (
    key_id  text COLLATE "C" PRIMARY KEY,
    used_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- +goose Down

DROP TABLE api_keys_used;
