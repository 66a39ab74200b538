package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/usance/usance"
)

// threshold is a hard monthly limit on views.
func threshold(id, licenseID string) usance.Threshold {
	return usance.Threshold{
		ID: id, LicenseID: licenseID, UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 1000},
		WarningLevels: usance.DefaultWarningLevels, IsActive: true, EffectiveFrom: today - 14, Epoch: 1, CreatedAt: now, UpdatedAt: now,
	}
}

func fullTerms(t *testing.T) usance.Terms {
	return usance.Terms{
		LimitQuantity: usance.MaxTotal, GracePercentage: 100, AllowOverage: true, OverageRateCents: rate(t, "0.000000000001"),
		OverageTiers: []usance.Tier{{UpTo: 10, RateCents: *rate(t, "999999999999.999999999999")}, {RateCents: *rate(t, "0")}},
	}
}

func testThresholds(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	whole := usance.Threshold{
		ID: "t1", LicenseID: "l1", UsageType: usance.AllTypes, PeriodType: usance.PeriodTotal, Terms: fullTerms(t), WarningLevels: []int{1, 1000},
		IsActive: true, ByBrand: true, LastWarningLevel: ptr(90), LastWarningAt: ptr(now), EffectiveFrom: usance.MinDate, RetiredAt: ptr(now.Add(time.Hour)), Epoch: 3,
		CreatedAt: now, UpdatedAt: now.Add(time.Second),
	}
	full(t, whole)
	bare := threshold("t2", "l1")
	bare.WarningLevels = nil
	update(t, s, func(tx usance.Tx) error {
		if err := tx.PutThreshold(ctx, bare); err != nil {
			return err
		}
		return tx.PutThreshold(ctx, whole)
	})
	read := func(id string) (h usance.Threshold) {
		view(t, s, func(v usance.View) (err error) {
			h, err = v.Threshold(ctx, id)
			return err
		})
		return h
	}
	equal(t, "Threshold", read("t1"), whole)
	equal(t, "Threshold", read("t2"), bare)

	update(t, s, func(tx usance.Tx) error {
		return tx.WarnThresholds(ctx, []usance.Warning{{LicenseID: "l1", ThresholdID: "t1", Level: 0, At: now.Add(time.Hour)}, {LicenseID: "l1", ThresholdID: "t2", Level: 50, At: now.Add(time.Hour)}})
	})
	whole.LastWarningLevel = nil
	bare.LastWarningLevel, bare.LastWarningAt = ptr(50), ptr(now.Add(time.Hour))
	equal(t, "a level cleared, its time left", read("t1"), whole)
	equal(t, "a level set", read("t2"), bare)

	retired := threshold("t1", "l1")
	retired.IsActive = false
	update(t, s, func(tx usance.Tx) error { return tx.PutThreshold(ctx, retired) })
	equal(t, "Threshold rewritten", read("t1"), retired)
}

func counterKey(l, h string, start usance.Date) usance.CounterKey {
	return usance.CounterKey{LicenseID: l, ThresholdID: h, PeriodStart: start}
}

func counter(l, h string, start usance.Date) usance.Counter {
	return usance.Counter{CounterKey: counterKey(l, h, start), PeriodEnd: start + 30, State: usance.CounterOpen}
}

func testCounters(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	terms := fullTerms(t)
	whole := usance.Counter{CounterKey: counterKey("l1", "t1", usance.MinDate), PeriodEnd: usance.MaxDate, Quantity: -usance.MaxTotal, Level: 1000, State: usance.CounterClosed, Terms: &terms}
	full(t, whole)
	next, second, other := counter("l1", "t1", today), counter("l1", "t2", today), counter("l2", "t1", today)
	update(t, s, func(tx usance.Tx) error {
		return tx.EnsureCounters(ctx, []usance.Counter{whole, next, second, other})
	})
	changed := next
	changed.Quantity = 99
	update(t, s, func(tx usance.Tx) error { return tx.EnsureCounters(ctx, []usance.Counter{changed}) }) // leaves what is there
	view(t, s, func(v usance.View) error {
		has, err := v.HasUsage(ctx, "l1")
		if !has {
			t.Error("HasUsage with a counter but no event")
		}
		return err
	})
	keys := []usance.CounterKey{whole.CounterKey, counterKey("l1", "t1", 0), next.CounterKey, second.CounterKey, other.CounterKey}
	check := func(want ...usance.Counter) {
		t.Helper()
		view(t, s, func(v usance.View) error {
			got, err := v.Counters(ctx, keys)
			equal(t, "Counters", got, want)
			return err
		})
		update(t, s, func(tx usance.Tx) error {
			got, err := tx.LockCounters(ctx, keys)
			equal(t, "LockCounters", got, want)
			return err
		})
	}
	check(whole, next, second, other)
	view(t, s, func(v usance.View) error {
		got, err := v.CountersOf(ctx, "l1", "t1")
		equal(t, "CountersOf", got, []usance.Counter{whole, next})
		return err
	})

	whole.Quantity, whole.State, whole.Terms, whole.Level = 5, usance.CounterOpen, nil, 0
	next.Terms, next.PeriodEnd = &usance.Terms{LimitQuantity: 7}, today+3
	update(t, s, func(tx usance.Tx) error { return tx.PutCounters(ctx, []usance.Counter{whole, next}) })
	check(whole, next, second, other)

	if err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.PutCounters(ctx, []usance.Counter{counter("l1", "none", today)})
	}); err == nil {
		t.Error("a counter was written that was never made")
	}
}

