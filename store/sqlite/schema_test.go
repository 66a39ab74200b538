package sqlite_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// What is missing or another one is named, with what makes it again, and carried
// out that makes it whole. Nobody serves without the unique key.
func TestSchemaFaultsAreNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, bend string
		want       usance.SchemaFault
	}{
		{"nothing", `CREATE TABLE mine (id INTEGER); CREATE INDEX mine_too ON license_usage_events (quantity); ALTER TABLE brands ADD COLUMN mine TEXT`, usance.SchemaFault{}},
		{"typed otherwise", `DROP INDEX license_usage_events_void;
			create index if not exists "license_usage_events_void" on "license_usage_events"(license_id,void_of)  where void_of is not null;`, usance.SchemaFault{}},
		{"index", `DROP INDEX license_usage_events_day`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_events_day", Problem: "of license_usage_events is missing",
			Fix: "run: CREATE INDEX license_usage_events_day ON license_usage_events (license_id, local_date);",
		}},
		{"unique key", `DROP INDEX license_usage_events_key`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_events_key", Problem: "of license_usage_events is missing", Vital: true,
			Fix: "run: CREATE UNIQUE INDEX license_usage_events_key ON license_usage_events (license_id, key);",
		}},
		{"key that is not unique", `DROP INDEX license_usage_events_key; CREATE INDEX license_usage_events_key ON license_usage_events (license_id, key)`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_events_key", Vital: true,
			Problem: "of license_usage_events is another one than it must be: create index license_usage_events_key on license_usage_events(license_id,key)",
			Fix:     "drop it, and run: CREATE UNIQUE INDEX license_usage_events_key ON license_usage_events (license_id, key);",
		}},
		{"view", `DROP VIEW license_usage_daily_aggregates`, usance.SchemaFault{
			Kind: "view", Name: "license_usage_daily_aggregates", Problem: "is missing",
			Fix: "usance migrate show 20261130000001_ease_folding prints the statement that makes it: run that in the database's shell",
		}},
		{"table", `DROP TABLE alert_reasons`, usance.SchemaFault{
			Kind: "table", Name: "alert_reasons", Problem: "is missing",
			Fix: "put it back from a backup; usance migrate show 20261124000003_add_foresight prints the statement that makes it, empty",
		}},
		{"another program's view", `CREATE VIEW report AS SELECT * FROM nowhere`, usance.SchemaFault{}},
		{"column", `ALTER TABLE alert_reasons DROP COLUMN reason`, usance.SchemaFault{
			Kind: "column", Name: "alert_reasons.reason", Problem: "is missing",
			Fix: "put the table back from a backup; usance migrate show 20261124000003_add_foresight prints how the column is made",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "usance.db")
			s := openAt(t, path)
			db := raw(t, path)
			if _, err := db.Exec(test.bend); err != nil {
				t.Fatal(err)
			}
			want := []usance.SchemaFault{}
			if test.want.Name != "" {
				want = append(want, test.want)
			}
			faults, err := s.CheckSchema(t.Context())
			if diff := cmp.Diff(want, faults); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			pingErr := s.Ping(t.Context())
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, openErr := sqlite.Open(t.Context(), path, sqlite.Options{})
			if again != nil {
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if test.want.Vital != errors.Is(openErr, usance.ErrKeyIndex) || test.want.Vital != errors.Is(pingErr, usance.ErrKeyIndex) {
				t.Errorf("a server starts: %v, is ready: %v", openErr, pingErr)
			}
			_, statement, ok := strings.Cut(test.want.Fix, "run: ")
			if !ok {
				return
			}
			if strings.HasPrefix(test.want.Fix, "drop it") {
				statement = "DROP INDEX " + test.want.Name + "; " + statement
			}
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, path)
			if faults, err := s.CheckSchema(t.Context()); err != nil || len(faults) > 0 {
				t.Errorf("after that: %+v, %v", faults, err)
			}
		})
	}
}

// Without the table that tells what is applied nothing is made over what is there:
// the table is named, and what is said to make it again makes the same one.
func TestTableOfVersionsIsMissing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "usance.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	text := func(query string) (out string) {
		t.Helper()
		if err := db.QueryRow(query).Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	const tables = `SELECT group_concat(name) FROM sqlite_schema`
	if _, err := db.Exec(`ALTER TABLE goose_db_version RENAME TO elsewhere`); err != nil {
		t.Fatal(err)
	}
	before := text(tables)
	names := func(what string, err error) {
		t.Helper()
		if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "the table goose_db_version, ") || !strings.Contains(err.Error(), "run: CREATE TABLE goose_db_version") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, o := range map[string]sqlite.Options{"a start": {}, "a command": {CurrentSchema: true}} {
		_, err := sqlite.Open(ctx, path, o)
		names(what, err)
	}
	s, err := sqlite.Open(ctx, path, sqlite.Options{LeaveSchema: true, CurrentSchema: true})
	if err != nil {
		t.Fatal(err)
	}
	m := s.Migrations()
	_, err = m.Status(ctx)
	names("Status", err)
	_, err = m.Up(ctx)
	names("Up", err)
	_, err = m.Down(ctx)
	names("Down", err)
	names("Resolve", m.Resolve(ctx, "20241012000001_add_license_usage_tracking"))
	faults, err := s.CheckSchema(ctx)
	if err != nil || len(faults) != 1 || faults[0].Kind != "table" || faults[0].Name != "goose_db_version" || faults[0].Problem != "is missing" {
		t.Fatalf("%+v, %v", faults, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := text(tables); after != before {
		t.Errorf("the file was changed: it has %s, and had %s", after, before)
	}
	_, statement, _ := strings.Cut(faults[0].Fix, "run: ")
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	const columns = `SELECT (SELECT group_concat(name || type || "notnull" || coalesce(dflt_value, '') || pk) FROM pragma_table_info('%s')) || (SELECT group_concat(version_id || ' ' || is_applied) FROM %[1]s)`
	if diff := cmp.Diff(text(fmt.Sprintf(columns, "elsewhere")), text(fmt.Sprintf(columns, "goose_db_version"))); diff != "" {
		t.Error(diff)
	}
	if faults, err := openAt(t, path).CheckSchema(ctx); err != nil || len(faults) > 0 {
		t.Errorf("after that: %+v, %v", faults, err)
	}
}
