package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/usance/usance"
)

const ttl = 5 * time.Minute

func TestCacheHits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", ttl)
	f.track(f.event("2025-06-01T00:00:00Z", "view", 1, 1, platform("web")))
	f.fold()
	none := false
	base := AnalyticsRequest{StartDate: "2025-06-01", EndDate: "2025-06-09", ComparePrevious: &none, Viewer: Viewer{Key: "admin"}}
	expect := func(what string, req AnalyticsRequest, hit bool) {
		t.Helper()
		hits, misses := f.lookups()
		f.analytics(req)
		h, m := f.lookups()
		if h-hits+m-misses != 1 || (h > hits) != hit {
			t.Errorf("%s: %d hits and %d misses, want hit %t", what, h-hits, m-misses, hit)
		}
	}
	expect("first", base, false)
	expect("again", base, true)
	for what, change := range map[string]func(*AnalyticsRequest){
		"another viewer":      func(r *AnalyticsRequest) { r.Viewer.Key = "brand:b" },
		"another end":         func(r *AnalyticsRequest) { r.EndDate = "2025-06-08" },
		"another start":       func(r *AnalyticsRequest) { r.StartDate = "2025-06-02" },
		"another granularity": func(r *AnalyticsRequest) { r.Granularity = Hourly },
		"some types":          func(r *AnalyticsRequest) { r.UsageTypes = []string{"view"} },
		"an hour less":        func(r *AnalyticsRequest) { r.EndDate = "2025-06-09T23:00:00Z" },
	} {
		req := base
		change(&req)
		expect(what, req, false)
		expect(what+" again", req, true)
	}
	// What does not change the sums does not change the key.
	req := base
	req.Top = 3
	expect("another top", req, true)

	// Defaults are resolved first: tomorrow the same words ask for other days.
	today := AnalyticsRequest{ComparePrevious: &none}
	expect("default range", today, false)
	expect("default range again", today, true)
	f.setClock("2025-06-10T12:01:00Z")
	expect("default range a minute later", today, true)
	f.setClock("2025-06-11T00:00:00Z")
	expect("default range tomorrow", today, false)

	f.track(f.event("2025-06-02T00:00:00Z", "view", 1, 1))
	expect("an event in the tail", today, true)
	f.fold()
	expect("after a fold", today, false)
}

func TestCacheTTL(t *testing.T) {
	t.Parallel()
	none := false
	req := AnalyticsRequest{StartDate: "2025-06-01", EndDate: "2025-06-09", ComparePrevious: &none}

	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", ttl)
	f.analytics(req)
	f.setTime(f.now().Add(ttl - time.Second))
	f.analytics(req)
	if hits, misses := f.lookups(); hits != 1 || misses != 1 {
		t.Errorf("within the TTL: %d hits, %d misses", hits, misses)
	}
	f.setTime(f.now().Add(2 * time.Second))
	f.analytics(req)
	if hits, misses := f.lookups(); hits != 1 || misses != 2 {
		t.Errorf("past the TTL: %d hits, %d misses", hits, misses)
	}
	if s := f.CacheStatus(); !s.Enabled || s.TTLSeconds != 300 || s.Hits != 1 || s.Misses != 2 || s.HitPercent != 33.33 {
		t.Errorf("status: %+v", s)
	}

	off := newFixture(t, "UTC", "2025-06-10T12:00:00Z", 0)
	off.analytics(req)
	off.analytics(req)
	if hits, misses := off.lookups(); hits+misses != 0 || off.CacheStatus().Enabled {
		t.Errorf("switched off: %d hits, %d misses, %+v", hits, misses, off.CacheStatus())
	}
}

// flaky is a cache that answers rubbish, as a shared one can after an upgrade.
type flaky struct{}

func (flaky) Get(context.Context, string) ([]byte, bool) { return []byte("rubbish"), true }
func (flaky) Put(context.Context, string, []byte)        {}

