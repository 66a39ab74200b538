package catalog

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// CreateKey stores a new API key and gives its secret, which is not stored and
// cannot be shown again.
func (c *Catalog) CreateKey(ctx context.Context, k usance.APIKey, actor string) (usance.APIKey, string, error) {
	if err := k.Validate(); err != nil {
		return k, "", err
	}
	now := c.now()
	secret, hash := c.o.NewSecret()
	k.ID, k.Hash, k.CreatedAt, k.RevokedAt = usance.NewID(now).String(), hash, now, nil
	if k.ExpiresAt != nil && !k.ExpiresAt.After(now) {
		return k, "", usance.Invalid("expiresAt", "must lie in the future")
	}
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if k.PartyID != "" {
			var err error
			if k.Role == usance.RoleBrand {
				_, err = tx.Brand(ctx, k.PartyID)
			} else {
				_, err = tx.Creator(ctx, k.PartyID)
			}
			if err != nil {
				return err
			}
		}
		if err := tx.PutAPIKey(ctx, k); err != nil {
			return err
		}
		return c.audit(ctx, tx, now, actor, "key.create", k.ID, "", nil, k)
	})
	return k, secret, err
}

// RevokeKey ends a key at once.
func (c *Catalog) RevokeKey(ctx context.Context, id, actor string) (usance.APIKey, error) {
	return c.endKey(ctx, id, "key.revoke", actor, func(k *usance.APIKey, now time.Time) {
		if k.RevokedAt == nil {
			k.RevokedAt = &now
		}
	})
}

// RotateKey makes a key of the same role and bindings, and lets the old one
// end after the overlap, so that clients can change over without a gap.
func (c *Catalog) RotateKey(ctx context.Context, id string, overlap time.Duration, actor string) (usance.APIKey, string, error) {
	if overlap < 0 || overlap > 90*24*time.Hour {
		return usance.APIKey{}, "", usance.Invalid("overlap", "must be 0 to 90 days")
	}
	var old usance.APIKey
	err := c.store.View(ctx, func(v usance.View) (err error) {
		old, err = v.APIKey(ctx, id)
		return err
	})
	if err != nil {
		return old, "", err
	}
	if !old.Usable(c.now()) {
		return old, "", usance.NewError(usance.CodeConflict, "the key is revoked or expired; create a new one")
	}
	k, secret, err := c.CreateKey(ctx, old, actor)
	if err != nil {
		return k, "", err
	}
	_, err = c.endKey(ctx, id, "key.rotate", actor, func(k *usance.APIKey, now time.Time) {
		end := now.Add(overlap)
		if k.ExpiresAt == nil || k.ExpiresAt.After(end) {
			k.ExpiresAt = &end
		}
	})
	return k, secret, err
}

func (c *Catalog) endKey(ctx context.Context, id, action, actor string, end func(*usance.APIKey, time.Time)) (usance.APIKey, error) {
	var k usance.APIKey
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		now := c.now()
		old, err := tx.APIKey(ctx, id)
		if err != nil {
			return err
		}
		k = old
		end(&k, now)
		if err := tx.PutAPIKey(ctx, k); err != nil {
			return err
		}
		return c.audit(ctx, tx, now, actor, action, id, "", old, k)
	})
	return k, err
}
