package api

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// openBody begins to send a body, which goes on until the writer is closed.
func (s *server) openBody(begin string, ended *sync.WaitGroup) (rest *io.PipeWriter) {
	s.t.Helper()
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", s.URL+"/v1/events", pr)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("Content-Type", "application/json")
	ended.Go(func() {
		if res, err := s.Client().Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
	ended.Go(func() { _, _ = io.WriteString(pw, begin) })
	return pw
}

func (s *server) untilTaken(what string, of *room, ok func(int64) bool) {
	s.t.Helper()
	for begin := time.Now(); !ok(of.taken.Load()); time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			s.t.Fatalf("%s: %d bytes are taken", what, of.taken.Load())
		}
	}
}

func noneTaken(n int64) bool { return n == 0 }

// Bodies take a bounded memory together: one for which there is no room is to be
// sent again, and holds none while it goes on; small ones pass, and what is given up
// leaves its room.
func TestBodiesShareRoom(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	const large = 15 << 20
	blanks := strings.Repeat(" ", large)
	var open []*io.PipeWriter
	var ended sync.WaitGroup
	for range roomForBodies / large {
		open = append(open, s.openBody(blanks, &ended))
	}
	full := int64(roomForBodies / large * (large - smallBody))
	s.untilTaken("as many as fit", &s.a.bodies, func(n int64) bool { return n >= full })

	const event = `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"large"}`
	r := s.send("POST", "/v1/events", adminKey, blanks+event)
	if r.status != 503 || r.at("code") != "OVERLOADED" || r.header.Get("Retry-After") == "" {
		t.Errorf("no room: %d %s, Retry-After %q", r.status, r.body, r.header.Get("Retry-After"))
	}
	open = append(open, s.openBody(blanks, &ended)) // and it does not end
	if r := s.send("POST", "/v1/events", adminKey, strings.Replace(event, "large", "small", 1)); r.status != 200 {
		t.Errorf("a small body meanwhile: %d %s", r.status, r.body)
	}
	for _, pw := range open[:len(open)-1] {
		pw.CloseWithError(io.ErrUnexpectedEOF)
	}
	s.untilTaken("all that had room are given up", &s.a.bodies, noneTaken)
	if r := s.send("POST", "/v1/events", adminKey, blanks+event); r.status != 200 || r.at("duplicate") != false {
		t.Errorf("room again: %d %s", r.status, r.body)
	}
	open[len(open)-1].CloseWithError(io.ErrUnexpectedEOF)
	ended.Wait()
	s.untilTaken("all is answered", &s.a.bodies, noneTaken)
}

// Streams take a bounded memory together: where there is no room for more, their
// chunks are smaller, and all of them go on.
func TestStreamsShareRoom(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.a.lines.size = 3 * smallBody
	var lines strings.Builder
	const n = 400
	for i := range n {
		fmt.Fprintf(&lines, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k%d","metadata":{"a":%q}}`+"\n", i, strings.Repeat("x", 4000))
	}
	var ended sync.WaitGroup
	most := int64(0)
	for range 8 {
		ended.Go(func() {
			if r := s.send("POST", "/v1/events", adminKey, lines.String(), "Content-Type: application/x-ndjson"); strings.Count(r.body, "COUNTED") != n {
				t.Errorf("%d, %d lines counted", r.status, strings.Count(r.body, "COUNTED"))
			}
		})
	}
	ended.Go(func() {
		for range 100 {
			most = max(most, s.a.lines.taken.Load())
			runtime.Gosched()
		}
	})
	ended.Wait()
	if r := s.admin("GET", "/v1/licenses/lic_123/usage", ""); r.at("allTime", "quantity") != float64(n) || most > s.a.lines.size {
		t.Errorf("%v units, %d bytes at most: %s", n, most, r.body)
	}
	s.untilTaken("all is answered", &s.a.lines, noneTaken)
}
