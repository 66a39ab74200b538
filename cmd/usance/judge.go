package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/jobs"
	"github.com/usance/usance/store/sqlite"
)

// The thresholds of the deployment guide, and those it leaves open.
const (
	maxErrorPercent  = 1.0  // of answers
	minCachePercent  = 80.0 // of look-ups
	minJobPercent    = 99.0 // of runs
	maxAggregation   = 5 * time.Minute
	maxFoldLag       = usance.MaxFoldLag
	maxSinceRun      = 25 * time.Hour // an hourly job that verifies once a day
	maxWaitingEvents = 10_000
	enoughLookUps    = 100 // to tell a rate by
	enoughQueries    = 20
	enoughForecasts  = 100
	minCoverage      = 0.85 // of what the intervals promise
)

// checks are what a deployment is judged by.
var checks = []struct {
	name  string
	judge func(*findings) []measure
}{
	{"events", (*findings).events}, {"aggregation", (*findings).aggregation}, {"thresholds", (*findings).thresholds},
	{"queries", (*findings).queries}, {"errors", (*findings).errors}, {"cache", (*findings).cache},
	{"jobs", (*findings).queue}, {"forecasts", (*findings).forecasts}, {"books", (*findings).rightBooks}, {"file", (*findings).soundFile}, {"schema", (*findings).wholeSchema},
}

func checkNames() []string {
	out := make([]string, len(checks))
	for i, c := range checks {
		out[i] = c.name
	}
	return out
}

// judge holds what was found against the thresholds, check by check.
func (f *findings) judge(wants func(check string) bool) []measure {
	var out []measure
	for _, c := range checks {
		if wants(c.name) {
			out = append(out, c.judge(f)...)
		}
	}
	return out
}

func held(check, measured, threshold string, ok bool, fix string) measure {
	m := measure{Check: check, Measured: measured, Threshold: threshold, Outcome: outcomeOK}
	if !ok {
		m.Outcome, m.Fix = outcomeFail, fix
	}
	return m
}

// untold is of what an answer is missing for.
func untold(check string, err error) measure {
	return held(check, "cannot be told", "an answer", false, err.Error())
}

func notApplicable(check, threshold, why string) measure {
	return measure{Check: check, Measured: "-", Threshold: threshold, Outcome: outcomeNone, Fix: why}
}

const notServing = "no server runs on this store; what a server counts begins with its start"

// events: "Events are being logged".
func (f *findings) events() []measure {
	if f.activityErr != nil {
		return []measure{untold("events", f.activityErr)}
	}
	a := f.activity
	fix := "send one event and see what is answered; usance explain LICENSE tells what would happen to it, " +
		"usance_ingest_events_total in /metrics what happened to those that came"
	if a.TrackingEnabled == 0 {
		fix = "no licence has tracking enabled: UPDATE licenses SET usage_tracking_enabled = TRUE WHERE status = 'ACTIVE' AND deleted_at IS NULL"
	}
	return []measure{held("events", fmt.Sprintf("%d events of %d licences in 24 hours", a.EventsLastDay, a.LicensesLastDay), "1 or more", a.EventsLastDay > 0, fix)}
}

func (f *findings) job(name string) *usance.Job {
	i := slices.IndexFunc(f.jobs, func(j usance.Job) bool { return j.Name == name })
	if i < 0 {
		return nil
	}
	return &f.jobs[i]
}

// lastRun judges how a job went last.
func (f *findings) lastRun(check string, j *usance.Job, within time.Duration) measure {
	threshold := fmt.Sprintf("ended well, at most %.0f hours ago", within.Hours())
	fix := fmt.Sprintf("usance jobs list; then usance jobs run %s, which answers why it fails; the server's log has more", j.Name)
	switch {
	case j.LastRunAt.IsZero():
		return held(check, "never ran", threshold, false,
			fmt.Sprintf("it is due at %s: verify again after that, or run it now by usance jobs run %s", stamp(j.NextRunAt), j.Name))
	case j.LastError != "":
		first, _, _ := strings.Cut(j.LastError, "\n")
		return held(check, "failed at "+stamp(j.LastRunAt)+": "+first, threshold, false, fix)
	}
	return held(check, "ended well at "+stamp(j.LastRunAt), threshold, f.now.Sub(j.LastRunAt) <= within, fix)
}

