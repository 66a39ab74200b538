package fold_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.OnEach{M: m}.Run()) }

// kit is a store with ingest and two nodes that fold.
type kit struct {
	now     time.Time
	store   usance.Store
	in      *ingest.Ingester
	a, b    *fold.Folder // a gets the batches handed over, b finds them in the store
	catalog *catalog.Catalog
}

func newKit(t *testing.T) *kit {
	t.Helper()
	store := storetest.OpenOne(t)
	k := &kit{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), store: store}
	clock := func() time.Time { return k.now }
	k.a = fold.New(store, fold.Options{Now: clock, Bite: 50, Memory: 80})
	k.b = fold.New(store, fold.Options{Now: clock, Bite: 70})
	k.catalog = catalog.New(store, catalog.Options{Now: clock})
	k.in = ingest.New(store, ingest.Options{Now: clock, SessionKey: []byte("test"), Committed: k.a.Offer})
	t.Cleanup(func() {
		if err := errors.Join(k.in.Close(context.Background()), store.Close()); err != nil {
			t.Error(err)
		}
	})
	k.license(t, "l")
	return k
}

func (k *kit) license(t *testing.T, id string) {
	t.Helper()
	if _, _, err := k.catalog.PutLicense(t.Context(), id, []byte(`{"brandId":"b","assetId":"a","status":"ACTIVE"}`), "test"); err != nil {
		t.Fatal(err)
	}
}

