package postgres

import (
	"context"

	"github.com/usance/usance"
)

// dayArrays are the days as arguments of unnest.
func dayArrays(days []usance.Day) []any {
	return []any{
		column(days, func(d *usance.Day) string { return d.LicenseID }),
		column(days, func(d *usance.Day) usance.Date { return d.Date }),
	}
}

func (v *view) ClosedDays(ctx context.Context, days []usance.Day) ([]usance.Day, error) {
	if len(days) == 0 {
		return nil, nil
	}
	return all(ctx, v, `SELECT d.license_id, d.date FROM unnest($1::text[], $2::date[]) WITH ORDINALITY AS u (license_id, date, n)
		JOIN license_usage_days d ON d.license_id = u.license_id AND d.date = u.date
		WHERE d.closed`+v.pruned("d.license_id")+` ORDER BY u.n`, dayArrays(days),
		func(r *rows, d *usance.Day) error { return r.Scan(&d.LicenseID, &d.Date) })
}

func (v *view) SealedDays(ctx context.Context, licenseID string, from, to usance.Date) ([]usance.Date, error) {
	return all(ctx, v, `SELECT date FROM license_usage_days WHERE license_id = $1 AND date >= $2 AND date < $3 AND sealed ORDER BY date`,
		[]any{licenseID, from, to}, func(r *rows, d *usance.Date) error { return r.Scan(d) })
}

func (v *view) UniqueSessions(ctx context.Context, licenseID string, from, to usance.Date) (map[usance.Date]int64, error) {
	return v.byDay(ctx, `SELECT date, unique_sessions FROM license_usage_sessions WHERE license_id = $1 AND date >= $2 AND date < $3`, licenseID, from, to)
}

// byDay reads a number a day of a licence.
func (v *view) byDay(ctx context.Context, query, licenseID string, from, to usance.Date) (map[usance.Date]int64, error) {
	out := make(map[usance.Date]int64)
	err := v.each(ctx, query, []any{licenseID, from, to}, func(r *rows) error {
		var d usance.Date
		var n int64
		err := r.Scan(&d, &n)
		out[d] = n
		return err
	})
	return out, err
}

func (t *tx) CloseDays(ctx context.Context, days []usance.Day) error {
	return t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_days (license_id, date, closed, sealed)`,
		from: `SELECT license_id, date, TRUE, FALSE FROM unnest($1::text[], $2::date[]) AS u (license_id, date) ORDER BY license_id COLLATE "C", date`,
		row:  `(?::text, ?::date, TRUE, FALSE)`,
		when: `ON CONFLICT (license_id, date) DO UPDATE SET closed = TRUE`,
	}, dayArrays(days)...)
}

// SealDays closes as well: a day that takes events must never be pruned.
func (t *tx) SealDays(ctx context.Context, days []usance.Day) error {
	return t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_days (license_id, date, closed, sealed)`,
		from: `SELECT license_id, date, TRUE, TRUE FROM unnest($1::text[], $2::date[]) AS u (license_id, date) ORDER BY license_id COLLATE "C", date`,
		row:  `(?::text, ?::date, TRUE, TRUE)`,
		when: `ON CONFLICT (license_id, date) DO UPDATE SET closed = TRUE, sealed = TRUE`,
	}, dayArrays(days)...)
}
