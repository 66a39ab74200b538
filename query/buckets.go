package query

import (
	"time"

	"github.com/usance/usance"
)

// Granularity is how long the buckets are that a range is cut into.
type Granularity string

// The granularities. All buckets are cut in the licence's zone; weeks begin on
// Monday and months on their first day, whatever the licence's anchor day.
const (
	Hourly  Granularity = "hourly"
	Daily   Granularity = "daily"
	Weekly  Granularity = "weekly"
	Monthly Granularity = "monthly"

	whole Granularity = "" // one bucket
)

// Granularities are all of them.
var Granularities = []Granularity{Hourly, Daily, Weekly, Monthly}

// MaxHourlyBuckets bounds an hourly answer: 31 days of 25 hours.
const MaxHourlyBuckets = 31 * usance.MaxHourSlots

// span is the time of one bucket, within the range that was asked for.
type span struct {
	start, end time.Time
	date       usance.Date // the local date of start
	cut        bool        // the range holds only a part of the hour, day, week or month
}

// plan places local days and hours into buckets.
type plan struct {
	usance.Range
	zone    *time.Location
	hourly  bool
	spans   []span
	offsets []int // for each local date from First, its bucket, hourly its first; -1: the zone skipped it. nil: there is one bucket
}

// newPlan cuts a range into buckets.
func newPlan(r usance.Range, g Granularity, zone *time.Location) (*plan, error) {
	p := &plan{Range: r, zone: zone, hourly: g == Hourly}
	if g == whole {
		p.spans = []span{{start: r.From, end: r.To, date: r.First}}
		return p, nil // its days need no list: it may cover all time
	}
	var last usance.Date // the calendar start of the bucket that is being filled
	for d := r.First; p.touches(d); d++ {
		start, end := d.Start(zone), (d + 1).Start(zone)
		if !start.Before(end) {
			p.offsets = append(p.offsets, -1)
			continue
		}
		if p.hourly {
			p.offsets = append(p.offsets, len(p.spans))
			if err := p.addHours(d, start, end); err != nil {
				return nil, err
			}
			continue
		}
		first, next := g.bucketOf(d)
		if len(p.spans) == 0 || first != last {
			last = first
			s := span{start: first.Start(zone), end: next.Start(zone), date: first}
			if s.start.Before(r.From) {
				s.start, s.date, s.cut = r.From, r.First, true
			}
			if s.end.After(r.To) {
				s.end, s.cut = r.To, true
			}
			p.spans = append(p.spans, s)
		}
		p.offsets = append(p.offsets, len(p.spans)-1)
	}
	return p, nil
}

// bucketOf gives the calendar bounds of the day, week or month that holds d.
func (g Granularity) bucketOf(d usance.Date) (first, next usance.Date) {
	t := usance.PeriodDaily
	switch g {
	case Weekly:
		t = usance.PeriodWeekly
	case Monthly:
		t = usance.PeriodMonthly
	}
	p := usance.PeriodOf(t, d, 1)
	return p.Start, p.End
}

// addHours adds a bucket for each hour slot of d that the range covers.
func (p *plan) addHours(d usance.Date, start, end time.Time) error {
	slots := usance.HourSlots(d, p.zone)
	for slot := range slots {
		if !p.covers(d, slot) {
			continue
		}
		s := span{start: start.Add(time.Duration(slot) * time.Hour), date: d}
		s.end = s.start.Add(time.Hour)
		if slot == slots-1 {
			s.end = end // it takes the rest of the day, or is shorter
		}
		if len(p.spans) == MaxHourlyBuckets {
			return usance.Invalid("granularity", "hourly answers cover at most 31 days; shorten the range or ask for daily")
		}
		p.spans = append(p.spans, s)
	}
	return nil
}

// touches tells whether the range covers any part of d.
func (p *plan) touches(d usance.Date) bool {
	return d >= p.First && (d < p.End || d == p.End && p.EndSlot > 0)
}

// covers tells whether the range covers the hour slot of d.
func (p *plan) covers(d usance.Date, slot int) bool {
	return p.touches(d) && (d > p.First || slot >= p.FirstSlot) && (d < p.End || slot < p.EndSlot)
}

// dates gives the half-open range of local dates that the range touches.
func (p *plan) dates() (from, to usance.Date) {
	if p.EndSlot > 0 {
		return p.First, p.End + 1
	}
	return p.First, p.End
}

// bucket gives the index of the bucket of an hour slot, -1 outside the range.
func (p *plan) bucket(d usance.Date, slot int) int {
	if !p.covers(d, slot) {
		return -1
	}
	if p.offsets == nil {
		return 0
	}
	i := p.offsets[d-p.First]
	if !p.hourly || i < 0 {
		return i
	}
	if d == p.First {
		slot -= p.FirstSlot
	}
	// A slot past the day's last cannot be, unless the zone's rules changed
	// after it was written: then it is counted in the last.
	next := len(p.spans)
	for j := int(d-p.First) + 1; j < len(p.offsets); j++ {
		if p.offsets[j] >= 0 {
			next = p.offsets[j]
			break
		}
	}
	return min(i+slot, next-1)
}
