package schema

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/usance/usance"
)

// Migrations are the steps of a store's schema. Whatever they meet is told as
// the store tells it.
type Migrations struct {
	Files fs.FS    // the steps, in order of their names
	Table Versions // which of them are applied
	// Found tells whether that table is there, and whether tables are that the steps
	// make, both as of one instant.
	Found func(ctx context.Context) (versions, tables bool, err error)
	// Open gives the steps on the store's database, with GooseOptions; done gives
	// back what they hold.
	Open func() (p *goose.Provider, done func(), err error)
	// Forget takes a step off those that are applied, and tells how many that were.
	Forget func(ctx context.Context, version int64) (int64, error)
	// Failure turns what the driver says into what the program says.
	Failure func(ctx context.Context, err error) error
}

// GooseOptions are those of every store: a step that was marked as rolled back by
// hand may lie before others.
func GooseOptions() []goose.ProviderOption {
	return []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true)}
}

// Check refuses a schema that a newer program made. It brings an older one up to
// date, unless it is to be left as it is, or refused: current. A database of which
// nothing tells what is applied is refused unless it is to be left as it is.
func (m Migrations) Check(ctx context.Context, leave, current bool) error {
	versions, tables, err := m.found(ctx)
	switch {
	case err != nil:
		return err
	case versions:
	case tables && leave:
		return nil
	case tables:
		return m.unknown()
	case current:
		return older()
	case leave:
		return nil
	}
	return m.run(ctx, func(p *goose.Provider) error {
		latest, known, err := p.GetVersions(ctx)
		if err != nil {
			return err
		}
		if latest > known {
			return usance.NewError(usance.CodeUnavailable,
				"the database's schema %d is newer than this program, which knows %d; start the newer program", latest, known)
		}
		if leave && !current {
			return nil
		}
		pending, err := p.HasPending(ctx)
		switch {
		case err != nil || !pending: // nothing to wait for others with
		case current:
			err = older()
		default:
			_, err = p.Up(ctx)
		}
		return err
	})
}

func older() error {
	return usance.NewError(usance.CodeUnavailable,
		"the database's schema is older than this program; run usance migrate up, or start usance serve, first")
}

// Status lists every step in order.
func (m Migrations) Status(ctx context.Context) (out []Migration, err error) {
	if out, err = ReadAll(m.Files); err != nil {
		return nil, err
	}
	if none, err := m.none(ctx); err != nil || none {
		return out, err
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
	if _, err := m.none(ctx); err != nil {
		return nil, err
	}
	err = m.run(ctx, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, Name(r.Source.Path))
		}
		return err
	})
	return applied, err
}

// Down takes the latest step back, with all that its tables hold, and names it;
// the name is empty when there is none.
func (m Migrations) Down(ctx context.Context) (undone string, err error) {
	if none, err := m.none(ctx); err != nil || none {
		return "", err
	}
	err = m.run(ctx, func(p *goose.Provider) error {
		result, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err != nil {
			return err
		}
		undone = Name(result.Source.Path)
		return nil
	})
	return undone, err
}

// Resolve marks a step as rolled back without touching its tables: for one that
// was undone by hand.
func (m Migrations) Resolve(ctx context.Context, migration string) error {
	none, err := m.none(ctx)
	if err != nil {
		return err
	}
	return m.run(ctx, func(p *goose.Provider) error {
		for _, s := range p.ListSources() {
			if Name(s.Path) != migration {
				continue
			}
			var n int64
			if !none {
				n, err = m.Forget(ctx, s.Version)
			}
			if err == nil && n == 0 {
				err = usance.NewError(usance.CodeConflict, "the migration %s is not applied", migration)
			}
			return err
		}
		return usance.NewError(usance.CodeNotFound, "there is no migration %q", migration)
	})
}

// found asks what is there before goose does, which makes its table where there is none.
func (m Migrations) found(ctx context.Context) (versions, tables bool, err error) {
	versions, tables, err = m.Found(ctx)
	return versions, tables, m.Failure(ctx, err)
}

// none tells whether no step was ever taken. It refuses a database that has the
// steps' tables and none that tells which of them are applied: to take them would
// make tables over those that are there.
func (m Migrations) none(ctx context.Context) (bool, error) {
	versions, tables, err := m.found(ctx)
	if err == nil && tables && !versions {
		err = m.unknown()
	}
	return !versions, err
}

func (m Migrations) unknown() error {
	steps, err := ReadAll(m.Files)
	if err != nil {
		return err
	}
	return usance.NewError(usance.CodeUnavailable,
		"the table %s, which tells the migrations that are applied, is missing from a database that has their tables; nothing was changed. Put it right: %s",
		m.Table.Name, m.Table.again(steps))
}

// run does something with the steps on the database.
func (m Migrations) run(ctx context.Context, fn func(*goose.Provider) error) error {
	p, done, err := m.Open()
	if err != nil {
		return m.Failure(ctx, err)
	}
	defer done()
	if err = m.Failure(ctx, fn(p)); err == nil {
		return nil
	}
	var own *usance.Error
	if errors.As(err, &own) {
		return err
	}
	return fmt.Errorf("migrating: %w", err)
}
