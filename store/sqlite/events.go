package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
)

// seqRange is a batch's events: those from first to last, inclusively.
type seqRange struct{ first, last int64 }

const eventColumns = `e.seq, e.id, e.license_id, e.key, e.long_key, e.local_date, e.usage_type, e.quantity, e.revenue_cents,
	e.occurred_at, e.received_at, e.payload_hash, e.hour_slot, e.stamped, e.session_hash, e.void_of,
	e.platform, e.device_type, e.geographic_location, e.referrer, e.metadata`

// isVoided is the derived state of event e.
const isVoided = `EXISTS (SELECT 1 FROM license_usage_events v WHERE v.license_id = e.license_id AND v.void_of = e.id)`

// eventRow is an event on its way out of the store. It is read by the million,
// hence the plain fields, one set of them for all rows.
type eventRow struct {
	seq                                                      int64
	id, key, payload, voidOf                                 sql.RawBytes
	license, usageType                                       string
	longKey, platform, device, geography, referrer, metadata sql.NullString
	date, occurred, received, session                        int64
	hour                                                     int64
	stamped                                                  bool
	quantity, revenue                                        int64
	dest                                                     []any
}

func newEventRow(extra ...any) *eventRow {
	r := new(eventRow)
	r.dest = append([]any{
		&r.seq, &r.id, &r.license, &r.key, &r.longKey, &r.date, &r.usageType, &r.quantity, &r.revenue,
		&r.occurred, &r.received, &r.payload, &r.hour, &r.stamped, &r.session, &r.voidOf,
		&r.platform, &r.device, &r.geography, &r.referrer, &r.metadata,
	}, extra...)
	return r
}

func (r *eventRow) scan(rows *sql.Rows, e *usance.Event) error {
	if err := rows.Scan(r.dest...); err != nil {
		return err
	}
	*e = usance.Event{
		LicenseID: r.license, UsageType: r.usageType, Quantity: r.quantity, RevenueCents: r.revenue,
		OccurredAt: micros(r.occurred), ReceivedAt: micros(r.received),
		LocalDate: usance.Date(r.date), HourSlot: int(r.hour), Stamped: r.stamped, SessionHash: uint64(r.session),
		Platform: r.platform.String, DeviceType: r.device.String, GeographicLocation: r.geography.String,
		Referrer: r.referrer.String,
	}
	if r.longKey.Valid {
		e.IdempotencyKey = r.longKey.String
	} else {
		e.IdempotencyKey = string(r.key)
	}
	if r.metadata.Valid {
		e.Metadata = usance.RawJSON(r.metadata.String)
	}
	copy(e.ID[:], r.id)
	copy(e.VoidOf[:], r.voidOf)
	copy(e.PayloadHash[:], r.payload)
	return nil
}

// Inserting several rows by one statement spares what a statement costs by
// itself; more than a few gain nothing. OR FAIL spares SQLite the copies of pages
// by which it undoes a statement that fails half way: its transaction ends then.
const rowsPerInsert = 10

const (
	insertEvents = `INSERT OR FAIL INTO license_usage_events (license_id, key, local_date, usage_type, quantity, revenue_cents,
			occurred_at, received_at, id, payload_hash, hour_slot, stamped, session_hash, void_of,
			platform, device_type, geographic_location, referrer, metadata, long_key) VALUES `
	eventValues = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	eventArgs   = 20
)

var insertOne, insertMany = insertEvents + eventValues, insertEvents + strings.Repeat(eventValues+", ", rowsPerInsert-1) + eventValues

// AddEvents appends the events, so that their rows have neighbouring numbers.
func (t *tx) AddEvents(ctx context.Context, batches []usance.Batch) error {
	received := make(map[int64]int64, 1) // UTC day → events
	var events []*usance.Event
	for i := range batches {
		for j := range batches[i].Events {
			e := &batches[i].Events[j]
			events = append(events, e)
			received[floorDay(e.ReceivedAt)]++
		}
	}
	if len(events) == 0 {
		return nil
	}
	many := len(events) / rowsPerInsert * rowsPerInsert
	first, err := t.insertEvents(ctx, insertMany, rowsPerInsert, events[:many])
	if err != nil {
		return err
	}
	rest, err := t.insertEvents(ctx, insertOne, 1, events[many:])
	if err != nil {
		return err
	}
	if many == 0 {
		first = rest
	}
	if err := t.countReceived(ctx, received); err != nil {
		return err
	}
	return t.leavePending(ctx, batches, first)
}

