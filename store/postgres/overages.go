package postgres

import (
	"context"
	"time"

	"github.com/usance/usance"
)

const overageColumns = `o.id, o.license_id, o.threshold_id, o.revision, o.period_date, o.period_start, o.period_end, o.usage_type,
	o.limit_quantity, o.grace_percentage, o.actual_quantity, o.overage_quantity, o.overage_rate_cents::text, o.overage_tiers,
	o.calculated_fee_cents, o.billed_fee_cents, o.currency, o.status, o.disputed_from, o.approved_by, o.approved_at,
	o.stripe_invoice_id, o.billed_at, o.notes, o.metadata, o.detected_at, o.settle_at, o.settled_at, o.updated_at`

func scanOverage(r *rows, o *usance.Overage) error {
	return r.Scan(&o.ID, &o.LicenseID, &o.ThresholdID, &o.Revision, &o.PeriodDate, &o.PeriodStart, &o.PeriodEnd, &o.UsageType,
		&o.LimitQuantity, &o.GracePercentage, &o.ActualQuantity, &o.OverageQuantity, toRate{&o.OverageRateCents}, &o.OverageTiers,
		&o.CalculatedFeeCents, &o.BilledFeeCents, &o.Currency, &o.Status, intoText(&o.DisputedFrom), intoText(&o.ApprovedBy), &o.ApprovedAt,
		intoText(&o.StripeInvoiceID), &o.BilledAt, intoText(&o.Notes), intoRaw(&o.Metadata),
		&o.DetectedAt, &o.SettleAt, &o.SettledAt, &o.UpdatedAt)
}

func (v *view) Overage(ctx context.Context, id usance.ID) (usance.Overage, error) {
	return single(ctx, v, "overage", `SELECT `+overageColumns+` FROM license_usage_overages o WHERE o.id = $1`, []any{id}, scanOverage)
}

func (v *view) Due(ctx context.Context, now time.Time, limit int) ([]usance.Overage, error) {
	return all(ctx, v, `SELECT `+overageColumns+` FROM license_usage_overages o
		WHERE o.status = 'DETECTED' AND o.settle_at <= $1 ORDER BY o.id LIMIT $2`, []any{now, limit}, scanOverage)
}

func (v *view) Revisions(ctx context.Context, keys []usance.CounterKey) ([]usance.Overage, error) {
	return all(ctx, v, `SELECT `+overageColumns+` FROM unnest($1::text[], $2::text[], $3::date[]) AS u (license_id, threshold_id, period_date)
		JOIN license_usage_overages o ON o.license_id = u.license_id AND o.threshold_id = u.threshold_id AND o.period_date = u.period_date`+v.pruned("o.license_id")+`
		ORDER BY o.license_id, o.threshold_id, o.period_date, o.revision`, counterArrays(keys, itself), scanOverage)
}

func (v *view) Overages(ctx context.Context, f usance.OverageFilter, p usance.Page) ([]usance.Overage, string, error) {
	q := newListing("overages", p, `SELECT `+overageColumns+` FROM license_usage_overages o WHERE TRUE`)
	q.after("u", `o.id < ?`)
	q.inScope(f.Scope, "o.license_id")
	q.AndIf(f.LicenseID != "", `o.license_id = ?`, f.LicenseID)
	q.AndIf(f.ThresholdID != "", `o.threshold_id = ?`, f.ThresholdID)
	q.AndIf(f.Status != "", `o.status = ?`, string(f.Status))
	return list(ctx, v, q, `o.id DESC`, scanOverage, func(o *usance.Overage) []string { return []string{o.ID.String()} })
}

func (t *tx) PutOverages(ctx context.Context, list []usance.Overage) error {
	return t.execEach(ctx, `INSERT INTO license_usage_overages (id, license_id, threshold_id, revision, period_date, period_start, period_end,
			usage_type, limit_quantity, grace_percentage, actual_quantity, overage_quantity, overage_rate_cents, overage_tiers,
			calculated_fee_cents, billed_fee_cents, currency, status, disputed_from, approved_by, approved_at,
			stripe_invoice_id, billed_at, notes, metadata, detected_at, settle_at, settled_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)
		ON CONFLICT (license_id, id) DO UPDATE SET threshold_id = excluded.threshold_id,
			revision = excluded.revision, period_date = excluded.period_date, period_start = excluded.period_start,
			period_end = excluded.period_end, usage_type = excluded.usage_type, limit_quantity = excluded.limit_quantity,
			grace_percentage = excluded.grace_percentage, actual_quantity = excluded.actual_quantity,
			overage_quantity = excluded.overage_quantity, overage_rate_cents = excluded.overage_rate_cents,
			overage_tiers = excluded.overage_tiers, calculated_fee_cents = excluded.calculated_fee_cents,
			billed_fee_cents = excluded.billed_fee_cents, currency = excluded.currency, status = excluded.status,
			disputed_from = excluded.disputed_from, approved_by = excluded.approved_by, approved_at = excluded.approved_at,
			stripe_invoice_id = excluded.stripe_invoice_id, billed_at = excluded.billed_at, notes = excluded.notes,
			metadata = excluded.metadata, detected_at = excluded.detected_at, settle_at = excluded.settle_at,
			settled_at = excluded.settled_at, updated_at = excluded.updated_at`, len(list), func(i int) ([]any, error) {
		o := &list[i]
		tiers, err := asJSON(o.OverageTiers)
		return []any{
			o.ID, o.LicenseID, o.ThresholdID, o.Revision, o.PeriodDate, o.PeriodStart, o.PeriodEnd,
			o.UsageType, o.LimitQuantity, o.GracePercentage, o.ActualQuantity, o.OverageQuantity, ptrRate(o.OverageRateCents), tiers,
			o.CalculatedFeeCents, o.BilledFeeCents, o.Currency, string(o.Status), text(o.DisputedFrom), text(o.ApprovedBy), o.ApprovedAt,
			text(o.StripeInvoiceID), o.BilledAt, text(o.Notes), raw(o.Metadata),
			o.DetectedAt, o.SettleAt, o.SettledAt, o.UpdatedAt,
		}, err
	})
}
