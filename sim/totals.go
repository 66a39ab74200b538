package sim

import (
	"fmt"
	"time"
)

// Total counts what another system counted of a type on a day: as one event, which
// takes the place of the day's former total. 0 leaves the day without any.
func (m *Model) Total(now time.Time, l *License, d Day, usageType string, quantity int64) Result {
	y, month, dd := date(d)
	key := func(revision int) string {
		return fmt.Sprintf("usance:total:%04d-%02d-%02d:%s:%d", y, month, dd, usageType, revision)
	}
	next := 1
	var former *Event
	for e := l.Find(key(next)); e != nil; e = l.Find(key(next)) {
		former = e
		next++
	}
	live := former != nil && !l.voided(former)
	switch {
	case live && former.Quantity == quantity:
		return Result{Status: "COUNTED", Duplicate: true, Event: former}
	case !live && quantity == 0 && l.Closed[d]:
		return Result{Status: "REFUSED", Code: TooLate}
	case !live && quantity == 0:
		return Result{Status: "VOIDED", Duplicate: true}
	case l.holdsOthers(d):
		return Result{Status: "REFUSED", Code: Conflict}
	}
	var events []Event
	if live {
		events = append(events, former.takenBack())
	}
	if quantity > 0 {
		events = append(events, Event{License: l.ID, Key: key(next), Type: usageType, Quantity: quantity, At: l.Midnight(d), Stamped: true, Source: "(direct)"})
	}
	results := m.Track(now, events, true, true)
	out := results[len(results)-1]
	for _, r := range results {
		if r.Code != "" && r.Code != Aborted {
			out = r
		}
	}
	if out.Code == "" && live {
		l.Audit["event.void"]++
	}
	if out.Code == "" && quantity == 0 {
		out.Status = "VOIDED"
	}
	return out
}

// holdsOthers tells whether the day holds events that are no totals, other than such
// as were taken back.
func (l *License) holdsOthers(d Day) bool {
	for _, e := range l.Events {
		if e.Day == d && !e.Pruned && e.Void == nil && !e.isTotal() && !l.voided(e) {
			return true
		}
	}
	return false
}

func (l *License) voided(e *Event) bool {
	for _, v := range l.Events {
		if v.Void == e && !v.Pruned {
			return true
		}
	}
	return false
}
