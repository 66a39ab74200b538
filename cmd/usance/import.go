package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/usance/usance"
	"github.com/usance/usance/client"
	"github.com/usance/usance/weblog"
)

// importCmd is usance import.
type importCmd struct {
	Format   string        `default:"auto" help:"Format of the logs: ${enum}." enum:"${formats}"`
	Map      string        `required:"" placeholder:"FILE" help:"Which paths are whose usage: lines of path pattern, licence and usage type."`
	Final    bool          `help:"The logs are complete: count the clicks at their end too, which else wait for the next import while the log is younger than an hour."`
	Disorder time.Duration `default:"2m" help:"How far out of order in time the lines of a log may be; 0s when they are in order."`
	DryRun   bool          `help:"Read and judge the logs, and send nothing."`
	Batch    *int          `placeholder:"N" help:"Events to send at once, 1 to 10000; else USAGE_TRACKING_BATCH_SIZE."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
	Logs     []string      `arg:"" name:"log" help:"Logs, plain or gzip; - is the standard input. Several are joined by time, so that a chain of clicks that goes on in the next log counts once."`

	send func(context.Context, []usance.Event) ([]usance.Result, error)
}

// importReport is what an import found, and what the server made of it.
type importReport struct {
	weblog.Report
	DryRun bool         `json:"dryRun"`
	Server serverReport `json:"server"`
	Error  string       `json:"error,omitempty"` // why the import ended early
}

type serverReport struct {
	Sent       int64     `json:"sent"`       // events that were answered
	New        int64     `json:"new"`        // counted now
	Duplicates int64     `json:"duplicates"` // counted before
	Refused    []refused `json:"refused"`    // not counted, by code
}

type refused struct {
	Code    usance.Code `json:"code"`
	Events  int64       `json:"events"`
	Message string      `json:"message"` // of the first of them
	Advice  string      `json:"advice,omitempty"`
}

// Run imports the logs.
func (c *importCmd) Run(ctx context.Context, p *program) error {
	o, err := c.options(p)
	if err != nil {
		return err
	}
	im, err := weblog.New(o)
	if err != nil {
		return err
	}
	bar := newProgress(p.err)
	logs, err := c.sources(p.in, bar)
	if err != nil {
		return err
	}
	if c.DryRun || c.send != nil {
		return c.run(ctx, p, im, logs, bar)
	}
	return p.with(ctx, func(r *remote) error {
		to := client.New(r.url, r.key, client.Options{HTTP: r.http, Batch: o.Batch, Waiting: func(err error) {
			bar.note(err.Error() + "; trying again")
			if !bar.show {
				p.log.Warn("import: trying again", "problem", err)
			}
		}})
		c.send = func(ctx context.Context, events []usance.Event) ([]usance.Result, error) {
			defer bar.note("")
			return to.Track(ctx, events)
		}
		return c.run(ctx, p, im, logs, bar)
	})
}

// options checks the flags.
func (c *importCmd) options(p *program) (weblog.Options, error) {
	o := weblog.Options{Final: c.Final, Disorder: c.Disorder, Batch: p.cfg.BatchSize}
	if c.Batch != nil {
		o.Batch = *c.Batch
	}
	if o.Batch < 1 || o.Batch > usance.MaxBatch {
		return o, fmt.Errorf("--batch must be from 1 to %d, not %d", usance.MaxBatch, o.Batch)
	}
	switch {
	case c.Disorder < 0 || c.Disorder > time.Hour:
		return o, fmt.Errorf("--disorder must be from 0s to 1h, not %s", c.Disorder)
	case c.Disorder == 0:
		o.Disorder = -1
	}
	var err error
	if o.Format, err = weblog.ParseFormat(c.Format); err != nil {
		return o, err
	}
	f, err := os.Open(c.Map)
	if err != nil {
		return o, err
	}
	defer f.Close()
	if o.Map, err = weblog.ParseMap(f); err != nil {
		return o, fmt.Errorf("%s:\n%w", c.Map, err)
	}
	return o, nil
}

// sources names the logs and counts what is read of them.
func (c *importCmd) sources(in io.Reader, bar *progress) ([]weblog.Source, error) {
	var logs []weblog.Source
	for _, path := range c.Logs {
		if path == "-" {
			if len(c.Logs) > 1 {
				return nil, errors.New("the standard input cannot be joined with other logs, which are looked at twice; import it alone")
			}
			count := bar.add(0)
			logs = append(logs, weblog.Source{Name: "standard input", Open: func() (io.ReadCloser, error) {
				return count.reader(io.NopCloser(in)), nil
			}})
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			return nil, fmt.Errorf("%s is a folder; name the logs in it", path)
		}
		if slices.ContainsFunc(logs, func(s weblog.Source) bool { return s.Name == path }) {
			return nil, fmt.Errorf("%s is named twice", path)
		}
		count := bar.add(info.Size())
		logs = append(logs, weblog.Source{Name: path, Open: func() (io.ReadCloser, error) {
			f, err := os.Open(path)
			if err != nil {
				return nil, err
			}
			return count.reader(f), nil
		}})
	}
	return logs, nil
}

// run reads, sends and reports.
func (c *importCmd) run(ctx context.Context, p *program, im *weblog.Importer, logs []weblog.Source, bar *progress) error {
	out := importReport{DryRun: c.DryRun}
	codes := map[usance.Code]*refused{}
	stopBar := bar.start()
	var err error
	out.Report, err = im.ReadAll(ctx, logs, func(events []usance.Event) error {
		if c.DryRun {
			return nil
		}
		results, err := c.send(ctx, events)
		if err != nil {
			return err
		}
		if len(results) != len(events) {
			return fmt.Errorf("the server answered %d events with %d results", len(events), len(results))
		}
		for i := range results {
			out.Server.take(&results[i], codes)
		}
		return nil
	})
	stopBar()
	out.Server.Refused = []refused{}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		out.Server.Refused = append(out.Server.Refused, *codes[code])
	}
	if err != nil {
		err = fmt.Errorf("the import ended early: %w\nImport the same logs again: what was counted is not counted twice", err)
		out.Error = err.Error()
	}
	if c.JSON {
		b, e := json.MarshalIndent(out, "", "  ")
		if e != nil {
			return errors.Join(err, e)
		}
		p.printf("%s\n", b)
	} else {
		out.print(p.out)
	}
	if err != nil {
		return err
	}
	if out.Lines > 0 && out.Malformed == out.Lines {
		return errors.New("no line could be read; name the format of the log with --format")
	}
	var n int64
	for _, r := range out.Server.Refused {
		n += r.Events
	}
	if n > 0 {
		return fmt.Errorf("the server did not count %d of %d events", n, out.Server.Sent)
	}
	return nil
}

// take counts the answer to one event.
func (s *serverReport) take(r *usance.Result, codes map[usance.Code]*refused) {
	s.Sent++
	if r.Tracked {
		if r.Duplicate {
			s.Duplicates++
		} else {
			s.New++
		}
		return
	}
	code, message := usance.Code(r.Status), ""
	if r.Error != nil {
		code, message = r.Error.Code, r.Error.Message
	}
	if codes[code] == nil {
		codes[code] = &refused{Code: code, Message: message, Advice: advice(code)}
	}
	codes[code].Events++
}

// advice says what helps against a refusal, where the server cannot know.
func advice(code usance.Code) string {
	switch code {
	case usance.CodeBackdateForbidden:
		return "old logs need an admin's key, or a key with the backdate scope"
	case usance.CodeIdempotencyConflict:
		return "counted by an earlier import with other details, as by another device in the map; not counted twice"
	case usance.CodeLicenseNotFound:
		return "the map names a licence that the server does not have"
	case usance.CodeTooLate:
		return "the day is past the retention and closed"
	}
	return ""
}

// print writes the report for people.
func (r *importReport) print(out io.Writer) {
	if len(r.Rows) > 0 {
		id, kind := len("LICENCE"), len("TYPE")
		for _, row := range r.Rows {
			id, kind = max(id, len(row.LicenseID)), max(kind, len(row.UsageType))
		}
		line := func(license, day, usageType string, numbers ...any) {
			fmt.Fprintf(out, "%-*s  %-10s  %-*s", id, license, day, kind, usageType)
			fmt.Fprintf(out, "  %9v  %9v  %13v  %9v  %9v\n", numbers...)
		}
		line("LICENCE", "DAY (UTC)", "TYPE", "GROSS", "ROBOTS", "DOUBLE CLICKS", "WAITING", "COUNTED")
		for _, row := range r.Rows {
			line(row.LicenseID, row.Day, row.UsageType, row.Gross, row.Robots, row.DoubleClicks, row.Waiting, row.Counted)
		}
		line("total", "", "", r.Gross, r.Robots, r.DoubleClicks, r.Waiting, r.Counted)
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%d lines", r.Lines)
	if !r.From.IsZero() {
		fmt.Fprintf(out, ", %s to %s", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	}
	fmt.Fprintln(out)
	for _, l := range []struct {
		n    int64
		what string
	}{
		{r.OtherMethod, "are no GET"},
		{r.OtherStatus, "have another status than 200 and 304"},
		{r.Unmatched, "have no rule in the map"},
		{r.Malformed, "cannot be read"},
		{r.Unfinished, "are still being written"},
		{r.Late, "are further out of order than --disorder, and were checked for double clicks less strictly"},
	} {
		if l.n > 0 {
			fmt.Fprintf(out, "%9d %s\n", l.n, l.what)
		}
	}
	for _, m := range r.Problems {
		fmt.Fprintf(out, "          %s line %d: %s\n", m.Log, m.Line, m.Reason)
	}
	if len(r.UnmatchedPaths) > 0 {
		fmt.Fprintln(out, "Most requested without a rule:")
		for _, u := range r.UnmatchedPaths {
			fmt.Fprintf(out, "%9d %s\n", u.Count, strconv.QuoteToGraphic(u.Path))
		}
	}
	if len(r.UnusedRules) > 0 {
		fmt.Fprintf(out, "Lines of the map that nothing matched: %s\n", strings.Trim(fmt.Sprint(r.UnusedRules), "[]"))
	}
	if r.Waiting > 0 {
		fmt.Fprintf(out, "%d clicks at the end wait for the next import of this log, since the next line may make them double clicks; --final counts them now.\n", r.Waiting)
	}
	if r.DryRun {
		fmt.Fprintf(out, "Dry run: nothing was sent.\n")
		return
	}
	fmt.Fprintf(out, "Sent %d events: %d new, %d counted before\n", r.Server.Sent, r.Server.New, r.Server.Duplicates)
	if len(r.Server.Refused) == 0 {
		return
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NOT COUNTED\tEVENTS\tWHY")
	for _, f := range r.Server.Refused {
		why := f.Message
		if f.Advice != "" {
			why = f.Advice + " (" + f.Message + ")"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", f.Code, f.Events, why)
	}
	_ = t.Flush()
}

// isTerminal tells whether w shows to a person.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// progress is the bar of an import: the bytes that were read of those that
// there are, or the rows. It shows on a terminal only.
type progress struct {
	w      io.Writer
	amount func(n float64) string // how so many are told
	show   bool
	total  int64
	counts []*byteCount
	begun  time.Time
	done   chan struct{}
	gone   sync.WaitGroup
	text   atomic.Value // string: why nothing moves
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, amount: megabytes, show: isTerminal(w), done: make(chan struct{})}
}

// add makes the counter of a log of so many bytes.
func (p *progress) add(size int64) *byteCount {
	p.total += size
	c := &byteCount{}
	p.counts = append(p.counts, c)
	return c
}

// note shows a text instead of the bar; an empty one brings the bar back.
func (p *progress) note(text string) { p.text.Store(text) }

// start shows the bar until the function that it returns is called.
func (p *progress) start() (stop func()) {
	p.begun = time.Now()
	if !p.show {
		return func() {}
	}
	p.gone.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.done:
				fmt.Fprint(p.w, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(p.w, "\r\x1b[K"+p.line(time.Since(p.begun)))
			}
		}
	})
	return func() {
		close(p.done)
		p.gone.Wait()
	}
}

// line is the bar after so long.
func (p *progress) line(elapsed time.Duration) string {
	if text, _ := p.text.Load().(string); text != "" {
		text = strings.ReplaceAll(text, "\n", " ")
		if r := []rune(text); len(r) > 76 {
			text = string(r[:75]) + "…"
		}
		return text
	}
	var read int64
	for _, c := range p.counts {
		read += c.n.Load()
	}
	rate := float64(read) / max(elapsed.Seconds(), 0.001)
	if p.total == 0 {
		return fmt.Sprintf("%s read, %s/s", p.amount(float64(read)), p.amount(rate))
	}
	const width = 24
	share := min(float64(read)/float64(p.total), 1) // a log may have grown
	filled := int(share * width)
	left := "?"
	if read > 0 {
		left = time.Duration(float64(max(p.total-read, 0)) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("[%s%s] %3.0f%% of %s, %s/s, %s left",
		strings.Repeat("#", filled), strings.Repeat(".", width-filled), share*100, p.amount(float64(p.total)), p.amount(rate), left)
}

func megabytes(n float64) string { return fmt.Sprintf("%.1f MB", n/1e6) }

// byteCount counts what is read of one log. Opening it again starts anew, since
// a log is opened once before to see where it begins.
type byteCount struct{ n atomic.Int64 }

func (c *byteCount) reader(r io.ReadCloser) io.ReadCloser {
	c.n.Store(0)
	return &countedReader{r, c}
}

type countedReader struct {
	io.ReadCloser
	count *byteCount
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.count.n.Add(int64(n))
	return n, err
}