func testAddToCounters(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	open, frozen, closed := counter("l1", "t1", today), counter("l1", "t2", today), counter("l1", "t3", today)
	final := counter("l1", "t4", today)
	terms := fullTerms(t)
	open.Level, closed.Terms = 50, &terms
	frozen.State, closed.State, final.State = usance.CounterFrozen, usance.CounterClosed, usance.CounterFinal
	update(t, s, func(tx usance.Tx) error {
		return tx.EnsureCounters(ctx, []usance.Counter{open, frozen, closed, final})
	})
	var deltas []usance.CounterDelta
	for i, h := range []string{"t0", "t1", "t2", "t3", "t4", "t5"} {
		deltas = append(deltas, usance.CounterDelta{CounterKey: counterKey("l1", h, today), Quantity: int64(i + 1)})
	}
	for n := range int64(2) {
		update(t, s, func(tx usance.Tx) error {
			got, err := tx.AddToCounters(ctx, deltas)
			open.Quantity, closed.Quantity = 2*(n+1), 4*(n+1)
			equal(t, "AddToCounters", got, []usance.Counter{open, closed})
			return err
		})
	}
	view(t, s, func(v usance.View) error {
		got, err := v.Counters(ctx, []usance.CounterKey{deltas[0].CounterKey, deltas[1].CounterKey, deltas[2].CounterKey, deltas[3].CounterKey, deltas[4].CounterKey})
		equal(t, "Counters", got, []usance.Counter{open, frozen, closed, final})
		return err
	})
}

