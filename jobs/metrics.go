package jobs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

type metrics struct {
	runs        *prometheus.CounterVec
	retries     *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	running     *prometheus.GaugeVec
	paused      *prometheus.GaugeVec
	lastSuccess *prometheus.GaugeVec
	nextRun     *prometheus.GaugeVec
}

func newMetrics() metrics {
	label := []string{"name"} // "job" is Prometheus's own, of what is scraped
	return metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_job_runs_total", Help: "Runs that ended, by result: ok or error."}, []string{"name", "result"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_job_retries_total", Help: "Attempts that failed and were tried again."}, label),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usance_job_duration_seconds", Help: "How long runs took, attempts and pauses together.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60, 150, 300, 600, 1800}}, label),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "usance_job_running", Help: "1 while a run is under way on this node."}, label),
		paused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "usance_job_paused", Help: "1 while the job is paused."}, label),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "usance_job_last_success_timestamp_seconds", Help: "When a run last ended well, on any node; 0 when never known."}, label),
		nextRun: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "usance_job_next_run_timestamp_seconds", Help: "When the job is due next."}, label),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.runs, m.retries, m.duration, m.running, m.paused, m.lastSuccess, m.nextRun}
}

// register makes the job's series exist from the start, so that rates over them
// are right from the first run.
func (m *metrics) register(job string) {
	m.runs.WithLabelValues(job, "ok")
	m.runs.WithLabelValues(job, "error")
	m.retries.WithLabelValues(job)
	m.duration.WithLabelValues(job)
	m.running.WithLabelValues(job)
	m.paused.WithLabelValues(job)
	m.lastSuccess.WithLabelValues(job)
	m.nextRun.WithLabelValues(job)
}

// observe shows what the store knows of a job, whoever ran it.
func (m *metrics) observe(j usance.Job) {
	paused := 0.0
	if j.Paused {
		paused = 1
	}
	m.paused.WithLabelValues(j.Name).Set(paused)
	m.nextRun.WithLabelValues(j.Name).Set(seconds(j.NextRunAt))
	if j.LastError == "" && !j.LastRunAt.IsZero() {
		m.lastSuccess.WithLabelValues(j.Name).Set(seconds(j.LastRunAt))
	}
}

func (m *metrics) count(job string, err error, took time.Duration, at time.Time) {
	m.duration.WithLabelValues(job).Observe(took.Seconds())
	if err != nil {
		m.runs.WithLabelValues(job, "error").Inc()
		return
	}
	m.runs.WithLabelValues(job, "ok").Inc()
	m.lastSuccess.WithLabelValues(job).Set(seconds(at))
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
