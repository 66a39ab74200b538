// Package jobs runs the scheduled tasks: one run at a time across all nodes,
// each run under a lease that is renewed while it lasts.
//
// The schedule lives in the store, so that a pause survives a restart and a run
// that was missed while nothing was up is made good: once, however many times
// it was due. A run that a crash cut short is taken up by whoever comes next,
// as soon as its lease has run out. A run that fails is tried again after a
// pause that doubles; when its attempts are used up it is recorded as failed
// and waits for its next time.
package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

// Task is what a job does, and when.
type Task struct {
	Name string
	// Schedule holds five-field cron lines, in UTC.
	Schedule []string
	// Run does the work. fired holds those lines of Schedule that were due since
	// the last run; all of them when the run was asked for by hand or takes up
	// one that was cut short. The work must bear being done twice.
	Run func(ctx context.Context, fired []string) error
	// Timeout ends an attempt that lasts longer; 0 stands for 30 minutes.
	Timeout time.Duration
}

// Options set a Runner up; zero fields stand for the defaults named.
type Options struct {
	Now      func() time.Time // time.Now
	Owner    string           // name of this process among others; random
	Poll     time.Duration    // how often the store is asked at least: 5 s
	Lease    time.Duration    // how long a run stays taken unless it is renewed: 1 min
	Attempts int              // of one run: 4
	Backoff  time.Duration    // before the second attempt, doubled for each further: 2 s
	Logger   *slog.Logger     // slog.Default
}

// Runner runs tasks. Make one with New.
type Runner struct {
	store usance.JobStore
	tasks []*task
	o     Options
	m     metrics
	wake  chan struct{}
	runs  sync.WaitGroup

	mu     sync.Mutex
	base   context.Context // of runs; nil until Run is called and after it ended
	synced bool
}

type task struct {
	Task
	running atomic.Bool // a run of this process is under way
	until   time.Time   // the lease of that run, as it was claimed
	lines   []line

	// When the schedule was changed since the job was last planned, the time in
	// the store is of the old one: stale. Until it moves, planned holds.
	stale, planned time.Time
}

// New makes a runner of the tasks. It refuses schedules that cannot be read.
func New(store usance.JobStore, tasks []Task, o Options) (*Runner, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Owner == "" {
		o.Owner = rand.Text()
	}
	if o.Poll <= 0 {
		o.Poll = 5 * time.Second
	}
	if o.Lease <= 0 {
		o.Lease = time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 4
	}
	if o.Backoff <= 0 {
		o.Backoff = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	r := &Runner{store: store, o: o, m: newMetrics(), wake: make(chan struct{}, 1)}
	for _, t := range tasks {
		if t.Timeout <= 0 {
			t.Timeout = 30 * time.Minute
		}
		lines, err := parse(t.Schedule)
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", t.Name, err)
		}
		r.tasks = append(r.tasks, &task{Task: t, lines: lines})
		r.m.register(t.Name)
	}
	return r, nil
}

// Metrics gives the collectors of the jobs.
func (r *Runner) Metrics() []prometheus.Collector { return r.m.all() }

// Run keeps the schedule until ctx ends, and then waits for what is running to
// stop. A run that is stopped so is taken up again after the next start.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.base = ctx
	r.mu.Unlock()
	for ctx.Err() == nil {
		timer := time.NewTimer(r.tick(ctx))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
		}
		timer.Stop()
	}
	r.mu.Lock()
	r.base = nil
	r.mu.Unlock()
	r.runs.Wait()
	return nil
}

// sync makes the jobs exist in the store.
func (r *Runner) sync(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.synced {
		return nil
	}
	now := r.o.Now()
	stored, err := r.store.Jobs(ctx)
	if err != nil {
		return fmt.Errorf("reading the schedule of the jobs: %w", err)
	}
	jobs := make([]usance.Job, len(r.tasks))
	for i, t := range r.tasks {
		jobs[i] = usance.Job{Name: t.Name, Schedule: t.Schedule, NextRunAt: t.next(now)}
		for _, j := range stored {
			if j.Name == t.Name && !slices.Equal(j.Schedule, t.Schedule) {
				t.stale, t.planned = j.NextRunAt, t.next(now)
			}
		}
	}
	if err := r.store.SyncJobs(ctx, jobs); err != nil {
		return fmt.Errorf("writing the schedule of the jobs: %w", err)
	}
	r.synced = true
	return nil
}

// List gives the jobs of this program, in the order they were given to New.
func (r *Runner) List(ctx context.Context) ([]usance.Job, error) {
	if err := r.sync(ctx); err != nil {
		return nil, err
	}
	stored, err := r.store.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]usance.Job, 0, len(r.tasks))
	for _, t := range r.tasks {
		i := slices.IndexFunc(stored, func(j usance.Job) bool { return j.Name == t.Name })
		if i < 0 {
			continue
		}
		j := stored[i]
		j.NextRunAt = r.nextRun(t, &j)
		out = append(out, j)
	}
	return out, nil
}

