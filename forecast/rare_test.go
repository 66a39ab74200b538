package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// Use on few days: the probability of any, and of more, is what it comes to be.
func TestRareUseIsCalibrated(t *testing.T) {
	t.Parallel()
	for _, chance := range []float64{0.01, 0.02, 0.07, 0.25} {
		r := rand.New(rand.NewPCG(uint64(1000*chance), 3)) //nolint:gosec // must repeat
		var f Forecaster
		var expected, passed, brier [2]float64
		inside := 0.0
		const n = 200
		for range n {
			y := series(393, func(int) float64 { return map[bool]float64{true: 1}[r.Float64() < chance] })
			o := f.outlook(history{days: y[:365]}, 28, Auto, defaults)
			total, actual := o.total(0, 0, 28), sumOf(y[365:])
			if total.Quantile(0.1) <= actual+1e-9 && actual-1e-9 <= total.Quantile(0.9) {
				inside++
			}
			for i, limit := range []float64{0, 1} {
				p, hit := total.Above(limit), map[bool]float64{true: 1}[actual > limit]
				expected[i] += p / n
				passed[i] += hit / n
				brier[i] += (p - hit) * (p - hit) / n
			}
		}
		t.Logf("on %v of the days: expected %.3f, passed %.3f, Brier %.3f, in 80: %.3f", chance, expected, passed, brier, inside/n)
		none := math.Pow(1-chance, 28)
		for i, truth := range []float64{1 - none, 1 - none - 28*chance*none/(1-chance)} {
			if math.Abs(expected[i]-truth) > 0.07 || brier[i] > passed[i]*(1-passed[i])+0.04 {
				t.Errorf("use on %v of the days, more than %d: expected %.3f, came %.3f, Brier %.3f", chance, i, expected[i], passed[i], brier[i])
			}
		}
		if inside/n < 0.75 {
			t.Errorf("use on %v of the days: %.3f in 80 %%", chance, inside/n)
		}
	}
}

// No use so far is no certainty that none comes: others that began like this tell.
func TestNoUseSoFarIsNotSure(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 3)) //nolint:gosec // must repeat
	var l Learner
	var ask [][]float64
	for range 300 {
		p := 0.05 + 0.3*r.Float64()
		y := series(120, func(int) float64 { return map[bool]float64{true: float64(1 + poisson(r, 3))}[r.Float64() < p] })
		l.Add(y[:60], 0)
		for at := 60; at < 90; at++ {
			if sumOf(y[at:at+5]) == 0 {
				ask = append(ask, y[at:at+28])
				break
			}
		}
	}
	prior := l.Prior()
	var f Forecaster
	inside, some, expected := 0.0, 0.0, 0.0
	for _, y := range ask {
		total := f.outlook(history{days: y[:5], elapsed: 5}, 23, Auto, prior).total(0, 0, 23)
		actual := sumOf(y[5:])
		if total.Quantile(0.1) <= actual && actual <= total.Quantile(0.9) {
			inside++
		}
		expected += total.Above(0)
		some += map[bool]float64{true: 1}[actual > 0]
	}
	n := float64(len(ask))
	t.Logf("%v series, used %.3f, expected %.3f, in 80: %.3f", n, some/n, expected/n, inside/n)
	if math.Abs(some-expected)/n > 0.1 || inside/n < 0.72 {
		t.Errorf("of %v without use some came in %.3f, expected in %.3f; %.3f in 80 %%", n, some/n, expected/n, inside/n)
	}
	// With a history of its own, or nothing else to go by, none is expected, and some
	// not excluded.
	for _, days := range []int{3, 50, 400} {
		for _, p := range []*Prior{defaults, prior} {
			if p == prior && days < grownUp {
				continue
			}
			total := f.outlook(history{days: make([]float64, days)}, 28, Auto, p).total(0, 0, 28)
			if q := total.Median(); q != 0 || total.Above(0) < 0.001 || total.Above(0) > 0.5 {
				t.Errorf("after %d days of none: %v, any with %v", days, q, total.Above(0))
			}
		}
	}
	if total := Answer([][]float64{{1, 2, 3}}, []Question{{0, 2, 2, true}}, 28)[0]; total.Known() {
		t.Errorf("nothing is known, and the answer is %v", total.Median())
	}
}

