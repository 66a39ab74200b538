package redis_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance/redis"
	"github.com/usance/usance/redis/redistest"
)

// record is a log that tests read.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func open(t *testing.T, url, space string, log io.Writer) *redis.Redis {
	t.Helper()
	r, err := redis.Open(t.Context(), url, redis.Options{Space: space, TTL: time.Minute, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// until waits for what goroutines and processes bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// eventually retries what a busy machine may make late: a command that takes
// longer than its time has failed, by design.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 50 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it does not happen: %s", what)
}

func TestWhatOneNodePutsTheOthersGet(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b, other := open(t, s.URL(), "one", io.Discard), open(t, s.URL(), "one", io.Discard), open(t, s.URL(), "two", io.Discard)
	ctx := t.Context()
	if _, ok := a.Get(ctx, "k"); ok {
		t.Error("it has what nobody put")
	}
	want := "bytes\x00of\r\nany kind"
	eventually(t, "another node gets it", func() bool {
		a.Put(ctx, "k", []byte(want))
		got, ok := b.Get(ctx, "k")
		if ok && string(got) != want {
			t.Fatalf("got %q", got)
		}
		return ok
	})
	if _, ok := other.Get(ctx, "k"); ok {
		t.Error("another space sees it")
	}
	// An empty value is a value.
	eventually(t, "an empty value", func() bool {
		a.Put(ctx, "empty", nil)
		got, ok := b.Get(ctx, "empty")
		return ok && len(got) == 0
	})
	a.Put(ctx, "large", make([]byte, 600<<10))
	if _, ok := b.Get(ctx, "large"); ok {
		t.Error("what is too large was kept")
	}
	s.Flush()
	if _, ok := b.Get(ctx, "k"); ok {
		t.Error("it has what was flushed")
	}
	if ttl := s.Do("DBSIZE"); ttl != ":0" {
		t.Errorf("the flushed server holds %s", ttl)
	}
}

func TestNothingIsKeptForEver(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r, err := redis.Open(t.Context(), s.URL(), redis.Options{TTL: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	eventually(t, "it is kept", func() bool {
		r.Put(t.Context(), "k", []byte("v"))
		return s.Do("DBSIZE") == ":1"
	})
	eventually(t, "a bucket", func() bool { _, _, known := r.Take(t.Context(), "b", 100, 10, 5, false); return known })
	until(t, "both are gone", func() bool { return s.Do("DBSIZE") == ":0" })
}

// worst carries out commands for a while on several goroutines and gives how
// long the slowest took, and how many there were.
func worst(r *redis.Redis, during time.Duration) (slowest time.Duration, n int64) {
	var most, count atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(during)
	for range 4 {
		all.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				start := time.Now()
				if i%3 == 0 {
					r.Put(context.Background(), "k", []byte("v"))
				} else {
					r.Get(context.Background(), "k")
				}
				took := time.Since(start).Nanoseconds()
				for had := most.Load(); took > had && !most.CompareAndSwap(had, took); had = most.Load() {
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	return time.Duration(most.Load()), count.Load()
}

// A Redis that hangs, dies or is slow costs a few commands their time, and the
// rest nothing; it is used again soon after it is back.
func TestARedisThatIsAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goAway, comeBack func(*redistest.Server, *redistest.Line)
	}{
		"hangs":   {func(s *redistest.Server, _ *redistest.Line) { s.Stop() }, func(s *redistest.Server, _ *redistest.Line) { s.Continue() }},
		"dies":    {func(s *redistest.Server, _ *redistest.Line) { s.Kill() }, func(s *redistest.Server, _ *redistest.Line) { s.Restart() }},
		"is slow": {func(_ *redistest.Server, l *redistest.Line) { l.Slow(300 * time.Millisecond) }, func(_ *redistest.Server, l *redistest.Line) { l.Slow(0) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			line := s.Line()
			var log record
			r := open(t, line.URL(), "", &log)
			works := func() bool {
				r.Put(t.Context(), "k", []byte("v"))
				_, ok := r.Get(t.Context(), "k")
				return ok
			}
			until(t, "it works", works)
			for round := range 2 {
				c.goAway(s, line)
				slowest, _ := worst(r, 50*time.Millisecond)
				if slowest > 2*time.Second { // 20 ms, on a machine that does other things too
					t.Errorf("a command took %s", slowest)
				}
				until(t, "it is degraded", func() bool { r.Get(t.Context(), "k"); return r.Degraded() != "" })
				if _, n := worst(r, 200*time.Millisecond); n < 1000 { // while waiting for each would make 40
					t.Errorf("only %d commands in 200 ms while it is away", n)
				}
				if _, _, known := r.Take(t.Context(), "b", 1, 1, 1, false); known {
					t.Error("a bucket is known while it is away")
				}
				// Now and then a busy machine makes it late by itself.
				if n := strings.Count(log.String(), "going on without it"); n <= round || n > 20 {
					t.Errorf("told %d times:\n%s", n, log.String())
				}
				c.comeBack(s, line)
				until(t, "it is used again", func() bool { return r.Degraded() == "" && works() })
			}
			if strings.Contains(log.String(), "redistest-secret") {
				t.Errorf("the log holds the password:\n%s", log.String())
			}
		})
	}
}

// A node may start before its Redis.
func TestARedisThatComesLater(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Kill()
	var log record
	r := open(t, s.URL(), "", &log)
	if r.Degraded() == "" {
		t.Error("it is not degraded")
	}
	if err := r.Ping(t.Context()); err == nil {
		t.Error("it answers a ping")
	}
	r.Put(t.Context(), "k", []byte("v"))
	s.Restart()
	until(t, "it is used", func() bool { return r.Degraded() == "" })
	if log := log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "answers again") {
		t.Errorf("the log:\n%s", log)
	}
}

// What the server refuses is told once, and is not taken for its being away.
func TestARedisThatRefuses(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var log record
	r := open(t, s.URL(), "", &log)
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	s.Do("CONFIG", "SET", "maxmemory", "1")
	for range 20 {
		r.Put(t.Context(), "k", []byte("v"))
	}
	eventually(t, "it is told", func() bool {
		r.Put(t.Context(), "k", []byte("v"))
		return strings.Contains(log.String(), "maxmemory")
	})
	if n := strings.Count(log.String(), "refuses a command"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	until(t, "it is degraded", func() bool { return strings.Contains(r.Degraded(), "refuses commands") })
	if v := up(t, r); v != 0 {
		t.Errorf("up is %v", v)
	}
}

// A check does what requests do: a ping is answered by a Redis that refuses all
// else.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := open(t, s.URL(), "", io.Discard)
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		breaks, mends []string
		says          string
	}{
		{[]string{"CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}, "it keeps nothing: OOM"},
		{[]string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}, "it keeps nothing: READONLY"},
		{[]string{"ACL", "SETUSER", "default", "-set"}, []string{"ACL", "SETUSER", "default", "+set"}, "it keeps nothing: NOPERM"},
		{[]string{"ACL", "SETUSER", "default", "-getrange"}, []string{"ACL", "SETUSER", "default", "+getrange"}, "does not give back what it keeps: NOPERM"},
		{[]string{"ACL", "SETUSER", "default", "-evalsha"}, []string{"ACL", "SETUSER", "default", "+evalsha"}, "rate limits are each node's own: NOPERM"},
	} {
		s.Do(c.breaks...)
		if err := r.Check(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.breaks, err)
		}
		s.Do(c.mends...)
		if err := r.Check(t.Context()); err != nil {
			t.Errorf("%v: %v", c.mends, err)
		}
	}
	// A user that may do no more than the page on Redis says.
	s.Do(strings.Fields("ACL SETUSER usance on >word ~usance:* +ping +select +set +getrange +eval +evalsha +get +del +time")...)
	small := open(t, strings.NewReplacer("://:redistest-secret@", "://usance:word@", "/0", "/1").Replace(s.URL()), "", io.Discard)
	if err := small.Check(t.Context()); err != nil || small.Degraded() != "" {
		t.Errorf("a user of few rights: %v, %s", err, small.Degraded())
	}
	until(t, "nothing is left", func() bool { return s.Do("DBSIZE") == ":0" })
}

// What others than the database's nodes write is given to nobody.
func TestForgedValues(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	ours := func(secret string, log io.Writer) *redis.Redis {
		r, err := redis.Open(t.Context(), s.URL(), redis.Options{Secret: []byte(secret), TTL: time.Minute, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	var log record
	stranger := ours("another secret", &log)
	writer := ours("secret", io.Discard)
	for name, forge := range map[string]string{
		"under another secret": `return 1`,
		"changed":              `local k = redis.call('KEYS', '*')[1]; return redis.call('SETRANGE', k, redis.call('STRLEN', k) - 1, '!')`,
		"another one's":        `local k = redis.call('KEYS', '*'); return redis.call('RENAME', k[1], k[2])`,
		"short":                `for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('SET', k, 'x') end return 1`,
		"large":                `for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('SET', k, string.rep('x', 4000000)) end return 1`,
	} {
		s.Flush()
		var log record
		reader := ours("secret", &log)
		if name == "under another secret" {
			reader = stranger
		}
		keys := []string{"k", "l"}
		if name == "changed" {
			keys = keys[:1]
		}
		for _, k := range keys {
			eventually(t, name+": it is kept", func() bool {
				writer.Put(t.Context(), k, []byte("value of "+k))
				_, ok := writer.Get(t.Context(), k)
				return ok
			})
		}
		s.Do("EVAL", forge, "0")
		for range 20 {
			for _, k := range keys {
				if got, ok := reader.Get(t.Context(), k); ok && (reader == stranger || string(got) != "value of "+k) {
					t.Errorf("%s: got %.40q", name, got)
				}
			}
		}
		if name != "under another secret" && strings.Count(log.String(), "no node of this database") != 1 {
			t.Errorf("%s: the log:\n%s", name, log.String())
		}
	}
	if strings.Count(log.String(), "no node of this database") != 1 {
		t.Errorf("the log of another secret:\n%s", log.String())
	}
}

func up(t *testing.T, r *redis.Redis) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "usance_redis_up" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("there is no usance_redis_up")
	return 0
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://cache":                               "Redis at cache:6379, database 0",
		"redis://u:hunter2@cache:7000/3":              "Redis at cache:7000, database 3",
		"rediss://:hunter2@cache.example:6380":        "Redis at cache.example:6380, database 0",
		"redis://:hunter2@[::1]:6379/1?client_name=x": "Redis at [::1]:6379, database 1",
	} {
		if got, err := redis.Where(url); got != want || err != nil {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
	for _, url := range []string{"", "hunter2", "http://hunter2@cache", "redis://:hunter2%@cache", "redis://:hunter2@cache/x", "redis://:hunter2@cache:port", "rediss://:hunter2@cache/1/2"} {
		_, err := redis.Where(url)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
		if _, err = redis.Open(t.Context(), url, redis.Options{}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open %s: %v", url, err)
		}
	}
}

// Nodes share a bucket: what they take together is never more than it held and
// what has come since.
func TestNodesShareABucket(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	const rate, burst, takes = 10, 100, 200 // so many by each of twelve: a slow machine refuses fewer, but not none
	var taken, refused, unknown atomic.Int64
	var nodes sync.WaitGroup
	var all []*redis.Redis
	for range 3 {
		all = append(all, open(t, s.URL(), "", io.Discard))
	}
	start := time.Now()
	for _, r := range all {
		for range 4 {
			nodes.Go(func() {
				for range takes {
					switch ok, _, known := r.Take(t.Context(), "key", rate, burst, 1, false); {
					case !known: // it may have been taken
						unknown.Add(1)
						time.Sleep(time.Millisecond)
					case ok:
						taken.Add(1)
					default:
						refused.Add(1)
					}
				}
			})
		}
	}
	nodes.Wait()
	// Between the first and the last there was no more time than this.
	most := burst + rate*time.Since(start).Seconds()
	if n := taken.Load(); float64(n) > most+1 || n+unknown.Load() < burst || refused.Load() == 0 {
		t.Errorf("%d taken, want %d to %v; %d refused, of %d it is not known", n, burst, most, refused.Load(), unknown.Load())
	}
	if _, left, known := all[0].Take(t.Context(), "another key", rate, burst, 0, false); known && left != burst {
		t.Errorf("another key's bucket holds %v", left)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := open(t, s.URL(), "", io.Discard)
	const rate, burst = 0.001, 10 // none comes back while the test runs
	type step struct {
		what  string
		n     int
		debt  bool
		taken bool
		left  float64
	}
	steps := []step{
		{"look", 0, false, true, 10}, {"some", 4, false, true, 6}, {"too many", 7, false, false, 6}, {"look again", 0, false, true, 6},
		{"the rest", 6, false, true, 0}, {"one more", 1, false, false, 0}, {"on debt", 5, true, true, -5}, {"in debt", 1, false, false, -5},
		{"look in debt", 0, false, true, -5}, {"put back", -7, false, true, 2}, {"put back too many", -100, false, true, 10},
	}
	attempt := 0
	eventually(t, "no answer is late", func() bool { // a late one may have been carried out: begin anew
		attempt++
		s.Flush()
		for _, step := range steps {
			taken, left, known := r.Take(t.Context(), fmt.Sprint("b", attempt), rate, burst, step.n, step.debt)
			if !known {
				return false
			}
			if taken != step.taken || math.Abs(left-step.left) > 0.1 {
				t.Errorf("%s: taken %t with %v left, want %t with %v", step.what, taken, left, step.taken, step.left)
			}
		}
		return true
	})
	if size := s.Do("DBSIZE"); size != ":0" {
		t.Errorf("a full bucket is kept: %s", size)
	}
	for _, rate := range []float64{1e8, 1e3, 1.0 / 60} {
		name := fmt.Sprint(rate)
		if taken, left, known := r.Take(t.Context(), name, rate, 1e6, 1e5, false); known && (!taken || left < 9e5-1) {
			t.Errorf("rate %v: %t, %v left", rate, taken, left)
		}
	}
}

// When the clock is set back, as by a server that takes over, a bucket lacks what
// it lacked before, and fills from there: nobody is refused until the old time is
// reached again. Here what is kept is moved ahead instead.
func TestBucketsWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := open(t, s.URL(), "", io.Discard)
	const ahead = `local k = redis.call('KEYS', '*')[1]
		local full, at = string.match(redis.call('GET', k), '(%d+) (%d+)')
		return redis.call('SET', k, string.format('%.0f %.0f', full + 3600e6, at + 3600e6))`
	take := func(rate float64, n int, debt bool) (taken bool, left float64) {
		t.Helper()
		eventually(t, "it answers in time", func() (known bool) {
			taken, left, known = r.Take(t.Context(), "b", rate, 10, n, debt)
			return known
		})
		return taken, left
	}
	const slow = 0.001
	for _, n := range []int{6, 10} { // 4 are left, then 6 lacking; more when an answer came too late
		take(slow, n, true)
		_, before := take(slow, 0, false)
		s.Do("EVAL", ahead, "0")
		if _, left := take(slow, 0, false); math.Abs(left-before) > 0.1 {
			t.Errorf("%v were left, and %v after the clock was set back", before, left)
		}
	}
	s.Do("EVAL", ahead, "0")
	if taken, left := take(slow, 1, false); taken || left > -5 {
		t.Errorf("taken %t, %v left", taken, left)
	}
	s.Flush()
	take(100, 20, true)
	s.Do("EVAL", ahead, "0")
	until(t, "it fills again", func() bool { taken, _ := take(100, 1, false); return taken })
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := open(t, s.URL(), "", io.Discard)
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Metrics()...)
	r.Get(t.Context(), "k")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 3 {
		t.Errorf("%d metrics", len(families))
	}
	for _, f := range families {
		switch f.GetName() {
		case "usance_redis_up":
			if v := f.GetMetric()[0].GetGauge().GetValue(); v != 1 {
				t.Errorf("up is %v", v)
			}
		case "usance_redis_requests_total":
			if n := len(f.GetMetric()); n != 9 {
				t.Errorf("%d series of requests", n)
			}
		}
	}
}
