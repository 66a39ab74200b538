package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/usance/usance"
	"github.com/usance/usance/store/schema"
)

// What all steps make, as a database that they were applied to tells it. A test
// writes it, and compares it.
//
//go:embed schema.json
var madeJSON []byte

var made = sync.OnceValues(func() (out []schema.Part, err error) {
	err = json.Unmarshal(madeJSON, &out)
	return out, err
})

// The tables of which there is one or the other: a host platform's licences are
// its own, whatever their columns and indexes.
const (
	ownLicenses  = "licenses"
	hostsBeside  = "license_usage_terms"
	receivedName = "license_usage_received"
)

// CheckSchema compares the database's tables, views and indexes with those that
// the steps make. On Citus it looks at the coordinator alone.
func (s *Store) CheckSchema(ctx context.Context) (out []usance.SchemaFault, err error) {
	want, err := made()
	if err != nil {
		return nil, err
	}
	err = s.view(ctx, func(v *view) error {
		have, err := v.parts(ctx, append(names(want), VersionTable))
		if err != nil {
			return err
		}
		out, err = s.Migrations().Compare(fitting(want, have), have)
		return err
	})
	return out, err
}

func names(parts []schema.Part) (out []string) {
	for _, p := range parts {
		if p.Kind != schema.Index {
			out = append(out, p.Name)
		}
	}
	return out
}

// fitting gives what is wanted of a database that has these parts.
func fitting(want, have []schema.Part) (out []schema.Part) {
	absent := hostsBeside
	var byShard bool
	for _, p := range have {
		switch {
		case p.Name == hostsBeside:
			absent = ownLicenses
		case p.Name == receivedName:
			byShard = slices.Contains(p.Columns, "license_id text")
		}
	}
	for _, p := range want {
		if p.Name == absent || p.Of == absent {
			continue
		}
		if p.Of == receivedName && byShard { // as the step for Citus has it
			p.Definition = strings.Replace(p.Definition, "(day,", "(license_id, day,", 1)
			p.Make = strings.Replace(p.Make, "(day,", "(license_id, day,", 1)
		}
		out = append(out, p)
	}
	return out
}

// parts gives those of the tables and views that are there, and their indexes.
func (v *view) parts(ctx context.Context, names []string) ([]schema.Part, error) {
	out, err := all(ctx, v, `
		SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, n.name,
			(SELECT array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
			FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
		FROM unnest($1::text[]) AS n (name) JOIN pg_class c ON c.oid = to_regclass(quote_ident(n.name)) ORDER BY 1, 2`,
		[]any{names}, func(r *rows, p *schema.Part) error { return r.Scan(&p.Kind, &p.Name, &p.Columns) })
	if err != nil {
		return nil, err
	}
	indexes, err := all(ctx, v, `
		SELECT c.relname, n.name, pg_get_indexdef(c.oid, 0, TRUE), i.indisunique, NOT (i.indisvalid AND i.indisready AND i.indislive),
			coalesce((SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
				WHERE k.conindid = c.oid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')), '')
		FROM unnest($1::text[]) AS n (name) JOIN pg_index i ON i.indrelid = to_regclass(quote_ident(n.name))
		JOIN pg_class c ON c.oid = i.indexrelid ORDER BY 2, 1`,
		[]any{names}, func(r *rows, p *schema.Part) error {
			p.Kind = schema.Index
			var idle bool
			var constraint string
			if err := r.Scan(&p.Name, &p.Of, &p.Definition, &p.Unique, &idle, &constraint); err != nil {
				return err
			}
			p.Definition = withOptions.ReplaceAllString(p.Definition, "")
			p.Make = strings.Replace(p.Definition, " INDEX ", " INDEX CONCURRENTLY ", 1) + ";"
			if constraint != "" {
				p.Make = "ALTER TABLE " + p.Of + " ADD CONSTRAINT " + p.Name + " " + constraint + ";"
			}
			if idle {
				p.Renew = "REINDEX INDEX CONCURRENTLY " + p.Name + ";"
			}
			return nil
		})
	return append(out, indexes...), err
}

// withOptions is how an index is laid out, which is the operator's to choose.
var withOptions = regexp.MustCompile(` WITH \([^)]*\)`)

// keyed refuses a database without the unique index of idempotency keys.
func (v *view) keyed(ctx context.Context) error {
	var n int64
	_, err := v.one(ctx, `SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('license_usage_events_pkey') AND indisunique AND indisvalid`, nil, &n)
	if err == nil && n == 0 {
		err = unavailable(usance.ErrKeyIndex, "the unique index license_usage_events_pkey is missing: retries would be counted again; usance check says how it is made")
	}
	return err
}
