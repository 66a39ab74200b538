package sqlite

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/snapshot"
)

const keyColumns = `k.id, k.name, k.role, k.party_id, k.brand_ids, k.license_ids, k.scopes, k.hash, k.created_at, k.expires_at, k.revoked_at, k.replaced_by,
	(SELECT u.used_at FROM api_keys_used u WHERE u.key_id = k.id)`

func scanKey(rows *sql.Rows, k *usance.APIKey) error {
	return rows.Scan(&k.ID, intoText(&k.Name), &k.Role, intoText(&k.PartyID), toJSON{&k.BrandIDs}, toJSON{&k.LicenseIDs}, toJSON{&k.Scopes},
		&k.Hash, toTime{&k.CreatedAt}, toPtrTime{&k.ExpiresAt}, toPtrTime{&k.RevokedAt}, intoText(&k.ReplacedBy), toPtrTime{&k.LastUsedAt})
}

// APIKeyByHash finds a key by the SHA-256 of its secret.
func (s *Store) APIKeyByHash(ctx context.Context, hash []byte) (k usance.APIKey, err error) {
	err = s.view(ctx, func(v *view) error {
		k, err = single(ctx, v, "API key", `SELECT `+keyColumns+` FROM api_keys k WHERE k.hash = ?`, []any{hash}, scanKey)
		return err
	})
	return k, err
}

func (v *view) APIKey(ctx context.Context, id string) (usance.APIKey, error) {
	return single(ctx, v, "API key", `SELECT `+keyColumns+` FROM api_keys k WHERE k.id = ?`, []any{id}, scanKey)
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

// shellWait is how long a change of keys by another program may go unseen.
const shellWait = 100 * time.Millisecond

// KeysVersion is raised by every change of a key. Changes come through this
// process, but for those of the sqlite3 shell.
func (s *Store) KeysVersion(ctx context.Context) (version int64, err error) {
	const read = `SELECT version FROM api_keys_version`
	if v := snapshot.Of[view](ctx, s); v != nil {
		_, err = v.one(ctx, read, nil, &version)
		return version, err
	}
	return s.keys.Get(ctx, func(ctx context.Context) (version int64, err error) {
		c, err := s.take(ctx, s.readers)
		if err != nil {
			return 0, err
		}
		defer s.end(c, s.readers)
		v := view{c}
		_, err = v.one(context.WithoutCancel(ctx), read, nil, &version)
		return version, err
	})
}

// UseAPIKeys records when keys were used last.
func (s *Store) UseAPIKeys(ctx context.Context, used map[string]time.Time) error {
	return s.update(ctx, func(t *tx) error {
		for _, id := range slices.Sorted(maps.Keys(used)) {
			if _, err := t.exec(ctx, `INSERT INTO api_keys_used (key_id, used_at) VALUES (?, ?)
				ON CONFLICT (key_id) DO UPDATE SET used_at = max(used_at, excluded.used_at)`, id, used[id].UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
}

// LockAPIKeys has nothing to do: transactions that write come one after the other.
func (t *tx) LockAPIKeys(context.Context) error { return nil }

func (t *tx) PutAPIKey(ctx context.Context, k usance.APIKey) error {
	var lists [3]any
	for i, l := range [][]string{k.BrandIDs, k.LicenseIDs, k.Scopes} {
		var err error
		if lists[i], err = asJSON(l); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, `INSERT INTO api_keys (id, name, role, party_id, brand_ids, license_ids, scopes, hash, created_at, expires_at, revoked_at, replaced_by)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, party_id = excluded.party_id,
			brand_ids = excluded.brand_ids, license_ids = excluded.license_ids, scopes = excluded.scopes, hash = excluded.hash,
			created_at = excluded.created_at, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
			replaced_by = excluded.replaced_by`,
		k.ID, text(k.Name), string(k.Role), text(k.PartyID), lists[0], lists[1], lists[2], k.Hash,
		k.CreatedAt.UnixMicro(), ptrTime(k.ExpiresAt), ptrTime(k.RevokedAt), text(k.ReplacedBy))
	if err != nil {
		return err
	}
	t.keysChanged = true
	_, err = t.exec(ctx, `UPDATE api_keys_version SET version = version + 1`)
	return err
}
