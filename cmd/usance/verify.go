package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/usance/usance"
	"github.com/usance/usance/api"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/query"
	"github.com/usance/usance/store/sqlite"
)

type verifyCmd struct {
	JSON bool     `help:"Print JSON instead of tables."`
	Days int      `default:"35" help:"Local days back whose rollups and counters are compared with raw events, 1 to 3660; default 35."`
	Deep bool     `help:"Compare all days whose raw events are kept, instead."`
	Only []string `enum:"${checks}" help:"Only these checks: ${enum}."`
}

// measure is one thing that was measured and what it was held against.
type measure struct {
	Check     string `json:"check"`
	Measured  string `json:"measured"`
	Threshold string `json:"threshold"`
	Outcome   string `json:"outcome"`
	Fix       string `json:"fix,omitempty"` // what to do when it failed; why it is not applicable
}

// The outcomes.
const (
	outcomeOK   = "ok"
	outcomeFail = "FAIL"
	outcomeNone = "n/a"
)

// findings is what is known of a deployment before it is judged.
type findings struct {
	now      time.Time
	serving  bool // a server runs; else its store was opened here
	metrics  metricFamilies
	activity usance.Activity
	status   query.AggregationStatus
	jobs     []usance.Job
	asked    map[string][]time.Duration // by operation: how long questions took just now
	accuracy []usance.ForecastAccuracy
	books    []fold.Books
	schema   []usance.SchemaFault
	file     error // of the database file, when it was opened here
	noFile   bool  // the data are in PostgreSQL

	// Why there is no answer, where a question failed.
	activityErr, statusErr, jobsErr, askedErr, accuracyErr, booksErr, schemaErr error
}

// Run verifies a deployment that has been at work for a day: the checklist of
// the deployment guide and its queries, and that the books are right.
func (c verifyCmd) Run(ctx context.Context, p *program) error {
	if c.Days < 1 || c.Days > 3660 {
		return fmt.Errorf("--days must be from 1 to 3660, not %d", c.Days)
	}
	return p.looking(ctx, func(r *remote) error {
		f, err := c.find(ctx, r)
		if err != nil {
			return err
		}
		list := f.judge(c.wants)
		failed := 0
		for _, m := range list {
			if m.Outcome == outcomeFail {
				failed++
			}
		}
		if c.JSON {
			err = c.printJSON(p, f, list, failed)
		} else {
			err = c.print(p, f, list)
		}
		if err == nil && failed > 0 {
			err = fmt.Errorf("%d of %d checks failed", failed, len(list))
		}
		return err
	})
}

func (c verifyCmd) wants(check string) bool {
	return len(c.Only) == 0 || slices.Contains(c.Only, check)
}

// probes is how many licences are asked about, each question three times.
const probes = 10

