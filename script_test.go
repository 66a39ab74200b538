package usance_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/forecast/watch"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/storetest"
)

// TestRules runs the data scripts of testdata/rules on every store: once with
// a fold after each step and once without any, since folding must never change
// an answer. testdata/rules/README.md describes their language.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, kind := range storetest.Kinds {
		for _, file := range files {
			for _, eager := range []bool{true, false} {
				script := strings.TrimSuffix(filepath.Base(file), ".txt")
				t.Run(fmt.Sprintf("%s/%s/fold=%t", kind, script, eager), func(t *testing.T) {
					t.Parallel()
					runScript(t, file, storetest.Open(t, kind), eager)
				})
			}
		}
	}
}

// script is the state of one run.
type script struct {
	t       *testing.T
	store   usance.Store
	in      *ingest.Ingester
	fold    *fold.Folder
	catalog *catalog.Catalog
	billing *billing.Billing
	watch   *watch.Watch
	now     time.Time
	names   map[string]string // threshold names of the script → ids
}

func runScript(t *testing.T, file string, store usance.Store, eager bool) {
	s := &script{t: t, store: store, now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), names: make(map[string]string)}
	clock := func() time.Time { return s.now }
	s.fold = fold.New(store, fold.Options{Now: clock})
	s.in = ingest.New(store, ingest.Options{Now: clock, SessionKey: []byte("test"), Committed: s.fold.Offer})
	s.catalog = catalog.New(store, catalog.Options{Now: clock})
	s.billing = billing.New(store, billing.Options{Now: clock})
	s.watch = watch.New(store, watch.Options{Now: clock})
	t.Cleanup(func() {
		if err := s.in.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var step string
	var want []string
	number, stepAt := 0, 0
	finish := func() {
		if step == "" {
			return
		}
		got, err := s.run(step)
		if err != nil {
			got = []string{"error " + string(usance.ErrorCode(err))}
			if usance.ErrorCode(err) == usance.CodeInternal {
				t.Fatalf("%s:%d: %s: %v", file, stepAt, step, err)
			}
		}
		// A step that answers is compared when an answer is written below it,
		// and always when it is a question.
		if len(want) == 0 && err == nil && slices.ContainsFunc(got, isRefused) {
			t.Errorf("%s:%d: %s: %v; write it below the step if it is meant", file, stepAt, step, got)
		}
		if len(want) > 0 || strings.HasPrefix(step, "expect ") || err != nil {
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s:%d: %s (-want +got)\n%s", file, stepAt, step, diff)
			}
		}
		if eager {
			if _, err := s.fold.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		number++
		line := strings.TrimRight(lines.Text(), " ")
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "  "):
			want = append(want, strings.TrimSpace(line))
		default:
			finish()
			step, stepAt, want = line, number, nil
		}
	}
	finish()
}

// isRefused tells of the answer to an event whether it was not counted.
func isRefused(answer string) bool {
	for _, status := range []string{"REFUSED", "BLOCKED", "OUT_OF_TERM"} {
		if strings.HasPrefix(answer, status) {
			return true
		}
	}
	return false
}

