package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

const rollupColumns = `r.license_id, r.date, r.usage_type, r.events, r.quantity, r.revenue_cents, r.revision, r.breakdown::text`

func scanRollup(rows *rows, r *usance.Rollup) error {
	var breakdown *string
	err := rows.Scan(&r.LicenseID, &r.Date, &r.UsageType, &r.Events, &r.Quantity, &r.RevenueCents, &r.Revision, &breakdown)
	if err == nil && breakdown != nil {
		r.Breakdown, err = codec.ParseBreakdown(*breakdown)
	}
	return err
}

func (v *view) Rollups(ctx context.Context, licenseID string, from, to usance.Date, types []string, yield func(*usance.Rollup) error) error {
	return v.each(ctx, `SELECT `+rollupColumns+` FROM license_usage_rollups r
		WHERE r.license_id = $1 AND r.date >= $2 AND r.date < $3 AND ($4::text[] IS NULL OR r.usage_type = ANY($4))
		ORDER BY r.date, r.usage_type`, []any{licenseID, from, to, types},
		func(rows *rows) error {
			var r usance.Rollup
			if err := scanRollup(rows, &r); err != nil {
				return err
			}
			return yield(&r)
		})
}

// rollupArrays are the keys as arguments of unnest.
func rollupArrays(keys []usance.RollupKey) []any {
	return []any{
		column(keys, func(k *usance.RollupKey) string { return k.LicenseID }),
		column(keys, func(k *usance.RollupKey) usance.Date { return k.Date }),
		column(keys, func(k *usance.RollupKey) string { return k.UsageType }),
	}
}

