package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/usance/usance"
)

const (
	forecastColumns = `f.id, f.license_id, f.threshold_id, f.usage_type, o.period_type, f.forecast_date, f.period_start, f.period_end,
	o.limit_quantity, o.limit_with_grace, o.used_quantity, f.predicted_quantity, f.lower_bound, f.upper_bound, f.confidence_level,
	f.predicted_breach_date, f.breach_probability, o.outlook, o.status, f.forecasting_method, f.historical_days_used,
	f.mean_absolute_error, f.accuracy_score, o.naive_error, f.calculated_at,
	o.scored_at, coalesce(o.actual_quantity, 0), coalesce(o.absolute_error, 0), o.scaled_error, o.pinball_loss, coalesce(o.covered, FALSE),
	o.breached, o.brier_score`
	fromForecasts = ` FROM license_usage_forecasts f JOIN license_usage_forecast_outlooks o ON o.license_id = f.license_id AND o.id = f.id`
	// isNewest: no later forecast of the same licence, threshold and usage type.
	isNewest = `NOT EXISTS (SELECT 1 FROM license_usage_forecasts n WHERE n.license_id = f.license_id AND n.threshold_id = f.threshold_id
		AND n.usage_type = f.usage_type AND n.forecast_date > f.forecast_date)`
)

func scanForecast(r *rows, f *usance.Forecast) error {
	var s usance.ForecastScore
	err := r.Scan(&f.ID, &f.LicenseID, intoText(&f.ThresholdID), &f.UsageType, &f.PeriodType, &f.ForecastDate, &f.PeriodStart, &f.PeriodEnd,
		&f.LimitQuantity, &f.LimitWithGrace, &f.UsedQuantity, &f.PredictedQuantity, &f.LowerBound, &f.UpperBound, &f.ConfidenceLevel,
		&f.PredictedBreachDate, &f.BreachProbability, &f.Outlook, &f.Status, &f.ForecastingMethod, &f.HistoricalDaysUsed,
		&f.MeanAbsoluteError, &f.AccuracyScore, &f.NaiveError, &f.CalculatedAt,
		intoTime(&s.ScoredAt), &s.ActualQuantity, &s.AbsoluteError, &s.ScaledError, toFloat{&s.PinballLoss}, &s.Covered, &s.Breached, &s.BrierScore)
	if err == nil && !s.ScoredAt.IsZero() {
		f.Score = &s
	}
	return err
}

func (v *view) Forecasts(ctx context.Context, f usance.ForecastFilter, p usance.Page) ([]usance.Forecast, string, error) {
	q := newListing("forecasts", p, `SELECT `+forecastColumns+fromForecasts+` WHERE TRUE`)
	q.after("u", `f.id < ?`)
	q.inScope(f.Scope, "f.license_id")
	q.AndIf(f.LicenseID != "", `f.license_id = ?`, f.LicenseID)
	q.AndIf(f.ThresholdID != "", `f.threshold_id = ?`, f.ThresholdID)
	q.AndIf(f.UsageType != "", `f.usage_type = ?`, f.UsageType)
	q.AndIf(f.Latest, isNewest)
	return list(ctx, v, q, `f.id DESC`, scanForecast, func(f *usance.Forecast) []string { return []string{f.ID.String()} })
}

func (v *view) Unscored(ctx context.Context, by usance.Date, after usance.ForecastKey, limit int) ([]usance.Forecast, error) {
	return all(ctx, v, `SELECT `+forecastColumns+fromForecasts+`
		WHERE o.scored_at IS NULL AND o.period_end <= $1
			AND (o.period_end, o.license_id, o.id) > ($2, $3, coalesce($4::uuid, '00000000-0000-0000-0000-000000000000'))
		ORDER BY o.period_end, o.license_id, o.id LIMIT $5`,
		[]any{by, after.PeriodEnd, after.LicenseID, after.ID, limit}, scanForecast)
}

func (v *view) Breaches(ctx context.Context, f usance.BreachFilter, after usance.ForecastKey, limit int) ([]usance.Forecast, error) {
	return all(ctx, v, `SELECT `+forecastColumns+fromForecasts+`
		WHERE f.calculated_at >= $1 AND f.predicted_breach_date IS NOT NULL AND f.threshold_id <> ''
			AND f.breach_probability >= $2 AND f.predicted_breach_date BETWEEN f.forecast_date AND f.forecast_date + $3::integer
			AND o.used_quantity < o.limit_quantity AND `+isNewest+`
			AND (f.license_id, f.id) > ($4, coalesce($5::uuid, '00000000-0000-0000-0000-000000000000'))
		ORDER BY f.license_id, f.id LIMIT $6`,
		[]any{f.MadeSince, f.MinProbability, f.Within, after.LicenseID, after.ID, limit}, scanForecast)
}

