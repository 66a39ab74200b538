package bench

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"

	"github.com/usance/usance"
)

// sqliteEngine writes rows of license_usage_events and nothing else, as fast as
// the embedded database takes them durably: one writer, the rows of a
// transaction made while the one before is written, sorted by their keys, and
// inserted by prepared statements of several rows. It decides nothing: no
// licence, limit, counter, rollup or answer.
type sqliteEngine struct {
	db        *sql.DB
	conn      *sql.Conn
	many, one *sql.Stmt
}

const rawColumns = 20

// rowsPerInsert was the fastest of 1 to 100, by little.
const rowsPerInsert = 10

// openSQLite opens a database that prepare made. It is durable as the product's
// is; the sizes of cache and log were the fastest that were tried.
func openSQLite(ctx context.Context, path string) (e *sqliteEngine, err error) {
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return nil, err
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(10000)", "cache_size(-65536)", "temp_store(MEMORY)"}}

	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	e = new(sqliteEngine)
	if e.db, err = sql.Open("sqlite", u.String()); err != nil {
		return nil, err
	}
	if e.conn, err = e.db.Conn(ctx); err != nil {
		return nil, errors.Join(err, e.db.Close())
	}
	values := "(" + strings.TrimSuffix(strings.Repeat("?,", rawColumns), ",") + ")"
	insert := `INSERT INTO license_usage_events (license_id, key, local_date, usage_type, quantity, revenue_cents,
		occurred_at, received_at, id, payload_hash, hour_slot, stamped, session_hash, void_of,
		platform, device_type, geographic_location, referrer, metadata, long_key) VALUES `
	if e.one, err = e.conn.PrepareContext(ctx, insert+values); err == nil {
		e.many, err = e.conn.PrepareContext(ctx, insert+strings.TrimSuffix(strings.Repeat(values+",", rowsPerInsert), ","))
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *sqliteEngine) close() error { return errors.Join(e.conn.Close(), e.db.Close()) }

func (e *sqliteEngine) write(ctx context.Context, src *source, rows, perCommit int) (took, cpu time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start, used := time.Now(), ownCPU()
	made := make(chan []any, 1)
	go func() {
		defer close(made)
		for left := rows; left > 0; left -= perCommit {
			select {
			case made <- makeRows(src, min(left, perCommit)):
			case <-ctx.Done():
				return
			}
		}
	}()
	for args := range made {
		if err := e.insert(args); err != nil {
			return 0, 0, err
		}
	}
	return time.Since(start), ownCPU() - used, ctx.Err()
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// insert writes one transaction. Its contexts cannot end, which spares the
// driver a goroutine a statement.
func (e *sqliteEngine) insert(args []any) error {
	ctx := context.Background()
	if _, err := e.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for len(args) > 0 {
		stmt, n := e.one, rawColumns
		if len(args) >= rowsPerInsert*rawColumns {
			stmt, n = e.many, rowsPerInsert*rawColumns
		}
		if _, err := stmt.ExecContext(ctx, args[:n]...); err != nil {
			return err
		}
		args = args[n:]
	}
	_, err := e.conn.ExecContext(ctx, "COMMIT")
	return err
}

// makeEvents makes the events of one transaction as the product stores them,
// sorted by their keys.
func makeEvents(src *source, n int) []usance.Event {
	now := time.Now().UTC()
	events := make([]usance.Event, n)
	for i := range events {
		e := &events[i]
		*e = src.next(now)
		e.ID, e.ReceivedAt = usance.NewID(now), now
		e.LocalDate, e.HourSlot = usance.DateOf(now, time.UTC), now.Hour()
		e.SessionHash = src.rng.Uint64()
		e.HashPayload()
	}
	slices.SortFunc(events, func(a, b usance.Event) int {
		return usance.EventRef{LicenseID: a.LicenseID, IdempotencyKey: a.IdempotencyKey}.
			Compare(usance.EventRef{LicenseID: b.LicenseID, IdempotencyKey: b.IdempotencyKey})
	})
	return events
}

// makeRows makes the arguments of one transaction.
func makeRows(src *source, n int) []any {
	events := makeEvents(src, n)
	args := make([]any, 0, n*rawColumns)
	for i := range events {
		e := &events[i]
		args = append(args, e.LicenseID, []byte(e.IdempotencyKey), int64(e.LocalDate), e.UsageType, e.Quantity, e.RevenueCents,
			e.OccurredAt.UnixMicro(), e.ReceivedAt.UnixMicro(), e.ID[:], e.PayloadHash[:], int64(e.HourSlot), false, int64(e.SessionHash), nil,
			e.Platform, e.DeviceType, e.GeographicLocation, e.Referrer, nil, nil)
	}
	return args
}
