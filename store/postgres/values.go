package postgres

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/usance/usance"
)

// How values are written and read: what is absent is NULL, so that SQL by hand
// reads naturally.

// epoch is 2000-01-01, from which PostgreSQL counts days and microseconds.
const (
	epochDays   = 10957
	epochMicros = epochDays * 24 * 60 * 60 * 1_000_000
)

func toMicros(t time.Time) int64 { return t.UnixMicro() - epochMicros }

func fromMicros(n int64) time.Time { return time.UnixMicro(n + epochMicros).UTC() }

// registerTypes teaches a connection dates, ids and times as the program has
// them.
func registerTypes(c *pgx.Conn) {
	m := c.TypeMap()
	register := func(name string, oid, arrayOID uint32, codec pgtype.Codec) {
		t := &pgtype.Type{Name: name, OID: oid, Codec: codec}
		m.RegisterType(t)
		m.RegisterType(&pgtype.Type{Name: "_" + name, OID: arrayOID, Codec: &pgtype.ArrayCodec{ElementType: t}})
	}
	register("date", pgtype.DateOID, pgtype.DateArrayOID, dateCodec{})
	register("uuid", pgtype.UUIDOID, pgtype.UUIDArrayOID, idCodec{})
	register("timestamptz", pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID, &pgtype.TimestamptzCodec{ScanLocation: time.UTC})
	registerColumn(m, "text", pgtype.TextOID, pgtype.TextArrayOID, func(b []byte, s string) []byte { return append(b, s...) })
	registerColumn(m, "int8", pgtype.Int8OID, pgtype.Int8ArrayOID, func(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) })
	registerColumn(m, "date", pgtype.DateOID, pgtype.DateArrayOID, appendDate)
}

// columnCodec is an array of one dimension without NULLs that is written from a
// slice of T in one go: element by element, the driver takes four times as long for
// the columns of rows.
type columnCodec[T any] struct {
	*pgtype.ArrayCodec
	element uint32 // the type of elements
	write   func([]byte, T) []byte
}

func registerColumn[T any](m *pgtype.Map, element string, oid, arrayOID uint32, write func([]byte, T) []byte) {
	t, _ := m.TypeForOID(oid)
	m.RegisterType(&pgtype.Type{Name: "_" + element, OID: arrayOID, Codec: columnCodec[T]{&pgtype.ArrayCodec{ElementType: t}, oid, write}})
}

func (c columnCodec[T]) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.([]T); ok && format == pgtype.BinaryFormatCode {
		return c
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// usual bounds what the first element lets the others be taken for: one may be far longer.
const usual = 64

// Encode is what pgx calls.
func (c columnCodec[T]) Encode(value any, b []byte) ([]byte, error) {
	column, ok := value.([]T)
	if !ok {
		return nil, fmt.Errorf("a column is given as %T", value)
	}
	if column == nil {
		return nil, nil
	}
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, min(1, uint32(len(column)))) // dimensions
	b = binary.BigEndian.AppendUint32(b, 0)                           // no NULLs
	b = binary.BigEndian.AppendUint32(b, c.element)
	if len(column) == 0 {
		return b, nil
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(column)))
	b = binary.BigEndian.AppendUint32(b, 1) // the first index
	for i, v := range column {
		at := len(b)
		b = c.write(append(b, 0, 0, 0, 0), v)
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		if i == 0 {
			b = slices.Grow(b, min(len(b)-start, usual)*len(column)) // the others are about as long
		}
	}
	return b, nil
}

// dateCodec is usance.Date beside what pgx takes for a date.
type dateCodec struct{ pgtype.DateCodec }

func (c dateCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(usance.Date); ok && format == pgtype.BinaryFormatCode {
		return encodeDate{}
	}
	return c.DateCodec.PlanEncode(m, oid, format, value)
}

func (c dateCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*usance.Date); ok && format == pgtype.BinaryFormatCode {
		return scanDate{}
	}
	return c.DateCodec.PlanScan(m, oid, format, target)
}

type encodeDate struct{}

