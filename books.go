package usance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Miscount is a counter that does not hold what was used in its period or is not
// in the state or of the period that it must be, or an overage that does not
// charge what its counter comes to.
type Miscount struct {
	CounterKey
	PeriodType PeriodType // empty where the threshold is not there
	UsageType  string
	Overages   bool // the counter's overages, not the counter itself
	Problem    string
	Fix        string // what to do about it
}

// CheckCounters compares the counters of threshold t whose periods touch the
// local days [from, to) with rollups and tail, with the licence's calendar and
// the clock, and the overages with the counters, and changes nothing. A retired
// threshold's counters stand still: their quantities are not compared. It tells
// how many counters' quantities and how many overage rows it compared.
func CheckCounters(ctx context.Context, v View, l *License, t *Threshold, from, to Date, m Moment) (counters, overages int, wrong []Miscount, err error) {
	stored, err := v.CountersOf(ctx, l.ID, t.ID)
	if err != nil {
		return 0, 0, nil, err
	}
	stored = slices.DeleteFunc(stored, func(c Counter) bool { return !t.touches(c, from, to, m) })
	first, last := PeriodOf(t.PeriodType, from, m.AnchorDay), PeriodOf(t.PeriodType, to-1, m.AnchorDay)
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
		fault := func(ofOverages bool, problem, fix string) {
			wrong = append(wrong, Miscount{c.CounterKey, t.PeriodType, t.UsageType, ofOverages, problem, fix})
		}
		fix := t.recalculation(c.PeriodStart, m)
		if problem := t.misplaced(c, m); problem != "" {
			if PeriodOf(t.PeriodType, c.PeriodStart, m.AnchorDay).Start != c.PeriodStart {
				fix = "put period_start of this row of license_usage_counters back by hand, or the row from a backup"
			}
			fault(false, problem, fix)
		}
		if c.State.Moves() {
			counters++
			if sum := sums[c.PeriodStart]; c.Quantity != sum {
				fault(false, fmt.Sprintf("the counter holds %d units, its period's usage is %d", c.Quantity, sum), fix)
			}
		}
		if problem := t.misjudged(c); problem != "" {
			fault(false, problem, counterByHand)
		}
		delete(sums, c.PeriodStart)
		of := revisions[c.CounterKey]
		overages += len(of)
		problem, mendable, err := t.mischarged(c, of)
		if err != nil {
			return 0, 0, nil, err
		}
		for i := 0; i < len(of) && problem == ""; i++ {
			problem, mendable = t.misfiled(c, &of[i], l, m)
		}
		switch {
		case problem == "":
		case mendable:
			fault(true, problem, fix)
		default:
			fault(true, problem, overageByHand)
		}
	}
	for _, start := range slices.Sorted(maps.Keys(sums)) {
		if sum := sums[start]; sum != 0 && t.IsActive && start >= t.EffectiveFrom {
			wrong = append(wrong, Miscount{
				CounterKey: CounterKey{LicenseID: l.ID, ThresholdID: t.ID, PeriodStart: start}, PeriodType: t.PeriodType, UsageType: t.UsageType,
				Problem: fmt.Sprintf("there is no counter, its period's usage is %d units", sum), Fix: t.recalculation(start, m),
			})
		}
	}
	return counters, overages, wrong, nil
}

// touches tells whether the counter's period, as the calendar has it, touches
// the local days [from, to).
func (t *Threshold) touches(c Counter, from, to Date, m Moment) bool {
	return c.PeriodStart < to && PeriodOf(t.PeriodType, c.PeriodStart, m.AnchorDay).End > from
}

// recalculation says how the counter of a period is put right.
func (t *Threshold) recalculation(start Date, m Moment) string {
	if t.PeriodType == PeriodTotal {
		start = DateOf(m.Now, m.Zone)
	}
	return fmt.Sprintf("recalculate a day of the period: POST /v1/recalculate with licenseId %q, startDate and endDate %s", t.LicenseID, start)
}

// clockSlack is how much sooner than planned a counter may have been closed: a
// clock that was set back, or that of another node, is no fault of the counter.
const clockSlack = time.Hour

// planned gives the counter as the threshold, the licence's calendar and the
// clock have it: with the end of its period; open until that is over and the
// late grace with it; frozen when the threshold was retired in the period, and
// not frozen when it is in force.
func (t *Threshold) planned(c Counter, m Moment) Counter {
	p := PeriodOf(t.PeriodType, c.PeriodStart, m.AnchorDay)
	was := c.State
	c.PeriodEnd = p.End
	over := c.State == c.State.Closed()
	if m.Now.Before(p.End.Start(m.Zone).Add(m.LateGrace - clockSlack)) {
		over = false
	}
	moves := c.State.Moves()
	switch {
	case t.IsActive && c.PeriodStart >= t.EffectiveFrom:
		moves = true
	case !t.IsActive && t.RetiredAt != nil && p.End > DateOf(*t.RetiredAt, m.Zone):
		moves = false
	}
	c.State = CounterFrozen
	if moves {
		c.State = CounterOpen
	}
	if over {
		c.State = c.State.Closed()
	}
	if c.State == CounterOpen && was != CounterOpen && p.Contains(DateOf(m.Now, m.Zone)) {
		c.Terms = nil // those of the threshold, until the period ends
	}
	return c
}

