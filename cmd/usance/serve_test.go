package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
)

func TestTheWholeProgram(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	s.license("")
	var result usance.Result
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","quantity":3,"idempotencyKey":"k"}`, &result)
	if !result.Tracked || result.Duplicate {
		t.Errorf("tracked %v, duplicate %v", result.Tracked, result.Duplicate)
	}
	if _, n := s.used("view"); n != 3 {
		t.Errorf("used %d, want 3", n)
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs", "/metrics"} {
		resp, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d without a key, want 200", path, resp.StatusCode)
		}
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.out)
	}
	if _, err := os.Stat(s.dir + "/" + urlFile); err == nil {
		t.Error("the address of a server that stopped is still there")
	}

	// What was counted is there after a start, and nothing is left to fold.
	again := startServer(t, s.dir)
	if again.key != s.key {
		t.Error("the admin key changed with the second start")
	}
	if got := again.metric("usance_pending_events"); got != "0" {
		t.Errorf("%s events wait to be folded after an orderly stop", got)
	}
	again.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","quantity":3,"idempotencyKey":"k"}`, &result)
	if !result.Duplicate {
		t.Error("the same key counts again after a restart")
	}
}

// load sends events from several clients until stopped, each with a key of its
// own, and remembers what was acknowledged.
type load struct {
	mu    sync.Mutex
	acked map[string]int64 // quantity by key
	sent  atomic.Int64
	stop  chan struct{}
	done  sync.WaitGroup
}

func startLoad(s *testServer, clients int) *load {
	l := &load{acked: make(map[string]int64), stop: make(chan struct{})}
	for c := range clients {
		l.done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				var body strings.Builder
				want := make(map[string]int64)
				for j := range 5 {
					key, quantity := fmt.Sprintf("%d-%d-%d", c, i, j), int64(1+rand.IntN(9))
					want[key] = quantity
					fmt.Fprintf(&body, `{"licenseId":"lic_1","usageType":"view","quantity":%d,"idempotencyKey":%q}`+"\n", quantity, key)
				}
				status, b, err := s.try("POST", "/v1/events", "["+strings.ReplaceAll(strings.TrimSpace(body.String()), "\n", ",")+"]")
				if err != nil || status != http.StatusOK {
					return // the server is gone, or going
				}
				var results []usance.Result
				if json.Unmarshal(b, &results) != nil {
					return
				}
				l.mu.Lock()
				for _, r := range results {
					if r.Tracked {
						l.acked[r.IdempotencyKey] = want[r.IdempotencyKey]
					}
				}
				l.mu.Unlock()
				l.sent.Add(int64(len(results)))
			}
		})
	}
	return l
}

// await waits until about n events were acknowledged.
func (l *load) await(t *testing.T, n int64) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); l.sent.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d events were acknowledged in three minutes", l.sent.Load())
		}
	}
}

func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

// verify asks for every acknowledged event again: all must be duplicates, and
// the sum must hold them all. It answers the number of events counted.
func (l *load) verify(t *testing.T, s *testServer) {
	t.Helper()
	var batch []string
	check := func() {
		if len(batch) == 0 {
			return
		}
		var results []usance.Result
		s.must("POST", "/v1/events", "["+strings.Join(batch, ",")+"]", &results)
		for _, r := range results {
			if !r.Duplicate || !r.Tracked {
				t.Fatalf("the acknowledged event %s was lost: %+v", r.IdempotencyKey, r)
			}
		}
		batch = nil
	}
	events, quantity := s.used("view")
	var acked int64
	for key, q := range l.acked {
		acked += q
		batch = append(batch, fmt.Sprintf(`{"licenseId":"lic_1","usageType":"view","quantity":%d,"idempotencyKey":%q}`, q, key))
		if len(batch) == 1000 {
			check()
		}
	}
	check()
	if events < int64(len(l.acked)) || quantity < acked {
		t.Errorf("%d events of %d units are counted, but %d of %d were acknowledged", events, quantity, len(l.acked), acked)
	}
	if e, q := s.used("view"); e != events || q != quantity {
		t.Errorf("sending it all again changed the sum from %d events of %d units to %d of %d", events, quantity, e, q)
	}
}

