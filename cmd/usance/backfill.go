package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/client"
)

// backfillCmd is usance backfill.
type backfillCmd struct {
	Daily      string            `xor:"source" required:"" placeholder:"FILE" help:"CSV of daily totals, plain or gzip, as usance export --daily writes it: one row for each licence, date and usage type, or a column for each type."`
	Events     string            `xor:"source" required:"" placeholder:"FILE" help:"Events as JSON, one a line, or as CSV; plain or gzip."`
	Table      string            `xor:"source" required:"" placeholder:"[SCHEMA.]TABLE" help:"A table or view of the PostgreSQL database --from, which is only read: events or daily totals, a row each."`
	Raw        bool              `xor:"source" required:"" help:"Rebuild a licence's days from the stored raw events."`
	License    string            `placeholder:"ID" help:"The licence of --raw, and of rows that name none."`
	From       string            `placeholder:"DATE|URL" help:"First local day of --raw; or the database of --table, as postgres://user@host:5432/database. Its password is read as psql reads it, from ~/.pgpass or PGPASSWORD, unless the URL holds it: what stands on a command line, everybody on the machine can see."`
	Source     string            `placeholder:"NAME" help:"Which database --table is of, where several have tables of that name, or which server a file of --events is of, where several write the same; part of the keys of rows that have none."`
	To         string            `placeholder:"DATE" help:"Last local day of --raw, inclusive."`
	As         string            `enum:",events,daily" default:"" placeholder:"events|daily" help:"What the rows of --table are; told by its name where that is events or daily_metrics."`
	Since      *usance.Date      `placeholder:"DATE" help:"The first day of --table, by its column of the date or time."`
	Until      *usance.Date      `placeholder:"DATE" help:"The last day of --table, inclusive."`
	Timezone   string            `default:"UTC" placeholder:"ZONE" help:"The zone of dates and times of --table that have none."`
	RowKey     []string          `placeholder:"COLUMN,..." help:"What tells the rows of --table apart; else its primary key."`
	Map        map[string]string `mapsep:"," placeholder:"NAME=COLUMN,..." help:"Which column holds what, such as date=metric_date,view=views,view.revenueCents=view_revenue."`
	Ignore     []string          `placeholder:"COLUMN,..." help:"Columns to leave out."`
	Rejects    string            `placeholder:"FILE" help:"Where rows go that were refused; beside the input unless told."`
	Checkpoint string            `placeholder:"FILE" help:"Where is kept how far the backfill is; beside the input unless told."`
	DryRun     bool              `help:"Read and check the input, show the first rows as they would be sent, and send nothing."`
	Batch      *int              `placeholder:"N" help:"Totals or events to send at once, 1 to 10000 (totals: 1000 at most); else USAGE_TRACKING_BATCH_SIZE."`
	JSON       bool              `name:"json" help:"Print the report as JSON."`

	send sender
}

// sender sends what is backfilled.
type sender interface {
	Track(ctx context.Context, events []usance.Event) ([]usance.Result, error)
	Totals(ctx context.Context, source string, totals []usance.DailyTotal) ([]usance.TotalResult, error)
}

// daily tells whether the rows are daily totals; else they are events.
func (c *backfillCmd) daily() bool { return c.Daily != "" || c.Table != "" && c.As == "daily" }

// backfillReport is what a backfill of an input came to.
type backfillReport struct {
	Rows       int64         `json:"rows"`      // read, those before a checkpoint too
	Sent       int64         `json:"sent"`      // totals or events that were answered
	New        int64         `json:"new"`       // counted now
	Corrected  int64         `json:"corrected"` // of these, totals in the place of a former one
	TakenBack  int64         `json:"takenBack"` // totals of no units that took a former one back
	Duplicates int64         `json:"duplicates"`
	Idle       int64         `json:"idle"` // totals of no units, and days without
	Refused    []refusedRows `json:"refused"`
	Rejects    string        `json:"rejects,omitempty"`   // the file that holds them
	ResumedAt  int64         `json:"resumedAt,omitempty"` // the line that this run began behind
	ReadBytes  int64         `json:"readBytes"`           // of the input, by this run
	DryRun     bool          `json:"dryRun"`
	WouldSend  int64         `json:"wouldSend,omitempty"` // by a dry run: totals or events
	First      []any         `json:"first,omitempty"`     // of them
	Error      string        `json:"error,omitempty"`
}

