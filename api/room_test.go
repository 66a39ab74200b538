package api

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bodies take a bounded memory together: one for which there is no room is to be
// sent again, small ones go on, and what is given up leaves its room.
func TestBodiesShareRoom(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	taken := func(what string, ok func(int64) bool) {
		t.Helper()
		for begin := time.Now(); !ok(s.a.room.taken.Load()); time.Sleep(time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("%s: %d bytes are taken", what, s.a.room.taken.Load())
			}
		}
	}
	const large = 15 << 20
	blanks := strings.Repeat(" ", large)
	var open []*io.PipeWriter
	var ended sync.WaitGroup
	for range roomForBodies / large {
		pr, pw := io.Pipe()
		open = append(open, pw)
		req, err := http.NewRequest("POST", s.URL+"/v1/events", pr)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminKey)
		req.Header.Set("Content-Type", "application/json")
		ended.Go(func() {
			if res, err := s.Client().Do(req); err == nil {
				res.Body.Close()
			}
		})
		ended.Go(func() { _, _ = io.WriteString(pw, blanks) }) // it waits for the rest then
	}
	taken("three bodies under way", func(n int64) bool { return n >= 3*(large-smallBody) })

	const event = `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"large"}`
	r := s.send("POST", "/v1/events", adminKey, blanks+event)
	if r.status != 503 || r.at("code") != "OVERLOADED" || r.header.Get("Retry-After") == "" {
		t.Errorf("no room: %d %s, Retry-After %q", r.status, r.body, r.header.Get("Retry-After"))
	}
	if r := s.send("POST", "/v1/events", adminKey, strings.Replace(event, "large", "small", 1)); r.status != 200 {
		t.Errorf("a small body meanwhile: %d %s", r.status, r.body)
	}
	for _, pw := range open {
		pw.CloseWithError(io.ErrUnexpectedEOF)
	}
	ended.Wait()
	taken("all are given up", func(n int64) bool { return n == 0 })
	if r := s.send("POST", "/v1/events", adminKey, blanks+event); r.status != 200 || r.at("duplicate") != false {
		t.Errorf("room again: %d %s", r.status, r.body)
	}
	taken("all is answered", func(n int64) bool { return n == 0 })
}
