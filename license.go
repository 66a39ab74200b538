package usance

import (
	"strings"
	"time"
)

// LicenseStatus is the state of a licence in the host platform.
type LicenseStatus string

// The statuses of a licence.
const (
	LicenseDraft            LicenseStatus = "DRAFT"
	LicensePendingApproval  LicenseStatus = "PENDING_APPROVAL"
	LicensePendingSignature LicenseStatus = "PENDING_SIGNATURE"
	LicenseActive           LicenseStatus = "ACTIVE"
	LicenseExpiringSoon     LicenseStatus = "EXPIRING_SOON"
	LicenseExpired          LicenseStatus = "EXPIRED"
	LicenseRenewed          LicenseStatus = "RENEWED"
	LicenseTerminated       LicenseStatus = "TERMINATED"
	LicenseDisputed         LicenseStatus = "DISPUTED"
	LicenseCanceled         LicenseStatus = "CANCELED"
	LicenseSuspended        LicenseStatus = "SUSPENDED"
)

// LicenseStatuses are all of them.
var LicenseStatuses = []LicenseStatus{
	LicenseDraft, LicensePendingApproval, LicensePendingSignature, LicenseActive, LicenseExpiringSoon,
	LicenseExpired, LicenseRenewed, LicenseTerminated, LicenseDisputed, LicenseCanceled, LicenseSuspended,
}

// Counts tells whether usage under a licence of this status may count: when it
// does, the occurrence decides against the term.
func (s LicenseStatus) Counts() bool {
	switch s {
	case LicenseActive, LicenseExpiringSoon, LicenseExpired, LicenseRenewed, LicenseTerminated, LicenseCanceled:
		return true
	}
	return false
}

// License is the right of a brand to use an asset. Its ids are the host
// platform's own.
type License struct {
	ID                   string        `json:"id"`
	Name                 string        `json:"name,omitempty"`
	BrandID              string        `json:"brandId"` // fixed once usage exists
	AssetID              string        `json:"assetId"` // fixed once usage exists
	Status               LicenseStatus `json:"status"`
	Timezone             string        `json:"timezone"`             // IANA; default UTC; fixed once usage exists
	BillingAnchorDay     int           `json:"billingAnchorDay"`     // 1 to 31; default 1; fixed once usage exists
	Currency             string        `json:"currency"`             // ISO 4217; default USD; fixed once usage exists
	StartDate            string        `json:"startDate,omitempty"`  // first local day, or an instant; empty: unbounded
	EndDate              string        `json:"endDate,omitempty"`    // last local day (inclusive), or an instant (exclusive)
	FeeCents             int64         `json:"feeCents"`             // cents per term, 0 to 10^12
	RevShareBps          int           `json:"revShareBps"`          // creators' share of revenue, basis points
	UsageTrackingEnabled bool          `json:"usageTrackingEnabled"` // default true
	DeletedAt            *time.Time    `json:"deletedAt,omitempty"`
	CreatedAt            time.Time     `json:"createdAt"`
	UpdatedAt            time.Time     `json:"updatedAt"`
}

// NewLicense is a licence with its defaults set.
func NewLicense(id string) License {
	return License{ID: id, Timezone: "UTC", BillingAnchorDay: 1, Currency: "USD", UsageTrackingEnabled: true}
}

// Clone is a deep copy.
func (l *License) Clone() License {
	out := *l
	out.DeletedAt = clone(l.DeletedAt)
	return out
}

