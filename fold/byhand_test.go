package fold_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// TestBooksNoticeWhatWasDoneByHand: counters and overages that somebody changed
// in the database are named, each with what to do, and what a recalculation can
// put right it does.
func TestBooksNoticeWhatWasDoneByHand(t *testing.T) {
	k := newKit(t)
	rate, err := usance.ParseRate("3")
	if err != nil {
		t.Fatal(err)
	}
	create := func(usageType string, period usance.PeriodType, terms usance.Terms) usance.Threshold {
		t.Helper()
		th, err := k.catalog.CreateThreshold(t.Context(), usance.Threshold{LicenseID: "l", UsageType: usageType, PeriodType: period, Terms: terms}, "test", false)
		if err != nil {
			t.Fatal(err)
		}
		return th
	}
	priced := create("view", usance.PeriodMonthly, usance.Terms{LimitQuantity: 10, AllowOverage: true, OverageRateCents: &rate})
	total := create(usance.AllTypes, usance.PeriodTotal, usance.Terms{LimitQuantity: 10_000})
	retired := create("click", usance.PeriodWeekly, usance.Terms{LimitQuantity: 10_000})
	k.send(t, "l", "a", 60, k.now)
	if _, err := k.catalog.RetireThreshold(t.Context(), retired.ID, "test", false); err != nil {
		t.Fatal(err)
	}
	today := usance.DateOf(k.now, time.UTC)

	faults := func() (out []string) {
		t.Helper()
		for _, f := range k.books(t, 30)[0].Faults {
			if f.Fix == "" {
				t.Errorf("what to do about %+v is not said", f)
			}
			out = append(out, strings.Join([]string{f.Kind, f.LicenseID, f.ThresholdID, string(f.PeriodType), f.Date.String(), f.Problem}, " "))
		}
		return out
	}
	check := func(what string, want ...string) {
		t.Helper()
		if got := faults(); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", what, got, want)
		}
	}
	update := func(fn func(tx usance.Tx) error) {
		t.Helper()
		if err := k.store.Update(t.Context(), usance.Locks{}, fn); err != nil {
			t.Fatal(err)
		}
	}
	counter := func(id string, change func(*usance.Counter)) {
		t.Helper()
		update(func(tx usance.Tx) error {
			rows, err := tx.CountersOf(t.Context(), "l", id)
			if err == nil {
				change(&rows[0])
				err = tx.PutCounters(t.Context(), rows)
			}
			return err
		})
	}
	overage := func(change func(*usance.Overage)) {
		t.Helper()
		update(func(tx usance.Tx) error {
			rows, err := tx.Revisions(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: priced.ID, PeriodStart: today}})
			if err == nil {
				change(&rows[0])
				err = tx.PutOverages(t.Context(), rows)
			}
			return err
		})
	}
	check("nothing")

	monthly, weekly := priced.ID+" monthly 2026-05-01 ", retired.ID+" weekly 2026-04-27 "
	before := [][]usance.Counter{k.counters(t, priced.ID), k.counters(t, total.ID), k.counters(t, retired.ID)}
	for _, c := range []struct {
		what string
		bend func()
		want string
	}{
		{"closed", func() {
			terms := priced.Terms
			counter(priced.ID, func(c *usance.Counter) { c.State, c.Terms = usance.CounterClosed, &terms })
		}, "counter l " + monthly + "the counter is closed before its time, which comes on 2026-06-02T00:00:00Z: it must be open until then, or USANCE_LATE_GRACE was raised since"},
		{"frozen", func() { counter(priced.ID, func(c *usance.Counter) { c.State = usance.CounterFrozen }) },
			"counter l " + monthly + "the counter is frozen and counts nothing, though its threshold is in force: it must be open"},
		{"lengthened", func() { counter(priced.ID, func(c *usance.Counter) { c.PeriodEnd += 400 }) },
			"counter l " + monthly + "the counter's period ends before 2027-07-06, by the licence's calendar it ends before 2026-06-01"},
		{"shortened to nothing", func() { counter(priced.ID, func(c *usance.Counter) { c.PeriodEnd = usance.MinDate }) },
			"counter l " + monthly + "the counter's period ends before 0001-01-01, by the licence's calendar it ends before 2026-06-01"},
		{"a total that ends", func() { counter(total.ID, func(c *usance.Counter) { c.PeriodEnd = today }) },
			"counter l " + total.ID + " total 0001-01-01 the counter's period ends before 2026-05-01, by the licence's calendar it ends before 9999-12-31"},
		{"thawed", func() { counter(retired.ID, func(c *usance.Counter) { c.State = usance.CounterOpen }) },
			"counter l " + weekly + "the counter is open and counts, though its threshold was retired in the period: it must be frozen"},
		{"final", func() { counter(retired.ID, func(c *usance.Counter) { c.State = usance.CounterFinal }) },
			"counter l " + weekly + "the counter is final before its time, which comes on 2026-05-05T00:00:00Z: it must be frozen until then, or USANCE_LATE_GRACE was raised since"},
		{"another usage", func() { overage(func(o *usance.Overage) { o.ActualQuantity++ }) },
			"overage l " + monthly + "revision 1 (DETECTED) says that 51 units were used, its limit and what was charged until then come to 50 units"},
		{"another limit", func() { overage(func(o *usance.Overage) { o.LimitQuantity-- }) },
			"overage l " + monthly + "revision 1 (DETECTED) says that 50 units were used, its limit and what was charged until then come to 49 units"},
	} {
		c.bend()
		check(c.what, c.want)
		if _, err := k.a.Recalculate(t.Context(), "l", today, today+1, "test"); err != nil {
			t.Fatal(err)
		}
		check(c.what + ", recalculated")
		after := [][]usance.Counter{k.counters(t, priced.ID), k.counters(t, total.ID), k.counters(t, retired.ID)}
		if diff := gocmp.Diff(before, after); diff != "" {
			t.Errorf("%s: the counters are not as they were:\n%s", c.what, diff)
		}
	}

	// A settled row is not rewritten: it is put back by hand.
	overage(func(o *usance.Overage) { o.Status, o.ActualQuantity = usance.OveragePendingApproval, 40 })
	if _, err := k.a.Recalculate(t.Context(), "l", today, today+1, "test"); err != nil {
		t.Fatal(err)
	}
	check("a settled row", "overage l "+monthly+"revision 1 (PENDING_APPROVAL) says that 40 units were used, its limit and what was charged until then come to 50 units")
	if fix := k.books(t, 30)[0].Faults[0].Fix; !strings.Contains(fix, "by hand") {
		t.Errorf("of a settled row it is said: %s", fix)
	}
	overage(func(o *usance.Overage) { o.ActualQuantity = 50 })
	check("a row settled by hand", "overage l "+monthly+"revision 1 (PENDING_APPROVAL) is settled, though its period goes on until 2026-06-01T00:00:00Z")
	overage(func(o *usance.Overage) { o.Status = usance.OverageDetected })
	check("a row that was put back")

	// Rows that belong to nothing.
	update(func(tx usance.Tx) error {
		rows, err := tx.Revisions(t.Context(), []usance.CounterKey{{LicenseID: "l", ThresholdID: priced.ID, PeriodStart: today}})
		if err != nil {
			return err
		}
		gone, lost := rows[0], rows[0]
		gone.ID, gone.ThresholdID = usance.NewID(k.now), "gone"
		lost.ID, lost.PeriodDate = usance.NewID(k.now), usance.MakeDate(2020, time.January, 1)
		if err := tx.PutOverages(t.Context(), []usance.Overage{gone, lost}); err != nil {
			return err
		}
		return tx.EnsureCounters(t.Context(), []usance.Counter{{
			CounterKey: usance.CounterKey{LicenseID: "l", ThresholdID: total.ID, PeriodStart: today}, PeriodEnd: usance.MaxDate, State: usance.CounterOpen,
		}})
	})
	got, want := faults(), []string{
		"overage l gone  2026-05-01 revision 1 (DETECTED, 40 units, 120 cents) is of a threshold that does not exist",
		"overage l " + priced.ID + " monthly 2020-01-01 revision 1 (DETECTED, 40 units, 120 cents) is of a period that has no counter",
		"counter l " + total.ID + " total 2026-05-01 the counter's period begins on 2026-05-01, by the licence's calendar it begins on 0001-01-01",
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("rows that belong to nothing: %q lacks %q", got, w)
		}
	}
}

