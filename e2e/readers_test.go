package e2e_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// figures are what an answer says of the licence: events, units, cents. A
// figure that an answer does not tell is unknown.
type figures [3]int64

const unknown = math.MinInt64

func (f figures) plus(g figures, sign int64) figures {
	for i := range f {
		f[i] += sign * g[i]
	}
	return f
}

// sum is figures that grow under many hands.
type sum [3]atomic.Int64

func (s *sum) add(f figures) {
	for i := range f {
		s[i].Add(f[i])
	}
}

func (s *sum) get() (f figures) {
	for i := range f {
		f[i] = s[i].Load()
	}
	return f
}

// books are what the clients know: what was sent is entered before the request
// goes out, what was acknowledged when its answer has come.
type books struct {
	sent, acked           sum
	voidsSent, voidsAcked sum
}

// view is one reader's answer, with what the books held around it.
type view struct {
	name                         string
	seen                         []figures // each of the places where the answer tells the same
	ackedBefore, voidAckedBefore figures
	sentAfter, voidSentAfter     figures
}

// within tells what is wrong with an answer: its places must agree; it holds
// all that was acknowledged before it was asked for, less what may have been
// voided by the time it came, and no more than what had been sent by then.
// Against the answer that the same reader had before, it may lack only voids
// sent since, and hold more only by what was sent since.
func (v *view) within(before *view) error {
	for place, f := range v.seen {
		for i, n := range f {
			if n == unknown {
				continue
			}
			if whole := v.figure(i); n != whole {
				return fmt.Errorf("%s disagrees with itself: figure %d is %d, at place %d %d", v.name, i, whole, place, n)
			}
			low, high := v.ackedBefore[i]-v.voidSentAfter[i], v.sentAfter[i]-v.voidAckedBefore[i]
			if n < low || n > high {
				return fmt.Errorf("%s: figure %d is %d, not from %d (acknowledged) to %d (sent)", v.name, i, n, low, high)
			}
			if before == nil || before.figure(i) == unknown {
				continue
			}
			step := n - before.figure(i)
			down, up := v.voidSentAfter[i]-before.voidAckedBefore[i], v.sentAfter[i]-before.ackedBefore[i]
			if step < -down || step > up {
				return fmt.Errorf("%s after %s: figure %d moved by %d, though at most %d were voided and %d sent", v.name, before.name, i, step, down, up)
			}
		}
	}
	return nil
}

// figure is the first place that tells a figure.
func (v *view) figure(i int) int64 {
	for _, f := range v.seen {
		if f[i] != unknown {
			return f[i]
		}
	}
	return unknown
}

// The answers, as far as they are looked at.
type (
	tallied struct{ Events, Quantity, RevenueCents int64 }
	totals  struct {
		tallied
		ByType map[string]tallied
	}
	thresholdState struct {
		Used, LimitQuantity int64
		Overage             *struct{ Quantity int64 }
	}
	currentAnswer struct {
		Today, CurrentPeriod, AllTime totals
		Thresholds                    []thresholdState
	}
	analyticsAnswer struct {
		Totals                                             totals
		Buckets                                            []totals
		TopPlatforms, TopDevices, TopSources, TopGeography []tallied
		Comparison                                         struct{ Current totals }
	}
	breakdownAnswer struct {
		Totals     totals
		Dimensions []struct {
			Values []tallied
			Rest   tallied
		}
	}
	compareAnswer struct {
		Current totals
		ByType  map[string]struct{ Current tallied }
	}
	statusAnswer struct{ Thresholds []thresholdState }
	dailyAnswer  struct {
		Days []struct{ TotalViews, TotalClicks, TotalQuantity, TotalRevenueCents int64 }
	}
)

func (t tallied) figures() figures { return figures{t.Events, t.Quantity, t.RevenueCents} }

func added(list []tallied) (f figures) {
	for _, t := range list {
		f = f.plus(t.figures(), 1)
	}
	return f
}

func (t totals) places() []figures {
	var parts figures
	for _, p := range t.ByType {
		parts = parts.plus(p.figures(), 1)
	}
	return []figures{t.figures(), parts}
}

func (a *currentAnswer) places() []figures {
	out := append(append(a.Today.places(), a.CurrentPeriod.places()...), a.AllTime.places()...)
	return append(out, statePlaces(a.Thresholds)...)
}

func (a *statusAnswer) places() []figures { return statePlaces(a.Thresholds) }

