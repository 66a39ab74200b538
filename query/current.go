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
	Thresholds []ThresholdStatus `json:"thresholds,omitempty"`
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
	if out.Today, err = r.window(ctx, usance.PeriodDaily, types); err != nil {
		return out, err
	}
	if out.CurrentPeriod, err = r.window(ctx, usance.PeriodMonthly, types); err != nil {
		return out, err
	}
	ever := question{rng: r.days(usance.MinDate, usance.MaxDate), types: types}
	s, _, err := r.summarize(ctx, ever)
	if err != nil {
		return out, err
	}
	out.AllTime = s.totals(ever)
	if r.viewer.Limits {
		out.Thresholds, err = r.thresholds(ctx, covers)
	}
	return out, err
}

// window sums up the period of a type that holds today.
func (r *reading) window(ctx context.Context, t usance.PeriodType, types []string) (WindowUsage, error) {
	p := usance.PeriodOf(t, r.today, r.license.BillingAnchorDay)
	qu := question{rng: r.days(p.Start, p.End), types: types}
	s, _, err := r.summarize(ctx, qu)
	if err != nil {
		return WindowUsage{}, err
	}
	start, end := p.Bounds(r.zone)
	return WindowUsage{
		PeriodType: t, Start: p.Start, End: p.End, StartAt: start.In(r.zone), EndAt: end.In(r.zone), Totals: s.totals(qu),
	}, nil
}
