package postgres

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/usance/usance"
)

// isVoided is the derived state of event e.
const isVoided = `EXISTS (SELECT 1 FROM license_usage_events v WHERE v.license_id = e.license_id AND v.void_of = e.id)`

// newRow is an event to be written.
type newRow struct {
	key   string // the column
	batch *usance.ID
	event *usance.Event
}

// byKey gives the order in which events are written: that of the primary key.
// Two transactions with the same keys then wait for each other in a line, never
// in a circle, and neighbours of the index are written together.
func byKey(batches []usance.Batch) []newRow {
	var out []newRow
	for i := range batches {
		b := &batches[i]
		for j := range b.Events {
			e := &b.Events[j]
			out = append(out, newRow{usance.Key(e.IdempotencyKey), &b.ID, e})
		}
	}
	slices.SortFunc(out, func(a, b newRow) int {
		if c := cmp.Compare(a.event.LicenseID, b.event.LicenseID); c != 0 {
			return c
		}
		return cmp.Compare(a.key, b.key)
	})
	return out
}

var copyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// AddEvents inserts as if all keys were new, which is the rule; when one is
// not, the statement fails and the transaction with it.
func (t *tx) AddEvents(ctx context.Context, batches []usance.Batch) error {
	rows := byKey(batches)
	if len(rows) == 0 {
		return nil
	}
	if err := t.c.ready(ctx); err != nil {
		return err
	}
	buffer := copyBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer copyBuffers.Put(buffer)
	*buffer = appendCopy((*buffer)[:0], rows)
	_, err := t.c.PgConn().CopyFrom(ctx, bytes.NewReader(*buffer), CopyEvents)
	if t.isKey(err) {
		err = usance.ErrKeyExists
	}
	if err != nil {
		return t.c.fail(ctx, err)
	}
	if t.received == nil {
		t.received = make(map[usance.Date]int64, 1)
		t.receivedOn = t.shardKey(rows[0].event.LicenseID)
	}
	for i := range batches {
		t.countDays(batches[i].Events)
	}
	return t.leavePending(ctx, batches)
}

// countDays counts events by the day of their receipt: as a rule one and the same.
func (t *tx) countDays(events []usance.Event) {
	var start, end time.Time // of the day of the last one
	var day usance.Date
	for i := range events {
		if at := events[i].ReceivedAt; at.Before(start) || !at.Before(end) {
			day = usance.DateOf(at, time.UTC)
			start, end = day.Start(time.UTC), (day + 1).Start(time.UTC)
		}
		t.received[day]++
	}
}

// leavePending records batches, each under one of its licences. One that the
// transaction adds to once more is lengthened.
func (t *tx) leavePending(ctx context.Context, batches []usance.Batch) error {
	batches = slices.DeleteFunc(slices.Clone(batches), func(b usance.Batch) bool { return len(b.Events) == 0 })
	license := firstLicense
	if c := t.c.of.shards; c != nil {
		batches = c.split(batches)
		license = func(b *usance.Batch) string { return c.key(b.Events[0].LicenseID) }
	}
	return t.insert(ctx, &insertion{
		into: `INSERT INTO pending_batches (license_id, batch_id, at, count, first_received, first_day)`,
		from: `SELECT * FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::date[])`,
		row:  `(?::text, ?::uuid, ?::timestamptz, ?::bigint, ?::timestamptz, ?::date)`,
		when: `ON CONFLICT (license_id, batch_id) DO UPDATE SET count = pending_batches.count + excluded.count,
			first_received = least(pending_batches.first_received, excluded.first_received),
			first_day = least(pending_batches.first_day, excluded.first_day)`,
	},
		column(batches, license),
		column(batches, func(b *usance.Batch) usance.ID { return b.ID }),
		column(batches, func(b *usance.Batch) time.Time { return b.At }),
		column(batches, func(b *usance.Batch) int64 { return int64(len(b.Events)) }),
		column(batches, firstReceived),
		column(batches, firstDay))
}

func firstReceived(b *usance.Batch) time.Time {
	first := b.Events[0].ReceivedAt
	for i := range b.Events {
		if at := b.Events[i].ReceivedAt; at.Before(first) {
			first = at
		}
	}
	return first
}

func firstDay(b *usance.Batch) usance.Date {
	first := b.Events[0].LocalDate
	for i := range b.Events {
		first = min(first, b.Events[i].LocalDate)
	}
	return first
}

func firstLicense(b *usance.Batch) string {
	first := b.Events[0].LicenseID
	for i := range b.Events {
		first = min(first, b.Events[i].LicenseID)
	}
	return first
}

// slots is more than there are connections, as a rule: see license_usage_received.
const slots = 1024

