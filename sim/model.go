// Package sim proves the stages by simulation: seeded schedules of clients,
// folds, corrections and crashes run against a real store, and every answer
// and every row is compared with the model in this file. The model is what the
// rules say (DESIGN.md, testdata/rules), in as few words as possible: it keeps
// every event for ever, has no transaction, no fold and no cache, and adds up
// from scratch whatever is asked. It imports nothing of the product.
package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Codes of refusals.
const (
	Validation       = "VALIDATION"
	LicenseNotFound  = "LICENSE_NOT_FOUND"
	NotActive        = "LICENSE_NOT_ACTIVE"
	TrackingDisabled = "TRACKING_DISABLED"
	OutOfTerm        = "OUT_OF_TERM"
	LimitExceeded    = "LIMIT_EXCEEDED"
	TooLate          = "TOO_LATE"
	Backdate         = "BACKDATE_FORBIDDEN"
	KeyConflict      = "IDEMPOTENCY_CONFLICT"
	Aborted          = "ABORTED"
	NotFound         = "NOT_FOUND"
	Conflict         = "CONFLICT"
	ThresholdExists  = "THRESHOLD_EXISTS"
	InvalidState     = "INVALID_STATE"
)

// License is what an event is judged by, besides its thresholds.
type License struct {
	ID       string
	Zone     *time.Location
	Anchor   int
	Status   string
	Tracking bool
	Deleted  bool
	Start    string // first local day, or empty
	End      string // last local day, or empty

	Events     []*Event     // all that were ever counted, voids too
	Thresholds []*Threshold // in the order of ids
	Evidence   map[string]*Evidence
	Closed     map[Day]bool   // days that take no event
	Sealed     map[Day]bool   // days whose raw events may go
	Audit      map[string]int // how often which change was made
}

// Event is one use as it was sent, and, once counted, as it is kept.
type Event struct {
	License, Key, Type                                string
	Quantity, Revenue                                 int64
	At                                                time.Time // zero: the server stamps it
	Platform, Device, Geo, Referrer, Session, Invalid string

	Source   string // host of the referrer
	Stamped  bool
	Received time.Time
	Day      Day
	Slot     int
	ID       string // as the product answered; empty while unknown
	Void     *Event // what this event takes back
	Pruned   bool   // its raw form is gone, and with it its key
}

// Result is the answer to one event.
type Result struct {
	Status, Code string
	Duplicate    bool
	Event        *Event // the one that counts
	Usage        []Usage
}

// Usage is a threshold's period at the moment of an answer.
type Usage struct {
	Threshold   string
	Start       Day
	Used, Limit int64
}

// Evidence is what is kept of attempts that did not count.
type Evidence struct {
	Status, Code, Threshold string
	Quantity, Attempts      int64
	Last                    time.Time
}

// Terms are what a threshold holds a period to.
type Terms struct {
	Limit, Grace int64
	Allow        bool
	Rate         string // decimal cents per unit
	Tiers        []Tier
}

// Tier prices units up to UpTo; 0 on the last.
type Tier struct {
	UpTo int64
	Rate string
}

// Threshold limits, bills or alerts.
type Threshold struct {
	ID, Type, Period string
	Terms
	Levels    []int
	Active    bool
	Retired   Day // when it was, if it is not active
	From      Day // the first period it judges begins here
	LastLevel int // 0: none
	Epoch     int // raised when levels open anew
	License   *License
	Counters  []*Counter
}

// Counter is one period of a threshold.
type Counter struct {
	Start, End Day
	State      string // open, closed: moving; frozen, final: retired within, and that closed
	Level      int
	Terms      *Terms // its own, once the period ended or froze
	kept       int64  // what it held when it froze
	Overages   []*Overage
}

// Overage is one revision of what a period costs.
type Overage struct {
	Revision              int
	Quantity, Fee, Actual int64
	Terms                 Terms  // what it is priced by
	Status, Left          string // Left: the state that a dispute left
	SettleAt, SettledAt   time.Time
}

// AlertKey says what an alert is about: there is one each.
type AlertKey struct {
	Threshold    string
	Start        Day
	Kind         string
	Level, Epoch int
}

// Alert is what it told.
type Alert struct{ Quantity, Limit int64 }

// Model is the whole state.
type Model struct {
	Grace    time.Duration
	Licenses map[string]*License
	Alerts   map[AlertKey]Alert
	made     int // keys
}

