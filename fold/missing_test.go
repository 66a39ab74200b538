package fold_test

import (
	"context"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// losing is a store that loses the rollups which are written through it, as
// somebody does who deletes them.
type losing struct{ usance.Store }

func (s losing) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.Store.Update(ctx, locks, func(tx usance.Tx) error { return fn(losingTx{tx}) })
}

type losingTx struct{ usance.Tx }

func (losingTx) EnsureRollups(context.Context, []usance.RollupKey) error { return nil }
func (losingTx) PutRollups(context.Context, []usance.Rollup) error       { return nil }
func (losingTx) LockRollups(_ context.Context, keys []usance.RollupKey) (rows []usance.Rollup, err error) {
	for _, k := range keys {
		rows = append(rows, usance.Rollup{RollupKey: k})
	}
	return rows, nil
}

// vanishing is a store of whose rollups some are there when they are read for
// the first time, and gone afterwards.
type vanishing struct {
	usance.Store
	rows []usance.Rollup
}

func (s *vanishing) View(ctx context.Context, fn func(usance.View) error) error {
	return s.Store.View(ctx, func(v usance.View) error { return fn(&vanishingView{v, s}) })
}

type vanishingView struct {
	usance.View
	s *vanishing
}

func (v *vanishingView) Rollups(ctx context.Context, licenseID string, from, to usance.Date, types []string, yield func(*usance.Rollup) error) error {
	for i := range v.s.rows {
		if err := yield(&v.s.rows[i]); err != nil {
			return err
		}
	}
	v.s.rows = nil
	return v.View.Rollups(ctx, licenseID, from, to, types, yield)
}

// TestMissingRollups: rows that ought to be there and are not are made anew from
// the raw events, also when they go while a recalculation reads; those of sealed
// days are left alone.
func TestMissingRollups(t *testing.T) {
	k := newKit(t)
	k.send(t, "l", "x", 60, k.now)
	k.send(t, "l", "y", 30, k.now.AddDate(0, 0, -1))
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := k.rows(t, "l")
	if len(want) != 6 {
		t.Fatalf("%d rows", len(want))
	}
	today := usance.DateOf(k.now, time.UTC)

	for _, name := range []string{"missing", "vanishing", "sealed"} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.send(t, "l", "x", 60, k.now)
			k.send(t, "l", "y", 30, k.now.AddDate(0, 0, -1))
			clock := func() time.Time { return k.now }
			if _, err := fold.New(losing{k.store}, fold.Options{Now: clock}).Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if rows := k.rows(t, "l"); len(rows) > 0 {
				t.Fatalf("rows are there: %+v", rows)
			}
			want, store := want, k.store
			switch name {
			case "vanishing": // they hold what there is, but for a unit
				half := slices.Clone(want)
				half[1].Quantity--
				half[4].Quantity--
				store = &vanishing{k.store, half}
			case "sealed":
				day := []usance.Day{{LicenseID: "l", Date: today - 1}}
				if err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return tx.SealDays(t.Context(), day) }); err != nil {
					t.Fatal(err)
				}
				want = want[3:]
			}
			out, err := fold.New(store, fold.Options{Now: clock}).Recalculate(t.Context(), "l", today-3, today+1, "test")
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want, k.rows(t, "l")); diff != "" {
				t.Errorf("rows (-folded +made anew):\n%s", diff)
			}
			if (len(out.Sealed) == 1) != (name == "sealed") {
				t.Errorf("%+v", out)
			}
		})
	}
}
