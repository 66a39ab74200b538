package forecast

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// A law is what the backtest says about the errors at each lead: how large they
// are and how they are spread. Errors are differences of logarithms (dayLogs, or sumLogs of the mean of a sum), so
// that they scale with the series. The spread comes from the errors themselves,
// not from a model: split conformal prediction over rolling origins (Shafer and
// Vovk, "A Tutorial on Conformal Prediction", JMLR 9, 2008; for time series
// Stankevičiūtė, Alaa and van der Schaar, "Conformal time-series forecasting",
// NeurIPS 2021), errors standardised per lead and pooled over leads.
type law struct {
	scale  []float64 // by lead - 1: the typical absolute error
	spread [grid]float64
	reps   float64 // how many independent errors it comes from
	// typical is the mean of the scale that the errors have.
	typical float64
	seen    float64 // the share of the scale that rests on errors
	doubt   float64 // what was added to the scale for what the errors cannot know
	apart   float64 // and of that, for the methods being further apart than usual
	sums    bool    // it is of sums
	exact   float64 // the probability that there is no error at all; 0 once there was one
	counts  []float64
	raw     []float64
	pool    []float64
}

// grid is the number of probabilities at which a spread is kept.
const grid = 27

var probabilities = [grid]float64{
	0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.475,
	0.5,
	0.525, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995,
}

// common is the spread of standardised errors expected before any is seen: that
// of Student's t with five degrees of freedom over its mean absolute value.
var common = func() (q [grid]float64) {
	for i, p := range probabilities {
		q[i] = quantileT(5, p) / meanAbsT5
	}
	return q
}()

// quantileT is the quantile at p, between 0 and 1, of Student's t with so many
// degrees of freedom, by the inverse of the regularised incomplete beta function.
func quantileT(freedom, p float64) float64 {
	if p > 0.5 {
		return -quantileT(freedom, 1-p)
	}
	x := mathext.InvRegIncBeta(freedom/2, 0.5, 2*p)
	return -math.Sqrt(freedom * (1 - x) / x)
}

// at90 is where the probability of 0.9 is.
const at90 = 22

// meanAbsT5 is the mean absolute value of Student's t with five degrees of freedom.
const meanAbsT5 = 0.9490

// ownErrors is how many independent errors weigh as much as the common spread.
const ownErrors = 4.0

// widened is how much wider the spread from that many independent errors is made
// at probability p: as with Student's t, more so in the tails. Both were settled
// on synthetic series and on public ones.
func widened(p, reps float64) float64 {
	tail := math.Abs(2*p - 1)
	return 1 + (1+3*tail*tail*tail*tail)/reps
}

// learn takes the law from e's backtest: of the values themselves, or of their
// sums from the origin on.
func (l *law) learn(e *engine, sums bool) {
	h := e.h
	l.sums = sums
	l.scale, l.raw, l.counts = grow(l.scale, h), grow(l.raw, h), grow(l.counts, h)
	clear(l.raw)
	clear(l.counts)
	l.pool = l.pool[:0]
	back := len(e.origins) - 1
	errs := grow(l.pool, back*h)[:0]
	for o := range back {
		at := e.origins[o]
		var a, p float64
		path := e.at(o)
		for j := range h {
			if at+j >= len(e.y) {
				break
			}
			var d float64
			if sums {
				a += e.y[at+j]
				p += path[j]
				r := 1 / float64(j+1)
				d = toLog(a*r) - toLog(p*r)
			} else {
				d = dayLogs.of(e.y[at+j]) - dayLogs.of(path[j])
			}
			errs = append(errs, d)
			l.raw[j] += math.Abs(d)
			l.counts[j]++
		}
	}
	l.smooth()
	l.typical = meanOf(l.scale)
	l.exact = 0
	if n := float64(len(e.y)); back > 0 && l.typical < noError {
		l.exact = n / (n + float64(h)) // Laplace's rule of succession, for the days ahead together
	}
	k := 0
	for o := range back {
		for j := range h {
			if e.origins[o]+j >= len(e.y) {
				break
			}
			if l.scale[j] > 0 {
				errs[k] /= l.scale[j]
			}
			k++
		}
	}
	l.pool = errs
	reps := 1 + float64(back)
	if sums && back > 0 {
		reps = 1 + float64(len(e.y)-e.origins[0])/float64(h)
	}
	l.reps = reps
	l.seen = l.hesitate(e)
	l.shape()
}

// unseen is how large an error is that did not happen yet, and how often days
// bring what none before them did: once in one more than there were.
const unseen = 0.5

// noError is a typical error that comes of rounding alone.
const noError = 1e-9

