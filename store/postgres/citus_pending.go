package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/usance/usance"
)

// Batches are pending on Citus under the key of their licences' shard: one with
// licences of several under each of their keys.

// split divides batches by shards.
func (c *shards) split(batches []usance.Batch) (out []usance.Batch) {
	for _, b := range batches {
		byShard := make(map[int][]usance.Event, 1)
		for i := range b.Events {
			n := c.of(b.Events[i].LicenseID)
			byShard[n] = append(byShard[n], b.Events[i])
		}
		if len(byShard) == 1 {
			out = append(out, b)
			continue
		}
		for n := range len(c.keys) {
			if part := b; len(byShard[n+1]) > 0 {
				part.Events = byShard[n+1]
				out = append(out, part)
			}
		}
	}
	return out
}

// countReceivedOn counts what was received on days on the shard that the
// transaction writes to, so that no other takes part in it.
func (t *tx) countReceivedOn(ctx context.Context, days []usance.Date) error {
	return t.execEach(ctx, `INSERT INTO license_usage_received (license_id, day, slot, events) VALUES ($1, $2, $3, $4)
		ON CONFLICT (license_id, day, slot) DO UPDATE SET events = license_usage_received.events + excluded.events`, len(days), func(i int) ([]any, error) {
		return []any{t.receivedOn, days[i], t.c.PgConn().PID() % slots, t.received[days[i]]}, nil
	})
}

// pendingApart gives pending batches with their shards: of one that lies on
// several, each part.
func (v *view) pendingApart(ctx context.Context, before time.Time, limit int) ([]usance.Batch, error) {
	return all(ctx, v, `SELECT batch_id, at, count, license_id FROM pending_batches WHERE at < $1 ORDER BY at, batch_id, license_id LIMIT $2`, []any{before, limit},
		func(r *rows, b *usance.Batch) error {
			var key string
			err := r.Scan(&b.ID, &b.At, &b.Count, &key)
			b.Group = v.c.of.shards.numbered(key)
			return err
		})
}

// takenPart is the part of a batch that lies on a shard.
type takenPart struct {
	id    usance.ID
	shard int
}

// takeApart takes of batches whose group is a shard what is pending there, and
// looks where the others are pending.
func (t *tx) takeApart(ctx context.Context, batches []usance.Batch) ([]usance.ID, error) {
	c := t.c.of.shards
	type place struct {
		key string
		id  usance.ID
	}
	var places []place
	var anywhere []usance.ID
	for i := range batches {
		if b := &batches[i]; b.Group >= 1 && b.Group <= len(c.keys) {
			places = append(places, place{c.keys[b.Group-1], b.ID})
		} else {
			anywhere = append(anywhere, b.ID)
		}
	}
	for again := false; len(anywhere) > 0; again = true {
		found, err := all(ctx, &t.view, `SELECT license_id, batch_id FROM pending_batches WHERE batch_id = ANY($1)`, []any{anywhere},
			func(r *rows, p *place) error { return r.Scan(&p.key, &p.id) })
		if err != nil {
			return nil, err
		}
		foreign := func(p place) bool { return c.numbered(p.key) == 0 }
		if slices.ContainsFunc(found, foreign) && !again { // it may hold events on other shards than the key's
			if err := t.refile(ctx); err != nil {
				return nil, err
			}
			continue
		}
		places = append(places, slices.DeleteFunc(found, foreign)...)
		break
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.key, b.key)) })
	if t.takenAt == nil {
		t.takenAt = make(map[takenPart]bool, len(places))
	}
	var out []usance.ID
	keys, ids := column(places, func(p *place) string { return p.key }), column(places, func(p *place) usance.ID { return p.id })
	err := t.apart([]any{keys, ids}, func(columns []any) error {
		_, err := t.exec(ctx, `SELECT 1 FROM pending_batches WHERE license_id = ANY($1) AND batch_id = ANY($2) ORDER BY batch_id, license_id FOR UPDATE`, columns...)
		if err != nil {
			return err
		}
		return t.each(ctx, `DELETE FROM pending_batches WHERE license_id = ANY($1) AND batch_id = ANY($2) RETURNING license_id, batch_id`, columns, func(r *rows) error {
			var p place
			err := r.Scan(&p.key, &p.id)
			t.takenAt[takenPart{p.id, c.of(p.key)}] = true
			out = append(out, p.id)
			return err
		})
	})
	slices.SortFunc(out, func(a, b usance.ID) int { return slices.Compare(a[:], b[:]) })
	out = slices.Compact(out) // one may have been taken on several shards
	t.noteTaken(out)
	return out, err
}

// eventsApart yields the events of batches that the transaction took, as far as
// they lie on shards on which it did.
func (t *tx) eventsApart(ctx context.Context, ids []usance.ID, yield func(*usance.Event) error) error {
	var e usance.Event
	return t.each(ctx, `SELECT `+eventColumns+`, e.batch_id FROM license_usage_events e WHERE e.batch_id = ANY($1) ORDER BY e.id`, []any{ids}, func(r *rows) error {
		values := r.RawValues()
		readEvent(values, &e)
		part := takenPart{shard: t.c.of.shards.of(e.LicenseID)}
		copy(part.id[:], values[eventFields])
		if !t.takenAt[part] {
			return nil
		}
		return yield(&e)
	})
}

// refile files batches under the keys of shards that are pending under something
// else: since before the tables were distributed, since other shards were made of
// theirs, or by a node that did not know of these yet. Each may hold events on any
// shard. What another transaction takes meanwhile is not filed.
func (t *tx) refile(ctx context.Context) error {
	type row struct {
		license   string
		id        usance.ID
		at, first pgtype.Timestamptz // which may be infinite
		day       pgtype.Date        // which may be, too
		count     int64
	}
	c := t.c.of.shards
	found, err := all(ctx, &t.view, `SELECT DISTINCT license_id FROM pending_batches WHERE license_id <> ALL($1)`, []any{c.keys},
		func(r *rows, license *string) error { return r.Scan(license) })
	if err != nil || len(found) == 0 {
		return err
	}
	var old []row
	err = t.apart([]any{found}, func(columns []any) error {
		_, err := t.exec(ctx, `SELECT 1 FROM pending_batches WHERE license_id = ANY($1) ORDER BY batch_id, license_id FOR UPDATE`, columns...)
		if err != nil {
			return err
		}
		some, err := all(ctx, &t.view, `DELETE FROM pending_batches WHERE license_id = ANY($1) RETURNING license_id, batch_id, at, count, first_received, first_day`, columns,
			func(r *rows, p *row) error { return r.Scan(&p.license, &p.id, &p.at, &p.count, &p.first, &p.day) })
		old = append(old, some...)
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(old, func(a, b row) int { return cmp.Or(slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.license, b.license)) })
	for n, key := range c.keys {
		err := t.execEach(ctx, `INSERT INTO pending_batches (license_id, batch_id, at, count, first_received, first_day) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (license_id, batch_id) DO UPDATE SET count = pending_batches.count + excluded.count,
				first_received = least(pending_batches.first_received, excluded.first_received),
				first_day = least(pending_batches.first_day, excluded.first_day)`,
			len(old), func(i int) ([]any, error) {
				p := &old[i]
				count := p.count
				if c.of(p.license) != n+1 { // what is counted once is enough
					count = 0
				}
				return []any{key, p.id, p.at, count, p.first, p.day}, nil
			})
		if err != nil {
			return err
		}
	}
	return nil
}
