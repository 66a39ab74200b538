package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
)

// usualUse makes days of use of some kinds, of which none is odd.
func usualUse(r *rand.Rand, kind, days int) []float64 {
	level := math.Exp(3 + 4*r.Float64())
	var week [7]float64
	for i := range week {
		week[i] = math.Exp(0.3 * r.NormFloat64())
	}
	return series(days, func(i int) float64 {
		v := level * math.Exp(0.1*r.NormFloat64())
		switch kind % 4 {
		case 1:
			v *= week[i%7]
		case 2:
			v *= 0.5 + float64(i)/float64(days)
		case 3:
			if i%7 > 4 {
				v = 0
			}
		}
		return float64(poisson(r, v))
	})
}

// One day far above all others moves what is expected of the next ones little, however
// far above it is and whenever it was; and another one may come, but not as if each
// day were like it.
func TestAnOddDayMovesLittle(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for _, by := range []float64{10, 30, 100, 1e4, 1e9} {
		off, wide, n := 0.0, 0.0, 0.0
		for seed := range uint64(32) {
			r := rand.New(rand.NewPCG(seed, 31)) //nolint:gosec // must repeat
			y := usualUse(r, int(seed), []int{30, 60, 120, 400}[seed/4%4])
			with := append([]float64(nil), y...)
			with[len(y)-1-r.IntN(len(y))] = math.Round(by * (meanOf(y) + 1))
			o := f.outlook(history{days: y}, 28, Auto, defaults)
			usual := o.total(0, 0, 28)
			o = f.outlook(history{days: with}, 28, Auto, defaults)
			odd := o.total(0, 0, 28)
			m := usual.Median()
			off += math.Abs(odd.Median()-m) / m
			if n++; len(y) >= 120 { // with fewer, what came once may well come each month
				wide += math.Log((odd.Quantile(0.9) - odd.Quantile(0.1)) / (usual.Quantile(0.9) - usual.Quantile(0.1)))
			}
			if q := odd.Median(); q < 0.7*m || q > 1.4*m {
				t.Errorf("seed %d, %v times: %.0f is expected, %.0f without", seed, by, q, m)
			}
			if q, most := odd.Quantile(0.975), 2*usual.Quantile(0.975)+min(by, 100)*m/28; q > most {
				t.Errorf("seed %d, %v times: up to %.0f, %.0f without", seed, by, q, usual.Quantile(0.975))
			}
			if p := odd.Above(20 * m); p > 0.02 {
				t.Errorf("seed %d, %v times: twenty times as much with %.3f", seed, by, p)
			}
		}
		t.Logf("%v times: off by %.3f, %.2f times as wide", by, off/n, math.Exp(2*wide/n))
		if off/n > 0.08 || 2*wide/n > math.Log(2) {
			t.Errorf("%v times: off by %.3f, %.2f times as wide", by, off/n, math.Exp(2*wide/n))
		}
	}
}

// The first days of a new licence are no different.
func TestAnOddDayMovesYoungLittle(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for _, days := range []int{6, 8, 10, 13} {
		for at := range days {
			r := rand.New(rand.NewPCG(uint64(days), uint64(at))) //nolint:gosec // must repeat
			y := series(days, func(int) float64 { return float64(poisson(r, 100)) })
			y[at] = 1e9
			total := f.outlook(history{days: y}, 28, Auto, defaults).total(0, 0, 28)
			if m, q := total.Median(), total.Quantile(0.975); m < 2000 || m > 6000 || q > 20000 {
				t.Errorf("%d days, day %d odd: %.0f, up to %.0f, truly 2800", days, at, m, q)
			}
		}
	}
}

