-- Where the extension Citus is installed in the database, the tables that grow are
-- distributed by licence, so that their rows lie on its workers, all of a licence's
-- on one shard. Elsewhere this does nothing. Where the extension came later than
-- this step: docs/postgresql.md.

-- +goose Up
SET LOCAL statement_timeout = 0; -- of its own: for the statement that it is in it comes too late
-- +goose StatementBegin
DO $$
DECLARE
    growing text[] := ARRAY['license_usage_events', 'pending_batches', 'license_usage_received', 'license_usage_evidence', 'license_usage_rollups',
        'license_usage_sessions', 'license_usage_versions', 'license_usage_days', 'license_usage_thresholds', 'license_usage_counters',
        'license_usage_overages', 'license_usage_forecasts', 'license_usage_forecast_outlooks', 'alerts', 'alert_reasons', 'audit_log',
        'license_usage_backfills'];
    -- Joined with what is distributed, small, and hardly ever written: each server has them all.
    everywhere text[] := ARRAY['brands', 'creators', 'assets', 'asset_owners'];
    -- Written together with what is distributed: on the coordinator, and known to Citus, which commits both or neither.
    -- jobs, job_runs and secrets are written alone, and are no business of Citus.
    here text[] := ARRAY['api_keys', 'api_keys_version', 'api_keys_used', 'job_states'];
    name text;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus') THEN
        RETURN;
    END IF;
    IF to_regclass('license_usage_terms') IS NOT NULL THEN
        IF NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('licenses') AND partmethod = 'h'
            AND column_to_column_name(logicalrelid, partkey) = 'id') THEN
            RAISE EXCEPTION 'the table % of the host platform must be distributed by its column id before Usance can be: SELECT create_distributed_table(''%'', ''id'')',
                to_regclass('licenses'), to_regclass('licenses') USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        growing := growing || 'license_usage_terms'::text;
    END IF;
    SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('license_usage_received') AND attname = 'license_id') THEN
        -- One key for each shard stands for all its licences, so that a transaction that counts what it received writes to its own shard.
        ALTER TABLE license_usage_received DROP CONSTRAINT license_usage_received_pkey;
        ALTER TABLE license_usage_received ADD COLUMN license_id text COLLATE "C" NOT NULL DEFAULT '';
        ALTER TABLE license_usage_received ADD PRIMARY KEY (license_id, day, slot);
    END IF;
    FOREACH name IN ARRAY everywhere LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass(name) AND partmethod = 'n' AND repmodel = 't') THEN
            PERFORM create_reference_table(name);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('licenses')) THEN
        PERFORM create_distributed_table('licenses', 'id', colocate_with => 'none');
    END IF;
    FOREACH name IN ARRAY growing LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass(name) AND partmethod = 'h') THEN
            PERFORM create_distributed_table(name, 'license_id', colocate_with => 'licenses');
        END IF;
    END LOOP;
    FOREACH name IN ARRAY here LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass(name)) THEN
            PERFORM citus_add_local_table_to_metadata(name);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
SET LOCAL statement_timeout = 0;
-- +goose StatementBegin
DO $$
DECLARE
    of record;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus') THEN
        RETURN;
    END IF;
    SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    FOR of IN SELECT name FROM unnest(ARRAY['license_usage_events', 'pending_batches', 'license_usage_received', 'license_usage_evidence', 'license_usage_rollups',
            'license_usage_sessions', 'license_usage_versions', 'license_usage_days', 'license_usage_thresholds', 'license_usage_counters',
            'license_usage_overages', 'license_usage_forecasts', 'license_usage_forecast_outlooks', 'alerts', 'alert_reasons', 'audit_log',
            'license_usage_backfills', 'license_usage_terms', 'brands', 'creators', 'assets', 'asset_owners', 'api_keys', 'api_keys_version', 'api_keys_used', 'job_states',
            CASE WHEN to_regclass('license_usage_terms') IS NULL THEN 'licenses' END]) AS name
    LOOP
        IF EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass(of.name)) THEN
            PERFORM undistribute_table(of.name, cascade_via_foreign_keys => TRUE);
        END IF;
    END LOOP;
    IF EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('license_usage_received') AND attname = 'license_id') THEN
        CREATE TEMP TABLE received ON COMMIT DROP AS SELECT day, slot, sum(events)::bigint AS events FROM license_usage_received GROUP BY day, slot;
        DELETE FROM license_usage_received;
        ALTER TABLE license_usage_received DROP COLUMN license_id;
        ALTER TABLE license_usage_received ADD PRIMARY KEY (day, slot);
        INSERT INTO license_usage_received (day, slot, events) SELECT day, slot, events FROM received;
    END IF;
END
$$;
-- +goose StatementEnd
