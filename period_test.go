package usance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPeriodOf(t *testing.T) {
	for _, c := range []struct {
		period           PeriodType
		date             string
		anchor           int
		start, end, next string // next is the end of the next period
	}{
		{PeriodDaily, "2024-02-28", 1, "2024-02-28", "2024-02-29", "2024-03-01"},
		{PeriodWeekly, "2024-02-29", 1, "2024-02-26", "2024-03-04", "2024-03-11"}, // a Thursday
		{PeriodWeekly, "2024-03-03", 1, "2024-02-26", "2024-03-04", "2024-03-11"}, // a Sunday
		{PeriodWeekly, "2024-03-04", 1, "2024-03-04", "2024-03-11", "2024-03-18"}, // a Monday
		{PeriodWeekly, "1969-12-31", 1, "1969-12-29", "1970-01-05", "1970-01-12"},
		{PeriodMonthly, "2024-02-29", 1, "2024-02-01", "2024-03-01", "2024-04-01"},
		{PeriodMonthly, "2024-02-29", 15, "2024-02-15", "2024-03-15", "2024-04-15"},
		{PeriodMonthly, "2024-01-14", 15, "2023-12-15", "2024-01-15", "2024-02-15"},
		{PeriodMonthly, "2023-02-28", 29, "2023-02-28", "2023-03-29", "2023-04-29"},
		{PeriodMonthly, "2024-02-28", 29, "2024-01-29", "2024-02-29", "2024-03-29"},
		{PeriodMonthly, "2023-02-27", 30, "2023-01-30", "2023-02-28", "2023-03-30"},
		{PeriodMonthly, "2024-02-28", 31, "2024-01-31", "2024-02-29", "2024-03-31"},
		{PeriodMonthly, "2024-02-29", 31, "2024-02-29", "2024-03-31", "2024-04-30"},
		{PeriodMonthly, "2023-03-30", 31, "2023-02-28", "2023-03-31", "2023-04-30"},
		{PeriodMonthly, "2024-12-31", 31, "2024-12-31", "2025-01-31", "2025-02-28"},
		{PeriodMonthly, "2024-05-05", 0, "2024-05-01", "2024-06-01", "2024-07-01"},
		{PeriodQuarterly, "2024-03-31", 1, "2024-01-01", "2024-04-01", "2024-07-01"},
		{PeriodQuarterly, "2024-04-29", 31, "2024-01-31", "2024-04-30", "2024-07-31"},
		{PeriodQuarterly, "2024-04-30", 31, "2024-04-30", "2024-07-31", "2024-10-31"},
		{PeriodQuarterly, "2024-01-30", 31, "2023-10-31", "2024-01-31", "2024-04-30"},
		{PeriodQuarterly, "2024-12-31", 10, "2024-10-10", "2025-01-10", "2025-04-10"},
		{PeriodYearly, "2024-12-31", 1, "2024-01-01", "2025-01-01", "2026-01-01"},
		{PeriodYearly, "2024-01-30", 31, "2023-01-31", "2024-01-31", "2025-01-31"},
	} {
		p := PeriodOf(c.period, date(t, c.date), c.anchor)
		want := Period{c.period, date(t, c.start), date(t, c.end)}
		if p != want {
			t.Errorf("%s period of %s, anchor %d = [%s, %s), want [%s, %s)", c.period, c.date, c.anchor, p.Start, p.End, c.start, c.end)
			continue
		}
		next := p.Next(c.anchor)
		if next.Start != p.End || next.End != date(t, c.next) {
			t.Errorf("after [%s, %s), anchor %d, comes [%s, %s), want an end of %s", p.Start, p.End, c.anchor, next.Start, next.End, c.next)
		}
		if got := PeriodOf(c.period, next.Start-1, c.anchor); got != p {
			t.Errorf("before [%s, %s), anchor %d, comes [%s, %s), want %s", next.Start, next.End, c.anchor, got.Start, got.End, c.start)
		}
	}
}

func TestTotalPeriod(t *testing.T) {
	p := PeriodOf(PeriodTotal, date(t, "2024-05-05"), 31)
	if p.Next(31) != p || !p.Contains(MinDate) || !p.Contains(MaxDate-1) || p.Contains(MaxDate) {
		t.Errorf("total period: %+v", p)
	}
	for _, name := range []string{"UTC", "Asia/Tokyo", "America/New_York"} {
		start, end := p.Bounds(zone(t, name))
		if start.Format(time.RFC3339) != "0001-01-01T00:00:00Z" || end.Format(time.RFC3339) != "9999-12-31T00:00:00Z" {
			t.Errorf("total period in %s: %s to %s", name, start, end)
		}
	}
}

