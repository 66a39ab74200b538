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
	// The top values are left out where they are not known, see Notes, and empty
	// where nothing was used.
	TopPlatforms []Value  `json:"topPlatforms,omitzero"`
	TopDevices   []Value  `json:"topDevices,omitzero"`
	TopSources   []Value  `json:"topSources,omitzero"`
	TopGeography []Value  `json:"topGeography,omitzero"`
	Notes        []string `json:"notes,omitempty"` // what was left out, and why
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
	if err := usance.ValidateWord("granularity", req.Granularity, Granularities); err != nil {
		return out, err
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
	now := &part{question: question{rng: rng, granularity: req.Granularity, types: types}}
	if wholeDays(rng) {
		now.dimensions = topDimensions
		now.sessions = types == nil
	}
	parts := []*part{now}
	notes := now.notes()
	if req.ComparePrevious == nil || *req.ComparePrevious {
		if previous, ok := r.previous(rng); ok {
			parts = append(parts, usageOf(previous, types))
		} else {
			notes = append(notes, noteNoPrevious)
		}
	}
	if err := r.summarize(ctx, parts...); err != nil {
		return out, err
	}
	current, err := r.periodUsage(now)
	if err != nil {
		return out, err
	}
	out = Analytics{
		LicenseID: r.license.ID, Timezone: r.license.Timezone, Currency: r.license.Currency,
		AsOf: r.now, Granularity: req.Granularity, Notes: notes,
		Span: current.Span, Totals: current.Totals, UniqueSessions: current.UniqueSessions,
	}
	complete := make([]bool, len(now.plan.spans))
	for i, span := range now.plan.spans {
		complete[i] = !span.cut && !span.end.After(r.now)
	}
	out.Buckets = now.buckets(complete, out.Totals, r.zone)
	out.Trends = now.trends(complete)
	if now.dimensions != nil {
		out.TopPlatforms, _, _ = now.top(usance.ByPlatform, req.Top)
		out.TopDevices, _, _ = now.top(usance.ByDevice, req.Top)
		out.TopSources, _, _ = now.top(usance.BySource, req.Top)
		out.TopGeography, _, _ = now.top(usance.ByGeo, req.Top)
	}
	if len(parts) > 1 {
		previous, err := r.periodUsage(parts[1])
		if err != nil {
			return out, err
		}
		c := compare(current, previous)
		out.Comparison = &c
	}
	return out, nil
}

// buckets lays the tallies out in time.
func (p *part) buckets(complete []bool, totals Totals, zone *time.Location) []Bucket {
	out := make([]Bucket, len(p.plan.spans))
	for i, span := range p.plan.spans {
		b := Bucket{
			Start: span.start.In(zone), End: span.end.In(zone), Date: span.date, Complete: complete[i],
			ByType: make(map[string]usance.Tally, len(totals.ByType)),
		}
		for name := range totals.ByType {
			var t usance.Tally
			if tallies := p.Types[name]; tallies != nil {
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
func (p *part) uniqueSessions() (*int64, error) {
	if !p.sessions {
		return nil, nil
	}
	var merged usance.Sessions
	if err := merged.UnmarshalBinary(p.Sessions); err != nil {
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
