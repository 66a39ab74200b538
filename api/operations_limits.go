package api

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/query"
)

type thresholdInput struct {
	OfLicense
	UsageType        string            `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"A usage type, or all; all when left out."`
	PeriodType       usance.PeriodType `json:"periodType" doc:"How long a period is."`
	LimitQuantity    int64             `json:"limitQuantity" minimum:"1" maximum:"1000000000000000" doc:"Units per period."`
	GracePercentage  int               `json:"gracePercentage,omitempty" minimum:"0" maximum:"100" doc:"Percent of the limit that is tolerated beyond it."`
	AllowOverage     bool              `json:"allowOverage,omitempty" doc:"false: usage past the limit with grace is blocked."`
	OverageRateCents *usance.Rate      `json:"overageRateCents,omitempty" doc:"Cents per unit of overage; without it and without tiers allowOverage only alerts."`
	OverageTiers     []usance.Tier     `json:"overageTiers,omitempty" doc:"Graduated rates instead of the one."`
	WarningLevels    []int             `json:"warningLevels,omitempty" doc:"Percents of limitQuantity that raise an alert; 50, 75, 90 and 100 when left out."`
}

// ThresholdChange documents what can change of a threshold.
type ThresholdChange struct {
	ThresholdID      string        `json:"thresholdId"`
	LimitQuantity    int64         `json:"limitQuantity,omitempty" minimum:"1" maximum:"1000000000000000"`
	GracePercentage  int           `json:"gracePercentage,omitempty" minimum:"0" maximum:"100"`
	AllowOverage     bool          `json:"allowOverage,omitempty"`
	OverageRateCents *usance.Rate  `json:"overageRateCents,omitempty" nullable:"true" doc:"null takes the rate away."`
	OverageTiers     []usance.Tier `json:"overageTiers,omitempty" nullable:"true" doc:"null takes the tiers away."`
	WarningLevels    []int         `json:"warningLevels,omitempty"`
	IsActive         bool          `json:"isActive,omitempty" doc:"false retires the threshold."`
}

type thresholdRef struct {
	ThresholdID string `json:"thresholdId" doc:"The threshold's id."`
}

func (in *thresholdRef) target() target { return target{threshold: in.ThresholdID} }

type thresholdsInput struct {
	LicenseID string `json:"licenseId,omitempty" doc:"Only of this licence."`
	UsageType string `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"Only of this usage type."`
	Inactive  bool   `json:"inactive,omitempty" doc:"Retired ones too."`
	Paging
}

func (in *thresholdsInput) target() target { return target{license: in.LicenseID} }

type licenseThresholdsInput struct {
	OfLicense
	UsageType string `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"Only of this usage type."`
	Inactive  bool   `json:"inactive,omitempty" doc:"Retired ones too."`
	Paging
}

type statusInput struct {
	OfLicense
	ThresholdID string `json:"thresholdId,omitempty" doc:"Only this one; every active one when left out."`
}

// target names both: a threshold must be one that the caller sees.
func (in *statusInput) target() target {
	return target{license: in.LicenseID, threshold: in.ThresholdID}
}

// ThresholdStatuses is how the thresholds of a licence stand.
type ThresholdStatuses struct {
	LicenseID  string                  `json:"licenseId"`
	Thresholds []query.ThresholdStatus `json:"thresholds"`
}

// ThresholdCheck is which thresholds of a licence call for attention.
type ThresholdCheck struct {
	LicenseID  string                  `json:"licenseId"`
	OK         bool                    `json:"ok" doc:"No threshold has reached a warning level."`
	Checked    int                     `json:"checked" doc:"Active thresholds looked at."`
	Thresholds []query.ThresholdStatus `json:"thresholds" doc:"Those that have reached a warning level or their limit."`
}

type alertsInput struct {
	LicenseID string           `json:"licenseId,omitempty" doc:"Only of this licence."`
	Kind      usance.AlertKind `json:"kind,omitempty"`
	Unread    bool             `json:"unread,omitempty" doc:"Only those not acknowledged."`
	Paging
}

func (in *alertsInput) target() target { return target{license: in.LicenseID} }

type alertRef struct {
	AlertID usance.ID `json:"alertId" doc:"The alert's id."`
	Reason  string    `json:"reason,omitempty" maxLength:"1000" doc:"Kept in the audit trail."`
}

func (in *alertRef) target() target { return target{alert: in.AlertID} }

// changeInput is a partial object that a stage lays over what is stored.
type changeInput struct {
	ID   string
	Body []byte
}