// misplaced says how the counter differs from what is planned; nothing when it
// does not.
func (t *Threshold) misplaced(c *Counter, m Moment) string {
	p, plan := PeriodOf(t.PeriodType, c.PeriodStart, m.AnchorDay), t.planned(*c, m)
	switch {
	case p.Start != c.PeriodStart:
		return fmt.Sprintf("the counter's period begins on %s, by the licence's calendar it begins on %s", c.PeriodStart, p.Start)
	case c.PeriodEnd != p.End:
		return fmt.Sprintf("the counter's period ends before %s, by the licence's calendar it ends before %s", c.PeriodEnd, p.End)
	case c.State == plan.State:
		return ""
	case c.State.Moves() != plan.State.Moves() && plan.State.Moves():
		return fmt.Sprintf("the counter is %s and counts nothing, though its threshold is in force: it must be %s", c.State, plan.State)
	case c.State.Moves() != plan.State.Moves():
		return fmt.Sprintf("the counter is %s and counts, though its threshold was retired in the period: it must be %s", c.State, plan.State)
	}
	return fmt.Sprintf("the counter is %s before its time, which comes on %s: it must be %s until then, or USANCE_LATE_GRACE was raised since",
		c.State, p.End.Start(m.Zone).Add(m.LateGrace).UTC().Format(time.RFC3339), plan.State)
}

// mischarged says what is wrong with the overage rows of the counter, which are
// in the order of their revisions: first their sums, then, row by row, the usage
// that they say there was. mendable tells that a recalculation puts it right.
func (t *Threshold) mischarged(c *Counter, revisions []Overage) (problem string, mendable bool, err error) {
	unitsDue, centsDue, err := t.Due(*c, revisions)
	if err != nil {
		return "", false, err
	}
	var units, cents int64
	for i := range revisions {
		units, cents = units+revisions[i].OverageQuantity, cents+revisions[i].CalculatedFeeCents
	}
	if units != unitsDue || cents != centsDue {
		return fmt.Sprintf("the overages hold %d units and charge %d cents; the counter, at %d units, comes to %d units and %d cents",
			units, cents, c.Quantity, unitsDue, centsDue), c.State.Moves(), nil
	}
	units = 0
	for i := range revisions {
		r := &revisions[i]
		units += r.OverageQuantity
		used := Terms{LimitQuantity: r.LimitQuantity, GracePercentage: r.GracePercentage}.LimitWithGrace() + units
		if units > 0 && r.ActualQuantity != used {
			return fmt.Sprintf("revision %d (%s) says that %d units were used, its limit and what was charged until then come to %d units",
				r.Revision, r.Status, r.ActualQuantity, used), r.Status == OverageDetected && c.State.Moves(), nil
		}
	}
	return "", false, nil
}

// CheckStrays finds the licence's overages whose threshold, or whose period's
// counter, does not exist.
func CheckStrays(ctx context.Context, v View, l *License, thresholds []Threshold, m Moment) ([]Miscount, error) {
	var wrong []Miscount
	counters := make(map[CounterKey]bool)
	of := make(map[string]*Threshold)
	page := Page{Limit: 1000}
	for {
		rows, next, err := v.Overages(ctx, OverageFilter{LicenseID: l.ID}, page)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 && len(of) == 0 {
			for i := range thresholds {
				of[thresholds[i].ID] = &thresholds[i]
				list, err := v.CountersOf(ctx, l.ID, thresholds[i].ID)
				if err != nil {
					return nil, err
				}
				for j := range list {
					counters[list[j].CounterKey] = true
				}
			}
		}
		for i := range rows {
			r := &rows[i]
			bad := Miscount{CounterKey: r.counter(), UsageType: r.UsageType, Overages: true}
			row := fmt.Sprintf("revision %d (%s, %d units, %d cents)", r.Revision, r.Status, r.OverageQuantity, r.CalculatedFeeCents)
			switch t := of[r.ThresholdID]; {
			case t == nil:
				bad.Problem = row + " is of a threshold that does not exist"
				bad.Fix = "put the row of license_usage_thresholds back from a backup; if it was deleted on purpose, delete this row of license_usage_overages too"
			case !counters[bad.CounterKey]:
				bad.PeriodType = t.PeriodType
				bad.Problem = row + " is of a period that has no counter"
				bad.Fix = t.recalculation(r.PeriodDate, m) + ", which makes the counter of a threshold that is in force; else put the row of license_usage_counters back from a backup"
			default:
				continue
			}
			wrong = append(wrong, bad)
		}
		if next == "" {
			slices.SortStableFunc(wrong, func(a, b Miscount) int { return a.Compare(b.CounterKey) })
			return wrong, nil
		}
		page.Cursor = next
	}
}

// MendCounters gives the counters of threshold t whose periods touch the local
// days [from, to) the end and the state that they must have, where something
// else than the program changed them, and tells how many had another. What they
// hold is for Recount to work out. The caller holds the licence's group
// exclusively.
func MendCounters(ctx context.Context, tx Tx, l *License, t *Threshold, from, to Date, m Moment) (int, error) {
	stored, err := tx.CountersOf(ctx, l.ID, t.ID)
	if err != nil {
		return 0, err
	}
	var keys []CounterKey
	for i := range stored {
		c := &stored[i]
		if t.touches(*c, from, to, m) && t.misplaced(c, m) != "" && PeriodOf(t.PeriodType, c.PeriodStart, m.AnchorDay).Start == c.PeriodStart {
			keys = append(keys, c.CounterKey)
		}
	}
	if len(keys) == 0 {
		return 0, nil
	}
	locked, err := tx.LockCounters(ctx, keys)
	if err != nil {
		return 0, err
	}
	for i := range locked {
		locked[i] = t.planned(locked[i], m)
	}
	return len(locked), tx.PutCounters(ctx, locked)
}
