package ingest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
)

// A correction that a limit refuses leaves the total as it was, and no record of
// a void.
func TestRefusedCorrectionLeavesNoTrace(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodTotal, Terms: usance.Terms{LimitQuantity: 60}})
	for _, c := range []struct {
		quantity, used int64
		audited        int
	}{{50, 50, 0}, {70, 50, 0}, {60, 60, 1}} {
		total := usance.DailyTotal{LicenseID: "l", Date: usance.DateOf(at, time.UTC), UsageType: "view", Quantity: c.quantity, Source: "test", Line: 1}
		if _, err := k.in.Totals(t.Context(), []usance.DailyTotal{total}, "test"); err != nil {
			t.Fatal(err)
		}
		var voids int
		err := k.store.View(t.Context(), func(v usance.View) error {
			list, _, err := v.Audit(t.Context(), usance.AuditFilter{LicenseID: "l"}, usance.Page{Limit: 100})
			for _, e := range list {
				if e.Action == "event.void" {
					voids++
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, used := k.used(t, "l"); used != c.used || voids != c.audited {
			t.Errorf("after a total of %d: %d used and %d voids on record, want %d and %d", c.quantity, used, voids, c.used, c.audited)
		}
	}
}

// Totals of one day in one request come to what they come to one by one.
func TestTotalsOfADay(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	k.license(t, "m")
	day := usance.DateOf(at, time.UTC)
	for _, quantities := range [][]int64{{4}, {0, 4}, {4, 0}, {6, 4}, {4, 5, 0}, {5, 6, 5, 6, 7}, {0, 0}, {5, 5}} {
		day--
		total := func(license string, quantity int64) usance.DailyTotal {
			return usance.DailyTotal{LicenseID: license, Date: day, UsageType: "view", Quantity: quantity}
		}
		send := func(totals ...usance.DailyTotal) (out []string) {
			results, err := k.in.Totals(t.Context(), totals, "test")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				out = append(out, fmt.Sprint(r.Status, r.Duplicate, r.Revision, r.VoidedEvent.IsZero()))
			}
			return out
		}
		send(total("l", 4), total("m", 4))
		var together []usance.DailyTotal
		var apart []string
		for _, q := range quantities {
			together = append(together, total("l", q))
			apart = append(apart, send(total("m", q))...)
		}
		if got := send(together...); !slices.Equal(got, apart) {
			t.Errorf("%v: together %q, one by one %q", quantities, got, apart)
		}
		_, l := k.used(t, "l")
		if _, m := k.used(t, "m"); l != m {
			t.Errorf("up to %v: %d used together, %d one by one", quantities, l, m)
		}
	}
}