// send counts n events of one request, spread over types, places and sessions.
func (k *kit) send(t *testing.T, licenseID, prefix string, n int, at time.Time) {
	t.Helper()
	events := make([]usance.Event, n)
	for i := range events {
		events[i] = usance.Event{
			LicenseID: licenseID, UsageType: []string{"view", "click", "print"}[i%3], Quantity: int64(1 + i%4), OccurredAt: at,
			Platform: usance.Platforms[i%3], GeographicLocation: fmt.Sprint("place ", i%7), SessionID: fmt.Sprint("s", i%11),
			Referrer: fmt.Sprintf("https://host%d.example/x", i%5), RevenueCents: int64(i), IdempotencyKey: fmt.Sprint(prefix, i),
		}
	}
	res, err := k.in.Track(t.Context(), ingest.Request{Events: events, Backdate: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range res {
		if !res[i].Tracked {
			t.Fatalf("event %d: %+v", i, res[i])
		}
	}
}

// rows gives the licence's rollup rows.
func (k *kit) rows(t *testing.T, licenseID string) []usance.Rollup {
	t.Helper()
	var out []usance.Rollup
	err := k.store.View(t.Context(), func(v usance.View) error {
		return v.Rollups(t.Context(), licenseID, usance.MinDate, usance.MaxDate, nil, func(r *usance.Rollup) error {
			c := r.Clone()
			c.Revision = 0
			out = append(out, c)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (k *kit) verify(t *testing.T, licenseID string) fold.Drift {
	t.Helper()
	d, err := k.a.Verify(t.Context(), licenseID, usance.DateOf(k.now, time.UTC)-200, usance.DateOf(k.now, time.UTC)+1)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestFoldOnce has two nodes fold the same batches at once: those handed over
// in memory, those let go for want of it, those found in the store.
func TestFoldOnce(t *testing.T) {
	k := newKit(t)
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for _, f := range []*fold.Folder{k.a, k.b} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := f.Flush(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	var sent int64
	for i := range 40 {
		k.send(t, "l", fmt.Sprint(i, "-"), 1+i, k.now)
		sent += int64(1 + i)
	}
	stop()
	wg.Wait()
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var folded int64
	for _, r := range k.rows(t, "l") {
		folded += r.Events
	}
	if d := k.verify(t, "l"); folded != sent || d.Events != sent || d.Drifted != 0 {
		t.Errorf("sent %d, folded %d, verified %+v", sent, folded, d)
	}
}

// TestRecalculate mends a row that was tampered with, while usage goes on, and
// changes nothing where nothing is wrong.
func TestRecalculate(t *testing.T) {
	k := newKit(t)
	th, err := k.catalog.CreateThreshold(t.Context(), usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly,
		Terms: usance.Terms{LimitQuantity: 10, AllowOverage: true}}, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	k.send(t, "l", "x", 60, k.now)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := k.rows(t, "l")
	counters := k.counters(t, th.ID)
	today := usance.DateOf(k.now, time.UTC)
	err = k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		key := usance.RollupKey{LicenseID: "l", Date: today, UsageType: "view"}
		rows, err := tx.LockRollups(t.Context(), []usance.RollupKey{key})
		if err != nil {
			return err
		}
		rows[0].Quantity += 5
		rows[0].Breakdown[usance.ByGeo]["place 0"] = usance.Tally{Events: 1}
		rows[0].Breakdown[usance.ByPlatform]["nowhere"] = usance.Tally{Events: 3}
		if err := tx.PutRollups(t.Context(), rows); err != nil {
			return err
		}
		cs, err := tx.LockCounters(t.Context(), []usance.CounterKey{counters[0].CounterKey})
		if err != nil {
			return err
		}
		cs[0].Quantity = 1
		return tx.PutCounters(t.Context(), cs)
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := k.verify(t, "l"); d.Drifted != 1 || d.Keys[0].Difference.Quantity != -5 {
		t.Errorf("verification finds %+v, want the one row that is 5 units over", d)
	}
	// A tail that is not folded is no part of what is compared.
	k.send(t, "l", "tail", 5, k.now)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := k.a.Recalculate(t.Context(), "l", today-1, today+1, "test"); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 10 {
		k.send(t, "l", fmt.Sprint("more", i, "-"), 9, k.now)
	}
	wg.Wait()
	for _, f := range []*fold.Folder{k.a, k.b} {
		if _, err := f.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := k.verify(t, "l"); d.Drifted != 0 || d.Events != 60+5+90 {
		t.Errorf("after recalculation %+v", d)
	}
	var views int64
	for _, r := range k.rows(t, "l") {
		if r.UsageType == "view" {
			views = r.Quantity
			if got := r.Breakdown[usance.ByPlatform]["nowhere"]; got != (usance.Tally{}) {
				t.Errorf("the tampered value holds %+v", got)
			}
		}
	}
	if got := k.counters(t, th.ID)[0].Quantity; got != views {
		t.Errorf("counter %d, rollup %d", got, views)
	}
	r, err := k.a.Recalculate(t.Context(), "l", today-40, today+1, "test")
	if err != nil || r.Changed != 0 || r.Counters != 0 || r.Days != 41 {
		t.Errorf("a second recalculation: %+v, %v", r, err)
	}
	if len(want) != 3 {
		t.Errorf("%d rows, want one a type", len(want))
	}
}

func (k *kit) counters(t *testing.T, thresholdID string) (out []usance.Counter) {
	t.Helper()
	err := k.store.View(t.Context(), func(v usance.View) (err error) {
		out, err = v.CountersOf(t.Context(), "l", thresholdID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRetain prunes what is due and nothing else: totals and breakdowns stay,
// the day refuses events, recalculation leaves it alone, and a retry of a
// pruned event is late rather than counted again.
func TestRetain(t *testing.T) {
	k := newKit(t)
	k.license(t, "m")
	old := k.now.AddDate(0, 0, -3)
	k.send(t, "l", "a", 30, old)
	k.send(t, "m", "a", 20, old)
	k.now = k.now.Add(24 * time.Hour)
	k.send(t, "l", "b", 10, old) // the same day, received a day later
	k.send(t, "l", "c", 10, k.now)
	k.now = k.now.Add(30*24*time.Hour - time.Hour)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := append(k.rows(t, "l"), k.rows(t, "m")...)

	// A drifted day is kept with its events.
	bend := func(by int64) {
		err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
			rows, err := tx.LockRollups(t.Context(), []usance.RollupKey{{LicenseID: "m", Date: usance.DateOf(old, time.UTC), UsageType: "view"}})
			if err != nil {
				return err
			}
			rows[0].Quantity += by
			return tx.PutRollups(t.Context(), rows)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	bend(1)
	r, err := k.a.Retain(t.Context(), 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(fold.Retention{Days: 1, Drifted: 1, Events: 30}, r); diff != "" {
		t.Errorf("retention (-want +got)\n%s", diff)
	}
	bend(-1)
	if r, err = k.a.Retain(t.Context(), 30*24*time.Hour); err != nil || r.Days != 1 || r.Events != 20 {
		t.Errorf("once the day is right: %+v, %v", r, err)
	}
	if diff := gocmp.Diff(before, append(k.rows(t, "l"), k.rows(t, "m")...)); diff != "" {
		t.Errorf("pruning changed rollups (-before +after)\n%s", diff)
	}
	for _, key := range []string{"a0", "new"} {
		res, err := k.in.Track(t.Context(), ingest.Request{Backdate: true, Events: []usance.Event{{LicenseID: "l", UsageType: "view", OccurredAt: old, IdempotencyKey: key}}})
		if err != nil || res[0].Error == nil || res[0].Error.Code != usance.CodeTooLate {
			t.Errorf("%s into a sealed day: %+v, %v", key, res, err)
		}
	}
	// An event of the day that is still there is a duplicate, not late.
	res, err := k.in.Track(t.Context(), ingest.Request{Backdate: true, Events: []usance.Event{{
		LicenseID: "l", UsageType: "view", Quantity: 1, OccurredAt: old, Platform: usance.Platforms[0], GeographicLocation: "place 0",
		SessionID: "s0", Referrer: "https://host0.example/x", IdempotencyKey: "b0",
	}}})
	if err != nil || !res[0].Duplicate {
		t.Errorf("a retry of what is kept: %+v, %v", res, err)
	}
	day := usance.DateOf(old, time.UTC)
	rec, err := k.a.Recalculate(t.Context(), "l", day, day+10, "test")
	if err != nil || rec.Changed != 0 || len(rec.Sealed) != 1 || rec.Sealed[0] != day {
		t.Errorf("recalculation over a sealed day: %+v, %v", rec, err)
	}
	k.now = k.now.Add(24 * time.Hour)
	if r, err = k.a.Retain(t.Context(), 30*24*time.Hour); err != nil || r.Days != 1 || r.Events != 20 {
		t.Errorf("a day later: %+v, %v", r, err)
	}
	if diff := gocmp.Diff(before, append(k.rows(t, "l"), k.rows(t, "m")...)); diff != "" {
		t.Errorf("pruning changed rollups (-before +after)\n%s", diff)
	}
}
