package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/query"
)

// healthy is what is found of a deployment with which all is well.
func healthy(t *testing.T) *findings {
	t.Helper()
	now := time.Date(2026, 5, 6, 12, 20, 0, 0, time.UTC)
	f := &findings{now: now, serving: true}
	f.activity = usance.Activity{Licenses: 3, TrackingEnabled: 2, EventsLastDay: 5, LicensesLastDay: 2,
		Days: []usance.ActiveDay{{Date: 20580, Events: 5, Licenses: 2, Used: 2, Aggregated: 2}}}
	f.status = query.AggregationStatus{Cache: query.CacheStatus{Enabled: true, Hits: 900, Misses: 100, HitPercent: 90}}
	for _, name := range scheduled {
		f.jobs = append(f.jobs, usance.Job{Name: name, LastRunAt: now.Add(-20 * time.Minute), NextRunAt: now.Add(10 * time.Minute), Runs: 200, Failures: 9, DayRuns: 25})
	}
	f.asked = map[string][]time.Duration{"analytics": {time.Millisecond, time.Second}, "dailyAggregates": {time.Millisecond}}
	for range 40 {
		f.asked["analytics"] = append(f.asked["analytics"], 199*time.Millisecond)
	}
	f.accuracy = []usance.ForecastAccuracy{{Forecasts: 99, Coverage: 0.7, ConfidenceLevel: 0.8}, {Forecasts: 1, Coverage: 1, ConfidenceLevel: 0.8}}
	f.books = []fold.Books{{LicenseID: "l", Rows: 9, Events: 90, Counters: 2, Overages: 1, Faults: []fold.Discrepancy{}}}
	f.metrics = scraped(t, nil)
	return f
}

