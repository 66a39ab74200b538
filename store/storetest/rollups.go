package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/usance/usance"
)

func testPending(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	// Given out of order: the oldest comes first all the same.
	for _, n := range []int{3, 1, 2} {
		update(t, s, func(tx usance.Tx) error {
			var events []usance.Event
			for i := range n {
				events = append(events, event("l1", 10*n+i, today))
			}
			return tx.AddEvents(ctx, []usance.Batch{{ID: id(n), At: now.Add(time.Duration(n) * time.Second), Events: events}})
		})
	}
	update(t, s, func(tx usance.Tx) error { return tx.AddEvents(ctx, []usance.Batch{{ID: id(9), At: now, Events: nil}}) })
	batch := func(n int) usance.Batch {
		b := usance.Batch{ID: id(n), At: now.Add(time.Duration(n) * time.Second), Count: n}
		if shards := s.Shards(); shards.Several() { // which a pending batch is filed by
			b.Group = shards.Of("l1")
		}
		return b
	}
	view(t, s, func(v usance.View) error {
		got, err := v.Pending(ctx, now.Add(time.Hour), 2)
		if err != nil {
			return err
		}
		equal(t, "Pending, two at most", got, []usance.Batch{batch(1), batch(2)})
		got, err = v.Pending(ctx, now.Add(3*time.Second), 10)
		if err != nil {
			return err
		}
		equal(t, "Pending, of before the third", got, []usance.Batch{batch(1), batch(2)})
		got, err = v.Pending(ctx, now.Add(time.Hour), 10)
		equal(t, "Pending", got, []usance.Batch{batch(1), batch(2), batch(3)})
		return err
	})
	update(t, s, func(tx usance.Tx) error {
		got, err := tx.TakePending(ctx, named(id(1), id(3), id(7)))
		slices.SortFunc(got, compareID)
		equal(t, "TakePending", got, []usance.ID{id(1), id(3)})
		if err != nil {
			return err
		}
		got, err = tx.TakePending(ctx, named(id(1)))
		equal(t, "TakePending once more", got, nil)
		if err != nil {
			return err
		}
		count := 0
		err = tx.BatchEvents(ctx, []usance.ID{id(1), id(2), id(3)}, func(*usance.Event) error {
			count++
			return nil
		})
		if count != 4 {
			t.Errorf("BatchEvents gave %d events of batches taken and not taken, want the 4 taken", count)
		}
		return err
	})
	// One of a single group is found by it.
	group := usance.GroupOf("l1", usance.MaxGroups)
	if shards := s.Shards(); shards.Several() {
		group = shards.Of("l1")
	}
	of := usance.Batch{ID: id(8), At: now, Group: group, Events: []usance.Event{event("l1", 80, today)}}
	update(t, s, func(tx usance.Tx) error {
		if err := tx.AddEvents(ctx, []usance.Batch{of}); err != nil {
			return err
		}
		tail := 0
		if err := tx.Tail(ctx, "l1", today, today+1, func(*usance.Event) error { tail++; return nil }); err != nil {
			return err
		}
		if tail != 3 {
			t.Errorf("Tail gave %d events of a batch of a group and of one of none, want 3", tail)
		}
		got, err := tx.TakePending(ctx, []usance.Batch{{ID: id(8), Group: group}})
		equal(t, "TakePending of a group", got, []usance.ID{id(8)})
		return err
	})
	// What was rolled back was not taken.
	boom := errors.New("boom")
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if _, err := tx.TakePending(ctx, named(id(2))); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update: %v", err)
	}
	view(t, s, func(v usance.View) error {
		got, err := v.Pending(ctx, now.Add(time.Hour), 10)
		equal(t, "Pending after that", got, []usance.Batch{batch(2)})
		return err
	})
}

