package usance

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// Date is a calendar day without time or zone: the number of days since
// 1970-01-01 in the proleptic Gregorian calendar. Valid dates lie in years 1 to
// 9999; arithmetic does not check the bounds, parsing does. The zero value is
// 1970-01-01.
type Date int32

// The first and the last valid date. Both have an instant in every zone that
// RFC 3339 and both stores can write.
const (
	MinDate Date = -719162 // 0001-01-01
	MaxDate Date = 2932896 // 9999-12-31
)

// MaxHourSlots is the number of hour slots of the longest day. On the few
// longer ones (Antarctica/Troll each autumn, zones that moved west) the last
// slot takes the rest of the day.
const MaxHourSlots = 25

const (
	secondsPerDay = 24 * 60 * 60
	// maxOffset bounds the distance of any zone from UTC, in seconds: the zone
	// file format allows no more than 25 hours.
	maxOffset = 26 * 60 * 60
)

// MakeDate makes a date of year, month and day. Months and days outside their
// range carry over as in time.Date: October 32 is November 1.
func MakeDate(y int, m time.Month, d int) Date {
	y, m = normMonth(y, m)
	// Years are counted from March here, so that the leap day ends them.
	shifted := y
	if m <= time.February {
		shifted--
	}
	era := floorDiv(shifted, 400)
	yearOfEra := shifted - era*400
	dayOfYear := (153*((int(m)+9)%12)+2)/5 + d - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return Date(era*daysPerEra + dayOfEra - epochFromMarch0)
}

const (
	daysPerEra      = 146097 // 400 Gregorian years
	epochFromMarch0 = 719468 // days from 0000-03-01 to 1970-01-01
)

// YMD gives the year, month and day of month.
func (d Date) YMD() (int, time.Month, int) {
	days := int(d) + epochFromMarch0
	era := floorDiv(days, daysPerEra)
	dayOfEra := days - era*daysPerEra
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/(daysPerEra-1)) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	monthFromMarch := (5*dayOfYear + 2) / 153
	day := dayOfYear - (153*monthFromMarch+2)/5 + 1
	year := yearOfEra + era*400
	month := time.Month(monthFromMarch + 3)
	if month > time.December {
		month -= 12
		year++
	}
	return year, month, day
}

// ParseDate reads YYYY-MM-DD, four, two and two digits, a day that exists.
func ParseDate(s string) (Date, error) {
	d, err := parseDate(s)
	if err != nil {
		return 0, Invalid("date", "%v", err)
	}
	return d, nil
}

func parseDate(s string) (Date, error) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, fmt.Errorf("%q is not a date of the form YYYY-MM-DD", Clip(s))
	}
	y, okY := digits(s[:4])
	m, okM := digits(s[5:7])
	day, okD := digits(s[8:])
	if !okY || !okM || !okD {
		return 0, fmt.Errorf("%q is not a date of the form YYYY-MM-DD", Clip(s))
	}
	if y < 1 || m < 1 || m > 12 || day < 1 || day > daysIn(y, time.Month(m)) {
		return 0, fmt.Errorf("there is no day %q", s)
	}
	return MakeDate(y, time.Month(m), day), nil
}

// DateOf gives the local date of t in loc.
func DateOf(t time.Time, loc *time.Location) Date {
	local := t.Unix()
	if loc != time.UTC {
		_, offset := t.In(loc).Zone()
		local += int64(offset)
	}
	return Date(floorDiv(local, secondsPerDay))
}

// String gives the date as YYYY-MM-DD.
func (d Date) String() string {
	y, m, day := d.YMD()
	return fmt.Sprintf("%04d-%02d-%02d", y, m, day)
}

// MarshalText writes YYYY-MM-DD; dates outside years 1 to 9999 are refused.
func (d Date) MarshalText() ([]byte, error) { return d.AppendText(nil) }

// AppendText appends what MarshalText writes.
func (d Date) AppendText(b []byte) ([]byte, error) {
	if d < MinDate || d > MaxDate {
		return b, fmt.Errorf("date %s lies outside the years 1 to 9999", d)
	}
	y, m, day := d.YMD()
	return append(b, byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10), '-',
		byte('0'+int(m)/10), byte('0'+int(m)%10), '-', byte('0'+day/10), byte('0'+day%10)), nil
}