// decodeChange takes the id out of an input and leaves the rest to the stage,
// which alone knows the object it is laid over.
func decodeChange(idField string, keepID bool) func(jsontext.Value) (any, error) {
	return func(v jsontext.Value) (any, error) {
		if len(v) == 0 {
			v = jsontext.Value("{}")
		}
		id, rest, err := cutMember(v, idField)
		if err != nil {
			return nil, err
		}
		in := &changeInput{Body: rest}
		if keepID {
			in.Body = v
		}
		if id == nil {
			return nil, usance.Invalid(idField, "is required")
		}
		if err := json.Unmarshal(id, &in.ID); err != nil || id.Kind() == 'n' {
			return nil, usance.Invalid(idField, "must be a string")
		}
		if in.ID == "" {
			return nil, usance.Invalid(idField, "is required")
		}
		return in, plainText(idField, in.ID)
	}
}

func (a *api) limitOperations() []*operation {
	return []*operation{
		op(operation{
			name: "usage.createThreshold", kind: isMutation, method: "POST", path: "/v1/thresholds", need: access.ManageAlertThresholds, tag: tagLimits,
			summary: "Put a limit, a price or an alarm in force",
			detail:  "allowOverage false blocks at the limit with grace; true with a rate bills what passes it; true without a rate only alerts. Brands may set those that only alert.",
			example: `{"licenseId":"lic_123","usageType":"view","limitQuantity":1000,"periodType":"monthly","gracePercentage":10,"allowOverage":true,"overageRateCents":5}`,
		}, (*thresholdInput).target, func(ctx context.Context, c *Call, in *thresholdInput) (usance.Threshold, error) {
			return a.d.Catalog.CreateThreshold(ctx, usance.Threshold{
				LicenseID: in.LicenseID, UsageType: in.UsageType, PeriodType: in.PeriodType,
				Terms: usance.Terms{
					LimitQuantity: in.LimitQuantity, GracePercentage: in.GracePercentage, AllowOverage: in.AllowOverage,
					OverageRateCents: in.OverageRateCents, OverageTiers: in.OverageTiers,
				},
				WarningLevels: in.WarningLevels,
			}, c.actor(), c.Principal.AlertOnly())
		}),
		op(operation{
			name: "usage.updateThreshold", kind: isMutation, method: "PATCH", path: "/v1/thresholds/{thresholdId}", need: access.ManageAlertThresholds, tag: tagLimits,
			summary: "Change a threshold",
			detail:  "Fields that are left out keep their value. A period that has ended keeps the terms it ended with.",
			docIn:   typeOf[ThresholdChange](), decode: decodeChange("thresholdId", false),
			example: `{"thresholdId":"0190a7c2-0000-7000-8000-000000000000","limitQuantity":2000}`,
		}, func(in *changeInput) target { return target{threshold: in.ID} }, func(ctx context.Context, c *Call, in *changeInput) (usance.Threshold, error) {
			return a.d.Catalog.UpdateThreshold(ctx, in.ID, in.Body, c.actor(), c.Principal.AlertOnly())
		}),
		op(operation{
			name: "usage.retireThreshold", kind: isMutation, method: "DELETE", path: "/v1/thresholds/{thresholdId}", need: access.ManageAlertThresholds, tag: tagLimits,
			summary: "Retire a threshold",
			detail:  "What it counted of the current period stays and is billed; nothing from now on adds to it.",
			example: `{"thresholdId":"0190a7c2-0000-7000-8000-000000000000"}`,
		}, (*thresholdRef).target, func(ctx context.Context, c *Call, in *thresholdRef) (usance.Threshold, error) {
			return a.d.Catalog.RetireThreshold(ctx, in.ThresholdID, c.actor(), c.Principal.AlertOnly())
		}),
		op(operation{
			name: "usage.getThreshold", kind: isQuery, method: "GET", path: "/v1/thresholds/{thresholdId}", need: access.ReadLimits, tag: tagLimits,
			summary: "One threshold",
			example: `{"thresholdId":"0190a7c2-0000-7000-8000-000000000000"}`,
		}, (*thresholdRef).target, func(ctx context.Context, c *Call, in *thresholdRef) (usance.Threshold, error) {
			return c.Threshold, nil
		}),
		op(operation{
			name: "usage.listThresholds", kind: isQuery, method: "GET", path: "/v1/thresholds", need: access.ReadLimits, tag: tagLimits,
			summary: "List thresholds",
			example: `{"licenseId":"lic_123"}`,
		}, (*thresholdsInput).target, func(ctx context.Context, c *Call, in *thresholdsInput) (Page[usance.Threshold], error) {
			return a.listThresholds(ctx, c, in)
		}),
		op(operation{
			name: "usage.listLicenseThresholds", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/thresholds", need: access.ReadLimits, tag: tagLimits,
			summary: "List the thresholds of a licence",
			example: `{"licenseId":"lic_123"}`,
		}, (*licenseThresholdsInput).target, func(ctx context.Context, c *Call, in *licenseThresholdsInput) (Page[usance.Threshold], error) {
			return a.listThresholds(ctx, c, &thresholdsInput{LicenseID: in.LicenseID, UsageType: in.UsageType, Inactive: in.Inactive, Paging: in.Paging})
		}),
		op(operation{
			name: "usage.getThresholdStatus", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/thresholds/status", need: access.ReadLimits, tag: tagLimits,
			summary: "How near the limits are: used, remaining, percent",
			example: `{"licenseId":"lic_123"}`,
		}, (*statusInput).target, func(ctx context.Context, c *Call, in *statusInput) (ThresholdStatuses, error) {
			statuses, err := a.d.Query.ThresholdStatus(ctx, query.ThresholdRequest{Viewer: a.viewer(c), LicenseID: in.LicenseID, ThresholdID: in.ThresholdID})
			return ThresholdStatuses{LicenseID: in.LicenseID, Thresholds: statuses}, err
		}),
		op(operation{
			name: "usage.checkThresholds", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/thresholds/check", need: access.ReadLimits, tag: tagLimits,
			summary: "The thresholds that call for attention",
			example: `{"licenseId":"lic_123"}`,
		}, (*OfLicense).target, a.checkThresholds),
		op(operation{
			name: "usage.listAlerts", kind: isQuery, method: "GET", path: "/v1/alerts", need: access.ReadLimits, tag: tagLimits,
			summary: "List alerts, newest first",
			example: `{"unread":true}`,
		}, (*alertsInput).target, func(ctx context.Context, c *Call, in *alertsInput) (Page[usance.Alert], error) {
			f := usance.AlertFilter{Scope: c.Scope, LicenseID: in.LicenseID, Kind: in.Kind, Unread: in.Unread}
			return listed(ctx, a, func(v usance.View) ([]usance.Alert, string, error) { return v.Alerts(ctx, f, in.page()) })
		}),
		op(operation{
			name: "usage.acknowledgeAlert", kind: isMutation, method: "POST", path: "/v1/alerts/{alertId}/acknowledge", need: access.AcknowledgeAlerts, tag: tagLimits,
			summary: "Mark an alert as seen",
			example: `{"alertId":"0190a7c2-0000-7000-8000-000000000000"}`,
		}, (*alertRef).target, a.acknowledge),
	}
}

