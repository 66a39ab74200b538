package catalog

import (
	"context"
	"reflect"
	"time"

	"github.com/usance/usance"
)

// CreateKey stores a new API key and gives its secret, which is not stored and
// cannot be shown again.
func (c *Catalog) CreateKey(ctx context.Context, k usance.APIKey, actor string) (usance.APIKey, string, error) {
	var secret string
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) (err error) {
		k, secret, err = c.addKey(ctx, tx, k, actor)
		return err
	})
	return k, secret, err
}

func (c *Catalog) addKey(ctx context.Context, tx usance.Tx, k usance.APIKey, actor string) (usance.APIKey, string, error) {
	if err := k.Validate(); err != nil {
		return k, "", err
	}
	now := c.now()
	secret, hash := c.o.NewSecret()
	k.ID, k.Hash, k.CreatedAt, k.RevokedAt = usance.NewID(now).String(), hash, now, nil
	k.ReplacedBy, k.LastUsedAt = "", nil
	if k.ExpiresAt != nil && !k.ExpiresAt.After(now) {
		return k, "", usance.Invalid("expiresAt", "must lie in the future")
	}
	var err error
	switch k.Role {
	case usance.RoleBrand:
		_, err = tx.Brand(ctx, k.PartyID)
	case usance.RoleCreator:
		_, err = tx.Creator(ctx, k.PartyID)
	}
	if err != nil {
		return k, "", err
	}
	if err := tx.PutAPIKey(ctx, k); err != nil {
		return k, "", err
	}
	return k, secret, c.audit(ctx, tx, now, actor, "key.create", k.ID, "", nil, k)
}

// RevokeKey ends a key at once.
func (c *Catalog) RevokeKey(ctx context.Context, id, actor string) (usance.APIKey, error) {
	var k usance.APIKey
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.LockAPIKeys(ctx); err != nil {
			return err
		}
		old, err := tx.APIKey(ctx, id)
		if err != nil {
			return err
		}
		k = old
		if k.RevokedAt != nil {
			return nil
		}
		now := c.now()
		k.RevokedAt = &now
		return c.changeKey(ctx, tx, "key.revoke", actor, now, old, k)
	})
	return k, err
}

// RotateKey makes a key of the same role and bindings, and lets the old one
// end after the overlap, so that clients can change over without a gap. The new
// key ends when expires says; when that is nil, after as long a life as the old
// one was made for. One that was rotated before and goes on still, as after an
// answer that was lost, has a key in its place already: that one ends after the
// overlap too, and the new key lives as long as it.
func (c *Catalog) RotateKey(ctx context.Context, id string, overlap time.Duration, expires *time.Time, actor string) (usance.APIKey, string, error) {
	if overlap < 0 || overlap > 90*24*time.Hour {
		return usance.APIKey{}, "", usance.Invalid("overlap", "must be 0 to 90 days")
	}
	var k usance.APIKey
	var secret string
	err := c.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.LockAPIKeys(ctx); err != nil {
			return err
		}
		line, err := lineOf(ctx, tx, id)
		if err != nil {
			return err
		}
		now := c.now()
		last := line[len(line)-1]
		if !line[0].Usable(now) {
			if last.ID != id && last.Usable(now) {
				return usance.NewError(usance.CodeConflict, "the key has ended, and %s is in its place; rotate that one, or create a new one", last.ID)
			}
			return usance.NewError(usance.CodeConflict, "the key is revoked or expired; create a new one")
		}
		// No rotation has set the end of the last one: it is as it was made.
		next := last
		if next.ExpiresAt = expires; expires == nil && last.ExpiresAt != nil {
			at := now.Add(last.ExpiresAt.Sub(last.CreatedAt))
			next.ExpiresAt = &at
		}
		if k, secret, err = c.addKey(ctx, tx, next, actor); err != nil {
			return err
		}
		end := now.Add(overlap)
		for i, old := range line {
			ending := old
			if ending.Usable(now) && (ending.ExpiresAt == nil || ending.ExpiresAt.After(end)) {
				ending.ExpiresAt = &end
			}
			if i == len(line)-1 {
				ending.ReplacedBy = k.ID
			}
			if i > 0 && reflect.DeepEqual(old, ending) {
				continue
			}
			if err := c.changeKey(ctx, tx, "key.rotate", actor, now, old, ending); err != nil {
				return err
			}
		}
		return nil
	})
	return k, secret, err
}

// lineOf gives a key and those that came into its place, one after the other.
func lineOf(ctx context.Context, tx usance.Tx, id string) ([]usance.APIKey, error) {
	first, err := tx.APIKey(ctx, id)
	if err != nil {
		return nil, err
	}
	line := []usance.APIKey{first}
	known := map[string]bool{id: true}
	for next := first.ReplacedBy; next != "" && !known[next]; { // SQL may have made a ring
		known[next] = true
		k, err := tx.APIKey(ctx, next)
		if ok, err := found(err); !ok {
			return line, err // deleted in SQL
		}
		line, next = append(line, k), k.ReplacedBy
	}
	return line, nil
}

func (c *Catalog) changeKey(ctx context.Context, tx usance.Tx, action, actor string, now time.Time, old, k usance.APIKey) error {
	if err := tx.PutAPIKey(ctx, k); err != nil {
		return err
	}
	return c.audit(ctx, tx, now, actor, action, k.ID, "", old, k)
}