// clockSkew is how far the clocks of nodes may be apart.
const clockSkew = 5 * time.Minute

// nextRun is when a job is due: as it is stored, unless that was planned by
// another schedule, or by a clock that was ahead.
func (r *Runner) nextRun(t *task, j *usance.Job) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	if next := t.next(now); j.LastRunAt.After(now.Add(clockSkew)) && j.NextRunAt.After(next) && !j.NextRunAt.Equal(t.stale) {
		r.o.Logger.Warn("jobs: the last run lies in the future: a clock was ahead; planned anew",
			"job", j.Name, "lastRunAt", j.LastRunAt, "planned", j.NextRunAt, "next", next)
		t.stale, t.planned = j.NextRunAt, next
	}
	if !t.planned.IsZero() && j.NextRunAt.Equal(t.stale) {
		return t.planned
	}
	return j.NextRunAt
}

// replanned tells whether the time is not the stored one.
func (r *Runner) replanned(t *task, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !t.planned.IsZero() && at.Equal(t.planned)
}

// Pause stops a job's schedule; what is running goes on to its end.
func (r *Runner) Pause(ctx context.Context, name string) error { return r.pause(ctx, name, true) }

// Resume takes up a job's schedule again. A run that was due meanwhile is made
// good once.
func (r *Runner) Resume(ctx context.Context, name string) error { return r.pause(ctx, name, false) }