func (a *api) listThresholds(ctx context.Context, c *Call, in *thresholdsInput) (Page[usance.Threshold], error) {
	f := usance.ThresholdFilter{Scope: c.Scope, LicenseID: in.LicenseID, UsageType: in.UsageType, Inactive: in.Inactive}
	return listed(ctx, a, func(v usance.View) ([]usance.Threshold, string, error) { return v.Thresholds(ctx, f, in.page()) })
}

func (a *api) checkThresholds(ctx context.Context, c *Call, in *OfLicense) (ThresholdCheck, error) {
	statuses, err := a.d.Query.ThresholdStatus(ctx, query.ThresholdRequest{Viewer: a.viewer(c), LicenseID: in.LicenseID})
	if err != nil {
		return ThresholdCheck{}, err
	}
	out := ThresholdCheck{LicenseID: in.LicenseID, Checked: len(statuses), Thresholds: []query.ThresholdStatus{}}
	for _, s := range statuses {
		if s.Status != query.StateOK {
			out.Thresholds = append(out.Thresholds, s)
		}
	}
	out.OK = len(out.Thresholds) == 0
	return out, nil
}

// acknowledge marks an alert once: who saw it first stays.
func (a *api) acknowledge(ctx context.Context, c *Call, in *alertRef) (usance.Alert, error) {
	if c.Alert.AcknowledgedAt != nil {
		return c.Alert, nil
	}
	var out usance.Alert
	err := a.d.Store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		old, err := tx.Alert(ctx, in.AlertID)
		if out = old; err != nil || old.AcknowledgedAt != nil {
			return err
		}
		if err := tx.AcknowledgeAlert(ctx, in.AlertID, c.actor(), a.instant()); err != nil {
			return err
		}
		if out, err = tx.Alert(ctx, in.AlertID); err != nil {
			return err
		}
		e := usance.NewAuditEntry(a.now(), c.actor(), "alert.acknowledge", in.AlertID.String())
		e.LicenseID, e.Reason = old.LicenseID, in.Reason
		if err := e.SetStates(old, out); err != nil {
			return err
		}
		return tx.AddAudit(ctx, []usance.AuditEntry{e})
	})
	return out, err
}

