package fold_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// books checks all licences, one to a page.
func (k *kit) books(t *testing.T, days int) (out []fold.Books) {
	t.Helper()
	page := usance.Page{Limit: 1}
	for {
		list, next, err := k.a.CheckBooks(t.Context(), page, days)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list...)
		if next == "" {
			return out
		}
		page.Cursor = next
	}
}

// TestBooks: books that are right have no faults, while usage waits to be
// folded and after days were pruned; each figure that is bent is named, and
// nothing else.
func TestBooks(t *testing.T) {
	k := newKit(t)
	k.license(t, "m")
	rate, err := usance.ParseRate("3")
	if err != nil {
		t.Fatal(err)
	}
	priced, err := k.catalog.CreateThreshold(t.Context(), usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly,
		Terms: usance.Terms{LimitQuantity: 10, AllowOverage: true, OverageRateCents: &rate}}, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	hard, err := k.catalog.CreateThreshold(t.Context(), usance.Threshold{LicenseID: "l", UsageType: usance.AllTypes, PeriodType: usance.PeriodTotal,
		Terms: usance.Terms{LimitQuantity: 10_000}}, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	old := k.now.AddDate(0, 0, -60)
	k.send(t, "l", "old", 9, old)
	k.send(t, "l", "a", 60, k.now)
	k.send(t, "m", "a", 20, k.now)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.send(t, "l", "tail", 7, k.now)

	check := func(days int, want ...string) {
		t.Helper()
		list := k.books(t, days)
		if len(list) != 2 || list[0].LicenseID != "l" || list[1].LicenseID != "m" {
			t.Fatalf("books of %+v, want those of l and m", list)
		}
		var got []string
		for _, b := range list {
			for _, f := range b.Faults {
				got = append(got, strings.Join([]string{f.Kind, f.LicenseID, f.Date.String(), f.UsageType, f.ThresholdID, f.Problem}, " "))
			}
			n := 0
			for _, of := range b.Wrong {
				n += of
			}
			if n != len(b.Faults) {
				t.Errorf("%d are wrong, %d named", n, len(b.Faults))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("over %d days\ngot  %q\nwant %q", days, got, want)
		}
	}
	check(0)
	check(30)
	all, month := k.books(t, 0)[0], k.books(t, 30)[0]
	if all.Rows != 6 || all.Events != 69 || month.Rows != 3 || month.Events != 60 || all.Counters != 2 || all.Overages != 1 {
		t.Errorf("compared over all %+v, over a month %+v", all, month)
	}

	bend := func(fn func(tx usance.Tx) error) {
		t.Helper()
		if err := k.store.Update(t.Context(), usance.Locks{}, fn); err != nil {
			t.Fatal(err)
		}
	}
	row := func(licenseID string, at time.Time, change func(*usance.Rollup)) {
		t.Helper()
		bend(func(tx usance.Tx) error {
			rows, err := tx.LockRollups(t.Context(), []usance.RollupKey{{LicenseID: licenseID, Date: usance.DateOf(at, time.UTC), UsageType: "click"}})
			if err == nil {
				change(&rows[0])
				err = tx.PutRollups(t.Context(), rows)
			}
			return err
		})
	}
	row("m", k.now, func(r *usance.Rollup) { r.Quantity += 5 })
	broken := "rollup m 2026-05-01 click  the rollup differs from its raw events by 0 events, 5 units and 0 cents"
	check(30, broken)
	row("m", k.now, func(r *usance.Rollup) { r.Quantity -= 5 })

	row("m", k.now, func(r *usance.Rollup) { r.Breakdown[usance.ByPlatform]["nowhere"] = usance.Tally{Events: 1} })
	check(30, "rollup m 2026-05-01 click  the rollup's breakdown differs from its raw events, though its totals do not")
	row("m", k.now, func(r *usance.Rollup) { delete(r.Breakdown[usance.ByPlatform], "nowhere") })

	// What is older than is looked at is not seen, nor what a total counts of it.
	row("l", old, func(r *usance.Rollup) { r.Events++ })
	check(30)
	check(0, "rollup l 2026-03-02 click  the rollup differs from its raw events by 1 events, 0 units and 0 cents")
	row("l", old, func(r *usance.Rollup) { r.Events-- })

	counter := func(id string, from usance.Date, by int64) {
		t.Helper()
		bend(func(tx usance.Tx) error {
			list, err := tx.LockCounters(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: id, PeriodStart: from}})
			if err == nil {
				list[0].Quantity += by
				err = tx.PutCounters(t.Context(), list)
			}
			return err
		})
	}
	total := k.counters(t, hard.ID)[0]
	counter(hard.ID, total.PeriodStart, 1)
	check(30, "counter l 0001-01-01 all "+hard.ID+" the counter holds 188 units, its period's usage is 187")
	counter(hard.ID, total.PeriodStart, -1)

	may := usance.DateOf(k.now, time.UTC)
	counter(priced.ID, may, 2)
	check(30, "counter l 2026-05-01 view "+priced.ID+" the counter holds 60 units, its period's usage is 58",
		"overage l 2026-05-01 view "+priced.ID+" the overages hold 48 units and charge 144 cents; the counter, at 60 units, comes to 50 units and 150 cents")
	counter(priced.ID, may, -2)

	bend(func(tx usance.Tx) error {
		rows, err := tx.Revisions(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: priced.ID, PeriodStart: may}})
		if err == nil {
			rows[0].CalculatedFeeCents--
			err = tx.PutOverages(t.Context(), rows)
		}
		return err
	})
	check(30, "overage l 2026-05-01 view "+priced.ID+" the overages hold 48 units and charge 143 cents; the counter, at 58 units, comes to 48 units and 144 cents")
	bend(func(tx usance.Tx) error {
		rows, err := tx.Revisions(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: priced.ID, PeriodStart: may}})
		if err == nil {
			rows[0].CalculatedFeeCents++
			err = tx.PutOverages(t.Context(), rows)
		}
		return err
	})
	check(0)

	overage := func(change func(o *usance.Overage)) {
		t.Helper()
		bend(func(tx usance.Tx) error {
			rows, err := tx.Revisions(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: priced.ID, PeriodStart: may}})
			if err == nil {
				change(&rows[0])
				err = tx.PutOverages(t.Context(), rows)
			}
			return err
		})
	}
	var kept usance.Overage
	overage(func(o *usance.Overage) { kept = *o })
	other, err := usance.ParseRate("7")
	if err != nil {
		t.Fatal(err)
	}
	for problem, change := range map[string]func(o *usance.Overage){
		"(JUNK) is in a state that there is not":                                                                        func(o *usance.Overage) { o.Status = "JUNK" },
		"(APPROVED) is settled, though its period goes on until 2026-06-01T00:00:00Z":                                   func(o *usance.Overage) { o.Status = usance.OverageApproved },
		"(DETECTED) goes up for approval on 2028-11-18T00:00:00Z, which is due on 2026-07-02T00:00:00Z at the latest":   func(o *usance.Overage) { o.SettleAt = time.Date(2028, 11, 18, 0, 0, 0, 0, time.UTC) },
		"(DETECTED) goes up for approval on 2026-05-20T00:00:00Z, which is due on 2026-06-01T00:00:00Z at the earliest": func(o *usance.Overage) { o.SettleAt = time.Date(2026, 5, 20, 0, 0, 0, 0, time.UTC) },
		"(DETECTED) was approved on 1970-01-01T00:00:00Z":                                                               func(o *usance.Overage) { at := time.Unix(0, 0); o.ApprovedAt = &at },
		"(DETECTED) was settled on 1970-01-01T00:00:00Z":                                                                func(o *usance.Overage) { at := time.Unix(0, 0); o.SettledAt = &at },
		"(DETECTED) is of usage type \"click\", its threshold is of \"view\"":                                           func(o *usance.Overage) { o.UsageType = "click" },
		"(DETECTED) is in XXX, its licence is in USD":                                                                   func(o *usance.Overage) { o.Currency = "XXX" },
		"(DETECTED) has another limit, grace or price than its counter is judged by":                                    func(o *usance.Overage) { o.OverageRateCents = &other },
		"(DETECTED) says that its period is from 2026-05-01T00:00:00Z to 2026-06-09T00:00:00Z, by the licence's calendar it is from 2026-05-01T00:00:00Z to 2026-06-01T00:00:00Z": func(o *usance.Overage) { o.PeriodEnd = o.PeriodEnd.AddDate(0, 0, 8) },
	} {
		overage(change)
		check(30, "overage l 2026-05-01 view "+priced.ID+" revision 1 "+problem)
		overage(func(o *usance.Overage) { *o = kept })
	}
	check(0)

	terms := func(of *usance.Terms) {
		t.Helper()
		bend(func(tx usance.Tx) error {
			list, err := tx.LockCounters(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: hard.ID, PeriodStart: total.PeriodStart}})
			if err == nil {
				list[0].Terms = of
				err = tx.PutCounters(t.Context(), list)
			}
			return err
		})
	}
	terms(&usance.Terms{})
	check(30, "counter l 0001-01-01 all "+hard.ID+" the counter holds terms that no threshold can have: a limit of 0 units and a grace of 0 percent")
	terms(nil)

	// Pruned days are not compared, and said to be so.
	k.now = k.now.AddDate(0, 0, 40)
	if _, err := k.a.Retain(t.Context(), 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	check(0)
	if b := k.books(t, 0)[0]; b.Sealed != 2 || b.Events != 0 {
		t.Errorf("after pruning %+v, want 2 sealed days and no events", b)
	}
}

// However many rollups are wrong, no other figure that is goes uncounted.
func TestBooksCountWhatTheyDoNotName(t *testing.T) {
	k := newKit(t)
	limit, err := k.catalog.CreateThreshold(t.Context(), usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodTotal,
		Terms: usance.Terms{LimitQuantity: 10_000}}, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	from, to := k.days(t, "l", 130, 1)
	for day := from; day < to; day++ {
		k.spoil(t, "l", day)
	}
	err = k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		list, err := tx.LockCounters(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: limit.ID, PeriodStart: usance.MinDate}})
		if err == nil {
			list[0].Quantity++
			err = tx.PutCounters(t.Context(), list)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b := k.books(t, 0)[0]
	if b.Wrong[fold.WrongRollup] != 130 || b.Wrong[fold.WrongCounter] != 1 || len(b.Faults) != 101 || b.Faults[100].Kind != fold.WrongCounter {
		t.Errorf("%v are wrong, %d are named", b.Wrong, len(b.Faults))
	}
}
