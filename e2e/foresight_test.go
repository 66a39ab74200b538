package e2e_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// foreseen is how many licences have a limit: more than one page of the jobs
// that go through them.
const foreseen = 260

// foresightJob is a job that leaves a row a licence.
type foresightJob struct {
	name string
	// rows asks for licence and a mark of each row that there is, undo takes them back.
	rows string
	undo []string
	// killAt is of how many rows on the kill comes; of the rows that there are then,
	// whole pages of keeps are left as they are by the run that follows.
	killAt, keeps int
	resumes       string // what the log says when it goes on; empty: it goes by the rows alone
}

var foresightJobs = []foresightJob{
	{
		name:   "generateUsageForecasts",
		rows:   `SELECT license_id, calculated_at FROM license_usage_forecasts`,
		undo:   []string{`DELETE FROM license_usage_forecasts`, `DELETE FROM license_usage_forecast_outlooks`, `DELETE FROM job_states`},
		killAt: 220, keeps: 200, resumes: "forecasts: going on",
	},
	{
		name:   "sendForecastBreachAlerts",
		rows:   `SELECT license_id, id FROM alerts WHERE kind = 'forecast'`,
		undo:   []string{`DELETE FROM alerts WHERE kind = 'forecast'`},
		killAt: 25, keeps: 1,
	},
	{
		name:   "checkUsageThresholds",
		rows:   `SELECT license_id, scored_at FROM license_usage_forecast_outlooks WHERE scored_at IS NOT NULL`,
		undo:   []string{`UPDATE license_usage_forecast_outlooks SET scored_at = NULL`},
		killAt: 25, keeps: 1,
	},
	{
		name:   "detectUsageAnomalies",
		rows:   `SELECT license_id, id FROM alerts WHERE kind = 'spike'`,
		undo:   []string{`DELETE FROM alerts WHERE kind = 'spike'`, `DELETE FROM job_states WHERE name = 'detectUsageAnomalies'`},
		killAt: 205, keeps: 1, resumes: "anomalies: going on",
	},
}

// TestKillOfForesight kills every process in the middle of each job that
// forecasts, warns, scores and looks for what is unusual. The next start takes the
// run up where it was: each licence has its forecast, alert and score once.
func TestKillOfForesight(t *testing.T) { onEach(t, testKillOfForesight) }

func testKillOfForesight(t *testing.T, store string) {
	t.Parallel() // with the other store: the jobs rest most of the time
	environ := []string{"USANCE_RATE_LIMIT_CALLS=0", "USANCE_RATE_LIMIT_EVENTS=0"}
	for _, name := range []string{"GENERATE_USAGE_FORECASTS", "SEND_FORECAST_BREACH_ALERTS", "CHECK_USAGE_THRESHOLDS", "DETECT_USAGE_ANOMALIES"} {
		environ = append(environ, "USANCE_JOB_"+name+"_SCHEDULE=0 0 29 2 *") // by hand only
	}
	s := newServer(t, store, environ...)
	s.foresee()
	for _, job := range foresightJobs {
		if job.name == "checkUsageThresholds" {
			s.endPeriods()
		}
		before := s.killIn(job)
		runs := s.value(`SELECT runs FROM jobs WHERE name = '` + job.name + `'`)
		s.start()
		until(t, job.name+" is taken up", func() bool { return s.value(`SELECT runs FROM jobs WHERE name = '`+job.name+`'`) > runs })
		if job.resumes != "" && !slices.ContainsFunc(s.nodes, func(n *node) bool { return strings.Contains(n.log.String(), job.resumes) }) {
			t.Errorf("no log says of %s that it goes on", job.name)
		}
		s.once(job, before)
		if job.name != "generateUsageForecasts" { // which makes them anew
			s.must("POST", "/v1/jobs/"+job.name+"/run", "", nil)
			s.once(job, before)
		}
	}
	if n := s.value(`SELECT count(*) FROM license_usage_forecasts`); n != foreseen {
		t.Errorf("%d forecasts of %d licences", n, foreseen)
	}
	var accuracy struct{ ByLead []struct{ Forecasts int } }
	s.must("GET", "/v1/forecasts/accuracy", "", &accuracy)
	sum := 0
	for _, a := range accuracy.ByLead {
		sum += a.Forecasts
	}
	if sum != foreseen {
		t.Errorf("the accuracy is of %d forecasts, want %d: %+v", sum, foreseen, accuracy)
	}
}

