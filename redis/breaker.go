package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The bounds of the breaker.
const (
	// maxFailures is how many commands fail in a row before none is sent.
	maxFailures = 3
	// The pause before a Redis that is away is asked again; it doubles when the
	// Redis came back only to go again soon.
	minPause, maxPause = 100 * time.Millisecond, 10 * time.Second
	soon               = 10 * time.Second
	// answersToReturn is how many answers in time a Redis gives before it is
	// used again.
	answersToReturn = 3
)

// breaker keeps commands from a Redis that does not answer. It begins open.
type breaker struct {
	isClosed atomic.Bool
	failures atomic.Int32
	wake     chan struct{} // of capacity 1

	mu       sync.Mutex
	closedAt time.Time
	openedAt time.Time
	pause    time.Duration
}

func (b *breaker) closed() bool { return b.isClosed.Load() }

func (b *breaker) succeeded() { b.failures.Store(0) }

// failed tells whether this was one failure too many.
func (b *breaker) failed() bool { return b.failures.Add(1) >= maxFailures && b.isClosed.Load() }

// open tells whether it was closed, or never open.
func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.isClosed.Swap(false) && !b.openedAt.IsZero() {
		return false
	}
	b.openedAt = time.Now()
	if b.pause == 0 || b.openedAt.Sub(b.closedAt) > soon {
		b.pause = minPause
	} else {
		b.pause = min(2*b.pause, maxPause)
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// close gives how long it was open.
func (b *breaker) close() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closedAt = time.Now()
	b.failures.Store(0)
	b.isClosed.Store(true)
	return b.closedAt.Sub(b.openedAt)
}

func (b *breaker) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause
}

// leave goes on without the Redis, and says so once.
func (r *Redis) leave(cause error) {
	if !r.breaker.open() {
		return
	}
	r.log.Warn("Redis does not answer; going on without it: the cache is each node's own, and so are rate limits", "error", cause)
}

// watch waits for a Redis that is away.
func (r *Redis) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.breaker.wake:
		}
		for answers := 0; answers < answersToReturn; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(r.breaker.wait() / answersToReturn):
			}
			start := time.Now()
			// It must be fast enough too, not only there.
			if err := r.Ping(ctx); err == nil && time.Since(start) < patience/2 {
				answers++
			} else {
				answers = 0
			}
		}
		away := r.breaker.close()
		r.log.Info("Redis answers again", "after", away.Round(time.Millisecond))
	}
}

// Degraded tells what is missing while the Redis is away or refuses what it is
// asked for; "" when it serves.
func (r *Redis) Degraded() string {
	switch {
	case !r.breaker.closed():
		return "Redis does not answer: reads are slower, and rate limits are each node's own"
	case r.refusals.lately():
		return "Redis refuses commands: reads are slower, or rate limits are each node's own; usance check says which"
	}
	return ""
}

// refusing is how long after a refusal the Redis counts as one that refuses. A
// command that it carries out ends nothing: it may read and refuse to write.
const refusing = time.Minute

// refusals remembers when the Redis refused a command.
type refusals struct{ last atomic.Pointer[time.Time] }

func (f *refusals) note() {
	now := time.Now()
	f.last.Store(&now)
}

func (f *refusals) lately() bool {
	last := f.last.Load()
	return last != nil && time.Since(*last) < refusing
}

// quiet keeps a log from saying the same with each request.
type quiet struct{ last atomic.Int64 }

func (q *quiet) speak() bool {
	now, last := time.Now().UnixNano(), q.last.Load()
	return now-last > int64(time.Minute) && q.last.CompareAndSwap(last, now)
}

// metrics tells how the Redis serves.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	up       prometheus.GaugeFunc
}

// operations are what the Redis is asked for.
var operations = []string{opGet, opPut, opTake}

func newMetrics(serves func() bool) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_redis_requests_total", Help: "Commands for Redis, by operation and result: ok, error, or skipped while it is away.",
		}, []string{"operation", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usance_redis_seconds", Help: "Time that a command for Redis took, by operation.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 10),
		}, []string{"operation"}),
		up: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "usance_redis_up", Help: "1 while Redis answers in time, is used, and has refused no command for a minute.",
		}, func() float64 {
			if serves() {
				return 1
			}
			return 0
		}),
	}
	for _, o := range operations { // there before they move
		m.seconds.WithLabelValues(o)
		for _, result := range []string{"ok", "error", "skipped"} {
			m.requests.WithLabelValues(o, result)
		}
	}
	return m
}

// Metrics gives the collectors of the Redis.
func (r *Redis) Metrics() []prometheus.Collector {
	return []prometheus.Collector{r.metrics.requests, r.metrics.seconds, r.metrics.up}
}
