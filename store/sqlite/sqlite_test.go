package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
	"github.com/usance/usance/store/storetest"
)

func open(t *testing.T) *sqlite.Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "usance.db"))
}

func openAt(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

var clock = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

// events gives n events of the licence with keys that never come again.
func events(licenseID string, n int) []usance.Event {
	out := make([]usance.Event, n)
	for i := range out {
		id := usance.NewID(clock)
		out[i] = usance.Event{ID: id, LicenseID: licenseID, UsageType: "view", Quantity: 1, OccurredAt: clock, ReceivedAt: clock, LocalDate: 20527, IdempotencyKey: id.String()}
	}
	return out
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) usance.Store { return open(t) })
}

// What the columns of thresholds take here and no threshold can have.
func TestUnreadableRow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	exec := func(statement string) {
		if _, err := raw(t, path).ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	storetest.UnreadableRow(t, s, exec, `overage_rate_cents = 'NaN'`, `warning_levels = '{}'`, `overage_tiers = '[1'`)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	// A path that would mean something in a connection string.
	dir := filepath.Join(t.TempDir(), "new folder", "50% ?mode=ro&x#y")
	path := filepath.Join(dir, "usance.db")
	s := openAt(t, path)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, path: 0o600, path + "-wal": 0o600, path + ".lock": 0o600} {
		info, err := os.Stat(file)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", file, info.Mode(), want)
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	if err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		return tx.PutBrand(t.Context(), usance.Brand{ID: "b", Name: "B"})
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ping(t.Context()); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("Ping: %v", err)
	}
	if err := s.Update(t.Context(), usance.Locks{}, func(usance.Tx) error { return nil }); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("Update: %v", err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the log is left behind: %v", err)
	}
	again := openAt(t, path)
	if err := again.View(t.Context(), func(v usance.View) error { _, err := v.Brand(t.Context(), "b"); return err }); err != nil {
		t.Error(err)
	}
}

func TestNoDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, t.TempDir(), filepath.Join(path, "below a file")} {
		_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err == nil || usance.ErrorCode(err) != usance.CodeUnavailable {
			t.Errorf("Open: %v, want UNAVAILABLE", err)
		} else if errors.Unwrap(err) == nil {
			t.Errorf("Open: %v has no cause", err)
		}
	}
}

const (
	first   = "20241012000001_add_license_usage_tracking"
	second  = "20261124000001_add_license_usage_backfills"
	third   = "20261124000002_add_api_key_use"
	fourth  = "20261124000003_add_foresight"
	fifth   = "20261124000004_add_job_runs"
	sixth   = "20261130000001_ease_folding"
	seventh = "20261130000003_fewer_groups"
	eighth  = "20261130000004_add_key_successors"
	last    = "20261130000006_add_backfill_parts"
)

func TestMigrations(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "usance.db")
	s, err := sqlite.Open(ctx, path, sqlite.Options{LeaveSchema: true})
	if err != nil {
		t.Fatal(err)
	}
	m := s.Migrations()
	check := func(what string, pending bool) {
		t.Helper()
		steps, err := m.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if steps[0].Name != first || steps[0].Pending() != pending {
			t.Errorf("%s: %+v, want pending %t", what, steps, pending)
		}
		if since := time.Since(steps[0].AppliedAt); !pending && (since < -time.Minute || since > time.Hour) {
			t.Errorf("%s: applied at %v", what, steps[0].AppliedAt)
		}
		works := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			return tx.PutBrand(ctx, usance.Brand{ID: "b", Name: "B"})
		}) == nil
		if works == pending && what != "resolved" {
			t.Errorf("%s: the tables are there: %t", what, works)
		}
	}
	do := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("left as it is", true)
	applied, err := m.Up(ctx)
	do("Up", applied, err, []string{first, second, third, fourth, fifth, sixth, seventh, eighth, last})
	check("up", false)
	applied, err = m.Up(ctx)
	do("Up again", applied, err, []string(nil))
	for _, want := range []string{last, eighth, seventh, sixth, fifth, fourth, third, second, first} {
		undone, err := m.Down(ctx)
		do("Down", undone, err, want)
	}
	check("down", true)
	undone, err := m.Down(ctx)
	do("Down again", undone, err, "")
	if err := m.Resolve(ctx, first); usance.ErrorCode(err) != usance.CodeConflict {
		t.Errorf("Resolve of what is not applied: %v", err)
	}
	applied, err = m.Up(ctx)
	do("Up once more", applied, err, []string{first, second, third, fourth, fifth, sixth, seventh, eighth, last})
	if err := m.Resolve(ctx, "20200101000000_none"); usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("Resolve of nothing: %v", err)
	}
	if err := m.Resolve(ctx, first); err != nil {
		t.Fatal(err)
	}
	check("resolved", true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Its tables are still there; opening applies it to them.
	s = openAt(t, path)
	m = s.Migrations()
	check("opened", false)
}

func TestNewerSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (29990101000000, 1)`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	for _, leave := range []bool{false, true} {
		_, err := sqlite.Open(t.Context(), path, sqlite.Options{LeaveSchema: leave})
		if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(fmt.Sprint(err), "newer") {
			t.Errorf("Open: %v", err)
		}
	}
}

// raw opens the file as another program would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// The view shows one row for a licence and date, folded or not.
func TestDailyAggregates(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var batch []usance.Event
	types := append([]string{"social-embed"}, usance.UsageTypes...)
	for n, usageType := range types {
		for range 2 {
			e := events("l1", 1)[0]
			e.UsageType, e.Quantity, e.RevenueCents = usageType, int64(n+1), 10
			batch = append(batch, e)
		}
	}
	void := batch[0].Void()
	void.ID = usance.NewID(clock)
	yesterday, other := events("l1", 1)[0], events("l2", 1)[0]
	yesterday.LocalDate = -1
	must(s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: void.ID, At: clock, Events: append(batch, void, yesterday, other)}})
	}))
	var sketch usance.DaySketch
	sketch.LicenseID, sketch.Date = "l1", 20527
	for n := range uint64(5) {
		sketch.Sessions.Add((n + 1) * 0x9E3779B97F4A7C15)
	}
	must(s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.MergeSessions(ctx, []usance.DaySketch{sketch})
	}))
	want := []string{
		"1969-12-31 l1 views 1 downloads 0 impressions 0 clicks 0 plays 0 streams 0 all 1 revenue 0 sessions 0",
		"2026-03-15 l1 views 4 downloads 6 impressions 8 clicks 10 plays 12 streams 14 all 89 revenue 170 sessions 5",
		"2026-03-15 l2 views 1 downloads 0 impressions 0 clicks 0 plays 0 streams 0 all 1 revenue 0 sessions 0",
	}
	check := func(what string) {
		t.Helper()
		var got []string
		rows, err := raw(t, path).Query(`SELECT date, license_id, total_views, total_downloads, total_impressions, total_clicks, total_plays,
			total_streams, total_quantity, total_revenue_cents, unique_sessions FROM license_usage_daily_aggregates ORDER BY date, license_id`)
		must(err)
		defer rows.Close()
		for rows.Next() {
			var date, license string
			var n [9]int64
			must(rows.Scan(&date, &license, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8]))
			got = append(got, fmt.Sprintf("%s %s views %d downloads %d impressions %d clicks %d plays %d streams %d all %d revenue %d sessions %d",
				date, license, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]))
		}
		must(rows.Err())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("from the tail")
	must(s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if _, err := tx.TakePending(ctx, []usance.Batch{{ID: void.ID}}); err != nil {
			return err
		}
		rows := make(map[usance.RollupKey]*usance.Rollup)
		var keys []usance.RollupKey
		for _, e := range append(batch, void, yesterday, other) {
			k := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
			if rows[k] == nil {
				rows[k] = &usance.Rollup{RollupKey: k}
				keys = append(keys, k)
			}
			rows[k].Add(&e)
		}
		if err := tx.EnsureRollups(ctx, keys); err != nil {
			return err
		}
		for _, r := range rows {
			if err := tx.PutRollups(ctx, []usance.Rollup{*r}); err != nil {
				return err
			}
		}
		return nil
	}))
	check("from rollups")
}

// A file that another program keeps locked is not waited for as long as for
// transactions that are met: whoever waits is told of it, and all who stand in line
// wait as long as the first.
func TestFileHeldByAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	other, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	put := func() error {
		return s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return tx.PutBrand(t.Context(), usance.Brand{ID: "b"}) })
	}
	start := time.Now()
	for range 5 {
		if err := put(); usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "another program holds the database file") {
			t.Errorf("%v, want what is in the way", err)
		}
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("five in line waited for %s", took)
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("once it is let go: %v", err)
	}
}
