package usance

import (
	"context"
	"slices"
)

// Consequences gathers what several verdicts bring about, so that it is
// written by a few statements.
type Consequences struct {
	Counters []Counter // whose level moved
	Overages []Overage
	Alerts   []Alert
	Warnings []Warning
}

// Add takes in the verdict on the counter that is stored as before; currency
// is the licence's.
func (q *Consequences) Add(before Counter, v Verdict, currency string) {
	if v.Counter.Level != before.Level || v.Counter.State != before.State || v.Counter.Quantity != before.Quantity || v.Counter.Terms != before.Terms {
		q.Counters = append(q.Counters, v.Counter)
	}
	if v.Overage != nil {
		o := *v.Overage
		if o.ID.IsZero() {
			o.ID, o.Currency = NewID(o.DetectedAt), currency
		}
		q.Overages = append(q.Overages, o)
	}
	for _, a := range v.Alerts {
		a.ID = NewID(a.CreatedAt)
		q.Alerts = append(q.Alerts, a)
		if v.Warned && a.Kind == AlertThreshold {
			q.Warnings = append(q.Warnings, Warning{LicenseID: a.LicenseID, ThresholdID: a.ThresholdID, Level: a.Level, At: a.CreatedAt})
		}
	}
}

// Write writes what was gathered, each kind sorted by key.
func (q *Consequences) Write(ctx context.Context, tx Tx) error {
	if len(q.Counters) > 0 {
		slices.SortFunc(q.Counters, func(a, b Counter) int { return a.Compare(b.CounterKey) })
		if err := tx.PutCounters(ctx, q.Counters); err != nil {
			return err
		}
	}
	if len(q.Warnings) > 0 {
		slices.SortFunc(q.Warnings, func(a, b Warning) int {
			return CounterKey{LicenseID: a.LicenseID, ThresholdID: a.ThresholdID}.Compare(CounterKey{LicenseID: b.LicenseID, ThresholdID: b.ThresholdID})
		})
		if err := tx.WarnThresholds(ctx, q.Warnings); err != nil {
			return err
		}
	}
	if len(q.Overages) > 0 {
		if err := tx.PutOverages(ctx, q.Overages); err != nil {
			return err
		}
	}
	if len(q.Alerts) > 0 {
		return tx.AddAlerts(ctx, q.Alerts)
	}
	return nil
}

// GroupRevisions files overage rows by their counter.
func GroupRevisions(rows []Overage) map[CounterKey][]Overage {
	out := make(map[CounterKey][]Overage)
	for _, o := range rows {
		k := o.counter()
		out[k] = append(out[k], o)
	}
	return out
}
