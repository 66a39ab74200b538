package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"modernc.org/sqlite"
)

// Pages are copied from the write-ahead log into the file beside the writers,
// not by whoever commits when the log is long: that one would wait for all of
// it. The log can begin anew only when nothing of it is left to copy, so the
// last pages, few by then, are copied while nobody writes.
const (
	logPages  = 10_000 // of the log from which on it is copied: 40 MB
	lastPages = 500    // copied while nobody writes, as a rule
	maxPasses = 4      // before them
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
		_ = s.copyLog(ctx, c.c)
	}
}

func (s *Store) copyLog(ctx context.Context, c *sql.Conn) error {
	for range maxPasses {
		before := s.log.Load()
		if err := checkpoint(ctx, c); err != nil {
			return err
		}
		if s.log.Add(-before) < lastPages {
			break
		}
	}
	select {
	case <-s.closed:
		return errClosed()
	case w := <-s.writer:
		defer func() { s.writer <- w }()
		err := checkpoint(ctx, c)
		s.log.Store(0)
		select { // it was told again meanwhile
		case <-s.long:
		default:
		}
		return err
	}
}

// checkpoint copies what no reader needs to find in the log.
func checkpoint(ctx context.Context, c *sql.Conn) error {
	var busy, pages, copied int
	err := c.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &pages, &copied)
	if err == nil && busy != 0 {
		err = errors.New("sqlite: somebody else copies the log")
	}
	return failure(err)
}
