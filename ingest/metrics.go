package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

// metrics tells how ingest goes.
type metrics struct {
	events     *prometheus.CounterVec
	groups     prometheus.Histogram
	seconds    prometheus.Histogram
	careful    prometheus.Counter
	regrouped  prometheus.Counter
	overloaded prometheus.Counter
	alerts     prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_ingest_events_total", Help: "Events answered, by result: counted, duplicate, or the code of the refusal.",
		}, []string{"result"}),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "usance_ingest_group_events", Help: "Events recorded by one transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "usance_ingest_commit_seconds", Help: "Time to judge and commit one group.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		careful: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_ingest_careful_total", Help: "Groups judged a second time with their keys looked up.",
		}),
		regrouped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_ingest_regrouped_total", Help: "Groups that failed and were tried again request by request.",
		}),
		overloaded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_ingest_overloaded_total", Help: "Requests turned away because the queue was full.",
		}),
		alerts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_alerts_raised_total", Help: "Alerts that usage raised.",
		}),
	}
}

func (m *metrics) observe(g *group, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	m.alerts.Add(float64(g.alerts))
	if len(g.staged) > 0 {
		m.groups.Observe(float64(len(g.staged)))
	}
	counts := make(map[string]int)
	for _, r := range g.requests {
		for i := range r.results {
			counts[outcome(&r.results[i])]++
		}
	}
	for result, n := range counts {
		m.events.WithLabelValues(result).Add(float64(n))
	}
}

func outcome(r *usance.Result) string {
	switch {
	case r.Error != nil:
		return string(r.Error.Code)
	case r.Duplicate:
		return "duplicate"
	}
	return "counted"
}

// Metrics gives the collectors of the stage, and the length of the queue.
func (in *Ingester) Metrics() []prometheus.Collector {
	m := in.metrics
	return []prometheus.Collector{m.events, m.groups, m.seconds, m.careful, m.regrouped, m.overloaded, m.alerts,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "usance_ingest_waiting_events", Help: "Events that wait for their commit.",
		}, func() float64 { return float64(in.waiting.Load()) })}
}
