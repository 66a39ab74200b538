package postgres

import (
	"context"

	"github.com/usance/usance"
)

const brandColumns = `b.id, b.name, b.created_at, b.updated_at`

func scanBrand(r *rows, b *usance.Brand) error {
	return r.Scan(&b.ID, &b.Name, &b.CreatedAt, &b.UpdatedAt)
}

const creatorColumns = `c.id, c.name, c.email, c.created_at, c.updated_at`

func scanCreator(r *rows, c *usance.Creator) error {
	return r.Scan(&c.ID, &c.Name, intoText(&c.Email), &c.CreatedAt, &c.UpdatedAt)
}

const assetColumns = `a.id, a.name, a.type, a.created_at, a.updated_at`

func scanAsset(r *rows, a *usance.Asset) error {
	return r.Scan(&a.ID, &a.Name, intoText(&a.Type), &a.CreatedAt, &a.UpdatedAt)
}

const licenseColumns = `l.id, l.name, l.brand_id, l.asset_id, l.status, l.timezone, l.billing_anchor_day, l.currency,
	l.start_date, l.end_date, l.fee_cents, l.rev_share_bps, l.usage_tracking_enabled, l.deleted_at, l.created_at, l.updated_at`

// licenseOrder sorts by bytes also where the ids are a host platform's.
const licenseOrder = `l.id COLLATE "C"`

func scanLicense(r *rows, l *usance.License) error { return r.Scan(intoLicense(l)...) }

func intoLicense(l *usance.License) []any {
	return []any{&l.ID, intoText(&l.Name), &l.BrandID, &l.AssetID, intoText(&l.Status), &l.Timezone, &l.BillingAnchorDay, &l.Currency,
		intoText(&l.StartDate), intoText(&l.EndDate), &l.FeeCents, &l.RevShareBps, &l.UsageTrackingEnabled,
		&l.DeletedAt, &l.CreatedAt, &l.UpdatedAt}
}

func (v *view) Brand(ctx context.Context, id string) (usance.Brand, error) {
	return single(ctx, v, "brand", `SELECT `+brandColumns+` FROM brands b WHERE b.id = $1`, []any{id}, scanBrand)
}

func (v *view) Creator(ctx context.Context, id string) (usance.Creator, error) {
	return single(ctx, v, "creator", `SELECT `+creatorColumns+` FROM creators c WHERE c.id = $1`, []any{id}, scanCreator)
}

func (v *view) Asset(ctx context.Context, id string) (usance.Asset, error) {
	a, err := single(ctx, v, "asset", `SELECT `+assetColumns+` FROM assets a WHERE a.id = $1`, []any{id}, scanAsset)
	if err != nil {
		return a, err
	}
	one := []usance.Asset{a}
	err = v.fillOwners(ctx, one)
	return one[0], err
}

// fillOwners reads the owners of assets that are sorted by id.
func (v *view) fillOwners(ctx context.Context, assets []usance.Asset) error {
	ids := make([]string, len(assets))
	for i := range assets {
		ids[i] = assets[i].ID
	}
	at := 0
	return v.each(ctx, `SELECT asset_id, creator_id, share_bps, from_date, to_date FROM asset_owners
		WHERE asset_id = ANY($1) ORDER BY asset_id, position`,
		[]any{ids}, func(r *rows) error {
			var asset string
			var s usance.Share
			if err := r.Scan(&asset, &s.CreatorID, &s.ShareBps, &s.From, &s.To); err != nil {
				return err
			}
			for assets[at].ID != asset {
				at++
			}
			assets[at].Owners = append(assets[at].Owners, s)
			return nil
		})
}

func (v *view) License(ctx context.Context, id string) (usance.License, error) {
	l, err := single(ctx, v, "licence", `SELECT `+licenseColumns+` FROM license_usage_licenses l WHERE l.id = $1`, []any{id}, scanLicense)
	if usance.ErrorCode(err) == usance.CodeNotFound {
		err = usance.LicenseNotFound(id)
	}
	return l, err
}

