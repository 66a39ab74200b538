package sqlite

import (
	"context"
	"database/sql"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

const backfillColumns = `license_id, start_date, end_date, status, next_date, days, skipped, events, changed, counters, error, actor, started_at, updated_at, runner, part`

func scanBackfill(rows *sql.Rows, b *usance.Backfill) error {
	var part string
	err := rows.Scan(&b.LicenseID, &b.StartDate, &b.EndDate, intoText(&b.Status), &b.NextDate, &b.Days, &b.Skipped, &b.Events, &b.Changed, &b.Counters,
		intoText(&b.Error), &b.Actor, toTime{&b.StartedAt}, toTime{&b.UpdatedAt}, intoText(&b.Runner), intoText(&part))
	if err == nil {
		b.Part, err = codec.ParsePart(b, part)
	}
	return err
}

func (v *view) Backfill(ctx context.Context, licenseID string) (usance.Backfill, error) {
	return single(ctx, v, "backfill", `SELECT `+backfillColumns+` FROM license_usage_backfills WHERE license_id = ?`, []any{licenseID}, scanBackfill)
}

func (v *view) RunningBackfills(ctx context.Context) ([]usance.Backfill, error) {
	return all(ctx, v, `SELECT `+backfillColumns+` FROM license_usage_backfills WHERE status = 'RUNNING' ORDER BY license_id`, nil, scanBackfill)
}

func (t *tx) PutBackfill(ctx context.Context, b usance.Backfill) error {
	part, err := codec.FormatPart(b.Part)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT OR REPLACE INTO license_usage_backfills (`+backfillColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		b.LicenseID, int64(b.StartDate), int64(b.EndDate), string(b.Status), int64(b.NextDate), b.Days, b.Skipped, b.Events, b.Changed, b.Counters,
		text(b.Error), b.Actor, b.StartedAt.UnixMicro(), b.UpdatedAt.UnixMicro(), text(b.Runner), text(part))
	return err
}