// What comes again is no slip, and a level that lasts is none.
func TestWhatComesAgainIsExpected(t *testing.T) {
	t.Parallel()
	var f Forecaster
	spikes := func(every int) func(i int) bool { return func(i int) bool { return i%every == every/2 } }
	last := func(n, days int) func(i int) bool { return func(i int) bool { return i >= days-n } }
	for name, c := range map[string]struct {
		days  int
		high  func(int) bool
		by    float64
		truth float64 // in usual days
	}{
		"weekly, two months":  {60, spikes(7), 12, 28 + 4*11},
		"weekly, long":        {365, spikes(7), 12, 28 + 4*11},
		"monthly, two months": {60, spikes(28), 12, 28 + 11},
		"monthly, half year":  {182, spikes(28), 12, 28 + 11},
		"new level, 3 days":   {120, last(3, 120), 8, 28 * 8},
		"new level, a week":   {120, last(7, 120), 8, 28 * 8},
		"new level, 2 weeks":  {300, last(14, 300), 8, 28 * 8},
	} {
		in := 0.0
		const seeds = 40
		for seed := range uint64(seeds) {
			r := rand.New(rand.NewPCG(seed, 32)) //nolint:gosec // must repeat
			y := series(c.days, func(i int) float64 {
				v := 100.0
				if c.high(i) {
					v *= c.by
				}
				return float64(poisson(r, v))
			})
			total := f.outlook(history{days: y}, 28, Auto, defaults).total(0, 0, 28)
			if want := 100 * c.truth; total.Quantile(0.025) <= want && want <= total.Quantile(0.975) {
				in++
			}
		}
		if in < 0.85*seeds {
			t.Errorf("%s: %v of %v intervals of 95 %% hold what comes", name, in, seeds)
		}
	}
}

// Of days and their multiples the same ones are odd, and none where all are alike.
func TestOddDaysAreFewAndFarOut(t *testing.T) {
	t.Parallel()
	var o, p odd
	cut := 0.0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 33)) //nolint:gosec // must repeat
		y := usualUse(r, int(seed), 60)
		if o.look(y); !math.IsInf(o.most, 1) {
			cut++
		}
		y[20] = 3e6
		o.look(y)
		z := series(60, func(i int) float64 { return 0.37 * y[i] })
		p.look(z)
		near(t, p.most, 0.37*o.most, 1e-9*o.most)
		near(t, p.excess, 0.37*o.excess, 1e-9*o.excess)
		near(t, p.again, o.again, 1e-9)
	}
	if cut > 4 {
		t.Errorf("of 200 usual series %v have odd days", cut)
	}
}

// What one licence's slip teaches widens no other's bounds.
func TestASlipWidensNoOthers(t *testing.T) {
	t.Parallel()
	for _, known := range []int{8, 20} {
		var without float64
		for _, slip := range []float64{0, 1e4, 1e9} {
			rng := rand.New(rand.NewPCG(1, 2))
			days := func(n int) []float64 {
				return series(n, func(int) float64 { return max(0, math.Round(100+10*rng.NormFloat64())) })
			}
			var l Learner
			var quiet []float64
			for range 40 {
				quiet = days(known)
				l.Add(quiet, 3)
			}
			grown := days(120)
			if slip > 0 {
				grown[100] = slip
			}
			l.Add(grown, 3)
			total := new(Forecaster).outlook(history{days: quiet, weekday: 3, elapsed: known}, 28, Auto, l.Prior()).total(0, 0, 28)
			upper := total.Quantile(0.975)
			if slip == 0 {
				without = upper
			}
			if upper > 1.05*without {
				t.Errorf("%d days, a slip of %g: up to %.0f, without it up to %.0f", known, slip, upper, without)
			}
		}
	}
}

// After some days without use, which there never were before, use may go on as before, or
// not, but will not be twice what it ever was.
func TestAnOutagePromisesNoMoreThanEver(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for _, off := range []int{1, 2, 3, 5, 7, 10} {
		for run := range uint64(20) {
			r := rand.New(rand.NewPCG(run, 31)) //nolint:gosec // must repeat
			level := 30 + 3000*r.Float64()
			y := series(172, func(i int) float64 { return uses(r, level*[7]float64{1.2, 1.2, 1.1, 1, 1, 0.7, 0.6}[i%7]) })
			most := 0.0
			for s := range len(y) - 27 {
				most = max(most, sumOf(y[s:s+28]))
			}
			y = append(y, make([]float64, off)...)
			total := f.outlook(history{days: y}, 28, Auto, defaults).total(0, 0, 28)
			if q := total.Quantile(0.975); q > 1.3*most {
				t.Errorf("after %d days without use the bound is %.1f of the largest total ever", off, q/most)
			}
			if q := total.Quantile(0.9); q < 0.4*most {
				t.Errorf("after %d days without use use does not go on: %.2f of the largest total ever", off, q/most)
			}
		}
	}
}
