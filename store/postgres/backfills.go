package postgres

import (
	"context"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

const backfillColumns = `license_id, start_date, end_date, status, next_date, days, skipped, events, changed, counters, error, actor, started_at, updated_at, runner, part`

func scanBackfill(r *rows, b *usance.Backfill) error {
	var part string
	err := r.Scan(&b.LicenseID, &b.StartDate, &b.EndDate, &b.Status, &b.NextDate, &b.Days, &b.Skipped, &b.Events, &b.Changed, &b.Counters,
		intoText(&b.Error), &b.Actor, &b.StartedAt, &b.UpdatedAt, intoText(&b.Runner), intoText(&part))
	if err == nil {
		b.Part, err = codec.ParsePart(b, part)
	}
	return err
}

func (v *view) Backfill(ctx context.Context, licenseID string) (usance.Backfill, error) {
	return single(ctx, v, "backfill", `SELECT `+backfillColumns+` FROM license_usage_backfills WHERE license_id = $1`, []any{licenseID}, scanBackfill)
}

func (v *view) RunningBackfills(ctx context.Context) ([]usance.Backfill, error) {
	return all(ctx, v, `SELECT `+backfillColumns+` FROM license_usage_backfills WHERE status = 'RUNNING' ORDER BY license_id`, nil, scanBackfill)
}

func (t *tx) PutBackfill(ctx context.Context, b usance.Backfill) error {
	part, err := codec.FormatPart(b.Part)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO license_usage_backfills (`+backfillColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (license_id) DO UPDATE SET start_date = excluded.start_date, end_date = excluded.end_date, status = excluded.status,
			next_date = excluded.next_date, days = excluded.days, skipped = excluded.skipped, events = excluded.events,
			changed = excluded.changed, counters = excluded.counters, error = excluded.error, actor = excluded.actor,
			started_at = excluded.started_at, updated_at = excluded.updated_at, runner = excluded.runner, part = excluded.part`,
		b.LicenseID, b.StartDate, b.EndDate, string(b.Status), b.NextDate, b.Days, b.Skipped, b.Events, b.Changed, b.Counters,
		text(b.Error), b.Actor, b.StartedAt, b.UpdatedAt, text(b.Runner), text(part))
	return err
}
