package forecast

import (
	"cmp"
	"math"
	"slices"
)

// draws are futures that were drawn: what they bring, day by day.
type draws struct {
	futures, left int
	by            float64   // the measure of what they bring
	sums          []float64 // of each future, up to and without each day
	sorted        []float64
}

func (m *draws) begin(futures, left int) {
	m.futures, m.left = futures, left
	m.sums = grow(m.sums, futures*(left+1))
}

// sort gives the sums of the days from ≤ day < to ahead, in order.
func (m *draws) sort(from, to int) []float64 {
	m.sorted = m.sorted[:0]
	for r := range m.futures {
		at := m.sums[r*(m.left+1):]
		m.sorted = append(m.sorted, at[to]-at[from])
	}
	slices.Sort(m.sorted)
	return m.sorted
}

// total gives the distribution of used and the days from ≤ day < to ahead.
func (m *draws) total(used float64, from, to int) Total {
	days := float64(to - from)
	v := m.sort(from, to)
	none, _ := slices.BinarySearch(v, math.SmallestNonzeroFloat64)
	n := float64(m.futures)
	t := Total{Used: used, open: true, unit: days * m.by, logs: sumLogs, none: float64(none) / n, counts: true}
	for i, p := range probabilities {
		t.at[i] = toLog(v[min(m.futures-1, int(p*n))] / days)
	}
	return t
}

// A pool is what several distributions come to together, each with its share.
type pool struct{ parts []part }

// A part is a value and how likely it is.
type part struct{ value, weight float64 }

func (p *pool) add(value, weight float64) { p.parts = append(p.parts, part{value, weight}) }

// spread writes the quantiles into t, whose days to come have means of these values.
func (p *pool) spread(t *Total) {
	slices.SortFunc(p.parts, func(a, b part) int { return cmp.Compare(a.value, b.value) })
	sum, k, value := 0.0, 0, 0.0
	for j, q := range probabilities {
		for sum < q && k < len(p.parts) {
			value = p.parts[k].value
			sum += p.parts[k].weight
			k++
		}
		t.at[j] = t.logs.of(value)
	}
}

// weights are the parts of a distribution for which the points of a spread stand.
var weights = func() (w [grid]float64) {
	for i := range w {
		low, high := 0.0, 1.0
		if i > 0 {
			low = (probabilities[i-1] + probabilities[i]) / 2
		}
		if i < grid-1 {
			high = (probabilities[i] + probabilities[i+1]) / 2
		}
		w[i] = high - low
	}
	return w
}()
