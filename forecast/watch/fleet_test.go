package watch

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/sqlite"
)

var (
	fleet    = flag.Int("fleet", 0, "licences that TestFleet forecasts and looks through under load")
	fleetDir = flag.String("fleet-dir", "", "where its SQLite file is made; a temporary folder by default")
	fleetURL = flag.String("fleet-url", "", "an empty PostgreSQL database to measure on instead")
)

// TestFleet measures the jobs on a SQLite file, or a PostgreSQL database, as they
// run in the server, while events come in: time a licence, memory, and what those who send events notice.
// 100,000 licences must be done within the hour.
func TestFleet(t *testing.T) {
	if *fleet == 0 {
		t.Skip("measures when -fleet is given")
	}
	dir := *fleetDir
	if dir == "" {
		dir = t.TempDir()
	}
	path := filepath.Join(dir, "fleet.db")
	var store usance.Store
	var err error
	var taking ingest.Options
	var bites fold.Options // both as the server has them
	if *fleetURL == "" {
		bites.Alone = true
		store, err = sqlite.Open(t.Context(), path, sqlite.Options{})
	} else {
		store, err = postgres.Open(t.Context(), *fleetURL, postgres.Options{})
		taking = ingest.Options{Lanes: 4, Split: 16, Shared: true}
		bites = fold.Options{LightBite: 4000, AtOnce: 2, Groups: 16, Prompt: 4, Waiting: 400_000, Memory: 500_000}
	}
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: store, now: morning, seen: make(map[usance.RollupKey]bool)}
	gate := &gate{Store: store}
	var in *ingest.Ingester
	f.Watch = New(gate, Options{Now: func() time.Time { return f.now }, Rest: 3, Busy: func() bool { return in.Busy() }}) // as the server has it
	began := time.Now()
	f.populate(*fleet)
	if info, err := os.Stat(path); err == nil {
		t.Logf("%d licences with a year of days: %d MiB, made in %s", *fleet, info.Size()>>20, time.Since(began).Round(time.Second))
	}
	bites.Busy = func() bool { return in.Busy() }
	folder := fold.New(store, bites)
	taking.SessionKey, taking.Committed = []byte("fleet"), folder.Offer
	in = ingest.New(store, taking)
	ctx, stop := context.WithCancel(t.Context())
	var folding sync.WaitGroup
	folding.Go(func() { _ = folder.Run(ctx) })
	defer func() {
		stop()
		folding.Wait()
		if err := in.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()

	learn := func(ctx context.Context) (int, error) {
		_, err := f.learn(ctx)
		return min(*fleet, learnFrom), err
	}
	learnt := time.Duration(0)
	for _, job := range []struct {
		name string
		run  func(context.Context) (int, error)
	}{{"the prior", learn}, {"forecasts", f.Generate}, {"anomalies", f.Detect}} {
		var n int
		var took time.Duration
		var err error
		heap := uint64(0)
		beside, alone := f.load(ctx, in, gate, func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				began := time.Now()
				n, err = job.run(ctx)
				took = time.Since(began) - gate.shut
			}()
			for {
				select {
				case <-done:
					return
				case <-time.After(200 * time.Millisecond):
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					heap = max(heap, m.HeapInuse)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		// The prior is learned anew in each run, of so many licences and no more.
		once := time.Duration(0)
		if job.name == "forecasts" {
			once = min(learnt, took)
		}
		each := (took - once) / time.Duration(*fleet)
		all := (once*learnFrom/time.Duration(min(*fleet, learnFrom)) + each*100_000).Round(time.Second)
		if job.name == "the prior" {
			learnt, all = took, took*learnFrom/time.Duration(n)
		}
		t.Logf("%s: %d of %d licences in %s, %s each; of 100,000 it would take %s; heap at most %d MiB; events beside it: %s; in its pauses: %s",
			job.name, n, *fleet, took.Round(time.Millisecond), each.Round(10*time.Microsecond), all, heap>>20, beside, alone)
		if all > time.Hour {
			t.Errorf("%s of 100,000 licences would take %s", job.name, all)
		}
		if heap > 256<<20 {
			t.Errorf("%s took %d MiB", job.name, heap>>20)
		}
	}
}

// populate makes licences with a threshold and a year of use, of which the last
// nine weeks are known by the hour.
func (f *fixture) populate(n int) {
	r := rand.New(rand.NewPCG(9, 9)) //nolint:gosec // must repeat
	for i := range n {
		id := fmt.Sprintf("fleet-%06d", i)
		level := 50 + r.IntN(2000)
		f.license(id, func(l *usance.License) { l.CreatedAt = morning.AddDate(-1, 0, 0) })
		f.threshold("t-"+id, id, int64(25*level))
		coarse := func(row *usance.Rollup) { row.Breakdown = nil }
		hours := func(_ usance.Date, _ int) int64 { return int64(r.IntN(level/12 + 1)) }
		f.rows(id, "view", day("2023-10-08"), day("2024-08-06"), hours, coarse)
		f.rows(id, "view", day("2024-08-06"), day("2024-10-08"), hours)
		clear(f.seen)
	}
}

// latencies are how long requests took.
type latencies []time.Duration

func (l latencies) String() string {
	if len(l) == 0 {
		return "none"
	}
	slices.Sort(l)
	at := func(p float64) time.Duration {
		return l[min(int(p*float64(len(l))), len(l)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d requests, p50 %s, p99 %s, worst %s", len(l), at(0.5), at(0.99), l[len(l)-1].Round(10*time.Microsecond))
}

// gate is a store that a job is kept from every other three seconds, so that
// requests beside it are compared with requests without it of the same time,
// whatever else the machine does.
type gate struct {
	Store
	mu     sync.RWMutex
	closed atomic.Bool
	shut   time.Duration // in all
}

func (g *gate) View(ctx context.Context, fn func(usance.View) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.Store.View(ctx, fn)
}

func (g *gate) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.Store.Update(ctx, locks, fn)
}

// swing shuts and opens the gate until done.
func (g *gate) swing(done <-chan struct{}) {
	g.shut = 0
	for {
		for _, closed := range []bool{false, true} {
			began := time.Now()
			if closed {
				g.mu.Lock()
				g.closed.Store(true)
			}
			select {
			case <-done:
			case <-time.After(3 * time.Second):
			}
			if closed {
				g.shut += time.Since(began)
				g.closed.Store(false)
				g.mu.Unlock()
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// load sends requests of ten events, a hundred a second, while fn runs: those
// with the gate open, and those with it shut.
func (f *fixture) load(ctx context.Context, in *ingest.Ingester, g *gate, fn func()) (open, shut latencies) {
	var mu sync.Mutex
	done := make(chan struct{})
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			tick := time.NewTicker(40 * time.Millisecond)
			defer tick.Stop()
			r := rand.New(rand.NewPCG(uint64(s), 1)) //nolint:gosec // must repeat
			for {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				var req ingest.Request
				for range 10 {
					req.Events = append(req.Events, usance.Event{LicenseID: fmt.Sprintf("fleet-%06d", r.IntN(*fleet)), UsageType: "view", Quantity: 1})
				}
				began, closed := time.Now(), g.closed.Load()
				results, err := in.Track(ctx, req)
				took := time.Since(began)
				if err != nil || slices.ContainsFunc(results, func(r usance.Result) bool { return r.Status != usance.StatusCounted }) {
					f.t.Errorf("an event was not counted: %v %v", results, err)
					return
				}
				mu.Lock()
				if closed {
					shut = append(shut, took)
				} else {
					open = append(open, took)
				}
				mu.Unlock()
			}
		})
	}
	senders.Go(func() { g.swing(done) })
	fn()
	close(done)
	senders.Wait()
	return open, shut
}
