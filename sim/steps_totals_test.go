package sim

import (
	"errors"

	"github.com/usance/usance"
)

// total makes a daily total of the licence, on most days of one that holds no events.
func (r *run) total(l *License) usance.DailyTotal {
	d := l.LocalDay(r.now) - r.rng.IntN(3)
	if r.chance(75) {
		d -= 4 + r.rng.IntN(12)
	}
	return usance.DailyTotal{LicenseID: l.ID, Date: usance.Date(d), UsageType: pick(r, types), Quantity: pick(r, []int64{0, 3, 7, 7, 40, 150})}
}

// stepTotals sends daily totals: one; several of one day and type, which are judged
// one after the other; or one of each licence, which are counted together.
func (r *run) stepTotals() error {
	licenses := []*License{pick(r, r.licenses)}
	totals := []usance.DailyTotal{r.total(licenses[0])}
	switch r.rng.IntN(3) {
	case 0:
		r.arm("AddEvents", "AddToCounters", "EnsureCounters", "LockCounters", "EventsByKey", "AddAudit", "PutOverages", "Revisions")
	case 1:
		for range 1 + r.rng.IntN(3) {
			next := totals[0]
			next.Quantity = r.total(licenses[0]).Quantity
			totals = append(totals, next)
		}
	case 2:
		licenses, totals = r.licenses, nil
		for _, l := range licenses {
			totals = append(totals, r.total(l))
		}
		if r.chance(50) { // what they make of the days is corrected together
			for _, t := range totals {
				t.Quantity = r.total(licenses[0]).Quantity
				totals = append(totals, t)
			}
		}
	}
	i := r.rng.IntN(2)
	r.begin("node %d totals: %v", i, totals)
	count := func(t *usance.DailyTotal) Result {
		return r.model.Total(r.now, r.model.Licenses[t.LicenseID], Day(t.Date), t.UsageType, t.Quantity)
	}
	send := func() error {
		got, err := r.nodes[i].in.Totals(r.ctx, totals, "sim")
		if err != nil {
			return err
		}
		results, want := make([]usance.Result, len(totals)), make([]Result, len(totals))
		for j := range totals {
			results[j], want[j] = got[j].Result, count(&totals[j])
		}
		return sameResults(results, want)
	}
	err := send()
	if died, commits := r.store.disarm(); died {
		if err == nil {
			return errors.New("answered by a process that is dead")
		}
		if commits > 0 {
			count(&totals[0])
		}
		if err := r.crashed(i); err != nil {
			return err
		}
		r.begin("again")
		err = send()
	}
	if err != nil {
		return err
	}
	if err := r.learn(licenses...); err != nil { // the voids
		return err
	}
	return r.compare(false, licenses...)
}
