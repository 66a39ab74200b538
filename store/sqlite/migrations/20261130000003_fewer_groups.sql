-- +goose Up

-- Groups of licences go from 1 to 256 now. What waits to be folded was left by
-- the numbers of before: group 0, of several, is where everybody looks.
UPDATE pending_batches SET license_group = 0;

-- +goose Down

UPDATE pending_batches SET license_group = 0;
