package forecast

import (
	"math"
	"slices"
)

// A Forecaster makes forecasts and reuses its memory for the next one. The zero
// value is ready; it is not for concurrent use.
type Forecaster struct {
	engine engine
	law    law // of sums, or of what was asked for last
	daily  law // of single values
	rare   rare
	odd    odd // of the series that was measured last
	months calendar
	rivals rivals
	yearly yearly
	buf    []float64
	level  []float64 // days on their present level
}

// Values is a forecast of the next values of a series.
type Values struct {
	path   []float64
	scale  []float64
	spread [grid]float64
	by     float64
}

// Quantile gives for each lead the value that is not passed with probability p,
// held within 0.001 and 0.999.
func (v Values) Quantile(p float64) []float64 {
	q := spreadAt(&v.spread, min(max(p, 0.001), 0.999))
	out := make([]float64, len(v.path))
	for i, a := range v.path {
		out[i] = v.at(a, q*v.scale[i])
	}
	return out
}

func (v Values) at(path, shift float64) float64 {
	if path <= 0 && shift <= 0 || v.by == 0 {
		return 0
	}
	return dayLogs.back(dayLogs.of(path)+shift) * v.by
}

// Median gives Quantile(0.5).
func (v Values) Median() []float64 { return v.Quantile(0.5) }

// Series forecasts h more values of y, at equal distances; NaN is a gap and a
// negative value counts as 0. Cycles are the lengths of seasons to look for,
// shorter ones first. Without any value the forecast is 0.
func (f *Forecaster) Series(y []float64, cycles []int, h int) Values {
	skip := silenceOf(y, false).skip
	known := y[:len(y)-skip]
	if slices.Contains(cycles, yearDays) {
		known = f.yearly.without(known, dates{}, h+skip)
	} else {
		f.yearly.ahead = f.yearly.ahead[:0]
	}
	z, by := f.measure(known)
	v := Values{path: make([]float64, h), scale: make([]float64, h)}
	if by == 0 || h == 0 {
		return v
	}
	if slices.ContainsFunc(cycles, none) {
		cycles = slices.DeleteFunc(slices.Clone(cycles), none)
	}
	first, short := firstWeeks(z, cycles)
	f.engine.run(z, job{cycles: cycles, horizon: h + skip, oddEnd: f.odd.atEnd})
	f.law.learn(&f.engine, false)
	copy(v.path, f.engine.end()[skip:])
	copy(v.scale, f.law.scale[skip:])
	v.spread, v.by = f.law.spread, by
	for j := range v.path {
		times, uneven := f.yearly.of(f.engine.end(), j+skip, j+skip+1)
		v.path[j], v.scale[j] = v.path[j]*times, math.Hypot(v.scale[j], uneven)
	}
	if short {
		first.putBack(&v, len(z))
	}
	return v
}

// none tells the lengths that stand for no cycle.
func none(length int) bool { return length < 2 }

// Bounds on single values, so that sums and ratios stay finite.
const (
	tiny = 1e-200
	huge = 1e200
	// farOut is the most that a value counts in measures, so that squares stay finite.
	farOut = 1e60
	// A series that began with that many zeros is looked at from its first use
	// on, if that leaves it as many days.
	idle = 28
)

// tamed gives the mean of the values, the largest held to a thousand times the
// median of those above zero: one slip must not make all others look like nothing.
func tamed(z []float64, mean float64) float64 {
	some := make([]float64, 0, len(z))
	for _, v := range z {
		if v > 0 {
			some = append(some, v)
		}
	}
	most := 1000 * medianOf(some)
	if slices.Max(z) <= most {
		return mean
	}
	sum := 0.0
	for _, v := range z {
		sum += min(v, most)
	}
	return sum / float64(len(z))
}