func testCountersConcurrently(t *testing.T, s usance.Store) {
	const workers, runs = 8, 20
	ctx := t.Context()
	putLicenses(t, s, "l1")
	update(t, s, func(tx usance.Tx) error {
		return tx.EnsureCounters(ctx, []usance.Counter{counter("l1", "t1", today), counter("l1", "t2", today)})
	})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range runs {
				err := s.Update(ctx, usance.Locks{Shared: []string{"l1"}}, func(tx usance.Tx) error {
					got, err := tx.AddToCounters(ctx, []usance.CounterDelta{
						{CounterKey: counterKey("l1", "t1", today), Quantity: 1}, {CounterKey: counterKey("l1", "t2", today), Quantity: 2}})
					if err == nil && (len(got) != 2 || got[1].Quantity != 2*got[0].Quantity) {
						t.Errorf("counters apart: %+v", got)
					}
					return err
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(v usance.View) error {
		got, err := v.Counters(ctx, []usance.CounterKey{counterKey("l1", "t1", today)})
		if len(got) != 1 || got[0].Quantity != workers*runs {
			t.Errorf("counters %+v, want %d", got, workers*runs)
		}
		return err
	})
}

func testEnded(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	ending := func(l, h string, start, end usance.Date, state usance.CounterState) usance.Counter {
		c := counter(l, h, start)
		c.PeriodEnd, c.State = end, state
		return c
	}
	counters := []usance.Counter{
		ending("l1", "t1", today-60, today-30, usance.CounterClosed),
		ending("l1", "t1", today-30, today, usance.CounterOpen),
		ending("l1", "t1", today, today+30, usance.CounterOpen),
		ending("l1", "t2", today-1, today, usance.CounterFrozen),
		ending("l2", "t1", today-7, today+1, usance.CounterOpen),
		ending("l2", "t3", today-90, today-60, usance.CounterOpen),
	}
	update(t, s, func(tx usance.Tx) error { return tx.EnsureCounters(ctx, counters) })
	view(t, s, func(v usance.View) error {
		for _, c := range []struct {
			by    usance.Date
			after usance.CounterKey
			limit int
			want  []usance.Counter
		}{
			{today, usance.CounterKey{}, 10, []usance.Counter{counters[1], counters[3], counters[5]}},
			{today + 1, usance.CounterKey{}, 10, []usance.Counter{counters[1], counters[3], counters[4], counters[5]}},
			{today, usance.CounterKey{}, 2, []usance.Counter{counters[1], counters[3]}},
			{today, counters[3].CounterKey, 2, []usance.Counter{counters[5]}},
			{today - 1, usance.CounterKey{}, 10, []usance.Counter{counters[5]}},
		} {
			got, err := v.Ended(ctx, c.by, c.after, c.limit)
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("Ended by %s after %v", c.by, c.after), got, c.want)
		}
		return nil
	})
}

func overage(n int, l, h string, revision int) usance.Overage {
	return usance.Overage{
		ID: id(n), LicenseID: l, ThresholdID: h, Revision: revision, PeriodDate: today - 14, PeriodStart: now.Add(-14 * 24 * time.Hour), PeriodEnd: now,
		UsageType: "view", LimitQuantity: 100, ActualQuantity: 110, OverageQuantity: 10, CalculatedFeeCents: 50, Currency: "USD",
		Status: usance.OverageDetected, DetectedAt: now, SettleAt: now.Add(time.Hour), UpdatedAt: now,
	}
}

func testOverages(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	terms := fullTerms(t)
	whole := usance.Overage{
		ID: id(1), LicenseID: "l1", ThresholdID: "t1", Revision: 1, PeriodDate: today - 14, PeriodStart: now.Add(-time.Hour), PeriodEnd: now, UsageType: "all",
		LimitQuantity: usance.MaxTotal, GracePercentage: 100, ActualQuantity: 2 * usance.MaxTotal, OverageQuantity: -usance.MaxTotal,
		OverageRateCents: terms.OverageRateCents, OverageTiers: terms.OverageTiers, CalculatedFeeCents: -usance.MaxCents, BilledFeeCents: ptr(int64(usance.MaxCents)),
		Currency: "EUR", Status: usance.OverageDisputed, DisputedFrom: usance.OverageBilled, ApprovedBy: "key_1", ApprovedAt: ptr(now), StripeInvoiceID: "in_1",
		BilledAt: ptr(now.Add(time.Second)), Notes: "note", Metadata: usance.RawJSON(`{"a":1}`), DetectedAt: now.Add(-time.Minute), SettleAt: now.Add(time.Minute),
		SettledAt: ptr(now.Add(2 * time.Minute)), UpdatedAt: now.Add(3 * time.Minute),
	}
	full(t, whole)
	// Made in another order than that of their revisions.
	third, second, other := overage(2, "l1", "t1", 3), overage(3, "l1", "t1", 2), overage(4, "l1", "t2", 1)
	third.BilledFeeCents = ptr(int64(0)) // nothing billed is not the same as not billed
	update(t, s, func(tx usance.Tx) error {
		return tx.PutOverages(ctx, []usance.Overage{third, second, whole, other})
	})
	key := counterKey("l1", "t1", today-14)
	check := func(want ...usance.Overage) {
		t.Helper()
		view(t, s, func(v usance.View) error {
			got, err := v.Revisions(ctx, []usance.CounterKey{key, counterKey("l1", "t1", today), counterKey("l1", "t2", today-14)})
			if err != nil {
				return err
			}
			equal(t, "Revisions", got, want)
			one, err := v.Overage(ctx, id(1))
			equal(t, "Overage", one, want[0])
			return err
		})
	}
	check(whole, second, third, other)
	bare := overage(1, "l1", "t1", 1)
	update(t, s, func(tx usance.Tx) error { return tx.PutOverages(ctx, []usance.Overage{bare}) })
	check(bare, second, third, other)
}

func testDue(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	var rows []usance.Overage
	for n := range 6 {
		o := overage(n+1, "l1", "t1", n+1)
		o.SettleAt = now.Add(time.Duration(3-n) * time.Minute)
		rows = append(rows, o)
	}
	rows[4].Status = usance.OverageApproved
	update(t, s, func(tx usance.Tx) error { return tx.PutOverages(ctx, rows) })
	view(t, s, func(v usance.View) error {
		got, err := v.Due(ctx, now, 10)
		if err != nil {
			return err
		}
		equal(t, "Due", got, []usance.Overage{rows[3], rows[5]})
		got, err = v.Due(ctx, now.Add(time.Hour), 2)
		equal(t, "Due, two at most", got, rows[:2])
		return err
	})
}

func alert(n int, l string) usance.Alert {
	return usance.Alert{
		ID: id(n), Kind: usance.AlertThreshold, LicenseID: l, ThresholdID: "t1", UsageType: "view", PeriodStart: today - 14, PeriodEnd: today + 17,
		Level: n, Epoch: 1, Quantity: 500, LimitQuantity: 1000, CreatedAt: now.Add(time.Duration(n) * time.Second),
	}
}

func testAlerts(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	whole := alert(1, "l1")
	whole.AcknowledgedAt, whole.AcknowledgedBy = ptr(now), "key_1"
	whole.PredictedBreachDate, whole.BreachProbability, whole.Severity, whole.Reason = ptr(today+3), 0.8, usance.SeverityCritical, "why"
	full(t, whole)
	base := alert(2, "l1")
	vary := func(n int, change func(*usance.Alert)) usance.Alert {
		a := base
		a.ID = id(n)
		change(&a)
		return a
	}
	distinct := []usance.Alert{whole, base,
		vary(3, func(a *usance.Alert) { a.Kind = usance.AlertOverage }),
		vary(4, func(a *usance.Alert) { a.Level = 75 }),
		vary(5, func(a *usance.Alert) { a.Epoch = 2 }),
		vary(6, func(a *usance.Alert) { a.PeriodStart = today }),
		vary(7, func(a *usance.Alert) { a.ThresholdID = "t2" }),
		vary(8, func(a *usance.Alert) { a.LicenseID = "l2" }),
	}
	update(t, s, func(tx usance.Tx) error { return tx.AddAlerts(ctx, distinct) })
	// The same alert once more, told of another quantity at another time.
	update(t, s, func(tx usance.Tx) error {
		return tx.AddAlerts(ctx, []usance.Alert{vary(9, func(a *usance.Alert) {
			a.Quantity, a.CreatedAt, a.Severity, a.Reason = 999, now.Add(time.Hour), usance.SeverityInfo, "told twice"
		})})
	})
	view(t, s, func(v usance.View) error {
		got, _, err := v.Alerts(ctx, usance.AlertFilter{}, usance.Page{Limit: 100})
		if err != nil {
			return err
		}
		var want []usance.Alert
		for i := len(distinct) - 1; i >= 0; i-- {
			want = append(want, distinct[i])
		}
		equal(t, "Alerts", got, want)
		one, err := v.Alert(ctx, id(1))
		equal(t, "Alert", one, whole)
		return err
	})
	for _, by := range []string{"key_a", "key_b"} { // the first one stays
		update(t, s, func(tx usance.Tx) error { return tx.AcknowledgeAlert(ctx, id(2), by, now.Add(time.Hour)) })
	}
	base.AcknowledgedAt, base.AcknowledgedBy = ptr(now.Add(time.Hour)), "key_a"
	view(t, s, func(v usance.View) error {
		got, err := v.Alert(ctx, id(2))
		equal(t, "an acknowledged alert", got, base)
		return err
	})
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.AcknowledgeAlert(ctx, id(77), "key_a", now) })
	wantCode(t, "AcknowledgeAlert", err, usance.CodeNotFound)
}