// bent is a store beside whose sketches other numbers are kept.
type bent struct{ usance.Store }

func (s bent) View(ctx context.Context, fn func(usance.View) error) error {
	return s.Store.View(ctx, func(v usance.View) error { return fn(bentView{v}) })
}

type bentView struct{ usance.View }

func (v bentView) UniqueSessions(ctx context.Context, licenseID string, from, to usance.Date) (map[usance.Date]int64, error) {
	out, err := v.View.UniqueSessions(ctx, licenseID, from, to)
	for d := range out {
		out[d] += 5
	}
	return out, err
}

// TestBooksNoticeUniqueSessions: the number that SQL reads is the sketch's.
func TestBooksNoticeUniqueSessions(t *testing.T) {
	k := newKit(t)
	k.send(t, "l", "a", 30, k.now)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b := k.books(t, 0)[0]; len(b.Wrong) != 0 {
		t.Fatalf("%+v", b)
	}
	f := fold.New(bent{k.store}, fold.Options{Now: func() time.Time { return k.now }})
	list, _, err := f.CheckBooks(t.Context(), usance.Page{Limit: 10}, 30)
	if err != nil {
		t.Fatal(err)
	}
	want := []fold.Discrepancy{{Kind: fold.WrongSessions, LicenseID: "l", Date: usance.DateOf(k.now, time.UTC),
		Problem: "the day's unique_sessions is 16, its sketch comes to 11",
		Fix:     `recalculate the day: POST /v1/recalculate with licenseId "l", startDate and endDate 2026-05-01`}}
	if !slices.Equal(list[0].Faults, want) {
		t.Errorf("got %+v, want %+v", list[0].Faults, want)
	}
}