// scraped reads an exposition with the series changed.
func scraped(t *testing.T, change map[string]string) metricFamilies {
	t.Helper()
	var text strings.Builder
	typed := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(exposition), "\n") {
		series, value, _ := strings.Cut(line, " ")
		if v, ok := change[series]; ok {
			value = v
		}
		family, _, _ := strings.Cut(series, "{")
		kind := "gauge"
		switch {
		case strings.Contains(series, "_seconds_"):
			family, kind = "usance_query_seconds", "histogram"
		case strings.Contains(series, "_total"):
			kind = "counter"
		}
		if !typed[family] {
			typed[family] = true
			fmt.Fprintf(&text, "# TYPE %s %s\n", family, kind)
		}
		fmt.Fprintln(&text, series, value)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	out, err := parser.TextToMetricFamilies(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const exposition = `
usance_http_requests_total{operation="a",status="200"} 980
usance_http_requests_total{operation="b",status="404"} 15
usance_http_requests_total{operation="b",status="503"} 5
usance_drifted_rows_total 0
usance_ingest_waiting_events 10
usance_store_log_bytes 268435456
usance_query_seconds_bucket{operation="analytics",le="0.1"} 90
usance_query_seconds_bucket{operation="analytics",le="0.2"} 95
usance_query_seconds_bucket{operation="analytics",le="0.4"} 100
usance_query_seconds_bucket{operation="analytics",le="+Inf"} 100
usance_query_seconds_sum{operation="analytics"} 9
usance_query_seconds_count{operation="analytics"} 100
usance_query_seconds_bucket{operation="dailyAggregates",le="0.1"} 30
usance_query_seconds_bucket{operation="dailyAggregates",le="+Inf"} 30
usance_query_seconds_sum{operation="dailyAggregates"} 1
usance_query_seconds_count{operation="dailyAggregates"} 30
`

func everyCheck(string) bool { return true }

// failedChecks names the checks that failed, each of which must say what to do.
func failedChecks(t *testing.T, list []measure) string {
	t.Helper()
	var out []string
	for _, m := range list {
		if m.Outcome == outcomeFail {
			out = append(out, m.Check)
		}
		if (m.Outcome == outcomeOK) == (m.Fix != "") || m.Measured == "" || m.Threshold == "" {
			t.Errorf("%+v: one that is not ok, and no other, says why or what to do", m)
		}
	}
	return strings.Join(out, ", ")
}

// Each check fails when what it looks at is broken, and no other one does.
func TestEachCheckFailsByItself(t *testing.T) {
	t.Parallel()
	job := func(f *findings, name string) *usance.Job { return f.job(name) }
	for _, c := range []struct {
		name  string
		spoil func(f *findings)
		want  string
	}{
		{"nothing", func(*findings) {}, ""},
		{"no event came", func(f *findings) { f.activity.EventsLastDay = 0 }, "events"},
		{"a licence has no aggregate", func(f *findings) { f.activity.Days[0].Aggregated = 1 }, "aggregation: completeness"},
		{"the aggregation failed", func(f *findings) { job(f, jobAggregate).LastError = "no\nway" }, "aggregation: last run, jobs: aggregateUsageMetrics"},
		{"the aggregation never ran", func(f *findings) {
			j := job(f, jobAggregate)
			j.LastRunAt, j.Runs, j.Failures, j.DayRuns = time.Time{}, 0, 0, 0
		}, "aggregation: last run"},
		{"the aggregation ran long ago", func(f *findings) { job(f, jobAggregate).LastRunAt = f.now.Add(-26 * time.Hour) }, "aggregation: last run"},
		{"the aggregation is slow", func(f *findings) { job(f, jobAggregate).LastDuration = 5*time.Minute + 1 }, "aggregation: duration"},
		{"the aggregation fails at times", func(f *findings) { job(f, jobAggregate).DayFailures = 1 }, "aggregation: completion"},
		{"the fold is late", func(f *findings) { f.status.FoldLagSeconds = 301 }, "aggregation: fold"},
		{"rows drifted", func(f *findings) { f.metrics = scraped(t, map[string]string{"usance_drifted_rows_total": "1"}) }, "aggregation: drift"},
		{"threshold checks failed", func(f *findings) { job(f, jobThresholds).LastError = "x" }, "thresholds: last run, jobs: checkUsageThresholds"},
		{"threshold checks are rare", func(f *findings) { job(f, jobThresholds).LastRunAt = f.now.Add(-3 * time.Hour) }, "thresholds: last run"},
		{"threshold checks are gone", func(f *findings) { f.jobs = append(f.jobs[:1:1], f.jobs[2:]...) }, "thresholds: job"},
		{"analytics are slow now", func(f *findings) { f.asked["analytics"] = []time.Duration{200 * time.Millisecond} }, "queries: analytics now"},
		{"analytics were slow", func(f *findings) {
			f.metrics = scraped(t, map[string]string{`usance_query_seconds_bucket{operation="analytics",le="0.2"}`: "94"})
		}, "queries: analytics since the start"},
		{"aggregates are slow now", func(f *findings) { f.asked["dailyAggregates"] = []time.Duration{100 * time.Millisecond} }, "queries: dailyAggregates now"},
		{"aggregates were slow", func(f *findings) {
			f.metrics = scraped(t, map[string]string{`usance_query_seconds_bucket{operation="dailyAggregates",le="0.1"}`: "28"})
		}, "queries: dailyAggregates since the start"},
		{"errors", func(f *findings) {
			f.metrics = scraped(t, map[string]string{`usance_http_requests_total{operation="b",status="503"}`: "11"})
		}, "errors"},
		{"the cache does not serve", func(f *findings) { f.status.Cache.HitPercent = 80 }, "cache"},
		{"an index is missing", func(f *findings) {
			f.schema = []usance.SchemaFault{{Kind: "index", Name: "x", Problem: "is missing", Fix: "make it"}}
		}, "schema"},
		{"a job is paused", func(f *findings) { job(f, jobCleanup).Paused = true }, "jobs: cleanupOldUsageEvents"},
		{"a job is overdue", func(f *findings) { job(f, jobCleanup).NextRunAt = f.now.Add(-6 * time.Minute) }, "jobs: cleanupOldUsageEvents"},
		{"a job failed", func(f *findings) { job(f, jobCleanup).LastError = "x" }, "jobs: cleanupOldUsageEvents"},
		{"events queue up", func(f *findings) { f.metrics = scraped(t, map[string]string{"usance_ingest_waiting_events": "10001"}) }, "jobs: events waiting"},
		{"a rollup is wrong", func(f *findings) { f.books[0].Wrong = map[string]int{fold.WrongRollup: 1} }, "books: rollups"},
		{"sessions are lost", func(f *findings) { f.books[0].Wrong = map[string]int{fold.WrongSessions: 1} }, "books: sessions"},
		{"forecasts are off", func(f *findings) { f.accuracy[0].Coverage = 0.65 }, "forecasts: accuracy"},
		{"a counter is wrong", func(f *findings) { f.books[0].Wrong = map[string]int{fold.WrongCounter: 1} }, "books: counters"},
		{"an overage is wrong", func(f *findings) { f.books[0].Wrong = map[string]int{fold.WrongOverage: 1} }, "books: overages"},
		{"a licence cannot be read", func(f *findings) { f.books[0].Wrong = map[string]int{fold.WrongLicense: 1} }, "books: licences"},
		{"a damaged file", func(f *findings) { f.serving, f.file = false, fmt.Errorf("page 7 is damaged") }, "file"},
		{"the log grows", func(f *findings) { f.metrics = scraped(t, map[string]string{"usance_store_log_bytes": "268435457"}) }, "file: log"},
	} {
		f := healthy(t)
		c.spoil(f)
		if got := failedChecks(t, f.judge(everyCheck)); got != c.want {
			t.Errorf("%s: %q failed, want %q", c.name, got, c.want)
		}
	}
}

// A question that failed leaves untold what it is asked for, and nothing else.
func TestWhatIsNotAnsweredIsNotTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(f *findings)
		want  string
	}{
		{"activity", func(f *findings) { f.activityErr = errors.New("x") }, "events, aggregation: completeness"},
		{"jobs", func(f *findings) { f.jobsErr = errors.New("x") }, "aggregation: job, thresholds: job, jobs"},
		{"status", func(f *findings) { f.statusErr = errors.New("x") }, "aggregation: fold, cache"},
		{"status, without a server", func(f *findings) { f.serving, f.statusErr = false, errors.New("x") }, "aggregation: fold"},
		{"books", func(f *findings) { f.booksErr = errors.New("x") }, "books"},
		{"queries", func(f *findings) { f.askedErr = errors.New("x") }, "queries"},
		{"forecasts", func(f *findings) { f.accuracyErr = errors.New("x") }, "forecasts: accuracy"},
		{"schema", func(f *findings) { f.schemaErr = errors.New("x") }, "schema"},
	} {
		f := healthy(t)
		c.spoil(f)
		if got := failedChecks(t, f.judge(everyCheck)); got != c.want {
			t.Errorf("%s: %q failed, want %q", c.name, got, c.want)
		}
	}
}