func testAudit(t *testing.T, s usance.Store) {
	ctx := t.Context()
	whole := usance.AuditEntry{ID: id(1), At: now, Actor: "key_1", Action: "threshold.update", Subject: "t1", LicenseID: "l1", Reason: "because",
		Before: usance.RawJSON(`{"a":1}`), After: usance.RawJSON(`[2]`)}
	full(t, whole)
	bare := usance.AuditEntry{ID: id(2), At: now, Actor: "job:x", Action: "brand.put", Subject: "b1"}
	update(t, s, func(tx usance.Tx) error { return tx.AddAudit(ctx, []usance.AuditEntry{whole, bare}) })
	view(t, s, func(v usance.View) error {
		for _, c := range []struct {
			f    usance.AuditFilter
			want []usance.AuditEntry
		}{
			{usance.AuditFilter{}, []usance.AuditEntry{bare, whole}},
			{usance.AuditFilter{LicenseID: "l1"}, []usance.AuditEntry{whole}},
			{usance.AuditFilter{Subject: "b1"}, []usance.AuditEntry{bare}},
			{usance.AuditFilter{LicenseID: "l1", Subject: "b1"}, nil},
		} {
			got, _, err := v.Audit(ctx, c.f, usance.Page{Limit: 10})
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("Audit %+v", c.f), got, c.want)
		}
		return nil
	})
}
