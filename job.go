package usance

import "time"

// Job is a scheduled task as it is kept: paused or not, and how its runs went.
type Job struct {
	Name         string        `json:"name"`
	Schedule     []string      `json:"schedule"` // five-field cron lines, UTC
	Paused       bool          `json:"paused"`
	NextRunAt    time.Time     `json:"nextRunAt,omitzero"`
	LastRunAt    time.Time     `json:"lastRunAt,omitzero"`
	LastDuration time.Duration `json:"lastDurationNanos,omitempty"`
	LastError    string        `json:"lastError,omitempty"`
	Runs         int64         `json:"runs"`     // ever
	Failures     int64         `json:"failures"` // of those
	DayRuns      int64         `json:"dayRuns"`  // that ended in the 24 hours until LastRunAt, the last one too
	DayFailures  int64         `json:"dayFailures"`
	LeaseOwner   string        `json:"-"`
	LeaseUntil   time.Time     `json:"runningUntil,omitzero"` // a run is under way until it ends or this passes
}
