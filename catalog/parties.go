package catalog

import (
	"context"
	"reflect"
	"time"

	"github.com/usance/usance"
)

// PutBrand creates or changes a brand; fields that body omits keep their value.
func (c *Catalog) PutBrand(ctx context.Context, id string, body []byte, actor string) (usance.Brand, error) {
	var b usance.Brand
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		now := c.now()
		old, err := tx.Brand(ctx, id)
		exists, err := found(err)
		if err != nil {
			return err
		}
		b = old
		if !exists {
			b = usance.Brand{ID: id, Name: id}
		}
		if err := decode(body, &b); err != nil {
			return err
		}
		if err := sameID(id, b.ID); err != nil {
			return err
		}
		if err := b.Validate(); err != nil {
			return err
		}
		b.CreatedAt, b.UpdatedAt = old.CreatedAt, old.UpdatedAt
		if exists && reflect.DeepEqual(b, old) {
			return nil // nothing changes: a mirror that is sent again
		}
		b.CreatedAt, b.UpdatedAt = created(exists, old.CreatedAt, now), now
		if err := tx.PutBrand(ctx, b); err != nil {
			return err
		}
		return c.audit(ctx, tx, now, actor, "brand.put", id, "", previous(exists, old), b)
	})
	return b, err
}

// PutCreator creates or changes a creator; fields that body omits keep their value.
func (c *Catalog) PutCreator(ctx context.Context, id string, body []byte, actor string) (usance.Creator, error) {
	var cr usance.Creator
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		now := c.now()
		old, err := tx.Creator(ctx, id)
		exists, err := found(err)
		if err != nil {
			return err
		}
		cr = old
		if !exists {
			cr = usance.Creator{ID: id, Name: id}
		}
		if err := decode(body, &cr); err != nil {
			return err
		}
		if err := sameID(id, cr.ID); err != nil {
			return err
		}
		if err := cr.Validate(); err != nil {
			return err
		}
		cr.CreatedAt, cr.UpdatedAt = old.CreatedAt, old.UpdatedAt
		if exists && reflect.DeepEqual(cr, old) {
			return nil // nothing changes: a mirror that is sent again
		}
		cr.CreatedAt, cr.UpdatedAt = created(exists, old.CreatedAt, now), now
		if err := tx.PutCreator(ctx, cr); err != nil {
			return err
		}
		return c.audit(ctx, tx, now, actor, "creator.put", id, "", previous(exists, old), cr)
	})
	return cr, err
}

// PutAsset creates or changes an asset; owners, when named, replace the former.
// It answers what else was created: creators not seen before.
func (c *Catalog) PutAsset(ctx context.Context, id string, body []byte, actor string) (usance.Asset, []string, error) {
	var a usance.Asset
	var made []string
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		now := c.now()
		made = nil
		old, err := tx.Asset(ctx, id)
		exists, err := found(err)
		if err != nil {
			return err
		}
		a = old.Clone()
		if !exists {
			a = usance.Asset{ID: id, Name: id}
		}
		if err := decode(body, &a); err != nil {
			return err
		}
		if err := sameID(id, a.ID); err != nil {
			return err
		}
		if len(a.Owners) == 0 {
			a.Owners = nil
		}
		if err := a.Validate(); err != nil {
			return err
		}
		a.CreatedAt, a.UpdatedAt = old.CreatedAt, old.UpdatedAt
		if exists && reflect.DeepEqual(a, old) {
			return nil // nothing changes: a mirror that is sent again
		}
		for _, owner := range a.Owners {
			_, err := tx.Creator(ctx, owner.CreatorID)
			known, err := found(err)
			if err != nil {
				return err
			}
			if known {
				continue
			}
			cr := usance.Creator{ID: owner.CreatorID, Name: owner.CreatorID, CreatedAt: now, UpdatedAt: now}
			if err := tx.PutCreator(ctx, cr); err != nil {
				return err
			}
			if err := c.audit(ctx, tx, now, actor, "creator.put", cr.ID, "", nil, cr); err != nil {
				return err
			}
			made = append(made, "creator:"+cr.ID)
		}
		a.CreatedAt, a.UpdatedAt = created(exists, old.CreatedAt, now), now
		if err := tx.PutAsset(ctx, a); err != nil {
			return err
		}
		return c.audit(ctx, tx, now, actor, "asset.put", id, "", previous(exists, old), a)
	})
	return a, made, err
}