// aggregation: "Daily aggregation completed successfully".
func (f *findings) aggregation() []measure {
	var out []measure
	if f.jobsErr != nil {
		out = append(out, untold("aggregation: job", f.jobsErr))
	} else if j := f.job(jobAggregate); j == nil {
		out = append(out, held("aggregation: job", "is not there", "is scheduled", false, "this server does not keep the schedule; check its version"))
	} else {
		out = append(out, f.lastRun("aggregation: last run", j, maxSinceRun))
		if threshold := "at most " + maxAggregation.String(); j.LastRunAt.IsZero() {
			out = append(out, notApplicable("aggregation: duration", threshold, "the job has not run yet"))
		} else {
			out = append(out, held("aggregation: duration", j.LastDuration.Round(time.Millisecond).String(), threshold, j.LastDuration <= maxAggregation,
				"see usance_fold_seconds and usance_pending_events: more comes in than the disk takes; find out what else uses it"))
		}
		if threshold := fmt.Sprintf("above %.0f %% in 24 hours", minJobPercent); j.DayRuns == 0 {
			out = append(out, notApplicable("aggregation: completion", threshold, "no run has ended since this is recorded"))
		} else {
			rate := 100 * float64(j.DayRuns-j.DayFailures) / float64(j.DayRuns)
			out = append(out, held("aggregation: completion", fmt.Sprintf("%.2f %% of the %d runs until the last", rate, j.DayRuns), threshold, rate > minJobPercent,
				"the server's log tells why runs failed; what they left was folded by the next. Runs count here for 24 hours"))
		}
	}
	days := "every licence on every day"
	whole := true
	for _, d := range f.activity.Days {
		if d.Aggregated < d.Used {
			days, whole = fmt.Sprintf("%d of %d licences on %s", d.Aggregated, d.Used, d.Date), false
			break
		}
	}
	if f.activityErr != nil {
		out = append(out, untold("aggregation: completeness", f.activityErr))
	} else {
		out = append(out, held("aggregation: completeness", days, "every licence with events, each of 7 days", whole,
			"recalculate the day: POST /v1/recalculate with licenseId, startDate and endDate; usance verify --only books names the licences"))
	}
	lag := time.Duration(f.status.FoldLagSeconds * float64(time.Second))
	if f.statusErr != nil {
		out = append(out, untold("aggregation: fold", f.statusErr))
	} else {
		out = append(out, held("aggregation: fold", fmt.Sprintf("%d events wait, %s", f.status.PendingEvents, lag.Round(time.Second)), "at most "+maxFoldLag.String(),
			lag <= maxFoldLag, "answers hold these events all the same; the log tells why folds fail (usance_fold_failures_total), and usance jobs run "+jobAggregate+" folds at once"))
	}
	if !f.serving {
		return append(out, notApplicable("aggregation: drift", "0 rows", notServing))
	}
	drift := f.metrics.sum("usance_drifted_rows_total", "", nil)
	return append(out, held("aggregation: drift", fmt.Sprintf("%.0f rows since the start", drift), "0 rows", drift == 0,
		"the log names the rows that differed from their events; usance verify --deep --only books tells which still do"))
}

// thresholds: "Threshold checks running without errors".
func (f *findings) thresholds() []measure {
	if f.jobsErr != nil {
		return []measure{untold("thresholds: job", f.jobsErr)}
	}
	j := f.job(jobThresholds)
	if j == nil {
		return []measure{held("thresholds: job", "is not there", "is scheduled", false, "this server does not keep the schedule; check its version")}
	}
	return []measure{f.lastRun("thresholds: last run", j, 2*time.Hour)}
}

// queries: "Analytics queries performing well", and the guide's bound for aggregates.
func (f *findings) queries() []measure {
	if f.askedErr != nil {
		return []measure{untold("queries", f.askedErr)}
	}
	var out []measure
	const fix = "see usance_query_seconds by operation; are jobs and folds well (above), is the cache on (USAGE_CACHE_TTL_SECONDS), is the disk busy with something else?"
	for _, name := range []string{"analytics", "dailyAggregates"} {
		bound := timed[name].bound
		threshold := "p95 below " + bound.String()
		if asked := slices.Sorted(slices.Values(f.asked[name])); len(asked) == 0 {
			out = append(out, notApplicable("queries: "+name+" now", threshold, "there is no licence to ask about"))
		} else {
			p95 := asked[(len(asked)*95+99)/100-1]
			out = append(out, held("queries: "+name+" now", fmt.Sprintf("p95 %s of %d", p95.Round(100*time.Microsecond), len(asked)), threshold, p95 < bound, fix))
		}
		share, count := f.metrics.below("usance_query_seconds", "operation", name, bound.Seconds())
		switch {
		case !f.serving:
			out = append(out, notApplicable("queries: "+name+" since the start", threshold, notServing))
		case count < enoughQueries:
			out = append(out, notApplicable("queries: "+name+" since the start", threshold, fmt.Sprintf("%d questions were asked, %d tell a percentile", count, enoughQueries)))
		default:
			out = append(out, held("queries: "+name+" since the start", fmt.Sprintf("%.1f %% of %d below", 100*share, count), threshold, share >= 0.95, fix))
		}
	}
	return out
}

