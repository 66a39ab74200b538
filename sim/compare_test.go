package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/usance/usance"
)

type tally struct{ Events, Quantity, Revenue int64 }

func (t tally) plus(o tally) tally {
	return tally{t.Events + o.Events, t.Quantity + o.Quantity, t.Revenue + o.Revenue}
}

// cell is a value of a dimension on a day; no dimension is the row itself.
type cell struct {
	Day                    Day
	Type, Dimension, Value string
}

// table is a state as lines that can be compared.
type table []string

func (t *table) add(format string, args ...any) { *t = append(*t, fmt.Sprintf(format, args...)) }

func sameTables(what string, got, want table) error {
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return nil
	}
	var diff []string
	for _, line := range got {
		if n := slices.Index(want, line); n >= 0 {
			want = slices.Delete(want, n, n+1)
			continue
		}
		diff = append(diff, "  product "+line)
	}
	for _, line := range want {
		diff = append(diff, "  model   "+line)
	}
	return fmt.Errorf("%s:\n%s", what, strings.Join(diff, "\n"))
}

// compare holds all that is stored about the licences against the model:
// usage and counters always, the rest when deep.
func (r *run) compare(deep bool, licenses ...*License) error {
	return r.raw.View(r.ctx, func(v usance.View) error {
		ids := make([]string, len(licenses))
		for i := range licenses {
			ids[i] = licenses[i].ID
		}
		facts, err := v.Facts(r.ctx, ids)
		if err != nil {
			return err
		}
		for _, l := range licenses {
			checks := []func(usance.View, *License) error{r.sameUsage, func(v usance.View, l *License) error { return r.sameThresholds(v, l, facts) }}
			if deep {
				checks = append(checks, r.sameBreakdowns, r.sameEvents, r.sameEvidence, r.viewOverages, r.sameAlerts, r.sameAudit, r.sameDays)
			}
			for _, check := range checks {
				if err := check(v, l); err != nil {
					return fmt.Errorf("licence %s: %w", l.ID, err)
				}
			}
		}
		return nil
	})
}

func (r *run) sameUsage(v usance.View, l *License) error {
	rows, err := v.DayUsage(r.ctx, l.ID, usance.MinDate, usance.MaxDate)
	if err != nil {
		return err
	}
	got, want := make(map[cell]tally), make(map[cell]tally)
	for _, u := range rows {
		if (u.Tally != usance.Tally{}) {
			got[cell{Day: Day(u.Date), Type: u.UsageType}] = tally{u.Events, u.Quantity, u.RevenueCents}
		}
	}
	for _, e := range l.Events {
		c := cell{Day: e.Day, Type: e.Type}
		want[c] = want[c].plus(tally{e.Sign(), e.Quantity, e.Revenue})
	}
	return sameCells("usage by day", got, want)
}