// A licence that is not used any more may be used again; one whose first use was
// today is not sure to have no more.
func TestStoppedAndNewUse(t *testing.T) {
	t.Parallel()
	stopped := series(300, func(i int) float64 { return map[bool]float64{true: 50}[i < 100] })
	for back, want := range map[int][2]float64{0: {0.02, 0.4}, 195: {0.5, 0.999}} {
		days := stopped[:300-back]
		r := Request{Days: days, Period: usance.Period{Start: usance.Date(len(days)), End: usance.Date(len(days) + 28)}, Limits: []Limit{{0, 100}}}
		if p := ask(t, r).Periods[0].Limits[0].Plain.Probability; p < want[0] || p > want[1] {
			t.Errorf("%d days without use, and some with %v", 200-back, p)
		}
	}
	r := Request{
		Days: make([]float64, 60), Hours: []float64{0, 95, 0}, Limits: []Limit{{100, 110}},
		Period: usance.Period{Start: 60, End: 84},
	}
	if p := ask(t, r).Periods[0]; p.Used != 95 || p.Limits[0].Plain.Probability < 0.05 || p.Limits[0].Plain.Probability > 0.7 {
		t.Errorf("after a first use of 95 today, 100 are passed with %v", p.Limits[0].Plain.Probability)
	}
}

// Where use is known by the day only, all of today is still to come; where a limit
// let nothing in, what is left of it is.
func TestTodayWithoutHours(t *testing.T) {
	t.Parallel()
	r := synthetic(17)
	days := series(100, func(int) float64 { return math.Round(100 + 3*r.noise()) })
	q := Request{Days: days, Period: usance.Period{Start: 100, End: 101}}
	near(t, ask(t, q).Periods[0].Median, 100, 4)
	q.Today = 60
	near(t, ask(t, q).Periods[0].Median, 100, 4)
	q.Today = 140
	near(t, ask(t, q).Periods[0].Median, 140, 1)
	young := q
	young.Days, young.Period, young.Today = days[:9], usance.Period{Start: 9, End: 10}, 60
	near(t, ask(t, young).Periods[0].Median, 100, 10)
	// Half of the day is over, in which nothing could be used.
	q.Today = 0
	for range 14 * 24 {
		q.Hours = append(q.Hours, 4)
	}
	q.Hours = append(q.Hours, make([]float64, 12)...)
	shut := q
	shut.Shut = true
	near(t, ask(t, shut).Periods[0].Median, 50, 5)
	if got := ask(t, q).Periods[0].Median; got > 40 {
		t.Errorf("half a day without use, and %v are to come", got)
	}
}

// A later period is forecast whole or not at all.
func TestLaterPeriodsAreWhole(t *testing.T) {
	t.Parallel()
	q := Request{
		Days: series(100, func(int) float64 { return 10 }), Later: 3, AnchorDay: 1,
		Period: usance.PeriodOf(usance.PeriodYearly, 100, 1),
	}
	for _, p := range ask(t, q).Periods {
		if p.Through != p.Period.End {
			t.Errorf("%v to %v is forecast up to %v", p.Period.Start, p.Period.End, p.Through)
		}
	}
}

// A batch on the same day of each week comes again on that day: four of them are four,
// give or take their sizes. Where it may come on any day, three or six may be.
func TestABatchAWeekIsSure(t *testing.T) {
	t.Parallel()
	for _, weeks := range []int{4, 8, 30} {
		for day := range 7 {
			r := rand.New(rand.NewPCG(uint64(weeks), uint64(day))) //nolint:gosec // must repeat
			size := func() float64 { return math.Round(1000 * (1 + 0.1*r.NormFloat64())) }
			fixed := series(7*weeks, func(i int) float64 {
				if i%7 == day {
					return size()
				}
				return 0
			})
			chance := series(7*weeks, func(int) float64 {
				if r.Float64() < 1.0/7 {
					return size()
				}
				return 0
			})
			var f Forecaster
			total := f.outlook(history{days: fixed}, 28, Auto, defaults).total(0, 0, 28)
			lower, upper := total.Quantile(0.1), total.Quantile(0.9)
			if lower < 2700 || upper > 5600 || total.Median() < 3500 || total.Median() > 4500 {
				t.Errorf("%d weeks, on day %d: %.0f, %.0f to %.0f", weeks, day, total.Median(), lower, upper)
			}
			total = f.outlook(history{days: chance}, 28, Auto, defaults).total(0, 0, 28)
			if lower, upper := total.Quantile(0.1), total.Quantile(0.9); upper-lower < 3000 {
				t.Errorf("%d weeks, on any day: %.0f to %.0f", weeks, lower, upper)
			}
		}
	}
}

// Use that grows by a share each day goes on growing.
func TestGrowthGoesOn(t *testing.T) {
	t.Parallel()
	off, n := 0.0, 0.0
	for _, rate := range []float64{0.004, 0.008, 0.012} {
		for seed := range uint64(10) {
			r := rand.New(rand.NewPCG(seed, 8)) //nolint:gosec // must repeat
			y := series(228, func(i int) float64 {
				return uses(r, 200*math.Exp(rate*float64(i))*math.Exp(0.1*r.NormFloat64()))
			})
			var f Forecaster
			total := f.outlook(history{days: y[:200]}, 28, Auto, defaults).total(0, 0, 28)
			off += math.Log(sumOf(y[200:]) / total.Median())
			n++
		}
	}
	if off/n > 0.06 {
		t.Errorf("use that grows is forecast too low by %.3f", off/n)
	}
}
