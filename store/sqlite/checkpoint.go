package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"

	"modernc.org/sqlite"
)

// Pages are copied from the write-ahead log into the file beside the writers,
// not by whoever commits when the log is long: that one would wait for all of
// it. The log can begin anew only when nothing of it is left to copy and nobody
// reads it, so the last pages, few by then, are copied while nobody writes, and
// those who read are waited for: whoever comes meanwhile reads the file. SQLite
// syncs the file with those last pages alone, and so it is synced before.
const (
	logPages  = 10_000 // of the log from which on it is copied: 40 MB
	lastPages = 500    // copied while nobody writes, at most
	maxPasses = 4      // before them

	waitBriefly = "PRAGMA busy_timeout = 30" // ms, in which writers wait
	busyTimeout = "PRAGMA busy_timeout = 2000"
)

// wrote counts the pages that the transaction put into the log.
func (c *conn) wrote() (pages int64, err error) {
	err = c.c.Raw(func(driver any) error {
		n, _, err := driver.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
		pages = int64(n)
		return err
	})
	return pages, err
}

// lengthen has the log copied when it is long.
func (s *Store) lengthen(c *conn) {
	n, err := c.wrote()
	if err != nil || s.log.Add(n) < s.logPages {
		return
	}
	select {
	case s.long <- struct{}{}:
	default: // it is being copied
	}
}

// copyLogs copies the log whenever it is long, until the store is closed.
func (s *Store) copyLogs(ctx context.Context, c *conn) {
	defer close(s.copied)
	defer c.close()
	var t trouble
	for {
		select {
		case <-s.closed:
			return
		case <-s.long:
		}
		// What fails, as on a full disk, is tried again when more was written.
		err := s.copyLog(ctx, c)
		if err != nil && !errors.Is(err, errHeld) {
			s.failures.Add(1)
		}
		t.tell(s.logger, err, s.Log().Bytes)
	}
}

// LogStatus is how the write-ahead log of a file stands.
type LogStatus struct {
	Bytes    int64 // size of its file; of a closed one what the last process left
	Failures int64 // times that copying it into the database file failed, since the file was opened
}

// MaxLogBytes is the size of the log from which on somebody keeps it from
// beginning anew: a reader that does not end, or a disk that fails.
const MaxLogBytes = 256 << 20

// Log tells how the write-ahead log stands.
func (s *Store) Log() LogStatus {
	out := LogStatus{Failures: s.failures.Load()}
	if info, err := os.Stat(s.logPath); err == nil { // there is none before the first write
		out.Bytes = info.Size()
	}
	return out
}

// trouble is what is wrong with the log, of which is told once when it begins
// and once when it is over.
type trouble struct{ failing, growing bool }

func (t *trouble) tell(log *slog.Logger, err error, size int64) {
	failing, growing := err != nil && !errors.Is(err, errHeld), size > MaxLogBytes
	switch {
	case failing && !t.failing:
		log.Error("the write-ahead log cannot be copied into the database file; it grows until it can", "error", err)
	case err == nil && t.failing:
		log.Info("the write-ahead log is copied again")
	}
	switch {
	case growing && !t.growing:
		log.Warn("the write-ahead log cannot begin anew: a backup, or a program that has the database open and ends no transaction, reads it", "bytes", size)
	case !growing && t.growing:
		log.Info("the write-ahead log has begun anew", "bytes", size)
	}
	t.failing, t.growing = failing || t.failing && err != nil, growing
}

// copyLog copies the log and has it begin anew. What a long reader, such as a
// backup, keeps in it is tried again when a quarter more was written.
func (s *Store) copyLog(ctx context.Context, c *conn) error {
	later := s.logPages - s.logPages/4
	for range maxPasses {
		before := s.log.Load()
		held, err := checkpoint(ctx, c.c, "PASSIVE")
		if err != nil || held > lastPages {
			s.log.Store(later)
			return err
		}
		if s.synchronous != "OFF" {
			if err := s.file.Sync(); err != nil {
				s.log.Store(later)
				return unavailable(err, "the database file cannot be synced")
			}
		}
		if s.log.Load()-before < lastPages {
			break
		}
	}
	w, err := s.take(ctx, s.writer)
	if err != nil {
		return err
	}
	defer s.end(w, s.writer)
	s.log.Store(later)
	if err := w.restartLog(ctx); err != nil {
		return err
	}
	s.log.Store(0)
	select { // it was told again meanwhile
	case <-s.long:
	default:
	}
	return nil
}

// restartLog copies what is left and has the log begin anew. It is called on
// the connection that writes: of a log that another one restarts it would think
// that somebody else had written.
func (c *conn) restartLog(ctx context.Context) error {
	return c.briefly(ctx, func() error {
		_, err := checkpoint(ctx, c.c, "RESTART")
		return err
	})
}

// briefly has fn wait for others for a moment only.
func (c *conn) briefly(ctx context.Context, fn func() error) (err error) {
	defer func() { // whatever became of it, and of ctx
		if _, e := c.c.ExecContext(context.WithoutCancel(ctx), busyTimeout); e != nil {
			c.unfit = true
			err = errors.Join(err, failure(e))
		}
	}()
	if _, err := c.c.ExecContext(ctx, waitBriefly); err != nil {
		return failure(err)
	}
	return fn()
}

// errHeld says that somebody reads the log, or copies it.
var errHeld = errors.New("sqlite: the log is held by others")

// checkpoint copies what no reader needs to find in the log and tells how many
// pages readers hold there.
func checkpoint(ctx context.Context, c *sql.Conn, how string) (held int, err error) {
	var busy, pages, copied int
	if err := c.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+how+`)`).Scan(&busy, &pages, &copied); err != nil {
		return 0, failure(err)
	}
	if busy != 0 {
		return 0, errHeld
	}
	return pages - copied, nil
}
