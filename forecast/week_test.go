package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/usance/usance"
)

// officeDays is use of a thousand a day, give or take a tenth, from Monday to Friday.
func officeDays(seed uint64, from, days int) []float64 {
	r := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // must repeat
	return series(days, func(i int) float64 {
		if d := (from + i) % 7; d == 0 || d == 6 {
			return 0
		}
		return math.Round(1000 * (1 + 0.1*r.NormFloat64()))
	})
}

// Of a licence of one or two weeks that is used from Monday to Friday, weekends bring
// next to nothing, whether others are like it, are not or are not known, and no day is
// taken for many times the largest.
func TestAYoungWeekIsItsOwn(t *testing.T) {
	t.Parallel()
	var alike, office Learner
	for i := range 60 {
		r := rand.New(rand.NewPCG(uint64(i), 4)) //nolint:gosec // must repeat
		alike.Add(series(60+i, func(int) float64 { return uses(r, 800) }), i%7)
		office.Add(officeDays(uint64(100+i), i%7, 60+i), i%7)
	}
	monday := usance.MakeDate(2024, time.January, 1)
	for name, prior := range map[string]*Prior{"none": nil, "alike": alike.Prior(), "office": office.Prior()} {
		for _, days := range []int{7, 8, 10, 12, 13, 14, 16, 21} {
			for first := range 5 { // from Monday to Friday
				y := officeDays(uint64(days), 1+first, days)
				start := monday.AddDays(first)
				got := ask(t, Request{
					Start: start, Days: y, Prior: prior,
					Period: usance.Period{Start: start.AddDays(days), End: start.AddDays(days + 28)},
				})
				for _, d := range got.Path {
					w := d.Date.Weekday()
					weekend := w == time.Saturday || w == time.Sunday
					most, least, upper := 1200.0, 800.0, 3*maxOf(y)
					if weekend {
						least, most, upper = 0, 100, maxOf(y)
						if days == 7 { // one weekend is all there was
							most = 300
						}
					}
					if d.Median < least*0.9 || d.Median > most*1.1 || d.Bands[2].Upper > upper {
						t.Errorf("others: %s, %d days from %s: %s is %.0f, 95 %% up to %.0f", name, days, start, d.Date, d.Median, d.Bands[2].Upper)
					}
				}
			}
		}
	}
}

// Where weeks agree neither with each other nor with others', the others' is believed;
// where all licences have one, a noisy one too.
func TestAWeekByChanceIsNone(t *testing.T) {
	t.Parallel()
	usual := [7]float64{0.5, 1.2, 1.2, 1.2, 1.2, 1.1, 0.6}
	for _, days := range []int{7, 10, 13, 20} {
		off, raw := 0.0, 0.0
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, uint64(days))) //nolint:gosec // must repeat
			y := series(days, func(i int) float64 { return usual[i%7] * math.Exp(0.4*r.NormFloat64()) })
			for _, share := range []float64{0.05, ownWeek} {
				w := ownWeekOf(y, 0, &usual, share)
				var own [7]float64
				for i, v := range y {
					own[i%7] += v / float64((days-1-i%7)/7+1)
				}
				mean := meanOf(own[:])
				for d, v := range w.worth {
					off += math.Abs(v - usual[d])
					raw += math.Abs(own[d]/mean - usual[d])
				}
			}
		}
		if off > 0.65*raw {
			t.Errorf("%d days: off by %.3f of what the days show", days, off/raw)
		}
	}
}

// A week is the same for a multiple of it, its values sum up to 7, and nothing makes it
// no number.
func TestAWeekOfAnyDays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // must repeat
	for range 500 {
		y := series(r.IntN(30), func(int) float64 {
			return [...]float64{0, 0, 1, 7, 1e-300, 1e150, 1e300, math.NaN(), 5}[r.IntN(9)]
		})
		w := ownWeekOf(y, r.IntN(7), &defaults.Weekday, ownWeek)
		if sum := sumOf(w.worth[:]); math.Abs(sum-7) > 1e-9 || !(w.fitted >= 0 && w.fitted < 1) {
			t.Fatalf("%v: %v", y, w)
		}
	}
	y := officeDays(5, 3, 12)
	for i := range y {
		y[i] += float64(i % 3)
	}
	one := ownWeekOf(y, 3, &defaults.Weekday, ownWeek)
	for i := range y {
		y[i] *= 1e6
	}
	for d, v := range ownWeekOf(y, 3, &defaults.Weekday, ownWeek).worth {
		near(t, v, one.worth[d], 1e-9)
	}
}

// Series without licences around them are forecast with their week, too, before two of
// them are known.
func TestFirstWeeksOfSeries(t *testing.T) {
	t.Parallel()
	for n := 7; n < 14; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			y := officeDays(uint64(n), 1, n+14)
			for i := range y {
				y[i] += 200
			}
			v := new(Forecaster).Series(y[:n], dailyCycles, 14)
			upper, lower := v.Quantile(0.975), v.Quantile(0.025)
			for i, m := range v.Median() {
				a := y[n+i]
				if math.Abs(m-a) > 0.45*1200 || a < lower[i] || a > upper[i] || upper[i] > 3*1200 {
					t.Errorf("day %d is %.0f: %.0f, %.0f to %.0f", i, a, m, lower[i], upper[i])
				}
			}
		})
	}
}
