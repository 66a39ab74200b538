package usance

import (
	"context"
	"slices"
)

// Recount sets the counters of threshold t whose periods touch the local days
// [from, to) to what rollups and tail hold, makes those that are missing, and
// writes what follows: alerts, overages, levels. The caller holds the
// licence's group exclusively. It tells how many counters changed.
//
// anew says that the threshold is new, or its limit: all its levels are open
// again, but in periods that keep terms of their own, and the highest that is
// reached alerts at once. by is for the audit rows of the overages that change.
func Recount(ctx context.Context, tx Tx, l *License, t *Threshold, from, to Date, anew bool, m Moment, by Cause) (int, error) {
	stored, err := tx.CountersOf(ctx, l.ID, t.ID)
	if err != nil {
		return 0, err
	}
	stored = slices.DeleteFunc(stored, func(c Counter) bool {
		return !c.State.Moves() || c.PeriodEnd <= from || c.PeriodStart >= to
	})
	first, last := PeriodOf(t.PeriodType, from, l.BillingAnchorDay), PeriodOf(t.PeriodType, to-1, l.BillingAnchorDay)
	sums, err := periodSums(ctx, tx, l, t, first.Start, last.End)
	if err != nil {
		return 0, err
	}
	have := make(map[Date]bool, len(stored))
	for i := range stored {
		have[stored[i].PeriodStart] = true
	}
	var missing []Counter
	for start, sum := range sums {
		if have[start] || sum == 0 || !t.IsActive || start < t.EffectiveFrom {
			continue
		}
		missing = append(missing, Counter{
			CounterKey: CounterKey{LicenseID: l.ID, ThresholdID: t.ID, PeriodStart: start},
			PeriodEnd:  PeriodOf(t.PeriodType, start, l.BillingAnchorDay).End, State: CounterOpen,
		})
	}
	slices.SortFunc(missing, func(a, b Counter) int { return a.Compare(b.CounterKey) })
	if len(missing) > 0 {
		if err := tx.EnsureCounters(ctx, missing); err != nil {
			return 0, err
		}
	}
	keys := make([]CounterKey, 0, len(stored)+len(missing))
	for _, c := range slices.Concat(stored, missing) {
		keys = append(keys, c.CounterKey)
	}
	if len(keys) == 0 {
		return 0, nil
	}
	slices.SortFunc(keys, CounterKey.Compare)
	locked, err := tx.LockCounters(ctx, keys)
	if err != nil {
		return 0, err
	}
	rows, err := tx.Revisions(ctx, keys)
	if err != nil {
		return 0, err
	}
	revisions := GroupRevisions(rows)
	var out Consequences
	changed := 0
	for _, before := range locked {
		c := before
		c.Quantity = sums[c.PeriodStart]
		if c.Quantity != before.Quantity {
			changed++
		}
		if anew && c.Terms == nil {
			c.Level = 0
		}
		v, err := t.Judge(c, revisions[c.CounterKey], m)
		if err != nil {
			return 0, err
		}
		if err := out.Add(before, v, l.Currency, by); err != nil {
			return 0, err
		}
	}
	return changed, out.Write(ctx, tx)
}

// periodSums adds up the days' usage of the types that t covers, by the start
// of t's period.
func periodSums(ctx context.Context, v View, l *License, t *Threshold, from, to Date) (map[Date]int64, error) {
	days, err := v.DayUsage(ctx, l.ID, from, to)
	if err != nil {
		return nil, err
	}
	sums := make(map[Date]int64)
	for i := range days {
		if t.Covers(days[i].UsageType) {
			sums[PeriodOf(t.PeriodType, days[i].Date, l.BillingAnchorDay).Start] += days[i].Quantity
		}
	}
	return sums, nil
}
