// Package move carries a SQLite store over to an empty PostgreSQL database: row
// by row as they are stored, in transactions that remember how far they came, and
// then compares every row of both.
//
// Both stores have the same tables and columns; how a value is written follows
// from its type in PostgreSQL. What differs is named in special.
package move

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/sqlite"
)

// Options are the settings of a move.
type Options struct {
	From string // path of the SQLite file, which nobody has open and in which nothing is pending
	To   string // URL of the PostgreSQL database
	// Anew throws away what an earlier move that did not end left in the database.
	Anew bool
	// Progress is told of each step, if set.
	Progress func(Step)
}

// Step is how far a table is.
type Step struct {
	Table    string
	Rows     int64 // of the table, so far
	Verified bool  // compared, else carried over
}

// Report is what a move came to.
type Report struct {
	Begun   bool  `json:"begun"` // the database is marked: no server starts on it until the move has ended
	Tables  int   `json:"tables"`
	Rows    int64 `json:"rows"`    // in all tables, each compared
	Carried int64 `json:"carried"` // by this run
}

// chunk is how many rows a transaction carries.
const chunk = 5000

// mover is a move under way.
type mover struct {
	o      Options
	from   *sql.DB
	to     *pgx.Conn
	report Report
}

// Run moves. A run that ends early leaves the database marked: no server starts
// on it, and the same move goes on where it was.
func Run(ctx context.Context, o Options) (report Report, err error) {
	held, err := sqlite.Open(ctx, o.From, sqlite.Options{CurrentSchema: true}) // for itself, until the end
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	var pending int64
	if err := held.View(ctx, func(v usance.View) error {
		status, err := v.Status(ctx)
		pending = status.PendingEvents
		return err
	}); err != nil {
		return report, err
	}
	if pending > 0 {
		return report, usance.NewError(usance.CodeConflict, "%d events wait to be folded; start and stop the server once", pending)
	}
	source, err := held.Secret(ctx, "session-hash") // tells one store from another
	if err != nil {
		return report, err
	}
	m := &mover{o: o}
	path := url.URL{Scheme: "file", OmitHost: true, Path: o.From, RawQuery: "mode=ro"}
	if m.from, err = sql.Open("sqlite", path.String()); err != nil {
		return report, err
	}
	defer m.from.Close()
	if m.to, err = postgres.Connect(ctx, o.To); err != nil {
		return report, err
	}
	defer m.to.Close(context.WithoutCancel(ctx))
	begun, err := m.mayBegin(ctx, source)
	if err != nil {
		return report, err
	}
	m.report.Begun = begun // by an earlier run
	made, err := postgres.Open(ctx, o.To, postgres.Options{Conns: 2, Moving: true})
	if err != nil {
		return m.report, err
	}
	if err := made.Close(); err != nil {
		return m.report, err
	}
	tables, err := m.tables(ctx)
	if err != nil {
		return m.report, err
	}
	if err := m.begin(ctx, source, begun); err != nil {
		return m.report, err
	}
	m.report.Begun = true
	for i := range tables {
		if err := m.carry(ctx, &tables[i]); err != nil {
			return m.report, fmt.Errorf("carrying %s over: %w", tables[i].name, err)
		}
	}
	for i := range tables {
		if err := m.compare(ctx, &tables[i]); err != nil {
			return m.report, fmt.Errorf("comparing %s: %w", tables[i].name, err)
		}
	}
	m.report.Tables = len(tables)
	return m.report, m.end(ctx)
}

// letsGo is how long PostgreSQL may take to notice that a move which was cut off
// has left.
const letsGo = 10 * time.Second

// alone makes this the one move into the database, until its connection ends.
func (m *mover) alone(ctx context.Context) error {
	for deadline := time.Now().Add(letsGo); ; {
		var alone bool
		if err := m.to.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtext('usance move'))`).Scan(&alone); err != nil || alone {
			return err
		}
		if time.Now().After(deadline) {
			return usance.NewError(usance.CodeConflict, "another move into the database is under way")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// mayBegin tells whether this very move has begun, and refuses what would mix the
// store with anything else. Nothing is changed yet: a database that is no place
// to move into is left as it is, without a schema.
func (m *mover) mayBegin(ctx context.Context, source []byte) (begun bool, err error) {
	if err := m.alone(ctx); err != nil {
		return false, err
	}
	var made, adopted bool
	// As the first migration decides it.
	if err := m.to.QueryRow(ctx, `SELECT made, CASE WHEN made THEN to_regclass('license_usage_terms') ELSE to_regclass('licenses') END IS NOT NULL,
		to_regclass('`+postgres.MoveTable+`') IS NOT NULL FROM (SELECT to_regclass('license_usage_versions') IS NOT NULL AS made) s`).Scan(&made, &adopted, &begun); err != nil {
		return false, err
	}
	if adopted {
		return false, usance.NewError(usance.CodeConflict, "the table licenses of the database is a host platform's, into which nothing is moved; move into a database or schema of its own")
	}
	if begun {
		if m.o.Anew { // whatever it was
			return true, nil
		}
		var same bool
		if err := m.to.QueryRow(ctx, `SELECT coalesce(bool_or(last = $1::bytea), FALSE) FROM `+postgres.MoveTable+` WHERE name = ''`, source).Scan(&same); err != nil {
			return false, err
		}
		if !same {
			return false, usance.NewError(usance.CodeConflict, "a move of another store into the database has begun; go on with that, or throw it away with --anew")
		}
		return true, nil
	}
	if !made {
		return false, nil
	}
	names, err := m.names(ctx)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		var some bool
		if err := m.to.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM `+quote(name)+`)`).Scan(&some); err != nil {
			return false, err
		}
		if some && name != "api_keys_version" {
			return false, usance.NewError(usance.CodeConflict, "the database holds data already (in %s); move into an empty one, or empty it with: usance migrate reset", name)
		}
	}
	return false, nil
}