// Where nothing can be measured a check says so, and is not passed.
func TestChecksWithoutAMeasureAreNotPassed(t *testing.T) {
	t.Parallel()
	f := healthy(t)
	f.status.Cache.Hits, f.status.Cache.Misses = 90, 9
	f.accuracy = f.accuracy[:1]
	f.asked, f.metrics = nil, scraped(t, map[string]string{`usance_query_seconds_count{operation="analytics"}`: "19"})
	outcomes := make(map[string]string)
	for _, m := range f.judge(everyCheck) {
		outcomes[m.Check] = m.Outcome
	}
	for _, check := range []string{
		"cache", "queries: analytics now", "queries: analytics since the start", "file",
		"forecasts: accuracy",
	} {
		if outcomes[check] != outcomeNone {
			t.Errorf("%s is %q, want not applicable", check, outcomes[check])
		}
	}
	f.serving = false
	for _, m := range f.judge(func(check string) bool { return check == "errors" || check == "cache" }) {
		if m.Outcome != outcomeNone {
			t.Errorf("without a server %+v", m)
		}
	}
}

// verified runs the command on a data folder.
func verified(t *testing.T, dir string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), append([]string{"verify"}, args...), []string{"USANCE_DATA_DIR=" + dir}, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// TestVerify: all is well with a server at work and with its store once it has
// stopped; a rollup that is bent and sessions that are lost fail both.
func TestVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	s.license("")
	s.must("POST", "/v1/thresholds", `{"licenseId":"lic_1","usageType":"view","periodType":"monthly","limitQuantity":2,"allowOverage":true,"overageRateCents":5}`, nil)
	for i := range 3 {
		s.must("POST", "/v1/events", fmt.Sprintf(`{"licenseId":"lic_1","usageType":"view","quantity":3,"sessionId":"s%[1]d","idempotencyKey":"k%[1]d"}`, i), nil)
	}
	if code, out, _ := verified(t, dir); code != exitFault || !strings.Contains(out, "never ran") {
		t.Errorf("before any job ran: exit %d\n%s", code, out)
	}
	for _, j := range scheduled {
		s.must("POST", "/v1/jobs/"+j+"/run", "", nil)
	}
	code, out, errOut := verified(t, dir)
	if code != exitOK {
		t.Errorf("exit %d: %s\n%s", code, errOut, out)
	}
	for _, want := range []string{"3 events of 1 licences in 24 hours", "DETECTED  1      0.35", "1 licences, 1 with tracking enabled; 1 active thresholds, 1 of them warned", "0 of 1 differ from their usage"} {
		if !strings.Contains(out, want) {
			t.Errorf("the answer lacks %q:\n%s", want, out)
		}
	}
	if code := s.stop(); code != exitOK {
		t.Fatal(s.out)
	}
	if code, out, errOut := verified(t, dir, "--deep"); code != exitOK || !strings.Contains(out, "is sound") {
		t.Errorf("stopped: exit %d: %s\n%s", code, errOut, out)
	}

	// It looks only: what is pending stays so, and is said not to be compared.
	path := filepath.Join(dir, "usance.db")
	bend(t, path, `INSERT INTO pending_batches (license_group, first_seq, last_seq, at, batch_id) VALUES (0, 3, 3, 1, x'00')`)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := verified(t, dir, "--only", "books,file,schema"); !strings.Contains(out, "1 events are not folded yet") {
		t.Errorf("with a pending batch:\n%s", out)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("verify changed the file (%v)", err)
	}
	bend(t, path, `DELETE FROM pending_batches`)

	bend(t, filepath.Join(dir, "usance.db"), `UPDATE license_usage_rollups SET quantity = quantity + 1`)
	bend(t, filepath.Join(dir, "usance.db"), `DELETE FROM license_usage_sessions`)
	code, out, errOut = verified(t, dir, "--json", "--only", "books,file,schema")
	var answer struct {
		Checks []measure
		Failed int
		Faults []fold.Discrepancy
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if code != exitFault || answer.Failed != 3 || len(answer.Checks) != 6 || len(answer.Faults) != 3 || !strings.Contains(errOut, "3 of 6 checks failed") {
		t.Errorf("exit %d: %s\n%s", code, errOut, out)
	}
	again := startServer(t, dir)
	if code, out, _ := verified(t, dir, "--only", "books"); code != exitFault || !strings.Contains(out, "differs from its raw events by 0 events, 1 units and 0 cents") {
		t.Errorf("exit %d\n%s", code, out)
	}
	bend(t, filepath.Join(dir, "usance.db"), `UPDATE license_usage_counters SET state = 'closed', period_end = period_end + 9`)
	again.must("POST", "/v1/recalculate", fmt.Sprintf(`{"licenseId":"lic_1","startDate":%q,"endDate":%[1]q}`, time.Now().UTC().Format(time.DateOnly)), nil)
	if code, out, _ := verified(t, dir, "--only", "books"); code != exitOK {
		t.Errorf("once it was recalculated: exit %d\n%s", code, out)
	}

	// What one row does not tell leaves the rest to be told.
	bend(t, path, `UPDATE license_usage_thresholds SET period_type = 'MONTHLY'`)
	if code, out, _ := verified(t, dir, "--only", "books,file,schema"); code != exitFault || !strings.Contains(out, "books: licences") || !strings.Contains(out, `the period type "MONTHLY"`) {
		t.Errorf("with a threshold of no period: exit %d\n%s", code, out)
	}
	bend(t, path, `ALTER TABLE job_runs RENAME TO elsewhere`)
	if code, out, _ := verified(t, dir); code != exitFault || !strings.Contains(out, "cannot be told") || !strings.Contains(out, "table job_runs is missing") {
		t.Errorf("without a table: exit %d\n%s", code, out)
	}
	bend(t, path, `ALTER TABLE elsewhere RENAME TO job_runs`)
	bend(t, path, `ALTER TABLE license_usage_overages RENAME TO elsewhere`)
	if _, out, _ := verified(t, dir); !strings.Contains(out, "thresholds: last run") || strings.Contains(out, "tracking enabled;") {
		t.Errorf("what was not answered is printed, or what was is not:\n%s", out)
	}
	if _, out, _ := verified(t, dir, "--json", "--only", "events"); !strings.Contains(out, `"activity": null`) {
		t.Errorf("what was not answered is no answer in JSON:\n%s", out)
	}
	bend(t, path, `ALTER TABLE elsewhere RENAME TO license_usage_overages`)
	bend(t, path, `DROP INDEX license_usage_events_day`)
	if code, out, _ := verified(t, dir, "--only", "books,file,schema"); code != exitFault || !strings.Contains(out, "cannot be compared") || !strings.Contains(out, "license_usage_events_day") {
		t.Errorf("without an index: exit %d\n%s", code, out)
	}
}

