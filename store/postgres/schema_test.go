package postgres_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
	"github.com/usance/usance/store/schema"
)

var update = flag.Bool("update", false, "write schema.json from a database that the steps were applied to")

const hostsLicenses = `CREATE TABLE licenses (id varchar(40) PRIMARY KEY, status text NOT NULL, usage_tracking_enabled boolean, deleted_at timestamp)`

// What the program takes for the schema is what its steps make: with licences of
// its own, and what lies beside those of a host platform.
func TestSchemaIsWhatTheStepsMake(t *testing.T) {
	t.Parallel()
	want, err := open(t, pgtest.URL(t)).Parts(t.Context())
	must(t, err)
	beside := pgtest.EmptyURL(t)
	_, err = raw(t, beside).Exec(t.Context(), hostsLicenses)
	must(t, err)
	adopted, err := open(t, beside).Parts(t.Context())
	must(t, err)
	for _, p := range adopted {
		if p.Name == "license_usage_terms" || p.Of == "license_usage_terms" {
			want = append(want, p)
		}
	}
	rank := map[string]int{schema.Table: 0, schema.View: 1, schema.Index: 2}
	slices.SortStableFunc(want, func(a, b schema.Part) int { return rank[a.Kind] - rank[b.Kind] })
	var text bytes.Buffer
	for i, p := range want {
		line, err := json.Marshal(p)
		must(t, err)
		text.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		text.Write(line)
	}
	text.WriteString("\n]\n")
	if *update {
		must(t, os.WriteFile("schema.json", text.Bytes(), 0o644))
		return
	}
	kept, err := os.ReadFile("schema.json")
	must(t, err)
	if diff := cmp.Diff(string(kept), text.String()); diff != "" {
		t.Errorf("schema.json is not what the steps make (go test ./store/postgres -run TestSchemaIs -update):\n%s", diff)
	}
}

// What is missing, not in use or another one is named, with what makes it again,
// and carried out that makes it whole.
func TestSchemaFaultsAreNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, bend string
		want       usance.SchemaFault
	}{
		{"nothing", `CREATE TABLE mine (id int); CREATE INDEX mine_too ON license_usage_events (quantity); ALTER TABLE brands ADD COLUMN mine text;
			ALTER INDEX license_usage_events_pkey SET (fillfactor = 80); ALTER INDEX license_usage_events_day SET (fillfactor = 70)`, usance.SchemaFault{}},
		{"index", `DROP INDEX license_usage_events_day`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_events_day", Problem: "of license_usage_events is missing",
			Fix: "run: CREATE INDEX CONCURRENTLY license_usage_events_day ON license_usage_events USING btree (license_id, local_date, received_at);",
		}},
		{"unique key", `ALTER TABLE license_usage_events DROP CONSTRAINT license_usage_events_pkey`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_events_pkey", Problem: "of license_usage_events is missing", Vital: true,
			Fix: "run: ALTER TABLE license_usage_events ADD CONSTRAINT license_usage_events_pkey PRIMARY KEY (license_id, key);",
		}},
		{"invalid", `UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'license_usage_events_pkey'::regclass`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_events_pkey", Problem: "of license_usage_events is not in use: making it has not ended, or failed", Vital: true,
			Fix: "when nothing makes it any more, run: REINDEX INDEX CONCURRENTLY license_usage_events_pkey;",
		}},
		{"other index", `DROP INDEX license_usage_overages_due; CREATE INDEX license_usage_overages_due ON license_usage_overages (settle_at)`, usance.SchemaFault{
			Kind: "index", Name: "license_usage_overages_due",
			Problem: "of license_usage_overages is another one than it must be: CREATE INDEX license_usage_overages_due ON license_usage_overages USING btree (settle_at)",
			Fix:     "drop it, and run: CREATE INDEX CONCURRENTLY license_usage_overages_due ON license_usage_overages USING btree (settle_at) WHERE status = 'DETECTED'::text;",
		}},
		{"view", `DROP VIEW license_usage_daily_aggregates`, usance.SchemaFault{
			Kind: "view", Name: "license_usage_daily_aggregates", Problem: "is missing",
			Fix: "usance migrate show 20241012000001_add_license_usage_tracking prints the statement that makes it: run that in the database's shell",
		}},
		{"table", `DROP TABLE alert_reasons`, usance.SchemaFault{
			Kind: "table", Name: "alert_reasons", Problem: "is missing",
			Fix: "put it back from a backup; usance migrate show 20261124000003_add_foresight prints the statement that makes it, empty",
		}},
		{"column", `ALTER TABLE pending_batches DROP COLUMN first_received; CREATE INDEX pending_batches_received ON pending_batches (batch_id)`, usance.SchemaFault{
			Kind: "column", Name: "pending_batches.first_received", Problem: "is missing",
			Fix: "put the table back from a backup; usance migrate show 20261130000001_ease_folding prints how the column is made",
		}},
		{"type", `ALTER TABLE license_usage_sessions ALTER COLUMN unique_sessions TYPE numeric`, usance.SchemaFault{
			Kind: "column", Name: "license_usage_sessions.unique_sessions", Problem: "is of type numeric and must be of type bigint",
			Fix: "put the table back from a backup; usance migrate show 20241012000001_add_license_usage_tracking prints how the column is made",
		}},
		{"Citus", `ALTER TABLE license_usage_received DROP CONSTRAINT license_usage_received_pkey, ADD COLUMN license_id text COLLATE "C" NOT NULL DEFAULT '';
			ALTER TABLE license_usage_received ADD PRIMARY KEY (license_id, day, slot)`, usance.SchemaFault{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			s, c := open(t, url), raw(t, url)
			if test.name == "type" {
				_, err := c.Exec(t.Context(), `DROP VIEW license_usage_daily_aggregates`)
				must(t, err)
			}
			_, err := c.Exec(t.Context(), test.bend)
			must(t, err)
			faults, err := s.CheckSchema(t.Context())
			must(t, err)
			want := []usance.SchemaFault{}
			if test.want.Name != "" {
				want = append(want, test.want)
			}
			faults = slices.DeleteFunc(faults, func(f usance.SchemaFault) bool {
				return test.name == "type" && f.Kind == "view" || test.name == "column" && f.Kind == "index"
			})
			if diff := cmp.Diff(want, faults); diff != "" {
				t.Fatal(diff)
			}
			again, openErr := postgres.Open(t.Context(), url, postgres.Options{})
			if again != nil {
				must(t, again.Close())
			}
			if pingErr := s.Ping(t.Context()); test.want.Vital != errors.Is(openErr, usance.ErrKeyIndex) || test.want.Vital != errors.Is(pingErr, usance.ErrKeyIndex) {
				t.Errorf("a server starts: %v, is ready: %v", openErr, pingErr)
			}
			if _, statement, ok := strings.Cut(test.want.Fix, "run: "); ok {
				if strings.HasPrefix(test.want.Fix, "drop it") {
					_, err = c.Exec(t.Context(), `DROP INDEX `+test.want.Name)
					must(t, err)
				}
				_, err = c.Exec(t.Context(), statement)
				must(t, err)
				faults, err = s.CheckSchema(t.Context())
				must(t, err)
				if len(faults) > 0 {
					t.Errorf("after that: %+v", faults)
				}
			}
		})
	}
}

