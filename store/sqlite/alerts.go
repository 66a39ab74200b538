package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/usance/usance"
)

const alertColumns = `a.id, a.kind, a.license_id, a.threshold_id, a.usage_type, a.period_start, a.period_end, a.level, a.epoch,
	a.quantity, a.limit_quantity, a.created_at, a.acknowledged_at, a.acknowledged_by,
	r.severity, r.reason, r.predicted_breach_date, r.breach_probability`

// fromAlerts: what most alerts do not have is in a table beside them.
const fromAlerts = ` FROM alerts a LEFT JOIN alert_reasons r ON r.license_id = a.license_id AND r.alert_id = a.id`

func scanAlert(rows *sql.Rows, a *usance.Alert) error {
	return rows.Scan(toID{&a.ID}, &a.Kind, &a.LicenseID, &a.ThresholdID, &a.UsageType, &a.PeriodStart, &a.PeriodEnd, &a.Level, &a.Epoch,
		&a.Quantity, &a.LimitQuantity, toTime{&a.CreatedAt}, toPtrTime{&a.AcknowledgedAt}, intoText(&a.AcknowledgedBy),
		intoText(&a.Severity), intoText(&a.Reason), &a.PredictedBreachDate, toFloat{&a.BreachProbability})
}

func (v *view) Alert(ctx context.Context, id usance.ID) (usance.Alert, error) {
	return single(ctx, v, "alert", `SELECT `+alertColumns+fromAlerts+` WHERE a.id = ?`, []any{id.String()}, scanAlert)
}

func (v *view) Alerts(ctx context.Context, f usance.AlertFilter, p usance.Page) ([]usance.Alert, string, error) {
	q := newListing("alerts", p, `SELECT `+alertColumns+fromAlerts+` WHERE TRUE`)
	q.after("t", `a.id < ?`)
	q.inScope(f.Scope, "a.license_id")
	q.AndIf(f.LicenseID != "", `a.license_id = ?`, f.LicenseID)
	q.AndIf(f.ThresholdID != "", `a.threshold_id = ?`, f.ThresholdID)
	q.AndIf(f.UsageType != "", `a.usage_type = ?`, f.UsageType)
	q.AndIf(f.Kind != "", `a.kind = ?`, string(f.Kind))
	q.AndIf(f.Unread, `a.acknowledged_at IS NULL`)
	return list(ctx, v, q, `a.id DESC`, scanAlert, func(a *usance.Alert) []string { return []string{a.ID.String()} })
}

func (t *tx) AddAlerts(ctx context.Context, alerts []usance.Alert) error {
	for i := range alerts {
		a := &alerts[i]
		added, err := t.exec(ctx, `INSERT INTO alerts (id, kind, license_id, threshold_id, usage_type, period_start, period_end, level, epoch,
				quantity, limit_quantity, created_at, acknowledged_at, acknowledged_by)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (license_id, threshold_id, period_start, kind, level, epoch) DO NOTHING`,
			a.ID.String(), string(a.Kind), a.LicenseID, a.ThresholdID, a.UsageType, int64(a.PeriodStart), int64(a.PeriodEnd), a.Level, a.Epoch,
			a.Quantity, a.LimitQuantity, a.CreatedAt.UnixMicro(), ptrTime(a.AcknowledgedAt), text(a.AcknowledgedBy))
		if err != nil {
			return err
		}
		if added == 0 || a.Severity == "" {
			continue
		}
		_, err = t.exec(ctx, `INSERT INTO alert_reasons (license_id, alert_id, severity, reason, predicted_breach_date, breach_probability)
			VALUES (?, ?, ?, ?, ?, ?)`,
			a.LicenseID, a.ID.String(), string(a.Severity), text(a.Reason), ptrInt(a.PredictedBreachDate), optFloat(a.BreachProbability))
		if err != nil {
			return err
		}
	}
	return nil
}

// AcknowledgeAlert keeps the first acknowledgment when there are several.
func (t *tx) AcknowledgeAlert(ctx context.Context, id usance.ID, by string, at time.Time) error {
	n, err := t.exec(ctx, `UPDATE alerts SET acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN ? ELSE acknowledged_by END,
		acknowledged_at = coalesce(acknowledged_at, ?) WHERE id = ?`, text(by), at.UnixMicro(), id.String())
	if err == nil && n == 0 {
		err = usance.NewError(usance.CodeNotFound, "there is no such alert; list the alerts to find its id")
	}
	return err
}

func (v *view) Audit(ctx context.Context, f usance.AuditFilter, p usance.Page) ([]usance.AuditEntry, string, error) {
	q := newListing("audit", p, `SELECT u.id, u.at, u.actor, u.action, u.subject, u.license_id, u.reason, u.before, u.after FROM audit_log u WHERE TRUE`)
	q.after("t", `u.id < ?`)
	q.AndIf(f.LicenseID != "", `u.license_id = ?`, f.LicenseID)
	q.AndIf(f.Subject != "", `u.subject = ?`, f.Subject)
	return list(ctx, v, q, `u.id DESC`,
		func(rows *sql.Rows, e *usance.AuditEntry) error {
			return rows.Scan(toID{&e.ID}, toTime{&e.At}, &e.Actor, &e.Action, &e.Subject, intoText(&e.LicenseID), intoText(&e.Reason), toRaw{&e.Before}, toRaw{&e.After})
		},
		func(e *usance.AuditEntry) []string { return []string{e.ID.String()} })
}

func (t *tx) AddAudit(ctx context.Context, entries []usance.AuditEntry) error {
	for i := range entries {
		e := &entries[i]
		_, err := t.exec(ctx, `INSERT INTO audit_log (id, at, actor, action, subject, license_id, reason, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			e.ID.String(), e.At.UnixMicro(), e.Actor, e.Action, e.Subject, text(e.LicenseID), text(e.Reason), raw(e.Before), raw(e.After))
		if err != nil {
			return err
		}
	}
	return nil
}
