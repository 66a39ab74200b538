package watch

import (
	"context"
	"slices"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

const (
	// Sessions of a day are counted by the runs in the first hours after it, up to
	// hour sessionHours of the next day, where the day had so many events, and given
	// up on days with more than so many.
	sessionHours     = 3
	minSessionEvents = 50
	maxSessionEvents = 200_000
	sessionShare     = 0.5
	// seldomShare is that of a type of which so little is known that it is told once
	// in seldomQuiet days: the sessions of a new integration may all be one.
	seldomShare = 0.8
	seldomQuiet = 28
)

// sessions looks for one that carried most of yesterday, where events are many for
// the sessions that they are of, or a type is new, or used on few days, and has many.
// Sessions are known by their hash alone.
func (r *recent) sessions(ctx context.Context, v usance.View) ([]usance.Alert, error) {
	if r.over > sessionHours || r.events < minSessionEvents || r.events > maxSessionEvents || r.first > r.today-14 {
		return nil, nil
	}
	all, err := r.fewSessions(ctx, v)
	if err != nil {
		return nil, err
	}
	by := make(map[string]map[uint64]int64)
	for name, t := range r.types {
		if t.events[unusualHours-1] >= forecast.ManyEvents && forecast.Seldom(t.days[:]) {
			by[name] = make(map[uint64]int64)
		}
	}
	if !all && len(by) == 0 {
		return nil, nil
	}
	by[usance.AllTypes] = make(map[uint64]int64)
	count := func(e *usance.Event) error {
		for _, name := range []string{usance.AllTypes, e.UsageType} {
			if n := by[name]; n != nil {
				n[e.SessionHash] += e.Quantity
			}
		}
		return nil
	}
	if err := v.Folded(ctx, r.license.ID, r.today-1, r.today, count); err != nil {
		return nil, err
	}
	if err := v.Tail(ctx, r.license.ID, r.today-1, r.today, count); err != nil {
		return nil, err
	}
	if share := topShare(by[usance.AllTypes]); all && share >= sessionShare {
		return []usance.Alert{r.alert(usance.AllTypes, forecast.OfSession(share), nil)}, nil
	}
	delete(by, usance.AllTypes)
	var out []usance.Alert
	for _, name := range r.names() {
		share := topShare(by[name])
		if share < seldomShare {
			continue
		}
		told, _, err := v.Alerts(ctx, usance.AlertFilter{LicenseID: r.license.ID, Kind: usance.AlertConcentration, UsageType: name}, usance.Page{Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(told) == 0 || told[0].PeriodStart < r.today-seldomQuiet {
			out = append(out, r.alert(name, forecast.OfSession(share), r.types[name]))
		}
	}
	return out, nil
}

// fewSessions tells whether yesterday's events were at least twice as many a session
// as usual.
func (r *recent) fewSessions(ctx context.Context, v usance.View) (bool, error) {
	yesterday := r.today - 1
	perDay := make(map[usance.Date]float64)
	err := v.DaySessions(ctx, r.license.ID, r.today-15, r.today, func(d usance.Date, s *usance.Sessions) error {
		perDay[d] = float64(s.Estimate())
		return nil
	})
	if err != nil || perDay[yesterday] < 1 {
		return false, err
	}
	events := make(map[usance.Date]float64)
	for _, t := range r.types {
		for i, n := range t.events {
			events[r.today-unusualHours+usance.Date(i)] += float64(n)
		}
	}
	var before []float64
	for d, n := range perDay {
		if d != yesterday && n >= 1 && events[d] > 0 {
			before = append(before, events[d]/n)
		}
	}
	if len(before) < 5 {
		return false, nil
	}
	slices.Sort(before)
	return events[yesterday]/perDay[yesterday] >= 2*before[len(before)/2], nil
}

// topShare is that of the session with the most, 0 of those without one.
func topShare(bySession map[uint64]int64) float64 {
	top, sum := int64(0), int64(0)
	for hash, n := range bySession {
		if sum += n; hash != 0 {
			top = max(top, n)
		}
	}
	if sum <= 0 {
		return 0
	}
	return float64(top) / float64(sum)
}
