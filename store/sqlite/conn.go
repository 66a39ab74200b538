package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/usance/usance"
)

// conn is one connection with the statements prepared on it.
type conn struct {
	c      *sql.Conn
	cached map[string]*sql.Stmt // those that nobody uses
	open   bool                 // a transaction is under way
	cache  *cache               // of the connection that writes
	lazy   bool                 // commits do not wait for the disk
	always string               // how commits wait for it otherwise
	unfit  bool                 // its settings are not what they should be
}

// maxCached bounds the statements kept; there are about as many texts in the
// source, filters of listings in all their combinations aside.
const maxCached = 300

func (s *Store) connect(ctx context.Context, cache string) (*conn, error) {
	if err := s.look(ctx); err != nil { // SQLite would open, or make, another
		return nil, err
	}
	c, err := s.db.Conn(ctx)
	if err != nil {
		return nil, failure(err)
	}
	if _, err := c.ExecContext(ctx, cache); err != nil {
		c.Close()
		return nil, failure(err)
	}
	return &conn{c: c, cached: make(map[string]*sql.Stmt), cache: newCache(), always: s.synchronous}, nil
}

func (c *conn) close() error {
	for _, s := range c.cached {
		s.Close()
	}
	return c.c.Close()
}

// statement takes the prepared statement out of the cache, so that one in use
// by a row that is still being read is never run again underneath.
func (c *conn) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := c.cached[query]; ok {
		delete(c.cached, query)
		return s, nil
	}
	s, err := c.c.PrepareContext(ctx, query)
	if err != nil {
		return nil, failure(err)
	}
	return s, nil
}

func (c *conn) putBack(query string, s *sql.Stmt) {
	if _, twice := c.cached[query]; twice || len(c.cached) >= maxCached {
		s.Close()
		return
	}
	c.cached[query] = s
}

// begin is not broken off midway: the driver would say that ctx ended though
// the transaction had begun, and the connection would go back with it open.
func (c *conn) begin(ctx context.Context, how string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := c.c.ExecContext(context.WithoutCancel(ctx), how); err != nil {
		return failure(err)
	}
	c.open = true
	return nil
}

// sync has the commits of the transactions to come wait for the disk, or not.
// With synchronous=NORMAL the log is not synced at a commit, but still before
// its pages go into the file: a power cut undoes the last commits, in order.
func (c *conn) sync(ctx context.Context, lazy bool) error {
	if lazy == c.lazy || c.always != "FULL" {
		return nil
	}
	how := "FULL"
	if lazy {
		how = "NORMAL"
	}
	if _, err := c.c.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = "+how); err != nil {
		return failure(err)
	}
	c.lazy = lazy
	return nil
}

// commit runs to its end whatever becomes of the caller: a commit that is
// broken off would leave open whether it happened.
func (c *conn) commit() error {
	if _, err := c.c.ExecContext(context.Background(), "COMMIT"); err != nil {
		return failure(err)
	}
	c.open = false
	return nil
}

// rollback ends a transaction that was not committed and tells whether the
// connection is fit for another.
func (c *conn) rollback() bool {
	if !c.open || c.unfit {
		return !c.unfit
	}
	c.open = false
	_, err := c.c.ExecContext(context.Background(), "ROLLBACK")
	// SQLite itself rolls back on a full disk and the like.
	return err == nil || strings.Contains(err.Error(), "no transaction is active")
}

// view reads within one transaction.
type view struct{ c *conn }

var _ usance.View = (*view)(nil)

// each gives the rows of a query to scan, one after the other.
func (v *view) each(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	s, err := v.c.statement(ctx, query)
	if err != nil {
		return err
	}
	defer v.c.putBack(query, s)
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return failure(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return failure(rows.Err())
}

// one scans the first row of a query and tells whether there was any.
func (v *view) one(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	found := false
	err := v.each(ctx, query, args, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(dest...)
	})
	return found, err
}

// tx reads and writes within one transaction.
type tx struct {
	view
	// err is the first failure of a write. SQLite may have rolled back by
	// itself then, so that nothing further may be written.
	err error
	// taken are the batches whose pending rows this transaction deleted.
	taken map[usance.ID][]seqRange
	// What the transaction changed of that which the connection's cache knows.
	changed     map[string]bool
	moved       []usance.CounterKey
	ensured     []usance.RollupKey
	keysChanged bool
}

var _ usance.Tx = (*tx)(nil)

// exec runs one write. An interrupted write rolls the whole transaction back
// behind its back, so writes are not interrupted: ctx is looked at before.
func (t *tx) exec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	err = t.writing(ctx, query, func(ctx context.Context, s *sql.Stmt) error {
		res, err := s.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		affected, err = res.RowsAffected()
		return err
	})
	return affected, err
}

// writing runs fn with the prepared statement; an error of it is the
// transaction's end.
func (t *tx) writing(ctx context.Context, query string, fn func(context.Context, *sql.Stmt) error) error {
	if t.err != nil {
		return t.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	s, err := t.c.statement(ctx, query)
	if err != nil {
		return t.fail(err)
	}
	defer t.c.putBack(query, s)
	return t.fail(failure(fn(ctx, s)))
}

// returning runs one write that answers at most one row.
func (t *tx) returning(ctx context.Context, s *sql.Stmt, args []any, dest ...any) (found bool, err error) {
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		found = true
		if err := rows.Scan(dest...); err != nil {
			return false, err
		}
	}
	return found, rows.Err()
}

func (t *tx) fail(err error) error {
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

// failure turns what the driver says into what the program says: a full disk
// and the like are UNAVAILABLE, the rest is a fault of ours. Errors that are
// no driver's pass as they are.
func failure(err error) error {
	var e *sqlite.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return unavailable(err, "the disk of the database file is full; free some space and try again")
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
		return unavailable(err, "the database file cannot be written; check its permissions")
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return unavailable(err, "the database file is damaged or no SQLite database; restore it from a backup")
	case lib.SQLITE_IOERR:
		return unavailable(err, "the database file cannot be read or written")
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return unavailable(err, "another program holds the database file; try again")
	}
	return fmt.Errorf("sqlite: %w", err)
}

// errNoRow is a fault of the caller: it rewrites what it did not make sure of.
var errNoRow = errors.New("sqlite: a row to be rewritten is not there")

func unavailable(cause error, format string, args ...any) error {
	return usance.WrapError(cause, usance.CodeUnavailable, format, args...)
}

// others is how long other programs have held the file, as far as it was asked for.
type others struct {
	mu          sync.Mutex
	since, last time.Time // since is zero while they do not
}

// met notes whether they held it from when it was asked for on.
func (o *others) met(held bool, asked time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !held:
		o.since = time.Time{}
	case o.since.IsZero() || asked.Sub(o.last) > heldAnew:
		o.since = asked
	}
	o.last = time.Now()
}

// tooLong tells whether it was waited for long enough.
func (o *others) tooLong() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	return !o.since.IsZero() && now.Sub(o.last) <= heldAnew && now.Sub(o.since) >= maxHeld
}

func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == lib.SQLITE_BUSY || e.Code()&0xff == lib.SQLITE_LOCKED)
}

func isUnique(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE
}
