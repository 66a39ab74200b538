package watch

import (
	"reflect"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

func TestForecastsThatAreAskedFor(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.use("l", "view", day("2024-07-01"), day("2024-10-08"), hundred)
	f.threshold("t", "l", 2500)
	f.threshold("w", "l", 600, func(h *usance.Threshold) { h.PeriodType = usance.PeriodWeekly })
	f.threshold("later", "l", 1, func(h *usance.Threshold) { h.EffectiveFrom, h.UsageType = day("2024-11-01"), "click" })
	ask := func(r Request) Answer {
		t.Helper()
		r.LicenseID = "l"
		a, err := f.Forecast(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask(Request{Limits: true, Later: 2})
	if len(a.Forecasts) != 2 || len(a.Unknown) != 1 || a.Unknown[0].ThresholdID != "later" || a.Unknown[0].Status != NotInForce {
		t.Fatalf("%d forecasts, unknown %+v", len(a.Forecasts), a.Unknown)
	}
	month := a.Forecasts[0]
	if month.ThresholdID != "t" || month.ConfidenceLevel != 0.8 || len(month.Outlook.Intervals) != 3 || len(month.Later) != 2 ||
		month.Later[1].PeriodEnd != day("2025-01-01") || month.Later[0].Limit == nil || len(month.Path) != 24+30+31 || len(month.Members) == 0 {
		t.Errorf("%+v", month.Forecast)
	}
	near(t, "November", month.Later[0].PredictedQuantity, 3000, 30)
	// Today is the same as a day of the path and as a period.
	if today := ask(Request{UsageType: "view", PeriodType: usance.PeriodDaily}).Forecasts[0]; max(month.Path[0].Median-today.PredictedQuantity, today.PredictedQuantity-month.Path[0].Median) > 1 {
		t.Errorf("today %v by the path, %v by itself", month.Path[0].Median, today.PredictedQuantity)
	}
	// What is answered is what is kept.
	for _, e := range a.Forecasts {
		kept := f.forecasts(usance.ForecastFilter{ThresholdID: e.ThresholdID})
		if len(kept) != 1 || kept[0].ID != e.ID || kept[0].PredictedQuantity != e.PredictedQuantity {
			t.Errorf("kept %+v, answered %+v", kept, e.Forecast)
		}
	}
	again := ask(Request{Limits: true, ThresholdID: "w", Method: forecast.Auto, Confidence: 0.8})
	if len(again.Forecasts) != 1 || again.Forecasts[0].ID != a.Forecasts[1].ID || again.Forecasts[0].ForecastingMethod != "AUTO" {
		t.Errorf("asked again on the same day: %+v", again.Forecasts)
	}

	// Without a threshold, or for those who see none.
	for _, r := range []Request{{UsageType: "view", PeriodType: usance.PeriodQuarterly, Limits: true}, {UsageType: "view", PeriodType: usance.PeriodQuarterly}} {
		got := ask(r)
		if len(got.Forecasts) != 1 {
			t.Fatalf("%+v: %+v", r, got)
		}
		q := got.Forecasts[0]
		if q.ThresholdID != "" || q.PeriodEnd != day("2025-01-01") || q.BreachProbability != nil || q.LimitQuantity != 0 || q.Outlook.Limit != nil {
			t.Errorf("of no threshold: %+v", q.Forecast)
		}
	}
	if got := ask(Request{}); got.Forecasts[0].UsageType != usance.AllTypes || got.Forecasts[0].PeriodType != usance.PeriodMonthly || got.Forecasts[0].ThresholdID != "" {
		t.Errorf("%+v", got.Forecasts[0].Forecast)
	}
	f.license("new", func(l *usance.License) { l.CreatedAt = morning })
	if got, err := f.Forecast(t.Context(), Request{LicenseID: "new"}); err != nil || len(got.Forecasts) > 0 || got.Unknown[0].Status != InsufficientData {
		t.Errorf("of which nothing is known: %+v, %v", got, err)
	}

	for what, r := range map[string]Request{
		"confidence": {LicenseID: "l", Confidence: 1}, "method": {LicenseID: "l", Method: "MAGIC"}, "period": {LicenseID: "l", PeriodType: "hourly"},
		"type": {LicenseID: "l", UsageType: "No Slug"}, "later": {LicenseID: "l", Later: 13},
	} {
		if _, err := f.Forecast(t.Context(), r); usance.ErrorCode(err) != usance.CodeValidation {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.Forecast(t.Context(), Request{LicenseID: "none"}); usance.ErrorCode(err) != usance.CodeLicenseNotFound {
		t.Errorf("of no licence: %v", err)
	}
	if _, err := f.Forecast(t.Context(), Request{LicenseID: "l", ThresholdID: "none", Limits: true}); usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("of no threshold: %v", err)
	}
}

// Another method or other bounds are answered, and leave the night's forecast and
// what rests on it as they are.
func TestWhatIfsAreNotKept(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.use("l", "view", day("2024-08-01"), day("2024-10-01"), func(usance.Date) int64 { return 1 })
	f.use("l", "view", day("2024-10-01"), day("2024-10-08"), hundred)
	f.threshold("t", "l", 1150)
	f.generate(1)
	f.now = f.now.Add(time.Hour)
	night := f.forecasts(usance.ForecastFilter{})
	for _, r := range []Request{{Method: forecast.Pacing}, {Confidence: 0.9}} {
		r.LicenseID, r.Limits = "l", true
		a, err := f.Forecast(t.Context(), r)
		if err != nil || len(a.Forecasts) != 1 {
			t.Fatalf("%+v: %+v, %v", r, a, err)
		}
		if e := a.Forecasts[0]; r.Method != "" && e.ForecastingMethod != string(r.Method) || r.Confidence != 0 && (e.ConfidenceLevel != r.Confidence || len(e.Outlook.Intervals) != 4) {
			t.Errorf("%+v is answered by %+v", r, e.Forecast)
		}
		if kept := f.forecasts(usance.ForecastFilter{}); !reflect.DeepEqual(kept, night) {
			t.Errorf("after %+v there is kept %+v, and was %+v", r, kept, night)
		}
	}
	// What is asked as the night asks takes its place.
	a, err := f.Forecast(t.Context(), Request{LicenseID: "l", Limits: true})
	if err != nil {
		t.Fatal(err)
	}
	if kept := f.forecasts(usance.ForecastFilter{}); len(kept) != 1 || !kept[0].CalculatedAt.Equal(f.now) || kept[0].ID != a.Forecasts[0].ID {
		t.Errorf("kept %+v", kept)
	}
}
