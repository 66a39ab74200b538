package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/usance/usance"
)

// What is counted is written by groups of licences: each event is in one batch,
// after those of its licence that were judged before it.
func TestSplit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const groups = 16
	in := &Ingester{o: Options{Split: groups}}
	for _, n := range []int{1, 5, 20, 5000} {
		g := &group{in: in, now: now}
		for i := range n {
			g.staged = append(g.staged, usance.Event{LicenseID: fmt.Sprint("lic_", i*7%300), Quantity: int64(i + 1)})
		}
		g.split()
		ids, last, total := make(map[usance.ID]bool), make(map[string]int64), 0
		for _, b := range g.batches {
			if ids[b.ID] {
				t.Errorf("%d events: the batch %s is there twice", n, b.ID)
			}
			ids[b.ID] = true
			if b.Count != len(b.Events) || b.Count == 0 || b.At != now {
				t.Errorf("%d events: a batch of %d at %s holds %d", n, b.Count, b.At, len(b.Events))
			}
			total += b.Count
			for _, e := range b.Events {
				if want := usance.GroupOf(e.LicenseID, groups); b.Group != want {
					t.Errorf("%d events: %s, of group %d, is in a batch of group %d", n, e.LicenseID, want, b.Group)
				}
				if e.Quantity <= last[e.LicenseID] {
					t.Errorf("%d events: event %d of %s follows event %d", n, e.Quantity, e.LicenseID, last[e.LicenseID])
				}
				last[e.LicenseID] = e.Quantity
			}
		}
		if total != n || len(g.staged) != n {
			t.Errorf("%d of %d events are in batches", total, n)
		}
	}
}

// A counter that was moved before anything was held against it is held to its
// limit by the most that it came to after an event, not by what it ends with.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before int64
		moves  []int64
		want   bool
	}{
		{before: 8, moves: []int64{1, 1}},
		{before: 8, moves: []int64{1, 1, 1}, want: true},
		{before: 8, moves: []int64{3, -3}, want: true}, // the void came too late
		{before: 8, moves: []int64{-3, 3}},
		{before: 20, moves: []int64{-5}}, // a void always fits, also where the limit was lowered
		{before: 20, moves: []int64{-5, 3}, want: true},
		{before: 20, moves: []int64{-15, 3}},
	} {
		for _, allow := range []bool{false, true} {
			counter := counter{threshold: &usance.Threshold{Terms: usance.Terms{LimitQuantity: 10, AllowOverage: allow}}}
			counter.state.Quantity = c.before
			for _, quantity := range c.moves {
				counter.add(quantity)
				counter.state.Quantity += quantity
			}
			if got := counter.tooMuch(); got != (c.want && !allow) {
				t.Errorf("%d moved by %v, overage allowed %t: too much is %t", c.before, c.moves, allow, got)
			}
		}
	}
	most := counter{threshold: &usance.Threshold{Terms: usance.Terms{LimitQuantity: 10, AllowOverage: true}}}
	most.add(1)
	if most.state.Quantity = usance.MaxTotal + 1; !most.tooMuch() {
		t.Error("a sum past the largest that is kept is not too much")
	}
}
