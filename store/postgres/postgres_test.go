package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
	"github.com/usance/usance/store/storetest"
)

// open opens one more node on the database.
func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
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

// raw connects as another program would.
func raw(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

var clock = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

const today = usance.Date(20527)

// events gives n events of the licence with keys that never come again.
func events(licenseID string, n int) []usance.Event {
	out := make([]usance.Event, n)
	for i := range out {
		id := usance.NewID(clock)
		out[i] = usance.Event{ID: id, LicenseID: licenseID, UsageType: "view", Quantity: 1, OccurredAt: clock, ReceivedAt: clock, LocalDate: today, IdempotencyKey: id.String()}
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func putBrand(ctx context.Context, tx usance.Tx, id string) error {
	return tx.PutBrand(ctx, usance.Brand{ID: id, Name: id, CreatedAt: clock, UpdatedAt: clock})
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) usance.Store { return open(t, pgtest.URL(t)) })
}

// The statements for Citus are such as PostgreSQL takes too: what they do to
// licences of several shards is proved without a cluster.
func TestStoreByShards(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) usance.Store {
		s := open(t, shardsURL(t))
		must(t, s.ByShards(t.Context(), 5))
		return s
	})
}

// The same on a coordinator of Citus, where one is named.
func TestStoreOnCitus(t *testing.T) {
	t.Parallel()
	pgtest.OnCitus(t)
	storetest.Run(t, func(t *testing.T) usance.Store { return open(t, pgtest.OnCitus(t)) })
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.URL(t))
	for range 2 {
		must(t, s.Close())
	}
	if err := s.Ping(t.Context()); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("Ping: %v", err)
	}
	if err := s.Update(t.Context(), usance.Locks{}, func(usance.Tx) error { return nil }); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("Update: %v", err)
	}
}

func TestNoDatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	for what, url := range map[string]string{
		"no URL":      "postgres://usance:s3cret@[::1/x?sslmode=perhaps",
		"no server":   "host=" + t.TempDir() + " user=usance password=s3cret dbname=usance",
		"no database": strings.ReplaceAll(url, "?", "_none?password=s3cret&"),
	} {
		_, err := postgres.Open(t.Context(), url, postgres.Options{})
		if usance.ErrorCode(err) != usance.CodeUnavailable {
			t.Errorf("%s: %v, want UNAVAILABLE", what, err)
		}
		if strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("%s: the error tells the password: %v", what, err)
		}
	}
}

// steps are those of the schema, in the order in which they were made.
var steps = []string{
	"20241012000001_add_license_usage_tracking",
	"20261124000001_add_license_usage_backfills",
	"20261124000002_add_api_key_use",
	"20261124000003_add_foresight",
	"20261124000004_add_job_runs",
	"20261130000001_ease_folding",
	"20261130000002_narrow_event_indexes",
	"20261130000003_write_breakdowns_shorter",
	"20261130000004_add_key_successors",
	"20261130000005_find_pending_days",
	"20261130000006_add_backfill_parts",
	"20261130000010_distribute_by_license",
}

// What somebody else's trigger says is a fault like any other, and no answer to
// whoever called: only what a migration says is for people to read.
func TestForeignTriggerRaises(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	s := open(t, url)
	if _, err := raw(t, url).Exec(t.Context(), `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'of the host alone'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON brands FOR EACH ROW EXECUTE FUNCTION refuse()`); err != nil {
		t.Fatal(err)
	}
	err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return tx.PutBrand(t.Context(), usance.Brand{ID: "b", Name: "b"}) })
	if err == nil || usance.ErrorCode(err) != usance.CodeInternal {
		t.Errorf("%v, of code %s", err, usance.ErrorCode(err))
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	testMigrations(t, pgtest.EmptyURL(t))
}

func TestMigrationsOnCitus(t *testing.T) {
	t.Parallel()
	testMigrations(t, pgtest.OnCitus(t))
}

