package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// hostTable is a host platform's, as Prisma makes them.
const hostTable = `
CREATE TYPE "LicenseStatus" AS ENUM ('DRAFT', 'ACTIVE', 'SUSPENDED');
CREATE TABLE licenses (
    id varchar(40) NOT NULL CONSTRAINT licenses_pkey PRIMARY KEY,
    reference_number text NOT NULL UNIQUE,
    brand_id text NOT NULL,
    status "LicenseStatus" NOT NULL DEFAULT 'DRAFT',
    start_date timestamp(3) NOT NULL,
    end_date timestamp(3),
    scope_json jsonb NOT NULL,
    usage_tracking_enabled boolean NOT NULL DEFAULT FALSE,
    updated_at timestamp(3) NOT NULL,
    deleted_at timestamp(3)
);
INSERT INTO licenses VALUES
    ('lic_b', 'R-1', 'northwind', 'ACTIVE', '2024-01-01', NULL, '{}', TRUE, '2024-01-01', NULL),
    ('Lic_A', 'R-2', 'northwind', 'ACTIVE', '2024-01-01', '2024-06-30 12:00', '{}', TRUE, '2024-01-01', NULL),
    ('lic_c', 'R-3', 'other', 'SUSPENDED', '2024-01-01', NULL, '{}', FALSE, '2024-01-01', '2024-02-01');`

// theHostTable tells all of it: its columns, what hangs on it, and its rows.
const theHostTable = `
SELECT string_agg(format('%s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attnum), E'\n' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'licenses'::regclass AND attnum > 0
UNION ALL SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid) FROM pg_index WHERE indrelid = 'licenses'::regclass
UNION ALL SELECT string_agg(pg_get_constraintdef(oid), E'\n' ORDER BY oid) FROM pg_constraint WHERE conrelid = 'licenses'::regclass
UNION ALL SELECT count(*)::text FROM pg_trigger WHERE tgrelid = 'licenses'::regclass
UNION ALL SELECT string_agg(licenses::text, E'\n' ORDER BY id) FROM licenses`

// command runs one command on a database.
func command(t *testing.T, url string, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = run(context.Background(), args, []string{"DATABASE_URL=" + url, "USANCE_ADMIN_KEY=" + scriptKey, "USANCE_LOG_LEVEL=error"}, strings.NewReader(""), &b, &b)
	return code, b.String()
}

