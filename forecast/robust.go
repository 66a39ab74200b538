package forecast

import (
	"math"

	"github.com/usance/usance"
)

// medians expects the mean of the medians of the last windows: spikes and
// single days do not move it, which is what page views ask for.
type medians struct {
	line
	buf []float64
}

// windows are the lengths that medians looks at.
var windows = [...]int{9, 21, 42, 77}

func (*medians) fit([]float64)     {}
func (m *medians) reset([]float64) { m.line = line{} }

func (m *medians) advance(x []float64, to int) {
	sum, k := 0.0, 0.0
	for i, w := range windows {
		if w > to && i > 0 {
			break
		}
		m.buf = append(m.buf[:0], x[max(0, to-w):to]...)
		sum += medianOf(m.buf)
		k++
	}
	m.level = sum / k
}

// robust is simple exponential smoothing that a spike does not carry away:
// errors beyond twice a running scale count as twice the scale, and the scale
// itself learns from bounded errors (Gelper, Fried and Croux, "Robust
// forecasting with exponential and Holt-Winters smoothing", Journal of
// Forecasting 29, 2010). α minimises the mean absolute one-step error.
type robust struct {
	line
	alpha float64
	scale float64
	at    int
}

func (m *robust) fit(x []float64) {
	best, bestAt := math.Inf(1), 0.1
	for _, a := range [...]float64{0.03, 0.08, 0.2, 0.5} {
		l, s, sum := startLevel(x), startScale(x), 0.0
		for _, v := range x {
			e := v - l
			sum += math.Abs(e)
			l, s = robustStep(l, s, e, a)
		}
		if gains(sum, best) {
			best, bestAt = sum, a
		}
	}
	m.alpha = bestAt
}

func robustStep(l, s, e, alpha float64) (level, scale float64) {
	a := math.Abs(e)
	if a > 2*s {
		e = math.Copysign(2*s, e)
		a = 3 * s // so that a shift of the level widens the bound in time
	}
	return l + alpha*e, s + 0.06*(1.25*a-s)
}

// startScale is the mean absolute difference of the first values.
func startScale(x []float64) float64 {
	n := min(30, len(x))
	if n < 2 {
		return 0
	}
	sum := 0.0
	for i := 1; i < n; i++ {
		sum += math.Abs(x[i] - x[i-1])
	}
	return sum / float64(n-1)
}

func (m *robust) reset(x []float64) {
	m.line, m.scale, m.at = line{level: startLevel(x)}, startScale(x), 0
}

func (m *robust) advance(x []float64, to int) {
	l, s := m.level, m.scale
	for _, v := range x[m.at:to] {
		l, s = robustStep(l, s, v-l, m.alpha)
	}
	m.level, m.scale, m.at = l, s, to
}

// medianOf reorders v, which must not be empty.
func medianOf(v []float64) float64 {
	n := len(v)
	hi := usance.SelectNth(v, n/2)
	if n%2 == 1 {
		return hi
	}
	lo := v[0]
	for _, x := range v[1 : n/2] {
		lo = max(lo, x)
	}
	return (lo + hi) / 2
}

func (*medians) name() Method { return WeekdayProfile }

func (*robust) name() Method { return robustSES }
