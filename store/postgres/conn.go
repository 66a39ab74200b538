package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usance/usance"
)

// conn is a connection while a transaction is under way on it.
type conn struct {
	*pgx.Conn
	of     *Store
	pooled *pgxpool.Conn
	open   bool
	// err is the first failure of a statement, after which PostgreSQL carries
	// out none until the transaction ends.
	err error
	// reading is the query whose rows are being read. One connection answers
	// one query at a time: before another one, the rest of its rows is fetched.
	reading *rows
}

// take waits for a connection.
func (s *Store) take(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.closed.Load() {
		return nil, errClosed()
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		if s.closed.Load() {
			return nil, errClosed()
		}
		return nil, failure(ctx, err)
	}
	return &conn{Conn: c.Conn(), of: s, pooled: c}, nil
}

func errClosed() error {
	return usance.NewError(usance.CodeUnavailable, "the store is closed")
}

// begin begins a transaction and carries out the first statements, which take
// locks, in one message. Its text is made of constants, numbers and, behind a
// pooler, the settings of the URLs, which are quoted: nothing of it was sent by
// a caller. Whoever waits for a lock or for a pooler's session may leave. To
// begin alone is answered at once otherwise, and is not broken off, since that
// would cost the connection. wasBroken says that it was before it was asked.
func (c *conn) begin(ctx context.Context, how, first string) (wasBroken bool, err error) {
	if first == "" && !c.of.pooled {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), finishing)
		defer cancel()
	}
	c.open = true
	start := time.Now()
	err = c.fail(ctx, c.PgConn().Exec(ctx, how+first).Close())
	return err != nil && c.IsClosed() && time.Since(start) < stale, err
}

// commit runs to its end whatever becomes of the caller: a commit that is
// broken off would leave open whether it happened.
func (c *conn) commit() error {
	ctx, cancel := context.WithTimeout(context.Background(), finishing)
	defer cancel()
	tag, err := c.Exec(ctx, "COMMIT")
	if err != nil {
		var e *pgconn.PgError
		if errors.As(err, &e) {
			return failure(ctx, err)
		}
		return unavailable(err, "the database went away during the commit, so that nobody knows whether it happened; send the same again, with the same keys")
	}
	c.open = false
	if tag.String() != "COMMIT" {
		return errors.New("postgres: the transaction was rolled back")
	}
	return nil
}

// end rolls back what is left of a transaction and gives the connection back;
// the pool throws away one that is not fit for another transaction.
func (c *conn) end() {
	if c.open && !c.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), finishing)
		defer cancel()
		_, _ = c.Exec(ctx, "ROLLBACK") // else the pool sees that the transaction is open
	}
	c.pooled.Release()
}

// fail notes the first failure of a statement.
func (c *conn) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var e *pgconn.PgError
	if c.IsClosed() && ctx.Err() == nil && !errors.As(err, &e) {
		err = unavailable(err, "the connection to the database broke; try again")
	}
	err = failure(ctx, err)
	if c.err == nil {
		c.err = err
	}
	return err
}

// ready tells whether a statement may be sent.
func (c *conn) ready(ctx context.Context) error {
	if c.err != nil {
		return c.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.reading != nil {
		return c.fail(ctx, c.reading.fetchRest())
	}
	return nil
}

// rows are the rows of a query, those that were fetched ahead and those to come.
type rows struct {
	pgx.Rows
	c       *conn
	fields  []pgconn.FieldDescription
	ahead   [][][]byte
	current [][]byte // of a row that was fetched ahead
}

// fetchRest keeps the rows to come in memory, so that the connection is free.
func (r *rows) fetchRest() error {
	r.c.reading = nil
	r.fields = r.FieldDescriptions()
	for r.Rows.Next() {
		values := make([][]byte, 0, len(r.fields))
		for _, v := range r.Rows.RawValues() {
			values = append(values, append([]byte(nil), v...))
			if v == nil {
				values[len(values)-1] = nil
			}
		}
		r.ahead = append(r.ahead, values)
	}
	return r.Err()
}

// Next goes to the next row.
func (r *rows) Next() bool {
	if r.c.reading == r {
		return r.Rows.Next()
	}
	if len(r.ahead) == 0 {
		return false
	}
	r.current, r.ahead = r.ahead[0], r.ahead[1:]
	return true
}

// Scan reads the row into dest.
func (r *rows) Scan(dest ...any) error {
	if r.current == nil {
		return r.Rows.Scan(dest...)
	}
	return pgx.ScanRow(r.c.TypeMap(), r.fields, r.current, dest...)
}

// Try is Scan, of which a failure leaves the rows that follow to be read.
func (r *rows) Try(dest ...any) error {
	if r.current == nil {
		return pgx.ScanRow(r.c.TypeMap(), r.FieldDescriptions(), r.Rows.RawValues(), dest...)
	}
	return r.Scan(dest...)
}

// RawValues gives the row's columns in binary, until Next.
func (r *rows) RawValues() [][]byte {
	if r.current == nil {
		return r.Rows.RawValues()
	}
	return r.current
}

// view reads within one transaction.
type view struct{ c *conn }

var _ usance.View = (*view)(nil)

// each gives the rows of a query to scan, one after the other. scan may ask
// further queries.
func (v *view) each(ctx context.Context, query string, args []any, scan func(*rows) error) error {
	if err := v.c.ready(ctx); err != nil {
		return err
	}
	outer, err := v.c.Query(ctx, query, args...)
	if err != nil {
		return v.c.fail(ctx, err)
	}
	defer outer.Close()
	r := &rows{Rows: outer, c: v.c}
	v.c.reading = r
	defer func() {
		if v.c.reading == r {
			v.c.reading = nil
		}
	}()
	for r.Next() {
		if err := scan(r); err != nil {
			return err
		}
	}
	return v.c.fail(ctx, r.Err())
}

// one scans the first row of a query and tells whether there was any.
func (v *view) one(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	found := false
	err := v.each(ctx, query, args, func(r *rows) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(dest...)
	})
	return found, err
}

