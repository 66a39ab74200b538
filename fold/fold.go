// Package fold turns counted events into rollups: one row per licence, local
// day and usage type. It runs behind ingest; readers add what it has not
// folded yet, so that being late makes reads slower and never different.
//
// A fold is one transaction that deletes pending batches and merges their
// events into the rows. Who deletes a pending row folds its events, so a batch
// that several nodes try is folded once.
package fold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/usance/usance"
)

// Store is what folding asks of the store.
type Store interface {
	usance.Updater
	usance.Viewer
}

// Options are the settings of a Folder; zero fields take the defaults named.
type Options struct {
	Now       func() time.Time // the clock; time.Now
	Interval  time.Duration    // between folds while little is pending; 1 s
	Bite      int              // events folded in one transaction at most, about; 50,000
	LightBite int              // the same while little waits; 200
	Memory    int              // events kept in memory for the next folds; 100,000
	AdoptAge  time.Duration    // age at which a batch of another node is taken over; 5 s
	LateGrace time.Duration    // as ingest has it; 24 h
	Logger    *slog.Logger
}

// Folder folds. Offer and Flush may be called at once with Run.
type Folder struct {
	store   Store
	o       Options
	metrics *metrics

	mu      sync.Mutex
	offered []usance.Batch // pending batches of this node, oldest first
	held    int            // events in offered that are in memory
	waiting int            // events of all that is offered
	more    chan struct{}  // told when a bite is full

	folding sync.Mutex // one fold at a time in a process
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
		o.Bite = 50_000
	}
	if o.LightBite == 0 {
		o.LightBite = 200
	}
	if o.Memory == 0 {
		o.Memory = 100_000
	}
	if o.AdoptAge == 0 {
		o.AdoptAge = 5 * time.Second
	}
	if o.LateGrace == 0 {
		o.LateGrace = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Folder{store: store, o: o, metrics: newMetrics(), more: make(chan struct{}, 1)}
}

// maxOffered bounds the batches that are known in memory.
const maxOffered = 100_000

// Offer hands over a batch that was just committed. When more events wait than
// are kept in memory the batch's own are let go, and read back when its turn
// comes.
func (f *Folder) Offer(b usance.Batch) {
	f.mu.Lock()
	if len(f.offered) >= maxOffered {
		f.mu.Unlock()
		return // it stays pending in the store, where it is found
	}
	if f.held+len(b.Events) > f.o.Memory {
		b.Events = nil
	}
	f.held += len(b.Events)
	f.waiting += b.Count
	f.offered = append(f.offered, b)
	full := f.waiting >= f.o.LightBite
	f.mu.Unlock()
	if full {
		select {
		case f.more <- struct{}{}:
		default:
		}
	}
}

// How the fold takes its load.
const (
	heavyLoad = 5000 // events: from here on rows are better rewritten seldom than soon
	restRatio = 4    // rests so many times as long as it worked, under heavy load
)

// Run folds until ctx ends: each interval, as soon as a bite is full, and now
// and then what a node that died left pending.
//
// A fold keeps writers waiting while it lasts, and rewrites a row once however
// many events it takes. So while little waits, bites are small and go at once;
// under heavy load all that waits goes in large bites, with a rest between,
// in which events gather that then share their rows' rewriting.
func (f *Folder) Run(ctx context.Context) error {
	tick := time.NewTicker(f.o.Interval)
	defer tick.Stop()
	adopt := time.NewTicker(f.o.AdoptAge)
	defer adopt.Stop()
	var rested time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-f.more:
		case <-adopt.C:
			_, err = f.adopt(ctx, f.o.Now().Add(-f.o.AdoptAge))
		}
		waiting, held := f.load()
		start := time.Now()
		switch {
		case err != nil:
		case waiting < heavyLoad:
			_, err = f.foldOffered(ctx, f.o.LightBite)
		case start.After(rested) || held >= f.o.Memory:
			_, err = f.foldOffered(ctx, f.o.Bite)
			rested = time.Now().Add(restRatio * time.Since(start))
		}
		if err != nil && ctx.Err() == nil {
			f.metrics.failures.Inc()
			f.o.Logger.Error("fold failed; the batches stay pending", "error", err)
		}
	}
}

func (f *Folder) load() (waiting, held int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting, f.held
}

