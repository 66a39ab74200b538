package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

func (r *run) stepClose() error {
	if err := r.compare(false, r.licenses...); err != nil {
		return err
	}
	r.arm("LockCounters", "PutCounters", "WarnThresholds", "PutOverages", "PutOverages", "AddAudit")
	r.begin("close periods")
	var closed, settled int
	crashed, err := r.untilDone(func() (err error) {
		closed, settled, err = r.billing.ClosePeriods(r.ctx)
		return err
	})
	if err != nil {
		return err
	}
	c, s := r.model.Close(r.now)
	if !crashed {
		if err := same("closed, settled", fmt.Sprint(closed, settled), fmt.Sprint(c, s)); err != nil {
			return err
		}
	}
	return r.compareOneDeep()
}

// compareOneDeep compares what every licence has used, and all that is kept of one.
func (r *run) compareOneDeep() error {
	if err := r.compare(true, pick(r, r.licenses)); err != nil {
		return err
	}
	return r.compare(false, r.licenses...)
}

func (r *run) stepMove() error {
	type row struct {
		t *Threshold
		c *Counter
		o *Overage
	}
	var rows []row
	for _, t := range r.made {
		for _, c := range t.Counters {
			for _, o := range c.Overages {
				rows = append(rows, row{t, c, o})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	of := pick(r, rows)
	action := pick(r, []string{"approve", "approve", "dispute", "dispute", "resolve", "waive"})
	var id usance.ID
	err := r.raw.View(r.ctx, func(v usance.View) error {
		all, err := r.overages(v, of.t.License)
		for i := range all {
			if all[i].ThresholdID == of.t.ID && Day(all[i].PeriodDate) == of.c.Start && all[i].Revision == of.o.Revision {
				id = all[i].ID
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	do := map[string]func(context.Context, usance.ID, string, string) (usance.Overage, error){
		"approve": r.billing.Approve, "dispute": r.billing.Dispute, "resolve": r.billing.Resolve, "waive": r.billing.Waive,
	}[action]
	r.arm("LockCounters", "PutOverages", "PutOverages", "AddAudit")
	r.begin("%s %s %s revision %d, which is %s", action, of.t.ID, showDay(of.c.Start), of.o.Revision, of.o.Status)
	got, err := do(r.ctx, id, "sim", "because")
	died, commits := r.store.disarm()
	if died {
		if commits > 0 {
			of.t.License.Move(r.now, of.o, action)
		}
		return r.sameOverages(of.t.License)
	}
	want := of.t.License.Move(r.now, of.o, action)
	if err := same(action, code(err), want); err != nil {
		return err
	}
	if err == nil {
		if err := same(action, string(got.Status), of.o.Status); err != nil {
			return err
		}
	}
	return r.sameOverages(of.t.License)
}

func undamaged(*License, Day) bool { return false }

func (r *run) stepRetain() error {
	due := r.now.Add(-r.keep)
	if r.twice(due) {
		return nil
	}
	if r.chance(60) {
		r.surely("CloseDays", "SealDays", "PruneEvents", "PruneEvidence", "TakePending", beforeUpdate, beforeCommit, afterCommit, duringView)
	}
	r.begin("retain what was received since %s", due.Format(time.RFC3339Nano))
	var got fold.Retention
	crashed, err := r.untilDone(func() (err error) {
		got, err = r.nodes[0].fold.Retain(r.ctx, r.keep)
		return err
	})
	if err != nil {
		return err
	}
	days, drifted, events, evidence := r.model.Retain(due, undamaged)
	if !crashed {
		if err := same("retention", got, fold.Retention{Days: days, Drifted: drifted, Events: events, Evidence: evidence}); err != nil {
			return err
		}
	}
	return r.compareOneDeep()
}

// stepPrune seals a day by hand and prunes at once, whatever is pending: no
// event that is not folded may go.
func (r *run) stepPrune() error {
	l := pick(r, r.licenses)
	if len(l.Events) == 0 {
		return nil
	}
	d := pick(r, l.Events).Day
	if l.LocalDay(r.now)-d < 1 {
		return nil
	}
	due := r.now
	limit := 1 + r.rng.IntN(5)
	r.begin("seal %s of %s by hand, and prune %d", showDay(d), l.ID, limit)
	one := []usance.Day{{LicenseID: l.ID, Date: usance.Date(d)}}
	err := r.raw.Update(r.ctx, usance.Locks{Exclusive: []string{l.ID}}, func(tx usance.Tx) error {
		if err := tx.CloseDays(r.ctx, one); err != nil {
			return err
		}
		return tx.SealDays(r.ctx, one)
	})
	if err != nil {
		return err
	}
	l.Closed[d], l.Sealed[d] = true, true
	var n int
	err = r.raw.Update(r.ctx, usance.Locks{}, func(tx usance.Tx) (err error) {
		n, err = tx.PruneEvents(r.ctx, due, limit)
		return err
	})
	if err != nil {
		return err
	}
	if n > limit {
		return fmt.Errorf("pruned %d of at most %d", n, limit)
	}
	if err := r.gone(due, n); err != nil {
		return err
	}
	if _, err := r.nodes[0].fold.Flush(r.ctx); err != nil {
		return err
	}
	if err := r.folded(); err != nil {
		return err
	}
	return r.compare(true, r.licenses...)
}

// gone finds which events were pruned: they were n, due, and on sealed days.
func (r *run) gone(due time.Time, n int) error {
	return r.raw.View(r.ctx, func(v usance.View) error {
		for _, l := range r.licenses {
			there := make(map[string]bool)
			if err := r.eachEvent(v, l, func(e *usance.Event) { there[e.ID.String()] = true }); err != nil {
				return err
			}
			for _, e := range l.Events {
				if e.Pruned || there[e.ID] {
					continue
				}
				if !l.Sealed[e.Day] || !e.Received.Before(due) {
					return fmt.Errorf("the event %s of %s was pruned: its day is sealed: %t, received %s", e.Key, l.ID, l.Sealed[e.Day], e.Received)
				}
				e.Pruned = true
				n--
			}
		}
		if n != 0 {
			return fmt.Errorf("%d more events are said to be pruned than are gone", n)
		}
		return nil
	})
}

// stepDamage spoils a rollup, as a fault or a stranger might. Verification
// must tell, retention must not seal the day, and recalculation must mend it.
func (r *run) stepDamage() error {
	l := pick(r, r.licenses)
	f := r.nodes[0].fold
	if _, err := f.Flush(r.ctx); err != nil {
		return err
	}
	if len(l.Events) == 0 {
		return nil
	}
	e := pick(r, l.Events)
	d := usance.Date(e.Day)
	if l.Sealed[e.Day] {
		return nil
	}
	r.begin("damage %s %s of %s", d, e.Type, l.ID)
	key := []usance.RollupKey{{LicenseID: l.ID, Date: d, UsageType: e.Type}}
	err := r.raw.Update(r.ctx, usance.Locks{}, func(tx usance.Tx) error {
		rows, err := tx.LockRollups(r.ctx, key)
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return fmt.Errorf("%d rows of %v", len(rows), key)
		}
		rows[0].Quantity += 3
		return tx.PutRollups(r.ctx, rows)
	})
	if err != nil {
		return err
	}
	drift, err := f.Verify(r.ctx, l.ID, d-3, d+3)
	if err != nil {
		return err
	}
	if drift.Drifted != 1 {
		return fmt.Errorf("one row is spoilt, verification found %+v", drift)
	}
	if due := r.now.Add(-r.keep); !r.twice(due) && r.chance(70) {
		got, err := f.Retain(r.ctx, r.keep)
		if err != nil {
			return err
		}
		days, drifted, events, evidence := r.model.Retain(due, func(o *License, at Day) bool { return o == l && at == e.Day })
		if err := same("retention", got, fold.Retention{Days: days, Drifted: drifted, Events: events, Evidence: evidence}); err != nil {
			return err
		}
	}
	got, err := f.Recalculate(r.ctx, l.ID, d, d+1, "sim")
	if err != nil {
		return err
	}
	if got.Changed != 1 || got.Counters != 0 {
		return fmt.Errorf("one row is spoilt, recalculation changed %+v", got)
	}
	r.model.Recalculate(r.now, l, e.Day, e.Day+1)
	return r.compare(true, r.licenses...)
}
