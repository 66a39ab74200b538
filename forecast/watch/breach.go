package watch

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/usance/usance"
)

const (
	// minProbability is from when on a breach is told of.
	minProbability = 0.7
	// maxAge is how old the forecast may be that tells of it.
	maxAge = 24 * time.Hour
	// moved is how many days the date has to move by for it to be told again.
	moved = 2
	// surely and soon make the alert critical.
	surely = 0.95
	soon   = 2
)

// Warn raises an alert for each limit that the newest forecast of its threshold,
// a day old at most, says will be passed within BreachDays with a probability of
// 0.7 or more: the job sendForecastBreachAlerts. There is one for a threshold and
// period, and another when the date has moved by more than two days. Limits that
// were reached meanwhile, or changed, are left to their own alerts and to the
// next forecast; of a period that is over where the licence is, or of a licence
// whose term is, there is nothing to tell. It tells how many alerts it raised.
func (w *Watch) Warn(ctx context.Context) (raised int, err error) {
	now := w.now()
	filter := usance.BreachFilter{MadeSince: now.Add(-maxAge), MinProbability: minProbability, Within: w.o.BreachDays}
	var after usance.ForecastKey
	for {
		began := time.Now()
		var rows []usance.Forecast
		err := w.store.View(ctx, func(v usance.View) (err error) {
			rows, err = v.Breaches(ctx, filter, after, group)
			return err
		})
		if err != nil || len(rows) == 0 {
			return raised, err
		}
		after = rows[len(rows)-1].Key()
		n := 0
		err = w.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			alerts, err := breaches(ctx, tx, rows, now)
			n = len(alerts)
			if err != nil || n == 0 {
				return err
			}
			return tx.AddAlerts(ctx, alerts)
		})
		if err != nil {
			return raised, err
		}
		raised += n
		w.m.alerts.WithLabelValues(string(usance.AlertForecast)).Add(float64(n))
		if err := w.rest(ctx, began); err != nil {
			return raised, err
		}
	}
}

// breaches gives the alerts that the forecasts call for.
func breaches(ctx context.Context, tx usance.Tx, rows []usance.Forecast, now time.Time) (out []usance.Alert, err error) {
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].LicenseID
	}
	slices.Sort(ids)
	facts, err := tx.Facts(ctx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	for i := range rows {
		f := &rows[i]
		t, l := thresholdOf(facts, f)
		if t == nil || !t.IsActive || !watched(l) || t.LimitQuantity != f.LimitQuantity || t.LimitWithGrace() != f.LimitWithGrace {
			continue
		}
		date, probability, ok := asOf(f, l, now)
		if !ok {
			continue
		}
		counters, err := tx.Counters(ctx, []usance.CounterKey{{LicenseID: f.LicenseID, ThresholdID: t.ID, PeriodStart: f.PeriodStart}})
		if err != nil {
			return nil, err
		}
		used := f.UsedQuantity
		if len(counters) > 0 {
			used = counters[0].Quantity
		}
		if used >= t.LimitQuantity {
			continue
		}
		told, _, err := tx.Alerts(ctx, usance.AlertFilter{LicenseID: f.LicenseID, ThresholdID: t.ID, Kind: usance.AlertForecast}, usance.Page{Limit: 1000})
		if err != nil {
			return nil, err
		}
		told = slices.DeleteFunc(told, func(a usance.Alert) bool { return a.PeriodStart != f.PeriodStart })
		if len(told) > 0 { // newest first
			if d := told[0].PredictedBreachDate; d != nil && max(date-*d, *d-date) <= moved {
				continue
			}
		}
		if t.Kind() == usance.KindHard && len(counters) > 0 { // which is full before its last unit is used
			days, err := tx.DayUsage(ctx, f.LicenseID, f.PeriodStart, f.PeriodEnd)
			if err != nil {
				return nil, err
			}
			if _, full := filled(t, &counters[0], days); full {
				continue
			}
		}
		a := usance.Alert{
			ID: usance.NewID(now), Kind: usance.AlertForecast, LicenseID: f.LicenseID, ThresholdID: t.ID, UsageType: t.UsageType,
			PeriodStart: f.PeriodStart, PeriodEnd: f.PeriodEnd, Epoch: len(told) + 1, Quantity: used, LimitQuantity: t.LimitQuantity,
			PredictedBreachDate: &date, BreachProbability: probability,
			Severity: usance.SeverityWarning, Reason: breachReason(f, t, date, probability), CreatedAt: now,
		}
		if probability >= surely || date-f.ForecastDate <= soon {
			a.Severity = usance.SeverityCritical
		}
		out = append(out, a)
	}
	return out, nil
}

// asOf gives the date and the probability of a limit that was not reached by now.
// Days of the licence may have ended since the forecast was made: of its chance the
// part that lay in them has not come true, and what was expected then is expected
// today, if it is expected still.
func asOf(f *usance.Forecast, l *usance.License, now time.Time) (date usance.Date, probability float64, ok bool) {
	zone, _, end, err := l.Term()
	if err != nil || !now.Before(end) || !now.Before(f.PeriodEnd.Start(zone)) {
		return 0, 0, false
	}
	date, probability = *f.PredictedBreachDate, *f.BreachProbability
	today := usance.DateOf(now, zone)
	if date >= today {
		return date, probability, true
	}
	gone := 0.5
	if p := f.Outlook.Limit; p != nil && p.Late != nil && *p.Late < today {
		gone = 0.9
	}
	probability = (probability - gone) / (1 - gone)
	return today, probability, probability >= minProbability
}

func thresholdOf(facts []usance.Facts, f *usance.Forecast) (*usance.Threshold, *usance.License) {
	for i := range facts {
		for j := range facts[i].Thresholds {
			if t := &facts[i].Thresholds[j]; t.ID == f.ThresholdID && t.LicenseID == f.LicenseID {
				return t, &facts[i].License
			}
		}
	}
	return nil, nil
}

func breachReason(f *usance.Forecast, t *usance.Threshold, date usance.Date, probability float64) string {
	var b strings.Builder
	what := f.UsageType + " usage"
	if f.UsageType == usance.AllTypes {
		what = "usage of all types"
	}
	period := string(t.PeriodType) + " limit"
	if t.PeriodType == usance.PeriodTotal {
		period = "limit"
	}
	fmt.Fprintf(&b, "%s is expected to pass its %s of %d on %s", what, period, f.LimitQuantity, date)
	if l := f.Outlook.Limit; l != nil && l.Early != nil {
		early := *l.Early
		if date != *f.PredictedBreachDate { // the days before have shown that it is none of them
			early = date
		}
		if l.Late != nil && *l.Late > early {
			fmt.Fprintf(&b, " (%s to %s)", early, l.Late)
		} else if l.Late == nil && early != date {
			fmt.Fprintf(&b, " (%s at the earliest)", early)
		}
	}
	fmt.Fprintf(&b, ", with a probability of %.0f %%", math.Floor(probability*100))
	if f.PeriodEnd != usance.MaxDate {
		fmt.Fprintf(&b, "; by %s it is expected to come to %d", f.PeriodEnd-1, f.PredictedQuantity)
	}
	return b.String()
}
