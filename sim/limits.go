package sim

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A threshold's kind.
const (
	alerting = iota
	hard
	rated
)

func (t *Terms) kind() int {
	switch {
	case !t.Allow:
		return hard
	case t.Rate != "" || len(t.Tiers) > 0:
		return rated
	}
	return alerting
}

func (t *Terms) equal(o *Terms) bool {
	return t.Limit == o.Limit && t.Grace == o.Grace && t.Allow == o.Allow && t.Rate == o.Rate && slices.Equal(t.Tiers, o.Tiers)
}

func (t *Terms) withGrace() int64 { return t.Limit * (100 + t.Grace) / 100 }

// Covers tells whether usage of the type moves the threshold.
func (t *Threshold) Covers(usageType string) bool { return t.Type == "all" || t.Type == usageType }

func (t *Threshold) judges(start Day) bool { return t.Active && start >= t.From }

func (t *Threshold) at(start Day) *Counter {
	for _, c := range t.Counters {
		if c.Start == start {
			return c
		}
	}
	return nil
}

func (c *Counter) moves() bool { return c.State == "open" || c.State == "closed" }

// Make gives the period's counter, empty when there was none.
func (t *Threshold) Make(start Day) *Counter {
	c := t.at(start)
	if c == nil {
		_, end := t.License.PeriodOf(t.Period, start)
		c = &Counter{Start: start, End: end, State: "open"}
		t.Counters = append(t.Counters, c)
		slices.SortFunc(t.Counters, func(a, b *Counter) int { return cmp.Compare(a.Start, b.Start) })
	}
	return c
}

// TermsOf are the terms that the period is held to.
func (t *Threshold) TermsOf(c *Counter) *Terms {
	if c.Terms != nil {
		return c.Terms
	}
	return &t.Terms
}

// Quantity adds up the period's events.
func (t *Threshold) Quantity(c *Counter) (sum int64) {
	if !c.moves() {
		return c.kept
	}
	for _, e := range t.License.Events {
		if t.Covers(e.Type) && c.Start <= e.Day && e.Day < c.End {
			sum += e.Quantity
		}
	}
	return sum
}

func (t *Threshold) reached(quantity, limit int64) (level int) {
	for _, l := range t.Levels {
		if quantity > 0 && quantity*100 >= int64(l)*limit {
			level = l
		}
	}
	return level
}

// consequences are what follows when a counter has, or may have, changed: by
// counting, or since it is counted or judged anew.
func (m *Model) consequences(now time.Time, t *Threshold, c *Counter, overage, counting bool) {
	terms, quantity := t.TermsOf(c), t.Quantity(c)
	raise := func(kind string, level int) {
		if key := (AlertKey{t.ID, c.Start, kind, level, t.Epoch}); m.Alerts[key] == (Alert{}) {
			m.Alerts[key] = Alert{quantity, terms.Limit}
		}
	}
	if level := t.reached(quantity, terms.Limit); c.State == "open" && level > c.Level {
		c.Level = level
		raise("threshold", level)
		if today := t.License.LocalDay(now); c.Start <= today && today < c.End {
			t.LastLevel = level
		}
	}
	if !overage {
		return
	}
	// The sum over revisions is the truth: one that is not issued takes the rest.
	var units, fee, billed int64
	// No unit is billed by two: a threshold that begins later bills nothing yet.
	if terms.kind() == rated && (c.Terms != nil || c.Start >= t.From) {
		units = max(0, quantity-terms.withGrace())
		fee = terms.fee(units)
	}
	var growing *Overage
	for _, o := range c.Overages {
		if o.Status == "DETECTED" {
			growing = o
			continue
		}
		billed += o.Quantity
		fee -= o.Fee
	}
	if t.Period == "total" {
		settled := slices.DeleteFunc(slices.Clone(c.Overages), func(o *Overage) bool { return o == growing })
		fee += worth(append(settled, &Overage{Terms: *terms}), units) - terms.fee(units)
	}
	units -= billed
	fresh := growing == nil
	if fresh {
		if units == 0 && fee == 0 {
			return
		}
		if len(c.Overages) == 0 && c.State == "open" {
			raise("overage", 0)
		}
		growing = &Overage{Revision: len(c.Overages) + 1, Status: "DETECTED", SettleAt: t.settleAt(now, c).Add(m.Grace)}
		c.Overages = append(c.Overages, growing)
	}
	was := *growing
	growing.Quantity, growing.Fee, growing.Actual, growing.Terms = units, fee, quantity, *terms
	was.Terms.Allow = terms.Allow // which no overage holds
	switch {
	case counting && c.State == "open":
	case fresh:
		t.License.Audit["overage.create"]++
	case was.Quantity != units || was.Fee != fee || was.Actual != quantity || !was.Terms.equal(terms):
		t.License.Audit["overage.update"]++
	}
}

