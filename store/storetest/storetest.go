// Package storetest is the behaviour that every store must show: the storage
// contract of the root package, as tests. A store runs it from its own tests,
// so that two stores that pass are the same store.
package storetest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usance/usance"
)

// Run runs the whole suite. open gives an empty store, which it closes by
// t.Cleanup; tests run in parallel, each with a store of its own.
func Run(t *testing.T, open func(t *testing.T) usance.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, usance.Store)
	}{
		{"Parties", testParties},
		{"LicenseUpsert", testLicenseUpsert},
		{"MissingRows", testMissingRows},
		{"Facts", testFacts},
		{"TimesToTheMicrosecond", testTimes},
		{"UnreadableThreshold", testUnreadable},
		{"Events", testEvents},
		{"KeyExists", testKeyExists},
		{"KeyExistsSwallowed", testKeyExistsSwallowed},
		{"LongKeys", testLongKeys},
		{"Voids", testVoids},
		{"EventFilters", testEventFilters},
		{"Evidence", testEvidence},
		{"Days", testDays},
		{"Retention", testRetention},
		{"Pending", testPending},
		{"Rollups", testRollups},
		{"RollupsThatAreMissing", testRollupsMissing},
		{"TailAndFolded", testTailAndFolded},
		{"FoldedPart", testFoldedPart},
		{"DayUsage", testDayUsage},
		{"Sessions", testSessions},
		{"Versions", testVersions},
		{"FoldingUnderReaders", testFoldingUnderReaders},
		{"RandomFolds", testRandomFolds},
		{"Thresholds", testThresholds},
		{"Counters", testCounters},
		{"AddToCounters", testAddToCounters},
		{"CountersUnderConcurrency", testCountersConcurrently},
		{"EndedCounters", testEnded},
		{"Overages", testOverages},
		{"DueOverages", testDue},
		{"Alerts", testAlerts},
		{"Audit", testAudit},
		{"Forecasts", testForecasts},
		{"ForecastScores", testForecastScores},
		{"Breaches", testBreaches},
		{"JobState", testJobState},
		{"Pages", testPages},
		{"PageBounds", testPageBounds},
		{"Cursors", testCursors},
		{"Scopes", testScopes},
		{"Filters", testFilters},
		{"Status", testStatus},
		{"Backfills", testBackfills},
		{"Activity", testActivity},
		{"Keys", testKeys},
		{"Secret", testSecret},
		{"Jobs", testJobs},
		{"JobLeases", testJobLeases},
		{"Snapshot", testSnapshot},
		{"Together", testTogether},
		{"OwnWrites", testOwnWrites},
		{"Rollback", testRollback},
		{"Panic", testPanic},
		{"Retry", testRetry},
		{"Cancel", testCancel},
		{"CancelWhileWaiting", testCancelWaiting},
		{"CancelAnytime", testCancelAnytime},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if err := s.Ping(t.Context()); err != nil {
				t.Fatalf("Ping: %v", err)
			}
			test.run(t, s)
		})
	}
}

// The clock of the tests stands still here; the nanoseconds are more than a
// store keeps.
var now = time.Date(2026, 3, 15, 12, 30, 45, 123456789, time.UTC)

const today = usance.Date(20527) // 2026-03-15

// id gives ids that sort by n.
func id(n int) (out usance.ID) {
	binary.BigEndian.PutUint64(out[:8], uint64(now.UnixMilli()+int64(n))<<16|0x7000)
	binary.BigEndian.PutUint64(out[8:], 0x80<<56|uint64(n))
	return out
}

func ptr[T any](v T) *T { return &v }

