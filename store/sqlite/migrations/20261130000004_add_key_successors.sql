-- +goose Up

-- The key that a rotation made in the place of this one, so that rotating it again
-- replaces that one too.
ALTER TABLE api_keys ADD COLUMN replaced_by TEXT;

-- +goose Down

ALTER TABLE api_keys DROP COLUMN replaced_by;