// Validate checks every field.
func (l *License) Validate() error {
	for _, f := range []struct{ field, id string }{{"id", l.ID}, {"brandId", l.BrandID}, {"assetId", l.AssetID}} {
		if err := ValidateID(f.field, f.id); err != nil {
			return err
		}
	}
	if err := validateText("name", l.Name, MaxNameRunes); err != nil {
		return err
	}
	if err := ValidateWord("status", l.Status, LicenseStatuses); err != nil {
		return err
	}
	if l.BillingAnchorDay < 1 || l.BillingAnchorDay > 31 {
		return Invalid("billingAnchorDay", "must be a day of the month, 1 to 31")
	}
	if len(l.Currency) != 3 || strings.ToUpper(l.Currency) != l.Currency || strings.Trim(l.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return Invalid("currency", "must be an ISO 4217 code in upper case, such as USD")
	}
	if l.FeeCents < 0 || l.FeeCents > MaxQuantity {
		return Invalid("feeCents", "must be an integer number of cents from 0 to %d", int64(MaxQuantity))
	}
	if l.RevShareBps < 0 || l.RevShareBps > 10_000 {
		return Invalid("revShareBps", "must be basis points, 0 to 10000")
	}
	if l.Timezone == "" {
		return Invalid("timezone", "must be an IANA name such as Europe/Paris; UTC when left out")
	}
	_, _, _, err := l.Term()
	return err
}

// Term gives the licence's zone and the half-open UTC interval in which usage
// counts; an open end is the year 1 or 9999.
func (l *License) Term() (loc *time.Location, from, to time.Time, err error) {
	if loc, err = ParseZone(l.Timezone); err != nil {
		return nil, from, to, err
	}
	from, to = MinDate.Start(time.UTC), MaxDate.Start(time.UTC)
	if l.StartDate != "" {
		if from, err = termBound("startDate", l.StartDate, loc, 0); err != nil {
			return nil, from, to, err
		}
	}
	if l.EndDate != "" {
		if to, err = termBound("endDate", l.EndDate, loc, 1); err != nil {
			return nil, from, to, err
		}
	}
	if !from.Before(to) {
		return nil, from, to, Invalid("endDate", "must not lie before startDate")
	}
	return loc, from, to, nil
}

// termBound reads a local day (shifted by days, so that an end is inclusive)
// or an instant.
func termBound(field, s string, loc *time.Location, days int) (time.Time, error) {
	if d, err := ParseDate(s); err == nil {
		return d.AddDays(days).Start(loc), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1 || t.Year() > 9998 {
		return time.Time{}, Invalid(field, "must be a date YYYY-MM-DD or an RFC 3339 timestamp")
	}
	return t.UTC(), nil
}

// Fixed names the field that differs between l and its earlier state old but
// may not once usage exists; empty when none does. A brand or asset that nobody
// named yet, as of a host platform's own licence, may be named at any time.
func (l *License) Fixed(old *License) string {
	switch {
	case l.BrandID != old.BrandID && old.BrandID != "":
		return "brandId"
	case l.AssetID != old.AssetID && old.AssetID != "":
		return "assetId"
	case l.Timezone != old.Timezone:
		return "timezone"
	case l.BillingAnchorDay != old.BillingAnchorDay:
		return "billingAnchorDay"
	case l.Currency != old.Currency:
		return "currency"
	}
	return ""
}

// Admit says whether usage that occurred at the instant may count: nil, or an
// error of code LICENSE_NOT_FOUND
// (the licence is deleted), TRACKING_DISABLED, LICENSE_NOT_ACTIVE or OUT_OF_TERM.
func (l *License) Admit(occurredAt, from, to time.Time) *Error {
	switch {
	case l.DeletedAt != nil:
		return NewError(CodeLicenseNotFound, "the licence is deleted")
	case !l.UsageTrackingEnabled:
		return NewError(CodeTrackingDisabled, "usage tracking is switched off for this licence; set usageTrackingEnabled and send the event again")
	case !l.Status.Counts():
		return NewError(CodeLicenseNotActive, "the licence is %s; send the event again once it is ACTIVE", l.Status)
	case occurredAt.Before(from) || !occurredAt.Before(to):
		return NewError(CodeOutOfTerm, "the event lies outside the licence's term (startDate to endDate)")
	}
	return nil
}