// run carries out one step and gives its answer, a line each.
func (s *script) run(step string) ([]string, error) {
	ctx := s.t.Context()
	verb, rest, _ := strings.Cut(step, " ")
	words := strings.Fields(rest)
	switch verb {
	case "clock":
		now, err := time.Parse(time.RFC3339, rest)
		s.now = now
		return nil, err
	case "license":
		id, body, _ := strings.Cut(rest, " ")
		_, _, err := s.catalog.PutLicense(ctx, id, []byte(body), "script")
		return nil, err
	case "delete":
		_, err := s.catalog.DeleteLicense(ctx, rest, "script")
		return nil, err
	case "threshold":
		return nil, s.threshold(ctx, words[0], words[1], strings.Join(words[2:], " "))
	case "update":
		_, err := s.catalog.UpdateThreshold(ctx, s.names[words[0]], []byte(strings.Join(words[1:], " ")), "script", false)
		return nil, err
	case "retire":
		_, err := s.catalog.RetireThreshold(ctx, s.names[rest], "script", false)
		return nil, err
	case "events", "atomic", "late":
		return s.events(ctx, words, verb)
	case "totals":
		return s.totals(ctx, rest)
	case "history":
		return s.history(ctx, words)
	case "forecast":
		made, err := s.watch.Generate(ctx)
		return []string{fmt.Sprint("made ", made)}, err
	case "warn":
		raised, err := s.watch.Warn(ctx)
		return []string{fmt.Sprint("raised ", raised)}, err
	case "detect":
		raised, err := s.watch.Detect(ctx)
		return []string{fmt.Sprint("raised ", raised)}, err
	case "score":
		scored, err := s.watch.Score(ctx)
		return []string{fmt.Sprint("scored ", scored)}, err
	case "void":
		res, err := s.in.Void(ctx, ingest.VoidRequest{LicenseID: words[0], IdempotencyKey: words[1], Actor: "script"})
		return []string{show(&res)}, err
	case "check":
		n, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return nil, err
		}
		c, err := s.in.Check(ctx, words[0], words[1], n, time.Time{})
		if err != nil || c.Error == nil {
			return []string{fmt.Sprint("allowed ", c.Allowed)}, err
		}
		return []string{fmt.Sprint("allowed ", c.Allowed, " ", c.Error.Code)}, nil
	case "close":
		closed, settled, err := s.billing.ClosePeriods(ctx)
		return []string{fmt.Sprintf("closed %d settled %d", closed, settled)}, err
	case "autoapprove":
		cents, err := strconv.ParseInt(rest, 10, 64)
		s.billing = billing.New(s.store, billing.Options{Now: func() time.Time { return s.now }, AutoApproveCents: cents})
		return nil, err
	case "retain":
		keep, err := time.ParseDuration(rest)
		if err != nil {
			return nil, err
		}
		r, err := s.fold.Retain(ctx, keep)
		return []string{fmt.Sprintf("days %d events %d evidence %d", r.Days, r.Events, r.Evidence)}, err
	case "recalculate":
		from, err := usance.ParseDate(words[1])
		if err != nil {
			return nil, err
		}
		to, err := usance.ParseDate(words[2])
		if err != nil {
			return nil, err
		}
		r, err := s.fold.Recalculate(ctx, words[0], from, to+1, "script")
		return []string{fmt.Sprintf("days %d changed %d counters %d", r.Days, r.Changed, r.Counters)}, err
	case "approve", "dispute", "resolve", "waive":
		return s.move(ctx, verb, words)
	case "expect":
		return s.expect(ctx, words)
	}
	return nil, fmt.Errorf("no step %q", verb)
}

func (s *script) threshold(ctx context.Context, name, licenseID, body string) error {
	t := usance.Threshold{LicenseID: licenseID}
	if err := decodeStrict(body, &t); err != nil {
		return err
	}
	made, err := s.catalog.CreateThreshold(ctx, t, "script", false)
	if err == nil {
		s.names[name] = made.ID
	}
	return err
}

// events sends lines of the form LICENSE TYPE QUANTITY [key=K] [at=T] [revenue=C]
// separated by commas, as one request.
func (s *script) events(ctx context.Context, words []string, verb string) ([]string, error) {
	req := ingest.Request{Atomic: verb == "atomic", Backdate: verb == "late", Actor: "script"}
	for _, one := range strings.Split(strings.Join(words, " "), ",") {
		f := strings.Fields(one)
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, err
		}
		e := usance.Event{LicenseID: f[0], UsageType: f[1], Quantity: n}
		for _, opt := range f[3:] {
			name, value, _ := strings.Cut(opt, "=")
			switch name {
			case "key":
				e.IdempotencyKey = value
			case "at":
				if e.OccurredAt, err = time.Parse(time.RFC3339, value); err != nil {
					return nil, err
				}
			case "revenue":
				if e.RevenueCents, err = strconv.ParseInt(value, 10, 64); err != nil {
					return nil, err
				}
			case "session":
				e.SessionID = value
			default:
				return nil, fmt.Errorf("no event option %q", opt)
			}
		}
		req.Events = append(req.Events, e)
	}
	results, err := s.in.Track(ctx, req)
	out := make([]string, len(results))
	for i := range results {
		out[i] = show(&results[i])
	}
	return out, err
}

