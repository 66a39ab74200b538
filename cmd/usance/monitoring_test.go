package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance/redis"
)

// monitored maps what operators watch to the series that
// shows it; docs/operations.md holds the same table.
var monitored = []struct{ line, series string }{
	{"Aggregation job completion rate", `usance_job_runs_total{name="aggregateUsageMetrics",result="ok"}`},
	{"Aggregation job duration", `usance_job_duration_seconds_count{name="aggregateUsageMetrics"}`},
	{"Threshold check job completion", `usance_job_last_success_timestamp_seconds{name="checkUsageThresholds"}`},
	{"Event ingestion rate", `usance_ingest_events_total{result="counted"}`},
	{"Cache hit rate", `usance_cache_requests_total{result="hit"}`},
	{"Cache hit rate", `usance_cache_requests_total{result="miss"}`},
	{"Database query performance", `usance_query_seconds_count{operation="analytics"}`},
	{"Active licenses with tracking enabled", `usance_licenses_tracked`},
	{"Total usage events per day", `usance_events_last_day`},
	{"Overages detected vs. approved", `usance_overages{status="DETECTED"}`},
	{"Overages detected vs. approved", `usance_overages{status="APPROVED"}`},
}

func TestEveryMonitoredLineMoves(t *testing.T) {
	t.Parallel()
	clock := &demoClock{t: time.Date(2026, 5, 6, 10, 0, 0, 0, time.UTC)}
	s := stages(t, clock, "USANCE_AUTO_APPROVE_CENTS=100000")
	r := s.asRemote(t)
	do := func(operation string, in any) {
		t.Helper()
		if err := r.call(t.Context(), operation, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	var history []map[string]string
	scrape := func() {
		t.Helper()
		clock.t = clock.t.Add(3 * time.Second) // past the age of the store's last answer
		history = append(history, seriesOf(t, r))
	}
	run := func(job string) {
		t.Helper()
		if err := s.jobs.RunNow(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}

	scrape()
	do("catalog.putLicense", map[string]any{"id": "lic_2", "brandId": "b1", "assetId": "a1", "status": "ACTIVE"})
	do("usage.createThreshold", map[string]any{"licenseId": "lic_1", "usageType": "view", "periodType": "daily",
		"limitQuantity": 1, "allowOverage": true, "overageRateCents": 5})
	s.trackOne(t, "a", clock.t)
	s.trackOne(t, "b", clock.t)
	scrape() // DETECTED
	analytics := map[string]string{"licenseId": "lic_1", "granularity": "daily", "startDate": "2026-05-01", "endDate": "2026-05-07"}
	do("usage.getAnalytics", analytics)
	do("usage.getAnalytics", analytics)
	run(jobAggregate)
	scrape()
	clock.t = clock.t.AddDate(0, 0, 3) // the day has ended, and its grace
	run(jobThresholds)
	scrape() // APPROVED
	for _, m := range monitored {
		var values []string
		for _, at := range history {
			v := at[m.series]
			if v == "" {
				v = "0" // a series with labels begins with its first sample
			}
			values = append(values, v)
		}
		if len(slices.Compact(slices.Clone(values))) < 2 {
			t.Errorf("%s: %s does not move: %v", m.line, m.series, values)
		}
	}
}

// seriesOf reads all series of /metrics.
func seriesOf(t *testing.T, r *remote) map[string]string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s %v", resp.Status, err)
	}
	out := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			out[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return out
}

// TestMonitoringIsDocumented holds docs/operations.md to the metrics that are:
// each line monitored stands there, and each metric named there exists.
func TestMonitoringIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range monitored {
		name, _, _ := strings.Cut(m.series, "{")
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(m.line) + `.*` + strings.TrimSuffix(regexp.QuoteMeta(name), "_count"))
		if !row.Match(page) {
			t.Errorf("docs/operations.md has no row for %q that names %s", m.line, name)
		}
	}
	served := servedMetrics(t)
	for _, name := range metricNames(string(page)) {
		if served[name] == nil {
			t.Errorf("docs/operations.md names %s, which does not exist", name)
		}
	}
	// The one table of all of them, with their labels.
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile(`(?m)^\| (`+"`"+`usance_[^|]*) \| ([^|]*?) ?\| [^|]+ \|$`).FindAllStringSubmatch(string(page), -1) {
		for _, name := range metricNames(row[1]) {
			rows[name] = strings.NewReplacer("`", "", " ", "").Replace(row[2])
		}
	}
	for name, labels := range served {
		if got, ok := rows[name]; !ok || got != strings.Join(labels, ",") {
			t.Errorf("docs/operations.md has no row for %s with the labels %v, but %q", name, labels, got)
		}
	}
}

// servedMetrics are the program's own metrics with their labels, as /metrics of a
// server with everything has them.
func servedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	s := stages(t, &demoClock{t: time.Now()})
	if _, err := s.handler(); err != nil {
		t.Fatal(err)
	}
	shared, err := redis.Open(t.Context(), "redis://127.0.0.1:1", redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	form := regexp.MustCompile(`fqName: "(usance_[a-z_]+)".* constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)
	constant := regexp.MustCompile(`([a-z_]+)="`)
	out := make(map[string][]string)
	for _, c := range append(s.collectors, shared.Metrics()...) {
		ch := make(chan *prometheus.Desc, 100)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			m := form.FindStringSubmatch(d.String())
			if m == nil {
				continue // of the runtime
			}
			labels := []string{}
			for _, l := range constant.FindAllStringSubmatch(m[2], -1) {
				labels = append(labels, l[1])
			}
			if m[3] != "" {
				labels = append(labels, strings.Split(m[3], ",")...)
			}
			out[m[1]] = labels
		}
	}
	// What /metrics of a server at work holds is among these.
	for line := range seriesOf(t, s.asRemote(t)) {
		for _, name := range metricNames(line) {
			if out[name] == nil {
				t.Errorf("/metrics holds %s, which no collector describes", name)
			}
		}
	}
	return out
}

// asRemote asks the stages without a network.
func (s *server) asRemote(t *testing.T) *remote {
	t.Helper()
	handler, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	return &remote{url: "http://usance.invalid", key: s.adminKey, http: &http.Client{Transport: direct{handler}}}
}

// metricNames gives the metrics that a text names, histograms by their own name.
func metricNames(text string) (names []string) {
	for _, name := range regexp.MustCompile(`\busance_[a-z_]+`).FindAllString(text, -1) {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && !isSumOfItsOwn(base) {
				name = base
			}
		}
		names = append(names, name)
	}
	return names
}

// isSumOfItsOwn tells of sums and counts that are no histogram's.
func isSumOfItsOwn(base string) bool {
	return slices.Contains([]string{"usance_forecasts_confidence", "usance_forecast_scaled_error", "usance_forecast_brier_score"}, base)
}
