package fold

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics tells how folding goes.
type metrics struct {
	events   prometheus.Counter
	seconds  prometheus.Histogram
	failures prometheus.Counter
	verified prometheus.Counter
	drift    prometheus.Counter
	pruned   prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_fold_events_total", Help: "Events folded into rollups.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "usance_fold_seconds", Help: "Time of one fold.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_fold_failures_total", Help: "Folds that failed; their batches stayed pending.",
		}),
		verified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_verified_rows_total", Help: "Rollup rows compared with their raw events.",
		}),
		drift: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_drifted_rows_total", Help: "Rollup rows, and days of unique sessions, that differed from their raw events; must stay 0.",
		}),
		pruned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_pruned_events_total", Help: "Raw events deleted after the retention.",
		}),
	}
}

func (m *metrics) observe(events int, took time.Duration) {
	m.events.Add(float64(events))
	m.seconds.Observe(took.Seconds())
}

// Metrics gives the collectors of the stage.
func (f *Folder) Metrics() []prometheus.Collector {
	m := f.metrics
	return []prometheus.Collector{m.events, m.seconds, m.failures, m.verified, m.drift, m.pruned}
}