// refusedRows are those that were refused for one reason.
type refusedRows struct {
	Code    usance.Code `json:"code"`
	Field   string      `json:"field,omitempty"`
	Count   int64       `json:"count"`
	Message string      `json:"message"`         // of the first of them
	Lines   []int64     `json:"lines,omitempty"` // the first of them
	Keys    []string    `json:"keys,omitempty"`  // in their place, of a table
}

// maxRefusedLines bounds the lines that are named for each reason, and maxShown
// the rows that a dry run shows.
const (
	maxRefusedLines = 10
	maxShown        = 5
)

// maxTotals bounds the totals of a request, well below the 10,000 that the server
// takes: an answer lost costs little, and progress is seen.
const maxTotals = 1000

// Run backfills.
func (c *backfillCmd) Run(ctx context.Context, p *program) error {
	if c.Raw {
		return c.rebuild(ctx, p)
	}
	if err := c.checkFlags(); err != nil {
		return err
	}
	size := p.cfg.BatchSize
	if c.Batch != nil {
		size = *c.Batch
	}
	if size < 1 || size > usance.MaxBatch {
		return fmt.Errorf("--batch must be from 1 to %d, not %d", usance.MaxBatch, size)
	}
	if c.daily() {
		size = min(size, maxTotals)
	}
	bar := newProgress(p.err)
	b := &backfill{batch: size, dry: c.DryRun, path: c.Checkpoint, rejects: rejectFile{path: c.Rejects}, note: func(text string) { fmt.Fprintln(p.err, "usance:", text) }}
	if c.Table != "" {
		in, err := openTable(ctx, c, bar, b)
		if err != nil {
			return err
		}
		defer in.close()
		b.ofTable(in, c)
	} else {
		in, err := openInput(c.Daily+c.Events, bar)
		if err != nil {
			return err
		}
		defer in.close() //nolint:errcheck // it was read only
		if err := b.ofFile(ctx, in, c); err != nil {
			return err
		}
	}
	if c.DryRun || c.send != nil {
		b.send = c.send
		return c.run(ctx, p, b, bar)
	}
	return p.with(ctx, func(r *remote) error {
		b.send = client.New(r.url, r.key, client.Options{HTTP: r.http, Batch: size, Waiting: func(err error) {
			bar.note(err.Error() + "; trying again")
			if !bar.show {
				p.log.Warn("backfill: trying again", "problem", err)
			}
		}})
		b.sent = func() { bar.note("") }
		return c.run(ctx, p, b, bar)
	})
}

