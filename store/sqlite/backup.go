package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/usance/usance"
)

// Backup writes a copy of the database file as it is at one instant, checks it,
// and gives it its name only then: a file of that name is whole. The process
// that has the file open goes on meanwhile; its log file grows until the copy
// is done. It refuses to overwrite.
func Backup(ctx context.Context, path, to string) (err error) {
	switch _, err := os.Lstat(to); {
	case err == nil:
		return fmt.Errorf("%s exists; name a new file", to)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// SQLite writes into an empty file too: made here, it is nobody else's to
	// read, and no other backup's to write.
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".*.part")
	if err != nil {
		return err
	}
	part := f.Name()
	defer func() { _ = os.Remove(part) }()
	if err := f.Close(); err != nil {
		return err
	}
	err = inFile(path, url.Values{"_pragma": {"busy_timeout(10000)"}}, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, `VACUUM INTO ?`, part)
		return err
	})
	if err != nil {
		return fmt.Errorf("copying %s: %w", path, failure(err))
	}
	err = inFile(part, url.Values{"mode": {"ro"}}, func(db *sql.DB) error {
		var ours bool
		if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'license_usage_events')`).Scan(&ours); err != nil {
			return failure(err)
		}
		if !ours { // an empty file is a sound database
			return usance.NewError(usance.CodeUnavailable, "it holds no events' table: %s was emptied, or is another program's", path)
		}
		return check(ctx, db, "quick_check")
	})
	if err != nil {
		return fmt.Errorf("the copy is not sound: %w", err)
	}
	if err := syncFile(part); err != nil {
		return err
	}
	if err := moveNew(part, to); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s exists by now, made by another backup perhaps, and was left as it is; name a new file", to)
		}
		return err
	}
	return syncFile(filepath.Dir(to))
}

// moveNew renames a file, and never over another: fs.ErrExist.
func moveNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without hard links, as on USB sticks: take the name first.
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Rename(from, to)); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// inFile opens a file by a connection of its own, beside whoever has it open.
func inFile(path string, q url.Values, fn func(*sql.DB) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	return errors.Join(fn(db), db.Close())
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Check reads the whole file and tells whether it is a sound database.
func (s *Store) Check(ctx context.Context) error {
	return s.view(ctx, func(v *view) error { return check(ctx, v.c.c, "integrity_check") })
}

// check carries out integrity_check, or quick_check, which leaves out whether
// indexes hold what their tables do: those of a copy were just made.
func check(ctx context.Context, db querier, how string) error {
	var answer string
	if err := db.QueryRowContext(ctx, "PRAGMA "+how+"(1)").Scan(&answer); err != nil {
		return failure(err)
	}
	if answer != "ok" {
		return usance.NewError(usance.CodeUnavailable, "the database file is damaged: %s", answer)
	}
	return nil
}
