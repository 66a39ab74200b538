package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

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

type stampedFacts struct {
	usance.Facts
	start      time.Time // of the server
	license    [2]uint32 // of the licence, and of what stands beside a host's own
	thresholds []uint32
}

func (k *keptFacts) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.size = make(map[string]stampedFacts), 0
}

// fresh gives what is known of the licence as long as its stamps are the same.
func (k *keptFacts) fresh(now *stampedFacts) (usance.Facts, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept, ok := k.known[now.License.ID]
	if !ok || !kept.start.Equal(now.start) || kept.license != now.license || !slices.Equal(kept.thresholds, now.thresholds) {
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
		EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus'),
		to_regclass('license_usage_terms') IS NOT NULL`).Scan(&plain, &s.onCitus, &adopted)
	if err != nil || !plain || s.onCitus {
		return failure(ctx, err)
	}
	beside, join := "0", ""
	if adopted {
		beside, join = "coalesce(b.xmin::text::bigint, 0)", " LEFT JOIN license_usage_terms b ON b.license_id = l.id"
	}
	s.facts.stamps = `SELECT l.id, pg_postmaster_start_time(), l.xmin::text::bigint, ` + beside + `, (SELECT max(d.date) FROM license_usage_days d WHERE d.license_id = l.id), t.xmin::text::bigint
		FROM licenses l` + join + ` LEFT JOIN license_usage_thresholds t ON t.license_id = l.id
		WHERE l.id = ANY($1) ORDER BY ` + licenseOrder + `, t.id`
	return nil
}

// Facts reads those that have changed since they were read last.
func (t *tx) Facts(ctx context.Context, ids []string) ([]usance.Facts, error) {
	k := t.facts
	if k == nil || k.stamps == "" || t.wroteFacts {
		return t.view.Facts(ctx, ids)
	}
	var now []stampedFacts
	err := t.each(ctx, k.stamps, []any{ids}, func(r *rows) error {
		var f stampedFacts
		var license, beside int64
		var threshold *int64
		var closed *usance.Date
		if err := r.Scan(&f.License.ID, &f.start, &license, &beside, &closed, &threshold); err != nil {
			return err
		}
		if n := len(now); n == 0 || now[n-1].License.ID != f.License.ID {
			f.license = [2]uint32{uint32(license), uint32(beside)}
			f.ClosedTo = closedTo(closed)
			now = append(now, f)
		}
		if threshold != nil {
			last := &now[len(now)-1]
			last.thresholds = append(last.thresholds, uint32(*threshold))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]usance.Facts, len(now))
	var missing []string
	at := make(map[string]int)
	for i := range now {
		var ok bool
		if out[i], ok = k.fresh(&now[i]); !ok {
			at[now[i].License.ID] = i
			missing = append(missing, now[i].License.ID)
		}
	}
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