func testMigrations(t *testing.T, url string) {
	ctx := t.Context()
	s, err := postgres.Open(ctx, url, postgres.Options{LeaveSchema: true})
	must(t, err)
	defer s.Close()
	m := s.Migrations()
	check := func(what string, pending, tables bool) {
		t.Helper()
		status, err := m.Status(ctx)
		must(t, err)
		if status[0].Name != steps[0] || status[0].Pending() != pending {
			t.Errorf("%s: %+v, want pending %t", what, status, pending)
		}
		if since := time.Since(status[0].AppliedAt); !pending && (since < -time.Minute || since > time.Hour) {
			t.Errorf("%s: applied at %v", what, status[0].AppliedAt)
		}
		works := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return putBrand(ctx, tx, "b") }) == nil
		if works != tables {
			t.Errorf("%s: the tables are there: %t", what, works)
		}
	}
	do := func(what string, got any, err error, want any) {
		t.Helper()
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("left as it is", true, false)
	applied, err := m.Up(ctx)
	do("Up", applied, err, steps)
	check("up", false, true)
	applied, err = m.Up(ctx)
	do("Up again", applied, err, []string(nil))
	var undone string
	for _, want := range slices.Backward(steps) {
		undone, err = m.Down(ctx)
		do("Down", undone, err, want)
	}
	check("down", true, false)
	var left int
	must(t, raw(t, url).QueryRow(ctx, `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname NOT LIKE 'usance_schema%'`).Scan(&left))
	if left != 0 {
		t.Errorf("%d tables, indexes and views are left after Down", left)
	}
	undone, err = m.Down(ctx)
	do("Down again", undone, err, "")
	if err := m.Resolve(ctx, steps[0]); usance.ErrorCode(err) != usance.CodeConflict {
		t.Errorf("Resolve of what is not applied: %v", err)
	}
	applied, err = m.Up(ctx)
	do("Up once more", applied, err, steps)
	if err := m.Resolve(ctx, "20200101000000_none"); usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("Resolve of nothing: %v", err)
	}
	must(t, m.Resolve(ctx, steps[0]))
	check("resolved", true, true)
	// Its tables are still there; opening applies it to them.
	m = open(t, url).Migrations()
	check("opened", false, true)
}

// Nodes that start together on an empty database make its schema once.
func TestMigrateTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	const nodes = 4
	errs := make(chan error, nodes)
	for range nodes {
		go func() {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err == nil {
				err = errors.Join(s.Ping(t.Context()), s.Close())
			}
			errs <- err
		}()
	}
	for range nodes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestNewerSchema(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	_, err := raw(t, url).Exec(t.Context(), `INSERT INTO usance_schema_versions (version_id, is_applied) VALUES (29990101000000, TRUE)`)
	must(t, err)
	for _, leave := range []bool{false, true} {
		_, err := postgres.Open(t.Context(), url, postgres.Options{LeaveSchema: leave})
		if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(fmt.Sprint(err), "newer") {
			t.Errorf("Open: %v", err)
		}
	}
}

// The view shows one row for a licence and date, folded or not.
func TestDailyAggregates(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.URL(t)
	s := open(t, url)
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
	whole := append(batch, void, yesterday, other)
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: void.ID, At: clock, Events: whole}})
	}))
	var sketch usance.DaySketch
	sketch.LicenseID, sketch.Date = "l1", today
	for n := range uint64(5) {
		sketch.Sessions.Add((n + 1) * 0x9E3779B97F4A7C15)
	}
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.MergeSessions(ctx, []usance.DaySketch{sketch})
	}))
	want := []string{
		"1969-12-31 l1 views 1 downloads 0 impressions 0 clicks 0 plays 0 streams 0 all 1 revenue 0 sessions 0",
		"2026-03-15 l1 views 4 downloads 6 impressions 8 clicks 10 plays 12 streams 14 all 89 revenue 170 sessions 5",
		"2026-03-15 l2 views 1 downloads 0 impressions 0 clicks 0 plays 0 streams 0 all 1 revenue 0 sessions 0",
	}
	check := func(what string) {
		t.Helper()
		rows, err := raw(t, url).Query(ctx, `SELECT date::text || ' ' || license_id || format(
				' views %s downloads %s impressions %s clicks %s plays %s streams %s all %s revenue %s sessions %s',
				total_views, total_downloads, total_impressions, total_clicks, total_plays, total_streams, total_quantity, total_revenue_cents, unique_sessions)
			FROM license_usage_daily_aggregates ORDER BY date, license_id`)
		must(t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("from the tail")
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if _, err := tx.TakePending(ctx, []usance.Batch{{ID: void.ID}}); err != nil {
			return err
		}
		rows := make(map[usance.RollupKey]*usance.Rollup)
		var keys []usance.RollupKey
		for i := range whole {
			e := &whole[i]
			k := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
			if rows[k] == nil {
				rows[k] = &usance.Rollup{RollupKey: k}
				keys = append(keys, k)
			}
			rows[k].Add(e)
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

// What the columns of thresholds take here and no threshold can have.
func TestUnreadableRow(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	storetest.UnreadableRow(t, open(t, url), func(statement string) { exec(t, url, statement) },
		`overage_rate_cents = 'NaN'`, `warning_levels = '{}'`, `retired_at = 'infinity'`)
}
