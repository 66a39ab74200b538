package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/usance/usance"
)

// SyncJobs makes the jobs exist and sets the schedule of those that do.
func (s *Store) SyncJobs(ctx context.Context, jobs []usance.Job) error {
	return s.update(ctx, func(t *tx) error {
		for i := range jobs {
			j := &jobs[i]
			schedule, err := asJSON(append([]string{}, j.Schedule...))
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `INSERT INTO jobs (name, schedule, paused, next_run_at, last_run_at, last_duration_nanos, last_error, runs, failures, lease_owner, lease_until)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
			FROM jobs j ORDER BY name`, nil, func(rows *sql.Rows, j *usance.Job) error {
			return rows.Scan(&j.Name, toJSON{&j.Schedule}, &j.Paused, toTime{&j.NextRunAt}, toTime{&j.LastRunAt}, (*int64)(&j.LastDuration),
				intoText(&j.LastError), &j.Runs, &j.Failures, intoText(&j.LeaseOwner), toTime{&j.LeaseUntil}, &j.DayRuns, &j.DayFailures)
		})
		return err
	})
	return jobs, err
}

// ClaimJob takes the lease of a job. One that never got a next run is due.
func (s *Store) ClaimJob(ctx context.Context, name, owner string, now, next, until time.Time, force bool) (bool, error) {
	return s.changeJob(ctx, `UPDATE jobs SET lease_owner = ?, lease_until = ?, next_run_at = ?
		WHERE name = ? AND NOT paused AND (? OR next_run_at IS NULL OR next_run_at <= ?) AND (lease_until IS NULL OR lease_until <= ?)`,
		owner, until.UnixMicro(), optTime(next), name, force, now.UnixMicro(), now.UnixMicro())
}

// RenewJob prolongs a lease. It is lost once another owner took it, not when
// its time has passed: nobody else runs the job then.
func (s *Store) RenewJob(ctx context.Context, name, owner string, until time.Time) (bool, error) {
	return s.changeJob(ctx, `UPDATE jobs SET lease_until = ? WHERE name = ? AND lease_owner = ?`, until.UnixMicro(), name, owner)
}

// FinishJob does nothing when the lease was lost: the run that goes on elsewhere
// is the one to be recorded.
func (s *Store) FinishJob(ctx context.Context, name, owner string, at time.Time, took time.Duration, runErr string) error {
	return s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE jobs SET lease_owner = NULL, lease_until = NULL, last_run_at = ?, last_duration_nanos = ?, last_error = ?,
			runs = runs + 1, failures = failures + ? WHERE name = ? AND lease_owner = ?`,
			at.UnixMicro(), int64(took), text(runErr), runErr != "", name, owner)
		if err != nil || n == 0 {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM job_runs WHERE name = ? AND ended_at <= ?`, name, at.Add(-24*time.Hour).UnixMicro()); err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT OR REPLACE INTO job_runs (name, ended_at, failed) VALUES (?, ?, ?)`, name, at.UnixMicro(), runErr != "")
		return err
	})
}

// PauseJob stops or resumes a job's schedule.
func (s *Store) PauseJob(ctx context.Context, name string, paused bool) error {
	ok, err := s.changeJob(ctx, `UPDATE jobs SET paused = ? WHERE name = ?`, paused, name)
	if err == nil && !ok {
		err = usance.NewError(usance.CodeNotFound, "there is no job %q", name)
	}
	return err
}

func (s *Store) changeJob(ctx context.Context, query string, args ...any) (ok bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, query, args...)
		ok = n > 0
		return err
	})
	return ok && err == nil, err
}
