package storetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

func fullEvent(licenseID string) usance.Event {
	e := usance.Event{
		ID: id(1), LicenseID: licenseID, UsageType: "social.embed-2", Quantity: usance.MaxQuantity, OccurredAt: now.Add(-time.Hour),
		Platform: "web", DeviceType: "tablet", GeographicLocation: "Köln, \"DE\"", Referrer: "https://example.com/a?b=c#d",
		RevenueCents: usance.MaxQuantity, Metadata: usance.RawJSON(`{"a":[1,2.5,null],"ä":"\u0001"}`), IdempotencyKey: "key ä",
		Stamped: true, ReceivedAt: now.Add(time.Millisecond), LocalDate: today - 1, HourSlot: 24, SessionHash: math.MaxUint64, VoidOf: id(9),
	}
	e.HashPayload()
	return e
}

func testEvents(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	whole := fullEvent("l1")
	full(t, whole, "SessionID", "Voided") // the one is never stored, the other derived
	bare := usance.Event{ID: id(2), LicenseID: "l1", UsageType: "view", Quantity: 1, OccurredAt: now, ReceivedAt: now.Add(2 * time.Millisecond), LocalDate: -1, IdempotencyKey: "bare"}
	view(t, s, func(v usance.View) error {
		has, err := v.HasUsage(ctx, "l1")
		if has {
			t.Error("HasUsage before any event")
		}
		return err
	})
	addEvents(t, s, 100, whole, bare)
	view(t, s, func(v usance.View) error {
		for _, want := range []usance.Event{whole, bare} {
			got, err := v.EventByKey(ctx, "l1", want.IdempotencyKey)
			if err != nil {
				return err
			}
			equal(t, "EventByKey", got, want)
			if got, err = v.EventByID(ctx, "l1", want.ID); err != nil {
				return err
			}
			equal(t, "EventByID", got, want)
		}
		_, err := v.EventByID(ctx, "l2", whole.ID)
		wantCode(t, "EventByID under another licence", err, usance.CodeNotFound)
		_, err = v.EventByKey(ctx, "l2", whole.IdempotencyKey)
		wantCode(t, "EventByKey under another licence", err, usance.CodeNotFound)
		listed, _, err := v.Events(ctx, usance.EventFilter{LicenseID: "l1"}, usance.Page{Limit: 10})
		if err != nil {
			return err
		}
		equal(t, "Events", listed, []usance.Event{whole, bare})
		var tailed []usance.Event
		err = v.Tail(ctx, "l1", today-1, today, func(e *usance.Event) error {
			tailed = append(tailed, *e)
			return nil
		})
		if err != nil {
			return err
		}
		equal(t, "Tail", tailed, []usance.Event{whole})
		for licenseID, want := range map[string]bool{"l1": true, "l2": false} {
			has, err := v.HasUsage(ctx, licenseID)
			if err != nil {
				return err
			}
			if has != want {
				t.Errorf("HasUsage(%s) = %t", licenseID, has)
			}
		}
		return nil
	})
	update(t, s, func(tx usance.Tx) error {
		var got []usance.Event
		taken, err := tx.TakePending(ctx, named(id(100)))
		if err != nil {
			return err
		}
		err = tx.BatchEvents(ctx, taken, func(e *usance.Event) error {
			got = append(got, *e)
			return nil
		})
		equal(t, "BatchEvents", got, []usance.Event{whole, bare})
		return err
	})
}

