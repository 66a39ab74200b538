package move

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// table is one of both stores.
type table struct {
	name    string
	columns []column
	key     []int // columns of the primary key, in its order
}

// column is one of a table in PostgreSQL.
type column struct {
	name string
	kind string // type in PostgreSQL
	from string // expression in SQLite
}

// special are columns that SQLite writes in another way: what reads them there.
var special = map[string]string{
	"license_usage_events.batch_id": "received_at",    // see moment
	"license_usage_received.slot":   "coalesce(0, 0)", // SQLite has one count a day; a number alone would name a column to sort by
	"audit_log.license_id":          "coalesce(license_id, '')",
	// How far a day was read in part is told otherwise: it is read anew.
	"license_usage_backfills.part": "nullif('', '')",
	// On Citus a count is filed by shards.
	"license_usage_received.license_id": "coalesce('', '')",
}

// alone are columns that SQLite has for itself, or works out.
var alone = []string{"license_usage_events.seq", "license_usage_events.idempotency_key", "license_usage_evidence.idempotency_key"}

// sqliteVersionTable holds which steps of the SQLite schema are applied.
const sqliteVersionTable = "goose_db_version"

// unmoved are tables that hold nothing of the store's.
var unmoved = []string{sqliteVersionTable, "pending_batches", "api_keys_version"}

func (t *table) names() []string {
	out := make([]string, len(t.columns))
	for i, c := range t.columns {
		out[i] = c.name
	}
	return out
}

// names lists the tables of the store in PostgreSQL, those first that others
// refer to: the tables that SQLite has too. Others that share the schema are
// somebody else's, goose's own among them, whose name there is another.
func (m *mover) names(ctx context.Context) ([]string, error) {
	source, err := m.sourceColumns(ctx)
	if err != nil {
		return nil, err
	}
	ours := make(map[string]bool)
	for column := range source {
		name, _, _ := strings.Cut(column, ".")
		ours[name] = name != sqliteVersionTable
	}
	rows, err := m.to.Query(ctx, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
		ORDER BY c.relname NOT IN ('brands', 'creators', 'assets'), c.relname COLLATE "C"`)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.DeleteFunc(names, func(n string) bool { return !ours[n] }), err
}

// tables describes what is to be moved, and fails when something of the SQLite
// store would have no place.
func (m *mover) tables(ctx context.Context) (out []table, err error) {
	names, err := m.names(ctx)
	if err != nil {
		return nil, err
	}
	source, err := m.sourceColumns(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if slices.Contains(unmoved, name) {
			continue
		}
		t := table{name: name}
		rows, err := m.to.Query(ctx, `SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
			WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, quote(name))
		if err != nil {
			return nil, err
		}
		if t.columns, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (c column, err error) {
			return c, r.Scan(&c.name, &c.kind)
		}); err != nil {
			return nil, err
		}
		for i := range t.columns {
			c := &t.columns[i]
			full := name + "." + c.name
			if c.from = special[full]; c.from == "" {
				if !source[full] {
					return nil, fmt.Errorf("the SQLite store has no column %s", full)
				}
				c.from = strconv.Quote(c.name)
			}
			delete(source, full)
		}
		rows, err = m.to.Query(ctx, `SELECT a.attname FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
			WHERE i.indrelid = $1::regclass AND i.indisprimary ORDER BY k.place`, quote(name))
		if err != nil {
			return nil, err
		}
		key, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		for _, k := range key {
			t.key = append(t.key, slices.IndexFunc(t.columns, func(c column) bool { return c.name == k }))
		}
		out = append(out, t)
	}
	for full := range source {
		name, _, _ := strings.Cut(full, ".")
		if !slices.Contains(unmoved, name) && !slices.Contains(alone, full) {
			return nil, fmt.Errorf("the column %s of the SQLite store has no place in PostgreSQL", full)
		}
	}
	return out, nil
}

