package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/usance/usance"
	"github.com/usance/usance/store/schema"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations are the steps that brought the schema to where it is.
type Migrations struct{ s *Store }

// Steps gives every step of the schema, each as pending.
func Steps() ([]schema.Migration, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	return schema.ReadAll(files)
}

// Migrations gives the steps of the store's schema.
func (s *Store) Migrations() Migrations { return Migrations{s} }

// provider gives the steps, which several nodes that start together take one
// after the other; done gives its connections back.
func (m Migrations) provider() (p *goose.Provider, done func(), err error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockClass), lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDBFromPool(m.s.pool)
	// A step that was marked as rolled back by hand may lie before others.
	p, err = goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true),
		goose.WithSessionLocker(locker), goose.WithTableName(VersionTable))
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return p, func() { db.Close() }, nil
}

// VersionTable holds which steps are applied. A host platform that shares the
// database may have a table of goose's own name.
const VersionTable = "usance_schema_versions"

// check refuses a schema that a newer program made, and brings an older one up
// to date unless the options say otherwise.
func (m Migrations) check(ctx context.Context, o Options) error {
	return m.run(ctx, func(p *goose.Provider) error {
		current, known, err := p.GetVersions(ctx)
		if err != nil {
			return err
		}
		if current > known {
			return usance.NewError(usance.CodeUnavailable,
				"the database's schema %d is newer than this program, which knows %d; start the newer program", current, known)
		}
		if o.LeaveSchema {
			return nil
		}
		pending, err := p.HasPending(ctx)
		switch {
		case err != nil || !pending: // nothing to wait for others with
		case o.CurrentSchema:
			err = usance.NewError(usance.CodeUnavailable,
				"the database's schema is older than this program; run usance migrate up, or start usance serve, first")
		default:
			_, err = p.Up(ctx)
		}
		return err
	})
}

// Status lists every step in order.
func (m Migrations) Status(ctx context.Context) (out []schema.Migration, err error) {
	if out, err = Steps(); err != nil {
		return nil, err
	}
	err = m.run(ctx, func(p *goose.Provider) error {
		steps, err := p.Status(ctx)
		for i, s := range steps { // both in the order of their names
			if s.State == goose.StateApplied {
				out[i].AppliedAt = s.AppliedAt.UTC()
			}
		}
		return err
	})
	return out, err
}

// Up takes the steps that are pending and names them.
func (m Migrations) Up(ctx context.Context) (applied []string, err error) {
	err = m.run(ctx, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, schema.Name(r.Source.Path))
		}
		return err
	})
	return applied, err
}

// Down takes the latest step back, with all that its tables hold, and names it;
// the name is empty when there is none.
func (m Migrations) Down(ctx context.Context) (undone string, err error) {
	err = m.run(ctx, func(p *goose.Provider) error {
		result, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err != nil {
			return err
		}
		undone = schema.Name(result.Source.Path)
		return nil
	})
	return undone, err
}

// Resolve marks a step as rolled back without touching its tables: for one that
// was undone by hand.
func (m Migrations) Resolve(ctx context.Context, migration string) error {
	return m.run(ctx, func(p *goose.Provider) error {
		for _, s := range p.ListSources() {
			if schema.Name(s.Path) != migration {
				continue
			}
			return m.s.update(ctx, usance.Locks{}, func(t *tx) error {
				n, err := t.exec(ctx, `DELETE FROM `+VersionTable+` WHERE version_id = $1`, s.Version)
				if err == nil && n == 0 {
					err = usance.NewError(usance.CodeConflict, "the migration %s is not applied", migration)
				}
				return err
			})
		}
		return usance.NewError(usance.CodeNotFound, "there is no migration %q", migration)
	})
}

func (m Migrations) run(ctx context.Context, fn func(*goose.Provider) error) error {
	p, done, err := m.provider()
	if err != nil {
		return failure(ctx, err)
	}
	defer done()
	if err := fn(p); err != nil {
		var e *usance.Error
		if errors.As(err, &e) {
			return err
		}
		// What a step raises is for people to read. Elsewhere it comes from a trigger
		// that is not ours, whose text is nobody's business.
		var raised *pgconn.PgError
		if errors.As(err, &raised) && raised.Routine == "exec_stmt_raise" {
			return usance.WrapError(err, usance.CodeConflict, "%s", raised.Message)
		}
		if err = failure(ctx, err); errors.As(err, &e) {
			return err
		}
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}