func testKeyExists(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	addEvents(t, s, 100, event("l1", 1, today))
	dup, fresh := event("l1", 1, today), event("l1", 3, today)
	dup.ID = id(2)
	twice := event("l1", 4, today)
	again := twice
	again.ID = id(5)
	for what, events := range map[string][]usance.Event{
		"first":           {dup, fresh},
		"last":            {fresh, dup},
		"within a batch":  {twice, again},
		"of the same id":  {event("l1", 1, today)},
		"on another date": {event("l1", 1, today+1)},
	} {
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			if err := tx.PutBrand(ctx, usance.Brand{ID: "new", Name: "N", CreatedAt: now, UpdatedAt: now}); err != nil {
				return err
			}
			if err := tx.AddEvents(ctx, []usance.Batch{{ID: id(101), At: now, Events: []usance.Event{event("l2", 1, today)}}}); err != nil {
				return err
			}
			return tx.AddEvents(ctx, []usance.Batch{{ID: id(102), At: now, Events: events}})
		})
		if !errors.Is(err, usance.ErrKeyExists) {
			t.Errorf("a key that exists, %s: error %v", what, err)
		}
		view(t, s, func(v usance.View) error {
			_, err := v.Brand(ctx, "new")
			wantCode(t, "what the transaction wrote before", err, usance.CodeNotFound)
			for _, licenseID := range []string{"l1", "l2"} {
				got, err := tail(ctx, v, licenseID, today, today+2)
				if err != nil {
					return err
				}
				want := map[string][]usance.ID{"l1": {id(1)}}[licenseID]
				equal(t, "events after "+what, got, want)
			}
			pending, err := v.Pending(ctx, now.Add(time.Hour), 10)
			if len(pending) != 1 {
				t.Errorf("%d pending batches after %s, want 1", len(pending), what)
			}
			return err
		})
	}
	// Keys are scoped to the licence.
	other := event("l2", 1, today)
	other.ID = id(6)
	addEvents(t, s, 103, other)
	view(t, s, func(v usance.View) error {
		got, err := v.EventByKey(ctx, "l2", "key-1")
		equal(t, "the same key under another licence", got.ID, id(6))
		return err
	})
}

// A store must not commit after a failed insertion, whatever the function says.
func testKeyExistsSwallowed(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	addEvents(t, s, 100, event("l1", 1, today))
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.AddEvents(ctx, []usance.Batch{{ID: id(101), At: now, Events: []usance.Event{event("l1", 2, today), event("l1", 1, today)}}}); err == nil {
			t.Error("a key that exists was added")
		}
		return nil
	})
	if err == nil {
		t.Error("the transaction was committed after ErrKeyExists")
	}
	view(t, s, func(v usance.View) error {
		got, err := tail(ctx, v, "l1", today, today+1)
		equal(t, "events", got, []usance.ID{id(1)})
		return err
	})
}

func testLongKeys(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	prefix := "2026-03-15T12:30:45.123456Z-order" // they share more than is kept of it
	keys := []string{
		"", "a", "A", "ä", strings.Repeat("x", 31), strings.Repeat("x", 32), strings.Repeat("x", 33), strings.Repeat("x", usance.MaxKeyBytes),
		prefix + "1", prefix + "2", prefix, usance.VoidKey(id(1)), usance.VoidKey(id(2)), usance.Key(prefix)[:16],
	}
	var events []usance.Event
	var refs []usance.EventRef
	for i, k := range keys {
		e := event("l1", i+1, today)
		e.IdempotencyKey = k
		events = append(events, e)
		refs = append(refs, usance.EventRef{LicenseID: "l1", IdempotencyKey: k}, usance.EventRef{LicenseID: "l2", IdempotencyKey: k},
			usance.EventRef{LicenseID: "l1", IdempotencyKey: k + "!"})
	}
	addEvents(t, s, 100, events...)
	view(t, s, func(v usance.View) error {
		got, err := v.EventsByKey(ctx, refs)
		if err != nil {
			return err
		}
		byKey := make(map[string]usance.Event)
		for _, e := range got {
			byKey[e.IdempotencyKey] = e
		}
		if len(got) != len(keys) || len(byKey) != len(keys) {
			t.Errorf("EventsByKey gave %d events of %d keys, want %d", len(got), len(byKey), len(keys))
		}
		for _, want := range events {
			e := byKey[want.IdempotencyKey]
			equal(t, fmt.Sprintf("EventsByKey %.40q", want.IdempotencyKey),
				usance.Event{ID: e.ID, LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey, PayloadHash: e.PayloadHash,
					LocalDate: e.LocalDate, OccurredAt: e.OccurredAt, UsageType: e.UsageType, Quantity: e.Quantity},
				usance.Event{ID: want.ID, LicenseID: want.LicenseID, IdempotencyKey: want.IdempotencyKey, PayloadHash: want.PayloadHash,
					LocalDate: want.LocalDate, OccurredAt: want.OccurredAt, UsageType: want.UsageType, Quantity: want.Quantity})
			one, err := v.EventByKey(ctx, "l1", want.IdempotencyKey)
			if err != nil {
				return err
			}
			equal(t, "EventByKey", one, want)
		}
		none, err := v.EventsByKey(ctx, nil)
		equal(t, "EventsByKey of none", none, nil)
		return err
	})
}

