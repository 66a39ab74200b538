package e2e_test

import (
	"context"
	"database/sql"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // totals are read by SQL too, as an operator does

	"github.com/usance/usance/redis/redistest"
	"github.com/usance/usance/store/postgres/pgtest"
)

// database is where the processes of a server keep their data.
type database struct {
	dir string         // the data folder, of SQLite
	url string         // of PostgreSQL
	pg  *pgtest.Server // of the test's own; nil for SQLite, and for a server that is named

	pooler *pgtest.Bouncer   // in front of it; nil for none
	redis  *redistest.Server // beside it; nil for none
}

// settings are those that name it, and the key.
func (d database) settings() []string {
	return []string{"USANCE_DATA_DIR=" + d.dir, "DATABASE_URL=" + d.url, "USANCE_ADMIN_KEY=" + adminKey}
}

// open opens the database beside the program; a SQLite file only to read unless
// no process has it open.
func (d database) open(t *testing.T, mode string) *sql.DB {
	t.Helper()
	driver, source := "pgx", d.url
	if d.url == "" {
		driver, source = "sqlite", "file:"+filepath.Join(d.dir, "usance.db")+"?mode="+mode+"&_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// exec changes the database behind the program's back: the statement of its kind.
func (s *server) exec(sqlite, postgres string, args ...any) {
	s.t.Helper()
	statement := sqlite
	if s.pg != nil {
		statement = postgres
	}
	db := s.open(s.t, "rw")
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statement, args...); err != nil {
		s.t.Fatal(err)
	}
}

// query reads the database of a server that does not run.
func (s *server) query(query string, scan func(*sql.Rows) error) {
	s.t.Helper()
	db := s.open(s.t, "ro")
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
}

// age lets time pass for what was received before the first event of the local
// day named, unless it did before, and for the leases of jobs: for all that was
// received up to there, so that the order of receipt stays.
func (s *server) age(until string, by time.Duration) {
	s.t.Helper()
	if s.pg != nil {
		s.exec("", `UPDATE license_usage_events SET received_at = received_at - $1::bigint * interval '1 second'
			WHERE received_at > now() - interval '24 hours' AND batch_id <
				coalesce((SELECT batch_id FROM license_usage_events WHERE local_date >= $2::date ORDER BY batch_id LIMIT 1), 'ffffffff-ffff-ffff-ffff-ffffffffffff')`,
			int64(by.Seconds()), until)
		// What is pending may be among it, and is looked for from its first receipt on.
		s.exec("", `UPDATE pending_batches SET first_received = first_received - $1::bigint * interval '1 second'`, int64(by.Seconds()))
	} else {
		s.exec(`UPDATE license_usage_events SET received_at = received_at - ?1 WHERE received_at > ?2 AND seq <
			coalesce((SELECT min(seq) FROM license_usage_events WHERE local_date >= ?3), 0)`, "",
			by.Microseconds(), time.Now().Add(-24*time.Hour).UnixMicro(), epochDay(s.t, until))
	}
	s.exec(`UPDATE jobs SET lease_until = lease_until - 120000000 WHERE lease_until IS NOT NULL`,
		`UPDATE jobs SET lease_until = lease_until - interval '2 minutes' WHERE lease_until IS NOT NULL`)
}

func epochDay(t *testing.T, date string) int64 {
	t.Helper()
	d, err := time.Parse(time.DateOnly, date)
	if err != nil {
		t.Fatal(err)
	}
	return d.Unix() / 86_400
}

// backup copies the database while the server runs, as its operators do, and
// gives the copy.
func (s *server) backup() database {
	s.t.Helper()
	copied := database{dir: s.t.TempDir(), pg: s.pg}
	if s.pg == nil {
		s.command("backup", filepath.Join(copied.dir, "usance.db"))
		return copied
	}
	dump := filepath.Join(copied.dir, "dump")
	s.tool("pg_dump", "--dbname", s.url, "--format", "custom", "--file", dump)
	var err error
	if copied.url, err = s.pg.Database(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	s.tool("pg_restore", "--dbname", copied.url, "--no-owner", "--exit-on-error", dump)
	return copied
}

// tool runs a program of PostgreSQL's.
func (s *server) tool(name string, args ...string) {
	s.t.Helper()
	path, err := pgtest.Tool(name)
	if err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
