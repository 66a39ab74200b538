-- Times are microseconds since 1970-01-01 UTC, dates are days since 1970-01-01 of
-- the licence's own calendar: small in the largest tables, and compared alike in
-- all. To read them: datetime(t / 1000000, 'unixepoch') and date(d * 86400, 'unixepoch').
-- Every statement says IF NOT EXISTS, so that a migration that was marked as rolled
-- back by hand can be applied again.

-- +goose Up
CREATE TABLE IF NOT EXISTS brands (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS creators (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    email      TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS assets (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    type       TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- position keeps the order in which the owners were named.
CREATE TABLE IF NOT EXISTS asset_owners (
    asset_id   TEXT NOT NULL REFERENCES assets (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    creator_id TEXT NOT NULL,
    share_bps  INTEGER NOT NULL,
    from_date  INTEGER, -- inclusive
    to_date    INTEGER, -- exclusive
    PRIMARY KEY (asset_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS asset_owners_creator ON asset_owners (creator_id, asset_id);

-- The defaults let a host platform's own INSERT leave out what it does not know.
CREATE TABLE IF NOT EXISTS licenses (
    id                     TEXT PRIMARY KEY,
    name                   TEXT,
    brand_id               TEXT NOT NULL,
    asset_id               TEXT NOT NULL,
    status                 TEXT NOT NULL,
    timezone               TEXT NOT NULL DEFAULT 'UTC',
    billing_anchor_day     INTEGER NOT NULL DEFAULT 1,
    currency               TEXT NOT NULL DEFAULT 'USD',
    start_date             TEXT, -- a local day, or an RFC 3339 instant
    end_date               TEXT, -- a local day (inclusive), or an RFC 3339 instant (exclusive)
    fee_cents              INTEGER NOT NULL DEFAULT 0,
    rev_share_bps          INTEGER NOT NULL DEFAULT 0,
    usage_tracking_enabled INTEGER NOT NULL DEFAULT TRUE CHECK (usage_tracking_enabled IN (FALSE, TRUE)),
    deleted_at             INTEGER,
    created_at             INTEGER NOT NULL DEFAULT (unixepoch() * 1000000),
    updated_at             INTEGER NOT NULL DEFAULT (unixepoch() * 1000000)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS licenses_brand ON licenses (brand_id);
CREATE INDEX IF NOT EXISTS licenses_asset ON licenses (asset_id);
CREATE INDEX IF NOT EXISTS licenses_tracked ON licenses (usage_tracking_enabled)
    WHERE status = 'ACTIVE' AND deleted_at IS NULL;

-- What was counted, and the voids of it. Rows are appended in the order of their
-- commit: seq is that order, and a batch is a contiguous range of it.
-- key is the idempotency key when shorter than 32 bytes, else its first 16 bytes
-- and 16 of its SHA-256; long_key is the whole of such a longer one.
CREATE TABLE IF NOT EXISTS license_usage_events (
    seq                 INTEGER PRIMARY KEY,
    license_id          TEXT NOT NULL,
    key                 BLOB NOT NULL,
    local_date          INTEGER NOT NULL,
    usage_type          TEXT NOT NULL,
    quantity            INTEGER NOT NULL,
    revenue_cents       INTEGER NOT NULL,
    occurred_at         INTEGER NOT NULL,
    received_at         INTEGER NOT NULL,
    id                  BLOB NOT NULL,
    payload_hash        BLOB NOT NULL,
    hour_slot           INTEGER NOT NULL,
    stamped             INTEGER NOT NULL,
    session_hash        INTEGER NOT NULL, -- 0: none
    void_of             BLOB,
    platform            TEXT,
    device_type         TEXT,
    geographic_location TEXT,
    referrer            TEXT,
    metadata            TEXT,
    long_key            TEXT,
    idempotency_key     TEXT GENERATED ALWAYS AS (coalesce(long_key, CAST(key AS TEXT))) VIRTUAL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS license_usage_events_key ON license_usage_events (license_id, key);
CREATE INDEX IF NOT EXISTS license_usage_events_day ON license_usage_events (license_id, local_date);
CREATE INDEX IF NOT EXISTS license_usage_events_id ON license_usage_events (id);
CREATE INDEX IF NOT EXISTS license_usage_events_void ON license_usage_events (license_id, void_of) WHERE void_of IS NOT NULL;

-- Batches that are counted and not folded, each a range of seq.
CREATE TABLE IF NOT EXISTS pending_batches (
    batch_id  BLOB PRIMARY KEY,
    at        INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending_batches_seq ON pending_batches (first_seq, last_seq);

-- How many events were received on each UTC day.
CREATE TABLE IF NOT EXISTS license_usage_received (
    day    INTEGER PRIMARY KEY,
    events INTEGER NOT NULL
) STRICT;

-- Attempts that were not counted: one row for a licence and key.
CREATE TABLE IF NOT EXISTS license_usage_evidence (
    license_id          TEXT NOT NULL,
    key                 BLOB NOT NULL,
    id                  TEXT NOT NULL,
    status              TEXT NOT NULL,
    code                TEXT NOT NULL,
    threshold_id        TEXT,
    attempts            INTEGER NOT NULL,
    first_at            INTEGER NOT NULL,
    last_at             INTEGER NOT NULL,
    local_date          INTEGER NOT NULL,
    usage_type          TEXT NOT NULL,
    quantity            INTEGER NOT NULL,
    revenue_cents       INTEGER NOT NULL,
    occurred_at         INTEGER NOT NULL,
    received_at         INTEGER NOT NULL,
    payload_hash        BLOB NOT NULL,
    hour_slot           INTEGER NOT NULL,
    stamped             INTEGER NOT NULL,
    session_hash        INTEGER NOT NULL,
    void_of             BLOB,
    platform            TEXT,
    device_type         TEXT,
    geographic_location TEXT,
    referrer            TEXT,
    metadata            TEXT,
    long_key            TEXT,
    idempotency_key     TEXT GENERATED ALWAYS AS (coalesce(long_key, CAST(key AS TEXT))) VIRTUAL,
    PRIMARY KEY (license_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS license_usage_evidence_last ON license_usage_evidence (license_id, last_at);
CREATE INDEX IF NOT EXISTS license_usage_evidence_due ON license_usage_evidence (last_at); -- for pruning

-- A rowid table, since rows with a large breakdown would bloat a key's B-tree.
-- breakdown: {"dimension": {"value": [events, quantity, revenue cents]}}.
CREATE TABLE IF NOT EXISTS license_usage_rollups (
    license_id    TEXT NOT NULL,
    date          INTEGER NOT NULL,
    usage_type    TEXT NOT NULL,
    events        INTEGER NOT NULL,
    quantity      INTEGER NOT NULL,
    revenue_cents INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    breakdown     TEXT,
    UNIQUE (license_id, date, usage_type)
) STRICT;

-- Different sessions of a licence and day, over all types, as of the last fold.
CREATE TABLE IF NOT EXISTS license_usage_sessions (
    license_id      TEXT NOT NULL,
    date            INTEGER NOT NULL,
    unique_sessions INTEGER NOT NULL,
    sketch          BLOB,
    UNIQUE (license_id, date)
) STRICT;

CREATE TABLE IF NOT EXISTS license_usage_versions (
    license_id TEXT PRIMARY KEY,
    version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Days that refuse events (closed), and those whose events are being pruned (sealed).
CREATE TABLE IF NOT EXISTS license_usage_days (
    license_id TEXT NOT NULL,
    date       INTEGER NOT NULL,
    closed     INTEGER NOT NULL DEFAULT TRUE,
    sealed     INTEGER NOT NULL DEFAULT FALSE,
    PRIMARY KEY (license_id, date)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS license_usage_thresholds (
    id                 TEXT PRIMARY KEY,
    license_id         TEXT NOT NULL,
    usage_type         TEXT NOT NULL,
    period_type        TEXT NOT NULL,
    limit_quantity     INTEGER NOT NULL,
    grace_percentage   INTEGER NOT NULL,
    allow_overage      INTEGER NOT NULL,
    overage_rate_cents TEXT, -- a decimal
    overage_tiers      TEXT, -- JSON
    warning_levels     TEXT, -- JSON
    is_active          INTEGER NOT NULL,
    by_brand           INTEGER NOT NULL,
    last_warning_level INTEGER,
    last_warning_at    INTEGER,
    effective_from     INTEGER NOT NULL,
    retired_at         INTEGER,
    epoch              INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS license_usage_thresholds_license ON license_usage_thresholds (license_id, id);

CREATE TABLE IF NOT EXISTS license_usage_counters (
    license_id   TEXT NOT NULL,
    threshold_id TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    period_end   INTEGER NOT NULL,
    quantity     INTEGER NOT NULL,
    level        INTEGER NOT NULL,
    state        TEXT NOT NULL,
    terms        TEXT, -- JSON
    PRIMARY KEY (license_id, threshold_id, period_start)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS license_usage_counters_end ON license_usage_counters (period_end) WHERE state IN ('open', 'frozen');

CREATE TABLE IF NOT EXISTS license_usage_overages (
    id                   TEXT PRIMARY KEY,
    license_id           TEXT NOT NULL,
    threshold_id         TEXT NOT NULL,
    revision             INTEGER NOT NULL,
    period_date          INTEGER NOT NULL, -- the counter's period_start
    period_start         INTEGER NOT NULL,
    period_end           INTEGER NOT NULL,
    usage_type           TEXT NOT NULL,
    limit_quantity       INTEGER NOT NULL,
    grace_percentage     INTEGER NOT NULL,
    actual_quantity      INTEGER NOT NULL,
    overage_quantity     INTEGER NOT NULL,
    overage_rate_cents   TEXT, -- a decimal
    overage_tiers        TEXT, -- JSON
    calculated_fee_cents INTEGER NOT NULL,
    billed_fee_cents     INTEGER,
    currency             TEXT NOT NULL,
    status               TEXT NOT NULL,
    disputed_from        TEXT,
    approved_by          TEXT,
    approved_at          INTEGER,
    stripe_invoice_id    TEXT,
    billed_at            INTEGER,
    notes                TEXT,
    metadata             TEXT,
    detected_at          INTEGER NOT NULL,
    settle_at            INTEGER NOT NULL,
    settled_at           INTEGER,
    updated_at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS license_usage_overages_revision ON license_usage_overages (license_id, threshold_id, period_date, revision);
CREATE INDEX IF NOT EXISTS license_usage_overages_due ON license_usage_overages (settle_at) WHERE status = 'DETECTED';
CREATE INDEX IF NOT EXISTS license_usage_overages_status ON license_usage_overages (status);

CREATE TABLE IF NOT EXISTS license_usage_forecasts (
    id                    TEXT PRIMARY KEY,
    license_id            TEXT NOT NULL,
    threshold_id          TEXT,
    usage_type            TEXT NOT NULL,
    forecast_date         INTEGER NOT NULL,
    period_start          INTEGER NOT NULL,
    period_end            INTEGER NOT NULL,
    predicted_quantity    INTEGER NOT NULL,
    lower_bound           INTEGER NOT NULL,
    upper_bound           INTEGER NOT NULL,
    confidence_level      REAL NOT NULL,
    predicted_breach_date INTEGER,
    breach_probability    REAL,
    forecasting_method    TEXT NOT NULL,
    historical_days_used  INTEGER NOT NULL,
    mean_absolute_error   REAL,
    accuracy_score        REAL,
    calculated_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS license_usage_forecasts_license ON license_usage_forecasts (license_id, usage_type, forecast_date);

CREATE TABLE IF NOT EXISTS alerts (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    license_id      TEXT NOT NULL,
    threshold_id    TEXT NOT NULL,
    usage_type      TEXT NOT NULL,
    period_start    INTEGER NOT NULL,
    period_end      INTEGER NOT NULL,
    level           INTEGER NOT NULL,
    epoch           INTEGER NOT NULL,
    quantity        INTEGER NOT NULL,
    limit_quantity  INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    UNIQUE (license_id, threshold_id, period_start, kind, level, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS audit_log (
    id         TEXT PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    license_id TEXT,
    reason     TEXT,
    before     TEXT, -- JSON
    after      TEXT  -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS audit_log_license ON audit_log (license_id, id);
CREATE INDEX IF NOT EXISTS audit_log_subject ON audit_log (subject, id);

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
    revoked_at  INTEGER
) STRICT, WITHOUT ROWID;

-- One row, raised by each change of a key.
CREATE TABLE IF NOT EXISTS api_keys_version (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO api_keys_version VALUES (1, 0);

CREATE TABLE IF NOT EXISTS jobs (
    name                TEXT PRIMARY KEY,
    schedule            TEXT NOT NULL, -- JSON
    paused              INTEGER NOT NULL DEFAULT FALSE,
    next_run_at         INTEGER,
    last_run_at         INTEGER,
    last_duration_nanos INTEGER NOT NULL DEFAULT 0,
    last_error          TEXT,
    runs                INTEGER NOT NULL DEFAULT 0,
    failures            INTEGER NOT NULL DEFAULT 0,
    lease_owner         TEXT,
    lease_until         INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What a licence used on each local day: what is folded, and what is not yet.
CREATE VIEW IF NOT EXISTS license_usage_daily_aggregates AS
SELECT
    date(day * 86400, 'unixepoch') AS date,
    license_id,
    sum(CASE usage_type WHEN 'view' THEN quantity ELSE 0 END) AS total_views,
    sum(CASE usage_type WHEN 'download' THEN quantity ELSE 0 END) AS total_downloads,
    sum(CASE usage_type WHEN 'impression' THEN quantity ELSE 0 END) AS total_impressions,
    sum(CASE usage_type WHEN 'click' THEN quantity ELSE 0 END) AS total_clicks,
    sum(CASE usage_type WHEN 'play' THEN quantity ELSE 0 END) AS total_plays,
    sum(CASE usage_type WHEN 'stream' THEN quantity ELSE 0 END) AS total_streams,
    sum(quantity) AS total_quantity,
    sum(revenue_cents) AS total_revenue_cents,
    coalesce((SELECT s.unique_sessions FROM license_usage_sessions s
              WHERE s.license_id = daily.license_id AND s.date = daily.day), 0) AS unique_sessions
FROM (
    SELECT license_id, date AS day, usage_type, quantity, revenue_cents FROM license_usage_rollups
    UNION ALL
    SELECT e.license_id, e.local_date, e.usage_type, e.quantity, e.revenue_cents
    FROM pending_batches p CROSS JOIN license_usage_events e NOT INDEXED
    WHERE e.seq BETWEEN p.first_seq AND p.last_seq
) AS daily
GROUP BY license_id, day;

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
DROP TABLE licenses;
DROP TABLE asset_owners;
DROP TABLE assets;
DROP TABLE creators;
DROP TABLE brands;
