package sim

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/usance/usance"
)

// errCrash is what a crash looks like from inside: the call never returns to
// anyone who could go on.
var errCrash = errors.New("sim: crash")

// The places at which a process may die: around a transaction, and within it
// before a call of the transaction's.
const (
	beforeUpdate = "before the transaction"
	beforeCommit = "before the commit"
	afterCommit  = "after the commit" // done, and the caller does not know
	duringView   = "reading"
)

var txPoints = []string{
	"AddAlerts", "AddAudit", "AddEvents", "AddToCounters", "BatchEvents", "CloseDays", "EnsureCounters", "EnsureRollups",
	"EventsByKey", "LockCounters", "LockRollups", "MergeSessions", "PruneEvents", "PruneEvidence", "PutCounters", "PutEvidence", "PutLicense",
	"PutOverages", "PutRollups", "PutThreshold", "RenewVersions", "Revisions", "SealDays", "TakePending", "WarnThresholds",
}

// failPoints are all of them; a run counts how often each struck.
var failPoints = slices.Concat([]string{beforeUpdate, beforeCommit, afterCommit, duringView}, txPoints)

// struck counts the crashes of a whole test by their place.
type struck struct {
	mu   sync.Mutex
	hits map[string]int
}

func (s *struck) add(point string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits[point]++
}

// crashStore is a store whose process dies at one chosen place. After that it
// answers nothing until it is revived, as nothing else happens in a dead process.
type crashStore struct {
	usance.Store
	all *struck

	mu      sync.Mutex
	point   string // where to die; empty: nowhere
	after   int    // passing that many times first
	dead    bool
	commits int
}

// arm chooses where to die.
func (s *crashStore) arm(point string, after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.point, s.after, s.dead, s.commits = point, after, false, 0
}

// disarm tells whether the process died, and how many transactions were
// committed since it was armed.
func (s *crashStore) disarm() (died bool, commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	died, s.point, s.dead = s.dead, "", false
	return died, s.commits
}

// pass dies when the chosen place is reached.
func (s *crashStore) pass(point string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errCrash
	}
	if s.point != point {
		return nil
	}
	if s.after > 0 {
		s.after--
		return nil
	}
	s.dead = true
	s.all.add(point)
	return errCrash
}

func (s *crashStore) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	if err := s.pass(beforeUpdate); err != nil {
		return err
	}
	err := s.Store.Update(ctx, locks, func(tx usance.Tx) error {
		if err := fn(&crashTx{Tx: tx, s: s}); err != nil {
			return err
		}
		return s.pass(beforeCommit)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.commits++
	s.mu.Unlock()
	return s.pass(afterCommit)
}

func (s *crashStore) View(ctx context.Context, fn func(usance.View) error) error {
	if err := s.pass(duringView); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

// crashTx passes a fail point before each of its calls.
type crashTx struct {
	usance.Tx
	s *crashStore
}

// one and two pass the point, then call.
func one(s *crashStore, point string, call func() error) error {
	if err := s.pass(point); err != nil {
		return err
	}
	return call()
}

func two[T any](s *crashStore, point string, call func() (T, error)) (T, error) {
	if err := s.pass(point); err != nil {
		var none T
		return none, err
	}
	return call()
}

func (t *crashTx) AddAlerts(ctx context.Context, rows []usance.Alert) error {
	return one(t.s, "AddAlerts", func() error { return t.Tx.AddAlerts(ctx, rows) })
}

func (t *crashTx) AddAudit(ctx context.Context, rows []usance.AuditEntry) error {
	return one(t.s, "AddAudit", func() error { return t.Tx.AddAudit(ctx, rows) })
}

func (t *crashTx) AddEvents(ctx context.Context, batches []usance.Batch) error {
	return one(t.s, "AddEvents", func() error { return t.Tx.AddEvents(ctx, batches) })
}

func (t *crashTx) AddToCounters(ctx context.Context, deltas []usance.CounterDelta) ([]usance.Counter, error) {
	return two(t.s, "AddToCounters", func() ([]usance.Counter, error) { return t.Tx.AddToCounters(ctx, deltas) })
}

func (t *crashTx) BatchEvents(ctx context.Context, ids []usance.ID, yield func(*usance.Event) error) error {
	return one(t.s, "BatchEvents", func() error { return t.Tx.BatchEvents(ctx, ids, yield) })
}

func (t *crashTx) CloseDays(ctx context.Context, days []usance.Day) error {
	return one(t.s, "CloseDays", func() error { return t.Tx.CloseDays(ctx, days) })
}

func (t *crashTx) EnsureCounters(ctx context.Context, rows []usance.Counter) error {
	return one(t.s, "EnsureCounters", func() error { return t.Tx.EnsureCounters(ctx, rows) })
}

func (t *crashTx) EnsureRollups(ctx context.Context, keys []usance.RollupKey) error {
	return one(t.s, "EnsureRollups", func() error { return t.Tx.EnsureRollups(ctx, keys) })
}

func (t *crashTx) EventsByKey(ctx context.Context, refs []usance.EventRef) ([]usance.Event, error) {
	return two(t.s, "EventsByKey", func() ([]usance.Event, error) { return t.Tx.EventsByKey(ctx, refs) })
}

func (t *crashTx) LockCounters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	return two(t.s, "LockCounters", func() ([]usance.Counter, error) { return t.Tx.LockCounters(ctx, keys) })
}

func (t *crashTx) LockRollups(ctx context.Context, keys []usance.RollupKey) ([]usance.Rollup, error) {
	return two(t.s, "LockRollups", func() ([]usance.Rollup, error) { return t.Tx.LockRollups(ctx, keys) })
}

func (t *crashTx) MergeSessions(ctx context.Context, days []usance.DaySketch) error {
	return one(t.s, "MergeSessions", func() error { return t.Tx.MergeSessions(ctx, days) })
}

func (t *crashTx) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return two(t.s, "PruneEvents", func() (int, error) { return t.Tx.PruneEvents(ctx, before, limit) })
}