// Without the table that tells what is applied nothing is made over what is there:
// the table is named, and what is said to make it again makes the same one.
func TestTableOfVersionsIsMissing(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.URL(t)
	c := raw(t, url)
	text := func(query string) (out string) {
		t.Helper()
		must(t, c.QueryRow(ctx, query).Scan(&out))
		return out
	}
	const tables = `SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace`
	_, err := c.Exec(ctx, `ALTER TABLE usance_schema_versions RENAME TO elsewhere`)
	must(t, err)
	before := text(tables)
	names := func(what string, err error) {
		t.Helper()
		if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "the table usance_schema_versions, ") || !strings.Contains(err.Error(), "run: CREATE TABLE usance_schema_versions") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, o := range map[string]postgres.Options{"a start": {}, "a command": {CurrentSchema: true}} {
		_, err := postgres.Open(ctx, url, o)
		names(what, err)
	}
	s, err := postgres.Open(ctx, url, postgres.Options{LeaveSchema: true, CurrentSchema: true})
	must(t, err)
	defer s.Close()
	m := s.Migrations()
	_, err = m.Status(ctx)
	names("Status", err)
	_, err = m.Up(ctx)
	names("Up", err)
	_, err = m.Down(ctx)
	names("Down", err)
	names("Resolve", m.Resolve(ctx, steps[0]))
	faults, err := s.CheckSchema(ctx)
	must(t, err)
	if len(faults) != 1 || faults[0].Kind != "table" || faults[0].Name != "usance_schema_versions" || faults[0].Problem != "is missing" {
		t.Fatalf("%+v", faults)
	}
	if after := text(tables); after != before {
		t.Errorf("the database was changed: it has %s, and had %s", after, before)
	}
	_, statement, _ := strings.Cut(faults[0].Fix, "run: ")
	_, err = c.Exec(ctx, statement)
	must(t, err)
	columns := func(table string) string {
		return text(`SELECT string_agg(concat_ws(' ', column_name, data_type, is_nullable, column_default, is_identity), ',' ORDER BY ordinal_position)
			|| (SELECT string_agg(version_id || ' ' || is_applied, ',' ORDER BY version_id) FROM ` + table + `)
			FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = '` + table + `'`)
	}
	if diff := cmp.Diff(columns("elsewhere"), columns("usance_schema_versions")); diff != "" {
		t.Error(diff)
	}
	if faults, err := open(t, url).CheckSchema(ctx); err != nil || len(faults) > 0 {
		t.Errorf("after that: %+v, %v", faults, err)
	}
}

// A host platform's own licences are its own: its columns and indexes are not
// compared, and what lies beside them is.
func TestSchemaBesideAHostsLicenses(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	c := raw(t, url)
	_, err := c.Exec(t.Context(), hostsLicenses)
	must(t, err)
	s := open(t, url)
	faults, err := s.CheckSchema(t.Context())
	must(t, err)
	if len(faults) > 0 {
		t.Errorf("%+v", faults)
	}
	_, err = c.Exec(t.Context(), `ALTER TABLE license_usage_terms DROP COLUMN timezone CASCADE`)
	must(t, err)
	faults, err = s.CheckSchema(t.Context())
	must(t, err)
	var names []string
	for _, f := range faults {
		names = append(names, f.Name)
	}
	if want := []string{"license_usage_licenses", "license_usage_terms.timezone"}; !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("named are %q, want %q", names, want)
	}
}
