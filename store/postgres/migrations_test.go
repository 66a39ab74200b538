package postgres_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// files gives the file that each table and each index of the database lies in.
// A statement that writes a table anew gives it another.
func files(t *testing.T, c *pgx.Conn) map[string]uint32 {
	t.Helper()
	rows, err := c.Query(t.Context(), `SELECT relname, pg_relation_filenode(oid) FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')`)
	must(t, err)
	out := make(map[string]uint32)
	var name string
	var file uint32
	_, err = pgx.ForEachRow(rows, []any{&name, &file}, func() error {
		out[name] = file
		return nil
	})
	must(t, err)
	return out
}

// rewritten names the tables and indexes that lie in another file than before,
// or are gone.
func rewritten(before, after map[string]uint32) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			names = append(names, name)
		}
	}
	return names
}

// No step after the first writes a table anew, which holds everybody up for as
// long as it takes, and hides the rows from whoever reads with an older snapshot.
func TestStepsRewriteNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	s, c := open(t, url), raw(t, url)
	must(t, s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		if err := putBrand(t.Context(), tx, "b"); err != nil {
			return err
		}
		return tx.AddEvents(t.Context(), []usance.Batch{{ID: usance.NewID(clock), At: clock, Count: 500, Events: events("l", 500)}})
	}))
	for undone := ""; undone != steps[1]; {
		var err error
		undone, err = s.Migrations().Down(t.Context())
		must(t, err)
	}
	before := files(t, c)
	if before["license_usage_events"] == 0 || before["license_usage_rollups"] == 0 {
		t.Fatalf("the first step has made %v", before)
	}
	applied, err := s.Migrations().Up(t.Context())
	must(t, err)
	if !slices.Equal(applied, steps[1:]) {
		t.Errorf("applied are %q", applied)
	}
	dropped := []string{"license_usage_events_batch", "license_usage_events_id"} // indexes, which takes a moment
	if names := rewritten(before, files(t, c)); !slices.Equal(names, dropped) {
		t.Errorf("the steps after the first write anew or drop: %q, want %q alone", names, dropped)
	}
	// What such a step would look like here.
	before = files(t, c)
	_, err = c.Exec(t.Context(), `ALTER TABLE license_usage_events ADD COLUMN made_up uuid NOT NULL DEFAULT gen_random_uuid()`)
	must(t, err)
	if names := rewritten(before, files(t, c)); !slices.Contains(names, "license_usage_events") {
		t.Errorf("a table that was written anew is not noticed: %q", names)
	}
}

// Breakdowns are read as they were written before, and the version before finds
// them so again when the step is taken back.
func TestBreakdownsAreTakenBack(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	s, c := open(t, url), raw(t, url)
	key := usance.RollupKey{LicenseID: "l", Date: 20000, UsageType: "view"}
	row := usance.Rollup{RollupKey: key, Tally: usance.Tally{Events: 3, Quantity: 4, RevenueCents: 5}, Breakdown: usance.Breakdown{
		usance.ByDevice: {"tv": {Events: 2, Quantity: 3, RevenueCents: 5}, `a "b" {c}`: {Events: 1, Quantity: 1}},
		usance.ByHour:   {"0": {Events: 3, Quantity: 4, RevenueCents: 5}},
	}}
	must(t, s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.EnsureRollups(t.Context(), []usance.RollupKey{key}); err != nil {
			return err
		}
		return tx.PutRollups(t.Context(), []usance.Rollup{row})
	}))
	reads := func(want string) {
		t.Helper()
		var stored string
		must(t, c.QueryRow(t.Context(), `SELECT breakdown->'device'->'tv' FROM license_usage_rollups`).Scan(&stored))
		if stored != want {
			t.Errorf("stored is %s, want %s", stored, want)
		}
		must(t, s.View(t.Context(), func(v usance.View) error {
			return v.Rollups(t.Context(), "l", 0, usance.MaxDate, nil, func(r *usance.Rollup) error {
				if diff := cmp.Diff(row, *r); diff != "" {
					t.Error(diff)
				}
				return nil
			})
		}))
	}
	reads(`"2 3 5"`)
	for undone := ""; undone != "20261130000003_write_breakdowns_shorter"; {
		var err error
		undone, err = s.Migrations().Down(t.Context())
		must(t, err)
	}
	reads(`[2, 3, 5]`)
}

// large are the tables that grow with usage, or may be a host platform's own.
var large = []string{
	"licenses", "license_usage_events", "license_usage_evidence", "license_usage_rollups", "license_usage_sessions", "license_usage_days",
	"license_usage_versions", "license_usage_counters", "license_usage_overages", "alerts", "audit_log",
}

