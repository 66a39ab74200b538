package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// On a day that is partly over, the total of its period lies in the intervals as
// often as they say: whether use comes in a few lumps, of which the rest of the day
// may still see some or none, or evenly; and whether the licence is old or young.
func TestPartOfADayIsCalibrated(t *testing.T) {
	t.Parallel()
	usual := [24]float64{1, 1, 1, 1, 1, 2, 3, 4, 6, 8, 9, 9, 8, 7, 6, 6, 7, 8, 9, 9, 7, 5, 3, 2}
	all := 0.0
	for _, v := range usual {
		all += v
	}
	for _, c := range []struct {
		name   string
		known  int     // days
		lumps  float64 // a day
		wander float64 // of the level, from day to day
	}{
		{"lumps", 60, 12, 0.02},
		{"even", 60, 2000, 0.02},
		{"wandering", 60, 2000, 0.2},
		{"young in lumps", 9, 12, 0.02},
		{"half grown", 28, 12, 0.05},
	} {
		for _, ahead := range []int{1, 2} {
			var inside, widths float64
			const runs = 200
			for run := range runs {
				r := rand.New(rand.NewPCG(uint64(run), uint64(ahead))) //nolint:gosec // must repeat
				over := 1 + r.IntN(23)
				level := 0.0
				day := func() (hours [24]float64) {
					level += c.wander * r.NormFloat64()
					for h := range hours {
						for range poisson(r, c.lumps*math.Exp(level)*usual[h]/all) {
							hours[h] += 50 + 20*r.Float64()
						}
					}
					level *= 0.9
					return hours
				}
				var q Request
				for d := range c.known {
					hours := day()
					sum := 0.0
					for _, v := range hours {
						sum += v
					}
					q.Days = append(q.Days, sum)
					if d >= c.known-14 {
						q.Hours = append(q.Hours, hours[:]...)
					}
				}
				q.Start = usance.Date(20000 - c.known)
				q.Period = usance.Period{Type: usance.PeriodWeekly, Start: 20000 - usance.Date(7-ahead), End: 20000 + usance.Date(ahead)}
				actual := 0.0
				for _, v := range q.Days[c.known-(7-ahead):] {
					actual += v
				}
				for d := range ahead {
					hours := day()
					for h, v := range hours {
						actual += v
						if d == 0 && h < over {
							q.Hours = append(q.Hours, v)
						}
					}
				}
				p := ask(t, q).Periods[0]
				if b := p.Bands[1]; b.Lower <= actual && actual <= b.Upper {
					inside++
				}
				widths += (p.Bands[1].Upper - p.Bands[1].Lower) / max(1, p.Median-p.Used)
			}
			t.Logf("%s, %d days: %.2f within 80 %%, which are %.2f wide", c.name, ahead, inside/runs, widths/runs)
			if inside/runs < 0.68 || inside/runs > 0.94 {
				t.Errorf("%s, %d days: %.2f within 80 %%", c.name, ahead, inside/runs)
			}
		}
	}
}

// poisson draws a number with that mean.
func poisson(r *rand.Rand, mean float64) (n int) {
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	for p := r.Float64(); p > math.Exp(-mean); p *= r.Float64() {
		n++
	}
	return n
}