// PutLicense creates or changes a licence; fields that body omits keep their
// value. Brand, asset, zone, anchor day and currency are fixed once usage
// exists or a threshold keeps a period (CONFLICT). It answers what else was created: a brand or asset not
// seen before, with its id as its name.
func (c *Catalog) PutLicense(ctx context.Context, id string, body []byte, actor string) (usance.License, []string, error) {
	var l usance.License
	var made []string
	err := c.store.Update(ctx, usance.Locks{Exclusive: []string{id}}, func(tx usance.Tx) error {
		now := c.now()
		made = nil
		old, err := tx.License(ctx, id)
		exists, err := found(err)
		if err != nil {
			return err
		}
		l = old.Clone()
		if !exists {
			l = usance.NewLicense(id)
		}
		if err := decode(body, &l); err != nil {
			return err
		}
		if err := sameID(id, l.ID); err != nil {
			return err
		}
		if err := l.Validate(); err != nil {
			return err
		}
		l.CreatedAt, l.UpdatedAt = old.CreatedAt, old.UpdatedAt
		if exists && reflect.DeepEqual(l, old) {
			return nil // nothing changes: a mirror that is sent again
		}
		if field := l.Fixed(&old); exists && field != "" {
			used, err := tx.HasUsage(ctx, id)
			if err != nil {
				return err
			}
			if used {
				e := usance.NewError(usance.CodeConflict, "is fixed once there is usage, or a period that a threshold keeps; put a new licence with the other value")
				e.Field = field
				return e
			}
		}
		if made, err = c.ensureParties(ctx, tx, &l, actor, now); err != nil {
			return err
		}
		l.CreatedAt, l.UpdatedAt = created(exists, old.CreatedAt, now), now
		if err := tx.PutLicense(ctx, l); err != nil {
			return err
		}
		if exists && (l.Timezone != old.Timezone || l.BillingAnchorDay != old.BillingAnchorDay) {
			if err := c.replan(ctx, tx, &l, actor, now); err != nil {
				return err
			}
		}
		return c.audit(ctx, tx, now, actor, "license.put", id, id, previous(exists, old), l)
	})
	return l, made, err
}

// replan moves the beginnings of the licence's thresholds to periods of its new
// calendar. There is no usage yet, which would have fixed the old one.
func (c *Catalog) replan(ctx context.Context, tx usance.Tx, l *usance.License, actor string, now time.Time) error {
	facts, err := tx.Facts(ctx, []string{l.ID})
	if err != nil {
		return err
	}
	zone, err := usance.ParseZone(l.Timezone)
	if err != nil {
		return err
	}
	for _, f := range facts {
		if f.Fault != nil {
			return f.Fault
		}
		for _, t := range f.Thresholds {
			old := t.Clone()
			day := min(t.EffectiveFrom, usance.DateOf(now, zone))
			t.EffectiveFrom = usance.PeriodOf(t.PeriodType, day, l.BillingAnchorDay).Start
			if t.EffectiveFrom == old.EffectiveFrom {
				continue
			}
			t.UpdatedAt = now
			if err := tx.PutThreshold(ctx, t); err != nil {
				return err
			}
			if err := c.audit(ctx, tx, now, actor, "threshold.update", t.ID, l.ID, old, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// ensureParties creates the licence's brand and asset where they are missing.
func (c *Catalog) ensureParties(ctx context.Context, tx usance.Tx, l *usance.License, actor string, now time.Time) (made []string, err error) {
	_, err = tx.Brand(ctx, l.BrandID)
	known, err := found(err)
	if err != nil {
		return nil, err
	}
	if !known {
		b := usance.Brand{ID: l.BrandID, Name: l.BrandID, CreatedAt: now, UpdatedAt: now}
		if err := tx.PutBrand(ctx, b); err != nil {
			return nil, err
		}
		if err := c.audit(ctx, tx, now, actor, "brand.put", b.ID, "", nil, b); err != nil {
			return nil, err
		}
		made = append(made, "brand:"+b.ID)
	}
	_, err = tx.Asset(ctx, l.AssetID)
	if known, err = found(err); err != nil || known {
		return made, err
	}
	a := usance.Asset{ID: l.AssetID, Name: l.AssetID, CreatedAt: now, UpdatedAt: now}
	if err := tx.PutAsset(ctx, a); err != nil {
		return nil, err
	}
	return append(made, "asset:"+a.ID), c.audit(ctx, tx, now, actor, "asset.put", a.ID, "", nil, a)
}

// DeleteLicense marks a licence deleted: its events are refused from now on,
// what it has counted stays and is billed.
func (c *Catalog) DeleteLicense(ctx context.Context, id, actor string) (usance.License, error) {
	var l usance.License
	err := c.store.Update(ctx, usance.Locks{Exclusive: []string{id}}, func(tx usance.Tx) (err error) {
		now := c.now()
		if l, err = tx.License(ctx, id); err != nil || l.DeletedAt != nil {
			return err
		}
		old := l.Clone()
		l.DeletedAt, l.UpdatedAt = &now, now
		if err := tx.PutLicense(ctx, l); err != nil {
			return err
		}
		return c.audit(ctx, tx, now, actor, "license.delete", id, id, old, l)
	})
	return l, err
}

func created(exists bool, at, now time.Time) time.Time {
	if exists {
		return at
	}
	return now
}

// previous is the state before a change, nil for a new thing.
func previous(exists bool, old any) any {
	if exists {
		return old
	}
	return nil
}