// countReceived is the last statement of a transaction that added events, in
// however many batches.
func (t *tx) countReceived(ctx context.Context) error {
	if len(t.received) == 0 {
		return nil
	}
	days := slices.Sorted(maps.Keys(t.received))
	if t.c.of.shards != nil {
		return t.countReceivedOn(ctx, days)
	}
	_, err := t.exec(ctx, `INSERT INTO license_usage_received (day, slot, events)
		SELECT day, $2, events FROM unnest($1::date[], $3::bigint[]) AS u (day, events) ORDER BY day
		ON CONFLICT (day, slot) DO UPDATE SET events = license_usage_received.events + excluded.events`,
		days, t.c.PgConn().PID()%slots, column(days, func(d *usance.Date) int64 { return t.received[*d] }))
	return err
}

func (v *view) EventByKey(ctx context.Context, licenseID, idempotencyKey string) (usance.Event, error) {
	return v.event(ctx, `SELECT `+eventColumns+`, `+isVoided+` FROM license_usage_events e WHERE e.license_id = $1 AND e.key = $2`,
		licenseID, []byte(usance.Key(idempotencyKey)))
}

// EventByID looks on each of the licence's days among what was received in the
// millisecond that the id begins with: an index on ids would cost every event.
func (v *view) EventByID(ctx context.Context, licenseID string, id usance.ID) (usance.Event, error) {
	received := id.Time()
	return v.event(ctx, `WITH RECURSIVE days (day) AS (
			SELECT min(local_date) FROM license_usage_events WHERE license_id = $1
			UNION ALL
			SELECT (SELECT min(local_date) FROM license_usage_events WHERE license_id = $1 AND local_date > day)
			FROM days WHERE day IS NOT NULL
		)
		SELECT `+eventColumns+`, EXISTS (SELECT 1 FROM license_usage_events v WHERE v.license_id = $1 AND v.void_of = e.id) FROM days CROSS JOIN LATERAL (
			SELECT * FROM license_usage_events t WHERE t.license_id = $1 AND t.local_date = days.day
				AND t.received_at >= $3 AND t.received_at < $4 OFFSET 0
		) e WHERE e.id = $2`, licenseID, id, received, received.Add(time.Millisecond))
}

func (v *view) event(ctx context.Context, query string, args ...any) (usance.Event, error) {
	return single(ctx, v, "event", query, args, scanListed)
}

// scanListed reads an event with its derived state after it.
func scanListed(r *rows, e *usance.Event) error {
	values := r.RawValues()
	readEvent(values, e)
	e.Voided = values[eventFields][0] != 0
	return nil
}

func (v *view) EventsByKey(ctx context.Context, refs []usance.EventRef) ([]usance.Event, error) {
	return all(ctx, v, `SELECT e.id, e.license_id, e.key, e.long_key, e.payload_hash, e.local_date, e.occurred_at, e.usage_type, e.quantity
		FROM unnest($1::text[], $2::bytea[]) AS u (license_id, key)
		JOIN license_usage_events e ON e.license_id = u.license_id AND e.key = u.key`+v.pruned("e.license_id"),
		[]any{
			column(refs, func(r *usance.EventRef) string { return r.LicenseID }),
			column(refs, func(r *usance.EventRef) []byte { return []byte(usance.Key(r.IdempotencyKey)) }),
		},
		func(r *rows, e *usance.Event) error {
			var key, hash []byte
			var long *string
			err := r.Scan(&e.ID, &e.LicenseID, &key, &long, &hash, &e.LocalDate, &e.OccurredAt, &e.UsageType, &e.Quantity)
			if e.IdempotencyKey = string(key); long != nil {
				e.IdempotencyKey = *long
			}
			copy(e.PayloadHash[:], hash)
			return err
		})
}

func (v *view) Events(ctx context.Context, f usance.EventFilter, p usance.Page) ([]usance.Event, string, error) {
	q := newListing("events", p, `SELECT `+eventColumns+`, `+isVoided+` FROM license_usage_events e WHERE e.license_id = ?`, f.LicenseID)
	q.after("dmu", `(e.local_date, e.received_at, e.id) < (?, ?, ?)`)
	q.AndIf(f.UsageType != "", `e.usage_type = ?`, f.UsageType)
	q.AndIf(f.From != 0, `e.local_date >= ?`, f.From)
	q.AndIf(f.To != 0, `e.local_date < ?`, f.To)
	switch f.Status {
	case "":
	case usance.StatusCounted:
		q.And(`NOT ` + isVoided)
	case usance.StatusVoided:
		q.And(isVoided)
	default:
		q.And(`FALSE`)
	}
	return list(ctx, v, q, `e.local_date DESC, e.received_at DESC, e.id DESC`, scanListed, func(e *usance.Event) []string {
		return []string{strconv.Itoa(int(e.LocalDate)), strconv.FormatInt(toMicros(e.ReceivedAt), 10), e.ID.String()}
	})
}

