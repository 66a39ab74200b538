package api

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Who paused, resumed or ran a job, or acknowledged an alert, and why, is kept.
func TestAdministrationIsAudited(t *testing.T) {
	s := newServer(t)
	row := func(subject string) (string, reply) {
		s.advance(time.Second) // rows are listed by time
		r := s.admin("GET", "/v1/audit?limit=1&subject="+subject, "")
		text, _ := r.at("data", 0, "action").(string)
		actor, _ := r.at("data", 0, "actor").(string)
		reason, _ := r.at("data", 0, "reason").(string)
		return strings.TrimSpace(actor + " " + text + " " + reason), r
	}
	for _, verb := range []string{"pause", "resume", "run"} {
		s.admin("POST", "/v1/jobs/checkUsageThresholds/"+verb, `{"reason":"because of `+verb+`"}`)
		if got, r := row("checkUsageThresholds"); got != "bootstrap job."+verb+" because of "+verb {
			t.Errorf("%s: %q, %s", verb, got, r.body)
		}
	}
	s.admin("POST", "/v1/jobs/checkUsageThresholds/pause", "") // without a reason and a body
	if got, _ := row("checkUsageThresholds"); got != "bootstrap job.pause" {
		t.Errorf("pause without a reason: %q", got)
	}
	s.send("POST", "/v1/jobs/alwaysFails/run", adminKey, "")
	if got, _ := row("alwaysFails"); got != "bootstrap job.run" {
		t.Errorf("a run that fails: %q", got)
	}
	for _, verb := range []string{"pause", "resume", "run"} {
		problem(t, verb, s.send("POST", "/v1/jobs/none/"+verb, adminKey, ""), 404, "")
	}
	if got, _ := row("none"); got != "" {
		t.Errorf("a job that there is none of: %q", got)
	}

	d := s.build("a")
	alert := s.admin("GET", "/v1/alerts?limit=1&licenseId="+d.license, "").at("data", 0, "id").(string)
	s.send("POST", "/v1/alerts/"+alert+"/acknowledge", d.brandKey, `{"reason":"seen"}`)
	s.admin("POST", "/v1/alerts/"+alert+"/acknowledge", `{"reason":"too late"}`)
	r := s.send("GET", "/v1/licenses/"+d.license+"/audit?subject="+alert, d.brandKey, "")
	if r.at("data", 0, "action") != "alert.acknowledge" || r.at("data", 0, "reason") != "seen" || r.at("data", 0, "actor") == "bootstrap" || r.at("data", 1) != nil ||
		r.at("data", 0, "before", "acknowledgedAt") != nil || r.at("data", 0, "after", "acknowledgedAt") == nil {
		t.Errorf("alert: %s", r.body)
	}
}

// All four decisions on an overage take a reason; all but approval need one.
func TestDecisionsTakeReasons(t *testing.T) {
	s := newServer(t)
	d := s.build("a")
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	s.advance(60 * 24 * time.Hour)
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	id := s.admin("GET", "/v1/overages?status=PENDING_APPROVAL&licenseId="+d.license, "").at("data", 0, "id").(string)
	path := "/v1/overages/" + id + "/"
	for _, verb := range []string{"dispute", "resolve", "waive"} {
		problem(t, verb, s.send("POST", path+verb, adminKey, ""), 400, "reason")
		problem(t, verb+" at length", s.send("POST", path+verb, adminKey, `{"reason":"`+strings.Repeat("é", 1500)+`"}`), 400, "reason")
	}
	for _, verb := range []string{"approve", "dispute", "resolve", "waive"} {
		s.advance(time.Second)
		s.admin("POST", path+verb, `{"reason":"why `+verb+`"}`)
		if r := s.admin("GET", "/v1/audit?limit=1&subject="+id, ""); r.at("data", 0, "reason") != "why "+verb || r.at("data", 0, "action") != "overage."+verb {
			t.Errorf("%s: %s", verb, r.body)
		}
	}
	problem(t, "notes", s.send("POST", path+"approve", adminKey, `{"notes":"x"}`), 400, "notes")
}

func TestOwnKey(t *testing.T) {
	s := newServer(t)
	if r := s.admin("GET", "/v1/keys/self", ""); r.at("role") != "admin" || strings.Contains(r.body, "createdAt") {
		t.Errorf("bootstrap: %s", r.body)
	}
	if r := s.send("GET", "/v1/keys/self", s.key(`{"role":"ingest"}`), ""); r.at("createdAt") != "2024-10-12T12:00:00Z" {
		t.Errorf("made: %s", r.body)
	}
}