func statePlaces(list []thresholdState) (out []figures) {
	if len(list) != 3 { // those that the test made
		return []figures{{-1, -1, -1}}
	}
	for _, s := range list {
		out = append(out, figures{unknown, s.Used, unknown})
		if s.Overage != nil {
			out = append(out, figures{unknown, s.LimitQuantity + s.Overage.Quantity, unknown})
		}
	}
	return out
}

func (a *analyticsAnswer) places() []figures {
	out := append(a.Totals.places(), a.Comparison.Current.places()...)
	var buckets, parts figures
	for _, b := range a.Buckets {
		buckets = buckets.plus(b.figures(), 1)
		parts = parts.plus(b.places()[1], 1)
	}
	out = append(out, buckets, parts)
	for _, top := range [][]tallied{a.TopPlatforms, a.TopDevices, a.TopSources, a.TopGeography} {
		out = append(out, added(top))
	}
	return out
}

func (a *breakdownAnswer) places() []figures {
	out := a.Totals.places()
	for _, d := range a.Dimensions {
		out = append(out, added(append(d.Values, d.Rest)))
	}
	return out
}

func (a *compareAnswer) places() []figures {
	var parts figures
	for _, t := range a.ByType {
		parts = parts.plus(t.Current.figures(), 1)
	}
	return append(a.Current.places(), parts)
}

func (a *dailyAnswer) places() []figures {
	var whole, parts figures
	for _, d := range a.Days {
		whole = whole.plus(figures{0, d.TotalQuantity, d.TotalRevenueCents}, 1)
		parts[1] += d.TotalViews + d.TotalClicks
	}
	whole[0], parts[0], parts[2] = unknown, unknown, unknown
	return []figures{whole, parts}
}

// kind is one way to ask for the licence's usage.
type kind struct {
	name string
	ask  func() ([]figures, error)
}

// kinds are all the ways there are: three operations as one tRPC request, each
// over REST, and the seed's table by SQL.
func (s *server) kinds(db *sql.DB) []kind {
	rest := func(path string, answer interface{ places() []figures }) func() ([]figures, error) {
		return func() ([]figures, error) {
			status, err := s.call("GET", "/v1/licenses/l/"+path, "", answer)
			if err != nil || status != http.StatusOK {
				return nil, errors.Join(err, fmt.Errorf("status %d", status))
			}
			return answer.places(), nil
		}
	}
	return []kind{
		{"three together", s.together},
		{"current usage", func() ([]figures, error) { return rest("usage", new(currentAnswer))() }},
		{"analytics", func() ([]figures, error) { return rest("analytics", new(analyticsAnswer))() }},
		{"breakdown", func() ([]figures, error) { return rest("breakdown", new(breakdownAnswer))() }},
		{"comparison", func() ([]figures, error) { return rest("compare", new(compareAnswer))() }},
		{"daily aggregates", func() ([]figures, error) { return rest("daily", new(dailyAnswer))() }},
		{"threshold status", func() ([]figures, error) { return rest("thresholds/status", new(statusAnswer))() }},
		{"SQL", func() ([]figures, error) {
			f := figures{unknown}
			err := db.QueryRow(`SELECT coalesce(sum(total_quantity), 0), coalesce(sum(total_revenue_cents), 0)
				FROM license_usage_daily_aggregates WHERE license_id = 'l'`).Scan(&f[1], &f[2])
			return []figures{f}, err
		}},
	}
}