func (v *view) Pending(ctx context.Context, before time.Time, limit int) ([]usance.Batch, error) {
	if v.c.of.shards != nil {
		return v.pendingApart(ctx, before, limit)
	}
	return all(ctx, v, `SELECT batch_id, min(at), sum(count)::bigint FROM pending_batches
		WHERE at < $1 GROUP BY batch_id ORDER BY min(at), batch_id LIMIT $2`, []any{before, limit},
		func(r *rows, b *usance.Batch) error { return r.Scan(&b.ID, &b.At, &b.Count) })
}

func (t *tx) TakePending(ctx context.Context, batches []usance.Batch) ([]usance.ID, error) {
	if t.c.of.shards != nil {
		return t.takeApart(ctx, batches)
	}
	ids := make([]usance.ID, len(batches))
	for i := range batches {
		ids[i] = batches[i].ID
	}
	// Locked in order first: two folds that try the same batches then wait for
	// each other in a line.
	_, err := t.exec(ctx, `SELECT 1 FROM pending_batches WHERE batch_id = ANY($1) ORDER BY batch_id, license_id FOR UPDATE`, ids)
	if err != nil {
		return nil, err
	}
	var out []usance.ID
	seen := make(map[usance.ID]bool) // a batch may have several rows
	err = t.each(ctx, `DELETE FROM pending_batches WHERE batch_id = ANY($1) RETURNING batch_id`, []any{ids}, func(r *rows) error {
		var id usance.ID
		err := r.Scan(&id)
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
		return err
	})
	t.noteTaken(out)
	return out, err
}

func (t *tx) noteTaken(ids []usance.ID) {
	if t.taken == nil {
		t.taken = make(map[usance.ID]bool, len(ids))
	}
	for _, id := range ids {
		t.taken[id] = true
	}
}

func (t *tx) BatchEvents(ctx context.Context, ids []usance.ID, yield func(*usance.Event) error) error {
	known := slices.DeleteFunc(slices.Clone(ids), func(id usance.ID) bool { return !t.taken[id] })
	if t.c.of.shards != nil {
		return t.eventsApart(ctx, known, yield)
	}
	return t.events(ctx, `SELECT `+eventColumns+` FROM license_usage_events e WHERE e.batch_id = ANY($1) ORDER BY e.id`, []any{known}, yield)
}

// fromTail reads a licence's events that are not folded: of each of its days since
// the first that anything pending is of, those received since the first of that was,
// which an index leads right to, and of those the ones whose batch is pending. OFFSET 0 has each looked
// up by itself: of all that is pending hardly any is of one licence.
func (v *view) fromTail() string {
	pending, also := v.onCitus(` WHERE license_id = $4`), v.onCitus(` AND p.license_id = $4`)
	return ` FROM (
		WITH RECURSIVE days (day) AS (
			SELECT min(local_date) FROM license_usage_events WHERE license_id = $1 AND local_date >= $2 AND local_date < $3
				AND local_date >= (SELECT min(first_day) FROM pending_batches` + pending + `)
			UNION ALL
			SELECT (SELECT min(local_date) FROM license_usage_events WHERE license_id = $1 AND local_date > day AND local_date < $3)
			FROM days WHERE day IS NOT NULL
		)
		SELECT day FROM days WHERE day IS NOT NULL
	) d CROSS JOIN LATERAL (
		SELECT * FROM license_usage_events t WHERE t.license_id = $1 AND t.local_date = d.day
			AND t.received_at >= (SELECT min(first_received) FROM pending_batches` + pending + `) OFFSET 0
	) e WHERE EXISTS (SELECT 1 FROM pending_batches p WHERE p.batch_id = e.batch_id` + also + ` OFFSET 0)`
}

// ofDays are the arguments of what is asked of a licence's days, and of what is
// pending of its shard.
func (v *view) ofDays(licenseID string, from, to usance.Date) []any {
	args := []any{licenseID, from, to}
	if v.c.of.shards != nil {
		args = append(args, v.shardKey(licenseID))
	}
	return args
}

func (v *view) Tail(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	return v.events(ctx, `SELECT `+eventColumns+v.fromTail(), v.ofDays(licenseID, from, to), yield)
}

func (v *view) Folded(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	return v.events(ctx, `SELECT `+eventColumns+` FROM license_usage_events e
		WHERE e.license_id = $1 AND e.local_date >= $2 AND e.local_date < $3
			AND NOT EXISTS (SELECT 1 FROM pending_batches p WHERE p.batch_id = e.batch_id`+v.onCitus(` AND p.license_id = $4`)+`)
		ORDER BY e.local_date`, v.ofDays(licenseID, from, to), yield)
}

// unsettled is for how long an event that was received may not be committed yet, as a
// rule.
const unsettled = 2 * time.Second

