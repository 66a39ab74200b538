package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/usance/usance"
	"github.com/usance/usance/store/listing"
)

const thresholdColumns = `t.id, t.license_id, t.usage_type, t.period_type, t.limit_quantity, t.grace_percentage, t.allow_overage,
	t.overage_rate_cents::text, t.overage_tiers, t.warning_levels, t.is_active, t.by_brand, t.last_warning_level, t.last_warning_at,
	t.effective_from, t.retired_at, t.epoch, t.created_at, t.updated_at`

func scanThreshold(r *rows, t *usance.Threshold) error {
	return t.CheckStored(r.Try(&t.ID, &t.LicenseID, &t.UsageType, &t.PeriodType, &t.LimitQuantity, &t.GracePercentage, &t.AllowOverage,
		toRate{&t.OverageRateCents}, &t.OverageTiers, &t.WarningLevels, &t.IsActive, &t.ByBrand, &t.LastWarningLevel, &t.LastWarningAt,
		&t.EffectiveFrom, &t.RetiredAt, &t.Epoch, &t.CreatedAt, &t.UpdatedAt))
}

func (v *view) Threshold(ctx context.Context, id string) (usance.Threshold, error) {
	return single(ctx, v, "threshold", `SELECT `+thresholdColumns+` FROM license_usage_thresholds t WHERE t.id = $1`, []any{id}, scanThreshold)
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
	t.wroteFacts = true
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
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (license_id, id) DO UPDATE SET usage_type = excluded.usage_type,
			period_type = excluded.period_type, limit_quantity = excluded.limit_quantity, grace_percentage = excluded.grace_percentage,
			allow_overage = excluded.allow_overage, overage_rate_cents = excluded.overage_rate_cents,
			overage_tiers = excluded.overage_tiers, warning_levels = excluded.warning_levels, is_active = excluded.is_active, by_brand = excluded.by_brand,
			last_warning_level = excluded.last_warning_level, last_warning_at = excluded.last_warning_at,
			effective_from = excluded.effective_from, retired_at = excluded.retired_at, epoch = excluded.epoch,
			created_at = excluded.created_at, updated_at = excluded.updated_at`,
		h.ID, h.LicenseID, h.UsageType, string(h.PeriodType), h.LimitQuantity, h.GracePercentage,
		h.AllowOverage, ptrRate(h.OverageRateCents), tiers, levels, h.IsActive, h.ByBrand, h.LastWarningLevel, h.LastWarningAt,
		h.EffectiveFrom, h.RetiredAt, h.Epoch, h.CreatedAt, h.UpdatedAt)
	return err
}

func (t *tx) WarnThresholds(ctx context.Context, warnings []usance.Warning) error {
	t.wroteFacts = true
	return t.execEach(ctx, `UPDATE license_usage_thresholds SET last_warning_level = nullif($3, 0),
			last_warning_at = CASE WHEN $3 = 0 THEN last_warning_at ELSE $4 END
		WHERE license_id = $1 AND id = $2`, len(warnings), func(i int) ([]any, error) {
		w := &warnings[i]
		return []any{w.LicenseID, w.ThresholdID, w.Level, w.At}, nil
	})
}

const counterColumns = `c.license_id, c.threshold_id, c.period_start, c.period_end, c.quantity, c.level, c.state, c.terms`

func scanCounter(r *rows, c *usance.Counter) error {
	return r.Scan(&c.LicenseID, &c.ThresholdID, &c.PeriodStart, &c.PeriodEnd, &c.Quantity, &c.Level, &c.State, &c.Terms)
}

// counterArrays are the keys as arguments of unnest.
func counterArrays[T any](list []T, key func(*T) *usance.CounterKey) []any {
	return []any{
		column(list, func(r *T) string { return key(r).LicenseID }),
		column(list, func(r *T) string { return key(r).ThresholdID }),
		column(list, func(r *T) usance.Date { return key(r).PeriodStart }),
	}
}

func itself(k *usance.CounterKey) *usance.CounterKey { return k }

func counterKey(c *usance.Counter) *usance.CounterKey { return &c.CounterKey }

func deltaKey(d *usance.CounterDelta) *usance.CounterKey { return &d.CounterKey }

const (
	namedCounters = ` FROM unnest($1::text[], $2::text[], $3::date[]) AS u (license_id, threshold_id, period_start)
		JOIN license_usage_counters c ON c.license_id = u.license_id AND c.threshold_id = u.threshold_id AND c.period_start = u.period_start`
	counterOrder = ` ORDER BY c.license_id, c.threshold_id, c.period_start`
)

func (v *view) Counters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	return all(ctx, v, `SELECT `+counterColumns+namedCounters+v.pruned("c.license_id")+counterOrder, counterArrays(keys, itself), scanCounter)
}

// LockCounters gives the rows in the order of the keys, which must be sorted.
func (t *tx) LockCounters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	counters := make([]usance.Counter, 0, len(keys))
	at := 0
	lock := `SELECT ` + counterColumns + namedCounters + t.pruned("c.license_id") + counterOrder + ` FOR UPDATE OF c`
	note := func(r *rows) error {
		values := r.RawValues()
		for at < len(keys) && !isCounterOf(values, &keys[at]) {
			at++
		}
		if at == len(keys) {
			return t.c.fail(ctx, errors.New("postgres: counters are asked for out of order"))
		}
		counter, err := readCounter(values[3:], keys[at])
		counters = append(counters, counter)
		at++
		return err
	}
	parts := 0
	err := t.apart(counterArrays(keys, itself), func(columns []any) error {
		parts, at = parts+1, 0
		return t.each(ctx, lock, columns, note)
	})
	if parts > 1 {
		slices.SortFunc(counters, func(a, b usance.Counter) int { return a.Compare(b.CounterKey) })
	}
	return counters, err
}

func isCounterOf(v [][]byte, key *usance.CounterKey) bool {
	return string(v[0]) == key.LicenseID && string(v[1]) == key.ThresholdID && readDate(v[2]) == key.PeriodStart
}

// readCounter reads the columns that follow the key in counterColumns.
func readCounter(v [][]byte, key usance.CounterKey) (usance.Counter, error) {
	c := usance.Counter{
		CounterKey: key, PeriodEnd: readDate(v[0]), Quantity: readInt64(v[1]), Level: int(int32(binary.BigEndian.Uint32(v[2]))),
	}
	if c.State = usance.CounterOpen; string(v[3]) != string(c.State) {
		c.State = usance.CounterState(v[3])
	}
	if v[4] == nil {
		return c, nil
	}
	if err := json.Unmarshal(bytes.TrimPrefix(v[4], []byte{1}), &c.Terms); err != nil { // the version of the binary form
		return c, fmt.Errorf("reading the terms of a counter of %s: %w", c.LicenseID, err)
	}
	return c, nil
}

func (v *view) CountersOf(ctx context.Context, licenseID, thresholdID string) ([]usance.Counter, error) {
	return all(ctx, v, `SELECT `+counterColumns+` FROM license_usage_counters c
		WHERE c.license_id = $1 AND c.threshold_id = $2 ORDER BY c.period_start`, []any{licenseID, thresholdID}, scanCounter)
}

func (v *view) Ended(ctx context.Context, by usance.Date, after usance.CounterKey, limit int) ([]usance.Counter, error) {
	return all(ctx, v, `SELECT `+counterColumns+` FROM license_usage_counters c
		WHERE c.state IN ('open', 'frozen') AND c.period_end <= $1 AND (c.license_id, c.threshold_id, c.period_start) > ($2, $3, $4)
		ORDER BY c.license_id, c.threshold_id, c.period_start LIMIT $5`,
		[]any{by, after.LicenseID, after.ThresholdID, after.PeriodStart, limit}, scanCounter)
}

func (t *tx) EnsureCounters(ctx context.Context, counters []usance.Counter) error {
	terms, err := termsOf(counters)
	if err != nil {
		return err
	}
	return t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_counters (license_id, threshold_id, period_start, period_end, quantity, level, state, terms)`,
		from: `SELECT license_id, threshold_id, period_start, period_end, quantity, level, state, terms::jsonb
			FROM unnest($1::text[], $2::text[], $3::date[], $4::date[], $5::bigint[], $6::integer[], $7::text[], $8::text[])
				AS u (license_id, threshold_id, period_start, period_end, quantity, level, state, terms)
			ORDER BY license_id COLLATE "C", threshold_id COLLATE "C", period_start`,
		row:  `(?::text, ?::text, ?::date, ?::date, ?::bigint, ?::integer, ?::text, ?::jsonb)`,
		when: `ON CONFLICT DO NOTHING`,
	}, wholeCounters(counters, terms)...)
}

