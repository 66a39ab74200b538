package forecast

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

var june = usance.Period{
	Type: usance.PeriodMonthly, Start: usance.MakeDate(2024, time.June, 1), End: usance.MakeDate(2024, time.July, 1),
}

// used gives daily use from a date up to, without, another.
func used(from, to usance.Date, value func(d usance.Date) float64) []float64 {
	return series(int(to-from), func(i int) float64 { return value(from.AddDays(i)) })
}

func ask(t *testing.T, r Request) Forecast {
	t.Helper()
	var f Forecaster
	got, err := f.Forecast(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestALimitBreaksInWeekFour(t *testing.T) {
	t.Parallel()
	start := usance.MakeDate(2024, time.January, 1)
	noise := synthetic(21).noise
	r := Request{
		// A hundred a day, a week into June.
		Start: start, Days: used(start, june.Start+7, func(usance.Date) float64 { return math.Round(100 + 10*noise()) }),
		Period: june, AnchorDay: 1, Later: 2, Confidence: 0.9,
		Limits: []Limit{{2500, 2750}, {5000, 5000}, {600, 660}},
	}
	got := ask(t, r)
	if got.Status != StatusOK || got.DaysUsed != len(r.Days) || got.Backtests == 0 || len(got.Members) == 0 {
		t.Errorf("%s, %d days, %d backtests, %v", got.Status, got.DaysUsed, got.Backtests, got.Members)
	}
	near(t, got.MeanAbsoluteError, 8, 2)
	near(t, got.PeriodError, 0.02, 0.02)
	if len(got.Periods) != 3 || got.Periods[2].Period.End != usance.MakeDate(2024, time.September, 1) {
		t.Fatalf("periods %v", got.Periods)
	}
	p := got.Periods[0]
	near(t, p.Used, 700, 80)
	near(t, p.Median, 3000, 60)
	near(t, got.Periods[1].Median, 3100, 100)
	if len(p.Bands) != 4 || p.Bands[2].Level != 0.9 || got.Periods[1].Used != 0 {
		t.Errorf("bands %v, used later %v", p.Bands, got.Periods[1].Used)
	}
	if len(got.Path) != int(usance.MakeDate(2024, time.September, 1)-june.Start-7) || got.Path[0].Date != june.Start+7 {
		t.Errorf("a path of %d days from %v", len(got.Path), got.Path[0].Date)
	}

	breaks := p.Limits[0]
	if breaks.Plain.Probability < 0.97 || breaks.Plain.Median == nil {
		t.Fatalf("the limit of 2500: %+v", breaks.Plain)
	}
	if d := *breaks.Plain.Median; d < june.Start+24 || d > june.Start+26 {
		t.Errorf("2500 are passed on %v, at a hundred a day", d)
	}
	if breaks.WithGrace.Median == nil || *breaks.WithGrace.Median <= *breaks.Plain.Median {
		t.Errorf("with grace on %v, without on %v", breaks.WithGrace.Median, breaks.Plain.Median)
	}
	if far := p.Limits[1].Plain; far.Probability > 0.02 || far.Median != nil {
		t.Errorf("the limit of 5000: %+v", far)
	}
	// Passed already: on the day it was, with certainty.
	if past := p.Limits[2].Plain; past.Probability != 1 || past.Early == nil || *past.Early != *past.Late || *past.Late >= june.Start+7 {
		t.Errorf("the limit of 600: %+v", past)
	}
	if data, err := json.Marshal(got); err != nil || !strings.Contains(string(data), `"median":"2024-06-2`) {
		t.Errorf("JSON: %v", err)
	}
}

func TestWithNothingThereIsNoForecast(t *testing.T) {
	t.Parallel()
	for _, days := range [][]float64{nil, {math.NaN(), math.NaN()}} {
		got := ask(t, Request{Start: june.Start, Days: days, Period: june})
		if got.Status != StatusInsufficientData || len(got.Periods) > 0 || len(got.Path) > 0 {
			t.Errorf("%v: %+v", days, got)
		}
	}
}

func TestFewDaysArePooled(t *testing.T) {
	t.Parallel()
	days := []float64{90, 110, 100, 95, 105}
	got := ask(t, Request{Start: june.Start, Days: days, Period: june})
	if got.Status != StatusPooled {
		t.Errorf("status %s", got.Status)
	}
	near(t, got.Periods[0].Median, 3000, 300)
	band := func(f Forecast) float64 { return f.Periods[0].Bands[1].Upper - f.Periods[0].Bands[1].Lower }
	// What is known for longer is surer.
	long := ask(t, Request{
		Start: june.Start - 100, Days: used(june.Start-100, june.Start+5, func(d usance.Date) float64 { return days[(d-june.Start+100)%5] }),
		Period: june,
	})
	if band(long) >= band(got)/2 {
		t.Errorf("an interval of %v after 105 days, and of %v after five", band(long), band(got))
	}
	// 13 days are few, 14 are not.
	thirteen := ask(t, Request{Start: june.Start, Days: make([]float64, 13), Period: june})
	fourteen := ask(t, Request{Start: june.Start, Days: make([]float64, 14), Period: june})
	if thirteen.Status != StatusPooled || fourteen.Status != StatusOK {
		t.Errorf("13 days: %s; 14: %s", thirteen.Status, fourteen.Status)
	}
}

func TestGapsAreNotZeros(t *testing.T) {
	t.Parallel()
	start := june.Start - 120
	with := func(missing float64) float64 {
		days := used(start, june.Start+10, func(d usance.Date) float64 {
			if (d-start)%4 == 1 {
				return missing
			}
			return 100
		})
		sum := 0.0 // of eight days: which of them are those of nothing is known
		for _, d := range ask(t, Request{Start: start, Days: days, Period: june}).Path[:8] {
			sum += d.Median / 8
		}
		return sum
	}
	near(t, with(math.NaN()), 100, 1)
	if v := with(0); v > 99 {
		t.Errorf("with a day of nothing in four a day is expected to bring %v", v)
	}
}

func TestTheHoursOfTodayCount(t *testing.T) {
	t.Parallel()
	start := june.Start - 60
	days := used(start, june.Start+29, func(usance.Date) float64 { return 240 })
	// All use falls into the first twelve hours, 20 each; today it is 50 each.
	var hours []float64
	for i := range 28*24 + 6 {
		v := 0.0
		switch {
		case i >= 28*24:
			v = 50
		case i%24 < 12:
			v = 20
		}
		hours = append(hours, v)
	}
	r := Request{Start: start, Days: days, Period: june}
	before := ask(t, r).Periods[0]
	r.Hours = hours
	p := ask(t, r).Periods[0]
	near(t, p.Used-before.Used, 300, 1e-9)
	near(t, before.Median-before.Used, 240, 5)
	if more := p.Median - p.Used; more < 100 || more > 300 {
		t.Errorf("after 300 in half of the active hours another %v are expected today", more)
	}
	// At the end of the active hours hardly anything is left.
	for i := range 12 {
		hours = append(hours, []float64{50, 0}[i/6])
	}
	r.Hours = hours
	if p := ask(t, r).Periods[0]; p.Median-p.Used > 60 {
		t.Errorf("another %v are expected after the active hours", p.Median-p.Used)
	}
}

func TestLongPeriodsReachAsFarAsForecastsDo(t *testing.T) {
	t.Parallel()
	all := usance.PeriodOf(usance.PeriodTotal, june.Start, 1)
	got := ask(t, Request{Start: june.Start - 50, Days: make([]float64, 50), Period: all, Later: 3})
	if len(got.Periods) != 1 || got.Periods[0].Through != june.Start+MaxDays || len(got.Path) != MaxDays {
		t.Errorf("%d periods, through %v, %d days", len(got.Periods), got.Periods[0].Through, len(got.Path))
	}
}

func TestWrongRequestsAreRefused(t *testing.T) {
	t.Parallel()
	good := Request{Start: june.Start, Days: []float64{1}, Period: june}
	for want, change := range map[string]func(*Request){
		"does not hold":     func(r *Request) { r.Start -= 2 },
		"later periods":     func(r *Request) { r.Later = -1 },
		"confidence of 1":   func(r *Request) { r.Confidence = 1 },
		"no method":         func(r *Request) { r.Method = "MAGIC" },
		"day's quantity":    func(r *Request) { r.Days = []float64{math.Inf(1)} },
		"hour's quantity":   func(r *Request) { r.Hours = []float64{math.NaN()} },
		"choose one of [AU": func(r *Request) { r.Method = "auto" },
	} {
		r := good
		change(&r)
		var f Forecaster
		if _, err := f.Forecast(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestForecastsDoNotDependOnTheOnesBefore(t *testing.T) {
	t.Parallel()
	r := synthetic(22)
	var f Forecaster
	for range 10 {
		y := r.views(30 + r.Intn(800))
		fresh := new(Forecaster).Series(y, dailyCycles, 20).Median()
		for h, v := range f.Series(y, dailyCycles, 20).Median() {
			if v != fresh[h] {
				t.Fatalf("%d ahead: %v, by a fresh forecaster %v", h+1, v, fresh[h])
			}
		}
	}
}
