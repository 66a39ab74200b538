package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

func TestMetricsAreOpenOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	admin := func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer the-admin" }
	for _, c := range []struct {
		key  string
		open bool
		auth string
		want int
	}{
		{"", true, "", 200},
		{"", false, "", 401},
		{"", false, "Bearer the-admin", 200},
		{"the-metrics-key-1", true, "", 401},
		{"the-metrics-key-1", true, "Bearer the-metrics-key-1", 200},
		{"the-metrics-key-1", false, "Bearer the-metrics-key-2", 401},
		{"the-metrics-key-1", false, "Bearer the-admin", 200},
	} {
		h := metricsHandler(prometheus.NewRegistry(), c.key, c.open, admin, slog.New(slog.DiscardHandler))
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Authorization", c.auth)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("key %q, open %v, header %q: %d, want %d", c.key, c.open, c.auth, w.Code, c.want)
		}
	}
}

// USANCE_RATE_LIMIT_CALLS, USANCE_RATE_LIMIT_EVENTS and USANCE_TRUSTED_PROXIES
// decide what is turned away; /metrics is no way around.
func TestRateLimitSettings(t *testing.T) {
	t.Parallel()
	clock := &demoClock{t: time.Date(2026, 5, 6, 10, 0, 0, 0, time.UTC)}
	s := stages(t, clock, "USANCE_RATE_LIMIT_CALLS=100", "USANCE_RATE_LIMIT_EVENTS=1", "USANCE_TRUSTED_PROXIES=192.0.2.1, 10.0.0.0/8")
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, key, forwarded, body string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(body)) // from 192.0.2.1
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	last := func(times int, method, path, key, body string) (status int) {
		for range times {
			status = ask(method, path, key, "198.51.100.1", body)
		}
		return status
	}
	if got := last(100, "GET", "/v1/keys/self", s.adminKey, ""); got != 200 {
		t.Errorf("100 calls: %d", got)
	}
	if got := last(1, "GET", "/v1/keys/self", s.adminKey, ""); got != 429 {
		t.Errorf("the 101st call: %d", got)
	}
	events := "[" + strings.TrimSuffix(strings.Repeat(`{"licenseId":"lic_1","usageType":"view"},`, 10_000), ",") + "]"
	if got := last(1, "POST", "/v1/events", s.adminKey, events); got != 200 {
		t.Errorf("a full bucket of events: %d", got)
	}
	if got := last(1, "POST", "/v1/events", s.adminKey, `{"licenseId":"lic_1","usageType":"view"}`); got != 429 {
		t.Errorf("the event after: %d", got)
	}
	if got := last(refusedPerMinute, "GET", "/metrics", "a guess", ""); got != 401 {
		t.Errorf("guesses: %d", got)
	}
	clock.t = clock.t.Add(100 * time.Millisecond) // for calls, not for guesses
	if got := last(1, "GET", "/v1/keys/self", s.adminKey, ""); got != 429 {
		t.Errorf("after the guesses: %d", got)
	}
	if got := ask("GET", "/v1/keys/self", s.adminKey, "198.51.100.2", ""); got != 200 {
		t.Errorf("another client of the proxy: %d", got)
	}
}