// What holds a large table locked for as long as it takes to read it, or writes
// all of it: each form, but where except is in the statement.
var lockingForms = []struct{ form, except string }{
	{`CREATE (UNIQUE )?INDEX .*\bON (ONLY )?%s\b`, `\bCONCURRENTLY\b`},
	{`REINDEX .*\b%s\b`, `\bCONCURRENTLY\b`},
	{`ALTER TABLE (IF EXISTS )?(ONLY )?%s\b.*\bALTER (COLUMN )?\S+ (SET DATA )?TYPE\b`, ``},
	{`ALTER TABLE (IF EXISTS )?(ONLY )?%s\b.*\bSET NOT NULL\b`, ``},
	{`ALTER TABLE (IF EXISTS )?(ONLY )?%s\b.*\bADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b`, `\bNOT VALID\b|\bUSING INDEX\b`},
	{`ALTER TABLE (IF EXISTS )?(ONLY )?%s\b.*\bADD (COLUMN )?.*\b(GENERATED|REFERENCES|PRIMARY KEY|UNIQUE|CHECK)\b`, `\bNOT VALID\b`},
	{`ALTER TABLE (IF EXISTS )?(ONLY )?%s\b.*\bADD (COLUMN )?.*\bDEFAULT [^ ,;]*\(`, ``}, // it may be volatile
	{`ALTER TABLE (IF EXISTS )?(ONLY )?%s\b.*\bSET (LOGGED|UNLOGGED|TABLESPACE|ACCESS METHOD)\b`, ``},
	{`(UPDATE|DELETE FROM) (ONLY )?%s\b`, ``},
	{`(CLUSTER|VACUUM|TRUNCATE|LOCK)\b.*\b%s\b`, ``},
}

// locking gives the statements of a step that hold a large table up.
func locking(sql string) (out []string) {
	sql = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(sql, "")
	for statement := range strings.SplitSeq(sql, ";") {
		statement = strings.Join(strings.Fields(statement), " ")
		for _, table := range large {
			held := slices.ContainsFunc(lockingForms, func(f struct{ form, except string }) bool {
				return regexp.MustCompile(`(?i)`+fmt.Sprintf(f.form, table)).MatchString(statement) &&
					(f.except == "" || !regexp.MustCompile(`(?i)`+f.except).MatchString(statement))
			})
			if held {
				out = append(out, statement)
				break
			}
		}
	}
	return out
}

// No step after the first holds a large table up while it is read or written whole.
func TestStepsHoldNothingUp(t *testing.T) {
	t.Parallel()
	list, err := open(t, pgtest.URL(t)).Migrations().Status(t.Context())
	must(t, err)
	for _, step := range list[1:] {
		for _, statement := range locking(step.SQL) {
			t.Errorf("%s: %s", step.Name, statement)
		}
	}
	const bad = `CREATE INDEX IF NOT EXISTS a ON license_usage_events (id);
CREATE UNIQUE INDEX b
    ON ONLY license_usage_rollups (license_id) WHERE true;
REINDEX TABLE license_usage_events;
ALTER TABLE license_usage_events ALTER COLUMN quantity TYPE numeric;
ALTER TABLE IF EXISTS license_usage_events ALTER quantity SET DATA TYPE numeric;
ALTER TABLE license_usage_events ALTER COLUMN referrer SET NOT NULL;
ALTER TABLE license_usage_events ADD CONSTRAINT positive CHECK (quantity > 0);
ALTER TABLE license_usage_events ADD COLUMN a text CHECK (a <> '');
ALTER TABLE license_usage_events ADD COLUMN IF NOT EXISTS b timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE license_usage_events ADD COLUMN c bigint GENERATED ALWAYS AS (quantity * 2) STORED;
ALTER TABLE license_usage_events SET UNLOGGED;
UPDATE license_usage_events SET quantity = 1;
DELETE FROM license_usage_evidence;
VACUUM FULL license_usage_events`
	const good = `-- CREATE INDEX of_a_comment ON licenses (id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS a ON license_usage_events (id);
REINDEX TABLE CONCURRENTLY license_usage_events;
ALTER TABLE license_usage_events ADD COLUMN a text;
ALTER TABLE license_usage_events ADD COLUMN b bigint NOT NULL DEFAULT 0;
ALTER TABLE license_usage_events ADD CONSTRAINT positive CHECK (quantity > 0) NOT VALID;
ALTER TABLE license_usage_events VALIDATE CONSTRAINT positive;
ALTER TABLE license_usage_sessions ALTER COLUMN sketch SET COMPRESSION lz4;
CREATE TABLE license_usage_events_of (id uuid PRIMARY KEY);
CREATE INDEX b ON license_usage_events_of (id);
CREATE INDEX c ON pending_batches (first_received)`
	var want []string
	for statement := range strings.SplitSeq(bad, ";") {
		want = append(want, strings.Join(strings.Fields(statement), " "))
	}
	if diff := cmp.Diff(want, locking(bad)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if got := locking(good); len(got) > 0 {
		t.Errorf("held against what holds nothing up: %q", got)
	}
}
