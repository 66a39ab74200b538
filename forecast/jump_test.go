package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// jumped makes n days at a level of 100, and as many at times that, with weekdays and
// noise.
func jumped(seed uint64, before, since int, times float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	week := [7]float64{1.2, 1.1, 1, 1, 0.9, 0.8, 1}
	out := make([]float64, before+since)
	for i := range out {
		out[i] = 100 * week[i%7] * (1 + 0.15*r.NormFloat64())
		if i >= before {
			out[i] *= times
		}
	}
	return out
}

// A level that has changed for good is the level: neither is the old one expected, nor
// another change of the kind.
func TestALastingJumpOfLevel(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for _, c := range []struct {
		before, since int
		times         float64
	}{{40, 21, 3}, {40, 21, 10}, {100, 14, 5}, {300, 40, 0.2}, {300, 40, 2.5}, {500, 100, 4}} {
		inside, n := 0, 40
		for seed := range n {
			days := jumped(uint64(seed), c.before, c.since, c.times)
			got, err := f.Forecast(Request{
				Start: 19_000, Days: days, AnchorDay: 1,
				Period: usance.Period{Type: usance.PeriodMonthly, Start: usance.Date(19_000 + len(days)), End: usance.Date(19_000 + len(days) + 28)},
			})
			if err != nil {
				t.Fatal(err)
			}
			want := 2800 * c.times
			p := got.Periods[0]
			if off := math.Abs(p.Median/want - 1); off > 0.2 {
				t.Errorf("%d days, then %d at %v times: %v expected, %v would be right", c.before, c.since, c.times, p.Median, want)
			}
			if up := p.Total.Quantile(0.975); up > 2*want {
				t.Errorf("%d days, then %d at %v times: up to %v, where %v would be right", c.before, c.since, c.times, up, want)
			}
			if b := p.Bands[1]; b.Lower <= want && want <= b.Upper {
				inside++
			}
		}
		if inside < n/2 {
			t.Errorf("%d days, then %d at %v times: %d of %d lie in the intervals of 80 %%", c.before, c.since, c.times, inside, n)
		}
	}
}

// What grows, wanders, comes in seasons or is far out for some days has no jump.
func TestWhatIsNoJump(t *testing.T) {
	t.Parallel()
	steps, level := rand.New(rand.NewPCG(1, 2)), 0.0
	for what, day := range map[string]func(i int) float64{
		"steady":    func(int) float64 { return 100 },
		"growth":    func(i int) float64 { return math.Exp(0.03 * float64(i)) },
		"a slip":    func(i int) float64 { return map[bool]float64{true: 1e6, false: 100}[i == 190] },
		"a week":    func(i int) float64 { return map[bool]float64{true: 500, false: 100}[i >= 180 && i < 187] },
		"wanders":   func(int) float64 { level += 0.1 * steps.NormFloat64(); return math.Exp(level) },
		"on, off":   func(i int) float64 { return map[bool]float64{true: 100}[i/20%2 == 0] },
		"summers":   func(i int) float64 { return map[bool]float64{true: 400, false: 100}[(i+400)%365 < 60] },
		"each week": func(i int) float64 { return map[bool]float64{true: 700}[i%7 == 0] },
	} {
		r := rand.New(rand.NewPCG(3, 4))
		days := make([]float64, 460)
		for i := range days {
			days[i] = day(i) * (1 + 0.1*r.Float64())
		}
		if what != "summers" {
			days = days[:200]
		}
		if at, shift := jump(days); at > 0 {
			t.Errorf("%s: a jump on day %d by %.2f", what, at, shift)
		}
	}
}

// What is expected of a period is the same whichever later ones are asked for.
func TestLaterPeriodsChangeNothingOfOthers(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for seed := range uint64(5) {
		days := jumped(seed, 100, 30, 1+0.3*float64(seed))
		ask := func(later int) Forecast {
			got, err := f.Forecast(Request{
				Start: 19_000, Days: days, AnchorDay: 1, Later: later, Limits: []Limit{{700, 800}},
				Period: usance.PeriodOf(usance.PeriodWeekly, usance.Date(19_000+len(days)), 1),
			})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		alone, first := ask(0), ask(8)
		if a, b := ask(3).Periods[3], first.Periods[3]; a.Median != b.Median {
			t.Errorf("the last of 4 %v, with later ones %v", a.Median, b.Median)
		}
		if a, b := alone.Periods[0], first.Periods[0]; a.Median != b.Median || a.Limits[0].Plain.Probability != b.Limits[0].Plain.Probability || len(first.Periods) != 9 {
			t.Errorf("alone %v, with %d later ones %v", a.Median, len(first.Periods)-1, b.Median)
		}
		for i, d := range alone.Path {
			if d.Median != first.Path[i].Median || d.Date != first.Path[i].Date {
				t.Errorf("%s: alone %v, with later ones %v", d.Date, d.Median, first.Path[i].Median)
			}
		}
	}
}
