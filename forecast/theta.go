package forecast

import "math"

// theta is the Dynamic Optimised Theta model of Fiorucci, Pellegrini, Louzada,
// Petropoulos and Koehler, "Models for optimising the theta method and their
// relationship to state space models", International Journal of Forecasting 32
// (2016), equations 12 to 19: simple exponential smoothing around a line whose
// intercept A and slope B are re-estimated with each value, the line's weight
// being 1 - 1/θ. α and θ minimise the squared one-step errors. The level begins
// at the first values' share of 1/θ, which with the line's makes them whole.
type theta struct {
	line
	alpha, weight float64 // weight is 1 - 1/θ
	l             float64
	power         float64 // (1-α)^n
	at            int
	seen          moments
	a, b          []float64 // A and B after each value; they depend on x alone
}

// moments are what the regression line through values needs of them: the sums of
// the values and of each times its place, from 1 on. The values are taken less the
// first, so that of steady ones there is nothing but zeros to add up.
type moments struct{ first, n, sum, placed float64 }

func (m *moments) add(v float64) {
	m.n++
	m.sum += v - m.first
	m.placed += m.n * (v - m.first)
}

// line gives the intercept A and the slope B.
func (m *moments) line() (a, b float64) {
	if m.n > 1 {
		b = 6 * (2*m.placed - (m.n+1)*m.sum) / (m.n * (m.n*m.n - 1))
	}
	return m.first + m.sum/m.n - b*(m.n+1)/2, b
}

// lines writes A and B after each value.
func (m *theta) lines(x []float64) {
	m.a, m.b = grow(m.a, len(x)+1), grow(m.b, len(x)+1)
	m.a[0], m.b[0] = 0, 0
	seen := moments{first: x[0]}
	for i, v := range x {
		seen.add(v)
		m.a[i+1], m.b[i+1] = seen.line()
	}
}

func (m *theta) fit(x []float64) {
	m.lines(x)
	best := math.Inf(1)
	p := [2]float64{0.1, 0.5}
	try := func(a, w float64) {
		if a < 0.01 || a > 0.999 || w < 0 || w > 0.99 {
			return
		}
		if e := m.error(x, a, w, best); gains(e, best) {
			best, p = e, [2]float64{a, w}
		}
	}
	for _, a := range [...]float64{0.05, 0.25, 0.8} {
		for _, w := range [...]float64{0.15, 0.5, 0.9} {
			try(a, w)
		}
	}
	for _, step := range [...]float64{1.5, 1.2} {
		q := p
		try(q[0]*step, q[1])
		try(q[0]/step, q[1])
		q = p
		try(q[0], 1-(1-q[1])*step)
		try(q[0], 1-(1-q[1])/step)
	}
	m.alpha, m.weight = p[0], p[1]
}

func (m *theta) error(x []float64, alpha, weight, most float64) float64 {
	l, power, sum := startLevel(x)*(1-weight), 1.0, 0.0
	inverse := 1 / alpha
	skip := min(10, len(x)/4)
	a, b := m.a[:len(x)], m.b[:len(x)]
	for i, v := range x {
		next := power * (1 - alpha)
		mu := l + weight*(power*a[i]+(1-next)*inverse*b[i])
		power = next
		if i >= skip {
			if sum += (v - mu) * (v - mu); sum > most {
				break
			}
		}
		l += alpha * (v - l)
	}
	return sum
}

func (m *theta) reset(x []float64) {
	m.seen = moments{first: x[0]}
	m.l, m.power, m.at = startLevel(x)*(1-m.weight), 1, 0
}

func (m *theta) advance(x []float64, to int) {
	for _, v := range x[m.at:to] {
		m.power *= 1 - m.alpha
		m.l += m.alpha * (v - m.l)
		m.seen.add(v)
	}
	m.at = to
	a, b := m.seen.line()
	m.phi, m.trend = 1, m.weight*b
	// The first step's whole move, less the trend that emit adds to it.
	move := m.power*a + (1-m.power*(1-m.alpha))/m.alpha*b
	m.level = m.l + m.weight*move - m.trend
}

func (*theta) name() Method { return Theta }
