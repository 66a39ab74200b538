package usance

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t rapid.TB, name string) *time.Location {
	t.Helper()
	loc, err := ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func date(t rapid.TB, s string) Date {
	t.Helper()
	d, err := ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func instant(t rapid.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestParseDate(t *testing.T) {
	for s, want := range map[string]Date{
		"1970-01-01": 0,
		"1970-01-02": 1,
		"1969-12-31": -1,
		"2000-02-29": 11016,
		"2024-02-29": 19782,
		"0001-01-01": MinDate,
		"9999-12-31": MaxDate,
	} {
		if got, err := ParseDate(s); err != nil || got != want || got.String() != s {
			t.Errorf("ParseDate(%q) = %d (%s), %v; want %d", s, got, got, err, want)
		}
	}
	for _, s := range []string{
		"", "2023-02-29", "1900-02-29", "0000-01-01", "2023-00-10", "2023-13-01", "2023-01-00", "2023-04-31",
		"2023-1-01", "23-01-01", "2023/01/01", "20230101", "+023-01-01", "-023-01-01", " 2023-01-01", "2023-01-01 ",
		"2023-01-01T00:00:00Z", "２023-01-01", "10000-01-01",
	} {
		if got, err := ParseDate(s); ErrorCode(err) != CodeValidation {
			t.Errorf("ParseDate(%q) = %s, %v; want a validation error", s, got, err)
		}
	}
}

func TestMakeDateCarries(t *testing.T) {
	if got, want := MakeDate(2023, 14, 0), date(t, "2024-01-31"); got != want {
		t.Errorf("month 14, day 0 of 2023 = %s, want %s", got, want)
	}
	if got, want := MakeDate(2024, -1, 31), date(t, "2023-12-01"); got != want {
		t.Errorf("month -1, day 31 of 2024 = %s, want %s", got, want)
	}
}

func TestDateJSON(t *testing.T) {
	var d Date
	if err := json.Unmarshal([]byte(`"2024-02-29"`), &d); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(d); err != nil || string(out) != `"2024-02-29"` {
		t.Errorf("got %s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`"2023-02-29"`), &d); ErrorCode(err) != CodeValidation {
		t.Errorf("a day that is none: %v", err)
	}
	if _, err := json.Marshal(MaxDate + 1); err == nil {
		t.Error("the year 10000 was written")
	}
}

// Hand-worked days: when they begin in UTC and how many hour slots they have.
func TestDays(t *testing.T) {
	for _, c := range []struct {
		zone, date, start string
		slots             int
	}{
		{"UTC", "2024-03-31", "2024-03-31T00:00:00Z", 24},
		{"Europe/Berlin", "2024-03-30", "2024-03-29T23:00:00Z", 24},
		{"Europe/Berlin", "2024-03-31", "2024-03-30T23:00:00Z", 23},
		{"Europe/Berlin", "2024-04-01", "2024-03-31T22:00:00Z", 24},
		{"Europe/Berlin", "2024-10-27", "2024-10-26T22:00:00Z", 25},
		{"Europe/Berlin", "2024-10-28", "2024-10-27T23:00:00Z", 24},
		{"America/New_York", "2024-11-03", "2024-11-03T04:00:00Z", 25},
		{"America/New_York", "2025-03-09", "2025-03-09T05:00:00Z", 23},
		{"Asia/Kolkata", "2024-06-01", "2024-05-31T18:30:00Z", 24},
		{"Asia/Kathmandu", "2024-06-01", "2024-05-31T18:15:00Z", 24},
		// Half an hour of summer time: 10:30 ahead of UTC, 11:00 in summer.
		{"Australia/Lord_Howe", "2024-04-07", "2024-04-06T13:00:00Z", 25},
		{"Australia/Lord_Howe", "2024-04-08", "2024-04-07T13:30:00Z", 24},
		{"Australia/Lord_Howe", "2024-10-06", "2024-10-05T13:30:00Z", 24},
		{"Australia/Lord_Howe", "2024-10-07", "2024-10-06T13:00:00Z", 24},
		// No midnight: the day begins at 01:00.
		{"America/Sao_Paulo", "2018-11-03", "2018-11-03T03:00:00Z", 24},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23},
		{"America/Sao_Paulo", "2018-11-05", "2018-11-05T02:00:00Z", 24},
		{"Asia/Beirut", "2022-03-27", "2022-03-26T22:00:00Z", 23},
		{"Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00Z", 23},
		// Clocks fall back at midnight: the day before has its last hour twice.
		{"America/Sao_Paulo", "2019-02-16", "2019-02-16T02:00:00Z", 25},
		{"America/Sao_Paulo", "2019-02-17", "2019-02-17T03:00:00Z", 24},
		// Clocks fall back to midnight: it comes twice, the first counts.
		{"America/Havana", "2023-11-04", "2023-11-04T04:00:00Z", 24},
		{"America/Havana", "2023-11-05", "2023-11-05T04:00:00Z", 25},
		{"America/Havana", "2023-11-06", "2023-11-06T05:00:00Z", 24},
		// Clocks fall back across midnight, at 00:01: the first minute of November
		// 7 comes before the last hour of November 6 comes again.
		{"America/St_Johns", "2010-11-06", "2010-11-06T02:30:00Z", 25},
		{"America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z", 25},
		{"America/St_Johns", "2010-11-08", "2010-11-08T03:30:00Z", 24},
		// Samoa skipped December 30 when it moved across the date line.
		{"Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", 24},
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0},
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", 24},
		// Two hours of summer time make 26 hours: the last slot takes two.
		{"Antarctica/Troll", "2024-10-27", "2024-10-26T22:00:00Z", 25},
		// Days beyond the zone table, reached by rule, the last of a leap year.
		{"America/New_York", "2096-12-31", "2096-12-31T05:00:00Z", 24},
		{"America/New_York", "2097-01-01", "2097-01-01T05:00:00Z", 24},
		{"Australia/Sydney", "2097-01-01", "2096-12-31T13:00:00Z", 24},
	} {
		loc, d := zone(t, c.zone), date(t, c.date)
		if got := d.Start(loc); !got.Equal(instant(t, c.start)) || got.Location() != time.UTC {
			t.Errorf("%s in %s starts at %s, want %s", d, loc, got, c.start)
		}
		if got := HourSlots(d, loc); got != c.slots {
			t.Errorf("%s in %s has %d hour slots, want %d", d, loc, got, c.slots)
		}
	}
}

func TestDateOfAndHourSlot(t *testing.T) {
	for _, c := range []struct {
		zone, at, date string
		slot           int
	}{
		{"UTC", "1969-12-31T23:59:59Z", "1969-12-31", 23},
		{"UTC", "2024-01-01T00:59:59.999999Z", "2024-01-01", 0},
		{"Asia/Kolkata", "2024-05-31T18:29:59Z", "2024-05-31", 23},
		{"Asia/Kolkata", "2024-05-31T18:30:00Z", "2024-06-01", 0},
		{"Asia/Kathmandu", "2024-05-31T19:15:00Z", "2024-06-01", 1},
		{"Europe/Berlin", "2024-03-31T00:59:59Z", "2024-03-31", 1},  // 01:59 CET
		{"Europe/Berlin", "2024-03-31T01:00:00Z", "2024-03-31", 2},  // 03:00 CEST
		{"Europe/Berlin", "2024-03-31T21:59:59Z", "2024-03-31", 22}, // 23:59 CEST
		{"Europe/Berlin", "2024-10-27T00:30:00Z", "2024-10-27", 2},  // 02:30 CEST
		{"Europe/Berlin", "2024-10-27T01:30:00Z", "2024-10-27", 3},  // 02:30 CET
		{"Europe/Berlin", "2024-10-27T22:59:59Z", "2024-10-27", 24}, // 23:59 CET
		{"America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04", 0},
		{"America/Sao_Paulo", "2018-11-05T01:59:59Z", "2018-11-04", 22},
		{"Australia/Lord_Howe", "2024-04-07T13:29:59Z", "2024-04-07", 24},
		{"Australia/Lord_Howe", "2024-04-07T13:30:00Z", "2024-04-08", 0},
		{"America/Havana", "2023-11-05T05:00:00Z", "2023-11-05", 1},
		{"America/St_Johns", "2010-11-07T02:30:59Z", "2010-11-07", 0},
		{"America/St_Johns", "2010-11-07T02:31:00Z", "2010-11-06", 24}, // 23:01 again
		{"America/St_Johns", "2010-11-07T03:30:00Z", "2010-11-07", 1},
		{"Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29", 23},
		{"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31", 0},
		{"Antarctica/Troll", "2024-10-27T23:59:59Z", "2024-10-27", 24},
		{"America/New_York", "2096-12-31T23:00:00Z", "2096-12-31", 18},
	} {
		loc, at := zone(t, c.zone), instant(t, c.at)
		if got := DateOf(at, loc).String(); got != c.date {
			t.Errorf("%s in %s has the date %s, want %s", c.at, loc, got, c.date)
		}
		if got := HourSlot(at, loc); got != c.slot {
			t.Errorf("%s in %s is in slot %d, want %d", c.at, loc, got, c.slot)
		}
	}
}

func TestParseZone(t *testing.T) {
	for _, name := range []string{"", "UTC"} {
		if loc, err := ParseZone(name); err != nil || loc != time.UTC {
			t.Errorf("ParseZone(%q) = %v, %v; want UTC", name, loc, err)
		}
	}
	for _, name := range []string{"Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT", "America/Port-au-Prince"} {
		a, err := ParseZone(name)
		b, _ := ParseZone(name)
		if err != nil || a != b || a.String() != name {
			t.Errorf("ParseZone(%q) = %v, then %v, %v", name, a, b, err)
		}
	}
	for _, name := range []string{
		"Local", "localtime", "utc ", "/etc/localtime", "../Europe/Berlin", "Europe//Berlin", "Europe/./Berlin", "Europe/Berlin/",
		"right/Europe/Berlin", "posix/Europe/Berlin", "Mars/Olympus", "Europe", "Europe/Berlin\x00", "+02:00", "GMT+1h",
	} {
		loc, err := ParseZone(name)
		if e, ok := err.(*Error); !ok || e.Code != CodeValidation || e.Field != "timezone" {
			t.Errorf("ParseZone(%q) = %v, %v; want a timezone error", name, loc, err)
		}
	}
}

func TestDateMatchesPackageTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Date(rapid.Int32Range(int32(MinDate), int32(MaxDate)).Draw(t, "date"))
		y, m, day := d.YMD()
		std := time.Date(y, m, day, 0, 0, 0, 0, time.UTC)
		if std.Unix() != int64(d)*86400 || std.Weekday() != d.Weekday() || std.Format(time.DateOnly) != d.String() {
			t.Fatalf("%d is %s, %s; package time says %s", d, d, d.Weekday(), std)
		}
		if MakeDate(y, m, day) != d || DateOf(std, time.UTC) != d {
			t.Fatalf("%s does not come back", d)
		}
		if parsed, err := ParseDate(d.String()); err != nil || parsed != d {
			t.Fatalf("%s read back: %s, %v", d, parsed, err)
		}
	})
}

