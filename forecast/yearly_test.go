package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/usance/usance"
)

// What comes on the same dates each year is expected then, from the second year on.
func TestWhatComesEachYearIsExpected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		days  int
		times float64
	}{{"four days of six times", 4, 6}, {"ten days of three times", 10, 3}, {"twelve days of a quarter", 12, 0.25}} {
		var seen calibration
		off, n := 0.0, 0.0
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 51)) //nolint:gosec // must repeat
			start := usance.MakeDate(2022, time.Month(1+r.IntN(12)), 1+r.IntN(28))
			_, month, day := start.AddDays(60 + r.IntN(250)).YMD()
			since, today := 1000, 0
			level := 50 + 500*r.Float64()
			y := series(3*365+100, func(i int) float64 {
				_, m, d := start.AddDays(i).YMD()
				if since++; m == month && d == day {
					if since = 0; i > 740 && today == 0 {
						today = i - 5
					}
				}
				v := level * math.Exp(0.15*r.NormFloat64()) * [7]float64{1.2, 1.2, 1.1, 1, 1, 0.7, 0.6}[i%7]
				if since < c.days {
					v *= c.times
				}
				return uses(r, v)
			})
			period := usance.Period{Start: start.AddDays(today), End: start.AddDays(today + 28)}
			got := ask(t, Request{Start: start, Days: y[:today], AnchorDay: 1, Period: period})
			actual := sumOf(y[today : today+28])
			seen.add(got.Periods[0].Total, actual)
			off += math.Abs(math.Log(got.Periods[0].Median / actual))
			n++
		}
		t.Logf("%s: off by %.3f, in 80: %.2f, in 95: %.2f", c.name, off/n, seen.in80/n, seen.in95/n)
		if off/n > 0.12 || seen.in95/n < 0.85 {
			t.Errorf("%s: off by %.3f, in 80: %.2f, in 95: %.2f", c.name, off/n, seen.in80/n, seen.in95/n)
		}
	}
}

// What comes by chance is not taken for what comes each year.
func TestNothingComesEachYearByChance(t *testing.T) {
	t.Parallel()
	r := synthetic(52)
	var m yearly
	found := 0
	for range 100 {
		y := r.views(1000)
		if m.without(y, dates{}, 365); slices.ContainsFunc(m.ahead, func(e float64) bool { return e != 0 }) {
			found++
		}
	}
	if t.Logf("found in 100: %d", found); found > 5 {
		t.Errorf("in %d of 100 series something is expected that came by chance", found)
	}
}
