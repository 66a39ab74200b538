package postgres

import (
	"context"
	"embed"
	"errors"
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

func steps() fs.FS {
	files, _ := fs.Sub(migrationFiles, "migrations") // the path is right
	return files
}

// Migrations gives the steps of the store's schema.
func (s *Store) Migrations() schema.Migrations {
	return schema.Migrations{
		Files: steps(), Open: s.openSteps, Failure: migrationFailure,
		Forget: func(ctx context.Context, version int64) (n int64, err error) {
			err = s.update(ctx, usance.Locks{}, func(t *tx) error {
				n, err = t.exec(ctx, `DELETE FROM `+VersionTable+` WHERE version_id = $1`, version)
				return err
			})
			return n, err
		},
	}
}

// VersionTable holds which steps are applied. A host platform that shares the
// database may have a table of goose's own name.
const VersionTable = "usance_schema_versions"

// openSteps gives the steps, which several nodes that start together take one
// after the other; done gives its connections back.
func (s *Store) openSteps() (p *goose.Provider, done func(), err error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockClass), lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDBFromPool(s.direct)
	p, err = goose.NewProvider(goose.DialectPostgres, db, steps(),
		append(schema.GooseOptions(), goose.WithSessionLocker(locker), goose.WithTableName(VersionTable))...)
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return p, func() { db.Close() }, nil
}

// migrationFailure tells what a step raises, which is for people to read.
// Elsewhere it comes from a trigger that is not ours, whose text is nobody's
// business.
func migrationFailure(ctx context.Context, err error) error {
	var raised *pgconn.PgError
	if errors.As(err, &raised) && raised.Routine == "exec_stmt_raise" {
		return usance.WrapError(err, usance.CodeConflict, "%s", raised.Message)
	}
	return failure(ctx, err)
}