// insertEvents inserts events, rows of them by a statement, and gives the
// number of the first.
func (t *tx) insertEvents(ctx context.Context, query string, rows int, events []*usance.Event) (first int64, err error) {
	if len(events) == 0 {
		return 0, nil
	}
	err = t.writing(ctx, query, func(ctx context.Context, s *sql.Stmt) error {
		args := make([]any, 0, rows*eventArgs)
		for i := 0; i < len(events); i += rows {
			args = args[:0]
			for j := range rows {
				args = appendEvent(args, events[i+j])
			}
			res, err := s.ExecContext(ctx, args...)
			if isUnique(err) {
				return usance.ErrKeyExists
			}
			if err != nil {
				return err
			}
			if i == 0 {
				last, err := res.LastInsertId()
				if err != nil {
					return err
				}
				first = last - int64(rows) + 1
			}
		}
		return nil
	})
	return first, err
}

// idArg is where appendEvent puts the event's id, when args are empty.
const idArg = 8

func appendEvent(args []any, e *usance.Event) []any {
	key, long := storedKey(e.IdempotencyKey)
	var voidOf any
	if !e.VoidOf.IsZero() {
		voidOf = e.VoidOf[:]
	}
	return append(args, e.LicenseID, key, int64(e.LocalDate), e.UsageType, e.Quantity, e.RevenueCents,
		e.OccurredAt.UnixMicro(), e.ReceivedAt.UnixMicro(), e.ID[:], e.PayloadHash[:], int64(e.HourSlot), e.Stamped, int64(e.SessionHash), voidOf,
		text(e.Platform), text(e.DeviceType), text(e.GeographicLocation), text(e.Referrer), raw(e.Metadata), long)
}

// storedKey gives the columns key and long_key.
func storedKey(idempotencyKey string) (key []byte, long any) {
	stored := usance.Key(idempotencyKey)
	if stored != idempotencyKey {
		long = idempotencyKey
	}
	return []byte(stored), long
}

func floorDay(t time.Time) int64 { return int64(usance.DateOf(t, time.UTC)) }

func (t *tx) countReceived(ctx context.Context, days map[int64]int64) error {
	for day, n := range days {
		_, err := t.exec(ctx, `INSERT INTO license_usage_received (day, events) VALUES (?, ?)
			ON CONFLICT (day) DO UPDATE SET events = events + excluded.events`, day, n)
		if err != nil {
			return err
		}
	}
	return nil
}

// leavePending records batches whose events follow each other from the number
// first on.
func (t *tx) leavePending(ctx context.Context, batches []usance.Batch, first int64) error {
	return t.writing(ctx, `INSERT INTO pending_batches (license_group, first_seq, last_seq, at, batch_id) VALUES (?, ?, ?, ?, ?)`,
		func(ctx context.Context, s *sql.Stmt) error {
			for i := range batches {
				b := &batches[i]
				n := int64(len(b.Events))
				if n == 0 {
					continue
				}
				if _, err := s.ExecContext(ctx, pendingGroup(b), first, first+n-1, b.At.UnixMicro(), b.ID[:]); err != nil {
					return err
				}
				first += n
			}
			return nil
		})
}

// pendingGroup is the group that a batch is pending in: that of all its licences,
// so that a fold of the group finds its batches side by side, and readers those
// of a licence; 0, where all look, when they are of several.
func pendingGroup(b *usance.Batch) int {
	for i := range b.Events {
		if groupOf(b.Events[i].LicenseID) != b.Group {
			return 0
		}
	}
	return b.Group
}

func groupOf(licenseID string) int { return usance.GroupOf(licenseID, usance.MaxGroups) }

func (v *view) EventByKey(ctx context.Context, licenseID, idempotencyKey string) (usance.Event, error) {
	key, _ := storedKey(idempotencyKey)
	return v.event(ctx, `SELECT `+eventColumns+`, `+isVoided+` FROM license_usage_events e
		WHERE e.license_id = ? AND e.key = ?`, licenseID, key)
}

func (v *view) EventByID(ctx context.Context, licenseID string, id usance.ID) (usance.Event, error) {
	return v.event(ctx, `SELECT `+eventColumns+`, `+isVoided+` FROM license_usage_events e
		WHERE +e.license_id = ? AND e.id = ?`, licenseID, id[:])
}

func (v *view) event(ctx context.Context, query string, args ...any) (usance.Event, error) {
	return single(ctx, v, "event", query, args, func(rows *sql.Rows, e *usance.Event) error {
		var voided bool
		err := newEventRow(&voided).scan(rows, e)
		e.Voided = voided
		return err
	})
}