func sameCells(what string, got, want map[cell]tally) error {
	var lines []string
	for c, t := range got {
		if want[c] != t {
			lines = append(lines, fmt.Sprintf("  %s %v: product %v, model %v", showDay(c.Day), c, t, want[c]))
		}
	}
	for c, t := range want {
		if _, ok := got[c]; !ok && t != (tally{}) {
			lines = append(lines, fmt.Sprintf("  %s %v: product nothing, model %v", showDay(c.Day), c, t))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	return fmt.Errorf("%s:\n%s", what, strings.Join(lines, "\n"))
}

func showDay(d Day) string { return usance.Date(d).String() }

func (r *run) sameThresholds(v usance.View, l *License, facts []usance.Facts) error {
	n := slices.IndexFunc(facts, func(f usance.Facts) bool { return f.License.ID == l.ID })
	if n < 0 {
		return errors.New("is not there")
	}
	var got, want table
	f := &facts[n].License
	got.add("licence %s tracked %t deleted %t %s..%s", f.Status, f.UsageTrackingEnabled, f.DeletedAt != nil, f.StartDate, f.EndDate)
	want.add("licence %s tracked %t deleted %t %s..%s", l.Status, l.Tracking, l.Deleted, l.Start, l.End)
	for i := range facts[n].Thresholds {
		t := &facts[n].Thresholds[i]
		last := 0
		if t.LastWarningLevel != nil {
			last = *t.LastWarningLevel
		}
		got.add("threshold %s %s %s active %t limit %d from %s last level %d", t.ID, t.UsageType, t.PeriodType, t.IsActive, t.LimitQuantity, t.EffectiveFrom, last)
		rows, err := v.CountersOf(r.ctx, l.ID, t.ID)
		if err != nil {
			return err
		}
		var of *Threshold
		for _, m := range l.Thresholds {
			if m.ID == t.ID {
				of = m
			}
		}
		for _, c := range rows {
			// A refused event may leave an empty counter of a period that is
			// judged, and need not.
			if of != nil && c.Quantity == 0 && c.State == usance.CounterOpen && of.judges(Day(c.PeriodStart)) {
				of.Make(Day(c.PeriodStart))
			}
			got.add("counter %s %s %s..%s %s %d level %d", t.ID, t.UsageType, c.PeriodStart, c.PeriodEnd, c.State, c.Quantity, c.Level)
		}
	}
	for _, t := range l.Thresholds {
		want.add("threshold %s %s %s active %t limit %d from %s last level %d", t.ID, t.Type, t.Period, t.Active, t.Limit, showDay(t.From), t.LastLevel)
		for _, c := range t.Counters {
			want.add("counter %s %s %s..%s %s %d level %d", t.ID, t.Type, showDay(c.Start), showDay(c.End), c.State, t.Quantity(c), c.Level)
		}
	}
	return sameTables("licence, thresholds, counters", got, want)
}

var dimensions = []string{"hour", "platform", "device", "geography", "source"}

func orNone(s string) string { return cmp.Or(s, "(none)") }

// sameBreakdowns compares rollups and tail together, as a reader sees them.
func (r *run) sameBreakdowns(v usance.View, l *License) error {
	got, want := make(map[cell]tally), make(map[cell]tally)
	sessions := make(map[usance.Date]*usance.Sessions)
	add := func(row *usance.Rollup) error {
		c := cell{Day: Day(row.Date), Type: row.UsageType}
		got[c] = got[c].plus(tally{row.Events, row.Quantity, row.RevenueCents})
		for d, values := range row.Breakdown {
			for value, t := range values {
				c.Dimension, c.Value = string(d), value
				got[c] = got[c].plus(tally{t.Events, t.Quantity, t.RevenueCents})
			}
		}
		return nil
	}
	if err := v.Rollups(r.ctx, l.ID, usance.MinDate, usance.MaxDate, nil, add); err != nil {
		return err
	}
	err := v.DaySessions(r.ctx, l.ID, usance.MinDate, usance.MaxDate, func(d usance.Date, s *usance.Sessions) error {
		kept := *s
		sessions[d] = &kept
		return nil
	})
	if err != nil {
		return err
	}
	err = v.Tail(r.ctx, l.ID, usance.MinDate, usance.MaxDate, func(e *usance.Event) error {
		one := usance.Rollup{RollupKey: usance.RollupKey{LicenseID: l.ID, Date: e.LocalDate, UsageType: e.UsageType}}
		one.Add(e)
		if sessions[e.LocalDate] == nil {
			sessions[e.LocalDate] = new(usance.Sessions)
		}
		sessions[e.LocalDate].Add(e.SessionHash)
		return add(&one)
	})
	if err != nil {
		return err
	}
	seen := make(map[Day]map[string]bool)
	for _, e := range l.Events {
		t := tally{e.Sign(), e.Quantity, e.Revenue}
		values := []string{fmt.Sprint(e.Slot), orNone(e.Platform), orNone(e.Device), orNone(e.Geo), e.Source}
		for i, d := range dimensions {
			c := cell{e.Day, e.Type, d, values[i]}
			want[c] = want[c].plus(t)
		}
		c := cell{Day: e.Day, Type: e.Type}
		want[c] = want[c].plus(t)
		if e.Session != "" {
			if seen[e.Day] == nil {
				seen[e.Day] = make(map[string]bool)
			}
			seen[e.Day][e.Session] = true
		}
	}
	if err := sameCells("breakdowns", got, want); err != nil {
		return err
	}
	var gs, ws table
	for d, s := range sessions {
		if n := s.Estimate(); n > 0 {
			gs.add("%s %d", d, n)
		}
	}
	for d, s := range seen {
		ws.add("%s %d", showDay(d), len(s))
	}
	return sameTables("sessions", gs, ws)
}

func (r *run) sameEvents(v usance.View, l *License) error {
	var got, want table
	err := r.eachEvent(v, l, func(e *usance.Event) {
		key := e.IdempotencyKey
		if !e.VoidOf.IsZero() {
			key = "a void"
		}
		got.add("%s %s %s %d %d at %s voided %t", showDay(Day(e.LocalDate)), key, e.UsageType, e.Quantity, e.RevenueCents, e.OccurredAt.Format(time.RFC3339Nano), e.Voided)
	})
	if err != nil {
		return err
	}
	voided := make(map[*Event]bool)
	for _, e := range l.Events {
		if e.Void != nil && !e.Pruned {
			voided[e.Void] = true
		}
	}
	for _, e := range l.Events {
		if e.Pruned {
			continue
		}
		key := e.Key
		if e.Void != nil {
			key = "a void"
		}
		want.add("%s %s %s %d %d at %s voided %t", showDay(e.Day), key, e.Type, e.Quantity, e.Revenue, e.At.UTC().Format(time.RFC3339Nano), voided[e])
	}
	return sameTables("raw events", got, want)
}

// eachEvent yields the raw events of a licence.
func (r *run) eachEvent(v usance.View, l *License, yield func(*usance.Event)) error {
	page := usance.Page{Limit: 1000}
	for {
		rows, next, err := v.Events(r.ctx, usance.EventFilter{LicenseID: l.ID}, page)
		if err != nil {
			return err
		}
		for i := range rows {
			yield(&rows[i])
		}
		if page.Cursor = next; next == "" {
			return nil
		}
	}
}

func (r *run) sameEvidence(v usance.View, l *License) error {
	rows, _, err := v.Evidence(r.ctx, usance.EventFilter{LicenseID: l.ID}, usance.Page{Limit: 1000})
	if err != nil {
		return err
	}
	var got, want table
	for _, e := range rows {
		key := e.IdempotencyKey
		if !e.VoidOf.IsZero() {
			key = "a void"
		} else if _, err := usance.ParseID(key); err == nil {
			key = "made"
		}
		got.add("%s %s %s of %d by %q, attempts %d", key, e.Status, e.Code, e.Quantity, e.ThresholdID, e.Attempts)
	}
	for key, e := range l.Evidence {
		if strings.HasPrefix(key, "void of ") {
			key = "a void"
		} else if strings.HasPrefix(key, "made ") {
			key = "made"
		}
		want.add("%s %s %s of %d by %q, attempts %d", key, e.Status, e.Code, e.Quantity, e.Threshold, e.Attempts)
	}
	return sameTables("evidence", got, want)
}

func (r *run) overages(v usance.View, l *License) ([]usance.Overage, error) {
	rows, _, err := v.Overages(r.ctx, usance.OverageFilter{LicenseID: l.ID}, usance.Page{Limit: 1000})
	return rows, err
}

func (r *run) sameOverages(l *License) error {
	return r.raw.View(r.ctx, func(v usance.View) error { return r.viewOverages(v, l) })
}

func (r *run) viewOverages(v usance.View, l *License) error {
	rows, err := r.overages(v, l)
	if err != nil {
		return err
	}
	var got, want table
	for i := range rows {
		o := &rows[i]
		name := fmt.Sprintf("%s %s %s revision %d", o.ThresholdID, o.UsageType, o.PeriodDate, o.Revision)
		got.add("%s %s over %d fee %d settle %s actual %d", name, o.Status, o.OverageQuantity, o.CalculatedFeeCents, o.SettleAt.UTC().Format(time.RFC3339), o.ActualQuantity)
	}
	for _, t := range l.Thresholds {
		for _, c := range t.Counters {
			for _, o := range c.Overages {
				name := fmt.Sprintf("%s %s %s revision %d", t.ID, t.Type, showDay(c.Start), o.Revision)
				want.add("%s %s over %d fee %d settle %s actual %d", name, o.Status, o.Quantity, o.Fee, o.SettleAt.UTC().Format(time.RFC3339), o.Actual)
			}
		}
	}
	return sameTables("overages", got, want)
}

func (r *run) sameAlerts(v usance.View, l *License) error {
	var got, want table
	rows, _, err := v.Alerts(r.ctx, usance.AlertFilter{LicenseID: l.ID}, usance.Page{Limit: 1000})
	if err != nil {
		return err
	}
	for _, a := range rows {
		got.add("%s %s %s level %d epoch %d at %d of %d", a.ThresholdID, a.PeriodStart, a.Kind, a.Level, a.Epoch, a.Quantity, a.LimitQuantity)
	}
	for _, t := range l.Thresholds {
		for k, a := range r.model.Alerts {
			if k.Threshold == t.ID {
				want.add("%s %s %s level %d epoch %d at %d of %d", t.ID, showDay(k.Start), k.Kind, k.Level, k.Epoch, a.Quantity, a.Limit)
			}
		}
	}
	return sameTables("alerts", got, want)
}

// sameAudit: each change left its row, and what changed nothing left none.
func (r *run) sameAudit(v usance.View, l *License) error {
	counts := make(map[string]int)
	page := usance.Page{Limit: 1000}
	for {
		rows, next, err := v.Audit(r.ctx, usance.AuditFilter{LicenseID: l.ID}, page)
		if err != nil {
			return err
		}
		for i := range rows {
			counts[rows[i].Action]++
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	delete(counts, "usage.recalculate") // a job that crashed is run again
	return same("audit", counts, l.Audit)
}

func (r *run) sameDays(v usance.View, l *License) error {
	sealed, err := v.SealedDays(r.ctx, l.ID, usance.MinDate, usance.MaxDate)
	if err != nil {
		return err
	}
	var got, want table
	for _, d := range sealed {
		got.add("%s sealed", d)
	}
	for d := range l.Sealed {
		want.add("%s sealed", showDay(d))
	}
	return sameTables("sealed days", got, want)
}
