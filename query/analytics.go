package query

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// AnalyticsRequest asks for usage over time. Dates as DateRange reads them; by
// default the 30 local days that end today.
type AnalyticsRequest struct {
	Viewer          Viewer      `json:"-"`
	LicenseID       string      `json:"licenseId"`
	UsageTypes      []string    `json:"usageTypes,omitempty"` // none or "all": all
	StartDate       string      `json:"startDate,omitempty"`
	EndDate         string      `json:"endDate,omitempty"`
	Granularity     Granularity `json:"granularity,omitempty"`     // daily
	ComparePrevious *bool       `json:"comparePrevious,omitempty"` // true
	Top             int         `json:"top,omitempty"`             // values of each dimension, 1 to 100; 10
}

// Bucket is the usage of one hour, day, week or month.
type Bucket struct {
	Start    time.Time   `json:"start"` // instant, in the licence's zone; within the range
	End      time.Time   `json:"end"`   // exclusive
	Date     usance.Date `json:"date"`  // local date of the start
	Complete bool        `json:"complete"`
	usance.Tally
	ByType map[string]usance.Tally `json:"byType"`
}

// Analytics is usage over time.
//
// Buckets follow each other without gap, empty ones with zeros; each holds
// every type that occurs in the range. A bucket is complete when it is over and
// the range holds all of it: trends rest on complete ones only.
type Analytics struct {
	LicenseID   string      `json:"licenseId"`
	Timezone    string      `json:"timezone"`
	Currency    string      `json:"currency"`
	AsOf        time.Time   `json:"asOf"`
	Granularity Granularity `json:"granularity"`
	Span
	Totals Totals `json:"totals"`
	// UniqueSessions is an estimate (standard error 0.8 %) over the range; null
	// where it is not known, see Notes. Voiding an event takes no session out.
	UniqueSessions *int64      `json:"uniqueSessions"`
	Buckets        []Bucket    `json:"buckets"`
	Comparison     *Comparison `json:"comparison,omitempty"`
	Trends         Trends      `json:"trends"`
	TopPlatforms   []Value     `json:"topPlatforms,omitempty"`
	TopDevices     []Value     `json:"topDevices,omitempty"`
	TopSources     []Value     `json:"topSources,omitempty"`
	TopGeography   []Value     `json:"topGeography,omitempty"`
	Notes          []string    `json:"notes,omitempty"` // what was left out, and why
}

// topDimensions are those of which analytics show the top values.
var topDimensions = []usance.Dimension{usance.ByPlatform, usance.ByDevice, usance.ByGeo, usance.BySource}

// Bounds of the number of values.
const (
	defaultTop = 10
	maxTop     = 100
)

// Analytics tells how usage went over a range: totals, buckets, unique
// sessions, the top values of each dimension, the trend, and the difference to
// the range of equal length before.
//
// The buckets' tallies are exact for every range. Where the range begins or
// ends within a local day, top values and unique sessions, which are known per
// day, are left out.
func (q *Query) Analytics(ctx context.Context, req AnalyticsRequest) (out Analytics, err error) {
	types, err := checkTypes(req.UsageTypes)
	if err != nil {
		return out, err
	}
	if req.Granularity == "" {
		req.Granularity = Daily
	}
	switch req.Granularity {
	case Hourly, Daily, Weekly, Monthly:
	default:
		return out, usance.Invalid("granularity", "must be hourly, daily, weekly or monthly")
	}
	if req.Top, err = topOf("top", req.Top, defaultTop, maxTop); err != nil {
		return out, err
	}
	err = q.read(ctx, "analytics", req.Viewer, req.LicenseID, func(r *reading) error {
		out, err = r.analytics(ctx, req, types)
		return err
	})
	return out, err
}

func (r *reading) analytics(ctx context.Context, req AnalyticsRequest, types []string) (out Analytics, err error) {
	rng, err := r.rangeOf(req.StartDate, req.EndDate)
	if err != nil {
		return out, err
	}
	qu := question{rng: rng, granularity: req.Granularity, types: types}
	if wholeDays(rng) {
		qu.dimensions = topDimensions
		qu.sessions = types == nil
	}
	s, p, err := r.summarize(ctx, qu)
	if err != nil {
		return out, err
	}
	out = Analytics{
		LicenseID: r.license.ID, Timezone: r.license.Timezone, Currency: r.license.Currency,
		AsOf: r.now, Granularity: req.Granularity, Span: r.span(rng), Totals: s.totals(qu),
	}
	if out.UniqueSessions, err = s.uniqueSessions(qu); err != nil {
		return out, err
	}
	out.Notes = qu.notes()
	complete := make([]bool, len(p.spans))
	for i, span := range p.spans {
		complete[i] = !span.cut && !span.end.After(r.now)
	}
	out.Buckets = s.buckets(p, complete, out.Totals, r.zone)
	out.Trends = s.trends(complete, qu)
	if qu.dimensions != nil {
		out.TopPlatforms, _, _ = s.top(usance.ByPlatform, req.Top)
		out.TopDevices, _, _ = s.top(usance.ByDevice, req.Top)
		out.TopSources, _, _ = s.top(usance.BySource, req.Top)
		out.TopGeography, _, _ = s.top(usance.ByGeo, req.Top)
	}
	if req.ComparePrevious == nil || *req.ComparePrevious {
		prev, ok := r.previous(rng)
		if !ok {
			out.Notes = append(out.Notes, noteNoPrevious)
			return out, nil
		}
		before, err := r.usageOf(ctx, prev, types)
		if err != nil {
			return out, err
		}
		c := compare(PeriodUsage{out.Span, out.Totals, out.UniqueSessions}, before)
		out.Comparison = &c
	}
	return out, nil
}

// buckets lays the tallies out in time.
func (s *summary) buckets(p *plan, complete []bool, totals Totals, zone *time.Location) []Bucket {
	out := make([]Bucket, len(p.spans))
	for i, span := range p.spans {
		b := Bucket{
			Start: span.start.In(zone), End: span.end.In(zone), Date: span.date, Complete: complete[i],
			ByType: make(map[string]usance.Tally, len(totals.ByType)),
		}
		for name := range totals.ByType {
			var t usance.Tally
			if tallies := s.Types[name]; tallies != nil {
				t = tallies[i]
			}
			b.ByType[name] = t
			b.Tally = b.Plus(t)
		}
		out[i] = b
	}
	return out
}

// uniqueSessions is the estimate for the question's range, nil where there is none.
func (s *summary) uniqueSessions(qu question) (*int64, error) {
	if !qu.sessions {
		return nil, nil
	}
	var merged usance.Sessions
	if err := merged.UnmarshalBinary(s.Sessions); err != nil {
		return nil, err
	}
	n := merged.Estimate()
	return &n, nil
}

// notes says what a question leaves out.
func (qu *question) notes() []string {
	var notes []string
	if !wholeDays(qu.rng) {
		notes = append(notes, notePartialDays)
	}
	if qu.types != nil {
		notes = append(notes, noteTypes)
	}
	return notes
}

func wholeDays(rng usance.Range) bool { return rng.FirstSlot == 0 && rng.EndSlot == 0 }

// topOf checks a number of values; 0 means the default.
func topOf(field string, n, byDefault, most int) (int, error) {
	if n == 0 {
		return byDefault, nil
	}
	if n < 1 || n > most {
		return 0, usance.Invalid(field, "must be 1 to %d", most)
	}
	return n, nil
}
