package fold_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// dying is a store of a process that is killed: from an event on, nothing
// reaches the store any more.
type dying struct {
	fold.Store
	read int64 // folded events read
	last int64 // in the middle of which it dies; 0: never
	once sync.Once
	died chan struct{}
}

var errKilled = errors.New("killed")

func (d *dying) dead() bool {
	if d.last == 0 || d.read < d.last {
		return false
	}
	d.once.Do(func() { close(d.died) })
	return true
}

func (d *dying) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	if d.dead() {
		return errKilled
	}
	return d.Store.Update(ctx, locks, fn)
}

func (d *dying) View(ctx context.Context, fn func(usance.View) error) error {
	return d.Store.View(ctx, func(v usance.View) error { return fn(&dyingView{v, d}) })
}

type dyingView struct {
	usance.View
	d *dying
}

func (v *dyingView) Folded(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	return v.View.Folded(ctx, licenseID, from, to, func(e *usance.Event) error {
		if v.d.dead() {
			return errKilled
		}
		v.d.read++
		return yield(e)
	})
}

// process is a Backfiller at work, until it is stopped.
func (k *kit) process(t *testing.T, store fold.Store, alone bool, ahead time.Duration) (b *fold.Backfiller, stop func()) {
	t.Helper()
	b = fold.NewBackfiller(fold.New(store, fold.Options{Now: func() time.Time { return k.now.Add(ahead) }, Bite: 50}), alone)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx)
	}()
	return b, func() { cancel(); <-done }
}

// await waits until the licence's backfill is no longer of the status.
func await(t *testing.T, b *fold.Backfiller, licenseID string, done func(usance.Backfill) bool) usance.Backfill {
	t.Helper()
	for {
		s, _, err := b.Status(t.Context(), licenseID)
		if err != nil {
			t.Fatal(err)
		}
		if done(s) {
			return s
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the test ended first")
		case <-time.After(time.Millisecond):
		}
	}
}

func ended(s usance.Backfill) bool { return s.Status != usance.BackfillRunning }

// days counts n events a day on so many days that end today.
func (k *kit) days(t *testing.T, licenseID string, days, n int) (from, to usance.Date) {
	t.Helper()
	to = usance.DateOf(k.now, time.UTC) + 1
	for i := range days {
		k.send(t, licenseID, fmt.Sprint("day", i, "-"), n, k.now.AddDate(0, 0, -i))
	}
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return to.AddDays(-days), to
}