func testRollups(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	key := func(l string, d usance.Date, u string) usance.RollupKey {
		return usance.RollupKey{LicenseID: l, Date: d, UsageType: u}
	}
	keys := []usance.RollupKey{key("l1", today-1, "view"), key("l1", today, "click"), key("l1", today, "view"), key("l2", today, "view")}
	row := usance.Rollup{RollupKey: keys[0], Tally: usance.Tally{Events: -1, Quantity: usance.MaxTotal, RevenueCents: -usance.MaxTotal}, Revision: 7,
		Breakdown: usance.Breakdown{
			usance.ByHour:     {"0": {Events: 1, Quantity: 2, RevenueCents: 3}, "24": {Events: -1, Quantity: -2, RevenueCents: -3}},
			usance.ByPlatform: {usance.NoValue: {Events: 1}},
			usance.ByDevice:   {"tv": {}},
			usance.ByGeo:      {`Kö"ln\, {DE} [x]`: {Quantity: 1}, "a/b<c>&d": {Quantity: 2}, "漢": {}},
			usance.BySource:   {"example.com": {RevenueCents: usance.MaxTotal}},
		}}
	full(t, row)
	update(t, s, func(tx usance.Tx) error {
		if err := tx.EnsureRollups(ctx, keys); err != nil {
			return err
		}
		got, err := tx.LockRollups(ctx, append(slices.Clone(keys), key("l3", today, "view")))
		if err != nil {
			return err
		}
		var empty []usance.Rollup
		for _, k := range keys {
			empty = append(empty, usance.Rollup{RollupKey: k})
		}
		equal(t, "LockRollups", got, empty)
		return tx.PutRollups(ctx, []usance.Rollup{row})
	})
	update(t, s, func(tx usance.Tx) error {
		if err := tx.EnsureRollups(ctx, keys); err != nil { // leaves what is there
			return err
		}
		got, err := tx.LockRollups(ctx, keys[:1])
		equal(t, "LockRollups", got, []usance.Rollup{row})
		return err
	})
	view(t, s, func(v usance.View) error {
		at := func(i int) usance.Rollup { return usance.Rollup{RollupKey: keys[i]} }
		for _, c := range []struct {
			from, to usance.Date
			types    []string
			want     []usance.Rollup
		}{
			{today - 5, today + 5, nil, []usance.Rollup{row, at(1), at(2)}},
			{today, today + 1, nil, []usance.Rollup{at(1), at(2)}},
			{today - 1, today, nil, []usance.Rollup{row}},
			{today - 5, today + 5, []string{"view", "play"}, []usance.Rollup{row, at(2)}},
			{today - 5, today + 5, []string{}, nil},
			{today, today, nil, nil},
		} {
			got, err := rollups(ctx, v, "l1", c.from, c.to, c.types)
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("Rollups %s to %s of %q", c.from, c.to, c.types), got, c.want)
		}
		has, err := v.HasUsage(ctx, "l2")
		if !has {
			t.Error("a rollup is usage")
		}
		return err
	})
	stop := errors.New("enough")
	err := s.View(ctx, func(v usance.View) error {
		return v.Rollups(ctx, "l1", 0, today+1, nil, func(*usance.Rollup) error { return stop })
	})
	if !errors.Is(err, stop) {
		t.Errorf("the error of yield became %v", err)
	}
}

// A fold that writes fewer rows than it merged must not pass for a fold.
func testRollupsMissing(t *testing.T, s usance.Store) {
	putLicenses(t, s, "l1")
	err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		return tx.PutRollups(t.Context(), []usance.Rollup{{RollupKey: usance.RollupKey{LicenseID: "l1", Date: today, UsageType: "view"}}})
	})
	if err == nil {
		t.Error("a rollup was written that was never made")
	}
}

func testTailAndFolded(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	a := []usance.Event{event("l1", 1, today-1), event("l2", 2, today), event("l1", 3, today)}
	b := []usance.Event{event("l1", 4, today-1), event("l1", 5, today+1)}
	first, second := addEvents(t, s, 100, a...), addEvents(t, s, 101, b...)
	check := func(what string, pending, done []int) {
		t.Helper()
		want := func(ns []int) (out []usance.ID) {
			for _, n := range ns {
				out = append(out, id(n))
			}
			return out
		}
		view(t, s, func(v usance.View) error {
			got, err := tail(ctx, v, "l1", today-1, today+1)
			if err != nil {
				return err
			}
			equal(t, what+": Tail", got, want(pending))
			got, err = folded(ctx, v, "l1", today-1, today+1)
			equal(t, what+": Folded", got, want(done))
			return err
		})
	}
	check("nothing folded", []int{1, 3, 4}, nil)
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, second) })
	check("second folded", []int{1, 3}, []int{4})
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, first, second) })
	check("all folded", nil, []int{1, 3, 4})
}

