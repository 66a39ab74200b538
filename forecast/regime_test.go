package forecast

import (
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// A way is how a licence was used before it was used daily.
type way struct {
	name string
	sure int // from how many days of daily use on it is seen
	days func(r *rand.Rand) []float64
}

func uses(r *rand.Rand, mean float64) float64 { return float64(poisson(r, mean)) }

func now(r *rand.Rand, days int, chance float64) []float64 {
	return series(days, func(int) float64 { return map[bool]float64{true: 100}[r.Float64() < chance] })
}

var ways = []way{
	{"made a year before", 0, func(*rand.Rand) []float64 { return make([]float64, 365) }},
	{"made two weeks before", 0, func(*rand.Rand) []float64 { return make([]float64, 14) }},
	{"one test view and an idle year", 0, func(*rand.Rand) []float64 { return append([]float64{1}, make([]float64, 300)...) }},
	{"a campaign and an idle year", 16, func(r *rand.Rand) []float64 {
		return append(series(10, func(int) float64 { return uses(r, 500) }), make([]float64, 250)...)
	}},
	{"now and then for a year", 0, func(r *rand.Rand) []float64 { return now(r, 365, 0.03) }},
	{"every third day for a year", 60, func(r *rand.Rand) []float64 { return now(r, 365, 0.3) }},
	{"daily, then a pause", 0, func(r *rand.Rand) []float64 {
		return append(series(200, func(int) float64 { return uses(r, 700) }), make([]float64, 45)...)
	}},
}

// What was before daily use began says nothing of how much it brings: the days since
// are forecast as of a licence that is as young.
func TestDailyUseIsSeenWhateverWasBefore(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		for _, days := range []int{10, 16, 28, 60} {
			if days < w.sure {
				continue // may be another campaign, or chance
			}
			var c calibration
			const runs = 30
			off, low := 0.0, 0.0
			var f Forecaster
			for run := range uint64(runs) {
				r := rand.New(rand.NewPCG(run, uint64(days))) //nolint:gosec // must repeat
				free := run%3 == 0                            // at weekends
				level := 30 + 300*r.Float64()
				daily := series(days+28, func(i int) float64 {
					if free && (i+int(run))%7 < 2 {
						return 0
					}
					return uses(r, level)
				})
				y := append(w.days(r), daily[:days]...)
				got, err := f.Forecast(Request{Days: y, Period: usance.Period{Start: usance.Date(len(y)), End: usance.Date(len(y) + 28)}})
				if err != nil {
					t.Fatal(err)
				}
				actual := sumOf(daily[days:])
				total := got.Periods[0].Total
				c.add(total, actual)
				off += (total.Median() - actual) / actual / runs
				low += map[bool]float64{true: 1.0 / runs}[total.Above(0.5*actual) < 0.9]
			}
			if off < -0.12 || off > 0.12 || c.in80/c.n < 0.7 || c.in95/c.n < 0.88 || low > 0.1 {
				t.Errorf("%s, then %d days of daily use: the median is off by %.3f, %.2f in 80 %%, %.2f in 95 %%; half of what came was doubted in %.2f",
					w.name, days, off, c.in80/c.n, c.in95/c.n, low)
			}
		}
	}
}

// Chance, bursts and weekends are no new way of use: nothing is cut off.
func TestWhatIsNoNewWayOfUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		most float64 // share of the series that are cut
		day  func(r *rand.Rand) func(int) float64
	}{
		{"rare", 0.04, func(r *rand.Rand) func(int) float64 {
			p := 0.02 + 0.4*r.Float64()
			return func(int) float64 { return map[bool]float64{true: 5}[r.Float64() < p] }
		}},
		{"most days", 0.03, func(r *rand.Rand) func(int) float64 {
			return func(int) float64 { return map[bool]float64{true: 5}[r.Float64() < 0.6] }
		}},
		{"bursts", 0.08, func(r *rand.Rand) func(int) float64 {
			on := false
			return func(int) float64 {
				on = on && r.Float64() < 0.8 || !on && r.Float64() < 0.05
				return map[bool]float64{true: 100}[on]
			}
		}},
		{"free weekends", 0, func(r *rand.Rand) func(int) float64 {
			return func(i int) float64 { return map[bool]float64{true: uses(r, 40)}[i%7 < 5] }
		}},
		{"one day a week", 0, func(r *rand.Rand) func(int) float64 {
			return func(i int) float64 { return map[bool]float64{true: uses(r, 40)}[i%7 == 2] }
		}},
		{"daily, two weeks off", 0, func(r *rand.Rand) func(int) float64 {
			at := 60 + r.IntN(200)
			return func(i int) float64 { return map[bool]float64{true: uses(r, 40)}[i < at || i >= at+14] }
		}},
		{"every summer off", 0, func(r *rand.Rand) func(int) float64 {
			return func(i int) float64 { return map[bool]float64{true: uses(r, 40)}[(i+100)%365 < 300] }
		}},
	} {
		const runs = 150
		cut := 0.0
		for run := range uint64(runs) {
			r := rand.New(rand.NewPCG(run, 9)) //nolint:gosec // must repeat
			days := series(100+100*int(run%8), c.day(r))
			if c.name == "every summer off" {
				days = series(800, c.day(r))
			}
			if regime(days) > 0 {
				cut += 1.0 / runs
			}
		}
		if t.Logf("%s: %.3f", c.name, cut); cut > c.most {
			t.Errorf("%s: of %.3f something was cut off", c.name, cut)
		}
	}
}

// The forecast says how many days it rests on, and that they are few.
func TestTheDaysLookedAtAreTold(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for days, want := range map[int]Status{10: StatusPooled, 20: StatusOK} {
		y := append(make([]float64, 365), series(days, func(i int) float64 { return float64(90 + i%3) })...)
		got, err := f.Forecast(Request{Days: y, Period: usance.Period{Start: usance.Date(len(y) - 5), End: usance.Date(len(y) + 9)}})
		if err != nil {
			t.Fatal(err)
		}
		if got.DaysUsed != days || got.Status != want {
			t.Errorf("%d days of use: %d are looked at, status %s", days, got.DaysUsed, got.Status)
		}
	}
}
