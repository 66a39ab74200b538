package query

import (
	"context"
	"slices"
	"time"

	"github.com/usance/usance"
)

// ThresholdRequest asks how near the limits of a licence are.
type ThresholdRequest struct {
	Viewer      Viewer `json:"-"`
	LicenseID   string `json:"licenseId"`
	ThresholdID string `json:"thresholdId,omitempty"` // none: every active one
}

// State says in a word how a threshold's current period stands.
type State string

// The states, from least to most used.
const (
	StateOK           State = "ok"            // below every warning level
	StateWarning      State = "warning"       // at a warning level, below the limit
	StateLimitReached State = "limit_reached" // at the limit; one that only alerts stays so beyond it
	StateGrace        State = "grace"         // past the limit, within the grace
	StateBlocked      State = "blocked"       // nothing more is admitted
	StateOverage      State = "overage"       // what comes is billed
)

// States are all of them.
var States = []State{StateOK, StateWarning, StateLimitReached, StateGrace, StateBlocked, StateOverage}

// ThresholdStatus is a threshold with the state of its current period, or, when
// it is to judge from a later one on, of that.
type ThresholdStatus struct {
	ThresholdID     string            `json:"thresholdId"`
	LicenseID       string            `json:"licenseId"`
	UsageType       string            `json:"usageType"`
	PeriodType      usance.PeriodType `json:"periodType"`
	IsActive        bool              `json:"isActive"`
	Status          State             `json:"status"`
	Used            int64             `json:"used"`
	LimitQuantity   int64             `json:"limitQuantity"`
	GracePercentage int               `json:"gracePercentage"`
	LimitWithGrace  int64             `json:"limitWithGrace"`
	AllowOverage    bool              `json:"allowOverage"`
	Remaining       int64             `json:"remaining"` // units until limitWithGrace, never negative
	Percent         float64           `json:"percent"`   // of limitQuantity
	WarningLevels   []int             `json:"warningLevels"`
	Level           int               `json:"level"` // highest warning level reached, 0 for none
	LastWarningAt   *time.Time        `json:"lastWarningAt,omitempty"`
	EffectiveFrom   usance.Date       `json:"effectiveFrom"`
	// The period's bounds as local dates and as instants, ends exclusive. The one
	// period of a total threshold has none.
	PeriodStart   *usance.Date `json:"periodStart,omitempty"`
	PeriodEnd     *usance.Date `json:"periodEnd,omitempty"`
	PeriodStartAt *time.Time   `json:"periodStartAt,omitempty"`
	PeriodEndAt   *time.Time   `json:"periodEndAt,omitempty"`
	Overage       *OverageNow  `json:"overage,omitempty"` // only where overage is billed
}

// OverageNow is the overage of a period as it stands.
type OverageNow struct {
	Quantity         int64         `json:"quantity"` // units past the limit with grace
	FeeCents         int64         `json:"feeCents"`
	Currency         string        `json:"currency"`
	OverageRateCents *usance.Rate  `json:"overageRateCents,omitempty"`
	OverageTiers     []usance.Tier `json:"overageTiers,omitempty"`
}

// ThresholdStatus tells how the thresholds of a licence stand, in the order of
// their ids: every active one, or the one named, retired or not.
func (q *Query) ThresholdStatus(ctx context.Context, req ThresholdRequest) (out []ThresholdStatus, err error) {
	if req.Viewer.NoLimits != nil {
		return nil, req.Viewer.NoLimits
	}
	err = q.read(ctx, "thresholdStatus", req.Viewer, req.LicenseID, func(r *reading) error {
		if req.ThresholdID == "" {
			out, err = r.thresholds(ctx, func(*usance.Threshold) bool { return true })
			return err
		}
		t, err := r.view.Threshold(ctx, req.ThresholdID)
		if err == nil && t.LicenseID != r.license.ID || err != nil && usance.ErrorCode(err) == usance.CodeNotFound {
			return usance.NewError(usance.CodeNotFound, "no threshold %q; check the id", req.ThresholdID)
		}
		if err != nil {
			return err
		}
		out, err = r.states(ctx, []usance.Threshold{t})
		return err
	})
	return out, err
}

