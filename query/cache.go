package query

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Cache keeps byte strings for a while. It may forget any of them at any time,
// and answer that it has none when it cannot be reached: nothing but time is
// lost. What Get gives and Put takes is never changed by either side.
type Cache interface {
	Get(ctx context.Context, key string) ([]byte, bool)
	Put(ctx context.Context, key string, value []byte)
}

// memory is the cache in process, bounded in bytes.
type memory struct{ *otter.Cache[string, []byte] }

// entryOverhead is about what the cache itself spends on an entry.
const entryOverhead = 200

func newMemory(ttl time.Duration, maxBytes int, now func() time.Time) memory {
	return memory{otter.Must(&otter.Options[string, []byte]{
		MaximumWeight: uint64(maxBytes),
		Weigher: func(key string, value []byte) uint32 {
			return uint32(len(key) + len(value) + entryOverhead)
		},
		ExpiryCalculator: otter.ExpiryWriting[string, []byte](ttl),
		Clock:            clock(now),
	})}
}

func (m memory) Get(_ context.Context, key string) ([]byte, bool) { return m.GetIfPresent(key) }

func (m memory) Put(_ context.Context, key string, value []byte) { m.Set(key, value) }

// clock lets the cache age by the clock of the stage.
type clock func() time.Time

func (c clock) NowNano() int64 { return c().UnixNano() }

// Tick never ticks: what has expired is not given, makes room when room is
// needed, and is not worth a goroutine until then.
func (c clock) Tick(time.Duration) <-chan time.Time { return nil }

// tier is one of the caches, which are asked in order: the one in process first.
type tier struct {
	Cache
	hits, misses prometheus.Counter
}

// cached gives the sums that a tier has for the key, and keeps them in those
// before it. What cannot be read is as good as absent.
func (q *Query) cached(ctx context.Context, key string, plan *plan) (*summary, bool) {
	for i, t := range q.tiers {
		b, ok := t.Get(ctx, key)
		if ok {
			if s, err := decode(b, plan); err == nil {
				t.hits.Inc()
				for _, before := range q.tiers[:i] {
					before.Put(ctx, key, b)
				}
				return s, true
			}
		}
		t.misses.Inc()
	}
	return nil, false
}

// CacheStatus is how the cache has served since the start of the process.
type CacheStatus struct {
	Enabled    bool    `json:"enabled"`
	TTLSeconds float64 `json:"ttlSeconds"`
	Hits       int64   `json:"hits"` // in this process, or in the cache that nodes share
	Misses     int64   `json:"misses"`
	HitPercent float64 `json:"hitPercent"`
	Entries    int     `json:"entries"` // in this process
	Bytes      int64   `json:"bytes"`   // in this process
}

// counts are kept beside the metrics because those cannot be read back.
type counts struct{ hits, misses atomic.Int64 }