// A key that a killed rotation wrote and did not put in force is gone with the
// next start; nothing else is.
func TestUnfinishedAdminKeys(t *testing.T) {
	t.Parallel()
	c := config{DataDir: t.TempDir()}
	for _, name := range []string{adminKeyFile + unfinished + "1234", adminKeyFile + ".20261130", adminKeyFile + "."} {
		if err := os.WriteFile(filepath.Join(c.folder(), name), []byte("a key that is long enough\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, isNew, err := adminKey(c)
	if err != nil || !isNew {
		t.Fatal(isNew, err)
	}
	if again, isNew, err := adminKey(c); err != nil || isNew || again != key {
		t.Error(isNew, err)
	}
	left, err := filepath.Glob(filepath.Join(c.folder(), "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"admin.key", "admin.key.", "admin.key.20261130"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("%v %v, want %v", left, err, want)
	}
}

// The admin key of the data folder is replaced without a stop: both go on for the
// overlap, the next start knows the new one alone, and the trail tells.
func TestAdminKeyRotation(t *testing.T) {
	t.Parallel()
	clock := &demoClock{t: time.Date(2026, 5, 6, 10, 0, 0, 0, time.UTC)}
	s := stages(t, clock)
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	call := func(key, operation string, in, out any) error {
		r := &remote{url: "http://usance.invalid", key: key, http: &http.Client{Transport: direct{h}}}
		return r.call(t.Context(), operation, in, out)
	}
	var first, second newKey
	if err := call(s.adminKey, "keys.rotate", map[string]any{"keyId": "bootstrap", "overlapSeconds": 60}, &first); err != nil {
		t.Fatal(err)
	}
	if kept, err := readAdminKey(s.cfg); err != nil || kept != first.Secret || kept == s.adminKey {
		t.Errorf("the data folder keeps another key than the new one: %v", err)
	}
	for _, key := range []string{s.adminKey, first.Secret} {
		if err := call(key, "keys.self", nil, nil); err != nil {
			t.Errorf("within the overlap: %v", err)
		}
	}
	clock.t = clock.t.Add(time.Minute)
	if err := call(s.adminKey, "keys.self", nil, nil); usance.ErrorCode(err) != usance.CodeUnauthorized {
		t.Errorf("after the overlap: %v", err)
	}
	// Without an overlap a leaked key ends at once.
	if err := call(first.Secret, "keys.rotate", map[string]any{"keyId": "bootstrap"}, &second); err != nil {
		t.Fatal(err)
	}
	if err := call(first.Secret, "keys.self", nil, nil); usance.ErrorCode(err) != usance.CodeUnauthorized {
		t.Errorf("without an overlap: %v", err)
	}
	var trail struct{ Data []usance.AuditEntry }
	if err := call(second.Secret, "audit.list", map[string]string{"subject": "bootstrap"}, &trail); err != nil || len(trail.Data) != 2 || trail.Data[0].Action != "key.rotate" || trail.Data[0].Actor != "bootstrap" {
		t.Errorf("%+v, %v", trail, err)
	}
	fixed := stages(t, clock, "USANCE_ADMIN_KEY=a-key-of-the-environment")
	record := func(any, any, func() error) error { t.Error("it is recorded"); return nil }
	if _, err := fixed.rotateAdminKey(0, record); usance.ErrorCode(err) != usance.CodeConflict {
		t.Errorf("USANCE_ADMIN_KEY: %v", err)
	}
	// What cannot be done is not recorded, and what cannot be recorded is not done.
	if err := os.Remove(filepath.Join(s.cfg.folder(), adminKeyFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.cfg.folder(), adminKeyFile, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := call(second.Secret, "keys.rotate", map[string]any{"keyId": "bootstrap"}, nil); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("a file that cannot be replaced: %v", err)
	}
	if err := call(second.Secret, "audit.list", map[string]string{"subject": "bootstrap"}, &trail); err != nil || len(trail.Data) != 2 {
		t.Errorf("a rotation that failed left %+v, %v", trail, err)
	}
	if err := os.RemoveAll(filepath.Join(s.cfg.folder(), adminKeyFile)); err != nil {
		t.Fatal(err)
	}
	if err := writeAdminKey(s.cfg, second.Secret); err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the commit failed")
	if _, err := s.rotateAdminKey(0, func(_, _ any, replace func() error) error { return errors.Join(replace(), lost) }); !errors.Is(err, lost) {
		t.Errorf("what cannot be recorded: %v", err)
	}
	if kept, err := readAdminKey(s.cfg); err != nil || kept != second.Secret {
		t.Errorf("what was not recorded was done: %v", err)
	}
}

// A start with another admin key than the last is recorded, with nothing that
// tells the key; one with the same is not.
func TestStartsWithAnotherAdminKeyAreRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var rows []usance.AuditEntry
	for i, c := range []struct {
		key  string
		rows int
	}{{"", 1}, {"", 1}, {"the-first-of-the-keys", 2}, {"the-first-of-the-keys", 2}, {"the-second-of-the-keys", 3}, {"", 4}} {
		var env []string
		if c.key != "" {
			env = append(env, "USANCE_ADMIN_KEY="+c.key)
		}
		s := startServer(t, dir, env...)
		if c.key != "" {
			s.key = c.key
		}
		var trail struct{ Data []usance.AuditEntry }
		s.must("GET", "/v1/audit?subject=bootstrap", "", &trail)
		if code := s.stop(); code != exitOK {
			t.Fatal(s.out)
		}
		if rows = trail.Data; len(rows) != c.rows {
			t.Fatalf("start %d: %+v", i, rows)
		}
		for _, e := range rows {
			if text := string(e.Before) + string(e.After) + e.Reason; strings.Contains(text, "of-the-keys") || !strings.Contains(text, "fingerprint") || e.Actor != "start" {
				t.Errorf("start %d: %+v %s", i, e, text)
			}
		}
	}
	actions := make([]string, len(rows))
	for i, e := range rows {
		actions[i] = e.Action
	}
	if want := []string{"key.rotate", "key.rotate", "key.rotate", "key.create"}; !slices.Equal(actions, want) || string(rows[0].After) != string(rows[3].After) {
		t.Errorf("%q, want %q; %s, then %s again", actions, want, rows[3].After, rows[0].After)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if isLoopback(a) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}

func TestURLOf(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80", "[::1]:80": "http://[::1]:80", "0.0.0.0:80": "http://127.0.0.1:80", "[::]:80": "http://127.0.0.1:80",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := urlOf(a); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// A body that takes longer than any one bound passes as long as it moves.
func TestLongStreamsPass(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("the connection cannot be reached through the wrappers: %v", err)
		}
		_, _ = io.WriteString(w, http.StatusText(http.StatusOK)+strings.Repeat(".", int(n/1000)))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := newHTTPServer(context.Background(), inFlight(prometheus.NewGauge(prometheus.GaugeOpts{}), h), slog.New(slog.DiscardHandler))
	if hs.ReadTimeout != 0 || hs.WriteTimeout != 0 || hs.ReadHeaderTimeout == 0 || hs.IdleTimeout == 0 || hs.MaxHeaderBytes == 0 {
		t.Error("a stream may last as long as it moves; headers and idle connections may not")
	}
	go func() { _ = hs.Serve(listener) }()
	defer hs.Close()
	body, send := io.Pipe()
	go func() {
		for range 100 {
			_, _ = send.Write(bytes.Repeat([]byte("x"), 1000))
		}
		send.Close()
	}()
	resp, err := http.Post("http://"+listener.Addr().String(), "application/x-ndjson", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 2+100 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// pipes is a listener in memory, whose connections the fake clock rules.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p <- there
	return here, nil
}

// The time that the server takes over a request is not held against its client:
// a recalculation may last longer than a client may stall. What ends it is the
// client's going away.
func TestLongAnswersAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, longAnswers)
}

func longAnswers(t *testing.T) {
	const stall = 30 * time.Second
	gone := make(chan error, 1)
	server := &http.Server{Handler: patient(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/left" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			gone <- context.Cause(r.Context())
			return
		}
		select {
		case <-r.Context().Done():
			t.Errorf("%s: %v, though its client waits", r.Method, context.Cause(r.Context()))
		case <-time.After(6 * stall):
		}
		w.WriteHeader(http.StatusNoContent)
	}), stall)}
	connections := make(pipes)
	go func() { _ = server.Serve(connections) }()
	defer server.Close()
	transport := &http.Transport{DialContext: connections.dial}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, body := range []io.Reader{nil, http.NoBody, strings.NewReader("{}"), io.MultiReader(strings.NewReader("chunked"))} {
		r, err := http.NewRequest(http.MethodPost, "http://server", body)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if took := time.Since(start); res.StatusCode != http.StatusNoContent || took < 6*stall {
			t.Errorf("status %d after %s", res.StatusCode, took)
		}
	}
	res, err := client.Get("http://server/left")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-gone // or nothing is left to happen, which fails the test
}

// An answer that does not want the body does not wait for it.
func TestRefusalsDoNotWaitForBodies(t *testing.T) {
	t.Parallel()
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := newHTTPServer(context.Background(), refuse, slog.New(slog.DiscardHandler))
	go func() { _ = hs.Serve(listener) }()
	defer hs.Close()
	for _, header := range []string{"Content-Length: 104857600", "Content-Length: 5000000\r\nExpect: 100-continue", "Content-Length: 10\r\nExpect: 100-continue"} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.WriteString(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\n"+header+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 401 ") {
			t.Errorf("%s: answered %q, %v", header, line, err)
		}
	}
}

