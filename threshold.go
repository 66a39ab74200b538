package usance

import (
	"fmt"
	"slices"
	"time"
)

// DefaultWarningLevels are the percents of limitQuantity that raise an alert.
var DefaultWarningLevels = []int{50, 75, 90, 100}

// Terms are what a threshold holds a period to. A period that has ended keeps
// those that were in force at its end, whatever the threshold says later.
type Terms struct {
	LimitQuantity    int64  `json:"limitQuantity"`              // units, 1 to 10^15
	GracePercentage  int    `json:"gracePercentage"`            // percent of the limit, 0 to 100
	AllowOverage     bool   `json:"allowOverage"`               // false: usage past the limit with grace is blocked
	OverageRateCents *Rate  `json:"overageRateCents,omitempty"` // decimal cents per unit
	OverageTiers     []Tier `json:"overageTiers,omitempty"`     // graduated, instead of the one rate
}

// Bounds of the thresholds of one licence: each is looked at with every event.
const (
	MaxThresholds      = 200 // retired ones too
	MaxBrandThresholds = 100 // of those, set by brands
	MaxAlertThresholds = 20  // active ones that only alert
)

// Kind tells what a threshold is for.
type Kind int

// A threshold limits, bills or only alerts. At most one that limits or bills
// stands for a licence, usage type and period type; any number may alert.
const (
	KindAlert Kind = iota // allowOverage without a price
	KindHard              // blocks at the limit with grace
	KindRated             // bills what passes the limit with grace
)

// Kind follows from allowOverage and the price.
func (t Terms) Kind() Kind {
	switch {
	case !t.AllowOverage:
		return KindHard
	case t.OverageRateCents != nil || len(t.OverageTiers) > 0:
		return KindRated
	}
	return KindAlert
}

// LimitWithGrace is floor(limit × (100 + grace) / 100).
func (t Terms) LimitWithGrace() int64 {
	return t.LimitQuantity * int64(100+t.GracePercentage) / 100
}

// Price is what a unit of overage costs.
func (t Terms) Price() Price { return Price{Rate: t.OverageRateCents, Tiers: t.OverageTiers} }

// Threshold is a limit, a price or an alarm on the usage of a licence per period.
type Threshold struct {
	ID         string     `json:"id"`
	LicenseID  string     `json:"licenseId"`
	UsageType  string     `json:"usageType"` // a slug, or "all"
	PeriodType PeriodType `json:"periodType"`
	Terms
	WarningLevels    []int      `json:"warningLevels"` // percent of limitQuantity, ascending, 1 to 1000
	IsActive         bool       `json:"isActive"`
	ByBrand          bool       `json:"byBrand,omitempty"`          // set by a brand: it alerts, and its brand may change it
	LastWarningLevel *int       `json:"lastWarningLevel,omitempty"` // highest level alerted in the current period
	LastWarningAt    *time.Time `json:"lastWarningAt,omitempty"`
	EffectiveFrom    Date       `json:"effectiveFrom"` // first local day of the first period it judges
	RetiredAt        *time.Time `json:"retiredAt,omitempty"`
	Epoch            int        `json:"-"` // raised with each change of the limit: levels alert anew
	CreatedAt        time.Time  `json:"createdAt"`
	UpdatedAt        time.Time  `json:"updatedAt"`
}

// Validate checks every field.
func (t *Threshold) Validate() error {
	if err := ValidateID("licenseId", t.LicenseID); err != nil {
		return err
	}
	if t.UsageType != AllTypes {
		if err := ValidateUsageType(t.UsageType); err != nil {
			return err
		}
	}
	if err := ValidateWord("periodType", t.PeriodType, PeriodTypes); err != nil {
		return err
	}
	if t.LimitQuantity < 1 || t.LimitQuantity > MaxTotal {
		return Invalid("limitQuantity", "must be an integer from 1 to %d", int64(MaxTotal))
	}
	if t.GracePercentage < 0 || t.GracePercentage > 100 {
		return Invalid("gracePercentage", "must be an integer from 0 to 100")
	}
	if !t.AllowOverage && (t.OverageRateCents != nil || len(t.OverageTiers) > 0) {
		return Invalid("overageRateCents", "needs allowOverage: true; without it usage is blocked at the limit and nothing is billed")
	}
	if err := t.Price().Validate(); err != nil {
		return err
	}
	if len(t.WarningLevels) > 20 {
		return Invalid("warningLevels", "must be at most 20 percents")
	}
	for i, l := range t.WarningLevels {
		if l < 1 || l > 1000 || i > 0 && l <= t.WarningLevels[i-1] {
			return Invalid("warningLevels", "must be ascending percents from 1 to 1000")
		}
	}
	return nil
}

