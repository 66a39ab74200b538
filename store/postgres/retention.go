package postgres

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/usance/usance"
)

// receivedBefore bounds the batches that were made before it: events of later
// ones were received at the instant or after it. Ids of batches begin with their
// time, so that a bisection over them finds the bound without an index on the
// time of receipt; what the moments between receipt and batch hide is found by
// a later run.
func (v *view) receivedBefore(ctx context.Context, before time.Time) (usance.ID, error) {
	lo, hi := uint64(0), uint64(math.MaxUint64) // what begins below lo is due, from hi on not
	for lo < hi {
		mid := lo + (hi-lo)/2
		var batch usance.ID
		var received time.Time
		found, err := v.one(ctx, `SELECT batch_id, received_at FROM license_usage_events WHERE batch_id >= $1 ORDER BY batch_id LIMIT 1`,
			[]any{batchFrom(mid)}, &batch, &received)
		if err != nil {
			return usance.ID{}, err
		}
		if !found || !received.Before(before) {
			hi = mid
		} else {
			lo = binary.BigEndian.Uint64(batch[:8]) + 1
		}
	}
	return batchFrom(lo), nil
}

// batchFrom is the first id that begins with n. No id is all zeros.
func batchFrom(n uint64) (id usance.ID) {
	binary.BigEndian.PutUint64(id[:8], n)
	id[15] = 1
	return id
}

// DueDays goes through the index on days, a day at a time: each is passed by one
// look-up however many events it holds. A day is due when its first event is.
func (v *view) DueDays(ctx context.Context, before time.Time, after usance.Day, limit int) ([]usance.Day, error) {
	if v.c.of.shards != nil {
		return v.dueDaysApart(ctx, before, after, limit)
	}
	return all(ctx, v, `WITH RECURSIVE days (license_id, date) AS (
			(SELECT license_id, local_date FROM license_usage_events
				WHERE (license_id, local_date) > ($1::text, $2::date) ORDER BY license_id, local_date LIMIT 1)
			UNION ALL
			SELECT n.license_id, n.local_date FROM days d CROSS JOIN LATERAL (
				SELECT e.license_id, e.local_date FROM license_usage_events e WHERE (e.license_id, e.local_date) > (d.license_id, d.date)
				ORDER BY e.license_id, e.local_date LIMIT 1) n
		)
		SELECT d.license_id, d.date FROM days d
		WHERE (SELECT min(e.received_at) FROM license_usage_events e WHERE e.license_id = d.license_id AND e.local_date = d.date) < $3
			AND NOT EXISTS (SELECT 1 FROM license_usage_days s WHERE s.license_id = d.license_id AND s.date = d.date AND s.sealed)
		LIMIT $4`, []any{after.LicenseID, after.Date, before, limit},
		func(r *rows, d *usance.Day) error { return r.Scan(&d.LicenseID, &d.Date) })
}

func (v *view) LastReceived(ctx context.Context) (at time.Time, err error) {
	_, err = v.one(ctx, `SELECT received_at FROM license_usage_events ORDER BY batch_id DESC LIMIT 1`, nil, intoTime(&at))
	return at, err
}

// PruneEvents finds the rows in one statement and deletes them in another.
func (t *tx) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	bound, err := t.receivedBefore(ctx, before)
	if err != nil {
		return 0, err
	}
	notPending, args := `NOT EXISTS (SELECT 1 FROM pending_batches p WHERE p.batch_id = e.batch_id)`, []any{bound, before, limit}
	if t.c.of.shards != nil { // a pending row need not lie where the events of its batch do
		pending, err := t.pendingBefore(ctx, bound)
		if err != nil {
			return 0, err
		}
		notPending, args = `e.batch_id <> ALL($4)`, append(args, pending)
	}
	licenses, keys, err := t.keysOf(ctx, `SELECT e.license_id, e.key FROM license_usage_events e
		JOIN license_usage_days d ON d.license_id = e.license_id AND d.date = e.local_date AND d.sealed
		WHERE e.batch_id < $1 AND e.received_at < $2 AND `+notPending+`
		ORDER BY e.batch_id, e.received_at, e.id LIMIT $3`, args)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	n, err := t.execApart(ctx, `DELETE FROM license_usage_events e USING unnest($1::text[], $2::bytea[]) AS u (license_id, key)
		WHERE e.license_id = u.license_id AND e.key = u.key`+t.pruned("e.license_id"), licenses, keys)
	return int(n), err
}

func (t *tx) PruneEvidence(ctx context.Context, before time.Time, limit int) (int, error) {
	if t.c.of.shards != nil {
		return t.pruneEvidenceApart(ctx, before, limit)
	}
	n, err := t.exec(ctx, `DELETE FROM license_usage_evidence WHERE (license_id, key) IN (
			SELECT license_id, key FROM license_usage_evidence WHERE last_at < $1 ORDER BY last_at LIMIT $2) AND last_at < $1`, before, limit)
	return int(n), err
}

// keysOf gives the first two columns of a query, a licence and a key, apart.
func (t *tx) keysOf(ctx context.Context, query string, args []any) (licenses []string, keys [][]byte, err error) {
	err = t.each(ctx, query, args, func(r *rows) error {
		var license string
		var key []byte
		err := r.Scan(&license, &key)
		licenses, keys = append(licenses, license), append(keys, key)
		return err
	})
	return licenses, keys, err
}
