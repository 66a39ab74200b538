package query

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
)

// flat writes buckets as lines, for tables that are worked out by hand.
func flat(buckets []Bucket) []string {
	var out []string
	for _, b := range buckets {
		out = append(out, fmt.Sprintf("%s %s %v events=%d quantity=%d cents=%d", b.Date, b.Start.Format("01-02T15:04Z07:00"), b.Complete, b.Events, b.Quantity, b.RevenueCents))
	}
	return out
}

func TestDailyBuckets(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2024-11-02T12:00:00Z", 0)
	f.track(
		f.event("2024-10-01T00:00:00Z", "view", 2, 10, platform("web"), session(1)),
		f.event("2024-10-01T23:59:59Z", "view", 3, 0, platform("mobile"), session(2)),
		f.event("2024-10-03T12:00:00Z", "download", 1, 500, platform("web"), session(1)),
	)
	f.fold()
	f.track(f.event("2024-10-31T23:59:59Z", "view", 5, 7, platform("tv"), session(3)))
	f.track(f.event("2024-11-01T00:00:00Z", "view", 100, 100, session(4))) // past the end
	a := f.analytics(AnalyticsRequest{StartDate: "2024-10-01", EndDate: "2024-10-31", Granularity: Daily})

	if len(a.Buckets) != 31 {
		t.Fatalf("%d buckets, want 31", len(a.Buckets))
	}
	day := func(i int) Bucket { return a.Buckets[i] }
	if got := day(0); got.Tally != (usance.Tally{Events: 2, Quantity: 5, RevenueCents: 10}) || got.Date.String() != "2024-10-01" || !got.Complete {
		t.Errorf("Oct 1: %+v", got)
	}
	if got := day(1); got.Tally != (usance.Tally{}) || got.ByType["view"] != (usance.Tally{}) || len(got.ByType) != 2 {
		t.Errorf("Oct 2, which is empty: %+v", got)
	}
	if got := day(30); got.Tally != (usance.Tally{Events: 1, Quantity: 5, RevenueCents: 7}) {
		t.Errorf("Oct 31: %+v", got)
	}
	if a.Totals.Tally != (usance.Tally{Events: 4, Quantity: 11, RevenueCents: 517}) {
		t.Errorf("totals: %+v", a.Totals)
	}
	if want := (usance.Tally{Events: 1, Quantity: 1, RevenueCents: 500}); a.Totals.ByType["download"] != want {
		t.Errorf("downloads: %+v", a.Totals.ByType["download"])
	}
	if a.UniqueSessions == nil || *a.UniqueSessions != 3 {
		t.Errorf("unique sessions: %v, want 3: one came on two days", a.UniqueSessions)
	}
	want := []Value{
		{"tv", usance.Tally{Events: 1, Quantity: 5, RevenueCents: 7}, 45.45},
		{"mobile", usance.Tally{Events: 1, Quantity: 3, RevenueCents: 0}, 27.27},
		{"web", usance.Tally{Events: 2, Quantity: 3, RevenueCents: 510}, 27.27},
	}
	// Of equal quantities the one with more events comes first.
	want[1], want[2] = want[2], want[1]
	if diff := cmp.Diff(want, a.TopPlatforms); diff != "" {
		t.Errorf("top platforms (-want +got):\n%s", diff)
	}
	if a.Comparison.Previous.StartDate.String() != "2024-08-31" || a.Comparison.Previous.EndDate.String() != "2024-09-30" {
		t.Errorf("the previous range is %s to %s, want the 31 days before", a.Comparison.Previous.StartDate, a.Comparison.Previous.EndDate)
	}
	if c := a.Comparison.Change.Quantity; c.Absolute != 11 || c.Percent != nil {
		t.Errorf("change from nothing: %+v, want no percent", c)
	}
}

func TestHourlyOverClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, zone, now, date string
		events                []string // instants, UTC
		buckets               int
		want                  map[int]string // some of them
	}{
		{
			name: "spring forward", zone: "America/New_York", now: "2025-03-20T00:00:00Z", date: "2025-03-09",
			// 01:30 EST, then 03:30 EDT, the hour after; the day's last hour.
			events:  []string{"2025-03-09T06:30:00Z", "2025-03-09T07:30:00Z", "2025-03-10T03:59:59Z"},
			buckets: 23,
			want: map[int]string{
				0:  "2025-03-09 03-09T00:00-05:00 true events=0 quantity=0 cents=0",
				1:  "2025-03-09 03-09T01:00-05:00 true events=1 quantity=1 cents=1",
				2:  "2025-03-09 03-09T03:00-04:00 true events=1 quantity=1 cents=1",
				22: "2025-03-09 03-09T23:00-04:00 true events=1 quantity=1 cents=1",
			},
		},
		{
			name: "fall back", zone: "America/New_York", now: "2025-11-20T00:00:00Z", date: "2025-11-02",
			// 01:30 EDT and 01:30 EST are different hours; the day's last.
			events:  []string{"2025-11-02T05:30:00Z", "2025-11-02T06:30:00Z", "2025-11-02T06:40:00Z", "2025-11-03T04:59:59Z"},
			buckets: 25,
			want: map[int]string{
				1:  "2025-11-02 11-02T01:00-04:00 true events=1 quantity=1 cents=1",
				2:  "2025-11-02 11-02T01:00-05:00 true events=2 quantity=2 cents=2",
				24: "2025-11-02 11-02T23:00-05:00 true events=1 quantity=1 cents=1",
			},
		},
		{
			name: "half-hour zone", zone: "Asia/Kolkata", now: "2025-02-01T12:00:00Z", date: "2025-02-01",
			// Midnight is 18:30 UTC. At noon UTC it is 17:30: that hour is not over.
			events:  []string{"2025-01-31T18:29:59Z", "2025-01-31T18:30:00Z", "2025-02-01T11:30:00Z"},
			buckets: 24,
			want: map[int]string{
				0:  "2025-02-01 02-01T00:00+05:30 true events=1 quantity=1 cents=1",
				16: "2025-02-01 02-01T16:00+05:30 true events=0 quantity=0 cents=0",
				17: "2025-02-01 02-01T17:00+05:30 false events=1 quantity=1 cents=1",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, c.zone, c.now, 0)
			for _, at := range c.events {
				f.track(f.event(at, "view", 1, 1))
			}
			ask := func() Analytics {
				return f.analytics(AnalyticsRequest{StartDate: c.date, EndDate: c.date, Granularity: Hourly})
			}
			tail := ask()
			f.fold()
			folded := ask()
			if diff := cmp.Diff(tail, folded); diff != "" {
				t.Errorf("the fold changed the answer (-before +after):\n%s", diff)
			}
			if len(folded.Buckets) != c.buckets {
				t.Fatalf("%d buckets, want %d", len(folded.Buckets), c.buckets)
			}
			lines := flat(folded.Buckets)
			for i, want := range c.want {
				if lines[i] != want {
					t.Errorf("bucket %d:\n got %s\nwant %s", i, lines[i], want)
				}
			}
			for i := 1; i < len(folded.Buckets); i++ {
				if !folded.Buckets[i-1].End.Equal(folded.Buckets[i].Start) {
					t.Errorf("a gap before %v", folded.Buckets[i].Start)
				}
			}
		})
	}
}

func TestWeeksAndMonths(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-01-08T00:00:00Z", 0)
	// 2024-12-30 and 2025-01-06 are Mondays.
	for _, d := range []string{"2024-12-27", "2024-12-29", "2024-12-30", "2025-01-01", "2025-01-05", "2025-01-06"} {
		f.track(f.event(d+"T10:00:00Z", "view", 1, 0))
	}
	f.fold()
	weeks := f.analytics(AnalyticsRequest{StartDate: "2024-12-26", EndDate: "2025-01-07", Granularity: Weekly})
	want := []string{
		"2024-12-26 12-26T00:00Z false events=2 quantity=2 cents=0", // from Thursday: cut
		"2024-12-30 12-30T00:00Z true events=3 quantity=3 cents=0",  // one week over two years
		"2025-01-06 01-06T00:00Z false events=1 quantity=1 cents=0",
	}
	if diff := cmp.Diff(want, flat(weeks.Buckets)); diff != "" {
		t.Errorf("weeks (-want +got):\n%s", diff)
	}
	months := f.analytics(AnalyticsRequest{StartDate: "2024-12-01", EndDate: "2025-01-31", Granularity: Monthly})
	want = []string{
		"2024-12-01 12-01T00:00Z true events=3 quantity=3 cents=0",
		"2025-01-01 01-01T00:00Z false events=3 quantity=3 cents=0",
	}
	if diff := cmp.Diff(want, flat(months.Buckets)); diff != "" {
		t.Errorf("months (-want +got):\n%s", diff)
	}
}

