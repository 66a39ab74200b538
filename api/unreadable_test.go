package api

import (
	"strings"
	"testing"

	"github.com/usance/usance"
)

// A threshold that SQL broke is a fault of the server to who sees it, with no word of
// tables, and does not exist for others.
func TestUnreadableThreshold(t *testing.T) {
	s := newServer(t)
	s.license("mine")
	s.admin("PUT", "/v1/licenses/theirs", `{"brandId":"brand_2","assetId":"a","status":"ACTIVE"}`)
	brand := s.key(`{"name":"b","role":"brand","partyId":"brand_1"}`)
	ids := make(map[string]string)
	for _, license := range []string{"mine", "theirs"} {
		ids[license] = s.admin("POST", "/v1/thresholds", `{"licenseId":"`+license+`","usageType":"view","periodType":"monthly","limitQuantity":10}`).at("id").(string)
	}
	err := s.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		for _, id := range ids {
			h, err := tx.Threshold(t.Context(), id)
			if err != nil {
				return err
			}
			h.PeriodType = "MONTHLY"
			if err := tx.PutThreshold(t.Context(), h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fault := func(what string, r reply) {
		t.Helper()
		if r.status != 500 || r.at("code") != "INTERNAL" || strings.Contains(r.body, "license_usage_thresholds") || !strings.Contains(r.body, `licence \"mine\"`) {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	for _, method := range []string{"PATCH", "DELETE"} {
		fault(method, s.send(method, "/v1/thresholds/"+ids["mine"], brand, `{"warningLevels":[50]}`))
		theirs := s.send(method, "/v1/thresholds/"+ids["theirs"], brand, `{"warningLevels":[50]}`)
		none := s.send(method, "/v1/thresholds/none", brand, `{"warningLevels":[50]}`)
		if theirs.status != 404 || theirs.at("detail") != strings.ReplaceAll(none.at("detail").(string), "none", ids["theirs"]) {
			t.Errorf("%s of another's: %s, of none: %s", method, theirs.body, none.body)
		}
	}
	fault("its licence's usage", s.send("GET", "/v1/licenses/mine/usage", brand, ""))
	fault("its licence's forecasts", s.send("POST", "/v1/forecasts", adminKey, `{"licenseId":"mine"}`))
	r := s.admin("GET", "/v1/licenses/mine/explain", "")
	if r.status != 200 || !strings.Contains(r.body, "put its row right in license_usage_thresholds") {
		t.Errorf("explained: %d %s", r.status, r.body)
	}
}
