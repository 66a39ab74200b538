package forecast

import (
	"slices"
	"testing"

	"github.com/usance/usance"
)

// Use that is the same each day comes to just so much: a limit of that is hardly
// passed, one of a unit less for certain, and what never varied may yet.
func TestLimitsThatAreJustMet(t *testing.T) {
	for _, daily := range []float64{1, 3, 100, 12_345} {
		series := slices.Repeat([]float64{daily}, 200)
		total := Answer([][]float64{series}, []Question{{Start: 200, Origin: 200}}, 28)[0]
		for _, c := range []struct{ limit, least, most float64 }{
			{28*daily - 1, 0.9, 0.999}, {28 * daily, 0.001, 0.1}, {28*daily + 1, 0.001, 0.1},
		} {
			if p := total.Above(c.limit); p < c.least || p > c.most {
				t.Errorf("%v a day for 28 days pass %v with probability %.3f, want %v to %v", daily, c.limit, p, c.least, c.most)
			}
		}
		if q := total.Median(); q < 28*daily*(1-1e-6) || q > 28*daily*(1+1e-6) {
			t.Errorf("%v a day: the median of 28 days is %v", daily, q)
		}
		if total.Quantile(0.975) <= total.Median() {
			t.Errorf("%v a day: nothing else can come", daily)
		}
		var f Forecaster
		today := usance.MakeDate(2026, 5, 1)
		out, err := f.Forecast(Request{
			Start: today.AddDays(-200), Days: series, Period: usance.PeriodOf(usance.PeriodMonthly, today, 1), AnchorDay: 1,
			Limits: []Limit{{31 * daily, 31*daily - 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if l := out.Periods[0].Limits[0]; l.Plain.Probability > 0.1 || l.WithGrace.Probability < 0.9 {
			t.Errorf("%v a day: a month's limit of 31 days is passed with probability %.3f, of a unit less with %.3f", daily, l.Plain.Probability, l.WithGrace.Probability)
		}
	}
}
