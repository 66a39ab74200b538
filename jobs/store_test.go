package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/usance/usance"
)

// memory is a JobStore that several runners share, as nodes share a database.
type memory struct {
	mu       sync.Mutex
	jobs     []usance.Job
	fail     error // what every call answers while it is set
	hang     bool  // leases are not answered for, until who asks gives up
	finished int
}

func (m *memory) find(name string) *usance.Job {
	for i := range m.jobs {
		if m.jobs[i].Name == name {
			return &m.jobs[i]
		}
	}
	return nil
}

func (m *memory) SyncJobs(_ context.Context, jobs []usance.Job) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for _, j := range jobs {
		if have := m.find(j.Name); have != nil {
			have.Schedule = j.Schedule
		} else {
			m.jobs = append(m.jobs, j)
		}
	}
	return nil
}

func (m *memory) Jobs(context.Context) ([]usance.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]usance.Job(nil), m.jobs...), m.fail
}

func (m *memory) ClaimJob(ctx context.Context, name, owner string, now, next, until time.Time, force bool) (bool, error) {
	if err := m.answer(ctx); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.find(name)
	if m.fail != nil || j == nil || j.Paused || now.Before(j.LeaseUntil) || !force && j.NextRunAt.After(now) {
		return false, m.fail
	}
	j.LeaseOwner, j.LeaseUntil, j.NextRunAt = owner, until, next
	return true, nil
}

func (m *memory) RenewJob(ctx context.Context, name, owner string, until time.Time) (bool, error) {
	if err := m.answer(ctx); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.find(name)
	if m.fail != nil || j == nil || j.LeaseOwner != owner {
		return false, m.fail
	}
	j.LeaseUntil = until
	return true, nil
}

func (m *memory) FinishJob(_ context.Context, name, owner string, at time.Time, took time.Duration, runErr string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.find(name)
	if m.fail != nil || j == nil || j.LeaseOwner != owner {
		return m.fail
	}
	j.LeaseOwner, j.LeaseUntil = "", time.Time{}
	j.LastRunAt, j.LastDuration, j.LastError = at, took, runErr
	j.Runs++
	if runErr != "" {
		j.Failures++
	}
	m.finished++
	return nil
}

func (m *memory) PauseJob(_ context.Context, name string, paused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.find(name)
	if j == nil {
		return usance.NewError(usance.CodeNotFound, "no such job")
	}
	j.Paused = paused
	return m.fail
}

func (m *memory) job(name string) usance.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.find(name)
}

// steal gives the lease to another node, as if this one had been cut off.
func (m *memory) steal(name, owner string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.find(name)
	j.LeaseOwner, j.LeaseUntil = owner, until
}

// stall has leases not answered for from now on.
func (m *memory) stall() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hang = true
}

// answer lets a call through, or keeps it waiting until its ctx ends.
func (m *memory) answer(ctx context.Context) error {
	m.mu.Lock()
	hang := m.hang
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}
