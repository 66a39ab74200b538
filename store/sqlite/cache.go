package sqlite

import (
	"context"
	"slices"

	"github.com/usance/usance"
)

// cache is what the one connection that writes knows of licences and counters:
// ingest asks for both with every group, and changes of the one are rare while
// all changes of the other come through here. What a transaction changes is
// forgotten at once, or, of counters, when it is not committed; a commit of
// anybody else, such as the sqlite3 shell, forgets everything.
type cache struct {
	version  int64 // PRAGMA data_version: moves with every commit that is not this connection's
	facts    map[string]usance.Facts
	size     int // licences and thresholds in facts
	counters map[usance.CounterKey]usance.Counter
	rollups  map[usance.RollupKey]bool // rows that are there; none is ever deleted
}

// Bounds of the cache: some 10 MB each.
const (
	maxCachedFacts    = 40_000 // licences and thresholds
	maxCachedCounters = 40_000
	maxCachedRollups  = 40_000 // keys
)

func newCache() *cache {
	return &cache{facts: make(map[string]usance.Facts), counters: make(map[usance.CounterKey]usance.Counter), rollups: make(map[usance.RollupKey]bool)}
}

// refresh empties the cache when others have written since the last
// transaction. It is called within one, so that nobody can until its end.
func (c *cache) refresh(ctx context.Context, v *view) error {
	var version int64
	if _, err := v.one(ctx, `PRAGMA data_version`, nil, &version); err != nil {
		return err
	}
	if version != c.version {
		c.version, c.size = version, 0
		clear(c.facts)
		clear(c.counters)
		clear(c.rollups)
	}
	return nil
}

func (c *cache) keepFacts(f usance.Facts) {
	c.dropFacts(f.License.ID)
	for id := range c.facts { // any: those in use come back
		if c.size < maxCachedFacts {
			break
		}
		c.dropFacts(id)
	}
	c.facts[f.License.ID] = f
	c.size += 1 + len(f.Thresholds)
}

func (c *cache) dropFacts(licenseID string) {
	if f, ok := c.facts[licenseID]; ok {
		c.size -= 1 + len(f.Thresholds)
		delete(c.facts, licenseID)
	}
}

func (c *cache) keepCounter(n usance.Counter) {
	for key := range c.counters {
		if len(c.counters) < maxCachedCounters {
			break
		}
		delete(c.counters, key)
	}
	c.counters[n.CounterKey] = n
}

// changesFacts forgets what was known of a licence that the transaction
// changes, and has it read anew as long as it is under way.
func (t *tx) changesFacts(licenseID string) {
	if t.changed == nil {
		t.changed = make(map[string]bool)
	}
	t.changed[licenseID] = true
	t.c.cache.dropFacts(licenseID)
}

// movesCounter notes a counter that is kept as the transaction leaves it.
func (t *tx) movesCounter(key usance.CounterKey) { t.moved = append(t.moved, key) }

// forget takes back what was noted in a transaction that is not committed.
func (t *tx) forget() {
	for _, key := range t.moved {
		delete(t.c.cache.counters, key)
	}
	for _, key := range t.ensured {
		delete(t.c.cache.rollups, key)
	}
}

// Facts are read once as long as nobody changes them.
func (t *tx) Facts(ctx context.Context, ids []string) ([]usance.Facts, error) {
	out := make([]usance.Facts, 0, len(ids))
	var missing []string
	for _, id := range ids {
		if _, ok := t.c.cache.facts[id]; !ok {
			missing = append(missing, id)
		}
	}
	read := make(map[string]usance.Facts, len(missing))
	if len(missing) > 0 {
		rows, err := t.view.Facts(ctx, missing)
		if err != nil {
			return nil, err
		}
		for _, f := range rows {
			read[f.License.ID] = f
		}
	}
	if !slices.IsSorted(ids) {
		ids = slices.Sorted(slices.Values(ids))
	}
	for _, id := range slices.Compact(slices.Clone(ids)) {
		f, ok := read[id]
		if !ok {
			if f, ok = t.c.cache.facts[id]; !ok {
				continue
			}
		}
		f.Thresholds = slices.Clone(f.Thresholds) // callers may replace its elements, and change nothing that they point to
		out = append(out, f)
	}
	for id, f := range read {
		if !t.changed[id] {
			t.c.cache.keepFacts(f)
		}
	}
	return out, nil
}

// Counters gives those of the keys that exist; what is read is kept.
func (t *tx) Counters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	out := make([]usance.Counter, 0, len(keys))
	for _, k := range keys {
		if n, ok := t.c.cache.counters[k]; ok {
			out = append(out, n)
			continue
		}
		rows, err := t.view.Counters(ctx, []usance.CounterKey{k})
		if err != nil {
			return nil, err
		}
		for _, n := range rows {
			t.movesCounter(k) // it may be of this very transaction
			t.c.cache.keepCounter(n)
			out = append(out, n)
		}
	}
	return out, nil
}
