package recent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := Version{Keep: 100 * time.Millisecond}
		var stored, reads atomic.Int64
		stored.Store(1)
		read := func(context.Context) (int64, error) {
			reads.Add(1)
			time.Sleep(time.Millisecond)
			return stored.Load(), nil
		}
		want := func(number, read64 int64) {
			t.Helper()
			got, err := v.Get(t.Context(), read)
			if err != nil || got != number || reads.Load() != read64 {
				t.Errorf("got %d after %d reads (%v), want %d after %d", got, reads.Load(), err, number, read64)
			}
		}
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() { want(1, 1) })
		}
		asking.Wait()
		stored.Store(2) // by another process
		want(1, 1)
		time.Sleep(v.Keep)
		want(2, 2)
		stored.Store(3)
		v.Changed() // by this one
		want(3, 3)
	})
}

// What is changed while it is read is not kept; a read that fails is not made
// again by each of those who waited for it, but by the next who asks.
func TestVersionChangedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var v Version
		got, err := v.Get(t.Context(), func(context.Context) (int64, error) {
			v.Changed()
			return 1, nil
		})
		if got != 1 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
		broken := errors.New("broken")
		var asking sync.WaitGroup
		var reads atomic.Int64
		for range 50 {
			asking.Go(func() {
				gone, cancel := context.WithCancel(t.Context())
				_, err := v.Get(gone, func(ctx context.Context) (int64, error) {
					reads.Add(1)
					cancel() // whoever reads has left: the others wait for it
					time.Sleep(time.Second)
					return 0, errors.Join(broken, ctx.Err())
				})
				cancel()
				if !errors.Is(err, broken) || errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := v.Get(gone, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who stopped waiting got %v", err)
		}
		asking.Wait()
		if reads.Load() != 1 {
			t.Errorf("%d reads", reads.Load())
		}
		got, err = v.Get(t.Context(), func(context.Context) (int64, error) { return 2, nil })
		if got != 2 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
	})
}

// Where nothing is kept, many who ask are answered by few reads, each by one that
// began after it asked.
func TestVersionIsOfNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var v Version
		var stored, reads atomic.Int64
		read := func(context.Context) (int64, error) {
			reads.Add(1)
			at := stored.Load()
			time.Sleep(time.Millisecond)
			return at, nil
		}
		var asking sync.WaitGroup
		ask := func(least int64) {
			asking.Go(func() {
				if got, err := v.Get(t.Context(), read); got < least || err != nil {
					t.Errorf("got %d, %v, and it was %d before", got, err, least)
				}
			})
		}
		ask(0)
		time.Sleep(time.Microsecond) // it is being read
		stored.Store(1)              // by another process
		for range 50 {
			ask(1)
		}
		asking.Wait()
		if reads.Load() != 2 {
			t.Errorf("%d reads, want 2", reads.Load())
		}
		stored.Store(2)
		time.Sleep(time.Microsecond)
		ask(2)
		asking.Wait()
	})
}
