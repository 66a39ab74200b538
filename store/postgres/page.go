package postgres

import (
	"context"
	"strconv"
	"strings"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

// listing is a query in the making. Its text is put together of constants
// only; whatever a caller sent goes by way of the arguments, for which the text
// has question marks.
type listing struct {
	name  string // of the listing, in its cursors
	page  usance.Page
	query strings.Builder
	args  []any
	err   error
}

func newListing(name string, p usance.Page, query string, args ...any) *listing {
	q := &listing{name: name, page: p}
	q.add(query, args...)
	if p.Limit < 1 || p.Limit > 1000 {
		q.err = usance.Invalid("limit", "must be from 1 to 1000")
	}
	return q
}

// add adds to the text, in which each question mark stands for an argument.
func (q *listing) add(text string, args ...any) {
	for {
		before, after, found := strings.Cut(text, "?")
		q.query.WriteString(before)
		if !found {
			return
		}
		q.args = append(q.args, args[0])
		q.query.WriteByte('$')
		q.query.WriteString(strconv.Itoa(len(q.args)))
		text, args = after, args[1:]
	}
}

// and adds a condition to the query, which must end in its WHERE clause.
func (q *listing) and(condition string, args ...any) {
	q.add(" AND "+condition, args...)
}

// andIf adds a condition on a value that was given.
func (q *listing) andIf(given bool, condition string, args ...any) {
	if given {
		q.and(condition, args...)
	}
}

// after adds the condition that a row comes after the cursor's. kinds has a
// letter for each part of the sort key: t for text, u for an id, d for a date,
// m for a time, b for bytes.
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
		case 'u':
			id, err := usance.ParseID(part)
			ok = ok && err == nil
			args = append(args, id)
		case 'd', 'm':
			n, err := strconv.ParseInt(part, 10, 64)
			ok = ok && err == nil
			if kinds[i] == 'd' {
				args = append(args, usance.Date(n))
			} else {
				args = append(args, fromMicros(n))
			}
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
		q.and(`EXISTS (SELECT 1 FROM license_usage_licenses sl WHERE sl.id = `+column+` AND sl.brand_id = ANY(?))`, s.BrandIDs)
	}
	if s.LicenseIDs != nil {
		q.and(column+` = ANY(?)`, s.LicenseIDs)
	}
	if s.CreatorID != "" {
		q.and(`EXISTS (SELECT 1 FROM license_usage_licenses sl JOIN asset_owners so ON so.asset_id = sl.asset_id WHERE sl.id = `+column+` AND `+holdsShare+`)`,
			s.CreatorID, s.Today, s.Today)
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
func list[T any](ctx context.Context, v *view, q *listing, order string, scan func(*rows, *T) error, key func(*T) []string) ([]T, string, error) {
	if q.err != nil {
		return nil, "", q.err
	}
	// One more tells whether there is a next page.
	q.add(" ORDER BY "+order+" LIMIT ?", q.page.Limit+1)
	out, err := all(ctx, v, q.query.String(), q.args, scan)
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
func all[T any](ctx context.Context, v *view, query string, args []any, scan func(*rows, *T) error) ([]T, error) {
	var out []T
	err := v.each(ctx, query, args, func(r *rows) error {
		var row T
		err := scan(r, &row)
		out = append(out, row)
		return err
	})
	return out, err
}

// single gives the one row of a query, or NOT_FOUND.
func single[T any](ctx context.Context, v *view, what, query string, args []any, scan func(*rows, *T) error) (T, error) {
	found, err := all(ctx, v, query, args, scan)
	if err == nil && len(found) == 0 {
		err = usance.NewError(usance.CodeNotFound, "there is no such %s", what)
	}
	if err != nil {
		var none T
		return none, err
	}
	return found[0], nil
}