// UnreadableError tells of a threshold's row that cannot be read, or holds what no
// threshold can: its table allows that whoever writes it by SQL. It is for operators:
// it names the table, and may hold the database's own words.
type UnreadableError struct {
	LicenseID, ThresholdID, Problem string
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("the threshold %s of licence %q %s; put its row right in license_usage_thresholds", e.ThresholdID, e.LicenseID, e.Problem)
}

// CheckStored looks at a threshold that a store has read, as far as its row could be:
// read is what reading it failed by, which is given back where it came before the row
// was known. Otherwise what is wrong is an *UnreadableError.
func (t *Threshold) CheckStored(read error) error {
	wrong := func(format string, args ...any) error {
		return &UnreadableError{t.LicenseID, t.ID, fmt.Sprintf(format, args...)}
	}
	switch {
	case read != nil && t.LicenseID == "":
		return read
	case read != nil:
		return wrong("cannot be read: %v", read)
	case !slices.Contains(PeriodTypes, t.PeriodType):
		return wrong("holds the period type %q, which is none of %s", t.PeriodType, JoinWords(PeriodTypes))
	case t.LimitQuantity < 0 || t.LimitQuantity > MaxTotal: // of 0 it blocks all
		return wrong("holds the limit %d, which is not from 0 to %d", t.LimitQuantity, int64(MaxTotal))
	case t.GracePercentage < 0 || t.GracePercentage > 100:
		return wrong("holds the grace percentage %d, which is not from 0 to 100", t.GracePercentage)
	case t.EffectiveFrom < MinDate || t.EffectiveFrom > MaxDate || !writable(&t.CreatedAt) || !writable(&t.UpdatedAt) || !writable(t.RetiredAt) || !writable(t.LastWarningAt):
		return wrong("holds a date or time beyond the years 1 to 9999")
	}
	price := t.Price()
	if price.Rate != nil {
		price.Tiers = nil // which Fee leaves alone
	}
	if err := price.Validate(); err != nil {
		return wrong("holds a price that is none: %v", err)
	}
	return nil
}

// writable tells whether JSON can hold the time.
func writable(t *time.Time) bool { return t == nil || t.Year() >= 0 && t.Year() <= 9999 }

