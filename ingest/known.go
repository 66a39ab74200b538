package ingest

import (
	"slices"
	"sync"

	"github.com/usance/usance"
)

// knownCounters are counters that were seen in the store, which only ever makes
// new ones: what is not among them is made sure of first.
type knownCounters struct {
	mu   sync.Mutex
	keys map[usance.CounterKey]struct{}
}

// maxKnownCounters bounds them: some 10 MB.
const maxKnownCounters = 100_000

// unknown gives those that have to be there and may be missing, as they are made,
// in key order.
func (k *knownCounters) unknown(counters map[usance.CounterKey]*counter) []usance.Counter {
	var out []usance.Counter
	k.mu.Lock()
	for key, c := range counters {
		if _, c.known = k.keys[key]; c.must && !c.known {
			out = append(out, c.empty())
		}
	}
	k.mu.Unlock()
	slices.SortFunc(out, func(a, b usance.Counter) int { return a.Compare(b.CounterKey) })
	return out
}

// know notes the counters of a group that was committed.
func (k *knownCounters) know(counters map[usance.CounterKey]*counter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil || len(k.keys)+len(counters) > maxKnownCounters {
		k.keys = make(map[usance.CounterKey]struct{}, len(counters))
	}
	for key, c := range counters {
		if c.made && !c.known {
			k.keys[key] = struct{}{}
		}
	}
}

func (k *knownCounters) forget(keys []usance.CounterKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range keys {
		delete(k.keys, key)
	}
}
