package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

// host is another program's database.
type host struct {
	t    *testing.T
	url  string
	conn *pgx.Conn
	dir  string // where checkpoints and rejects go
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, url: pgtest.EmptyURL(t), dir: t.TempDir()}
	var err error
	if h.conn, err = postgres.Connect(t.Context(), h.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.conn.Close(t.Context()) })
	return h
}

func (h *host) exec(statements string) {
	h.t.Helper()
	if _, err := h.conn.Exec(h.t.Context(), statements); err != nil {
		h.t.Fatal(err)
	}
}

// backfill runs usance backfill of a table.
func (h *host) backfill(b *books, table string, args ...string) (backfillReport, string, error) {
	h.t.Helper()
	name := filepath.Join(h.dir, url.PathEscape(table))
	return runBackfill(h.t, b, append([]string{"--from", h.url, "--table", table, "--checkpoint", name + ".checkpoint", "--rejects", name + ".rejects"}, args...)...)
}

// Each type that a host may keep its events in comes to what it means.
func TestBackfillTableEvents(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.exec(`CREATE SCHEMA "Host"; CREATE TABLE "Host"."events" (
		id uuid PRIMARY KEY, "licence ""no""" varchar(40), usage_type text, units numeric(20,2), happened timestamptz NOT NULL,
		device_type text, session_id bigint, revenue_cents bigint, metadata jsonb, secret bytea);
	INSERT INTO "Host"."events" VALUES
		('00000000-0000-0000-0000-000000000001', 'l', 'view', 3.00, '2024-10-12 10:30:00.123456+02', 'mobile', 77, 12, '{"a": 1}', '\x00'),
		('00000000-0000-0000-0000-000000000002', 'l', 'view', NULL, '2024-10-12 12:00:00-03:30', NULL, NULL, NULL, NULL, NULL),
		('00000000-0000-0000-0000-000000000003', 'l', 'view', 1.50, '2024-10-12 12:00:00+00', NULL, NULL, NULL, NULL, NULL),
		('00000000-0000-0000-0000-000000000004', NULL, 'view', 1, '2024-10-12 12:00:00+00', NULL, NULL, NULL, NULL, NULL),
		('00000000-0000-0000-0000-000000000005', 'l', 'view', 1, 'infinity', NULL, NULL, NULL, NULL, NULL),
		('00000000-0000-0000-0000-000000000006', 'nobody', 'view', 1, '2024-10-12 12:00:00+00', NULL, NULL, NULL, NULL, NULL)`)
	b := newBooks()
	args := []string{"--map", `licenseId=licence "no",occurredAt=happened,quantity=units`, "--ignore", "secret"}
	dry, _, err := h.backfill(b, "Host.events", append(args, "--dry-run")...)
	if err == nil || b.requests != 0 || dry.Rows != 6 || dry.WouldSend != 3 || len(dry.First) != 3 {
		t.Errorf("dry: %+v, %v", dry, err)
	}
	shown := fmt.Sprint(dry.First)
	if !strings.Contains(shown, "deviceType:mobile") || !strings.Contains(shown, "occurredAt:2024-10-12T08:30:00.123456Z") || !strings.Contains(shown, "quantity:3") {
		t.Errorf("the first rows: %s", shown)
	}
	r, _, err := h.backfill(b, "Host.events", args...)
	if err == nil || !strings.Contains(err.Error(), "4 of 6 rows were refused") || r.New != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	keys := map[string][]string{}
	for _, f := range r.Refused {
		keys[string(f.Code)+" "+f.Field] = f.Keys
	}
	id := "id=00000000-0000-0000-0000-00000000000"
	if got, want := fmt.Sprint(keys), fmt.Sprint(map[string][]string{
		"VALIDATION quantity": {id + "3"}, "VALIDATION licenseId": {id + "4"}, "VALIDATION occurredAt": {id + "5"}, "LICENSE_NOT_FOUND ": {id + "6"},
	}); got != want {
		t.Errorf("refused %s, want %s", got, want)
	}
	first := b.events["backfill:Host.events:00000000-0000-0000-0000-000000000001"]
	if first.LicenseID != "l" || first.Quantity != 3 || first.RevenueCents != 12 || first.SessionID != "77" || first.DeviceType != "mobile" ||
		string(first.Metadata) != `{"a": 1}` || first.OccurredAt.Format(time.RFC3339Nano) != "2024-10-12T08:30:00.123456Z" {
		t.Errorf("%+v of %v", first, b.events)
	}
	second := b.events["backfill:Host.events:00000000-0000-0000-0000-000000000002"]
	if second.Quantity != 1 || second.OccurredAt.Format(time.RFC3339) != "2024-10-12T15:30:00Z" {
		t.Errorf("%+v", second)
	}
	// What was refused bears the key of its row, so that it counts once from wherever it is sent.
	text, err := os.ReadFile(r.Rejects)
	if err != nil || strings.Count(string(text), "backfill:Host.events:00000000-0000-0000-0000-00000000000") != 4 {
		t.Errorf("rejects: %v\n%s", err, text)
	}
	if r, _, err := h.backfill(b, "Host.events", args...); err == nil || r.New != 0 || r.Duplicates != 2 || len(b.events) != 2 {
		t.Errorf("again: %+v, %v", r, err)
	}
}