func TestPartialDays(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "Asia/Kolkata", "2025-03-01T00:00:00Z", 0)
	// Local times are 5:30 ahead.
	for _, at := range []string{
		"2025-02-01T04:29:59Z", // 09:59:59, out
		"2025-02-01T04:30:00Z", // 10:00, in
		"2025-02-01T18:00:00Z", // 23:30, in
		"2025-02-02T06:00:00Z", // whole day
		"2025-02-03T01:29:59Z", // 06:59:59, in
		"2025-02-03T01:30:00Z", // 07:00, out
	} {
		f.track(f.event(at, "view", 1, 3, platform("web"), session(7)))
	}
	req := AnalyticsRequest{StartDate: "2025-02-01T10:00:00+05:30", EndDate: "2025-02-03T01:30:00Z"}
	tail := f.analytics(req)
	f.fold()
	got := f.analytics(req)
	if diff := cmp.Diff(tail, got); diff != "" {
		t.Errorf("the fold changed the answer (-before +after):\n%s", diff)
	}
	want := []string{
		"2025-02-01 02-01T10:00+05:30 false events=2 quantity=2 cents=6",
		"2025-02-02 02-02T00:00+05:30 true events=1 quantity=1 cents=3",
		"2025-02-03 02-03T00:00+05:30 false events=1 quantity=1 cents=3",
	}
	if diff := cmp.Diff(want, flat(got.Buckets)); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
	if got.UniqueSessions != nil || got.TopPlatforms != nil || len(got.Notes) != 1 {
		t.Errorf("sessions %v and platforms %v of parts of days cannot be known; notes %q", got.UniqueSessions, got.TopPlatforms, got.Notes)
	}
	// The 45 hours before.
	if p := got.Comparison.Previous; !p.Start.Equal(instant(t, "2025-01-30T07:30:00Z")) || !p.End.Equal(instant(t, "2025-02-01T04:30:00Z")) || p.Quantity != 1 {
		t.Errorf("previous range: %+v", p)
	}

	_, err := f.Analytics(f.ctx, AnalyticsRequest{LicenseID: licenseID, StartDate: "2025-02-01T10:00:00Z", EndDate: "2025-02-03"})
	if usance.ErrorCode(err) != usance.CodeValidation {
		t.Errorf("10:00 UTC is no whole hour in Kolkata: %v", err)
	}
	hours, err := f.Breakdown(f.ctx, BreakdownRequest{LicenseID: licenseID, StartDate: req.StartDate, EndDate: req.EndDate})
	if err != nil || len(hours.Dimensions) != 1 || hours.Dimensions[0].Dimension != usance.ByHour {
		t.Fatalf("breakdown within days: %+v, %v", hours, err)
	}
	var slots []string
	for _, v := range hours.Dimensions[0].Values {
		slots = append(slots, fmt.Sprint(v.Value, "=", v.Quantity))
	}
	if want := []string{"6=1", "10=1", "11=1", "23=1"}; !reflect.DeepEqual(slots, want) {
		t.Errorf("hours %v, want %v", slots, want)
	}
	_, err = f.Breakdown(f.ctx, BreakdownRequest{
		LicenseID: licenseID, StartDate: req.StartDate, EndDate: req.EndDate, Dimensions: []usance.Dimension{usance.ByPlatform},
	})
	if usance.ErrorCode(err) != usance.CodeValidation {
		t.Errorf("platforms within a day: %v, want VALIDATION", err)
	}
}

func TestDefaultRange(t *testing.T) {
	t.Parallel()
	// 03:00 UTC on the 10th is still the 9th in New York.
	f := newFixture(t, "America/New_York", "2025-06-10T03:00:00Z", 0)
	for _, c := range []struct{ start, end, wantStart, wantEnd string }{
		{"", "", "2025-05-11", "2025-06-09"},
		{"", "2025-01-31", "2025-01-02", "2025-01-31"},
		{"", "2025-02-01T00:00:00-05:00", "2025-01-02", "2025-01-31"},
		{"2025-06-08", "", "2025-06-08", "2025-06-09"},
	} {
		a := f.analytics(AnalyticsRequest{StartDate: c.start, EndDate: c.end})
		if a.StartDate.String() != c.wantStart || a.EndDate.String() != c.wantEnd {
			t.Errorf("%q to %q gives %s to %s, want %s to %s", c.start, c.end, a.StartDate, a.EndDate, c.wantStart, c.wantEnd)
		}
	}
}

