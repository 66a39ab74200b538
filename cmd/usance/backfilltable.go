package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
)

// inputTable is a table or view of another program's database that is
// backfilled. It is read page by page in the order of its key, each page in a
// transaction of its own that cannot write: no snapshot is held open there while
// events are sent. All values come as text, as PostgreSQL writes them.
type inputTable struct {
	conn    *pgx.Conn
	where   string // the database, for people
	of      string // --source, which tells databases apart; may be empty
	schema  string
	name    string
	columns []tableColumn  // those that are read: first those with a meaning, then the rest of the key
	header  []string       // names of those with a meaning
	key     []int          // which of the columns tell rows apart
	when    int            // which one holds the date or time
	isDay   bool           // that is a day
	zone    *time.Location // of days, and of times that have none
	bounds  []bound
	about   int64 // how many rows there are, as far as can be told
	count   *byteCount

	at   position
	want int        // rows of the next page
	page []tableRow // read and not given yet
	last bool       // there is no other page
	size int64      // bytes of what was read
}

// tableColumn is a column as PostgreSQL knows it.
type tableColumn struct {
	name  string
	kind  uint32 // the number of its type
	isKey bool
}

// tableRow is a row and where it stands.
type tableRow struct {
	record
	at position
}

// bound is a limit of the column of the time.
type bound struct{ operator, value string }

const (
	// tablePage is how many rows are read at once, which are kept in memory, and
	// firstPage how many at first, since one may be all that is asked for. Of a
	// page, only as many are kept as first pass tablePageBytes.
	tablePage      = 1000
	firstPage      = 10
	tablePageBytes = 8 << 20
	// tableCount bounds the counting of rows before the first is read. Where
	// there are more, a twentieth of them is more than any batch.
	tableCount = 20 * usance.MaxBatch
)

// sourceName is what --source may be.
var sourceName = regexp.MustCompile(`^[a-zA-Z0-9._-]{0,40}$`)

// readOnly begins a transaction that cannot write, and in which text is what it
// is everywhere.
const readOnly = `BEGIN TRANSACTION READ ONLY; SET LOCAL client_encoding = 'UTF8'; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'`

// checkFlags looks at which flags go with what is backfilled, and settles what the
// rows of --table are.
func (c *backfillCmd) checkFlags() error {
	isURL := strings.HasPrefix(c.From, "postgres://") || strings.HasPrefix(c.From, "postgresql://")
	if !sourceName.MatchString(c.Source) {
		return fmt.Errorf("--source must be at most 40 letters, digits, dots, dashes and underscores, not %q", c.Source)
	}
	if c.Table == "" {
		switch {
		case c.Source != "" && c.Events == "":
			return errors.New("--source is of --events and --table")
		case isURL:
			return errors.New("--from names a database: say which of its tables with --table")
		case c.From != "" || c.To != "":
			return errors.New("--from and --to are of --raw; a file is backfilled whole")
		case c.Since != nil || c.Until != nil || c.As != "" || len(c.RowKey) > 0 || c.Timezone != "UTC":
			return errors.New("--since, --until, --as, --row-key and --timezone are of --table")
		}
		return nil
	}
	switch {
	case !isURL:
		return errors.New("--table needs the database: --from postgres://user@host:5432/database")
	case c.To != "":
		return errors.New("--to is of --raw; the last day of a table is named with --until")
	case c.Since != nil && c.Until != nil && *c.Since > *c.Until:
		return fmt.Errorf("--since %s lies after --until %s", c.Since, c.Until)
	}
	if c.As == "" {
		switch _, name := splitTable(c.Table); name {
		case "events":
			c.As = "events"
		case "daily_metrics":
			c.As = "daily"
		default:
			return fmt.Errorf("say what the rows of %s are: --as events, or --as daily for daily totals", c.Table)
		}
	}
	return nil
}

// splitTable takes a name apart, which stands for itself: no letter of it means
// anything but the dot between schema and table.
func splitTable(name string) (schema, table string) {
	if schema, table, ok := strings.Cut(name, "."); ok {
		return schema, table
	}
	return "", name
}

// ofTable sets the backfill of a table up.
func (b *backfill) ofTable(in *inputTable, c *backfillCmd) {
	b.in, b.how = in, c.how(in.where+" "+in.fullName())
	name := in.fullName()
	if c.Source != "" {
		name = c.Source + "." + name
	}
	b.besides(url.PathEscape(name))
}

