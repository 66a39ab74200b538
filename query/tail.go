package query

import (
	"context"
	"maps"
	"slices"

	"github.com/usance/usance"
)

// addTail adds the events that are not folded yet, so that the summary becomes
// what it will be once they are.
func (r *reading) addTail(ctx context.Context, s *summary, qu question, p *plan) error {
	rows := make(map[usance.RollupKey]*usance.Rollup)
	days := make(map[usance.Date]*usance.Sessions)
	from, to := p.dates()
	err := r.view.Tail(ctx, r.license.ID, from, to, func(e *usance.Event) error {
		if qu.sessions || qu.dailies {
			if days[e.LocalDate] == nil {
				days[e.LocalDate] = new(usance.Sessions)
			}
			days[e.LocalDate].Add(e.SessionHash)
		}
		if !qu.has(e.UsageType) || !p.covers(e.LocalDate, e.HourSlot) {
			return nil
		}
		s.add(p, e.UsageType, p.bucket(e.LocalDate, e.HourSlot), tally(e))
		if len(qu.dimensions) > 0 {
			key := usance.RollupKey{LicenseID: e.LicenseID, Date: e.LocalDate, UsageType: e.UsageType}
			if rows[key] == nil {
				rows[key] = &usance.Rollup{RollupKey: key}
			}
			rows[key].Add(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		if err := r.addTailValues(ctx, s, qu, rows); err != nil {
			return err
		}
	}
	return r.addTailSessions(ctx, s, qu, days)
}

// addTailValues adds the values of the tail, given as the rows that it would
// make. A row of many values takes further ones under OtherValue: where that
// can matter, the row itself is read and the tail merged as the fold will.
func (r *reading) addTailValues(ctx context.Context, s *summary, qu question, rows map[usance.RollupKey]*usance.Rollup) error {
	if s.roomFor(qu, rows) {
		for _, row := range rows {
			s.addValues(qu, row.Breakdown, usance.Tally.Plus)
		}
		return nil
	}
	dates := make(map[usance.Date]bool)
	for key := range rows {
		dates[key.Date] = true
	}
	for _, d := range slices.Sorted(maps.Keys(dates)) {
		err := r.view.Rollups(ctx, r.license.ID, d, d+1, qu.types, func(stored *usance.Rollup) error {
			row := rows[stored.RollupKey]
			if row == nil {
				return nil
			}
			delete(rows, stored.RollupKey)
			merged := stored.Clone()
			merged.Merge(row)
			s.addValues(qu, merged.Breakdown, usance.Tally.Plus)
			s.addValues(qu, stored.Breakdown, usance.Tally.Minus)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for key, row := range rows { // those that are not stored yet
		fresh := usance.Rollup{RollupKey: key}
		fresh.Merge(row)
		s.addValues(qu, fresh.Breakdown, usance.Tally.Plus)
	}
	return nil
}

// roomFor tells whether no row can reach its bound of values, because all rows
// of the range together, the tail's added, have no more.
func (s *summary) roomFor(qu question, rows map[usance.RollupKey]*usance.Rollup) bool {
	for _, d := range qu.dimensions {
		values := len(s.Values[d])
		for _, row := range rows {
			values += len(row.Breakdown[d])
		}
		if values > usance.MaxBreakdownValues {
			return false
		}
	}
	return true
}

func (s *summary) addValues(qu question, b usance.Breakdown, op func(usance.Tally, usance.Tally) usance.Tally) {
	for _, d := range qu.dimensions {
		for value, t := range b[d] {
			s.addValue(d, value, op(usance.Tally{}, t))
		}
	}
}

// addTailSessions merges the tail's sessions into the range's sketch, and works
// out anew the estimate of each day that it touches.
func (r *reading) addTailSessions(ctx context.Context, s *summary, qu question, days map[usance.Date]*usance.Sessions) error {
	if len(days) == 0 {
		return nil
	}
	if qu.sessions {
		var merged usance.Sessions
		if err := merged.UnmarshalBinary(s.Sessions); err != nil {
			return err
		}
		for _, d := range slices.Sorted(maps.Keys(days)) {
			if err := merged.Merge(days[d]); err != nil {
				return err
			}
		}
		var err error
		if s.Sessions, err = merged.MarshalBinary(); err != nil {
			return err
		}
	}
	if qu.dailies {
		for d, tail := range days {
			err := r.view.DaySessions(ctx, r.license.ID, d, d+1, func(_ usance.Date, stored *usance.Sessions) error {
				return tail.Merge(stored)
			})
			if err != nil {
				return err
			}
			s.Days[d] = tail.Estimate()
		}
	}
	return nil
}
