package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// freeAddr is an address that nobody listens on just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startNode runs a node of the database in this process, and returns when it
// listens, which is before the database needs to be up.
func startNode(t *testing.T, url string, environ ...string) *testServer {
	t.Helper()
	addr := freeAddr(t)
	s := &testServer{t: t, dir: t.TempDir(), url: "http://" + addr, key: scriptKey, exited: make(chan struct{}), out: new(lockedBuffer)}
	ctx, cancel := context.WithCancel(context.Background())
	code := 0
	environ = append([]string{"DATABASE_URL=" + url, "USANCE_ADMIN_KEY=" + scriptKey, "USANCE_DATA_DIR=" + s.dir, "USANCE_ADDR=" + addr}, environ...)
	go func() {
		defer close(s.exited)
		code = run(ctx, []string{"serve"}, environ, strings.NewReader(""), s.out, s.out)
	}()
	s.stop = func() int { cancel(); <-s.exited; return code }
	t.Cleanup(func() { s.stop() })
	await(t, func() bool {
		select {
		case <-s.exited:
			t.Fatalf("the node ended: %s", s.out)
		default:
		}
		status, _ := s.page("/healthz")
		return status == http.StatusOK
	})
	return s
}

// page gets a page without a key; status 0 means no answer.
func (s *testServer) page(path string) (status int, text string) {
	resp, err := http.Get(s.url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

func (s *testServer) isReady() bool {
	status, _ := s.page("/readyz")
	return status == http.StatusOK
}

// A node that starts before its database is up says so, and serves once it is.
// When the database is killed under it, it says so again, and goes on by itself.
func TestNodeWaitsForPostgres(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	url, err := pg.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		t.Helper()
		if err := pg.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() {
		t.Helper()
		if err := pg.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	s := startNode(t, url)
	if status, text := s.page("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "waits for its database") {
		t.Errorf("/readyz before the database is up: %d %s", status, text)
	}
	const event = `{"licenseId":"lic_1","usageType":"view","idempotencyKey":"k"}`
	if status, b, err := s.try("POST", "/v1/events", event); err != nil || status != http.StatusServiceUnavailable || !bytes.Contains(b, []byte(`"code":"UNAVAILABLE"`)) {
		t.Errorf("an event before the database is up: %d %s %v", status, b, err)
	}
	restart()
	await(t, s.isReady)
	s.license("")
	var r usance.Result
	s.must("POST", "/v1/events", event, &r)

	kill()
	if status, text := s.page("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "the store does not answer") {
		t.Errorf("/readyz after the database was killed: %d %s", status, text)
	}
	if status, b, err := s.try("POST", "/v1/events", event); err != nil || status != http.StatusServiceUnavailable || !bytes.Contains(b, []byte(`"retryable":true`)) {
		t.Errorf("an event after the database was killed: %d %s %v", status, b, err)
	}
	restart()
	var again usance.Result
	s.must("POST", "/v1/events", event, &again)
	if !again.Duplicate || again.EventID != r.EventID {
		t.Errorf("after the database came back, the same event answers %+v, first %+v", again, r)
	}
	await(t, s.isReady)
	if code := s.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, s.out)
	}
}

// A node that is told to stop while it waits for its database stops.
func TestNodeStopsWhileItWaits(t *testing.T) {
	t.Parallel()
	s := startNode(t, "postgres://app:hunter2@127.0.0.1:1/none")
	if code := s.stop(); code != exitOK || strings.Contains(s.out.String(), "hunter2") {
		t.Errorf("exit %d: %s", code, s.out)
	}
}

// The demo makes its data in a PostgreSQL database too, but not among other data.
func TestDemoOnPostgres(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes 60 days of usage")
	}
	url, dir := pgtest.EmptyURL(t), t.TempDir()
	demo := func(dir string) (code int, out string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		b := &hearing{said: "The demo serves", heard: cancel}
		code = run(ctx, []string{"demo", "--dir", dir, "--days", "60"}, []string{"DATABASE_URL=" + url, "USANCE_ADDR=127.0.0.1:0", "USANCE_LOG_LEVEL=warn"}, strings.NewReader(""), b, b)
		return code, b.String()
	}
	if code, out := demo(dir); code != exitOK || !strings.Contains(out, "events counted in") || !strings.Contains(out, "usk_") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if code, out := demo(dir); code != exitOK || strings.Contains(out, "events counted in") {
		t.Errorf("served again: exit %d: %s", code, out)
	}
	if code, out := demo(t.TempDir()); code != exitFault || !strings.Contains(out, "holds data that is no complete demo") {
		t.Errorf("from another folder: exit %d: %s", code, out)
	}
}

// hearing calls a function once something was said.
type hearing struct {
	lockedBuffer
	said  string
	heard func()
}

func (h *hearing) Write(b []byte) (int, error) {
	n, err := h.lockedBuffer.Write(b)
	if strings.Contains(h.String(), h.said) {
		h.heard()
	}
	return n, err
}

// A pooler is used by serve, looked at by check, and must lead to the same
// database.
func TestServingWithAPooler(t *testing.T) {
	t.Parallel()
	url, other, pooler := pgtest.EmptyURL(t), pgtest.URL(t), pgtest.Pool(t)
	environ := []string{"DATABASE_URL=" + url, "DATABASE_URL_POOLED=" + pooler.URL(url), "USANCE_ADMIN_KEY=" + scriptKey}
	s := startNode(t, url, environ...)
	await(t, func() bool { status, _ := s.page("/readyz"); return status == http.StatusOK })
	s.license("")
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","quantity":3,"idempotencyKey":"k"}`, nil)
	if _, n := s.used("view"); n != 3 {
		t.Errorf("used %d, want 3", n)
	}
	check := func(environ []string) string {
		t.Helper()
		out := new(lockedBuffer)
		run(t.Context(), []string{"check"}, environ, strings.NewReader(""), out, out)
		return out.String()
	}
	if out := check(environ); !strings.Contains(out, "leads to the same database") {
		t.Errorf("check:\n%s", out)
	}
	environ[1] = "DATABASE_URL_POOLED=" + pooler.URL(other)
	if out := check(environ); !strings.Contains(out, "the pooler leads to another database than DATABASE_URL") {
		t.Errorf("check of another:\n%s", out)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.out)
	}
}
