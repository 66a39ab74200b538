package fold

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usance/usance"
)

// What is kept of an event adds to a rollup what the event itself does.
func TestPartsCountAsTheirEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := usance.Event{
			LicenseID: "l", UsageType: "view", LocalDate: 20000, HourSlot: rapid.IntRange(0, 24).Draw(t, "hour"),
			Quantity: rapid.Int64Range(-5, 5).Draw(t, "quantity"), RevenueCents: rapid.Int64Range(-5, 5).Draw(t, "revenue"),
			Platform:           rapid.SampledFrom(append([]string{""}, usance.Platforms...)).Draw(t, "platform"),
			DeviceType:         rapid.SampledFrom(append([]string{""}, usance.DeviceTypes...)).Draw(t, "device"),
			GeographicLocation: rapid.SampledFrom([]string{"", "DE", "Île"}).Draw(t, "place"),
			Referrer:           rapid.OneOf(rapid.StringMatching(`([a-z]{1,4}://)?([a:@]{0,3})[A-Za-z0-9.:\[\]@ ]{0,8}(:[0-9]{0,3})?([/?#].{0,4})?`), rapid.String()).Draw(t, "referrer"),
			SessionHash:        rapid.Uint64().Draw(t, "session"), VoidOf: usance.ID{rapid.Byte().Draw(t, "void")},
		}
		w := newWords()
		w.keep(usance.Batch{Count: 1, Events: []usance.Event{e}}) // what it remembers is the same
		k := w.keep(usance.Batch{Count: 1, Events: []usance.Event{e}})
		got, want := newSum(), newSum()
		got.addParts(k.parts)
		want.add(&e)
		if diff := gocmp.Diff(want.rollups, got.rollups); diff != "" {
			t.Fatal(diff)
		}
		for day, s := range want.sessions {
			if n := got.sessions[day].Estimate(); n != s.Estimate() {
				t.Fatalf("%d sessions, want %d", n, s.Estimate())
			}
		}
		if len(got.sessions) != len(want.sessions) {
			t.Fatalf("sessions of %d days, want %d", len(got.sessions), len(want.sessions))
		}
	})
}

// Under load, events of a group are left to gather; when nothing comes any more,
// everything goes. Both by whole groups, the fullest first.
func TestWhatIsFoldedNext(t *testing.T) {
	t.Parallel()
	o := Options{Bite: 50, LightBite: 10, Waiting: 100}
	q := newQueue(1000)
	batch := func(group, count int) {
		q.file([]kept{{id: usance.ID{byte(q.last)}, group: group, count: count}})
	}
	events := func(bite []kept) (group, n int) {
		for _, b := range bite {
			group, n = b.group, n+b.count
		}
		return group, n
	}
	check := func(what string, idle bool, wantGroup, want int) { // the last group of the bite
		t.Helper()
		bite := q.next(o, idle, o.LightBite)
		if group, n := events(bite); group != wantGroup || n != want {
			t.Errorf("%s: %d events of group %d, want %d of %d", what, n, group, want, wantGroup)
		}
		q.done(bite)
	}
	for range 5 {
		batch(1, 5)
		batch(2, 15)
	}
	check("as many as may wait", false, 0, 0)
	batch(1, 1)
	check("one too many", false, 2, 45) // whole batches, up to the bite
	check("few again", false, 0, 0)
	check("idle, the fullest first", true, 2, 30)
	check("idle", true, 1, 26)
	check("nothing", true, 0, 0)
	batch(3, 500)
	check("a batch larger than a bite", true, 3, 500)
	for group := range 12 {
		for range 4 {
			batch(1+group, 5)
		}
	}
	bite := q.next(o, false, 0)
	if _, n := events(bite); n != 60 { // 240 wait, 140 too many: 50 are a bite, and groups are of 20
		t.Errorf("far behind: %d events, want 60", n)
	}
	q.putBack(bite)
	q.done(q.take(1, 10, q.last))
	if got := q.groups[1]; len(got) != 2 || got[0].number >= got[1].number || q.events[1] != 10 || q.waiting != 230 {
		t.Errorf("after putting back and taking the oldest: %+v, %d wait", got, q.waiting)
	}
	if group, n := events(q.oldest(7)); group != 1 || n != 5 {
		t.Errorf("the oldest: %d events of group %d", n, group)
	}
	for range 12 {
		q.done(q.next(o, true, 15))
	}
	if q.waiting != 0 || q.events != [usance.MaxGroups + 1]int{} {
		t.Errorf("%d wait, %v, after all was taken", q.waiting, q.events)
	}
}

// The memory of events is bounded, and given back.
func TestEventsAreLetGo(t *testing.T) {
	t.Parallel()
	f := New(new(tape), Options{Memory: 10})
	for i := range 3 {
		f.Offer(usance.Batch{ID: usance.ID{byte(i)}, Count: 6, Events: make([]usance.Event, 6)})
	}
	f.file()
	bite := f.queue.take(0, 100, f.queue.last)
	if len(bite) != 3 || len(bite[0].parts) != 6 || bite[1].parts != nil || bite[2].parts != nil {
		t.Fatalf("kept %+v", bite)
	}
	f.queue.putBack(bite)
	bite = f.queue.take(0, 100, f.queue.last)
	f.queue.done(bite)
	if f.queue.held != 0 || len(f.queue.ids) != 0 || f.queue.events[0] != 0 {
		t.Errorf("%d events held, %d ids, %d waiting", f.queue.held, len(f.queue.ids), f.queue.events[0])
	}
}
