package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/usance/usance"
)

func (v *view) Status(ctx context.Context) (usance.StoreStatus, error) {
	st := usance.StoreStatus{Overages: make(map[usance.OverageStatus]int64)}
	_, err := v.one(ctx, `SELECT count(DISTINCT batch_id), coalesce(sum(count), 0)::bigint, min(at) FROM pending_batches`, nil,
		&st.PendingBatches, &st.PendingEvents, intoTime(&st.OldestPending))
	if err != nil {
		return st, err
	}
	_, err = v.one(ctx, `SELECT
		(SELECT count(*) FROM license_usage_licenses WHERE status = 'ACTIVE' AND usage_tracking_enabled AND deleted_at IS NULL),
		coalesce((SELECT sum(events) FROM license_usage_received WHERE day = (SELECT max(day) FROM license_usage_received)), 0)::bigint`, nil,
		&st.TrackedActive, &st.EventsLatestDay)
	if err != nil {
		return st, err
	}
	err = v.each(ctx, `SELECT status, count(*) FROM license_usage_overages GROUP BY status`, nil, func(r *rows) error {
		var s usance.OverageStatus
		var n int64
		err := r.Scan(&s, &n)
		st.Overages[s] = n
		return err
	})
	return st, err
}

// activityDays asks for what has a date since the first; licences lead to their
// days, since no index begins with a date. OFFSET 0 has each licence's days
// looked up by themselves.
var activityDays = []struct {
	query   string
	byTimes bool // takes the instant too
	add     func(d *usance.ActiveDay, a, b int64)
}{
	// By the UTC day of the time itself: local days are at most one off.
	{`SELECT (e.occurred_at AT TIME ZONE 'UTC')::date, count(*), count(DISTINCT e.license_id)
		FROM license_usage_licenses l CROSS JOIN LATERAL (
			SELECT license_id, occurred_at FROM license_usage_events WHERE license_id = l.id AND local_date >= $1::date - 1 AND occurred_at >= $2 OFFSET 0) e
		GROUP BY 1`, true, func(d *usance.ActiveDay, a, b int64) { d.Events, d.Licenses = a, b }},
	{`SELECT e.local_date, count(DISTINCT e.license_id), 0::bigint
		FROM license_usage_licenses l CROSS JOIN LATERAL (
			SELECT license_id, local_date FROM license_usage_events WHERE license_id = l.id AND local_date >= $1 OFFSET 0) e
		GROUP BY 1`, false, func(d *usance.ActiveDay, a, _ int64) { d.Used = a }},
	{`SELECT date, count(DISTINCT license_id), sum(quantity)::bigint FROM (
			SELECT r.license_id, r.date, r.quantity FROM license_usage_licenses l CROSS JOIN LATERAL (
				SELECT license_id, date, quantity FROM license_usage_rollups WHERE license_id = l.id AND date >= $1 OFFSET 0) r
			UNION ALL
			SELECT e.license_id, e.local_date, e.quantity FROM license_usage_events e
			WHERE e.batch_id IN (SELECT batch_id FROM pending_batches) AND e.local_date >= $1) used
		GROUP BY date`, false, func(d *usance.ActiveDay, a, b int64) { d.Aggregated, d.Quantity = a, b }},
}

func (v *view) Activity(ctx context.Context, now time.Time) (usance.Activity, error) {
	var out usance.Activity
	dayAgo := now.Add(-24 * time.Hour)
	if _, err := v.one(ctx, `SELECT count(*), count(*) FILTER (WHERE usage_tracking_enabled) FROM license_usage_licenses WHERE deleted_at IS NULL`,
		nil, &out.Licenses, &out.TrackingEnabled); err != nil {
		return out, err
	}
	bound, err := v.receivedBefore(ctx, dayAgo)
	if err != nil {
		return out, err
	}
	if _, err := v.one(ctx, `SELECT count(*), count(DISTINCT license_id) FROM license_usage_events WHERE batch_id >= $1 AND received_at >= $2`,
		[]any{bound, dayAgo}, &out.EventsLastDay, &out.LicensesLastDay); err != nil {
		return out, err
	}
	if _, err := v.one(ctx, `SELECT count(*), count(*) FILTER (WHERE last_warning_at >= $1) FROM license_usage_thresholds WHERE is_active`,
		[]any{dayAgo}, &out.ActiveThresholds, &out.WarningsLastDay); err != nil {
		return out, err
	}
	if out.Overages, err = all(ctx, v, `SELECT status, count(*), sum(calculated_fee_cents)::bigint FROM license_usage_overages GROUP BY status ORDER BY status COLLATE "C"`,
		nil, func(r *rows, s *usance.OverageSum) error {
			return r.Scan(&s.Status, &s.Count, &s.TotalFeesCents)
		}); err != nil {
		return out, err
	}
	first := usance.DateOf(now, time.UTC) - usance.ActivityDays
	days := make(map[usance.Date]*usance.ActiveDay)
	for _, q := range activityDays {
		args := []any{first}
		if q.byTimes {
			args = append(args, now.AddDate(0, 0, -usance.ActivityDays))
		}
		err := v.each(ctx, q.query, args, func(r *rows) error {
			var date usance.Date
			var a, b int64
			if err := r.Scan(&date, &a, &b); err != nil {
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
