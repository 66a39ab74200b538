package api

import (
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
