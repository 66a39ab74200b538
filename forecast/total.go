package forecast

import (
	"math"
	"sort"
)

// A Total is what a sum of usage may come to: what is used already, and the
// distribution of what is to come. The zero value is a sum of nothing.
type Total struct {
	// Used is the part that is known.
	Used   float64
	unit   float64       // days to come × the series' measure
	at     [grid]float64 // their mean in measures, by probability, on the scale
	logs   logs
	none   float64 // the probability that nothing is to come, where it is known
	open   bool    // days are to come
	counts bool    // it is made of uses that were seen, whose sums are met exactly
	// unknown: nothing at all is known of them.
	unknown bool
}

// Known is false of a total of which nothing is known, neither of the series itself
// nor of others: its quantiles and probabilities mean nothing.
func (t Total) Known() bool { return !t.unknown }

// newTotal spreads a law around the expected mean of the days to come.
func newTotal(used, unit, mean, scale float64, spread *[grid]float64, k logs) Total {
	t := Total{Used: used, unit: unit, logs: k, open: unit > 0}
	if mean <= 0 {
		t.unit = 0
		return t
	}
	center := k.of(mean)
	for i, q := range spread {
		t.at[i] = center + q*scale
	}
	t.order()
	return t
}

// within holds a total that newTotal spread wider by so much, because the methods are
// apart, to what the furthest of them expect, and the rest of the error about that: it is
// not known which of them is right, but not that one might be as far off again.
func (t *Total) within(center, scale, apart, low, high float64) {
	if scale <= 0 {
		return
	}
	rest := 1 - min(1, apart/scale)
	for i, a := range t.at {
		if d := (a - center) * rest; d > 0 {
			t.at[i] = min(a, max(high, center)+d)
		} else {
			t.at[i] = max(a, min(low, center)+d)
		}
	}
	t.order()
}

// order makes sure that quantiles do not cross.
func (t *Total) order() {
	for i := 1; i < grid; i++ {
		t.at[i] = max(t.at[i], t.at[i-1])
	}
}

// mix averages the quantiles of two opinions about the same days, with the
// share w for the second (Vincent averaging, which keeps them ordered).
func (t Total) mix(o Total, w float64) Total {
	switch {
	case w <= 0 || o.unit == 0:
		return t
	case w >= 1 || t.unit == 0:
		return o
	}
	out := Total{Used: t.Used, unit: t.unit, logs: t.logs, open: true}
	// The other opinion's values in this one's measure.
	by := o.unit / t.unit
	for i := range out.at {
		v := (1-w)*t.logs.back(t.at[i]) + w*by*o.logs.back(o.at[i])
		out.at[i] = t.logs.of(v)
	}
	return out
}

// Quantile gives the value that the total stays at or below with probability p,
// which is held within 0.001 and 0.999: further out nothing is known.
func (t Total) Quantile(p float64) float64 {
	if t.unit == 0 || p <= t.none {
		return t.Used
	}
	return t.Used + t.unit*t.logs.back(spreadAt(&t.at, min(max(p, 0.001), 0.999)))
}

// Median is Quantile(0.5).
func (t Total) Median() float64 { return t.Quantile(0.5) }

// Above gives the probability that the total passes limit: 1 where it has, 0 where
// no day is to come, else within 0.001 and 0.999.
func (t Total) Above(limit float64) float64 {
	if t.Used > limit {
		return 1
	}
	if !t.open {
		return 0
	}
	if t.unit == 0 {
		return 0.001
	}
	z := t.logs.of((limit - t.Used) / t.unit)
	if t.counts {
		z += 1e-8 // series are rounded
	}
	return 1 - min(max(probabilityAt(&t.at, z), t.none, 0.001), 0.999)
}

// spreadAt interpolates a spread at probability p; beyond its ends it goes on
// as an exponential tail through the last two points.
func spreadAt(q *[grid]float64, p float64) float64 {
	switch {
	case p < probabilities[0]:
		return q[0] - tail(q[1]-q[0], probabilities[1]/probabilities[0])*math.Log(probabilities[0]/p)
	case p > probabilities[grid-1]:
		return q[grid-1] + tail(q[grid-1]-q[grid-2], probabilities[1]/probabilities[0])*math.Log(probabilities[0]/(1-p))
	}
	i := max(1, sort.SearchFloat64s(probabilities[:], p))
	lo, hi := probabilities[i-1], probabilities[i]
	return min(q[i-1]+(p-lo)/(hi-lo)*(q[i]-q[i-1]), q[i])
}

// tail is the scale of an exponential tail that loses the factor over step.
func tail(step, factor float64) float64 { return step / math.Log(factor) }

// probabilityAt is the inverse of spreadAt.
func probabilityAt(q *[grid]float64, z float64) float64 {
	switch {
	case z < q[0]:
		s := tail(q[1]-q[0], probabilities[1]/probabilities[0])
		if s <= 0 {
			return 0
		}
		return probabilities[0] * math.Exp((z-q[0])/s)
	case z >= q[grid-1]:
		s := tail(q[grid-1]-q[grid-2], probabilities[1]/probabilities[0])
		if s <= 0 {
			return 1
		}
		return 1 - probabilities[0]*math.Exp((q[grid-1]-z)/s)
	}
	// The last of equal values, since not passing means staying at or below.
	i := sort.Search(grid, func(i int) bool { return q[i] > z })
	lo, hi := q[i-1], q[i]
	return probabilities[i-1] + (z-lo)/(hi-lo)*(probabilities[i]-probabilities[i-1])
}
