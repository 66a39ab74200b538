package usance

import (
	"context"
	"fmt"
	"slices"
)

// Consequences gathers what several verdicts bring about, so that it is
// written by a few statements.
type Consequences struct {
	Counters []Counter // whose level moved
	Overages []Overage
	Alerts   []Alert
	Warnings []Warning
	Audit    []AuditEntry // of overages that did more than grow with their open period
}

// Cause is who made an overage change, and by what.
type Cause struct {
	Actor  string // key id, or "job:NAME"
	Reason string // such as threshold.update
}

// Add takes in the verdict on the counter that is stored as before; currency
// is the licence's. An overage that changed leaves an audit row for each cause, with
// the overage as it was before all of them and is after: none are given where it
// counts on while its period is open.
func (q *Consequences) Add(before Counter, v Verdict, currency string, causes ...Cause) error {
	if v.Counter.Level != before.Level || v.Counter.State != before.State || v.Counter.Quantity != before.Quantity || v.Counter.Terms != before.Terms {
		q.Counters = append(q.Counters, v.Counter)
	}
	if v.Overage != nil {
		o := *v.Overage
		if o.ID.IsZero() {
			o.ID, o.Currency = NewID(o.DetectedAt), currency
		}
		q.Overages = append(q.Overages, o)
		for _, c := range causes {
			if err := q.explain(v.Former, &o, c); err != nil {
				return err
			}
		}
	}
	for _, a := range v.Alerts {
		a.ID = NewID(a.CreatedAt)
		q.Alerts = append(q.Alerts, a)
		if v.Warned && a.Kind == AlertThreshold {
			q.Warnings = append(q.Warnings, Warning{LicenseID: a.LicenseID, ThresholdID: a.ThresholdID, Level: a.Level, At: a.CreatedAt})
		}
	}
	return nil
}

// explain adds the audit row of what a cause made of an overage.
func (q *Consequences) explain(former, o *Overage, c Cause) error {
	action, before, fee := "overage.create", any(nil), int64(0)
	if former != nil {
		action, before, fee = "overage.update", *former, former.CalculatedFeeCents
	}
	e := NewAuditEntry(o.UpdatedAt, c.Actor, action, o.ID.String())
	e.LicenseID, e.Reason = o.LicenseID, fmt.Sprintf("%s: the fee goes from %d to %d cents", c.Reason, fee, o.CalculatedFeeCents)
	q.Audit = append(q.Audit, e)
	return q.Audit[len(q.Audit)-1].SetStates(before, *o)
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
	if len(q.Audit) > 0 {
		if err := tx.AddAudit(ctx, q.Audit); err != nil {
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
