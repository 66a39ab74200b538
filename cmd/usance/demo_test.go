package main

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/usance/usance"
)

// The demo's year holds something of everything, no rollup differs from its
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
	keys, events, err := makeDemo(t.Context(), s, clock, end)
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
	s.speed(t)
}

// speed asks for every licence's analytics and daily aggregates, again and again.
func (s *server) speed(t *testing.T) {
	t.Helper()
	handler, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{url: "http://usance.invalid", key: s.adminKey, http: &http.Client{Transport: direct{handler}}}
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
	for name, most := range map[string]time.Duration{"usage.getAnalytics": 200 * time.Millisecond, "usage.getDailyAggregates": 100 * time.Millisecond} {
		slices.Sort(took[name])
		p95 := took[name][len(took[name])*95/100]
		t.Logf("%s: p95 %s, worst %s", name, p95, took[name][len(took[name])-1])
		if p95 > most {
			t.Errorf("%s: p95 is %s, want at most %s", name, p95, most)
		}
	}
	all := series(t, r)
	hits, _ := strconv.ParseFloat(all[`usance_cache_requests_total{result="hit"}`], 64)
	misses, _ := strconv.ParseFloat(all[`usance_cache_requests_total{result="miss"}`], 64)
	t.Logf("cache: %v hits, %v misses", hits, misses)
	if hits/(hits+misses) < 0.8 {
		t.Errorf("%v hits and %v misses: under 80 %%", hits, misses)
	}
}
