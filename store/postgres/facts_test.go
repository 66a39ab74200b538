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
	// What is kept is what is given, as long as nothing changes.
	if !a.KeptName("l", "kept") || facts(a).License.Name != "kept" || facts(b).License.Name == "kept" {
		t.Error("facts are read anew though nothing has changed")
	}
	_, err = sql.Exec(ctx, `UPDATE licenses SET id = id`)
	must(t, err)
	both("written as it was", func(f usance.Facts) bool { return f.License.Name == "" })
	facts(a).Thresholds[0].LimitQuantity = 99 // what is given is the caller's
	both("written into", func(f usance.Facts) bool { return f.Thresholds[0].LimitQuantity == 5 })
	_, err = sql.Exec(ctx, `DELETE FROM license_usage_thresholds`)
	must(t, err)
	both("the threshold deleted", func(f usance.Facts) bool { return len(f.Thresholds) == 0 })
	_, err = sql.Exec(ctx, `DELETE FROM licenses`)
	must(t, err)
	both("the licence deleted", func(f usance.Facts) bool { return f.License.ID == "" })
}

// The same where the table licenses is a host platform's own, with what it has no
// column for beside it.
func TestFactsOfAHostAreFresh(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.EmptyURL(t)
	sql := raw(t, url)
	run := func(statement string) {
		t.Helper()
		_, err := sql.Exec(ctx, statement)
		must(t, err)
	}
	run(`CREATE TABLE licenses (id varchar(40) PRIMARY KEY, status text NOT NULL, usage_tracking_enabled boolean, deleted_at timestamp)`)
	run(`INSERT INTO licenses VALUES ('l', 'ACTIVE', TRUE, NULL)`)
	s := open(t, url)
	facts := func() (f usance.License) {
		t.Helper()
		must(t, s.Update(ctx, usance.Locks{Shared: []string{"l"}}, func(tx usance.Tx) error {
			rows, err := tx.Facts(ctx, []string{"l"})
			if len(rows) > 0 {
				f = rows[0].License
			}
			return err
		}))
		return f
	}
	if l := facts(); l.Status != usance.LicenseActive || l.Timezone != "UTC" {
		t.Fatalf("%+v", l)
	}
	if !s.KeptName("l", "kept") || facts().Name != "kept" {
		t.Error("facts are read anew though nothing has changed")
	}
	l := facts()
	l.Name, l.Timezone = "", "Europe/Paris"
	must(t, s.Update(ctx, usance.Locks{Exclusive: []string{"l"}}, func(tx usance.Tx) error { return tx.PutLicense(ctx, l) }))
	if l := facts(); l.Timezone != "Europe/Paris" || l.Name != "" {
		t.Errorf("terms made: %+v", l)
	}
	s.KeptName("l", "kept")
	run(`UPDATE license_usage_terms SET currency = 'EUR'`)
	if l := facts(); l.Currency != "EUR" || l.Name != "" {
		t.Errorf("terms changed by hand: %+v", l)
	}
	s.KeptName("l", "kept")
	run(`UPDATE licenses SET status = 'EXPIRED'`)
	if l := facts(); l.Status != "EXPIRED" || l.Name != "" {
		t.Errorf("the host's row changed: %+v", l)
	}
	run(`DELETE FROM license_usage_terms`)
	if l := facts(); l.Currency != "USD" || l.Timezone != "UTC" {
		t.Errorf("terms deleted: %+v", l)
	}
}
