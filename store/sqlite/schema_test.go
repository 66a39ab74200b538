package sqlite_test

import (
	"errors"
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
