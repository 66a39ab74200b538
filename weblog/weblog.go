// Package weblog turns web and CDN access logs into usage.
//
// # What counts
//
// A request is usage when its method is GET, its status 200 or 304, and a rule
// of the map names a licence for its path. That is the gross count. From it are
// taken, after the COUNTER Code of Practice, Release 5:
//
//   - robots: requests whose user agent matches a pattern of COUNTER's list of
//     robots. A missing user agent ("-") matches one of them. The common format
//     has no user agents, so no robot can be told there.
//   - double clicks: of two clicks of one user on one item within 30 seconds,
//     30 included, the later counts. In a chain A, B, C, each within 30 seconds
//     of the one before, only C counts, however long the chain.
//
// A user is a client address with a user agent. An item is the path without its
// query, with those parameters that the rule asks for; when the rule names an
// asset, all its paths are one item, so that two renditions of a picture
// requested together are one use. The same item with two usage types is two.
//
// # Order
//
// Servers write a line when a request ends and date it when it began, so lines
// are not in order of time. The rule above is therefore defined on the times
// and not on the order of the lines: a click counts if no other click of its
// user and item lies in the 30 seconds after it; clicks of the same second are
// one. Clicks are held until no line that comes no more than Disorder behind
// the newest time can change the answer, and then leave memory, so that memory
// follows the traffic of a few minutes and not the length of the log. A line
// further behind is counted too, but sees only what is still held (Report.Late).
//
// # The end of a file
//
// A file that still grows may go on with a click that makes the last one of a
// chain a double click. So clicks younger than 30 seconds plus Disorder before
// the newest time in the log wait for the next import of it, and so does a last
// line that has no line feed yet. The wait is over when Options.Final says that
// the log is complete, or by the clock: what is an hour old cannot be followed
// by a line that is not. Old and rotated files are final by themselves.
//
// # Rotation
//
// A chain may go on in the next file. Each file alone is judged as if nothing
// came after it: a user who clicks the same item 10 seconds before and 5
// seconds after midnight is counted once in each of two files that are imported
// alone. An import of several logs joins them by time, as one stream, however
// they are cut or in whichever order they are named; there the chain counts
// once. So the exact way for a log that is rotated is to import the last
// rotated file together with the current one, each time: what was counted
// before is counted no second time, and the end of the rotated file was waiting.
// The logs of several servers behind one balancer join the same way.
//
// # Counted once
//
// The idempotency key of a click is made from what the click is: licence
// (keys are scoped to it), usage type, item, second and user. Importing a log
// again, importing logs that overlap, or starting over after a crash sends the
// same keys with the same payloads, which the server answers as duplicates. No
// state is kept between imports. See key.
package weblog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/usance/usance"
)

const (
	// Window is COUNTER's double-click window.
	Window = 30 * time.Second
	// DefaultDisorder is how far behind the newest time a line may come when
	// Options.Disorder is not set.
	DefaultDisorder = 2 * time.Minute
	// settled is the age at which no further line can belong to a chain.
	settled = time.Hour
	// restartAfter lines in a row that come too late say that the newest time
	// was wrong: a clock that jumped, or logs joined in the wrong order.
	restartAfter = 100
)

// Options of an import.
type Options struct {
	Map      *Map          // required: paths to licences
	Robots   *Robots       // nil: COUNTER's list
	Format   Format        // Auto: told by the first line of each log
	Final    bool          // the logs are complete: nothing waits
	Disorder time.Duration // 0: DefaultDisorder; negative: lines are in order
	Batch    int           // events handed to emit at once; 0: 100
	Now      func() time.Time
}

// Importer reads access logs. It may be used for several imports in turn.
type Importer struct {
	o      Options
	agents *agents
}