// sourceColumns are the columns of the SQLite store, as table.column.
func (m *mover) sourceColumns(ctx context.Context) (map[string]bool, error) {
	rows, err := m.from.QueryContext(ctx, `SELECT t.name || '.' || c.name FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[string]bool)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out[name] = true
	}
	return out, rows.Err()
}

// read gives rows of the SQLite table after the key, as PostgreSQL takes them,
// and the key of the last.
func (t *table) read(ctx context.Context, db *sql.DB, after []string) (batch [][]any, last []string, err error) {
	var columns, order []string
	for _, c := range t.columns {
		columns = append(columns, c.from)
	}
	for _, k := range t.key {
		order = append(order, t.columns[k].from)
	}
	query := `SELECT ` + strings.Join(columns, ", ") + ` FROM ` + strconv.Quote(t.name) //nolint:gosec // names of the schema
	var args []any
	if after != nil {
		marks := make([]string, len(after))
		for i, v := range after {
			marks[i] = "?"
			value, err := parseKey(v)
			if err != nil {
				return nil, nil, err
			}
			args = append(args, value)
		}
		query += ` WHERE (` + strings.Join(order, ", ") + `) > (` + strings.Join(marks, ", ") + `)`
	}
	query += ` ORDER BY ` + strings.Join(order, ", ") + ` LIMIT ` + strconv.Itoa(chunk)
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	raw, into := make([]any, len(t.columns)), make([]any, len(t.columns))
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		row := make([]any, len(raw))
		for i, c := range t.columns {
			if row[i], err = convert(raw[i], c.kind); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		batch = append(batch, row)
		last = last[:0]
		for _, k := range t.key {
			last = append(last, formatKey(raw[k]))
		}
	}
	return batch, last, rows.Err()
}

// Keys are remembered as text: a letter for the kind, and the value.
func formatKey(v any) string {
	switch v := v.(type) {
	case int64:
		return "i" + strconv.FormatInt(v, 10)
	case []byte:
		return "b" + hex.EncodeToString(v)
	}
	return "t" + fmt.Sprint(v)
}

func parseKey(s string) (any, error) {
	switch s[0] {
	case 'i':
		return strconv.ParseInt(s[1:], 10, 64)
	case 'b':
		return hex.DecodeString(s[1:])
	}
	return s[1:], nil
}

// convert turns a value of SQLite's into what PostgreSQL takes for its type.
func convert(v any, kind string) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int64:
		switch kind {
		case "timestamp with time zone":
			return time.UnixMicro(v).UTC(), nil
		case "date":
			return time.Unix(v*86_400, 0).UTC(), nil
		case "boolean":
			return v != 0, nil
		case "uuid":
			return moment(time.UnixMicro(v)), nil
		case "smallint", "integer", "bigint":
			return v, nil
		}
	case float64:
		if kind == "double precision" {
			return v, nil
		}
	case []byte:
		if kind == "uuid" && len(v) == 16 {
			return [16]byte(v), nil
		}
		if kind == "bytea" {
			return v, nil
		}
	case string:
		switch kind {
		case "text", "json", "jsonb":
			return v, nil
		case "uuid":
			var id pgtype.UUID
			err := id.Scan(v)
			return id.Bytes, err
		case "numeric":
			var n pgtype.Numeric
			err := n.Scan(v)
			return n, err
		}
	}
	return nil, fmt.Errorf("no way from %T to %s", v, kind)
}

// selectMoved reads the table in PostgreSQL in the order of SQLite's.
func (t *table) selectMoved() string {
	var columns, order []string
	for _, c := range t.columns {
		name := quote(c.name)
		if c.kind == "json" || c.kind == "jsonb" || c.kind == "numeric" {
			name += "::text"
		}
		columns = append(columns, name)
	}
	for _, k := range t.key {
		order = append(order, quote(t.columns[k].name))
	}
	return `SELECT ` + strings.Join(columns, ", ") + ` FROM ` + quote(t.name) + ` ORDER BY ` + strings.Join(order, ", ")
}

// describe names a row by its key.
func (t *table) describe(row []any) string {
	parts := make([]string, len(t.key))
	for i, k := range t.key {
		parts[i] = fmt.Sprintf("%s %.100s", t.columns[k].name, plain(row[k], t.columns[k].kind))
	}
	return strings.Join(parts, ", ")
}

// plain writes a value so that equal values of both stores are equal texts.
func plain(v any, kind string) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case [16]byte:
		return hex.EncodeToString(v[:])
	case []byte:
		return hex.EncodeToString(v)
	case pgtype.Numeric:
		text, err := v.MarshalJSON()
		if err != nil {
			return err.Error()
		}
		return decimal(string(text))
	case string:
		switch kind {
		case "numeric":
			return decimal(v)
		case "json", "jsonb":
			return canonical(v)
		}
		return v
	}
	return fmt.Sprint(v)
}

// decimal drops the zeros that a number of fixed scale ends with.
func decimal(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// canonical writes JSON with its members sorted and without spaces.
func canonical(s string) string {
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return s
	}
	out, err := json.Marshal(v)
	if err != nil {
		return s
	}
	return string(out)
}
