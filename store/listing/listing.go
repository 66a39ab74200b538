// Package listing is what the stores do alike with queries of listings: they are
// put together of constants, whatever a caller sent goes by way of the arguments,
// and they are answered a page at a time.
package listing

import (
	"strings"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

// Query is a query in the making. A question mark in its text stands for each
// argument.
type Query struct {
	name string // of the listing, in its cursors
	page usance.Page
	text strings.Builder
	args []any
	err  error
}

// New begins a query whose text ends in its WHERE clause. A page of none or of
// more than 1,000 rows is VALIDATION_ERROR.
func New(name string, p usance.Page, text string, args ...any) *Query {
	q := &Query{name: name, page: p}
	q.Add(text, args...)
	if p.Limit < 1 || p.Limit > 1000 {
		q.err = usance.Invalid("limit", "must be from 1 to 1000")
	}
	return q
}

// Add adds to the text.
func (q *Query) Add(text string, args ...any) {
	q.text.WriteString(text)
	q.args = append(q.args, args...)
}

// And adds a condition.
func (q *Query) And(condition string, args ...any) { q.Add(" AND "+condition, args...) }

// AndIf adds a condition on a value that was given.
func (q *Query) AndIf(given bool, condition string, args ...any) {
	if given {
		q.And(condition, args...)
	}
}

// After adds the condition that a row comes after the cursor's, if there is one.
// kinds has a letter for each part of the sort key, of which value makes the
// argument.
func (q *Query) After(kinds, condition string, value func(kind byte, part string) (any, error)) {
	if q.page.Cursor == "" || q.err != nil {
		return
	}
	parts, ok := codec.ParseCursor(q.name, q.page.Cursor, len(kinds))
	args := make([]any, 0, len(kinds))
	for i, part := range parts {
		arg, err := value(kinds[i], part)
		ok = ok && err == nil
		args = append(args, arg)
	}
	if !ok {
		q.err = usance.Invalid("cursor", "is none that this listing gave; begin without a cursor")
		return
	}
	q.And(condition, args...)
}

// SQL gives the query as it is by now.
func (q *Query) SQL() (text string, args []any) { return q.text.String(), q.args }

// Page runs the query for one page, with one row more, which tells whether there
// is a next one: its cursor is made of the last row's sort key.
func Page[T any](q *Query, order string, run func(text string, args []any) ([]T, error), key func(*T) []string) ([]T, string, error) {
	if q.err != nil {
		return nil, "", q.err
	}
	q.Add(" ORDER BY "+order+" LIMIT ?", q.page.Limit+1)
	out, err := run(q.SQL())
	if err != nil {
		return nil, "", err
	}
	if len(out) <= q.page.Limit {
		return out, "", nil
	}
	out = out[:q.page.Limit]
	return out, codec.MakeCursor(q.name, key(&out[len(out)-1])), nil
}