func TestKill9LosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		dir := t.TempDir()
		s := spawnServer(t, dir)
		s.license("")
		l := startLoad(s, 6)
		l.await(t, int64(100+rand.IntN(400)))
		s.kill()
		l.end()
		s = spawnServer(t, dir)
		l.verify(t, s)
		if t.Failed() {
			t.Fatalf("in round %d: %s", round, s.out)
		}
		s.stop()
	}
}

func TestAnOrderlyStopAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := spawnServer(t, dir)
	s.license("")
	l := startLoad(s, 6)
	l.await(t, 200)
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.out)
	}
	l.end()
	s = spawnServer(t, dir)
	if got := s.metric("usance_pending_events"); got != "0" {
		t.Errorf("%s events wait to be folded after an orderly stop", got)
	}
	l.verify(t, s)
}

// A request that never ends holds an orderly stop up only as long as
// USANCE_SHUTDOWN_TIMEOUT, and not at all after a second signal.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := spawnServer(t, t.TempDir(), "USANCE_SHUTDOWN_TIMEOUT=10m")
	s.license("")
	send := s.stream()
	defer send.Close()
	if _, err := io.WriteString(send, `{"licenseId":"lic_1","usageType":"view"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return s.metric("usance_http_requests_in_flight") == "2" }) // the stream, and the scrape itself
	_ = s.process.Signal(syscall.SIGTERM)
	await(t, func() bool { _, err := http.Get(s.url + "/healthz"); return err != nil }) // it stopped listening
	select {
	case <-s.exited:
		t.Fatal("the first signal cut the stream off")
	default:
	}
	_ = s.process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(2 * time.Minute):
		t.Fatal("the second signal did not end the program")
	}
}

func TestTheShutdownTimeoutCutsStreamsOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "USANCE_SHUTDOWN_TIMEOUT=1s")
	send := s.stream()
	defer send.Close()
	_, _ = io.WriteString(send, "{}\n")
	await(t, func() bool { return s.metric("usance_http_requests_in_flight") == "2" })
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.out)
	}
}

// stream begins a request that goes on until what it gives is closed.
func (s *testServer) stream() *io.PipeWriter {
	s.t.Helper()
	body, send := io.Pipe()
	r, err := http.NewRequest("POST", s.url+"/v1/events", body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Content-Type", "application/x-ndjson")
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return // the server was told to stop
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
	}()
	return send
}

// await waits for a condition that only another goroutine or process can bring about.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// stages is a server that does not listen, with a clock that the test turns.
func stages(t *testing.T, clock *demoClock, environ ...string) *server {
	t.Helper()
	c, err := loadConfig(append([]string{"USANCE_DATA_DIR=" + t.TempDir()}, environ...), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), c, slog.New(slog.DiscardHandler), clock.now, opening{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := s.catalog.PutLicense(t.Context(), "lic_1", []byte(`{"brandId":"b1","assetId":"a1","status":"ACTIVE"}`), "test"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) trackOne(t *testing.T, key string, at time.Time) usance.Result {
	t.Helper()
	results, err := s.ingest.Track(context.Background(), ingest.Request{Backdate: true, Events: []usance.Event{
		{LicenseID: "lic_1", UsageType: "view", Quantity: 1, OccurredAt: at, IdempotencyKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// USAGE_EVENT_RETENTION_DAYS decides when raw events go and their day closes.
func TestRetentionDaysDecideWhenEventsGo(t *testing.T) {
	t.Parallel()
	for days, want := range map[string]struct {
		events int
		code   usance.Code
	}{
		"3":  {0, usance.CodeTooLate},
		"90": {1, ""},
	} {
		t.Run(days, func(t *testing.T) {
			t.Parallel()
			first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			clock := &demoClock{t: first}
			s := stages(t, clock, "USAGE_EVENT_RETENTION_DAYS="+days)
			s.trackOne(t, "a", first)
			for range 5 {
				clock.t = clock.t.Add(24 * time.Hour)
				if _, err := s.fold.LookAtClock(t.Context(), s.cfg.retention()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.jobs.RunNow(t.Context(), jobCleanup); err != nil {
				t.Fatal(err)
			}
			var events []usance.Event
			var rollups int64
			err := s.store.View(t.Context(), func(v usance.View) (err error) {
				if events, _, err = v.Events(t.Context(), usance.EventFilter{LicenseID: "lic_1"}, usance.Page{Limit: 10}); err != nil {
					return err
				}
				return v.Rollups(t.Context(), "lic_1", usance.MinDate, usance.MaxDate, nil, func(r *usance.Rollup) error { rollups += r.Quantity; return nil })
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(events) != want.events {
				t.Errorf("%d raw events are left, want %d", len(events), want.events)
			}
			if rollups != 1 && want.events == 0 {
				t.Errorf("the rollups hold %d, want 1: they stay for ever", rollups)
			}
			var code usance.Code
			if r := s.trackOne(t, "b", first); r.Error != nil {
				code = r.Error.Code
			}
			if code != want.code {
				t.Errorf("an event of that day now answers %q, want %q", code, want.code)
			}
		})
	}
}

// A clock that jumps ahead takes no events away: the cleanup fails, until the
// hourly job has seen it go on for a day.
func TestCleanupDoubtsAClockAhead(t *testing.T) {
	t.Parallel()
	clock := &demoClock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	s := stages(t, clock)
	run := func(name string) error {
		for _, task := range tasks(s.cfg, s.fold, s.billing, s.watch) {
			if task.Name == name {
				return task.Run(t.Context(), task.Schedule[:1])
			}
		}
		return errors.New("there is no such job")
	}
	s.trackOne(t, "a", clock.t)
	if err := run(jobAggregate); err != nil {
		t.Fatal(err)
	}
	clock.t = clock.t.AddDate(3, 0, 0)
	for hour := range 25 {
		if err := run(jobAggregate); err != nil {
			t.Fatal(err)
		}
		if err := run(jobCleanup); (err != nil) != (hour < 24) {
			t.Errorf("after %d hours: %v", hour, err)
		}
		clock.t = clock.t.Add(time.Hour)
	}
}

// A server that starts notes the clock before any job does, so that one which
// jumps ahead an instant later is doubted.
func TestStartNotesTheClock(t *testing.T) {
	t.Parallel()
	clock := &demoClock{t: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)}
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	c, err := loadConfig([]string{"USANCE_DATA_DIR=" + dir, "USANCE_ADDR=127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), c, log, clock.now, opening{serving: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	f := newFront(ctx, c, log)
	defer f.close()
	if err := s.serve(f, func(string) { stop() }); err != nil {
		t.Fatal(err)
	}
	clock.t = clock.t.AddDate(1, 0, 0)
	again := stages(t, clock, "USANCE_DATA_DIR="+dir)
	if c, err := again.fold.LookAtClock(t.Context(), c.retention()); err != nil || c.DoubtedAt.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
}

// USAGE_CACHE_TTL_SECONDS decides how long sums are kept.
func TestCacheTTLDecidesWhetherSumsAreKept(t *testing.T) {
	t.Parallel()
	for ttl, want := range map[string]bool{"0": false, "300": true} {
		t.Run(ttl, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, t.TempDir(), "USAGE_CACHE_TTL_SECONDS="+ttl)
			s.license("")
			for range 4 {
				s.used("view")
			}
			if got := s.metric(`usance_cache_requests_total{result="hit"}`); got != "0" != want {
				t.Errorf("4 equal questions hit the cache %s times; want hits: %v", got, want)
			}
		})
	}
}

// Nothing is acknowledged into a database file that is not there any more.
func TestNothingIsCountedIntoAFileThatIsGone(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	s.license("")
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","idempotencyKey":"k"}`, nil)
	if err := os.Rename(s.dir+"/usance.db", s.dir+"/away.db"); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	await(t, func() bool {
		status, b, err := s.try("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view"}`)
		answer = b
		return err == nil && status == http.StatusServiceUnavailable
	})
	if !strings.Contains(string(answer), `UNAVAILABLE`) || !strings.Contains(string(answer), "restart it with the file it is to have") {
		t.Errorf("%s", answer)
	}
	if s.isReady() {
		t.Error("ready though the file is gone")
	}
	if n := strings.Count(s.out.String(), "the database is not where it was opened any more"); n != 1 {
		t.Errorf("told %d times: %s", n, s.out)
	}
	s.stop()
	if _, err := os.Stat(s.dir + "/usance.db"); err == nil {
		t.Error("another file was made in the place")
	}
}
