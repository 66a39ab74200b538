package sqlite

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/usance/usance"
)

func (t *tx) PutEvidence(ctx context.Context, rows []usance.Evidence) error {
	return t.writing(ctx, `INSERT INTO license_usage_evidence (license_id, key, local_date, usage_type, quantity, revenue_cents,
			occurred_at, received_at, id, payload_hash, hour_slot, stamped, session_hash, void_of,
			platform, device_type, geographic_location, referrer, metadata, long_key,
			status, code, threshold_id, attempts, first_at, last_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (license_id, key) DO UPDATE SET
			local_date = excluded.local_date, usage_type = excluded.usage_type, quantity = excluded.quantity,
			revenue_cents = excluded.revenue_cents, occurred_at = excluded.occurred_at, received_at = excluded.received_at,
			payload_hash = excluded.payload_hash, hour_slot = excluded.hour_slot, stamped = excluded.stamped,
			session_hash = excluded.session_hash, void_of = excluded.void_of, platform = excluded.platform,
			device_type = excluded.device_type, geographic_location = excluded.geographic_location,
			referrer = excluded.referrer, metadata = excluded.metadata, long_key = excluded.long_key,
			status = excluded.status, code = excluded.code, threshold_id = excluded.threshold_id,
			attempts = attempts + excluded.attempts, last_at = excluded.last_at`,
		func(ctx context.Context, s *sql.Stmt) error {
			args := make([]any, 0, 26)
			for i := range rows {
				r := &rows[i]
				args = appendEvent(args[:0], &r.Event)
				args[idArg] = r.ID.String() // text here: the table is small and read by people
				args = append(args, string(r.Status), string(r.Code), text(r.ThresholdID), r.Attempts, r.FirstAt.UnixMicro(), r.LastAt.UnixMicro())
				if _, err := s.ExecContext(ctx, args...); err != nil {
					return err
				}
			}
			return nil
		})
}

func (v *view) Evidence(ctx context.Context, f usance.EventFilter, p usance.Page) ([]usance.Evidence, string, error) {
	q := newListing("evidence", p, `SELECT e.license_id, e.key, e.idempotency_key, e.local_date, e.usage_type, e.quantity, e.revenue_cents,
		e.occurred_at, e.received_at, e.id, e.payload_hash, e.hour_slot, e.stamped, e.session_hash, e.void_of,
		e.platform, e.device_type, e.geographic_location, e.referrer, e.metadata,
		e.status, e.code, e.threshold_id, e.attempts, e.first_at, e.last_at
		FROM license_usage_evidence e WHERE e.license_id = ?`, f.LicenseID)
	q.after("ib", `(e.last_at, e.key) < (?, ?)`)
	q.AndIf(f.UsageType != "", `e.usage_type = ?`, f.UsageType)
	q.AndIf(f.From != 0, `e.local_date >= ?`, int64(f.From))
	q.AndIf(f.To != 0, `e.local_date < ?`, int64(f.To))
	q.AndIf(f.Status != "", `e.status = ?`, string(f.Status))
	return list(ctx, v, q, `e.last_at DESC, e.key DESC`,
		func(rows *sql.Rows, r *usance.Evidence) error {
			var key, hash []byte
			var session int64
			err := rows.Scan(&r.LicenseID, &key, &r.IdempotencyKey, &r.LocalDate, &r.UsageType, &r.Quantity, &r.RevenueCents,
				toTime{&r.OccurredAt}, toTime{&r.ReceivedAt}, toID{&r.ID}, &hash, &r.HourSlot, &r.Stamped, &session, toID{&r.VoidOf},
				intoText(&r.Platform), intoText(&r.DeviceType), intoText(&r.GeographicLocation), intoText(&r.Referrer), toRaw{&r.Metadata},
				&r.Status, &r.Code, intoText(&r.ThresholdID), &r.Attempts, toTime{&r.FirstAt}, toTime{&r.LastAt})
			copy(r.PayloadHash[:], hash)
			r.SessionHash = uint64(session)
			return err
		},
		func(r *usance.Evidence) []string {
			return []string{strconv.FormatInt(r.LastAt.UnixMicro(), 10), usance.Key(r.IdempotencyKey)}
		})
}