func TestRefusedQuestions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T03:00:00Z", 0)
	for _, c := range []struct {
		field string
		req   AnalyticsRequest
	}{
		{"licenseId", AnalyticsRequest{LicenseID: "a/b"}},
		{"granularity", AnalyticsRequest{Granularity: "yearly"}},
		{"granularity", AnalyticsRequest{Granularity: Hourly, StartDate: "2025-01-01", EndDate: "2025-02-02"}},
		{"usageType", AnalyticsRequest{UsageTypes: []string{"View"}}},
		{"startDate", AnalyticsRequest{StartDate: "2025-02-30", EndDate: "2025-03-01"}},
		{"endDate", AnalyticsRequest{StartDate: "2025-02-03", EndDate: "2025-02-01"}},
		{"endDate", AnalyticsRequest{StartDate: "2014-01-01", EndDate: "2025-02-01"}},
		{"endDate", AnalyticsRequest{EndDate: "yesterday"}},
		{"top", AnalyticsRequest{Top: 101}},
	} {
		if c.req.LicenseID == "" {
			c.req.LicenseID = licenseID
		}
		_, err := f.Analytics(f.ctx, c.req)
		e, ok := err.(*usance.Error)
		if !ok || e.Code != usance.CodeValidation || e.Field != c.field {
			t.Errorf("%+v: %v, want VALIDATION of %s", c.req, err, c.field)
		}
	}
	if _, err := f.Analytics(f.ctx, AnalyticsRequest{LicenseID: "nobody"}); usance.ErrorCode(err) != usance.CodeLicenseNotFound {
		t.Errorf("an unknown licence: %v", err)
	}
	a := f.analytics(AnalyticsRequest{StartDate: "2015-02-01", EndDate: "2025-01-31"})
	if len(a.Buckets) != 3653 {
		t.Errorf("ten years have %d days, want 3653", len(a.Buckets))
	}
	if a := f.analytics(AnalyticsRequest{Granularity: Hourly, StartDate: "2025-01-01", EndDate: "2025-01-31"}); len(a.Buckets) != 744 {
		t.Errorf("January has %d hours, want 744", len(a.Buckets))
	}
}

func TestUsageTypesFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T03:00:00Z", 0)
	f.track(f.event("2025-06-01T00:00:00Z", "view", 1, 0, session(1)), f.event("2025-06-01T00:00:00Z", "play", 10, 0, session(2)))
	f.fold()
	f.track(f.event("2025-06-02T00:00:00Z", "view", 2, 0), f.event("2025-06-02T00:00:00Z", "play", 20, 0))
	a := f.analytics(AnalyticsRequest{UsageTypes: []string{"view", "print"}})
	if a.Totals.Quantity != 3 || len(a.Totals.ByType) != 2 || a.Totals.ByType["view"].Quantity != 3 {
		t.Errorf("views: %+v", a.Totals)
	}
	if a.UniqueSessions != nil || len(a.Notes) != 1 {
		t.Errorf("sessions are of all types: %v, %q", a.UniqueSessions, a.Notes)
	}
	if a := f.analytics(AnalyticsRequest{UsageTypes: []string{"all"}}); a.Totals.Quantity != 33 || *a.UniqueSessions != 2 {
		t.Errorf("all: %+v", a.Totals)
	}
}

// A day that a zone skipped has no bucket, and the days around it stay whole.
func TestSkippedDay(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "Pacific/Apia", "2012-01-10T00:00:00Z", 0)
	f.track(f.event("2011-12-30T09:59:59Z", "view", 1, 0), f.event("2011-12-30T10:00:00Z", "view", 2, 0))
	for _, g := range []Granularity{Daily, Hourly} {
		a := f.analytics(AnalyticsRequest{StartDate: "2011-12-29", EndDate: "2011-12-31", Granularity: g})
		if a.Totals.Quantity != 3 {
			t.Errorf("%s: %+v", g, a.Totals)
		}
		for i := 1; i < len(a.Buckets); i++ {
			if !a.Buckets[i-1].End.Equal(a.Buckets[i].Start) || a.Buckets[i].Date == mustDate(t, "2011-12-30") {
				t.Errorf("%s: a gap or a day that never was: %+v", g, a.Buckets[i])
			}
		}
		if want := map[Granularity]int{Daily: 2, Hourly: 48}[g]; len(a.Buckets) != want {
			t.Errorf("%s: %d buckets, want %d", g, len(a.Buckets), want)
		}
	}
}

// Places with other values than whole hours past midnight: the range before
// cannot always be cut, and then is left out rather than wrong.
func TestNoPreviousRange(t *testing.T) {
	t.Parallel()
	// Lord Howe moves its clocks by half an hour, at 02:00 on 2025-04-06.
	f := newFixture(t, "Australia/Lord_Howe", "2025-06-10T03:00:00Z", 0)
	loc := f.zone
	start := time.Date(2025, 4, 6, 0, 0, 0, 0, loc).Add(5 * time.Hour)
	end := start.Add(3 * time.Hour)
	a := f.analytics(AnalyticsRequest{StartDate: start.UTC().Format(time.RFC3339), EndDate: end.UTC().Format(time.RFC3339)})
	if a.Comparison == nil { // hours are counted from midnight: this one can be cut
		t.Errorf("no comparison: %q", a.Notes)
	}
	start = time.Date(2025, 4, 7, 2, 0, 0, 0, loc)
	end = start.Add(22 * time.Hour) // 22 hours before it is 4.5 hours past midnight
	a = f.analytics(AnalyticsRequest{StartDate: start.UTC().Format(time.RFC3339), EndDate: end.UTC().Format(time.RFC3339)})
	if a.Comparison != nil || len(a.Notes) != 2 {
		t.Errorf("comparison %+v, notes %q; want it left out", a.Comparison, a.Notes)
	}
}