// meet gives a spread the sums that are met exactly, where there was never an error:
// of use that is the same each day, a limit of just what it comes to is not passed.
func (l *law) meet(spread *[grid]float64) {
	for i, p := range probabilities {
		if math.Abs(2*p-1) < l.exact {
			spread[i] = 0
		}
	}
}

// hesitate widens the law by what its errors cannot know: that no error in few
// days does not mean that none can come, and that the last days were odd, which no
// backtest has seen the end of. That shows in the methods' disagreement, beyond
// twice what it was at the backtest's origins: some follow the last days, some do
// not. It gives the share of the scale that rests on errors.
func (l *law) hesitate(e *engine) float64 {
	doubt := max(0, unseen/float64(len(e.y)+1)-l.typical)
	l.apart = 0
	if back := len(e.origins) - 1; back > 0 {
		usual := 0.0
		for o := range back {
			usual += e.disagreement(o)
		}
		l.apart = max(0, e.disagreement(back)-2*usual/float64(back))
		doubt += l.apart
	}
	if e.oddEnd {
		doubt += oddEnd
	}
	l.doubt = doubt
	for j := range l.scale {
		l.scale[j] += doubt
	}
	if doubt == 0 {
		return 1
	}
	return l.typical / (l.typical + doubt)
}

// disagreement is how far the members' forecasts of the sum from origin number o
// are from the weighted one, whatever their weights.
func (e *engine) disagreement(o int) float64 {
	n := 1 / float64(e.h)
	middle, sum := toLog(sumOf(e.at(o))*n), 0.0
	for i := range e.members {
		sum += math.Abs(toLog(sumOf(e.paths[i][o*e.h:(o+1)*e.h])*n) - middle)
	}
	return sum / float64(len(e.members))
}

// furthest gives the least and the most that any member expects of the mean of the days
// from ≤ day < to ahead, or that was usual in the last year.
func (e *engine) furthest(from, to int) (low, high float64) {
	low = meanOf(e.y[max(0, len(e.y)-longestPast):])
	high = low
	at := (len(e.origins) - 1) * e.h
	for i := range e.members {
		mean := meanOf(e.paths[i][at+from : at+to])
		low, high = min(low, mean), max(high, mean)
	}
	return low, high
}

// smooth makes the scales of the leads from their errors, each with its
// neighbours', and goes on by a power of the lead where there are none.
func (l *law) smooth() {
	h := len(l.scale)
	known := 0
	for j := range h {
		if l.counts[j] > 0 {
			known = j + 1
		}
	}
	for j := range known {
		var sum, weight float64
		for i := j * 2 / 3; i <= min(known-1, j*3/2+1); i++ {
			sum += l.raw[i]
			weight += l.counts[i]
		}
		l.scale[j] = sum / weight
	}
	for j := known; j < h; j++ {
		if known == 0 {
			l.scale[j] = 0.5
			continue
		}
		l.scale[j] = l.scale[known-1] * math.Pow(float64(j+1)/float64(known), 0.25)
	}
}

// shape makes the spread of the pooled standardised errors, drawn towards the
// common one and widened as the number of independent errors is small. Of the share
// of the scale that does not rest on them the spread is the common one.
func (l *law) shape() {
	reps := l.reps
	z := l.pool
	if len(z) > 700 {
		// Every so many of them do.
		step := len(z)/700 + 1
		k := 0
		for i := 0; i < len(z); i += step {
			z[k] = z[i]
			k++
		}
		z = z[:k]
	}
	slices.Sort(z)
	own := reps / (reps + ownErrors)
	if len(z) < 2 {
		own = 0
	}
	for i, p := range probabilities {
		q := 0.0
		if own > 0 {
			q = sortedQuantile(z, p)
		}
		l.spread[i] = l.seen*widened(p, reps)*(own*q+(1-own)*common[i]) + (1-l.seen)*common[i]
	}
	// Of what the backtest calls a bias of single values half is believed; of that of sums
	// the more, the surer it is that it is one.
	bias := l.spread[grid/2]
	believed := 0.5
	if l.sums {
		off := (l.spread[at90] - l.spread[grid-1-at90]) / 2.56
		believed = bias * bias / (bias*bias + off*off/reps + tiny)
	}
	for i := range l.spread {
		l.spread[i] -= bias * (1 - believed)
	}
}

// sortedQuantile interpolates the quantile p of sorted values.
func sortedQuantile(z []float64, p float64) float64 {
	at := p*float64(len(z)+1) - 1
	if at <= 0 {
		return z[0]
	}
	i := int(at)
	if i >= len(z)-1 {
		return z[len(z)-1]
	}
	return z[i] + (at-float64(i))*(z[i+1]-z[i])
}