// find asks for all that the checks wanted are judged by. The metrics come
// first, so that they do not tell of the questions asked here.
func (c verifyCmd) find(ctx context.Context, r *remote) (*findings, error) {
	f := &findings{now: time.Now(), serving: r.local == nil, asked: make(map[string][]time.Duration)}
	if f.serving {
		text, err := r.page(ctx, "/metrics")
		if err != nil {
			return nil, err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		if f.metrics, err = parser.TextToMetricFamilies(bytes.NewReader(text)); err != nil {
			return nil, fmt.Errorf("reading /metrics: %w", err)
		}
	}
	for _, q := range []struct {
		ask  func(context.Context, *remote, *findings) error
		err  *error
		only string // the check that it is asked for; the others cost little
	}{
		{askStatus, &f.statusErr, ""}, {askActivity, &f.activityErr, ""}, {askJobs, &f.jobsErr, ""}, {probe, &f.askedErr, "queries"},
		{askForecasts, &f.accuracyErr, "forecasts"}, {c.openBooks, &f.booksErr, "books"}, {askSchema, &f.schemaErr, "schema"},
	} {
		if q.only != "" && !c.wants(q.only) {
			continue
		}
		err := q.ask(ctx, r, f)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		code := usance.ErrorCode(err)
		if f.serving && (code == usance.CodeUnavailable || code == usance.CodeUnauthorized || code == usance.CodeForbidden) {
			return nil, err
		}
		*q.err = err // where something is wrong, the other checks may say why
	}
	if !f.serving && c.wants("file") {
		if store, ok := r.local.store.(*sqlite.Store); ok {
			f.file = store.Check(ctx)
		} else {
			f.noFile = true
		}
	}
	return f, nil
}

// timed are the operations whose time is held against a bound.
var timed = map[string]struct {
	operation string // its name in the API
	bound     time.Duration
}{
	"analytics":       {"usage.getAnalytics", 200 * time.Millisecond},
	"dailyAggregates": {"usage.getDailyAggregates", 100 * time.Millisecond},
}

func probe(ctx context.Context, r *remote, f *findings) error {
	var page struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := r.call(ctx, "catalog.listLicenses", map[string]any{"limit": probes}, &page); err != nil {
		return err
	}
	for name, t := range timed {
		for range 3 {
			for _, l := range page.Data {
				start := time.Now()
				if err := r.call(ctx, t.operation, map[string]string{"licenseId": l.ID}, nil); err != nil {
					return err
				}
				f.asked[name] = append(f.asked[name], time.Since(start))
			}
		}
	}
	return nil
}

func askStatus(ctx context.Context, r *remote, f *findings) error {
	return r.call(ctx, "usage.getAggregationStatus", nil, &f.status)
}

func askActivity(ctx context.Context, r *remote, f *findings) error {
	return r.call(ctx, "usage.getActivity", nil, &f.activity)
}

func askJobs(ctx context.Context, r *remote, f *findings) (err error) {
	f.jobs, err = listJobs(ctx, r)
	return err
}

func askForecasts(ctx context.Context, r *remote, f *findings) error {
	var accuracy struct {
		ByLead []usance.ForecastAccuracy `json:"byLead"`
	}
	err := r.call(ctx, "usage.getForecastAccuracy", nil, &accuracy)
	f.accuracy = accuracy.ByLead
	return err
}

func askSchema(ctx context.Context, r *remote, f *findings) (err error) {
	if r.local != nil { // without what a call needs, such as keys
		f.schema, err = r.local.store.CheckSchema(ctx)
		return err
	}
	var state api.SchemaState
	err = r.call(ctx, "usage.checkSchema", nil, &state)
	f.schema = state.Faults
	return err
}

func (c verifyCmd) openBooks(ctx context.Context, r *remote, f *findings) error {
	in := map[string]any{"limit": 1000, "days": c.Days}
	if c.Deep {
		in = map[string]any{"limit": 1000, "all": true}
	}
	for {
		var page struct {
			Data       []fold.Books `json:"data"`
			NextCursor string       `json:"nextCursor"`
		}
		if err := r.call(ctx, "usage.checkBooks", in, &page); err != nil {
			return err
		}
		f.books = append(f.books, page.Data...)
		if page.NextCursor == "" {
			return nil
		}
		in["cursor"] = page.NextCursor
	}
}

func (c verifyCmd) printJSON(p *program, f *findings, list []measure, failed int) error {
	out := struct {
		Checks   []measure          `json:"checks"`
		Failed   int                `json:"failed"`
		Faults   []fold.Discrepancy `json:"faults"`
		Activity *usance.Activity   `json:"activity"` // null when it could not be asked for
	}{list, failed, f.faults(), &f.activity}
	if f.activityErr != nil {
		out.Activity = nil
	}
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// maxFaults bounds the faults of books that tables name.
const maxFaults = 20

func (c verifyCmd) print(p *program, f *findings, list []measure) error {
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	put(w, " ", "CHECK", "MEASURED", "THRESHOLD")
	for _, m := range list {
		put(w, m.Outcome, m.Check, m.Measured, m.Threshold)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, m := range list {
		if m.Outcome == outcomeFail {
			p.printf("\n%s: %s, wanted %s\n  → %s\n", m.Check, m.Measured, m.Threshold, m.Fix)
		}
	}
	for _, m := range list {
		if m.Outcome == outcomeNone {
			p.printf("\n%s: not applicable: %s\n", m.Check, m.Fix)
		}
	}
	if faults := f.faults(); len(faults) > 0 {
		p.printf("\n")
		put(w, "WRONG", "LICENCE", "DATE", "TYPE", "THRESHOLD", "PERIOD", "PROBLEM")
		for _, d := range faults[:min(maxFaults, len(faults))] {
			put(w, d.Kind, d.LicenseID, d.Date.String(), d.UsageType, d.ThresholdID, string(d.PeriodType), d.Problem)
			put(w, " ", " ", " ", " ", " ", " ", "→ "+d.Fix)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if n := f.wrong(); n > maxFaults {
			p.printf("and %d more; --json names up to 100 of each kind and licence\n", n-maxFaults)
		}
	}
	if f.activityErr == nil { // else a check says so
		return f.printActivity(p, w)
	}
	return nil
}

// printActivity answers the guide's verification queries.
func (f *findings) printActivity(p *program, w *tabwriter.Writer) error {
	a, n := f.activity, func(i int64) string { return strconv.FormatInt(i, 10) }
	p.printf("\n%d licences, %d with tracking enabled; %d active thresholds, %d of them warned within 24 hours\n\n",
		a.Licenses, a.TrackingEnabled, a.ActiveThresholds, a.WarningsLastDay)
	put(w, "DATE", "EVENTS", "UNIQUE LICENCES", "LICENCES AGGREGATED", "QUANTITY")
	for _, d := range a.Days {
		put(w, d.Date.String(), n(d.Events), n(d.Licenses), n(d.Aggregated), n(d.Quantity))
	}
	if err := w.Flush(); err != nil || len(a.Overages) == 0 {
		return err
	}
	p.printf("\n")
	put(w, "OVERAGES", "COUNT", "TOTAL FEES")
	for _, o := range a.Overages {
		sign, cents := "", o.TotalFeesCents
		if cents < 0 {
			sign, cents = "-", -cents
		}
		put(w, string(o.Status), n(o.Count), fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100))
	}
	return w.Flush()
}

// metricFamilies are the series of /metrics.
type metricFamilies map[string]*dto.MetricFamily

// sum adds up the series of a name whose label, if one is named, keep holds.
func (m metricFamilies) sum(name, label string, keep func(value string) bool) (total float64) {
	for _, s := range m[name].GetMetric() {
		if label == "" || keep(labelOf(s, label)) {
			total += s.GetCounter().GetValue() + s.GetGauge().GetValue()
		}
	}
	return total
}

func labelOf(s *dto.Metric, name string) string {
	for _, l := range s.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// below gives how many observations of a histogram's series there are, and
// what share of them is at most the bound; the next lower bucket stands for it.
func (m metricFamilies) below(name, label, value string, bound float64) (share float64, count uint64) {
	for _, s := range m[name].GetMetric() {
		if labelOf(s, label) != value {
			continue
		}
		count = s.GetHistogram().GetSampleCount()
		for _, b := range s.GetHistogram().GetBucket() {
			if b.GetUpperBound() <= bound && count > 0 {
				share = float64(b.GetCumulativeCount()) / float64(count)
			}
		}
	}
	return share, count
}