func rate(t *testing.T, s string) *usance.Rate {
	t.Helper()
	r, err := usance.ParseRate(s)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// sameAs compares what was read with what was written: times as far as they
// are kept, and no difference between an empty list and none.
var sameAs = gocmp.Options{
	gocmp.Comparer(func(a, b time.Time) bool {
		return a.Truncate(time.Microsecond).Equal(b.Truncate(time.Microsecond))
	}),
	gocmp.Comparer(func(a, b usance.Rate) bool { return a == b }),
	gocmp.Comparer(func(a, b usance.Sessions) bool { return a.Estimate() == b.Estimate() }),
	cmpopts.EquateEmpty(),
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := gocmp.Diff(want, got, sameAs); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// full fails when a field of the fixture is zero: a round trip proves nothing
// for such a field. But those named.
func full(t *testing.T, fixture any, but ...string) {
	t.Helper()
	v := reflect.ValueOf(fixture)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Anonymous || slices.Contains(but, f.Name) {
			continue
		}
		if v.FieldByIndex(f.Index).IsZero() {
			t.Errorf("the fixture %T leaves %s zero", fixture, f.Name)
		}
	}
}

// update and view fail the test on an error.
func update(t *testing.T, s usance.Store, fn func(tx usance.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), usance.Locks{}, fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, s usance.Store, fn func(v usance.View) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

func wantCode(t *testing.T, what string, err error, code usance.Code) {
	t.Helper()
	if err == nil || usance.ErrorCode(err) != code {
		t.Errorf("%s: error %v, want code %s", what, err, code)
	}
}

// license is a licence of the brand for the asset, with its defaults.
func license(id, brand, asset string) usance.License {
	l := usance.NewLicense(id)
	l.BrandID, l.AssetID, l.Status = brand, asset, usance.LicenseActive
	l.CreatedAt, l.UpdatedAt = now, now
	return l
}

// putLicenses makes licences with a brand and an asset.
func putLicenses(t *testing.T, s usance.Store, ids ...string) {
	t.Helper()
	update(t, s, func(tx usance.Tx) error {
		ctx := t.Context()
		if err := tx.PutBrand(ctx, usance.Brand{ID: "brand", Name: "Brand", CreatedAt: now, UpdatedAt: now}); err != nil {
			return err
		}
		if err := tx.PutAsset(ctx, usance.Asset{ID: "asset", Name: "Asset", CreatedAt: now, UpdatedAt: now}); err != nil {
			return err
		}
		for _, id := range ids {
			if err := tx.PutLicense(ctx, license(id, "brand", "asset")); err != nil {
				return err
			}
		}
		return nil
	})
}

// event is the n-th event of a licence, of type view, on the day.
func event(licenseID string, n int, day usance.Date) usance.Event {
	e := usance.Event{
		ID: id(n), LicenseID: licenseID, UsageType: "view", Quantity: int64(n%7 + 1), RevenueCents: int64(n % 5),
		OccurredAt: now, ReceivedAt: now.Add(time.Duration(n) * time.Millisecond), LocalDate: day, HourSlot: n % 24,
		IdempotencyKey: fmt.Sprintf("key-%d", n),
	}
	e.HashPayload()
	return e
}

// addEvents adds the events as one batch, whose id it gives.
func addEvents(t *testing.T, s usance.Store, n int, events ...usance.Event) usance.ID {
	t.Helper()
	update(t, s, func(tx usance.Tx) error {
		return tx.AddEvents(t.Context(), []usance.Batch{{ID: id(n), At: now, Events: events}})
	})
	return id(n)
}

// named gives batches as far as TakePending must know those that are of no group.
func named(ids ...usance.ID) (batches []usance.Batch) {
	for _, id := range ids {
		batches = append(batches, usance.Batch{ID: id})
	}
	return batches
}

// fold takes the batches as the fold does and merges them into their rollups.
func fold(ctx context.Context, tx usance.Tx, batches ...usance.ID) error {
	taken, err := tx.TakePending(ctx, named(batches...))
	if err != nil {
		return err
	}
	merged := make(map[usance.RollupKey]*usance.Rollup)
	err = tx.BatchEvents(ctx, taken, func(e *usance.Event) error {
		k := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
		if merged[k] == nil {
			merged[k] = &usance.Rollup{RollupKey: k}
		}
		merged[k].Add(e)
		return nil
	})
	if err != nil || len(merged) == 0 {
		return err
	}
	var keys []usance.RollupKey
	for k := range merged {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, usance.RollupKey.Compare)
	if err := tx.EnsureRollups(ctx, keys); err != nil {
		return err
	}
	rows, err := tx.LockRollups(ctx, keys)
	if err != nil {
		return err
	}
	if len(rows) != len(keys) {
		return fmt.Errorf("LockRollups gave %d of %d rows", len(rows), len(keys))
	}
	for i := range rows {
		rows[i].Merge(merged[rows[i].RollupKey])
	}
	return tx.PutRollups(ctx, rows)
}

// tail and folded give the ids of a licence's events, sorted.
func tail(ctx context.Context, v usance.View, licenseID string, from, to usance.Date) (out []usance.ID, err error) {
	err = v.Tail(ctx, licenseID, from, to, func(e *usance.Event) error {
		out = append(out, e.ID)
		return nil
	})
	slices.SortFunc(out, compareID)
	return out, err
}

func folded(ctx context.Context, v usance.View, licenseID string, from, to usance.Date) (out []usance.ID, err error) {
	last := from
	err = v.Folded(ctx, licenseID, from, to, func(e *usance.Event) error {
		if e.LocalDate < last {
			return fmt.Errorf("gave day %s after %s", e.LocalDate, last)
		}
		last = e.LocalDate
		out = append(out, e.ID)
		return nil
	})
	slices.SortFunc(out, compareID)
	return out, err
}

func compareID(a, b usance.ID) int { return cmp.Compare(string(a[:]), string(b[:])) }

func ids(events []usance.Event) (out []usance.ID) {
	for i := range events {
		out = append(out, events[i].ID)
	}
	slices.SortFunc(out, compareID)
	return out
}

// rollups gives a licence's rows.
func rollups(ctx context.Context, v usance.View, licenseID string, from, to usance.Date, types []string) (out []usance.Rollup, err error) {
	err = v.Rollups(ctx, licenseID, from, to, types, func(r *usance.Rollup) error {
		out = append(out, r.Clone())
		return nil
	})
	return out, err
}
