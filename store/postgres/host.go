package postgres

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// putTerms keeps beside a host platform's own licence what the host's table has
// no columns for; what it has them for is the host's to change.
func (t *tx) putTerms(ctx context.Context, l *usance.License) error {
	_, err := t.exec(ctx, `INSERT INTO license_usage_terms (license_id, name, brand_id, asset_id, timezone, billing_anchor_day, currency,
			start_date, end_date, fee_cents, rev_share_bps, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (license_id) DO UPDATE SET name = excluded.name, brand_id = excluded.brand_id, asset_id = excluded.asset_id,
			timezone = excluded.timezone, billing_anchor_day = excluded.billing_anchor_day, currency = excluded.currency,
			start_date = excluded.start_date, end_date = excluded.end_date, fee_cents = excluded.fee_cents,
			rev_share_bps = excluded.rev_share_bps, updated_at = excluded.updated_at`,
		l.ID, text(l.Name), l.BrandID, l.AssetID, l.Timezone, l.BillingAnchorDay, l.Currency,
		text(l.StartDate), text(l.EndDate), l.FeeCents, l.RevShareBps, l.CreatedAt, l.UpdatedAt)
	if err != nil {
		return err
	}
	kept, err := t.License(ctx, l.ID)
	if usance.ErrorCode(err) == usance.CodeLicenseNotFound {
		return usance.NewError(usance.CodeLicenseNotFound, "licences are the host platform's here: insert %q into its table licenses first", l.ID)
	}
	if err != nil {
		return err
	}
	for _, f := range []struct {
		field string
		same  bool
	}{
		{"name", kept.Name == l.Name}, {"brandId", kept.BrandID == l.BrandID}, {"assetId", kept.AssetID == l.AssetID},
		{"status", kept.Status == l.Status}, {"timezone", kept.Timezone == l.Timezone},
		{"billingAnchorDay", kept.BillingAnchorDay == l.BillingAnchorDay}, {"currency", kept.Currency == l.Currency},
		{"startDate", kept.StartDate == l.StartDate}, {"endDate", kept.EndDate == l.EndDate}, {"feeCents", kept.FeeCents == l.FeeCents},
		{"revShareBps", kept.RevShareBps == l.RevShareBps}, {"usageTrackingEnabled", kept.UsageTrackingEnabled == l.UsageTrackingEnabled},
		{"deletedAt", sameTime(kept.DeletedAt, l.DeletedAt)},
	} {
		if !f.same {
			err := usance.NewError(usance.CodeConflict, "%s is a column of the host platform's table licenses; change it there, by SQL, and it holds at once", f.field)
			err.Field = f.field
			return err
		}
	}
	return nil
}

func sameTime(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}
