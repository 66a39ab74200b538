package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/usance/usance"
)

// countTracked names an index that holds just these licences.
const countTracked = `SELECT count(*) FROM licenses INDEXED BY licenses_tracked
	WHERE status = 'ACTIVE' AND usage_tracking_enabled = TRUE AND deleted_at IS NULL`

func (v *view) Status(ctx context.Context) (usance.StoreStatus, error) {
	st := usance.StoreStatus{Overages: make(map[usance.OverageStatus]int64)}
	_, err := v.one(ctx, `SELECT count(*), coalesce(sum(last_seq - first_seq + 1), 0), min(at) FROM pending_batches`, nil,
		&st.PendingBatches, &st.PendingEvents, toTime{&st.OldestPending})
	if err != nil {
		return st, err
	}
	_, err = v.one(ctx, `SELECT
		(`+countTracked+`),
		coalesce((SELECT events FROM license_usage_received ORDER BY day DESC LIMIT 1), 0)`, nil,
		&st.TrackedActive, &st.EventsLatestDay)
	if err != nil {
		return st, err
	}
	err = v.each(ctx, `SELECT status, count(*) FROM license_usage_overages GROUP BY status`, nil, func(rows *sql.Rows) error {
		var s usance.OverageStatus
		var n int64
		err := rows.Scan(&s, &n)
		st.Overages[s] = n
		return err
	})
	return st, err
}

// activityDays asks for what has a date since the first; licences lead to their
// days, since no index begins with a date.
var activityDays = []struct {
	query   string
	byTimes bool // takes the instant too
	add     func(d *usance.ActiveDay, a, b int64)
}{
	// By the UTC day of the time itself: local days are at most one off.
	{`SELECT e.occurred_at / 86400000000, count(*), count(DISTINCT e.license_id)
		FROM licenses l CROSS JOIN license_usage_events e ON e.license_id = l.id AND e.local_date >= ?1 - 1
		WHERE e.occurred_at >= ?2 GROUP BY 1`, true, func(d *usance.ActiveDay, a, b int64) { d.Events, d.Licenses = a, b }},
	{`SELECT e.local_date, count(DISTINCT e.license_id), 0
		FROM licenses l CROSS JOIN license_usage_events e ON e.license_id = l.id AND e.local_date >= ?1 GROUP BY 1`, false, func(d *usance.ActiveDay, a, _ int64) { d.Used = a }},
	{`SELECT date, count(DISTINCT license_id), sum(quantity) FROM (
			SELECT r.license_id, r.date, r.quantity
			FROM licenses l CROSS JOIN license_usage_rollups r ON r.license_id = l.id AND r.date >= ?1
			UNION ALL
			SELECT e.license_id, e.local_date, e.quantity
			FROM pending_batches p CROSS JOIN license_usage_events e NOT INDEXED
			WHERE e.seq BETWEEN p.first_seq AND p.last_seq AND e.local_date >= ?1)
		GROUP BY date`, false, func(d *usance.ActiveDay, a, b int64) { d.Aggregated, d.Quantity = a, b }},
}

func (v *view) Activity(ctx context.Context, now time.Time) (usance.Activity, error) {
	var out usance.Activity
	dayAgo := now.Add(-24 * time.Hour)
	if _, err := v.one(ctx, `SELECT count(*), coalesce(sum(usage_tracking_enabled = TRUE), 0) FROM licenses WHERE deleted_at IS NULL`,
		nil, &out.Licenses, &out.TrackingEnabled); err != nil {
		return out, err
	}
	last, err := v.receivedBefore(ctx, dayAgo)
	if err != nil {
		return out, err
	}
	if _, err := v.one(ctx, `SELECT count(*), count(DISTINCT license_id) FROM license_usage_events WHERE seq > ? AND received_at >= ?`,
		[]any{last, dayAgo.UnixMicro()}, &out.EventsLastDay, &out.LicensesLastDay); err != nil {
		return out, err
	}
	if _, err := v.one(ctx, `SELECT count(*), count(CASE WHEN last_warning_at >= ? THEN 1 END) FROM license_usage_thresholds WHERE is_active`,
		[]any{dayAgo.UnixMicro()}, &out.ActiveThresholds, &out.WarningsLastDay); err != nil {
		return out, err
	}
	if out.Overages, err = all(ctx, v, `SELECT status, count(*), sum(calculated_fee_cents) FROM license_usage_overages GROUP BY status ORDER BY status`,
		nil, func(rows *sql.Rows, s *usance.OverageSum) error {
			return rows.Scan(&s.Status, &s.Count, &s.TotalFeesCents)
		}); err != nil {
		return out, err
	}
	first := usance.DateOf(now, time.UTC) - usance.ActivityDays
	days := make(map[usance.Date]*usance.ActiveDay)
	for _, q := range activityDays {
		args := []any{int64(first)}
		if q.byTimes {
			args = append(args, now.AddDate(0, 0, -usance.ActivityDays).UnixMicro())
		}
		err := v.each(ctx, q.query, args, func(rows *sql.Rows) error {
			var date usance.Date
			var a, b int64
			if err := rows.Scan(&date, &a, &b); err != nil {
				return err
			}
			if days[date] == nil {
				days[date] = &usance.ActiveDay{Date: date}
			}
			q.add(days[date], a, b)
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	for _, d := range days {
		out.Days = append(out.Days, *d)
	}
	slices.SortFunc(out.Days, func(a, b usance.ActiveDay) int { return int(b.Date) - int(a.Date) })
	return out, nil
}
