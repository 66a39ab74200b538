package watch

import (
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

// totals puts what a licence used as daily totals, which say nothing of hours.
func (f *fixture) totals(license string, from, to usance.Date, quantity int64) {
	f.t.Helper()
	f.rows(license, "view", from, to, func(_ usance.Date, hour int) int64 {
		return map[bool]int64{true: quantity}[hour == 0]
	}, func(r *usance.Rollup) {
		r.Events = 1
		r.Breakdown[usance.ByHour]["0"] = usance.Tally{Events: 1, Quantity: quantity}
	})
}

// Where totals come in by the day, the hours of today that brought none are not
// days without use: all of today is to come, at whatever hour it is asked.
func TestTodayOfDailyTotalsIsToCome(t *testing.T) {
	f := newFixture(t)
	f.license("totals")
	f.totals("totals", day("2024-07-01"), day("2024-10-08"), 100)
	f.license("hours")
	f.use("hours", "view", day("2024-07-01"), day("2024-10-08"), hundred)
	for _, hour := range []int{0, 3, 12, 23} {
		f.now = day("2024-10-08").Start(time.UTC).Add(time.Duration(hour)*time.Hour + time.Minute)
		for _, c := range []struct {
			id   string
			want float64
		}{{"totals", 100}, {"hours", 100 * (1 - float64(hour)/24) * (1 - float64(hour)/24)}} {
			a, err := f.Forecast(t.Context(), Request{LicenseID: c.id, UsageType: "view", PeriodType: usance.PeriodDaily})
			if err != nil || len(a.Forecasts) != 1 {
				t.Fatal(a, err)
			}
			near(t, c.id, a.Forecasts[0].PredictedQuantity, int64(c.want), 12)
		}
	}
	// What is counted of today is part of it.
	f.totals("totals", day("2024-10-08"), day("2024-10-09"), 90)
	a, err := f.Forecast(t.Context(), Request{LicenseID: "totals", UsageType: "view", PeriodType: usance.PeriodDaily})
	if err != nil || len(a.Forecasts) != 1 || a.Forecasts[0].UsedQuantity != 90 {
		t.Fatal(a, err)
	}
	near(t, "today with 90", a.Forecasts[0].PredictedQuantity, 100, 5)
}

// A licence whose term has not begun is not forecast, whatever was used before.
func TestALicenceThatHasNotBegunIsNotForecast(t *testing.T) {
	f := newFixture(t)
	const begins = "2024-10-12"
	f.license("used", func(l *usance.License) { l.StartDate = begins })
	f.use("used", "view", day("2024-07-01"), day("2024-10-08"), hundred)
	f.threshold("t", "used", 900)
	f.license("new", func(l *usance.License) { l.StartDate = begins })
	f.generate(0)
	for _, id := range []string{"used", "new"} {
		a, err := f.Forecast(t.Context(), Request{LicenseID: id, Limits: true})
		if err != nil || len(a.Forecasts) != 0 || len(a.Unknown) != 1 || a.Unknown[0].Status != NotInForce {
			t.Errorf("%s: %+v, %v", id, a, err)
		}
	}
}

// Of a day on which a hard limit let nothing in, what came is not what was wanted.
func TestTodayOfAFullLimitIsAGap(t *testing.T) {
	f := newFixture(t)
	f.held("l", day("2024-10-06"))
	f.now = day("2024-10-08").Start(time.UTC).Add(12 * time.Hour)
	var rest float64
	err := f.store.View(t.Context(), func(v usance.View) error {
		facts, err := v.Facts(t.Context(), []string{"l"})
		if err != nil {
			return err
		}
		u, err := readUsage(t.Context(), v, facts[0].License, f.now, usance.MaxDate, facts[0].Thresholds)
		if err != nil {
			return err
		}
		out, _, ok, err := u.answer(new(forecast.Forecaster), question{usageType: "view", periodType: usance.PeriodDaily, confidence: 0.8}, nil, f.now)
		if !ok {
			t.Error("not forecast")
		}
		rest = float64(out.PredictedQuantity)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if rest < 100 || rest > 140 {
		t.Errorf("half a day of 240 is left, and %v are expected", rest)
	}
}
