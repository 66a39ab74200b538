package watch

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/usance/usance"
)

// held makes a licence whose hard limit of October is full, but for less than an
// event takes, since the day named: before it 240 units a day came, in 24 events.
func (f *fixture) held(id string, since usance.Date) (limit int64) {
	f.t.Helper()
	hour := func(usance.Date, int) int64 { return 10 }
	tens := func(r *usance.Rollup) { // an event each ten units
		r.Events = r.Quantity / 10
	}
	f.license(id)
	f.rows(id, "view", day("2024-07-01"), since, hour, tens)
	used := 240 * int64(since-day("2024-10-01"))
	limit = used + 9
	f.threshold("t-"+id, id, limit, func(h *usance.Threshold) { h.AllowOverage, h.GracePercentage = false, 0 })
	f.update(func(ctx context.Context, tx usance.Tx) error {
		return tx.EnsureCounters(ctx, []usance.Counter{{
			CounterKey: usance.CounterKey{LicenseID: id, ThresholdID: "t-" + id, PeriodStart: day("2024-10-01")},
			PeriodEnd:  day("2024-11-01"), Quantity: used, State: usance.CounterOpen,
		}})
	})
	return limit
}

// A forecast says what would be used; where a hard limit let nothing more in, it
// is not blamed for what could not come.
func TestAHeldPeriodIsScoredAsOne(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.use("l", "view", day("2024-07-01"), day("2024-10-08"), func(usance.Date) int64 { return 240 })
	f.threshold("free", "l", 3000)
	f.threshold("hard", "l", 3000, func(h *usance.Threshold) { h.AllowOverage, h.GracePercentage = false, 0 })
	f.generate(2)
	// It is full at 2997: an event takes five or so.
	f.use("l", "view", day("2024-10-08"), day("2024-10-20"), func(usance.Date) int64 { return 100 })
	f.use("l", "view", day("2024-10-20"), day("2024-10-21"), func(usance.Date) int64 { return 117 })
	f.update(func(ctx context.Context, tx usance.Tx) error {
		return tx.EnsureCounters(ctx, []usance.Counter{{
			CounterKey: usance.CounterKey{LicenseID: "l", ThresholdID: "hard", PeriodStart: day("2024-10-01")},
			PeriodEnd:  day("2024-11-01"), Quantity: 2997, State: usance.CounterOpen,
		}})
	})
	f.now = f.now.AddDate(0, 1, 0)
	if n, err := f.Score(t.Context()); n != 2 || err != nil {
		t.Fatalf("%d scored, %v", n, err)
	}
	for _, k := range f.forecasts(usance.ForecastFilter{LicenseID: "l"}) {
		s := k.Score
		if s.ActualQuantity != 2997 {
			t.Errorf("%s: %+v", k.ThresholdID, s)
		}
		if hard := k.ThresholdID == "hard"; *s.Breached != hard || s.Covered != hard || (s.AbsoluteError == 0) != hard || (*s.BrierScore < 0.1) != hard {
			t.Errorf("%s, forecast %d of %d: %+v", k.ThresholdID, k.PredictedQuantity, k.LimitQuantity, s)
		}
	}
}

// That a full limit lets nothing in has alerts of its own: it is no drop, no flat
// line, and no limit that will be passed.
func TestAHeldLicenceRaisesNoFurtherAlerts(t *testing.T) {
	f := newFixture(t)
	f.held("l", day("2024-10-06"))
	// The same without a limit is told.
	f.license("m")
	f.rows("m", "view", day("2024-07-01"), day("2024-10-06"), func(usance.Date, int) int64 { return 10 })
	if n, err := f.Detect(t.Context()); err != nil || n == 0 {
		t.Errorf("%d alerts, %v", n, err)
	}
	if got := f.alerts("l"); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	if got := f.alerts("m"); len(got) == 0 {
		t.Error("nothing is told of a licence that is not used any more")
	}
	f.generate(1)
	if n, err := f.Warn(t.Context()); err != nil || n != 0 {
		t.Errorf("%d warnings, %v", n, err)
	}
}