func (t *tx) EnsureRollups(ctx context.Context, keys []usance.RollupKey) error {
	return t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_rollups (license_id, date, usage_type, events, quantity, revenue_cents, revision)`,
		from: `SELECT license_id, date, usage_type, 0, 0, 0, 0 FROM unnest($1::text[], $2::date[], $3::text[]) AS u (license_id, date, usage_type)
			ORDER BY license_id COLLATE "C", date, usage_type COLLATE "C"`,
		row:  `(?::text, ?::date, ?::text, 0, 0, 0, 0)`,
		when: `ON CONFLICT DO NOTHING`,
	}, rollupArrays(keys)...)
}

func (t *tx) LockRollups(ctx context.Context, keys []usance.RollupKey) ([]usance.Rollup, error) {
	return allApart(ctx, &t.view, `SELECT `+rollupColumns+` FROM unnest($1::text[], $2::date[], $3::text[]) AS u (license_id, date, usage_type)
		JOIN license_usage_rollups r ON r.license_id = u.license_id AND r.date = u.date AND r.usage_type = u.usage_type`+t.pruned("r.license_id")+`
		ORDER BY r.license_id, r.date, r.usage_type FOR UPDATE OF r`, rollupArrays(keys), scanRollup,
		func(a, b usance.Rollup) int { return a.Compare(b.RollupKey) })
}

func (t *tx) PutRollups(ctx context.Context, list []usance.Rollup) error {
	breakdowns := make([]*string, len(list))
	var b []byte
	for i := range list {
		if list[i].Breakdown != nil {
			b = codec.AppendTexts(b[:0], list[i].Breakdown)
			s := string(b)
			breakdowns[i] = &s
		}
	}
	n, err := t.execApart(ctx, `UPDATE license_usage_rollups r SET events = u.events, quantity = u.quantity, revenue_cents = u.revenue_cents,
			revision = u.revision, breakdown = u.breakdown::jsonb
		FROM unnest($1::text[], $2::date[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::integer[], $8::text[])
			AS u (license_id, date, usage_type, events, quantity, revenue_cents, revision, breakdown)
		WHERE r.license_id = u.license_id AND r.date = u.date AND r.usage_type = u.usage_type`+t.pruned("r.license_id"),
		append(rollupArrays(column(list, func(r *usance.Rollup) usance.RollupKey { return r.RollupKey })),
			column(list, func(r *usance.Rollup) int64 { return r.Events }),
			column(list, func(r *usance.Rollup) int64 { return r.Quantity }),
			column(list, func(r *usance.Rollup) int64 { return r.RevenueCents }),
			column(list, func(r *usance.Rollup) int32 { return int32(r.Revision) }),
			breakdowns)...)
	return t.wrote(ctx, "rollups", n, len(list), err)
}

// wrote fails unless all rows were there to be rewritten.
func (t *tx) wrote(ctx context.Context, what string, n int64, want int, err error) error {
	if err == nil && n != int64(want) {
		err = t.c.fail(ctx, fmt.Errorf("%w: %d of %d %s", errNoRow, n, want, what))
	}
	return err
}

func (v *view) DaySessions(ctx context.Context, licenseID string, from, to usance.Date, yield func(usance.Date, *usance.Sessions) error) error {
	return v.each(ctx, `SELECT license_id, date, sketch FROM license_usage_sessions WHERE license_id = $1 AND date >= $2 AND date < $3 ORDER BY date`,
		[]any{licenseID, from, to}, func(r *rows) error {
			d, err := readSketch(r)
			if err != nil {
				return err
			}
			return yield(d.Date, &d.Sessions)
		})
}

func readSketch(r *rows) (d usance.DaySketch, err error) {
	var sketch []byte
	if err = r.Scan(&d.LicenseID, &d.Date, &sketch); err != nil {
		return d, err
	}
	if err = d.Sessions.UnmarshalBinary(sketch); err != nil {
		err = fmt.Errorf("reading the sessions of %s, %s: %w", d.LicenseID, d.Date, err)
	}
	return d, err
}

// MergeSessions locks the rows, which it makes first where they are missing: two
// folds may merge into one day.
func (t *tx) MergeSessions(ctx context.Context, days []usance.DaySketch) error {
	keys := dayArrays(column(days, func(d *usance.DaySketch) usance.Day { return d.Day }))
	err := t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_sessions (license_id, date, unique_sessions)`,
		from: `SELECT license_id, date, 0 FROM unnest($1::text[], $2::date[]) AS u (license_id, date) ORDER BY license_id COLLATE "C", date`,
		row:  `(?::text, ?::date, 0)`,
		when: `ON CONFLICT DO NOTHING`,
	}, keys...)
	if err != nil {
		return err
	}
	stored := make(map[usance.Day]*usance.Sessions, len(days))
	err = t.apart(keys, func(keys []any) error {
		return t.each(ctx, `SELECT s.license_id, s.date, s.sketch FROM unnest($1::text[], $2::date[]) AS u (license_id, date)
			JOIN license_usage_sessions s ON s.license_id = u.license_id AND s.date = u.date`+t.pruned("s.license_id")+`
			ORDER BY s.license_id, s.date FOR UPDATE OF s`, keys, func(r *rows) error {
			d, err := readSketch(r)
			stored[d.Day] = &d.Sessions
			return err
		})
	})
	if err != nil {
		return t.c.fail(ctx, err)
	}
	estimates, sketches := make([]int64, len(days)), make([][]byte, len(days))
	for i := range days {
		d := &days[i]
		merged := stored[d.Day]
		if merged == nil {
			return t.c.fail(ctx, errors.New("postgres: a row of sessions that was made is not there"))
		}
		if err := merged.Merge(&d.Sessions); err != nil {
			return t.c.fail(ctx, fmt.Errorf("merging the sessions of %s, %s: %w", d.LicenseID, d.Date, err))
		}
		// Before MarshalBinary, which the estimate must not depend on.
		estimates[i] = merged.Estimate()
		if sketches[i], err = merged.MarshalBinary(); err != nil {
			return t.c.fail(ctx, fmt.Errorf("writing the sessions of %s, %s: %w", d.LicenseID, d.Date, err))
		}
	}
	n, err := t.execApart(ctx, `UPDATE license_usage_sessions s SET unique_sessions = u.unique_sessions, sketch = u.sketch
		FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bytea[]) AS u (license_id, date, unique_sessions, sketch)
		WHERE s.license_id = u.license_id AND s.date = u.date`+t.pruned("s.license_id"), append(keys, estimates, sketches)...)
	return t.wrote(ctx, "days of sessions", n, len(days), err)
}

func (v *view) Version(ctx context.Context, licenseID string) (version int64, err error) {
	_, err = v.one(ctx, `SELECT version FROM license_usage_versions WHERE license_id = $1`, []any{licenseID}, &version)
	return version, err
}

func (t *tx) RenewVersions(ctx context.Context, licenseIDs []string) error {
	return t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_versions (license_id, version)`,
		from: `SELECT license_id, version FROM unnest($1::text[], $2::bigint[]) AS u (license_id, version) ORDER BY license_id COLLATE "C"`,
		row:  `(?::text, ?::bigint)`,
		when: `ON CONFLICT (license_id) DO UPDATE SET version = excluded.version`,
	}, licenseIDs, slices.Repeat([]int64{codec.NewVersion()}, len(licenseIDs)))
}
