package postgres

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// SyncJobs makes the jobs exist and sets the schedule of those that do.
func (s *Store) SyncJobs(ctx context.Context, jobs []usance.Job) error {
	return s.update(ctx, usance.Locks{}, func(t *tx) error {
		for i := range jobs {
			j := &jobs[i]
			schedule, err := asJSON(append([]string{}, j.Schedule...))
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `INSERT INTO jobs (name, schedule, paused, next_run_at, last_run_at, last_duration_nanos, last_error, runs, failures, lease_owner, lease_until)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
				ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule`,
				j.Name, schedule, j.Paused, optTime(j.NextRunAt), optTime(j.LastRunAt), int64(j.LastDuration), text(j.LastError),
				j.Runs, j.Failures, text(j.LeaseOwner), optTime(j.LeaseUntil))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Jobs lists all jobs by name.
func (s *Store) Jobs(ctx context.Context) (jobs []usance.Job, err error) {
	err = s.view(ctx, func(v *view) error {
		jobs, err = all(ctx, v, `SELECT name, schedule, paused, next_run_at, last_run_at, last_duration_nanos, last_error, runs, failures, lease_owner, lease_until,
				(SELECT count(*) FROM job_runs r WHERE r.name = j.name), (SELECT count(*) FROM job_runs r WHERE r.name = j.name AND r.failed)
			FROM jobs j ORDER BY name`, nil, func(r *rows, j *usance.Job) error {
			return r.Scan(&j.Name, &j.Schedule, &j.Paused, intoTime(&j.NextRunAt), intoTime(&j.LastRunAt), (*int64)(&j.LastDuration),
				intoText(&j.LastError), &j.Runs, &j.Failures, intoText(&j.LeaseOwner), intoTime(&j.LeaseUntil), &j.DayRuns, &j.DayFailures)
		})
		return err
	})
	return jobs, err
}

// ClaimJob takes the lease of a job. One that never got a next run is due.
func (s *Store) ClaimJob(ctx context.Context, name, owner string, now, next, until time.Time, force bool) (bool, error) {
	return s.changeJob(ctx, `UPDATE jobs SET lease_owner = $1, lease_until = $2, next_run_at = $3
		WHERE name = $4 AND NOT paused AND ($5 OR next_run_at IS NULL OR next_run_at <= $6) AND (lease_until IS NULL OR lease_until <= $7)`,
		owner, until, optTime(next), name, force, now, now)
}

// RenewJob prolongs a lease. It is lost once another owner took it, not when
// its time has passed: nobody else runs the job then.
func (s *Store) RenewJob(ctx context.Context, name, owner string, until time.Time) (bool, error) {
	return s.changeJob(ctx, `UPDATE jobs SET lease_until = $1 WHERE name = $2 AND lease_owner = $3`, until, name, owner)
}

// FinishJob does nothing when the lease was lost: the run that goes on elsewhere
// is the one to be recorded.
func (s *Store) FinishJob(ctx context.Context, name, owner string, at time.Time, took time.Duration, runErr string) error {
	return s.update(ctx, usance.Locks{}, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE jobs SET lease_owner = NULL, lease_until = NULL, last_run_at = $1, last_duration_nanos = $2, last_error = $3,
			runs = runs + 1, failures = failures + CASE WHEN $4 THEN 1 ELSE 0 END WHERE name = $5 AND lease_owner = $6`,
			at, int64(took), text(runErr), runErr != "", name, owner)
		if err != nil || n == 0 {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM job_runs WHERE name = $1 AND ended_at <= $2`, name, at.Add(-24*time.Hour)); err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO job_runs (name, ended_at, failed) VALUES ($1, $2, $3)
			ON CONFLICT (name, ended_at) DO UPDATE SET failed = excluded.failed`, name, at, runErr != "")
		return err
	})
}

// PauseJob stops or resumes a job's schedule.
func (s *Store) PauseJob(ctx context.Context, name string, paused bool) error {
	ok, err := s.changeJob(ctx, `UPDATE jobs SET paused = $1 WHERE name = $2`, paused, name)
	if err == nil && !ok {
		err = usance.NewError(usance.CodeNotFound, "there is no job %q", name)
	}
	return err
}

func (s *Store) changeJob(ctx context.Context, query string, args ...any) (ok bool, err error) {
	err = s.update(ctx, usance.Locks{}, func(t *tx) error {
		n, err := t.exec(ctx, query, args...)
		ok = n > 0
		return err
	})
	return ok && err == nil, err
}
