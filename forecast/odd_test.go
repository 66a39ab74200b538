package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// After odd last days no method carries on as if each day were odder than the last:
// what is likely stays within what was seen, and is not said to be sure.
func TestOddLastDaysDoNotExplode(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 1)) //nolint:gosec // must repeat
	steady := func(int) float64 { return 10 }
	wave := func(i int) float64 { return float64(90 + (i*7)%21) }
	counts := func(int) float64 { return float64(poisson(r, 100)) }
	for name, usual := range map[string]func(int) float64{"steady": steady, "wave": wave, "counts": counts} {
		for _, days := range []int{16, 30, 60, 97, 365} {
			for _, odd := range [][]float64{{10}, {10, 10}, {3, 3, 3}, {3, 9}, {0}, {0, 0}} {
				y := make([]float64, days, days+len(odd))
				for i := range y {
					y[i] = usual(i)
				}
				level := meanOf(y)
				for _, by := range odd {
					y = append(y, math.Round(by*level))
				}
				name := fmt.Sprintf("%s, %d days, then %v times", name, days, odd)
				most := 1.3 * 28 * max(level, maxOf(y))
				for _, m := range Methods() {
					f := Forecaster{}
					o := f.outlook(history{days: y}, 28, m, defaults)
					total := o.total(0, 0, 28)
					if q := total.Median(); q > most {
						t.Errorf("%s: %s expects %.0f in 28 days, 28 of the most seen are %.0f", name, m, q, most)
					}
					if m != Auto {
						continue
					}
					if low, high := total.Quantile(0.025), total.Quantile(0.975); high-low < 0.1*total.Median() || total.Above(2*most) > 0.3 {
						t.Errorf("%s: %.0f to %.0f is sure, and twice the most with %.3f", name, low, high, total.Above(2*most))
					}
				}
				v := new(Forecaster).Series(y, []int{7}, 28)
				low, mid, high := v.Quantile(0.025), v.Median(), v.Quantile(0.975)
				for h := range mid {
					if mid[h] > 1.2*maxOf(y) || high[h]-low[h] < 0.02*mid[h] {
						t.Errorf("%s: %d ahead %v, %v to %v", name, h+1, mid[h], low[h], high[h])
						break
					}
				}
			}
		}
	}
}

func maxOf(y []float64) (most float64) {
	for _, v := range y {
		most = max(most, v)
	}
	return most
}

// What has long been on its way goes on.
func TestTrendsGoOn(t *testing.T) {
	t.Parallel()
	y := series(120, func(i int) float64 { return float64(100 + 5*i) })
	v := new(Forecaster).Series(y, []int{7}, 28).Median()
	near(t, v[27], 100+5*147, 60)
	y = series(120, func(i int) float64 { return 100 * math.Exp(0.02*float64(i)) })
	v = new(Forecaster).Series(y, []int{7}, 28).Median()
	if want := 100 * math.Exp(0.02*147); v[27] < 0.75*want || v[27] > 1.25*want {
		t.Errorf("what grows by a fiftieth a day comes to %v, want %v", v[27], want)
	}
}

// Few days that were alike do not make sure of the next ones.
func TestFewDaysAreNotSure(t *testing.T) {
	t.Parallel()
	for n, width := range map[int]float64{2: 1, 5: 0.5, 30: 0.01} {
		v := new(Forecaster).Series(series(n, func(int) float64 { return 5 }), []int{7}, 3)
		if got := (v.Quantile(0.975)[0] - v.Quantile(0.025)[0]) / 5; got < width {
			t.Errorf("after %d days of 5, 95 %% lie within %.3f of it", n, got)
		}
	}
}

// A few values show no growth that could be carried on for long.
func TestFewValuesDoNotExplode(t *testing.T) {
	t.Parallel()
	var f Forecaster
	for _, y := range [][]float64{{10, 100}, {39, 444}, {7, 9, 12, 30, 31, 60}, {1, 10, 100, 1000}, {3, 2, 1, 5, 40}} {
		out := f.Series(y, []int{7}, 28).Median()
		if last, most := out[27], slices.Max(y); last > 10*most {
			t.Errorf("after %v come %v, though no more than %v was seen", y, last, most)
		}
	}
}