// Whatever the file lacks, verify prints its table, names what is missing, asks what
// can be asked, and leaves the file as it is.
func TestVerifyOfWhatLacks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	s.license("")
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","idempotencyKey":"k"}`, nil)
	if code := s.stop(); code != exitOK {
		t.Fatal(s.out)
	}
	path := filepath.Join(dir, "usance.db")
	for _, c := range []struct{ bend, mend, names string }{
		{`ALTER TABLE goose_db_version RENAME TO elsewhere`, `ALTER TABLE elsewhere RENAME TO goose_db_version`, "table goose_db_version is missing"},
		{`ALTER TABLE secrets RENAME TO elsewhere`, `ALTER TABLE elsewhere RENAME TO secrets`, "table secrets is missing"},
		{`ALTER TABLE api_keys RENAME TO elsewhere`, `ALTER TABLE elsewhere RENAME TO api_keys`, "table api_keys is missing"},
		{`DROP INDEX license_usage_events_key`, `CREATE UNIQUE INDEX license_usage_events_key ON license_usage_events (license_id, key)`, "index license_usage_events_key of license_usage_events is missing"},
	} {
		bend(t, path, c.bend)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code, out, errOut := verified(t, dir, "--deep")
		if code != exitFault || !strings.Contains(out, c.names) || !strings.Contains(out, "1 events of 1 licences in 24 hours") ||
			!strings.Contains(out, "0 of 1 rows differ") || !strings.Contains(out, "is sound") || strings.Contains(out, "cannot be told") {
			t.Errorf("%s: exit %d: %s\n%s", c.bend, code, errOut, out)
		}
		var said bytes.Buffer
		status := run(context.Background(), []string{"migrate", "status"}, []string{"USANCE_DATA_DIR=" + dir}, strings.NewReader(""), &said, &said)
		if want := map[bool]int{true: exitFault, false: exitOK}[strings.Contains(c.names, "goose")]; status != want {
			t.Errorf("%s: migrate status: exit %d: %s", c.bend, status, &said)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed (%v)", c.bend, err)
		}
		bend(t, path, c.mend)
	}
	startServer(t, dir)
}

