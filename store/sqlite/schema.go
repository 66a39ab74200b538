package sqlite

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/usance/usance"
	"github.com/usance/usance/store/schema"
)

// CheckSchema compares the file's tables, views and indexes with those that the
// steps make.
func (s *Store) CheckSchema(ctx context.Context) (out []usance.SchemaFault, err error) {
	// Not on a connection of its own, which would open whatever has the file's name by now.
	err = s.view(ctx, func(v *view) error {
		out, err = s.compareSchema(ctx, v.c.c)
		return err
	})
	return out, err
}

func (s *Store) compareSchema(ctx context.Context, db querier) ([]usance.SchemaFault, error) {
	want, err := made()
	if err != nil {
		return nil, err
	}
	have, err := parts(ctx, db, append([]schema.Part{{Kind: schema.Table, Name: versions.Name}}, want...))
	if err != nil {
		return nil, failure(err)
	}
	return s.Migrations().Compare(want, have)
}

// querier is a database or a connection to it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// made gives what all steps make, in an empty database.
var made = sync.OnceValues(func() ([]schema.Part, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, failure(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // another one would have another database
	steps, err := Steps()
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		if _, err := db.ExecContext(context.Background(), step.SQL); err != nil {
			return nil, failure(err)
		}
	}
	out, err := parts(context.Background(), db, nil)
	return out, failure(err)
})

// parts gives a database's tables, views and indexes, but those of other programs
// and of SQLite itself, among them the indexes of a table's own constraints: those
// cannot be dropped. Where only some are wanted the columns of others are not looked
// at: a view of another program may be of what is not there.
func parts(ctx context.Context, db querier, wanted []schema.Part) ([]schema.Part, error) {
	rows, err := db.QueryContext(ctx, `SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
		WHERE type IN ('table', 'view', 'index') AND name NOT GLOB 'sqlite_*' ORDER BY type <> 'table', type, name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schema.Part
	for rows.Next() {
		var p schema.Part
		var statement string
		if err := rows.Scan(&p.Kind, &p.Name, &p.Of, &statement); err != nil {
			return nil, err
		}
		if p.Kind == schema.Index {
			p.Definition = normal(statement)
			p.Unique = strings.HasPrefix(p.Definition, "create unique ")
			p.Make = strings.Join(strings.Fields(statement), " ") + ";"
			out = append(out, p)
			continue
		}
		p.Of = ""
		if wanted == nil || slices.ContainsFunc(wanted, func(w schema.Part) bool { return w.Kind == p.Kind && w.Name == p.Name }) {
			out = append(out, p)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	whole := out[:0]
	for _, p := range out {
		if p.Kind != schema.Index {
			var columns string
			err := db.QueryRowContext(ctx, `SELECT coalesce(group_concat(name || ' ' || type, char(10)), '') FROM pragma_table_xinfo(?)`, p.Name).Scan(&columns)
			if err != nil && p.Kind == schema.View {
				continue // of a table that is missing: so is the view
			}
			if err != nil {
				return nil, err
			}
			p.Columns = strings.Split(columns, "\n")
		}
		whole = append(whole, p)
	}
	return whole, nil
}

var (
	quotes   = strings.NewReplacer(`"`, "", "`", "", "[", "", "]", "", ";", "")
	spacing  = regexp.MustCompile(`\s*([(),=<>])\s*|\s+`)
	unlessIs = "if not exists "
)

// normal writes a statement as it is written however somebody has typed it.
func normal(statement string) string {
	s := spacing.ReplaceAllStringFunc(quotes.Replace(strings.ToLower(statement)), func(m string) string {
		if m = strings.TrimSpace(m); m == "" {
			return " "
		}
		return m
	})
	return strings.TrimSpace(strings.Replace(s, unlessIs, "", 1))
}
