package ingest_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

// stepping counts how often functions run, and halts before the step that is
// asked for until it is told to go on.
type stepping struct {
	usance.Store
	runs, steps atomic.Int64
	halt        int64 // at this step, the first being 1; 0: nowhere
	halted, on  chan struct{}
}

func (s *stepping) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.Store.Update(ctx, locks, func(tx usance.Tx) error {
		s.runs.Add(1)
		return fn(&steppingTx{tx, s})
	})
}

func (s *stepping) step() {
	if s.steps.Add(1) == s.halt {
		close(s.halted)
		<-s.on
	}
}

type steppingTx struct {
	usance.Tx
	s *stepping
}

func (t *steppingTx) Facts(ctx context.Context, ids []string) ([]usance.Facts, error) {
	t.s.step()
	return t.Tx.Facts(ctx, ids)
}

func (t *steppingTx) EnsureCounters(ctx context.Context, counters []usance.Counter) error {
	t.s.step()
	return t.Tx.EnsureCounters(ctx, counters)
}

func (t *steppingTx) LockCounters(ctx context.Context, keys []usance.CounterKey) ([]usance.Counter, error) {
	t.s.step()
	return t.Tx.LockCounters(ctx, keys)
}

func (t *steppingTx) EventsByKey(ctx context.Context, refs []usance.EventRef) ([]usance.Event, error) {
	t.s.step()
	return t.Tx.EventsByKey(ctx, refs)
}

func (t *steppingTx) AddEvents(ctx context.Context, batches []usance.Batch) error {
	t.s.step()
	return t.Tx.AddEvents(ctx, batches)
}

func (t *steppingTx) AddToCounters(ctx context.Context, deltas []usance.CounterDelta) ([]usance.Counter, error) {
	t.s.step()
	return t.Tx.AddToCounters(ctx, deltas)
}

// Two nodes meet at a period's start, when counters are missing, one of them on
// the careful way: wherever the one is when the other comes, neither waits in a
// circle, which would have a transaction run again.
func TestNodesMeetAtAPeriodsStart(t *testing.T) {
	for step := int64(1); ; step++ {
		if reached := meetAt(t, step); !reached {
			if step < 8 {
				t.Errorf("the transaction has %d steps", step-1)
			}
			return
		}
	}
}

// awaitMeeting returns when the second node is done, or waits for a lock of the
// first.
func awaitMeeting(t *testing.T, url string, done <-chan struct{}) {
	t.Helper()
	c, err := postgres.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for waits := false; !waits; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		err := c.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'second'
			AND pg_blocking_pids(pid) && ARRAY(SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'first'))`).Scan(&waits)
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func meetAt(t *testing.T, step int64) (reached bool) {
	ctx := t.Context()
	url := pgtest.URL(t)
	node := func(name string, halt int64) (*stepping, *kit) {
		store, err := postgres.Open(ctx, url+"&application_name="+name, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := &stepping{Store: store, halt: halt, halted: make(chan struct{}), on: make(chan struct{})}
		return s, newKitOn(t, s, ingest.Options{Shared: true})
	}
	a, first := node("first", step)
	b, second := node("second", 0)
	second.license(t, "l")
	second.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodDaily, Terms: usance.Terms{LimitQuantity: 1000, AllowOverage: true}})
	second.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "play", PeriodType: usance.PeriodDaily, Terms: usance.Terms{LimitQuantity: 1000}})
	send := func(k *kit, name string, types ...string) {
		events := []usance.Event{{LicenseID: "l", UsageType: "none", Quantity: 1, IdempotencyKey: name + "old", OccurredAt: at.AddDate(0, 0, -9)}}
		for i, usageType := range types {
			events = append(events, usance.Event{
				LicenseID: "l", UsageType: usageType, Quantity: 1, IdempotencyKey: fmt.Sprint(name, i), OccurredAt: at.AddDate(0, 0, -1).Add(12 * time.Hour),
			})
		}
		if name != "a" {
			events = events[1:] // without what is refused, which takes the careful way
		}
		if _, err := k.in.Track(context.Background(), ingest.Request{Events: events}); err != nil {
			t.Errorf("at step %d: %v", step, err)
		}
	}
	send(second, "before", "view") // of the two counters one is there
	runs := b.runs.Load()
	done := make(chan struct{})
	go func() {
		defer close(done)
		send(first, "a", "view", "play")
	}()
	select {
	case <-a.halted:
		reached = true
	case <-done:
	}
	met := make(chan struct{})
	go func() {
		defer close(met)
		send(second, "b", "play", "view")
	}()
	awaitMeeting(t, url, met)
	close(a.on)
	<-done
	<-met
	if again := a.runs.Load() - 2 + b.runs.Load() - runs - 1; again != 0 {
		t.Errorf("at step %d transactions ran %d times more than they had to", step, again)
	}
	if events, quantity := first.used(t, "l"); events != 5 || quantity != 5 {
		t.Errorf("at step %d: %d events of %d units, want 5", step, events, quantity)
	}
	return reached
}
