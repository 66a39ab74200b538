package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/usance/usance"
	"github.com/usance/usance/store/listing"
)

const thresholdColumns = `t.id, t.license_id, t.usage_type, t.period_type, t.limit_quantity, t.grace_percentage, t.allow_overage,
	t.overage_rate_cents, t.overage_tiers, t.warning_levels, t.is_active, t.by_brand, t.last_warning_level, t.last_warning_at,
	t.effective_from, t.retired_at, t.epoch, t.created_at, t.updated_at`

func scanThreshold(rows *sql.Rows, t *usance.Threshold) error {
	return t.CheckStored(rows.Scan(&t.ID, &t.LicenseID, &t.UsageType, &t.PeriodType, &t.LimitQuantity, &t.GracePercentage, &t.AllowOverage,
		toRate{&t.OverageRateCents}, toJSON{&t.OverageTiers}, toJSON{&t.WarningLevels}, &t.IsActive, &t.ByBrand, &t.LastWarningLevel, toPtrTime{&t.LastWarningAt},
		&t.EffectiveFrom, toPtrTime{&t.RetiredAt}, &t.Epoch, toTime{&t.CreatedAt}, toTime{&t.UpdatedAt}))
}

func (v *view) Threshold(ctx context.Context, id string) (usance.Threshold, error) {
	return single(ctx, v, "threshold", `SELECT `+thresholdColumns+` FROM license_usage_thresholds t WHERE t.id = ?`, []any{id}, scanThreshold)
}

func (v *view) Thresholds(ctx context.Context, f usance.ThresholdFilter, p usance.Page) ([]usance.Threshold, string, error) {
	q := newListing("thresholds", p, `SELECT `+thresholdColumns+` FROM license_usage_thresholds t WHERE TRUE`)
	q.after("tt", `(t.license_id, t.id) > (?, ?)`)
	q.inScope(f.Scope, "t.license_id")
	q.AndIf(f.LicenseID != "", `t.license_id = ?`, f.LicenseID)
	q.AndIf(f.UsageType != "", `t.usage_type = ?`, f.UsageType)
	q.AndIf(!f.Inactive, `t.is_active`)
	scan, readable := scanThreshold, func(list []usance.Threshold) []usance.Threshold { return list }
	if f.LicenseID == "" {
		scan, readable = listing.Lenient(scanThreshold)
	}
	out, next, err := list(ctx, v, q, `t.license_id, t.id`, scan, func(t *usance.Threshold) []string { return []string{t.LicenseID, t.ID} })
	return readable(out), next, err
}

