-- Two of the five indexes that each event was written into cost more than they give:
-- an event is found by its id through its licence's days, since the id begins with
-- the time of its receipt; and the index on batches needs no licence, without which
-- equal values are stored once. Each is replaced without keeping writers waiting.

-- +goose NO TRANSACTION

-- +goose Up

-- On a large table an index takes its time.
SET statement_timeout = 0;
-- One that was begun and not ended is of no use.
DROP INDEX CONCURRENTLY IF EXISTS license_usage_events_batches;
CREATE INDEX CONCURRENTLY license_usage_events_batches ON license_usage_events (batch_id);
DROP INDEX CONCURRENTLY IF EXISTS license_usage_events_batch;
DROP INDEX CONCURRENTLY IF EXISTS license_usage_events_id;
RESET statement_timeout;

-- +goose Down

SET statement_timeout = 0;
-- The step that made the table may have been taken back before.
-- +goose StatementBegin
DO $$
BEGIN
    IF to_regclass('license_usage_events') IS NOT NULL THEN
        CREATE INDEX IF NOT EXISTS license_usage_events_id ON license_usage_events (id);
        CREATE INDEX IF NOT EXISTS license_usage_events_batch ON license_usage_events (batch_id, license_id);
        DROP INDEX IF EXISTS license_usage_events_batches;
    END IF;
END
$$;
-- +goose StatementEnd
RESET statement_timeout;