var oddZones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Havana", "Asia/Beirut",
	"Africa/Cairo", "Africa/Casablanca", "Africa/Monrovia", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Gaza", "Asia/Pyongyang",
	"Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati", "Pacific/Chatham", "Antarctica/Troll",
	"America/Juneau", "Asia/Manila", "America/Caracas", "Europe/Dublin", "Pacific/Auckland",
}

// Start is checked against its definition by looking at the clock second by
// second near it.
func TestStartIsTheFirstInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(oddZones).Draw(t, "zone"))
		d := Date(rapid.Int32Range(int32(MakeDate(1840, 1, 1)), int32(MakeDate(2120, 1, 1))).Draw(t, "date"))
		start := d.Start(loc)
		if got := DateOf(start, loc); got < d || got > d && HourSlots(d, loc) != 0 {
			t.Fatalf("%s in %s starts at %s, whose date is %s", d, loc, start, got)
		}
		for before := 1; before < 30*3600; before += 59 {
			if at := start.Add(-time.Duration(before) * time.Second); DateOf(at, loc) >= d {
				t.Fatalf("%s in %s starts at %s, yet it is %s at %s", d, loc, start, DateOf(at, loc), at)
			}
		}
		if start.After((d + 1).Start(loc)) {
			t.Fatalf("%s in %s starts after the next day", d, loc)
		}
	})
}