// totals sends lines of the form LICENSE DATE TYPE QUANTITY [revenue=C]
// [source=NAME:LINE] separated by commas, as one request of daily totals.
func (s *script) totals(ctx context.Context, text string) ([]string, error) {
	var totals []usance.DailyTotal
	for one := range strings.SplitSeq(text, ",") {
		f := strings.Fields(one)
		date, err := usance.ParseDate(f[1])
		if err != nil {
			return nil, err
		}
		t := usance.DailyTotal{LicenseID: f[0], Date: date, UsageType: f[2]}
		if t.Quantity, err = strconv.ParseInt(f[3], 10, 64); err != nil {
			return nil, err
		}
		for _, opt := range f[4:] {
			name, value, _ := strings.Cut(opt, "=")
			switch name {
			case "revenue":
				t.RevenueCents, err = strconv.ParseInt(value, 10, 64)
			case "source":
				var line string
				t.Source, line, _ = strings.Cut(value, ":")
				t.Line, err = strconv.ParseInt(line, 10, 64)
			default:
				err = fmt.Errorf("no option %q of a total", opt)
			}
			if err != nil {
				return nil, err
			}
		}
		totals = append(totals, t)
	}
	results, err := s.in.Totals(ctx, totals, "script")
	out := make([]string, len(results))
	for i := range results {
		r := &results[i]
		out[i] = show(&r.Result)
		if r.Revision > 0 {
			out[i] += fmt.Sprintf(" revision %d", r.Revision)
		}
		if !r.VoidedEvent.IsZero() {
			out[i] += " in place of the former"
		}
	}
	return out, err
}

// history sends daily totals of LICENSE TYPE FROM TO QUANTITY, TO inclusive.
func (s *script) history(ctx context.Context, words []string) ([]string, error) {
	from, err := usance.ParseDate(words[2])
	if err != nil {
		return nil, err
	}
	to, err := usance.ParseDate(words[3])
	if err != nil {
		return nil, err
	}
	quantity, err := strconv.ParseInt(words[4], 10, 64)
	if err != nil {
		return nil, err
	}
	var totals []usance.DailyTotal
	for d := from; d <= to; d++ {
		totals = append(totals, usance.DailyTotal{LicenseID: words[0], Date: d, UsageType: words[1], Quantity: quantity})
	}
	results, err := s.in.Totals(ctx, totals, "script")
	counted := 0
	for i := range results {
		if results[i].Status == usance.StatusCounted {
			counted++
		}
	}
	return []string{fmt.Sprint("counted ", counted)}, err
}

// show is a result as scripts expect it: what became of the event, then used
// of limit for each threshold.
func show(r *usance.Result) string {
	out := string(r.Status)
	if r.Duplicate {
		out = "DUPLICATE"
	}
	if r.Error != nil {
		out += " " + string(r.Error.Code)
	}
	for _, u := range r.Usage {
		out += fmt.Sprintf(" %d/%d", u.Used, u.Limit)
	}
	return out
}

// move finds the overage by LICENSE PERIOD-START REVISION and moves it.
func (s *script) move(ctx context.Context, verb string, words []string) ([]string, error) {
	var id usance.ID
	err := s.eachOverage(ctx, words[0], func(o *usance.Overage) {
		if o.PeriodDate.String() == words[1] && fmt.Sprint(o.Revision) == words[2] {
			id = o.ID
		}
	})
	if err != nil {
		return nil, err
	}
	do := map[string]func(context.Context, usance.ID, string, string) (usance.Overage, error){
		"approve": s.billing.Approve, "dispute": s.billing.Dispute, "resolve": s.billing.Resolve, "waive": s.billing.Waive,
	}[verb]
	o, err := do(ctx, id, "script", "because")
	return []string{string(o.Status)}, err
}

func (s *script) eachOverage(ctx context.Context, licenseID string, yield func(*usance.Overage)) error {
	return s.store.View(ctx, func(v usance.View) error {
		rows, _, err := v.Overages(ctx, usance.OverageFilter{LicenseID: licenseID}, usance.Page{Limit: 1000})
		slices.SortFunc(rows, func(a, b usance.Overage) int {
			return strings.Compare(fmt.Sprint(a.PeriodDate, a.UsageType, a.Revision), fmt.Sprint(b.PeriodDate, b.UsageType, b.Revision))
		})
		for i := range rows {
			yield(&rows[i])
		}
		return err
	})
}

