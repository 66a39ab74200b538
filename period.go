package usance

import (
	"fmt"
	"strings"
	"time"
)

// PeriodType says how long the periods are over which a threshold counts.
type PeriodType string

// The period types.
const (
	PeriodDaily     PeriodType = "daily"
	PeriodWeekly    PeriodType = "weekly"    // from Monday
	PeriodMonthly   PeriodType = "monthly"   // from the licence's anchor day
	PeriodQuarterly PeriodType = "quarterly" // from the anchor day of January, April, July and October
	PeriodYearly    PeriodType = "yearly"    // from the anchor day of January
	PeriodTotal     PeriodType = "total"     // one period for all time
)

// PeriodTypes are all of them.
var PeriodTypes = []PeriodType{PeriodDaily, PeriodWeekly, PeriodMonthly, PeriodQuarterly, PeriodYearly, PeriodTotal}

// Period is a half-open range of local dates: Start belongs to it, End does not.
// The total period is [MinDate, MaxDate).
type Period struct {
	Type  PeriodType `json:"periodType"`
	Start Date       `json:"start"`
	End   Date       `json:"end"`
}

// PeriodOf gives the period of type t that contains d. The anchor day, 1 to 31
// (less counts as 1), is the day of the month on which months, quarters and
// years begin; in a month that is too short they begin on its last day. It
// panics on a type that is none of PeriodTypes.
func PeriodOf(t PeriodType, d Date, anchorDay int) Period {
	switch t {
	case PeriodDaily:
		return Period{t, d, d + 1}
	case PeriodWeekly:
		sinceMonday := (int(d.Weekday()) + 6) % 7
		start := d.AddDays(-sinceMonday)
		return Period{t, start, start + 7}
	case PeriodMonthly:
		return anchored(t, d, anchorDay, 1)
	case PeriodQuarterly:
		return anchored(t, d, anchorDay, 3)
	case PeriodYearly:
		return anchored(t, d, anchorDay, 12)
	case PeriodTotal:
		return Period{t, MinDate, MaxDate}
	}
	panic(fmt.Sprintf("usance: period type %q", string(t)))
}

// anchored gives the period of the given number of months, counted from January,
// that contains d.
func anchored(t PeriodType, d Date, anchorDay, months int) Period {
	anchorDay = max(anchorDay, 1)
	y, m, _ := d.YMD()
	first := m - (m-1)%time.Month(months)
	// Each bound is clamped from the anchor itself, never from the bound before
	// it: anchor 31 must come back to March 31 after February 28.
	start := clampedDate(y, first, anchorDay)
	if d < start {
		first -= time.Month(months)
		start = clampedDate(y, first, anchorDay)
	}
	return Period{t, start, clampedDate(y, first+time.Month(months), anchorDay)}
}

// Next gives the period that begins where p ends; the total period is its own.
func (p Period) Next(anchorDay int) Period { return PeriodOf(p.Type, p.End, anchorDay) }

// Contains tells whether the local date d lies in p.
func (p Period) Contains(d Date) bool { return p.Start <= d && d < p.End }

// Days gives the number of calendar days.
func (p Period) Days() int { return int(p.End - p.Start) }

// Bounds gives the half-open range of instants, in UTC, that p covers in loc.
// Those of the total period are the same in every zone, so that neither leaves
// the years 1 to 9999.
func (p Period) Bounds(loc *time.Location) (start, end time.Time) {
	if p.Type == PeriodTotal {
		loc = time.UTC
	}
	return p.Start.Start(loc), p.End.Start(loc)
}

// MaxRangeYears is the longest time a Range covers, in years.
const MaxRangeYears = 10

// Range is the time an analytics question covers: [From, To) in UTC, on whole
// hours counted from local midnight. Because rollups know local dates and hour
// slots, it also says where both ends lie among them.
type Range struct {
	From, To time.Time
	// From is the beginning of slot FirstSlot of the local date First.
	First     Date
	FirstSlot int
	// To is the beginning of slot EndSlot of the local date End: slots below it
	// are covered. EndSlot is 0 when To is the start of End, no part of which is
	// covered then.
	End     Date
	EndSlot int
}