// Flush folds all that is pending, batches of other nodes too, and tells how
// many events that were.
func (f *Folder) Flush(ctx context.Context) (int, error) {
	n, err := f.foldOffered(ctx, f.o.Bite)
	if err != nil {
		return n, err
	}
	m, err := f.adopt(ctx, f.o.Now().Add(time.Hour))
	return n + m, err
}

// foldOffered folds the batches that are handed over by now, in bites of so
// many events.
func (f *Folder) foldOffered(ctx context.Context, size int) (int, error) {
	f.folding.Lock()
	defer f.folding.Unlock()
	f.mu.Lock()
	left := len(f.offered)
	f.mu.Unlock()
	total := 0
	for {
		f.mu.Lock()
		n, events := 0, 0
		for n < left && (n == 0 || events+f.offered[n].Count <= size) {
			events += f.offered[n].Count
			n++
		}
		bite := slices.Clone(f.offered[:n])
		f.mu.Unlock()
		if n == 0 {
			return total, nil
		}
		folded, err := f.fold(ctx, bite)
		if ctx.Err() != nil {
			return total + folded, ctx.Err()
		}
		if err != nil {
			folded, err = f.foldSingly(ctx, bite)
		}
		total += folded
		f.mu.Lock()
		for i := range bite {
			f.held -= len(bite[i].Events)
			f.waiting -= bite[i].Count
		}
		f.offered = slices.Delete(f.offered, 0, n)
		left -= n
		f.mu.Unlock()
		if err != nil {
			return total, err
		}
	}
}

// foldSingly folds what can be folded of a bite that failed, so that one batch
// that cannot holds up no other: it is let go of here, stays pending in the
// store, and is tried again with those of nodes that died.
func (f *Folder) foldSingly(ctx context.Context, bite []usance.Batch) (folded int, err error) {
	var failed []error
	for i := range bite {
		n, err := f.fold(ctx, bite[i:i+1])
		folded += n
		if err != nil {
			failed = append(failed, err)
		}
	}
	return folded, errors.Join(failed...)
}

// adopt folds batches that are pending in the store since before the instant:
// those of nodes that died.
func (f *Folder) adopt(ctx context.Context, before time.Time) (int, error) {
	f.folding.Lock()
	defer f.folding.Unlock()
	total := 0
	for {
		var pending []usance.Batch
		err := f.store.View(ctx, func(v usance.View) (err error) {
			pending, err = v.Pending(ctx, 1000)
			return err
		})
		if err != nil {
			return total, err
		}
		var bite []usance.Batch
		events := 0
		for _, b := range pending {
			if b.At.Before(before) && (len(bite) == 0 || events+b.Count <= f.o.Bite) {
				bite = append(bite, b)
				events += b.Count
			}
		}
		if len(bite) == 0 {
			return total, nil
		}
		n, err := f.fold(ctx, bite)
		if err != nil && len(bite) > 1 && ctx.Err() == nil {
			n, err = f.foldSingly(ctx, bite)
		}
		total += n
		if err != nil {
			return total, err
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

func (s *sum) add(e *usance.Event) {
	key := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
	r := s.rollups[key]
	if r == nil {
		r = &usance.Rollup{RollupKey: key}
		s.rollups[key] = r
	}
	r.Add(e)
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
// pending, and no others.
func (f *Folder) fold(ctx context.Context, bite []usance.Batch) (folded int, err error) {
	start := time.Now()
	ids := make([]usance.ID, len(bite))
	byID := make(map[usance.ID]*usance.Batch, len(bite))
	for i := range bite {
		ids[i] = bite[i].ID
		byID[bite[i].ID] = &bite[i]
	}
	slices.SortFunc(ids, func(a, b usance.ID) int { return slices.Compare(a[:], b[:]) })
	err = f.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		taken, err := tx.TakePending(ctx, ids)
		if err != nil {
			return err
		}
		s := newSum()
		var read []usance.ID
		for _, id := range taken {
			b := byID[id]
			if b.Events == nil {
				read = append(read, id)
			}
			for i := range b.Events {
				s.add(&b.Events[i])
			}
		}
		if len(read) > 0 {
			if err := tx.BatchEvents(ctx, read, func(e *usance.Event) error { s.add(e); return nil }); err != nil {
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
	return tx.RaiseVersions(ctx, licensesOf(keys))
}

func licensesOf(keys []usance.RollupKey) []string {
	var ids []string
	for _, k := range keys {
		if n := len(ids); n == 0 || ids[n-1] != k.LicenseID {
			ids = append(ids, k.LicenseID)
		}
	}
	return ids
}