func TestPeriodTypes(t *testing.T) {
	for _, p := range []PeriodType{"daily", "weekly", "monthly", "quarterly", "yearly", "total"} {
		if !slices.Contains(PeriodTypes, p) {
			t.Errorf("%q is not valid", p)
		}
		PeriodOf(p, 0, 1)
	}
	for _, p := range []PeriodType{"", "hourly", "MONTHLY", "monthly "} {
		if slices.Contains(PeriodTypes, p) {
			t.Errorf("%q is valid", p)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("PeriodOf(%q) did not panic", p)
				}
			}()
			PeriodOf(p, 0, 1)
		}()
	}
}

func TestPeriodBounds(t *testing.T) {
	p := PeriodOf(PeriodMonthly, date(t, "2024-03-15"), 1)
	start, end := p.Bounds(zone(t, "Europe/Berlin"))
	if !start.Equal(instant(t, "2024-02-29T23:00:00Z")) || !end.Equal(instant(t, "2024-03-31T22:00:00Z")) {
		t.Errorf("March 2024 in Berlin: %s to %s", start, end)
	}
	if p.Days() != 31 {
		t.Errorf("March has %d days", p.Days())
	}
	out, err := json.Marshal(p)
	if want := `{"periodType":"monthly","start":"2024-03-01","end":"2024-04-01"}`; err != nil || string(out) != want {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
}

func TestPeriodsTileTheCalendar(t *testing.T) {
	types := []PeriodType{PeriodDaily, PeriodWeekly, PeriodMonthly, PeriodQuarterly, PeriodYearly}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(types).Draw(t, "type")
		anchor := rapid.IntRange(1, 31).Draw(t, "anchor")
		d := Date(rapid.Int32Range(int32(MinDate)+800, int32(MaxDate)-800).Draw(t, "date"))
		p := PeriodOf(kind, d, anchor)
		if !p.Contains(d) || p.Contains(p.End) || p.Contains(p.Start-1) {
			t.Fatalf("%s is not the only period of its dates: %+v", d, p)
		}
		if PeriodOf(kind, p.Start, anchor) != p || PeriodOf(kind, p.End-1, anchor) != p {
			t.Fatalf("the ends of %+v belong to other periods", p)
		}
		next := p.Next(anchor)
		if next.Start != p.End || PeriodOf(kind, next.Start-1, anchor) != p {
			t.Fatalf("%+v is not followed by %+v", p, next)
		}
		if kind == PeriodMonthly && (p.Days() < 28 || p.Days() > 31) {
			t.Fatalf("a month of %d days: %+v", p.Days(), p)
		}
	})
}