// UnmarshalText reads what ParseDate reads.
func (d *Date) UnmarshalText(text []byte) error {
	parsed, err := ParseDate(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// AddDays gives the date n days later, or earlier when n is negative.
func (d Date) AddDays(n int) Date { return d + Date(n) }

// addMonths gives the same day of month n months later, clamped to the length
// of that month.
func (d Date) addMonths(n int) Date {
	y, m, day := d.YMD()
	return clampedDate(y, m+time.Month(n), day)
}

// Weekday gives the day of the week.
func (d Date) Weekday() time.Weekday {
	return time.Weekday(floorMod(int(d)+int(time.Thursday), 7)) // day 0 was a Thursday
}

// Start gives the first instant, in UTC, at which the local date in loc is d.
// It is not always midnight: clocks skip midnight in some zones (the day begins
// at 01:00) and show it twice in others (the first counts). When the zone
// skipped the whole day, it is the start of the next day that exists.
//
// Where clocks fall back across midnight (America/St_Johns until 2011, at 00:01)
// the tail of one day happens after the start of the next; both dates are right.
func (d Date) Start(loc *time.Location) time.Time {
	midnight := int64(d) * secondsPerDay // as if the zone were UTC
	if loc == time.UTC {
		return time.Unix(midnight, 0).UTC()
	}
	// Within a span of constant offset local time just runs on, so the first span
	// that reaches midnight or begins after it holds the answer. At the instant
	// we begin with, d has come in no zone.
	for t := midnight - maxOffset; ; {
		offset, until := zoneSpan(t, loc)
		if first := max(t, midnight-offset); first < until {
			return time.Unix(first, 0).UTC()
		}
		t = until
	}
}

// end gives the instant after the last one at which the local date in loc is d;
// when the zone skipped the day, its Start.
func (d Date) end(loc *time.Location) time.Time {
	midnight := int64(d+1) * secondsPerDay
	var last int64
	for t := midnight - maxOffset; t <= midnight+maxOffset; {
		offset, until := zoneSpan(t, loc)
		if reached := min(midnight-offset, until); reached > t {
			last = reached
		}
		t = until
	}
	return time.Unix(last, 0).UTC()
}

// zoneSpan gives loc's offset from UTC at the instant t and an instant until
// which it holds at least, in seconds.
func zoneSpan(t int64, loc *time.Location) (offset, until int64) {
	at := time.Unix(t, 0).In(loc)
	_, seconds := at.Zone()
	_, end := at.ZoneBounds()
	switch {
	case end.IsZero():
		until = math.MaxInt64
	case end.After(at):
		until = end.Unix()
	default:
		// Where a zone's rule goes on past its table, package time ends each year
		// after 365 days, so that on December 31 of a leap year the span is over
		// before it began. The offset holds for the rest of that day.
		until = (floorDiv(t, secondsPerDay) + 1) * secondsPerDay
	}
	return int64(seconds), until
}

// HourSlot gives the whole hours elapsed between the start of t's local date and
// t: 0 to 24, since a day on which clocks fall back has 25. See MaxHourSlots for
// longer ones.
func HourSlot(t time.Time, loc *time.Location) int {
	sec := t.Unix()
	if loc == time.UTC {
		return int(floorMod(sec, secondsPerDay)) / 3600
	}
	t = t.In(loc)
	_, offset := t.Zone()
	d := Date(floorDiv(sec+int64(offset), secondsPerDay))
	midnight := int64(d) * secondsPerDay
	start := midnight - int64(offset)
	// On an ordinary day the offset has held since before the date began.
	if since, _ := t.ZoneBounds(); !since.IsZero() && since.Unix() > midnight-maxOffset {
		start = d.Start(loc).Unix()
	}
	return min(int(sec-start)/3600, MaxHourSlots-1)
}

// HourSlots gives the number of hour slots of the local date d in loc: 24, or 23
// and 25 when clocks change, the last one shorter where they move by part of an
// hour, and 0 for a day that the zone skipped.
func HourSlots(d Date, loc *time.Location) int {
	if loc == time.UTC {
		return 24
	}
	length := d.end(loc).Unix() - d.Start(loc).Unix()
	return min(int(length+3599)/3600, MaxHourSlots)
}

// zones holds the locations read so far, by name: reading one costs a file.
// Only names that the zone database knows get in, so it stays small.
var zones sync.Map // string → *time.Location

// ParseZone gives the location of an IANA zone name such as Europe/Berlin; the
// empty name is UTC. Names that mean something else on each machine (Local,
// paths) are refused.
func ParseZone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	if !isZoneName(name) {
		return nil, Invalid("timezone", "%q is not an IANA time zone name such as Europe/Berlin", Clip(name))
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, Invalid("timezone", "there is no time zone %q; use an IANA name such as Europe/Berlin", name)
	}
	kept, _ := zones.LoadOrStore(name, loc)
	return kept.(*time.Location), nil
}

// isZoneName tells whether name has the form of the zone database's names. They
// begin with a capital; the lower-case entries beside them are other things:
// the machine's own zone, and copies that count leap seconds.
func isZoneName(name string) bool {
	if len(name) > 64 || name[0] < 'A' || name[0] > 'Z' || name == "Local" {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" {
			return false
		}
		for _, c := range []byte(part) {
			letter := 'a' <= c|0x20 && c|0x20 <= 'z'
			if !letter && (c < '0' || c > '9') && c != '_' && c != '-' && c != '+' {
				return false
			}
		}
	}
	return true
}

// clampedDate is the day-th of the month, or its last day when it is shorter.
func clampedDate(y int, m time.Month, day int) Date {
	y, m = normMonth(y, m)
	return MakeDate(y, m, min(day, daysIn(y, m)))
}

func daysIn(y int, m time.Month) int {
	switch m {
	case time.February:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case time.April, time.June, time.September, time.November:
		return 30
	}
	return 31
}

// normMonth carries months outside 1 to 12 into the year.
func normMonth(y int, m time.Month) (int, time.Month) {
	return y + floorDiv(int(m)-1, 12), time.Month(floorMod(int(m)-1, 12) + 1)
}

func floorDiv[T int | int64](a, b T) T {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod[T int | int64](a, b T) T { return a - floorDiv(a, b)*b }

// digits reads a string of ASCII digits.
func digits(s string) (n int, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
