package forecast

import (
	"math"
	"slices"
)

const (
	// A change of level is looked for that lasted jumpAfter days at least, and had
	// jumpBefore days before it; weeks are compared, since days of the week differ.
	jumpAfter  = 2 * weekDays
	jumpBefore = 2 * weekDays
	// jumpWeeks is how many weeks on either side are looked at: between the ends of the
	// one and the other there must be half of the change.
	jumpWeeks = 26
	// The level before and after is that of nearWeeks weeks.
	nearWeeks = 4
	// A change is believed that is more, as a logarithm, than leastJump and sure times what
	// a week differs from the next on average, together.
	leastJump = 0.25
	sure      = 5
	// mostJumps bounds how many changes are looked for, the latest first.
	mostJumps = 4
)

// levelled gives the days as they would have been on the present level, when the level
// of use has changed at once and for good: the days before are multiplied by how many
// times more a week brings since. Their weekdays, seasons and errors tell as much as
// ever; that there once was another level would be taken for what may come again any day.
// Without such a change it gives days itself.
func (f *Forecaster) levelled(days []float64) []float64 {
	at, shift := latest(days)
	if at == 0 {
		return days
	}
	f.level = append(f.level[:0], days...)
	for n := 1; at > 0; n++ {
		times := math.Exp(shift)
		for i := range at {
			f.level[i] *= times
		}
		if n == mostJumps {
			break
		}
		at, shift = latest(f.level[:at])
	}
	return f.level
}

// latest gives the last change of level that is clear by itself; 0 for none.
func latest(days []float64) (at int, shift float64) {
	at, shift = jump(days)
	for at > 0 {
		later, by := jump(days[at:])
		if later == 0 {
			break
		}
		at, shift = at+later, by
	}
	return at, shift
}

// jump gives the day of the clearest change of level, and its logarithm; 0 for none.
func jump(days []float64) (at int, shift float64) {
	if len(days) < jumpBefore+jumpAfter {
		return 0, 0
	}
	best := 0.0
	weeks := weekLogs(days)
	var before, after [jumpWeeks]float64
	for i := jumpBefore; i <= len(days)-jumpAfter; i++ {
		b, a := weeksFrom(before[:0:nearWeeks], weeks, i, -1), weeksFrom(after[:0:nearWeeks], weeks, i, 1)
		if len(b) < jumpBefore/weekDays || len(a) < jumpAfter/weekDays {
			continue
		}
		d := medianOf(a) - medianOf(b)
		if math.Abs(d) < leastJump {
			continue
		}
		b, a = weeksFrom(before[:0], weeks, i, -1), weeksFrom(after[:0], weeks, i, 1)
		lowA, highA := ends(a)
		lowB, highB := ends(b)
		if between := max(lowA-highB, lowB-highA); between < math.Abs(d)/2 {
			continue
		}
		usual := (steps(a) + steps(b)) / float64(len(a)+len(b)-2)
		if min(len(a), len(b)) == 2 { // so few tell little of how weeks differ
			usual *= 1.5
		}
		if odds := math.Abs(d) / (usual + leastJump/sure); odds > max(best, sure) && !yearlyJump(weeks, i, d) {
			at, shift, best = i, d, odds
		}
	}
	return at, shift
}

// weekLogs gives for each day the logarithm of what a day brings of the week that it
// begins, NaN for one without use or with hardly any day known.
func weekLogs(days []float64) []float64 {
	out := make([]float64, len(days)-weekDays+1)
	for i := range out {
		sum, known := 0.0, 0.0
		for _, v := range days[i : i+weekDays] {
			if isKnown(v) {
				sum += max(0, v)
				known++
			}
		}
		if out[i] = math.NaN(); known >= weekDays/2 && sum >= tiny {
			out[i] = math.Log(min(sum, huge) / known)
		}
	}
	return out
}

// weeksFrom adds the weeks before or after a day, the nearest first, up to one that
// has no logarithm, or as many as there is room for.
func weeksFrom(out, weeks []float64, at, way int) []float64 {
	if way < 0 {
		at -= weekDays
	}
	for len(out) < cap(out) && at >= 0 && at < len(weeks) && isKnown(weeks[at]) {
		out = append(out, weeks[at])
		at += way * weekDays
	}
	return out
}

// ends gives the lowest and the highest, but for one odd week on either side of many.
func ends(v []float64) (low, high float64) {
	if len(v) < 2*nearWeeks {
		return slices.Min(v), slices.Max(v)
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[1], sorted[len(sorted)-2]
}

// steps sums up how much each is from the next.
func steps(v []float64) float64 {
	sum := 0.0
	for i := 1; i < len(v); i++ {
		sum += math.Abs(v[i] - v[i-1])
	}
	return sum
}

// yearlyJump tells that a year before or after the level changed alike: that is a season.
func yearlyJump(weeks []float64, at int, shift float64) bool {
	var before, after [nearWeeks]float64
	for _, other := range [...]int{at - yearDays, at + yearDays} {
		if other < nearWeeks*weekDays || other+weekDays >= len(weeks) {
			continue
		}
		b, a := weeksFrom(before[:0], weeks, other, -1), weeksFrom(after[:0], weeks, other, 1)
		if len(a) > 0 && len(b) > 0 && (medianOf(a)-medianOf(b))/shift > 0.5 {
			return true
		}
	}
	return false
}
