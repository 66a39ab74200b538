package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/usance/usance"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storetest.OnEach{M: m}) }

// at is the frozen clock of these tests.
var at = time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)

func clock() time.Time { return at }

type kit struct {
	store   usance.Store
	in      *ingest.Ingester
	fold    *fold.Folder
	catalog *catalog.Catalog
}

func newKit(t *testing.T, o ingest.Options) *kit {
	t.Helper()
	return newKitOn(t, storetest.OpenOne(t), o)
}

func newKitOn(t *testing.T, store usance.Store, o ingest.Options) *kit {
	t.Helper()
	k := &kit{store: store}
	k.fold = fold.New(store, fold.Options{Now: clock})
	k.catalog = catalog.New(store, catalog.Options{Now: clock})
	o.Now, o.SessionKey, o.Committed = clock, []byte("test"), k.fold.Offer
	k.in = ingest.New(store, o)
	t.Cleanup(func() {
		if err := errors.Join(k.in.Close(context.Background()), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *kit) license(t *testing.T, id string) {
	t.Helper()
	if _, _, err := k.catalog.PutLicense(t.Context(), id, []byte(`{"brandId":"b","assetId":"a","status":"ACTIVE"}`), "test"); err != nil {
		t.Fatal(err)
	}
}

func (k *kit) threshold(t *testing.T, th usance.Threshold) usance.Threshold {
	t.Helper()
	made, err := k.catalog.CreateThreshold(t.Context(), th, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// used sums what rollups and tail hold of a licence.
func (k *kit) used(t *testing.T, licenseID string) (events, quantity int64) {
	t.Helper()
	err := k.store.View(t.Context(), func(v usance.View) error {
		rows, err := v.DayUsage(t.Context(), licenseID, usance.MinDate, usance.MaxDate)
		for _, r := range rows {
			events += r.Events
			quantity += r.Quantity
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, quantity
}

// TestHardLimitConcurrent is the promise that limits hold at the moment of use:
// 64 clients against one limit, from the first event of the period on, every
// third answer thrown away and asked for again.
func TestHardLimitConcurrent(t *testing.T) {
	const limit, clients = 10_000, 64
	k := newKit(t, ingest.Options{Lanes: 3})
	k.license(t, "l")
	k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: limit}})
	ctx, stop := context.WithCancel(t.Context())
	var folding sync.WaitGroup
	folding.Go(func() {
		for ctx.Err() == nil {
			if _, err := k.fold.Flush(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})

	var mu sync.Mutex
	counted := make(map[string]usance.Event)
	ids := make(map[string]usance.ID)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 1))
			blocked := 0
			for n := 0; blocked < 20; n++ {
				e := usance.Event{LicenseID: "l", UsageType: "view", Quantity: 1 + rng.Int64N(9), IdempotencyKey: fmt.Sprintf("%d-%d", c, n)}
				r, err := k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{e}})
				if err != nil {
					t.Error(err)
					return
				}
				thrown := n%3 == 0
				if thrown {
					if r, err = k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{e}}); err != nil {
						t.Error(err)
						return
					}
				}
				switch {
				case r[0].Tracked:
					if thrown && !r[0].Duplicate && blocked == 0 && r[0].Usage[0].Remaining > 20*9*clients {
						t.Errorf("the retry of %s counted again", e.IdempotencyKey)
					}
					mu.Lock()
					counted[e.IdempotencyKey], ids[e.IdempotencyKey] = e, r[0].EventID
					mu.Unlock()
				case r[0].Status == usance.StatusBlocked:
					blocked++
				default:
					t.Errorf("%s: %v", e.IdempotencyKey, r[0].Error)
				}
			}
		})
	}
	wg.Wait()
	// Every unit up to the limit can be used.
	for n := 0; ; n++ {
		e := usance.Event{LicenseID: "l", UsageType: "view", Quantity: 1, IdempotencyKey: fmt.Sprintf("last-%d", n)}
		r, err := k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{e}})
		if err != nil {
			t.Fatal(err)
		}
		if !r[0].Tracked {
			break
		}
		counted[e.IdempotencyKey], ids[e.IdempotencyKey] = e, r[0].EventID
	}
	var sum int64
	for key, e := range counted {
		sum += e.Quantity
		r, err := k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{e}})
		if err != nil || !r[0].Duplicate || r[0].EventID != ids[key] {
			t.Fatalf("after the limit is full, a retry of %s answers %+v, %v; want its first answer", key, r, err)
		}
	}
	stop()
	folding.Wait()
	events, quantity := k.used(t, "l")
	if sum != limit || quantity != limit || events != int64(len(counted)) {
		t.Errorf("clients were told %d units in %d events, the store holds %d in %d; want %d", sum, len(counted), quantity, events, limit)
	}
}

