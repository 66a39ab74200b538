package fold

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usance/usance"
)

// tape is a store in which another node always folds first: it notes what is
// asked for, and when.
type tape struct {
	mu      sync.Mutex
	bites   []taken
	pending []usance.Batch // of nodes that are not known here
	takes   time.Duration  // a transaction
	at      int            // transactions under way
	atOnce  int            // the most there were
}

// taken is what one transaction asked for.
type taken struct {
	at  time.Time
	ids []usance.ID
}

type tapeTx struct {
	usance.Tx
	tape *tape
}

type tapeView struct {
	usance.View
	tape *tape
}

func (*tape) Shards() usance.Shards { return usance.OneShard() }

func (s *tape) Update(_ context.Context, _ usance.Locks, fn func(usance.Tx) error) error {
	s.mu.Lock()
	s.at++
	s.atOnce = max(s.atOnce, s.at)
	s.mu.Unlock()
	time.Sleep(s.takes)
	s.mu.Lock()
	s.at--
	s.mu.Unlock()
	return fn(&tapeTx{tape: s})
}

func (s *tape) View(_ context.Context, fn func(usance.View) error) error {
	return fn(tapeView{tape: s})
}

func (v tapeView) Pending(_ context.Context, before time.Time, _ int) (out []usance.Batch, err error) {
	v.tape.mu.Lock()
	defer v.tape.mu.Unlock()
	for _, b := range v.tape.pending {
		if b.At.Before(before) {
			out = append(out, b)
		}
	}
	return out, nil
}

func (t *tapeTx) TakePending(_ context.Context, batches []usance.Batch) ([]usance.ID, error) {
	var ids []usance.ID
	for _, b := range batches {
		ids = append(ids, b.ID)
	}
	t.tape.mu.Lock()
	defer t.tape.mu.Unlock()
	t.tape.bites = append(t.tape.bites, taken{time.Now(), ids})
	t.tape.pending = slices.DeleteFunc(t.tape.pending, func(b usance.Batch) bool { return slices.Contains(ids, b.ID) })
	return nil, nil
}

// bench is a Folder that runs on a tape, and what was offered to it.
type bench struct {
	*tape
	folder  *Folder
	offered map[usance.ID]time.Time
	counts  map[usance.ID]int
}

// onBench runs the test beside a Folder, on a clock that moves when all wait.
func onBench(t *testing.T, o Options, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{tape: new(tape), offered: make(map[usance.ID]time.Time), counts: make(map[usance.ID]int)}
		b.folder = New(b.tape, o)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := b.folder.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		test(t, b)
		stop()
		running.Wait()
	})
}

// offer hands over a batch of the group, whose id tells it.
func (b *bench) offer(group, events int) usance.ID {
	var id usance.ID
	binary.BigEndian.PutUint64(id[:], uint64(len(b.offered)+1))
	binary.BigEndian.PutUint16(id[14:], uint16(group))
	b.offered[id], b.counts[id] = time.Now(), events
	b.folder.Offer(usance.Batch{ID: id, Group: group, Count: events, Events: make([]usance.Event, events)})
	return id
}

func groupOf(id usance.ID) int { return int(binary.BigEndian.Uint16(id[14:])) }

// folded tells when a batch was, and whether it was.
func (b *bench) folded(id usance.ID) (time.Time, bool) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bite := range b.bites {
		if slices.Contains(bite.ids, id) {
			return bite.at, true
		}
	}
	return time.Time{}, false
}

// often is less than the pause after which nothing more is waited for.
const often = 3 * pause / 4

// A group with little in it is folded within longestWait though every other
// group is older when it begins to wait, fuller, and goes on being fed.
func TestNoGroupWaitsForLong(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{time.Second, time.Minute} {
		onBench(t, Options{Interval: interval, Few: 100, Waiting: 1_000_000}, func(t *testing.T, b *bench) {
			turn := 0
			load := func() {
				turn++
				b.offer(2+turn%(usance.MaxGroups-1), 5)
				time.Sleep(often)
			}
			for start := time.Now(); time.Since(start) < longestWait; {
				load()
			}
			small := b.offer(1, 1)
			for time.Since(b.offered[small]) < longestWait {
				load()
			}
			at, ok := b.folded(small)
			if !ok {
				t.Fatalf("with an interval of %s it waits for more than %s", interval, longestWait)
			}
			if waited := at.Sub(b.offered[small]); waited < time.Second {
				t.Errorf("with an interval of %s it was folded after %s: before its turn", interval, waited)
			}
			for _, bite := range b.bites {
				for _, id := range bite.ids {
					if groupOf(id) != groupOf(bite.ids[0]) {
						t.Fatalf("a transaction folds the groups %d and %d", groupOf(bite.ids[0]), groupOf(id))
					}
				}
			}
		})
	}
}

// However often more comes, few events are all folded at each interval, in small bites.
func TestFewAreFoldedAtEachInterval(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	o := Options{Interval: interval, Few: 1000, LightBite: 10}
	onBench(t, o, func(t *testing.T, b *bench) {
		for turn := range 400 {
			b.offer(1+turn%50, 1)
			time.Sleep(often)
		}
		last := time.Now()
		for id, offered := range b.offered {
			at, ok := b.folded(id)
			if waited := at.Sub(offered); ok && waited > interval || !ok && last.Sub(offered) > interval {
				t.Fatalf("an event waited for %s (folded: %t), with an interval of %s", waited, ok, interval)
			}
		}
		for _, bite := range b.bites {
			if bite.at.Sub(b.bites[0].at)%interval != 0 {
				t.Errorf("folded at %s after the first interval, between two of them", bite.at.Sub(b.bites[0].at))
			}
			if len(bite.ids) > o.LightBite {
				t.Errorf("a transaction folds %d events, want at most %d", len(bite.ids), o.LightBite)
			}
		}
	})
}