// Parts of a day, each behind the mark of the one before, hold each folded event once;
// what is pending, and what came behind it, is left for later.
func testFoldedPart(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	events := func(from, to int) (out []usance.Event) {
		for n := from; n <= to; n++ {
			out = append(out, event("l1", n, today))
		}
		return out
	}
	first := addEvents(t, s, 100, events(1, 6)...)
	second := addEvents(t, s, 101, events(7, 9)...)
	third := addEvents(t, s, 102, append(events(10, 12), event("l2", 13, today), event("l1", 14, today-1))...)
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, first, third) })
	part := func(what string, mark string, n int, want ...int) (next string) {
		t.Helper()
		var got, ids []usance.ID
		for _, n := range want {
			ids = append(ids, id(n))
		}
		view(t, s, func(v usance.View) (err error) {
			next, err = v.FoldedPart(ctx, "l1", today, mark, n, now.Add(time.Hour), func(e *usance.Event) error {
				got = append(got, e.ID)
				return nil
			})
			return err
		})
		slices.SortFunc(got, compareID)
		equal(t, what, got, ids)
		return next
	}
	mark := part("the first", "", 4, 1, 2, 3, 4)
	last := part("up to what is pending", mark, 4, 5, 6)
	if next := part("behind it", last, 4); next != last {
		t.Errorf("what is pending was passed: %s, want %s", next, last)
	}
	part("all that are left", last, 0, 10, 11, 12)
	part("all", "", 0, 1, 2, 3, 4, 5, 6, 10, 11, 12)
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, second) })
	last = part("once it is folded", last, 5, 7, 8, 9, 10, 11)
	part("the rest", last, 5, 12)
	view(t, s, func(v usance.View) error {
		got, err := v.DayEvents(ctx, "l1", today-1, today+1)
		equal(t, "DayEvents", got, map[usance.Date]int64{today - 1: 1, today: 12})
		return err
	})
}

func testDayUsage(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	var events []usance.Event
	want := make(map[usance.RollupKey]*usance.Rollup)
	for n := range 60 {
		e := event("l1", n+1, today-usance.Date(n%4))
		e.UsageType = []string{"view", "click", "play"}[n%3]
		events = append(events, e)
		if e.LocalDate >= today-2 {
			k := usance.RollupKey{LicenseID: "l1", Date: e.LocalDate, UsageType: e.UsageType}
			if want[k] == nil {
				want[k] = &usance.Rollup{RollupKey: k}
			}
			want[k].Add(&e)
		}
	}
	addEvents(t, s, 100, events[:30]...)
	addEvents(t, s, 101, events[30:]...)
	addEvents(t, s, 102, event("l2", 100, today))
	var sorted []usance.Rollup
	for _, r := range want {
		sorted = append(sorted, usance.Rollup{RollupKey: r.RollupKey, Tally: r.Tally})
	}
	slices.SortFunc(sorted, func(a, b usance.Rollup) int { return a.Compare(b.RollupKey) })
	for _, step := range []usance.ID{{}, id(100), id(101)} {
		if !step.IsZero() {
			update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, step) })
		}
		view(t, s, func(v usance.View) error {
			got, err := v.DayUsage(ctx, "l1", today-2, today+1)
			equal(t, "DayUsage", got, sorted)
			if err != nil {
				return err
			}
			// What is folded is summed apart, and the tail is the rest.
			sums := make(map[usance.RollupKey]usance.Tally)
			folded, err := v.FoldedUsage(ctx, "l1", today-2, today+1)
			if !slices.IsSortedFunc(folded, func(a, b usance.Rollup) int { return a.Compare(b.RollupKey) }) {
				t.Errorf("FoldedUsage is out of order: %v", folded)
			}
			for _, r := range folded {
				sums[r.RollupKey] = r.Tally
			}
			if err != nil {
				return err
			}
			err = v.Tail(ctx, "l1", today-2, today+1, func(e *usance.Event) error {
				k := usance.RollupKey{LicenseID: "l1", Date: e.LocalDate, UsageType: e.UsageType}
				sums[k] = sums[k].Plus(usance.Tally{Events: 1, Quantity: e.Quantity, RevenueCents: e.RevenueCents})
				return nil
			})
			if len(sums) != len(sorted) {
				t.Errorf("FoldedUsage and Tail have %d days and types, want %d", len(sums), len(sorted))
			}
			for _, r := range sorted {
				if sums[r.RollupKey] != r.Tally {
					t.Errorf("FoldedUsage and Tail of %v: %v, want %v", r.RollupKey, sums[r.RollupKey], r.Tally)
				}
			}
			return err
		})
	}
}

