package sim

import (
	"time"
)

// Close closes the periods that ended a late grace ago and puts up what is due.
func (m *Model) Close(now time.Time) (closed, settled int) {
	return m.CloseEnded(now), m.SettleDue(now)
}

// CloseEnded is the first half of Close.
func (m *Model) CloseEnded(now time.Time) (closed int) {
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
		}
	}
	return closed
}

// SettleDue is the second half of Close.
func (m *Model) SettleDue(now time.Time) (settled int) {
	for _, l := range m.Licenses {
		for _, t := range l.Thresholds {
			for _, c := range t.Counters {
				for _, o := range c.Overages {
					if o.Status == "DETECTED" && !now.Before(o.SettleAt) {
						o.Status, o.SettledAt, o.Actual = "PENDING_APPROVAL", now, t.Quantity(c)
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
	return settled
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

// Retain closes and seals the days whose first raw event was received before
// the instant, unless damaged says that their rollups are not whole, and lets
// go of the due events of sealed days.
func (m *Model) Retain(due time.Time, damaged func(*License, Day) bool) (days, drifted, events, evidence int) {
	for _, l := range m.Licenses {
		for d := range l.CloseDue(due) {
			if damaged(l, d) {
				drifted++
				continue
			}
			l.Sealed[d] = true
			days++
		}
		events += l.Prune(due)
		evidence += l.Forget(due)
	}
	return days, drifted, events, evidence
}

// CloseDue closes the days whose first raw event was received before the instant,
// and gives those of them that are not sealed.
func (l *License) CloseDue(due time.Time) map[Day]bool {
	days := make(map[Day]bool)
	for _, e := range l.Events {
		if !e.Pruned && !l.Sealed[e.Day] && e.Received.Before(due) {
			l.Closed[e.Day], days[e.Day] = true, true
		}
	}
	return days
}

// Prune lets go of the sealed days' events that were received before the instant.
func (l *License) Prune(due time.Time) (events int) {
	for _, e := range l.Events {
		if !e.Pruned && l.Sealed[e.Day] && e.Received.Before(due) {
			e.Pruned = true
			events++
		}
	}
	return events
}

// Forget lets go of the evidence of attempts of which the last was before the instant.
func (l *License) Forget(due time.Time) (evidence int) {
	for key, v := range l.Evidence {
		if v.Last.Before(due) {
			delete(l.Evidence, key)
			evidence++
		}
	}
	return evidence
}
