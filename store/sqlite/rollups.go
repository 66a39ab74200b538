package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

const rollupColumns = `license_id, date, usage_type, events, quantity, revenue_cents, revision, breakdown`

func scanRollup(rows *sql.Rows, r *usance.Rollup) error {
	var breakdown sql.NullString
	err := rows.Scan(&r.LicenseID, &r.Date, &r.UsageType, &r.Events, &r.Quantity, &r.RevenueCents, &r.Revision, &breakdown)
	if err == nil && breakdown.Valid {
		r.Breakdown, err = codec.ParseBreakdown(breakdown.String)
	}
	return err
}

func (v *view) Rollups(ctx context.Context, licenseID string, from, to usance.Date, types []string, yield func(*usance.Rollup) error) error {
	var only any
	if types != nil {
		only = jsonStrings(types)
	}
	return v.each(ctx, `SELECT `+rollupColumns+` FROM license_usage_rollups
		WHERE license_id = ?1 AND date >= ?2 AND date < ?3 AND (?4 IS NULL OR usage_type IN (SELECT value FROM json_each(?4)))
		ORDER BY date, usage_type`, []any{licenseID, int64(from), int64(to), only},
		func(rows *sql.Rows) error {
			var r usance.Rollup
			if err := scanRollup(rows, &r); err != nil {
				return err
			}
			return yield(&r)
		})
}

func (t *tx) EnsureRollups(ctx context.Context, keys []usance.RollupKey) error {
	return t.writing(ctx, `INSERT INTO license_usage_rollups (license_id, date, usage_type, events, quantity, revenue_cents, revision)
		VALUES (?, ?, ?, 0, 0, 0, 0) ON CONFLICT DO NOTHING`,
		func(ctx context.Context, s *sql.Stmt) error {
			known := t.c.cache.rollups
			for _, k := range keys {
				if known[k] {
					continue
				}
				if _, err := s.ExecContext(ctx, k.LicenseID, int64(k.Date), k.UsageType); err != nil {
					return err
				}
				if len(known) >= maxCachedRollups {
					clear(known)
				}
				known[k] = true
				t.ensured = append(t.ensured, k)
			}
			return nil
		})
}

// LockRollups has nothing to lock: whoever writes is alone.
func (t *tx) LockRollups(ctx context.Context, keys []usance.RollupKey) ([]usance.Rollup, error) {
	out := make([]usance.Rollup, 0, len(keys))
	quick := context.WithoutCancel(ctx)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := t.each(quick, `SELECT `+rollupColumns+` FROM license_usage_rollups WHERE license_id = ? AND date = ? AND usage_type = ?`,
			[]any{k.LicenseID, int64(k.Date), k.UsageType}, func(rows *sql.Rows) error {
				out = append(out, usance.Rollup{})
				return scanRollup(rows, &out[len(out)-1])
			})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *tx) PutRollups(ctx context.Context, rows []usance.Rollup) error {
	return t.writing(ctx, `UPDATE license_usage_rollups SET events = ?, quantity = ?, revenue_cents = ?, revision = ?, breakdown = ?
		WHERE license_id = ? AND date = ? AND usage_type = ?`,
		func(ctx context.Context, s *sql.Stmt) error {
			var b []byte
			for i := range rows {
				r := &rows[i]
				var breakdown any
				if r.Breakdown != nil {
					b = codec.AppendBreakdown(b[:0], r.Breakdown)
					breakdown = string(b)
				}
				res, err := s.ExecContext(ctx, r.Events, r.Quantity, r.RevenueCents, r.Revision, breakdown, r.LicenseID, int64(r.Date), r.UsageType)
				if err != nil {
					return err
				}
				if n, err := res.RowsAffected(); err != nil || n != 1 {
					return fmt.Errorf("%w: rollup of %s, %s, %s", errNoRow, r.LicenseID, r.Date, r.UsageType)
				}
			}
			return nil
		})
}

func (v *view) DaySessions(ctx context.Context, licenseID string, from, to usance.Date, yield func(usance.Date, *usance.Sessions) error) error {
	return v.each(ctx, `SELECT date, sketch FROM license_usage_sessions WHERE license_id = ? AND date >= ? AND date < ? ORDER BY date`,
		[]any{licenseID, int64(from), int64(to)}, func(rows *sql.Rows) error {
			var d usance.Date
			var sketch []byte
			if err := rows.Scan(&d, &sketch); err != nil {
				return err
			}
			var s usance.Sessions
			if err := s.UnmarshalBinary(sketch); err != nil {
				return fmt.Errorf("reading the sessions of %s, %s: %w", licenseID, d, err)
			}
			return yield(d, &s)
		})
}

func (t *tx) MergeSessions(ctx context.Context, days []usance.DaySketch) error {
	for i := range days {
		d := &days[i]
		var merged usance.Sessions
		err := t.DaySessions(ctx, d.LicenseID, d.Date, d.Date+1, func(_ usance.Date, s *usance.Sessions) error {
			merged = *s
			return nil
		})
		if err != nil {
			return err
		}
		if err := merged.Merge(&d.Sessions); err != nil {
			return t.fail(fmt.Errorf("merging the sessions of %s, %s: %w", d.LicenseID, d.Date, err))
		}
		// Before MarshalBinary, which the estimate must not depend on.
		unique := merged.Estimate()
		sketch, err := merged.MarshalBinary()
		if err != nil {
			return t.fail(fmt.Errorf("writing the sessions of %s, %s: %w", d.LicenseID, d.Date, err))
		}
		_, err = t.exec(ctx, `INSERT INTO license_usage_sessions (license_id, date, unique_sessions, sketch) VALUES (?, ?, ?, ?)
			ON CONFLICT (license_id, date) DO UPDATE SET unique_sessions = excluded.unique_sessions, sketch = excluded.sketch`,
			d.LicenseID, int64(d.Date), unique, sketch)
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *view) Version(ctx context.Context, licenseID string) (version int64, err error) {
	_, err = v.one(ctx, `SELECT version FROM license_usage_versions WHERE license_id = ?`, []any{licenseID}, &version)
	return version, err
}

func (t *tx) RenewVersions(ctx context.Context, licenseIDs []string) error {
	return t.writing(ctx, `INSERT INTO license_usage_versions (license_id, version) VALUES (?, ?)
		ON CONFLICT (license_id) DO UPDATE SET version = excluded.version`,
		func(ctx context.Context, s *sql.Stmt) error {
			version := codec.NewVersion()
			for _, id := range licenseIDs {
				if _, err := s.ExecContext(ctx, id, version); err != nil {
					return err
				}
			}
			return nil
		})
}
