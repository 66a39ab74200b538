package api

import (
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

// nodes are servers that share the buckets of keys. Each has a store of its own,
// which is none of the buckets' business; the key that they share is the admin's.
func nodes(t *testing.T, shared *redistest.Server, limits RateLimits) (out []*server) {
	t.Helper()
	for range 2 {
		r, err := redis.Open(t.Context(), shared.URL(), redis.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		limits.Shared = r
		out = append(out, newServer(t, limits))
	}
	return out
}

// What one node lets a key do is gone from what the others let it.
func TestNodesShareTheLimitsOfAKey(t *testing.T) {
	shared := redistest.Start(t)
	all := nodes(t, shared, RateLimits{Calls: 20}) // a bucket of 100, and 20 a second
	var passed, refused atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for i := range 4 {
		clients.Go(func() {
			for time.Since(start) < time.Second {
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
	if n, most := float64(passed.Load()), 100+20*time.Since(start).Seconds(); n > most+50 || n < 100 { // those whose answers were late were judged by their node; two for themselves would let 240 pass
		t.Errorf("%v calls passed, want at most %v or so", n, most)
	}
	if refused.Load() == 0 {
		t.Error("none was refused")
	}

	// Without the Redis each goes on by itself, from what was left.
	shared.Kill()
	for i, s := range all {
		left := 0
		for range 200 {
			if r := s.send("GET", "/v1/keys/self", adminKey, ""); r.status == http.StatusOK {
				left++
			}
		}
		if left > 50 {
			t.Errorf("node %d lets %d more pass without the Redis, though the bucket was empty", i, left)
		}
		s.advance(10 * time.Second)
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
	all := nodes(t, shared, RateLimits{Events: 200}) // a bucket of 10,000
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
	lines := strings.ReplaceAll(strings.Trim(eventsOf("c", 1000), "[]"), "},{", "}\n{")
	r = all[1].send("POST", "/v1/events", adminKey, lines, "Content-Type: application/x-ndjson")
	if n := strings.Count(r.body, `"tracked":true`); r.status != 200 || n != 1000 {
		t.Errorf("%d, %d events", r.status, n)
	}
	if took := time.Since(start); took < 5*time.Second { // 1,000 more than a bucket holds, at 200 a second
		t.Errorf("the bucket and the stream took %s", took)
	}
	since := int(200*time.Since(start).Seconds()) - 100 // there now, had the stream taken nothing
	if r := all[0].send("POST", "/v1/events", adminKey, eventsOf("d", since)); r.status != http.StatusTooManyRequests {
		t.Error("the stream on one node took nothing from the other")
	}
}
