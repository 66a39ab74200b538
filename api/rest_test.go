package api

import (
	"testing"
)

// Curl lines as people type them, with a key and the header added.
func TestSeedCurlLines(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.admin("POST", "/v1/events", `{"licenseId":"lic_123","usageType":"view","quantity":1,"platform":"web","deviceType":"desktop","idempotencyKey":"test_event_1"}`)

	const form = "Content-Type: application/x-www-form-urlencoded"
	r := s.send("POST", "/api/trpc/usage.createThreshold", adminKey, `{
    "licenseId": "lic_123",
    "usageType": "view",
    "limitQuantity": 1000,
    "periodType": "monthly",
    "gracePercentage": 10,
    "allowOverage": true,
    "overageRateCents": 5
  }`, form)
	if r.status != 200 || r.at("result", "data", "limitQuantity") != 1000.0 || r.at("result", "data", "overageRateCents") != 5.0 {
		t.Errorf("createThreshold: %d %s", r.status, r.body)
	}
	r = s.send("GET", "/api/trpc/usage.getThresholdStatus?licenseId=lic_123", adminKey, "")
	if r.status != 200 || r.at("result", "data", "thresholds", 0, "used") != 1.0 || r.at("result", "data", "thresholds", 0, "limitWithGrace") != 1100.0 {
		t.Errorf("getThresholdStatus: %d %s", r.status, r.body)
	}
	r = s.send("GET", "/api/trpc/usage.getAnalytics?licenseId=lic_123&startDate=2024-10-01&endDate=2024-10-31&granularity=daily", adminKey, "")
	if r.status != 200 || r.at("result", "data", "totals", "quantity") != 1.0 || r.at("result", "data", "buckets", 30, "date") != "2024-10-31" {
		t.Errorf("getAnalytics: %d %s", r.status, r.body)
	}
	r = s.send("POST", "/api/trpc/usage.recalculateAggregates", adminKey, `{
    "licenseId": "lic_123",
    "startDate": "2024-01-01",
    "endDate": "2024-10-12"
  }`, form)
	if r.status != 200 || r.at("result", "data", "days") == nil {
		t.Errorf("recalculateAggregates: %d %s", r.status, r.body)
	}
	r = s.send("GET", "/api/trpc/usage.getThresholdStatus?licenseId=lic_123", "", "")
	if r.status != 401 || r.at("error", "code") != -32001.0 {
		t.Errorf("without a key: %d %s", r.status, r.body)
	}
}
