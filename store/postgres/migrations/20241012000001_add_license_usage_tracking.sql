-- The tables that grow are made ready to be distributed by license_id: their
-- unique keys begin with it, ids and times come from the program, and there are
-- no triggers and no identity columns. Text that is compared sorts by bytes
-- (COLLATE "C"), whatever the database's own collation is.
-- Every statement says IF NOT EXISTS, so that a migration that was marked as rolled
-- back by hand can be applied again.

-- +goose Up

-- The tables of a host platform that shares the database are its own. Where names
-- clash, Usance needs a schema of its own; licenses alone is adopted (below).
-- +goose StatementBegin
DO $$
DECLARE
    taken text;
BEGIN
    IF to_regclass('license_usage_versions') IS NULL THEN
        SELECT string_agg(name, ', ' ORDER BY name) INTO taken
        FROM unnest(ARRAY['brands', 'creators', 'assets', 'asset_owners', 'pending_batches', 'alerts', 'audit_log', 'api_keys',
            'api_keys_version', 'jobs', 'secrets']) AS name
        WHERE EXISTS (SELECT 1 FROM pg_class c WHERE c.relname = name AND c.relnamespace = current_schema()::regnamespace);
        IF taken IS NOT NULL THEN
            RAISE EXCEPTION 'the schema % holds tables of other programs whose names are needed (%): CREATE SCHEMA usance, and add search_path=usance,% to DATABASE_URL',
                current_schema(), taken, current_schema() USING ERRCODE = 'duplicate_table';
        END IF;
    END IF;
END
$$;
-- +goose StatementEnd

