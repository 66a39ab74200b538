// Package fold turns counted events into rollups: one row per licence, local
// day and usage type. It runs behind ingest; readers add what it has not
// folded yet, so that being late makes reads slower and never different.
//
// A fold is one transaction that deletes pending batches and merges their
// events into the rows. Who deletes a pending row folds its events, so a batch
// that several nodes try is folded once.
package fold

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/usance/usance"
)

// Store is what folding asks of the store.
type Store interface {
	usance.Updater
	usance.Viewer
	usance.Sharder
}

// Options are the settings of a Folder; zero fields take the defaults named.
type Options struct {
	Now       func() time.Time // the clock; time.Now
	Interval  time.Duration    // between folds while little is pending; 1 s
	Bite      int              // events folded in one transaction at most, about; 10,000
	LightBite int              // the same while few wait, and of the first when nothing more comes; 40
	Few       int              // events that may wait at an interval and are all folded then, however often more come; 1,000
	Waiting   int              // events that may wait under load, to be folded many at a time; 100,000
	Groups    int              // into how many groups of licences what is offered is divided; usance.MaxGroups, and the shards where there are several
	Prompt    int              // bites at an interval, one after the other, while less than a sixteenth of Waiting waits; those of groups that waited longest
	AtOnce    int              // transactions at once of what is above Waiting or when nothing comes, which helps where the store takes several; 1
	Memory    int              // events kept in memory for the next folds; 150,000
	AdoptAge  time.Duration    // age at which a batch is taken over that is not known here; 150 s, past the time for which a node lets what it counted gather
	LateGrace time.Duration    // as ingest has it; 24 h
	Busy      func() bool      // whether more is about to be offered; never
	Alone     bool             // nobody else has the store: what is pending at the start was left by one that died
	Logger    *slog.Logger
	Spans     trace.Tracer // makes a span of each transaction that folds; none
}

// Folder folds. Offer and Flush may be called at once with Run.
type Folder struct {
	store   Store
	shards  usance.Shards
	o       Options
	metrics *metrics

	mu    sync.Mutex
	queue queue         // pending batches of this node
	more  chan struct{} // told of new ones

	folding sync.Mutex // one fold at a time in a process
	words   words      // of what is folding
}

// New makes a Folder.
func New(store Store, o Options) *Folder {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Bite == 0 {
		o.Bite = 10_000
	}
	if o.LightBite == 0 {
		o.LightBite = 40
	}
	if o.Few == 0 {
		o.Few = 1000
	}
	if o.Waiting == 0 {
		o.Waiting = 100_000
	}
	if o.Groups == 0 {
		o.Groups = usance.MaxGroups
	}
	if o.AtOnce == 0 {
		o.AtOnce = 1
	}
	if o.Memory == 0 {
		o.Memory = 150_000
	}
	if o.AdoptAge == 0 {
		o.AdoptAge = longestWait + 30*time.Second
	}
	if o.LateGrace == 0 {
		o.LateGrace = 24 * time.Hour
	}
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Spans == nil {
		o.Spans = noop.Tracer{}
	}
	f := &Folder{store: store, shards: store.Shards(), o: o, metrics: newMetrics(), queue: newQueue(o.Memory), words: newWords(), more: make(chan struct{}, 1)}
	if f.queue.apart = f.shards.Several(); f.queue.apart {
		f.o.Groups = f.shards.Count // so are what is offered, and what is pending
	}
	return f
}