func TestCacheOfRubbish(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", 0)
	f.Query = New(f.store, Options{Now: f.now, TTL: ttl, Shared: flaky{}})
	f.track(f.event("2025-06-01T00:00:00Z", "view", 4, 0))
	f.fold()
	if a := f.analytics(AnalyticsRequest{}); a.Totals.Quantity != 4 {
		t.Errorf("%+v", a.Totals)
	}
}

// shelf is a cache that nodes share, which may be away.
type shelf struct {
	sync.Map
	away atomic.Bool
	gets atomic.Int64
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, bool) {
	s.gets.Add(1)
	v, ok := s.Load(key)
	if !ok || s.away.Load() {
		return nil, false
	}
	return v.([]byte), true
}

func (s *shelf) Put(_ context.Context, key string, value []byte) {
	if !s.away.Load() {
		s.Store(key, value)
	}
}

// A node that has not read something finds what another has, and asks the cache
// that they share once only; both see what is in the tail.
func TestNodesShareWhatTheyRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", ttl)
	shared := new(shelf)
	first, second := New(f.store, Options{Now: f.now, TTL: ttl, Shared: shared}), New(f.store, Options{Now: f.now, TTL: ttl, Shared: shared})
	ask := func(q *Query, want, hits, misses int64) {
		t.Helper()
		none := false
		a, err := q.Analytics(f.ctx, AnalyticsRequest{LicenseID: licenseID, ComparePrevious: &none})
		if err != nil || a.Totals.Quantity != want {
			t.Errorf("%+v, %v, want %d", a.Totals, err, want)
		}
		if s := q.CacheStatus(); s.Hits != hits || s.Misses != misses {
			t.Errorf("%d hits and %d misses, want %d and %d", s.Hits, s.Misses, hits, misses)
		}
	}
	f.track(f.event("2025-06-01T00:00:00Z", "view", 4, 0))
	f.fold()
	ask(first, 4, 0, 1)
	ask(second, 4, 1, 0)
	before := shared.gets.Load()
	ask(second, 4, 2, 0)
	if n := shared.gets.Load(); n != before {
		t.Errorf("what it has itself is asked for %d times", n-before)
	}
	f.track(f.event("2025-06-01T00:00:00Z", "view", 1, 0))
	ask(second, 5, 3, 0)
	ask(first, 5, 1, 1)
	f.fold()
	ask(second, 5, 3, 1)
	ask(first, 5, 2, 1)
	shared.away.Store(true)
	f.track(f.event("2025-06-01T00:00:00Z", "view", 1, 0))
	f.fold()
	ask(second, 6, 3, 2)
	ask(first, 6, 2, 2)
	ask(first, 6, 3, 2)
	if n := testutil.ToFloat64(first.tiers[1].hits); n != 1 {
		t.Errorf("the first hit the shared tier %v times, want 1", n)
	}
	if n := testutil.ToFloat64(second.tiers[1].misses); n != 2 {
		t.Errorf("the second missed the shared tier %v times, want 2", n)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", ttl)
	f.Query = New(f.store, Options{Now: f.now, TTL: ttl, CacheBytes: 20_000})
	for i := range 300 {
		f.analytics(AnalyticsRequest{Viewer: Viewer{Key: strconv.Itoa(i)}})
	}
	f.tiers[0].Cache.(memory).CleanUp()
	if s := f.CacheStatus(); s.Bytes > 20_000 || s.Entries > 100 {
		t.Errorf("%+v", s)
	}
}

