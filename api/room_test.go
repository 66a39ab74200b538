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

// openBody begins to send a body, which goes on until the writer is closed. When it
// has begun, what is more than a socket holds was read.
func (s *server) openBody(key, begin string, ended *sync.WaitGroup) (rest *io.PipeWriter, begun chan struct{}) {
	s.t.Helper()
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", s.URL+"/v1/events", pr)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	ended.Go(func() {
		if res, err := s.Client().Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
	begun = make(chan struct{})
	ended.Go(func() {
		_, _ = io.WriteString(pw, begin)
		close(begun)
	})
	return pw, begun
}

func (s *server) untilTaken(what string, of *room, ok func(int64) bool) {
	s.t.Helper()
	for begin := time.Now(); !ok(of.now()); time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			s.t.Fatalf("%s: %d bytes are taken", what, of.now())
		}
	}
}

func (m *room) now() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken
}

func noneTaken(n int64) bool { return n == 0 }

// Bodies take a bounded memory together, and those of a key half of it: one for which
// there is no room is to be sent again, and holds none while it goes on; small ones
// pass, and what is given up leaves its room.
func TestBodiesShareRoom(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	const large = 1 << 20
	s.a.bodies.size = 16 * large / 5 // three fit, and of a key one
	blanks := strings.Repeat(" ", large)
	event := func(key string) string {
		return fmt.Sprintf(`{"licenseId":"lic_123","usageType":"view","idempotencyKey":%q}`, key)
	}
	refused := func(what, key, why string) {
		t.Helper()
		r := s.send("POST", "/v1/events", key, blanks+event("refused"))
		if r.status != 503 || r.at("code") != "OVERLOADED" || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, why) {
			t.Errorf("%s: %d %s, Retry-After %q", what, r.status, r.body, r.header.Get("Retry-After"))
		}
	}
	counted := func(what, key, body string) {
		t.Helper()
		if r := s.send("POST", "/v1/events", key, body); r.status != 200 || r.at("duplicate") != false {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	var open []*io.PipeWriter
	var ended sync.WaitGroup
	begin := func(key, body string) (begun chan struct{}) {
		pw, begun := s.openBody(key, body, &ended)
		open = append(open, pw)
		return begun
	}
	var keys [4]string
	for i := range keys {
		keys[i] = s.key(`{"role":"ingest"}`)
	}
	holds := func(bodies int64) func(int64) bool {
		return func(n int64) bool { return n >= bodies*(large-smallBody) }
	}
	begin(keys[0], blanks)
	s.untilTaken("one", &s.a.bodies, holds(1))
	refused("a second of the key", keys[0], "this key is sending")
	refused("a second of the key, sent otherwise", " "+keys[0], "this key is sending")
	counted("one of another key", keys[1], blanks+event("other"))
	begin(keys[1], blanks)
	begin(keys[2], blanks)
	s.untilTaken("as many as fit", &s.a.bodies, holds(3))
	refused("no room", keys[3], "more is being sent")
	<-begin(keys[3], strings.Repeat(blanks, 15)) // is refused, and does not end
	counted("a small body meanwhile", keys[3], event("small"))
	for _, pw := range open[:3] {
		pw.CloseWithError(io.ErrUnexpectedEOF)
	}
	s.untilTaken("all that had room are given up", &s.a.bodies, noneTaken)
	counted("room again", keys[0], blanks+event("refused"))
	open[3].CloseWithError(io.ErrUnexpectedEOF)
	ended.Wait()
	s.untilTaken("all is answered", &s.a.bodies, noneTaken)
}

// Streams take a bounded memory together, and those of a key half of it: where there
// is no room for more, their chunks are smaller, and all of them go on.
func TestStreamsShareRoom(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.a.lines.size = 3 * smallBody // of a key one chunk of many lines, and of all three
	const n = 400
	var ended sync.WaitGroup
	for i := range 8 {
		key := s.key(`{"role":"ingest"}`)
		var lines strings.Builder
		for j := range n {
			fmt.Fprintf(&lines, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k%d-%d","metadata":{"a":%q}}`+"\n", i, j, strings.Repeat("x", 4000))
		}
		ended.Go(func() {
			if r := s.send("POST", "/v1/events", key, lines.String(), "Content-Type: application/x-ndjson"); strings.Count(r.body, "COUNTED") != n {
				t.Errorf("%d, %d lines counted", r.status, strings.Count(r.body, "COUNTED"))
			}
		})
	}
	over := make(chan struct{})
	go func() {
		ended.Wait()
		close(over)
	}()
	most := int64(0)
	for going := true; going; runtime.Gosched() {
		most = max(most, s.a.lines.now())
		select {
		case <-over:
			going = false
		default:
		}
	}
	if r := s.admin("GET", "/v1/licenses/lic_123/usage", ""); r.at("allTime", "quantity") != float64(8*n) || most > s.a.lines.size || most == 0 {
		t.Errorf("%d bytes at most: %s", most, r.body)
	}
	s.untilTaken("all is answered", &s.a.lines, noneTaken)
}

// Without a good key no more is read than tells how to answer: the body need not end.
func TestBodiesOfNobodyAreLeft(t *testing.T) {
	s := newServer(t)
	pr, pw := io.Pipe()
	defer pw.Close()
	req, err := http.NewRequest("POST", s.URL+"/api/trpc/usage.trackEvent", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer none")
	req.Header.Set("Content-Type", "application/json")
	go func() { _, _ = io.WriteString(pw, strings.Repeat(" ", maxBody-1)) }()
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if taken := s.a.bodies.now(); res.StatusCode != 401 || taken != 0 {
		t.Errorf("%d, %d bytes are taken", res.StatusCode, taken)
	}
}