// When nothing comes any more all is folded, without waiting for an interval.
func TestIdleFoldsAll(t *testing.T) {
	t.Parallel()
	onBench(t, Options{Interval: time.Hour, Few: 1}, func(t *testing.T, b *bench) {
		var ids []usance.ID
		for turn := range 40 {
			ids = append(ids, b.offer(1+turn%8, 200))
			time.Sleep(often)
		}
		if at, ok := b.folded(ids[0]); ok {
			t.Errorf("folded at %s while more came", at.Sub(b.offered[ids[0]]))
		}
		time.Sleep(pause)
		for _, id := range ids {
			at, ok := b.folded(id)
			if want := b.offered[ids[len(ids)-1]].Add(pause); !ok || !at.Equal(want) {
				t.Errorf("folded: %t, %s after the last came, want %s", ok, at.Sub(b.offered[ids[len(ids)-1]]), pause)
			}
		}
	})
}

// While ingest says that more is about to come, a pause is not taken for the end of it.
func TestBusyIsNotIdle(t *testing.T) {
	t.Parallel()
	var busy atomic.Bool
	busy.Store(true)
	onBench(t, Options{Interval: time.Hour, Few: 1, Busy: busy.Load}, func(t *testing.T, b *bench) {
		id := b.offer(1, 200)
		time.Sleep(10 * pause)
		if _, ok := b.folded(id); ok {
			t.Error("folded while more is about to come")
		}
		busy.Store(false)
		time.Sleep(pause)
		if _, ok := b.folded(id); !ok {
			t.Error("not folded when nothing more is about to come")
		}
	})
}

// Under load no more events wait than may, and the fullest group goes first.
func TestNoMoreWaitThanMay(t *testing.T) {
	t.Parallel()
	const most = 1000
	onBench(t, Options{Interval: time.Hour, Few: 1, Waiting: most}, func(t *testing.T, b *bench) {
		for turn := range 500 {
			group := 1 + turn%10
			if turn%2 == 0 {
				group = 11 // takes every other batch
			}
			b.offer(group, 10)
			time.Sleep(often)
			synctest.Wait()
			waiting := 0
			for _, n := range b.counts {
				waiting += n
			}
			b.mu.Lock()
			for _, bite := range b.bites {
				for _, id := range bite.ids {
					waiting -= b.counts[id]
				}
			}
			b.mu.Unlock()
			if waiting > most {
				t.Fatalf("%d events wait after %d batches, want at most %d", waiting, turn+1, most)
			}
		}
		if len(b.bites) == 0 || groupOf(b.bites[0].ids[0]) != 11 {
			t.Errorf("the fullest group is not folded first: %+v", b.bites)
		}
	})
}

// As many transactions fold at once as may, and no more; each batch is in one.
func TestAsManyAtOnceAsMay(t *testing.T) {
	t.Parallel()
	for most := 1; most <= 3; most++ {
		onBench(t, Options{Interval: time.Hour, Few: 1, Bite: 200, AtOnce: most}, func(t *testing.T, b *bench) {
			const groups = 10
			b.takes = time.Second
			var ids []usance.ID
			for group := range groups {
				ids = append(ids, b.offer(1+group, 200))
			}
			time.Sleep(pause + groups*b.takes)
			synctest.Wait()
			for _, id := range ids {
				if _, ok := b.folded(id); !ok {
					t.Errorf("%d at once: the batch of group %d is not folded", most, groupOf(id))
				}
			}
			last := b.bites[len(b.bites)-1].at.Sub(b.offered[ids[0]])
			if rounds := (groups + most - 1) / most; b.atOnce != most || len(b.bites) != groups || last != pause+time.Duration(rounds)*b.takes {
				t.Errorf("%d at once: %d transactions, %d at once, done after %s", most, len(b.bites), b.atOnce, last)
			}
		})
	}
}

// What is pending at the start was left by a process that died where nobody else
// has the store: it is folded at once. Elsewhere it may be another node's, which
// has time to fold it.
func TestAloneTakesOverAtTheStart(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			left := usance.Batch{ID: usance.ID{1}, At: start.Add(-time.Second), Count: 3}
			s := &tape{pending: []usance.Batch{left}}
			f := New(s, Options{Alone: alone, AdoptAge: time.Minute})
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { _ = f.Run(ctx) })
			defer running.Wait()
			synctest.Wait()
			s.mu.Lock()
			if at := len(s.bites) == 1; at != alone {
				t.Errorf("alone %t: folded at the start: %t", alone, at)
			}
			s.mu.Unlock()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.bites) != 1 || len(s.pending) != 0 {
				t.Errorf("alone %t: folded %d times, %d batches are pending", alone, len(s.bites), len(s.pending))
			} else if waited := s.bites[0].at.Sub(left.At); !alone && waited < time.Minute {
				t.Errorf("taken over from a node that may live after %s", waited)
			}
			stop()
		})
	}
}
