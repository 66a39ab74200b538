// Package query answers questions about usage: what is used now, over time, by
// whom and from where, and how near the limits are.
//
// Every answer comes from one snapshot of the store. It is made of two parts:
// the rollups, which grow when events are folded into them, and the tail, the
// events that are acknowledged and not folded yet. So an answer holds whatever
// was acknowledged before the question, and says the same before and after a
// fold.
//
// What is costly is the first part, and that alone is cached: sums over folded
// rows, filed under the licence's version, which each fold and recalculation
// replaces by one that it never had, under every parameter of the question, with
// defaults resolved to dates, and under what the viewer may see. Version and tail are read in one
// snapshot and the tail is added to a copy of what is cached. A cache can
// therefore neither hide a counted event nor show one twice, whoever filled it
// and however long ago: what is filed never changes, so that nodes can share it
// and nothing has to be taken out of it.
//
// Rollups know a licence's local days and, within them, hours counted from
// local midnight. Usage per type can be cut at those hours; platforms, devices,
// places, sources and sessions are known per day only. A range that begins or
// ends within a day is answered without these, with a note that says so.
package query

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

// Options are the settings of a Query; zero fields take the defaults named.
type Options struct {
	Now func() time.Time // the clock; time.Now
	// TTL is how long sums are kept in the cache; 0 switches it off.
	TTL time.Duration
	// CacheBytes bounds the cache in process; 64 MiB.
	CacheBytes int
	// Shared is asked for what the cache in process does not have: a cache that
	// several nodes share. It keeps the TTL itself.
	Shared Cache
}

// Query answers questions. Its methods may be called at once from many goroutines.
type Query struct {
	store   usance.Viewer
	now     func() time.Time
	ttl     time.Duration
	tiers   []tier // of the cache; none when it is switched off
	metrics *metrics
	counts  counts
}

// New makes a Query over the store.
func New(store usance.Viewer, o Options) *Query {
	q := &Query{store: store, now: o.Now, ttl: o.TTL, metrics: newMetrics()}
	if q.now == nil {
		q.now = time.Now
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	if o.TTL <= 0 {
		return q
	}
	q.addTier("process", newMemory(o.TTL, o.CacheBytes, q.now))
	if o.Shared != nil {
		q.addTier("shared", o.Shared)
	}
	return q
}

func (q *Query) addTier(name string, c Cache) {
	q.tiers = append(q.tiers, tier{c, q.metrics.tiers.WithLabelValues(name, "hit"), q.metrics.tiers.WithLabelValues(name, "miss")})
}

// Viewer is who asks. Its zero value sees all of every licence.
type Viewer struct {
	// Key tells apart viewers who may see different things.
	Key string
	// NoLimits, when set, is why thresholds and what follows from them are not
	// shown: the answer to who asks for nothing else.
	NoLimits error
	// Check, when set, is asked first, in the snapshot that the answer comes
	// from; its error ends the request.
	Check func(ctx context.Context, v usance.View, licenseID string) error
}

// reading is one request at work: one licence in one snapshot.
type reading struct {
	q       *Query
	view    usance.View
	viewer  Viewer
	license usance.License
	zone    *time.Location
	now     time.Time
	today   usance.Date // in the licence's zone
}

// read opens a snapshot, checks the viewer and reads the licence in it.
func (q *Query) read(ctx context.Context, operation string, viewer Viewer, licenseID string, fn func(*reading) error) error {
	if err := usance.ValidateID("licenseId", licenseID); err != nil {
		return err
	}
	start := time.Now()
	defer func() { q.metrics.seconds.WithLabelValues(operation).Observe(time.Since(start).Seconds()) }()
	return q.store.View(ctx, func(v usance.View) error {
		if viewer.Check != nil {
			if err := viewer.Check(ctx, v, licenseID); err != nil {
				return err
			}
		}
		l, err := v.License(ctx, licenseID)
		if err != nil {
			return err
		}
		zone, err := usance.ParseZone(l.Timezone)
		if err != nil {
			return err
		}
		now := q.now().UTC()
		return fn(&reading{q: q, view: v, viewer: viewer, license: l, zone: zone, now: now, today: usance.DateOf(now, zone)})
	})
}

// metrics tells how reading goes.
type metrics struct {
	cache   *prometheus.CounterVec
	tiers   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	hits    prometheus.Counter
	misses  prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_cache_requests_total", Help: "Look-ups of sums over folded rows, by result: hit or miss.",
		}, []string{"result"}),
		tiers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_cache_tier_requests_total", Help: "Look-ups of sums over folded rows in the cache in process and in the one that nodes share, by tier and result.",
		}, []string{"tier", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usance_query_seconds", Help: "Time to answer a question about usage, by operation.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation"}),
	}
	// Both are there from the start, so that a rate over them is defined.
	m.hits, m.misses = m.cache.WithLabelValues("hit"), m.cache.WithLabelValues("miss")
	return m
}

// Metrics gives the collectors of the stage.
func (q *Query) Metrics() []prometheus.Collector {
	return []prometheus.Collector{q.metrics.cache, q.metrics.tiers, q.metrics.seconds}
}
