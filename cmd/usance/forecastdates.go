package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/usance/usance"
)

// dated is a row of a long file.
type dated struct {
	at    time.Time
	value float64
	line  int
}

// A spacing is the distance at which all series of a file have their values.
type spacing struct {
	days   int           // of dates
	months int           // of dates
	clock  time.Duration // of times
}

// clocks are the distances of times, the longest first.
var clocks = [...]time.Duration{time.Hour, 30 * time.Minute, 15 * time.Minute, 10 * time.Minute, 5 * time.Minute, time.Minute}

// spacingOf finds the one spacing of a file, and sorts its rows.
//
// Where all rows have the same time of day, as dates have, they are a day apart: a
// series that is used every tenth day is one of days, most of them zeros. They are a
// week or one, three or twelve months apart only when most rows of the file follow
// each other at just that distance and all others at multiples of it. Dates are
// those of the calendar where they were written: the clock's change to summer time
// makes no day longer. Rows with times of day are an hour apart, or where those do
// not fit, the longest of some parts of an hour that does.
func spacingOf(rows [][]dated) (spacing, error) {
	if step, ok := dates(rows); ok {
		return step, nil
	}
	for _, list := range rows {
		slices.SortStableFunc(list, func(a, b dated) int { return a.at.Compare(b.at) })
	}
	for _, step := range clocks {
		if odd(rows, step) == nil {
			return spacing{clock: step}, nil
		}
	}
	d := odd(rows, time.Minute)
	return spacing{}, fmt.Errorf("line %d: %s is not a whole number of minutes after the row before; values must be at equal distances",
		d.line, d.at.Format(time.DateTime))
}

// odd gives a row that is no multiple of step after the one before.
func odd(rows [][]dated, step time.Duration) *dated {
	for _, list := range rows {
		for j := 1; j < len(list); j++ {
			if list[j].at.Sub(list[j-1].at)%step != 0 {
				return &list[j]
			}
		}
	}
	return nil
}

// dates gives the spacing of rows that have one time of day, and makes them dates.
func dates(rows [][]dated) (spacing, bool) {
	h, m, s := rows[0][0].at.Clock()
	for _, list := range rows {
		for i := range list {
			if hh, mm, ss := list[i].at.Clock(); hh != h || mm != m || ss != s {
				return spacing{}, false
			}
		}
	}
	n, byDays, byMonths := 0, make(map[int]int), make(map[int]int)
	firsts, lasts := true, true // all on one day of the month, all on its last day
	day := rows[0][0].at.Day()
	for _, list := range rows {
		for i := range list {
			y, m, d := list[i].at.Date()
			list[i].at = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
			firsts = firsts && d == day
			lasts = lasts && list[i].at.AddDate(0, 0, 1).Day() == 1
		}
		slices.SortStableFunc(list, func(a, b dated) int { return a.at.Compare(b.at) })
		for j := 1; j < len(list); j++ {
			n++
			byDays[daysBetween(list[j-1].at, list[j].at)]++
			byMonths[monthsBetween(list[j-1].at, list[j].at)]++
		}
	}
	fits := func(count map[int]int, step int) bool {
		for d := range count {
			if d%step != 0 {
				return false
			}
		}
		return 2*count[step] > n
	}
	if firsts || lasts {
		for _, m := range [...]int{12, 3, 1} {
			if fits(byMonths, m) {
				return spacing{months: m}, true
			}
		}
	}
	if fits(byDays, 7) {
		return spacing{days: 7}, true
	}
	return spacing{days: 1}, true
}

func daysBetween(a, b time.Time) int { return int(b.Sub(a) / (24 * time.Hour)) }

func monthsBetween(a, b time.Time) int {
	return 12*(b.Year()-a.Year()) + int(b.Month()) - int(a.Month())
}

// season is how many values a year, a week or a day has.
func (s spacing) season() int {
	switch {
	case s.days == 1:
		return 7
	case s.days == 7:
		return 52
	case s.months == 1:
		return 12
	case s.months == 3:
		return 4
	case s.clock == time.Hour:
		return 24
	}
	return 0
}

// place is how many values after the first one a row's is.
func (s spacing) place(first, at time.Time) int {
	switch {
	case s.days > 0:
		return daysBetween(first, at) / s.days
	case s.months > 0:
		return monthsBetween(first, at) / s.months
	}
	return int(at.Sub(first) / s.clock)
}

// maxSpaced bounds a series whose dates lie far apart.
const maxSpaced = 1 << 20

// spaced puts the values of a series, in order, at their places.
func (s spacing) spaced(list []dated) ([]float64, error) {
	first, last := list[0], list[len(list)-1]
	n := s.place(first.at, last.at) + 1
	if n > maxSpaced {
		return nil, fmt.Errorf("line %d: from %s to %s it has %d values; that is too far", last.line, first.at.Format(time.DateTime), last.at.Format(time.DateTime), n)
	}
	out := make([]float64, n)
	before := -1
	for i, d := range list {
		at := s.place(first.at, d.at)
		if at == before {
			return nil, fmt.Errorf("line %d: it has a value for %s already, in line %d", d.line, usance.Clip(d.at.Format(time.DateTime)), list[i-1].line)
		}
		out[at], before = d.value, at
	}
	return out, nil
}
