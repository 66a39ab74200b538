package query

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
)

func rate(t testing.TB, s string) *usance.Rate {
	t.Helper()
	r, err := usance.ParseRate(s)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

func TestCurrentUsage(t *testing.T) {
	t.Parallel()
	// In New York it is still the evening of June 14; the billing month runs
	// from the 15th to the 15th.
	f := newFixture(t, "America/New_York", "2025-06-15T03:00:00Z", ttl)
	f.update(func(tx usance.Tx) error {
		l, err := tx.License(f.ctx, licenseID)
		if err != nil {
			return err
		}
		l.BillingAnchorDay = 15
		return tx.PutLicense(f.ctx, l)
	})
	f.track(
		f.event("2025-05-15T03:59:59Z", "view", 1, 1), // May 14, 23:59
		f.event("2025-05-15T04:00:00Z", "view", 10, 2),
		f.event("2025-06-14T03:59:59Z", "play", 100, 3), // June 13
	)
	f.fold()
	f.track(f.event("2025-06-15T02:00:00Z", "view", 1000, 4))
	u, err := f.CurrentUsage(f.ctx, CurrentRequest{LicenseID: licenseID})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		u.Today.Start.String(), u.Today.Tally, u.CurrentPeriod.Start.String(), u.CurrentPeriod.End.String(),
		u.CurrentPeriod.StartAt.Format(time.RFC3339), u.CurrentPeriod.Tally, u.CurrentPeriod.ByType, u.AllTime.Tally, u.UsageType,
	}
	want := []any{
		"2025-06-14", usance.Tally{Events: 1, Quantity: 1000, RevenueCents: 4}, "2025-05-15", "2025-06-15",
		"2025-05-15T00:00:00-04:00", usance.Tally{Events: 3, Quantity: 1110, RevenueCents: 9},
		map[string]usance.Tally{"view": {Events: 2, Quantity: 1010, RevenueCents: 6}, "play": {Events: 1, Quantity: 100, RevenueCents: 3}},
		usance.Tally{Events: 4, Quantity: 1111, RevenueCents: 10}, "all",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	plays, err := f.CurrentUsage(f.ctx, CurrentRequest{LicenseID: licenseID, UsageType: "play"})
	if err != nil || plays.AllTime.Quantity != 100 || len(plays.AllTime.ByType) != 1 || plays.UsageType != "play" {
		t.Errorf("plays: %+v, %v", plays, err)
	}
}

func TestThresholdStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "Asia/Kolkata", "2025-06-15T12:00:00Z", ttl)
	type counted struct {
		usance.Threshold
		used  int64 // -1: there is no counter
		terms *usance.Terms
	}
	base := func(id string, p usance.PeriodType, terms usance.Terms) usance.Threshold {
		return usance.Threshold{
			ID: id, LicenseID: licenseID, UsageType: "view", PeriodType: p, Terms: terms, IsActive: true,
			WarningLevels: usance.DefaultWarningLevels, EffectiveFrom: mustDate(t, "2025-01-01"),
			CreatedAt: f.now(), UpdatedAt: f.now(),
		}
	}
	hard := usance.Terms{LimitQuantity: 1000, GracePercentage: 10}
	rated := usance.Terms{LimitQuantity: 1000, GracePercentage: 10, AllowOverage: true, OverageRateCents: rate(t, "5")}
	alert := usance.Terms{LimitQuantity: 1000, AllowOverage: true}
	later := base("t13", usance.PeriodMonthly, hard)
	later.EffectiveFrom = mustDate(t, "2025-07-01")
	retired := base("t14", usance.PeriodDaily, hard)
	retired.IsActive = false
	rows := []counted{
		{base("t01", usance.PeriodMonthly, hard), -1, nil},
		{base("t02", usance.PeriodMonthly, hard), 499, nil},
		{base("t03", usance.PeriodMonthly, hard), 500, nil},
		{base("t04", usance.PeriodMonthly, hard), 1000, nil},
		{base("t05", usance.PeriodMonthly, hard), 1050, nil},
		{base("t06", usance.PeriodMonthly, hard), 1100, nil},
		{base("t07", usance.PeriodWeekly, rated), 1000, nil},
		{base("t08", usance.PeriodWeekly, rated), 1100, nil},
		{base("t09", usance.PeriodDaily, rated), 1107, nil},
		{base("t10", usance.PeriodYearly, alert), 1500, nil},
		{base("t11", usance.PeriodTotal, usance.Terms{LimitQuantity: 3}), 3, nil}, // without grace
		{base("t12", usance.PeriodQuarterly, hard), 150, &usance.Terms{LimitQuantity: 100}},
		{later, -1, nil},
		{retired, 7, nil},
	}
	today := mustDate(t, "2025-06-15")
	f.update(func(tx usance.Tx) error {
		for _, c := range rows {
			if err := tx.PutThreshold(f.ctx, c.Threshold); err != nil {
				return err
			}
			if c.used < 0 {
				continue
			}
			p := usance.PeriodOf(c.PeriodType, today, 1)
			counter := usance.Counter{
				CounterKey: usance.CounterKey{LicenseID: licenseID, ThresholdID: c.ID, PeriodStart: p.Start},
				PeriodEnd:  p.End, Quantity: c.used, State: usance.CounterOpen, Terms: c.terms,
			}
			if err := tx.EnsureCounters(f.ctx, []usance.Counter{counter}); err != nil {
				return err
			}
		}
		return nil
	})

	noLimits := errors.New("no limits for this one")
	limits, blind := Viewer{}, Viewer{NoLimits: noLimits}
	got, err := f.ThresholdStatus(f.ctx, ThresholdRequest{Viewer: limits, LicenseID: licenseID})
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		ID        string
		Status    State
		Used      int64
		Remaining int64
		Percent   float64
		Level     int
	}
	var lines []line
	for _, s := range got {
		lines = append(lines, line{s.ThresholdID, s.Status, s.Used, s.Remaining, s.Percent, s.Level})
	}
	want := []line{
		{"t01", StateOK, 0, 1100, 0, 0},
		{"t02", StateOK, 499, 601, 49.9, 0},
		{"t03", StateWarning, 500, 600, 50, 50},
		{"t04", StateLimitReached, 1000, 100, 100, 100},
		{"t05", StateGrace, 1050, 50, 105, 100},
		{"t06", StateBlocked, 1100, 0, 110, 100},
		{"t07", StateLimitReached, 1000, 100, 100, 100},
		{"t08", StateGrace, 1100, 0, 110, 100},
		{"t09", StateOverage, 1107, 0, 110.7, 100},
		{"t10", StateLimitReached, 1500, 0, 150, 100},
		{"t11", StateBlocked, 3, 0, 100, 100},
		{"t12", StateBlocked, 150, 0, 150, 100}, // by the terms that the period keeps
		{"t13", StateOK, 0, 1100, 0, 0},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if o := got[8].Overage; o == nil || o.Quantity != 7 || o.FeeCents != 35 || o.Currency != "USD" {
		t.Errorf("t09's overage: %+v", o)
	}
	if o := got[6].Overage; o == nil || o.Quantity != 0 || o.FeeCents != 0 {
		t.Errorf("t07's overage: %+v", o)
	}
	if got[0].Overage != nil || got[9].Overage != nil {
		t.Error("thresholds without a price have no overage")
	}
	if s := got[0]; s.PeriodStart.String() != "2025-06-01" || s.PeriodEnd.String() != "2025-07-01" ||
		s.PeriodStartAt.Format(time.RFC3339) != "2025-06-01T00:00:00+05:30" {
		t.Errorf("t01's period: %v to %v, from %v", s.PeriodStart, s.PeriodEnd, s.PeriodStartAt)
	}
	if got[10].PeriodStart != nil || got[10].PeriodEndAt != nil {
		t.Error("the total period has no bounds to show")
	}
	if got[12].PeriodStart.String() != "2025-07-01" {
		t.Errorf("t13 judges from July on: %v", got[12].PeriodStart)
	}

	one, err := f.ThresholdStatus(f.ctx, ThresholdRequest{Viewer: limits, LicenseID: licenseID, ThresholdID: "t14"})
	if err != nil || len(one) != 1 || one[0].IsActive || one[0].Used != 7 {
		t.Errorf("a retired one by its id: %+v, %v", one, err)
	}
	if _, err := f.ThresholdStatus(f.ctx, ThresholdRequest{Viewer: limits, LicenseID: licenseID, ThresholdID: "none"}); usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("an unknown threshold: %v", err)
	}
	if _, err := f.ThresholdStatus(f.ctx, ThresholdRequest{Viewer: blind, LicenseID: licenseID}); err != noLimits {
		t.Errorf("a viewer who sees no limits: %v", err)
	}

	for _, c := range []struct {
		viewer Viewer
		want   int
	}{{limits, 13}, {blind, 0}} {
		u, err := f.CurrentUsage(f.ctx, CurrentRequest{Viewer: c.viewer, LicenseID: licenseID})
		if err != nil || len(u.Thresholds) != c.want {
			t.Errorf("current usage shows %d thresholds to %+v, want %d: %v", len(u.Thresholds), c.viewer, c.want, err)
		}
	}
	var withLimits, without map[string]any
	for _, c := range []struct {
		viewer Viewer
		into   *map[string]any
	}{{limits, &withLimits}, {blind, &without}} {
		u, err := f.CurrentUsage(f.ctx, CurrentRequest{Viewer: c.viewer, LicenseID: licenseID, UsageType: "play"})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(u)
		if err != nil || json.Unmarshal(b, c.into) != nil {
			t.Fatal(err)
		}
	}
	if list, ok := withLimits["thresholds"].([]any); !ok || len(list) != 0 {
		t.Errorf("who sees limits is shown that there are none: %v", withLimits["thresholds"])
	}
	if _, ok := without["thresholds"]; ok {
		t.Error("who sees no limits is shown a list of them")
	}
	u, err := f.CurrentUsage(f.ctx, CurrentRequest{Viewer: limits, LicenseID: licenseID, UsageType: "play"})
	if err != nil || len(u.Thresholds) != 0 {
		t.Errorf("no threshold covers plays: %+v, %v", u.Thresholds, err)
	}
}

func TestViewerIsChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-15T12:00:00Z", ttl)
	refusal := usance.NewError(usance.CodeLicenseNotFound, "hidden")
	viewer := Viewer{Check: func(context.Context, usance.View, string) error { return refusal }}
	for name, ask := range map[string]func() error{
		"current": func() error {
			_, err := f.CurrentUsage(f.ctx, CurrentRequest{Viewer: viewer, LicenseID: licenseID})
			return err
		},
		"analytics": func() error {
			_, err := f.Analytics(f.ctx, AnalyticsRequest{Viewer: viewer, LicenseID: licenseID})
			return err
		},
		"breakdown": func() error {
			_, err := f.Breakdown(f.ctx, BreakdownRequest{Viewer: viewer, LicenseID: licenseID})
			return err
		},
		"compare": func() error {
			_, err := f.ComparePeriods(f.ctx, CompareRequest{Viewer: viewer, LicenseID: licenseID})
			return err
		},
		"thresholds": func() error {
			_, err := f.ThresholdStatus(f.ctx, ThresholdRequest{Viewer: viewer, LicenseID: licenseID})
			return err
		},
		"daily": func() error {
			_, err := f.DailyAggregates(f.ctx, DailyRequest{Viewer: viewer, LicenseID: licenseID})
			return err
		},
	} {
		if err := ask(); err != refusal {
			t.Errorf("%s: %v, want the check's error", name, err)
		}
	}
}

