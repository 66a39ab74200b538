package query

import (
	"context"

	"github.com/usance/usance"
)

// DailyRequest asks for a licence's daily aggregates. Dates as DateRange reads
// them, whole local days only; by default the 30 local days that end today.
type DailyRequest struct {
	Viewer    Viewer `json:"-"`
	LicenseID string `json:"licenseId"`
	StartDate string `json:"startDate,omitempty"`
	EndDate   string `json:"endDate,omitempty"`
}

// DailyAggregate is one local day of a licence, as the rows of
// license_usage_daily_aggregates, with the events not folded yet. Totals are
// quantities.
type DailyAggregate struct {
	LicenseID         string      `json:"licenseId"`
	Date              usance.Date `json:"date"`
	TotalViews        int64       `json:"totalViews"`
	TotalDownloads    int64       `json:"totalDownloads"`
	TotalImpressions  int64       `json:"totalImpressions"`
	TotalClicks       int64       `json:"totalClicks"`
	TotalPlays        int64       `json:"totalPlays"`
	TotalStreams      int64       `json:"totalStreams"`
	TotalQuantity     int64       `json:"totalQuantity"` // of every type, those above included
	TotalRevenueCents int64       `json:"totalRevenueCents"`
	UniqueSessions    int64       `json:"uniqueSessions"` // an estimate; never to be summed over days
	// ByType holds every type that was used, with what the totals above leave out.
	ByType map[string]usance.Tally `json:"byType"`
}

// DailyUsage is the days of a range on which anything was counted.
type DailyUsage struct {
	LicenseID string `json:"licenseId"`
	Timezone  string `json:"timezone"`
	Currency  string `json:"currency"`
	Span
	Days []DailyAggregate `json:"days"`
}

// DailyAggregates gives a row for each local day of the range on which anything
// was counted, in order.
func (q *Query) DailyAggregates(ctx context.Context, req DailyRequest) (out DailyUsage, err error) {
	err = q.read(ctx, "dailyAggregates", req.Viewer, req.LicenseID, func(r *reading) error {
		rng, err := r.rangeOf(req.StartDate, req.EndDate)
		if err != nil {
			return err
		}
		if !wholeDays(rng) {
			return usance.Invalid("startDate", "daily aggregates are of whole local days; start and end with dates")
		}
		p := &part{question: question{rng: rng, granularity: Daily, dailies: true}}
		if err := r.summarize(ctx, p); err != nil {
			return err
		}
		out = DailyUsage{
			LicenseID: r.license.ID, Timezone: r.license.Timezone, Currency: r.license.Currency,
			Span: r.span(rng), Days: []DailyAggregate{},
		}
		for i, span := range p.plan.spans {
			if day, used := p.daily(r.license.ID, span.date, i); used {
				out.Days = append(out.Days, day)
			}
		}
		return nil
	})
	return out, err
}

// daily makes the row of the i-th bucket; used tells whether it counts anything.
func (s *summary) daily(licenseID string, d usance.Date, i int) (day DailyAggregate, used bool) {
	day = DailyAggregate{LicenseID: licenseID, Date: d, UniqueSessions: s.Days[d], ByType: make(map[string]usance.Tally)}
	used = day.UniqueSessions > 0
	for name, tallies := range s.Types {
		t := tallies[i]
		if t == (usance.Tally{}) {
			continue
		}
		used, day.ByType[name] = true, t
		day.TotalQuantity += t.Quantity
		day.TotalRevenueCents += t.RevenueCents
		switch name {
		case "view":
			day.TotalViews = t.Quantity
		case "download":
			day.TotalDownloads = t.Quantity
		case "impression":
			day.TotalImpressions = t.Quantity
		case "click":
			day.TotalClicks = t.Quantity
		case "play":
			day.TotalPlays = t.Quantity
		case "stream":
			day.TotalStreams = t.Quantity
		}
	}
	return day, used
}
