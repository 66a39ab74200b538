package watch

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// A licence fed by daily totals, which come at four in the morning of the next day:
// the day whose total has not come is neither a drop nor without use.
func TestATotalThatHasNotComeIsNoZero(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"daily", "workdays"} {
		f.license(id)
		f.threshold(id, id, 1_000_000)
	}
	put := func(from, to usance.Date) {
		for d := from; d < to; d++ {
			f.totals("daily", d, d+1, 100+int64(d%5))
			if w := d.Weekday(); w != time.Saturday && w != time.Sunday {
				f.totals("workdays", d, d+1, 300+int64(d%7))
			}
		}
	}
	put(day("2024-07-15"), day("2024-10-07"))
	for d := day("2024-10-08"); d < day("2024-10-18"); d++ {
		for _, hour := range []int{0, 3, 4, 12, 23} {
			f.now = d.Start(time.UTC).Add(time.Duration(hour)*time.Hour + 15*time.Minute)
			if hour == 4 {
				put(d-1, d)
			}
			if n, err := f.Detect(t.Context()); n != 0 || err != nil {
				t.Errorf("%d alerts at %s: %+v %+v, %v", n, f.now, f.alerts("daily"), f.alerts("workdays"), err)
			}
			if hour != 3 {
				continue
			}
			f.generate(2)
			for id, month := range map[string]int64{"daily": 31 * 102, "workdays": 23 * 303} {
				k := f.forecasts(usance.ForecastFilter{LicenseID: id, Latest: true})[0]
				near(t, id+" of the month on "+d.String(), k.PredictedQuantity, month, month/50)
				if k.UpperBound > month*115/100 || k.LowerBound < month*85/100 || k.ForecastDate != d {
					t.Errorf("%s: %d to %d", id, k.LowerBound, k.UpperBound)
				}
				if k.NaiveError == nil {
					t.Errorf("%s: no error of the naive forecast", id)
				}
			}
		}
	}
}

// Totals that stay away for longer than they may be late are told of once, and count
// as days without use from then on; when they come again, nothing more is told.
func TestTotalsThatStopAreToldOnce(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.threshold("t", "l", 1_000_000)
	f.totals("l", day("2024-07-15"), day("2024-10-07"), 100)
	var told []usance.Alert
	for d := day("2024-10-08"); d < day("2024-10-28"); d++ {
		f.now = d.Start(time.UTC).Add(3 * time.Hour)
		if d == day("2024-10-25") {
			f.totals("l", day("2024-10-24"), day("2024-10-25"), 100)
		}
		if _, err := f.Detect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told == nil {
			told = f.alerts("l")
			if len(told) > 0 && d != day("2024-10-11") {
				t.Errorf("told on %s", d)
			}
		}
	}
	if all := f.alerts("l"); len(all) != 1 || len(told) != 1 {
		t.Fatalf("%+v", all)
	}
	a := told[0]
	if a.Kind != usance.AlertFlat || a.Severity != usance.SeverityWarning || a.PeriodStart != day("2024-10-07") ||
		!strings.Contains(a.Reason, "no daily totals of view usage have come since that of 2024-10-06; about 400 was to be expected in the 4 days after it") {
		t.Errorf("%+v", a)
	}
}

// A day's total far above or below the others is told whenever it comes.
func TestATotalThatComesLateIsLookedAt(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.totals("l", day("2024-07-15"), day("2024-10-06"), 100)
	f.totals("l", day("2024-10-06"), day("2024-10-07"), 5)
	f.now = day("2024-10-09").Start(time.UTC).Add(5 * time.Hour) // two days without their total
	a := f.detect(1)[0]
	if a.Kind != usance.AlertDrop || a.PeriodStart != day("2024-10-06") || a.Quantity != 5 {
		t.Errorf("%+v", a)
	}
}

