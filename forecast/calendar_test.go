package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/usance/usance"
)

// monthly makes a year and a half of days from the date on, each of the mean that
// what says of its day of the month and of how many days are left in it.
func monthly(r *rand.Rand, from usance.Date, what func(day, left int) float64) []float64 {
	return series(550, func(i int) float64 {
		p := usance.PeriodOf(usance.PeriodMonthly, from.AddDays(i), 1)
		d := from.AddDays(i)
		return math.Round(what(int(d-p.Start)+1, int(p.End-1-d)) * math.Exp(0.25*r.NormFloat64()))
	})
}

// Use that comes at the end of the month, on its first days or on one day is expected
// then, with the dates known or not, and not taken for a surprise each time.
func TestMonthsAreKnown(t *testing.T) {
	t.Parallel()
	of := func(yes bool, much, little float64) float64 {
		if yes {
			return much
		}
		return little
	}
	for name, what := range map[string]func(day, left int) float64{
		"last days":  func(_, left int) float64 { return of(left < 4, 900, 60) },
		"first days": func(day, _ int) float64 { return of(day < 4, 900, 60) },
		"one day":    func(day, _ int) float64 { return of(day == 17, 2000, 60) },
		"one batch":  func(day, _ int) float64 { return of(day == 21, 2000, 0) },
	} {
		r := rand.New(rand.NewPCG(3, uint64(len(name)))) //nolint:gosec // must repeat
		var f Forecaster
		var err, pace, n [2]float64
		inside := [2]float64{}
		for k := range 24 {
			from := usance.MakeDate(2023, time.Month(1+k%12), 1+r.IntN(28))
			y := monthly(r, from, what)
			origin := 380 + r.IntN(120)
			today := from.AddDays(origin)
			p := usance.PeriodOf(usance.PeriodMonthly, today, 1)
			actual := sumOf(y[p.Start-from : p.End-from])
			got, fail := f.Forecast(Request{Start: from, Days: y[:origin], Period: p, AnchorDay: 1})
			if fail != nil {
				t.Fatal(fail)
			}
			blind := Answer([][]float64{y}, []Question{{Start: int(p.Start - from), Origin: origin}}, p.Days())[0]
			level := meanOf(y[:origin]) * float64(p.End-today)
			for i, total := range []Total{got.Periods[0].Total, blind} {
				n[i]++
				err[i] += math.Abs(total.Median() - actual)
				pace[i] += math.Abs(total.Used + level - actual)
				if total.Quantile(0.1) <= actual && actual <= total.Quantile(0.9) {
					inside[i]++
				}
			}
		}
		for i, known := range []string{"dates known", "dates unknown"} {
			t.Logf("%s, %s: error %.2f of the mean day's, in 80: %.2f", name, known, err[i]/pace[i], inside[i]/n[i])
			if err[i] > 0.65*pace[i] || inside[i] < 0.7*n[i] {
				t.Errorf("%s, %s: error %.2f of the mean day's, in 80: %.2f", name, known, err[i]/pace[i], inside[i]/n[i])
			}
		}
	}
}

// Where nothing happens by the month, no month is seen.
func TestNoMonthsAreSeenInNoise(t *testing.T) {
	t.Parallel()
	r := synthetic(8)
	var c calendar
	var f Forecaster
	found := [2]int{}
	for range 200 {
		z, _ := f.measure(r.views(500))
		for i, on := range []dates{{}, {usance.MakeDate(2024, 2, 11), 9}} {
			if c.find(z, 28, on); c.length > 0 {
				found[i]++
			}
		}
	}
	t.Logf("found in 200: %v", found)
	if found[0] > 20 || found[1] > 20 {
		t.Errorf("of 200 series without months %v show some", found)
	}
}
