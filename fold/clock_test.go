package fold_test

import (
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// TestCleanUpWithClockAhead: a clock that jumps years ahead closes no day and
// prunes nothing, however often it is asked on its first day; put right, all goes
// on as before. After a year's rest the clock is as far ahead, and is believed
// once it has gone on for a day.
func TestCleanUpWithClockAhead(t *testing.T) {
	const keep, day = 30 * 24 * time.Hour, 24 * time.Hour
	k := newKit(t)
	k.send(t, "l", "a", 30, k.now)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	clean := func(what string, folder *fold.Folder, days int, refused bool) {
		t.Helper()
		r, err := folder.CleanUp(t.Context(), keep)
		if (err != nil) != refused || r.Days != days || refused && usance.ErrorCode(err) != usance.CodeUnavailable {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	look := func(doubted bool) {
		t.Helper()
		c, err := k.a.LookAtClock(t.Context(), keep)
		if err != nil || c.DoubtedAt.IsZero() == doubted {
			t.Errorf("at %s: %+v, %v", k.now, c, err)
		}
	}
	clean("at first", k.a, 0, false)
	k.now = k.now.Add(7*day + time.Minute)
	clean("a week later", k.a, 0, false)
	right := k.now

	k.now = right.AddDate(5, 0, 0)
	look(true)
	clean("five years ahead", k.a, 0, true)
	k.send(t, "l", "ahead", 3, k.now) // what comes in meanwhile proves nothing
	for range 23 {
		k.now = k.now.Add(time.Hour)
		clean("still ahead", k.b, 0, true)
		look(true)
	}
	// What refuses events is a closed day.
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.now = right
	k.send(t, "l", "b", 3, right.Add(-7*day))
	look(false)
	clean("put right", k.a, 0, false)

	k.now = k.now.AddDate(0, 0, 15)
	clean("a fortnight later, with nothing due", k.a, 0, false)
	k.now = right.AddDate(1, 0, 0)
	clean("after a year's rest", k.a, 0, true)
	k.now = k.now.Add(day)
	clean("a day later", k.a, 1, false)
	k.now = k.now.Add(7 * day)
	look(false)
}

// TestCleanUpWhereNoClockWasNoted: as after an upgrade, what came in last tells
// what the clock was; where nothing ever came in, nothing is lost.
func TestCleanUpWhereNoClockWasNoted(t *testing.T) {
	const keep = 30 * 24 * time.Hour
	k := newKit(t)
	k.send(t, "l", "a", 30, k.now)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	right := k.now
	k.now = right.AddDate(1, 0, 0)
	for range 2 {
		if r, err := k.a.CleanUp(t.Context(), keep); usance.ErrorCode(err) != usance.CodeUnavailable || r.Days != 0 {
			t.Errorf("a year ahead: %+v, %v", r, err)
		}
	}
	k.now = right.Add(time.Hour)
	k.send(t, "l", "b", 3, right) // which a closed day would refuse
	if r, err := k.a.CleanUp(t.Context(), keep); err != nil || r.Days != 0 {
		t.Errorf("put right: %+v, %v", r, err)
	}

	empty := newKit(t)
	if r, err := empty.a.CleanUp(t.Context(), keep); err != nil || r != (fold.Retention{}) {
		t.Errorf("an empty store: %+v, %v", r, err)
	}
	if c, err := empty.a.LookAtClock(t.Context(), keep); err != nil || !c.DoubtedAt.IsZero() {
		t.Errorf("an empty store: %+v, %v", c, err)
	}
}

// TestCleanUpDoubtsByItsRetention: where events are kept for few days, a jump of
// few is doubted, while one by half of them is not.
func TestCleanUpDoubtsByItsRetention(t *testing.T) {
	const day, keep = 24 * time.Hour, 4 * 24 * time.Hour
	k := newKit(t)
	if _, err := k.a.LookAtClock(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	k.send(t, "l", "a", 30, k.now)
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	right := k.now
	k.now = right.Add(5 * day)
	if r, err := k.a.CleanUp(t.Context(), keep); usance.ErrorCode(err) != usance.CodeUnavailable || r.Days != 0 {
		t.Errorf("five days ahead: %+v, %v", r, err)
	}
	for i, sealed := range []int{0, 0, 1} {
		k.now = right.Add(time.Duration(i+1) * 2 * day)
		if r, err := k.a.CleanUp(t.Context(), keep); err != nil || r.Days != sealed {
			t.Errorf("%d days on: %+v, %v", 2*i+2, r, err)
		}
	}
}
