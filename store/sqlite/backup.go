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
	part := to + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a backup that was broken off
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	// SQLite writes into an empty file too: made here, it is nobody else's to read.
	if err := makeFile(part); err != nil {
		return err
	}
	err = inFile(path, url.Values{"_pragma": {"busy_timeout(10000)"}}, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, `VACUUM INTO ?`, part)
		return err
	})
	if err != nil {
		return fmt.Errorf("copying %s: %w", path, failure(err))
	}
	if err := inFile(part, url.Values{"mode": {"ro"}}, func(db *sql.DB) error { return check(ctx, db, "quick_check") }); err != nil {
		return fmt.Errorf("the copy is not sound: %w", err)
	}
	if err := syncFile(part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncFile(filepath.Dir(to))
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
func (s *Store) Check(ctx context.Context) error { return check(ctx, s.db, "integrity_check") }

// check carries out integrity_check, or quick_check, which leaves out whether
// indexes hold what their tables do: those of a copy were just made.
func check(ctx context.Context, db *sql.DB, how string) error {
	var answer string
	if err := db.QueryRowContext(ctx, "PRAGMA "+how+"(1)").Scan(&answer); err != nil {
		return failure(err)
	}
	if answer != "ok" {
		return usance.NewError(usance.CodeUnavailable, "the database file is damaged: %s", answer)
	}
	return nil
}
