package usance

import (
	"slices"
	"time"
)

// AlertKind is what an alert tells of.
type AlertKind string

// The kinds of alert.
const (
	AlertThreshold AlertKind = "threshold" // a warning level was reached
	AlertOverage   AlertKind = "overage"   // billable usage began in a period
	AlertForecast  AlertKind = "forecast"  // a limit is about to be passed

	// Usage that is not as it was: of a licence and usage type, not of a
	// threshold. The period is the local day.
	AlertSpike         AlertKind = "spike"         // far more than usual
	AlertDrop          AlertKind = "drop"          // far less than usual
	AlertFlat          AlertKind = "flat"          // none at all, or the same again and again
	AlertConcentration AlertKind = "concentration" // one session, source or hour carries most of it
)

// AlertKinds are all of them.
var AlertKinds = []AlertKind{
	AlertThreshold, AlertOverage, AlertForecast, AlertSpike, AlertDrop, AlertFlat, AlertConcentration,
}

// Severity says how far something is from usual.
type Severity string

// The severities.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Severities are all of them, least first.
var Severities = []Severity{SeverityInfo, SeverityWarning, SeverityCritical}

// Rank orders severities from 1 on; 0 is none.
func (s Severity) Rank() int { return slices.Index(Severities, s) + 1 }

// Alert is one notice to the brand and the admins. There is one per licence,
// threshold, period, kind, level and epoch, across nodes and restarts. The epoch
// tells apart what else is told each by itself. Of a threshold's levels it is the
// threshold's own, so that a changed limit alerts anew. Alerts of forecasts are
// numbered by it. Unusual usage has neither threshold nor level; what is told once
// of a day and kind is a usage type in a severity, and the epoch is a hash of
// both: one column does for all kinds, and nobody reads it but the unique key.
type Alert struct {
	ID            ID        `json:"id"`
	Kind          AlertKind `json:"kind"`
	LicenseID     string    `json:"licenseId"`
	ThresholdID   string    `json:"thresholdId,omitempty"`
	UsageType     string    `json:"usageType"`
	PeriodStart   Date      `json:"periodStart"`
	PeriodEnd     Date      `json:"periodEnd"`
	Level         int       `json:"level,omitempty"` // percent of limitQuantity, of the kind threshold
	Epoch         int       `json:"-"`
	Quantity      int64     `json:"quantity"` // units used when it was raised
	LimitQuantity int64     `json:"limitQuantity,omitempty"`
	// What forecasts and unusual usage add: the day by which the limit is passed
	// as likely as not, and how likely it is passed at all; how grave it is, and
	// why, in words.
	PredictedBreachDate *Date      `json:"predictedBreachDate,omitempty"`
	BreachProbability   float64    `json:"breachProbability,omitempty"`
	Severity            Severity   `json:"severity,omitempty"`
	Reason              string     `json:"reason,omitempty"`
	CreatedAt           time.Time  `json:"createdAt"`
	AcknowledgedAt      *time.Time `json:"acknowledgedAt,omitempty"`
	AcknowledgedBy      string     `json:"acknowledgedBy,omitempty"`
}