// Daily totals in either form, days in either type, and a choice of them.
func TestBackfillTableDaily(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.exec(`CREATE TABLE daily_metrics (license_id text, metric_date date, views bigint, downloads numeric, PRIMARY KEY (license_id, metric_date));
	INSERT INTO daily_metrics SELECT 'l', date '2024-10-01' + n, 10 + n, NULLIF(n, 2) FROM generate_series(0, 4) n;
	CREATE TABLE stamps (id bigserial PRIMARY KEY, day timestamp, "dayTz" timestamptz, quantity int);
	INSERT INTO stamps (day, "dayTz", quantity) VALUES ('2024-10-01 00:00', '2024-10-01 00:00-04', 5), ('2024-10-02 09:00', '2024-10-02 00:00-04', 6);
	CREATE VIEW joined AS SELECT id AS n, day::date AS date, 'l' AS licence, 'print' AS type, quantity FROM stamps`)
	totals := func(b *books) (out []string) {
		for _, d := range b.totals {
			out = append(out, fmt.Sprint(d.LicenseID, " ", d.Date, " ", d.UsageType, " ", d.Quantity, " ", d.Source, " ", d.Line))
		}
		slices.Sort(out)
		return out
	}
	wide := []string{"--map", "date=metric_date,view=views,download=downloads"}
	b := newBooks()
	r, _, err := h.backfill(b, "daily_metrics", append(wide, "--since", "2024-10-02", "--until", "2024-10-03")...)
	if err != nil || r.Rows != 2 || r.New != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	got := totals(b)
	for i, want := range []string{"l 2024-10-02 download 1 table public.daily_metrics ", "l 2024-10-02 view 11 ", "l 2024-10-03 view 12 "} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// A row that was changed meanwhile is the same row to the server.
	h.exec(`UPDATE daily_metrics SET views = 100`)
	if r, _, err := h.backfill(b, "daily_metrics", wide...); err != nil || len(r.Refused) > 0 || r.Rows != 5 {
		t.Errorf("%+v, %v", r, err)
	}

	long := []string{"--as", "daily", "--license", "l", "--timezone", "America/New_York"}
	b = newBooks()
	r, _, err = h.backfill(b, "public.stamps", append(long, "--map", "date=dayTz,view=quantity", "--ignore", "day", "--since", "2024-10-01", "--until", "2024-10-01")...)
	if got, want := totals(b), []string{"l 2024-10-01 view 5 table public.stamps 1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v: got %q, want %q", r, err, got, want)
	}
	r, _, err = h.backfill(b, "stamps", append(long, "--map", "date=day,view=quantity", "--ignore", "dayTz")...)
	if err == nil || r.Rows != 2 || len(r.Refused) != 1 || r.Refused[0].Field != "date" || !slices.Equal(r.Refused[0].Keys, []string{"id=2"}) {
		t.Errorf("a time that is no day: %+v, %v", r, err)
	}
	b = newBooks()
	if _, _, err := h.backfill(b, "joined", "--as", "daily"); err == nil || !strings.Contains(err.Error(), "it has no primary key; say what tells its rows apart with --row-key") {
		t.Errorf("a view without --row-key: %v", err)
	}
	r, _, err = h.backfill(b, "joined", "--as", "daily", "--row-key", "n")
	if got, want := totals(b), []string{"l 2024-10-01 print 5 table public.joined 1", "l 2024-10-02 print 6 table public.joined 2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v: got %q, want %q", r, err, got, want)
	}
}

