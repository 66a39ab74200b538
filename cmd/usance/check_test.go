package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// The checklist finds jobs of a running server that failed or do not run.
func TestCheckLooksAtTheJobsOfARunningServer(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		job  usance.Job
		want string
	}{
		"waiting": {usance.Job{NextRunAt: now.Add(time.Hour)}, "ok job health"},
		"due":     {usance.Job{NextRunAt: now.Add(-time.Minute)}, "ok job health"},
		"overdue": {usance.Job{NextRunAt: now.Add(-time.Hour)}, "FAULT job health job it is overdue by 1h0m"},
		"running": {usance.Job{NextRunAt: now.Add(-time.Hour), LeaseUntil: now.Add(time.Minute)}, "ok job health"},
		"paused":  {usance.Job{NextRunAt: now.Add(-time.Hour), Paused: true, LastError: "disk full"}, "ok job health"},
		"failed":  {usance.Job{NextRunAt: now.Add(time.Hour), LastError: "disk full"}, "FAULT job health job it failed at"},
	} {
		c.job.Name = "it"
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1/keys/self":
				w.Write([]byte(`{"id":"k","role":"admin"}`))
			case "/v1/jobs":
				json.NewEncoder(w).Encode(map[string]any{"data": []usance.Job{c.job}})
			}
		}))
		r, err := to(s.URL, "the key of a test")
		if err != nil {
			t.Fatal(err)
		}
		list := new(checklist)
		list.running(t.Context(), r)
		s.Close()
		var found []string
		for _, row := range list.rows {
			found = append(found, strings.Join(row[:], " "))
		}
		if got := strings.Join(found, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: want %s:\n%s", name, c.want, got)
		}
	}
}
