-- +goose Up

-- One forecast for a licence, threshold, usage type, period and day; threshold_id
-- is empty where there is none.
CREATE UNIQUE INDEX IF NOT EXISTS license_usage_forecasts_day
    ON license_usage_forecasts (license_id, threshold_id, usage_type, forecast_date, period_start, period_end);
CREATE INDEX IF NOT EXISTS license_usage_forecasts_id ON license_usage_forecasts (id);
-- What is likely to pass its limit.
CREATE INDEX IF NOT EXISTS license_usage_forecasts_breach ON license_usage_forecasts (calculated_at) WHERE predicted_breach_date IS NOT NULL;

-- What is known of a forecast beside the columns of the guide, and how it compared
-- with what its period came to.
CREATE TABLE IF NOT EXISTS license_usage_forecast_outlooks (
    license_id       text COLLATE "C" NOT NULL,
    id               uuid NOT NULL,
    period_type      text NOT NULL,
    period_end       date NOT NULL,
    used_quantity    bigint NOT NULL,
    limit_quantity   bigint NOT NULL,
    limit_with_grace bigint NOT NULL,
    status           text NOT NULL,
    naive_error      double precision,
    outlook          jsonb NOT NULL,
    scored_at        timestamptz,
    actual_quantity  bigint,
    absolute_error   bigint,
    scaled_error     double precision,
    pinball_loss     double precision,
    covered          boolean,
    breached         boolean,
    brier_score      double precision,
    PRIMARY KEY (license_id, id)
);
CREATE INDEX IF NOT EXISTS license_usage_forecast_outlooks_due ON license_usage_forecast_outlooks (period_end, license_id, id) WHERE scored_at IS NULL;
CREATE INDEX IF NOT EXISTS license_usage_forecast_outlooks_scored ON license_usage_forecast_outlooks (scored_at) WHERE scored_at IS NOT NULL;

-- What alerts of forecasts and of unusual usage say beyond the others.
CREATE TABLE IF NOT EXISTS alert_reasons (
    license_id            text COLLATE "C" NOT NULL,
    alert_id              uuid NOT NULL,
    severity              text,
    reason                text,
    predicted_breach_date date,
    breach_probability    double precision,
    PRIMARY KEY (license_id, alert_id)
);

-- What jobs keep between their runs.
CREATE TABLE IF NOT EXISTS job_states (
    name       text COLLATE "C" PRIMARY KEY,
    value      json NOT NULL,
    updated_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE job_states;
DROP TABLE alert_reasons;
DROP TABLE license_usage_forecast_outlooks;
DROP INDEX IF EXISTS license_usage_forecasts_breach;
DROP INDEX IF EXISTS license_usage_forecasts_id;
DROP INDEX IF EXISTS license_usage_forecasts_day;