CREATE TABLE IF NOT EXISTS brands (
    id         text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS creators (
    id         text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,
    email      text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS assets (
    id         text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,
    type       text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- position keeps the order in which the owners were named.
CREATE TABLE IF NOT EXISTS asset_owners (
    asset_id   text COLLATE "C" NOT NULL REFERENCES assets (id) ON DELETE CASCADE,
    position   integer NOT NULL,
    creator_id text COLLATE "C" NOT NULL,
    share_bps  integer NOT NULL,
    from_date  date, -- inclusive
    to_date    date, -- exclusive
    PRIMARY KEY (asset_id, position)
);
CREATE INDEX IF NOT EXISTS asset_owners_creator ON asset_owners (creator_id, asset_id);

-- A table licenses that a host platform has already is adopted as it is: what it
-- has a column for is read there and never written, the rest is kept beside it in
-- license_usage_terms, which exists only then. Everything is read through the view
-- license_usage_licenses, which is the same in both cases.
-- +goose StatementBegin
DO $$
DECLARE
    host regclass := CASE WHEN to_regclass('license_usage_versions') IS NULL OR to_regclass('license_usage_terms') IS NOT NULL
        THEN to_regclass('licenses') END;
    field record;
    kind text;
    expressions text[];
BEGIN
    IF host IS NULL THEN
        -- The defaults let a host platform's own INSERT leave out what it does not know.
        CREATE TABLE IF NOT EXISTS licenses (
            id                     text COLLATE "C" PRIMARY KEY,
            name                   text,
            brand_id               text COLLATE "C" NOT NULL,
            asset_id               text COLLATE "C" NOT NULL,
            status                 text NOT NULL,
            timezone               text NOT NULL DEFAULT 'UTC',
            billing_anchor_day     integer NOT NULL DEFAULT 1,
            currency               text NOT NULL DEFAULT 'USD',
            start_date             text, -- a local day, or an RFC 3339 instant
            end_date               text, -- a local day (inclusive), or an RFC 3339 instant (exclusive)
            fee_cents              bigint NOT NULL DEFAULT 0,
            rev_share_bps          integer NOT NULL DEFAULT 0,
            usage_tracking_enabled boolean NOT NULL DEFAULT TRUE,
            deleted_at             timestamptz,
            created_at             timestamptz NOT NULL DEFAULT now(),
            updated_at             timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX IF NOT EXISTS licenses_brand ON licenses (brand_id);
        CREATE INDEX IF NOT EXISTS licenses_asset ON licenses (asset_id);
        CREATE INDEX IF NOT EXISTS licenses_tracked ON licenses (usage_tracking_enabled)
            WHERE status = 'ACTIVE' AND deleted_at IS NULL;
        CREATE OR REPLACE VIEW license_usage_licenses AS
            SELECT id, name, brand_id, asset_id, status, timezone, billing_anchor_day, currency, start_date, end_date, fee_cents,
                rev_share_bps, usage_tracking_enabled, deleted_at, created_at, updated_at FROM licenses;
        RETURN;
    END IF;

    IF to_regclass('license_usage_terms') IS NULL THEN
        -- Of the collation of the host's ids, so that its index finds them.
        CREATE TABLE license_usage_terms AS SELECT l.id::text AS license_id FROM licenses l WHERE FALSE;
        ALTER TABLE license_usage_terms
            ADD PRIMARY KEY (license_id),
            ADD COLUMN name               text,
            ADD COLUMN brand_id           text COLLATE "C",
            ADD COLUMN asset_id           text COLLATE "C",
            ADD COLUMN timezone           text,
            ADD COLUMN billing_anchor_day integer,
            ADD COLUMN currency           text,
            ADD COLUMN start_date         text,
            ADD COLUMN end_date           text,
            ADD COLUMN fee_cents          bigint,
            ADD COLUMN rev_share_bps      integer,
            ADD COLUMN created_at         timestamptz,
            ADD COLUMN updated_at         timestamptz;
    END IF;

    -- Each field with the types that a column of the host may have, and what it is
    -- where nothing says so; the first four must be the host's.
    FOR field IN
        SELECT * FROM (VALUES
            (1, 'id', 'text', NULL), (2, 'status', 'any', NULL), (3, 'usage_tracking_enabled', 'boolean', NULL), (4, 'deleted_at', 'time', NULL),
            (5, 'name', 'text', NULL), (6, 'brand_id', 'text', ''), (7, 'asset_id', 'text', ''), (8, 'timezone', 'text', 'UTC'),
            (9, 'billing_anchor_day', 'integer', '1'), (10, 'currency', 'text', 'USD'), (11, 'start_date', 'day', NULL),
            (12, 'end_date', 'day', NULL), (13, 'fee_cents', 'bigint', '0'), (14, 'rev_share_bps', 'integer', '0'),
            (15, 'created_at', 'time', 'epoch'), (16, 'updated_at', 'time', 'epoch')
        ) AS f (place, name, wanted, otherwise) ORDER BY place
    LOOP
        SELECT CASE
            WHEN field.wanted = 'any' THEN 'l.%1$I::text'
            WHEN field.wanted IN ('text', 'day') AND a.type IN ('text', 'character varying', 'character') THEN 'l.%1$I::text'
            WHEN field.wanted = 'day' AND a.type = 'date' THEN $f$to_char(l.%1$I, 'YYYY-MM-DD')$f$
            WHEN field.wanted = 'day' AND a.type = 'timestamp without time zone' THEN $f$to_char(l.%1$I, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')$f$
            WHEN field.wanted = 'day' AND a.type = 'timestamp with time zone' THEN $f$to_char(l.%1$I AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')$f$
            WHEN field.wanted = 'time' AND a.type = 'timestamp with time zone' THEN 'l.%1$I'
            WHEN field.wanted = 'time' AND a.type = 'timestamp without time zone' THEN $f$l.%1$I AT TIME ZONE 'UTC'$f$
            WHEN field.wanted = 'boolean' AND a.type = 'boolean' THEN 'coalesce(l.%1$I, FALSE)'
            WHEN field.wanted IN ('integer', 'bigint') AND a.type IN ('smallint', 'integer', field.wanted) THEN 'l.%1$I::' || field.wanted
        END INTO kind
        FROM (SELECT format_type(atttypid, NULL) AS type FROM pg_attribute
            WHERE attrelid = host AND attname = field.name AND attnum > 0 AND NOT attisdropped) a;
        IF kind IS NULL AND field.place <= 4 THEN
            RAISE EXCEPTION 'the table % has no column % of a fitting type, which Usance needs: id text, status text, usage_tracking_enabled boolean, deleted_at timestamptz',
                host, field.name USING ERRCODE = 'undefined_column';
        END IF;
        expressions := expressions || format(
            CASE WHEN field.otherwise IS NULL THEN coalesce(kind, 't.%1$I') ELSE 'coalesce(' || coalesce(kind, 't.%1$I') || ', %2$L)' END || ' AS %1$I',
            field.name, field.otherwise);
    END LOOP;
    EXECUTE 'CREATE OR REPLACE VIEW license_usage_licenses AS SELECT ' || array_to_string(expressions, ', ')
        || ' FROM licenses l LEFT JOIN license_usage_terms t ON t.license_id = l.id';
END
$$;
-- +goose StatementEnd

-- What was counted, and the voids of it. A batch is the events of one ingest
-- transaction. key is the idempotency key when shorter than 32 bytes, else its
-- first 16 bytes and 16 of its SHA-256; long_key is the whole of such a longer one.
-- The columns are in an order that leaves no gaps between them.
CREATE TABLE IF NOT EXISTS license_usage_events (
    quantity            bigint NOT NULL,
    revenue_cents       bigint NOT NULL,
    occurred_at         timestamptz NOT NULL,
    received_at         timestamptz NOT NULL,
    session_hash        bigint NOT NULL, -- 0: none
    local_date          date NOT NULL,
    hour_slot           smallint NOT NULL,
    stamped             boolean NOT NULL,
    id                  uuid NOT NULL,
    batch_id            uuid NOT NULL,
    license_id          text COLLATE "C" NOT NULL,
    key                 bytea NOT NULL,
    usage_type          text COLLATE "C" NOT NULL,
    payload_hash        bytea NOT NULL,
    void_of             uuid,
    platform            text,
    device_type         text,
    geographic_location text,
    referrer            text,
    metadata            json, -- kept as it was sent
    long_key            text,
    PRIMARY KEY (license_id, key)
);
-- A licence's days, each in the order of receipt: for listings, and to see what is due.
CREATE INDEX IF NOT EXISTS license_usage_events_day ON license_usage_events (license_id, local_date, received_at);
-- A batch's events of one licence, and batches in the order of their making.
CREATE INDEX IF NOT EXISTS license_usage_events_batch ON license_usage_events (batch_id, license_id);
CREATE INDEX IF NOT EXISTS license_usage_events_id ON license_usage_events (id);
CREATE INDEX IF NOT EXISTS license_usage_events_void ON license_usage_events (license_id, void_of) WHERE void_of IS NOT NULL;

-- Batches that are counted and not folded; license_id is the first of a batch's
-- licences. Rows come and go by the second.
CREATE TABLE IF NOT EXISTS pending_batches (
    license_id text COLLATE "C" NOT NULL,
    batch_id   uuid NOT NULL,
    at         timestamptz NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (license_id, batch_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX IF NOT EXISTS pending_batches_batch ON pending_batches (batch_id);

-- How many events were received on each UTC day: the sum over slots, of which
-- each connection has one, so that none waits for another.
CREATE TABLE IF NOT EXISTS license_usage_received (
    day    date NOT NULL,
    slot   smallint NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (day, slot)
) WITH (fillfactor = 10);

-- Attempts that were not counted: one row for a licence and key.
CREATE TABLE IF NOT EXISTS license_usage_evidence (
    license_id          text COLLATE "C" NOT NULL,
    key                 bytea NOT NULL,
    id                  uuid NOT NULL,
    status              text NOT NULL,
    code                text NOT NULL,
    threshold_id        text COLLATE "C",
    attempts            bigint NOT NULL,
    first_at            timestamptz NOT NULL,
    last_at             timestamptz NOT NULL,
    local_date          date NOT NULL,
    usage_type          text COLLATE "C" NOT NULL,
    quantity            bigint NOT NULL,
    revenue_cents       bigint NOT NULL,
    occurred_at         timestamptz NOT NULL,
    received_at         timestamptz NOT NULL,
    payload_hash        bytea NOT NULL,
    hour_slot           smallint NOT NULL,
    stamped             boolean NOT NULL,
    session_hash        bigint NOT NULL,
    void_of             uuid,
    platform            text,
    device_type         text,
    geographic_location text,
    referrer            text,
    metadata            json,
    long_key            text,
    PRIMARY KEY (license_id, key)
);
CREATE INDEX IF NOT EXISTS license_usage_evidence_last ON license_usage_evidence (license_id, last_at, key);
CREATE INDEX IF NOT EXISTS license_usage_evidence_due ON license_usage_evidence (last_at);

-- breakdown: {"dimension": {"value": [events, quantity, revenue cents]}}.
CREATE TABLE IF NOT EXISTS license_usage_rollups (
    license_id    text COLLATE "C" NOT NULL,
    date          date NOT NULL,
    usage_type    text COLLATE "C" NOT NULL,
    events        bigint NOT NULL,
    quantity      bigint NOT NULL,
    revenue_cents bigint NOT NULL,
    revision      integer NOT NULL,
    breakdown     jsonb,
    PRIMARY KEY (license_id, date, usage_type)
) WITH (fillfactor = 70);

-- Different sessions of a licence and day, over all types, as of the last fold.
CREATE TABLE IF NOT EXISTS license_usage_sessions (
    license_id      text COLLATE "C" NOT NULL,
    date            date NOT NULL,
    unique_sessions bigint NOT NULL,
    sketch          bytea,
    PRIMARY KEY (license_id, date)
) WITH (fillfactor = 70);

CREATE TABLE IF NOT EXISTS license_usage_versions (
    license_id text COLLATE "C" PRIMARY KEY,
    version    bigint NOT NULL
) WITH (fillfactor = 50);

-- Days that refuse events (closed), and those whose events are being pruned (sealed).
CREATE TABLE IF NOT EXISTS license_usage_days (
    license_id text COLLATE "C" NOT NULL,
    date       date NOT NULL,
    closed     boolean NOT NULL DEFAULT TRUE,
    sealed     boolean NOT NULL DEFAULT FALSE,
    PRIMARY KEY (license_id, date)
);

CREATE TABLE IF NOT EXISTS license_usage_thresholds (
    license_id         text COLLATE "C" NOT NULL,
    id                 text COLLATE "C" NOT NULL,
    usage_type         text COLLATE "C" NOT NULL,
    period_type        text NOT NULL,
    limit_quantity     bigint NOT NULL,
    grace_percentage   integer NOT NULL,
    allow_overage      boolean NOT NULL,
    overage_rate_cents numeric(24, 12),
    overage_tiers      jsonb,
    warning_levels     jsonb,
    is_active          boolean NOT NULL,
    by_brand           boolean NOT NULL,
    last_warning_level integer,
    last_warning_at    timestamptz,
    effective_from     date NOT NULL,
    retired_at         timestamptz,
    epoch              integer NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    PRIMARY KEY (license_id, id)
);
CREATE INDEX IF NOT EXISTS license_usage_thresholds_id ON license_usage_thresholds (id);

-- Rows are rewritten by nearly every ingest transaction: room beside each keeps
-- its new versions on its page and out of the indexes.
CREATE TABLE IF NOT EXISTS license_usage_counters (
    license_id   text COLLATE "C" NOT NULL,
    threshold_id text COLLATE "C" NOT NULL,
    period_start date NOT NULL,
    period_end   date NOT NULL,
    quantity     bigint NOT NULL,
    level        integer NOT NULL,
    state        text NOT NULL,
    terms        jsonb,
    PRIMARY KEY (license_id, threshold_id, period_start)
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS license_usage_counters_end ON license_usage_counters (period_end) WHERE state IN ('open', 'frozen');

CREATE TABLE IF NOT EXISTS license_usage_overages (
    license_id           text COLLATE "C" NOT NULL,
    id                   uuid NOT NULL,
    threshold_id         text COLLATE "C" NOT NULL,
    revision             integer NOT NULL,
    period_date          date NOT NULL, -- the counter's period_start
    period_start         timestamptz NOT NULL,
    period_end           timestamptz NOT NULL,
    usage_type           text COLLATE "C" NOT NULL,
    limit_quantity       bigint NOT NULL,
    grace_percentage     integer NOT NULL,
    actual_quantity      bigint NOT NULL,
    overage_quantity     bigint NOT NULL,
    overage_rate_cents   numeric(24, 12),
    overage_tiers        jsonb,
    calculated_fee_cents bigint NOT NULL,
    billed_fee_cents     bigint,
    currency             text NOT NULL,
    status               text NOT NULL,
    disputed_from        text,
    approved_by          text,
    approved_at          timestamptz,
    stripe_invoice_id    text,
    billed_at            timestamptz,
    notes                text,
    metadata             json,
    detected_at          timestamptz NOT NULL,
    settle_at            timestamptz NOT NULL,
    settled_at           timestamptz,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (license_id, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS license_usage_overages_revision ON license_usage_overages (license_id, threshold_id, period_date, revision);
CREATE INDEX IF NOT EXISTS license_usage_overages_id ON license_usage_overages (id);
CREATE INDEX IF NOT EXISTS license_usage_overages_due ON license_usage_overages (settle_at) WHERE status = 'DETECTED';
CREATE INDEX IF NOT EXISTS license_usage_overages_status ON license_usage_overages (status);

CREATE TABLE IF NOT EXISTS license_usage_forecasts (
    license_id            text COLLATE "C" NOT NULL,
    id                    uuid NOT NULL,
    threshold_id          text COLLATE "C",
    usage_type            text COLLATE "C" NOT NULL,
    forecast_date         date NOT NULL,
    period_start          date NOT NULL,
    period_end            date NOT NULL,
    predicted_quantity    bigint NOT NULL,
    lower_bound           bigint NOT NULL,
    upper_bound           bigint NOT NULL,
    confidence_level      double precision NOT NULL,
    predicted_breach_date date,
    breach_probability    double precision,
    forecasting_method    text NOT NULL,
    historical_days_used  integer NOT NULL,
    mean_absolute_error   double precision,
    accuracy_score        double precision,
    calculated_at         timestamptz NOT NULL,
    PRIMARY KEY (license_id, id)
);
CREATE INDEX IF NOT EXISTS license_usage_forecasts_type ON license_usage_forecasts (license_id, usage_type, forecast_date);

CREATE TABLE IF NOT EXISTS alerts (
    license_id      text COLLATE "C" NOT NULL,
    id              uuid NOT NULL,
    kind            text NOT NULL,
    threshold_id    text COLLATE "C" NOT NULL,
    usage_type      text COLLATE "C" NOT NULL,
    period_start    date NOT NULL,
    period_end      date NOT NULL,
    level           integer NOT NULL,
    epoch           integer NOT NULL,
    quantity        bigint NOT NULL,
    limit_quantity  bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    PRIMARY KEY (license_id, id),
    UNIQUE (license_id, threshold_id, period_start, kind, level, epoch)
);
CREATE INDEX IF NOT EXISTS alerts_id ON alerts (id);

-- license_id is empty for what concerns no licence.
CREATE TABLE IF NOT EXISTS audit_log (
    license_id text COLLATE "C" NOT NULL,
    id         uuid NOT NULL,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    reason     text,
    before     json,
    after      json,
    PRIMARY KEY (license_id, id)
);
CREATE INDEX IF NOT EXISTS audit_log_id ON audit_log (id);
CREATE INDEX IF NOT EXISTS audit_log_subject ON audit_log (subject, id);

CREATE TABLE IF NOT EXISTS api_keys (
    id          text COLLATE "C" PRIMARY KEY,
    name        text,
    role        text NOT NULL,
    party_id    text COLLATE "C",
    brand_ids   jsonb,
    license_ids jsonb,
    scopes      jsonb,
    hash        bytea NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz
);

-- One row, raised by each change of a key.
CREATE TABLE IF NOT EXISTS api_keys_version (
    one     integer PRIMARY KEY CHECK (one = 1),
    version bigint NOT NULL
);
INSERT INTO api_keys_version VALUES (1, 0) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS jobs (
    name                text COLLATE "C" PRIMARY KEY,
    schedule            jsonb NOT NULL,
    paused              boolean NOT NULL DEFAULT FALSE,
    next_run_at         timestamptz,
    last_run_at         timestamptz,
    last_duration_nanos bigint NOT NULL DEFAULT 0,
    last_error          text,
    runs                bigint NOT NULL DEFAULT 0,
    failures            bigint NOT NULL DEFAULT 0,
    lease_owner         text,
    lease_until         timestamptz
);

CREATE TABLE IF NOT EXISTS secrets (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

-- What a licence used on each local day: what is folded, and what is not yet.
CREATE OR REPLACE VIEW license_usage_daily_aggregates AS
SELECT
    daily.date,
    daily.license_id,
    sum(CASE daily.usage_type WHEN 'view' THEN daily.quantity ELSE 0 END)::bigint AS total_views,
    sum(CASE daily.usage_type WHEN 'download' THEN daily.quantity ELSE 0 END)::bigint AS total_downloads,
    sum(CASE daily.usage_type WHEN 'impression' THEN daily.quantity ELSE 0 END)::bigint AS total_impressions,
    sum(CASE daily.usage_type WHEN 'click' THEN daily.quantity ELSE 0 END)::bigint AS total_clicks,
    sum(CASE daily.usage_type WHEN 'play' THEN daily.quantity ELSE 0 END)::bigint AS total_plays,
    sum(CASE daily.usage_type WHEN 'stream' THEN daily.quantity ELSE 0 END)::bigint AS total_streams,
    sum(daily.quantity)::bigint AS total_quantity,
    sum(daily.revenue_cents)::bigint AS total_revenue_cents,
    coalesce((SELECT s.unique_sessions FROM license_usage_sessions s
              WHERE s.license_id = daily.license_id AND s.date = daily.date), 0) AS unique_sessions
FROM (
    SELECT license_id, date, usage_type, quantity, revenue_cents FROM license_usage_rollups
    UNION ALL
    SELECT e.license_id, e.local_date, e.usage_type, e.quantity, e.revenue_cents
    FROM license_usage_events e WHERE e.batch_id IN (SELECT batch_id FROM pending_batches)
) AS daily
GROUP BY daily.license_id, daily.date;

-- +goose Down
DROP VIEW license_usage_daily_aggregates;
DROP TABLE secrets;
DROP TABLE jobs;
DROP TABLE api_keys_version;
DROP TABLE api_keys;
DROP TABLE audit_log;
DROP TABLE alerts;
DROP TABLE license_usage_forecasts;
DROP TABLE license_usage_overages;
DROP TABLE license_usage_counters;
DROP TABLE license_usage_thresholds;
DROP TABLE license_usage_days;
DROP TABLE license_usage_versions;
DROP TABLE license_usage_sessions;
DROP TABLE license_usage_rollups;
DROP TABLE license_usage_evidence;
DROP TABLE license_usage_received;
DROP TABLE pending_batches;
DROP TABLE license_usage_events;
DROP VIEW license_usage_licenses;
-- +goose StatementBegin
DO $$
BEGIN
    IF to_regclass('license_usage_terms') IS NULL THEN
        DROP TABLE licenses;
    ELSE -- licenses is the host platform's
        DROP TABLE license_usage_terms;
    END IF;
END
$$;
-- +goose StatementEnd
DROP TABLE asset_owners;
DROP TABLE assets;
DROP TABLE creators;
DROP TABLE brands;
