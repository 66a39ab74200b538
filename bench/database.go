package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
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

// create makes a database on the server that the URL names.
func (d *database) create(ctx context.Context, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return errors.New("the URL of the database cannot be read; write postgres://user:password@host:5432/database")
	}
	name := "usance_bench_" + rand.Text()
	onServer := func(ctx context.Context, statement string) error {
		c, err := pgx.Connect(ctx, server)
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, statement+" "+pgx.Identifier{name}.Sanitize())
		return errors.Join(err, c.Close(ctx))
	}
	if err := onServer(ctx, "CREATE DATABASE"); err != nil {
		return fmt.Errorf("making a database to measure in: %w", err)
	}
	q := u.Query()
	q.Del("dbname") // either would name another database than the path does
	q.Del("database")
	u.Path, u.RawQuery = "/"+name, q.Encode()
	d.url = u.String()
	c, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var at string
	if err := c.QueryRow(ctx, "SELECT current_database()").Scan(&at); err != nil || at != name {
		return errors.Join(err, fmt.Errorf("the URL leads to the database %q, not to %q, which was made to measure in", at, name))
	}
	d.drop = func() error { return onServer(context.WithoutCancel(ctx), "DROP DATABASE") }
	return nil
}

// engine opens the raw engine on the database.
func (d *database) engine(ctx context.Context) (rawEngine, error) {
	if d.url != "" {
		return openPostgres(ctx, d.url)
	}
	return openSQLite(ctx, filepath.Join(d.dir, "usance.db"))
}