func (t *crashTx) PruneEvidence(ctx context.Context, before time.Time, limit int) (int, error) {
	return two(t.s, "PruneEvidence", func() (int, error) { return t.Tx.PruneEvidence(ctx, before, limit) })
}

func (t *crashTx) PutCounters(ctx context.Context, rows []usance.Counter) error {
	return one(t.s, "PutCounters", func() error { return t.Tx.PutCounters(ctx, rows) })
}

func (t *crashTx) PutEvidence(ctx context.Context, rows []usance.Evidence) error {
	return one(t.s, "PutEvidence", func() error { return t.Tx.PutEvidence(ctx, rows) })
}

func (t *crashTx) PutLicense(ctx context.Context, l usance.License) error {
	return one(t.s, "PutLicense", func() error { return t.Tx.PutLicense(ctx, l) })
}

func (t *crashTx) PutOverages(ctx context.Context, rows []usance.Overage) error {
	return one(t.s, "PutOverages", func() error { return t.Tx.PutOverages(ctx, rows) })
}

func (t *crashTx) PutRollups(ctx context.Context, rows []usance.Rollup) error {
	return one(t.s, "PutRollups", func() error { return t.Tx.PutRollups(ctx, rows) })
}

func (t *crashTx) PutThreshold(ctx context.Context, h usance.Threshold) error {
	return one(t.s, "PutThreshold", func() error { return t.Tx.PutThreshold(ctx, h) })
}

func (t *crashTx) RenewVersions(ctx context.Context, ids []string) error {
	return one(t.s, "RenewVersions", func() error { return t.Tx.RenewVersions(ctx, ids) })
}

func (t *crashTx) Revisions(ctx context.Context, keys []usance.CounterKey) ([]usance.Overage, error) {
	return two(t.s, "Revisions", func() ([]usance.Overage, error) { return t.Tx.Revisions(ctx, keys) })
}

func (t *crashTx) SealDays(ctx context.Context, days []usance.Day) error {
	return one(t.s, "SealDays", func() error { return t.Tx.SealDays(ctx, days) })
}

func (t *crashTx) TakePending(ctx context.Context, batches []usance.Batch) ([]usance.ID, error) {
	return two(t.s, "TakePending", func() ([]usance.ID, error) { return t.Tx.TakePending(ctx, batches) })
}

func (t *crashTx) WarnThresholds(ctx context.Context, warnings []usance.Warning) error {
	return one(t.s, "WarnThresholds", func() error { return t.Tx.WarnThresholds(ctx, warnings) })
}
