package sqlite

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

// How values are written: what is absent is NULL, so that SQL by hand reads
// naturally, and times are microseconds.

func text[T ~string](s T) any {
	if s == "" {
		return nil
	}
	return string(s)
}

func raw(r usance.RawJSON) any {
	if len(r) == 0 {
		return nil
	}
	return string(r)
}

func optTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func ptrTime(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

func ptrInt[T ~int | ~int32 | ~int64](n *T) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

func optFloat(f float64) any {
	if f == 0 {
		return nil
	}
	return f
}

func ptrFloat(f *float64) any {
	if f == nil {
		return nil
	}
	return *f
}

func ptrBool(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}

func ptrRate(r *usance.Rate) any {
	if r == nil {
		return nil
	}
	return r.String()
}

// asJSON writes a slice or a pointer, nil as NULL.
func asJSON(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	if string(b) == "null" {
		return nil, nil
	}
	return string(b), nil
}

// jsonStrings writes strings for json_each. It is called for every batch.
func jsonStrings(list []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, s := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(codec.AppendQuoted(nil, s))
	}
	b.WriteByte(']')
	return b.String()
}

// How values are read: each of these is a sql.Scanner around a field.

type toTime struct{ t *time.Time }

func (d toTime) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d.t = time.Time{}
	case int64:
		*d.t = micros(v)
	default:
		return fmt.Errorf("a time is stored as %T", src)
	}
	return nil
}

type toPtrTime struct{ t **time.Time }

func (d toPtrTime) Scan(src any) error {
	if src == nil {
		*d.t = nil
		return nil
	}
	*d.t = new(time.Time)
	return toTime{*d.t}.Scan(src)
}

func micros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// toText reads NULL as the empty string.
type toText[T ~string] struct{ s *T }

func (d toText[T]) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d.s = ""
	case string:
		*d.s = T(v)
	case []byte:
		*d.s = T(v)
	default:
		return fmt.Errorf("a text is stored as %T", src)
	}
	return nil
}

func intoText[T ~string](s *T) toText[T] { return toText[T]{s} }

type toRaw struct{ r *usance.RawJSON }

func (d toRaw) Scan(src any) error {
	var s string
	if err := (toText[string]{&s}).Scan(src); err != nil {
		return err
	}
	*d.r = nil
	if s != "" {
		*d.r = usance.RawJSON(s)
	}
	return nil
}

// toID reads both forms of an id: 16 bytes or 36 characters.
type toID struct{ id *usance.ID }

func (d toID) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d.id = usance.ID{}
	case string:
		return d.id.UnmarshalText([]byte(v))
	case []byte:
		if len(v) != len(d.id) {
			return fmt.Errorf("an id is stored as %d bytes", len(v))
		}
		copy(d.id[:], v)
	default:
		return fmt.Errorf("an id is stored as %T", src)
	}
	return nil
}

// toFloat reads NULL as 0.
type toFloat struct{ f *float64 }

func (d toFloat) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d.f = 0
	case float64:
		*d.f = v
	case int64:
		*d.f = float64(v)
	default:
		return fmt.Errorf("a number is stored as %T", src)
	}
	return nil
}

type toRate struct{ r **usance.Rate }

func (d toRate) Scan(src any) error {
	*d.r = nil
	if src == nil {
		return nil
	}
	var s string
	if err := (toText[string]{&s}).Scan(src); err != nil {
		return err
	}
	*d.r = new(usance.Rate)
	return (*d.r).UnmarshalText([]byte(s))
}

// toJSON reads into a pointer; NULL leaves it as it is.
type toJSON struct{ v any }

func (d toJSON) Scan(src any) error {
	if src == nil {
		return nil
	}
	var s string
	if err := (toText[string]{&s}).Scan(src); err != nil {
		return err
	}
	return json.Unmarshal([]byte(s), d.v)
}
