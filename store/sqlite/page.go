package sqlite

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

// listing is a query in the making. Its text is put together of constants
// only; whatever a caller sent goes by way of the arguments.
type listing struct {
	name  string // of the listing, in its cursors
	page  usance.Page
	query strings.Builder
	args  []any
	err   error
}

func newListing(name string, p usance.Page, query string, args ...any) *listing {
	q := &listing{name: name, page: p, args: args}
	q.query.WriteString(query)
	if p.Limit < 1 || p.Limit > 1000 {
		q.err = usance.Invalid("limit", "must be from 1 to 1000")
	}
	return q
}

// and adds a condition to the query, which must end in its WHERE clause.
func (q *listing) and(condition string, args ...any) {
	q.query.WriteString(" AND ")
	q.query.WriteString(condition)
	q.args = append(q.args, args...)
}

// andIf adds a condition on a value that was given.
func (q *listing) andIf(given bool, condition string, args ...any) {
	if given {
		q.and(condition, args...)
	}
}

// after adds the condition that a row comes after the cursor's. kinds has a
// letter for each part of the sort key: t for text, i for an integer, b for
// bytes.
func (q *listing) after(kinds, condition string) {
	if q.page.Cursor == "" || q.err != nil {
		return
	}
	parts, ok := codec.ParseCursor(q.name, q.page.Cursor, len(kinds))
	args := make([]any, 0, len(kinds))
	for i, part := range parts {
		switch kinds[i] {
		case 't':
			args = append(args, part)
		case 'b':
			args = append(args, []byte(part))
		case 'i':
			n, err := strconv.ParseInt(part, 10, 64)
			ok = ok && err == nil
			args = append(args, n)
		}
	}
	if !ok {
		q.err = usance.Invalid("cursor", "is none that this listing gave; begin without a cursor")
		return
	}
	q.and(condition, args...)
}

// inScope narrows to rows whose licence the scope holds; column is that of the
// licence's id.
func (q *listing) inScope(s usance.Scope, column string) {
	if s.BrandIDs != nil {
		q.and(`EXISTS (SELECT 1 FROM licenses sl WHERE sl.id = `+column+` AND sl.brand_id IN (SELECT value FROM json_each(?)))`, jsonStrings(s.BrandIDs))
	}
	if s.LicenseIDs != nil {
		q.and(column+` IN (SELECT value FROM json_each(?))`, jsonStrings(s.LicenseIDs))
	}
	if s.CreatorID != "" {
		q.and(`EXISTS (SELECT 1 FROM licenses sl JOIN asset_owners so ON so.asset_id = sl.asset_id WHERE sl.id = `+column+` AND `+holdsShare+`)`,
			s.CreatorID, int64(s.Today), int64(s.Today))
	}
}

// holdsShare: the owner so is the creator, on the day given twice.
const holdsShare = `so.creator_id = ? AND (so.from_date IS NULL OR so.from_date <= ?) AND (so.to_date IS NULL OR ? < so.to_date)`

// narrows tells whether the scope hides anything.
func narrows(s usance.Scope) bool {
	return s.BrandIDs != nil || s.LicenseIDs != nil || s.CreatorID != ""
}

// list runs the query and gives a page of rows with the cursor of the next one;
// key gives a row's sort key.
func list[T any](ctx context.Context, v *view, q *listing, order string, scan func(*sql.Rows, *T) error, key func(*T) []string) ([]T, string, error) {
	if q.err != nil {
		return nil, "", q.err
	}
	q.query.WriteString(" ORDER BY ")
	q.query.WriteString(order)
	q.query.WriteString(" LIMIT ?")
	var out []T
	// One more tells whether there is a next page.
	err := v.each(ctx, q.query.String(), append(q.args, q.page.Limit+1), func(rows *sql.Rows) error {
		var row T
		err := scan(rows, &row)
		out = append(out, row)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(out) <= q.page.Limit {
		return out, "", nil
	}
	out = out[:q.page.Limit]
	return out, codec.MakeCursor(q.name, key(&out[len(out)-1])), nil
}

// all runs a query that has no pages.
func all[T any](ctx context.Context, v *view, query string, args []any, scan func(*sql.Rows, *T) error) ([]T, error) {
	var out []T
	err := v.each(ctx, query, args, func(rows *sql.Rows) error {
		var row T
		err := scan(rows, &row)
		out = append(out, row)
		return err
	})
	return out, err
}

// single gives the one row of a query, or NOT_FOUND.
func single[T any](ctx context.Context, v *view, what, query string, args []any, scan func(*sql.Rows, *T) error) (T, error) {
	rows, err := all(ctx, v, query, args, scan)
	if err == nil && len(rows) == 0 {
		err = usance.NewError(usance.CodeNotFound, "there is no such %s", what)
	}
	if err != nil {
		var none T
		return none, err
	}
	return rows[0], nil
}