// FoldedPart marks events by when they were received, and by their ids where many were
// at once.
func (v *view) FoldedPart(ctx context.Context, licenseID string, day usance.Date, mark string, n int, now time.Time, yield func(*usance.Event) error) (next string, err error) {
	var from usance.ID
	at := time.UnixMicro(0)
	if mark != "" {
		micros, id, _ := strings.Cut(mark, "/")
		us, err := strconv.ParseInt(micros, 10, 64)
		if err == nil {
			from, err = usance.ParseID(id)
		}
		if err != nil {
			return "", fmt.Errorf("the mark of a part of a day: %w", err)
		}
		at = time.UnixMicro(us)
	}
	args := append(v.ofDays(licenseID, day, day+1), at, from)
	arg := func(n int) string { return "$" + strconv.Itoa(len(args)-1+n) } // behind those of the day
	ofDay := ` FROM license_usage_events e WHERE e.license_id = $1 AND e.local_date = $2 AND e.local_date < $3
		AND e.received_at >= ` + arg(0) + ` AND (e.received_at, e.id) > (` + arg(0) + `, ` + arg(1) + `)`
	folded := ofDay + ` AND NOT EXISTS (SELECT 1 FROM pending_batches p WHERE p.batch_id = e.batch_id` + v.onCitus(` AND p.license_id = $4`) + `)`
	if n == 0 {
		return mark, v.events(ctx, `SELECT `+eventColumns+folded, args, yield)
	}
	var last time.Time
	var lastID usance.ID
	found, err := v.one(ctx, `SELECT received_at, id FROM (SELECT e.received_at, e.id`+ofDay+`
			AND e.received_at < least(`+arg(2)+`, (SELECT min(first_received) FROM pending_batches`+v.onCitus(` WHERE license_id = $4`)+`))
			ORDER BY e.received_at, e.id LIMIT `+arg(3)+`) e ORDER BY received_at DESC, id DESC LIMIT 1`,
		slices.Concat(args, []any{now.Add(-unsettled), n}), &last, &lastID)
	if err != nil || !found {
		return mark, err
	}
	return fmt.Sprintf("%d/%s", last.UnixMicro(), lastID), v.events(ctx, `SELECT `+eventColumns+folded+`
		AND e.received_at <= `+arg(2)+` AND (e.received_at, e.id) <= (`+arg(2)+`, `+arg(3)+`)`, slices.Concat(args, []any{last, lastID}), yield)
}

func (v *view) DayEvents(ctx context.Context, licenseID string, from, to usance.Date) (map[usance.Date]int64, error) {
	return v.byDay(ctx, `SELECT local_date, count(*) FROM license_usage_events WHERE license_id = $1 AND local_date >= $2 AND local_date < $3 GROUP BY local_date`, licenseID, from, to)
}

func (v *view) events(ctx context.Context, query string, args []any, yield func(*usance.Event) error) error {
	var e usance.Event
	return v.each(ctx, query, args, func(r *rows) error {
		readEvent(r.RawValues(), &e)
		return yield(&e)
	})
}

// DayUsage sums in one statement what is folded and what is not: a transaction
// has no snapshot, and a fold may commit between two of its statements.
func (v *view) DayUsage(ctx context.Context, licenseID string, from, to usance.Date) ([]usance.Rollup, error) {
	return all(ctx, v, `SELECT date, usage_type, sum(events)::bigint, sum(quantity)::bigint, sum(revenue_cents)::bigint FROM (
			SELECT date, usage_type, events, quantity, revenue_cents FROM license_usage_rollups
				WHERE license_id = $1 AND date >= $2 AND date < $3
			UNION ALL
			SELECT e.local_date, e.usage_type, CASE WHEN e.void_of IS NULL THEN 1 ELSE -1 END, e.quantity, e.revenue_cents`+v.fromTail()+`
		) used GROUP BY date, usage_type ORDER BY date, usage_type`, v.ofDays(licenseID, from, to),
		func(r *rows, u *usance.Rollup) error {
			u.LicenseID = licenseID
			return r.Scan(&u.Date, &u.UsageType, &u.Events, &u.Quantity, &u.RevenueCents)
		})
}

func (v *view) FoldedUsage(ctx context.Context, licenseID string, from, to usance.Date) ([]usance.Rollup, error) {
	return all(ctx, v, `SELECT date, usage_type, events, quantity, revenue_cents FROM license_usage_rollups
		WHERE license_id = $1 AND date >= $2 AND date < $3 ORDER BY date, usage_type`, []any{licenseID, from, to},
		func(r *rows, u *usance.Rollup) error {
			u.LicenseID = licenseID
			return r.Scan(&u.Date, &u.UsageType, &u.Events, &u.Quantity, &u.RevenueCents)
		})
}
