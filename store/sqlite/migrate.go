package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

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

func (m Migrations) provider() (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	// A step that was marked as rolled back by hand may lie before others.
	return goose.NewProvider(goose.DialectSQLite3, m.s.db, files, goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true))
}

// check refuses a schema that a newer program made, and brings an older one up
// to date unless the options say otherwise.
func (m Migrations) check(ctx context.Context, o Options) error {
	p, err := m.provider()
	if err != nil {
		return failure(err)
	}
	current, known, err := p.GetVersions(ctx)
	if err != nil {
		return failure(err)
	}
	if current > known {
		return usance.NewError(usance.CodeUnavailable,
			"the database's schema %d is newer than this program, which knows %d; start the newer program", current, known)
	}
	if o.LeaveSchema {
		return nil
	}
	if o.CurrentSchema {
		pending, err := p.HasPending(ctx)
		if err == nil && pending {
			return usance.NewError(usance.CodeUnavailable,
				"the database's schema is older than this program; run usance migrate up, or start usance serve, first")
		}
		return failure(err)
	}
	_, err = p.Up(ctx)
	return failure(err)
}

// Status lists every step in order.
func (m Migrations) Status(ctx context.Context) ([]schema.Migration, error) {
	p, err := m.provider()
	if err != nil {
		return nil, failure(err)
	}
	steps, err := p.Status(ctx)
	if err != nil {
		return nil, failure(err)
	}
	out, err := Steps()
	if err != nil {
		return nil, err
	}
	for i, s := range steps { // both in the order of their names
		if s.State == goose.StateApplied {
			out[i].AppliedAt = s.AppliedAt.UTC()
		}
	}
	return out, nil
}

// Up takes the steps that are pending and names them.
func (m Migrations) Up(ctx context.Context) (applied []string, err error) {
	err = m.run(func(p *goose.Provider) error {
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
	err = m.run(func(p *goose.Provider) error {
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
	return m.run(func(p *goose.Provider) error {
		for _, s := range p.ListSources() {
			if schema.Name(s.Path) != migration {
				continue
			}
			return m.s.update(ctx, func(t *tx) error {
				n, err := t.exec(ctx, `DELETE FROM goose_db_version WHERE version_id = ?`, s.Version)
				if err == nil && n == 0 {
					err = usance.NewError(usance.CodeConflict, "the migration %s is not applied", migration)
				}
				return err
			})
		}
		return usance.NewError(usance.CodeNotFound, "there is no migration %q", migration)
	})
}

// run carries out a change of the schema, which SQLite keeps apart from every
// other transaction.
func (m Migrations) run(fn func(*goose.Provider) error) error {
	p, err := m.provider()
	if err != nil {
		return failure(err)
	}
	if err := fn(p); err != nil {
		var e *usance.Error
		if errors.As(err, &e) {
			return err
		}
		return fmt.Errorf("migrating: %w", failure(err))
	}
	return nil
}
