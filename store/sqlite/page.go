package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/usance/usance"
	"github.com/usance/usance/store/listing"
)

// query is one of a listing, in the making.
type query struct{ *listing.Query }

func newListing(name string, p usance.Page, text string, args ...any) query {
	return query{listing.New(name, p, text, args...)}
}

// after adds the condition that a row comes after the cursor's. kinds has a
// letter for each part of the sort key: t for text, i for an integer, b for
// bytes.
func (q query) after(kinds, condition string) {
	q.After(kinds, condition, func(kind byte, part string) (any, error) {
		switch kind {
		case 't':
			return part, nil
		case 'b':
			return []byte(part), nil
		case 'i':
			return strconv.ParseInt(part, 10, 64)
		}
		return nil, fmt.Errorf("sqlite: a sort key has no parts of kind %c", kind)
	})
}

// inScope narrows to rows whose licence the scope holds; column is that of the
// licence's id.
func (q query) inScope(s usance.Scope, column string) {
	if s.BrandIDs != nil {
		q.And(`EXISTS (SELECT 1 FROM licenses sl WHERE sl.id = `+column+` AND sl.brand_id IN (SELECT value FROM json_each(?)))`, jsonStrings(s.BrandIDs))
	}
	if s.LicenseIDs != nil {
		q.And(column+` IN (SELECT value FROM json_each(?))`, jsonStrings(s.LicenseIDs))
	}
	if s.CreatorID != "" {
		q.And(`EXISTS (SELECT 1 FROM licenses sl JOIN asset_owners so ON so.asset_id = sl.asset_id WHERE sl.id = `+column+` AND `+holdsShare+`)`,
			s.CreatorID, int64(s.Today), int64(s.Today))
	}
}

// holdsShare: the owner so is the creator, on the day given twice.
const holdsShare = `so.creator_id = ? AND (so.from_date IS NULL OR so.from_date <= ?) AND (so.to_date IS NULL OR ? < so.to_date)`

// list runs the query and gives a page of rows with the cursor of the next one;
// key gives a row's sort key.
func list[T any](ctx context.Context, v *view, q query, order string, scan func(*sql.Rows, *T) error, key func(*T) []string) ([]T, string, error) {
	return listing.Page(q.Query, order, func(text string, args []any) ([]T, error) { return all(ctx, v, text, args, scan) }, key)
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
