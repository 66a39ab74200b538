package postgres

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/usance/usance"
)

// Ingest asks for the facts of each licence with every transaction, and they
// hardly ever change. So they are kept, each with the stamps of the rows that
// they were read from: xmin, the transaction that wrote the row. Whoever asks
// reads the stamps anew, in the same transaction, and all of a licence whose
// stamps are others. What is changed by anybody, by whatever SQL, holds with the
// next event then.
//
// The stamps tell rows of one cluster apart, for as long as it is not set back to
// a backup. For that it is stopped, and the time of its start is a stamp too; a
// pooler's connections survive it, others find nothing kept when they are new.

// maxKeptFacts bounds the licences and thresholds that are kept: some 10 MB.
const maxKeptFacts = 40_000

type keptFacts struct {
	mu    sync.Mutex
	known map[string]stampedFacts
	size  int // licences and thresholds in known
	// stamps is the query for them; empty where the table licenses has none.
	stamps string
}

// stampedFacts are facts and the stamps of the rows that they were read from.
type stampedFacts struct {
	usance.Facts
	start      int64     // of the server
	license    [2]uint32 // of the licence, and of what stands beside a host's own
	thresholds []uint32  // sorted
}

func (k *keptFacts) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.size = make(map[string]stampedFacts), 0
}

// fresh gives what is known of the licence as long as its stamps are the same. The
// caller holds mu.
func (k *keptFacts) fresh(now *stampedFacts) (usance.Facts, bool) {
	kept, ok := k.known[now.License.ID]
	if !ok || kept.start != now.start || kept.license != now.license || !slices.Equal(kept.thresholds, now.thresholds) {
		return usance.Facts{}, false
	}
	f := kept.Facts
	f.ClosedTo = now.ClosedTo
	f.Thresholds = slices.Clone(f.Thresholds) // callers may replace its elements, and change nothing that they point to
	return f, true
}

// keep keeps facts that were read after their stamps were: should somebody have
// changed them in between, the stamps are too old, and they are read again.
func (k *keptFacts) keep(f stampedFacts) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(f.License.ID)
	for id := range k.known { // any: those in use come back
		if k.size < maxKeptFacts {
			break
		}
		k.drop(id)
	}
	f.Facts.Thresholds = slices.Clone(f.Facts.Thresholds)
	k.known[f.License.ID] = f
	k.size += 1 + len(f.thresholds)
}

func (k *keptFacts) drop(licenseID string) {
	if f, ok := k.known[licenseID]; ok {
		k.size -= 1 + len(f.thresholds)
		delete(k.known, licenseID)
	}
}

// findStamps makes the query for stamps: where licenses is a plain table, which a
// host platform's own need not be.
func (s *Store) findStamps(ctx context.Context) error {
	var plain, adopted bool
	err := s.direct.QueryRow(ctx, `SELECT coalesce((SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('licenses')), FALSE),
		to_regclass('license_usage_terms') IS NOT NULL`).Scan(&plain, &adopted)
	if err != nil || !plain || s.shards != nil { // a row has other stamps when its shard has moved
		return failure(ctx, err)
	}
	// Each table by itself: joined, the look-ups cost three times as much.
	s.facts.stamps = `SELECT 0, NULL, NULL, NULL::date, pg_postmaster_start_time()
		UNION ALL SELECT 1, l.id::text, l.xmin, NULL, NULL FROM licenses l WHERE l.id = ANY($1::text[])
		UNION ALL SELECT 2, t.license_id, t.xmin, NULL, NULL FROM license_usage_thresholds t WHERE t.license_id = ANY($1::text[])
		UNION ALL SELECT 3, u.id, NULL, d.date, NULL FROM unnest($1::text[]) AS u (id) CROSS JOIN LATERAL (
			SELECT date FROM license_usage_days WHERE license_id = u.id ORDER BY date DESC LIMIT 1) d
			WHERE EXISTS (SELECT 1 FROM license_usage_days)`
	if adopted {
		s.facts.stamps += ` UNION ALL SELECT 4, b.license_id, b.xmin, NULL, NULL FROM license_usage_terms b WHERE b.license_id = ANY($1::text[])`
	}
	return nil
}

// readStamps reads the stamps of those of the licences that exist, in the order
// of their ids.
func (t *tx) readStamps(ctx context.Context, ids []string) ([]stampedFacts, error) {
	if !slices.IsSorted(ids) {
		ids = slices.Sorted(slices.Values(ids))
	}
	at := make(map[string]int, len(ids))
	stamps := make([]stampedFacts, len(ids))
	for i, id := range ids {
		at[id], stamps[i].ClosedTo = i, usance.MinDate
	}
	var start int64
	err := t.each(ctx, t.facts.stamps, []any{ids}, func(r *rows) error {
		v := r.RawValues()
		kind := binary.BigEndian.Uint32(v[0])
		if kind == 0 {
			start = readInt64(v[4])
			return nil
		}
		i, asked := at[string(v[1])]
		if !asked {
			return nil // a host's collation may take another id for the same
		}
		f := &stamps[i]
		switch kind {
		case 1:
			f.License.ID, f.license[0] = ids[i], binary.BigEndian.Uint32(v[2])
		case 2:
			f.thresholds = append(f.thresholds, binary.BigEndian.Uint32(v[2]))
		case 3:
			f.ClosedTo = readDate(v[3]) + 1
		case 4:
			f.license[1] = binary.BigEndian.Uint32(v[2])
		}
		return nil
	})
	for i := range stamps {
		stamps[i].start = start
		slices.Sort(stamps[i].thresholds)
	}
	return slices.DeleteFunc(stamps, func(f stampedFacts) bool { return f.License.ID == "" }), err
}

// Facts reads those that have changed since they were read last.
func (t *tx) Facts(ctx context.Context, ids []string) ([]usance.Facts, error) {
	k := t.facts
	if k == nil || k.stamps == "" || t.wroteFacts {
		return t.view.Facts(ctx, ids)
	}
	now, err := t.readStamps(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]usance.Facts, len(now))
	var missing []string
	at := make(map[string]int)
	k.mu.Lock()
	for i := range now {
		var ok bool
		if out[i], ok = k.fresh(&now[i]); !ok {
			at[now[i].License.ID] = i
			missing = append(missing, now[i].License.ID)
		}
	}
	k.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	read, err := t.view.Facts(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, f := range read {
		i := at[f.License.ID]
		delete(at, f.License.ID)
		out[i] = f
		now[i].Facts = f
		if len(f.Thresholds) == len(now[i].thresholds) {
			k.keep(now[i])
		}
	}
	// A licence that was deleted in between has none.
	return slices.DeleteFunc(out, func(f usance.Facts) bool { _, gone := at[f.License.ID]; return gone || f.License.ID == "" }), nil
}

func closedTo(last *usance.Date) usance.Date {
	if last == nil {
		return usance.MinDate
	}
	return *last + 1
}