func (v *view) Facts(ctx context.Context, ids []string) ([]usance.Facts, error) {
	facts, err := all(ctx, v, `SELECT `+licenseColumns+`, (SELECT max(d.date) FROM license_usage_days d WHERE d.license_id = l.id)
		FROM license_usage_licenses l WHERE l.id = ANY($1) ORDER BY `+licenseOrder, []any{ids},
		func(r *rows, f *usance.Facts) error {
			var closed *usance.Date
			err := r.Scan(append(intoLicense(&f.License), &closed)...)
			f.ClosedTo = closedTo(closed)
			return err
		})
	if err != nil || len(facts) == 0 {
		return facts, err
	}
	at := 0
	err = v.each(ctx, `SELECT `+thresholdColumns+` FROM license_usage_thresholds t
		WHERE t.license_id = ANY($1) ORDER BY t.license_id, t.id`, []any{ids},
		func(r *rows) error {
			var t usance.Threshold
			if err := scanThreshold(r, &t); err != nil {
				return usance.AddFault(facts, err)
			}
			for at < len(facts) && facts[at].License.ID < t.LicenseID {
				at++
			}
			if at < len(facts) && facts[at].License.ID == t.LicenseID {
				facts[at].Thresholds = append(facts[at].Thresholds, t)
			}
			return nil
		})
	return facts, err
}

func (v *view) HasUsage(ctx context.Context, licenseID string) (has bool, err error) {
	_, err = v.one(ctx, `SELECT EXISTS (SELECT 1 FROM license_usage_events WHERE license_id = $1)
		OR EXISTS (SELECT 1 FROM license_usage_rollups WHERE license_id = $1)
		OR EXISTS (SELECT 1 FROM license_usage_counters WHERE license_id = $1)`, []any{licenseID}, &has)
	return has, err
}

func (v *view) Visible(ctx context.Context, scope usance.Scope, licenseID string) (bool, error) {
	q := newListing("", usance.Page{Limit: 1}, `SELECT 1 FROM license_usage_licenses l WHERE l.id = ?`, licenseID)
	q.inScope(scope, "l.id")
	var n int
	text, args := numbered(q.SQL())
	return v.one(ctx, text, args, &n)
}

// Brands lists, for a narrow scope, the brands of the licences that it holds,
// and the scope's own brands though they have no licence yet.
func (v *view) Brands(ctx context.Context, scope usance.Scope, p usance.Page) ([]usance.Brand, string, error) {
	q := newListing("brands", p, `SELECT `+brandColumns+` FROM brands b WHERE TRUE`)
	q.after("t", `b.id > ?`)
	switch {
	case scope.BrandIDs != nil && scope.LicenseIDs == nil && scope.CreatorID == "":
		q.And(`b.id = ANY(?)`, scope.BrandIDs)
	case scope.Narrows():
		q.And(`b.id IN (SELECT l.brand_id FROM license_usage_licenses l WHERE TRUE`)
		q.inScope(scope, "l.id")
		q.Add(`)`)
	}
	return list(ctx, v, q, `b.id`, scanBrand, func(b *usance.Brand) []string { return []string{b.ID} })
}

// Creators lists, for a narrow scope, the scope's own creator and nobody else:
// creators have addresses, which brands need not know.
func (v *view) Creators(ctx context.Context, scope usance.Scope, p usance.Page) ([]usance.Creator, string, error) {
	q := newListing("creators", p, `SELECT `+creatorColumns+` FROM creators c WHERE TRUE`)
	q.after("t", `c.id > ?`)
	q.AndIf(scope.Narrows(), `c.id = ?`, scope.CreatorID)
	return list(ctx, v, q, `c.id`, scanCreator, func(c *usance.Creator) []string { return []string{c.ID} })
}

// Assets lists, for a narrow scope, the assets of the licences that it holds,
// and those in which the scope's own creator holds a share though nobody
// licensed them yet.
func (v *view) Assets(ctx context.Context, scope usance.Scope, p usance.Page) ([]usance.Asset, string, error) {
	q := newListing("assets", p, `SELECT `+assetColumns+` FROM assets a WHERE TRUE`)
	q.after("t", `a.id > ?`)
	switch {
	case scope.CreatorID != "" && scope.BrandIDs == nil && scope.LicenseIDs == nil:
		q.And(`EXISTS (SELECT 1 FROM asset_owners so WHERE so.asset_id = a.id AND `+holdsShare+`)`,
			scope.CreatorID, scope.Today, scope.Today)
	case scope.Narrows():
		q.And(`a.id IN (SELECT l.asset_id FROM license_usage_licenses l WHERE TRUE`)
		q.inScope(scope, "l.id")
		q.Add(`)`)
	}
	assets, next, err := list(ctx, v, q, `a.id`, scanAsset, func(a *usance.Asset) []string { return []string{a.ID} })
	if err == nil {
		err = v.fillOwners(ctx, assets)
	}
	return assets, next, err
}