// What is repeated of an id that was sent is bounded.
func TestLongIDsAreClipped(t *testing.T) {
	s := newServer(t)
	long := strings.Repeat("x", 8000)
	for _, path := range []string{"/v1/licenses/", "/v1/brands/", "/v1/creators/", "/v1/assets/", "/v1/thresholds/"} {
		r := s.send("GET", path+long, adminKey, "")
		problem(t, path, r, 404, "")
		if len(r.body) > 1000 {
			t.Errorf("%s: %d bytes", path, len(r.body))
		}
	}
	problem(t, "job", s.send("POST", "/v1/jobs/"+long+"/run", adminKey, ""), 400, "name")
}

// Every operation that changes something leaves a row for each thing that it
// changed, with who did it and how the thing was before and is after; one that
// changes nothing leaves none. An operation that this test does not know fails.
func TestEveryChangeIsAudited(t *testing.T) {
	s := newServer(t)
	d := s.build("a")
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	s.advance(60 * 24 * time.Hour)
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	overage := s.admin("GET", "/v1/overages?status=PENDING_APPROVAL&licenseId="+d.license, "").at("data", 0, "id").(string)
	alert := s.admin("GET", "/v1/alerts?licenseId="+d.license, "").at("data", 0, "id").(string)
	made := s.admin("POST", "/v1/keys", `{"role":"admin","name":"the auditor's"}`)
	actor, secret := made.at("key", "id").(string), made.at("secret").(string)

	type in = map[string]any
	event := in{"licenseId": d.license, "usageType": "view", "idempotencyKey": "audited"}
	decision := in{"overageId": overage, "reason": "because"}
	job := in{"name": "checkUsageThresholds"}
	license := in{"id": "lic_audit", "brandId": d.brand, "assetId": d.asset, "status": "ACTIVE"}
	threshold := func(changes in) in { changes["thresholdId"] = d.threshold; return changes }
	// Rows are an action, then - for a state before, + for one after, why for a reason.
	steps := []struct {
		operation string
		in        in
		want      string
	}{
		{"usage.trackEvent", event, ""}, // events are their own trail
		{"usage.trackBatch", in{"events": []in{event}}, ""},
		{"usage.selfTest", in{}, ""}, // keeps nothing
		{"usage.voidEvent", in{"licenseId": d.license, "idempotencyKey": "audited", "reason": "because"}, "event.void why"},
		{"usage.voidEvent", in{"licenseId": d.license, "idempotencyKey": "audited", "reason": "because"}, ""},
		{"usage.generateForecast", in{"licenseId": d.license}, ""}, // tells, and changes nothing that counts
		{"usage.recalculateAggregates", in{"licenseId": d.license, "startDate": "2024-10-01", "endDate": "2024-10-31"}, "usage.recalculate why"},
		{"usage.backfillAggregates", in{"licenseId": d.license, "totals": []in{{"date": "2024-09-01", "usageType": "view", "quantity": 5}}}, ""},
		{"usage.backfillAggregates", in{"licenseId": d.license, "totals": []in{{"date": "2024-09-01", "usageType": "view", "quantity": 6}}}, "event.void why"}, // a range leaves usage.recalculate, later
		{"catalog.putBrand", in{"id": "new", "name": "New"}, "brand.put +"},
		{"catalog.putBrand", in{"id": "new", "name": "Newer"}, "brand.put - +"},
		{"catalog.putBrand", in{"id": "new", "name": "Newer"}, ""},
		{"catalog.putCreator", in{"id": "new"}, "creator.put +"},
		{"catalog.putCreator", in{"id": "new", "email": "new@example.com"}, "creator.put - +"},
		{"catalog.putCreator", in{"id": "new", "email": "new@example.com"}, ""},
		{"catalog.putAsset", in{"id": "new", "owners": []in{{"creatorId": "newer", "shareBps": 10000}}}, "asset.put +, creator.put +"},
		{"catalog.putAsset", in{"id": "new", "owners": []in{}}, "asset.put - +"},
		{"catalog.putAsset", in{"id": "new", "owners": []in{}}, ""},
		{"catalog.putLicense", license, "license.put +"},
		{"usage.createThreshold", in{"licenseId": "lic_audit", "usageType": "view", "periodType": "monthly", "limitQuantity": 5}, "threshold.create +"},
		{"catalog.putLicense", in{"id": "lic_audit", "billingAnchorDay": 20}, "license.put - +, threshold.update - +"},
		{"catalog.putLicense", in{"id": "lic_audit", "usageTrackingEnabled": false, "feeCents": 5}, "license.put - +"},
		{"catalog.putLicense", license, ""},
		{"catalog.deleteLicense", in{"id": "lic_audit"}, "license.delete - +"},
		{"catalog.deleteLicense", in{"id": "lic_audit"}, ""},
		{"catalog.putLicense", in{"id": "lic_audit", "deletedAt": nil}, "license.put - +"},
		{"usage.updateThreshold", threshold(in{"limitQuantity": 7, "overageTiers": []in{}}), "threshold.update - +"},
		{"usage.updateThreshold", threshold(in{"limitQuantity": 7, "overageTiers": []in{}, "overageRateCents": nil}), ""},
		{"usage.retireThreshold", threshold(in{}), "threshold.update - +"},
		{"usage.retireThreshold", threshold(in{}), ""},
		{"usage.acknowledgeAlert", in{"alertId": alert, "reason": "because"}, "alert.acknowledge - + why"},
		{"usage.acknowledgeAlert", in{"alertId": alert, "reason": "because"}, ""},
		{"usage.approveOverage", decision, "overage.approve - + why"},
		{"usage.disputeOverage", decision, "overage.dispute - + why"},
		{"usage.resolveOverage", decision, "overage.resolve - + why"},
		{"usage.waiveOverage", decision, "overage.waive - + why"},
		{"keys.create", in{"role": "ingest"}, "key.create +"},
		{"keys.rotate", in{"keyId": d.key, "overlapSeconds": 60}, "key.create +, key.rotate - +"},
		{"keys.revoke", in{"keyId": d.key}, "key.revoke - +"},
		{"keys.revoke", in{"keyId": d.key}, ""},
		{"jobs.pause", job, "job.pause"},
		{"jobs.resume", job, "job.resume"},
		{"jobs.run", in{"name": "checkUsageThresholds", "reason": "because"}, "job.run why"},
	}
	seen := make(map[string]bool)
	rows := func() (out []string) {
		r := s.admin("GET", "/v1/audit?limit=1000", "")
		for i := 0; r.at("data", i) != nil; i++ {
			id := r.at("data", i, "id").(string)
			if seen[id] {
				continue
			}
			seen[id] = true
			row := r.at("data", i, "action").(string)
			for _, part := range []struct{ field, mark string }{{"before", " -"}, {"after", " +"}, {"reason", " why"}} {
				if r.at("data", i, part.field) != nil {
					row += part.mark
				}
			}
			if by := r.at("data", i, "actor"); len(out) < 10 && by != actor {
				row += fmt.Sprint(" by ", by)
			}
			out = append(out, row)
		}
		slices.Sort(out)
		return out
	}
	rows()
	audited := make(map[string]bool)
	for _, step := range steps {
		s.advance(time.Second)
		o := s.a.byName[step.operation]
		if o == nil {
			t.Fatalf("there is no operation %s", step.operation)
		}
		if r := s.rest(o, secret, step.in); r.status/100 != 2 {
			t.Errorf("%s: %d %s", step.operation, r.status, r.body)
		}
		if got := strings.Join(rows(), ", "); got != step.want {
			t.Errorf("%s %v left %q, want %q", step.operation, step.in, got, step.want)
		}
		audited[step.operation] = true
	}
	for _, o := range s.a.ops {
		if o.kind == isMutation && !audited[o.name] {
			t.Errorf("%s changes something; say above what it leaves in the audit trail", o.name)
		}
	}
}