// openTable connects to the database of --from, and finds out what the table is
// made of.
func openTable(ctx context.Context, c *backfillCmd, bar *progress, b *backfill) (in *inputTable, err error) {
	in = &inputTable{when: -1, isDay: c.daily(), of: c.Source}
	if in.where, err = postgres.Where(c.From); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if in.zone, err = usance.ParseZone(c.Timezone); err != nil {
		return nil, fmt.Errorf("--timezone: %w", err)
	}
	if in.conn, err = postgres.Connect(ctx, c.From); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	in.conn.PgConn().Frontend().SetMaxBodyLen(maxInputLine) // a row is one message
	err = in.reading(ctx, func() error { return in.find(ctx, c, b) })
	if err == nil {
		err = in.reading(ctx, func() error { return in.estimate(ctx) })
	}
	if err != nil {
		in.close()
		return nil, fmt.Errorf("%s of %s: %w", c.Table, in.where, err)
	}
	bar.amount = func(n float64) string { return fmt.Sprintf("%.0f rows", n) }
	in.count = bar.add(in.about)
	return in, nil
}

func (in *inputTable) close() { _ = in.conn.Close(context.Background()) } // it was read only

// fullName is schema and name.
func (in *inputTable) fullName() string { return in.schema + "." + in.name }

// quoted is the name as SQL holds it.
func (in *inputTable) quoted() string { return pgx.Identifier{in.schema, in.name}.Sanitize() }

// reading does something in a transaction that cannot write.
func (in *inputTable) reading(ctx context.Context, do func() error) error {
	pg := in.conn.PgConn()
	if err := pg.Exec(ctx, readOnly).Close(); err != nil {
		return err
	}
	err := do()
	if tooLong := new(pgproto3.ExceededMaxBodyLenErr); errors.As(err, &tooLong) {
		return fmt.Errorf("a row holds %d bytes, and %d at most are read of one: leave columns out with --ignore, or read a view that has less", tooLong.ActualBodyLen, tooLong.MaxExpectedBodyLen)
	}
	return errors.Join(err, pg.Exec(context.WithoutCancel(ctx), `ROLLBACK`).Close())
}

// ask asks one question, whose parameters have the types that their places in it
// have; all text.
func (in *inputTable) ask(ctx context.Context, query string, args []string, row func(fields []pgconn.FieldDescription, values [][]byte) error) error {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	answer := in.conn.PgConn().ExecParams(ctx, query, values, nil, nil, nil)
	for answer.NextRow() {
		if err := row(answer.FieldDescriptions(), answer.Values()); err != nil {
			_, e := answer.Close()
			return errors.Join(err, e)
		}
	}
	_, err := answer.Close()
	return err
}

// rows gives the cells of a question's answer as text.
func (in *inputTable) rows(ctx context.Context, query string, args ...string) (out [][]string, err error) {
	err = in.ask(ctx, query, args, func(_ []pgconn.FieldDescription, values [][]byte) error {
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = string(v)
		}
		out = append(out, row)
		return nil
	})
	return out, err
}

