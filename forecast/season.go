package forecast

import (
	"math"
	"slices"
)

// A cycle is a season of a series: what each of its places adds to the level.
type cycle struct {
	length int
	index  []float64 // by position modulo length; its mean is 0
	// strength is the share of the variance about the level that the cycle
	// explains: 0, and the index with it, where its occurrences do not agree.
	strength float64
	// place, where there is one, tells the place in the cycle of each value: that of a
	// calendar, whose months are not of the same length.
	place []uint8
}

// seasons takes a series apart into cycles and the rest, in the manner of MSTL
// (Bandara, Hyndman and Bergmeir, "MSTL: A Seasonal-Trend Decomposition
// Algorithm for Time Series with Multiple Seasonal Patterns", 2021): the shorter
// cycle first, each from what the others leave, twice over. In place of loess
// come weighted means over the cycle's recent occurrences, which cost a pass
// each, and an index shrunk by how well its occurrences agree: where they do
// not, there is no season.
type seasons struct {
	cycles []cycle
	rest   []float64
	sums   []float64
	a, b   []float64
	// calendar is the cycle whose places are looked up, if there is one.
	calendar *calendar
	by       [maxPlaces][]float64
}

// fit finds the cycles of the given lengths in x, without those of which x holds
// less than two occurrences.
func (s *seasons) fit(x []float64, lengths []int) {
	s.cycles = s.cycles[:0]
	for _, m := range lengths {
		if m < 2 || len(x) < 2*m {
			continue
		}
		if len(s.cycles) < cap(s.cycles) {
			s.cycles = s.cycles[:len(s.cycles)+1]
		} else {
			s.cycles = append(s.cycles, cycle{})
		}
		c := &s.cycles[len(s.cycles)-1]
		c.length = m
		labels := m
		if c.place = nil; s.calendar != nil && m == s.calendar.length {
			c.place, labels = s.calendar.place, s.calendar.labels
		}
		c.index = grow(c.index, labels)
		clear(c.index)
	}
	if len(s.cycles) == 0 {
		return
	}
	rounds := 1
	if len(s.cycles) > 1 {
		rounds = 2
	}
	for range rounds {
		for i := range s.cycles {
			s.rest = append(s.rest[:0], x...)
			for k, c := range s.cycles {
				if k != i {
					c.subtract(s.rest)
				}
			}
			if c := &s.cycles[i]; c.place != nil {
				s.look(c)
			} else {
				s.estimate(c)
			}
		}
	}
}

// subtract takes the cycle out of x, in place.
func (c cycle) subtract(x []float64) {
	if c.place != nil {
		for i := range x {
			x[i] -= c.index[c.place[i]]
		}
		return
	}
	p := 0
	for i := range x {
		x[i] -= c.index[p]
		if p++; p == c.length {
			p = 0
		}
	}
}

// without writes x less all cycles into out.
func (s *seasons) without(x, out []float64) {
	copy(out, x)
	for _, c := range s.cycles {
		c.subtract(out)
	}
}

// add puts the cycles back into out, whose first value is at position at.
func (s *seasons) add(out []float64, at int) {
	for _, c := range s.cycles {
		if c.place != nil {
			for h := range out {
				out[h] += c.index[c.place[at+h]]
			}
			continue
		}
		p := at % c.length
		for h := range out {
			out[h] += c.index[p]
			if p++; p == c.length {
				p = 0
			}
		}
	}
}

const (
	// forget is the weight of a short cycle's occurrence against the next one.
	forget = 0.95
	// manyCycles bounds how many occurrences are looked at.
	manyCycles = 40
)

// estimate writes the index of c from s.rest.
func (s *seasons) estimate(c *cycle) {
	x, m := s.rest, c.length
	n := len(x)
	k := min(n/m, manyCycles)
	x = x[n-k*m:]
	s.a = grow(s.a, len(x))
	d := s.a // x less its running mean over a cycle
	s.detrend(x, d, m)
	if m >= 40 {
		s.b = grow(s.b, len(x))
		smooth(d, s.b, m/30)
		d = s.b
	}
	keep := forget
	if m >= 40 {
		keep = 1
	}
	// The first place of x in the cycle.
	first := (n - k*m) % m
	clip(d)
	var total, effective float64
	w := 1.0
	clear(c.index)
	for i := k - 1; i >= 0; i-- {
		for j, v := range d[i*m : (i+1)*m] {
			c.index[j] += w * v
		}
		total += w
		effective += w * w
		w *= keep
	}
	mean := 0.0
	for j := range c.index {
		c.index[j] /= total
		mean += c.index[j]
	}
	mean /= float64(m)
	between := 0.0
	for j := range c.index {
		c.index[j] -= mean
		between += c.index[j] * c.index[j]
	}
	between /= float64(m)
	// What the occurrences' disagreement puts into the index by chance.
	noise := 0.0
	w = 1
	for i := k - 1; i >= 0; i-- {
		for j, v := range d[i*m : (i+1)*m] {
			e := v - c.index[j]
			noise += w * e * e
		}
		w *= keep
	}
	ratio := effective / (total * total) // 1 over the effective number of occurrences
	noise /= total * float64(m) * max(1-ratio, 0.25)
	shrink := c.trust(between, noise, ratio)
	// Turn the index to the positions of the whole series.
	s.b = grow(s.b, m)
	for j := range c.index {
		s.b[(first+j)%m] = c.index[j] * shrink
	}
	copy(c.index, s.b[:m])
}

