package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/sqlite"
)

// onPostgres tells which of the stores DATABASE_URL names.
func (c *config) onPostgres() bool {
	return strings.HasPrefix(string(c.DatabaseURL), "postgres://") || strings.HasPrefix(string(c.DatabaseURL), "postgresql://")
}

// checkDatabase tells what is wrong with DATABASE_URL.
func (c *config) checkDatabase() error {
	if c.onPostgres() {
		return checkPostgres(c.DatabaseURL)
	}
	_, err := c.databasePath()
	return err
}

// checkPooled tells what is wrong with DATABASE_URL_POOLED.
func (c *config) checkPooled() error {
	if c.DatabaseURLPooled == "" {
		return nil
	}
	if err := checkPostgres(c.DatabaseURLPooled); err != nil {
		return err
	}
	if !c.onPostgres() {
		return errors.New("is a way to the database of DATABASE_URL, which must be a PostgreSQL URL beside it")
	}
	return nil
}

func checkPostgres(url secret) error {
	_, err := postgres.Where(string(url))
	var e *usance.Error
	if errors.As(err, &e) {
		return errors.New("cannot be read as a PostgreSQL URL; write postgres://user:password@host:5432/database, with what is special in the password as %XX")
	}
	return err
}

// databasePath is the SQLite file that DATABASE_URL names.
func (c *config) databasePath() (string, error) {
	u := string(c.DatabaseURL)
	if u == "" {
		return filepath.Join(c.DataDir, "usance.db"), nil
	}
	scheme, rest, ok := strings.Cut(u, ":")
	if !ok || scheme != "sqlite" && scheme != "file" {
		return "", errors.New("must be sqlite:PATH, such as sqlite:/var/lib/usance/usance.db, or postgres://user:password@host:5432/database")
	}
	path := strings.TrimPrefix(rest, "//")
	if path == "" || path == ":memory:" || strings.ContainsAny(path, "?#\x00") {
		return "", errors.New("must name a file: sqlite:PATH, without ? and #; memory alone keeps nothing")
	}
	return path, nil
}

// folder is where the data file lies: the admin key and the address of the
// running server are kept there too.
func (c *config) folder() string {
	path, err := c.databasePath()
	if err != nil {
		return c.DataDir
	}
	return filepath.Dir(path)
}

// where names the place of the data for people, without any secret.
func (c *config) where() string {
	if !c.onPostgres() {
		return c.folder()
	}
	where, err := postgres.Where(string(c.DatabaseURL))
	if err != nil {
		return "PostgreSQL"
	}
	return where
}

// opening says how the database's schema is taken; the zero value brings it up
// to date.
type opening struct {
	leave    bool // as it is
	look     bool // as it is, unless it is older than the program; nothing is changed, and nothing counted
	current  bool // one that is older than the program is refused
	volatile bool // commits do not wait for the disk
	serving  bool // as one node of many, with what they share
}

// openStore opens the database that DATABASE_URL names; a SQLite file, which
// nobody else may have open, is made where there is none.
func openStore(ctx context.Context, c config, log *slog.Logger, how opening) (usance.Store, error) {
	if c.onPostgres() {
		o := postgres.Options{LeaveSchema: how.leave || how.look, CurrentSchema: how.current || how.look, Volatile: how.volatile}
		if how.serving {
			o.Pooled = string(c.DatabaseURLPooled)
		}
		s, err := postgres.Open(ctx, string(c.DatabaseURL), o)
		if err != nil {
			return nil, err // not s, which would be no nil store
		}
		return s, nil
	}
	path, err := c.databasePath()
	if err != nil {
		return nil, err
	}
	s, err := sqlite.Open(ctx, path, sqlite.Options{
		LeaveSchema: how.leave || how.look, CurrentSchema: how.current || how.look, Volatile: how.volatile, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// betweenTries is the pause before a database that is not up is tried again.
const betweenTries = 250 * time.Millisecond

// awaitStore opens the database as openStore does; while PostgreSQL is not up it
// tries again, for at most USANCE_DATABASE_WAIT.
func awaitStore(ctx context.Context, c config, log *slog.Logger, how opening) (usance.Store, error) {
	until := time.Now().Add(c.DatabaseWait)
	for told := false; ; {
		s, err := openStore(ctx, c, log, how)
		switch {
		case err == nil || ctx.Err() != nil || !postgres.IsNotUp(err):
			return s, err
		case time.Now().After(until):
			return nil, fmt.Errorf("the database was not up within %s (USANCE_DATABASE_WAIT): %w", c.DatabaseWait, err)
		case !told:
			told = true
			log.Warn("the database is not up yet; trying again", "database", c.where(), "atMost", c.DatabaseWait, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(betweenTries):
		}
	}
}