func (r *Runner) pause(ctx context.Context, name string, paused bool) error {
	if _, err := r.find(name); err != nil {
		return err
	}
	if err := r.sync(ctx); err != nil {
		return err
	}
	if err := r.store.PauseJob(ctx, name, paused); err != nil {
		return err
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

// RunNow runs a job at once and waits for its end; it answers the run's own
// failure. The run goes on when ctx ends first. A job that is paused or running
// already is refused.
func (r *Runner) RunNow(ctx context.Context, name string) error {
	t, err := r.find(name)
	if err != nil {
		return err
	}
	if err := r.sync(ctx); err != nil {
		return err
	}
	base, done := r.begin()
	if base == nil { // no schedule is kept here: the run lasts as long as the caller does
		base = ctx
	}
	ok, err := r.claim(ctx, t, true)
	if err != nil || !ok {
		done()
		if err == nil {
			err = usance.NewError(usance.CodeConflict, "the job %s is paused or running already; see: usance jobs list", name)
		}
		return err
	}
	end := make(chan error, 1)
	go func() {
		defer done()
		end <- r.execute(base, t, t.Schedule)
	}()
	select {
	case err := <-end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Health answers what is wrong with the jobs that are not paused: a run that
// failed, or one that is overdue by more than a lease and two polls.
func (r *Runner) Health(ctx context.Context) error {
	jobs, err := r.List(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for i := range jobs {
		faults = append(faults, Fault(&jobs[i], r.o.Now(), r.o.Lease+2*r.o.Poll))
	}
	return errors.Join(faults...)
}

// Fault tells what is wrong with a job: that it is overdue by more than the
// patience, or how its last run failed. Nothing is with one that is paused or
// running.
func Fault(j *usance.Job, now time.Time, patience time.Duration) error {
	overdue := now.Sub(j.NextRunAt)
	switch {
	case j.Paused || now.Before(j.LeaseUntil):
	case overdue > patience && !j.NextRunAt.IsZero():
		return fmt.Errorf("job %s is overdue by %s", j.Name, overdue.Round(time.Second))
	case j.LastError != "":
		return fmt.Errorf("job %s failed at %s: %s", j.Name, j.LastRunAt.Format(time.RFC3339), j.LastError)
	}
	return nil
}

func (r *Runner) find(name string) (*task, error) {
	names := make([]string, len(r.tasks))
	for i, t := range r.tasks {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return nil, usance.NewError(usance.CodeNotFound, "there is no job %.60q; the jobs are %s", name, strings.Join(names, ", "))
}

// begin counts a run in, so that Run waits for it, and gives the context that
// runs live under: nil when no Run is under way.
func (r *Runner) begin() (context.Context, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base == nil {
		return nil, func() {}
	}
	r.runs.Add(1)
	return r.base, r.runs.Done
}

// tick starts what is due and tells how long to wait.
func (r *Runner) tick(ctx context.Context) time.Duration {
	jobs, err := r.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.o.Logger.Error("jobs: the schedule cannot be read", "error", err)
		}
		return r.o.Poll
	}
	now := r.o.Now()
	wait := r.o.Poll
	for _, j := range jobs {
		t, _ := r.find(j.Name)
		r.m.observe(j)
		leased := now.Before(j.LeaseUntil)
		cut := j.LeaseOwner != "" && !leased // its runner is gone, or was stopped
		due := !j.NextRunAt.After(now)
		switch {
		case j.Paused || leased:
		case cut || due:
			fired := t.Schedule
			if !cut {
				fired = t.fired(j.NextRunAt, now)
			}
			r.start(ctx, t, cut || r.replanned(t, j.NextRunAt), fired)
		default:
			wait = min(wait, j.NextRunAt.Sub(now))
		}
	}
	return max(wait, time.Millisecond)
}

// start takes the job and runs it in the background, unless another node was faster.
func (r *Runner) start(ctx context.Context, t *task, force bool, fired []string) {
	base, done := r.begin()
	if base == nil {
		return
	}
	ok, err := r.claim(ctx, t, force)
	if err != nil || !ok {
		done()
		if err != nil && ctx.Err() == nil {
			r.o.Logger.Error("jobs: the lease cannot be taken", "job", t.Name, "error", err)
		}
		return
	}
	go func() {
		defer done()
		_ = r.execute(base, t, fired) // recorded and logged there
	}()
}

// claim takes the lease. A task that this process is running is never claimed:
// after a sleep of the machine the lease has run out though the run goes on.
func (r *Runner) claim(ctx context.Context, t *task, force bool) (bool, error) {
	if !t.running.CompareAndSwap(false, true) {
		return false, nil
	}
	now := r.o.Now()
	t.until = now.Add(r.o.Lease)
	ok, err := r.store.ClaimJob(ctx, t.Name, r.o.Owner, now, t.next(now), t.until, force)
	if err != nil || !ok {
		t.running.Store(false)
	}
	return ok, err
}

// execute carries out a run whose lease is held: attempts, then the record.
func (r *Runner) execute(base context.Context, t *task, fired []string) error {
	defer t.running.Store(false)
	log := r.o.Logger.With("job", t.Name)
	start := r.o.Now()
	r.m.running.WithLabelValues(t.Name).Inc()
	defer r.m.running.WithLabelValues(t.Name).Dec()

	ctx, cancel := context.WithCancelCause(base)
	var renewing sync.WaitGroup
	renewing.Go(func() { r.renew(ctx, t, cancel) })
	err := r.attempts(ctx, t, fired, log)
	lost := errors.Is(context.Cause(ctx), errLost)
	cancel(nil)
	renewing.Wait()

	// What follows must be written although the program is being stopped.
	end, stop := context.WithTimeout(context.WithoutCancel(base), 10*time.Second)
	defer stop()
	now := r.o.Now()
	took := now.Sub(start)
	switch {
	case lost:
		log.Warn("jobs: the lease was lost; the run was stopped", "took", took)
		r.m.count(t.Name, errLost, took, now)
		return errLost
	case base.Err() != nil && err != nil:
		// Given back unfinished: whoever comes next takes it up.
		log.Info("jobs: the run was stopped with the program", "took", took)
		if _, e := r.store.RenewJob(end, t.Name, r.o.Owner, now); e != nil {
			log.Error("jobs: the lease cannot be given back", "error", e)
		}
		return err
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if e := r.store.FinishJob(end, t.Name, r.o.Owner, now, took, text); e != nil {
		log.Error("jobs: the end of the run cannot be recorded", "error", e)
		err = errors.Join(err, e)
	}
	r.m.count(t.Name, err, took, now)
	if err == nil {
		log.Info("jobs: done", "took", took)
	}
	return err
}

func (r *Runner) attempts(ctx context.Context, t *task, fired []string, log *slog.Logger) error {
	pause := r.o.Backoff
	for n := 1; ; n++ {
		err := attempt(ctx, t, fired)
		if err == nil || ctx.Err() != nil {
			return err
		}
		log.Error("jobs: an attempt failed", "attempt", n, "of", r.o.Attempts, "error", err)
		if n == r.o.Attempts {
			return err
		}
		r.m.retries.WithLabelValues(t.Name).Inc()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause *= 2
	}
}

// attempt runs the task once; a panic is a failure like any other.
func attempt(ctx context.Context, t *task, fired []string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("took longer than %s", t.Timeout))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}()
	return t.Run(ctx, fired)
}

var errLost = errors.New("the lease was lost")

// renew prolongs the lease until ctx ends, and ends the run when the lease is
// another's or has run out without an answer from the store, which is not waited
// for any longer: another node may begin then.
func (r *Runner) renew(ctx context.Context, t *task, cancel context.CancelCauseFunc) {
	for until := t.until; ; {
		timer := time.NewTimer(min(r.o.Lease/3, until.Sub(r.o.Now())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		now := r.o.Now()
		renewing, done := context.WithTimeout(ctx, until.Sub(now))
		ok, err := r.store.RenewJob(renewing, t.Name, r.o.Owner, now.Add(r.o.Lease))
		ended := renewing.Err() != nil
		done()
		switch {
		case err == nil && ok:
			until = now.Add(r.o.Lease)
		case err == nil || ended:
			cancel(errLost)
			return
		}
	}
}
