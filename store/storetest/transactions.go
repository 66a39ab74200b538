package storetest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/usance/usance"
)

func putBrand(ctx context.Context, tx usance.Tx, id string) error {
	return tx.PutBrand(ctx, usance.Brand{ID: id, Name: id, CreatedAt: now, UpdatedAt: now})
}

func brandIDs(t *testing.T, v usance.View) []string {
	t.Helper()
	rows, _, err := v.Brands(t.Context(), usance.Scope{}, usance.Page{Limit: 100})
	out, _, err := names(rows, "", err, func(b usance.Brand) string { return b.ID })
	if err != nil {
		t.Errorf("Brands: %v", err)
	}
	return out
}

func testSnapshot(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	addEvents(t, s, 100, event("l1", 1, today))
	view(t, s, func(v usance.View) error {
		before := brandIDs(t, v)
		// A writer commits, and a fold, while the view stands open.
		addEvents(t, s, 101, event("l1", 2, today))
		update(t, s, func(tx usance.Tx) error {
			if err := putBrand(ctx, tx, "later"); err != nil {
				return err
			}
			return fold(ctx, tx, id(100))
		})
		equal(t, "brands in the snapshot", brandIDs(t, v), before)
		got, err := tail(ctx, v, "l1", today, today+1)
		if err != nil {
			return err
		}
		equal(t, "the tail in the snapshot", got, []usance.ID{id(1)})
		rows, err := rollups(ctx, v, "l1", today, today+1, nil)
		equal(t, "rollups in the snapshot", rows, nil)
		return err
	})
	view(t, s, func(v usance.View) error {
		got, err := tail(ctx, v, "l1", today, today+1)
		equal(t, "the tail afterwards", got, []usance.ID{id(2)})
		return err
	})
}