// errors: "No increase in error rates".
func (f *findings) errors() []measure {
	threshold := fmt.Sprintf("below %.0f %%", maxErrorPercent)
	if !f.serving {
		return []measure{notApplicable("errors", threshold, notServing)}
	}
	all := f.metrics.sum("usance_http_requests_total", "", nil)
	failed := f.metrics.sum("usance_http_requests_total", "status", func(s string) bool { return strings.HasPrefix(s, "5") })
	if all == 0 {
		return []measure{notApplicable("errors", threshold, "no request was answered since the start")}
	}
	return []measure{held("errors", fmt.Sprintf("%.0f of %.0f answers since the start are 5xx", failed, all), threshold, 100*failed/all < maxErrorPercent,
		"the log holds each failure with its request id; 503 says overload (usance_ingest_overloaded_total) or a disk that is full")}
}

// cache: "Cache hit rates are acceptable".
func (f *findings) cache() []measure {
	threshold := fmt.Sprintf("above %.0f %%", minCachePercent)
	c := f.status.Cache
	switch {
	case !f.serving:
		return []measure{notApplicable("cache", threshold, notServing)}
	case f.statusErr != nil:
		return []measure{untold("cache", f.statusErr)}
	case !c.Enabled:
		return []measure{notApplicable("cache", threshold, "USAGE_CACHE_TTL_SECONDS is 0: the cache is switched off")}
	case c.Hits+c.Misses < enoughLookUps:
		return []measure{notApplicable("cache", threshold, fmt.Sprintf("%d look-ups since the start, %d tell a rate", c.Hits+c.Misses, enoughLookUps))}
	}
	return []measure{held("cache", fmt.Sprintf("%.1f %% of %d look-ups", c.HitPercent, c.Hits+c.Misses), threshold, c.HitPercent > minCachePercent,
		"answers are slower, never wrong: each fold of a licence makes its sums anew, so a longer USANCE_FOLD_INTERVAL or USAGE_CACHE_TTL_SECONDS keeps them longer")}
}

// scheduled are the jobs of the deployment guide, and the one beside them.
var scheduled = []string{jobAggregate, jobThresholds, jobForecasts, jobBreaches, jobAnomalies, jobCleanup}

// schedule judges each job.
func (f *findings) schedule() (out []measure) {
	if f.jobsErr != nil {
		return []measure{untold("jobs", f.jobsErr)}
	}
	for _, name := range scheduled {
		check := "jobs: " + name
		j := f.job(name)
		if j == nil {
			out = append(out, notApplicable(check, "on time", "this server has no such job"))
			continue
		}
		fault := jobs.Fault(j, f.now, patienceWithJobs)
		switch {
		case j.Paused:
			out = append(out, held(check, "is paused", "on time", false, "usance jobs resume "+name))
		case f.now.Before(j.LeaseUntil):
			out = append(out, held(check, "is running", "on time", true, ""))
		case fault != nil:
			measured, _, _ := strings.Cut(strings.TrimPrefix(fault.Error(), "job "+name+" "), "\n")
			out = append(out, held(check, measured, "on time", false,
				"start the server, if none runs: it makes good what was missed; else usance jobs run "+name+" answers why it fails, and the server's log has more"))
		default:
			out = append(out, held(check, "next "+stamp(j.NextRunAt), "on time", true, ""))
		}
	}
	return out
}

// queue: "Job queue not backing up".
func (f *findings) queue() []measure {
	out := f.schedule()
	if !f.serving {
		return append(out, notApplicable("jobs: events waiting", "few", notServing))
	}
	waiting := f.metrics.sum("usance_ingest_waiting_events", "", nil)
	return append(out, held("jobs: events waiting", fmt.Sprintf("%.0f for their commit", waiting), fmt.Sprintf("at most %d", maxWaitingEvents),
		waiting <= maxWaitingEvents, "more comes in than the disk takes: see usance_ingest_commit_seconds"))
}

// forecasts: "Forecast accuracy (compare predictions vs. actuals)".
func (f *findings) forecasts() []measure {
	const check = "forecasts: accuracy"
	if f.accuracyErr != nil {
		return []measure{untold(check, f.accuracyErr)}
	}
	var scored, hits, promised, scaled, scales float64
	for _, a := range f.accuracy {
		n := float64(a.Forecasts)
		scored += n
		hits += n * a.Coverage
		promised += n * a.ConfidenceLevel
		if a.MeanScaledError != nil {
			scaled += n * *a.MeanScaledError
			scales += n
		}
	}
	threshold := fmt.Sprintf("totals within their bounds at least %.0f %% as often as these say", 100*minCoverage)
	if scored < enoughForecasts {
		return []measure{notApplicable(check, threshold,
			fmt.Sprintf("%.0f forecasts have been compared with what was used, %d tell; each is once its period has closed", scored, enoughForecasts))}
	}
	measured := fmt.Sprintf("%.0f of %.0f within, where %.0f were promised", hits, scored, promised)
	if scales > 0 {
		measured += fmt.Sprintf("; MASE %.2f", scaled/scales)
	}
	return []measure{held(check, measured, threshold, hits >= minCoverage*promised,
		"GET /v1/forecasts/accuracy, by licence, tells whose usage is not as it was; what has never happened is not expected")}
}