func TestDateRange(t *testing.T) {
	for _, c := range []struct {
		name, zone, start, end string
		from, to               string
		wholeFrom, wholeTo     string // half-open
		partial                []DaySlots
	}{{
		"a date as end is inclusive", "UTC", "2024-01-01", "2024-01-31",
		"2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-01-01", "2024-02-01", nil,
	}, {
		"one local day", "Asia/Kolkata", "2024-06-01", "2024-06-01",
		"2024-05-31T18:30:00Z", "2024-06-01T18:30:00Z", "2024-06-01", "2024-06-02", nil,
	}, {
		"a timestamp as end is exclusive", "UTC", "2024-01-01", "2024-01-31T00:00:00Z",
		"2024-01-01T00:00:00Z", "2024-01-31T00:00:00Z", "2024-01-01", "2024-01-31", nil,
	}, {
		"the JavaScript form, any offset", "Europe/Berlin", "2024-01-01T00:00:00.000+01:00", "2024-01-02T23:00:00.000Z",
		"2023-12-31T23:00:00Z", "2024-01-02T23:00:00Z", "2024-01-01", "2024-01-03", nil,
	}, {
		"hours of first and last day", "UTC", "2024-01-01T10:00:00Z", "2024-01-03T02:00:00Z",
		"2024-01-01T10:00:00Z", "2024-01-03T02:00:00Z", "2024-01-02", "2024-01-03",
		[]DaySlots{{MakeDate(2024, 1, 1), 10, MaxHourSlots}, {MakeDate(2024, 1, 3), 0, 2}},
	}, {
		"neighbouring days, none whole", "UTC", "2024-01-01T23:00:00Z", "2024-01-02T01:00:00Z",
		"2024-01-01T23:00:00Z", "2024-01-02T01:00:00Z", "2024-01-02", "2024-01-02",
		[]DaySlots{{MakeDate(2024, 1, 1), 23, MaxHourSlots}, {MakeDate(2024, 1, 2), 0, 1}},
	}, {
		"within a day", "UTC", "2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z",
		"2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z", "2024-01-01", "2024-01-01",
		[]DaySlots{{MakeDate(2024, 1, 1), 10, 12}},
	}, {
		"the beginning of a day", "UTC", "2024-01-01", "2024-01-01T12:00:00Z",
		"2024-01-01T00:00:00Z", "2024-01-01T12:00:00Z", "2024-01-01", "2024-01-01",
		[]DaySlots{{MakeDate(2024, 1, 1), 0, 12}},
	}, {
		"the rest of a day", "Asia/Kathmandu", "2024-06-01T15:00:00+05:45", "2024-06-01",
		"2024-06-01T09:15:00Z", "2024-06-01T18:15:00Z", "2024-06-02", "2024-06-02",
		[]DaySlots{{MakeDate(2024, 6, 1), 15, MaxHourSlots}},
	}, {
		"the hour that comes twice", "Europe/Berlin", "2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00",
		"2024-10-27T00:00:00Z", "2024-10-27T01:00:00Z", "2024-10-27", "2024-10-27",
		[]DaySlots{{MakeDate(2024, 10, 27), 2, 3}},
	}, {
		"a day of 23 hours", "Europe/Berlin", "2024-03-31", "2024-03-31",
		"2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", "2024-03-31", "2024-04-01", nil,
	}, {
		"half an hour less, counted from midnight", "Australia/Lord_Howe", "2024-10-06T03:30:00+11:00", "2024-10-06",
		"2024-10-05T16:30:00Z", "2024-10-06T13:00:00Z", "2024-10-07", "2024-10-07",
		[]DaySlots{{MakeDate(2024, 10, 6), 3, MaxHourSlots}},
	}, {
		"a skipped day costs nothing", "Pacific/Apia", "2011-12-29", "2011-12-30",
		"2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-29", "2011-12-31", nil,
	}, {
		"ten years", "UTC", "2014-01-01T05:00:00Z", "2024-01-01T05:00:00Z",
		"2014-01-01T05:00:00Z", "2024-01-01T05:00:00Z", "2014-01-02", "2024-01-01",
		[]DaySlots{{MakeDate(2014, 1, 1), 5, MaxHourSlots}, {MakeDate(2024, 1, 1), 0, 5}},
	}} {
		t.Run(c.name, func(t *testing.T) {
			r, err := DateRange(c.start, c.end, zone(t, c.zone))
			if err != nil {
				t.Fatal(err)
			}
			if !r.From.Equal(instant(t, c.from)) || !r.To.Equal(instant(t, c.to)) || r.From.Location() != time.UTC {
				t.Errorf("from %s to %s, want %s to %s", r.From, r.To, c.from, c.to)
			}
			if from, to := r.Whole(); from.String() != c.wholeFrom || to.String() != c.wholeTo {
				t.Errorf("whole from %s to %s, want %s to %s", from, to, c.wholeFrom, c.wholeTo)
			}
			if diff := cmp.Diff(c.partial, r.Partial()); diff != "" {
				t.Errorf("partial days (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDateRangeRefuses(t *testing.T) {
	for _, c := range []struct{ zone, start, end, field, message string }{
		{"UTC", "", "2024-01-01", "startDate", "date"},
		{"UTC", "2024-01-01", "tomorrow", "endDate", "timestamp"},
		{"UTC", "2023-02-29", "2024-01-01", "startDate", "no day"},
		{"UTC", "2024-01-02", "2024-01-01", "endDate", "empty"},
		{"UTC", "2024-01-01", "2024-01-01T00:00:00Z", "endDate", "empty"},
		{"UTC", "2024-01-01T00:30:00Z", "2024-01-02", "startDate", "whole hour"},
		{"UTC", "2024-01-01", "2024-01-01T23:59:59.999Z", "endDate", "whole hour"},
		{"UTC", "2024-01-01T10:00:00", "2024-01-02", "startDate", "RFC 3339"},
		{"Asia/Kolkata", "2024-01-01T00:00:00Z", "2024-01-02", "startDate", "whole hour"},
		{"Australia/Lord_Howe", "2024-10-06T03:00:00+11:00", "2024-10-06", "startDate", "whole hour"},
		{"Antarctica/Troll", "2024-10-27T23:00:00Z", "2024-10-28", "startDate", "whole hour"},
		{"Pacific/Apia", "2011-12-30", "2011-12-30", "endDate", "empty"},
		{"UTC", "2014-01-01", "2024-01-01", "endDate", "10 years"},
		{"UTC", "2014-01-01T05:00:00Z", "2024-01-01T06:00:00Z", "endDate", "10 years"},
		{"UTC", "0000-12-31T00:00:00Z", "0001-01-02", "startDate", "years"},
		{"Asia/Tokyo", "0001-01-01", "0001-01-02", "startDate", "years"},
		{"UTC", "9999-12-31", "9999-12-31", "endDate", "years"},
	} {
		_, err := DateRange(c.start, c.end, zone(t, c.zone))
		e, ok := err.(*Error)
		if !ok || e.Code != CodeValidation || e.Field != c.field || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s to %s in %s: %v; want %s: …%s…", c.start, c.end, c.zone, err, c.field, c.message)
		}
	}
}

// checkRange says that an instant lies in the range exactly when its local date
// and hour slot do, which is what analytics rely on.
func checkRange(t rapid.TB, r Range, loc *time.Location) {
	t.Helper()
	if !r.From.Before(r.To) {
		t.Fatalf("empty: %+v", r)
	}
	from, to := r.Whole()
	covered := func(at time.Time) bool {
		d, slot := DateOf(at, loc), HourSlot(at, loc)
		return from <= d && d < to || slices.ContainsFunc(r.Partial(), func(p DaySlots) bool {
			return p.Date == d && p.From <= slot && slot < p.To
		})
	}
	for _, c := range []struct {
		at   time.Time
		want bool
	}{{r.From, true}, {r.From.Add(-1), false}, {r.To.Add(-1), true}, {r.To, false}} {
		if covered(c.at) != c.want {
			t.Fatalf("%+v in %s, at %s: covered is %v", r, loc, c.at, !c.want)
		}
	}
}

func TestRangeCoversItsSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom([]string{
			"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia",
		}).Draw(t, "zone"))
		draw := func(label string) time.Time {
			d := MakeDate(2008, 1, 1) + Date(rapid.IntRange(0, 3000).Draw(t, label+" day"))
			return d.Start(loc).Add(time.Duration(rapid.IntRange(0, 22).Draw(t, label+" hour")) * time.Hour)
		}
		from, to := draw("from"), draw("to")
		r, err := DateRange(from.Format(time.RFC3339), to.Format("2006-01-02T15:04:05.000Z"), loc)
		if !from.Before(to) {
			if err == nil {
				t.Fatalf("%s to %s is no range", from, to)
			}
			return
		}
		if err != nil || !r.From.Equal(from) || !r.To.Equal(to) {
			t.Fatalf("%s to %s = %+v, %v", from, to, r, err)
		}
		checkRange(t, r, loc)
	})
}

func FuzzDateRange(f *testing.F) {
	f.Add("2024-01-01", "2024-01-31", 0)
	f.Add("2024-01-01T10:00:00Z", "2024-01-03T02:00:00.000Z", 0)
	f.Add("2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00", 1)
	f.Add("2024-10-06T03:30:00+11:00", "2024-10-06", 2)
	f.Add("0001-01-01", "9999-12-31", 3)
	zones := []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "Antarctica/Troll"}
	f.Fuzz(func(t *testing.T, start, end string, z int) {
		loc := zone(t, zones[uint(z)%uint(len(zones))])
		r, err := DateRange(start, end, loc)
		if err != nil {
			if ErrorCode(err) != CodeValidation {
				t.Fatalf("%q to %q: %v", start, end, err)
			}
			return
		}
		checkRange(t, r, loc)
		if r.To.Sub(r.From) > (MaxRangeYears*366)*24*time.Hour {
			t.Fatalf("%q to %q is too long: %+v", start, end, r)
		}
	})
}
