package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// storeMetrics asks the store how counting stands when it is scraped, and
// keeps the answer for a moment, so that many scrapers cost no more than one.
type storeMetrics struct {
	store usance.Viewer
	now   func() time.Time
	log   *slog.Logger

	tracked, today, pendingBatches, pendingEvents, oldest, overages, up *prometheus.Desc
	asking                                                              chan struct{} // held while the store is asked
	last                                                                usance.StoreStatus
	at                                                                  time.Time
}

// overageStatuses are the series of usance_overages, there from the start.
var overageStatuses = []usance.OverageStatus{
	usance.OverageDetected, usance.OveragePendingApproval, usance.OverageApproved, usance.OverageBilled,
	usance.OveragePaid, usance.OverageDisputed, usance.OverageWaived,
}

// The bounds of asking the store.
const (
	statusTimeout = 5 * time.Second
	statusAge     = 2 * time.Second
)

func newStoreMetrics(store usance.Viewer, now func() time.Time, log *slog.Logger) *storeMetrics {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &storeMetrics{
		store: store, now: now, log: log, asking: make(chan struct{}, 1),
		tracked:        d("usance_licenses_tracked", "ACTIVE licences with tracking enabled."),
		today:          d("usance_events_last_day", "Events received on the last UTC day that had any."),
		pendingBatches: d("usance_pending_batches", "Batches that wait to be folded."),
		pendingEvents:  d("usance_pending_events", "Events that wait to be folded."),
		oldest:         d("usance_pending_oldest_seconds", "Age of the oldest batch that waits to be folded; 0 when none does."),
		overages:       d("usance_overages", "Overages by status.", "status"),
		up:             d("usance_store_up", "1 when the store answered this scrape in time."),
	}
}

// Describe names the series.
func (m *storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.tracked, m.today, m.pendingBatches, m.pendingEvents, m.oldest, m.overages, m.up} {
		ch <- d
	}
}

// Collect asks the store. When it does not answer in time the series are left
// out rather than wrong.
func (m *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s, err := m.status()
	if err != nil {
		m.log.Error("metrics: the store does not answer", "error", err)
		gauge(m.up, 0)
		return
	}
	gauge(m.up, 1)
	gauge(m.tracked, float64(s.TrackedActive))
	gauge(m.today, float64(s.EventsLatestDay))
	gauge(m.pendingBatches, float64(s.PendingBatches))
	gauge(m.pendingEvents, float64(s.PendingEvents))
	age := 0.0
	if !s.OldestPending.IsZero() {
		age = max(0, m.now().Sub(s.OldestPending).Seconds())
	}
	gauge(m.oldest, age)
	for _, status := range overageStatuses {
		gauge(m.overages, float64(s.Overages[status]), string(status))
	}
}

func (m *storeMetrics) status() (usance.StoreStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
	case <-ctx.Done():
		return usance.StoreStatus{}, ctx.Err()
	}
	now := m.now()
	if now.Sub(m.at) < statusAge {
		return m.last, nil
	}
	var s usance.StoreStatus
	err := m.store.View(ctx, func(v usance.View) (err error) {
		s, err = v.Status(ctx)
		return err
	})
	if err == nil {
		m.last, m.at = s, now
	}
	return s, err
}

// logMetrics tell of the write-ahead log of a SQLite file; other stores have none.
func logMetrics(store usance.Store) []prometheus.Collector {
	file, ok := store.(*sqlite.Store)
	if !ok {
		return nil
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "usance_store_log_bytes", Help: "Size of the write-ahead log of the SQLite file.",
		}, func() float64 { return float64(file.Log().Bytes) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "usance_store_log_failures_total", Help: "Times that copying the write-ahead log into the SQLite file failed.",
		}, func() float64 { return float64(file.Log().Failures) }),
	}
}

// processMetrics tell of the process and what it was built from.
func processMetrics() []prometheus.Collector {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "usance_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": buildLabel()},
	})
	build.Set(1)
	return []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build}
}

func buildLabel() string {
	v, commit := buildVersion()
	if commit != "" {
		return v + " " + commit
	}
	return v
}