// A backfill of a table that ended early goes on behind the last key that was
// answered, reads little again and counts nothing twice.
func TestBackfillTableResumes(t *testing.T) {
	t.Parallel()
	const rows = 3000
	h := newHost(t)
	h.exec(fmt.Sprintf(`CREATE TABLE events (a text, n numeric, b timestamp, license_id text, usage_type text, at date, PRIMARY KEY (a, n, b));
		INSERT INTO events SELECT chr(97 + n %% 26) || '%%,''"é', n / 10.0, timestamp '2024-01-01' + n * interval '1 ms', 'l', 'view', date '2024-01-01' + n / 100 FROM generate_series(1, %d) n`, rows))
	args := []string{"--map", "occurredAt=at", "--batch", "50"}
	b := newBooks()
	b.fail = 31
	r, _, err := h.backfill(b, "events", args...)
	if err == nil || r.Rows != 1500 || r.Error == "" {
		t.Fatalf("broken off: %+v, %v", r, err)
	}
	b.fail = 0
	r, errOut, err := h.backfill(b, "events", args...)
	if err != nil || errOut != "" || r.ResumedAt != 1500 || r.New != rows || r.Duplicates != 0 || len(b.events) != rows {
		t.Errorf("taken up: %+v %s, %v, %d events", r, errOut, err, len(b.events))
	}
	if whole, _, err := h.backfill(b, "events", args...); err != nil || whole.Duplicates != rows || r.ReadBytes > whole.ReadBytes*6/10 {
		t.Errorf("anew: %+v, %v; taken up, %d bytes were read", whole, err, r.ReadBytes)
	}
	// Another choice of rows is another backfill, and so is another table.
	b.fail, b.requests = 31, 0
	if _, _, err := h.backfill(b, "events", args...); err == nil {
		t.Fatal("it did not break off")
	}
	b.fail = 0
	if r, _, err := h.backfill(b, "events", append(args, "--since", "2024-01-11")...); err != nil || r.ResumedAt != 0 || r.Rows != 2001 {
		t.Errorf("other days: %+v, %v", r, err)
	}
	// The row by which the server would be asked is gone from the table: none of those
	// behind it is sent in its place, and all that is left counts once.
	gone := "the row by which the server would be asked what it holds is gone; starting at the beginning"
	b = newBooks()
	b.fail = 31
	if _, _, err := h.backfill(b, "events", args...); err == nil {
		t.Fatal("it did not break off")
	}
	b.fail = b.requests + 1
	h.exec(`DELETE FROM events WHERE (a, n, b) IN (SELECT a, n, b FROM events ORDER BY a, n, b OFFSET 1499 LIMIT 1)`)
	if r, errOut, err := h.backfill(b, "events", args...); err == nil || !strings.Contains(errOut, gone) || r.Rows != 0 || len(b.events) != 1500 {
		t.Errorf("a row deleted: %+v %s, %v, %d events", r, errOut, err, len(b.events))
	}
	b.fail = 0
	if r, _, err := h.backfill(b, "events", args...); err != nil || r.Rows != rows-1 || r.New != 1500 || r.Duplicates != 1499 || len(b.events) != rows {
		t.Errorf("a row deleted: %+v, %v, %d events", r, err, len(b.events))
	}
	b.fail, b.requests = 31, 0
	if _, _, err := h.backfill(b, "events", args...); err == nil {
		t.Fatal("it did not break off")
	}
	b.fail = 0
	h.exec(`DELETE FROM events`)
	if r, errOut, err := h.backfill(b, "events", args...); err != nil || !strings.Contains(errOut, gone) || r.Rows != 0 || len(b.events) != rows {
		t.Errorf("emptied: %+v %s, %v", r, errOut, err)
	}
}

