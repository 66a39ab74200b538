package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// held begins a transaction that stays open until it is told how to end.
func held(t *testing.T, s usance.Store, locks usance.Locks, fn func(usance.Tx) error) (end func(error) error) {
	t.Helper()
	begun, verdict, done := make(chan bool), make(chan error), make(chan error, 1)
	go func() {
		done <- s.Update(t.Context(), locks, func(tx usance.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			close(begun)
			return <-verdict
		})
	}()
	select {
	case <-begun:
	case err := <-done:
		t.Fatalf("the transaction ended before its time: %v", err)
	}
	return func(err error) error {
		verdict <- err
		return <-done
	}
}

func nothing(usance.Tx) error { return nil }

// waiter tells whether the database has one more wait for a lock before done
// says that it did without; what done says must be no error.
func waiter(t *testing.T, c *pgx.Conn, done <-chan error) bool {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		select {
		case err := <-done:
			must(t, err)
			return false
		case <-time.After(time.Millisecond):
		}
		var waits bool
		must(t, c.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits))
		if waits {
			return true
		}
		if time.Now().After(deadline) {
			t.Fatal("it neither waits for a lock nor comes to its end")
		}
	}
}

// Those who add usage share a group, who changes facts has it alone, on
// whatever node.
func TestGroupLocks(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	a, b := open(t, url), open(t, url)
	one, other := "l1", "l1" // of two groups, once found
	c := raw(t, url)
	waits := func(s usance.Store, locks usance.Locks) bool { // and leaves
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Update(ctx, locks, nothing) }()
		if !waiter(t, c, done) {
			return false
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("who left while it waited: %v", err)
		}
		return true
	}
	end := held(t, a, usance.Locks{Exclusive: []string{one}}, nothing)
	if !waits(b, usance.Locks{Shared: []string{one}}) {
		t.Error("usage was added while its licence's facts were being changed")
	}
	for n := 0; usance.GroupOf(other, usance.Groups) == usance.GroupOf(one, usance.Groups); n++ {
		other = fmt.Sprint("other", n)
	}
	must(t, b.Update(t.Context(), usance.Locks{Exclusive: []string{other}}, nothing)) // or it fails by lock_timeout
	must(t, end(nil))
	end = held(t, a, usance.Locks{Shared: []string{one, other}}, nothing)
	if err := b.Update(t.Context(), usance.Locks{Shared: []string{other, one}}, nothing); err != nil {
		t.Error(err)
	}
	if !waits(b, usance.Locks{Shared: []string{other}, Exclusive: []string{one}}) {
		t.Error("facts were changed while usage was being added")
	}
	must(t, end(nil))
	must(t, b.Update(t.Context(), usance.Locks{Exclusive: []string{one, other}}, nothing)) // no lock outlives its transaction
}

// A batch that two nodes fold at once is folded by one.
func TestTakePendingTwice(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.URL(t)
	a, b := open(t, url), open(t, url)
	batches := []usance.Batch{{ID: usance.NewID(clock)}, {ID: usance.NewID(clock)}}
	for _, b := range batches {
		must(t, a.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			return tx.AddEvents(ctx, []usance.Batch{{ID: b.ID, At: clock, Events: events("l1", 3)}})
		}))
	}
	var got []usance.ID
	end := held(t, a, usance.Locks{}, func(tx usance.Tx) (err error) {
		got, err = tx.TakePending(ctx, batches[1:])
		return err
	})
	second := make(chan error, 1)
	var rest []usance.ID
	go func() {
		second <- b.Update(ctx, usance.Locks{}, func(tx usance.Tx) (err error) {
			rest, err = tx.TakePending(ctx, batches)
			return err
		})
	}()
	must(t, end(nil))
	must(t, <-second)
	if len(got) != 1 || got[0] != batches[1].ID || len(rest) != 1 || rest[0] != batches[0].ID {
		t.Errorf("the nodes took %v and %v of %v", got, rest, batches)
	}
}

