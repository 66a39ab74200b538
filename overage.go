package usance

import (
	"slices"
	"time"
)

// Overage is the usage of one period past its limit with grace, and what it
// costs. Revision 1 grows with the period; what changes after it was settled
// is a further revision that holds the signed difference, so that the sum over
// revisions is always the truth and no issued row ever changes.
type Overage struct {
	ID                 ID            `json:"id"`
	LicenseID          string        `json:"licenseId"`
	ThresholdID        string        `json:"thresholdId"`
	Revision           int           `json:"revision"` // from 1 within a threshold and period
	PeriodDate         Date          `json:"-"`        // the period's first local day: with ThresholdID the counter's key
	PeriodStart        time.Time     `json:"periodStart"`
	PeriodEnd          time.Time     `json:"periodEnd"` // exclusive
	UsageType          string        `json:"usageType"`
	LimitQuantity      int64         `json:"limitQuantity"`
	GracePercentage    int           `json:"gracePercentage"`
	ActualQuantity     int64         `json:"actualQuantity"`  // the period's usage at this revision
	OverageQuantity    int64         `json:"overageQuantity"` // units billed by this revision; negative when it takes back
	OverageRateCents   *Rate         `json:"overageRateCents,omitempty"`
	OverageTiers       []Tier        `json:"overageTiers,omitempty"`
	CalculatedFeeCents int64         `json:"calculatedFeeCents"` // cents; negative when it takes back
	BilledFeeCents     *int64        `json:"billedFeeCents,omitempty"`
	Currency           string        `json:"currency"`
	Status             OverageStatus `json:"status"`
	DisputedFrom       OverageStatus `json:"disputedFrom,omitempty"` // the state that a dispute left
	ApprovedBy         string        `json:"approvedBy,omitempty"`
	ApprovedAt         *time.Time    `json:"approvedAt,omitempty"`
	StripeInvoiceID    string        `json:"stripeInvoiceId,omitempty"`
	BilledAt           *time.Time    `json:"billedAt,omitempty"`
	Notes              string        `json:"notes,omitempty"`
	Metadata           RawJSON       `json:"metadata,omitempty"`
	DetectedAt         time.Time     `json:"detectedAt"`
	SettleAt           time.Time     `json:"settleAt"` // when a DETECTED row is put up for approval
	SettledAt          *time.Time    `json:"settledAt,omitempty"`
	UpdatedAt          time.Time     `json:"updatedAt"`
}

// counter names the counter that the overage is of.
func (o *Overage) counter() CounterKey {
	return CounterKey{LicenseID: o.LicenseID, ThresholdID: o.ThresholdID, PeriodStart: o.PeriodDate}
}

// accrue gives the revision to write after counter c changed, nil when none
// does. The sum over all revisions' quantities and fees equals the overage of
// the counter's quantity and its fee.
func accrue(t *Threshold, c *Counter, terms Terms, revisions []Overage, m Moment) (*Overage, error) {
	if terms.Kind() != KindRated && len(revisions) == 0 {
		return nil, nil
	}
	growing, settled := partOf(revisions)
	last := 0
	for i := range revisions {
		last = max(last, revisions[i].Revision)
	}
	total, fee, err := t.due(c, terms, settled)
	if err != nil {
		return nil, err
	}
	for i := range settled {
		total -= settled[i].OverageQuantity
		fee -= settled[i].CalculatedFeeCents
	}
	if growing == nil && total == 0 && fee == 0 {
		return nil, nil
	}
	o := Overage{
		LicenseID: t.LicenseID, ThresholdID: t.ID, Revision: last + 1, PeriodDate: c.PeriodStart,
		UsageType: t.UsageType, Status: OverageDetected, DetectedAt: m.Now, SettleAt: settleAt(t, c, m),
	}
	p := Period{Type: t.PeriodType, Start: c.PeriodStart, End: c.PeriodEnd}
	o.PeriodStart, o.PeriodEnd = p.Bounds(m.Zone)
	if growing != nil {
		if growing.ActualQuantity == c.Quantity && growing.OverageQuantity == total && growing.CalculatedFeeCents == fee &&
			growing.LimitQuantity == terms.LimitQuantity && growing.GracePercentage == terms.GracePercentage && growing.price().Equal(terms.Price()) {
			return nil, nil
		}
		o = *growing
	}
	o.LimitQuantity, o.GracePercentage = terms.LimitQuantity, terms.GracePercentage
	o.OverageRateCents, o.OverageTiers = terms.OverageRateCents, terms.OverageTiers
	o.ActualQuantity, o.OverageQuantity, o.CalculatedFeeCents = c.Quantity, total, fee
	o.UpdatedAt = m.Now
	return &o, nil
}

// Due gives the units of a counter past its limit with grace, and what they cost
// in cents, where revisions are the overage rows of its period. A fee above
// MaxCents is an error.
func (t *Threshold) Due(c Counter, revisions []Overage) (units, feeCents int64, err error) {
	_, settled := partOf(revisions)
	return t.due(&c, c.TermsOf(t), settled)
}

// partOf tells the revision that still grows, if any, from those that do not.
func partOf(revisions []Overage) (growing *Overage, settled []Overage) {
	for i := range revisions {
		if r := &revisions[i]; r.Status == OverageDetected {
			growing = r
		} else {
			settled = append(settled, *r)
		}
	}
	return growing, settled
}

// due is Due under the given terms.
//
// A total has no end whose terms hold for all of it: what was settled keeps its
// price, and the terms price what comes on top. Units that are taken back are
// those that were billed last, at the price that they were billed at, so that
// the sum depends on what counts now and not on the way there.
func (t *Threshold) due(c *Counter, terms Terms, settled []Overage) (total, fee int64, err error) {
	if terms.Kind() != KindRated {
		return 0, 0, nil
	}
	total = max(0, c.Quantity-terms.LimitWithGrace())
	if t.PeriodType != PeriodTotal {
		fee, err = terms.Price().Fee(total)
		return total, fee, err
	}
	billed := int64(0)
	for i := range settled {
		billed += settled[i].OverageQuantity
	}
	layers := append(slices.Clone(settled), Overage{
		OverageQuantity: total - billed, OverageRateCents: terms.OverageRateCents, OverageTiers: terms.OverageTiers,
	})
	for i, rest, below := len(layers)-1, total, total; i >= 0; i-- {
		below -= layers[i].OverageQuantity
		if rest <= below {
			continue // taken back since
		}
		part, err := layers[i].price().between(below, rest)
		if err != nil {
			return 0, 0, err
		}
		fee += part
		rest = below
	}
	if fee > MaxCents {
		return 0, 0, errFee(total)
	}
	return total, fee, nil
}

func (o *Overage) price() Price { return Price{Rate: o.OverageRateCents, Tiers: o.OverageTiers} }

// settleAt is when a row that is detected now goes up for approval: LateGrace
// after the end of its period, or, when that period is closed already, of the
// period of the same type that is open now. The one period of a "total"
// threshold never ends: it is settled after each month.
func settleAt(t *Threshold, c *Counter, m Moment) time.Time {
	end := c.PeriodEnd
	if c.State == CounterClosed || t.PeriodType == PeriodTotal {
		p := t.PeriodType
		if p == PeriodTotal {
			p = PeriodMonthly
		}
		end = PeriodOf(p, DateOf(m.Now, m.Zone), m.AnchorDay).End
	}
	return end.Start(m.Zone).Add(m.LateGrace)
}