// A host platform's own table licenses is adopted as it is: it says what it has
// columns for, the rest is kept beside it, and nothing ever changes it.
func TestAdoptsTheHostsLicenses(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	o := newOperator(t, url)
	o.run(hostTable)
	before := o.run(theHostTable)
	s := startNode(t, url, "USANCE_LOG_LEVEL=warn")
	await(t, s.isReady)

	event := func(license, key, members string) (r usance.Result) {
		t.Helper()
		s.must("POST", "/v1/events", fmt.Sprintf(`{"licenseId":%q,"usageType":"view","idempotencyKey":%q%s}`, license, key, members), &r)
		return r
	}
	code := func(r usance.Result) usance.Code {
		if r.Error == nil {
			return ""
		}
		return r.Error.Code
	}
	// No licence was ever put: the host's rows are enough.
	if r := event("lic_b", "1", ""); !r.Tracked {
		t.Errorf("an event of the host's licence: %+v", r)
	}
	if r := event("Lic_A", "1", `,"occurredAt":"2024-06-30T12:00:00Z"`); r.Status != "OUT_OF_TERM" {
		t.Errorf("at the end that the host says: %+v", r)
	}
	if r := event("Lic_A", "2", `,"occurredAt":"2024-06-30T11:59:59Z"`); !r.Tracked {
		t.Errorf("before the end that the host says: %+v", r)
	}
	if r := event("lic_c", "1", ""); code(r) != usance.CodeLicenseNotFound && code(r) != usance.CodeLicenseNotActive && code(r) != usance.CodeTrackingDisabled {
		t.Errorf("a deleted licence: %+v", r)
	}
	var list struct {
		Data []struct{ ID, BrandID, StartDate, EndDate, Timezone, Status string }
	}
	s.must("GET", "/v1/licenses?deleted=true", "", &list)
	var ids []string
	for _, l := range list.Data {
		ids = append(ids, l.ID)
	}
	if diff := cmp.Diff([]string{"Lic_A", "lic_b", "lic_c"}, ids); diff != "" { // by bytes
		t.Error(diff)
	}
	if l := list.Data[0]; l.BrandID != "northwind" || l.StartDate != "2024-01-01T00:00:00Z" || l.EndDate != "2024-06-30T12:00:00Z" || l.Timezone != "UTC" {
		t.Errorf("%+v", l)
	}

	// Usance's own fields are put beside it.
	s.must("PUT", "/v1/licenses/Lic_A", `{"assetId":"asset_1","feeCents":500,"brandId":"northwind"}`, nil)
	var got struct {
		AssetID, BrandID string
		FeeCents         int64
	}
	s.must("PUT", "/v1/licenses/Lic_A", `{}`, &got)
	if got.AssetID != "asset_1" || got.FeeCents != 500 || got.BrandID != "northwind" {
		t.Errorf("%+v", got)
	}
	for body, want := range map[string]string{
		`{"status":"SUSPENDED"}`:                  "status is a column of the host platform's table licenses",
		`{"usageTrackingEnabled":false}`:          "usageTrackingEnabled is a column",
		`{"endDate":"2025-01-01"}`:                "endDate is a column",
		`{"feeCents":1,"startDate":"2020-01-01"}`: "startDate is a column",
	} {
		if status, b, err := s.try("PUT", "/v1/licenses/Lic_A", body); err != nil || status != 409 || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s: %d %s %v, want %s", body, status, b, err, want)
		}
	}
	if status, b, err := s.try("PUT", "/v1/licenses/lic_new", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`); err != nil || status != 404 || !bytes.Contains(b, []byte("insert \\\"lic_new\\\" into its table licenses first")) {
		t.Errorf("a licence that the host does not have: %d %s %v", status, b, err)
	}
	if diff := cmp.Diff(before, o.run(theHostTable)); diff != "" {
		t.Errorf("the host's table was changed (-before +after)\n%s", diff)
	}

	// What the host changes holds for the next event, also on licences it adds.
	o.run(`UPDATE licenses SET usage_tracking_enabled = FALSE`)
	if r := event("lic_b", "2", ""); code(r) != usance.CodeTrackingDisabled {
		t.Errorf("after the host's UPDATE: %+v", r)
	}
	o.run(`INSERT INTO licenses VALUES ('lic_d', 'R-4', 'northwind', 'ACTIVE', '2024-01-01', NULL, '{}', TRUE, '2024-01-01', NULL)`)
	if r := event("lic_d", "1", ""); !r.Tracked {
		t.Errorf("a licence that the host added: %+v", r)
	}
	if code := s.stop(); code != exitOK {
		t.Fatal(s.out)
	}
	before = o.run(theHostTable)
	for _, args := range [][]string{
		{"migrate", "resolve", "--rolled-back", "20241012000001_add_license_usage_tracking"}, {"migrate", "up"},
		{"verify", "--deep", "--only", "books"},
		{"migrate", "reset", "--skip-seed", "--yes"}, {"check"},
	} {
		if code, out := command(t, url, args...); code != exitOK {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	for code, out := 0, ""; code == 0 && !strings.Contains(out, "no migration is applied"); {
		code, out = command(t, url, "migrate", "down", "--yes")
		if code != exitOK {
			t.Error(out)
		}
	}
	if diff := cmp.Diff(before, o.run(theHostTable)); diff != "" {
		t.Errorf("the host's table was changed (-before +after)\n%s", diff)
	}
	o.answers(`SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1`, "licenses", "usance_schema_versions")
}

// Tables of the host that Usance cannot live with are left alone, and named.
func TestLeavesOtherTablesAlone(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ sql, says string }{
		"names that clash":   {`CREATE TABLE brands (id uuid); CREATE TABLE jobs (id int)`, "holds tables of other programs whose names are needed (brands, jobs): CREATE SCHEMA usance, and add search_path=usance,public"},
		"no tracking column": {`CREATE TABLE licenses (id text PRIMARY KEY, status text, deleted_at timestamptz)`, "the table licenses has no column usage_tracking_enabled of a fitting type"},
		"ids that are none":  {`CREATE TABLE licenses (id bigint PRIMARY KEY, status text, usage_tracking_enabled boolean, deleted_at timestamptz)`, "has no column id of a fitting type"},
	} {
		url := pgtest.EmptyURL(t)
		o := newOperator(t, url)
		o.run(c.sql)
		if code, out := command(t, url, "migrate", "up"); code != exitFault || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d: %s", what, code, out)
		}
		o.answers(`SELECT count(*) FROM pg_class WHERE relname LIKE 'license_usage%'`, "0")
	}
	// A schema of its own beside the host's.
	url := pgtest.EmptyURL(t)
	o := newOperator(t, url)
	o.run(`CREATE TABLE brands (id uuid);` + hostTable + `; CREATE SCHEMA usance`)
	url += "&search_path=usance,public"
	if code, out := command(t, url, "migrate", "up"); code != exitOK {
		t.Fatalf("exit %d: %s", code, out)
	}
	if code, out := command(t, url, "explain", "lic_b"); code != exitOK || !strings.Contains(out, "northwind") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := command(t, url, "migrate", "reset", "--yes"); code != exitOK {
		t.Errorf("exit %d: %s", code, out)
	}
	o.answers(`SELECT count(*) FROM public.licenses`, "3")
	o.answers(`SELECT count(*) FROM public.brands`, "0")
}
