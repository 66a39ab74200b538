package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/sqlite"
)

// database is one that a case made for itself.
type database struct {
	dir  string // of a SQLite file
	url  string // of a PostgreSQL database; empty: the file
	drop func() error
}

// database makes a database that holds the licences: a file in the folder, or
// one on the PostgreSQL server.
func (o Options) database(ctx context.Context, dir string, licenses []string) (d *database, err error) {
	d = &database{dir: dir, drop: func() error { return nil }}
	if o.DatabaseURL != "" {
		if err := d.create(ctx, o.DatabaseURL); err != nil {
			return nil, err
		}
	}
	store, err := d.open(ctx)
	if err == nil {
		err = errors.Join(prepare(ctx, store, licenses), store.Close())
	}
	if err != nil {
		return nil, errors.Join(err, d.drop())
	}
	return d, nil
}

func (d *database) open(ctx context.Context) (usance.Store, error) {
	if d.url != "" {
		return postgres.Open(ctx, d.url, postgres.Options{})
	}
	return sqlite.Open(ctx, filepath.Join(d.dir, "usance.db"), sqlite.Options{})
}

// databasePrefix begins the names of the databases that are made on a server.
const databasePrefix = "usance_bench_"

// create makes a database on the server that the URL names, and sees to it that
// later runs can tell it from one that a killed run left behind: as long as it
// is in use, a lock is held that bears its name. PostgreSQL lets it go with the
// connection, however that comes to its end.
func (d *database) create(ctx context.Context, server string) error {
	name := databasePrefix + rand.Text()
	own, err := postgres.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("making a database to measure in: %w", err)
	}
	onServer := func(ctx context.Context, statement string) error {
		_, err := own.Exec(ctx, statement+" "+pgx.Identifier{name}.Sanitize())
		return err
	}
	if _, err = own.Exec(ctx, `SELECT pg_advisory_lock(hashtext($1))`, name); err == nil { // before it is there to be seen
		err = onServer(ctx, "CREATE DATABASE")
	}
	if err == nil {
		d.drop = func() error {
			ctx := context.WithoutCancel(ctx)
			return errors.Join(onServer(ctx, "DROP DATABASE"), own.Close(ctx))
		}
		if err = d.use(ctx, server, name); err != nil {
			return errors.Join(err, d.drop())
		}
		return nil
	}
	return errors.Join(fmt.Errorf("making a database to measure in: %w", err), own.Close(ctx))
}

// use makes sure that the URL of the new database leads there.
func (d *database) use(ctx context.Context, server, name string) (err error) {
	if d.url, err = postgres.WithDatabase(server, name); err != nil {
		return err
	}
	c, err := postgres.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var at string
	if err := c.QueryRow(ctx, "SELECT current_database()").Scan(&at); err != nil || at != name {
		return errors.Join(err, fmt.Errorf("the URL leads to the database %q, not to %q, which was made to measure in", at, name))
	}
	return nil
}

// sweep drops the databases that killed runs left on the server: those whose
// lock nobody holds. That of a run under way was taken before its database was
// made, and pg_locks shows it from wherever on the server it was taken.
func sweep(ctx context.Context, server string, tell func(format string, args ...any)) error {
	c, err := postgres.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	rows, err := c.Query(ctx, `SELECT datname FROM pg_database WHERE datname ~ ('^' || $1::text || '[A-Z2-7]{26}$') AND pg_has_role(datdba, 'USAGE')`, databasePrefix)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names { // a statement after that which found it
		var dead bool
		// A lock of one number is told as its two halves.
		err := c.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
			AND (classid::bigint << 32) | objid::bigint = hashtext($1)::bigint)`, name).Scan(&dead)
		if err != nil {
			return err
		}
		if !dead {
			continue
		}
		if _, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
			return fmt.Errorf("dropping what a killed run left: %w", err)
		}
		tell("dropped %s, which a killed run left\n", name)
	}
	return nil
}

// engine opens the raw engine on the database.
func (d *database) engine(ctx context.Context) (rawEngine, error) {
	if d.url != "" {
		return openPostgres(ctx, d.url)
	}
	return openSQLite(ctx, filepath.Join(d.dir, "usance.db"))
}
