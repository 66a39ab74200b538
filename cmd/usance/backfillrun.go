package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/usance/usance"
)

// input is what is backfilled: a file, or a table of another database. Its
// records have an order, and it can be read on from any position.
type input interface {
	// start reads on behind a position; the zero position is that of the begin.
	start(ctx context.Context, at position) error
	// next reads a record; io.EOF at the end.
	next(ctx context.Context) (record, error)
	// place is the position behind the last record.
	place() position
	// isPart tells whether what was read since then is a twentieth of all, or more.
	isPart(since position) bool
	// read tells how many bytes were read by this process.
	read() int64
	// source names the input to the server: the same for the same content.
	source() string
}

// backfill sends what an input holds, in order, and keeps how far it is.
type backfill struct {
	in      input
	daily   *dailyColumns // of daily totals
	events  *eventReader  // of events
	send    sender
	sent    func()
	note    func(string)
	batch   int
	dry     bool
	path    string // of the checkpoint
	how     string
	rejects rejectFile

	report backfillReport
	kept   checkpoint
}

// row is a record, what it says, and what became of it.
type row struct {
	record
	at     extent
	totals []usance.DailyTotal
	event  usance.Event
	err    *usance.Error // why it is refused, in whole or in part
}

// besides chooses the files beside the input, those that are not named.
func (b *backfill) besides(name string) {
	suffix := ".rejects.ndjson"
	if b.daily != nil {
		suffix = ".rejects.csv"
	}
	if b.path == "" {
		b.path = name + ".checkpoint"
	}
	if b.rejects.path == "" {
		b.rejects.path = name + suffix
	}
}

// ofFile sets the backfill of a file up.
func (b *backfill) ofFile(ctx context.Context, in *inputFile, c *backfillCmd) (err error) {
	if c.daily() {
		if in.isJSON {
			return fmt.Errorf("%s holds JSON; daily totals are read from CSV with a header line", in.path)
		}
		b.rejects.header = in.header
		b.daily, err = newDailyColumns(in.header, c.Map, c.Ignore, c.License)
	} else {
		b.events, err = newEventReader(in, c)
	}
	if err != nil {
		return fmt.Errorf("%s line 1: %w", in.path, err)
	}
	b.besides(filepath.Clean(in.path))
	if !b.dry {
		if err := in.identify(ctx); err != nil {
			return err
		}
	}
	b.in, b.how = in, c.how(in.content)
	return nil
}

// apart refuses names of which one file would take another's place: a checkpoint has a
// new one and a lock beside it, which come and go.
func (b *backfill) apart() error {
	others := []string{place(b.rejects.path)}
	if f, ok := b.in.(*inputFile); ok {
		others = append(others, place(f.path))
	}
	for _, name := range []string{b.path, b.path + ".new", b.path + ".lock"} {
		if slices.Contains(others, place(name)) {
			return fmt.Errorf("%s is of the checkpoint: it can be neither what is read nor where the rows go that are refused; name other places with --checkpoint and --rejects", name)
		}
	}
	return nil
}

