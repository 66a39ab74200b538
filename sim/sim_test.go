package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
	"github.com/usance/usance/store/sqlite"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "replay this seed alone; of nodes that meet: where they stop")
	stepsFlag  = flag.Int("steps", 200, "steps of a seed")
	budgetFlag = flag.Duration("budget", 40*time.Second, "how long to go on with new seeds, once there were enough")
	leastFlag  = flag.Uint64("least", enough, "how many seeds to run however long they take")
	seedsFlag  = flag.Uint64("seeds", 0, "stop after this many seeds; 0: when the budget is spent")
	firstFlag  = flag.Uint64("first", 1, "the first seed")
	patience   = flag.Duration("patience", 5*time.Minute, "how long one seed may take")
	allFlag    = flag.Bool("all", false, "go on after a difference")
	tellFlag   = flag.Bool("progress", false, "tell each ten seconds how far it is")
)

// opener opens an empty store; its files, if any, go into the folder.
type opener func(ctx context.Context, folder string) (usance.Store, error)

// stores are all that keep the contract.
var stores = map[string]opener{"sqlite": openSQLite(), "postgres": openPostgres}

// openPostgres makes a database, which goes when the store is closed. Commits
// need not wait for the disk: no crash here is one of the machine.
func openPostgres(ctx context.Context, _ string) (usance.Store, error) {
	return openCreated(ctx, pgtest.Create, postgres.Options{Conns: 8, LeaveSchema: true, Volatile: true})
}

// openOnCitus makes a schema on the coordinator that a variable names.
func openOnCitus(ctx context.Context, _ string) (usance.Store, error) {
	return openCreated(ctx, pgtest.CreateOnCitus, postgres.Options{Conns: 8, Volatile: true})
}

func openCreated(ctx context.Context, create func(context.Context) (string, func() error, error), o postgres.Options) (usance.Store, error) {
	url, drop, err := create(ctx)
	if err != nil {
		return nil, err
	}
	s, err := postgres.Open(ctx, url, o)
	if err != nil {
		return nil, errors.Join(err, drop())
	}
	return &dropped{s, drop}, nil
}

// dropped is a store whose database goes with it.
type dropped struct {
	usance.Store
	drop func() error
}

func (d *dropped) Close() error { return errors.Join(d.Store.Close(), d.drop()) }

// openSQLite copies a file whose schema is made once.
func openSQLite() opener {
	empty := sync.OnceValues(func() ([]byte, error) {
		folder, err := os.MkdirTemp("", "usance-sim")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(folder)
		path := filepath.Join(folder, "empty.db")
		s, err := sqlite.Open(context.Background(), path, sqlite.Options{Volatile: true})
		if err != nil {
			return nil, err
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	})
	return func(ctx context.Context, folder string) (usance.Store, error) {
		file, err := empty()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(folder, "usance.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			return nil, err
		}
		return sqlite.Open(ctx, path, sqlite.Options{Volatile: true, Readers: 2, LeaveSchema: true})
	}
}

// scratch is a folder in memory where there is one.
func scratch(t *testing.T) string {
	const shm = "/dev/shm"
	if f, err := os.Stat(shm); err != nil || !f.IsDir() {
		return t.TempDir()
	}
	folder, err := os.MkdirTemp(shm, "usance-sim")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// TestSimulation runs seed after seed, on each store, until its budget is
// spent and there were enough. A seed that shows a difference is replayed by -seed and -steps.
func TestSimulation(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) { simulate(t, open) })
	}
	t.Run("citus", func(t *testing.T) {
		pgtest.OnCitus(t) // or not at all
		simulate(t, openOnCitus)
	})
}

// enough seeds strike at every place, however rare.
const enough = 60

// raced says that the race detector is at work.
var raced bool

func simulate(t *testing.T, open opener) {
	hits := &struck{hits: make(map[string]int)}
	if *seedFlag != 0 {
		runSeed(t, open, *seedFlag, *stepsFlag, hits)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	budget, least := *budgetFlag, *leastFlag
	switch {
	case testing.Short():
		budget, least = min(budget, 5*time.Second), 0
	case raced:
		budget, least = min(budget, 20*time.Second), min(least, 10)
	}
	start := time.Now()
	next := atomic.Uint64{}
	next.Store(*firstFlag)
	var done atomic.Uint64
	if *tellFlag {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				select {
				case <-tick.C:
					fmt.Printf("%s: %d seeds\n", time.Since(start).Round(time.Second), done.Load())
				case <-over:
					return
				}
			}
		}()
	}
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for *allFlag || !t.Failed() {
				seed := next.Add(1) - 1
				if seed >= *firstFlag+least && time.Since(start) >= budget {
					return
				}
				if *seedsFlag > 0 && seed >= *firstFlag+*seedsFlag {
					return
				}
				runSeed(t, open, seed, *stepsFlag, hits)
				done.Add(1)
			}
		})
	}
	wait.Wait()
	t.Logf("%d seeds of %d steps in %s; crashes by place: %v", done.Load(), *stepsFlag, time.Since(start).Round(time.Millisecond), hits.hits)
	if t.Failed() {
		return
	}
	if done.Load() < enough {
		t.Logf("too few to tell whether a crash strikes at each place; it takes %d", enough)
		return
	}
	for _, point := range failPoints {
		if hits.hits[point] == 0 {
			t.Errorf("no crash struck at %q in %d seeds", point, done.Load())
		}
	}
}

// runSeed runs one schedule and reports the first difference.
func runSeed(t *testing.T, open opener, seed uint64, steps int, hits *struck) {
	folder, err := os.MkdirTemp(scratch(t), "seed")
	if err != nil {
		t.Error(err)
		return
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	store, err := open(ctx, folder)
	if err != nil {
		t.Error(err)
		return
	}
	r := newRun(ctx, seed, store, hits)
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	at, err := r.play(steps)
	if err == nil {
		return
	}
	log := r.log[max(0, len(r.log)-30):]
	t.Errorf("seed %d, step %d: %v\n\nbefore it:\n%s\n\nreplay: go test ./sim -run TestSimulation -seed %d -steps %d -v",
		seed, at, err, strings.Join(log, "\n"), seed, at)
}

// play takes the steps, comparing as it goes, everything every few.
func (r *run) play(steps int) (at int, err error) {
	if err := r.prepare(); err != nil {
		return 0, err
	}
	for at = 1; at <= steps; at++ {
		if err := r.next(); err != nil {
			return at, err
		}
		if at%20 == 0 {
			if err := r.compare(true, r.licenses...); err != nil {
				return at, err
			}
		}
	}
	if _, err := r.nodes[1].fold.Flush(r.ctx); err != nil {
		return at, err
	}
	if err := r.folded(); err != nil {
		return at, err
	}
	if err := r.compare(true, r.licenses...); err != nil {
		return at, err
	}
	return at, r.stepVerify()
}

// TestModelStandsAlone: the model knows nothing of the product.
func TestModelStandsAlone(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			if strings.Contains(spec.Path.Value, ".") {
				t.Errorf("%s imports %s; it may lean on the standard library only", name, spec.Path.Value)
			}
		}
	}
}