// NewModel is the empty state.
func NewModel(grace time.Duration) *Model {
	return &Model{Grace: grace, Licenses: make(map[string]*License), Alerts: make(map[AlertKey]Alert)}
}

// NewLicense is a licence as it is first put.
func NewLicense(id string, zone *time.Location, anchor int) *License {
	return &License{ID: id, Zone: zone, Anchor: anchor, Status: "ACTIVE", Tracking: true,
		Evidence: make(map[string]*Evidence), Closed: make(map[Day]bool), Sealed: make(map[Day]bool), Audit: make(map[string]int)}
}

// ---- Events.

// payload is what a repeated key is compared by.
func (e *Event) payload() string {
	s := fmt.Sprintf("%q %q %q %q %q %q %d %d", e.Type, e.Platform, e.Device, e.Geo, e.Referrer, e.Session, e.Quantity, e.Revenue)
	if !e.Stamped {
		s += e.At.UTC().String()
	}
	return s
}

// Sign is what the event adds to a count of events.
func (e *Event) Sign() int64 {
	if e.Void != nil {
		return -1
	}
	return 1
}

// Find gives the counted event of a key, while its raw form is kept.
func (l *License) Find(key string) *Event {
	for _, e := range l.Events {
		if e.Key == key && !e.Pruned {
			return e
		}
	}
	return nil
}

// Track judges a request of copies of the events, in order, and counts what may count.
func (m *Model) Track(now time.Time, events []Event, atomic, backdate bool) []Result {
	results := make([]Result, len(events))
	counted := make(map[*Event]bool)
	failed := false
	for i := range events {
		e := events[i]
		results[i] = m.judge(now, &e, backdate)
		if r := &results[i]; r.Code != "" {
			failed = true
		} else if !r.Duplicate {
			counted[r.Event] = true
			l := m.Licenses[e.License]
			l.Events = append(l.Events, r.Event)
		}
	}
	if atomic && failed {
		for i := range results {
			if e := results[i].Event; counted[e] {
				results[i] = Result{Status: "REFUSED", Code: Aborted}
				l := m.Licenses[e.License]
				l.Events = slices.DeleteFunc(l.Events, func(o *Event) bool { return o == e })
			}
		}
		counted = nil
	}
	m.follow(now, counted)
	for i := range results {
		r := &results[i]
		if e := r.Event; e != nil {
			r.Usage = m.Licenses[e.License].usage(e.Type, e.Day)
		}
		if r.Status == "BLOCKED" {
			r.Event = nil
		}
	}
	return results
}

// Void takes the event back by an event of its own, once.
func (m *Model) Void(now time.Time, l *License, original *Event) Result {
	if original == nil {
		return Result{Code: NotFound}
	}
	if original.Void != nil {
		return Result{Code: Conflict}
	}
	v := *original
	v.ID, v.Void, v.Key = "", original, fmt.Sprintf("void of %s of %s", original.Key, original.Received)
	v.Quantity, v.Revenue, v.Stamped = -original.Quantity, -original.Revenue, false
	r := m.Track(now, []Event{v}, false, true)[0]
	if r.Code == "" && !r.Duplicate {
		l.Audit["event.void"]++
	}
	return r
}

func (e *Event) invalid() bool {
	return e.Invalid != "" || e.Quantity > 1_000_000_000_000
}

// judge decides about one event. Its key comes before all else that could
// refuse it.
func (m *Model) judge(now time.Time, e *Event, backdate bool) Result {
	if e.Void == nil && e.invalid() {
		return Result{Status: "REFUSED", Code: Validation}
	}
	e.Received = now
	if e.Quantity == 0 {
		e.Quantity = 1
	}
	if e.At.IsZero() {
		e.At, e.Stamped = now, true
	}
	l := m.Licenses[e.License]
	if l == nil {
		return Result{Status: "REFUSED", Code: LicenseNotFound}
	}
	if first := l.Find(e.Key); e.Key != "" && first != nil {
		if first.payload() != e.payload() {
			return Result{Status: "REFUSED", Code: KeyConflict}
		}
		return Result{Status: "COUNTED", Duplicate: true, Event: first}
	}
	e.Day = l.LocalDay(e.At)
	e.Slot = min(int(e.At.Sub(l.Midnight(e.Day))/time.Hour), 24)
	status, code, by := "REFUSED", "", ""
	switch {
	case e.Void == nil && e.At.After(now.Add(5*time.Minute)):
		code = Validation
	case !backdate && e.At.Before(now.Add(-m.Grace)):
		code = Backdate
	case l.Deleted:
		code = LicenseNotFound
	case !l.Tracking:
		code = TrackingDisabled
	case !slices.Contains([]string{"ACTIVE", "EXPIRING_SOON", "EXPIRED", "RENEWED", "TERMINATED", "CANCELED"}, l.Status):
		code = NotActive
	case !l.inTerm(e.At):
		status, code = OutOfTerm, OutOfTerm
	case l.Closed[e.Day]:
		code = TooLate
	default:
		if by = l.full(e); by != "" {
			status, code = "BLOCKED", LimitExceeded
		}
	}
	r := Result{Status: status, Code: code}
	switch code {
	case "":
		return Result{Status: "COUNTED", Event: e}
	case LimitExceeded:
		r.Event = e // its usage is shown
		fallthrough
	case NotActive, OutOfTerm:
		key := cmp.Or(e.Key, fmt.Sprintf("made %d", m.made))
		m.made++
		v := l.Evidence[key]
		if v == nil {
			v = &Evidence{}
			l.Evidence[key] = v
		}
		*v = Evidence{status, code, by, e.Quantity, v.Attempts + 1, now}
	}
	return r
}

