package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/usance/usance"
)

func (t *tx) PutEvidence(ctx context.Context, list []usance.Evidence) error {
	type row = usance.Evidence
	return t.insert(ctx, &insertion{
		into: `INSERT INTO license_usage_evidence (license_id, key, id, status, code, threshold_id, attempts, first_at, last_at,
			local_date, usage_type, quantity, revenue_cents, occurred_at, received_at, payload_hash, hour_slot, stamped, session_hash, void_of,
			platform, device_type, geographic_location, referrer, metadata, long_key)`,
		from: `SELECT license_id, key, id, status, code, nullif(threshold_id, ''), attempts, first_at, last_at,
			local_date, usage_type, quantity, revenue_cents, occurred_at, received_at, payload_hash, hour_slot, stamped, session_hash, void_of,
			nullif(platform, ''), nullif(device_type, ''), nullif(geographic_location, ''), nullif(referrer, ''), nullif(metadata, '')::json, nullif(long_key, '')
		FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[], $9::timestamptz[],
			$10::date[], $11::text[], $12::bigint[], $13::bigint[], $14::timestamptz[], $15::timestamptz[], $16::bytea[], $17::smallint[], $18::boolean[], $19::bigint[], $20::uuid[],
			$21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[])
		AS u (license_id, key, id, status, code, threshold_id, attempts, first_at, last_at,
			local_date, usage_type, quantity, revenue_cents, occurred_at, received_at, payload_hash, hour_slot, stamped, session_hash, void_of,
			platform, device_type, geographic_location, referrer, metadata, long_key)
		ORDER BY license_id COLLATE "C", key`,
		row: `(?::text, ?::bytea, ?::uuid, ?::text, ?::text, nullif(?::text, ''), ?::bigint, ?::timestamptz, ?::timestamptz,
			?::date, ?::text, ?::bigint, ?::bigint, ?::timestamptz, ?::timestamptz, ?::bytea, ?::smallint, ?::boolean, ?::bigint, ?::uuid,
			nullif(?::text, ''), nullif(?::text, ''), nullif(?::text, ''), nullif(?::text, ''), nullif(?::text, '')::json, nullif(?::text, ''))`,
		when: `ON CONFLICT (license_id, key) DO UPDATE SET
			local_date = excluded.local_date, usage_type = excluded.usage_type, quantity = excluded.quantity,
			revenue_cents = excluded.revenue_cents, occurred_at = excluded.occurred_at, received_at = excluded.received_at,
			payload_hash = excluded.payload_hash, hour_slot = excluded.hour_slot, stamped = excluded.stamped,
			session_hash = excluded.session_hash, void_of = excluded.void_of, platform = excluded.platform,
			device_type = excluded.device_type, geographic_location = excluded.geographic_location,
			referrer = excluded.referrer, metadata = excluded.metadata, long_key = excluded.long_key,
			status = excluded.status, code = excluded.code, threshold_id = excluded.threshold_id,
			attempts = license_usage_evidence.attempts + excluded.attempts, last_at = excluded.last_at`,
	},
		column(list, func(r *row) string { return r.LicenseID }),
		column(list, func(r *row) []byte { return []byte(usance.Key(r.IdempotencyKey)) }),
		column(list, func(r *row) usance.ID { return r.ID }),
		column(list, func(r *row) string { return string(r.Status) }),
		column(list, func(r *row) string { return string(r.Code) }),
		column(list, func(r *row) string { return r.ThresholdID }),
		column(list, func(r *row) int64 { return r.Attempts }),
		column(list, func(r *row) time.Time { return r.FirstAt }),
		column(list, func(r *row) time.Time { return r.LastAt }),
		column(list, func(r *row) usance.Date { return r.LocalDate }),
		column(list, func(r *row) string { return r.UsageType }),
		column(list, func(r *row) int64 { return r.Quantity }),
		column(list, func(r *row) int64 { return r.RevenueCents }),
		column(list, func(r *row) time.Time { return r.OccurredAt }),
		column(list, func(r *row) time.Time { return r.ReceivedAt }),
		column(list, func(r *row) []byte { return r.PayloadHash[:] }),
		column(list, func(r *row) int16 { return int16(r.HourSlot) }),
		column(list, func(r *row) bool { return r.Stamped }),
		column(list, func(r *row) int64 { return int64(r.SessionHash) }),
		column(list, func(r *row) usance.ID { return r.VoidOf }),
		column(list, func(r *row) string { return r.Platform }),
		column(list, func(r *row) string { return r.DeviceType }),
		column(list, func(r *row) string { return r.GeographicLocation }),
		column(list, func(r *row) string { return r.Referrer }),
		column(list, func(r *row) string { return string(r.Metadata) }),
		column(list, func(r *row) string {
			if usance.Key(r.IdempotencyKey) == r.IdempotencyKey {
				return ""
			}
			return r.IdempotencyKey
		}))
}

func (v *view) Evidence(ctx context.Context, f usance.EventFilter, p usance.Page) ([]usance.Evidence, string, error) {
	q := newListing("evidence", p, `SELECT `+eventColumns+`, e.status, e.code, coalesce(e.threshold_id, ''), e.attempts, e.first_at, e.last_at
		FROM license_usage_evidence e WHERE e.license_id = ?`, f.LicenseID)
	q.after("mb", `(e.last_at, e.key) < (?, ?)`)
	q.AndIf(f.UsageType != "", `e.usage_type = ?`, f.UsageType)
	q.AndIf(f.From != 0, `e.local_date >= ?`, f.From)
	q.AndIf(f.To != 0, `e.local_date < ?`, f.To)
	q.AndIf(f.Status != "", `e.status = ?`, string(f.Status))
	return list(ctx, v, q, `e.last_at DESC, e.key DESC`,
		func(r *rows, e *usance.Evidence) error {
			values := r.RawValues()
			readEvent(values, &e.Event)
			rest := values[eventFields:]
			e.Status, e.Code, e.ThresholdID = usance.EventStatus(rest[0]), usance.Code(rest[1]), string(rest[2])
			e.Attempts, e.FirstAt, e.LastAt = readInt64(rest[3]), readTime(rest[4]), readTime(rest[5])
			return nil
		},
		func(e *usance.Evidence) []string {
			return []string{strconv.FormatInt(toMicros(e.LastAt), 10), usance.Key(e.IdempotencyKey)}
		})
}