// DaySlots names the hour slots From ≤ slot < To of a local date.
type DaySlots struct {
	Date     Date
	From, To int
}

// Whole gives the local dates that r covers from start to end, as a half-open
// range, empty when from and to are equal.
func (r Range) Whole() (from, to Date) {
	from, to = r.First, r.End
	if r.FirstSlot > 0 {
		from++
	}
	return min(from, to), to
}

// Partial gives the local dates of which r covers some hours only: none, the
// first, the last, or both, in order. For what happened from the first one's
// slot to the end of its day, To is MaxHourSlots, however many the day has.
func (r Range) Partial() []DaySlots {
	if r.First == r.End {
		return []DaySlots{{r.First, r.FirstSlot, r.EndSlot}}
	}
	var days []DaySlots
	if r.FirstSlot > 0 {
		days = append(days, DaySlots{r.First, r.FirstSlot, MaxHourSlots})
	}
	if r.EndSlot > 0 {
		days = append(days, DaySlots{r.End, 0, r.EndSlot})
	}
	return days
}

// DateRange reads the two ends of a range as the API writes them, for a licence
// in loc. A date stands for that local day, as an end inclusively; an RFC 3339
// timestamp (fractions of a second allowed, if zero) stands for its instant, as
// an end exclusively, and must fall on a whole hour counted from local midnight.
// The range must not be empty nor pass MaxRangeYears.
func DateRange(startDate, endDate string, loc *time.Location) (Range, error) {
	var r Range
	var err error
	if r.From, r.First, r.FirstSlot, err = rangeEnd("startDate", startDate, 0, loc); err != nil {
		return Range{}, err
	}
	if r.To, r.End, r.EndSlot, err = rangeEnd("endDate", endDate, 1, loc); err != nil {
		return Range{}, err
	}
	if !r.From.Before(r.To) {
		return Range{}, Invalid("endDate", "the range is empty: it must end after it starts")
	}
	limit := r.First.addMonths(12 * MaxRangeYears)
	if r.End > limit || r.End == limit && r.EndSlot > r.FirstSlot {
		return Range{}, Invalid("endDate", "the range must not pass %d years", MaxRangeYears)
	}
	return r, nil
}

// rangeEnd reads one end of a range. A date stands for the start of the day that
// many days later.
func rangeEnd(field, s string, days int, loc *time.Location) (t time.Time, d Date, slot int, err error) {
	fail := func(format string, args ...any) (time.Time, Date, int, error) {
		return time.Time{}, 0, 0, Invalid(field, format, args...)
	}
	if !strings.ContainsAny(s, "Tt") {
		d, err = parseDate(s)
		if err != nil {
			return fail("%v", err)
		}
		t = d.AddDays(days).Start(loc)
	} else {
		// ToUpper: RFC 3339 allows t and z.
		t, err = time.Parse(time.RFC3339, strings.ToUpper(s))
		if err != nil {
			return fail("%q is neither a date nor an RFC 3339 timestamp", Clip(s))
		}
		t = t.UTC()
	}
	// Answers tell the instant in the licence's zone, which must have it too.
	for _, year := range []int{t.Year(), t.In(loc).Year()} {
		if year < 1 || year > 9999 {
			return fail("%q is too near the end of the calendar, or outside it: a range must begin and end within the years 1 to 9999", Clip(s))
		}
	}
	// A day that the zone skipped has become the next one.
	d = DateOf(t, loc)
	elapsed := t.Sub(d.Start(loc))
	if elapsed%time.Hour != 0 || elapsed >= MaxHourSlots*time.Hour {
		return fail("%q must fall on a whole hour counted from midnight in %s", Clip(s), loc)
	}
	return t, d, int(elapsed / time.Hour), nil
}
