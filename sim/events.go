package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

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
	r := m.Track(now, []Event{original.takenBack()}, false, true)[0]
	if r.Code == "" && !r.Duplicate {
		l.Audit["event.void"]++
	}
	return r
}

// takenBack is the event that takes e back.
func (e *Event) takenBack() Event {
	v := *e
	v.ID, v.Void, v.Key = "", e, fmt.Sprintf("void of %s of %s", e.Key, e.Received)
	v.Quantity, v.Revenue, v.Stamped = -e.Quantity, -e.Revenue, false
	return v
}

func (e *Event) isTotal() bool { return strings.HasPrefix(e.Key, "usance:total:") }

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
		m.consequences(now, t, c, above || c.State == "closed", true)
	}
}
