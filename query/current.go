package query

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// CurrentRequest asks what is used up to now.
type CurrentRequest struct {
	Viewer    Viewer `json:"-"`
	LicenseID string `json:"licenseId"`
	UsageType string `json:"usageType,omitempty"` // empty or "all": all
}

// WindowUsage is the usage of a period that is under way.
type WindowUsage struct {
	PeriodType usance.PeriodType `json:"periodType"`
	Start      usance.Date       `json:"start"`   // first local date
	End        usance.Date       `json:"end"`     // local date, exclusive
	StartAt    time.Time         `json:"startAt"` // instant, in the licence's zone
	EndAt      time.Time         `json:"endAt"`   // exclusive
	Totals
}

// CurrentUsage is what a licence has used up to this moment.
type CurrentUsage struct {
	LicenseID     string      `json:"licenseId"`
	Timezone      string      `json:"timezone"`
	Currency      string      `json:"currency"`
	UsageType     string      `json:"usageType"` // "all", or the one asked for
	AsOf          time.Time   `json:"asOf"`
	Today         WindowUsage `json:"today"`         // the licence's local day
	CurrentPeriod WindowUsage `json:"currentPeriod"` // its billing month, from its anchor day
	AllTime       Totals      `json:"allTime"`
	// Thresholds are the active ones that cover the usage type; left out for
	// viewers who see no limits.
	Thresholds []ThresholdStatus `json:"thresholds,omitzero"`
}

// CurrentUsage tells what a licence has used today, in its current billing
// month and in all, and how near its limits are. It is always live: it holds
// every event acknowledged before the question.
func (q *Query) CurrentUsage(ctx context.Context, req CurrentRequest) (out CurrentUsage, err error) {
	types, err := checkTypes([]string{req.UsageType})
	if err != nil {
		return out, err
	}
	err = q.read(ctx, "currentUsage", req.Viewer, req.LicenseID, func(r *reading) error {
		out, err = r.current(ctx, types)
		return err
	})
	return out, err
}

func (r *reading) current(ctx context.Context, types []string) (out CurrentUsage, err error) {
	out = CurrentUsage{
		LicenseID: r.license.ID, Timezone: r.license.Timezone, Currency: r.license.Currency,
		UsageType: usance.AllTypes, AsOf: r.now,
	}
	covers := func(*usance.Threshold) bool { return true }
	if types != nil {
		out.UsageType = types[0]
		covers = func(t *usance.Threshold) bool { return t.Covers(types[0]) }
	}
	today, month := r.window(usance.PeriodDaily, types), r.window(usance.PeriodMonthly, types)
	ever := &part{question: question{rng: r.days(usance.MinDate, usance.MaxDate), types: types}}
	if err := r.summarize(ctx, today.part, month.part, ever); err != nil {
		return out, err
	}
	out.Today, out.CurrentPeriod, out.AllTime = today.usage(r.zone), month.usage(r.zone), ever.totals()
	if r.viewer.NoLimits == nil {
		out.Thresholds, err = r.thresholds(ctx, covers)
	}
	return out, err
}

// window is a period that is asked about.
type window struct {
	usance.Period
	*part
}

// window asks for the usage of the period of a type that holds today.
func (r *reading) window(t usance.PeriodType, types []string) window {
	p := usance.PeriodOf(t, r.today, r.license.BillingAnchorDay)
	return window{p, &part{question: question{rng: r.days(p.Start, p.End), types: types}}}
}

func (w window) usage(zone *time.Location) WindowUsage {
	start, end := w.Bounds(zone)
	return WindowUsage{
		PeriodType: w.Type, Start: w.Start, End: w.End, StartAt: start.In(zone), EndAt: end.In(zone), Totals: w.totals(),
	}
}