// answers asks everything there is to ask about a range.
func (f *fixture) answers(start, end string, g Granularity) []any {
	f.t.Helper()
	var viewer Viewer
	var out []any
	keep := func(v any, err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, v)
	}
	keep(f.Analytics(f.ctx, AnalyticsRequest{Viewer: viewer, LicenseID: licenseID, StartDate: start, EndDate: end, Granularity: g}))
	keep(f.Analytics(f.ctx, AnalyticsRequest{Viewer: viewer, LicenseID: licenseID, StartDate: start + "T04:00:00Z", EndDate: end + "T07:00:00Z", Granularity: g, UsageTypes: []string{"view"}}))
	keep(f.Breakdown(f.ctx, BreakdownRequest{Viewer: viewer, LicenseID: licenseID, StartDate: start, EndDate: end, Limit: 1000}))
	keep(f.ComparePeriods(f.ctx, CompareRequest{Viewer: viewer, LicenseID: licenseID, StartDate: start, EndDate: end, PreviousStartDate: "2025-01-01", PreviousEndDate: "2025-12-31"}))
	keep(f.CurrentUsage(f.ctx, CurrentRequest{Viewer: viewer, LicenseID: licenseID}))
	keep(f.DailyAggregates(f.ctx, DailyRequest{Viewer: viewer, LicenseID: licenseID, StartDate: start, EndDate: end}))
	return out
}

// Whatever is folded and whatever is not, cached or cold, every answer is the same.
func TestTailEqualsFolded(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	warm := newFixture(t, "America/New_York", "2025-11-20T12:00:00Z", ttl)
	cold := newFixture(t, "America/New_York", "2025-11-20T12:00:00Z", 0)
	types := []string{"view", "download", "custom-1"}
	for round := range 16 {
		var events []usance.Event
		for range r.IntN(30) {
			at := instant(t, "2025-10-25T00:00:00Z").Add(time.Duration(r.IntN(20*24*3600)) * time.Second)
			e := warm.event(at.Format(time.RFC3339), types[r.IntN(3)], int64(1+r.IntN(9)), int64(r.IntN(100)),
				session(uint64(r.IntN(60))), platform([]string{"", "web", "tv"}[r.IntN(3)]),
				referrer(fmt.Sprintf("https://site%d.example/x", r.IntN(40))))
			if len(events) > 0 && r.IntN(5) == 0 {
				original := &events[r.IntN(len(events))]
				if !original.VoidOf.IsZero() || voided(events, original) {
					continue
				}
				e = warm.stamp(original.Void())
			}
			events = append(events, e)
		}
		if len(events) > 0 {
			warm.track(events...)
			cold.track(events...)
		}
		if round%4 == 0 {
			cold.fold()
		}
		start, g := fmt.Sprintf("2025-10-%d", 25+r.IntN(5)), []Granularity{Hourly, Daily, Weekly, Monthly}[r.IntN(4)]
		ask := func(f *fixture) []any { return f.answers(start, "2025-11-12", g) }
		before := ask(warm)
		if diff := difference(ask(cold), before); diff != "" {
			t.Fatalf("round %d: the tail is seen otherwise (-folded in part +tail):\n%s", round, diff)
		}
		if diff := difference(before, ask(warm)); diff != "" {
			t.Fatalf("round %d: the cache changed an answer (-cold +warm):\n%s", round, diff)
		}
		if round%3 == 2 {
			warm.fold()
			if diff := difference(before, ask(warm)); diff != "" {
				t.Fatalf("round %d: the fold changed an answer (-before +after):\n%s", round, diff)
			}
		}
	}
}

// difference is cmp.Diff, which takes long to find none.
func difference(want, got []any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}

func voided(events []usance.Event, original *usance.Event) bool {
	return slices.ContainsFunc(events, func(e usance.Event) bool { return e.VoidOf == original.ID })
}

