package series

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usance/usance"
)

// dated is a value at its date.
type dated struct {
	at     time.Time
	value  float64
	line   int32
	either bool // whether month and day may be meant the other way round
}

// dateLayouts are the ways of writing a date that can be meant in one way only.
var dateLayouts = []string{
	"2006-01-02", "2006-01-02 15:04:05", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04", "2006-01-02T15:04",
	"2006/1/2", "2006/1/2 15:04:05", "2006/1/2 15:04", "2.1.2006", "2.1.2006 15:04:05", "2.1.2006 15:04",
	"2006-01", "2006/01", "Jan 2006", "2006 Jan", "2-Jan-2006", "2 Jan 2006", "Jan 2, 2006", "20060102", "2006",
}

// coarse are those of months and years, and how many months they are.
var coarse = map[string]int{"2006-01": 1, "2006/01": 1, "Jan 2006": 1, "2006 Jan": 1, "2006": 12}

// slashed are those that half of the world reads the other way round.
var slashed = [...][2]string{
	{"1/2/2006", "2/1/2006"}, {"1/2/2006 15:04", "2/1/2006 15:04"}, {"1/2/2006 15:04:05", "2/1/2006 15:04:05"}, {"1/2/06", "2/1/06"},
}

// A dateReader reads the dates of a file, which are all written in one way.
type dateReader struct {
	layout               string // that fitted last
	fine                 bool   // whether some date names its day
	months               int    // that dates are apart at least, if none does
	monthFirst, dayFirst int32  // lines that show which of the two it is
	open                 int32  // a line that does not
	short                bool   // whether years have two digits
	// counted: places are numbered, a day for each; numbers says that they may be.
	numbers, counted bool
}

