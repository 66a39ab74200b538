package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// Who counts locks counters in the order of their keys, however few rows the
// planner thinks that there are and in whatever order they lie: two transactions
// that share some can wait for each other in one direction only. So one that waits
// for the counter in the middle has all before it and none after.
func TestCountersAreLockedInKeyOrder(t *testing.T) {
	t.Parallel()
	for _, analyzed := range []bool{false, true} {
		t.Run(fmt.Sprintf("analyzed %t", analyzed), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			url := pgtest.URL(t)
			s, holder, looker := open(t, url), raw(t, url), raw(t, url)
			var licenses []string
			var deltas []usance.CounterDelta
			for l := range 4 {
				licenses = append(licenses, fmt.Sprint("l", l))
				for h := range 6 {
					deltas = append(deltas, usance.CounterDelta{CounterKey: usance.CounterKey{LicenseID: licenses[l], ThresholdID: fmt.Sprint("t", h), PeriodStart: today}, Quantity: 1})
				}
			}
			must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
				for _, d := range slices.Backward(deltas) { // as they come to lie in the table, with those of former periods
					for past := range usance.Date(8) {
						c := usance.Counter{CounterKey: d.CounterKey, State: usance.CounterOpen}
						c.PeriodStart -= past
						c.PeriodEnd = c.PeriodStart + 1
						if err := tx.EnsureCounters(ctx, []usance.Counter{c}); err != nil {
							return err
						}
					}
				}
				return nil
			}))
			if analyzed {
				_, err := holder.Exec(ctx, `ANALYZE license_usage_counters`)
				must(t, err)
			}
			middle := deltas[len(deltas)/2].CounterKey
			held, err := holder.Begin(ctx)
			must(t, err)
			_, err = held.Exec(ctx, `SELECT FROM license_usage_counters WHERE license_id = $1 AND threshold_id = $2 AND period_start = $3 FOR UPDATE`,
				middle.LicenseID, middle.ThresholdID, middle.PeriodStart.String())
			must(t, err)
			done := make(chan error, 1)
			go func() {
				done <- s.Update(ctx, usance.Locks{Shared: licenses}, func(tx usance.Tx) error {
					_, err := tx.AddToCounters(ctx, deltas)
					return err
				})
			}()
			for waits := false; !waits; {
				must(t, looker.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity
					WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%license_usage_counters%')`).Scan(&waits))
			}
			rows, err := looker.Query(ctx, `SELECT license_id, threshold_id FROM license_usage_counters WHERE period_start = $1 FOR UPDATE SKIP LOCKED`, today.String())
			must(t, err)
			free := make(map[usance.CounterKey]bool)
			for rows.Next() {
				key := usance.CounterKey{PeriodStart: today}
				must(t, rows.Scan(&key.LicenseID, &key.ThresholdID))
				free[key] = true
			}
			must(t, rows.Err())
			for _, d := range deltas {
				if got, want := free[d.CounterKey], d.CounterKey.Compare(middle) > 0; got != want {
					t.Errorf("counters are not locked in the order of their keys: waiting for %s %s, %s %s is free: %t",
						middle.LicenseID, middle.ThresholdID, d.LicenseID, d.ThresholdID, got)
				}
			}
			must(t, held.Rollback(ctx))
			must(t, <-done)
		})
	}
}