func testVoids(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	kept, taken := event("l1", 1, today), event("l1", 2, today)
	void := taken.Void()
	void.ID, void.ReceivedAt = id(3), now.Add(time.Hour)
	addEvents(t, s, 100, kept, taken)
	addEvents(t, s, 101, void)
	taken.Voided = true
	view(t, s, func(v usance.View) error {
		got, err := v.EventByID(ctx, "l1", id(2))
		if err != nil {
			return err
		}
		equal(t, "the voided event by its id", got, taken)
		if got, err = v.EventByKey(ctx, "l1", taken.IdempotencyKey); err != nil {
			return err
		}
		equal(t, "the voided event by its key", got, taken)
		for _, c := range []struct {
			status usance.EventStatus
			want   []usance.Event
		}{
			{"", []usance.Event{void, taken, kept}},
			{usance.StatusCounted, []usance.Event{void, kept}},
			{usance.StatusVoided, []usance.Event{taken}},
			{usance.StatusBlocked, nil},
		} {
			got, _, err := v.Events(ctx, usance.EventFilter{LicenseID: "l1", Status: c.status}, usance.Page{Limit: 10})
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("Events of status %q", c.status), got, c.want)
		}
		usage, err := v.DayUsage(ctx, "l1", today, today+1)
		equal(t, "DayUsage", usage, []usance.Rollup{{
			RollupKey: usance.RollupKey{LicenseID: "l1", Date: today, UsageType: "view"},
			Tally:     usance.Tally{Events: 1, Quantity: kept.Quantity, RevenueCents: kept.RevenueCents},
		}})
		return err
	})
}

func testEventFilters(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	// Received in order, but not in the order of their days.
	var events []usance.Event
	for n, day := range []usance.Date{today, today - 1, today, today - 2, today - 1} {
		e := event("l1", n+1, day)
		if n%2 == 1 {
			e.UsageType = "click"
		}
		events = append(events, e)
	}
	addEvents(t, s, 100, events...)
	addEvents(t, s, 101, event("l2", 9, today))
	view(t, s, func(v usance.View) error {
		for _, c := range []struct {
			f    usance.EventFilter
			want []int
		}{
			{usance.EventFilter{}, []int{3, 1, 5, 2, 4}},
			{usance.EventFilter{UsageType: "click"}, []int{2, 4}},
			{usance.EventFilter{From: today - 1}, []int{3, 1, 5, 2}},
			{usance.EventFilter{To: today}, []int{5, 2, 4}},
			{usance.EventFilter{From: today - 1, To: today, UsageType: "view"}, []int{5}},
			{usance.EventFilter{From: today + 1}, nil},
		} {
			c.f.LicenseID = "l1"
			got, next, err := v.Events(ctx, c.f, usance.Page{Limit: 10})
			if err != nil {
				return err
			}
			var want []usance.Event
			for _, n := range c.want {
				want = append(want, events[n-1])
			}
			equal(t, fmt.Sprintf("Events %+v", c.f), got, want)
			if next != "" {
				t.Error("a cursor at the end")
			}
		}
		return nil
	})
}