func TestComparePeriods(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-15T12:00:00Z", ttl)
	f.track(
		f.event("2025-05-01T00:00:00Z", "view", 8, 100, session(1)),
		f.event("2025-05-02T00:00:00Z", "print", 3, 0, session(2)),
		f.event("2025-06-01T00:00:00Z", "view", 10, 50, session(3)),
		f.event("2025-06-01T00:00:00Z", "play", 2, 0, session(4)),
		f.event("2025-06-02T00:00:00Z", "play", 2, 0, session(5)),
	)
	c, err := f.ComparePeriods(f.ctx, CompareRequest{
		LicenseID: licenseID, StartDate: "2025-06-01", EndDate: "2025-06-10", PreviousStartDate: "2025-05-01", PreviousEndDate: "2025-05-10",
	})
	if err != nil {
		t.Fatal(err)
	}
	pct := func(f float64) *float64 { return &f }
	want := map[string]TypeComparison{
		"view": {
			usance.Tally{Events: 1, Quantity: 10, RevenueCents: 50}, usance.Tally{Events: 1, Quantity: 8, RevenueCents: 100},
			Changes{Change{0, pct(0)}, Change{2, pct(25)}, Change{-50, pct(-50)}},
		},
		"print": {usance.Tally{}, usance.Tally{Events: 1, Quantity: 3}, Changes{Change{-1, pct(-100)}, Change{-3, pct(-100)}, Change{0, nil}}},
		"play":  {usance.Tally{Events: 2, Quantity: 4}, usance.Tally{}, Changes{Change{2, nil}, Change{4, nil}, Change{0, nil}}},
	}
	if diff := cmp.Diff(want, c.ByType); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Change.Quantity.Absolute != 3 || *c.Change.Quantity.Percent != 27.27 || c.UniqueSessions.Absolute != 1 {
		t.Errorf("in all: %+v, sessions %+v", c.Change, c.UniqueSessions)
	}
	c, err = f.ComparePeriods(f.ctx, CompareRequest{LicenseID: licenseID, StartDate: "2025-06-01", EndDate: "2025-06-30"})
	if err != nil || c.Previous.StartDate.String() != "2025-05-02" || c.Previous.EndDate.String() != "2025-05-31" || c.Previous.Quantity != 3 {
		t.Errorf("the range before: %+v, %v", c.Previous, err)
	}
	_, err = f.ComparePeriods(f.ctx, CompareRequest{LicenseID: licenseID, PreviousStartDate: "2025-06-02", PreviousEndDate: "2025-06-01"})
	if e, ok := err.(*usance.Error); !ok || e.Field != "previousEndDate" {
		t.Errorf("an empty previous range: %v", err)
	}
	if _, err = f.ComparePeriods(f.ctx, CompareRequest{LicenseID: licenseID, PreviousStartDate: "2025-06-02"}); usance.ErrorCode(err) != usance.CodeValidation {
		t.Errorf("half a previous range: %v", err)
	}
}