func (t *tx) PutThreshold(ctx context.Context, h usance.Threshold) error {
	t.changesFacts(h.LicenseID)
	tiers, err := asJSON(h.OverageTiers)
	if err != nil {
		return err
	}
	levels, err := asJSON(h.WarningLevels)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO license_usage_thresholds (id, license_id, usage_type, period_type, limit_quantity, grace_percentage,
			allow_overage, overage_rate_cents, overage_tiers, warning_levels, is_active, by_brand, last_warning_level, last_warning_at,
			effective_from, retired_at, epoch, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET license_id = excluded.license_id, usage_type = excluded.usage_type,
			period_type = excluded.period_type, limit_quantity = excluded.limit_quantity, grace_percentage = excluded.grace_percentage,
			allow_overage = excluded.allow_overage, overage_rate_cents = excluded.overage_rate_cents,
			overage_tiers = excluded.overage_tiers, warning_levels = excluded.warning_levels, is_active = excluded.is_active, by_brand = excluded.by_brand,
			last_warning_level = excluded.last_warning_level, last_warning_at = excluded.last_warning_at,
			effective_from = excluded.effective_from, retired_at = excluded.retired_at, epoch = excluded.epoch,
			created_at = excluded.created_at, updated_at = excluded.updated_at`,
		h.ID, h.LicenseID, h.UsageType, string(h.PeriodType), h.LimitQuantity, h.GracePercentage,
		h.AllowOverage, ptrRate(h.OverageRateCents), tiers, levels, h.IsActive, h.ByBrand, ptrInt(h.LastWarningLevel), ptrTime(h.LastWarningAt),
		int64(h.EffectiveFrom), ptrTime(h.RetiredAt), h.Epoch, h.CreatedAt.UnixMicro(), h.UpdatedAt.UnixMicro())
	return err
}

func (t *tx) WarnThresholds(ctx context.Context, warnings []usance.Warning) error {
	for _, w := range warnings {
		t.changesFacts(w.LicenseID)
		var err error
		if w.Level == 0 {
			_, err = t.exec(ctx, `UPDATE license_usage_thresholds SET last_warning_level = NULL WHERE id = ? AND license_id = ?`,
				w.ThresholdID, w.LicenseID)
		} else {
			_, err = t.exec(ctx, `UPDATE license_usage_thresholds SET last_warning_level = ?, last_warning_at = ? WHERE id = ? AND license_id = ?`,
				w.Level, w.At.UnixMicro(), w.ThresholdID, w.LicenseID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const counterColumns = `license_id, threshold_id, period_start, period_end, quantity, level, state, terms`

func scanCounter(rows *sql.Rows, c *usance.Counter) error {
	return rows.Scan(&c.LicenseID, &c.ThresholdID, &c.PeriodStart, &c.PeriodEnd, &c.Quantity, &c.Level, &c.State, toJSON{&c.Terms})
}

func (v *view) Counters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	out := make([]usance.Counter, 0, len(keys))
	quick := context.WithoutCancel(ctx)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := v.each(quick, `SELECT `+counterColumns+` FROM license_usage_counters WHERE license_id = ? AND threshold_id = ? AND period_start = ?`,
			[]any{k.LicenseID, k.ThresholdID, int64(k.PeriodStart)}, func(rows *sql.Rows) error {
				out = append(out, usance.Counter{})
				return scanCounter(rows, &out[len(out)-1])
			})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// LockCounters has nothing to lock: whoever writes is alone.
func (t *tx) LockCounters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	return t.Counters(ctx, keys)
}

func (v *view) CountersOf(ctx context.Context, licenseID, thresholdID string) ([]usance.Counter, error) {
	return all(ctx, v, `SELECT `+counterColumns+` FROM license_usage_counters
		WHERE license_id = ? AND threshold_id = ? ORDER BY period_start`, []any{licenseID, thresholdID}, scanCounter)
}

func (v *view) Ended(ctx context.Context, by usance.Date, after usance.CounterKey, limit int) ([]usance.Counter, error) {
	return all(ctx, v, `SELECT `+counterColumns+` FROM license_usage_counters
		WHERE state IN ('open', 'frozen') AND period_end <= ? AND (license_id, threshold_id, period_start) > (?, ?, ?)
		ORDER BY license_id, threshold_id, period_start LIMIT ?`,
		[]any{int64(by), after.LicenseID, after.ThresholdID, int64(after.PeriodStart), limit}, scanCounter)
}

func (t *tx) EnsureCounters(ctx context.Context, counters []usance.Counter) error {
	for i := range counters {
		c := &counters[i]
		terms, err := asJSON(c.Terms)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO license_usage_counters (license_id, threshold_id, period_start, period_end, quantity, level, state, terms)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			c.LicenseID, c.ThresholdID, int64(c.PeriodStart), int64(c.PeriodEnd), c.Quantity, c.Level, string(c.State), terms)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) AddToCounters(ctx context.Context, deltas []usance.CounterDelta) ([]usance.Counter, error) {
	keys := make([]usance.CounterKey, len(deltas))
	for i := range deltas {
		keys[i] = deltas[i].CounterKey
	}
	// They are read first: most are known, and nobody else writes meanwhile.
	before, err := t.Counters(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make([]usance.Counter, 0, len(before))
	err = t.writing(ctx, `UPDATE license_usage_counters SET quantity = ? WHERE license_id = ? AND threshold_id = ? AND period_start = ?`,
		func(ctx context.Context, s *sql.Stmt) error {
			at := 0
			for _, d := range deltas {
				if at == len(before) || before[at].CounterKey != d.CounterKey {
					continue
				}
				c := before[at]
				at++
				if !c.State.Moves() {
					continue
				}
				c.Quantity += d.Quantity
				if _, err := s.ExecContext(ctx, c.Quantity, d.LicenseID, d.ThresholdID, int64(d.PeriodStart)); err != nil {
					return err
				}
				t.movesCounter(d.CounterKey)
				t.c.cache.keepCounter(c)
				out = append(out, c)
			}
			return nil
		})
	return out, err
}

func (t *tx) PutCounters(ctx context.Context, counters []usance.Counter) error {
	for i := range counters {
		c := &counters[i]
		delete(t.c.cache.counters, c.CounterKey)
		terms, err := asJSON(c.Terms)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE license_usage_counters SET period_end = ?, quantity = ?, level = ?, state = ?, terms = ?
			WHERE license_id = ? AND threshold_id = ? AND period_start = ?`,
			int64(c.PeriodEnd), c.Quantity, c.Level, string(c.State), terms, c.LicenseID, c.ThresholdID, int64(c.PeriodStart))
		if err != nil {
			return err
		}
		if n != 1 {
			return t.fail(fmt.Errorf("%w: counter of %s, %s, %s", errNoRow, c.LicenseID, c.ThresholdID, c.PeriodStart))
		}
	}
	return nil
}
