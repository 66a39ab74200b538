package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/usance/usance/billing"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/forecast/watch"
	"github.com/usance/usance/jobs"
)

// The names of the jobs.
const (
	jobAggregate  = "aggregateUsageMetrics"
	jobThresholds = "checkUsageThresholds"
	jobForecasts  = "generateUsageForecasts"
	jobBreaches   = "sendForecastBreachAlerts"
	jobAnomalies  = "detectUsageAnomalies"
	jobCleanup    = "cleanupOldUsageEvents"
)

// verifiedDays is how many ended days the daily run compares with their events:
// a month's, so that late usage and runs that were missed are seen. Whatever its
// age, a day is verified before its events are pruned.
const verifiedDays = 35

// tasks are the jobs that have work in this build.
func tasks(c config, f *fold.Folder, b *billing.Billing, w *watch.Watch) []jobs.Task {
	keep := c.retention()
	return []jobs.Task{
		{Name: jobAggregate, Schedule: c.AggregateSchedule, Run: func(ctx context.Context, fired []string) error {
			if _, err := f.Flush(ctx); err != nil {
				return err
			}
			if _, err := f.LookAtClock(ctx, keep); err != nil { // the cleanup asks for it
				return err
			}
			if !verifies(c.AggregateSchedule, fired) {
				return nil
			}
			_, err := f.VerifyDays(ctx, verifiedDays) // drift is logged and counted there
			return err
		}},
		{Name: jobThresholds, Schedule: c.ThresholdsSchedule, Run: func(ctx context.Context, _ []string) error {
			_, _, err := b.ClosePeriods(ctx)
			_, e := w.Score(ctx)
			return errors.Join(err, e)
		}},
		{Name: jobForecasts, Schedule: c.ForecastsSchedule, Timeout: 3 * time.Hour, Run: func(ctx context.Context, _ []string) error {
			_, err := w.Generate(ctx)
			return err
		}},
		{Name: jobBreaches, Schedule: c.BreachAlertsSchedule, Run: func(ctx context.Context, _ []string) error {
			_, err := w.Warn(ctx)
			return err
		}},
		{Name: jobAnomalies, Schedule: c.AnomaliesSchedule, Timeout: time.Hour, Run: func(ctx context.Context, _ []string) error {
			_, err := w.Detect(ctx)
			return err
		}},
		{Name: jobCleanup, Schedule: c.CleanupSchedule, Timeout: 6 * time.Hour, Run: func(ctx context.Context, _ []string) error {
			_, err := f.CleanUp(ctx, keep) // what drifted is logged and counted there
			return err
		}},
	}
}

// verifies tells whether a run verifies as well: at the times of any line but
// the first, or of the only one.
func verifies(schedule, fired []string) bool {
	return len(schedule) == 1 || slices.ContainsFunc(schedule[1:], func(line string) bool { return slices.Contains(fired, line) })
}
