package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/storetest"
)

// Keys that open nothing any more are not counted, and no page is the end of it.
func TestCheckCountsTheKeysInForce(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, "sqlite")
	defer s.Close()
	now := time.Now()
	before, after := now.Add(-time.Hour), now.Add(time.Hour)
	const many = 1500
	err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		for i := range many {
			k := usance.APIKey{ID: fmt.Sprintf("k%04d", i), Role: usance.RoleAdmin, Hash: fmt.Append(nil, i), CreatedAt: before}
			switch i % 3 {
			case 0:
				k.RevokedAt = &before
			case 1:
				k.ExpiresAt = &before
			default:
				k.ExpiresAt = &after
			}
			if err := tx.PutAPIKey(t.Context(), k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := countKeys(t.Context(), s, now); err != nil || n != many/3 {
		t.Errorf("%d keys, %v; want %d", n, err, many/3)
	}
}

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
