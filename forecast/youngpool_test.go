package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/usance/usance"
)

// A pool in which nobody is grown up: what a week looks like is learned from two or
// three of them, and what is told of the rest of the month holds as often as it says.
func TestAPoolOfYoungLicencesIsCalibrated(t *testing.T) {
	t.Parallel()
	wednesday := usance.MakeDate(2024, time.January, 3)
	shapes := map[string][7]float64{
		"free weekends": {0, 1, 1, 1, 1, 1, 0},
		"quiet Sundays": {0.02, 1, 1, 1, 1, 1, 0.4},
		"all alike":     {1, 1, 1, 1, 1, 1, 1},
	}
	for name, week := range shapes {
		for _, known := range []int{8, 12, 14, 16, 20} {
			var c calibration
			off := 0.0
			const seeds, pool = 3, 50
			for seed := range uint64(seeds) {
				r := rand.New(rand.NewPCG(seed, uint64(known))) //nolint:gosec // must repeat
				var l Learner
				var all [][]float64
				for range pool {
					level := 20 + 400*r.Float64()
					y := series(known+28, func(i int) float64 {
						if w := week[(3+i)%7]; w > 0 {
							return uses(r, level*w*math.Exp(0.1*r.NormFloat64()))
						}
						return 0
					})
					l.Add(y[:known], 3)
					all = append(all, y)
				}
				prior := l.Prior()
				for _, y := range all {
					got := ask(t, Request{
						Start: wednesday, Days: y[:known], Prior: prior,
						Period: usance.Period{Start: wednesday + usance.Date(known), End: wednesday + usance.Date(known+28)},
					})
					actual := sumOf(y[known:])
					c.add(got.Periods[0].Total, actual)
					off += (got.Periods[0].Median - actual) / actual / (seeds * pool)
				}
			}
			t.Logf("%s, %d days: the median is off by %.3f, %.2f in 80 %%, %.2f in 95 %%", name, known, off, c.in80/c.n, c.in95/c.n)
			if math.Abs(off) > 0.04 || c.in80/c.n < 0.68 || c.in95/c.n < 0.88 {
				t.Errorf("%s, %d days: the median is off by %.3f, %.2f in 80 %%, %.2f in 95 %%", name, known, off, c.in80/c.n, c.in95/c.n)
			}
		}
	}
}