func testTogether(t *testing.T, s usance.Store) {
	put := func(id string) {
		update(t, s, func(tx usance.Tx) error { return putBrand(t.Context(), tx, id) })
	}
	brands := func(ctx context.Context) (ids []string) {
		t.Helper()
		if err := s.View(ctx, func(v usance.View) error { ids = brandIDs(t, v); return nil }); err != nil {
			t.Error(err)
		}
		return ids
	}
	put("first")
	var afterwards func() []string
	err := s.Together(t.Context(), func(ctx context.Context) error {
		afterwards = func() []string { return brands(ctx) }
		equal(t, "brands", brands(ctx), []string{"first"})
		version, err := s.KeysVersion(ctx)
		if err != nil {
			return err
		}
		put("second")
		update(t, s, func(tx usance.Tx) error {
			return tx.PutAPIKey(t.Context(), usance.APIKey{ID: "k", Role: usance.RoleAdmin, Hash: []byte("h"), CreatedAt: now})
		})
		equal(t, "brands in the same snapshot", brands(ctx), []string{"first"})
		equal(t, "brands meanwhile, to others", brands(t.Context()), []string{"first", "second"})
		if again, err := s.KeysVersion(ctx); err != nil || again != version {
			t.Errorf("the version of keys was %d, and is %d in the same snapshot, %v", version, again, err)
		}
		keys, _, err := s.APIKeys(ctx, usance.Page{Limit: 10})
		equal(t, "keys in the same snapshot", len(keys), 0)
		if err != nil {
			return err
		}
		return s.Together(ctx, func(ctx context.Context) error { // it is the same
			equal(t, "brands within", brands(ctx), []string{"first"})
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	equal(t, "brands under the context once it is over", afterwards(), []string{"first", "second"})
	boom := errors.New("boom")
	if err := s.Together(t.Context(), func(context.Context) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("Together gave %v, want the function's error", err)
	}
}

func testOwnWrites(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	update(t, s, func(tx usance.Tx) error {
		if err := putBrand(ctx, tx, "new"); err != nil {
			return err
		}
		if _, err := tx.Brand(ctx, "new"); err != nil {
			return err
		}
		if err := tx.AddEvents(ctx, []usance.Batch{{ID: id(100), At: now, Events: []usance.Event{event("l1", 1, today)}}}); err != nil {
			return err
		}
		got, err := tail(ctx, tx, "l1", today, today+1)
		if err != nil {
			return err
		}
		equal(t, "the tail within the transaction", got, []usance.ID{id(1)})
		// Queries within a query's rows.
		return tx.Tail(ctx, "l1", today, today+1, func(e *usance.Event) error {
			_, err := tail(ctx, tx, "l1", today, today+1)
			if err != nil {
				return err
			}
			_, err = tx.EventByID(ctx, "l1", e.ID)
			return err
		})
	})
}

func testRollback(t *testing.T, s usance.Store) {
	ctx := t.Context()
	boom := errors.New("boom")
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := putBrand(ctx, tx, "new"); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update gave %v, want the function's error", err)
	}
	err = s.View(ctx, func(v usance.View) error {
		equal(t, "brands after an error", brandIDs(t, v), nil)
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("View gave %v, want the function's error", err)
	}
	// A look-up that finds nothing is no reason to lose the transaction.
	update(t, s, func(tx usance.Tx) error {
		if err := putBrand(ctx, tx, "kept"); err != nil {
			return err
		}
		_, err := tx.Brand(ctx, "none")
		wantCode(t, "Brand", err, usance.CodeNotFound)
		_, _, err = tx.Brands(ctx, usance.Scope{}, usance.Page{Cursor: "damaged", Limit: 1})
		wantCode(t, "Brands", err, usance.CodeValidation)
		return nil
	})
	view(t, s, func(v usance.View) error {
		equal(t, "brands", brandIDs(t, v), []string{"kept"})
		return nil
	})
}

func testPanic(t *testing.T, s usance.Store) {
	ctx := t.Context()
	attempt := func(fn func()) (recovered any) {
		defer func() { recovered = recover() }()
		fn()
		return nil
	}
	for range 10 { // more often than there are connections
		got := attempt(func() {
			s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
				if err := putBrand(ctx, tx, "new"); err != nil {
					return err
				}
				panic("boom")
			})
		})
		if got != "boom" {
			t.Errorf("the panic in Update became %v", got)
		}
		got = attempt(func() { s.View(ctx, func(usance.View) error { panic("boom") }) })
		if got != "boom" {
			t.Errorf("the panic in View became %v", got)
		}
	}
	view(t, s, func(v usance.View) error {
		equal(t, "brands after a panic", brandIDs(t, v), nil)
		return nil
	})
	update(t, s, func(tx usance.Tx) error { return putBrand(ctx, tx, "new") })
}

func testRetry(t *testing.T, s usance.Store) {
	ctx := t.Context()
	runs := 0
	update(t, s, func(tx usance.Tx) error {
		runs++
		_, err := tx.Brand(ctx, "new")
		wantCode(t, "what the run before wrote", err, usance.CodeNotFound)
		if err := putBrand(ctx, tx, "new"); err != nil {
			return err
		}
		if runs < 3 {
			return usance.ErrRetry
		}
		return nil
	})
	if runs != 3 {
		t.Errorf("the function ran %d times, want 3", runs)
	}
	runs = 0
	err := s.Update(ctx, usance.Locks{}, func(usance.Tx) error {
		runs++
		return usance.ErrRetry
	})
	wantCode(t, "Update without end", err, usance.CodeUnavailable)
	if runs < 2 || runs > 100 {
		t.Errorf("the function ran %d times", runs)
	}
}

func testCancel(t *testing.T, s usance.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := putBrand(ctx, tx, "new"); err != nil {
			return err
		}
		cancel()
		return putBrand(ctx, tx, "newer")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v, want context.Canceled", err)
	}
	err = s.Update(ctx, usance.Locks{}, func(usance.Tx) error {
		t.Error("Update ran for a caller that had gone")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v, want context.Canceled", err)
	}
	if err := s.View(ctx, func(v usance.View) error { _, err := v.Brand(ctx, "new"); return err }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v, want context.Canceled", err)
	}
	view(t, s, func(v usance.View) error {
		equal(t, "brands", brandIDs(t, v), nil)
		return nil
	})
}

// testCancelAnytime has callers leave at any moment of a transaction, its
// beginning included: the store stays fit for the next.
func testCancelAnytime(t *testing.T, s usance.Store) {
	putLicenses(t, s, "l1")
	for n := range 3000 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for range n % 300 * 10 {
				runtime.Gosched()
			}
			cancel()
		}()
		_ = s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return nil })
		_ = s.View(ctx, func(v usance.View) error { return nil })
		cancel()
		if err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return nil }); err != nil {
			t.Fatalf("Update after %d callers that left: %v", n+1, err)
		}
		if err := s.View(t.Context(), func(v usance.View) error { return nil }); err != nil {
			t.Fatalf("View after %d callers that left: %v", n+1, err)
		}
	}
}

// watched is a context that shows when somebody first waits for its end.
type watched struct {
	context.Context
	once sync.Once
	seen chan bool
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.seen) })
	return w.Context.Done()
}

// testCancelWaiting has a caller leave who waits for a lock. That it waits in the
// database, where it does, is for the tests of that store to see.
func testCancelWaiting(t *testing.T, s usance.Store) {
	putLicenses(t, s, "l1")
	locks := usance.Locks{Exclusive: []string{"l1"}}
	held, release := make(chan bool), make(chan bool)
	done := make(chan error, 1)
	go func() {
		done <- s.Update(t.Context(), locks, func(tx usance.Tx) error {
			close(held)
			<-release
			return nil
		})
	}()
	<-held
	inner, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx := &watched{Context: inner, seen: make(chan bool)}
	waiting := make(chan error, 1)
	go func() {
		waiting <- s.Update(ctx, locks, func(usance.Tx) error {
			t.Error("two transactions held one lock")
			return nil
		})
	}()
	<-ctx.seen // it has begun, and cannot go far
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v, want context.Canceled", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the holder: %v", err)
	}
	update(t, s, func(tx usance.Tx) error { return putBrand(t.Context(), tx, "after") })
}