// tx reads and writes within one transaction.
type tx struct {
	view
	// taken are the batches whose pending rows this transaction deleted.
	taken map[usance.ID]bool
	facts *keptFacts
	// wroteFacts says that it changed some, which others' stamps do not tell.
	wroteFacts bool
	// keysChanged says that it changed an API key.
	keysChanged bool
	// takenAt are, on Citus, the shards on which it did.
	takenAt map[takenPart]bool
	// received is how many events it added, by UTC day of their receipt.
	received map[usance.Date]int64
	// receivedOn is, on Citus, the key of the shard on which it counts them all.
	receivedOn string
}

var _ usance.Tx = (*tx)(nil)

// exec runs one write.
func (t *tx) exec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	if err := t.c.ready(ctx); err != nil {
		return 0, err
	}
	tag, err := t.c.Exec(ctx, query, args...)
	return tag.RowsAffected(), t.c.fail(ctx, err)
}

// execEach runs one write for each row, in order, without waiting in between:
// for rows that are few and wide.
func (t *tx) execEach(ctx context.Context, query string, n int, args func(i int) ([]any, error)) error {
	return t.execStatements(ctx, n, func(i int) (string, []any, error) {
		a, err := args(i)
		return query, a, err
	})
}

// execStatements runs so many writes, in order, without waiting in between.
func (t *tx) execStatements(ctx context.Context, n int, statement func(i int) (query string, args []any, err error)) error {
	if n == 0 {
		return nil
	}
	if err := t.c.ready(ctx); err != nil {
		return err
	}
	var b pgx.Batch
	for i := range n {
		query, args, err := statement(i)
		if err != nil {
			return t.c.fail(ctx, err)
		}
		b.Queue(query, args...)
	}
	return t.c.fail(ctx, t.c.SendBatch(ctx, &b).Close())
}

// errNoRow is a fault of the caller: it rewrites what it did not make sure of.
var errNoRow = errors.New("postgres: rows to be rewritten are not there")

func unavailable(cause error, format string, args ...any) error {
	return usance.WrapError(cause, usance.CodeUnavailable, format, args...)
}

// Classes and codes of PostgreSQL's errors.
const (
	uniqueViolation  = "23505"
	serialization    = "40001"
	deadlock         = "40P01"
	lockNotAvailable = "55P03"
	queryCanceled    = "57014"
	internalError    = "XX000"
)

// waitedInVain is what PgBouncer says to whom it gave no session, under a code
// that it has for much else.
const waitedInVain = "query_wait_timeout"

// failure turns what the driver says into what the program says: a database
// that cannot be reached and the like are UNAVAILABLE, the rest is a fault of
// ours. Whoever stopped waiting is told just that. Errors that are no driver's
// pass as they are.
func failure(ctx context.Context, err error) error {
	var own *usance.Error
	if err == nil || errors.As(err, &own) || errors.Is(err, usance.ErrKeyExists) {
		return err
	}
	if gone := ctx.Err(); gone != nil {
		return fmt.Errorf("%w: %w", gone, err)
	}
	var e *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &connect):
		return unavailable(err, "the database cannot be reached; check DATABASE_URL and that PostgreSQL runs")
	default:
		return fmt.Errorf("postgres: %w", err)
	}
	switch {
	case e.Code == lockNotAvailable:
		return unavailable(err, "others held what the transaction needs for too long; try again")
	case e.Code == queryCanceled:
		return unavailable(err, "the database took too long; try again")
	case strings.HasPrefix(e.Code, "53"): // too many connections, disk full
		return unavailable(err, "the database has no room: %s", e.Message)
	case e.Message == waitedInVain:
		return unavailable(err, "the pooler had no connection to the database free for too long; try again")
	case strings.HasPrefix(e.Code, "57P"), strings.HasPrefix(e.Code, "08"): // shutting down, or not up yet
		return unavailable(err, "the database is not up; try again")
	case strings.HasPrefix(e.Code, "28"):
		return unavailable(err, "the database refuses the user of DATABASE_URL: %s", e.Message)
	case e.Code == "3D000":
		return unavailable(err, "there is no such database; create it or put DATABASE_URL right")
	case e.Code == "25006":
		return unavailable(err, "the database is read only; DATABASE_URL must name the primary")
	case e.Code == "22021", e.Code == "22P05":
		return usance.WrapError(err, usance.CodeValidation, "a text holds a NUL character, which cannot be stored")
	}
	return fmt.Errorf("postgres: %w", err)
}

// isConflict tells of a transaction that met another one.
func isConflict(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == serialization || e.Code == deadlock)
}

// isKey tells whether the error says that an event's key exists.
func (v *view) isKey(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	const key = "license_usage_events_pkey"
	if v.c.of.shards != nil && e.Code == internalError {
		return strings.Contains(e.Message, `"`+key+"_") // of a COPY, Citus names the shard's own key in the message alone
	}
	return e.Code == uniqueViolation && e.ConstraintName == key
}
