//go:build unix

package main

import "math"

// spread puts normal intervals around a median: sd at the first step, growing
// with the square root of the number of cycles ahead.
func spread(median []float64, sd float64, cycle int) prediction {
	p := prediction{median: median}
	for h, v := range median {
		s := sd * math.Sqrt(float64(h/cycle+1))
		p.lower80 = append(p.lower80, max(0, v-1.2816*s))
		p.upper = append(p.upper, v+1.2816*s)
		p.lower95 = append(p.lower95, max(0, v-1.96*s))
		p.up95 = append(p.up95, v+1.96*s)
	}
	return p
}

// repeat is naive for a cycle of 1, else seasonal naive.
func repeat(y []float64, cycle, h int) prediction {
	median := make([]float64, h)
	for i := range median {
		median[i] = y[len(y)-cycle+i%cycle]
	}
	sq := 0.0
	for i := cycle; i < len(y); i++ {
		sq += (y[i] - y[i-cycle]) * (y[i] - y[i-cycle])
	}
	return spread(median, math.Sqrt(sq/float64(len(y)-cycle)), cycle)
}

// naive2 is the benchmark of OWA: naive on the series less its season, if the
// competition's test finds one.
func naive2(t task) prediction {
	x, index := adjusted(t)
	p := repeat(x, 1, len(t.future))
	return seasonal(p, index, len(t.past))
}

// ses is simple exponential smoothing of the same.
func ses(t task) prediction {
	x, index := adjusted(t)
	best, level, alpha := math.Inf(1), 0.0, 0.0
	for a := 0.01; a < 1; a += 0.01 {
		l, sq := x[0], 0.0
		for _, v := range x[1:] {
			e := v - l
			sq += e * e
			l += a * e
		}
		if sq < best {
			best, level, alpha = sq, l, a
		}
	}
	sd := math.Sqrt(best / float64(len(x)-1))
	p := prediction{}
	for h := range t.future {
		s := sd * math.Sqrt(1+float64(h)*alpha*alpha)
		p.median = append(p.median, level)
		p.lower80 = append(p.lower80, max(0, level-1.2816*s))
		p.upper = append(p.upper, level+1.2816*s)
		p.lower95 = append(p.lower95, max(0, level-1.96*s))
		p.up95 = append(p.up95, level+1.96*s)
	}
	return seasonal(p, index, len(t.past))
}

func seasonal(p prediction, index []float64, at int) prediction {
	if index == nil {
		return p
	}
	for _, v := range [][]float64{p.median, p.lower80, p.upper, p.lower95, p.up95} {
		for h := range v {
			v[h] *= index[(at+h)%len(index)]
		}
	}
	return p
}

// adjusted divides the series by its season, when the autocorrelation at the
// season's lag passes the limit of the competition's test (90 %, Bartlett's
// formula); index is nil otherwise.
func adjusted(t task) (x, index []float64) {
	m, y := t.frequency, t.past
	if m < 2 || len(y) < 3*m {
		return y, nil
	}
	sum := 0.0
	for i := 1; i < m; i++ {
		r := correlation(y, i)
		sum += r * r
	}
	if math.Abs(correlation(y, m)) <= 1.645*math.Sqrt((1+2*sum)/float64(len(y))) {
		return y, nil
	}
	// The classical multiplicative decomposition; m is odd here.
	index = make([]float64, m)
	count := make([]float64, m)
	for i := m / 2; i+m/2 < len(y); i++ {
		mean := 0.0
		for _, v := range y[i-m/2 : i+m/2+1] {
			mean += v
		}
		if mean /= float64(m); mean > 0 {
			index[i%m] += y[i] / mean
			count[i%m]++
		}
	}
	total := 0.0
	for j := range index {
		index[j] /= count[j]
		total += index[j]
	}
	x = make([]float64, len(y))
	for j := range index {
		index[j] *= float64(m) / total
	}
	for i, v := range y {
		x[i] = v / index[i%m]
	}
	return x, index
}

func correlation(y []float64, lag int) float64 {
	mean := 0.0
	for _, v := range y {
		mean += v
	}
	mean /= float64(len(y))
	var cov, spread float64
	for i, v := range y {
		spread += (v - mean) * (v - mean)
		if i >= lag {
			cov += (v - mean) * (y[i-lag] - mean)
		}
	}
	if spread == 0 {
		return 0
	}
	return cov / spread
}