// A limit that was retired holds nothing from the next day on, whatever was left of
// its period: that nothing comes any more is told, and days without use are zeros.
func TestARetiredLimitHoldsNothing(t *testing.T) {
	f := newFixture(t)
	limit := f.held("l", day("2024-10-04"))
	if n, err := f.Detect(t.Context()); err != nil || n != 0 {
		t.Errorf("%d alerts while the limit held, %v", n, err)
	}
	f.threshold("t-l", "l", limit, func(h *usance.Threshold) {
		at := day("2024-10-05").Start(time.UTC).Add(12 * time.Hour)
		h.AllowOverage, h.GracePercentage, h.IsActive, h.RetiredAt = false, 0, false, &at
	})
	if n, err := f.Detect(t.Context()); err != nil || n == 0 {
		t.Errorf("%d alerts, %v", n, err)
	}
	err := f.store.View(t.Context(), func(v usance.View) error {
		facts, err := v.Facts(t.Context(), []string{"l"})
		if err != nil {
			return err
		}
		u, err := readUsage(t.Context(), v, facts[0].License, f.now, usance.MaxDate, facts[0].Thresholds)
		if err != nil {
			return err
		}
		days, _, _ := u.series("view")
		for d := day("2024-10-03"); d < day("2024-10-08"); d++ {
			want := d == day("2024-10-04") || d == day("2024-10-05")
			if got := days[d-u.first]; math.IsNaN(got) != want {
				t.Errorf("%s: %v", d, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// What a period was held to, its counter says: the threshold may have changed since.
func TestAPeriodIsHeldToItsOwnTerms(t *testing.T) {
	f := newFixture(t)
	hard := func(h *usance.Threshold) { h.AllowOverage, h.GracePercentage = false, 0 }
	f.license("l")
	f.use("l", "view", day("2024-07-01"), day("2024-10-08"), func(usance.Date) int64 { return 240 })
	f.threshold("was", "l", 3000, hard)
	f.threshold("is", "l", 3000)
	f.generate(2)
	f.use("l", "view", day("2024-10-08"), day("2024-10-20"), func(usance.Date) int64 { return 100 })
	f.use("l", "view", day("2024-10-20"), day("2024-10-21"), func(usance.Date) int64 { return 117 })
	f.update(func(ctx context.Context, tx usance.Tx) error {
		var counters []usance.Counter
		for id, soft := range map[string]bool{"was": false, "is": true} {
			counters = append(counters, usance.Counter{
				CounterKey: usance.CounterKey{LicenseID: "l", ThresholdID: id, PeriodStart: day("2024-10-01")},
				PeriodEnd:  day("2024-11-01"), Quantity: 2997, State: usance.CounterClosed,
				Terms: &usance.Terms{LimitQuantity: 3000, AllowOverage: soft},
			})
		}
		return tx.EnsureCounters(ctx, counters)
	})
	f.threshold("was", "l", 3000)
	f.threshold("is", "l", 3000, hard)
	f.now = f.now.AddDate(0, 1, 0)
	if n, err := f.Score(t.Context()); n != 2 || err != nil {
		t.Fatalf("%d scored, %v", n, err)
	}
	for _, k := range f.forecasts(usance.ForecastFilter{LicenseID: "l"}) {
		if held := *k.Score.Breached; held != (k.ThresholdID == "was") {
			t.Errorf("%s: held %t", k.ThresholdID, held)
		}
	}
	err := f.store.View(t.Context(), func(v usance.View) error {
		facts, err := v.Facts(t.Context(), []string{"l"})
		if err != nil {
			return err
		}
		for _, h := range facts[0].Thresholds {
			u, err := readUsage(t.Context(), v, facts[0].License, f.now, usance.MaxDate, []usance.Threshold{h})
			if err != nil {
				return err
			}
			if full := len(u.full) > 0; full != (h.ID == "was") {
				t.Errorf("%s: full %v", h.ID, u.full)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