// full names the threshold that has no room for the event, if any.
func (l *License) full(e *Event) string {
	for _, t := range l.Thresholds {
		start, end := l.PeriodOf(t.Period, e.Day)
		c := t.at(start)
		if !t.Covers(e.Type) || c == nil && !t.judges(start) || c != nil && !c.moves() {
			continue
		}
		if c == nil {
			c = &Counter{Start: start, End: end, State: "open"}
		}
		terms := t.TermsOf(c)
		if e.Quantity > 0 && terms.kind() == hard && t.Quantity(c)+e.Quantity > terms.withGrace() {
			return t.ID
		}
	}
	return ""
}

// usage shows the active thresholds that cover a type on a day.
func (l *License) usage(usageType string, d Day) (out []Usage) {
	for _, t := range l.Thresholds {
		start, _ := l.PeriodOf(t.Period, d)
		c := t.at(start)
		if !t.Covers(usageType) || !t.Active || c == nil && !t.judges(start) {
			continue
		}
		u := Usage{t.ID, start, 0, t.withGrace()}
		if c != nil {
			u.Used, u.Limit = t.Quantity(c), t.TermsOf(c).withGrace()
		}
		out = append(out, u)
	}
	return out
}

// Check tells whether an event would count, and shows usage as it is.
func (m *Model) Check(now time.Time, e Event) Result {
	if e.invalid() {
		return Result{Code: Validation}
	}
	l := m.Licenses[e.License]
	if l == nil {
		return Result{Code: LicenseNotFound}
	}
	e.Key = "a key that nobody has sent"
	r := m.judge(now, &e, true)
	delete(l.Evidence, e.Key)
	r.Usage = l.usage(e.Type, e.Day)
	return r
}

// follow moves the counters that the events touch, each once.
func (m *Model) follow(now time.Time, counted map[*Event]bool) {
	moved, by := make(map[*Counter]*Threshold), make(map[*Counter]int64)
	for e := range counted {
		l := m.Licenses[e.License]
		for _, t := range l.Thresholds {
			if start, _ := l.PeriodOf(t.Period, e.Day); t.Covers(e.Type) && (t.at(start) != nil || t.judges(start)) {
				c := t.Make(start)
				moved[c] = t
				by[c] += e.Quantity
			}
		}
	}
	for c, t := range moved {
		if !c.moves() {
			continue
		}
		// What stays below the limit of an open period moves no overage.
		terms, quantity := t.TermsOf(c), t.Quantity(c)
		above := terms.kind() == rated && max(quantity, quantity-by[c]) > terms.withGrace()
		m.consequences(now, t, c, above || c.State == "closed")
	}
}

// ---- Thresholds.

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

