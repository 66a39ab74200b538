package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// What is left of a day is no more than days are, however little is left of it, and
// however odd the weekday was before a limit was full.
func TestTheLastHoursOfAPeriodAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		known, held       int
		mean              float64
		odd               float64 // the last known day of today's weekday
		hourly, shut, big bool
	}{
		{"full, after a zero", 124, 18, 100, 0, false, true, false},
		{"full, after a spike", 124, 18, 100, 3000, false, true, false},
		{"full, by the hour", 124, 4, 100, 0, true, true, false},
		{"rare", 124, 0, 0.9, 0, true, false, false},
		{"even", 60, 0, 1000, 1000, true, false, false},
		{"young", 9, 0, 100, 100, true, false, false},
		{"young and full", 12, 5, 100, 0, false, true, false},
		{"half grown", 28, 9, 100, 0, true, true, false},
		{"a day in one hour", 60, 0, 100, 100, true, false, true},
	} {
		for seed := range uint64(12) {
			r := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // must repeat
			days := series(c.known, func(int) float64 { return uses(r, c.mean) })
			for range c.held {
				days = append(days, math.NaN())
			}
			n := len(days)
			for d := n - 7; d >= 0; d -= 7 {
				if d < c.known {
					days[d] = c.odd
					break
				}
			}
			most := 1.0
			for _, v := range days[:c.known] {
				most = max(most, v)
			}
			var past []float64
			for d := max(0, n-14); d < n; d++ {
				for h := range 24 {
					v := 0.0
					if c.hourly && d < c.known {
						v = days[d] / 24
					}
					if c.big && d == n-5 && h == 23 {
						v = 1e5
					}
					past = append(past, v)
				}
			}
			for _, over := range []int{1, 9, 16, 20, 22, 23} {
				q := Request{
					Start: usance.Date(20000 - n), Days: days, Shut: c.shut,
					Hours:  append(append([]float64{}, past...), make([]float64, over)...),
					Period: usance.Period{Type: usance.PeriodMonthly, Start: usance.Date(20000 - 27), End: 20001},
				}
				p := ask(t, q).Periods[0]
				if upper := p.Bands[2].Upper - p.Used; upper > 4*most+8 {
					t.Errorf("%s, after %d hours: the rest of the day is at most %.4g in 95 %%, the largest day was %v", c.name, over, upper, most)
				}
				if c.big && over == 22 && p.Median-p.Used > 0.3*c.mean {
					t.Errorf("%s: after %d hours another %.4g are expected", c.name, over, p.Median-p.Used)
				}
			}
		}
	}
}

// One odd day is not what that weekday would have brought in a long gap.
func TestAnOddDayIsNotCopiedThroughAGap(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for _, odd := range []float64{0, 5000} {
		r := rand.New(rand.NewPCG(3, 5)) //nolint:gosec // must repeat
		days := series(124, func(i int) float64 {
			if i == 119 {
				return odd
			}
			return uses(r, 100)
		})
		for range 20 {
			days = append(days, math.NaN())
		}
		z, by := f.measure(days)
		for i := 124; i < 144; i++ {
			if v := z[i] * by; v < 60 || v > 140 {
				t.Errorf("after one day of %v the gap's day %d is taken for %.1f", odd, i-124, v)
			}
		}
	}
	// A weekday that never has use has none in the gap.
	days := series(60, func(i int) float64 {
		if i%7 < 2 {
			return 0
		}
		return 50
	})
	for range 20 {
		days = append(days, math.NaN())
	}
	z, by := f.measure(days)
	for i := 60; i < 80; i++ {
		near(t, z[i]*by, map[bool]float64{false: 50}[i%7 < 2], 1e-6)
	}
}