// An event that two nodes count at once is counted by one; the other is told,
// once the first has committed.
func TestSameKeyTwice(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.URL(t)
	a, b := open(t, url), open(t, url)
	batch := events("l1", 2)
	add := func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(clock), At: clock, Events: batch}})
	}
	end := held(t, a, usance.Locks{Shared: []string{"l1"}}, add)
	second := make(chan error, 1)
	go func() { second <- b.Update(ctx, usance.Locks{Shared: []string{"l1"}}, add) }()
	if !waiter(t, raw(t, url), second) {
		t.Fatal("the other node did not wait for the first")
	}
	must(t, end(nil))
	if err := <-second; !errors.Is(err, usance.ErrKeyExists) {
		t.Errorf("the other node: %v, want ErrKeyExists", err)
	}
}

// Sessions of one day that two folds merge at once are all there.
func TestSessionsTogether(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, pgtest.URL(t))
	const folds, each = 8, 50
	errs := make(chan error, folds)
	for n := range folds {
		go func() {
			d := usance.DaySketch{Day: usance.Day{LicenseID: "l1", Date: today}}
			for i := range each {
				d.Sessions.Add(uint64(n*each+i+1) * 0x9E3779B97F4A7C15)
			}
			errs <- s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.MergeSessions(ctx, []usance.DaySketch{d}) })
		}()
	}
	for range folds {
		must(t, <-errs)
	}
	must(t, s.View(ctx, func(v usance.View) error {
		return v.DaySessions(ctx, "l1", today, today+1, func(_ usance.Date, sessions *usance.Sessions) error {
			if n := sessions.Estimate(); n < folds*each*95/100 || n > folds*each*105/100 {
				t.Errorf("%d sessions, want about %d", n, folds*each)
			}
			return nil
		})
	}))
}

// Two transactions that wait for each other: one runs again, both are done.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, pgtest.URL(t)+"&deadlock_timeout=20ms")
	meet := make(chan bool)
	errs := make(chan error, 2)
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		go func() {
			runs := 0
			errs <- s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
				runs++
				if err := putBrand(ctx, tx, order[0]); err != nil {
					return err
				}
				if runs == 1 { // each has its first row now
					select {
					case meet <- true:
					case <-meet:
					}
				}
				return putBrand(ctx, tx, order[1])
			})
		}()
	}
	for range 2 {
		must(t, <-errs)
	}
}

// A connection that breaks in the middle costs nobody anything.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.URL(t)
	s, other := open(t, url), raw(t, url)
	kill := func() {
		t.Helper()
		_, err := other.Exec(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'usance'`)
		must(t, err)
	}
	runs := 0
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if runs++; runs == 1 {
			if err := putBrand(ctx, tx, "lost"); err != nil {
				return err
			}
			kill()
		}
		return putBrand(ctx, tx, "kept")
	}))
	kill() // while idle
	must(t, s.View(ctx, func(v usance.View) error {
		_, err := v.Brand(ctx, "kept")
		return err
	}))
	kill()
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return putBrand(ctx, tx, "later") }))
	must(t, s.View(ctx, func(v usance.View) error {
		brands, _, err := v.Brands(ctx, usance.Scope{}, usance.Page{Limit: 10})
		if len(brands) != 2 || brands[0].ID != "kept" || brands[1].ID != "later" {
			t.Errorf("brands %+v", brands)
		}
		return err
	}))
}

// Questions asked amid the rows of another change nothing of it, however many
// rows are still to come.
func TestQueriesWithin(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, pgtest.URL(t))
	const n = 3000
	batch := events("l1", n)
	batch[0].Metadata = usance.RawJSON(`{"a": 1}`)
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(clock), At: clock, Events: batch}})
	}))
	must(t, s.View(ctx, func(v usance.View) error {
		seen := make(map[usance.ID]bool)
		err := v.Tail(ctx, "l1", today, today+1, func(e *usance.Event) error {
			seen[e.ID] = true
			if len(seen)%1000 != 1 {
				return nil
			}
			count := 0
			err := v.Tail(ctx, "l1", today, today+1, func(*usance.Event) error {
				if count++; count == 7 {
					_, err := v.EventByID(ctx, "l1", e.ID)
					return err
				}
				return nil
			})
			if count != n {
				t.Errorf("%d events within, want %d", count, n)
			}
			return err
		})
		if len(seen) != n {
			t.Errorf("%d events, want %d", len(seen), n)
		}
		return err
	}))
}