// foresee makes licences with four weeks of use, which rose tenfold yesterday,
// and a limit that three days more of the usual use up.
func (s *server) foresee() {
	s.t.Helper()
	s.spread(foreseen, func(i int) (method, path, body string) {
		return "PUT", fmt.Sprintf("/v1/licenses/f%03d", i), `{"brandId":"b","assetId":"a","status":"ACTIVE"}`
	})
	const days = 27
	today := time.Now().UTC().Truncate(24 * time.Hour)
	used := make([]int, foreseen)
	var events []string
	for i := range foreseen {
		for d := range days {
			for hour := 6; hour <= 18; hour += 6 {
				units := 40 + (i*7+d*13+hour)%9
				if d == days-1 {
					units *= 10
				}
				used[i] += units
				events = append(events, fmt.Sprintf(`{"licenseId":"f%03d","usageType":"view","quantity":%d,"occurredAt":%q,"idempotencyKey":"%d-%d"}`,
					i, units, today.AddDate(0, 0, d-days).Add(time.Duration(hour)*time.Hour).Format(time.RFC3339), d, hour))
			}
		}
	}
	for batch := range slices.Chunk(events, 10_000) {
		var results []result
		s.must("POST", "/v1/events", "["+strings.Join(batch, ",")+"]", &results)
		if i := slices.IndexFunc(results, func(r result) bool { return !r.Tracked }); i >= 0 {
			s.t.Fatalf("%s: %+v", batch[i], results[i])
		}
	}
	s.spread(foreseen, func(i int) (method, path, body string) {
		return "POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":"f%03d","usageType":"view","periodType":"total","limitQuantity":%d,"allowOverage":true}`, i, used[i]+400)
	})
	s.must("POST", "/v1/jobs/aggregateUsageMetrics/run", "", nil)
}

// spread makes n calls, several at a time, all of which must succeed. The test is
// ended by its own goroutine, once the last call is over.
func (s *server) spread(n int, call func(i int) (method, path, body string)) {
	s.t.Helper()
	var calls sync.WaitGroup
	each, failed := make(chan int), make(chan string, n)
	for range 8 {
		calls.Go(func() {
			for i := range each {
				method, path, body := call(i)
				var out any
				if status, err := s.call(method, path, body, &out); err != nil || status >= 300 {
					failed <- fmt.Sprintf("%s %s: %d, %v, %v", method, path, status, err, out)
				}
			}
		})
	}
	for i := range n {
		each <- i
	}
	close(each)
	calls.Wait()
	if len(failed) > 0 {
		s.t.Fatalf("%d of %d calls failed, the first: %s", len(failed), n, <-failed)
	}
}

// endPeriods makes the forecasts those of periods that ended ten days ago.
func (s *server) endPeriods() {
	s.t.Helper()
	s.stop(syscall.SIGTERM)
	const ago = `unixepoch() / 86400 - `
	s.exec(`UPDATE license_usage_forecasts SET period_start = `+ago+`20, forecast_date = `+ago+`15, period_end = `+ago+`10`,
		`UPDATE license_usage_forecasts SET period_start = current_date - 20, forecast_date = current_date - 15, period_end = current_date - 10`)
	s.exec(`UPDATE license_usage_forecast_outlooks SET period_end = `+ago+`10`, `UPDATE license_usage_forecast_outlooks SET period_end = current_date - 10`)
	s.start()
}

// value reads a number of the database, while the server runs.
func (s *server) value(query string) int {
	s.t.Helper()
	db := s.open(s.t, "ro")
	defer db.Close()
	return value[int](s.t, db, query)
}

// killIn kills every process in the middle of the job, lets its lease run out,
// and gives the rows that it left.
func (s *server) killIn(job foresightJob) map[string]string {
	s.t.Helper()
	for range 5 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = s.try("/v1/jobs/"+job.name+"/run", "", new(any)) // it is cut
		}()
		db := s.open(s.t, "ro")
		for running := true; running && value[int](s.t, db, `SELECT count(*) FROM (`+job.rows+`) r`) < job.killAt; {
			select {
			case <-done:
				running = false
			case <-time.After(time.Millisecond):
			}
		}
		db.Close()
		s.stop(syscall.SIGKILL)
		<-done
		s.exec(`UPDATE jobs SET lease_until = lease_until - 120000000 WHERE lease_until IS NOT NULL`,
			`UPDATE jobs SET lease_until = lease_until - interval '2 minutes' WHERE lease_until IS NOT NULL`)
		rows := s.rows(job)
		if len(rows) >= job.killAt && len(rows) < foreseen {
			return rows
		}
		s.t.Logf("%s was over before the kill, with %d rows: once more", job.name, len(rows))
		for _, statement := range job.undo {
			s.exec(statement, statement)
		}
		s.start()
	}
	s.t.Fatalf("no kill met %s in the middle", job.name)
	return nil
}

// rows gives the mark of each licence's row; there must not be two of one.
func (s *server) rows(job foresightJob) map[string]string {
	s.t.Helper()
	out := make(map[string]string)
	s.query(job.rows, func(rows *sql.Rows) error {
		var license, mark string
		err := rows.Scan(&license, &mark)
		if out[license] != "" {
			s.t.Errorf("%s: %s has more than one row", job.name, license)
		}
		out[license] = mark
		return err
	})
	return out
}

// once checks that each licence has its row, those that were there before the
// kill unchanged.
func (s *server) once(job foresightJob, before map[string]string) {
	s.t.Helper()
	after := s.rows(job)
	if len(after) != foreseen {
		s.t.Errorf("%s: %d rows for %d licences", job.name, len(after), foreseen)
	}
	same := 0
	for license, mark := range before {
		if after[license] == mark {
			same++
		}
	}
	if want := len(before) / job.keeps * job.keeps; same < want {
		s.t.Errorf("%s: of %d rows that were there, %d are as they were, want %d", job.name, len(before), same, want)
	}
}
