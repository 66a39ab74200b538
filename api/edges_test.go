package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Ranges at both ends of the calendar are answered or refused, in every zone,
// and never a fault of the server's.
func TestEdgesOfTheCalendar(t *testing.T) {
	s := newServer(t)
	ends := [][]string{
		{"", "0001-01-01", "0001-01-02", "0001-01-31", "0001-01-01T00:00:00Z", "0001-01-01T01:00:00Z", "0001-01-01T12:00:00Z", "0001-01-02T00:00:00Z",
			"0001-01-01T00:00:00-12:00", "0001-01-01T00:00:00+14:00", "0001-01-01T07:52:58Z", "0001-01-01T23:06:32Z"},
		{"9999-12-01", "9999-12-30", "9999-12-31", "9999-12-30T23:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T08:00:00Z", "9999-12-31T10:00:00Z", "9999-12-31T11:00:00Z",
			"9999-12-31T22:00:00Z", "9999-12-31T23:00:00Z", "9999-12-31T23:00:00-12:00", "9999-12-31T23:00:00+14:00", ""},
	}
	questions := []string{
		"analytics?granularity=hourly&", "analytics?granularity=daily&", "analytics?granularity=weekly&", "analytics?granularity=monthly&",
		"analytics?comparePrevious=false&", "breakdown?", "compare?", "daily?", "events?", "evidence?",
	}
	answered := 0
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Etc/GMT+12"} {
		id := strings.NewReplacer("/", "-", "+", "").Replace(zone)
		s.admin("PUT", "/v1/licenses/"+id, `{"brandId":"brand_1","assetId":"asset_1","status":"ACTIVE","timezone":"`+zone+`","startDate":"0001-01-01","endDate":"9999-12-31"}`)
		s.admin("POST", "/v1/thresholds", `{"licenseId":"`+id+`","usageType":"all","periodType":"total","limitQuantity":10}`)
		check := func(what string, r reply) {
			switch {
			case r.status == http.StatusOK:
				answered++
			case r.status != http.StatusBadRequest:
				t.Errorf("%s of a licence in %s: %d %s", what, zone, r.status, r.body)
			}
		}
		for _, edge := range ends {
			for i, start := range edge {
				for _, end := range edge[i:] {
					params := url.Values{}
					if start != "" {
						params.Set("startDate", start)
					}
					if end != "" {
						params.Set("endDate", end)
					}
					for _, q := range questions {
						path := "/v1/licenses/" + id + "/" + q + params.Encode()
						check(path, s.send("GET", path, adminKey, ""))
					}
					if start == "" || end == "" {
						continue
					}
					path := "/v1/licenses/" + id + "/compare?" + url.Values{"previousStartDate": {start}, "previousEndDate": {end}}.Encode()
					check(path, s.send("GET", path, adminKey, ""))
					body := `{"licenseId":"` + id + `","startDate":"` + start + `","endDate":"` + end + `"}`
					check("recalculation "+body, s.send("POST", "/v1/recalculate", adminKey, body))
					path = "/v1/forecasts/accuracy?" + params.Encode()
					check(path, s.send("GET", path, adminKey, ""))
				}
				if day, _, isTime := strings.Cut(start, "T"); start != "" && !isTime {
					body := `{"totals":[{"licenseId":"` + id + `","date":"` + day + `","usageType":"view","quantity":1}]}`
					check("total "+body, s.send("POST", "/v1/backfill", adminKey, body))
				}
			}
		}
	}
	if answered < 500 {
		t.Errorf("only %d questions were answered; the others say nothing", answered)
	}
}