func TestSlotsCoverTheDay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(oddZones).Draw(t, "zone"))
		at := time.Unix(rapid.Int64Range(-4e9, 5e9).Draw(t, "unix"), 0)
		y, m, day := at.In(loc).Date()
		d := DateOf(at, loc)
		if d != MakeDate(y, m, day) {
			t.Fatalf("%s in %s: %s", at, loc, d)
		}
		slot := HourSlot(at, loc)
		want := min(int(at.Sub(d.Start(loc))/time.Hour), MaxHourSlots-1)
		if slot != want || slot >= HourSlots(d, loc) {
			t.Fatalf("%s in %s is in slot %d of %d, want %d", at, loc, slot, HourSlots(d, loc), want)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "2024-1-1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		std, stdErr := time.Parse(time.DateOnly, s)
		if ok := stdErr == nil && std.Year() > 0; ok != (err == nil) {
			t.Fatalf("ParseDate(%q) = %s, %v; package time: %s, %v", s, d, err, std, stdErr)
		}
		if err == nil && (d.String() != s || d < MinDate || d > MaxDate) {
			t.Fatalf("ParseDate(%q) = %s", s, d)
		}
	})
}

func BenchmarkDateOf(b *testing.B) {
	for _, c := range []struct{ zone, at string }{
		{"UTC", "2024-06-01T12:00:00Z"}, {"America/New_York", "2024-06-01T12:00:00Z"}, {"America/New_York", "2060-06-01T12:00:00Z"},
	} {
		b.Run(c.zone+"/"+c.at[:4], func(b *testing.B) {
			loc, at := zone(b, c.zone), instant(b, c.at)
			b.ReportAllocs()
			for b.Loop() {
				DateOf(at, loc)
			}
		})
	}
}

func BenchmarkHourSlot(b *testing.B) {
	for _, c := range []struct{ zone, at string }{
		{"UTC", "2024-06-01T12:00:00Z"}, {"America/New_York", "2024-06-01T12:00:00Z"},
		{"America/New_York", "2024-03-10T12:00:00Z"}, {"America/New_York", "2060-06-01T12:00:00Z"},
	} {
		b.Run(c.zone+"/"+c.at[:10], func(b *testing.B) {
			loc, at := zone(b, c.zone), instant(b, c.at)
			b.ReportAllocs()
			for b.Loop() {
				HourSlot(at, loc)
			}
		})
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	loc, at := zone(t, "America/New_York"), instant(t, "2024-03-10T12:00:00Z")
	if n := testing.AllocsPerRun(100, func() { DateOf(at, loc); HourSlot(at, loc) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