func (encodeDate) Encode(value any, b []byte) ([]byte, error) {
	d, ok := value.(usance.Date)
	if !ok {
		return nil, fmt.Errorf("a date is given as %T", value)
	}
	return appendDate(b, d), nil
}

func appendDate(b []byte, d usance.Date) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(d-epochDays))
}

type scanDate struct{}

func (scanDate) Scan(src []byte, target any) error {
	d, ok := target.(*usance.Date)
	if !ok || len(src) != 4 {
		return fmt.Errorf("a date of %d bytes is read into %T", len(src), target)
	}
	*d = usance.Date(int32(binary.BigEndian.Uint32(src))) + epochDays
	return nil
}

// idCodec is usance.ID, the zero one as NULL.
type idCodec struct{ pgtype.UUIDCodec }

func (c idCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(usance.ID); ok && format == pgtype.BinaryFormatCode {
		return encodeID{}
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

func (c idCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*usance.ID); ok && format == pgtype.BinaryFormatCode {
		return scanID{}
	}
	return c.UUIDCodec.PlanScan(m, oid, format, target)
}

type encodeID struct{}

func (encodeID) Encode(value any, b []byte) ([]byte, error) {
	id, ok := value.(usance.ID)
	if !ok {
		return nil, fmt.Errorf("an id is given as %T", value)
	}
	if id.IsZero() {
		return nil, nil
	}
	return append(b, id[:]...), nil
}

type scanID struct{}

func (scanID) Scan(src []byte, target any) error {
	id, ok := target.(*usance.ID)
	if !ok || src != nil && len(src) != len(id) {
		return fmt.Errorf("an id of %d bytes is read into %T", len(src), target)
	}
	*id = usance.ID{}
	copy(id[:], src)
	return nil
}

// text writes the empty string as NULL, and intoText reads it so.
func text[T ~string](s T) *string {
	if s == "" {
		return nil
	}
	out := string(s)
	return &out
}

func intoText[T ~string](s *T) toText[T] { return toText[T]{s} }

type toText[T ~string] struct{ s *T }

// ScanText is what pgx calls.
func (d toText[T]) ScanText(v pgtype.Text) error {
	*d.s = T(v.String)
	return nil
}

func optTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// intoTime reads NULL as the zero time.
func intoTime(t *time.Time) *zeroTime { return (*zeroTime)(t) }

type zeroTime time.Time

// ScanTimestamptz is what pgx calls.
func (z *zeroTime) ScanTimestamptz(v pgtype.Timestamptz) error {
	*z = zeroTime{}
	if v.Valid {
		*z = zeroTime(v.Time.UTC())
	}
	return nil
}

func optFloat(f float64) *float64 {
	if f == 0 {
		return nil
	}
	return &f
}

// toFloat reads NULL as 0.
type toFloat struct{ f *float64 }

// ScanFloat64 is what pgx calls.
func (d toFloat) ScanFloat64(v pgtype.Float8) error {
	*d.f = v.Float64
	return nil
}

func ptrRate(r *usance.Rate) *string {
	if r == nil {
		return nil
	}
	s := r.String()
	return &s
}

// toRate reads a decimal that the statement casts to text.
type toRate struct{ r **usance.Rate }

// ScanText is what pgx calls.
func (d toRate) ScanText(v pgtype.Text) error {
	*d.r = nil
	if !v.Valid {
		return nil
	}
	*d.r = new(usance.Rate)
	return (*d.r).UnmarshalText([]byte(v.String))
}

// asJSON writes a slice or a pointer, nil as NULL.
func asJSON(v any) (*string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	s := string(b)
	if s == "null" {
		return nil, nil
	}
	return &s, nil
}

// raw writes JSON as it was sent, none as NULL.
func raw(r usance.RawJSON) *string {
	if len(r) == 0 {
		return nil
	}
	s := string(r)
	return &s
}

// intoRaw reads JSON as it was sent.
func intoRaw(r *usance.RawJSON) *[]byte { return (*[]byte)(r) }

// column gives one value of each row, for unnest.
func column[T, V any](rows []T, value func(*T) V) []V {
	out := make([]V, len(rows))
	for i := range rows {
		out[i] = value(&rows[i])
	}
	return out
}