// spoil makes the stored row of the day wrong.
func (k *kit) spoil(t *testing.T, licenseID string, day usance.Date) {
	t.Helper()
	err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		rows, err := tx.LockRollups(t.Context(), []usance.RollupKey{{LicenseID: licenseID, Date: day, UsageType: "view"}})
		if err != nil {
			return err
		}
		rows[0].Quantity += 7
		return tx.PutRollups(t.Context(), rows)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBackfillKilled: a backfill that was killed half way is taken up by the
// next process, which reads little again, and ends as if nothing had happened.
func TestBackfillKilled(t *testing.T) {
	t.Parallel()
	t.Run("next process alone", func(t *testing.T) { t.Parallel(); testBackfillKilled(t, true, 0) })
	t.Run("another node", func(t *testing.T) { t.Parallel(); testBackfillKilled(t, false, time.Minute) })
}

func testBackfillKilled(t *testing.T, alone bool, ahead time.Duration) {
	const days, perDay = 40, 25
	k := newKit(t)
	from, to := k.days(t, "l", days, perDay)
	k.spoil(t, "l", from+2)
	k.spoil(t, "l", to-2)
	if d := k.verify(t, "l"); d.Drifted != 2 {
		t.Fatalf("drifted %d", d.Drifted)
	}

	first := &dying{Store: k.store, last: days*perDay/2 - 3, died: make(chan struct{})}
	b, stop := k.process(t, first, false, 0)
	if _, err := b.Start(t.Context(), "l", from, to, "test"); err != nil {
		t.Fatal(err)
	}
	<-first.died
	stop()
	half, _, err := b.Status(t.Context(), "l")
	if err != nil || half.Status != usance.BackfillRunning || half.Changed != 1 || half.Events != days*perDay/2-perDay {
		t.Fatalf("half way: %+v", half)
	}
	idle := fold.NewBackfiller(k.a, false)
	if s, err := idle.Start(t.Context(), "l", from, to, "test"); err != nil || s.NextDate < from+days/2-1 {
		t.Errorf("the same range does not join: %+v, %v", s, err)
	}
	if _, err := idle.Start(t.Context(), "l", from, to-1, "test"); usance.ErrorCode(err) != usance.CodeConflict {
		t.Errorf("another range while one runs: %v", err)
	}

	second := &dying{Store: k.store}
	b, stop = k.process(t, second, alone, ahead)
	defer stop()
	s := await(t, b, "l", ended)
	if s.Status != usance.BackfillDone || s.Events != days*perDay || s.Days != days || s.Changed != 2 || s.Skipped != 0 {
		t.Errorf("at the end: %+v", s)
	}
	again := first.read + second.read - days*perDay
	t.Logf("read again: %d of %d events", again, days*perDay)
	if again <= 0 || again >= days*perDay/10 {
		t.Errorf("read %d of %d events again", again, days*perDay)
	}
	if d := k.verify(t, "l"); d.Drifted != 0 {
		t.Errorf("drifted %d", d.Drifted)
	}
}

// TestBackfillRestarts: who stops in order leaves its work to the next at once,
// and who starts finds it without being asked.
func TestBackfillRestarts(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.license(t, "m")
	from, to := k.days(t, "l", 3, 5)
	k.days(t, "m", 3, 5)
	idle := fold.NewBackfiller(k.b, false)
	for _, id := range []string{"l", "m"} {
		if s, err := idle.Start(t.Context(), id, from-100, to, "test"); err != nil || s.Status != usance.BackfillRunning {
			t.Fatal(s, err)
		}
	}
	b, stop := k.process(t, &dying{Store: k.store}, false, 0)
	await(t, b, "l", func(s usance.Backfill) bool { return s.Days > 0 })
	stop()
	b, stop = k.process(t, &dying{Store: k.store}, false, 0)
	defer stop()
	for _, id := range []string{"l", "m"} {
		if s := await(t, b, id, ended); s.Status != usance.BackfillDone || s.Days != 103 || s.Events != 15 || s.Changed != 0 {
			t.Errorf("%+v", s)
		}
	}
	if s, err := b.Start(t.Context(), "l", to-1, to, "test"); err != nil || s.Days != 0 {
		t.Errorf("a new range: %+v, %v", s, err)
	}
	if s := await(t, b, "l", ended); s.Events != 5 || s.Days != 1 {
		t.Errorf("%+v", s)
	}
}

// TestBackfillFails: a failure is kept with its reason, and asking again goes
// on behind what is done. Sealed days are skipped and told.
func TestBackfillFails(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	from, to := k.days(t, "l", 4, 10)
	err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		return tx.SealDays(t.Context(), []usance.Day{{LicenseID: "l", Date: from}})
	})
	if err != nil {
		t.Fatal(err)
	}
	bad := &failing{Store: k.store, day: from + 2, err: errors.New("a page cannot be read")}
	bad.times.Store(1)
	b := fold.NewBackfiller(fold.New(bad, fold.Options{Now: func() time.Time { return k.now }}), false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	if _, err := b.Start(t.Context(), "l", from, to, "test"); err != nil {
		t.Fatal(err)
	}
	s := await(t, b, "l", ended)
	if s.Status != usance.BackfillFailed || s.Error == "" || s.NextDate != from+2 || s.Events != 10 || s.Skipped != 1 {
		t.Errorf("failed: %+v", s)
	}
	cancel()
	<-done
	b, stop := k.process(t, &dying{Store: k.store}, false, 0)
	defer stop()
	if _, err := b.Start(t.Context(), "l", from, to, "test"); err != nil {
		t.Fatal(err)
	}
	s = await(t, b, "l", ended)
	_, sealed, err := b.Status(t.Context(), "l")
	if s.Status != usance.BackfillDone || s.Events != 30 || s.Days != 3 || s.Skipped != 1 || s.Error != "" || err != nil || len(sealed) != 1 || sealed[0] != from {
		t.Errorf("asked again: %+v, sealed %v, %v", s, sealed, err)
	}
	if _, err := b.Start(t.Context(), "l", to, to, "test"); usance.ErrorCode(err) != usance.CodeValidation {
		t.Errorf("no day at all: %v", err)
	}
	if _, _, err := b.Status(t.Context(), "m"); usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("a licence without: %v", err)
	}
}

// failing cannot read the events of a day.
type failing struct {
	fold.Store
	day   usance.Date
	err   error
	times atomic.Int64 // that it fails
}

func (f *failing) View(ctx context.Context, fn func(usance.View) error) error {
	return f.Store.View(ctx, func(v usance.View) error { return fn(&failingView{v, f}) })
}

type failingView struct {
	usance.View
	f *failing
}

func (v *failingView) Folded(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	if from <= v.f.day && v.f.day < to && v.f.times.Add(-1) >= 0 {
		return v.f.err
	}
	return v.View.Folded(ctx, licenseID, from, to, yield)
}

// A store that cannot be reached for a while fails no backfill, nor holds up
// another one that it does not concern.
func TestBackfillOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.license(t, "m")
	from, to := k.days(t, "l", 3, 5)
	k.days(t, "m", 3, 5)
	k.spoil(t, "l", from+1)
	bad := &failing{Store: k.store, day: from + 1, err: usance.NewError(usance.CodeUnavailable, "the database is restarting")}
	bad.times.Store(1 << 30)
	b, stop := k.process(t, bad, false, 0)
	defer stop()
	if _, err := b.Start(t.Context(), "l", from, to, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Start(t.Context(), "m", from, from+1, "test"); err != nil {
		t.Fatal(err)
	}
	if s := await(t, b, "m", ended); s.Status != usance.BackfillDone {
		t.Errorf("of the other licence: %+v", s)
	}
	if s, _, err := b.Status(t.Context(), "l"); err != nil || s.Status != usance.BackfillRunning {
		t.Errorf("during the outage: %+v, %v", s, err)
	}
	bad.times.Store(0)
	if _, err := b.Start(t.Context(), "l", from, to, "test"); err != nil { // joins, and does not wait for the next try
		t.Fatal(err)
	}
	if s := await(t, b, "l", ended); s.Status != usance.BackfillDone || s.Changed != 1 || s.Events != 15 {
		t.Errorf("after it: %+v", s)
	}
}
