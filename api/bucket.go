package api

import (
	"context"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// maxBuckets bounds the memory of a limit. What is forgotten is, as a rule,
// what has not sent anything for long, whose bucket is full again anyway.
const maxBuckets = 100_000

// ownBuckets are the buckets of this process.
type ownBuckets struct {
	now    func() time.Time
	byName *otter.Cache[string, *bucket]
}

var _ Buckets = ownBuckets{}

func newOwnBuckets(now func() time.Time) ownBuckets {
	return ownBuckets{now, otter.Must(&otter.Options[string, *bucket]{MaximumSize: maxBuckets})}
}

func (o ownBuckets) of(name string, burst int) *bucket {
	b, _ := o.byName.ComputeIfAbsent(name, func() (*bucket, bool) {
		return &bucket{tokens: float64(burst)}, false
	})
	return b
}

// Take takes tokens; it always knows.
func (o ownBuckets) Take(_ context.Context, name string, rate float64, burst, n int, debt bool) (taken bool, left float64, known bool) {
	b := o.of(name, burst)
	b.mu.Lock()
	defer b.mu.Unlock()
	left = b.fill(o.now(), rate, burst)
	if n > 0 && !debt && left < float64(n) {
		return false, left, true
	}
	b.tokens = min(left-float64(n), float64(burst))
	return true, b.tokens, true
}

// bucket is one bucket. Unlike that of a library, its level can be set to what
// other nodes have left of it.
type bucket struct {
	mu     sync.Mutex
	tokens float64
	at     time.Time // when it held so many
}

// fill brings the level up to the instant. mu is held.
func (b *bucket) fill(now time.Time, rate float64, burst int) float64 {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.tokens+rate*d.Seconds(), float64(burst))
		b.at = now
	}
	return b.tokens
}

// level gives how many tokens there are.
func (b *bucket) level(now time.Time, rate float64, burst int) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fill(now, rate, burst)
}

// set notes how many tokens there are.
func (b *bucket) set(now time.Time, tokens float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens, b.at = tokens, now
}
