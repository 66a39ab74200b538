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
	next, trend             float64 // the level expected next, and how much of it is the trend's
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
	m.next, m.trend, m.at = m.startLevel, 0, 0
}

// try gives minus twice the log likelihood, up to a constant, over x.
func (m *ets) try(x []float64, q [4]float64) float64 {
	copy(m.season, m.start)
	m.alpha, m.beta, m.gamma, m.phi = q[0], q[1], q[2], q[3]
	m.next, m.trend, m.at = m.startLevel, 0, 0
	n := float64(len(x))
	if m.times {
		squares, scale := m.followTimes(x)
		return n*math.Log(squares/n+1e-300) + 2*scale
	}
	return n * math.Log(m.follow(x)/n+1e-300)
}

// follow takes in x, which comes next, and gives the sum of the squared errors. Like
// holtError it keeps what is expected next, not the level.
func (m *ets) follow(x []float64) (squares float64) {
	next, trend, p := m.next, m.trend, m.at%m.length
	gain, turn := m.alpha+m.phi*m.beta, m.phi*m.beta
	for _, v := range x {
		s := m.season[p]
		e := v - s - next
		squares += e * e
		trend *= m.phi
		next += trend + gain*e
		trend += turn * e
		m.season[p] = s + m.gamma*e
		if p++; p == m.length {
			p = 0
		}
	}
	m.next, m.trend, m.at = next, trend, m.at+len(x)
	return squares
}

// followTimes is follow where the season multiplies: the errors are relative. It
// also gives the sum of the logarithms of what had been expected.
func (m *ets) followTimes(x []float64) (squares, scale float64) {
	next, trend, p := m.next, m.trend, m.at%m.length
	gain, turn := m.alpha+m.phi*m.beta, m.phi*m.beta
	product := 1.0 // of what had been expected
	for _, v := range x {
		s := m.season[p]
		if next < 1e-6 {
			next = 1e-6
		}
		off := v/s - next
		if off > 10*next {
			off = 10 * next
		}
		e := off / next
		squares += e * e
		if product *= next * s; product < 1e-100 || product > 1e100 {
			scale += math.Log(product)
			product = 1
		}
		trend *= m.phi
		next += trend + gain*off
		trend += turn * off
		m.season[p] = max(1e-3, s+m.gamma*s*e)
		if p++; p == m.length {
			p = 0
		}
	}
	m.next, m.trend, m.at = next, trend, m.at+len(x)
	return squares, scale + math.Log(product)
}

func (m *ets) advance(x []float64, to int) {
	if x = x[m.at:to]; m.times {
		m.followTimes(x)
	} else {
		m.follow(x)
	}
}

func (m *ets) emit(out []float64) {
	next, trend := m.next, m.trend
	p := m.at % m.length
	for h := range out {
		if m.times {
			out[h] = max(next, 0) * m.season[p]
		} else {
			out[h] = next + m.season[p]
		}
		trend *= m.phi
		next += trend
		if p++; p == m.length {
			p = 0
		}
	}
}

func (*ets) name() Method { return ETS }
