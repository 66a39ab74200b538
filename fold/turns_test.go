package fold

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usance/usance"
)

// At an interval under load those groups are folded that have waited longest: as
// many as it takes for each to have its turn within longestWait, the more the
// more groups there are, and Prompt while little waits.
func TestTurnsAtAnInterval(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		groups, prompt, waiting int // events that may wait
		interval                time.Duration
		want                    int
	}{
		{groups: 16, waiting: 1_000_000, interval: time.Second, want: 1},
		{waiting: 1_000_000, interval: time.Second, want: 3}, // of 256
		{groups: 16, waiting: 1_000_000, interval: 15 * time.Second, want: 3},
		{groups: 16, prompt: 4, waiting: 1_000_000, interval: time.Second, want: 4},
		{groups: 16, prompt: 2, waiting: 1_000_000, interval: 30 * time.Second, want: 5},
		{groups: 16, prompt: 4, waiting: 1600, interval: time.Second, want: 1}, // a sixteenth waits
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			o := Options{Groups: c.groups, Prompt: c.prompt, Waiting: c.waiting, Interval: c.interval, Few: 1}
			onBench(t, o, func(t *testing.T, b *bench) {
				start := time.Now()
				var ids []usance.ID
				for group := range 10 {
					ids = append(ids, b.offer(10-group, 10)) // the oldest has not the least number
				}
				for time.Since(start) < c.interval+often {
					time.Sleep(often)
					b.offer(11, 1)
				}
				synctest.Wait()
				for i, id := range ids {
					at, ok := b.folded(id)
					if ok != (i < c.want) || ok && at.Sub(start) != c.interval {
						t.Errorf("of %d groups that wait, at the interval: the one that came as number %d is folded: %t, after %s; want the first %d",
							len(ids), i, ok, at.Sub(start), c.want)
					}
				}
			})
		})
	}
}

// The longer nothing comes, the more events are folded in one transaction, up to
// a bite: whoever comes first waits for few.
func TestBitesGrowWhileNothingComes(t *testing.T) {
	t.Parallel()
	onBench(t, Options{Interval: time.Hour, Few: 1, LightBite: 10, Bite: 40}, func(t *testing.T, b *bench) {
		offer := func() {
			for group := range 15 {
				for range 10 {
					b.offer(1+group, 1)
				}
			}
			time.Sleep(pause)
			synctest.Wait()
		}
		sizes := func() (out []int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, bite := range b.bites {
				out = append(out, len(bite.ids))
			}
			b.bites = nil
			return out
		}
		for range 2 { // what comes anew begins anew
			offer()
			if got, want := fmt.Sprint(sizes()), fmt.Sprint([]int{10, 20, 40, 40, 40}); got != want {
				t.Errorf("transactions of %s events, want %s", got, want)
			}
		}
	})
}

// Transactions that fold at once are of different groups, however they are
// chosen: two of one group would write the same rows.
func TestAtOnceAreDifferentGroups(t *testing.T) {
	t.Parallel()
	const one = "the oldest at an interval" // while others want the processors
	for name, o := range map[string]Options{
		"idle":               {Interval: time.Hour, Few: 1, Bite: 10, LightBite: 10},
		"under load":         {Interval: time.Hour, Few: 1, Bite: 10, Waiting: 20},
		"few at an interval": {Interval: time.Second, Few: 1000, Bite: 10, LightBite: 10, Busy: func() bool { return true }},
		one:                  {Interval: time.Second, Few: 1, Bite: 10, Prompt: 10, Waiting: 10_000, Busy: func() bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			o.AtOnce = 2
			onBench(t, o, func(t *testing.T, b *bench) {
				b.takes = time.Second
				for range 4 {
					b.offer(1, 10)
				}
				for range 2 {
					b.offer(2, 10)
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				b.mu.Lock()
				defer b.mu.Unlock()
				at := make(map[time.Time]map[int]bool)
				for _, bite := range b.bites {
					for _, id := range bite.ids {
						if at[bite.at][groupOf(id)] {
							t.Errorf("two transactions of group %d fold at once", groupOf(id))
						}
					}
					if at[bite.at] == nil {
						at[bite.at] = make(map[int]bool)
					}
					for _, id := range bite.ids {
						at[bite.at][groupOf(id)] = true
					}
				}
				want := 2
				if name == one {
					want = 1
				}
				if b.atOnce != want {
					t.Errorf("%d transactions at once, want %d", b.atOnce, want)
				}
			})
		})
	}
}