// worth is what the first units of a total cost after the given revisions. It
// has no end whose terms hold for all of it: a unit has the terms of the last
// revision that billed it.
func worth(revisions []*Overage, units int64) int64 {
	if len(revisions) == 0 {
		return 0
	}
	last, before := revisions[len(revisions)-1], revisions[:len(revisions)-1]
	billed := int64(0)
	for _, o := range before {
		billed += o.Quantity
	}
	if units <= billed {
		return worth(before, units)
	}
	return worth(before, billed) + last.Terms.fee(units) - last.Terms.fee(billed)
}

// settleAt is the end of the period, or, when that is over or never comes, of
// the one that is current.
func (t *Threshold) settleAt(now time.Time, c *Counter) time.Time {
	end := c.End
	if today := t.License.LocalDay(now); t.Period == "total" {
		_, end = t.License.PeriodOf("monthly", today)
	} else if c.State == "closed" {
		_, end = t.License.PeriodOf(t.Period, today)
	}
	return t.License.Midnight(end)
}

// Create puts a threshold in force, or revives the retired one of its type and
// period; id is what the product named it.
func (m *Model) Create(now time.Time, l *License, t Threshold, id string) string {
	var old *Threshold
	for _, o := range l.Thresholds {
		if t.kind() != alerting && o.kind() != alerting && o.Type == t.Type && o.Period == t.Period {
			if o.Active {
				return ThresholdExists
			}
			if o.kind() == t.kind() {
				old = o
			}
		}
	}
	if old != nil {
		id = old.ID
	}
	t.ID, t.License, t.Active = id, l, true
	from, code := m.free(now, &t)
	if code != "" {
		return code
	}
	if old != nil {
		l.Audit["threshold.revive"]++
		old.Terms, old.Levels, old.LastLevel, old.Active, old.Epoch = t.Terms, t.Levels, 0, true, old.Epoch+1
		m.enforce(now, old, from, true)
		return ""
	}
	l.Audit["threshold.create"]++
	l.Thresholds = append(l.Thresholds, &t)
	slices.SortFunc(l.Thresholds, func(a, b *Threshold) int { return strings.Compare(a.ID, b.ID) })
	m.enforce(now, &t, from, true)
	return ""
}