// Clone is a deep copy.
func (t *Threshold) Clone() Threshold {
	out := *t
	out.OverageRateCents = clone(t.OverageRateCents)
	out.OverageTiers = slices.Clone(t.OverageTiers)
	out.WarningLevels = slices.Clone(t.WarningLevels)
	out.LastWarningLevel = clone(t.LastWarningLevel)
	out.LastWarningAt = clone(t.LastWarningAt)
	out.RetiredAt = clone(t.RetiredAt)
	return out
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Covers tells whether usage of the type moves the threshold's counter.
func (t *Threshold) Covers(usageType string) bool {
	return t.UsageType == AllTypes || t.UsageType == usageType
}

// Overlaps tells whether some usage type is covered by both.
func (t *Threshold) Overlaps(o *Threshold) bool {
	return t.UsageType == AllTypes || o.UsageType == AllTypes || t.UsageType == o.UsageType
}

// Level is the highest warning level that a quantity has reached; 0 for none.
func (t *Threshold) Level(quantity int64, limit int64) int {
	reached := 0
	for _, l := range t.WarningLevels {
		if quantity > 0 && quantity*100 >= int64(l)*limit {
			reached = l
		}
	}
	return reached
}

// CounterState is how far a counter's period has come.
type CounterState string

// An open counter moves with usage. A frozen one belongs to a threshold that
// was retired within the period: nothing moves it but a revival, neither later
// usage nor a void of what it counted. A closed one moves still, each change
// making a revision of the overage. A final one was frozen when its period
// closed, and never moves again.
const (
	CounterOpen   CounterState = "open"
	CounterFrozen CounterState = "frozen"
	CounterClosed CounterState = "closed"
	CounterFinal  CounterState = "final"
)

// Moves tells whether usage counts into a counter of the state.
func (s CounterState) Moves() bool { return s == CounterOpen || s == CounterClosed }

// Closed is the state that a counter comes to when its period closes.
func (s CounterState) Closed() CounterState {
	if s.Moves() {
		return CounterClosed
	}
	return CounterFinal
}

// CounterKey names a counter.
type CounterKey struct {
	LicenseID   string
	ThresholdID string
	PeriodStart Date
}

// Compare orders keys as every multi-row write must: by licence, threshold, period.
func (k CounterKey) Compare(o CounterKey) int {
	switch {
	case k.LicenseID != o.LicenseID:
		return cmpString(k.LicenseID, o.LicenseID)
	case k.ThresholdID != o.ThresholdID:
		return cmpString(k.ThresholdID, o.ThresholdID)
	}
	return int(k.PeriodStart) - int(o.PeriodStart)
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Counter is what a threshold has counted in one of its periods.
type Counter struct {
	CounterKey
	PeriodEnd Date
	Quantity  int64 // units counted
	Level     int   // highest warning level alerted in this period and epoch
	State     CounterState
	Terms     *Terms // those at the period's end, once it has ended and the threshold changed or it closed; nil: the threshold's
}

// TermsOf gives the terms that judge the counter.
func (c *Counter) TermsOf(t *Threshold) Terms {
	if c.Terms != nil {
		return *c.Terms
	}
	return t.Terms
}

// Usage is the counter's state as answers show it.
func (c *Counter) Usage(t *Threshold) Usage {
	limit := c.TermsOf(t).LimitWithGrace()
	u := Usage{
		ThresholdID: t.ID, UsageType: t.UsageType,
		Used: c.Quantity, Limit: limit, Remaining: max(0, limit-c.Quantity),
	}
	if c.PeriodStart != MinDate { // as a total's has
		start := c.PeriodStart
		u.PeriodStart = &start
	}
	return u
}

// Moment is when, and by which licence's calendar, a change is judged.
type Moment struct {
	Now       time.Time
	Zone      *time.Location
	AnchorDay int
	LateGrace time.Duration // how long after a period's end it stays open
}

// Verdict is what a changed counter brings about.
type Verdict struct {
	Counter Counter  // with its level moved
	Alerts  []Alert  // without ids; none for a level alerted before
	Overage *Overage // the revision to write, if any changed; a zero ID means a new row
	Former  *Overage // what Overage rewrites; nil for a new row
	// Warned tells that the threshold's lastWarningLevel and lastWarningAt move.
	Warned bool
}

// Judge works out alerts and overage after the counter c changed; revisions
// are all overage rows of its period. It is the one place that does, for
// ingest, threshold changes, recalculation and closing alike.
//
// Several levels jumped at once raise one alert, the highest. A counter of
// another period than the current one alerts, but leaves the threshold's own
// level alone. A closed counter raises no alert: its change is a revision.
func (t *Threshold) Judge(c Counter, revisions []Overage, m Moment) (Verdict, error) {
	v := Verdict{Counter: c}
	terms := c.TermsOf(t)
	level := t.Level(c.Quantity, terms.LimitQuantity)
	if c.State == CounterOpen && level > c.Level {
		v.Counter.Level = level
		today := DateOf(m.Now, m.Zone)
		v.Warned = c.PeriodStart <= today && today < c.PeriodEnd
		v.Alerts = append(v.Alerts, t.alert(AlertThreshold, level, &c, m.Now))
	}
	o, err := accrue(t, &v.Counter, terms, revisions, m)
	if err != nil {
		return v, err
	}
	if v.Overage = o; o != nil && !o.ID.IsZero() {
		v.Former, _ = partOf(revisions)
	}
	if o != nil && len(revisions) == 0 && o.OverageQuantity > 0 && c.State == CounterOpen {
		v.Alerts = append(v.Alerts, t.alert(AlertOverage, 0, &c, m.Now))
	}
	return v, nil
}

func (t *Threshold) alert(kind AlertKind, level int, c *Counter, now time.Time) Alert {
	return Alert{
		Kind: kind, LicenseID: t.LicenseID, ThresholdID: t.ID, UsageType: t.UsageType,
		PeriodStart: c.PeriodStart, PeriodEnd: c.PeriodEnd, Level: level, Epoch: t.Epoch,
		Quantity: c.Quantity, LimitQuantity: c.TermsOf(t).LimitQuantity, CreatedAt: now,
	}
}

// SortedLevels gives warning levels ascending without repeats, or the defaults
// when none were named.
func SortedLevels(levels []int) []int {
	if levels == nil {
		return slices.Clone(DefaultWarningLevels)
	}
	out := slices.Clone(levels)
	slices.Sort(out)
	return slices.Compact(out)
}