// rightBooks: rollups are the raw events, counters the usage, overages the counters.
func (f *findings) rightBooks() []measure {
	if f.booksErr != nil {
		return []measure{untold("books", f.booksErr)}
	}
	var rows, counters, overages, sealed int
	var events int64
	wrong := make(map[string]int)
	for _, b := range f.books {
		rows, events, sealed = rows+b.Rows, events+b.Events, sealed+b.Sealed
		counters, overages = counters+b.Counters, overages+b.Overages
		for kind, n := range b.Wrong {
			wrong[kind] += n
		}
	}
	pending := ""
	if n := f.status.PendingEvents; n > 0 && !f.serving {
		pending = fmt.Sprintf("; %d events are not folded yet and were not compared: usance serve folds them", n)
	}
	if f.statusErr != nil && !f.serving {
		pending = "; whether events are not folded yet, which were not compared, cannot be told"
	}
	const fix = "do what is said below of each; a recalculation writes differences alone. Report it, unless somebody has changed the database by hand: this must not happen"
	out := []measure{
		held("books: rollups", fmt.Sprintf("%d of %d rows differ from %d raw events; %d days are pruned%s", wrong[fold.WrongRollup], rows, events, sealed, pending),
			"0 rows", wrong[fold.WrongRollup] == 0, fix),
		held("books: sessions", fmt.Sprintf("the unique sessions of %d days differ from what was seen", wrong[fold.WrongSessions]),
			"0 days", wrong[fold.WrongSessions] == 0, fix),
		held("books: counters", fmt.Sprintf("%d of %d differ from their usage, period or state", wrong[fold.WrongCounter], counters), "0 counters", wrong[fold.WrongCounter] == 0, fix),
		held("books: overages", fmt.Sprintf("%d of %d rows, or their periods, differ from their counter", wrong[fold.WrongOverage], overages), "0 overages", wrong[fold.WrongOverage] == 0, fix),
	}
	if n := wrong[fold.WrongLicense]; n > 0 {
		out = append(out, held("books: licences", fmt.Sprintf("%d cannot be compared", n), "0 licences", false, "put right what is named below of each"))
	}
	return out
}

// wrong tells how many figures of all books differ.
func (f *findings) wrong() (n int) {
	for _, b := range f.books {
		for _, of := range b.Wrong {
			n += of
		}
	}
	return n
}

// faults gives the discrepancies that the books name.
func (f *findings) faults() []fold.Discrepancy {
	out := []fold.Discrepancy{}
	for _, b := range f.books {
		out = append(out, b.Faults...)
	}
	return out
}

// wholeSchema: every table, column, view and index is there.
func (f *findings) wholeSchema() []measure {
	if f.schemaErr != nil {
		return []measure{untold("schema", f.schemaErr)}
	}
	var problems, fixes []string
	for _, s := range f.schema {
		problems = append(problems, fmt.Sprintf("%s %s %s", s.Kind, s.Name, s.Problem))
		fixes = append(fixes, s.Name+": "+s.Fix)
	}
	if len(problems) == 0 {
		return []measure{held("schema", "tables, columns, views and indexes are there", "as the migrations make it", true, "")}
	}
	return []measure{held("schema", strings.Join(problems, "; "), "as the migrations make it", false, strings.Join(fixes, "\n  → "))}
}

// soundFile: the database file is whole.
func (f *findings) soundFile() []measure {
	if f.noFile {
		return []measure{notApplicable("file", "is sound", "the data are in PostgreSQL; pg_amcheck checks it")}
	}
	if f.serving {
		out := []measure{notApplicable("file", "is sound", "a server has the file open; usance backup reads all of it and checks the copy")}
		if f.metrics["usance_store_log_bytes"] == nil { // a server on PostgreSQL
			return out
		}
		size := f.metrics.sum("usance_store_log_bytes", "", nil)
		return append(out, held("file: log", fmt.Sprintf("%.0f MB", size/(1<<20)), fmt.Sprintf("at most %d MB", sqlite.MaxLogBytes>>20), size <= sqlite.MaxLogBytes,
			"the write-ahead log grows while a backup runs; otherwise a program that has usance.db open ends no transaction (fuser usance.db names it), or copying fails, which the server's log tells"))
	}
	measured := "is sound"
	if f.file != nil {
		measured = f.file.Error()
	}
	return []measure{held("file", measured, "is sound", f.file == nil, "restore it from a backup, and find out what the disk does")}
}