// OfOverage is embedded by the inputs of what is about one overage.
type OfOverage struct {
	OverageID usance.ID `json:"overageId" doc:"The overage's id."`
}

func (in *OfOverage) target() target { return target{overage: in.OverageID} }

type approveInput struct {
	OfOverage
	Reason string `json:"reason,omitempty" maxLength:"2000" doc:"Kept on the overage and in the audit trail; at most 2,000 bytes."`
}

type reasonInput struct {
	OfOverage
	Reason string `json:"reason" maxLength:"2000" doc:"Kept on the overage and in the audit trail; at most 2,000 bytes."`
}

type overagesInput struct {
	LicenseID   string               `json:"licenseId,omitempty" doc:"Only of this licence."`
	ThresholdID string               `json:"thresholdId,omitempty" doc:"Only of this threshold."`
	Status      usance.OverageStatus `json:"status,omitempty"`
	Paging
}

func (in *overagesInput) target() target {
	return target{license: in.LicenseID, threshold: in.ThresholdID}
}

func (a *api) overageOperations() []*operation {
	const exampleID = `"overageId":"0190a7c2-0000-7000-8000-000000000000"`
	return []*operation{
		op(operation{
			name: "usage.getOverages", kind: isQuery, method: "GET", path: "/v1/overages", need: access.ReadLimits, tag: tagBilling,
			summary: "List overages, newest first",
			example: `{"status":"PENDING_APPROVAL"}`,
		}, (*overagesInput).target, func(ctx context.Context, c *Call, in *overagesInput) (Page[usance.Overage], error) {
			f := usance.OverageFilter{Scope: c.Scope, LicenseID: in.LicenseID, ThresholdID: in.ThresholdID, Status: in.Status}
			return listed(ctx, a, func(v usance.View) ([]usance.Overage, string, error) { return v.Overages(ctx, f, in.page()) })
		}),
		op(operation{
			name: "usage.getOverage", kind: isQuery, method: "GET", path: "/v1/overages/{overageId}", need: access.ReadLimits, tag: tagBilling,
			summary: "One overage",
			example: `{` + exampleID + `}`,
		}, (*OfOverage).target, func(ctx context.Context, c *Call, in *OfOverage) (usance.Overage, error) {
			return c.Overage, nil
		}),
		op(operation{
			name: "usage.approveOverage", kind: isMutation, method: "POST", path: "/v1/overages/{overageId}/approve", need: access.DecideOverages, tag: tagBilling,
			summary: "Approve an overage that is PENDING_APPROVAL",
			example: `{` + exampleID + `,"reason":"as agreed"}`,
		}, (*approveInput).target, func(ctx context.Context, c *Call, in *approveInput) (usance.Overage, error) {
			return a.d.Billing.Approve(ctx, in.OverageID, c.actor(), in.Reason)
		}),
		op(operation{
			name: "usage.disputeOverage", kind: isMutation, method: "POST", path: "/v1/overages/{overageId}/dispute", need: access.Dispute, tag: tagBilling,
			summary: "Object to an overage, within 30 days",
			example: `{` + exampleID + `,"reason":"counted robots"}`,
		}, (*reasonInput).target, func(ctx context.Context, c *Call, in *reasonInput) (usance.Overage, error) {
			return a.d.Billing.Dispute(ctx, in.OverageID, c.actor(), in.Reason)
		}),
		op(operation{
			name: "usage.resolveOverage", kind: isMutation, method: "POST", path: "/v1/overages/{overageId}/resolve", need: access.DecideOverages, tag: tagBilling,
			summary: "End a dispute: the overage stands",
			example: `{` + exampleID + `,"reason":"checked against the events"}`,
		}, (*reasonInput).target, func(ctx context.Context, c *Call, in *reasonInput) (usance.Overage, error) {
			return a.d.Billing.Resolve(ctx, in.OverageID, c.actor(), in.Reason)
		}),
		op(operation{
			name: "usage.waiveOverage", kind: isMutation, method: "POST", path: "/v1/overages/{overageId}/waive", need: access.DecideOverages, tag: tagBilling,
			summary: "Give an overage up",
			example: `{` + exampleID + `,"reason":"goodwill"}`,
		}, (*reasonInput).target, func(ctx context.Context, c *Call, in *reasonInput) (usance.Overage, error) {
			return a.d.Billing.Waive(ctx, in.OverageID, c.actor(), in.Reason)
		}),
	}
}
