package api

import (
	"testing"
	"time"
)

// Daily totals over REST and tRPC: counted once, corrected, and refused one by
// one; a range is rebuilt behind the answer.
func TestBackfill(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.admin("PUT", "/v1/licenses/lic_123", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`)
	s.admin("PUT", "/v1/licenses/lic_2", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`)
	const totals = `{"licenseId":"lic_123","source":"daily.csv","totals":[
		{"date":"2024-10-01","usageType":"view","quantity":1200,"revenueCents":350,"events":17,"line":2},
		{"licenseId":"lic_2","date":"2024-10-01","usageType":"print","quantity":3,"line":3},
		{"date":"2024-10-13","usageType":"view","quantity":1,"line":4}]}`
	r := s.admin("POST", "/v1/backfill", totals)
	if r.at("results", 0, "status") != "COUNTED" || r.at("results", 0, "revision") != 1.0 || r.at("results", 1, "tracked") != true ||
		r.at("results", 2, "error", "code") != "VALIDATION" || r.at("backfill") != nil {
		t.Errorf("totals: %s", r.body)
	}
	r = s.send("POST", "/api/trpc/usage.backfillAggregates", adminKey, totals)
	if r.status != 200 || r.at("result", "data", "results", 0, "duplicate") != true || r.at("result", "data", "results", 1, "duplicate") != true {
		t.Errorf("again: %d %s", r.status, r.body)
	}
	r = s.admin("POST", "/v1/backfill", `{"totals":[{"licenseId":"lic_123","date":"2024-10-01","usageType":"view","quantity":1000}]}`)
	if r.at("results", 0, "revision") != 2.0 || r.at("results", 0, "voidedEvent") == nil {
		t.Errorf("corrected: %s", r.body)
	}
	r = s.admin("GET", "/v1/licenses/lic_123/daily?startDate=2024-10-01&endDate=2024-10-12", "")
	if r.at("days", 0, "totalViews") != 1000.0 || r.at("days", 0, "byType", "view", "events") != 1.0 || r.at("days", 1) != nil {
		t.Errorf("daily: %s", r.body)
	}
	s.flush()

	if r := s.send("GET", "/v1/licenses/lic_123/backfill", adminKey, ""); r.status != 404 {
		t.Errorf("before any: %d %s", r.status, r.body)
	}
	r = s.admin("POST", "/v1/backfill", `{"licenseId":"lic_123","startDate":"2024-01-01","endDate":"2024-10-12"}`)
	if r.at("backfill", "startDate") != "2024-01-01" || r.at("results") != nil {
		t.Errorf("range: %s", r.body)
	}
	for r.at("backfill", "status") == "RUNNING" || r.at("status") == "RUNNING" {
		select {
		case <-t.Context().Done():
			t.Fatal(r.body)
		case <-time.After(time.Millisecond):
		}
		r = s.admin("GET", "/v1/licenses/lic_123/backfill", "")
	}
	if r.at("status") != "DONE" || r.at("days") != 286.0 || r.at("events") != 3.0 || r.at("changed") != 0.0 || r.at("endDate") != "2024-10-12" {
		t.Errorf("the end: %s", r.body)
	}

	for _, c := range []struct{ body, field string }{
		{`{}`, "totals"},
		{`{"licenseId":"lic_123"}`, "totals"},
		{`{"startDate":"2024-01-01","endDate":"2024-10-12"}`, "licenseId"},
		{`{"licenseId":"lic_123","startDate":"2024-01-01"}`, "endDate"},
		{`{"licenseId":"lic_123","startDate":"2024-01-02","endDate":"2024-01-01"}`, "endDate"},
		{`{"licenseId":"lic_123","totals":[{"date":"2024-10-01","usageType":"view"}]}`, "totals[0].quantity"},
	} {
		if r := s.send("POST", "/v1/backfill", adminKey, c.body); r.status != 400 || r.at("field") != c.field {
			t.Errorf("%s: %d %s", c.body, r.status, r.body)
		}
	}
}
