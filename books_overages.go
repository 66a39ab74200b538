package usance

import (
	"fmt"
	"slices"
	"time"
)

// MaxLateGrace is the longest that the late grace can be.
const MaxLateGrace = 31 * 24 * time.Hour

// What to do about rows that no recalculation rewrites.
const (
	counterByHand = "put terms of this row of license_usage_counters back by hand, or the row from a backup"
	overageByHand = "no recalculation rewrites it: put the row of license_usage_overages back by hand, or from a backup"
)

// misjudged says what is wrong with the terms that a counter holds for itself;
// nothing when it holds none, or well.
func (t *Threshold) misjudged(c *Counter) string {
	if c.Terms == nil {
		return ""
	}
	if c.Terms.LimitQuantity < 1 || c.Terms.GracePercentage < 0 || c.Terms.GracePercentage > 100 || c.Terms.Price().Validate() != nil {
		return fmt.Sprintf("the counter holds terms that no threshold can have: a limit of %d units and a grace of %d percent", c.Terms.LimitQuantity, c.Terms.GracePercentage)
	}
	return ""
}

// misfiled says what is wrong with one overage row beside its sums: what its
// threshold, its counter's period and its licence settle for good. mendable tells
// that a recalculation puts it right.
func (t *Threshold) misfiled(c *Counter, r *Overage, l *License, m Moment) (problem string, mendable bool) {
	wrong := func(format string, args ...any) string {
		return fmt.Sprintf("revision %d (%s) ", r.Revision, r.Status) + fmt.Sprintf(format, args...)
	}
	p := PeriodOf(t.PeriodType, c.PeriodStart, m.AnchorDay)
	start, end := p.Bounds(m.Zone)
	state := r.Status
	if state == OverageDisputed {
		state = r.DisputedFrom
	}
	approved := slices.Contains([]OverageStatus{OverageApproved, OverageBilled, OveragePaid}, state)
	switch {
	case !slices.Contains(OverageStatuses, r.Status):
		return wrong("is in a state that there is not"), false
	case r.Status != OverageDetected && c.State != c.State.Closed() && t.PeriodType != PeriodTotal && m.Now.Before(end.Add(-clockSlack)):
		return wrong("is settled, though its period goes on until %s", end.UTC().Format(time.RFC3339)), false
	case !r.PeriodStart.Equal(start) || !r.PeriodEnd.Equal(end):
		return wrong("says that its period is from %s to %s, by the licence's calendar it is from %s to %s", r.PeriodStart.UTC().Format(time.RFC3339),
			r.PeriodEnd.UTC().Format(time.RFC3339), start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339)), false
	case r.Status == OverageDetected && r.SettledAt != nil:
		return wrong("was settled on %s", r.SettledAt.UTC().Format(time.RFC3339)), false
	case r.Status == OverageDisputed && overageMoves[ActionDispute][r.DisputedFrom] == "":
		return wrong("left the state %q, which no dispute can", r.DisputedFrom), false
	case r.Status != OverageDetected && r.SettledAt == nil:
		return wrong("has no time at which it was settled"), false
	case approved && r.ApprovedAt == nil:
		return wrong("has no time at which it was approved"), false
	case !approved && r.ApprovedAt != nil && state != OverageWaived:
		return wrong("was approved on %s", r.ApprovedAt.UTC().Format(time.RFC3339)), false
	case r.UsageType != t.UsageType:
		return wrong("is of usage type %q, its threshold is of %q", r.UsageType, t.UsageType), false
	case r.Currency != l.Currency:
		return wrong("is in %s, its licence is in %s", r.Currency, l.Currency), false
	}
	if last := t.lastSettling(c, r, m); r.Status == OverageDetected && r.SettleAt.After(last) {
		return wrong("goes up for approval on %s, which is due on %s at the latest", r.SettleAt.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339)), false
	}
	if first := t.firstSettling(end, r, m); r.Status == OverageDetected && r.SettleAt.Before(first) {
		return wrong("goes up for approval on %s, which is due on %s at the earliest", r.SettleAt.UTC().Format(time.RFC3339), first.UTC().Format(time.RFC3339)), false
	}
	if terms := c.TermsOf(t); r.Status == OverageDetected && c.State.Moves() &&
		(r.LimitQuantity != terms.LimitQuantity || r.GracePercentage != terms.GracePercentage || !r.price().Equal(terms.Price())) {
		return wrong("has another limit, grace or price than its counter is judged by"), true
	}
	if r.Revision == 1 && r.OverageQuantity >= 0 { // a later one holds a difference
		if fee, err := r.price().Fee(r.OverageQuantity); err == nil && fee != r.CalculatedFeeCents {
			return wrong("charges %d cents, its price for its %d units comes to %d cents", r.CalculatedFeeCents, r.OverageQuantity, fee), false
		}
	}
	return "", false
}

// firstSettling is the earliest instant at which a row that is detected can have been
// planned to go up for approval: a period has to end. A total does not; what it
// overran by goes up after its month, in which it was detected or which was over then.
func (t *Threshold) firstSettling(end time.Time, r *Overage, m Moment) time.Time {
	if t.PeriodType == PeriodTotal {
		return PeriodOf(PeriodMonthly, DateOf(r.DetectedAt, m.Zone), m.AnchorDay).Start.Start(m.Zone)
	}
	return end
}

// lastSettling is the latest instant at which a row that is detected can have been
// planned to go up for approval, whatever the late grace was then.
func (t *Threshold) lastSettling(c *Counter, r *Overage, m Moment) time.Time {
	kind, end := t.PeriodType, c.PeriodEnd
	if kind == PeriodTotal {
		kind, end = PeriodMonthly, MinDate
	}
	return max(end, PeriodOf(kind, DateOf(r.DetectedAt, m.Zone), m.AnchorDay).End).Start(m.Zone).Add(MaxLateGrace)
}
