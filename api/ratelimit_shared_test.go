package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance/redis"
	"github.com/usance/usance/redis/redistest"
)

// sure asks the Redis again when its answer comes too late, as it may on a busy
// machine: a node that judges by itself lets more pass. Who did not hear that it
// took tokens takes others, so no more pass than the bucket held.
type sure struct {
	Buckets
	alone *atomic.Bool // nodes are to judge by themselves
}

func (s sure) Take(ctx context.Context, name string, rate float64, burst, n int, debt bool) (taken bool, left float64, known bool) {
	for {
		taken, left, known = s.Buckets.Take(ctx, name, rate, burst, n, debt)
		if known || s.alone.Load() || ctx.Err() != nil {
			return taken, left, known
		}
		time.Sleep(time.Millisecond)
	}
}

// nodes are servers that share the buckets of keys. Each has a store of its own,
// which is none of the buckets' business; the key that they share is the admin's.
// They go by the Redis until alone is set.
func nodes(t *testing.T, shared *redistest.Server, limits RateLimits) (out []*server, alone *atomic.Bool) {
	t.Helper()
	alone = new(atomic.Bool)
	for range 2 {
		r, err := redis.Open(t.Context(), shared.URL(), redis.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		limits.Shared = sure{r, alone}
		out = append(out, newServer(t, limits))
	}
	return out, alone
}

// What one node lets a key do is gone from what the others let it.
func TestNodesShareTheLimitsOfAKey(t *testing.T) {
	shared := redistest.Start(t)
	all, alone := nodes(t, shared, RateLimits{Calls: 1}) // a bucket of 100, and one a second
	var passed, refused atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for i := range 4 {
		clients.Go(func() {
			for range 75 {
				switch r := all[i%2].send("GET", "/v1/keys/self", adminKey, ""); r.status {
				case http.StatusOK:
					passed.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				default:
					t.Errorf("%d %s", r.status, r.body)
					return
				}
			}
		})
	}
	clients.Wait()
	// Two for themselves would let 200 pass.
	if n, most := float64(passed.Load()), 100+time.Since(start).Seconds(); n > most+1 {
		t.Errorf("%v calls passed, want at most %v", n, most)
	}
	t.Logf("%d calls passed, %d were refused", passed.Load(), refused.Load())
	for _, s := range all { // the last that either hears is that the bucket is empty
		for s.send("GET", "/v1/keys/self", adminKey, "").status == http.StatusOK {
		}
	}

	// Without the Redis each goes on by itself, from what was left.
	alone.Store(true)
	shared.Kill()
	for i, s := range all {
		left := 0
		for range 200 {
			if r := s.send("GET", "/v1/keys/self", adminKey, ""); r.status == http.StatusOK {
				left++
			}
		}
		if left > 0 {
			t.Errorf("node %d lets %d more pass without the Redis, though the bucket was empty", i, left)
		}
		s.advance(200 * time.Second)
		r := s.send("GET", "/v1/keys/self", adminKey, "")
		if limit := r.header.Get("RateLimit"); r.status != http.StatusOK || limit != `"calls";r=99;t=1` {
			t.Errorf("node %d after a while: %d, RateLimit %s", i, r.status, limit)
		}
	}
}

// A batch on one node makes another node's wait as long as it must; a stream is
// slowed down over all of them.
func TestNodesShareTheEventsOfAKey(t *testing.T) {
	shared := redistest.Start(t)
	all, _ := nodes(t, shared, RateLimits{Events: 20}) // a bucket of 10,000
	for _, s := range all {
		s.license("lic_1")
	}
	start := time.Now()
	if r := all[0].send("POST", "/v1/events", adminKey, eventsOf("a", 10_000)); r.status != 200 {
		t.Fatalf("%d %.300s", r.status, r.body)
	}
	r := all[1].send("POST", "/v1/events", adminKey, eventsOf("b", 10_000))
	if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
		t.Errorf("the same on another node: %d %v %.300s", r.status, r.header, r.body)
	}
	lines := strings.ReplaceAll(strings.Trim(eventsOf("c", 100), "[]"), "},{", "}\n{")
	r = all[1].send("POST", "/v1/events", adminKey, lines, "Content-Type: application/x-ndjson")
	if n := strings.Count(r.body, `"tracked":true`); r.status != 200 || n != 100 {
		t.Errorf("%d, %d events", r.status, n)
	}
	if took := time.Since(start); took < 5*time.Second { // 100 more than a bucket holds, at 20 a second
		t.Errorf("the bucket and the stream took %s", took)
	}
	there := min(int(20*time.Since(start).Seconds())-10, 10_000) // now, had the stream taken nothing
	r = all[0].send("POST", "/v1/events", adminKey, eventsOf("d", there))
	come := 20 * time.Since(start).Seconds()
	switch {
	case r.status == http.StatusTooManyRequests:
	case r.status != http.StatusOK:
		t.Errorf("%d %.300s", r.status, r.body)
	case float64(100+there) > come:
		t.Error("the stream on one node took nothing from the other")
	}
}
