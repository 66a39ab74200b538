package main

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/move"
	"github.com/usance/usance/store/postgres/pgtest"
)

// A SQLite store that holds something of everything is carried over whole: a
// move that is cut goes on where it was, no server starts in between, and what
// comes out of PostgreSQL is what came out of SQLite.
func TestMove(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes 60 days of usage")
	}
	dir, url := t.TempDir(), pgtest.EmptyURL(t)
	path := filepath.Join(dir, "usance.db")
	c, err := loadConfig([]string{"USANCE_DATA_DIR=" + dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	clock := &demoClock{t: now}
	s, err := newServer(t.Context(), c, slog.New(slog.DiscardHandler), clock.now, opening{volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := makeDemo(t.Context(), s, clock, now, 60); err != nil {
		t.Fatal(err)
	}
	first, err := s.ingest.Track(t.Context(), ingest.Request{Events: []usance.Event{{LicenseID: "lic_123", UsageType: "view", Quantity: 3, IdempotencyKey: "before the move"}}})
	if err != nil || !first[0].Tracked {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	at := func(environ []string, args ...string) (int, string) {
		t.Helper()
		var b bytes.Buffer
		code := run(context.Background(), args, append(environ, "USANCE_LOG_LEVEL=error"), strings.NewReader(""), &b, &b)
		return code, b.String()
	}
	old, moved := []string{"USANCE_DATA_DIR=" + dir}, []string{"DATABASE_URL=" + url, "USANCE_ADMIN_KEY=" + scriptKey}

	// Cut after some rows, twice: nothing is carried twice.
	var carried int64
	for range 2 {
		ctx, cut := context.WithCancel(t.Context())
		steps := 0
		report, err := move.Run(ctx, move.Options{From: path, To: url, Progress: func(move.Step) {
			if steps++; steps == 8 {
				cut()
			}
		}})
		cut()
		if err == nil || report.Carried == 0 {
			t.Fatalf("a move that was cut answers %+v, %v", report, err)
		}
		carried += report.Carried
	}
	if code, out := at(moved, "keys", "list"); code != exitFault || !strings.Contains(out, "a move into the database has begun and not ended") {
		t.Errorf("half moved: exit %d: %s", code, out)
	}
	report, err := move.Run(t.Context(), move.Options{From: path, To: url})
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows != carried+report.Carried || report.Rows < 20_000 {
		t.Errorf("%+v, and %d rows before", report, carried)
	}
	t.Logf("%+v, and %d rows before", report, carried)

	for _, args := range [][]string{{"export", "--daily"}, {"keys", "list"}, {"jobs", "list"}} {
		code, want := at(old, args...)
		again, got := at(moved, args...)
		if code != exitOK || again != exitOK {
			t.Fatalf("%v: exit %d and %d: %s", args, code, again, got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-SQLite +PostgreSQL)\n%.2000s", args, diff)
		}
	}
	if code, out := at(moved, "verify", "--deep", "--only", "books"); code != exitOK {
		t.Errorf("exit %d: %s", code, out)
	}
	// What was counted before counts no second time.
	node := startNode(t, url, "USANCE_LOG_LEVEL=warn")
	await(t, node.isReady)
	var again usance.Result
	node.must("POST", "/v1/events", `{"licenseId":"lic_123","usageType":"view","quantity":3,"idempotencyKey":"before the move"}`, &again)
	if !again.Duplicate || again.EventID != first[0].EventID {
		t.Errorf("sent again after the move: %+v, first %+v", again, first[0])
	}

	// A database with data is left alone, and a store that changed is noticed.
	if code, out := at(old, "move", "--to", url); code != exitFault || !strings.Contains(out, "holds data already") {
		t.Errorf("once more: exit %d: %s", code, out)
	}
	second := pgtest.EmptyURL(t)
	ctx, cut := context.WithCancel(t.Context())
	if _, err := move.Run(ctx, move.Options{From: path, To: second, Progress: func(s move.Step) {
		if s.Table == "brands" && !s.Verified { // the first table is over
			cut()
		}
	}}); err == nil {
		t.Fatal("the move was not cut")
	}
	// One that went on and fails at once has not moved nothing: the one before did.
	bend(t, path, `ALTER TABLE brands ADD COLUMN colour TEXT`)
	if code, out := at(old, "move", "--to", second); code != exitFault || !strings.Contains(out, "the move has not ended (0 rows were carried over now)") ||
		!strings.Contains(out, "brands.colour") || strings.Contains(out, "nothing was moved") {
		t.Errorf("goes on in vain: exit %d: %s", code, out)
	}
	bend(t, path, `ALTER TABLE brands DROP COLUMN colour`)
	bend(t, path, `UPDATE brands SET name = 'another'`)
	// The row is named, and what differs; not what it holds, which may be a secret.
	if code, out := at(old, "move", "--to", second); code != exitFault || !strings.Contains(out, "comparing brands: CONFLICT: the row of id ") ||
		!strings.Contains(out, " differs in name: ") || strings.Contains(out, "another") || !strings.Contains(out, "--anew") {
		t.Errorf("changed meanwhile: exit %d: %s", code, out)
	}
	// What somebody else keeps in the schema is left alone, goose's own table too.
	o := newOperator(t, second)
	o.run(`CREATE TABLE goose_db_version (id int); INSERT INTO goose_db_version VALUES (7); CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)`)
	if code, out := at(old, "move", "--to", second, "--anew"); code != exitOK || !strings.Contains(out, "each compared with") {
		t.Errorf("anew: exit %d: %s", code, out)
	}
	o.answers(`SELECT id FROM goose_db_version`, "7")
	o.answers(`SELECT id FROM notes`, "1")
	// Every table of PostgreSQL's was among those moved, but for what says nothing of the store.
	o.answers(`SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN
		('goose_db_version', 'notes', 'usance_schema_versions', 'api_keys_version', 'pending_batches')`, strconv.Itoa(report.Tables))
}

// A move begins only where everything has a place and nothing is mixed up.
func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	dir, url := t.TempDir(), pgtest.EmptyURL(t)
	var b bytes.Buffer
	try := func(environ []string, args ...string) (int, string) {
		b.Reset()
		code := run(context.Background(), args, append(environ, "USANCE_LOG_LEVEL=error"), strings.NewReader(""), &b, &b)
		return code, b.String()
	}
	environ := []string{"USANCE_DATA_DIR=" + dir}
	for _, c := range []struct {
		environ []string
		to      string
		says    string
	}{
		{environ, url, "there is no database at"},
		{environ, "mysql://u:hunter2@x/y", "--to must be postgres://"},
		{environ, "postgres://u:hunter2@x:many/y", "--to cannot be read as a PostgreSQL URL"},
		{[]string{"DATABASE_URL=" + url}, url, "which must be SQLite"},
	} {
		if code, out := try(c.environ, "move", "--to", c.to); code != exitFault || !strings.Contains(out, c.says) || strings.Contains(out, "hunter2") {
			t.Errorf("%s: exit %d: %s", c.to, code, out)
		}
	}
	if code, out := try(environ, "migrate", "up"); code != exitOK {
		t.Fatal(out)
	}
	if code, out := try(environ, "move", "--to", "postgres://u:hunter2@127.0.0.1:1/y"); code != exitFault || !strings.Contains(out, "cannot be reached") || strings.Contains(out, "hunter2") {
		t.Errorf("exit %d: %s", code, out)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "usance.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`ALTER TABLE brands ADD COLUMN colour TEXT`); err != nil {
		t.Fatal(err)
	}
	if code, out := try(environ, "move", "--to", url); code != exitFault || !strings.Contains(out, "the column brands.colour of the SQLite store has no place") || !strings.Contains(out, "nothing was moved") {
		t.Errorf("exit %d: %s", code, out)
	}
	newOperator(t, url).answers(`SELECT count(*) FROM pg_class WHERE relname = 'usance_move'`, "0")
	if _, err := db.Exec(`ALTER TABLE brands DROP COLUMN colour`); err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, pgtest.EmptyURL(t))
	o.run(hostTable)
	host := o.conn.Config().ConnString()
	if code, out := try(environ, "move", "--to", host); code != exitFault || !strings.Contains(out, "is a host platform's") || !strings.Contains(out, "nothing was moved") {
		t.Errorf("exit %d: %s", code, out)
	}
	o.answers(`SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`, "licenses") // it is left as it was
	// Into a schema that others share, with names that do not clash.
	newOperator(t, url).run(`CREATE TABLE goose_db_version (id int); INSERT INTO goose_db_version VALUES (7); CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)`)
	if code, out := try(environ, "move", "--to", url); code != exitOK {
		t.Errorf("exit %d: %s", code, out)
	}
}

// The password need not stand on the command line: what psql reads is read.
func TestMoveReadsThePasswordAsPsqlDoes(t *testing.T) {
	server := pgtest.Start(t)
	to, err := server.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, to)
	o.run(`CREATE ROLE mover LOGIN SUPERUSER PASSWORD 's3cret'`)
	folder := o.conn.Config().Host // of the socket
	rules := "local all mover scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(folder, "data", "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	o.run(`SELECT pg_reload_conf()`)
	to = strings.Replace(to, "//usance@", "//mover@", 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "pgpass")
	if err := os.WriteFile(file, []byte("localhost:*:*:mover:s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try := func(args ...string) (int, string) {
		t.Helper()
		var b bytes.Buffer
		code := run(context.Background(), args, []string{"USANCE_DATA_DIR=" + dir, "USANCE_LOG_LEVEL=error"}, strings.NewReader(""), &b, &b)
		return code, b.String()
	}
	if code, out := try("migrate", "up"); code != exitOK {
		t.Fatal(out)
	}
	t.Setenv("PGPASSFILE", filepath.Join(dir, "none"))
	await(t, func() bool { // the rules hold soon
		c, err := pgx.Connect(t.Context(), to)
		if err == nil {
			c.Close(t.Context())
		}
		return err != nil
	})
	if code, out := try("move", "--to", to); code != exitFault || !strings.Contains(out, "refuses the user") {
		t.Errorf("without a password: exit %d: %s", code, out)
	}
	t.Setenv("PGPASSWORD", "wrong")
	if code, out := try("move", "--to", to); code != exitFault || !strings.Contains(out, "refuses the user") {
		t.Errorf("with a wrong password: exit %d: %s", code, out)
	}
	t.Setenv("PGPASSWORD", "")
	t.Setenv("PGPASSFILE", file)
	if code, out := try("move", "--to", to); code != exitOK {
		t.Errorf("with the file: exit %d: %s", code, out)
	}
	o.run(`DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	t.Setenv("PGPASSFILE", filepath.Join(dir, "none"))
	t.Setenv("PGPASSWORD", "s3cret")
	if code, out := try("move", "--to", to); code != exitOK {
		t.Errorf("with the variable: exit %d: %s", code, out)
	}
}