func (v *view) EventsByKey(ctx context.Context, refs []usance.EventRef) ([]usance.Event, error) {
	// Keys are bytes, which JSON cannot hold: they go in hexadecimal.
	b := make([]byte, 0, 64*len(refs))
	b = append(b, '[')
	for i, r := range refs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = codec.AppendQuoted(b, r.LicenseID)
		b = append(b, ',', '"')
		b = hex.AppendEncode(b, []byte(usance.Key(r.IdempotencyKey)))
		b = append(b, '"', ']')
	}
	b = append(b, ']')
	var id, hash []byte
	return all(ctx, v, `SELECT e.id, e.license_id, e.idempotency_key, e.payload_hash, e.local_date, e.occurred_at, e.usage_type, e.quantity
		FROM json_each(?) r CROSS JOIN license_usage_events e
		WHERE e.license_id = r.value ->> 0 AND e.key = unhex(r.value ->> 1)`, []any{string(b)},
		func(rows *sql.Rows, e *usance.Event) error {
			err := rows.Scan(&id, &e.LicenseID, &e.IdempotencyKey, &hash, &e.LocalDate, toTime{&e.OccurredAt}, &e.UsageType, &e.Quantity)
			copy(e.ID[:], id)
			copy(e.PayloadHash[:], hash)
			return err
		})
}

// Events lists in the order of commits within a day, which is that of receipt
// as far as one writer can tell.
func (v *view) Events(ctx context.Context, f usance.EventFilter, p usance.Page) ([]usance.Event, string, error) {
	q := newListing("events", p, `SELECT `+eventColumns+`, `+isVoided+` FROM license_usage_events e WHERE e.license_id = ?`, f.LicenseID)
	q.after("ii", `(e.local_date, e.seq) < (?, ?)`)
	q.AndIf(f.UsageType != "", `e.usage_type = ?`, f.UsageType)
	q.AndIf(f.From != 0, `e.local_date >= ?`, int64(f.From))
	q.AndIf(f.To != 0, `e.local_date < ?`, int64(f.To))
	switch f.Status {
	case "":
	case usance.StatusCounted:
		q.And(`NOT ` + isVoided)
	case usance.StatusVoided:
		q.And(isVoided)
	default:
		q.And(`FALSE`)
	}
	type row struct {
		seq int64
		e   usance.Event
	}
	var voided bool
	scanner := newEventRow(&voided)
	rows, next, err := list(ctx, v, q, `e.local_date DESC, e.seq DESC`,
		func(rows *sql.Rows, r *row) error {
			err := scanner.scan(rows, &r.e)
			r.seq, r.e.Voided = scanner.seq, voided
			return err
		},
		func(r *row) []string {
			return []string{strconv.Itoa(int(r.e.LocalDate)), strconv.FormatInt(r.seq, 10)}
		})
	var out []usance.Event
	for i := range rows {
		out = append(out, rows[i].e)
	}
	return out, next, err
}

func (v *view) Pending(ctx context.Context, before time.Time, limit int) ([]usance.Batch, error) {
	return all(ctx, v, `SELECT batch_id, min(at), sum(last_seq - first_seq + 1), license_group FROM pending_batches
		WHERE at < ? GROUP BY batch_id, license_group ORDER BY min(at), batch_id LIMIT ?`, []any{before.UnixMicro(), limit},
		func(rows *sql.Rows, b *usance.Batch) error {
			return rows.Scan(toID{&b.ID}, toTime{&b.At}, &b.Count, &b.Group)
		})
}

func (t *tx) TakePending(ctx context.Context, batches []usance.Batch) ([]usance.ID, error) {
	if t.taken == nil {
		t.taken = make(map[usance.ID][]seqRange)
	}
	byGroup := make(map[int][]usance.ID)
	for i := range batches {
		byGroup[batches[i].Group] = append(byGroup[batches[i].Group], batches[i].ID)
	}
	var out []usance.ID
	err := t.writing(ctx, `DELETE FROM pending_batches WHERE license_group IN (?, 0) AND batch_id IN (SELECT unhex(value) FROM json_each(?))
			RETURNING batch_id, first_seq, last_seq`,
		func(ctx context.Context, s *sql.Stmt) error {
			for _, group := range slices.Sorted(maps.Keys(byGroup)) {
				if err := t.take(ctx, s, group, byGroup[group], &out); err != nil {
					return err
				}
			}
			return nil
		})
	return out, err
}

