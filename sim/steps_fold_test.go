package sim

import (
	"fmt"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

func (r *run) stepFold() error {
	r.arm("TakePending", "BatchEvents", "EnsureRollups", "LockRollups", "PutRollups", "MergeSessions", "RenewVersions")
	i := r.rng.IntN(2)
	r.begin("node %d folds", i)
	_, err := r.nodes[i].fold.Flush(r.ctx)
	if died, _ := r.store.disarm(); died {
		if err := r.crashed(i); err != nil {
			return err
		}
		return r.sameUsageOfAll()
	}
	if err != nil {
		return err
	}
	return r.folded()
}

// folded tells whether nothing is left to fold.
func (r *run) folded() error {
	err := r.raw.View(r.ctx, func(v usance.View) error {
		s, err := v.Status(r.ctx)
		if err == nil && (s.PendingBatches != 0 || s.PendingEvents != 0) {
			err = fmt.Errorf("%d events in %d batches are pending after a fold", s.PendingEvents, s.PendingBatches)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.sameUsageOfAll()
}

// stepPartialFold has a third node fold a few of the batches that it finds,
// and die.
func (r *run) stepPartialFold() error {
	f := fold.New(r.store, fold.Options{Now: r.clock, LateGrace: lateGrace, Bite: 1})
	n := 1 + r.rng.IntN(4)
	r.begin("a third node folds %d batches and dies", n)
	r.store.arm(beforeUpdate, n)
	_, err := f.Flush(r.ctx)
	if died, _ := r.store.disarm(); err != nil && !died {
		return err
	}
	return r.sameUsageOfAll()
}

// untilDone repeats, after a crash, what a job would repeat, and tells whether
// it crashed: then its own counts mean nothing.
func (r *run) untilDone(do func() error) (crashed bool, err error) {
	err = do()
	if died, _ := r.store.disarm(); !died {
		return false, err
	}
	if err := r.crashed(0); err != nil {
		return true, err
	}
	if err := r.sameUsageOfAll(); err != nil {
		return true, fmt.Errorf("after the crash: %w", err)
	}
	return true, do()
}

func (r *run) sameUsageOfAll() error {
	return r.raw.View(r.ctx, func(v usance.View) error {
		for _, l := range r.licenses {
			if err := r.sameUsage(v, l); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *run) stepRecalculate() error {
	l := pick(r, r.licenses)
	today := l.LocalDay(r.now)
	from := today - r.rng.IntN(12)
	to := from + 1 + r.rng.IntN(12)
	if r.chance(10) {
		from, to = today-60, today+2
	}
	r.arm("AddAudit")
	r.begin("recalculate %s %s..%s", l.ID, showDay(from), showDay(to))
	var got fold.Recalculation
	crashed, err := r.untilDone(func() (err error) {
		got, err = r.nodes[0].fold.Recalculate(r.ctx, l.ID, usance.Date(from), usance.Date(to), "sim")
		return err
	})
	if err != nil {
		return err
	}
	sealed := 0
	for d := range l.Sealed {
		if from <= d && d < to {
			sealed++
		}
	}
	if got.Changed != 0 || got.Counters != 0 || got.Days != to-from-sealed || len(got.Sealed) != sealed {
		return fmt.Errorf("recalculated (again: %t) %+v; nothing should change, and %d days are sealed", crashed, got, sealed)
	}
	r.model.Recalculate(r.now, l, from, to)
	return r.compare(false, l)
}

func (r *run) stepVerify() error {
	r.begin("verify")
	d, err := r.nodes[1].fold.VerifyDays(r.ctx, 20)
	if err == nil && d.Drifted != 0 {
		err = fmt.Errorf("drift: %+v", d)
	}
	if err != nil {
		return err
	}
	books, _, err := r.nodes[0].fold.CheckBooks(r.ctx, usance.Page{Limit: 1000}, r.rng.IntN(3)*20)
	for i := range books {
		if len(books[i].Wrong) > 0 && err == nil {
			err = fmt.Errorf("the books are wrong: %+v", books[i])
		}
	}
	return err
}
