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

// versions is goose's own table.
var versions = schema.Versions{
	Name: "goose_db_version",
	Make: "CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));",
}

// Migrations gives the steps of the store's schema.
func (s *Store) Migrations() schema.Migrations {
	return schema.Migrations{
		Files: steps(),
		Table: versions,
		Found: func(ctx context.Context) (versions, tables bool, err error) {
			err = s.db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE name = 'goose_db_version') > 0,
				count(*) FILTER (WHERE name IN ('license_usage_versions', 'license_usage_events')) > 0 FROM sqlite_schema WHERE type = 'table'`).Scan(&versions, &tables)
			return versions, tables, err
		},
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