// TestOverlappingBatches sends the same events again and again, in batches
// that overlap, reordered and at once: each counts once, and every answer about
// one key names the same event.
func TestOverlappingBatches(t *testing.T) {
	k := newKit(t, ingest.Options{})
	var pool []usance.Event
	for i := range 400 {
		l := fmt.Sprintf("l%d", i%5)
		if i < 5 {
			k.license(t, l)
		}
		pool = append(pool, usance.Event{LicenseID: l, UsageType: "view", Quantity: int64(1 + i%7), IdempotencyKey: fmt.Sprint(i)})
	}
	var mu sync.Mutex
	first := make(map[usance.EventRef]usance.ID)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 2))
			for range 20 {
				batch := make([]usance.Event, 1+rng.IntN(80))
				for i := range batch {
					batch[i] = pool[rng.IntN(len(pool))]
				}
				res, err := k.in.Track(t.Context(), ingest.Request{Events: batch, Atomic: rng.IntN(2) == 0})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i, r := range res {
					ref := usance.EventRef{LicenseID: batch[i].LicenseID, IdempotencyKey: batch[i].IdempotencyKey}
					if id, ok := first[ref]; !r.Tracked || ok && id != r.EventID {
						t.Errorf("%v: %+v, want event %s", ref, r, id)
					}
					first[ref] = r.EventID
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var want, got int64
	for _, e := range pool {
		if _, sent := first[usance.EventRef{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey}]; sent {
			want += e.Quantity
		}
	}
	for i := range 5 {
		_, q := k.used(t, fmt.Sprintf("l%d", i))
		got += q
	}
	if got != want {
		t.Errorf("counted %d units, sent %d", got, want)
	}
}

// TestQueueFull turns requests away whole, and counts none of them.
func TestQueueFull(t *testing.T) {
	k := newKit(t, ingest.Options{Queue: 10})
	k.license(t, "l")
	eleven := make([]usance.Event, 11)
	for i := range eleven {
		eleven[i] = usance.Event{LicenseID: "l", UsageType: "view"}
	}
	_, err := k.in.Track(t.Context(), ingest.Request{Events: eleven})
	var e *usance.Error
	if !errors.As(err, &e) || e.Code != usance.CodeOverloaded || e.RetryAfter == 0 {
		t.Fatalf("err = %v, want OVERLOADED with RetryAfter", err)
	}
	if events, _ := k.used(t, "l"); events != 0 {
		t.Errorf("%d events of a request that was turned away are counted", events)
	}
	if _, err := k.in.Track(t.Context(), ingest.Request{Events: eleven[:10]}); err != nil {
		t.Errorf("after the queue drained: %v", err)
	}
}

// TestCloseDrains commits what waits and refuses what comes after.
func TestCloseDrains(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := 0
	for c := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				_, err := k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{{LicenseID: "l", UsageType: "view", IdempotencyKey: fmt.Sprint(c, "-", n)}}})
				if err != nil {
					if usance.ErrorCode(err) != usance.CodeUnavailable {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acknowledged++
				enough := acknowledged == 50
				mu.Unlock()
				if enough {
					go k.in.Close(context.Background())
				}
			}
		})
	}
	wg.Wait()
	if err := k.in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if events, _ := k.used(t, "l"); events != int64(acknowledged) {
		t.Errorf("%d events counted, %d acknowledged", events, acknowledged)
	}
}

// TestSums refuses the event that would take a counter past what is kept, and
// only that one.
func TestSums(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	rate, err := usance.ParseRate("99999999")
	if err != nil {
		t.Fatal(err)
	}
	k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "all", PeriodType: usance.PeriodTotal, Terms: usance.Terms{LimitQuantity: usance.MaxTotal, AllowOverage: true}})
	k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "print", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 1, AllowOverage: true, OverageRateCents: &rate}})
	var events []usance.Event
	for range 1001 {
		events = append(events, usance.Event{LicenseID: "l", UsageType: "view", Quantity: usance.MaxQuantity})
	}
	res, err := k.in.Track(t.Context(), ingest.Request{Events: events})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res {
		if r.Tracked != (i < 1000) {
			t.Fatalf("event %d: %+v", i, r)
		}
	}
	if c := res[1000].Error.Code; c != usance.CodeValidation {
		t.Errorf("code %s", c)
	}
	// Without a threshold it is no different.
	k.license(t, "n")
	for i := range events {
		events[i].LicenseID, events[i].RevenueCents = "n", int64(i)
	}
	if res, err = k.in.Track(t.Context(), ingest.Request{Events: events[:1000]}); err != nil || !res[999].Tracked {
		t.Fatalf("%+v, %v", res[999], err)
	}
	res, err = k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{{LicenseID: "n", UsageType: "click", Quantity: usance.MaxQuantity}, {LicenseID: "n", UsageType: "click"}}})
	if err != nil || res[0].Tracked || res[0].Error.Code != usance.CodeValidation {
		t.Errorf("past the largest sum: %+v, %v", res, err)
	}
	k.license(t, "m")
	k.threshold(t, usance.Threshold{LicenseID: "m", UsageType: "print", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 1, AllowOverage: true, OverageRateCents: &rate}})
	res, err = k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{
		{LicenseID: "m", UsageType: "print", Quantity: 5}, {LicenseID: "m", UsageType: "print", Quantity: usance.MaxQuantity}, {LicenseID: "m", UsageType: "print", Quantity: 7},
	}})
	if err != nil || !res[0].Tracked || res[1].Tracked || !res[2].Tracked {
		t.Errorf("a fee that cannot be billed: %+v, %v; want its event alone refused", res, err)
	}
}