// measure gives the part of y that is looked at, measured by its mean, with its
// gaps filled and odd days held to what others bear out, and the mean: 0 if there is
// none.
func (f *Forecaster) measure(y []float64) (z []float64, by float64) {
	if len(y) > maxPoints {
		y = y[len(y)-maxPoints:]
	}
	first := slices.IndexFunc(y, func(v float64) bool { return v >= tiny })
	if first < 0 {
		return nil, 0
	}
	start := slices.IndexFunc(y, func(v float64) bool { return !math.IsNaN(v) })
	if first >= idle && len(y)-first >= idle {
		start = first
	}
	y = y[start:]
	f.odd.look(y)
	f.buf = grow(f.buf, len(y))
	z = f.buf
	sum, count := 0.0, 0.0
	for i, v := range y {
		if isGap(v) {
			z[i] = v
			continue
		}
		if v = min(max(0, v), huge); v < tiny {
			v = 0
		}
		v = f.odd.hold(i, v)
		z[i] = v
		sum += v
		count++
	}
	by = sum / count
	fill(z)
	by = tamed(z, by)
	// Rounded, so that a series and its multiple are the same to the last bit
	// and every choice falls alike.
	for i, v := range z {
		z[i] = math.Round(min(v/by, farOut)*(1<<32)) / (1 << 32)
	}
	return z, by
}

func isGap(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

// fill puts what it is taken for into each gap of z: what known days at distances of a
// week brought, the median of the last four before it and that of the next four, the nearer
// the more; that of the seven known ones around it where there are not two such; 0 where
// nothing is known. Medians keep one odd day from being copied into a long gap.
func fill(z []float64) {
	gaps := slices.IndexFunc(z, isGap)
	if gaps < 0 {
		return
	}
	known := slices.Clone(z)
	for i := gaps; i < len(z); i++ {
		if !isGap(z[i]) {
			continue
		}
		before, back, k := nearest(known, i, -7, 4)
		after, on, l := nearest(known, i, 7, 4)
		if k+l < 2 {
			before, back, k = nearest(known, i, -1, 7)
			after, on, l = nearest(known, i, 1, 7)
		}
		switch {
		case k+l == 0:
			z[i] = 0
		case k < 2 && l > k:
			z[i] = after
		case l < 2:
			z[i] = before
		default:
			z[i] = (before*on + after*back) / (back + on)
		}
	}
}

// nearest gives the median of the first most known values of z at distances of step from i,
// how far they are on average, and how many there are.
func nearest(z []float64, i, step, most int) (middle, far float64, count int) {
	var v [7]float64
	for j := i + step; j >= 0 && j < len(z) && count < most; j += step {
		if !isGap(z[j]) {
			v[count] = z[j]
			far += math.Abs(float64(j - i))
			count++
		}
	}
	if count == 0 {
		return 0, 0, 0
	}
	return medianOf(v[:count]), far / float64(count), count
}

// knownCycles are the lengths that Cycles tries, and companions the longer cycle
// that comes with one.
var (
	knownCycles = [...]int{7, 12, 24, 52}
	companions  = map[int]int{7: 365, 24: 168}
)

const (
	triedSeries = 200
	// A cycle is believed that explains this share of the variance, and put
	// before the one that was named when it explains so much more.
	believed = 0.05
	better   = 0.15
)

// Cycles gives the cycles to look for in series of one kind: the one named, or
// where the series plainly show another one of length 7, 12, 24 or 52, that; and
// with it the longer cycle that goes with it, a year with a week and a week with
// a day. A named length below 2 stands for none.
func Cycles(series [][]float64, named int) []int {
	var f Forecaster
	var s seasons
	strength := func(m int) float64 {
		sum, n := 0.0, 0.0
		for i := 0; i < len(series); i += len(series)/triedSeries + 1 {
			z, by := f.measure(series[i])
			if by == 0 || len(z) < 3*m {
				continue
			}
			s.fit(z, []int{m})
			sum += s.cycles[0].strength
			n++
		}
		if n < float64(min(len(series), triedSeries))/10 || n == 0 {
			return 0
		}
		return sum / n
	}
	length, most := 0, believed
	if named > 1 {
		length, most = named, strength(named)+better
	}
	for _, m := range knownCycles {
		if v := strength(m); v > most && m != named {
			length, most = m, v
		}
	}
	if length == 0 {
		return nil
	}
	out := []int{length}
	if long, ok := companions[length]; ok {
		out = append(out, long)
	}
	return out
}
