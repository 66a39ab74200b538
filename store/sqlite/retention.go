package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/usance/usance"
)

// receivedBefore is the last seq whose event, and all before it, were received
// before the instant. Rows are appended in the order of commits, which follows
// that of receipt but for moments, so a bisection over seq finds it without an
// index on the time; what those moments hide is found by a later run.
func (v *view) receivedBefore(ctx context.Context, before time.Time) (int64, error) {
	var first, last sql.NullInt64
	if _, err := v.one(ctx, `SELECT min(seq), max(seq) FROM license_usage_events`, nil, &first, &last); err != nil || !first.Valid {
		return 0, err
	}
	lo, hi := first.Int64-1, last.Int64 // lo is due, hi+1 is not
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		var seq, received int64
		found, err := v.one(ctx, `SELECT seq, received_at FROM license_usage_events WHERE seq >= ? ORDER BY seq LIMIT 1`, []any{mid}, &seq, &received)
		if err != nil {
			return 0, err
		}
		if !found || received >= before.UnixMicro() {
			hi = mid - 1
		} else {
			lo = seq
		}
	}
	return lo, nil
}

func (v *view) DueDays(ctx context.Context, before time.Time, after usance.Day, limit int) ([]usance.Day, error) {
	last, err := v.receivedBefore(ctx, before)
	if err != nil || last == 0 {
		return nil, err
	}
	// Through the index on days, a day at a time: each is passed by one look-up
	// however many events it holds. A day is due when its first event is.
	return all(ctx, v, `WITH RECURSIVE days (license_id, date) AS (
			SELECT * FROM (SELECT license_id, local_date FROM license_usage_events
				WHERE (license_id, local_date) > (?1, ?2) ORDER BY license_id, local_date LIMIT 1)
			UNION ALL
			SELECT n.license_id, n.local_date FROM days d JOIN license_usage_events n ON n.seq = (
				SELECT seq FROM license_usage_events e WHERE (e.license_id, e.local_date) > (d.license_id, d.date)
				ORDER BY e.license_id, e.local_date LIMIT 1)
		)
		SELECT license_id, date FROM days d
		WHERE EXISTS (SELECT 1 FROM license_usage_events e WHERE e.license_id = d.license_id AND e.local_date = d.date AND e.seq <= ?3 AND e.received_at < ?5)
			AND NOT EXISTS (SELECT 1 FROM license_usage_days s WHERE s.license_id = d.license_id AND s.date = d.date AND s.sealed)
		LIMIT ?4`, []any{after.LicenseID, int64(after.Date), last, limit, before.UnixMicro()},
		func(rows *sql.Rows, d *usance.Day) error { return rows.Scan(&d.LicenseID, &d.Date) })
}

// firstPending finds the first pending range of all by the first of each group.
const firstPending = `WITH RECURSIVE groups (n) AS (
		SELECT min(license_group) FROM pending_batches
		UNION ALL
		SELECT (SELECT min(license_group) FROM pending_batches WHERE license_group > n) FROM groups WHERE n IS NOT NULL
	)
	SELECT min((SELECT min(first_seq) FROM pending_batches WHERE license_group = n)) FROM groups`

func (v *view) LastReceived(ctx context.Context) (at time.Time, err error) {
	_, err = v.one(ctx, `SELECT received_at FROM license_usage_events ORDER BY seq DESC LIMIT 1`, nil, toTime{&at})
	return at, err
}

func (t *tx) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	last, err := t.receivedBefore(ctx, before)
	if err != nil || last == 0 {
		return 0, err
	}
	// Never from a pending batch on: folds read it back by its range.
	var pending sql.NullInt64
	if _, err := t.one(ctx, firstPending, nil, &pending); err != nil {
		return 0, err
	}
	if pending.Valid {
		last = min(last, pending.Int64-1)
	}
	n, err := t.exec(ctx, `DELETE FROM license_usage_events WHERE seq IN (
			SELECT e.seq FROM license_usage_events e JOIN license_usage_days d ON d.license_id = e.license_id AND d.date = e.local_date
			WHERE e.seq <= ? AND e.received_at < ? AND d.sealed ORDER BY e.seq LIMIT ?)`, last, before.UnixMicro(), limit)
	return int(n), err
}

func (t *tx) PruneEvidence(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, `DELETE FROM license_usage_evidence WHERE (license_id, key) IN (
			SELECT license_id, key FROM license_usage_evidence WHERE last_at < ? LIMIT ?)`, before.UnixMicro(), limit)
	return int(n), err
}