// begin marks the database as being moved into, with the store that is; begun
// says that it is marked. A move that is made anew first throws away what the
// earlier one brought.
func (m *mover) begin(ctx context.Context, source []byte, begun bool) error {
	if begun && !m.o.Anew {
		return nil
	}
	tx, err := m.to.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to roll back after a commit
	if begun {
		names, err := m.names(ctx)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == "api_keys_version" })
		for i := range names {
			names[i] = quote(names[i])
		}
		if _, err := tx.Exec(ctx, `TRUNCATE `+strings.Join(names, ", ")); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DROP TABLE `+postgres.MoveTable); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE `+postgres.MoveTable+` (name text PRIMARY KEY, last bytea, rows bigint NOT NULL DEFAULT 0)`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO `+postgres.MoveTable+` (name, last) VALUES ('', $1)`, source); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// end takes the mark away: from then on servers may start.
func (m *mover) end(ctx context.Context) error {
	if _, err := m.to.Exec(ctx, `UPDATE api_keys_version SET version = version + 1`); err != nil {
		return err
	}
	if _, err := m.to.Exec(ctx, `ANALYZE`); err != nil {
		return err
	}
	_, err := m.to.Exec(ctx, `DROP TABLE `+postgres.MoveTable)
	return err
}

// carry copies a table's rows from where an earlier run came to.
func (m *mover) carry(ctx context.Context, t *table) error {
	var last []byte
	var rows int64
	err := m.to.QueryRow(ctx, `SELECT last, rows FROM `+postgres.MoveTable+` WHERE name = $1`, t.name).Scan(&last, &rows)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	var key []string
	if last != nil {
		if err := json.Unmarshal(last, &key); err != nil {
			return err
		}
	}
	for {
		batch, next, err := t.read(ctx, m.from, key)
		if err != nil || len(batch) == 0 {
			return err
		}
		key = next
		rows += int64(len(batch))
		if err := m.write(ctx, t, batch, key, rows); err != nil {
			return err
		}
		m.report.Carried += int64(len(batch))
		m.tell(Step{Table: t.name, Rows: rows})
	}
}

// write carries rows over and remembers the last, in one transaction.
func (m *mover) write(ctx context.Context, t *table, batch [][]any, key []string, rows int64) error {
	last, err := json.Marshal(key)
	if err != nil {
		return err
	}
	tx, err := m.to.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to roll back after a commit
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.names(), pgx.CopyFromRows(batch)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO `+postgres.MoveTable+` (name, last, rows) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET last = excluded.last, rows = excluded.rows`, t.name, last, rows); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// compare reads both tables in the order of their keys; each row must be the
// same. One that is not is named by its key, and by the columns that differ: what
// they hold may be a secret.
func (m *mover) compare(ctx context.Context, t *table) error {
	moved, err := m.to.Query(ctx, t.selectMoved())
	if err != nil {
		return err
	}
	defer moved.Close()
	var n int64
	differs := func(row []any, what string) error {
		return usance.NewError(usance.CodeConflict, "the row of %s %s: the store was changed since the move began, or the database was; move it --anew", t.describe(row), what)
	}
	var key []string
	for {
		batch, next, err := t.read(ctx, m.from, key)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			break
		}
		key = next
		for _, row := range batch {
			if !moved.Next() {
				return errors.Join(moved.Err(), differs(row, "is missing in PostgreSQL"))
			}
			values, err := moved.Values()
			if err != nil {
				return err
			}
			var columns []string
			for i, c := range t.columns {
				if plain(row[i], c.kind) != plain(values[i], c.kind) {
					columns = append(columns, c.name)
				}
			}
			if columns != nil {
				return differs(row, "differs in "+strings.Join(columns, ", "))
			}
			n++
		}
		m.tell(Step{Table: t.name, Rows: n, Verified: true})
	}
	if moved.Next() {
		values, err := moved.Values()
		if err != nil {
			return err
		}
		return differs(values, "is in PostgreSQL alone")
	}
	m.report.Rows += n
	return moved.Err()
}

func (m *mover) tell(s Step) {
	if m.o.Progress != nil {
		m.o.Progress(s)
	}
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// moment is when an event that is folded is said to have been in a batch: events
// of one millisecond share one, so that batches are in the order of receipt.
func moment(received time.Time) (id [16]byte) {
	ms := uint64(received.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[8], id[15] = 0x70, 0x80, 1 // a UUID of version 7
	return id
}
