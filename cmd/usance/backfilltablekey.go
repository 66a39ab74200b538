package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
)

// keyOf gives the columns that tell rows apart: those named, else those of the
// primary key, else of the smallest other key that every row has. It is proven
// when the table itself admits no two rows that are the same in them, and none
// that lacks one.
func (in *inputTable) keyOf(ctx context.Context, oid string, columns, named []string) (key []string, proven bool, err error) {
	for _, n := range named {
		if !slices.Contains(columns, n) {
			return nil, false, fmt.Errorf("--row-key names a column %q that is not there; there are %s", n, columnNames(columns))
		}
	}
	rows, err := in.rows(ctx, `SELECT k.n, a.attname FROM (
			SELECT i.indrelid, i.indkey, row_number() OVER (ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid) n
			FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
			AND NOT EXISTS (SELECT FROM pg_attribute n WHERE n.attrelid = i.indrelid AND n.attnum = ANY(i.indkey) AND NOT n.attnotnull)) k
		CROSS JOIN LATERAL unnest(k.indkey) WITH ORDINALITY u(attnum, n) JOIN pg_attribute a ON a.attrelid = k.indrelid AND a.attnum = u.attnum ORDER BY k.n, u.n`, oid)
	if err != nil {
		return nil, false, err
	}
	var keys [][]string
	for i, r := range rows {
		if i == 0 || r[0] != rows[i-1][0] {
			keys = append(keys, nil)
		}
		keys[len(keys)-1] = append(keys[len(keys)-1], r[1])
	}
	switch {
	case len(named) > 0:
		return named, slices.ContainsFunc(keys, func(k []string) bool {
			return slices.Equal(slices.Sorted(slices.Values(k)), slices.Sorted(slices.Values(named)))
		}), nil
	case len(keys) == 0:
		return nil, false, fmt.Errorf("it has no primary key; say what tells its rows apart with --row-key, one column or several, none of them empty (the columns are %s)", columnNames(columns))
	}
	return keys[0], true, nil
}

// checkKey looks through what is to be read for rows that its key does not tell
// apart. A page begins behind the last key of the one before: rows that share
// that key, or lack it, would never be read, and nobody would know.
func (in *inputTable) checkKey(ctx context.Context) error {
	where, _, args := in.condition(nil)
	var names, key, none []string
	for _, i := range in.key {
		name := pgx.Identifier{in.columns[i].name}.Sanitize()
		names, key, none = append(names, in.columns[i].name), append(key, name), append(none, name+" IS NULL")
	}
	missing := " WHERE "
	if where != "" {
		missing = where + " AND "
	}
	rows, err := in.rows(ctx, "SELECT "+strings.Join(none, ", ")+" FROM "+in.quoted()+missing+"("+strings.Join(none, " OR ")+") LIMIT 1", args...)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return nothingIn(names[slices.Index(rows[0], "t")])
	}
	columns := strings.Join(key, ", ")
	rows, err = in.rows(ctx, "SELECT "+columns+" FROM "+in.quoted()+where+" GROUP BY "+columns+" HAVING count(*) > 1 LIMIT 1", args...)
	if err != nil || len(rows) == 0 {
		return err
	}
	return fmt.Errorf("several rows have the same %s, which is to tell rows apart; name more columns or others with --row-key", said(names, rows[0]))
}

// nothingIn says that a column of the key is NULL in some row.
func nothingIn(column string) error {
	return fmt.Errorf("a row holds nothing in %q, which is to tell rows apart; name other columns with --row-key", column)
}

// said is a key for people.
func said(columns, key []string) string {
	var out []string
	for i, c := range columns {
		out = append(out, fmt.Sprintf("%s=%.60s", c, key[i]))
	}
	return strings.Join(out, " ")
}

// keyFor is the idempotency key of an event that has none: made of --source, the
// table and the row's key, whichever way the table is read.
func (in *inputTable) keyFor(key []string) string {
	parts := make([]string, len(key))
	for i, k := range key {
		parts[i] = url.QueryEscape(k)
	}
	of := ""
	if in.of != "" {
		of = in.of + "/"
	}
	text := "backfill:" + of + url.QueryEscape(in.schema) + "." + url.QueryEscape(in.name) + ":" + strings.Join(parts, ",")
	if len(text) > 255 {
		return "backfill:" + digest(text)
	}
	return text
}

// numberOf is a number that a row keeps: its key where that is one.
func numberOf(key []string) int64 {
	if len(key) == 1 {
		if n, err := strconv.ParseInt(key[0], 10, 64); err == nil && n > 0 && n <= usance.MaxTotal {
			return n
		}
	}
	h := sha256.Sum256([]byte(strings.Join(key, "\x00")))
	return int64(binary.BigEndian.Uint64(h[:8])%(usance.MaxTotal-1)) + 1
}

func digest(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:16])
}
