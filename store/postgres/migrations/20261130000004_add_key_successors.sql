-- +goose Up

-- The key that a rotation made in the place of this one, so that rotating it again
-- replaces that one too.
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS replaced_by text COLLATE "C";

-- +goose Down

ALTER TABLE IF EXISTS api_keys DROP COLUMN IF EXISTS replaced_by;
