package forecast

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// spelled makes days of use in spells with breaks between, each as long as on and off say.
func spelled(r *rand.Rand, days int, on, off func() int) []float64 {
	use, left := r.IntN(2) == 0, 1+r.IntN(30)
	level := 20 + 3000*r.Float64()
	return series(days, func(i int) float64 {
		if left == 0 {
			if use = !use; use {
				left = on()
			} else {
				left = off()
			}
		}
		if left--; !use {
			return 0
		}
		return uses(r, level*[7]float64{1.2, 1.2, 1.1, 1, 1, 0.7, 0.6}[i%7])
	})
}

// Where use comes in spells with breaks, the next ones are expected: the intervals hold
// what comes, no more is thought likely than was ever near, and medians are nearer than
// those of former totals.
func TestSpellsAreExpected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		on, off func(r *rand.Rand) func() int
	}{
		{"every other three weeks", always(21), always(21)},
		{"a month in three", always(30), always(61)},
		{"two months, then two weeks off", always(60), always(15)},
		{"by project", within(10, 40), within(10, 40)},
	} {
		var sum calibration
		var f Forecaster
		loss, former, far, n := 0.0, 0.0, 0.0, 0.0
		for run := range uint64(120) {
			r := rand.New(rand.NewPCG(run, 21)) //nolint:gosec // must repeat
			origin := 250 + r.IntN(250)
			y := spelled(r, origin+28, c.on(r), c.off(r))
			total := f.outlook(history{days: y[:origin]}, 28, Auto, defaults).total(0, 0, 28)
			actual := sumOf(y[origin:])
			sum.add(total, actual)
			loss += lossOf(&total, actual) / meanOf(y)
			past, most := Total{open: true, unit: 28, logs: sumLogs}, 0.0
			var window []float64
			for s := 0; s+28 <= origin; s++ {
				window = append(window, sumOf(y[s:s+28]))
				most = max(most, window[s])
			}
			for i, p := range probabilities {
				past.at[i] = toLog(quantileOf(window, p) / 28)
			}
			former += lossOf(&past, actual) / meanOf(y)
			if n++; total.Quantile(0.975) > 1.6*most {
				far++
			}
		}
		t.Logf("%s: in 80: %.2f, in 95: %.2f, loss %.2f of former totals', beyond 1.6 of the largest ever: %.2f",
			c.name, sum.in80/n, sum.in95/n, loss/former, far/n)
		if sum.in80/n < 0.72 || sum.in95/n < 0.85 || loss > former || far/n > 0.1 {
			t.Errorf("%s: in 80: %.2f, in 95: %.2f, loss %.2f of former totals', beyond 1.6 of the largest ever: %.2f",
				c.name, sum.in80/n, sum.in95/n, loss/former, far/n)
		}
	}
}

func always(days int) func(*rand.Rand) func() int {
	return func(*rand.Rand) func() int { return func() int { return days } }
}

func within(least, most int) func(*rand.Rand) func() int {
	return func(r *rand.Rand) func() int { return func() int { return least + r.IntN(most-least+1) } }
}

// No series is told much worse than by what as many days brought before, where that is
// a good forecast: on days that are alike, wild or come in lumps.
func TestTotalsAreNoWorseThanFormerOnes(t *testing.T) {
	t.Parallel()
	for name, day := range map[string]func(r *rand.Rand, i int) float64{
		"weekdays": func(r *rand.Rand, i int) float64 { return uses(r, [7]float64{90, 95, 88, 80, 76, 40, 30}[i%7]) },
		"wild":     func(r *rand.Rand, _ int) float64 { return 100 * r.ExpFloat64() * r.ExpFloat64() },
		"lumps":    func(r *rand.Rand, i int) float64 { return map[bool]float64{true: uses(r, 300)}[i%7 == 4] },
	} {
		var f Forecaster
		loss, former := 0.0, 0.0
		for run := range uint64(50) {
			r := rand.New(rand.NewPCG(run, 22)) //nolint:gosec // must repeat
			y := series(300+int(run), func(i int) float64 { return day(r, i) })
			n := len(y) - 28
			total := f.outlook(history{days: y[:n]}, 28, Auto, defaults).total(0, 0, 28)
			actual := sumOf(y[n:])
			loss += lossOf(&total, actual)
			past := Total{open: true, unit: 28, logs: sumLogs}
			var window []float64
			for s := n - 28; s >= max(0, n-180); s -= 7 {
				window = append(window, sumOf(y[s:s+28]))
			}
			for i, p := range probabilities {
				past.at[i] = toLog(quantileOf(window, p) / 28)
			}
			former += lossOf(&past, actual)
		}
		if t.Logf("%s: loss %.2f of former totals'", name, loss/former); loss > 1.1*former {
			t.Errorf("%s: loss %.2f of former totals'", name, loss/former)
		}
	}
}

func quantileOf(v []float64, p float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return sortedQuantile(v, p)
}

// Use that has ended is not expected on the word of days that all had some: a silence
// longer than any before it may go on.
func TestUseThatEndedMayStayAway(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for run := range uint64(20) {
		r := rand.New(rand.NewPCG(run, 23)) //nolint:gosec // must repeat
		y := series(280+14, func(i int) float64 {
			if i >= 280 {
				return 0
			}
			return uses(r, 200*[7]float64{1.2, 1.2, 1.1, 1, 1, 0.7, 0.6}[i%7])
		})
		total := f.outlook(history{days: y}, 28, Auto, defaults).total(0, 0, 28)
		if low, usual := total.Quantile(0.025), 28*meanOf(y[:280]); low > 0.01*usual {
			t.Errorf("%d: at least %.0f where %.0f are usual, and nothing came in 14 days", run, low, usual)
		}
	}
}
