package postgres

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/snapshot"
)

const keyColumns = `k.id, k.name, k.role, k.party_id, k.brand_ids, k.license_ids, k.scopes, k.hash, k.created_at, k.expires_at, k.revoked_at, k.replaced_by,
	(SELECT u.used_at FROM api_keys_used u WHERE u.key_id = k.id)`

func scanKey(r *rows, k *usance.APIKey) error {
	return r.Scan(&k.ID, intoText(&k.Name), &k.Role, intoText(&k.PartyID), &k.BrandIDs, &k.LicenseIDs, &k.Scopes,
		&k.Hash, &k.CreatedAt, &k.ExpiresAt, &k.RevokedAt, intoText(&k.ReplacedBy), &k.LastUsedAt)
}

// APIKeyByHash finds a key by the SHA-256 of its secret.
func (s *Store) APIKeyByHash(ctx context.Context, hash []byte) (k usance.APIKey, err error) {
	err = s.view(ctx, func(v *view) error {
		k, err = single(ctx, v, "API key", `SELECT `+keyColumns+` FROM api_keys k WHERE k.hash = $1`, []any{hash}, scanKey)
		return err
	})
	return k, err
}

func (v *view) APIKey(ctx context.Context, id string) (usance.APIKey, error) {
	return single(ctx, v, "API key", `SELECT `+keyColumns+` FROM api_keys k WHERE k.id = $1`, []any{id}, scanKey)
}

// APIKeys lists keys in the order of ids, revoked ones too.
func (s *Store) APIKeys(ctx context.Context, p usance.Page) (keys []usance.APIKey, next string, err error) {
	err = s.view(ctx, func(v *view) error {
		q := newListing("keys", p, `SELECT `+keyColumns+` FROM api_keys k WHERE TRUE`)
		q.after("t", `k.id > ?`)
		keys, next, err = list(ctx, v, q, `k.id`, scanKey, func(k *usance.APIKey) []string { return []string{k.ID} })
		return err
	})
	return keys, next, err
}

// KeysVersion is raised by every change of a key, here or on another node.
func (s *Store) KeysVersion(ctx context.Context) (int64, error) {
	read := func(ctx context.Context) (version int64, err error) {
		err = s.view(ctx, func(v *view) error {
			_, err := v.one(ctx, `SELECT version FROM api_keys_version`, nil, &version)
			return err
		})
		return version, err
	}
	if snapshot.Of[view](ctx, s) != nil {
		return read(ctx)
	}
	return s.keys.Get(ctx, read)
}

// UseAPIKeys records when keys were used last.
func (s *Store) UseAPIKeys(ctx context.Context, used map[string]time.Time) error {
	ids := slices.Sorted(maps.Keys(used))
	return s.update(ctx, usance.Locks{}, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO api_keys_used (key_id, used_at)
			SELECT key_id, used_at FROM unnest($1::text[], $2::timestamptz[]) AS u (key_id, used_at) ORDER BY key_id COLLATE "C"
			ON CONFLICT (key_id) DO UPDATE SET used_at = greatest(api_keys_used.used_at, excluded.used_at)`,
			ids, column(ids, func(id *string) time.Time { return used[*id] }))
		return err
	})
}

func (t *tx) LockAPIKeys(ctx context.Context) error {
	var version int64
	_, err := t.one(ctx, `SELECT version FROM api_keys_version FOR UPDATE`, nil, &version)
	return err
}

func (t *tx) PutAPIKey(ctx context.Context, k usance.APIKey) error {
	var lists [3]any
	for i, l := range [][]string{k.BrandIDs, k.LicenseIDs, k.Scopes} {
		var err error
		if lists[i], err = asJSON(l); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, `INSERT INTO api_keys (id, name, role, party_id, brand_ids, license_ids, scopes, hash, created_at, expires_at, revoked_at, replaced_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, party_id = excluded.party_id,
			brand_ids = excluded.brand_ids, license_ids = excluded.license_ids, scopes = excluded.scopes, hash = excluded.hash,
			created_at = excluded.created_at, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
			replaced_by = excluded.replaced_by`,
		k.ID, text(k.Name), string(k.Role), text(k.PartyID), lists[0], lists[1], lists[2], k.Hash,
		k.CreatedAt, k.ExpiresAt, k.RevokedAt, text(k.ReplacedBy))
	if err != nil {
		return err
	}
	t.keysChanged = true
	_, err = t.exec(ctx, `UPDATE api_keys_version SET version = version + 1`)
	return err
}