// find looks the table up in the catalogue, and takes its columns for what they
// are called or mapped to.
func (in *inputTable) find(ctx context.Context, c *backfillCmd, b *backfill) error {
	schema, name := splitTable(c.Table)
	found, err := in.rows(ctx, `SELECT c.oid, n.nspname, c.relname, c.relkind = 'r' AND c.relhassubclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = $1 AND (n.nspname = $2 OR $2 = '' AND pg_table_is_visible(c.oid)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`, name, schema)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return in.notThere(ctx)
	}
	oid, inherited := found[0][0], found[0][3] == "t"
	in.schema, in.name = found[0][1], found[0][2]
	all, err := in.rows(ctx, `SELECT attname FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, oid)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range all {
		names = append(names, r[0])
	}
	key, proven, err := in.keyOf(ctx, oid, names, c.RowKey)
	if err != nil {
		return err
	}
	for _, column := range c.Ignore {
		if !slices.Contains(names, column) {
			return fmt.Errorf("--ignore names a column %q that is not there; there are %s", column, columnNames(names))
		}
	}
	// What only tells rows apart need not be left out by hand.
	in.header = slices.DeleteFunc(names, func(n string) bool {
		return slices.Contains(c.Ignore, n) || slices.Contains(key, n) && !c.isMeant(n)
	})
	if err := in.understand(c, b); err != nil {
		return err
	}
	for _, n := range in.header {
		in.columns = append(in.columns, tableColumn{name: n})
	}
	for _, n := range key {
		i := slices.IndexFunc(in.columns, func(c tableColumn) bool { return c.name == n })
		if i < 0 {
			i = len(in.columns)
			in.columns = append(in.columns, tableColumn{name: n})
		}
		in.columns[i].isKey = true
		in.key = append(in.key, i)
	}
	if err := in.limit(ctx, c); err != nil || proven && !inherited {
		return err
	}
	return in.checkKey(ctx)
}

// notThere says which tables there are.
func (in *inputTable) notThere(ctx context.Context) error {
	there, err := in.rows(ctx, `SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 21`)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range there {
		names = append(names, r[0])
	}
	return fmt.Errorf("there is no such table or view; there are: %s", strings.Join(names, ", "))
}

// isMeant tells whether a column is mapped, or called like a field.
func (c *backfillCmd) isMeant(column string) bool {
	for _, mapped := range c.Map {
		if mapped == column {
			return true
		}
	}
	fields := eventFields
	if c.daily() {
		fields = dailyFields
	}
	_, known := canonical(column, fields)
	return known
}

// understand takes the columns for what they hold.
func (in *inputTable) understand(c *backfillCmd, b *backfill) (err error) {
	if c.daily() {
		b.rejects.header = in.header
		if b.daily, err = newDailyColumns(in.header, c.Map, nil, c.License); err == nil {
			in.when = b.daily.date
		}
		return err
	}
	names, err := eventColumns(in.header, c.Map, nil)
	if err != nil {
		return err
	}
	have := "the columns are " + columnNames(in.header)
	if in.when = slices.Index(names, "occurredAt"); in.when < 0 {
		return fmt.Errorf("there is no column occurredAt; name it with --map occurredAt=NAME (%s)", have)
	}
	if !slices.Contains(names, "usageType") {
		return fmt.Errorf("there is no column usageType; name it with --map usageType=NAME (%s)", have)
	}
	if !slices.Contains(names, "licenseId") && c.License == "" {
		return fmt.Errorf("there is no column licenseId; name it with --map licenseId=NAME, or the licence of all rows with --license (%s)", have)
	}
	b.events = &eventReader{names: names, fallback: c.License}
	return nil
}

// limit finds out the types of what is read, and takes --since and --until for
// that of the column of the time.
func (in *inputTable) limit(ctx context.Context, c *backfillCmd) error {
	d, err := in.conn.PgConn().Prepare(ctx, "", "SELECT "+in.list()+" FROM "+in.quoted(), nil)
	if err != nil {
		return err
	}
	for i := range in.columns {
		in.columns[i].kind = d.Fields[i].DataTypeOID
	}
	var write func(d usance.Date) string
	switch in.columns[in.when].kind {
	case pgtype.DateOID:
		write = usance.Date.String
	case pgtype.TimestampOID:
		write = func(d usance.Date) string { return d.Start(in.zone).In(in.zone).Format("2006-01-02T15:04:05") }
	case pgtype.TimestamptzOID:
		write = func(d usance.Date) string { return d.Start(in.zone).UTC().Format(time.RFC3339) }
	default:
		if c.Since != nil || c.Until != nil {
			return fmt.Errorf("--since and --until need a column of the type date or timestamp; %q is neither", in.columns[in.when].name)
		}
		return nil
	}
	if c.Since != nil {
		in.bounds = append(in.bounds, bound{">=", write(*c.Since)})
	}
	if c.Until != nil {
		in.bounds = append(in.bounds, bound{"<", write(*c.Until + 1)})
	}
	return nil
}

// list is what is read, as SQL holds it.
func (in *inputTable) list() string {
	var out []string
	for _, c := range in.columns {
		out = append(out, pgx.Identifier{c.name}.Sanitize())
	}
	return strings.Join(out, ", ")
}

// condition is what rows behind a position fulfil, as SQL, and the order of the
// key; parameters stand for all values.
func (in *inputTable) condition(behind []string) (where, order string, args []string) {
	var conditions, key, marks []string
	for _, i := range in.key {
		key = append(key, pgx.Identifier{in.columns[i].name}.Sanitize())
	}
	if behind != nil {
		for _, v := range behind {
			args = append(args, v)
			marks = append(marks, "$"+strconv.Itoa(len(args)))
		}
		conditions = append(conditions, "("+strings.Join(key, ", ")+") > ("+strings.Join(marks, ", ")+")")
	}
	for _, b := range in.bounds {
		args = append(args, b.value)
		conditions = append(conditions, pgx.Identifier{in.columns[in.when].name}.Sanitize()+" "+b.operator+" $"+strconv.Itoa(len(args)))
	}
	if conditions != nil {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	return where, " ORDER BY " + strings.Join(key, ", "), args
}

// estimate tells about how many rows there are: exactly while they are few.
func (in *inputTable) estimate(ctx context.Context) error {
	where, _, args := in.condition(nil)
	rows, err := in.rows(ctx, "SELECT count(*) FROM (SELECT FROM "+in.quoted()+where+" LIMIT "+strconv.Itoa(tableCount)+") few", args...)
	if err != nil {
		return err
	}
	if in.about, err = strconv.ParseInt(rows[0][0], 10, 64); err != nil || in.about < tableCount {
		return err
	}
	rows, err = in.rows(ctx, `SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)`, in.quoted())
	if err != nil {
		return err
	}
	all, err := strconv.ParseInt(rows[0][0], 10, 64)
	in.about = max(in.about, all)
	return err
}

// start reads on behind the row of a position.
func (in *inputTable) start(_ context.Context, at position) error {
	in.at, in.want, in.page, in.last = at, firstPage, nil, false
	in.count.n.Store(at.Line)
	return nil
}

func (in *inputTable) place() position { return in.at }

func (in *inputTable) isPart(since position) bool { return in.at.Line-since.Line >= in.about/20 }

func (in *inputTable) read() int64 { return in.size }

// source names the table alone: whatever it holds by now, its rows are the same
// by their keys.
func (in *inputTable) source() string {
	text := "table " + in.fullName()
	if in.of != "" {
		text += " of " + in.of
	}
	if len(text) > 255 { // two names of at most 63 characters, of up to four bytes
		text = "table " + digest(text)
	}
	return text
}

// next gives the next row.
func (in *inputTable) next(ctx context.Context) (record, error) {
	if len(in.page) == 0 && !in.last {
		if err := in.reading(ctx, func() error { return in.fetch(ctx) }); err != nil {
			return record{}, fmt.Errorf("reading %s of %s: %w", in.fullName(), in.where, err)
		}
	}
	if len(in.page) == 0 {
		return record{}, io.EOF
	}
	r := in.page[0]
	in.page, in.at = in.page[1:], r.at
	in.count.n.Store(in.at.Line)
	return r.record, nil
}

// fetch reads a page.
func (in *inputTable) fetch(ctx context.Context) error {
	where, order, args := in.condition(in.at.Key)
	line, begun, size, full := in.at.Line, in.size, int64(0), false
	in.page = in.page[:0]
	err := in.ask(ctx, "SELECT "+in.list()+" FROM "+in.quoted()+where+order+" LIMIT "+strconv.Itoa(in.want), args, func(fields []pgconn.FieldDescription, values [][]byte) error {
		if full {
			return nil // the next page begins with it
		}
		line++
		r, err := in.row(fields, values, line)
		in.page = append(in.page, r)
		size = in.size - begun
		full = size >= tablePageBytes
		return err
	})
	in.last = len(in.page) < in.want && !full
	in.want = tablePage
	if size > 0 { // as many as are likely to be kept
		in.want = int(min(tablePage, max(firstPage, tablePageBytes*int64(len(in.page))/size)))
	}
	return err
}

// row makes a record of a row.
func (in *inputTable) row(fields []pgconn.FieldDescription, values [][]byte, line int64) (r tableRow, err error) {
	r.at = position{Line: line}
	for i, v := range values {
		in.size += int64(len(v))
		if in.columns[i].isKey && v == nil {
			return r, nothingIn(in.columns[i].name)
		}
		if i < len(in.header) {
			r.cells = append(r.cells, in.cell(string(v), fields[i].DataTypeOID, i == in.when))
		}
	}
	var names []string
	for _, i := range in.key {
		names, r.at.Key = append(names, in.columns[i].name), append(r.at.Key, string(values[i]))
	}
	r.row = said(names, r.at.Key)
	r.record.line = numberOf(r.at.Key)
	r.key = in.keyFor(r.at.Key)
	return r, nil
}

// cell is a value as a file would hold it.
func (in *inputTable) cell(text string, kind uint32, when bool) string {
	switch kind {
	case pgtype.NumericOID: // 12.00 is the whole number 12
		if whole, part, ok := strings.Cut(text, "."); ok && strings.Trim(part, "0") == "" {
			return whole
		}
		return text
	case pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID:
	default:
		return text
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05.999999999-07", text, in.zone)
	if kind == pgtype.TimestampOID {
		t, err = time.ParseInLocation("2006-01-02 15:04:05.999999999", text, in.zone)
	}
	if kind == pgtype.DateOID {
		var d usance.Date
		if d, err = usance.ParseDate(text); err == nil {
			t = d.Start(in.zone)
		}
	}
	if err != nil { // infinity, or before Christ: whoever wants a time says so
		return text
	}
	if kind == pgtype.DateOID && !when {
		return text
	}
	if d := usance.DateOf(t, in.zone); in.isDay && when && d.Start(in.zone).Equal(t) { // its midnight is the day
		return d.String()
	}
	return t.UTC().Format(time.RFC3339Nano)
}