func (v *view) ForecastAccuracy(ctx context.Context, f usance.AccuracyFilter) ([]usance.ForecastAccuracy, error) {
	var out []usance.ForecastAccuracy
	for i, least := range usance.LeadBuckets {
		most := 0
		if i+1 < len(usance.LeadBuckets) {
			most = usance.LeadBuckets[i+1] - 1
		}
		q := newListing("accuracy", usance.Page{Limit: 1}, `SELECT count(*), avg(o.absolute_error)::float8,
			(sum(o.absolute_error) / nullif(sum(o.actual_quantity), 0))::float8, avg(o.scaled_error), avg(o.pinball_loss), avg(o.covered::integer)::float8,
			avg(f.confidence_level), count(o.brier_score), avg(o.brier_score),
			avg(CASE WHEN o.brier_score IS NOT NULL THEN f.breach_probability END), avg(o.breached::integer)::float8`+
			fromForecasts+` WHERE o.scored_at IS NOT NULL AND f.period_end - f.forecast_date >= ?::integer`, least)
		q.AndIf(most > 0, `f.period_end - f.forecast_date <= ?::integer`, most)
		q.inScope(f.Scope, "f.license_id")
		q.AndIf(f.LicenseID != "", `f.license_id = ?`, f.LicenseID)
		q.AndIf(f.UsageType != "", `f.usage_type = ?`, f.UsageType)
		q.AndIf(f.From != 0, `o.period_end >= ?`, f.From)
		q.AndIf(f.To != 0, `o.period_end < ?`, f.To)
		a := usance.ForecastAccuracy{MinLeadDays: least, MaxLeadDays: most}
		text, args := numbered(q.SQL())
		_, err := v.one(ctx, text, args, &a.Forecasts, toFloat{&a.MeanAbsoluteError}, &a.WeightedError, &a.MeanScaledError,
			toFloat{&a.MeanPinballLoss}, toFloat{&a.Coverage}, toFloat{&a.ConfidenceLevel}, &a.BreachForecasts, &a.BrierScore,
			&a.MeanBreachProbability, &a.BreachRate)
		if err != nil {
			return nil, err
		}
		if a.Forecasts > 0 {
			out = append(out, a)
		}
	}
	return out, nil
}

// errScored is a fault of the caller: scores are given by ScoreForecasts.
var errScored = errors.New("postgres: a forecast is put with a score")