// Offer hands over a batch that was just committed. When more events wait than
// are kept in memory the batch's own are let go, and read back when its turn
// comes.
func (f *Folder) Offer(b usance.Batch) {
	f.mu.Lock()
	f.queue.offer(b)
	f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// longestWait is how long a group may wait under load, however few its events
// are: so many of those that waited longest are folded at each interval.
const longestWait = 2 * time.Minute

func (o *Options) oldestAtATick(waiting int) int {
	oldest := int((o.Interval*time.Duration(o.Groups+1) + longestWait - 1) / longestWait)
	if waiting < o.Waiting/16 {
		return max(oldest, o.Prompt)
	}
	return oldest
}

// pause is how long nothing must have come, nor be about to, for the load to be over.
const pause = 20 * time.Millisecond

// Run folds until ctx ends, and now and then what a node that died left pending.
//
// A fold keeps writers waiting while it lasts, and rewrites a row once however
// many events it takes. So as many events as may wait are left to gather while
// more keep coming, and what comes above that is folded by whole groups of
// licences, the fullest first; when nothing comes any more, or few wait at an
// interval, all is folded, and at each interval the groups that have waited longest.
func (f *Folder) Run(ctx context.Context) error {
	tick := time.NewTicker(f.o.Interval)
	defer tick.Stop()
	adopt := time.NewTicker(min(f.o.AdoptAge, 30*time.Second))
	defer adopt.Stop()
	quiet := time.NewTimer(pause)
	defer quiet.Stop()
	if f.o.Alone {
		if _, err := f.adopt(ctx, anyTime); err != nil && ctx.Err() == nil {
			f.failed(err)
		}
	}
	for {
		var err error
		idle := false
		size := f.o.LightBite
		next := func(q *queue) []kept { return q.next(f.o, idle, size) }
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.more:
			quiet.Reset(pause)
		case <-quiet.C:
			if idle = !f.o.Busy(); !idle {
				quiet.Reset(pause)
			}
		case <-tick.C: // what comes may come too often for a pause
			last, waiting := f.waiting()
			if waiting <= f.o.Few {
				next = func(q *queue) []kept { return q.before(last, f.o.LightBite) }
				break
			}
			// One after the other, since others' commits want the processors too.
			for turn := 0; turn < f.o.oldestAtATick(waiting) && err == nil; turn++ {
				_, _, err = f.foldNext(ctx, 1, func(q *queue) []kept { return q.oldest(f.o.Bite) })
			}
		case <-adopt.C:
			_, err = f.adopt(ctx, f.o.Now().Add(-f.o.AdoptAge))
		}
		for more := true; more && err == nil; {
			_, more, err = f.foldNext(ctx, f.o.AtOnce, next)
			if idle && len(f.more) > 0 {
				break // to gather again
			}
			size = min(2*size, f.o.Bite) // the longer nobody waits, the less it matters that one might
		}
		if err != nil && ctx.Err() == nil {
			quiet.Reset(f.o.Interval) // to try again
			f.failed(err)
		}
	}
}

func (f *Folder) failed(err error) {
	f.metrics.failures.Inc()
	f.o.Logger.Error("fold failed; the batches stay pending", "error", err)
}

// waiting tells how many events wait, and the number of the last batch.
func (f *Folder) waiting() (last uint64, events int) {
	f.folding.Lock()
	defer f.folding.Unlock()
	last = f.file()
	f.mu.Lock()
	defer f.mu.Unlock()
	return last, f.queue.waiting
}

// Flush folds all that can be folded of what is pending, batches of other nodes
// too, and tells how many events that were.
func (f *Folder) Flush(ctx context.Context) (total int, err error) {
	f.folding.Lock()
	last := f.file()
	f.folding.Unlock()
	for more := true; more; {
		var n int
		var e error
		n, more, e = f.foldNext(ctx, f.o.AtOnce, func(q *queue) []kept { return q.before(last, f.o.Bite) })
		total, err = total+n, cmp.Or(err, e)
		if hopeless(ctx, n, e) {
			return total, err
		}
	}
	n, e := f.adopt(ctx, anyTime)
	return total + n, cmp.Or(e, err) // what failed above is tried there again
}

// anyTime is after the time of every batch, whatever clock it was stamped by.
var anyTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// hopeless tells of folds of so many events and their error whether others would
// do no better: nothing could be folded, since the store takes nothing.
func hopeless(ctx context.Context, folded int, err error) bool {
	return ctx.Err() != nil || folded == 0 && usance.ErrorCode(err) == usance.CodeUnavailable
}