// A row keeps a thousand named values; what the tail adds past them is shown
// under "(other)" at once, where the fold will put it.
func TestTailOfAFullRow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", ttl)
	var events []usance.Event
	for i := range usance.MaxBreakdownValues {
		events = append(events, f.event("2025-06-10T00:00:00Z", "view", 2, 0, referrer(fmt.Sprintf("https://a%04d.example", i))))
	}
	f.track(events...)
	f.fold()
	f.track(
		f.event("2025-06-10T01:00:00Z", "view", 1, 0, referrer("https://new.example")),
		f.event("2025-06-10T01:00:00Z", "view", 1, 0, referrer("https://a0001.example")),
		f.event("2025-06-10T01:00:00Z", "play", 1, 0, referrer("https://new.example")), // another row
		f.event("2025-06-09T01:00:00Z", "view", 1, 0, referrer("https://new.example")), // another day
	)
	ask := func() UsageBreakdown {
		b, err := f.Breakdown(f.ctx, BreakdownRequest{LicenseID: licenseID, Dimensions: []usance.Dimension{usance.BySource}, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := ask()
	f.fold()
	if diff := cmp.Diff(before, ask()); diff != "" {
		t.Errorf("the fold changed the answer (-before +after):\n%s", diff)
	}
	d := before.Dimensions[0]
	if d.Distinct != 1002 || before.Totals.Quantity != 2004 {
		t.Errorf("%d sources of %d units, want 1000, new.example and (other), of 2004", d.Distinct, before.Totals.Quantity)
	}
	if d.Values[0].Value != "a0001.example" || d.Values[0].Quantity != 3 {
		t.Errorf("first: %+v", d.Values[0])
	}
	var sum usance.Tally
	for _, v := range d.Values {
		sum = sum.Plus(v.Tally)
	}
	if sum.Plus(d.Rest) != before.Totals.Tally {
		t.Errorf("values and rest are %+v, totals %+v", sum.Plus(d.Rest), before.Totals.Tally)
	}
}

// While events are tracked and folded, no reader sees less than was
// acknowledged before it asked, nor less than it saw before.
func TestReadersNeverLoseSight(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "UTC", "2025-06-10T12:00:00Z", ttl)
	var acknowledged atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	var reads atomic.Int64
	ask := map[string]func() (int64, error){
		"analytics": func() (int64, error) {
			a, err := f.Analytics(ctx, AnalyticsRequest{LicenseID: licenseID})
			return a.Totals.Quantity, err
		},
		"breakdown": func() (int64, error) {
			b, err := f.Breakdown(ctx, BreakdownRequest{LicenseID: licenseID})
			var n int64
			for _, v := range b.Dimensions {
				n = 0
				for _, w := range v.Values {
					n += w.Quantity
				}
				if n != b.Totals.Quantity && err == nil {
					return n, fmt.Errorf("%s sums to %d of %d", v.Dimension, n, b.Totals.Quantity)
				}
			}
			return n, err
		},
		"current": func() (int64, error) {
			u, err := f.CurrentUsage(ctx, CurrentRequest{LicenseID: licenseID})
			return u.AllTime.Quantity, err
		},
		"sessions": func() (int64, error) {
			d, err := f.DailyAggregates(ctx, DailyRequest{LicenseID: licenseID})
			if err != nil || len(d.Days) == 0 {
				return 0, err
			}
			return d.Days[0].TotalQuantity, err
		},
	}
	for name, read := range ask {
		readers.Go(func() {
			var last int64
			for ctx.Err() == nil {
				floor := max(last, acknowledged.Load())
				got, err := read()
				if errors.Is(err, context.Canceled) || ctx.Err() != nil {
					return
				}
				if err != nil || got < floor {
					t.Errorf("%s: saw %d after %d: %v", name, got, floor, err)
					return
				}
				last = got
				reads.Add(1)
			}
		})
	}
	// On a busy machine the readers are long in coming.
	for i := 0; i < 150 || reads.Load() < 40 && !t.Failed() && i < 20_000; i++ {
		f.track(f.event("2025-06-10T01:00:00Z", "view", 1, 0, platform("web"), session(uint64(i))))
		acknowledged.Add(1)
		if i%3 == 0 {
			f.fold()
		}
	}
	stop()
	readers.Wait()
	if hits, misses := f.lookups(); hits == 0 || misses == 0 {
		t.Errorf("%d hits and %d misses; the test needs both", hits, misses)
	}
}
