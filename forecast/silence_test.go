package forecast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// After a silence longer than any before, use may come again or not: later periods are no
// surer than nearer ones, and what is said of a quarter is what is said of its months.
func TestASilenceIsAsUnknownLater(t *testing.T) {
	t.Parallel()
	today := usance.MakeDate(2026, 4, 1)
	for _, silent := range []int{3, 7, 14} {
		r := rand.New(rand.NewPCG(uint64(silent), 41)) //nolint:gosec // must repeat
		y := series(400, func(i int) float64 {
			if i >= 400-silent {
				return 0
			}
			return uses(r, 300*[7]float64{1.2, 1.2, 1.1, 1, 1, 0.7, 0.6}[i%7])
		})
		q := Request{Start: today.AddDays(-400), Days: y, AnchorDay: 1, Period: usance.PeriodOf(usance.PeriodMonthly, today, 1), Later: 2}
		months := ask(t, q).Periods
		q.Period, q.Later = usance.PeriodOf(usance.PeriodQuarterly, today, 1), 0
		quarter := ask(t, q).Periods[0].Total
		sum, usual := 0.0, meanOf(y[:400-silent])
		for i, p := range months {
			sum += p.Median
			days := float64(p.Period.Days())
			if low, high := p.Total.Quantile(0.025), p.Total.Quantile(0.975); silent > 3 && low > 0.5*usual*days || high < usual*days {
				t.Errorf("%d days of silence, month %d: %.0f to %.0f, where %.0f is usual", silent, i, low, high, usual*days)
			}
		}
		if m := quarter.Median(); math.Abs(m-sum) > 0.15*m {
			t.Errorf("%d days of silence: %.0f in the quarter, %.0f in its months", silent, m, sum)
		}
		if quarter.Quantile(0.975) < 80*usual || silent > 3 && quarter.Quantile(0.025) > 60*usual {
			t.Errorf("%d days of silence: %.0f to %.0f in the quarter", silent, quarter.Quantile(0.025), quarter.Quantile(0.975))
		}
		// Use that came today ends it.
		q.Today = usual
		if m := ask(t, q).Periods[0].Median; m < 0.85*91*usual {
			t.Errorf("%d days of silence, and use today: %.0f in the quarter", silent, m)
		}
	}
}

// Days that are not known at the end are no part of what is forecast from: growth goes on
// through them.
func TestGrowthGoesOnThroughGaps(t *testing.T) {
	t.Parallel()
	for _, gap := range []int{5, 10, 15} {
		ours, off, n := calibration{}, 0.0, 0.0
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 42)) //nolint:gosec // must repeat
			y := series(273+31, func(i int) float64 {
				return uses(r, 100*math.Exp(0.006*float64(i))*math.Exp(0.2*r.NormFloat64())*[7]float64{1.2, 1.2, 1.1, 1, 1, 0.7, 0.6}[i%7])
			})
			actual := sumOf(y[273:])
			known := append([]float64(nil), y[:273]...)
			for month := range 4 {
				for d := range gap {
					known[273-30*month-1-d] = math.NaN()
				}
			}
			today := usance.MakeDate(2025, 10, 1)
			got := ask(t, Request{Start: today.AddDays(-273), Days: known, AnchorDay: 1, Period: usance.PeriodOf(usance.PeriodMonthly, today, 1)})
			ours.add(got.Periods[0].Total, actual)
			off += math.Log(got.Periods[0].Median / actual)
			n++
		}
		t.Logf("%d days of each month unknown: off by %.3f, in 80: %.2f", gap, off/n, ours.in80/n)
		if math.Abs(off/n) > 0.1 || ours.in95/n < 0.8 {
			t.Errorf("%d days of each month unknown: off by %.3f, in 80: %.2f, in 95: %.2f", gap, off/n, ours.in80/n, ours.in95/n)
		}
	}
}

// A gap is filled by what lies to both sides of it.
func TestAGapLiesBetweenItsSides(t *testing.T) {
	t.Parallel()
	z := series(84, func(i int) float64 { return float64(100 + i) })
	want := append([]float64(nil), z...)
	for i := 40; i < 50; i++ {
		z[i] = math.NaN()
	}
	fill(z)
	for i := range z {
		near(t, z[i], want[i], 6)
	}
}
