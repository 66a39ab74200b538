package postgres_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// Facts are kept, and yet whatever anybody commits holds in the next transaction.
func TestFactsAreFresh(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.URL(t)
	a, b := open(t, url), open(t, url)
	sql := raw(t, url)
	facts := func(s usance.Store) (out usance.Facts) {
		t.Helper()
		must(t, s.Update(ctx, usance.Locks{Shared: []string{"l", "none"}}, func(tx usance.Tx) error {
			rows, err := tx.Facts(ctx, []string{"l", "none"})
			if len(rows) > 0 {
				out = rows[0]
			}
			return err
		}))
		return out
	}
	both := func(what string, ok func(usance.Facts) bool) {
		t.Helper()
		for range 2 { // read, and then kept
			if f := facts(a); !ok(f) {
				t.Errorf("%s: %+v", what, f)
			}
			if f := facts(b); !ok(f) {
				t.Errorf("%s, the other node: %+v", what, f)
			}
		}
	}
	both("no licence", func(f usance.Facts) bool { return f.License.ID == "" })
	l := usance.NewLicense("l")
	l.BrandID, l.AssetID, l.Status, l.CreatedAt, l.UpdatedAt = "b", "a", usance.LicenseActive, clock, clock
	h := usance.Threshold{ID: "t", LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly,
		Terms: usance.Terms{LimitQuantity: 1}, IsActive: true, EffectiveFrom: today, CreatedAt: clock, UpdatedAt: clock}
	put := func(tx usance.Tx) error { return errors.Join(tx.PutLicense(ctx, l), tx.PutThreshold(ctx, h)) }
	must(t, a.Update(ctx, usance.Locks{Exclusive: []string{"l"}}, put))
	both("made", func(f usance.Facts) bool { return f.License.ID == "l" && len(f.Thresholds) == 1 })

	// What a transaction changes is seen in it, and not kept when it is undone.
	undone := errors.New("undone")
	err := a.Update(ctx, usance.Locks{Exclusive: []string{"l"}}, func(tx usance.Tx) error {
		for _, limit := range []int64{2, 3} {
			h.LimitQuantity = limit
			if err := put(tx); err != nil {
				return err
			}
			if rows, err := tx.Facts(ctx, []string{"l"}); err != nil || rows[0].Thresholds[0].LimitQuantity != limit {
				t.Errorf("in the transaction that set %d: %+v, %v", limit, rows, err)
			}
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Error(err)
	}
	both("undone", func(f usance.Facts) bool { return f.Thresholds[0].LimitQuantity == 1 })

	// The same, of somebody who knows nothing of the program: twice in one transaction.
	must(t, pgx.BeginFunc(ctx, sql, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`UPDATE license_usage_thresholds SET limit_quantity = 4`, `UPDATE license_usage_thresholds SET limit_quantity = 5`,
			`UPDATE licenses SET status = 'EXPIRED'`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
			both("not committed", func(f usance.Facts) bool {
				return f.Thresholds[0].LimitQuantity == 1 && f.License.Status == usance.LicenseActive
			})
		}
		return nil
	}))
	both("by hand", func(f usance.Facts) bool {
		return f.Thresholds[0].LimitQuantity == 5 && f.License.Status == "EXPIRED"
	})

	must(t, a.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.WarnThresholds(ctx, []usance.Warning{{LicenseID: "l", ThresholdID: "t", Level: 80, At: clock}})
	}))
	both("warned", func(f usance.Facts) bool { return *f.Thresholds[0].LastWarningLevel == 80 })
	must(t, b.Update(ctx, usance.Locks{Exclusive: []string{"l"}}, func(tx usance.Tx) error {
		return tx.CloseDays(ctx, []usance.Day{{LicenseID: "l", Date: today}})
	}))
	both("a day closed", func(f usance.Facts) bool { return f.ClosedTo == today+1 })
	facts(a).Thresholds[0].LimitQuantity = 99 // what is given is the caller's
	both("written into", func(f usance.Facts) bool { return f.Thresholds[0].LimitQuantity == 5 })
	_, err = sql.Exec(ctx, `DELETE FROM license_usage_thresholds`)
	must(t, err)
	both("the threshold deleted", func(f usance.Facts) bool { return len(f.Thresholds) == 0 })
	_, err = sql.Exec(ctx, `DELETE FROM licenses`)
	must(t, err)
	both("the licence deleted", func(f usance.Facts) bool { return f.License.ID == "" })
}
