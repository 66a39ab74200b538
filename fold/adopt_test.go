package fold_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/store/storetest"
)

// damaged is a store in which one licence's rollups cannot be locked.
type damaged struct {
	usance.Store
	license string
}

type damagedTx struct {
	usance.Tx
	license string
}

func (s *damaged) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.Store.Update(ctx, locks, func(tx usance.Tx) error { return fn(&damagedTx{tx, s.license}) })
}

func (t *damagedTx) LockRollups(ctx context.Context, keys []usance.RollupKey) ([]usance.Rollup, error) {
	for _, k := range keys {
		if k.LicenseID == t.license {
			return nil, errors.New("the row is damaged")
		}
	}
	return t.Tx.LockRollups(ctx, keys)
}

// What others left is folded, however much of it belongs to a licence that cannot
// be folded, and whatever clock it was stamped by.
func TestOneLicenseHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	store := storetest.OpenOne(t)
	t.Cleanup(func() { store.Close() })
	ctx := t.Context()
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	add := func(license string, at time.Time, n int) {
		t.Helper()
		var batches []usance.Batch
		for range n {
			id := usance.NewID(at)
			e := usance.Event{ID: id, LicenseID: license, UsageType: "view", Quantity: 1, OccurredAt: now, ReceivedAt: at,
				LocalDate: usance.DateOf(now, time.UTC), IdempotencyKey: id.String()}
			batches = append(batches, usance.Batch{ID: usance.NewID(at), At: at, Events: []usance.Event{e}})
		}
		err := store.Update(ctx, usance.Locks{Shared: []string{license}}, func(tx usance.Tx) error { return tx.AddEvents(ctx, batches) })
		if err != nil {
			t.Fatal(err)
		}
	}
	add("damaged", now, 1100) // more than are looked at at once
	for i := range 3 {
		add(fmt.Sprint("sound", i), now.Add(time.Duration(i)*100*24*time.Hour), 2)
	}
	f := fold.New(&damaged{store, "damaged"}, fold.Options{Now: func() time.Time { return now }})
	n, err := f.Flush(ctx)
	if n != 6 || err == nil {
		t.Errorf("folded %d events, %v; want the 6 sound ones, and an error of the others", n, err)
	}
	if err != nil && len(err.Error()) > 300 {
		t.Errorf("the error tells of each batch: %d bytes", len(err.Error()))
	}
	err = store.View(ctx, func(v usance.View) error {
		status, err := v.Status(ctx)
		if status.PendingEvents != 1100 {
			t.Errorf("%d events are pending, want the 1,100 damaged ones", status.PendingEvents)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