// PutForecasts gives the outlook the id of the row that it belongs to, which may
// be an earlier one's.
func (t *tx) PutForecasts(ctx context.Context, list []usance.Forecast) error {
	err := t.execEach(ctx, `INSERT INTO license_usage_forecasts (id, license_id, threshold_id, usage_type, forecast_date, period_start, period_end,
			predicted_quantity, lower_bound, upper_bound, confidence_level, predicted_breach_date, breach_probability,
			forecasting_method, historical_days_used, mean_absolute_error, accuracy_score, calculated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (license_id, threshold_id, usage_type, forecast_date, period_start, period_end) DO UPDATE SET
			predicted_quantity = excluded.predicted_quantity, lower_bound = excluded.lower_bound, upper_bound = excluded.upper_bound,
			confidence_level = excluded.confidence_level, predicted_breach_date = excluded.predicted_breach_date,
			breach_probability = excluded.breach_probability, forecasting_method = excluded.forecasting_method,
			historical_days_used = excluded.historical_days_used, mean_absolute_error = excluded.mean_absolute_error,
			accuracy_score = excluded.accuracy_score, calculated_at = excluded.calculated_at`, len(list), func(i int) ([]any, error) {
		f := &list[i]
		if f.Score != nil {
			return nil, errScored
		}
		return []any{
			f.ID, f.LicenseID, f.ThresholdID, f.UsageType, f.ForecastDate, f.PeriodStart, f.PeriodEnd,
			f.PredictedQuantity, f.LowerBound, f.UpperBound, f.ConfidenceLevel, f.PredictedBreachDate, f.BreachProbability,
			f.ForecastingMethod, f.HistoricalDaysUsed, f.MeanAbsoluteError, f.AccuracyScore, f.CalculatedAt,
		}, nil
	})
	if err != nil {
		return err
	}
	return t.execEach(ctx, `INSERT INTO license_usage_forecast_outlooks (license_id, id, period_type, period_end, used_quantity,
			limit_quantity, limit_with_grace, status, naive_error, outlook)
		SELECT f.license_id, f.id, $7, f.period_end, $8, $9, $10, $11, $12, $13::jsonb FROM license_usage_forecasts f
		WHERE f.license_id = $1 AND f.threshold_id = $2 AND f.usage_type = $3 AND f.forecast_date = $4 AND f.period_start = $5 AND f.period_end = $6
		ON CONFLICT (license_id, id) DO UPDATE SET period_type = excluded.period_type, period_end = excluded.period_end,
			used_quantity = excluded.used_quantity, limit_quantity = excluded.limit_quantity, limit_with_grace = excluded.limit_with_grace,
			status = excluded.status, naive_error = excluded.naive_error, outlook = excluded.outlook, scored_at = NULL, actual_quantity = NULL,
			absolute_error = NULL, scaled_error = NULL, pinball_loss = NULL, covered = NULL, breached = NULL, brier_score = NULL`,
		len(list), func(i int) ([]any, error) {
			f := &list[i]
			outlook, err := asJSON(f.Outlook)
			return []any{
				f.LicenseID, f.ThresholdID, f.UsageType, f.ForecastDate, f.PeriodStart, f.PeriodEnd, string(f.PeriodType), f.UsedQuantity,
				f.LimitQuantity, f.LimitWithGrace, string(f.Status), f.NaiveError, outlook,
			}, err
		})
}

func (t *tx) ScoreForecasts(ctx context.Context, list []usance.ScoredForecast) error {
	return t.execEach(ctx, `UPDATE license_usage_forecast_outlooks SET scored_at = $3, actual_quantity = $4, absolute_error = $5, scaled_error = $6,
			pinball_loss = $7, covered = $8, breached = $9, brier_score = $10
		WHERE license_id = $1 AND id = $2`, len(list), func(i int) ([]any, error) {
		s := &list[i]
		return []any{s.LicenseID, s.ID, s.ScoredAt, s.ActualQuantity, s.AbsoluteError, s.ScaledError, s.PinballLoss, s.Covered, s.Breached, s.BrierScore}, nil
	})
}

func (t *tx) PruneForecasts(ctx context.Context, before time.Time, limit int) (int, error) {
	due, err := all(ctx, &t.view, `SELECT license_id, id FROM license_usage_forecast_outlooks WHERE scored_at < $1
		UNION ALL
		SELECT o.license_id, o.id`+fromForecasts+` WHERE o.scored_at IS NULL AND o.period_end = $2 AND f.calculated_at < $1 LIMIT $3`,
		[]any{before, usance.MaxDate, limit}, func(r *rows, k *usance.ForecastKey) error { return r.Scan(&k.LicenseID, &k.ID) })
	if err != nil || len(due) == 0 {
		return 0, err
	}
	licenses := column(due, func(k *usance.ForecastKey) string { return k.LicenseID })
	ids := column(due, func(k *usance.ForecastKey) usance.ID { return k.ID })
	for _, query := range []string{
		`DELETE FROM license_usage_forecast_outlooks o USING unnest($1::text[], $2::uuid[]) AS u (license_id, id) WHERE o.license_id = u.license_id AND o.id = u.id` + t.pruned("o.license_id"),
		`DELETE FROM license_usage_forecasts f USING unnest($1::text[], $2::uuid[]) AS u (license_id, id) WHERE f.license_id = u.license_id AND f.id = u.id` + t.pruned("f.license_id"),
	} {
		if _, err := t.execApart(ctx, query, licenses, ids); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

func (v *view) JobState(ctx context.Context, name string) (value usance.RawJSON, err error) {
	_, err = v.one(ctx, `SELECT value FROM job_states WHERE name = $1`, []any{name}, intoRaw(&value))
	return value, err
}

func (t *tx) PutJobState(ctx context.Context, name string, value usance.RawJSON, at time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO job_states (name, value, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`, name, raw(value), at)
	return err
}
