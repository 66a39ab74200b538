package weblog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usance/usance"
)

// line is a line of the combined format.
func line(t int64, client, path, agent string) string {
	return fmt.Sprintf("%s - - [%s] \"GET %s HTTP/1.1\" 200 1 \"-\" \"%s\"\n",
		client, time.Unix(t, 0).UTC().Format("02/Jan/2006:15:04:05 -0700"), path, agent)
}

const browser = "Mozilla/5.0 (X11; Linux x86_64) Firefox/115.0"

func read(t testing.TB, o Options, text string) (Report, []usance.Event, error) {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	im, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return readWith(t, im, text)
}

func readWith(t testing.TB, im *Importer, text string) (Report, []usance.Event, error) {
	t.Helper()
	var events []usance.Event
	r, err := im.readOne(context.Background(), strings.NewReader(text), collect(&events))
	return r, events, err
}

// seconds gives the times of events in seconds after may17.
func seconds(events []usance.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprint(e.OccurredAt.Unix()-may17))
	}
	return strings.Join(out, " ")
}

func TestDoubleClicks(t *testing.T) {
	t.Parallel()
	m := mapOf(t, "/a lic view", "/b lic view", "/r/* lic view asset=picture", "/d/a lic download asset=picture")
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"apart", []string{line(may17, "c", "/a", browser), line(may17+31, "c", "/a", browser)}, "0 31"},
		{"the later counts", []string{line(may17, "c", "/a", browser), line(may17+30, "c", "/a", browser)}, "30"},
		{"a chain", []string{line(may17, "c", "/a", browser), line(may17+25, "c", "/a", browser), line(may17+50, "c", "/a", browser)}, "50"},
		{"a chain out of order", []string{line(may17+25, "c", "/a", browser), line(may17+50, "c", "/a", browser), line(may17, "c", "/a", browser)}, "50"},
		{"the middle comes last", []string{line(may17+50, "c", "/a", browser), line(may17, "c", "/a", browser), line(may17+25, "c", "/a", browser)}, "50"},
		{"one second", []string{line(may17, "c", "/a", browser), line(may17, "c", "/a", browser)}, "0"},
		{"other address", []string{line(may17, "c", "/a", browser), line(may17, "d", "/a", browser)}, "0 0"},
		{"same address, spelled otherwise", []string{line(may17, "2001:db8::1", "/a", browser), line(may17, "2001:DB8:0::1", "/a", browser)}, "0"},
		{"other user agent", []string{line(may17, "c", "/a", browser), line(may17, "c", "/a", browser+"x")}, "0 0"},
		{"other item", []string{line(may17, "c", "/a", browser), line(may17+1, "c", "/b", browser)}, "0 1"},
		{"other query", []string{line(may17, "c", "/a?1", browser), line(may17+1, "c", "/a?2", browser)}, "1"},
		{"one asset", []string{line(may17, "c", "/r/small", browser), line(may17+1, "c", "/r/large", browser)}, "1"},
		{"one asset, other usage type", []string{line(may17, "c", "/r/small", browser), line(may17+1, "c", "/d/a", browser)}, "0 1"},
	}
	for _, tt := range tests {
		r, events, err := read(t, Options{Map: m}, strings.Join(tt.lines, ""))
		if err != nil {
			t.Fatal(err)
		}
		balanced(t, r)
		if got := seconds(events); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	text := `1.2.3.4 - - [17/May/2015:12:05:03 +0200] "GET /a HTTP/1.1" 200 1 "http://x.org/?q" "` + browser + `"` + "\n"
	_, events, err := read(t, Options{Map: mapOf(t, "/a lic view")}, text)
	if err != nil {
		t.Fatal(err)
	}
	want := usance.Event{
		LicenseID: "lic", UsageType: "view", Quantity: 1, OccurredAt: time.Unix(may17, 0).UTC(),
		Platform: "web", DeviceType: "desktop", Referrer: "http://x.org/?q",
		SessionID:      "1.2.3.4|" + browser + "|2015-05-17|10",
		IdempotencyKey: events[0].IdempotencyKey,
	}
	if !sameEvent(events[0], want) {
		t.Errorf("got %+v\nwant %+v", events[0], want)
	}
	// The key is stored as it is when it has fewer than 32 bytes. It must never
	// change, or an import of an old log would count everything again.
	if got, want := want.IdempotencyKey, "w:00555867cftPFOwnYZ74k6dr5"; len(got) >= 32 || got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	// Hints of the rule, and a user agent that no session id can hold.
	text = line(may17, "c", "/a", strings.Repeat("Windows ", 100))
	_, events, err = read(t, Options{Map: mapOf(t, "/a lic view platform=tv device=other")}, text)
	if err != nil {
		t.Fatal(err)
	}
	if e := events[0]; e.Platform != "tv" || e.DeviceType != "other" || !strings.HasPrefix(e.SessionID, "sha256:") || !strings.HasSuffix(e.SessionID, "|2015-05-17|10") {
		t.Errorf("%+v", e)
	}
	if err := events[0].Validate(); err != nil {
		t.Error(err)
	}
}

