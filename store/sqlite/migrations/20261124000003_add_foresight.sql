-- +goose Up

-- One forecast for a licence, threshold, usage type, period and day; threshold_id
-- is empty where there is none.
CREATE UNIQUE INDEX IF NOT EXISTS license_usage_forecasts_day
    ON license_usage_forecasts (license_id, threshold_id, usage_type, forecast_date, period_start, period_end);

-- What is known of a forecast beside the columns of the guide, and how it compared
-- with what its period came to.
CREATE TABLE IF NOT EXISTS license_usage_forecast_outlooks (
    license_id       TEXT NOT NULL,
    id               TEXT NOT NULL,
    period_type      TEXT NOT NULL,
    period_end       INTEGER NOT NULL,
    used_quantity    INTEGER NOT NULL,
    limit_quantity   INTEGER NOT NULL,
    limit_with_grace INTEGER NOT NULL,
    status           TEXT NOT NULL,
    naive_error      REAL,
    outlook          TEXT NOT NULL, -- JSON
    scored_at        INTEGER,
    actual_quantity  INTEGER,
    absolute_error   INTEGER,
    scaled_error     REAL,
    pinball_loss     REAL,
    covered          INTEGER,
    breached         INTEGER,
    brier_score      REAL,
    PRIMARY KEY (license_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS license_usage_forecast_outlooks_due ON license_usage_forecast_outlooks (period_end, license_id, id) WHERE scored_at IS NULL;
CREATE INDEX IF NOT EXISTS license_usage_forecast_outlooks_scored ON license_usage_forecast_outlooks (scored_at) WHERE scored_at IS NOT NULL;
-- What is likely to pass its limit.
CREATE INDEX IF NOT EXISTS license_usage_forecasts_breach ON license_usage_forecasts (calculated_at) WHERE predicted_breach_date IS NOT NULL;

-- What alerts of forecasts and of unusual usage say beyond the others.
CREATE TABLE IF NOT EXISTS alert_reasons (
    license_id            TEXT NOT NULL,
    alert_id              TEXT NOT NULL,
    severity              TEXT,
    reason                TEXT,
    predicted_breach_date INTEGER,
    breach_probability    REAL,
    PRIMARY KEY (license_id, alert_id)
) STRICT, WITHOUT ROWID;

-- What jobs keep between their runs.
CREATE TABLE IF NOT EXISTS job_states (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL, -- JSON
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE job_states;
DROP TABLE alert_reasons;
DROP TABLE license_usage_forecast_outlooks;
DROP INDEX IF EXISTS license_usage_forecasts_breach;
DROP INDEX IF EXISTS license_usage_forecasts_day;
