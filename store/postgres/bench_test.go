package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// Events a second as ingest writes them, in batches of 1,000 on four
// connections over 10,000 licences: with what they are judged by and a counter
// for each licence, without, and without some of the indexes.
func BenchmarkIngest(b *testing.B) {
	b.Run("key alone", func(b *testing.B) { benchmarkIngest(b, false, "day", "batch", "id", "void") })
	for _, index := range []string{"day", "batch", "id", "void"} {
		b.Run("without "+index, func(b *testing.B) { benchmarkIngest(b, false, index) })
	}
	b.Run("events", func(b *testing.B) { benchmarkIngest(b, false) })
	b.Run("events and counters", func(b *testing.B) { benchmarkIngest(b, true) })
}

// benchmarkIngest does without the indexes of events named.
func benchmarkIngest(b *testing.B, counters bool, without ...string) {
	const size, connections, licenses = 1000, 4, 10_000
	ctx := b.Context()
	url := pgtest.URL(b)
	for _, index := range without {
		if _, err := raw(b, url).Exec(ctx, "DROP INDEX license_usage_events_"+index); err != nil {
			b.Fatal(err)
		}
	}
	s := open(b, url)
	name := func(n int) string { return fmt.Sprintf("lic_%05d", n) }
	key := func(id string) usance.CounterKey {
		return usance.CounterKey{LicenseID: id, ThresholdID: "t-" + id, PeriodStart: today}
	}
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		var all []usance.Counter
		for n := range licenses {
			l := usance.NewLicense(name(n))
			l.BrandID, l.AssetID, l.Status, l.CreatedAt, l.UpdatedAt = "b", "a", usance.LicenseActive, clock, clock
			if err := tx.PutLicense(ctx, l); err != nil {
				return err
			}
			h := usance.Threshold{ID: key(l.ID).ThresholdID, LicenseID: l.ID, UsageType: "view", PeriodType: usance.PeriodMonthly,
				Terms: usance.Terms{LimitQuantity: usance.MaxTotal}, IsActive: true, EffectiveFrom: today, CreatedAt: clock, UpdatedAt: clock}
			if err := tx.PutThreshold(ctx, h); err != nil {
				return err
			}
			all = append(all, usance.Counter{CounterKey: key(l.ID), PeriodEnd: today + 30, State: usance.CounterOpen})
		}
		return tx.EnsureCounters(ctx, all)
	})
	if err != nil {
		b.Fatal(err)
	}
	var made, next atomic.Int64
	round := func(rng *rand.Rand) error {
		events := make([]usance.Event, size)
		deltas := make(map[string]int64)
		for i := range events {
			at := clock.Add(time.Duration(made.Add(1)) * 50 * time.Microsecond)
			id := name(rng.IntN(licenses))
			events[i] = usance.Event{
				ID: usance.NewID(at), LicenseID: id, UsageType: "view", Quantity: 1, OccurredAt: at, ReceivedAt: at, LocalDate: today, HourSlot: 12,
				SessionHash: rng.Uint64(), Platform: "web", DeviceType: "desktop", GeographicLocation: "DE", Referrer: "https://example.com/page/1",
				IdempotencyKey: fmt.Sprintf("%016x", rng.Uint64()),
			}
			deltas[id]++
		}
		var ids []string
		for id := range deltas {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return s.Update(ctx, usance.Locks{Shared: ids}, func(tx usance.Tx) error {
			if counters {
				if _, err := tx.Facts(ctx, ids); err != nil {
					return err
				}
			}
			if err := tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(events[size-1].ReceivedAt), At: events[size-1].ReceivedAt, Events: events}}); err != nil {
				return err
			}
			if !counters {
				return nil
			}
			moved := make([]usance.CounterDelta, len(ids))
			for i, id := range ids {
				moved[i] = usance.CounterDelta{CounterKey: key(id), Quantity: deltas[id]}
			}
			after, err := tx.AddToCounters(ctx, moved)
			if err == nil && len(after) != len(ids) {
				err = fmt.Errorf("%d of %d counters moved", len(after), len(ids))
			}
			return err
		})
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 2))
			for next.Add(1) <= int64(b.N) {
				if err := round(rng); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
}
