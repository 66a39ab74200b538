package forecast

import (
	"slices"

	"github.com/usance/usance"
)

// Of use on few of the last days, or of use that has just begun or come again, no
// level is known. What is far out of all proportion is unusual all the same.
const (
	seldomDays   = 10   // with use in four weeks, under which that is so
	seldomUsed   = 3    // days with use, under which even less is known
	largestRatio = 10   // to the largest day
	allRatio     = 2    // and to the sum of the last four weeks' worth of days with use
	fewestLarge  = 200  // units
	firstRatio   = 100  // to the largest of one or two days
	fewestFirst  = 1000 // units after these
	fromOne      = 0.8  // of a day in one hour, by one source or one session

	// ManyEvents is how many a day has to have for one of so little history to be told
	// that most of it came in one hour, from one source or by one session.
	ManyEvents = 300
)

// Seldom tells whether so few days had use that it is judged by proportions alone.
func Seldom(days []float64) bool {
	active := 0
	for _, v := range days[max(0, len(days)-levelDays-1):max(0, len(days)-1)] {
		if v > 0 {
			active++
		}
	}
	return active < seldomDays
}

// outsized compares yesterday, and today so far, with all that came on days before.
func (u *unusual) outsized() (out *Anomaly) {
	days := append(slices.Clone(u.Days), sumOf(u.Today))
	for ago := range 2 {
		at := len(days) - 1 - ago
		var used []float64
		for _, v := range slices.Backward(days[:at]) {
			if v > 0 && len(used) < levelDays {
				used = append(used, v)
			}
		}
		x := days[at]
		if len(used) == 0 || !isKnown(x) {
			continue
		}
		most, all := slices.Max(used), sumOf(used)
		a := Anomaly{Kind: usance.AlertSpike, Severity: usance.SeverityInfo, DaysAgo: ago, Hour: -1, Actual: x, Expected: medianOf(used)}
		switch {
		case len(used) < seldomUsed:
			if x < firstRatio*most || x < fewestFirst {
				continue
			}
		case x < largestRatio*most || x < allRatio*all || x < fewestLarge:
			continue
		case x >= 20*all:
			a.Severity = usance.SeverityCritical
		case x >= 5*all:
			a.Severity = usance.SeverityWarning
		}
		if out == nil || a.Severity.Rank() > out.Severity.Rank() {
			out = &a
		}
	}
	return out
}

// burst looks for an hour that carried nearly all of a day of many events, where
// neither a day before was like that nor the hours after it went on.
func (u *unusual) burst() *Anomaly {
	if u.Events < ManyEvents || len(u.Hours) == 0 {
		return nil
	}
	yesterday := u.Hours[len(u.Hours)-1]
	hour, share, sum := topHour(yesterday)
	if !(share >= fromOne) || sum < ManyEvents {
		return nil
	}
	after := append(slices.Clone(yesterday[hour+1:]), u.Today...)
	if len(after) == 0 || slices.Max(after) > yesterday[hour]/5 {
		return nil // it has just begun
	}
	usual := 0.0
	for _, d := range u.Hours[:len(u.Hours)-1] {
		if _, s, all := topHour(d); all >= fewestUnits {
			usual = max(usual, s)
		}
	}
	if usual > 0.8*share {
		return nil
	}
	return concentration(share, usual, hour, "")
}

// topHour gives the hour of a day that had most, with its share, and the sum.
func topHour(d [24]float64) (hour int, share, sum float64) {
	for h, v := range d {
		if sum += v; v > d[hour] {
			hour = h
		}
	}
	return hour, d[hour] / sum, sum
}

// newcomer looks for a source that carried nearly all of a day of many events, and
// little of the few days before.
func (u *unusual) newcomer() *Anomaly {
	if u.Events < ManyEvents {
		return nil
	}
	name, share, before := u.topSource()
	if share < fromOne || len(before) < seldomUsed || slices.Max(before) > share/2 {
		return nil
	}
	return concentration(share, slices.Max(before), -1, name)
}
