package postgres

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// dueDaysApart goes through the index on days on each shard; Citus takes no
// statement that goes through them a day at a time.
func (v *view) dueDaysApart(ctx context.Context, before time.Time, after usance.Day, limit int) ([]usance.Day, error) {
	return all(ctx, v, `SELECT e.license_id, e.local_date FROM license_usage_events e
		LEFT JOIN license_usage_days s ON s.license_id = e.license_id AND s.date = e.local_date AND s.sealed
		WHERE (e.license_id, e.local_date) > ($1::text, $2::date) AND s.license_id IS NULL
		GROUP BY e.license_id, e.local_date HAVING min(e.received_at) < $3
		ORDER BY e.license_id, e.local_date LIMIT $4`, []any{after.LicenseID, after.Date, before, limit},
		func(r *rows, d *usance.Day) error { return r.Scan(&d.LicenseID, &d.Date) })
}

// pendingBefore gives the batches of before the bound that are pending, which is
// none where folding goes on.
func (t *tx) pendingBefore(ctx context.Context, bound usance.ID) ([]usance.ID, error) {
	ids, err := all(ctx, &t.view, `SELECT batch_id FROM pending_batches WHERE batch_id < $1`, []any{bound}, func(r *rows, id *usance.ID) error { return r.Scan(id) })
	return append([]usance.ID{}, ids...), err // none is an empty list, not NULL
}

func (t *tx) pruneEvidenceApart(ctx context.Context, before time.Time, limit int) (int, error) {
	licenses, keys, err := t.keysOf(ctx, `SELECT license_id, key FROM license_usage_evidence WHERE last_at < $1 ORDER BY last_at LIMIT $2`, []any{before, limit})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	n, err := t.execApart(ctx, `DELETE FROM license_usage_evidence e USING unnest($1::text[], $2::bytea[]) AS u (license_id, key)
		WHERE e.license_id = u.license_id AND e.key = u.key AND e.last_at < $3`+t.pruned("e.license_id"), licenses, keys, before)
	return int(n), err
}
