package watch

import (
	"fmt"
	"math"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

// The total of a day comes some time after the day: until then nothing is known of
// it, which is not the same as a day without use.
const (
	// feedDays are the days up to the last total of which half have one, where totals
	// come day by day.
	feedDays = 28
	// pauseDays are those in which is looked how long totals pause, as over weekends.
	pauseDays = 56
	// A total may come so many days later than such pauses last, but for outlierPauses
	// of them, and no later than mostLate.
	late          = 3
	outlierPauses = 1
	mostLate      = 10
	// fewestTotals is how many have to be known for their absence to be told, and
	// fewestAway how many units have to be missing.
	fewestTotals = 14
	fewestAway   = 20
)

// missing tells of a licence fed by daily totals how many of the last days have none
// that may still come. Where they have been away for longer, they have stopped, and
// these days are without use. Totals that come now and then are none of each day: a
// day without one is one without use.
func missing(days []float64) (away int, stopped bool) {
	last := len(days) - 1
	for last >= 0 && days[last] == 0 {
		last--
	}
	away = len(days) - 1 - last
	if away == 0 || last < 0 || math.IsNaN(days[last]) { // which is held, not late
		return 0, false
	}
	with, of := 0, 0
	for i := last; i >= 0 && of < feedDays; i-- {
		if days[i] > 0 {
			with++
		}
		of++
	}
	if 2*with < of || with < late {
		return 0, false
	}
	var pauses [mostLate + 1]int // how many there were of each length
	run := 0
	for i := last; i >= max(0, last-pauseDays); i-- {
		if days[i] == 0 {
			run++
			continue
		}
		pauses[min(run, mostLate)]++
		run = 0
	}
	longest := mostLate
	for seen := 0; longest > 0; longest-- {
		if seen += pauses[longest]; seen > outlierPauses {
			break
		}
	}
	if away > min(longest+late, mostLate) {
		return away, true
	}
	return away, false
}

// manyHours stands for a day's use that fell into several hours.
const manyHours = 25

// onlyHour gives the hour that all of a day's use fell into, from 1 on; 0 without use,
// and manyHours for several.
func onlyHour(hours *[24]float64) (slot int) {
	for h, q := range hours {
		switch {
		case q == 0:
		case slot == 0:
			slot = h + 1
		default:
			return manyHours
		}
	}
	return slot
}

// sameHour tells whether days' use fell into the same hour, one on each. What comes
// at one time of UTC falls into the hour before or after it from the day on that the
// clocks change, which in so few days they do once.
type sameHour struct {
	hour    int
	moved   bool
	differs bool
}

func (s *sameHour) see(slot int) {
	switch by := slot - s.hour; {
	case slot == 0 || by == 0 && slot != manyHours:
	case s.hour == 0 && slot != manyHours:
		s.hour = slot
	case (by == 1 || by == -1) && slot != manyHours && !s.moved:
		s.hour, s.moved = slot, true
	default:
		s.differs = true
	}
}

// fedByTotals tells whether the use of the last days with any came as daily totals,
// for more than half of it.
func (t *ofType) fedByTotals() bool {
	all, totals := 0.0, 0.0
	var one sameHour
	for back, with := 1, 0; back <= unusualHours && with < profileDays; back++ {
		q := t.days[unusualDays-back]
		if q <= 0 {
			continue
		}
		with++
		all += q
		if d := unusualHours - back; math.IsNaN(t.hours[d][0]) {
			totals += q
			one.see(t.slots[d])
		}
	}
	return 2*totals > all && !one.differs
}

// away gives how many of the last days lack a total that may still come, and whether
// totals have stopped. days are those of the type that the licence was active on.
func (t *ofType) away(days []float64) (n int, stopped bool) {
	if !t.fedByTotals() || sumOf(t.today[:]) != 0 {
		return 0, false
	}
	return missing(days)
}

// noTotals is the alert of totals that have stopped; nil where too little is missing
// to tell. It is of the first day without one, so that it is told once.
func (r *recent) noTotals(usageType string, days []float64, away int) *usance.Alert {
	had := days[:len(days)-away]
	recent := had[max(0, len(had)-feedDays):]
	with := 0
	for _, q := range had {
		if q > 0 {
			with++
		}
	}
	expected := sumOf(recent) / float64(len(recent)) * float64(away)
	if with < fewestTotals || expected < fewestAway {
		return nil
	}
	a := r.alert(usageType, forecast.Anomaly{Kind: usance.AlertFlat, Severity: usance.SeverityWarning, DaysAgo: away, Hour: -1}, r.types[usageType])
	a.Reason = fmt.Sprintf("no daily totals of %s usage have come since that of %s; about %.0f was to be expected in the %d days after it",
		usageType, a.PeriodStart-1, expected, away)
	return &a
}
