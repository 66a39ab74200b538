package forecast

import "math"

// ets is exponential smoothing with a damped trend and a season in state space
// form (Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential
// Smoothing, 2008, tables 2.2 and 2.3): ETS(A,Ad,A), or ETS(M,Ad,M) where the
// season multiplies. The parameters maximise the likelihood over a coarse grid
// refined by steps along each; the season begins at the first cycles' means.
type ets struct {
	length                  int
	times                   bool // ETS(M,Ad,M)
	alpha, beta, gamma, phi float64
	level, trend            float64
	season                  []float64
	start                   []float64
	startLevel              float64
	at                      int
}

func (m *ets) fit(x []float64) {
	m.begin(x)
	best := math.Inf(1)
	p := [4]float64{0.1, 0.002, 0.05, 0.97}
	try := func(q [4]float64) {
		if q[0] < 0.01 || q[0] > 0.99 || q[1] < 0.0001 || q[1] > q[0] || q[2] < 0.001 || q[2] > 1-q[0] || q[3] < 0.8 || q[3] > 0.98 {
			return
		}
		if e := m.try(x, q); e < best-1e-6 {
			best, p = e, q
		}
	}
	for _, a := range [...]float64{0.05, 0.25, 0.6} {
		for _, g := range [...]float64{0.03, 0.2} {
			try([4]float64{a, a * 0.05, g, 0.95})
		}
	}
	for _, step := range [...]float64{1.6, 1.25} {
		for i := range 3 {
			q := p
			q[i] *= step
			try(q)
			q = p
			q[i] /= step
			try(q)
		}
	}
	m.alpha, m.beta, m.gamma, m.phi = p[0], p[1], p[2], p[3]
}

// begin finds the states before the first value.
func (m *ets) begin(x []float64) {
	s := m.length
	m.start, m.season = grow(m.start, s), grow(m.season, s)
	k := max(1, min(len(x)/s, 4))
	part := x[:min(len(x), k*s)]
	m.startLevel = meanOf(part)
	for j := range m.start {
		sum, n := 0.0, 0.0
		for i := j; i < len(part); i += s {
			sum += part[i]
			n++
		}
		v := m.startLevel
		if n > 0 {
			v = sum / n
		}
		switch {
		case !m.times:
			m.start[j] = v - m.startLevel
		case m.startLevel > 0:
			m.start[j] = max(0.01, v/m.startLevel)
		default:
			m.start[j] = 1
		}
	}
}

func (m *ets) reset(x []float64) {
	m.begin(x)
	copy(m.season, m.start)
	m.level, m.trend, m.at = m.startLevel, 0, 0
}

// try gives minus twice the log likelihood, up to a constant, over x.
func (m *ets) try(x []float64, q [4]float64) float64 {
	copy(m.season, m.start)
	m.alpha, m.beta, m.gamma, m.phi = q[0], q[1], q[2], q[3]
	m.level, m.trend = m.startLevel, 0
	sum, scale := 0.0, 0.0
	p := 0
	for _, v := range x {
		e, mu := m.step(v, p)
		if p++; p == m.length {
			p = 0
		}
		sum += e * e
		if m.times {
			scale += math.Log(mu)
		}
	}
	n := float64(len(x))
	return n*math.Log(sum/n+1e-300) + 2*scale
}

// step takes in v at place p of the season. It gives the error, relative where
// the season multiplies, and what had been expected.
func (m *ets) step(v float64, p int) (e, mu float64) {
	b := m.phi * m.trend
	l := m.level + b
	s := m.season[p]
	if !m.times {
		e = v - l - s
		m.level = l + m.alpha*e
		m.trend = b + m.beta*e
		m.season[p] = s + m.gamma*e
		return e, 0
	}
	l = max(l, 1e-6)
	mu = l * s
	e = min((v-mu)/mu, 10)
	m.level = l * (1 + m.alpha*e)
	m.trend = b + m.beta*l*e
	m.season[p] = max(1e-3, s*(1+m.gamma*e))
	return e, mu
}

func (m *ets) advance(x []float64, to int) {
	p := m.at % m.length
	for _, v := range x[m.at:to] {
		m.step(v, p)
		if p++; p == m.length {
			p = 0
		}
	}
	m.at = to
}

func (m *ets) emit(out []float64) {
	l, b := m.level, m.trend
	p := m.at % m.length
	for h := range out {
		b *= m.phi
		l += b
		if m.times {
			out[h] = max(l, 0) * m.season[p]
		} else {
			out[h] = l + m.season[p]
		}
		if p++; p == m.length {
			p = 0
		}
	}
}

func (*ets) name() Method { return ETS }
