package api

import (
	"fmt"
	"testing"
	"time"
)

// A brand changes and retires the alarms that it set, until the licensor makes
// one a limit or gives it a price.
func TestAlarmBecomesALimit(t *testing.T) {
	for _, change := range []string{`{"overageRateCents":5}`, `{"allowOverage":false}`} {
		s := newServer(t)
		s.license("l")
		brand := s.key(`{"name":"b","role":"brand","partyId":"brand_1"}`)
		alarm := s.send("POST", "/v1/thresholds", brand, `{"licenseId":"l","usageType":"view","periodType":"monthly","limitQuantity":10,"allowOverage":true}`)
		id, _ := alarm.at("id").(string)
		if alarm.status != 200 || alarm.at("byBrand") != true {
			t.Fatalf("a brand's alarm: %d %s", alarm.status, alarm.body)
		}
		if r := s.send("PATCH", "/v1/thresholds/"+id, brand, `{"limitQuantity":20}`); r.status != 200 {
			t.Fatalf("a brand's own alarm: %d %s", r.status, r.body)
		}
		if r := s.admin("PATCH", "/v1/thresholds/"+id, change); r.at("byBrand") != nil {
			t.Errorf("%s: still the brand's: %s", change, r.body)
		}
		for _, body := range []string{`{"overageRateCents":null,"allowOverage":true,"limitQuantity":1000000}`, `{"limitQuantity":30}`} {
			problem(t, "a brand on what is the licensor's", s.send("PATCH", "/v1/thresholds/"+id, brand, body), 403, "")
		}
		problem(t, "a brand on what is the licensor's", s.send("DELETE", "/v1/thresholds/"+id, brand, ""), 403, "")
	}
}

// However many alarms a brand sets and retires, the licensor can set a limit.
func TestBrandsLeaveRoomForLimits(t *testing.T) {
	s := newServer(t)
	s.license("l")
	brand := s.key(`{"name":"b","role":"brand","partyId":"brand_1"}`)
	set := func(i int) reply {
		return s.send("POST", "/v1/thresholds", brand, fmt.Sprintf(`{"licenseId":"l","usageType":"t%d","periodType":"daily","limitQuantity":10,"allowOverage":true}`, i))
	}
	for i := range 100 {
		r := set(i)
		id, _ := r.at("id").(string)
		if r = s.send("DELETE", "/v1/thresholds/"+id, brand, ""); r.status >= 300 {
			t.Fatalf("retiring alarm %d: %d %s", i, r.status, r.body)
		}
	}
	problem(t, "one alarm more", set(100), 409, "")
	if r := s.admin("POST", "/v1/thresholds", `{"licenseId":"l","usageType":"view","periodType":"daily","limitQuantity":10}`); r.status != 200 {
		t.Errorf("a limit: %d %s", r.status, r.body)
	}
}

// What was settled of a total keeps its price in every answer; a new threshold
// tells the level that it has reached at once.
func TestStatusShowsWhatIsBilled(t *testing.T) {
	s := newServer(t)
	s.license("l")
	s.admin("POST", "/v1/events", `{"licenseId":"l","usageType":"view","quantity":15,"idempotencyKey":"a"}`)
	made := s.admin("POST", "/v1/thresholds", `{"licenseId":"l","usageType":"view","periodType":"total","limitQuantity":10,"allowOverage":true,"overageRateCents":10}`)
	id, _ := made.at("id").(string)
	if made.at("lastWarningLevel") != 100.0 {
		t.Errorf("created past its limit: %s", made.body)
	}
	s.advance(40 * 24 * time.Hour)
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	s.admin("PATCH", "/v1/thresholds/"+id, `{"overageRateCents":100}`)
	s.admin("POST", "/v1/events", `{"licenseId":"l","usageType":"view","quantity":2,"idempotencyKey":"b"}`)
	for _, path := range []string{"/v1/licenses/l/thresholds/status", "/v1/licenses/l/usage"} {
		r := s.admin("GET", path, "")
		overage, _ := r.at("thresholds", 0, "overage").(map[string]any)
		if overage == nil {
			overage, _ = r.at("data", 0, "overage").(map[string]any)
		}
		if overage["quantity"] != 7.0 || overage["feeCents"] != 250.0 {
			t.Errorf("%s: %v in %s; want 7 units for 5 × 10 + 2 × 100", path, overage, r.body)
		}
	}
}
