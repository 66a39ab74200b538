package forecast

import (
	"math"
	"slices"
)

const (
	// fewestUsed is how many days with use it takes to call one of them odd.
	fewestUsed = 4
	// What comes again that often, in days with use, belongs to a series; under
	// twiceDays of them, what came twice does.
	comesAgain = 120
	twiceDays  = 90
	// manyTimes is by how much larger days take one more of them to be believed.
	manyTimes = 100.0
	// A day is odd beyond so many times the largest that others bear out, and so many
	// more as days are few, shared among them. Then it counts for as much as that one.
	beyond    = 1.5
	beyondFew = 20.0
	// Where days differ much, one may be further out: by as much as the largest that
	// others bear out is above the middle one, but no more than this.
	mostSpread = 3.0
	// likelier is how far out a day may be before it is the less likely to come again
	// the further out it is: the largest are most often slips.
	likelier = 4.0
	// mostAgain is how likely another one is at most, and againDays, shared among the
	// days, where they are few: there what came once may well come each month. It
	// stays under a half, lest another one be expected.
	mostAgain  = 0.1
	againDays  = 12.0
	underAHalf = 0.45
	// oddEnd is how large an error is for not knowing whether an odd last day was the
	// first of more.
	oddEnd = 0.05
)

// odd tells a few days far above all others of a series from what belongs to it: a
// slip of a thousand million units, a campaign that came once. Neither level nor
// weekdays, neither scale nor errors are to follow them. What comes again does
// belong to it, every week, month or quarter, and so does a level that lasts:
// a day is borne out by others as large, and by the day before it at the end.
type odd struct {
	// Days above most, of those before upTo, are odd and count as borne, the largest
	// that others bear out; most is infinite where no day is odd.
	most, borne float64
	upTo        int
	// again is the chance a day that another one comes, and excess how much more than
	// borne it is expected to bring then.
	again, excess, mostAgain float64
	atEnd                    bool // the last day is odd
	top, buf                 []float64
}

// look finds the odd ones of the days, of which NaN is a gap.
func (o *odd) look(days []float64) {
	o.most, o.upTo, o.again, o.excess, o.atEnd = math.Inf(1), len(days), 0, 0, false
	used, known := o.buf[:0], 0.0
	for _, v := range days {
		if v >= tiny { // NaN is not
			used = append(used, min(v, huge))
		}
		if !math.IsNaN(v) {
			known++
		}
	}
	o.buf = used
	n := len(used)
	if n < fewestUsed {
		return
	}
	rank := 2
	if n >= twiceDays {
		rank = max(3, 1+n/comesAgain)
	}
	o.largest(used, min(n, rank+10))
	middle := medianOf(used)
	r := rank - 1
	for bearers := 1.0; r+1 < len(o.top) && o.top[r] > middle*math.Pow(manyTimes, bearers); bearers++ {
		r++
	}
	most := o.top[r] * (beyond + beyondFew/float64(n)) * min(max(o.top[r]/middle, 1), mostSpread)
	if o.top[0] <= most {
		return
	}
	o.most, o.borne, o.upTo = most, o.top[r], lasting(days, most)
	for _, v := range days[:o.upTo] {
		if v > most {
			c := min(1, likelier*most/v) / known
			o.again += c
			o.excess += c * (min(v, huge) - o.borne)
		}
	}
	if o.again > 0 {
		o.excess /= o.again
	}
	o.mostAgain = max(mostAgain, min(underAHalf, againDays/known))
	o.atEnd = o.upTo == len(days) && days[len(days)-1] > most
}

// largest writes the k largest of the values into top, the largest first.
func (o *odd) largest(used []float64, k int) {
	o.top = o.top[:0]
	for _, v := range used {
		if len(o.top) == k {
			if v <= o.top[k-1] {
				continue
			}
			o.top = o.top[:k-1]
		}
		at := len(o.top)
		o.top = append(o.top, v)
		for ; at > 0 && o.top[at-1] < v; at-- {
			o.top[at] = o.top[at-1]
		}
		o.top[at] = v
	}
}

// lasting gives where the last days with use begin to be all above most: at the end
// if it is but one, which may be a slip.
func lasting(days []float64, most float64) int {
	from, run := len(days), 0
	for i, v := range slices.Backward(days) {
		if v > most {
			from = i
			run++
		} else if v >= tiny {
			break
		}
	}
	if run < 2 {
		return len(days)
	}
	return from
}

// hold gives what day i counts for, of v units.
func (o *odd) hold(i int, v float64) float64 {
	if i < o.upTo && v > o.most {
		return o.borne
	}
	return v
}

// held gives the days as they count.
func (o *odd) held(days []float64) []float64 {
	o.look(days)
	if math.IsInf(o.most, 1) {
		return days
	}
	out := make([]float64, len(days))
	for i, v := range days {
		out[i] = o.hold(i, v)
	}
	return out
}

// another widens t, of so many days to come, by the chance that one of them is odd.
// What is likelier than that is left as it is.
func (o *odd) another(t *Total, days float64) {
	w := min(o.mostAgain, -math.Expm1(-o.again*days))
	if t.unit == 0 || w <= 1-probabilities[grid-1] {
		return
	}
	usual, more := t.at, o.excess/t.unit
	for i, p := range probabilities {
		if p > 1-w {
			v := t.logs.back(spreadAt(&usual, max(0.001, (p-1+w)/w))) + more
			t.at[i] = max(t.at[i], t.logs.of(v))
		}
	}
}
