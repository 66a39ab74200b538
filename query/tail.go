package query

import (
	"context"
	"maps"
	"slices"

	"github.com/usance/usance"
)

// addTail adds the events that are not folded yet, so that each summary becomes
// what it will be once they are.
func (r *reading) addTail(ctx context.Context, parts []*part) error {
	tails := make([]tail, len(parts))
	from, to := usance.MaxDate, usance.MinDate
	for i, p := range parts {
		tails[i] = tail{part: p, rows: make(map[usance.RollupKey]*usance.Rollup), days: make(map[usance.Date]*usance.Sessions)}
		first, end := p.plan.dates()
		from, to = min(from, first), max(to, end)
	}
	err := r.view.Tail(ctx, r.license.ID, from, to, func(e *usance.Event) error {
		for i := range tails {
			tails[i].add(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range tails {
		if err := r.addTailValues(ctx, &tails[i]); err != nil {
			return err
		}
		if err := r.addTailSessions(ctx, &tails[i]); err != nil {
			return err
		}
	}
	return nil
}

// tail is what the events not folded yet add to a part.
type tail struct {
	*part
	rows map[usance.RollupKey]*usance.Rollup // whose values are asked for
	days map[usance.Date]*usance.Sessions
}

func (t *tail) add(e *usance.Event) {
	if !t.plan.touches(e.LocalDate) {
		return
	}
	if t.sessions || t.dailies {
		if t.days[e.LocalDate] == nil {
			t.days[e.LocalDate] = new(usance.Sessions)
		}
		t.days[e.LocalDate].Add(e.SessionHash)
	}
	if !t.has(e.UsageType) || !t.plan.covers(e.LocalDate, e.HourSlot) {
		return
	}
	t.summary.add(t.plan, e.UsageType, t.plan.bucket(e.LocalDate, e.HourSlot), tally(e))
	if len(t.dimensions) > 0 {
		key := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
		if t.rows[key] == nil {
			t.rows[key] = &usance.Rollup{RollupKey: key}
		}
		t.rows[key].Add(e)
	}
}

// addTailValues adds the values of the tail, given as the rows that it would
// make. A row of many values takes further ones under OtherValue: where that
// can matter, the row itself is read and the tail merged as the fold will.
func (r *reading) addTailValues(ctx context.Context, t *tail) error {
	if t.hasRoom() {
		for _, row := range t.rows {
			t.addValues(row.Breakdown, usance.Tally.Plus)
		}
		return nil
	}
	dates := make(map[usance.Date]bool)
	for key := range t.rows {
		dates[key.Date] = true
	}
	for _, d := range slices.Sorted(maps.Keys(dates)) {
		err := r.view.Rollups(ctx, r.license.ID, d, d+1, t.types, func(stored *usance.Rollup) error {
			row := t.rows[stored.RollupKey]
			if row == nil {
				return nil
			}
			delete(t.rows, stored.RollupKey)
			merged := stored.Clone()
			merged.Merge(row)
			t.addValues(merged.Breakdown, usance.Tally.Plus)
			t.addValues(stored.Breakdown, usance.Tally.Minus)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for key, row := range t.rows { // those that are not stored yet
		fresh := usance.Rollup{RollupKey: key}
		fresh.Merge(row)
		t.addValues(fresh.Breakdown, usance.Tally.Plus)
	}
	return nil
}

// hasRoom tells whether no row can reach its bound of values, because all rows
// of the range together, the tail's added, have no more.
func (t *tail) hasRoom() bool {
	for _, d := range t.dimensions {
		values := len(t.Values[d])
		for _, row := range t.rows {
			values += len(row.Breakdown[d])
		}
		if values > usance.MaxBreakdownValues {
			return false
		}
	}
	return true
}

func (p *part) addValues(b usance.Breakdown, op func(usance.Tally, usance.Tally) usance.Tally) {
	for _, d := range p.dimensions {
		for value, t := range b[d] {
			p.addValue(d, value, op(usance.Tally{}, t))
		}
	}
}

// addTailSessions merges the tail's sessions into the range's sketch, and works
// out anew the estimate of each day that it touches.
func (r *reading) addTailSessions(ctx context.Context, t *tail) error {
	if len(t.days) == 0 {
		return nil
	}
	if t.sessions {
		var merged usance.Sessions
		if err := merged.UnmarshalBinary(t.Sessions); err != nil {
			return err
		}
		for _, day := range t.days {
			if err := merged.Merge(day); err != nil {
				return err
			}
		}
		var err error
		if t.Sessions, err = merged.MarshalBinary(); err != nil {
			return err
		}
	}
	if t.dailies {
		for d, day := range t.days {
			err := r.view.DaySessions(ctx, r.license.ID, d, d+1, func(_ usance.Date, stored *usance.Sessions) error {
				return day.Merge(stored)
			})
			if err != nil {
				return err
			}
			t.Days[d] = day.Estimate()
		}
	}
	return nil
}