// expect shows a table of what is stored about a licence.
func (s *script) expect(ctx context.Context, words []string) (out []string, err error) {
	what, licenseID := words[0], words[1]
	if what == "overages" {
		err = s.eachOverage(ctx, licenseID, func(o *usance.Overage) {
			out = append(out, fmt.Sprintf("%s %s %d %s actual %d over %d fee %d", o.PeriodDate, o.UsageType, o.Revision, o.Status,
				o.ActualQuantity, o.OverageQuantity, o.CalculatedFeeCents))
		})
		return out, err
	}
	err = s.store.View(ctx, func(v usance.View) error {
		switch what {
		case "usage":
			rows, err := v.DayUsage(ctx, licenseID, usance.MinDate, usance.MaxDate)
			for _, r := range rows {
				out = append(out, fmt.Sprintf("%s %s %d %d %d", r.Date, r.UsageType, r.Events, r.Quantity, r.RevenueCents))
			}
			return err
		case "alerts":
			rows, _, err := v.Alerts(ctx, usance.AlertFilter{LicenseID: licenseID}, usance.Page{Limit: 1000})
			// A frozen clock leaves the order of ids to chance.
			slices.SortFunc(rows, func(a, b usance.Alert) int {
				return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), int(a.Quantity-b.Quantity), a.Level-b.Level, strings.Compare(string(b.Kind), string(a.Kind)))
			})
			for _, a := range rows {
				line := fmt.Sprintf("%s %s %s level %d at %d of %d", a.PeriodStart, a.UsageType, a.Kind, a.Level, a.Quantity, a.LimitQuantity)
				if a.Severity != "" && a.Kind != usance.AlertForecast {
					line = fmt.Sprintf("%s %s %s %s: %s", a.PeriodStart, a.UsageType, a.Kind, a.Severity, a.Reason)
				}
				if a.Kind == usance.AlertForecast {
					line = fmt.Sprintf("%s %s forecast at %d of %d passed on %s %s", a.PeriodStart, a.UsageType, a.Quantity, a.LimitQuantity, a.PredictedBreachDate, a.Severity)
				}
				out = append(out, line)
			}
			return err
		case "forecasts":
			rows, _, err := v.Forecasts(ctx, usance.ForecastFilter{LicenseID: licenseID}, usance.Page{Limit: 1000})
			slices.Reverse(rows)
			for i := range rows {
				out = append(out, showForecast(&rows[i]))
			}
			slices.Sort(out)
			return err
		case "evidence":
			rows, _, err := v.Evidence(ctx, usance.EventFilter{LicenseID: licenseID}, usance.Page{Limit: 1000})
			for _, e := range rows {
				out = append(out, fmt.Sprintf("%s %s %d attempts %d", e.Status, e.Code, e.Quantity, e.Attempts))
			}
			slices.Sort(out)
			return err
		case "thresholds":
			for _, name := range words[2:] {
				t, err := v.Threshold(ctx, s.names[name])
				if err != nil {
					return err
				}
				level := "none"
				if t.LastWarningLevel != nil {
					level = fmt.Sprint(*t.LastWarningLevel)
				}
				out = append(out, fmt.Sprintf("%s active %t from %s last warning %s", name, t.IsActive, t.EffectiveFrom, level))
			}
			return nil
		case "counters":
			for _, name := range words[2:] {
				rows, err := v.CountersOf(ctx, licenseID, s.names[name])
				if err != nil {
					return err
				}
				for _, c := range rows {
					out = append(out, fmt.Sprintf("%s %s %s %d level %d", name, c.PeriodStart, c.State, c.Quantity, c.Level))
				}
			}
			return nil
		}
		return fmt.Errorf("nothing to expect of %q", what)
	})
	return out, err
}

// showForecast shows what does not depend on a digit more or less: the total to
// one hundred, and whether the limit is passed for certain, maybe or not.
func showForecast(f *usance.Forecast) string {
	out := fmt.Sprintf("%s %s from %s used %d total %d limit %d", f.ForecastDate, f.UsageType, f.PeriodStart, f.UsedQuantity,
		(f.PredictedQuantity+50)/100*100, f.LimitQuantity)
	if f.PredictedBreachDate != nil {
		out += fmt.Sprint(" passed on ", f.PredictedBreachDate)
	}
	if s := f.Score; s != nil {
		out += fmt.Sprintf(" actual %d covered %t breached %t", s.ActualQuantity, s.Covered, *s.Breached)
	}
	return out
}

func decodeStrict(body string, v any) error {
	return json.Unmarshal([]byte(body), v, json.RejectUnknownMembers(true))
}