func testSessions(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	sketch := func(from, to uint64) (out usance.Sessions) {
		for n := from; n < to; n++ {
			out.Add((n + 1) * 0x9E3779B97F4A7C15)
		}
		return out
	}
	day := func(l string, d usance.Date, s usance.Sessions) usance.DaySketch {
		return usance.DaySketch{Day: usance.Day{LicenseID: l, Date: d}, Sessions: s}
	}
	for _, days := range [][]usance.DaySketch{
		{day("l1", today-1, sketch(0, 3)), day("l1", today, sketch(0, 5000)), day("l2", today, usance.Sessions{})},
		{day("l1", today, sketch(4000, 9000))},
		{day("l1", today-1, sketch(2, 4))},
	} {
		update(t, s, func(tx usance.Tx) error { return tx.MergeSessions(ctx, days) })
	}
	both := sketch(0, 9000)
	want := map[usance.Date]int64{today - 1: 4, today: both.Estimate()}
	view(t, s, func(v usance.View) error {
		got := make(map[usance.Date]int64)
		err := v.DaySessions(ctx, "l1", today-1, today+1, func(d usance.Date, s *usance.Sessions) error {
			got[d] = s.Estimate()
			return nil
		})
		equal(t, "DaySessions", got, want)
		if err != nil {
			return err
		}
		got = make(map[usance.Date]int64)
		err = v.DaySessions(ctx, "l1", today-1, today, func(d usance.Date, s *usance.Sessions) error {
			got[d] = s.Estimate()
			return nil
		})
		equal(t, "DaySessions of one day", got, map[usance.Date]int64{today - 1: 4})
		if err != nil {
			return err
		}
		beside, err := v.UniqueSessions(ctx, "l1", today-1, today+1)
		equal(t, "UniqueSessions", beside, want)
		if err != nil {
			return err
		}
		beside, err = v.UniqueSessions(ctx, "l1", today-1, today)
		equal(t, "UniqueSessions of one day", beside, map[usance.Date]int64{today - 1: 4})
		return err
	})
}

func testVersions(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	version := func(l string) (n int64) {
		view(t, s, func(v usance.View) (err error) {
			n, err = v.Version(ctx, l)
			return err
		})
		return n
	}
	before1, before2 := version("l1"), version("l2")
	had := map[int64]bool{before1: true}
	for range 4 {
		update(t, s, func(tx usance.Tx) error { return tx.RenewVersions(ctx, []string{"l1"}) })
		after := version("l1")
		if had[after] {
			t.Errorf("the version is %d, which it was before", after)
		}
		had[after] = true
	}
	if after := version("l2"); after != before2 {
		t.Errorf("another licence's version moved from %d to %d", before2, after)
	}
	// What a transaction that came to nothing would have made is not made again.
	var undone int64
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) (err error) {
		if err := tx.RenewVersions(ctx, []string{"l1"}); err != nil {
			return err
		}
		if undone, err = tx.Version(ctx, "l1"); err != nil {
			return err
		}
		return errUndone
	})
	if !errors.Is(err, errUndone) {
		t.Fatal(err)
	}
	update(t, s, func(tx usance.Tx) error { return tx.RenewVersions(ctx, []string{"l1"}) })
	if after := version("l1"); after == undone || had[after] {
		t.Errorf("the version is %d, which was made before", after)
	}
}

var errUndone = errors.New("come to nothing")

// Readers that come while events are written and folded see each event once:
// at least those acknowledged before, and whole transactions only.
func testFoldingUnderReaders(t *testing.T, s usance.Store) {
	const batches, size = 60, 5
	ctx := t.Context()
	putLicenses(t, s, "l1")
	var acknowledged progress
	batchIDs := make(chan usance.ID, batches)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(batchIDs)
		for b := range batches {
			var events []usance.Event
			for i := range size {
				events = append(events, event("l1", b*size+i+1, today))
			}
			err := s.Update(ctx, usance.Locks{Shared: []string{"l1"}}, func(tx usance.Tx) error {
				return tx.AddEvents(ctx, []usance.Batch{{ID: id(1000 + b), At: now, Events: events}})
			})
			if err != nil {
				t.Errorf("adding: %v", err)
				return
			}
			acknowledged.add(size)
			batchIDs <- id(1000 + b)
		}
	})
	wg.Go(func() {
		for b := range batchIDs {
			if err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return fold(ctx, tx, b) }); err != nil {
				t.Errorf("folding: %v", err)
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for {
				atLeast := acknowledged.get()
				var seen int64
				err := s.View(ctx, func(v usance.View) error {
					rows, err := rollups(ctx, v, "l1", today, today+1, nil)
					if err != nil {
						return err
					}
					seen = 0
					for _, r := range rows {
						seen += r.Events
					}
					rest, err := tail(ctx, v, "l1", today, today+1)
					seen += int64(len(rest))
					return err
				})
				if err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				if seen < atLeast || seen%size != 0 {
					t.Errorf("a reader saw %d events, %d were acknowledged, %d a batch", seen, atLeast, size)
					return
				}
				if atLeast == batches*size || t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
}

type progress struct {
	mu sync.Mutex
	n  int64
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += n
}

func (p *progress) get() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