// TestCheckRecordsNothing asks, and leaves counters and evidence as they were.
func TestCheckRecordsNothing(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodDaily, Terms: usance.Terms{LimitQuantity: 3}})
	for want, n := range map[bool]int64{true: 3, false: 4} {
		c, err := k.in.Check(t.Context(), "l", "view", n, time.Time{})
		if err != nil || c.Allowed != want || len(c.Usage) != 1 || c.Usage[0].Remaining != 3 {
			t.Errorf("check of %d: %+v, %v", n, c, err)
		}
	}
	if err := k.in.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	err := k.store.View(t.Context(), func(v usance.View) error {
		evidence, _, err := v.Evidence(t.Context(), usance.EventFilter{LicenseID: "l"}, usance.Page{Limit: 10})
		if len(evidence) != 0 {
			t.Errorf("evidence of a question: %+v", evidence)
		}
		licenses, _, err2 := v.Licenses(t.Context(), usance.LicenseFilter{Deleted: true}, usance.Page{Limit: 10})
		if len(licenses) != 1 {
			t.Errorf("the self test left %+v", licenses)
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Error(err)
	}
}

// A threshold that somebody wrote by SQL, and that is none, is the trouble of its
// licence alone.
func TestUnreadableThreshold(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "good")
	k.license(t, "bad")
	th := k.threshold(t, usance.Threshold{LicenseID: "bad", UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 10}})
	put := func(p usance.PeriodType) {
		t.Helper()
		th.PeriodType = p
		if err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return tx.PutThreshold(t.Context(), th) }); err != nil {
			t.Fatal(err)
		}
	}
	send := func(key string) []usance.Result {
		t.Helper()
		results, err := k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{
			{LicenseID: "good", UsageType: "view", IdempotencyKey: key}, {LicenseID: "bad", UsageType: "view", IdempotencyKey: key},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	put("MONTHLY")
	if r := send("1"); !r[0].Tracked || r[1].Tracked || r[1].Error == nil || r[1].Error.Code != usance.CodeLicenseNotActive {
		t.Errorf("%+v, want the first counted and the second refused", r)
	}
	put(usance.PeriodMonthly)
	if r := send("1"); !r[0].Duplicate || !r[1].Tracked || r[1].Duplicate {
		t.Errorf("mended: %+v, want the second counted", r)
	}
}

// panicking is a store of which a transaction panics, behind a write, while it is armed.
type panicking struct {
	usance.Store
	armed bool
}

func (p *panicking) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return p.Store.Update(ctx, locks, func(tx usance.Tx) error {
		if p.armed {
			tx = panickingTx{tx}
		}
		return fn(tx)
	})
}

type panickingTx struct{ usance.Tx }

func (p panickingTx) AddEvents(ctx context.Context, batches []usance.Batch) error {
	if err := p.Tx.AddEvents(ctx, batches); err != nil {
		return err
	}
	panic("no such thing")
}

// A panic is the request's failure, and not the end of the server.
func TestPanicIsAnswered(t *testing.T) {
	store := &panicking{Store: storetest.OpenOne(t)}
	k := newKitOn(t, store, ingest.Options{})
	k.license(t, "l")
	event := ingest.Request{Events: []usance.Event{{LicenseID: "l", UsageType: "view", IdempotencyKey: "k"}}}
	store.armed = true
	if _, err := k.in.Track(t.Context(), event); usance.ErrorCode(err) != usance.CodeInternal {
		t.Errorf("%v, want INTERNAL", err)
	}
	store.armed = false
	if r, err := k.in.Track(t.Context(), event); err != nil || !r[0].Tracked || r[0].Duplicate {
		t.Errorf("%+v, %v, want it counted", r, err)
	}
}