func (v *view) Licenses(ctx context.Context, f usance.LicenseFilter, p usance.Page) ([]usance.License, string, error) {
	q := newListing("licenses", p, `SELECT `+licenseColumns+` FROM license_usage_licenses l WHERE TRUE`)
	q.after("t", licenseOrder+` > ?`)
	q.inScope(f.Scope, "l.id")
	q.AndIf(f.BrandID != "", `l.brand_id = ?`, f.BrandID)
	q.AndIf(f.AssetID != "", `l.asset_id = ?`, f.AssetID)
	q.AndIf(f.Status != "", `l.status = ?`, string(f.Status))
	q.AndIf(!f.Deleted, `l.deleted_at IS NULL`)
	return list(ctx, v, q, licenseOrder, scanLicense, func(l *usance.License) []string { return []string{l.ID} })
}

func (t *tx) PutBrand(ctx context.Context, b usance.Brand) error {
	_, err := t.exec(ctx, `INSERT INTO brands (id, name, created_at, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, created_at = excluded.created_at, updated_at = excluded.updated_at`,
		b.ID, b.Name, b.CreatedAt, b.UpdatedAt)
	return err
}

func (t *tx) PutCreator(ctx context.Context, c usance.Creator) error {
	_, err := t.exec(ctx, `INSERT INTO creators (id, name, email, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
			created_at = excluded.created_at, updated_at = excluded.updated_at`,
		c.ID, c.Name, text(c.Email), c.CreatedAt, c.UpdatedAt)
	return err
}

func (t *tx) PutAsset(ctx context.Context, a usance.Asset) error {
	_, err := t.exec(ctx, `INSERT INTO assets (id, name, type, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, type = excluded.type,
			created_at = excluded.created_at, updated_at = excluded.updated_at`,
		a.ID, a.Name, text(a.Type), a.CreatedAt, a.UpdatedAt)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `DELETE FROM asset_owners WHERE asset_id = $1`, a.ID); err != nil {
		return err
	}
	for i, s := range a.Owners {
		_, err := t.exec(ctx, `INSERT INTO asset_owners (asset_id, position, creator_id, share_bps, from_date, to_date) VALUES ($1, $2, $3, $4, $5, $6)`,
			a.ID, i, s.CreatorID, s.ShareBps, s.From, s.To)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) PutLicense(ctx context.Context, l usance.License) error {
	t.wroteFacts = true
	var adopted bool
	if _, err := t.one(ctx, `SELECT to_regclass('license_usage_terms') IS NOT NULL`, nil, &adopted); err != nil {
		return err
	}
	if adopted {
		return t.putTerms(ctx, &l)
	}
	_, err := t.exec(ctx, `INSERT INTO licenses (id, name, brand_id, asset_id, status, timezone, billing_anchor_day, currency,
			start_date, end_date, fee_cents, rev_share_bps, usage_tracking_enabled, deleted_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, brand_id = excluded.brand_id, asset_id = excluded.asset_id,
			status = excluded.status, timezone = excluded.timezone, billing_anchor_day = excluded.billing_anchor_day,
			currency = excluded.currency, start_date = excluded.start_date, end_date = excluded.end_date,
			fee_cents = excluded.fee_cents, rev_share_bps = excluded.rev_share_bps,
			usage_tracking_enabled = excluded.usage_tracking_enabled, deleted_at = excluded.deleted_at,
			created_at = excluded.created_at, updated_at = excluded.updated_at`,
		l.ID, text(l.Name), l.BrandID, l.AssetID, string(l.Status), l.Timezone, l.BillingAnchorDay, l.Currency,
		text(l.StartDate), text(l.EndDate), l.FeeCents, l.RevShareBps, l.UsageTrackingEnabled,
		l.DeletedAt, l.CreatedAt, l.UpdatedAt)
	return err
}
