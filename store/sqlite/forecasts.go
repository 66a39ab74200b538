package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/usance/usance"
)

const (
	forecastColumns = `f.id, f.license_id, f.threshold_id, f.usage_type, o.period_type, f.forecast_date, f.period_start, f.period_end,
	o.limit_quantity, o.limit_with_grace, o.used_quantity, f.predicted_quantity, f.lower_bound, f.upper_bound, f.confidence_level,
	f.predicted_breach_date, f.breach_probability, o.outlook, o.status, f.forecasting_method, f.historical_days_used,
	f.mean_absolute_error, f.accuracy_score, o.naive_error, f.calculated_at,
	o.scored_at, o.actual_quantity, o.absolute_error, o.scaled_error, o.pinball_loss, o.covered, o.breached, o.brier_score`
	fromForecasts = ` FROM license_usage_forecasts f JOIN license_usage_forecast_outlooks o ON o.license_id = f.license_id AND o.id = f.id`
	// isNewest: no later forecast of the same licence, threshold and usage type.
	isNewest = `NOT EXISTS (SELECT 1 FROM license_usage_forecasts n WHERE n.license_id = f.license_id AND n.threshold_id = f.threshold_id
		AND n.usage_type = f.usage_type AND n.forecast_date > f.forecast_date)`
)

func scanForecast(rows *sql.Rows, f *usance.Forecast) error {
	var s usance.ForecastScore
	var scored *int64
	var actual, off sql.NullInt64
	var covered sql.NullBool
	err := rows.Scan(toID{&f.ID}, &f.LicenseID, intoText(&f.ThresholdID), &f.UsageType, &f.PeriodType, &f.ForecastDate, &f.PeriodStart, &f.PeriodEnd,
		&f.LimitQuantity, &f.LimitWithGrace, &f.UsedQuantity, &f.PredictedQuantity, &f.LowerBound, &f.UpperBound, &f.ConfidenceLevel,
		&f.PredictedBreachDate, &f.BreachProbability, toJSON{&f.Outlook}, &f.Status, &f.ForecastingMethod, &f.HistoricalDaysUsed,
		&f.MeanAbsoluteError, &f.AccuracyScore, &f.NaiveError, toTime{&f.CalculatedAt},
		&scored, &actual, &off, &s.ScaledError, toFloat{&s.PinballLoss}, &covered, &s.Breached, &s.BrierScore)
	if err == nil && scored != nil {
		s.ScoredAt, s.ActualQuantity, s.AbsoluteError, s.Covered = micros(*scored), actual.Int64, off.Int64, covered.Bool
		f.Score = &s
	}
	return err
}

func (v *view) Forecasts(ctx context.Context, f usance.ForecastFilter, p usance.Page) ([]usance.Forecast, string, error) {
	q := newListing("forecasts", p, `SELECT `+forecastColumns+fromForecasts+` WHERE TRUE`)
	q.after("t", `f.id < ?`)
	q.inScope(f.Scope, "f.license_id")
	q.AndIf(f.LicenseID != "", `f.license_id = ?`, f.LicenseID)
	q.AndIf(f.ThresholdID != "", `f.threshold_id = ?`, f.ThresholdID)
	q.AndIf(f.UsageType != "", `f.usage_type = ?`, f.UsageType)
	q.AndIf(f.Latest, isNewest)
	return list(ctx, v, q, `f.id DESC`, scanForecast, func(f *usance.Forecast) []string { return []string{f.ID.String()} })
}

func (v *view) Unscored(ctx context.Context, by usance.Date, after usance.ForecastKey, limit int) ([]usance.Forecast, error) {
	return all(ctx, v, `SELECT `+forecastColumns+fromForecasts+`
		WHERE o.scored_at IS NULL AND o.period_end <= ? AND (o.period_end, o.license_id, o.id) > (?, ?, ?)
		ORDER BY o.period_end, o.license_id, o.id LIMIT ?`,
		[]any{int64(by), int64(after.PeriodEnd), after.LicenseID, after.ID.String(), limit}, scanForecast)
}

func (v *view) Breaches(ctx context.Context, f usance.BreachFilter, after usance.ForecastKey, limit int) ([]usance.Forecast, error) {
	return all(ctx, v, `SELECT `+forecastColumns+fromForecasts+`
		WHERE f.calculated_at >= ? AND f.predicted_breach_date IS NOT NULL AND f.threshold_id <> ''
			AND f.breach_probability >= ? AND f.predicted_breach_date BETWEEN f.forecast_date AND f.forecast_date + ?
			AND o.used_quantity < o.limit_quantity AND `+isNewest+` AND (f.license_id, f.id) > (?, ?)
		ORDER BY f.license_id, f.id LIMIT ?`,
		[]any{f.MadeSince.UnixMicro(), f.MinProbability, f.Within, after.LicenseID, after.ID.String(), limit}, scanForecast)
}

