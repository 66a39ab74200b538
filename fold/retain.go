package fold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usance/usance"
)

// Retention is what one run of the retention came to.
type Retention struct {
	Days    int `json:"days"`    // local days of licences that were sealed
	Drifted int `json:"drifted"` // days left alone because their rollups or unique sessions differ from their events
	Events  int `json:"events"`  // raw events pruned
	// Evidence is how many attempts that were not counted were forgotten.
	Evidence int `json:"evidence"`
}

// Bounds of one step of the retention.
const (
	retainDays  = 200  // days looked up at once
	pruneEvents = 5000 // events deleted by one transaction
)

// Retain prunes the raw events that were received longer ago than keep, and the
// evidence of attempts whose last lies as far back. The
// order is what makes it safe: a local day whose first raw event is due is
// closed, so that it takes no event any more; what is pending is folded; its
// rollups and unique sessions are verified against its events; it is sealed, so that no
// recalculation reads what is no longer whole; and only then are its due events
// deleted, a bounded bite at a time. A day whose rollups differ is left closed
// with its events, and reported; so is one that cannot be verified, which the error names. A run that a crash cut short is gone on with
// by the next.
func (f *Folder) Retain(ctx context.Context, keep time.Duration) (out Retention, err error) {
	defer func() { f.o.Logger.Debug("retained", "days", out.Days, "events", out.Events, "error", err) }()
	due := f.o.Now().UTC().Add(-keep)
	var after usance.Day
	var faults faults
	for {
		var days []usance.Day
		err := f.store.View(ctx, func(v usance.View) (err error) {
			days, err = v.DueDays(ctx, due, after, retainDays)
			return err
		})
		if err != nil {
			return out, errors.Join(err, faults.err("verifying days that are due"))
		}
		if len(days) == 0 {
			break
		}
		after = days[len(days)-1]
		f.o.Logger.Debug("sealing and pruning", "days", len(days))
		for _, some := range f.byShard(days) {
			if err := f.seal(ctx, some, &out, &faults); err != nil {
				return out, errors.Join(err, faults.err("verifying days that are due"))
			}
		}
	}
	err = f.prune(ctx, func(tx usance.Tx) (int, error) { return tx.PruneEvents(ctx, due, pruneEvents) }, func(n int) {
		out.Events += n
		f.metrics.pruned.Add(float64(n))
	})
	if err != nil {
		return out, errors.Join(fmt.Errorf("pruning: %w", err), faults.err("verifying days that are due"))
	}
	err = f.prune(ctx, func(tx usance.Tx) (int, error) { return tx.PruneEvidence(ctx, due, pruneEvents) }, func(n int) { out.Evidence += n })
	if err != nil {
		err = fmt.Errorf("pruning evidence: %w", err)
	}
	return out, errors.Join(err, faults.err("verifying days that are due"))
}

// prune has bites of rows deleted, each by a transaction of its own, until none is left.
func (f *Folder) prune(ctx context.Context, bite func(usance.Tx) (int, error), pruned func(n int)) error {
	for {
		n := 0
		err := f.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) (err error) {
			n, err = bite(tx)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		pruned(n)
	}
}

// seal closes, folds, verifies and seals the days, which are sorted.
func (f *Folder) seal(ctx context.Context, days []usance.Day, out *Retention, faults *faults) error {
	err := f.store.Update(ctx, usance.Locks{Exclusive: licensesOf(days, licenseOfDay)}, func(tx usance.Tx) error {
		return tx.CloseDays(ctx, days)
	})
	if err != nil {
		return fmt.Errorf("closing days: %w", err)
	}
	if _, err := f.Flush(ctx); err != nil {
		return err
	}
	var whole []usance.Day
	for _, d := range days {
		drift, err := f.Verify(ctx, d.LicenseID, d.Date, d.Date+1)
		if err != nil {
			if err := faults.add(ctx, d.LicenseID, fmt.Errorf("%s: %w", d.Date, err)); err != nil {
				return fmt.Errorf("verifying a day of %s: %w", d.LicenseID, err)
			}
			continue
		}
		f.metrics.verified.Add(float64(drift.Rows))
		if drift.Drifted > 0 {
			out.Drifted++
			f.metrics.drift.Add(float64(drift.Drifted))
			f.o.Logger.Error("a day due for pruning differs from its events and is kept; recalculate it", "license", d.LicenseID, "date", d.Date)
			continue
		}
		whole = append(whole, d)
	}
	if len(whole) == 0 {
		return nil
	}
	err = f.store.Update(ctx, usance.Locks{Exclusive: licensesOf(whole, licenseOfDay)}, func(tx usance.Tx) error {
		return tx.SealDays(ctx, whole)
	})
	if err != nil {
		return fmt.Errorf("sealing days: %w", err)
	}
	out.Days += len(whole)
	return nil
}

// byShard divides days, each part in their order.
func (f *Folder) byShard(days []usance.Day) [][]usance.Day {
	if !f.shards.Several() {
		return [][]usance.Day{days}
	}
	parts := make([][]usance.Day, f.shards.Count)
	for _, d := range days {
		n := f.shards.Of(d.LicenseID) - 1
		parts[n] = append(parts[n], d)
	}
	return slices.DeleteFunc(parts, func(p []usance.Day) bool { return len(p) == 0 })
}

func licenseOfDay(d usance.Day) string { return d.LicenseID }
