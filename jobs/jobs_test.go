package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/usance/usance"
)

// Within a synctest bubble the clock starts at midnight UTC, 2000-01-01, and
// moves only while every goroutine waits: hours pass at once, and nothing
// depends on how fast the machine is.

// node is a runner that keeps the schedule until stop is called.
type node struct {
	*Runner
	stop func()
}

func start(t *testing.T, store usance.JobStore, tasks ...Task) node {
	t.Helper()
	r, err := New(store, tasks, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = r.Run(ctx) })
	stop := func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return node{r, stop}
}

func counting(n *atomic.Int64) func(context.Context, []string) error {
	return func(context.Context, []string) error { n.Add(1); return nil }
}

func TestRunsOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []string
		start(t, &memory{}, Task{Name: "a", Schedule: []string{"0 * * * *", "0 2 * * *"}, Run: func(_ context.Context, fired []string) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprint(time.Now().UTC().Format("15:04:05"), fired))
			return nil
		}})
		time.Sleep(3*time.Hour + time.Minute)
		mu.Lock()
		defer mu.Unlock()
		want := []string{"01:00:00[0 * * * *]", "02:00:00[0 * * * * 0 2 * * *]", "03:00:00[0 * * * *]"}
		if !slices.Equal(seen, want) {
			t.Errorf("runs were %v, want %v", seen, want)
		}
	})
}

func TestOneRunAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		var runs, running, most atomic.Int64
		task := Task{Name: "a", Schedule: []string{"* * * * *"}, Run: func(context.Context, []string) error {
			runs.Add(1)
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(5 * time.Minute) // longer than a lease: it must be renewed
			running.Add(-1)
			return nil
		}}
		for range 3 {
			start(t, store, task)
		}
		time.Sleep(time.Hour + 30*time.Second)
		if most.Load() != 1 {
			t.Errorf("%d runs at once, want 1", most.Load())
		}
		if runs.Load() < 10 || runs.Load() > 12 {
			t.Errorf("%d runs of 5 minutes in an hour, want 10 to 12", runs.Load())
		}
	})
}

func TestMissedRunsAreMadeGoodOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		var n atomic.Int64
		task := Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: counting(&n)}
		first := start(t, store, task)
		time.Sleep(61 * time.Minute)
		first.stop()
		time.Sleep(9 * time.Hour)
		start(t, store, task)
		time.Sleep(time.Minute)
		if n.Load() != 2 {
			t.Errorf("%d runs, want one on time and one for the nine that were missed", n.Load())
		}
	})
}

func TestFailuresAreTriedAgainWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		var at []time.Duration
		var begin time.Time
		r := start(t, store, Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: func(context.Context, []string) error {
			if begin.IsZero() {
				begin = time.Now()
			}
			at = append(at, time.Since(begin))
			if len(at) == 3 {
				return nil
			}
			return errors.New("not yet")
		}})
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{0, 2 * time.Second, 6 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		if j := store.job("a"); j.Runs != 1 || j.Failures != 0 || j.LastError != "" {
			t.Errorf("recorded %+v, want one run without failure", j)
		}
		if got := testutil.ToFloat64(r.m.retries.WithLabelValues("a")); got != 2 {
			t.Errorf("usance_job_retries_total is %v, want 2", got)
		}
	})
}

func TestFailuresAndPanicsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		r := start(t, store,
			Task{Name: "fails", Schedule: []string{"0 * * * *"}, Run: func(context.Context, []string) error { return errors.New("no disk") }},
			Task{Name: "panics", Schedule: []string{"0 * * * *"}, Run: func(context.Context, []string) error { panic("no luck") }},
			Task{Name: "hangs", Schedule: []string{"0 * * * *"}, Timeout: time.Minute, Run: func(ctx context.Context, _ []string) error {
				<-ctx.Done()
				return ctx.Err()
			}})
		time.Sleep(70 * time.Minute)
		for name, want := range map[string]string{"fails": "no disk", "panics": "panic: no luck", "hangs": "took longer than 1m0s"} {
			j := store.job(name)
			if j.Runs != 1 || j.Failures != 1 || !strings.Contains(j.LastError, want) {
				t.Errorf("%s: runs %d, failures %d, error %.80q; want 1, 1, …%s…", name, j.Runs, j.Failures, j.LastError, want)
			}
			if got := testutil.ToFloat64(r.m.runs.WithLabelValues(name, "error")); got != 1 {
				t.Errorf("usance_job_runs_total{name=%q,result=\"error\"} is %v, want 1", name, got)
			}
		}
		if err := r.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "no disk") {
			t.Errorf("Health says %v, want the failures", err)
		}
	})
}

func TestPauseSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		var n atomic.Int64
		task := Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: counting(&n)}
		first := start(t, store, task)
		if err := first.Pause(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		first.stop()
		second := start(t, store, task)
		time.Sleep(5 * time.Hour)
		if n.Load() != 0 {
			t.Fatalf("%d runs while paused", n.Load())
		}
		if err := second.RunNow(t.Context(), "a"); usance.ErrorCode(err) != usance.CodeConflict {
			t.Errorf("RunNow of a paused job answers %v, want CONFLICT", err)
		}
		if err := second.Health(t.Context()); err != nil {
			t.Errorf("a paused job is no fault of health: %v", err)
		}
		if err := second.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n.Load() != 1 {
			t.Errorf("%d runs after resuming, want the one that was due", n.Load())
		}
	})
}

func TestAChangedScheduleHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		var n atomic.Int64
		weekly := start(t, store, Task{Name: "a", Schedule: []string{"0 4 * * 0"}, Run: counting(&n)})
		synctest.Wait()
		weekly.stop()
		hourly := start(t, store, Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: counting(&n)})
		time.Sleep(150 * time.Minute)
		if n.Load() != 2 {
			t.Errorf("%d runs in two and a half hours of the new schedule, want 2", n.Load())
		}
		list, err := hourly.List(t.Context())
		if err != nil || time.Until(list[0].NextRunAt) > time.Hour {
			t.Errorf("List gives %+v, %v; want the next run within the hour", list, err)
		}
		hourly.stop()
		start(t, store, Task{Name: "a", Schedule: []string{"0 4 * * *"}, Run: counting(&n)})
		time.Sleep(60 * time.Minute)
		if n.Load() != 2 {
			t.Error("the old schedule still holds")
		}
		time.Sleep(60 * time.Minute)
		if n.Load() != 3 {
			t.Errorf("%d runs, want the third at 04:00", n.Load())
		}
	})
}

func TestAStoppedRunIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		var began, ended atomic.Int64
		task := Task{Name: "a", Schedule: []string{"0 0 1 1 *"}, Run: func(ctx context.Context, _ []string) error {
			began.Add(1)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Second):
				ended.Add(1)
				return nil
			}
		}}
		first := start(t, store, task)
		synctest.Wait()
		go func() { _ = first.RunNow(context.Background(), "a") }()
		time.Sleep(time.Second)
		first.stop()
		if began.Load() != 1 || ended.Load() != 0 {
			t.Fatalf("began %d, ended %d", began.Load(), ended.Load())
		}
		start(t, store, task)
		time.Sleep(11 * time.Second)
		if began.Load() != 2 || ended.Load() != 1 {
			t.Errorf("after the restart: began %d, ended %d; want 2, 1", began.Load(), ended.Load())
		}
	})
}

func TestACrashedRunIsTakenUpWhenItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		now := time.Now()
		store := &memory{jobs: []usance.Job{{Name: "a", Schedule: []string{"0 * * * *"}, NextRunAt: now.Add(time.Hour), LeaseOwner: "dead", LeaseUntil: now.Add(40 * time.Second)}}}
		start(t, store, Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: counting(&n)})
		time.Sleep(39 * time.Second)
		if n.Load() != 0 {
			t.Fatal("the lease of the other node was not respected")
		}
		time.Sleep(7 * time.Second)
		if n.Load() != 1 {
			t.Errorf("%d runs, want the crashed one taken up", n.Load())
		}
	})
}

func TestALostLeaseStopsTheRun(t *testing.T) {
	for name, lose := range map[string]func(*memory){
		"stolen":      func(m *memory) { m.steal("a", "other", time.Now().Add(time.Hour)) },
		"store fails": func(m *memory) { m.failWith(errors.New("unreachable")) },
		"store hangs": (*memory).stall,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &memory{}
				var stopped time.Duration
				r := start(t, store, Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: func(ctx context.Context, _ []string) error {
					begin := time.Now()
					<-ctx.Done()
					stopped = time.Since(begin)
					return ctx.Err()
				}})
				time.Sleep(time.Hour + time.Second)
				lose(store)
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if stopped == 0 || stopped > time.Minute {
					t.Errorf("stopped after %v, want within the lease of a minute", stopped)
				}
				if got := testutil.ToFloat64(r.m.runs.WithLabelValues("a", "error")); got != 1 {
					t.Errorf("failures counted: %v, want 1", got)
				}
			})
		})
	}
}

func TestRunNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		boom := errors.New("boom")
		r, err := New(store, []Task{
			{Name: "ok", Schedule: []string{"@daily"}, Run: func(_ context.Context, fired []string) error {
				if !slices.Equal(fired, []string{"@daily"}) {
					return fmt.Errorf("fired is %v", fired)
				}
				time.Sleep(time.Minute)
				return nil
			}},
			{Name: "bad", Schedule: []string{"@daily"}, Run: func(context.Context, []string) error { return boom }},
		}, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		// Without Run, as the command line does it.
		if err := r.RunNow(t.Context(), "ok"); err != nil {
			t.Error(err)
		}
		if err := r.RunNow(t.Context(), "bad"); !errors.Is(err, boom) {
			t.Errorf("answers %v, want the run's own failure", err)
		}
		if err := r.RunNow(t.Context(), "none"); usance.ErrorCode(err) != usance.CodeNotFound || !strings.Contains(err.Error(), "ok, bad") {
			t.Errorf("answers %v, want NOT_FOUND naming the jobs", err)
		}
		go func() { _ = r.RunNow(context.Background(), "ok") }()
		time.Sleep(time.Second)
		if err := r.RunNow(t.Context(), "ok"); usance.ErrorCode(err) != usance.CodeConflict {
			t.Errorf("a second run at once answers %v, want CONFLICT", err)
		}
		time.Sleep(time.Hour)
		list, err := r.List(t.Context())
		if err != nil || len(list) != 2 || list[0].Runs != 2 || list[1].Failures != 1 {
			t.Errorf("List gives %+v, %v", list, err)
		}
	})
}

func TestAnUnreachableStoreIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{fail: errors.New("unreachable")}
		var n atomic.Int64
		r := start(t, store, Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: counting(&n)})
		time.Sleep(30 * time.Minute)
		if err := r.Health(t.Context()); err == nil {
			t.Error("Health is content without a store")
		}
		store.failWith(nil)
		time.Sleep(31 * time.Minute)
		if n.Load() != 1 {
			t.Errorf("%d runs, want 1", n.Load())
		}
	})
}

func TestMetricsTellOfEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(-time.Hour)
		store := &memory{jobs: []usance.Job{{Name: "a", Schedule: []string{"0 * * * *"}, Paused: true, NextRunAt: at, LastRunAt: at, Runs: 1}}}
		r := start(t, store, Task{Name: "a", Schedule: []string{"0 * * * *"}, Run: func(context.Context, []string) error { return nil }})
		synctest.Wait()
		for name, want := range map[string]float64{
			"paused":  testutil.ToFloat64(r.m.paused.WithLabelValues("a")) - 1,
			"success": testutil.ToFloat64(r.m.lastSuccess.WithLabelValues("a")) - float64(at.Unix()),
			"next":    testutil.ToFloat64(r.m.nextRun.WithLabelValues("a")) - float64(at.Unix()),
		} {
			if want != 0 {
				t.Errorf("%s is off by %v", name, want)
			}
		}
		if n := len(r.Metrics()); n != 7 {
			t.Errorf("%d collectors", n)
		}
	})
}

func TestSchedulesThatCannotBe(t *testing.T) {
	for _, s := range []string{"", "0 * * *", "0 25 * * *", "TZ=Europe/Berlin 0 2 * * *", "CRON_TZ=UTC 0 2 * * *", "0 0 30 2 *", "hourly", "0 * * * *;", "* * * * * *"} {
		if lines, err := ParseSchedule(s); err == nil {
			t.Errorf("ParseSchedule(%q) = %v, want an error", s, lines)
		}
	}
	lines, err := ParseSchedule("0 * * * * ; 0 2 * * *")
	if err != nil || !slices.Equal(lines, []string{"0 * * * *", "0 2 * * *"}) {
		t.Errorf("ParseSchedule gives %q, %v", lines, err)
	}
	if _, err := New(&memory{}, []Task{{Name: "a"}}, Options{}); err == nil {
		t.Error("New takes a task without schedule")
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("0 * * * *")
	f.Add("0 2 * * *; @hourly")
	f.Add("*/5 1-3 1,15 JAN-MAR MON")
	f.Fuzz(func(t *testing.T, s string) {
		lines, err := ParseSchedule(s)
		if err != nil {
			return
		}
		parsed, err := parse(lines)
		if err != nil {
			t.Fatalf("lines of an accepted schedule are refused: %v", err)
		}
		tk := task{lines: parsed}
		at := time.Date(2024, 2, 28, 23, 59, 59, 0, time.UTC)
		if next := tk.next(at); !next.After(at) {
			t.Fatalf("%q: next after %v is %v", s, at, next)
		}
	})
}

// A run that a clock took place in the future is not what the next one is
// planned by when the clock is right again.
func TestClockWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		ahead.Store(int64(400 * 24 * time.Hour))
		var runs atomic.Int64
		r, err := New(&memory{}, []Task{{Name: "a", Schedule: []string{"0 * * * *"}, Run: counting(&runs)}}, Options{
			Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = r.Run(ctx) })
		defer done.Wait()
		defer cancel()
		time.Sleep(90 * time.Minute)
		if runs.Load() != 1 {
			t.Fatalf("%d runs while the clock was ahead", runs.Load())
		}
		ahead.Store(0)
		time.Sleep(10 * time.Hour)
		if got := runs.Load(); got != 11 {
			t.Errorf("%d runs, want 11: one each hour", got)
		}
		if err := r.Health(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