// bend changes a database file behind the program's back.
func bend(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // all is in the file, and nothing in its log
		var busy, pages, done int
		return db.QueryRow(`PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &done) == nil && busy == 0
	})
}

// TestBackup: a copy made while events come in holds each that was acknowledged
// before it began, is sound, and serves; no file is overwritten.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	s := startServer(t, dir)
	s.license("")
	l := startLoad(s, 4)
	l.await(t, 200)
	l.mu.Lock()
	before := &load{acked: make(map[string]int64)}
	for key, n := range l.acked {
		before.acked[key] = n
	}
	l.mu.Unlock()
	backup := func(to string) (int, string) {
		var out bytes.Buffer
		code := run(context.Background(), []string{"backup", to}, []string{"USANCE_DATA_DIR=" + dir}, strings.NewReader(""), &out, &out)
		return code, out.String()
	}
	file := filepath.Join(copied, "usance.db")
	code, out := backup(file)
	l.end()
	if code != exitOK || !strings.Contains(out, "whole and sound") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v; want mode 0600", info, err)
	}
	if code, out := backup(file); code != exitFault || !strings.Contains(out, "exists") {
		t.Errorf("a second backup to the same name: exit %d: %s", code, out)
	}
	if code, out, errOut := verified(t, copied, "--only", "books,file,schema"); code != exitOK {
		t.Errorf("the copy: exit %d: %s\n%s", code, errOut, out)
	}
	before.verify(t, startServer(t, copied))

	if code := run(context.Background(), []string{"backup", filepath.Join(copied, "x.db")}, []string{"USANCE_DATA_DIR=" + t.TempDir()}, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}); code != exitFault {
		t.Errorf("a folder without a database: exit %d", code)
	}
	emptied := t.TempDir()
	if err := os.WriteFile(filepath.Join(emptied, "usance.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code := run(context.Background(), []string{"backup", filepath.Join(copied, "x.db")}, []string{"USANCE_DATA_DIR=" + emptied}, strings.NewReader(""), &said, &said); code != exitFault || !strings.Contains(said.String(), "was emptied") {
		t.Errorf("a file that was emptied: exit %d: %s", code, &said)
	}
	if list, err := filepath.Glob(filepath.Join(copied, "*.part")); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
}
