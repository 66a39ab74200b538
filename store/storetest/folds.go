package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/usance/usance"
)

// Whatever the order of adding and folding, tail and rollups together are the
// events that were added.
func testRandomFolds(t *testing.T, s usance.Store) {
	round, lastID := 0, 1_000_000
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := &model{s: s, ctx: t.Context(), lastID: &lastID, events: make(map[usance.EventRef]usance.Event), pending: make(map[usance.ID][]usance.Event)}
		for i := range 2 {
			m.licenses = append(m.licenses, fmt.Sprintf("round-%d-%d", round, i))
		}
		putLicenses(t, s, m.licenses...)
		steps := map[string]func(*rapid.T){"add": m.add, "fold": m.fold, "read": m.check}
		for _, step := range rapid.SliceOfN(rapid.SampledFrom([]string{"add", "add", "fold", "read"}), 1, 10).Draw(rt, "steps") {
			steps[step](rt)
		}
		m.check(rt)
	})
}

type model struct {
	s        usance.Store
	ctx      context.Context
	licenses []string
	n        int
	lastID   *int
	events   map[usance.EventRef]usance.Event
	pending  map[usance.ID][]usance.Event
}

// add adds a batch, in which some keys may be there already.
func (m *model) add(rt *rapid.T) {
	batch := m.newID()
	var events []usance.Event
	fresh := make(map[usance.EventRef]usance.Event)
	exists := false
	for range rapid.IntRange(1, 8).Draw(rt, "size") {
		m.n++
		e := event(rapid.SampledFrom(m.licenses).Draw(rt, "licence"), m.n, today+usance.Date(rapid.IntRange(0, 2).Draw(rt, "day")))
		e.ID = m.newID()
		e.UsageType = rapid.SampledFrom([]string{"view", "click"}).Draw(rt, "type")
		key := rapid.IntRange(0, 60).Draw(rt, "key")
		e.IdempotencyKey = fmt.Sprint(key)
		if key%2 == 1 {
			e.IdempotencyKey = strings.Repeat("long", 10) + e.IdempotencyKey
		}
		ref := usance.EventRef{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey}
		_, before := m.events[ref]
		_, twice := fresh[ref]
		exists = exists || before || twice
		fresh[ref] = e
		events = append(events, e)
	}
	err := m.s.Update(m.ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(m.ctx, []usance.Batch{{ID: batch, At: now, Events: events}})
	})
	switch {
	case exists && !errors.Is(err, usance.ErrKeyExists):
		rt.Fatalf("a key exists, but adding said %v", err)
	case !exists && err != nil:
		rt.Fatalf("adding: %v", err)
	case !exists:
		for ref, e := range fresh {
			m.events[ref] = e
		}
		m.pending[batch] = events
	}
}

// newID gives an id that no round before gave, since all share the store.
func (m *model) newID() usance.ID {
	*m.lastID++
	return id(*m.lastID)
}

func (m *model) fold(rt *rapid.T) {
	var take []usance.ID
	for b := range m.pending {
		take = append(take, b)
	}
	slices.SortFunc(take, compareID)
	take = take[:rapid.IntRange(0, len(take)).Draw(rt, "batches")]
	if err := m.s.Update(m.ctx, usance.Locks{}, func(tx usance.Tx) error { return fold(m.ctx, tx, take...) }); err != nil {
		rt.Fatalf("folding: %v", err)
	}
	for _, b := range take {
		delete(m.pending, b)
	}
}

func (m *model) check(rt *rapid.T) {
	inTail := make(map[usance.ID]bool)
	for _, events := range m.pending {
		for i := range events {
			inTail[events[i].ID] = true
		}
	}
	err := m.s.View(m.ctx, func(v usance.View) error {
		for _, l := range m.licenses {
			var wantTail, wantFolded []usance.Event
			want := make(map[usance.RollupKey]*usance.Rollup)
			for _, e := range m.events {
				if e.LicenseID != l {
					continue
				}
				if inTail[e.ID] {
					wantTail = append(wantTail, e)
					continue
				}
				wantFolded = append(wantFolded, e)
				k := usance.RollupKey{LicenseID: l, Date: e.LocalDate, UsageType: e.UsageType}
				if want[k] == nil {
					want[k] = &usance.Rollup{RollupKey: k}
				}
				want[k].Add(&e)
			}
			got, err := tail(m.ctx, v, l, today, today+3)
			if err != nil {
				return err
			}
			if !slices.Equal(got, ids(wantTail)) {
				rt.Fatalf("tail of %s: %v, want %v", l, got, ids(wantTail))
			}
			if got, err = folded(m.ctx, v, l, today, today+3); err != nil {
				return err
			}
			if !slices.Equal(got, ids(wantFolded)) {
				rt.Fatalf("folded of %s: %v, want %v", l, got, ids(wantFolded))
			}
			rows, err := rollups(m.ctx, v, l, today, today+3, nil)
			if err != nil {
				return err
			}
			if len(rows) != len(want) {
				rt.Fatalf("%d rollups, want %d", len(rows), len(want))
			}
			for _, r := range rows {
				w := want[r.RollupKey]
				if w == nil {
					rt.Fatalf("a rollup %v of no event", r.RollupKey)
				}
				r.Subtract(w)
				if !r.IsZero() {
					rt.Fatalf("rollup %v is off by %+v", r.RollupKey, r)
				}
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatalf("reading: %v", err)
	}
}