func testEvidence(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	first := usance.Evidence{Event: fullEvent("l1"), Status: usance.StatusBlocked, Code: usance.CodeLimitExceeded, ThresholdID: "t1", Attempts: 2, FirstAt: now, LastAt: now.Add(time.Second)}
	full(t, first, "SessionID", "Voided")
	long := first
	long.ID, long.IdempotencyKey, long.LastAt = id(2), strings.Repeat("k", 99), now.Add(time.Minute)
	other := first
	other.ID, other.LicenseID = id(3), "l2"
	update(t, s, func(tx usance.Tx) error { return tx.PutEvidence(ctx, []usance.Evidence{first, long, other}) })
	page := func() (rows []usance.Evidence) {
		view(t, s, func(v usance.View) (err error) {
			rows, _, err = v.Evidence(ctx, usance.EventFilter{LicenseID: "l1"}, usance.Page{Limit: 10})
			return err
		})
		return rows
	}
	equal(t, "Evidence", page(), []usance.Evidence{long, first})

	later := usance.Evidence{Event: event("l1", 50, today), Status: usance.StatusOutOfTerm, Code: usance.CodeOutOfTerm, Attempts: 3, FirstAt: now.Add(time.Hour), LastAt: now.Add(2 * time.Hour)}
	later.IdempotencyKey = first.IdempotencyKey
	update(t, s, func(tx usance.Tx) error { return tx.PutEvidence(ctx, []usance.Evidence{later}) })
	want := later
	want.ID, want.FirstAt, want.Attempts = first.ID, first.FirstAt, first.Attempts+later.Attempts
	equal(t, "Evidence after another attempt", page(), []usance.Evidence{want, long})

	defer func() {
		update(t, s, func(tx usance.Tx) error {
			n, err := tx.PruneEvidence(ctx, now.Add(time.Hour), 1)
			m, err2 := tx.PruneEvidence(ctx, now.Add(time.Hour), 10)
			if n != 1 || m != 1 {
				t.Errorf("PruneEvidence deleted %d and %d rows, want one and the other", n, m)
			}
			return errors.Join(err, err2)
		})
		equal(t, "Evidence after pruning", page(), []usance.Evidence{want})
	}()
	view(t, s, func(v usance.View) error {
		for what, f := range map[string]usance.EventFilter{
			"status": {Status: usance.StatusOutOfTerm}, "type": {UsageType: "view"}, "from": {From: today}, "all": {From: today, To: today + 1, UsageType: "view"},
		} {
			f.LicenseID = "l1"
			rows, _, err := v.Evidence(ctx, f, usance.Page{Limit: 10})
			if err != nil {
				return err
			}
			equal(t, "Evidence by "+what, rows, []usance.Evidence{want})
		}
		has, err := v.HasUsage(ctx, "l1")
		if has {
			t.Error("evidence is no usage")
		}
		return err
	})
}

func testDays(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	day := func(l string, d usance.Date) usance.Day { return usance.Day{LicenseID: l, Date: d} }
	update(t, s, func(tx usance.Tx) error {
		if err := tx.CloseDays(ctx, []usance.Day{day("l1", today-3), day("l1", today-2), day("l2", today)}); err != nil {
			return err
		}
		return tx.SealDays(ctx, []usance.Day{day("l1", today-3)})
	})
	update(t, s, func(tx usance.Tx) error { return tx.CloseDays(ctx, []usance.Day{day("l1", today-3)}) }) // changes nothing
	view(t, s, func(v usance.View) error {
		got, err := v.ClosedDays(ctx, []usance.Day{day("l1", today-3), day("l1", today-2), day("l1", today-1), day("l1", today), day("l2", today-3), day("l2", today)})
		if err != nil {
			return err
		}
		equal(t, "ClosedDays", got, []usance.Day{day("l1", today-3), day("l1", today-2), day("l2", today)})
		for _, c := range []struct {
			license  string
			from, to usance.Date
			want     []usance.Date
		}{
			{"l1", today - 10, today, []usance.Date{today - 3}},
			{"l1", today - 3, today - 2, []usance.Date{today - 3}},
			{"l1", today - 10, today - 3, nil},
			{"l2", today - 10, today + 1, nil},
		} {
			got, err := v.SealedDays(ctx, c.license, c.from, c.to)
			if err != nil {
				return err
			}
			equal(t, "SealedDays of "+c.license, got, c.want)
		}
		return nil
	})
}

