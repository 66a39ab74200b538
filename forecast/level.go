package forecast

import "math"

// A level is a method that follows a series without seasons: it is fitted once,
// runs over the series and gives, at any origin, the path that it expects from
// there. Values are on the scale of the view that runs it.
type level interface {
	// fit chooses the method's parameters on x.
	fit(x []float64)
	// reset begins anew before x[0].
	reset(x []float64)
	// advance takes in x up to, without, index to.
	advance(x []float64, to int)
	// emit writes the expected next values into out.
	emit(out []float64)
	// name says which method it is.
	name() Method
}

// line is what most methods know at an origin: a level and a trend that fades
// by phi a step.
type line struct{ level, trend, phi float64 }

func (l line) emit(out []float64) {
	v, b := l.level, l.trend
	for h := range out {
		b *= l.phi
		v += b
		out[h] = v
	}
}

// gains tells whether the error e is truly less than the best one so far: of
// parameters that do as well, those that were tried first stay, which follow a
// series the least. On a steady one all do, but for the last bits.
func gains(e, best float64) bool { return e < best*(1-1e-9) }

// naive expects the last value to stay.
type naive struct{ line }

func (*naive) fit([]float64)     {}
func (m *naive) reset([]float64) { m.line = line{} }
func (m *naive) advance(x []float64, to int) {
	m.level = x[to-1]
}

// again expects the last cycle of the given length once more: seasonal naive.
type again struct {
	length int
	last   []float64
}

func (*again) fit([]float64)   {}
func (*again) reset([]float64) {}
func (m *again) advance(x []float64, to int) {
	m.last = x[max(0, to-m.length):to]
}

func (m *again) emit(out []float64) {
	n := len(m.last)
	for h := range out {
		out[h] = m.last[h%n]
	}
}

// average expects the mean of the last values: a moving average. Over the days
// that a period has run it is pacing, since the view that runs it has taken the
// calendar's weights out.
type average struct {
	line
	window int
	method Method // what the window makes of it
}

func (*average) fit([]float64)     {}
func (m *average) reset([]float64) { m.line = line{} }
func (m *average) advance(x []float64, to int) {
	m.level = meanOf(x[max(0, to-m.window):to])
}

// straight is a straight line through the last values by least squares.
type straight struct {
	line
	window int
}

func (*straight) fit([]float64)     {}
func (m *straight) reset([]float64) { m.line = line{phi: 1} }
func (m *straight) advance(x []float64, to int) {
	x = x[max(0, to-m.window):to]
	mean, mid := meanOf(x), float64(len(x)-1)/2
	var cov, spread float64
	for i, v := range x {
		d := float64(i) - mid
		cov += d * (v - mean)
		spread += d * d
	}
	m.trend = 0
	if spread > 0 {
		m.trend = cov / spread
	}
	m.level = mean + m.trend*mid
}

// ses is simple exponential smoothing, ETS(A,N,N) of Hyndman, Koehler, Ord and
// Snyder, Forecasting with Exponential Smoothing (2008), chapter 2:
// l(t) = l(t-1) + α (y(t) - l(t-1)). The level starts at the mean of the first
// values; α minimises the squared one-step errors.
type ses struct {
	line
	alpha float64
	at    int
}

func (m *ses) fit(x []float64) {
	best, bestAt := math.Inf(1), 0.1
	try := func(a float64) {
		if a < 0.005 || a > 1 {
			return
		}
		if e := sesError(x, a, best); gains(e, best) {
			best, bestAt = e, a
		}
	}
	for _, a := range [...]float64{0.03, 0.1, 0.25, 0.5, 0.9} {
		try(a)
	}
	for _, step := range [...]float64{1.5, 1.2} {
		a := bestAt
		try(a * step)
		try(a / step)
	}
	m.alpha = bestAt
}

// sesError gives the sum of the squared one-step errors. Like the other methods' it
// leaves off where the sum passes most, since no parameter that does worse than
// another is chosen, however much worse.
func sesError(x []float64, alpha, most float64) float64 {
	l, sum := startLevel(x), 0.0
	skip := min(10, len(x)/4)
	for _, v := range x[:skip] {
		l += alpha * (v - l)
	}
	for _, v := range x[skip:] {
		e := v - l
		if sum += e * e; sum > most {
			break
		}
		l += alpha * e
	}
	return sum
}

func (m *ses) reset(x []float64) {
	m.line, m.at = line{level: startLevel(x)}, 0
}

func (m *ses) advance(x []float64, to int) {
	l := m.level
	for _, v := range x[m.at:to] {
		l += m.alpha * (v - l)
	}
	m.level, m.at = l, to
}

// holt is Holt's method with a damped trend, ETS(A,Ad,N) of Hyndman et al.
// (2008), in its error-correction form: the trend fades by φ a step.
type holt struct {
	line
	alpha, beta float64 // beta is the whole share of the error, β = β*·α
	damp        float64
	at          int
}

func (m *holt) fit(x []float64) {
	best := math.Inf(1)
	p := [3]float64{0.1, 0.005, 0.9}
	try := func(a, b, phi float64) {
		if a < 0.005 || a > 1 || b < 0.0005 || b > a || phi < 0.7 || phi > 0.99 {
			return
		}
		if e := holtError(x, a, b, phi, best); gains(e, best) {
			best, p = e, [3]float64{a, b, phi}
		}
	}
	for _, a := range [...]float64{0.05, 0.25, 0.8} {
		for _, b := range [...]float64{0.02, 0.3} {
			for _, phi := range [...]float64{0.85, 0.97} {
				try(a, a*b, phi)
			}
		}
	}
	for _, step := range [...]float64{1.6, 1.25} {
		q := p
		try(q[0]*step, q[1], q[2])
		try(q[0]/step, min(q[1], q[0]/step), q[2])
		q = p
		try(q[0], q[1]*step*step, q[2])
		try(q[0], q[1]/step/step, q[2])
		q = p
		try(q[0], q[1], 1-(1-q[2])*step)
		try(q[0], q[1], 1-(1-q[2])/step)
	}
	m.alpha, m.beta, m.damp = p[0], p[1], p[2]
}

// holtError keeps what is expected next and the trend's part of it, b, rather than
// the level and the trend: less of a step waits for another.
func holtError(x []float64, alpha, beta, phi, most float64) float64 {
	next, b, sum := startLevel(x), 0.0, 0.0
	gain, turn := alpha+phi*beta, phi*beta
	skip := min(10, len(x)/4)
	for i, v := range x {
		e := v - next
		if i >= skip {
			if sum += e * e; sum > most {
				break
			}
		}
		b *= phi
		next += b + gain*e
		b += turn * e
	}
	return sum
}

func (m *holt) reset(x []float64) {
	m.line, m.at = line{level: startLevel(x), phi: m.damp}, 0
}

func (m *holt) advance(x []float64, to int) {
	l, b := m.level, m.trend
	for _, v := range x[m.at:to] {
		b *= m.damp
		e := v - l - b
		l += b + m.alpha*e
		b += m.beta * e
	}
	m.level, m.trend, m.at = l, b, to
}

// startLevel is the mean of the first values, where methods begin.
func startLevel(x []float64) float64 { return meanOf(x[:min(10, len(x))]) }

func meanOf(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return sumOf(x) / float64(len(x))
}

func sumOf(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum
}

func (*naive) name() Method { return Naive }

func (*again) name() Method { return SeasonalNaive }

func (m *average) name() Method { return m.method }

func (*straight) name() Method { return LinearRegression }

func (*ses) name() Method { return SES }

func (*holt) name() Method { return DampedHolt }
