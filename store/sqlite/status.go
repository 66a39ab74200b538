package sqlite

import (
	"context"
	"database/sql"

	"github.com/usance/usance"
)

// countTracked names an index that holds just these licences.
const countTracked = `SELECT count(*) FROM licenses INDEXED BY licenses_tracked
	WHERE status = 'ACTIVE' AND usage_tracking_enabled = TRUE AND deleted_at IS NULL`

func (v *view) Status(ctx context.Context) (usance.StoreStatus, error) {
	st := usance.StoreStatus{Overages: make(map[usance.OverageStatus]int64)}
	_, err := v.one(ctx, `SELECT count(*), coalesce(sum(count), 0), min(at) FROM pending_batches`, nil,
		&st.PendingBatches, &st.PendingEvents, toTime{&st.OldestPending})
	if err != nil {
		return st, err
	}
	_, err = v.one(ctx, `SELECT
		(`+countTracked+`),
		coalesce((SELECT events FROM license_usage_received ORDER BY day DESC LIMIT 1), 0)`, nil,
		&st.TrackedActive, &st.EventsToday)
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