// An overage grows without a row while its period is open. Whatever else changes
// it leaves one: another price, usage that comes after the period was closed, and
// what is taken back of that.
func TestOverageChangesAreAudited(t *testing.T) {
	s := newServer(t)
	s.license("lic_1")
	sender := s.admin("POST", "/v1/keys", `{"role":"ingest","scopes":["backdate"]}`)
	other := s.admin("POST", "/v1/keys", `{"role":"ingest","scopes":["backdate"]}`)
	threshold := s.admin("POST", "/v1/thresholds",
		`{"licenseId":"lic_1","usageType":"view","periodType":"monthly","limitQuantity":2,"allowOverage":true,"overageRateCents":10}`).at("id").(string)
	track := func(by reply, key string, quantity int) {
		t.Helper()
		r := s.send("POST", "/v1/events", by.at("secret").(string), fmt.Sprintf(
			`{"licenseId":"lic_1","usageType":"view","quantity":%d,"idempotencyKey":%q,"occurredAt":"2024-10-12T11:00:00Z"}`, quantity, key))
		if r.status != 200 || r.at("tracked") != true {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	seen := make(map[string]bool)
	left := func(what string, want ...string) {
		t.Helper()
		s.advance(time.Second)
		var got []string
		r := s.admin("GET", "/v1/audit?limit=1000", "")
		for i := 0; r.at("data", i) != nil; i++ {
			row := func(path ...any) any { return r.at(append([]any{"data", i}, path...)...) }
			id := row("id").(string)
			if seen[id] || !strings.HasPrefix(row("action").(string), "overage.") {
				continue
			}
			seen[id] = true
			got = append(got, fmt.Sprintf("%v by %v of %v: %v to %v (%v)", row("action"), row("actor"), row("licenseId"),
				row("before", "calculatedFeeCents"), row("after", "calculatedFeeCents"), row("reason")))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s left %q, want %q", what, got, want)
		}
	}
	track(sender, "1", 10)
	track(sender, "2", 1)
	left("usage of the open period")
	s.admin("POST", "/v1/events/void", `{"licenseId":"lic_1","idempotencyKey":"2","reason":"because"}`)
	left("a void in the open period")
	s.admin("PATCH", "/v1/thresholds/"+threshold, `{"overageRateCents":5}`)
	left("another price", "overage.update by bootstrap of lic_1: 80 to 40 (threshold.update: the fee goes from 80 to 40 cents)")
	s.admin("PATCH", "/v1/thresholds/"+threshold, `{"warningLevels":[60]}`)
	left("what moves no fee")
	s.advance(30 * 24 * time.Hour)
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	left("the close", "overage.settle by job:checkUsageThresholds of lic_1: 40 to 40 (<nil>)")

	track(sender, "3", 2)
	left("late usage", fmt.Sprintf("overage.create by %v of lic_1: <nil> to 10 (after the period was closed (events 1, units 2): the fee goes from 0 to 10 cents)", sender.at("key", "id")))
	track(other, "4", 1)
	left("late usage of another key", fmt.Sprintf("overage.update by %v of lic_1: 10 to 15 (after the period was closed (events 1, units 1): the fee goes from 10 to 15 cents)", other.at("key", "id")))
	track(other, "4", 1)
	left("a retry")
	s.admin("POST", "/v1/events/void", `{"licenseId":"lic_1","idempotencyKey":"3","reason":"because"}`)
	left("a void of what came late", "overage.update by bootstrap of lic_1: 15 to 5 (after the period was closed (events 1, units -2): the fee goes from 15 to 5 cents)")
	s.admin("POST", "/v1/recalculate", `{"licenseId":"lic_1","startDate":"2024-10-01","endDate":"2024-10-31"}`)
	left("a recalculation that changes nothing")
}

// A state in the audit trail reads as the answer to the change did, whichever
// stage wrote the row.
func TestAuditRowsReadAsAnswers(t *testing.T) {
	s := newServer(t)
	d := s.build("a")
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	s.advance(60 * 24 * time.Hour)
	s.admin("POST", "/v1/jobs/checkUsageThresholds/run", "")
	overage := s.admin("GET", "/v1/overages?status=PENDING_APPROVAL&licenseId="+d.license, "").at("data", 0, "id").(string)
	alert := s.admin("GET", "/v1/alerts?limit=1&licenseId="+d.license, "").at("data", 0, "id").(string)
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/brands/brand_audit", `{"name":"A <b> & c"}`},
		{"POST", "/v1/thresholds", `{"licenseId":"` + d.license + `","usageType":"print","periodType":"daily","limitQuantity":5}`},
		{"POST", "/v1/overages/" + overage + "/approve", ""},
		{"POST", "/v1/alerts/" + alert + "/acknowledge", ""},
	} {
		s.advance(time.Second) // rows are listed by time
		answer := s.admin(c.method, c.path, c.body)
		row := s.admin("GET", "/v1/audit?limit=1&subject="+answer.at("id").(string), "")
		if after := row.at("data", 0, "after"); !reflect.DeepEqual(after, answer.at()) {
			t.Errorf("%s: after is %v, the answer was %v", c.path, after, answer.at())
		}
		if at := row.at("data", 0, "at"); at != s.clock().Format(time.RFC3339) {
			t.Errorf("%s: at %v, not %s", c.path, at, s.clock())
		}
	}
}
