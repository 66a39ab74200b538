package usance

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Miscount is a counter that does not hold what was used in its period, or
// overages that do not charge what the counter comes to.
type Miscount struct {
	CounterKey
	UsageType string
	Overages  bool // the counter's overages, not the counter itself
	Problem   string
}

// CheckCounters compares the counters of threshold t whose periods touch the
// local days [from, to) with rollups and tail, and the overages with the
// counters, and changes nothing. A retired threshold's counters stand still:
// of those only the overages are compared. It tells how many it compared.
func CheckCounters(ctx context.Context, v View, l *License, t *Threshold, from, to Date) (counters, overages int, wrong []Miscount, err error) {
	stored, err := v.CountersOf(ctx, l.ID, t.ID)
	if err != nil {
		return 0, 0, nil, err
	}
	stored = slices.DeleteFunc(stored, func(c Counter) bool { return c.PeriodEnd <= from || c.PeriodStart >= to })
	first, last := PeriodOf(t.PeriodType, from, l.BillingAnchorDay), PeriodOf(t.PeriodType, to-1, l.BillingAnchorDay)
	sums, err := periodSums(ctx, v, l, t, first.Start, last.End)
	if err != nil {
		return 0, 0, nil, err
	}
	keys := make([]CounterKey, len(stored))
	for i := range stored {
		keys[i] = stored[i].CounterKey
	}
	rows, err := v.Revisions(ctx, keys)
	if err != nil {
		return 0, 0, nil, err
	}
	revisions := GroupRevisions(rows)
	for i := range stored {
		c := &stored[i]
		bad := Miscount{CounterKey: c.CounterKey, UsageType: t.UsageType}
		if c.State.Moves() {
			counters++
			if sum := sums[c.PeriodStart]; c.Quantity != sum {
				bad.Problem = fmt.Sprintf("the counter holds %d units, its period's usage is %d", c.Quantity, sum)
				wrong = append(wrong, bad)
			}
		}
		delete(sums, c.PeriodStart)
		overages += len(revisions[c.CounterKey])
		unitsDue, centsDue, err := t.Due(*c, revisions[c.CounterKey])
		if err != nil {
			return 0, 0, nil, err
		}
		var units, cents int64
		for _, r := range revisions[c.CounterKey] {
			units, cents = units+r.OverageQuantity, cents+r.CalculatedFeeCents
		}
		if units != unitsDue || cents != centsDue {
			bad.Overages = true
			bad.Problem = fmt.Sprintf("the overages hold %d units and charge %d cents; the counter, at %d units, comes to %d units and %d cents",
				units, cents, c.Quantity, unitsDue, centsDue)
			wrong = append(wrong, bad)
		}
	}
	for _, start := range slices.Sorted(maps.Keys(sums)) {
		if sum := sums[start]; sum != 0 && t.IsActive && start >= t.EffectiveFrom {
			wrong = append(wrong, Miscount{
				CounterKey: CounterKey{LicenseID: l.ID, ThresholdID: t.ID, PeriodStart: start}, UsageType: t.UsageType,
				Problem: fmt.Sprintf("there is no counter, its period's usage is %d units", sum),
			})
		}
	}
	return counters, overages, wrong, nil
}
