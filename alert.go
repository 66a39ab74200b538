package usance

import "time"

// AlertKind is what an alert tells of.
type AlertKind string

// The kinds of alert.
const (
	AlertThreshold AlertKind = "threshold" // a warning level was reached
	AlertOverage   AlertKind = "overage"   // billable usage began in a period
)

// AlertKinds are all of them.
var AlertKinds = []AlertKind{AlertThreshold, AlertOverage}

// Alert is one notice to the brand and the admins. There is one per threshold,
// period, kind, level and epoch, across nodes and restarts.
type Alert struct {
	ID             ID         `json:"id"`
	Kind           AlertKind  `json:"kind"`
	LicenseID      string     `json:"licenseId"`
	ThresholdID    string     `json:"thresholdId"`
	UsageType      string     `json:"usageType"`
	PeriodStart    Date       `json:"periodStart"`
	PeriodEnd      Date       `json:"periodEnd"`
	Level          int        `json:"level,omitempty"` // percent of limitQuantity
	Epoch          int        `json:"-"`
	Quantity       int64      `json:"quantity"` // units used when it was raised
	LimitQuantity  int64      `json:"limitQuantity"`
	CreatedAt      time.Time  `json:"createdAt"`
	AcknowledgedAt *time.Time `json:"acknowledgedAt,omitempty"`
	AcknowledgedBy string     `json:"acknowledgedBy,omitempty"`
}

// AuditEntry records who changed what, when and why. Entries are never changed.
type AuditEntry struct {
	ID        ID        `json:"id"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`  // key id, or "job:NAME"
	Action    string    `json:"action"` // such as threshold.update, overage.approve
	Subject   string    `json:"subject"`
	LicenseID string    `json:"licenseId,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Before    RawJSON   `json:"before,omitempty"`
	After     RawJSON   `json:"after,omitempty"`
}
