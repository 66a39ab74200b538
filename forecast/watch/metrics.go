package watch

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

type metrics struct {
	made, failed            prometheus.Counter
	seconds                 prometheus.Histogram
	alerts                  *prometheus.CounterVec
	scored, covered, level  prometheus.Counter
	scaledSum, scaledCount  prometheus.Counter
	brierSum, brierCount    prometheus.Counter
	absoluteError, quantity prometheus.Counter
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "usance_" + name, Help: help})
	}
	m := metrics{
		made:   counter("forecasts_total", "Forecasts made and kept."),
		failed: counter("forecast_failures_total", "Licences that could not be forecast, whose forecasts could not be scored, or that could not be looked through for what is unusual."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "usance_forecast_seconds", Help: "Time to forecast a licence's thresholds, reading included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_watch_alerts_total", Help: "Alerts of limits that will be passed and of unusual usage, by kind.",
		}, []string{"kind"}),
		scored:        counter("forecasts_scored_total", "Forecasts whose period has closed and that were scored."),
		covered:       counter("forecasts_covered_total", "Scored forecasts whose total lay within their bounds."),
		level:         counter("forecasts_confidence_sum", "Sum of the confidence levels of scored forecasts: what forecasts_covered_total should be."),
		scaledSum:     counter("forecast_scaled_error_sum", "Sum of the errors of scored forecasts over those of the naive forecast."),
		scaledCount:   counter("forecast_scaled_error_count", "Scored forecasts that have such an error; MASE is the sum over this."),
		brierSum:      counter("forecast_brier_score_sum", "Sum of the squared errors of breach probabilities."),
		brierCount:    counter("forecast_brier_score_count", "Scored forecasts that had a limit."),
		absoluteError: counter("forecast_absolute_error_units_total", "Units that scored forecasts were off."),
		quantity:      counter("forecast_actual_units_total", "Units that were used in the periods of scored forecasts."),
	}
	for _, kind := range []usance.AlertKind{usance.AlertForecast, usance.AlertSpike, usance.AlertDrop, usance.AlertFlat, usance.AlertConcentration} {
		m.alerts.WithLabelValues(string(kind)) // there from the start
	}
	return m
}

// Metrics gives the collectors.
func (w *Watch) Metrics() []prometheus.Collector {
	m := &w.m
	return []prometheus.Collector{
		m.made, m.failed, m.seconds, m.alerts, m.scored, m.covered, m.level, m.scaledSum, m.scaledCount, m.brierSum, m.brierCount,
		m.absoluteError, m.quantity,
	}
}

func (m *metrics) score(f *usance.Forecast, s *usance.ForecastScore) {
	m.scored.Inc()
	m.level.Add(f.ConfidenceLevel)
	if s.Covered {
		m.covered.Inc()
	}
	if s.ScaledError != nil {
		m.scaledSum.Add(*s.ScaledError)
		m.scaledCount.Inc()
	}
	if s.BrierScore != nil {
		m.brierSum.Add(*s.BrierScore)
		m.brierCount.Inc()
	}
	m.absoluteError.Add(float64(s.AbsoluteError))
	m.quantity.Add(float64(max(0, s.ActualQuantity)))
}
