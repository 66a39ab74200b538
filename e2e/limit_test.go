package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestHardLimit has 64 clients use up one limit of 10,000 units, each third
// answer thrown away and asked for again; once with everything left alone, on a
// coordinator of Citus too where one is named, once with processes killed and restarted in between, once with PostgreSQL, and once
// by way of a pooler, with that, a Redis, PostgreSQL and a process killed.
func TestHardLimit(t *testing.T) {
	onEach(t, func(t *testing.T, store string) {
		t.Run("left alone", func(t *testing.T) { hardLimit(t, store, 0, nil) })
		t.Run("killed in between", func(t *testing.T) {
			hardLimit(t, store, 6, func(s *server, n int) {
				s.kill(s.nodes[n%len(s.nodes)])
				s.start()
			})
		})
	})
	t.Run("on Citus", func(t *testing.T) { hardLimit(t, "citus", 0, nil) })
	t.Run("PostgreSQL killed in between", func(t *testing.T) {
		hardLimit(t, "postgres", 4, func(s *server, _ int) {
			if err := s.pg.Kill(); err != nil {
				t.Error(err)
			}
			if err := s.pg.Restart(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("each of those that nodes share killed in between", func(t *testing.T) {
		hardLimit(t, "shared", 4, func(s *server, n int) {
			switch n {
			case 0:
				s.pooler.Kill()
				s.pooler.Restart()
			case 1:
				s.kill(s.nodes[1])
				s.start()
			case 2:
				if err := errors.Join(s.pg.Kill(), s.pg.Restart(t.Context())); err != nil {
					t.Error(err)
				}
			default:
				s.redis.Kill()
				s.redis.Restart()
			}
		})
	})
}

func hardLimit(t *testing.T, store string, kills int, kill func(s *server, n int)) {
	const limit, clients = 10_000, 64
	s := newServer(t, store)
	s.must("PUT", "/v1/licenses/l", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	s.must("POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":"l","usageType":"view","periodType":"monthly","limitQuantity":%d}`, limit), nil)

	var mu sync.Mutex
	counted := make(map[string]result)
	quantity := make(map[string]int64)
	var sum int64
	by := make(map[*node]int64) // units that each node was the first to count
	track := func(key string, n int64) (r result, ok bool) {
		body := fmt.Sprintf(`{"licenseId":"l","usageType":"view","quantity":%d,"idempotencyKey":%q}`, n, key)
		for {
			on := s.pick()
			r = result{}
			status, err := s.callOn(on, "POST", "/v1/events", body, &r)
			if err == nil && status == 200 {
				if r.Tracked && !r.Duplicate {
					mu.Lock()
					by[on] += n
					mu.Unlock()
				}
				return r, r.Tracked
			}
			// Nobody answered: the key makes it safe to ask again.
			if err == nil && status != 503 {
				t.Errorf("%s: status %d: %+v", key, status, r)
				return r, false
			}
		}
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 7))
			for n, blocked := 0, 0; blocked < 5 && !t.Failed(); n++ {
				key, units := fmt.Sprintf("%d-%d", c, n), 1+rng.Int64N(12)
				r, ok := track(key, units)
				if n%3 == 0 {
					r, ok = track(key, units)
				}
				if !ok {
					if r.Status != "BLOCKED" {
						t.Errorf("%s: %+v", key, r)
					}
					blocked++
					continue
				}
				mu.Lock()
				counted[key], quantity[key] = r, units
				sum += units
				mu.Unlock()
			}
		})
	}
	for n := range kills {
		mu.Lock()
		at := sum
		mu.Unlock()
		for moved := at; moved < at+limit/10 && moved < limit-500; {
			mu.Lock()
			moved = sum
			mu.Unlock()
			_, _ = s.call("GET", "/v1/licenses/l/usage", "", nil) // paces the killer
		}
		kill(s, n)
	}
	wg.Wait()
	for n := 0; ; n++ { // single units use up what is left
		key := fmt.Sprintf("last-%d", n)
		r, ok := track(key, 1)
		if !ok {
			break
		}
		counted[key], quantity[key] = r, 1
		sum++
	}
	if sum != limit {
		t.Errorf("clients were told that %d units are counted, want %d", sum, limit)
	}
	for key, first := range counted {
		r, ok := track(key, quantity[key])
		if !ok || !r.Duplicate || r.EventID != first.EventID {
			t.Fatalf("the limit is full; a retry of %s answers %+v, first %+v", key, r, first)
		}
	}
	var usage struct {
		CurrentPeriod struct {
			Events, Quantity int64
		}
	}
	s.must("GET", "/v1/licenses/l/usage", "", &usage)
	if usage.CurrentPeriod.Quantity != limit || usage.CurrentPeriod.Events != int64(len(counted)) {
		t.Errorf("the server holds %+v, want %d units in %d events", usage.CurrentPeriod, limit, len(counted))
	}
	t.Logf("%d events of %d units", len(counted), sum)
	for i, n := range s.nodes {
		t.Logf("node %d admitted %d", i, by[n])
		if by[n] < limit/5 {
			t.Errorf("node %d admitted %d units, less than a fifth", i, by[n])
		}
	}
}