func (v *view) ForecastAccuracy(ctx context.Context, f usance.AccuracyFilter) ([]usance.ForecastAccuracy, error) {
	var out []usance.ForecastAccuracy
	for i, least := range usance.LeadBuckets {
		most := 0
		if i+1 < len(usance.LeadBuckets) {
			most = usance.LeadBuckets[i+1] - 1
		}
		q := newListing("accuracy", usance.Page{Limit: 1}, `SELECT count(*), avg(o.absolute_error),
			CAST(sum(o.absolute_error) AS REAL) / nullif(sum(o.actual_quantity), 0), avg(o.scaled_error), avg(o.pinball_loss), avg(o.covered),
			avg(f.confidence_level), count(o.brier_score), avg(o.brier_score), avg(iif(o.brier_score IS NULL, NULL, f.breach_probability)), avg(o.breached)`+
			fromForecasts+` WHERE o.scored_at IS NOT NULL AND f.period_end - f.forecast_date >= ?`, least)
		q.AndIf(most > 0, `f.period_end - f.forecast_date <= ?`, most)
		q.inScope(f.Scope, "f.license_id")
		q.AndIf(f.LicenseID != "", `f.license_id = ?`, f.LicenseID)
		q.AndIf(f.UsageType != "", `f.usage_type = ?`, f.UsageType)
		q.AndIf(f.From != 0, `o.period_end >= ?`, int64(f.From))
		q.AndIf(f.To != 0, `o.period_end < ?`, int64(f.To))
		a := usance.ForecastAccuracy{MinLeadDays: least, MaxLeadDays: most}
		text, args := q.SQL()
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

func (t *tx) PutForecasts(ctx context.Context, list []usance.Forecast) error {
	for i := range list {
		f := &list[i]
		if f.Score != nil {
			return t.fail(errScored)
		}
		outlook, err := asJSON(f.Outlook)
		if err != nil {
			return err
		}
		var id usance.ID
		err = t.writing(ctx, `INSERT INTO license_usage_forecasts (id, license_id, threshold_id, usage_type, forecast_date, period_start, period_end,
				predicted_quantity, lower_bound, upper_bound, confidence_level, predicted_breach_date, breach_probability,
				forecasting_method, historical_days_used, mean_absolute_error, accuracy_score, calculated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (license_id, threshold_id, usage_type, forecast_date, period_start, period_end) DO UPDATE SET
				predicted_quantity = excluded.predicted_quantity, lower_bound = excluded.lower_bound, upper_bound = excluded.upper_bound,
				confidence_level = excluded.confidence_level, predicted_breach_date = excluded.predicted_breach_date,
				breach_probability = excluded.breach_probability, forecasting_method = excluded.forecasting_method,
				historical_days_used = excluded.historical_days_used, mean_absolute_error = excluded.mean_absolute_error,
				accuracy_score = excluded.accuracy_score, calculated_at = excluded.calculated_at
			RETURNING id`, func(ctx context.Context, s *sql.Stmt) error {
			_, err := t.returning(ctx, s, []any{
				f.ID.String(), f.LicenseID, f.ThresholdID, f.UsageType, int64(f.ForecastDate), int64(f.PeriodStart), int64(f.PeriodEnd),
				f.PredictedQuantity, f.LowerBound, f.UpperBound, f.ConfidenceLevel, ptrInt(f.PredictedBreachDate), ptrFloat(f.BreachProbability),
				f.ForecastingMethod, f.HistoricalDaysUsed, ptrFloat(f.MeanAbsoluteError), ptrFloat(f.AccuracyScore), f.CalculatedAt.UnixMicro(),
			}, toID{&id})
			return err
		})
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT OR REPLACE INTO license_usage_forecast_outlooks (license_id, id, period_type, period_end, used_quantity,
				limit_quantity, limit_with_grace, status, naive_error, outlook)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			f.LicenseID, id.String(), string(f.PeriodType), int64(f.PeriodEnd), f.UsedQuantity,
			f.LimitQuantity, f.LimitWithGrace, string(f.Status), ptrFloat(f.NaiveError), outlook)
		if err != nil {
			return err
		}
	}
	return nil
}

// errScored is a fault of the caller: scores are given by ScoreForecasts.
var errScored = errors.New("sqlite: a forecast is put with a score")

func (t *tx) ScoreForecasts(ctx context.Context, list []usance.ScoredForecast) error {
	for i := range list {
		s := &list[i]
		_, err := t.exec(ctx, `UPDATE license_usage_forecast_outlooks SET scored_at = ?, actual_quantity = ?, absolute_error = ?, scaled_error = ?,
				pinball_loss = ?, covered = ?, breached = ?, brier_score = ?
			WHERE license_id = ? AND id = ?`,
			s.ScoredAt.UnixMicro(), s.ActualQuantity, s.AbsoluteError, ptrFloat(s.ScaledError),
			s.PinballLoss, s.Covered, ptrBool(s.Breached), ptrFloat(s.BrierScore), s.LicenseID, s.ID.String())
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) PruneForecasts(ctx context.Context, before time.Time, limit int) (int, error) {
	due, err := all(ctx, &t.view, `SELECT license_id, id FROM license_usage_forecast_outlooks WHERE scored_at < ?
		UNION ALL
		SELECT o.license_id, o.id`+fromForecasts+` WHERE o.scored_at IS NULL AND o.period_end = ? AND f.calculated_at < ? LIMIT ?`,
		[]any{before.UnixMicro(), int64(usance.MaxDate), before.UnixMicro(), limit}, func(rows *sql.Rows, k *usance.ForecastKey) error {
			return rows.Scan(&k.LicenseID, toID{&k.ID})
		})
	if err != nil {
		return 0, err
	}
	for _, k := range due {
		if _, err := t.exec(ctx, `DELETE FROM license_usage_forecast_outlooks WHERE license_id = ? AND id = ?`, k.LicenseID, k.ID.String()); err != nil {
			return 0, err
		}
		if _, err := t.exec(ctx, `DELETE FROM license_usage_forecasts WHERE id = ?`, k.ID.String()); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

func (v *view) JobState(ctx context.Context, name string) (value usance.RawJSON, err error) {
	_, err = v.one(ctx, `SELECT value FROM job_states WHERE name = ?`, []any{name}, toRaw{&value})
	return value, err
}

func (t *tx) PutJobState(ctx context.Context, name string, value usance.RawJSON, at time.Time) error {
	_, err := t.exec(ctx, `INSERT OR REPLACE INTO job_states (name, value, updated_at) VALUES (?, ?, ?)`, name, string(value), at.UnixMicro())
	return err
}
