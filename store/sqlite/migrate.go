package sqlite

import (
	"context"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/usance/usance/store/schema"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func steps() fs.FS {
	files, _ := fs.Sub(migrationFiles, "migrations") // the path is right
	return files
}

// Steps gives every step of the schema, each as pending.
func Steps() ([]schema.Migration, error) { return schema.ReadAll(steps()) }

// Migrations gives the steps of the store's schema.
func (s *Store) Migrations() schema.Migrations {
	return schema.Migrations{
		Files: steps(),
		Open: func() (*goose.Provider, func(), error) {
			p, err := goose.NewProvider(goose.DialectSQLite3, s.db, steps(), schema.GooseOptions()...)
			return p, func() {}, err
		},
		Forget: func(ctx context.Context, version int64) (n int64, err error) {
			err = s.update(ctx, func(t *tx) error {
				n, err = t.exec(ctx, `DELETE FROM goose_db_version WHERE version_id = ?`, version)
				return err
			})
			return n, err
		},
		Failure: func(_ context.Context, err error) error { return failure(err) },
	}
}
