package ingest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/storetest"
)

// failing refuses transactions over licences of one lane while it is told to.
type failing struct {
	usance.Store
	lane  func(licenseID string) int
	which atomic.Int64 // the lane; -1: none
	asked atomic.Int64 // times that it refused
}

func (f *failing) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	if slices.ContainsFunc(locks.Shared, func(id string) bool { return int64(f.lane(id)) == f.which.Load() }) {
		f.asked.Add(1)
		return usance.NewError(usance.CodeUnavailable, "the disk is full")
	}
	return f.Store.Update(ctx, locks, fn)
}

// A request whose events are of several lanes is answered as one: in its order,
// whole when it is atomic, and, when a lane fails, with what the others counted.
func TestRequestOfSeveralLanes(t *testing.T) {
	const lanes, licenses = 3, 20
	store := &failing{Store: storetest.OpenOne(t), lane: func(id string) int { return usance.GroupOf(id, usance.Groups) % lanes }}
	store.which.Store(-1)
	k := newKitOn(t, store, ingest.Options{Lanes: lanes})
	for i := range licenses {
		k.license(t, fmt.Sprint("l", i))
	}
	k.threshold(t, usance.Threshold{LicenseID: "l7", UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 1}})
	batch := func(round int) (events []usance.Event) {
		for i := range 3 * licenses {
			events = append(events, usance.Event{LicenseID: fmt.Sprint("l", i%licenses), UsageType: "view", Quantity: 1, IdempotencyKey: fmt.Sprint(round, "-", i)})
		}
		return events
	}
	counted := func(results []usance.Result) (n int) {
		for i, r := range results {
			if r.LicenseID != fmt.Sprint("l", i%licenses) {
				t.Errorf("result %d is that of %s", i, r.LicenseID)
			}
			if r.Tracked && !r.Duplicate {
				n++
			}
		}
		return n
	}
	results, err := k.in.Track(t.Context(), ingest.Request{Events: batch(1)})
	if err != nil || counted(results) != 3*licenses-2 {
		t.Fatalf("%d counted, %v", counted(results), err)
	}
	for i, r := range results {
		if full := i%licenses == 7 && i > 7; full != (r.Status == usance.StatusBlocked) {
			t.Errorf("result %d: %+v", i, r)
		}
	}

	if results, err = k.in.Track(t.Context(), ingest.Request{Events: batch(2), Atomic: true}); err != nil || counted(results) != 0 {
		t.Errorf("the atomic batch with a refused event: %d counted, %v", counted(results), err)
	}

	bad := store.lane("l0")
	store.which.Store(int64(bad))
	results, err = k.in.Track(t.Context(), ingest.Request{Events: batch(3)})
	if usance.ErrorCode(err) != usance.CodeUnavailable || len(results) != 3*licenses {
		t.Fatalf("while a lane fails: %d results, %v", len(results), err)
	}
	told := counted(results)
	for _, r := range results {
		failed := r.Error != nil && r.Error.Code == usance.CodeUnavailable && r.Error.Retryable
		if failed != (store.lane(r.LicenseID) == bad) {
			t.Errorf("while the lane of l0 fails: %+v", r)
		}
	}
	store.which.Store(-1)
	results, err = k.in.Track(t.Context(), ingest.Request{Events: batch(3)})
	if err != nil || told == 0 || told+counted(results) != 3*licenses-3 {
		t.Errorf("sent again: %d and then %d counted, %v", told, counted(results), err)
	}
	for i := range licenses {
		want := int64(6)
		if i == 7 {
			want = 1
		}
		if events, _ := k.used(t, fmt.Sprint("l", i)); events != want {
			t.Errorf("l%d holds %d events, want %d", i, events, want)
		}
	}
	if k.in.Busy() {
		t.Error("it is busy with nothing")
	}
}

// A store that takes nothing is asked for a few requests of a group, not for each:
// each may wait long.
func TestOutageIsNotWaitedOutByEach(t *testing.T) {
	store := &failing{Store: storetest.OpenOne(t), lane: func(string) int { return 0 }}
	k := newKitOn(t, store, ingest.Options{})
	k.license(t, "l")
	totals := make([]usance.DailyTotal, 50) // each a request, all of them a group
	for i := range totals {
		totals[i] = usance.DailyTotal{LicenseID: "l", Date: usance.DateOf(at, time.UTC).AddDays(-i), UsageType: "view", Quantity: 1, Source: "test", Line: int64(i + 1)}
	}
	if _, err := k.in.Totals(t.Context(), totals, "test"); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("while the store takes nothing: %v", err)
	}
	for k.in.Busy() { // with those that are not waited for
		runtime.Gosched()
	}
	if n := store.asked.Load(); n != 3 {
		t.Errorf("the store was asked %d times, want once for all and for two", n)
	}
	store.which.Store(-1)
	if _, err := k.in.Totals(t.Context(), totals, "test"); err != nil {
		t.Fatal(err)
	}
	if events, _ := k.used(t, "l"); events != 50 {
		t.Errorf("%d events counted after it, want 50", events)
	}
}