func TestUsersThatMeetInTheKeyAreNumbered(t *testing.T) {
	t.Parallel()
	c := newClicks(0)
	ru := &rule{license: "lic", usageType: "view"}
	// Two sessions whose hashes begin with the same 24 bits.
	seen := map[[3]byte]string{}
	var pair []string
	for i := 0; pair == nil; i++ {
		client := fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		sum := digest(session(client, browser, may17))
		if other, ok := seen[[3]byte(sum[:3])]; ok {
			pair = []string{other, client}
		}
		seen[[3]byte(sum[:3])] = client
	}
	for _, client := range append(pair, "192.0.2.1") {
		c.add(ru, "/a", client, browser, "desktop", may17, "")
	}
	keys := map[string]bool{}
	for _, v := range c.settle(never) {
		e := v.event()
		keys[e.IdempotencyKey] = true
	}
	if len(keys) != 3 {
		t.Errorf("3 users, keys %v", slices.Collect(maps.Keys(keys)))
	}
}

func TestGrowingFileWaits(t *testing.T) {
	t.Parallel()
	m := mapOf(t, "/a lic view")
	start := noon.Unix() - 10*60
	text := line(start, "c", "/a", browser) + line(start+100, "d", "/a", browser) + line(start+160, "e", "/a", browser)
	unfinished := strings.TrimSuffix(line(start+161, "f", "/a", browser), "\n")

	r, events, err := read(t, Options{Map: m}, text+unfinished[:len(unfinished)-3])
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, r)
	if len(events) != 1 || r.Waiting != 2 || r.Unfinished != 1 {
		t.Errorf("%d counted, %d waiting, %d unfinished", len(events), r.Waiting, r.Unfinished)
	}
	// Without disorder to reckon with, COUNTER's 30 seconds are all.
	if _, events, _ = read(t, Options{Map: m, Disorder: -1}, text); len(events) != 2 {
		t.Errorf("in order: %d", len(events))
	}
	// Complete by decree, and by age.
	if r, events, _ = read(t, Options{Map: m, Final: true}, text+unfinished); len(events) != 4 || r.Waiting+r.Unfinished != 0 {
		t.Errorf("final: %d, %+v", len(events), r)
	}
	later := func() time.Time { return noon.Add(time.Hour) }
	if r, events, _ = read(t, Options{Map: m, Now: later}, text+unfinished); len(events) != 4 || r.Waiting+r.Unfinished != 0 {
		t.Errorf("an hour later: %d, %+v", len(events), r)
	}
	// A first line that is still being written is no malformed one.
	if r, _, _ = read(t, Options{Map: m}, unfinished[:20]); r.Unfinished != 1 || r.Malformed != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	midnight := time.Date(2015, 5, 18, 0, 0, 0, 0, time.UTC).Unix()
	old := line(midnight-300, "c", "/a", browser) + line(midnight-10, "c", "/a", browser) + line(midnight-5, "d", "/a", browser)
	fresh := line(midnight+5, "c", "/a", browser) + line(midnight+600, "c", "/a", browser)
	im, err := New(Options{Map: mapOf(t, "/a lic view"), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	// Each alone: the chain over midnight counts in both.
	_, a, _ := readWith(t, im, old)
	_, b, _ := readWith(t, im, fresh)
	if len(a) != 3 || len(b) != 2 {
		t.Errorf("alone: %d and %d", len(a), len(b))
	}
	// Together, in whichever order: once, the later.
	for _, logs := range [][]string{{old, fresh}, {fresh, old}} {
		events, r := readAll(t, im, logs...)
		balanced(t, r)
		if len(events) != 4 || r.DoubleClicks != 1 || r.Late != 0 {
			t.Errorf("together: %d, %+v", len(events), r)
		}
	}
}

func readAll(t testing.TB, im *Importer, logs ...string) ([]usance.Event, Report) {
	t.Helper()
	var sources []Source
	for i, text := range logs {
		sources = append(sources, Source{Name: fmt.Sprint(i), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(text)), nil
		}})
	}
	var events []usance.Event
	r, err := im.ReadAll(context.Background(), sources, collect(&events))
	if err != nil {
		t.Fatal(err)
	}
	return events, r
}