// viewer is a store of which only the status is asked.
type viewer struct {
	status usance.StoreStatus
	err    error
	asked  int
}

type statusView struct {
	usance.View
	s usance.StoreStatus
}

func (v statusView) Status(context.Context) (usance.StoreStatus, error) { return v.s, nil }

func (v *viewer) View(_ context.Context, fn func(usance.View) error) error {
	v.asked++
	if v.err != nil {
		return v.err
	}
	return fn(statusView{s: v.status})
}

func TestStoreMetrics(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC)
	v := &viewer{status: usance.StoreStatus{PendingBatches: 2, PendingEvents: 30, OldestPending: now.Add(-time.Minute), TrackedActive: 7, EventsLatestDay: 99,
		Overages: map[usance.OverageStatus]int64{usance.OverageApproved: 3}}}
	m := newStoreMetrics(v, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	got := scrapeRegistry(t, registry)
	for line, want := range map[string]bool{
		"usance_licenses_tracked 7": true, "usance_events_last_day 99": true, "usance_pending_batches 2": true, "usance_pending_events 30": true,
		"usance_pending_oldest_seconds 60": true, `usance_overages{status="APPROVED"} 3`: true, `usance_overages{status="DETECTED"} 0`: true,
		"usance_store_up 1": true,
	} {
		if strings.Contains(got, line+"\n") != want {
			t.Errorf("%s is missing", line)
		}
	}
	scrapeRegistry(t, registry)
	if v.asked != 1 {
		t.Errorf("two scrapes at once asked the store %d times", v.asked)
	}
	v.err, m.at = errors.New("gone"), time.Time{}
	if got := scrapeRegistry(t, registry); !strings.Contains(got, "usance_store_up 0\n") || strings.Contains(got, "usance_licenses_tracked") {
		t.Error("a store that does not answer must show as usance_store_up 0, and no other number")
	}
}

func scrapeRegistry(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	metricsHandler(g, "", true, nil, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}
