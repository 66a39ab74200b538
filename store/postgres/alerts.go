package postgres

import (
	"context"
	"time"

	"github.com/usance/usance"
)

const alertColumns = `a.id, a.kind, a.license_id, a.threshold_id, a.usage_type, a.period_start, a.period_end, a.level, a.epoch,
	a.quantity, a.limit_quantity, a.created_at, a.acknowledged_at, a.acknowledged_by,
	r.severity, r.reason, r.predicted_breach_date, r.breach_probability`

// fromAlerts: what most alerts do not have is in a table beside them.
const fromAlerts = ` FROM alerts a LEFT JOIN alert_reasons r ON r.license_id = a.license_id AND r.alert_id = a.id`

func scanAlert(r *rows, a *usance.Alert) error {
	return r.Scan(&a.ID, &a.Kind, &a.LicenseID, &a.ThresholdID, &a.UsageType, &a.PeriodStart, &a.PeriodEnd, &a.Level, &a.Epoch,
		&a.Quantity, &a.LimitQuantity, &a.CreatedAt, &a.AcknowledgedAt, intoText(&a.AcknowledgedBy),
		intoText(&a.Severity), intoText(&a.Reason), &a.PredictedBreachDate, toFloat{&a.BreachProbability})
}

func (v *view) Alert(ctx context.Context, id usance.ID) (usance.Alert, error) {
	return single(ctx, v, "alert", `SELECT `+alertColumns+fromAlerts+` WHERE a.id = $1`, []any{id}, scanAlert)
}

func (v *view) Alerts(ctx context.Context, f usance.AlertFilter, p usance.Page) ([]usance.Alert, string, error) {
	q := newListing("alerts", p, `SELECT `+alertColumns+fromAlerts+` WHERE TRUE`)
	q.after("u", `a.id < ?`)
	q.inScope(f.Scope, "a.license_id")
	q.AndIf(f.LicenseID != "", `a.license_id = ?`, f.LicenseID)
	q.AndIf(f.ThresholdID != "", `a.threshold_id = ?`, f.ThresholdID)
	q.AndIf(f.UsageType != "", `a.usage_type = ?`, f.UsageType)
	q.AndIf(f.Kind != "", `a.kind = ?`, string(f.Kind))
	q.AndIf(f.Unread, `a.acknowledged_at IS NULL`)
	return list(ctx, v, q, `a.id DESC`, scanAlert, func(a *usance.Alert) []string { return []string{a.ID.String()} })
}

func (t *tx) AddAlerts(ctx context.Context, alerts []usance.Alert) error {
	err := t.execEach(ctx, `INSERT INTO alerts (id, kind, license_id, threshold_id, usage_type, period_start, period_end, level, epoch,
			quantity, limit_quantity, created_at, acknowledged_at, acknowledged_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (license_id, threshold_id, period_start, kind, level, epoch) DO NOTHING`, len(alerts), func(i int) ([]any, error) {
		a := &alerts[i]
		return []any{
			a.ID, string(a.Kind), a.LicenseID, a.ThresholdID, a.UsageType, a.PeriodStart, a.PeriodEnd, a.Level, a.Epoch,
			a.Quantity, a.LimitQuantity, a.CreatedAt, a.AcknowledgedAt, text(a.AcknowledgedBy),
		}, nil
	})
	if err != nil {
		return err
	}
	var reasoned []*usance.Alert
	for i := range alerts {
		if alerts[i].Severity != "" {
			reasoned = append(reasoned, &alerts[i])
		}
	}
	// Only of those that were not there already.
	return t.execEach(ctx, `INSERT INTO alert_reasons (license_id, alert_id, severity, reason, predicted_breach_date, breach_probability)
		SELECT a.license_id, a.id, $3, $4, $5, $6 FROM alerts a WHERE a.license_id = $1 AND a.id = $2`, len(reasoned), func(i int) ([]any, error) {
		a := reasoned[i]
		return []any{a.LicenseID, a.ID, string(a.Severity), text(a.Reason), a.PredictedBreachDate, optFloat(a.BreachProbability)}, nil
	})
}

// AcknowledgeAlert keeps the first acknowledgment when there are several.
func (t *tx) AcknowledgeAlert(ctx context.Context, id usance.ID, by string, at time.Time) error {
	a, err := t.Alert(ctx, id)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE alerts SET acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN $1 ELSE acknowledged_by END,
		acknowledged_at = coalesce(acknowledged_at, $2) WHERE license_id = $3 AND id = $4`, text(by), at, a.LicenseID, id)
	return err
}

func (v *view) Audit(ctx context.Context, f usance.AuditFilter, p usance.Page) ([]usance.AuditEntry, string, error) {
	q := newListing("audit", p, `SELECT u.id, u.at, u.actor, u.action, u.subject, u.license_id, u.reason, u.before, u.after FROM audit_log u WHERE TRUE`)
	q.after("u", `u.id < ?`)
	q.AndIf(f.LicenseID != "", `u.license_id = ?`, f.LicenseID)
	q.AndIf(f.Subject != "", `u.subject = ?`, f.Subject)
	return list(ctx, v, q, `u.id DESC`,
		func(r *rows, e *usance.AuditEntry) error {
			return r.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Subject, &e.LicenseID, intoText(&e.Reason), intoRaw(&e.Before), intoRaw(&e.After))
		},
		func(e *usance.AuditEntry) []string { return []string{e.ID.String()} })
}

func (t *tx) AddAudit(ctx context.Context, entries []usance.AuditEntry) error {
	return t.execEach(ctx, `INSERT INTO audit_log (id, at, actor, action, subject, license_id, reason, before, after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, len(entries), func(i int) ([]any, error) {
		e := &entries[i]
		return []any{e.ID, e.At, e.Actor, e.Action, e.Subject, e.LicenseID, text(e.Reason), raw(e.Before), raw(e.After)}, nil
	})
}
