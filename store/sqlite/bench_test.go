package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// Events a second, durable, as ingest writes them.
func BenchmarkAddEvents(b *testing.B) {
	for _, size := range []int{1000, 4000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "b.db"), sqlite.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			rng := rand.New(rand.NewPCG(1, 2))
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			n := 0
			events := make([]usance.Event, size)
			for b.Loop() {
				for i := range events {
					n++
					at := now.Add(time.Duration(n) * 50 * time.Microsecond)
					events[i] = usance.Event{
						ID: usance.NewID(at), LicenseID: fmt.Sprintf("lic_%05d", rng.IntN(10_000)), UsageType: "view", Quantity: 1,
						OccurredAt: at, ReceivedAt: at, LocalDate: 20513, HourSlot: 12, SessionHash: rng.Uint64(),
						Platform: "web", DeviceType: "desktop", GeographicLocation: "DE", Referrer: "https://example.com/page/1",
						IdempotencyKey: fmt.Sprintf("%016x", rng.Uint64()),
					}
				}
				err := s.Update(b.Context(), usance.Locks{}, func(tx usance.Tx) error {
					return tx.AddEvents(b.Context(), events[0].ID, now, events)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func fullRollup(k usance.RollupKey) usance.Rollup {
	r := usance.Rollup{RollupKey: k, Breakdown: usance.Breakdown{}}
	t := usance.Tally{Events: 1234, Quantity: 5678, RevenueCents: 91011}
	for d, n := range map[usance.Dimension]int{usance.ByHour: 24, usance.ByPlatform: 6, usance.ByDevice: 5, usance.ByGeo: 60, usance.BySource: 200} {
		r.Breakdown[d] = make(map[string]usance.Tally)
		for i := range n {
			r.Breakdown[d][fmt.Sprintf("value-%d.example.com", i)] = t
		}
	}
	r.Tally = usance.Tally{Events: 1234 * 24, Quantity: 5678 * 24, RevenueCents: 91011 * 24}
	return r
}

// A year of three types, with full breakdowns.
func BenchmarkRollups(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "b.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var keys []usance.RollupKey
	var rows []usance.Rollup
	for day := range usance.Date(365) {
		for _, t := range []string{"click", "download", "view"} {
			keys = append(keys, usance.RollupKey{LicenseID: "lic_1", Date: day, UsageType: t})
			rows = append(rows, fullRollup(keys[len(keys)-1]))
		}
	}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			err := s.Update(b.Context(), usance.Locks{}, func(tx usance.Tx) error {
				if err := tx.EnsureRollups(b.Context(), keys); err != nil {
					return err
				}
				if _, err := tx.LockRollups(b.Context(), keys); err != nil {
					return err
				}
				return tx.PutRollups(b.Context(), rows)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(rows)*b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			err := s.View(b.Context(), func(v usance.View) error {
				return v.Rollups(b.Context(), "lic_1", 0, 365, nil, func(*usance.Rollup) error { return nil })
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a retried request costs: the careful way looks up each of its keys.
func BenchmarkEventsByKey(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "b.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := events("lic_1", 1000)
	refs := make([]usance.EventRef, len(batch))
	for i := range batch {
		refs[i] = usance.EventRef{LicenseID: "lic_1", IdempotencyKey: batch[i].IdempotencyKey}
	}
	err = s.Update(b.Context(), usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(b.Context(), usance.NewID(clock), clock, batch)
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		err := s.View(b.Context(), func(v usance.View) error {
			found, err := v.EventsByKey(b.Context(), refs)
			if len(found) != len(refs) {
				b.Fatalf("%d of %d found", len(found), len(refs))
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