func TestDailyAggregates(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-15T12:00:00Z", ttl)
	f.track(
		f.event("2025-06-01T00:00:00Z", "view", 8, 100, session(1)),
		f.event("2025-06-01T10:00:00Z", "print", 3, 5, session(2)),
	)
	f.fold()
	f.track(
		f.event("2025-06-01T11:00:00Z", "stream", 4, 0, session(2)),
		f.event("2025-06-01T11:00:00Z", "click", 1, 0, session(3)),
		f.event("2025-06-03T11:00:00Z", "view", 1, 0),
	)
	for range 2 {
		d, err := f.DailyAggregates(f.ctx, DailyRequest{LicenseID: licenseID, StartDate: "2025-06-01", EndDate: "2025-06-14"})
		if err != nil {
			t.Fatal(err)
		}
		want := []DailyAggregate{
			{
				LicenseID: licenseID, Date: mustDate(t, "2025-06-01"), TotalViews: 8, TotalStreams: 4, TotalClicks: 1,
				TotalQuantity: 16, TotalRevenueCents: 105, UniqueSessions: 3,
				ByType: map[string]usance.Tally{
					"click": {Events: 1, Quantity: 1}, "print": {Events: 1, Quantity: 3, RevenueCents: 5},
					"stream": {Events: 1, Quantity: 4}, "view": {Events: 1, Quantity: 8, RevenueCents: 100},
				},
			},
			{LicenseID: licenseID, Date: mustDate(t, "2025-06-03"), TotalViews: 1, TotalQuantity: 1,
				ByType: map[string]usance.Tally{"view": {Events: 1, Quantity: 1}}},
		}
		if diff := cmp.Diff(want, d.Days); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		f.fold()
	}
	_, err := f.DailyAggregates(f.ctx, DailyRequest{LicenseID: licenseID, StartDate: "2025-06-01T01:00:00Z", EndDate: "2025-06-14"})
	if usance.ErrorCode(err) != usance.CodeValidation {
		t.Errorf("part of a day: %v", err)
	}
}

func TestAggregationStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-15T12:00:00Z", ttl)
	f.track(f.event("2025-06-01T00:00:00Z", "view", 8, 100))
	f.setClock("2025-06-15T12:00:03Z")
	s, err := f.AggregationStatus(f.ctx)
	if err != nil || s.PendingEvents != 1 || s.FoldLagSeconds != 3 || !s.Cache.Enabled {
		t.Errorf("%+v, %v", s, err)
	}
	f.fold()
	if s, err = f.AggregationStatus(f.ctx); err != nil || s.PendingEvents != 0 || s.FoldLagSeconds != 0 {
		t.Errorf("folded: %+v, %v", s, err)
	}
}

// The wire form is part of the API: embedded tallies are flat.
func TestWireForm(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "America/New_York", "2025-06-15T12:00:00Z", 0)
	f.track(f.event("2025-06-10T00:00:00Z", "view", 2, 3, platform("web"), session(9)))
	no := false
	b, err := json.MarshalIndent(f.analytics(AnalyticsRequest{StartDate: "2025-06-09", EndDate: "2025-06-09", ComparePrevious: &no}), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "licenseId": "lic_1",
 "timezone": "America/New_York",
 "currency": "USD",
 "asOf": "2025-06-15T12:00:00Z",
 "granularity": "daily",
 "start": "2025-06-09T00:00:00-04:00",
 "end": "2025-06-10T00:00:00-04:00",
 "startDate": "2025-06-09",
 "endDate": "2025-06-09",
 "totals": {
  "events": 1,
  "quantity": 2,
  "revenueCents": 3,
  "byType": {
   "view": {
    "events": 1,
    "quantity": 2,
    "revenueCents": 3
   }
  }
 },
 "uniqueSessions": 1,
 "buckets": [
  {
   "start": "2025-06-09T00:00:00-04:00",
   "end": "2025-06-10T00:00:00-04:00",
   "date": "2025-06-09",
   "complete": true,
   "events": 1,
   "quantity": 2,
   "revenueCents": 3,
   "byType": {
    "view": {
     "events": 1,
     "quantity": 2,
     "revenueCents": 3
    }
   }
  }
 ],
 "trends": {
  "total": {
   "direction": "flat",
   "slope": 0,
   "buckets": 1
  },
  "byType": {
   "view": {
    "direction": "flat",
    "slope": 0,
    "buckets": 1
   }
  }
 },
 "topPlatforms": [
  {
   "value": "web",
   "events": 1,
   "quantity": 2,
   "revenueCents": 3,
   "sharePercent": 100
  }
 ],
 "topDevices": [
  {
   "value": "(none)",
   "events": 1,
   "quantity": 2,
   "revenueCents": 3,
   "sharePercent": 100
  }
 ],
 "topSources": [
  {
   "value": "(direct)",
   "events": 1,
   "quantity": 2,
   "revenueCents": 3,
   "sharePercent": 100
  }
 ],
 "topGeography": [
  {
   "value": "(none)",
   "events": 1,
   "quantity": 2,
   "revenueCents": 3,
   "sharePercent": 100
  }
 ]
}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
