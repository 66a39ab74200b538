package forecast

import "math"

// tsb is the method of Teunter, Syntetos and Babai, "Intermittent demand:
// Linking forecasting to inventory obsolescence", European Journal of
// Operational Research 214 (2011): the chance of any use on a day and the size
// of use where there is some are smoothed apart, the chance each day, so that
// what died out goes to zero.
type tsb struct {
	line
	alpha, beta  float64
	chance, size float64
	at           int
}

func (m *tsb) fit(x []float64) {
	best := math.Inf(1)
	for _, a := range [...]float64{0.02, 0.05, 0.1, 0.2} {
		for _, b := range [...]float64{0.05, 0.15, 0.3} {
			t := tsb{alpha: a, beta: b}
			t.reset(x)
			sum := 0.0
			for _, v := range x {
				e := v - t.chance*t.size
				sum += e * e
				t.step(v)
			}
			if gains(sum, best) {
				best, m.alpha, m.beta = sum, a, b
			}
		}
	}
}

func (m *tsb) reset(x []float64) {
	m.line, m.at = line{}, 0
	m.chance, m.size = startDemand(x)
}

// startDemand gives the share of the first values that are not zero, and their
// mean.
func startDemand(x []float64) (chance, size float64) {
	x = x[:min(28, len(x))]
	k := 0.0
	for _, v := range x {
		if v > 0 {
			k++
			size += v
		}
	}
	if k == 0 {
		return 0, 0
	}
	return k / float64(len(x)), size / k
}

func (m *tsb) step(v float64) {
	if v > 0 {
		m.chance += m.alpha * (1 - m.chance)
		if m.size == 0 {
			m.size = v
		}
		m.size += m.beta * (v - m.size)
		return
	}
	m.chance -= m.alpha * m.chance
}

func (m *tsb) advance(x []float64, to int) {
	for _, v := range x[m.at:to] {
		m.step(v)
	}
	m.at = to
	m.level = m.chance * m.size
}

// sba is Croston's method with the correction of Syntetos and Boylan, "The
// accuracy of intermittent demand estimates", International Journal of
// Forecasting 21 (2005): sizes and the gaps between them are smoothed at each
// use, and their ratio is scaled by 1 - α/2 against its bias.
type sba struct {
	line
	size, gap, since float64
	at               int
}

// sbaAlpha is the usual constant; the literature's advice is 0.05 to 0.2.
const sbaAlpha = 0.1

func (*sba) fit([]float64) {}

func (m *sba) reset(x []float64) {
	*m = sba{since: 1}
	chance, size := startDemand(x)
	m.size = size
	if chance > 0 {
		m.gap = 1 / chance
	}
}

func (m *sba) advance(x []float64, to int) {
	for _, v := range x[m.at:to] {
		if v <= 0 {
			m.since++
			continue
		}
		if m.gap == 0 {
			m.size, m.gap = v, m.since
		}
		m.size += sbaAlpha * (v - m.size)
		m.gap += sbaAlpha * (m.since - m.gap)
		m.since = 1
	}
	m.at = to
	m.level = 0
	if m.gap > 0 {
		m.level = (1 - sbaAlpha/2) * m.size / m.gap
	}
}

func (*tsb) name() Method { return TSB }

func (*sba) name() Method { return SBA }
