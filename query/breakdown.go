package query

import (
	"context"
	"slices"

	"github.com/usance/usance"
)

// BreakdownRequest asks where usage comes from. Dates as DateRange reads them;
// by default the 30 local days that end today.
type BreakdownRequest struct {
	Viewer     Viewer             `json:"-"`
	LicenseID  string             `json:"licenseId"`
	UsageTypes []string           `json:"usageTypes,omitempty"` // none or "all": all
	StartDate  string             `json:"startDate,omitempty"`
	EndDate    string             `json:"endDate,omitempty"`
	Dimensions []usance.Dimension `json:"dimensions,omitempty"` // none: all that are known for the range
	Limit      int                `json:"limit,omitempty"`      // values of each dimension, 1 to 1,000; 50
}

// DimensionUsage is usage by the values of one dimension, greatest quantity
// first; hours in their own order, named by the whole hours since local
// midnight: on the days on which clocks change they are not what clocks show.
// "(none)" and "(direct)" stand for events that name no value, "(other)" for
// values past the thousandth of a day.
type DimensionUsage struct {
	Dimension usance.Dimension `json:"dimension"`
	Values    []Value          `json:"values"`
	Distinct  int              `json:"distinct"` // how many values there are
	Rest      usance.Tally     `json:"rest"`     // those past the limit, summed
}

// UsageBreakdown is the usage of a range by dimension. Each dimension's values,
// with its rest, sum to the totals.
type UsageBreakdown struct {
	LicenseID string `json:"licenseId"`
	Timezone  string `json:"timezone"`
	Currency  string `json:"currency"`
	Span
	Totals     Totals           `json:"totals"`
	Dimensions []DimensionUsage `json:"dimensions"`
	Notes      []string         `json:"notes,omitempty"`
}

// Bounds of the number of values of a breakdown.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// Breakdown tells by which platforms, devices, places, sources and at what hours
// a licence was used. Only hours are known of a part of a day: for a range that
// begins or ends within one, other dimensions are refused when they are asked
// for, and left out with a note when none is named.
func (q *Query) Breakdown(ctx context.Context, req BreakdownRequest) (out UsageBreakdown, err error) {
	types, err := checkTypes(req.UsageTypes)
	if err != nil {
		return out, err
	}
	for _, d := range req.Dimensions {
		if err := usance.ValidateWord("dimensions", d, usance.Dimensions); err != nil {
			return out, err
		}
	}
	if req.Limit, err = topOf("limit", req.Limit, defaultLimit, maxLimit); err != nil {
		return out, err
	}
	err = q.read(ctx, "breakdown", req.Viewer, req.LicenseID, func(r *reading) error {
		out, err = r.breakdown(ctx, req, types)
		return err
	})
	return out, err
}

func (r *reading) breakdown(ctx context.Context, req BreakdownRequest, types []string) (out UsageBreakdown, err error) {
	rng, err := r.rangeOf(req.StartDate, req.EndDate)
	if err != nil {
		return out, err
	}
	p := &part{question: question{rng: rng, types: types}}
	// In one order, whatever the order of asking, so that the cache knows them.
	for _, d := range usance.Dimensions {
		if len(req.Dimensions) == 0 || slices.Contains(req.Dimensions, d) {
			p.dimensions = append(p.dimensions, d)
		}
	}
	if !wholeDays(rng) {
		if len(req.Dimensions) > 0 && !slices.Equal(p.dimensions, []usance.Dimension{usance.ByHour}) {
			return out, usance.Invalid("dimensions", "only hour is known within a day; start and end the range with whole local days for the others")
		}
		p.dimensions = []usance.Dimension{usance.ByHour}
		if len(req.Dimensions) == 0 {
			out.Notes = []string{notePartialDays}
		}
	}
	if err := r.summarize(ctx, p); err != nil {
		return out, err
	}
	out.LicenseID, out.Timezone, out.Currency = r.license.ID, r.license.Timezone, r.license.Currency
	out.Span, out.Totals = r.span(rng), p.totals()
	for _, d := range p.dimensions {
		u := DimensionUsage{Dimension: d}
		u.Values, u.Rest, u.Distinct = p.top(d, req.Limit)
		out.Dimensions = append(out.Dimensions, u)
	}
	return out, nil
}