// place names a file the same however it was named.
func place(name string) string {
	if whole, err := filepath.Abs(name); err == nil {
		name = whole
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		return target
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil {
		return filepath.Join(folder, filepath.Base(name))
	}
	return name
}

// run sends the input from where an earlier run stopped, or from its start.
func (b *backfill) run(ctx context.Context) (err error) {
	if err := b.apart(); err != nil {
		return err
	}
	defer func() { b.report.ReadBytes = b.in.read() }()
	defer func() { err = errors.Join(err, b.rejects.close()) }()
	if !b.dry {
		release, held := holdCheckpoint(b.path)
		if held != nil {
			return held
		}
		defer func() { err = errors.Join(err, release()) }()
		if err := b.resume(ctx); err != nil {
			return err
		}
	}
	if err := b.in.start(ctx, b.kept.At); err != nil {
		return err
	}
	for {
		rows, err := b.gather(ctx)
		if len(rows) > 0 {
			if e := b.settle(ctx, rows); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if b.dry {
		return nil
	}
	if err := os.Remove(b.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// resume takes up the checkpoint, if the server holds what it says was counted,
// or refuses still what it says was refused while nothing was counted: it may be
// another server, or one whose data are gone.
func (b *backfill) resume(ctx context.Context) error {
	c, err := readCheckpoint(b.path, b.how)
	if err != nil {
		return err
	}
	last := c
	if c != nil {
		doubt, err := b.doubt(ctx, c)
		if err != nil {
			return err
		}
		if doubt != "" {
			b.note(doubt + "; starting at the beginning: what was counted is not counted twice")
			c = nil
		}
	}
	if c != nil {
		b.kept, b.report = *c, c.Report
		b.report.ResumedAt, b.report.ReadBytes, b.report.Error = c.At.Line, 0, ""
	}
	b.kept.Version, b.kept.Input = checkpointVersion, b.how
	goesOn, err := b.rejects.start(last, c == nil)
	if err == nil && !goesOn && b.kept.Rejected > 0 {
		b.note(fmt.Sprintf("what was refused before was kept in %s, which was moved or changed since and is left alone; what is refused from here on is kept in %s", c.Report.Rejects, b.rejects.path))
	}
	return err
}

// doubt says why the checkpoint may be of another server; empty when it is not.
func (b *backfill) doubt(ctx context.Context, c *checkpoint) (string, error) {
	at, counted := c.Counted, true
	if at == nil {
		at, counted = c.Refused, false
		switch {
		case c.Report.taken() > 0: // of these none is asked for
			return "by what was answered so far nothing tells whether the server is the same", nil
		case at == nil: // and no server takes what it was not sent for its form
			return "", nil
		}
	}
	known, refused, there, err := b.again(ctx, *at)
	switch {
	case err != nil:
		return "", err
	case !there:
		return "the row by which the server would be asked what it holds is gone", nil
	case counted && !known:
		return "the server does not hold what the checkpoint says was counted", nil
	case !counted && !refused:
		return "the server takes what the checkpoint says was refused", nil
	}
	return "", nil
}

// again sends the record of an extent again, and tells whether the server knew
// all of it, or refused any. A row that a table holds no more is not there: then
// nothing is sent, not the row behind it either, and whether the server is the
// same cannot be told.
func (b *backfill) again(ctx context.Context, at extent) (known, refused, there bool, err error) {
	if err := b.in.start(ctx, at.From); err != nil {
		return false, false, false, err
	}
	r, err := b.read(ctx)
	if errors.Is(err, io.EOF) || err == nil && !slices.Equal(r.at.To.Key, at.To.Key) {
		return false, false, false, nil
	}
	if err != nil {
		return false, false, false, err
	}
	var out backfillReport
	rows := []row{r}
	if err := b.deliver(ctx, rows, &out); err != nil {
		return false, false, false, err
	}
	refused = rows[0].err != nil
	return out.Duplicates+out.Idle == out.Sent && !refused, refused, true, nil
}

// read reads a row. A fault of the row is the row's, of the input the error.
func (b *backfill) read(ctx context.Context) (row, error) {
	r := row{at: extent{From: b.in.place()}}
	var err error
	if r.record, err = b.in.next(ctx); err != nil {
		return r, err
	}
	r.at.To = b.in.place()
	if b.daily != nil {
		r.totals, err = b.daily.totals(r.record)
		for i := range r.totals {
			r.totals[i].Source = b.in.source()
		}
	} else {
		r.event, err = b.events.event(r.record)
	}
	if err != nil {
		r.err = invalidRow(err)
	}
	return r, nil
}

// gather reads rows for one request: not more than a twentieth of the input, so
// that little is read again when it is not answered.
func (b *backfill) gather(ctx context.Context) (rows []row, err error) {
	begin, units := b.in.place(), 0
	for units < b.batch && (len(rows) == 0 || !b.in.isPart(begin)) && len(rows) < usance.MaxBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := b.read(ctx)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
		if b.daily != nil {
			units += len(r.totals)
		} else if r.err == nil {
			units++
		}
	}
	return rows, nil
}

// settle sends rows and keeps what became of them.
func (b *backfill) settle(ctx context.Context, rows []row) error {
	asked := make([]bool, len(rows)) // the server, and not its form alone
	for i := range rows {
		asked[i] = rows[i].err == nil
	}
	if b.dry {
		if err := b.report.show(rows); err != nil {
			return err
		}
	} else if err := b.deliver(ctx, rows, &b.report); err != nil {
		return err
	}
	var rejected [][]byte
	for i := range rows {
		r := &rows[i]
		b.report.Rows++
		if r.err == nil {
			if b.daily != nil && len(r.totals) == 0 {
				b.report.Idle++
			} else if b.daily == nil || r.totals[0].Quantity > 0 {
				b.kept.Counted = &r.at
			}
			continue
		}
		if asked[i] {
			b.kept.Refused = &r.at
		}
		b.report.refuse(&r.record, r.err)
		text, err := b.reject(r)
		if err != nil {
			return err
		}
		rejected = append(rejected, text)
	}
	if b.dry {
		return nil
	}
	if len(rejected) > 0 {
		var err error
		if b.kept.Rejected, err = b.rejects.add(rejected); err != nil {
			return err
		}
		b.report.Rejects, b.kept.Digest = b.rejects.path, b.rejects.digest()
	}
	b.kept.At, b.kept.Report = b.in.place(), b.report
	return b.kept.write(b.path)
}

func (b *backfill) reject(r *row) ([]byte, error) {
	switch {
	case b.daily != nil:
		return csvLine(r.cells), nil
	case r.event.IdempotencyKey != "" && r.event.LicenseID != "":
		return reject(&r.event)
	}
	return b.events.rejectRecord(r.record)
}

// deliver sends what the rows say, and writes into them why any is refused.
func (b *backfill) deliver(ctx context.Context, rows []row, report *backfillReport) error {
	defer func() {
		if b.sent != nil {
			b.sent()
		}
	}()
	if b.daily != nil {
		return b.deliverTotals(ctx, rows, report)
	}
	var events []usance.Event
	var of []int // the row of each
	for i := range rows {
		if rows[i].err == nil {
			events, of = append(events, rows[i].event), append(of, i)
		}
	}
	if len(events) == 0 {
		return nil
	}
	results, err := b.send.Track(ctx, events)
	if err != nil {
		return err
	}
	for n := range results {
		report.take(&results[n], &rows[of[n]])
	}
	return nil
}

func (b *backfill) deliverTotals(ctx context.Context, rows []row, report *backfillReport) error {
	var totals []usance.DailyTotal
	var of []int
	for i := range rows {
		if rows[i].err != nil {
			continue
		}
		for _, t := range rows[i].totals {
			totals, of = append(totals, t), append(of, i)
		}
	}
	for len(totals) > 0 {
		n := min(len(totals), maxTotals)
		results, err := b.send.Totals(ctx, b.in.source(), totals[:n])
		if err != nil {
			return err
		}
		for i := range results {
			r := &results[i]
			if r.Status == usance.StatusVoided && r.Error == nil {
				report.Sent++
				if r.Duplicate {
					report.Idle++
				} else {
					report.TakenBack++
				}
				continue
			}
			if !r.VoidedEvent.IsZero() {
				report.Corrected++
			}
			report.take(&r.Result, &rows[of[i]])
		}
		totals, of = totals[n:], of[n:]
	}
	return nil
}

// taken is how many answers were no refusals.
func (r *backfillReport) taken() int64 { return r.New + r.Duplicates + r.TakenBack + r.Idle }

// take counts the answer to one event or total of a row.
func (r *backfillReport) take(res *usance.Result, of *row) {
	r.Sent++
	switch {
	case res.Tracked && res.Duplicate:
		r.Duplicates++
	case res.Tracked:
		r.New++
	case of.err != nil: // one reason a row is enough
	case res.Error != nil:
		of.err = res.Error
	default:
		of.err = usance.NewError(usance.Code(res.Status), "not counted")
	}
}