// The month's total is known to pass a limit as soon as yesterday's comes: no date
// before today is named.
func TestALimitThatALateTotalPassesIsPassedToday(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.totals("l", day("2024-07-15"), day("2024-10-06"), 100)
	f.threshold("t", "l", 550)
	f.generate(1)
	k := f.forecasts(usance.ForecastFilter{LicenseID: "l"})[0]
	if k.UsedQuantity != 500 || *k.BreachProbability < 0.99 || *k.PredictedBreachDate != day("2024-10-08") || *k.Outlook.Limit.Early != day("2024-10-08") {
		t.Errorf("%+v", k)
	}
	if n, err := f.Warn(t.Context()); n != 1 || err != nil {
		t.Errorf("%d warnings, %v", n, err)
	}
	a, err := f.Forecast(t.Context(), Request{LicenseID: "l", Limits: true})
	if err != nil || len(a.Forecasts) != 1 || a.Forecasts[0].Path[0].Date != day("2024-10-08") {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestMissingTotals(t *testing.T) {
	series := func(n int, of func(i int) float64, then ...float64) (out []float64) {
		for i := range n {
			out = append(out, of(i))
		}
		return append(out, then...)
	}
	daily := func(int) float64 { return 7 }
	weekdays := func(i int) float64 { return map[bool]float64{true: 7}[i%7 < 5] }
	rare := func(i int) float64 { return map[bool]float64{true: 7}[i%7 == 0] }
	nan := math.NaN()
	for name, c := range map[string]struct {
		days    []float64
		away    int
		stopped bool
	}{
		"none":                    {nil, 0, false},
		"never any":               {make([]float64, 40), 0, false},
		"all there":               {series(60, daily), 0, false},
		"three of each day":       {series(60, daily, 0, 0, 0), 3, false},
		"four of each day":        {series(60, daily, 0, 0, 0, 0), 4, true},
		"a weekend and two":       {series(61, weekdays, 0, 0, 0, 0), 4, false}, // from a Friday on
		"a weekend and four":      {series(61, weekdays, 0, 0, 0, 0, 0, 0), 6, true},
		"an outage widens little": {series(60, func(i int) float64 { return map[bool]float64{true: 7}[i < 30 || i > 38] }, 0, 0, 0, 0), 4, true},
		"once a week":             {series(60, rare, 0, 0, 0), 0, false},
		"held":                    {series(60, daily, nan, nan), 0, false},
		"held, then free":         {series(60, daily, nan, 0), 0, false},
		"two days old":            {[]float64{7, 7, 0}, 0, false},
		"four days old":           {[]float64{7, 7, 7, 0}, 1, false},
	} {
		if away, stopped := missing(c.days); away != c.away || stopped != c.stopped {
			t.Errorf("%s: %d, %t", name, away, stopped)
		}
	}
}

// One or two events a day are no totals: that none came is known at once.
func TestAFewEventsAreNoTotals(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.threshold("t", "l", 1_000_000)
	for d := day("2024-07-15"); d < day("2024-10-06"); d++ {
		f.rows("l", "view", d, d+1, func(_ usance.Date, hour int) int64 {
			return map[bool]int64{true: 100}[hour == int(d*5)%24]
		}, func(r *usance.Rollup) {
			r.Events = 1
			for hour := range r.Breakdown[usance.ByHour] {
				r.Breakdown[usance.ByHour][hour] = usance.Tally{Events: 1, Quantity: 100}
			}
		})
	}
	f.now = day("2024-10-07").Start(time.UTC).Add(3 * time.Hour)
	if a := f.detect(1); len(a) != 1 || a[0].Kind != usance.AlertDrop || a[0].PeriodStart != day("2024-10-06") {
		t.Errorf("%+v", a)
	}
	f.generate(1)
	if k := f.forecasts(usance.ForecastFilter{LicenseID: "l"})[0]; k.PredictedQuantity > 3000 {
		t.Errorf("%+v", k)
	}
}

// Totals that come at one time of UTC come in another hour of the licence's day once
// the clocks have changed; those that wander from hour to hour are events.
func TestTotalsMoveByAnHourWithTheClocks(t *testing.T) {
	for name, c := range map[string]struct {
		hour  func(usance.Date) int
		drops int
	}{
		"noon in UTC": {func(d usance.Date) int { return map[bool]int{true: 14, false: 13}[d < day("2024-10-28")] }, 0},
		"two hours":   {func(d usance.Date) int { return 13 + int(d)%2 }, 1},
	} {
		f := newFixture(t)
		f.license("l", func(l *usance.License) { l.Timezone = "Europe/Berlin" })
		f.threshold("t", "l", 1_000_000)
		f.rows("l", "view", day("2024-08-05"), day("2024-10-29"), func(d usance.Date, hour int) int64 {
			return map[bool]int64{true: 100}[hour == c.hour(d)]
		}, func(r *usance.Rollup) {
			r.Events = 1
			for hour := range r.Breakdown[usance.ByHour] {
				r.Breakdown[usance.ByHour][hour] = usance.Tally{Events: 1, Quantity: 100}
			}
		})
		f.now = day("2024-10-30").Start(time.UTC).Add(3 * time.Hour)
		if n, err := f.Detect(t.Context()); n != c.drops || err != nil {
			t.Errorf("%s: %d alerts, %v: %+v", name, n, err, f.alerts("l"))
		}
		f.generate(1)
		k := f.forecasts(usance.ForecastFilter{LicenseID: "l"})[0]
		if whole := k.PredictedQuantity >= 3050; whole != (c.drops == 0) {
			t.Errorf("%s: %+v", name, k)
		}
	}
}