// thresholds gives the state of the active thresholds that are wanted.
func (r *reading) thresholds(ctx context.Context, wanted func(*usance.Threshold) bool) ([]ThresholdStatus, error) {
	var all []usance.Threshold
	page := usance.Page{Limit: 1000}
	for {
		rows, next, err := r.view.Thresholds(ctx, usance.ThresholdFilter{LicenseID: r.license.ID}, page)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if wanted(&rows[i]) {
				all = append(all, rows[i])
			}
		}
		if next == "" {
			return r.states(ctx, all)
		}
		page.Cursor = next
	}
}

// states reads the thresholds' counters and works out how each stands.
func (r *reading) states(ctx context.Context, thresholds []usance.Threshold) ([]ThresholdStatus, error) {
	periods := make([]usance.Period, len(thresholds))
	keys := make([]usance.CounterKey, len(thresholds))
	for i, t := range thresholds {
		periods[i] = usance.PeriodOf(t.PeriodType, max(r.today, t.EffectiveFrom), r.license.BillingAnchorDay)
		keys[i] = usance.CounterKey{LicenseID: t.LicenseID, ThresholdID: t.ID, PeriodStart: periods[i].Start}
	}
	sorted := slices.SortedFunc(slices.Values(keys), usance.CounterKey.Compare)
	found, err := r.view.Counters(ctx, sorted)
	if err != nil {
		return nil, err
	}
	counters := make(map[usance.CounterKey]usance.Counter, len(found))
	for _, c := range found {
		counters[c.CounterKey] = c
	}
	rows, err := r.view.Revisions(ctx, sorted)
	if err != nil {
		return nil, err
	}
	revisions := usance.GroupRevisions(rows)
	out := make([]ThresholdStatus, len(thresholds))
	for i := range thresholds {
		// A counter that does not exist has counted nothing.
		c := counters[keys[i]]
		if out[i], err = r.state(&thresholds[i], &c, periods[i], revisions[keys[i]]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *reading) state(t *usance.Threshold, c *usance.Counter, p usance.Period, revisions []usance.Overage) (ThresholdStatus, error) {
	terms := c.TermsOf(t)
	s := ThresholdStatus{
		ThresholdID: t.ID, LicenseID: t.LicenseID, UsageType: t.UsageType, PeriodType: t.PeriodType, IsActive: t.IsActive,
		Used: c.Quantity, LimitQuantity: terms.LimitQuantity, GracePercentage: terms.GracePercentage,
		LimitWithGrace: terms.LimitWithGrace(), AllowOverage: terms.AllowOverage,
		Percent: percent(c.Quantity, terms.LimitQuantity), WarningLevels: t.WarningLevels,
		Level: t.Level(c.Quantity, terms.LimitQuantity), LastWarningAt: t.LastWarningAt, EffectiveFrom: t.EffectiveFrom,
	}
	s.Remaining = max(0, s.LimitWithGrace-s.Used)
	s.Status = stateOf(terms, s.Used, s.Level)
	if t.PeriodType != usance.PeriodTotal {
		start, end := p.Bounds(r.zone)
		start, end = start.In(r.zone), end.In(r.zone)
		s.PeriodStart, s.PeriodEnd, s.PeriodStartAt, s.PeriodEndAt = &p.Start, &p.End, &start, &end
	}
	if terms.Kind() == usance.KindRated {
		o := OverageNow{
			Currency: r.license.Currency, OverageRateCents: terms.OverageRateCents, OverageTiers: terms.OverageTiers,
		}
		var err error
		if o.Quantity, o.FeeCents, err = t.Due(*c, revisions); err != nil {
			return s, err
		}
		s.Overage = &o
	}
	return s, nil
}

// stateOf names the state of a period that has used so much.
func stateOf(terms usance.Terms, used int64, level int) State {
	limit, withGrace := terms.LimitQuantity, terms.LimitWithGrace()
	switch kind := terms.Kind(); {
	case used < limit && level > 0:
		return StateWarning
	case used < limit:
		return StateOK
	case kind == usance.KindAlert:
		return StateLimitReached
	case kind == usance.KindHard && used >= withGrace:
		return StateBlocked
	case kind == usance.KindRated && used > withGrace:
		return StateOverage
	case used == limit:
		return StateLimitReached
	}
	return StateGrace
}