// Update changes terms, levels and whether the threshold is active.
func (m *Model) Update(now time.Time, t *Threshold, terms Terms, levels []int, active bool) string {
	today := t.License.LocalDay(now)
	old := t.Terms
	if active == t.Active && slices.Equal(levels, t.Levels) && terms.equal(&old) {
		return "" // nothing changes: a retry, as a rule
	}
	if t.ceases(&terms) {
		return Conflict
	}
	start := active && (!t.Active || terms.kind() != old.kind())
	from := t.From
	if start {
		next := *t
		next.Terms = terms
		var code string
		if from, code = m.free(now, &next); code != "" {
			return code
		}
		if current, _ := t.License.PeriodOf(t.Period, today); t.Active && from > current {
			return Conflict // one that is in force cannot wait
		}
	}
	t.License.Audit["threshold.update"]++
	anew := terms.Limit != old.Limit || active && !t.Active
	if anew {
		t.Epoch++
	}
	// What has ended keeps its terms, also where nothing was used yet.
	for start, end := t.License.PeriodOf(t.Period, t.From); t.Active && end <= today; start, end = t.License.PeriodOf(t.Period, end) {
		t.Make(start)
	}
	for _, c := range t.Counters {
		if c.Terms == nil && c.End <= today {
			kept := old
			c.Terms = &kept
		}
	}
	retired := t.Active && !active
	if retired {
		t.Retired = today
	}
	t.Terms, t.Levels, t.Active = terms, levels, active
	switch {
	case retired:
		for _, c := range t.Counters {
			if c.State == "open" && c.End > today {
				kept := old
				c.kept = t.Quantity(c)
				c.State, c.Terms = "frozen", &kept
			}
		}
	case start:
		m.enforce(now, t, from, anew)
	case active:
		m.recount(now, t, anew)
	}
	return ""
}

// ceases tells whether the terms would end the price of a total, whose one
// period never ends.
func (t *Threshold) ceases(terms *Terms) bool {
	return t.Period == "total" && t.kind() == rated && terms.kind() != rated
}

// free gives the first day of the first period in which the threshold is in
// force, or why it cannot be: it must not bill what another one bills or billed.
func (m *Model) free(now time.Time, t *Threshold) (Day, string) {
	l := t.License
	start, _ := l.PeriodOf(t.Period, l.LocalDay(now))
	free := start
	for _, o := range l.Thresholds {
		if o.ID == t.ID || t.kind() == alerting {
			continue
		}
		overlap := t.kind() == rated && (t.Type == "all" || o.Covers(t.Type))
		if o.Active && o.kind() != alerting && (o.Type == t.Type && o.Period == t.Period || overlap && o.kind() == rated) {
			return 0, ThresholdExists
		}
		for _, c := range o.Counters {
			if overlap && o.TermsOf(c).kind() == rated && (c.moves() || c.kept > 0) {
				end := c.End
				if o.Period == "total" { // it counted until the month in which it was retired
					_, end = l.PeriodOf("monthly", o.Retired)
				}
				free = max(free, end)
			}
		}
	}
	if free == start {
		return start, ""
	}
	if t.Period == "total" {
		return 0, Conflict
	}
	start, end := l.PeriodOf(t.Period, free)
	if start < free {
		start = end
	}
	return start, ""
}

// enforce puts the threshold in force from a day on.
func (m *Model) enforce(now time.Time, t *Threshold, from Day, anew bool) {
	t.From = from
	for _, c := range t.Counters {
		if c.State == "frozen" && c.Start >= from {
			c.State, c.Terms = "open", nil
		}
	}
	m.recount(now, t, anew)
}

// recount counts what is there, and judges every period from the first on.
func (m *Model) recount(now time.Time, t *Threshold, anew bool) {
	sums := make(map[Day]int64)
	for _, e := range t.License.Events {
		if start, _ := t.License.PeriodOf(t.Period, e.Day); start >= t.From && t.Covers(e.Type) {
			sums[start] += e.Quantity
		}
	}
	for start, sum := range sums {
		if sum != 0 {
			t.Make(start)
		}
	}
	for _, c := range t.Counters {
		if !c.moves() || c.End <= t.From {
			continue
		}
		if anew && c.Terms == nil {
			c.Level = 0
		}
		m.consequences(now, t, c, true, false)
	}
}

// Recalculate changes nothing, but judges the days' periods again.
func (m *Model) Recalculate(now time.Time, l *License, from, to Day) {
	for _, t := range l.Thresholds {
		for _, c := range t.Counters {
			if c.moves() && c.End > from && c.Start < to {
				m.consequences(now, t, c, true, false)
			}
		}
	}
}