// together asks for three kinds in one tRPC request, which is answered out of one
// snapshot: they agree while usage goes on.
func (s *server) together() ([]figures, error) {
	input := url.QueryEscape(`{"0":{"licenseId":"l"},"1":{"licenseId":"l"},"2":{"licenseId":"l"}}`)
	req, err := http.NewRequest("GET", s.base()+"/api/trpc/usage.getCurrentUsage,usage.getDailyAggregates,usage.getAnalytics?batch=1&input="+input, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var envelopes []struct {
		Result struct{ Data json.RawMessage }
	}
	if err := json.Unmarshal(body, &envelopes); err != nil || len(envelopes) != 3 {
		return nil, fmt.Errorf("%w in %.200q", err, body)
	}
	var c currentAnswer
	var d dailyAnswer
	var a analyticsAnswer
	err = errors.Join(json.Unmarshal(envelopes[0].Result.Data, &c), json.Unmarshal(envelopes[1].Result.Data, &d), json.Unmarshal(envelopes[2].Result.Data, &a))
	return slices.Concat(c.places(), d.places(), a.places()), err
}

// noonZone is a zone in which it is about noon: neither the day nor the month
// of a licence there ends while a test runs.
func noonZone() string {
	offset := 12 - time.Now().UTC().Hour()
	if offset == 0 {
		return "UTC"
	}
	return fmt.Sprintf("Etc/GMT%+d", -offset) // signs are turned in these names
}

// watch is what readers do with the books.
type watch struct {
	*server
	books
	gate  sync.RWMutex // writers hold it shared for the time of a request
	kinds []kind
	reads atomic.Int64
}

// look asks one kind and notes the books around the question.
func (w *watch) look(name string, ask func() ([]figures, error)) (*view, error) {
	v := &view{name: name, ackedBefore: w.acked.get(), voidAckedBefore: w.voidsAcked.get()}
	var err error
	if v.seen, err = ask(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v.sentAfter, v.voidSentAfter = w.sent.get(), w.voidsSent.get()
	w.reads.Add(1)
	return v, nil
}

// read asks one kind after the other until done, beginning with the i-th.
func (w *watch) read(i int, done <-chan struct{}) error {
	var before *view
	for n := i; ; n++ {
		select {
		case <-done:
			return nil
		default:
		}
		k := w.kinds[n%len(w.kinds)]
		v, err := w.look(k.name, k.ask)
		if err != nil {
			return err
		}
		if err := v.within(before); err != nil {
			return err
		}
		before = v
	}
}

// agree stops the writers for a moment, in which the fold and recalculations go
// on, and asks everything at once: all answers are the same, and what the books say.
func (w *watch) agree() error {
	w.gate.Lock()
	defer w.gate.Unlock()
	want := w.acked.get().plus(w.voidsAcked.get(), -1)
	if sent := w.sent.get().plus(w.voidsSent.get(), -1); sent != want {
		return fmt.Errorf("nothing is under way, yet %v was sent and %v acknowledged", sent, want)
	}
	errs := make([]error, len(w.kinds))
	var wg sync.WaitGroup
	for i, k := range w.kinds {
		wg.Go(func() {
			seen, err := k.ask()
			errs[i] = err
			for _, f := range seen {
				for j := range f {
					if f[j] != unknown && f[j] != want[j] {
						errs[i] = fmt.Errorf("%s says %v, the books %v", k.name, f, want)
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// write sends batches one after the other, and voids some of what was counted.
func (w *watch) write(client, batches int, progress chan<- struct{}) error {
	rng := rand.New(rand.NewPCG(uint64(client), 11))
	for n := range batches {
		var list []string
		var whole figures
		var events []figures
		for i := range 1 + rng.IntN(20) {
			f := figures{1, 1 + rng.Int64N(9), rng.Int64N(50)}
			events, whole = append(events, f), whole.plus(f, 1)
			list = append(list, fmt.Sprintf(`{"licenseId":"l","usageType":%q,"quantity":%d,"revenueCents":%d,"idempotencyKey":%q,"platform":%q,"sessionId":"s%d","geographicLocation":"g%d","referrer":"https://h%d.example/"}`,
				[]string{"view", "click"}[i%2], f[1], f[2], keyOf(client, n, i), []string{"web", "tv"}[i%2], rng.IntN(99), rng.IntN(5), rng.IntN(3)))
		}
		w.gate.RLock()
		w.sent.add(whole)
		var results []result
		status, err := w.call("POST", "/v1/events", "["+strings.Join(list, ",")+"]", &results)
		for _, r := range results {
			if !r.Tracked || r.Duplicate {
				err = errors.Join(err, fmt.Errorf("an event was not counted: %+v", r))
			}
		}
		w.acked.add(whole)
		w.gate.RUnlock()
		if err != nil || status != http.StatusOK {
			return errors.Join(err, fmt.Errorf("status %d", status))
		}
		for i, f := range events {
			if rng.IntN(20) > 0 {
				continue
			}
			w.gate.RLock()
			w.voidsSent.add(f)
			var r result
			status, err := w.call("POST", "/v1/events/void", fmt.Sprintf(`{"licenseId":"l","idempotencyKey":%q}`, keyOf(client, n, i)), &r)
			w.voidsAcked.add(f)
			w.gate.RUnlock()
			if err != nil || status != http.StatusOK || !r.Tracked {
				return errors.Join(err, fmt.Errorf("voiding: status %d, %+v", status, r))
			}
		}
		progress <- struct{}{}
	}
	return nil
}

func keyOf(client, batch, i int) string { return fmt.Sprintf("%d-%d-%d", client, batch, i) }

// TestReadersUnderLoad has 8 readers ask for everything there is to ask of one
// licence while 8 writers send, and the fold, recalculation and voids run: no
// answer lacks what was acknowledged before it was asked for, none holds more
// than was sent, and answers asked together agree. So it is when nodes share a
// Redis that is flushed, killed and stopped meanwhile.
func TestReadersUnderLoad(t *testing.T) {
	onEach(t, testReadersUnderLoad)
	t.Run("shared", func(t *testing.T) { testReadersUnderLoad(t, "shared") })
}

func testReadersUnderLoad(t *testing.T, store string) {
	const writers, readers, batches, pauses = 8, 8, 60, 24
	w := &watch{server: newServer(t, store, "USANCE_FOLD_INTERVAL=50ms")}
	w.must("PUT", "/v1/licenses/l", fmt.Sprintf(`{"brandId":"b","assetId":"a","status":"ACTIVE","timezone":%q}`, noonZone()), nil)
	for _, threshold := range []string{
		`"periodType":"monthly","limitQuantity":1000000`,
		`"periodType":"daily","limitQuantity":1,"allowOverage":true,"overageRateCents":"0.5"`,
		`"periodType":"total","limitQuantity":2000,"allowOverage":true`,
	} {
		w.must("POST", "/v1/thresholds", `{"licenseId":"l","usageType":"all",`+threshold+`}`, nil)
	}
	// One event from the start, so that the daily limit of 1 is reached by all that is asked.
	first := figures{1, 1, 0}
	w.sent.add(first)
	w.must("POST", "/v1/events", `{"licenseId":"l","usageType":"view","idempotencyKey":"first"}`, nil)
	w.acked.add(first)
	w.kinds = w.server.kinds(w.open(t, "ro"))

	done := make(chan struct{})
	progress := make(chan struct{}, writers*batches)
	fail := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	var writing, watching sync.WaitGroup
	for c := range writers {
		writing.Go(func() { fail(w.write(c, batches, progress)) })
	}
	for r := range readers {
		watching.Go(func() { fail(w.read(r, done)) })
	}
	recalculations := 0
	watching.Go(func() {
		for ; ; recalculations++ {
			select {
			case <-done:
				return
			default:
			}
			var out struct{ Changed, Counters int }
			status, err := w.call("POST", "/v1/recalculate", `{"licenseId":"l","startDate":"2020-01-01","endDate":"`+time.Now().AddDate(0, 0, 1).Format(time.DateOnly)+`"}`, &out)
			if err != nil || status != http.StatusOK || out.Changed != 0 || out.Counters != 0 {
				fail(fmt.Errorf("recalculation: status %d, %+v, %w", status, out, err))
				return
			}
		}
	})
	tails := 0 // moments at which some usage was not folded
	watching.Go(func() {
		for range pauses {
			for range writers * batches / (pauses + 1) {
				select {
				case <-progress:
				case <-done:
					return
				}
			}
			var now struct{ PendingEvents int64 }
			if _, err := w.call("GET", "/v1/status", "", &now); err == nil && now.PendingEvents > 0 {
				tails++
			}
			if err := w.agree(); err != nil {
				fail(err)
				return
			}
		}
	})
	if w.redis != nil {
		w.disturb(&writing)
	}
	writing.Wait()
	close(done)
	watching.Wait()
	fail(w.agree())

	folds, hits := w.metric("usance_fold_seconds_count"), w.metric(`usance_cache_requests_total{result="hit"}`)
	t.Logf("%v sent, %v voided; %d reads, %d recalculations, %v folds, %v cache hits, usage not folded at %d of %d pauses",
		w.sent.get(), w.voidsSent.get(), w.reads.Load(), recalculations, folds, hits, tails, pauses)
	if folds < 10 || hits == 0 || tails == 0 || recalculations == 0 || w.voidsSent.get()[0] == 0 || w.reads.Load() < 10*readers {
		t.Error("the run did not see all of that at work; what it found says nothing")
	}
}

// metric sums a series of /metrics over the nodes; 0 when there is none.
func (s *server) metric(series string) (sum float64) {
	s.t.Helper()
	for _, n := range s.nodes {
		res, err := s.http.Get("http://" + n.addr + "/metrics")
		if err != nil {
			s.t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, series+" "); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
				if err != nil {
					s.t.Fatal(err)
				}
				sum += n
			}
		}
	}
	return sum
}