// What is asked for wrongly is said before anything is read, and nothing is
// ever written there.
func TestBackfillTableFaults(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.exec(`CREATE TABLE events (id int PRIMARY KEY, license_id text, usage_type text, at text, odd text);
		CREATE TABLE others (license_id text, usage_type text, occurred_at timestamptz, id int UNIQUE);
		CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM events; RETURN 1; END $$;
		INSERT INTO events VALUES (1, 'l', 'view', '2024-10-12T00:00:00Z', '');
		INSERT INTO others VALUES ('l', 'view', now(), NULL);
		CREATE VIEW sly AS SELECT writes() AS id, 'l' AS license_id, 'view' AS usage_type, now() AS occurred_at`)
	for _, c := range []struct{ table, args, err string }{
		{"event", "", "say what the rows of event are"},
		{"event", "--as events", "there is no such table or view; there are: events, others, sly"},
		{"Events", "--as events", "there is no such table"},
		{"events; DROP TABLE events", "--as events", "there is no such table"},
		{"events", "", `the column "odd" is not known`},
		{"events", "--ignore odd", `the column "at" is not known`},
		{"events", "--ignore odd,at", "there is no column occurredAt; name it with --map occurredAt=NAME"},
		{"events", "--ignore odd,nothing --map occurredAt=at", `--ignore names a column "nothing" that is not there; there are id, license_id`},
		{"events", "--ignore odd --map occurredAt=at --since 2024-01-01", `--since and --until need a column of the type date or timestamp; "at" is neither`},
		{"events", "--ignore odd --map occurredAt=at --since 2024-01-02 --until 2024-01-01", "lies after --until"},
		{"events", "--ignore odd --map occurredAt=at --timezone Mars/Olympus", `there is no time zone "Mars/Olympus"`},
		{"events", "--ignore odd --map at=occurredAt", `--map at=occurredAt names a column that is not there`},
		{"others", "--as events", "it has no primary key"},
		{"others", "--as events --row-key id", `a row holds nothing in "id", which is to tell rows apart`},
		{"others", "--as events --row-key no", `--row-key names a column "no" that is not there`},
		{"sly", "--as events --row-key id", "cannot execute DELETE in a read-only transaction"},
	} {
		_, _, err := h.backfill(newBooks(), c.table, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s %s: %v, want %q", c.table, c.args, err, c.err)
		}
	}
	for args, want := range map[string]string{
		"--table events":                                              "--table needs the database: --from postgres://",
		"--table events --from 2024-01-01":                            "--table needs the database",
		"--events x --from postgres://h/d":                            "say which of its tables with --table",
		"--events x --since 2024-01-01":                               "--since, --until, --as, --row-key and --timezone are of --table",
		"--daily x --source a":                                        "--source is of --events and --table",
		"--table events --from postgres://h/d --source a/b":           `--source must be at most 40 letters, digits, dots, dashes and underscores, not "a/b"`,
		"--table events --to 2024-01-01":                              "--table needs the database",
		"--table events --from postgres://u@/":                        "must name a database",
		"--table events --from postgres://u:hunter2@127.0.0.1:1/none": "cannot be reached",
	} {
		_, _, err := runBackfill(t, newBooks(), strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if r, _, err := h.backfill(newBooks(), "events", "--ignore", "odd", "--map", "occurredAt=at"); err != nil || r.New != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Rows that --row-key does not tell apart would be passed at the end of a page:
// nothing is read before they are looked for. What the table itself promises is
// not looked for, unless other tables are part of it.
func TestBackfillTableRowKeyTellsApart(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const rows = 2500 // of more pages than one
	h.exec(fmt.Sprintf(`CREATE TABLE uses (id int, part int, license_id text, usage_type text, at date, loose int UNIQUE);
		INSERT INTO uses SELECT n, 1, 'l', 'view', date '2024-01-01' + n / 1000, n FROM generate_series(1, %d) n;
		INSERT INTO uses VALUES (1000, 2, 'l', 'view', '2024-01-02', 0), (0, NULL, 'l', 'view', '2024-01-03', NULL);
		CREATE TABLE parent (id int PRIMARY KEY, license_id text, usage_type text, at date);
		CREATE TABLE child (LIKE parent) INHERITS (parent);
		INSERT INTO parent VALUES (1, 'l', 'view', '2024-01-01'); INSERT INTO child VALUES (1, 'l', 'view', '2024-01-01')`, rows))
	args := []string{"--as", "events", "--map", "occurredAt=at"}
	for _, c := range []struct{ table, args, err string }{
		{"uses", "--ignore part,loose --row-key id", "several rows have the same id=1000, which is to tell rows apart"},
		{"uses", "--ignore part,loose --row-key id,part", `a row holds nothing in "part", which is to tell rows apart`},
		{"uses", "--ignore part,id --row-key loose", `a row holds nothing in "loose"`},
		{"parent", "", "several rows have the same id=1,"},
	} {
		b := newBooks()
		_, _, err := h.backfill(b, c.table, append(args, strings.Fields(c.args)...)...)
		if err == nil || !strings.Contains(err.Error(), c.err) || b.requests > 0 {
			t.Errorf("%s %s: %v after %d requests, want %q", c.table, c.args, err, b.requests, c.err)
		}
	}
	// Only the days that are asked for are looked through; there, they are told apart.
	b := newBooks()
	if r, _, err := h.backfill(b, "uses", append(args, "--ignore", "loose", "--row-key", "id,part", "--until", "2024-01-02")...); err != nil || r.New != 2000 || len(b.events) != 2000 {
		t.Errorf("%+v, %v", r, err)
	}
	h.exec(`UPDATE uses SET part = 0 WHERE part IS NULL`)
	if r, _, err := h.backfill(b, "uses", append(args, "--ignore", "loose", "--row-key", "id,part")...); err != nil || r.Rows != rows+2 || len(b.events) != rows+2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Databases that have tables of the same name, and number their rows alike, are
// told apart by --source: in keys, in totals and in checkpoints.
func TestBackfillTableSources(t *testing.T) {
	t.Parallel()
	north, south := newHost(t), newHost(t)
	south.dir = north.dir
	for _, h := range []*host{north, south} {
		h.exec(`CREATE TABLE events (id int PRIMARY KEY, license_id text, usage_type text, occurred_at timestamptz);
			INSERT INTO events SELECT n, 'l', 'view', '2024-01-01T00:00:00Z' FROM generate_series(1, 3) n;
			CREATE TABLE daily_metrics (id int PRIMARY KEY, license_id text, usage_type text, date date, quantity int);
			INSERT INTO daily_metrics VALUES (1, 'l', 'view', '2024-01-01', 3)`)
	}
	b := newBooks()
	for _, h := range []*host{north, south} {
		args := []string{"--source", map[*host]string{north: "north", south: "south"}[h]}
		if r, _, err := h.backfill(b, "events", args...); err != nil || r.New != 3 {
			t.Errorf("%v: %+v, %v", args, r, err)
		}
		if r, _, err := h.backfill(b, "events", args...); err != nil || r.Duplicates != 3 {
			t.Errorf("%v again: %+v, %v", args, r, err)
		}
		if _, _, err := h.backfill(b, "daily_metrics", args...); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"backfill:north/public.events:1", "backfill:south/public.events:3"} {
		if _, ok := b.events[key]; !ok {
			t.Errorf("there is no %s in %v", key, b.events)
		}
	}
	for _, d := range b.totals {
		if d.Source != "table public.daily_metrics of south" {
			t.Errorf("%+v", d)
		}
	}
}

// Long rows are read in small pages, and one that is longer than any event ends
// the backfill before it fills the memory.
func TestBackfillTableLongRows(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const rows, long = 120, 300_000 // more than a page may keep
	h.exec(fmt.Sprintf(`CREATE TABLE events (id int PRIMARY KEY, license_id text, usage_type text, occurred_at timestamptz, metadata text, note text);
		INSERT INTO events SELECT n, 'l', 'view', '2024-01-01T00:00:00Z', '{}', repeat('x', CASE WHEN n %% 3 = 0 THEN 5 ELSE %d END) FROM generate_series(1, %d) n`, long, rows))
	args := []string{"--map", "referrer=note"} // refused for its length, where it is long
	b := newBooks()
	r, _, err := h.backfill(b, "events", args...)
	if err == nil || r.Rows != rows || r.New != rows/3 || len(r.Refused) != 1 || r.Refused[0].Count != rows*2/3 {
		t.Errorf("%+v, %v", r, err)
	}
	h.exec(`UPDATE events SET note = repeat('x', 2000000) WHERE id = 90`)
	if r, _, err = h.backfill(newBooks(), "events", args...); err == nil || !strings.Contains(err.Error(), "a row holds 20") || !strings.Contains(err.Error(), "leave columns out with --ignore") {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _, err = h.backfill(newBooks(), "events", "--ignore", "note"); err != nil || r.New != rows {
		t.Errorf("%+v, %v", r, err)
	}
}