// look writes the index of c, whose places are looked up, from s.rest: as estimate does,
// but that what is far out is so against the same place of other occurrences. A single
// day of the month may bring ten times what the others do.
func (s *seasons) look(c *cycle) {
	n := len(s.rest)
	from := max(0, n-manyCycles*c.length)
	s.a = grow(s.a, n)
	d := s.a
	s.detrend(s.rest, d, c.length)
	place := c.place[from:n]
	d = d[from:]
	for p := range c.index {
		s.by[p] = s.by[p][:0]
	}
	for i, p := range place {
		s.by[p] = append(s.by[p], d[i])
	}
	for p := range c.index {
		if c.index[p] = 0; len(s.by[p]) > 0 {
			c.index[p] = medianOf(s.by[p])
		}
	}
	dev := 0.0
	for i, p := range place {
		dev += math.Abs(d[i] - c.index[p])
	}
	bound := 3 * 1.25 * dev / float64(len(d))
	var sum, weight, square [maxPlaces]float64
	keep := math.Pow(forget, 1/float64(c.length))
	w := 1.0
	for i := len(d) - 1; i >= 0; i-- {
		p := place[i]
		d[i] = max(c.index[p]-bound, min(d[i], c.index[p]+bound))
		sum[p] += w * d[i]
		weight[p] += w
		square[p] += w * w
		w *= keep
	}
	mean, all, ratio, places := 0.0, 0.0, 0.0, 0.0
	for p := range c.index {
		if weight[p] == 0 {
			continue
		}
		c.index[p] = sum[p] / weight[p]
		mean += sum[p]
		all += weight[p]
		ratio += square[p] / (weight[p] * weight[p])
		places++
	}
	mean /= all
	ratio /= places // 1 over the effective number of occurrences
	between, noise := 0.0, 0.0
	w = 1
	for i, v := range slices.Backward(d) {
		e := v - c.index[place[i]]
		noise += w * e * e
		w *= keep
	}
	for p := range c.index {
		if c.index[p] -= mean; weight[p] == 0 {
			c.index[p] = 0
		}
		between += weight[p] * c.index[p] * c.index[p]
	}
	between /= all
	noise /= all * max(1-ratio, 0.25)
	shrink := c.trust(between, noise, ratio)
	for p := range c.index {
		c.index[p] *= shrink
	}
}

// clip bounds x by three times its mean absolute value, scaled to a standard
// deviation, so that a spike in one occurrence is not taken for the season.
func clip(x []float64) {
	dev := 0.0
	for _, v := range x {
		dev += math.Abs(v)
	}
	bound := 3 * 1.25 * dev / float64(len(x))
	for i, v := range x {
		x[i] = max(-bound, min(v, bound))
	}
}

// detrend writes x less its centred running mean over m values; the mean at
// both ends is the nearest whole one.
func (s *seasons) detrend(x, out []float64, m int) {
	n := len(x)
	s.sums = grow(s.sums, n+1)
	c := s.sums
	c[0] = 0
	for i, v := range x {
		c[i+1] = c[i] + v
	}
	half := m / 2
	inv := 1 / float64(m)
	for i, v := range x {
		lo := min(max(i-half, 0), n-m)
		t := (c[lo+m] - c[lo]) * inv
		if m%2 == 0 && lo+m < n && lo > 0 {
			t = (t + (c[lo+m+1]-c[lo+1])*inv) / 2
		}
		out[i] = v - t
	}
}

// smooth writes the running mean of x over 2·half+1 values.
func smooth(x, out []float64, half int) {
	n := len(x)
	sum, lo, hi := 0.0, 0, 0
	for i := range x {
		for hi < n && hi <= i+half {
			sum += x[hi]
			hi++
		}
		for lo < i-half {
			sum -= x[lo]
			lo++
		}
		out[i] = sum / float64(hi-lo)
	}
}

func grow[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n, n+n/2)
	}
	return v[:n]
}

// trust tells how much of an index to keep whose places differ by so much and whose
// days scatter by noise, of which a share of ratio is in each place; it sets the strength.
func (c *cycle) trust(between, noise, ratio float64) (shrink float64) {
	c.strength = 0
	if between > 0 {
		shrink = max(0, 1-noise*ratio/between)
	}
	if shrink > 0 {
		c.strength = shrink * between / (between + noise)
	}
	return shrink
}