// file files what was offered and gives the number of the last batch. The
// caller holds f.folding; who offers does not wait meanwhile.
func (f *Folder) file() (last uint64) {
	f.mu.Lock()
	fresh := f.queue.fresh
	f.queue.fresh = nil
	f.mu.Unlock()
	batches := make([]kept, len(fresh))
	for i, b := range fresh {
		batches[i] = f.words.keep(b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.file(batches)
	return f.queue.last
}

// foldNext folds the bites that choose takes out of the queue, so many of them at
// once at most, each of other groups, and tells how many events were folded.
func (f *Folder) foldNext(ctx context.Context, atOnce int, choose func(*queue) []kept) (folded int, found bool, err error) {
	f.folding.Lock()
	defer f.folding.Unlock()
	f.file()
	f.mu.Lock()
	bites := f.queue.choose(atOnce, choose)
	f.mu.Unlock()
	var mu sync.Mutex
	var running sync.WaitGroup
	for _, bite := range bites {
		running.Go(func() {
			n, e := f.fold(ctx, bite)
			if e != nil && ctx.Err() == nil {
				n, _, e = f.foldSingly(ctx, bite)
			}
			mu.Lock()
			defer mu.Unlock()
			folded, err = folded+n, errors.Join(err, e)
		})
	}
	running.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, bite := range bites {
		if ctx.Err() != nil { // whatever is folded by now is not found pending again
			f.queue.putBack(bite)
		} else {
			f.queue.done(bite)
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return folded, len(bites) > 0, err
}

// foldSingly folds what can be folded of a bite that failed, so that one batch
// that cannot holds up no other: it is let go of here, stays pending in the
// store, and is tried again with those of nodes that died.
func (f *Folder) foldSingly(ctx context.Context, bite []kept) (folded int, failed []usance.ID, first error) {
	for i := range bite {
		n, err := f.fold(ctx, bite[i:i+1])
		folded += n
		if err == nil {
			continue
		}
		failed, first = append(failed, bite[i].id), cmp.Or(first, err)
	}
	if len(failed) > 1 {
		first = fmt.Errorf("%d of %d batches: %w", len(failed), len(bite), first)
	}
	return folded, failed, first
}

// adopt folds batches that are pending in the store since before the instant
// and not known here: those of nodes that died, and those let go. The error is
// of the first of those that cannot be folded.
func (f *Folder) adopt(ctx context.Context, before time.Time) (total int, first error) {
	f.folding.Lock()
	defer f.folding.Unlock()
	failed := make(map[usance.ID]bool)
	for {
		var pending []usance.Batch
		err := f.store.View(ctx, func(v usance.View) (err error) {
			pending, err = v.Pending(ctx, before, 1000+len(failed))
			return err
		})
		if err != nil {
			return total, err
		}
		var bite []kept
		events := 0
		f.mu.Lock()
		for _, b := range pending {
			if f.queue.apart && len(bite) > 0 && b.Group != bite[0].group {
				continue
			}
			if !f.queue.ids[b.ID] && !failed[b.ID] && (len(bite) == 0 || events+b.Count <= f.o.Bite) {
				bite = append(bite, kept{id: b.ID, count: b.Count, group: b.Group})
				events += b.Count
			}
		}
		f.mu.Unlock()
		if len(bite) == 0 {
			return total, first
		}
		n, err := f.fold(ctx, bite)
		if err != nil && ctx.Err() == nil {
			var singly []usance.ID
			n, singly, err = f.foldSingly(ctx, bite)
			for _, id := range singly {
				failed[id] = true
			}
		}
		total, first = total+n, cmp.Or(first, err)
		if hopeless(ctx, n, err) {
			return total, first
		}
	}
}

// sum is what a bite adds to the rows.
type sum struct {
	rollups  map[usance.RollupKey]*usance.Rollup
	sessions map[usance.Day]*usance.Sessions
	events   int
}

func newSum() *sum {
	return &sum{rollups: make(map[usance.RollupKey]*usance.Rollup), sessions: make(map[usance.Day]*usance.Sessions)}
}

func (s *sum) add(e *usance.Event) { s.addFrom(e, e.SourceHost()) }

func (s *sum) addFrom(e *usance.Event, source string) {
	key := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
	r := s.rollups[key]
	if r == nil {
		r = &usance.Rollup{RollupKey: key}
		s.rollups[key] = r
	}
	r.AddFrom(e, source)
	s.events++
	if e.SessionHash != 0 {
		day := usance.Day{LicenseID: e.LicenseID, Date: e.LocalDate}
		if s.sessions[day] == nil {
			s.sessions[day] = new(usance.Sessions)
		}
		s.sessions[day].Add(e.SessionHash)
	}
}

// fold folds a bite in one transaction: those of its batches that are still
// pending, and no others. As a rule that is all of them, summed before it
// begins. A power cut may undo it, and leaves them pending then.
func (f *Folder) fold(ctx context.Context, bite []kept) (folded int, err error) {
	start := time.Now()
	batches := make([]usance.Batch, len(bite))
	byID := make(map[usance.ID]*kept, len(bite))
	all, read := newSum(), 0
	for i := range bite {
		b := &bite[i]
		batches[i], byID[b.id] = usance.Batch{ID: b.id, Group: b.group}, b
		all.addParts(b.parts)
		if b.parts == nil {
			read++
		}
	}
	slices.SortFunc(batches, func(a, b usance.Batch) int { return slices.Compare(a.ID[:], b.ID[:]) })
	ctx, span := f.o.Spans.Start(ctx, "fold", trace.WithNewRoot(), trace.WithAttributes(attribute.Int("usance.batches", len(bite))))
	f.o.Logger.DebugContext(ctx, "folding", "batches", len(bite))
	defer func() {
		f.o.Logger.DebugContext(ctx, "folded", "events", folded, "error", err)
		span.SetAttributes(attribute.Int("usance.events", folded))
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	err = f.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) error {
		taken, err := tx.TakePending(ctx, batches)
		if err != nil {
			return err
		}
		s := all
		if len(taken) < len(batches) || read > 0 {
			if s, err = sumOf(ctx, tx, taken, byID); err != nil {
				return err
			}
		}
		folded = s.events
		return s.merge(ctx, tx)
	})
	if err != nil {
		return 0, fmt.Errorf("folding %d batches: %w", len(bite), err)
	}
	f.metrics.observe(folded, time.Since(start))
	return folded, nil
}

// sumOf sums the batches that were taken, reading back those let go.
func sumOf(ctx context.Context, tx usance.Tx, taken []usance.ID, byID map[usance.ID]*kept) (*sum, error) {
	s := newSum()
	var read []usance.ID
	for _, id := range taken {
		if byID[id].parts == nil {
			read = append(read, id)
		}
		s.addParts(byID[id].parts)
	}
	if len(read) == 0 {
		return s, nil
	}
	return s, tx.BatchEvents(ctx, read, func(e *usance.Event) error { s.add(e); return nil })
}

func (s *sum) addParts(parts []part) {
	for i := range parts {
		e := parts[i].event()
		s.addFrom(&e, parts[i].source)
	}
}

// merge adds the sum to the rows, which are made first where they are missing
// and locked in key order.
func (s *sum) merge(ctx context.Context, tx usance.Tx) error {
	if s.events == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(s.rollups), usance.RollupKey.Compare)
	if err := tx.EnsureRollups(ctx, keys); err != nil {
		return err
	}
	rows, err := tx.LockRollups(ctx, keys)
	if err != nil {
		return err
	}
	if len(rows) != len(keys) {
		return fmt.Errorf("fold: %d of %d rollup rows are there; nothing folded", len(rows), len(keys))
	}
	for i := range rows {
		rows[i].Merge(s.rollups[rows[i].RollupKey])
	}
	if err := tx.PutRollups(ctx, rows); err != nil {
		return err
	}
	if len(s.sessions) > 0 {
		var days []usance.DaySketch
		for day, sessions := range s.sessions {
			days = append(days, usance.DaySketch{Day: day, Sessions: *sessions})
		}
		slices.SortFunc(days, func(a, b usance.DaySketch) int { return a.Compare(b.Day) })
		if err := tx.MergeSessions(ctx, days); err != nil {
			return err
		}
	}
	return tx.RenewVersions(ctx, licensesOf(keys, func(k usance.RollupKey) string { return k.LicenseID }))
}

// licensesOf gives the licences of sorted keys, each once.
func licensesOf[K any](keys []K, license func(K) string) []string {
	var ids []string
	for _, k := range keys {
		if id := license(k); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	return ids
}