// consequences are what follows when a counter has, or may have, changed.
func (m *Model) consequences(now time.Time, t *Threshold, c *Counter, overage bool) {
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
	if growing == nil {
		if units == 0 && fee == 0 {
			return
		}
		if len(c.Overages) == 0 && c.State == "open" {
			raise("overage", 0)
		}
		growing = &Overage{Revision: len(c.Overages) + 1, Status: "DETECTED", SettleAt: t.settleAt(now, c).Add(m.Grace)}
		c.Overages = append(c.Overages, growing)
	}
	growing.Quantity, growing.Fee, growing.Actual, growing.Terms = units, fee, quantity, *terms
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
			if !o.ceases(&t.Terms) {
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
		m.enforce(now, old, from)
		return ""
	}
	l.Audit["threshold.create"]++
	l.Thresholds = append(l.Thresholds, &t)
	slices.SortFunc(l.Thresholds, func(a, b *Threshold) int { return strings.Compare(a.ID, b.ID) })
	m.enforce(now, &t, from)
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
		m.enforce(now, t, from)
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
			if overlap && o.TermsOf(c).kind() == rated {
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
func (m *Model) enforce(now time.Time, t *Threshold, from Day) {
	t.From = from
	for _, c := range t.Counters {
		if c.State == "frozen" && c.Start >= from {
			c.State, c.Terms = "open", nil
		}
	}
	m.recount(now, t, true)
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
		if anew {
			c.Level = 0
		}
		m.consequences(now, t, c, true)
	}
}

// Recalculate changes nothing, but judges the days' periods again.
func (m *Model) Recalculate(now time.Time, l *License, from, to Day) {
	for _, t := range l.Thresholds {
		for _, c := range t.Counters {
			if c.moves() && c.End > from && c.Start < to {
				m.consequences(now, t, c, true)
			}
		}
	}
}

// ---- Closing, and the way of an overage.

// Close closes the periods that ended a late grace ago and puts up what is due.
func (m *Model) Close(now time.Time) (closed, settled int) {
	for _, l := range m.Licenses {
		for _, t := range l.Thresholds {
			for _, c := range t.Counters {
				if c.State == "closed" || c.State == "final" || c.End == maxDay || now.Before(l.Midnight(c.End).Add(m.Grace)) {
					continue
				}
				terms := *t.TermsOf(c)
				c.State, c.Terms = map[bool]string{true: "closed", false: "final"}[c.moves()], &terms
				closed++
				if start, _ := l.PeriodOf(t.Period, l.LocalDay(now)); t.LastLevel > 0 {
					t.LastLevel = 0
					if current := t.at(start); current != nil {
						t.LastLevel = current.Level
					}
				}
			}
			for _, c := range t.Counters {
				for _, o := range c.Overages {
					if o.Status == "DETECTED" && !now.Before(o.SettleAt) {
						o.Status, o.SettledAt = "PENDING_APPROVAL", now
						action := "overage.settle"
						if o.Fee == 0 {
							o.Status, action = "APPROVED", "overage.auto_approve"
						}
						l.Audit[action]++
						settled++
					}
				}
			}
		}
	}
	return closed, settled
}

// Move approves, disputes, resolves or waives.
func (l *License) Move(now time.Time, o *Overage, action string) string {
	to := map[string]map[string]string{
		"approve": {"PENDING_APPROVAL": "APPROVED"},
		"dispute": {"PENDING_APPROVAL": "DISPUTED", "APPROVED": "DISPUTED"},
		"resolve": {"DISPUTED": o.Left},
		"waive":   {"PENDING_APPROVAL": "WAIVED", "APPROVED": "WAIVED", "DISPUTED": "WAIVED"},
	}[action][o.Status]
	if to == "" || action == "dispute" && now.After(o.SettledAt.Add(30*24*time.Hour)) {
		return InvalidState
	}
	o.Left = ""
	if action == "dispute" {
		o.Left = o.Status
	}
	o.Status = to
	l.Audit["overage."+action]++
	return ""
}

// ---- Retention.

// Retain closes and seals the days whose first raw event was received before
// the instant, unless damaged says that their rollups are not whole, and lets
// go of the due events of sealed days.
func (m *Model) Retain(due time.Time, damaged func(*License, Day) bool) (days, drifted, events, evidence int) {
	for _, l := range m.Licenses {
		spoilt := make(map[Day]bool)
		for _, e := range l.Events {
			if e.Pruned || l.Sealed[e.Day] || !e.Received.Before(due) {
				continue
			}
			l.Closed[e.Day] = true
			if damaged(l, e.Day) {
				spoilt[e.Day] = true
				continue
			}
			l.Sealed[e.Day] = true
			days++
		}
		drifted += len(spoilt)
		for _, e := range l.Events {
			if !e.Pruned && l.Sealed[e.Day] && e.Received.Before(due) {
				e.Pruned = true
				events++
			}
		}
		for key, v := range l.Evidence {
			if v.Last.Before(due) {
				delete(l.Evidence, key)
				evidence++
			}
		}
	}
	return days, drifted, events, evidence
}
