package watch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
)

// Score compares the forecasts whose periods have closed with what was used in
// them, and tells how many: part of the job checkUsageThresholds. What is counted
// later, such as a void, changes no score. A licence whose zone or term cannot be
// read does not keep it from the rest: its forecasts stay unscored, and the error
// names it.
func (w *Watch) Score(ctx context.Context) (scored int, err error) {
	now := w.now()
	// No zone is more than 14 hours ahead of UTC; the licence's own decides.
	by := usance.DateOf(now.Add(14*time.Hour-w.o.LateGrace), time.UTC)
	var after usance.ForecastKey
	unread := make(map[string]error) // by licence: its forecasts may come in many groups
	for {
		began := time.Now()
		var rows []usance.Forecast
		var scores []usance.ScoredForecast
		err := w.store.View(ctx, func(v usance.View) (err error) {
			if rows, err = v.Unscored(ctx, by, after, group); err != nil {
				return err
			}
			scores, err = w.scores(ctx, v, rows, now, unread)
			return err
		})
		if err != nil {
			return scored, err
		}
		if len(rows) == 0 {
			break
		}
		after = rows[len(rows)-1].Key()
		if len(scores) > 0 {
			err := w.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) error { return tx.ScoreForecasts(ctx, scores) })
			if err != nil {
				return scored, err
			}
		}
		scored += len(scores)
		for i, j := 0, 0; i < len(rows) && j < len(scores); i++ {
			if rows[i].Key() == scores[j].ForecastKey {
				w.m.score(&rows[i], &scores[j].ForecastScore)
				j++
			}
		}
		if err := w.rest(ctx, began); err != nil {
			return scored, err
		}
	}
	faults := faults{count: w.m.failed}
	for _, id := range slices.Sorted(maps.Keys(unread)) {
		faults.add(id, unread[id])
	}
	return scored, errors.Join(faults.err("scoring forecasts"))
}

// scores scores those of the forecasts whose periods have closed. Forecasts of
// one period come one after the other: its usage is read once. Licences whose zone
// or term cannot be read go into unread.
func (w *Watch) scores(ctx context.Context, v usance.View, rows []usance.Forecast, now time.Time, unread map[string]error) (out []usance.ScoredForecast, err error) {
	var days []usance.Rollup
	var last *usance.Forecast
	var history *history
	closed := false
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].LicenseID
	}
	slices.Sort(ids)
	facts, err := v.Facts(ctx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	for i := range rows {
		f := &rows[i]
		if last == nil || last.LicenseID != f.LicenseID || last.PeriodStart != f.PeriodStart || last.PeriodEnd != f.PeriodEnd {
			last, closed = f, false
			zone := time.UTC // of a licence that is gone for good
			history = nil
			if l, err := v.License(ctx, f.LicenseID); err == nil {
				if zone, _, _, err = l.Term(); err != nil {
					unread[f.LicenseID] = err
					continue
				}
				if history, err = readHistory(ctx, v, &l); err != nil {
					return nil, err
				}
			} else if usance.ErrorCode(err) != usance.CodeLicenseNotFound {
				return nil, err
			}
			if closed = !now.Before(f.PeriodEnd.Start(zone).Add(w.o.LateGrace)); !closed {
				continue
			}
			if days, err = v.DayUsage(ctx, f.LicenseID, f.PeriodStart, f.PeriodEnd); err != nil {
				return nil, err
			}
		}
		if !closed {
			continue
		}
		actual := int64(0)
		for j := range days {
			if covers(f.UsageType, days[j].UsageType) {
				actual += days[j].Quantity
			}
		}
		score := f.Against(actual, now)
		if held, err := held(ctx, v, facts, f, days); err != nil {
			return nil, err
		} else if held {
			score = f.AgainstHeld(actual, now)
		} else if history.cut(f) {
			score = f.AgainstCut(actual, now)
		}
		out = append(out, usance.ScoredForecast{ForecastKey: f.Key(), ForecastScore: score})
	}
	return out, nil
}

// held tells whether the threshold of a forecast was hard, and full in its period,
// of which days are.
func held(ctx context.Context, v usance.View, facts []usance.Facts, f *usance.Forecast, days []usance.Rollup) (bool, error) {
	t, _ := thresholdOf(facts, f)
	if t == nil {
		return false, nil
	}
	counters, err := v.Counters(ctx, []usance.CounterKey{{LicenseID: f.LicenseID, ThresholdID: t.ID, PeriodStart: f.PeriodStart}})
	if err != nil || len(counters) == 0 {
		return false, err
	}
	_, full := filled(t, &counters[0], days)
	return full, nil
}
