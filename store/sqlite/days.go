package sqlite

import (
	"context"
	"database/sql"

	"github.com/usance/usance"
)

// ClosedDays asks for each day apart: a group of events knows few.
func (v *view) ClosedDays(ctx context.Context, days []usance.Day) ([]usance.Day, error) {
	var out []usance.Day
	quick := context.WithoutCancel(ctx)
	for _, d := range days {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var n int64
		found, err := v.one(quick, `SELECT 1 FROM license_usage_days WHERE license_id = ? AND date = ? AND closed`,
			[]any{d.LicenseID, int64(d.Date)}, &n)
		if err != nil {
			return nil, err
		}
		if found {
			out = append(out, d)
		}
	}
	return out, nil
}

func (v *view) SealedDays(ctx context.Context, licenseID string, from, to usance.Date) ([]usance.Date, error) {
	return all(ctx, v, `SELECT date FROM license_usage_days WHERE license_id = ? AND date >= ? AND date < ? AND sealed ORDER BY date`,
		[]any{licenseID, int64(from), int64(to)}, func(rows *sql.Rows, d *usance.Date) error { return rows.Scan(d) })
}

func (v *view) UniqueSessions(ctx context.Context, licenseID string, from, to usance.Date) (map[usance.Date]int64, error) {
	out := make(map[usance.Date]int64)
	err := v.each(ctx, `SELECT date, unique_sessions FROM license_usage_sessions WHERE license_id = ? AND date >= ? AND date < ?`,
		[]any{licenseID, int64(from), int64(to)}, func(rows *sql.Rows) error {
			var d usance.Date
			var n int64
			err := rows.Scan(&d, &n)
			out[d] = n
			return err
		})
	return out, err
}

func (t *tx) CloseDays(ctx context.Context, days []usance.Day) error {
	for _, d := range days {
		t.changesFacts(d.LicenseID)
		_, err := t.exec(ctx, `INSERT INTO license_usage_days (license_id, date, closed, sealed) VALUES (?, ?, TRUE, FALSE)
			ON CONFLICT (license_id, date) DO UPDATE SET closed = TRUE`, d.LicenseID, int64(d.Date))
		if err != nil {
			return err
		}
	}
	return nil
}

// SealDays closes as well: a day that takes events must never be pruned.
func (t *tx) SealDays(ctx context.Context, days []usance.Day) error {
	for _, d := range days {
		t.changesFacts(d.LicenseID)
		_, err := t.exec(ctx, `INSERT INTO license_usage_days (license_id, date, closed, sealed) VALUES (?, ?, TRUE, TRUE)
			ON CONFLICT (license_id, date) DO UPDATE SET closed = TRUE, sealed = TRUE`, d.LicenseID, int64(d.Date))
		if err != nil {
			return err
		}
	}
	return nil
}