// take deletes pending batches of one group and adds their ids to out.
func (t *tx) take(ctx context.Context, s *sql.Stmt, group int, ids []usance.ID, out *[]usance.ID) error {
	rows, err := s.QueryContext(ctx, group, hexIDs(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id usance.ID
		var r seqRange
		if err := rows.Scan(toID{&id}, &r.first, &r.last); err != nil {
			return err
		}
		if t.taken[id] == nil { // a batch may have several rows
			*out = append(*out, id)
		}
		t.taken[id] = append(t.taken[id], r)
	}
	return rows.Err()
}

// hexIDs is a JSON array of the ids in hexadecimal.
func hexIDs(ids []usance.ID) string {
	b := make([]byte, 0, 36*len(ids)+2)
	b = append(b, '[')
	for i := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(hex.AppendEncode(b, ids[i][:]), '"')
	}
	return string(append(b, ']'))
}

func (t *tx) BatchEvents(ctx context.Context, ids []usance.ID, yield func(*usance.Event) error) error {
	var e usance.Event
	row := newEventRow()
	for _, id := range ids {
		for _, r := range t.taken[id] {
			err := t.each(ctx, `SELECT `+eventColumns+` FROM license_usage_events e WHERE e.seq BETWEEN ? AND ? ORDER BY e.seq`,
				[]any{r.first, r.last}, func(rows *sql.Rows) error {
					if err := row.scan(rows, &e); err != nil {
						return err
					}
					return yield(&e)
				})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// reaches tells of event e whether the last pending range of the group that
// begins before it reaches it; isPending whether its batch is pending: in its
// licence's group, which is ?4, or in that of batches of several.
const (
	reaches   = `coalesce((SELECT p.last_seq FROM pending_batches p WHERE p.license_group = %s AND p.first_seq <= e.seq ORDER BY p.first_seq DESC LIMIT 1), 0) >= e.seq`
	pendingOf = ` FROM pending_batches p WHERE p.license_group IN (?4, 0)`
)

var isPending = fmt.Sprintf(`(`+reaches+` OR `+reaches+`)`, "?4", "0")

// A short tail is read from the group's pending ranges, whatever licences they
// are of; a longer one day by day of the licence: an index leads from each of its
// days right to the day's last events.
var (
	tailByRange = ` FROM pending_batches p CROSS JOIN license_usage_events e NOT INDEXED
		WHERE p.license_group IN (?4, 0) AND e.seq BETWEEN p.first_seq AND p.last_seq
			AND e.license_id = ?1 AND e.local_date >= ?2 AND e.local_date < ?3`
	tailByDay = ` FROM (
			WITH RECURSIVE days (day) AS (
				SELECT min(local_date) FROM license_usage_events WHERE license_id = ?1 AND local_date >= ?2 AND local_date < ?3
				UNION ALL
				SELECT (SELECT min(local_date) FROM license_usage_events WHERE license_id = ?1 AND local_date > day AND local_date < ?3)
				FROM days WHERE day IS NOT NULL
			)
			SELECT day FROM days WHERE day IS NOT NULL
		) d CROSS JOIN license_usage_events e INDEXED BY license_usage_events_day
		WHERE e.license_id = ?1 AND e.local_date = d.day
		AND e.seq >= (SELECT min(p.first_seq)` + pendingOf + `) AND ` + isPending
)

const shortTail = 200 // events

// tailArgs are those of the queries above.
func tailArgs(licenseID string, from, to usance.Date) []any {
	return []any{licenseID, int64(from), int64(to), groupOf(licenseID)}
}

// tail gives the better of the two.
func (v *view) tail(ctx context.Context, args []any) (string, error) {
	var pending int64
	_, err := v.one(ctx, `SELECT coalesce(sum(p.last_seq - p.first_seq + 1), 0)`+pendingOf, args, &pending)
	if pending <= shortTail {
		return tailByRange, err
	}
	return tailByDay, err
}

func (v *view) Tail(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	args := tailArgs(licenseID, from, to)
	tail, err := v.tail(ctx, args)
	if err != nil {
		return err
	}
	return v.events(ctx, `SELECT `+eventColumns+tail, args, yield)
}

func (v *view) Folded(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	return v.events(ctx, `SELECT `+eventColumns+` FROM license_usage_events e INDEXED BY license_usage_events_day
		WHERE e.license_id = ?1 AND e.local_date >= ?2 AND e.local_date < ?3 AND NOT `+isPending+`
		ORDER BY e.local_date`, tailArgs(licenseID, from, to), yield)
}

// FoldedPart marks events by their seq, which the one writer gives: what is to come
// has a greater one.
func (v *view) FoldedPart(ctx context.Context, licenseID string, day usance.Date, mark string, n int, _ time.Time, yield func(*usance.Event) error) (next string, err error) {
	from, last := int64(0), int64(math.MaxInt64)
	if mark != "" {
		if from, err = strconv.ParseInt(mark, 10, 64); err != nil {
			return "", fmt.Errorf("the mark of a part of a day: %w", err)
		}
	}
	args := append(tailArgs(licenseID, day, day+1), from)
	if n > 0 {
		_, err = v.one(ctx, `SELECT coalesce(max(seq), ?5) FROM (SELECT e.seq FROM license_usage_events e INDEXED BY license_usage_events_day
			WHERE e.license_id = ?1 AND e.local_date = ?2 AND e.seq > ?5
				AND e.seq < coalesce((SELECT min(p.first_seq)`+pendingOf+`), ?7) ORDER BY e.seq LIMIT ?6)`, append(args, n, int64(math.MaxInt64)), &last)
		if err != nil || last == from {
			return mark, err
		}
	}
	return strconv.FormatInt(last, 10), v.events(ctx, `SELECT `+eventColumns+` FROM license_usage_events e INDEXED BY license_usage_events_day
		WHERE e.license_id = ?1 AND e.local_date = ?2 AND e.seq > ?5 AND e.seq <= ?6 AND NOT `+isPending,
		append(args, last), yield)
}

func (v *view) DayEvents(ctx context.Context, licenseID string, from, to usance.Date) (map[usance.Date]int64, error) {
	out := make(map[usance.Date]int64)
	err := v.each(ctx, `SELECT local_date, count(*) FROM license_usage_events INDEXED BY license_usage_events_day
		WHERE license_id = ? AND local_date >= ? AND local_date < ? GROUP BY local_date`, tailArgs(licenseID, from, to)[:3], func(rows *sql.Rows) error {
		var d usance.Date
		var n int64
		err := rows.Scan(&d, &n)
		out[d] = n
		return err
	})
	return out, err
}

func (v *view) events(ctx context.Context, query string, args []any, yield func(*usance.Event) error) error {
	var e usance.Event
	row := newEventRow()
	return v.each(ctx, query, args, func(rows *sql.Rows) error {
		if err := row.scan(rows, &e); err != nil {
			return err
		}
		return yield(&e)
	})
}

func (v *view) FoldedUsage(ctx context.Context, licenseID string, from, to usance.Date) (out []usance.Rollup, err error) {
	err = v.each(ctx, `SELECT date, usage_type, events, quantity, revenue_cents FROM license_usage_rollups
		WHERE license_id = ? AND date >= ? AND date < ? ORDER BY date, usage_type`, tailArgs(licenseID, from, to)[:3], func(rows *sql.Rows) error {
		r := usance.Rollup{RollupKey: usance.RollupKey{LicenseID: licenseID}}
		err := rows.Scan(&r.Date, &r.UsageType, &r.Events, &r.Quantity, &r.RevenueCents)
		out = append(out, r)
		return err
	})
	return out, err
}

// DayUsage sums in SQL what is folded and what is not, and joins the two.
func (v *view) DayUsage(ctx context.Context, licenseID string, from, to usance.Date) ([]usance.Rollup, error) {
	sums := make(map[usance.RollupKey]usance.Tally)
	add := func(rows *sql.Rows) error {
		k := usance.RollupKey{LicenseID: licenseID}
		var t usance.Tally
		err := rows.Scan(&k.Date, &k.UsageType, &t.Events, &t.Quantity, &t.RevenueCents)
		sums[k] = sums[k].Plus(t)
		return err
	}
	args := tailArgs(licenseID, from, to)
	err := v.each(ctx, `SELECT date, usage_type, events, quantity, revenue_cents FROM license_usage_rollups
		WHERE license_id = ? AND date >= ? AND date < ?`, args[:3], add)
	if err != nil {
		return nil, err
	}
	tail, err := v.tail(ctx, args)
	if err != nil {
		return nil, err
	}
	err = v.each(ctx, `SELECT e.local_date, e.usage_type, sum(CASE WHEN e.void_of IS NULL THEN 1 ELSE -1 END), sum(e.quantity), sum(e.revenue_cents)`+
		tail+` GROUP BY e.local_date, e.usage_type`, args, add)
	if err != nil {
		return nil, err
	}
	var out []usance.Rollup
	for k, t := range sums {
		out = append(out, usance.Rollup{RollupKey: k, Tally: t})
	}
	slices.SortFunc(out, func(a, b usance.Rollup) int { return a.Compare(b.RollupKey) })
	return out, nil
}