// run reads the input, and reports.
func (c *backfillCmd) run(ctx context.Context, p *program, b *backfill, bar *progress) error {
	stopBar := bar.start()
	err := b.run(ctx)
	stopBar()
	b.report.DryRun = c.DryRun
	if b.report.Refused == nil {
		b.report.Refused = []refusedRows{}
	}
	if err != nil {
		advice := "Run it again: it goes on where it stopped, and what was counted is not counted twice"
		if errors.As(err, new(damagedError)) {
			advice = "Mend the file there, or fetch it again, and run it again: while the lines before stay as they are, what was counted is not counted twice"
		}
		err = fmt.Errorf("the backfill ended early: %w\n%s", err, advice)
		b.report.Error = err.Error()
	}
	if c.JSON {
		text, e := json.MarshalIndent(b.report, "", "  ")
		if e != nil {
			return errors.Join(err, e)
		}
		p.printf("%s\n", text)
	} else {
		if err := b.report.print(p.out, c); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if n := b.report.refused(); n > 0 {
		return fmt.Errorf("%d of %d rows were refused, in whole or in part", n, b.report.Rows)
	}
	return nil
}

func (r *backfillReport) refused() (n int64) {
	for _, f := range r.Refused {
		n += f.Count
	}
	return n
}

// refuse counts a row that is refused, in whole or in part.
func (r *backfillReport) refuse(of *record, err *usance.Error) {
	i := slices.IndexFunc(r.Refused, func(f refusedRows) bool { return f.Code == err.Code && f.Field == err.Field })
	if i < 0 {
		i = len(r.Refused)
		r.Refused = append(r.Refused, refusedRows{Code: err.Code, Field: err.Field, Message: err.Message})
	}
	f := &r.Refused[i]
	f.Count++
	switch {
	case of.row != "" && len(f.Keys) < maxRefusedLines:
		f.Keys = append(f.Keys, of.row)
	case of.row == "" && len(f.Lines) < maxRefusedLines:
		f.Lines = append(f.Lines, of.line)
	}
}

// show counts what a dry run would send, and keeps the first of it.
func (r *backfillReport) show(rows []row) error {
	for i := range rows {
		w := &rows[i]
		if w.err != nil {
			continue
		}
		r.WouldSend += int64(max(1, len(w.totals)))
		for _, t := range w.totals {
			if len(r.First) < maxShown {
				t.Source, t.Line = "", 0
				r.First = append(r.First, t)
			}
		}
		if w.totals == nil && len(r.First) < maxShown {
			text, err := reject(&w.event)
			if err != nil {
				return err
			}
			r.First = append(r.First, json.RawMessage(text))
		}
	}
	return nil
}

// print writes the report for people.
func (r *backfillReport) print(out io.Writer, c *backfillCmd) error {
	what := "events"
	if c.daily() {
		what = "daily totals"
	}
	fmt.Fprintf(out, "%d rows", r.Rows)
	switch {
	case r.ResumedAt > 0 && c.Table != "":
		fmt.Fprintf(out, ", the first %d by an earlier run", r.ResumedAt)
	case r.ResumedAt > 0:
		fmt.Fprintf(out, ", those up to line %d by an earlier run", r.ResumedAt)
	}
	fmt.Fprintln(out)
	if r.DryRun {
		fmt.Fprintf(out, "Dry run: nothing was sent. %d %s would be, first:\n", r.WouldSend, what)
		for _, one := range r.First {
			text, err := json.Marshal(one)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "  %s\n", text)
		}
	} else {
		fmt.Fprintf(out, "Sent %d %s: %d new, %d counted before\n", r.Sent, what, r.New, r.Duplicates)
	}
	for _, l := range []struct {
		n    int64
		what string
	}{
		{r.Corrected, "of the new ones took the place of a former total"},
		{r.TakenBack, "of no units took a former total back"},
		{r.Idle, "of no units had nothing to take back"},
	} {
		if l.n > 0 {
			fmt.Fprintf(out, "%9d %s\n", l.n, l.what)
		}
	}
	if len(r.Refused) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	where := "LINES"
	if c.Table != "" {
		where = "KEYS"
	}
	fmt.Fprintf(t, "REFUSED\tROWS\t%s\tWHY\n", where)
	for _, f := range r.Refused {
		lines := strings.Trim(strings.ReplaceAll(fmt.Sprint(f.Lines), " ", ","), "[]")
		if c.Table != "" {
			lines = strings.Join(f.Keys, ", ")
		}
		if f.Count > int64(len(f.Lines)+len(f.Keys)) {
			lines += ",…"
		}
		why := f.Message
		if f.Field != "" {
			why = f.Field + " " + why
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", f.Code, f.Count, lines, why)
	}
	err := t.Flush()
	if r.Rejects != "" {
		fmt.Fprintf(out, "The rows that were refused are in %s, to be backfilled once what is wrong is mended.\n", r.Rejects)
	}
	return err
}

// rebuild asks for the licence's days to be rebuilt, and waits for the end.
func (c *backfillCmd) rebuild(ctx context.Context, p *program) error {
	switch {
	case c.License == "" || c.From == "" || c.To == "":
		return errors.New("--raw needs --license, --from and --to")
	case c.DryRun:
		return errors.New("--raw knows no --dry-run; the job aggregateUsageMetrics reports what differs from the raw events")
	}
	return p.with(ctx, func(r *remote) error {
		if r.local != nil { // nobody else is there to do the work
			working, stop := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.local.report("backfills", r.local.backfill.Run(working))
			}()
			defer func() { stop(); <-done }()
		}
		return c.follow(ctx, p, r)
	})
}