// place reads the number of a place, if the file's first one is too small for a date.
func (r *dateReader) place(s string) (at time.Time, ok bool) {
	if !r.numbers || !r.counted && (r.fine || r.months > 0 || len(s) > 3) {
		return at, false
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxSpaced {
		return at, false
	}
	r.counted = true
	return time.Unix(int64(n)*day, 0).UTC(), true
}

func (r *dateReader) read(s string, line int) (d dated, err error) {
	s = strings.TrimSpace(s)
	d.line = int32(line)
	var ok bool
	if d.at, ok = r.place(s); ok {
		return d, nil
	}
	if r.counted {
		return d, fmt.Errorf("%q is not the number of a row, as those before it are", usance.Clip(s))
	}
	if d.at, err = time.Parse(r.layout, s); err == nil && r.layout != "" {
		return d, nil
	}
	for _, layout := range dateLayouts {
		if d.at, err = time.Parse(layout, s); err == nil {
			r.layout = layout
			if months := coarse[layout]; months == 0 {
				r.fine = true
			} else if months < r.months || r.months == 0 {
				r.months = months
			}
			return d, nil
		}
	}
	for _, l := range slashed {
		month, err := time.Parse(l[0], s)
		day, other := time.Parse(l[1], s)
		short := strings.HasSuffix(l[0], "/06")
		r.fine = true
		switch {
		case err != nil && (other != nil || short): // of 26/01/13 not even the year is sure
			continue
		case err != nil:
			d.at, r.dayFirst = day, d.line
		case other != nil:
			d.at, r.monthFirst = month, d.line
		default:
			d.at, d.either, r.open, r.short = month, true, d.line, r.short || short
		}
		return d, nil
	}
	return d, fmt.Errorf("%q is not a date; write 2006-01-02, or 2006-01-02 15:04:05", usance.Clip(s))
}

func isDate(s string) bool {
	_, err := new(dateReader).read(s, 0)
	return err == nil
}

// spacing finds the one spacing of a file, and which part of 1/2/2006 is the month:
// some line of the file shows it, or only one of the two leaves no date out.
func (r *dateReader) spacing(rows [][]dated) (spacing, error) {
	if r.fine {
		r.months = 0
	}
	switch {
	case r.counted:
		sortDated(rows)
		return spacing{name: "numbered", between: daysBetween, by: 1}, nil
	case r.monthFirst > 0 && r.dayFirst > 0:
		return spacing{}, fmt.Errorf("line %d: the date has its month first, and in line %d its day; write all of them like 2006-01-02", r.monthFirst, r.dayFirst)
	case r.open == 0 || r.monthFirst > 0:
		return spacingOf(rows, r.months)
	case r.dayFirst > 0:
		turn(rows)
		return spacingOf(rows, r.months)
	}
	turned := make([][]dated, len(rows))
	for i, list := range rows {
		turned[i] = slices.Clone(list)
	}
	turn(turned)
	step, err := spacingOf(rows, r.months)
	other, otherErr := spacingOf(turned, 0)
	month, day := err == nil && step.whole(rows), otherErr == nil && other.whole(turned)
	switch {
	case month == day || r.short:
		return step, fmt.Errorf("line %d: whether day or month comes first in the date cannot be told from this file; write 2006-01-02", r.open)
	case day:
		copy(rows, turned)
		return other, nil
	}
	return step, nil
}

func turn(rows [][]dated) {
	for _, list := range rows {
		for i, d := range list {
			if d.either {
				list[i].at = time.Date(d.at.Year(), time.Month(d.at.Day()), int(d.at.Month()), d.at.Hour(), d.at.Minute(), d.at.Second(), 0, time.UTC)
			}
		}
	}
}

// spacing is the distance at which all series of a file have their values.
type spacing struct {
	name   string
	season int // how many values a year, a week or a day has; 0 for neither
	layout string
	// between tells how many units a date is after the first of its series, and by
	// how many of them make the distance.
	between func(first, at time.Time) int
	by      int
}

const day = 24 * 60 * 60 // seconds

// Times of day within wobble of each other are one: that of the local day's begin,
// told in UTC, moves by an hour with the clocks.
const wobble = 2 * 60 * 60

// spacingOf finds the one spacing of a file, and sorts its rows. Where rows have one
// time of day, as dates have, they are at least a day apart, otherwise an hour, or
// where that does not fit the longest of some parts of it that does. Where dates
// name no days, they are at least that many months apart.
func spacingOf(rows [][]dated, months int) (spacing, error) {
	if makeDates(rows) {
		return calendar(rows, months), nil
	}
	sortDated(rows)
	apart := make(map[time.Duration]int)
	steps(rows, func(a, b *dated) { apart[b.at.Sub(a.at)]++ })
	usual := median(apart)
	for _, step := range [...]time.Duration{time.Hour, 30 * time.Minute, 15 * time.Minute, 10 * time.Minute, 5 * time.Minute, time.Minute} {
		if odd(rows, step) != nil {
			continue
		}
		switch {
		case step == time.Hour && usual >= 12*time.Hour:
			return spacing{}, fmt.Errorf("line %d: rows are mostly %s apart, but not at one time of day; write values of days with dates as 2006-01-02, and of hours with a row for each hour", rows[0][0].line, usual)
		case step < time.Hour && usual >= min(time.Hour, 12*step):
			d := odd(rows, 2*step)
			if step == time.Minute {
				d = odd(rows, 5*step)
			}
			return spacing{}, fmt.Errorf("line %d: rows are mostly %s apart, but %s is not where the rows before it would have one; values must be at equal distances", d.line, usual, d.at.Format(time.DateTime))
		}
		out := spacing{name: "every " + strings.TrimSuffix(step.String(), "0s"), layout: "2006-01-02 15:04", by: int(step / time.Second),
			between: func(first, at time.Time) int { return int(at.Unix() - first.Unix()) }}
		if step == time.Hour {
			out.name, out.season = "hourly", 24
		}
		return out, nil
	}
	d := odd(rows, time.Minute)
	return spacing{}, fmt.Errorf("line %d: %s is not a whole number of minutes after the row before; values must be at equal distances",
		d.line, d.at.Format(time.DateTime))
}

func sortDated(rows [][]dated) {
	for _, list := range rows {
		slices.SortStableFunc(list, func(a, b dated) int { return a.at.Compare(b.at) })
	}
}

// steps shows each row and the one before it.
func steps(rows [][]dated, show func(a, b *dated)) {
	for _, list := range rows {
		for j := 1; j < len(list); j++ {
			show(&list[j-1], &list[j])
		}
	}
}

func median(count map[time.Duration]int) time.Duration {
	n := 0
	for _, c := range count {
		n += c
	}
	for _, d := range slices.Sorted(maps.Keys(count)) {
		if n -= 2 * count[d]; n <= 0 {
			return d
		}
	}
	return 0
}

// odd gives a row that is no multiple of step after the one before.
func odd(rows [][]dated, step time.Duration) (out *dated) {
	steps(rows, func(a, b *dated) {
		if out == nil && b.at.Sub(a.at)%step != 0 {
			out = b
		}
	})
	return out
}

// makeDates sorts rows that all have one time of day and makes them dates; others
// stay what they are. Dates are those of the calendar where they were written: the
// clock's change to summer time makes no day longer.
func makeDates(rows [][]dated) bool {
	clocks := make(map[int]bool)
	for _, list := range rows {
		for _, d := range list {
			clocks[d.at.Hour()*3600+d.at.Minute()*60+d.at.Second()] = true
		}
	}
	shift := time.Duration(0)
	if len(clocks) > 1 {
		order := slices.Sorted(maps.Keys(clocks))
		first, gap := order[0], order[0]+day-order[len(order)-1]
		for i := 1; i < len(order); i++ {
			if g := order[i] - order[i-1]; g > gap {
				first, gap = order[i], g
			}
		}
		if day-gap > wobble {
			return false
		}
		if first >= 18*60*60 { // the evening in UTC, which is the next day's begin east of it
			first -= day
		}
		shift = time.Duration(first) * time.Second
	}
	date := func(d dated) time.Time {
		y, m, d0 := d.at.Add(-shift).Date()
		return time.Date(y, m, d0, 0, 0, 0, 0, time.UTC)
	}
	if len(clocks) > 1 {
		for _, list := range rows {
			had := make(map[int64]bool, len(list))
			for _, d := range list {
				t := date(d).Unix()
				if had[t] {
					return false
				}
				had[t] = true
			}
		}
	}
	for _, list := range rows {
		for i, d := range list {
			list[i].at = date(d)
		}
	}
	sortDated(rows)
	return true
}

// mostOff is by how many days in all the dates of a series of months may differ, and
// weeksOn the share of the distances of weeks that are of whole ones: the others make
// way for holidays. With fewer than fewSteps distances there are none of the others.
const (
	mostOff  = 6
	weeksOn  = 2. / 3
	fewSteps = 2
)

// Units of dates. The months and weeks of a series are cut halfway between the
// first date and the one a month or week later.
func daysBetween(first, at time.Time) int { return int((at.Unix() - first.Unix()) / day) }

func weeksBetween(first, at time.Time) int { return (daysBetween(first, at) + 3) / 7 }

func monthsBetween(first, at time.Time) int {
	to := middle(first, at)
	return 12*(to.Year()-first.Year()) + int(to.Month()) - int(first.Month())
}

// middle moves a date as the first of its series is moved to the middle of its month.
func middle(first, at time.Time) time.Time { return at.AddDate(0, 0, 15-first.Day()) }

// calendar tells days, weeks, and one, three or twelve months. A series that is used
// every tenth day is one of days, most of them zeros. Dates are a week or months
// apart only when most follow each other at just that distance, all others at
// multiples of it, and no two of a series are of one week or month.
func calendar(rows [][]dated, months int) spacing {
	off, last, steps := 0, true, 0
	byDays, byWeeks, byMonths := make(map[int]int), make(map[int]int), make(map[int]int)
	for _, list := range rows {
		first := list[0].at
		earliest, latest := 15, 15
		for j, d := range list {
			m := middle(first, d.at).Day()
			earliest, latest = min(earliest, m), max(latest, m)
			last = last && d.at.AddDate(0, 0, 1).Day() == 1
			if j > 0 {
				before := list[j-1].at
				steps++
				byDays[daysBetween(before, d.at)]++
				byWeeks[weeksBetween(first, d.at)-weeksBetween(first, before)]++
				byMonths[monthsBetween(first, d.at)-monthsBetween(first, before)]++
			}
		}
		off = max(off, latest-earliest)
	}
	fits := func(count map[int]int, step int) bool {
		for d := range count {
			if d%step != 0 {
				return false
			}
		}
		return count[0] == 0 && 2*count[step] > steps
	}
	if off == 0 || off <= mostOff && (last || steps >= fewSteps) {
		for _, s := range [...]spacing{{name: "yearly", by: 12}, {name: "quarterly", by: 3, season: 4}, {name: "monthly", by: 1, season: 12}} {
			if s.by == months || fits(byMonths, s.by) {
				s.layout, s.between = "2006-01", monthsBetween
				return s
			}
		}
	}
	whole := 0
	for d, n := range byDays {
		if d%7 == 0 {
			whole += n
		}
	}
	if fits(byDays, 7) || fits(byWeeks, 1) && steps >= fewSteps && float64(whole) >= weeksOn*float64(steps) {
		return spacing{name: "weekly", season: 52, layout: time.DateOnly, between: weeksBetween, by: 1}
	}
	return spacing{name: "daily", season: 7, layout: time.DateOnly, between: daysBetween, by: 1}
}

// tell writes a date, or the number of a place, in that layout.
func (s spacing) tell(at time.Time, layout string) string {
	if s.layout == "" {
		return strconv.FormatInt(at.Unix()/day, 10)
	}
	return at.Format(layout)
}

// values is how many a series has between two dates, both of them included.
func (s spacing) values(first, last time.Time) int { return s.between(first, last)/s.by + 1 }

// whole tells series that have a row for each date.
func (s spacing) whole(rows [][]dated) bool {
	whole := true
	for _, list := range rows {
		whole = whole && s.values(list[0].at, list[len(list)-1].at) == len(list)
	}
	return whole
}

// maxSpaced bounds a series whose dates lie far apart.
const maxSpaced = 1 << 20

// spaced puts the values of a series, in order, at their places.
func (s spacing) spaced(list []dated) ([]float64, error) {
	first, last := list[0], list[len(list)-1]
	n := s.values(first.at, last.at)
	if n > maxSpaced {
		return nil, fmt.Errorf("line %d: from %s to %s it has %d values; that is too far", last.line, s.tell(first.at, time.DateTime), s.tell(last.at, time.DateTime), n)
	}
	out := make([]float64, n)
	before := -1
	for i, d := range list {
		at := s.values(first.at, d.at) - 1
		if at == before {
			return nil, fmt.Errorf("line %d: it has a value for %s already, in line %d", d.line, usance.Clip(s.tell(d.at, time.DateTime)), list[i-1].line)
		}
		if s.layout == "" && at > before+1 {
			return nil, fmt.Errorf("line %d: it has no row %d; where rows are numbered, none may be left out", d.line, d.at.Unix()/day-int64(at-before-1))
		}
		out[at], before = d.value, at
	}
	return out, nil
}