func TestClockThatJumped(t *testing.T) {
	t.Parallel()
	// One line from tomorrow, in a log of today: the rest is late, until there is
	// too much of it to believe the one line. No double click is missed.
	var b strings.Builder
	for i := range int64(500) {
		if i == 250 {
			b.WriteString(line(may17+24*3600-3600, "x", "/a", browser))
		}
		b.WriteString(line(may17+i*20, "c", "/a", browser))
	}
	r, events, err := read(t, Options{Map: mapOf(t, "/a lic view"), Final: true}, b.String())
	if err != nil {
		t.Fatal(err)
	}
	// The chain of c is cut once, where what was held was let go.
	if len(events) != 3 || r.Late != restartAfter {
		t.Errorf("%s, %d late", seconds(events), r.Late)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := newClicks(2 * time.Minute)
	ru := &rule{license: "lic", usageType: "view"}
	held, counted := 0, 0
	for i := range int64(50_000) {
		c.add(ru, "/a", fmt.Sprint("client ", i), browser, "desktop", may17+i, "")
		for _, v := range c.due(may17 + i - c.disorder) {
			if v.counts {
				counted++
			}
		}
		held = max(held, len(c.chains))
	}
	if held > 200 || counted < 49_800 {
		t.Errorf("%d chains held, %d counted", held, counted)
	}
}

func TestEmitFails(t *testing.T) {
	t.Parallel()
	im, err := New(Options{Map: mapOf(t, "/a lic view"), Batch: 2, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range int64(9) {
		b.WriteString(line(may17+i*60, "c", "/a", browser))
	}
	boom := errors.New("boom")
	calls := 0
	r, err := im.readOne(t.Context(), strings.NewReader(b.String()), func(e []usance.Event) error {
		if calls++; calls == 3 {
			return boom
		}
		return nil
	})
	if !errors.Is(err, boom) || r.Emitted != 4 {
		t.Errorf("%v, emitted %d", err, r.Emitted)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := im.readOne(ctx, strings.NewReader(b.String()), collect(new([]usance.Event))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no map")
	}
}

// Requests of a few users on a few items, so that chains are the rule.
type request struct {
	at           int64
	client, path string
	agent, refer string
}

func (r request) String() string {
	return strings.Replace(line(r.at, r.client, r.path, r.agent), `"-"`, `"`+r.refer+`"`, 1)
}

func requests(t *rapid.T, from int64) []request {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) request {
		return request{
			at:     from + rapid.Int64Range(0, 600).Draw(t, "at"),
			client: rapid.SampledFrom([]string{"1.1.1.1", "2.2.2.2"}).Draw(t, "client"),
			path:   rapid.SampledFrom([]string{"/a", "/b", "/p/1", "/p/2", "/none"}).Draw(t, "path"),
			agent:  rapid.SampledFrom([]string{browser, "Googlebot"}).Draw(t, "agent"),
			refer:  rapid.SampledFrom([]string{"-", "http://x.org/", "http://y.org/"}).Draw(t, "refer"),
		}
	}), 1, 120).Draw(t, "requests")
}

// disordered writes requests in an order in which none comes further behind the
// newest than the bound.
func disordered(t *rapid.T, all []request, bound int64) []string {
	all = slices.Clone(all)
	rnd := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
	rank := map[int]int64{}
	index := make([]int, len(all))
	for i := range all {
		index[i], rank[i] = i, all[i].at+rnd.Int63n(bound+1)
	}
	slices.SortStableFunc(index, func(a, b int) int { return int(rank[a] - rank[b]) })
	var out []string
	for _, i := range index {
		out = append(out, all[i].String())
	}
	return out
}

// payloads maps each key to its event, and fails when a key is used twice.
func payloads(t *rapid.T, events []usance.Event) map[string]string {
	out := map[string]string{}
	for _, e := range events {
		k := e.LicenseID + " " + e.IdempotencyKey
		if _, ok := out[k]; ok {
			t.Fatalf("key twice: %+v", e)
		}
		out[k] = fmt.Sprintf("%+v", e)
	}
	return out
}

func TestCountedSetDependsOnNothingButTheRequests(t *testing.T) {
	t.Parallel()
	m := mapOf(t, "/a one view", "/b two download", "/p/1 one view asset=p", "/p/* one view asset=p device=tv")
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.Int64Range(0, 120).Draw(t, "bound")
		disorder := time.Duration(bound) * time.Second
		if bound == 0 {
			disorder = -1
		}
		// The log may be old, or grow while it is read.
		from := rapid.SampledFrom([]int64{may17, noon.Unix() - 600}).Draw(t, "from")
		all := requests(t, from)
		imp := func(final bool, logs ...string) ([]usance.Event, Report) {
			im, err := New(Options{
				Map: m, Disorder: disorder, Final: final, Batch: 7,
				Now: func() time.Time { return noon.Add(time.Hour) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if !final {
				im.o.Now = func() time.Time { return noon }
			}
			var sources []Source
			for _, text := range logs {
				sources = append(sources, Source{Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
			}
			var events []usance.Event
			r, err := im.ReadAll(context.Background(), sources, collect(&events))
			if err != nil {
				t.Fatal(err)
			}
			if r.Late > 0 {
				t.Fatalf("%d late", r.Late)
			}
			balanced(t, r)
			return events, r
		}

		lines := disordered(t, all, bound)
		events, report := imp(true, strings.Join(lines, ""))
		want := payloads(t, events)

		// The rule, as COUNTER says it: sorted, a click counts when the next of its
		// user and item is more than 30 seconds away.
		chains := map[string][]int64{}
		for _, q := range all {
			if item, ok := map[string]string{"/a": "a", "/b": "b", "/p/1": "p", "/p/2": "p"}[q.path]; ok && q.agent == browser {
				chains[q.client+item] = append(chains[q.client+item], q.at)
			}
		}
		n := 0
		for _, c := range chains {
			slices.Sort(c)
			for i := range c {
				if i+1 == len(c) || c[i+1]-c[i] > 30 {
					n++
				}
			}
		}
		if n != len(want) {
			t.Fatalf("%d counted, the rule says %d", len(want), n)
		}

		// Another order.
		events, again := imp(true, strings.Join(disordered(t, all, bound), ""))
		if !maps.Equal(payloads(t, events), want) || table(again) != table(report) {
			t.Fatal("the order of the lines matters")
		}
		// Cut into logs that are imported together.
		logs := make([]string, 3)
		for _, l := range lines {
			logs[rapid.IntRange(0, 2).Draw(t, "log")] += l
		}
		if events, _ = imp(true, logs...); !maps.Equal(payloads(t, events), want) {
			t.Fatal("the cut into logs matters")
		}
		// Growing: imported when any part of it was there, inside a line too. What
		// was counted then is counted in the end; nothing is taken back.
		text := strings.Join(lines, "")
		part := text[:rapid.IntRange(0, len(text)).Draw(t, "cut")]
		if from > may17 {
			events, _ = imp(false, part)
			for k, p := range payloads(t, events) {
				if want[k] != p {
					t.Fatalf("counted while the log grew, and not in the end: %s\nwant %s", p, want[k])
				}
			}
		}
	})
}

// readOne imports one log.
func (im *Importer) readOne(ctx context.Context, r io.Reader, emit func([]usance.Event) error) (Report, error) {
	open := func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
	return im.ReadAll(ctx, []Source{{Open: open}}, emit)
}
