package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"modernc.org/sqlite"
)

// Pages are copied from the write-ahead log into the file beside the writers,
// not by whoever commits when the log is long: that one would wait for all of
// it. The log can begin anew only when nothing of it is left to copy and nobody
// reads it, so the last pages, few by then, are copied while nobody writes, and
// those who read are waited for: whoever comes meanwhile reads the file.
const (
	logPages  = 10_000 // of the log from which on it is copied: 40 MB
	lastPages = 500    // copied while nobody writes, at most
	maxPasses = 4      // before them

	waitForReaders = "PRAGMA busy_timeout = 30" // ms, in which writers wait
	busyTimeout    = "PRAGMA busy_timeout = 2000"
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
	for {
		select {
		case <-s.closed:
			return
		case <-s.long:
		}
		// What fails, as on a full disk, is tried again when more was written.
		_ = s.copyLog(ctx, c)
	}
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
	if _, err := c.c.ExecContext(ctx, waitForReaders); err != nil {
		return failure(err)
	}
	_, err := checkpoint(ctx, c.c, "RESTART")
	_, e := c.c.ExecContext(ctx, busyTimeout)
	return errors.Join(err, failure(e))
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