// Raw events go when they are old by their receipt, folded, and on a sealed day.
func testRetention(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	before := now.Add(-90 * 24 * time.Hour)
	received := func(at time.Time, e usance.Event) usance.Event {
		e.ReceivedAt = at.Add(e.ReceivedAt.Sub(now))
		return e
	}
	old := now.Add(-100 * 24 * time.Hour)
	addEvents(t, s, 100,
		received(old, event("l1", 1, today-100)), received(old, event("l1", 2, today-100)), received(old, event("l1", 3, today-50)),
		received(old, event("l2", 4, today-99)), received(old, event("l1", 5, today-100)))
	addEvents(t, s, 101, event("l1", 6, today-100), event("l1", 7, today), event("l2", 8, today-98))
	day := func(l string, d usance.Date) usance.Day { return usance.Day{LicenseID: l, Date: d} }
	due := func(after usance.Day, limit int) (days []usance.Day) {
		t.Helper()
		view(t, s, func(v usance.View) (err error) {
			days, err = v.DueDays(ctx, before, after, limit)
			return err
		})
		return days
	}
	prune := func(limit, want int) {
		t.Helper()
		update(t, s, func(tx usance.Tx) error {
			n, err := tx.PruneEvents(ctx, before, limit)
			if n != want {
				t.Errorf("PruneEvents deleted %d, want %d", n, want)
			}
			return err
		})
	}
	a, b, c := day("l1", today-100), day("l1", today-50), day("l2", today-99)
	equal(t, "DueDays", due(usance.Day{}, 10), []usance.Day{a, b, c})
	equal(t, "DueDays, two at most", due(usance.Day{}, 2), []usance.Day{a, b})
	equal(t, "DueDays after those", due(b, 2), []usance.Day{c})
	prune(10, 0)
	update(t, s, func(tx usance.Tx) error { return tx.CloseDays(ctx, []usance.Day{a, b}) })
	equal(t, "DueDays when closed", due(usance.Day{}, 10), []usance.Day{a, b, c})
	update(t, s, func(tx usance.Tx) error { return tx.SealDays(ctx, []usance.Day{a}) })
	equal(t, "DueDays when sealed", due(usance.Day{}, 10), []usance.Day{b, c})
	prune(10, 0) // its batch is pending
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, id(100)) })
	prune(2, 2)
	view(t, s, func(v usance.View) error {
		got, err := folded(ctx, v, "l1", today-100, today+1)
		equal(t, "what is left after two", got, []usance.ID{id(3), id(5)})
		return err
	})
	prune(2, 1)
	prune(2, 0)
	update(t, s, func(tx usance.Tx) error { return fold(ctx, tx, id(101)) })
	prune(10, 0) // what else lies on the day came later
	view(t, s, func(v usance.View) error {
		for l, want := range map[string][]usance.ID{"l1": {id(3), id(6), id(7)}, "l2": {id(4), id(8)}} {
			got, err := folded(ctx, v, l, today-100, today+1)
			if err != nil {
				return err
			}
			equal(t, "what is left of "+l, got, want)
		}
		_, err := v.EventByKey(ctx, "l1", "key-1")
		wantCode(t, "a pruned event", err, usance.CodeNotFound)
		usage, err := v.DayUsage(ctx, "l1", today-100, today-99)
		if err != nil {
			return err
		}
		if len(usage) != 1 || usage[0].Events != 4 {
			t.Errorf("the rollup after its events were pruned: %+v", usage)
		}
		return nil
	})
	// Room that was freed is no confusion for what comes next.
	addEvents(t, s, 102, event("l1", 9, today))
	view(t, s, func(v usance.View) error {
		got, err := tail(ctx, v, "l1", today-100, today+1)
		equal(t, "the tail afterwards", got, []usance.ID{id(9)})
		return err
	})
}
