package query

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// fixture is a store with one licence, lic_1, and a frozen clock.
type fixture struct {
	*Query
	t     testing.TB
	ctx   context.Context
	store *sqlite.Store
	zone  *time.Location

	mu    sync.Mutex
	clock time.Time
	made  int
}

const licenseID = "lic_1"

func newFixture(t testing.TB, zone, now string, ttl time.Duration) *fixture {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "usance.db"), sqlite.Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{t: t, ctx: t.Context(), store: store}
	f.setClock(now)
	f.Query = New(store, Options{Now: f.now, TTL: ttl})
	if f.zone, err = usance.ParseZone(zone); err != nil {
		t.Fatal(err)
	}
	f.update(func(tx usance.Tx) error {
		l := usance.NewLicense(licenseID)
		l.BrandID, l.AssetID, l.Status, l.Timezone = "brand_1", "asset_1", usance.LicenseActive, zone
		l.CreatedAt, l.UpdatedAt = f.now(), f.now()
		return tx.PutLicense(f.ctx, l)
	})
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func (f *fixture) setClock(at string) { f.setTime(instant(f.t, at)) }

func (f *fixture) setTime(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = at
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func (f *fixture) update(fn func(usance.Tx) error) {
	f.t.Helper()
	if err := f.store.Update(f.ctx, usance.Locks{}, fn); err != nil {
		f.t.Fatal(err)
	}
}

// event makes an event of the licence with what ingest sets.
func (f *fixture) event(at, usageType string, quantity, cents int64, more ...func(*usance.Event)) usance.Event {
	f.t.Helper()
	f.made++
	e := usance.Event{LicenseID: licenseID, UsageType: usageType, Quantity: quantity, RevenueCents: cents, OccurredAt: instant(f.t, at)}
	for _, fn := range more {
		fn(&e)
	}
	e.IdempotencyKey = fmt.Sprintf("k%d", f.made)
	return f.stamp(e)
}

func (f *fixture) stamp(e usance.Event) usance.Event {
	e.ID = usance.NewID(e.OccurredAt)
	e.ReceivedAt = f.now()
	e.LocalDate, e.HourSlot = usance.DateOf(e.OccurredAt, f.zone), usance.HourSlot(e.OccurredAt, f.zone)
	e.HashPayload()
	return e
}

// track records events as one batch, which stays pending.
func (f *fixture) track(events ...usance.Event) {
	f.t.Helper()
	f.update(func(tx usance.Tx) error {
		return tx.AddEvents(f.ctx, []usance.Batch{{ID: usance.NewID(f.now()), At: f.now(), Events: events}})
	})
}

// fold folds all that is pending, by the contract's steps.
func (f *fixture) fold() {
	f.t.Helper()
	f.update(func(tx usance.Tx) error {
		pending, err := tx.Pending(f.ctx, f.now().Add(time.Hour), 1000)
		if err != nil {
			return err
		}
		ids, err := tx.TakePending(f.ctx, pending)
		if err != nil {
			return err
		}
		rows := make(map[usance.RollupKey]*usance.Rollup)
		days := make(map[usance.Day]*usance.Sessions)
		err = tx.BatchEvents(f.ctx, ids, func(e *usance.Event) error {
			key := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
			if rows[key] == nil {
				rows[key] = &usance.Rollup{RollupKey: key}
			}
			rows[key].Add(e)
			day := usance.Day{LicenseID: e.LicenseID, Date: e.LocalDate}
			if days[day] == nil {
				days[day] = new(usance.Sessions)
			}
			days[day].Add(e.SessionHash)
			return nil
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		keys := slices.SortedFunc(maps.Keys(rows), usance.RollupKey.Compare)
		if err := tx.EnsureRollups(f.ctx, keys); err != nil {
			return err
		}
		stored, err := tx.LockRollups(f.ctx, keys)
		if err != nil {
			return err
		}
		for i := range stored {
			stored[i].Merge(rows[stored[i].RollupKey])
		}
		if err := tx.PutRollups(f.ctx, stored); err != nil {
			return err
		}
		var sketches []usance.DaySketch
		for d, s := range days {
			sketches = append(sketches, usance.DaySketch{Day: d, Sessions: *s})
		}
		slices.SortFunc(sketches, func(a, b usance.DaySketch) int { return int(a.Date) - int(b.Date) })
		if err := tx.MergeSessions(f.ctx, sketches); err != nil {
			return err
		}
		return tx.RenewVersions(f.ctx, []string{licenseID})
	})
}

func (f *fixture) analytics(req AnalyticsRequest) Analytics {
	f.t.Helper()
	req.LicenseID = licenseID
	a, err := f.Analytics(f.ctx, req)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// lookups gives hits and misses of the cache so far, from the metrics.
func (f *fixture) lookups() (hits, misses int) {
	return int(testutil.ToFloat64(f.metrics.hits)), int(testutil.ToFloat64(f.metrics.misses))
}

func session(hash uint64) func(*usance.Event) {
	// Spread, as keyed hashes are.
	return func(e *usance.Event) { e.SessionHash = hash * 0x9e3779b97f4a7c15 }
}

func platform(p string) func(*usance.Event) { return func(e *usance.Event) { e.Platform = p } }

func referrer(r string) func(*usance.Event) { return func(e *usance.Event) { e.Referrer = r } }

func mustDate(t testing.TB, s string) usance.Date {
	t.Helper()
	d, err := usance.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