// New makes an importer.
func New(o Options) (*Importer, error) {
	if o.Map == nil {
		return nil, errors.New("weblog: no map of paths to licences")
	}
	if o.Robots == nil {
		var err error
		if o.Robots, err = CounterRobots(); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Disorder == 0:
		o.Disorder = DefaultDisorder
	case o.Disorder < 0:
		o.Disorder = 0
	}
	if o.Batch <= 0 {
		o.Batch = 100
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Importer{o: o, agents: newAgents(o.Robots)}, nil
}

// Source is a log that can be opened, twice when there are several: once to see
// where in time it begins. Gzip is recognised by its first bytes.
type Source struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// ReadAll imports several logs as one, joined by time, and hands the counted
// clicks to emit in batches, in order of time. A batch belongs to emit. An
// error of a source or of emit ends the import; what was emitted before stands,
// and the next import emits it again with the same keys.
func (im *Importer) ReadAll(ctx context.Context, logs []Source, emit func([]usance.Event) error) (Report, error) {
	now := im.o.Now().UTC()
	run := &run{im: im, now: now.Unix(), report: newReport(), emit: emit}
	run.clicks = newClicks(im.o.Disorder)
	run.used = make([]bool, len(im.o.Map.rules))
	m := &merge{open: func(s Source) (*stream, error) { return im.stream(s, run) }}
	defer m.close()
	if err := m.start(logs); err != nil {
		return run.finish(), err
	}
	for n := 0; ; n++ {
		if n&0x3ff == 0 && ctx.Err() != nil {
			return run.finish(), ctx.Err()
		}
		h, err := m.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return run.finish(), err
		}
		if err := run.hit(h); err != nil {
			return run.finish(), err
		}
	}
	err := run.end()
	return run.finish(), err
}

// run is one import.
type run struct {
	im     *Importer
	now    int64
	report *report
	emit   func([]usance.Event) error
	clicks *clicks
	out    []usance.Event
	used   []bool

	begun   bool
	newest  int64
	late    int   // lines in a row that came too late
	lateMax int64 // the newest of them
}

// hit takes a request line. Every line moves the clock of the log, also those
// that are no usage.
func (r *run) hit(h *hit) error {
	rep := r.report
	rep.span(h.time)
	if err := r.advance(h.time); err != nil {
		return err
	}
	switch {
	case h.method != "GET":
		rep.OtherMethod++
		return nil
	case h.status != 200 && h.status != 304:
		rep.OtherStatus++
		return nil
	}
	i, item := r.im.o.Map.match(h)
	if i < 0 {
		rep.unmatched(h)
		return nil
	}
	r.used[i] = true
	rule := &r.im.o.Map.rules[i]
	row := rep.row(rule, h.time)
	row.Gross++
	agent := r.im.agents.of(h.agent)
	if agent.robot {
		row.Robots++
		return nil
	}
	r.clicks.add(rule, item, canonicalAddress(h.client), h.agent, agent.device, h.time, h.referrer)
	return nil
}

// advance moves the newest time to t and lets go of the clicks that no line can
// change any more.
func (r *run) advance(t int64) error {
	if !r.begun {
		r.begun, r.newest = true, t
	}
	if t < r.newest-r.clicks.disorder {
		r.report.Late++
		r.late++
		if r.late == 1 || t > r.lateMax {
			r.lateMax = t
		}
		if r.late < restartAfter {
			return nil
		}
		t = r.lateMax
	} else if r.late = 0; t <= r.newest {
		return nil
	}
	r.late, r.newest = 0, t
	return r.settle(r.clicks.due(t - r.clicks.disorder))
}

// end settles what the end of the logs allows to be settled.
func (r *run) end() error {
	horizon := max(r.newest-r.clicks.disorder, r.now-int64(settled/time.Second))
	if r.im.o.Final {
		horizon = never
	}
	if err := r.settle(r.clicks.settle(horizon)); err != nil {
		return err
	}
	r.clicks.waiting(func(c *chain, k click) { r.report.row(k.rule, k.t).Waiting++ })
	return r.flush()
}

// settle counts what was settled and emits whole batches.
func (r *run) settle(s []verdict) error {
	for i := range s {
		v := &s[i]
		row := r.report.row(v.rule, v.t)
		row.DoubleClicks += v.doubles
		if !v.counts {
			continue
		}
		row.Counted++
		r.out = append(r.out, v.event())
		if len(r.out) >= r.im.o.Batch {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	if err := r.emit(r.out); err != nil {
		return err
	}
	r.report.Emitted += int64(len(r.out))
	r.out = nil
	return nil
}

func (r *run) finish() Report { return r.report.finish(r.im.o.Map, r.used) }

// stream opens a log and sees through gzip.
func (im *Importer) stream(s Source, r *run) (*stream, error) {
	f, err := s.Open()
	if err != nil {
		return nil, err
	}
	buf := bufio.NewReaderSize(f, maxLine)
	if magic, _ := buf.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buf)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.Name, err), f.Close())
		}
		buf = bufio.NewReaderSize(z, maxLine)
	}
	return &stream{
		name: s.Name, file: f, buf: buf, format: im.o.Format, report: r.report,
		final: im.o.Final, now: r.now,
	}, nil
}