func termsOf(counters []usance.Counter) ([]*string, error) {
	out := make([]*string, len(counters))
	for i := range counters {
		var err error
		if out[i], err = asJSON(counters[i].Terms); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func wholeCounters(counters []usance.Counter, terms []*string) []any {
	return append(counterArrays(counters, counterKey),
		column(counters, func(c *usance.Counter) usance.Date { return c.PeriodEnd }),
		column(counters, func(c *usance.Counter) int64 { return c.Quantity }),
		column(counters, func(c *usance.Counter) int32 { return int32(c.Level) }),
		column(counters, func(c *usance.Counter) string { return string(c.State) }),
		terms)
}

// AddToCounters is one statement, which moves and locks the rows in the order of
// their keys, that of the arrays: see inKeyOrder.
func (t *tx) AddToCounters(ctx context.Context, deltas []usance.CounterDelta) ([]usance.Counter, error) {
	if t.c.of.shards != nil {
		return t.addToDistributed(ctx, deltas)
	}
	moved := make([]usance.Counter, 0, len(deltas))
	err := t.each(ctx, `UPDATE license_usage_counters c SET quantity = c.quantity + u.delta
		FROM unnest($1::text[], $2::text[], $3::date[], $4::bigint[]) WITH ORDINALITY AS u (license_id, threshold_id, period_start, delta, place)
		WHERE c.license_id = u.license_id AND c.threshold_id = u.threshold_id AND c.period_start = u.period_start AND c.state IN ('open', 'closed')
		RETURNING u.place, c.period_end, c.quantity, c.level, c.state, c.terms`,
		append(counterArrays(deltas, deltaKey), column(deltas, func(d *usance.CounterDelta) int64 { return d.Quantity })),
		func(r *rows) error {
			v := r.RawValues()
			c, err := readCounter(v[1:], deltas[readInt64(v[0])-1].CounterKey)
			moved = append(moved, c)
			return err
		})
	slices.SortFunc(moved, func(a, b usance.Counter) int { return a.Compare(b.CounterKey) }) // as a rule they are
	return moved, err
}

// addToDistributed locks the rows in order first, since there an UPDATE comes to
// them in whatever order its plan does.
func (t *tx) addToDistributed(ctx context.Context, deltas []usance.CounterDelta) ([]usance.Counter, error) {
	counters, err := t.LockCounters(ctx, column(deltas, func(d *usance.CounterDelta) usance.CounterKey { return d.CounterKey }))
	if err != nil {
		return nil, err
	}
	moved := counters[:0]
	at := 0
	for _, c := range counters {
		for deltas[at].CounterKey != c.CounterKey {
			at++
		}
		if c.State.Moves() {
			c.Quantity += deltas[at].Quantity
			moved = append(moved, c)
		}
	}
	if len(moved) == 0 {
		return nil, nil
	}
	n, err := t.execApart(ctx, `UPDATE license_usage_counters c SET quantity = u.quantity
		FROM unnest($1::text[], $2::text[], $3::date[], $4::bigint[]) AS u (license_id, threshold_id, period_start, quantity)
		WHERE c.license_id = u.license_id AND c.threshold_id = u.threshold_id AND c.period_start = u.period_start`+t.pruned("c.license_id"),
		append(counterArrays(moved, counterKey), column(moved, func(c *usance.Counter) int64 { return c.Quantity }))...)
	return moved, t.wrote(ctx, "counters", n, len(moved), err)
}

func (t *tx) PutCounters(ctx context.Context, counters []usance.Counter) error {
	terms, err := termsOf(counters)
	if err != nil {
		return err
	}
	n, err := t.execApart(ctx, `UPDATE license_usage_counters c SET period_end = u.period_end, quantity = u.quantity, level = u.level, state = u.state, terms = u.terms::jsonb
		FROM unnest($1::text[], $2::text[], $3::date[], $4::date[], $5::bigint[], $6::integer[], $7::text[], $8::text[])
			AS u (license_id, threshold_id, period_start, period_end, quantity, level, state, terms)
		WHERE c.license_id = u.license_id AND c.threshold_id = u.threshold_id AND c.period_start = u.period_start`+t.pruned("c.license_id"),
		wholeCounters(counters, terms)...)
	return t.wrote(ctx, "counters", n, len(counters), err)
}
