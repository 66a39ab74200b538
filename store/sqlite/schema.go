package sqlite

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"sync"

	"github.com/usance/usance"
	"github.com/usance/usance/store/schema"
)

// CheckSchema compares the file's tables, views and indexes with those that the
// steps make.
func (s *Store) CheckSchema(ctx context.Context) ([]usance.SchemaFault, error) {
	want, err := made()
	if err != nil {
		return nil, err
	}
	have, err := parts(ctx, s.db)
	if err != nil {
		return nil, failure(err)
	}
	return s.Migrations().Compare(want, have)
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
	out, err := parts(context.Background(), db)
	return out, failure(err)
})

// parts gives a database's tables, views and indexes, but those of other programs
// and of SQLite itself, among them the indexes of a table's own constraints: those
// cannot be dropped.
func parts(ctx context.Context, db *sql.DB) ([]schema.Part, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT m.type, m.name, m.tbl_name, coalesce(m.sql, ''), coalesce((
			SELECT group_concat(name || ' ' || type, char(10)) FROM pragma_table_xinfo(m.name) WHERE m.type IN ('table', 'view')), '')
		FROM sqlite_schema m WHERE m.type IN ('table', 'view', 'index') AND m.name NOT GLOB 'sqlite_*' AND m.name NOT GLOB 'goose_*'
		ORDER BY m.type <> 'table', m.type, m.name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schema.Part
	for rows.Next() {
		var p schema.Part
		var statement, columns string
		if err := rows.Scan(&p.Kind, &p.Name, &p.Of, &statement, &columns); err != nil {
			return nil, err
		}
		if p.Kind == schema.Index {
			p.Definition = normal(statement)
			p.Unique = strings.HasPrefix(p.Definition, "create unique ")
			p.Make = strings.Join(strings.Fields(statement), " ") + ";"
		} else {
			p.Of, p.Columns = "", strings.Split(columns, "\n")
		}
		out = append(out, p)
	}
	return out, rows.Err()
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
