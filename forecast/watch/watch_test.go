package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Before each piece of work the jobs let events go first that wait for their
// commit, but not for ever; a job that may work on asks nobody.
func TestJobsLetEventsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, busyFor := 0, 0
		busy := func() bool { asked++; return asked <= busyFor }
		w := New(nil, Options{Rest: 3, Busy: busy})
		for _, c := range []struct {
			busyFor, asked int
			least, most    time.Duration
		}{
			{0, 1, 0, 0},
			{3, 4, time.Millisecond, 2 * time.Millisecond},
			{1 << 30, 41, maxRest, maxRest},
		} {
			asked, busyFor = 0, c.busyFor
			began := time.Now()
			if err := w.yield(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < c.least || took > c.most || asked != c.asked {
				t.Errorf("busy for %d: waited %s, and asked %d times", c.busyFor, took, asked)
			}
		}
		// A rest lasts three times as long as the work, and ends with its run.
		busyFor = 0
		began := time.Now()
		time.Sleep(2 * time.Millisecond)
		if err := w.rest(t.Context(), began); err != nil || time.Since(began) != 8*time.Millisecond {
			t.Errorf("%s, %v", time.Since(began), err)
		}
		ended, stop := context.WithCancel(t.Context())
		stop()
		if err := w.rest(ended, time.Now().Add(-time.Second)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		asked = 0
		if err := New(nil, Options{Busy: busy}).yield(t.Context()); err != nil || asked != 0 {
			t.Errorf("asked %d times, %v", asked, err)
		}
	})
}