// backfillState is how far a rebuilding is, as the server tells it.
type backfillState struct {
	usance.Backfill
	Sealed []usance.Date `json:"sealed"`
}

// follow starts the rebuilding and shows how far it is.
func (c *backfillCmd) follow(ctx context.Context, p *program, r *remote) error {
	var begun struct {
		Backfill backfillState `json:"backfill"`
	}
	in := map[string]string{"licenseId": c.License, "startDate": c.From, "endDate": c.To}
	if err := r.call(ctx, "usage.backfillAggregates", in, &begun); err != nil {
		return err
	}
	bar := newProgress(p.err)
	stopBar := bar.start()
	state := begun.Backfill
	var err error
	for state.Status == usance.BackfillRunning && err == nil {
		passed, all := state.NextDate-state.StartDate, state.EndDate-state.StartDate+1
		bar.note(fmt.Sprintf("%s: %d of %d days, %d events read, %d rows put right", state.NextDate, passed, all, state.Events, state.Changed))
		select {
		case <-ctx.Done():
			err = errors.New("not waited for; it goes on with the server, and the same command shows how far it is")
		case <-time.After(200 * time.Millisecond):
			err = r.call(ctx, "usage.getBackfill", map[string]string{"licenseId": c.License}, &state)
		}
	}
	stopBar()
	if err != nil {
		return err
	}
	if c.JSON {
		text, err := json.MarshalIndent(state, "", "  ")
		if err != nil {
			return err
		}
		p.printf("%s\n", text)
	} else {
		p.printf("%s, %s to %s: %d days rebuilt from %d raw events; %d rows and %d counters differed\n",
			state.LicenseID, state.StartDate, state.EndDate, state.Days, state.Events, state.Changed, state.Counters)
	}
	if len(state.Sealed) > 0 && !c.JSON {
		p.printf("%d days are sealed, their raw events pruned, and were left as they are: %s\n", len(state.Sealed), spans(state.Sealed))
	}
	if state.Status == usance.BackfillFailed {
		return fmt.Errorf("stopped at %s: %s\nRun it again: it goes on there", state.NextDate, state.Error)
	}
	return nil
}

// spans writes days as ranges.
func spans(days []usance.Date) string {
	var out []string
	for i := 0; i < len(days); {
		j := i
		for j+1 < len(days) && days[j+1] == days[j]+1 {
			j++
		}
		text := days[i].String()
		if j > i {
			text += " to " + days[j].String()
		}
		out = append(out, text)
		i = j + 1
	}
	return strings.Join(out, ", ")
}

// how tells how the input is read: a checkpoint holds for the same way only. Each
// word is quoted, so that no two ways are told alike.
func (c *backfillCmd) how(id string) string {
	how := fmt.Sprintf("%q daily=%t license=%q map=%q ignore=%q source=%q", id, c.daily(), c.License, c.Map, c.Ignore, c.Source)
	if c.Table != "" {
		how += fmt.Sprintf(" since=%v until=%v timezone=%q key=%q", c.Since, c.Until, c.Timezone, c.RowKey)
	}
	return how
}
