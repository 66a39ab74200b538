package query

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"slices"
	"strconv"

	"github.com/usance/usance"
)

// question is what a summary sums up. Every field is part of its cache key.
type question struct {
	rng         usance.Range
	granularity Granularity
	types       []string           // sorted; nil for all
	dimensions  []usance.Dimension // whose values are summed over the range
	sessions    bool               // unique sessions of the range
	dailies     bool               // unique sessions of each day
}

// summary is the answer to a question, over folded rows or over all. It holds
// sums only: what derives from them is worked out for each answer.
type summary struct {
	Types    map[string][]usance.Tally // per usage type, a tally for each bucket
	Values   usance.Breakdown          // per dimension and value
	Sessions []byte                    // the merged sketch
	Days     map[usance.Date]int64     // estimates of unique sessions
}

// part is a question at work and what came of it.
type part struct {
	question
	plan *plan
	*summary
}

// summarize answers questions: each from the cache or the rollups, then all
// with the tail added, which is read once.
func (r *reading) summarize(ctx context.Context, parts ...*part) (err error) {
	var version int64
	if len(r.q.tiers) > 0 {
		if version, err = r.view.Version(ctx, r.license.ID); err != nil {
			return err
		}
	}
	for _, p := range parts {
		if p.plan, err = newPlan(p.rng, p.granularity, r.zone); err != nil {
			return err
		}
		if p.summary, err = r.folded(ctx, p, version); err != nil {
			return err
		}
	}
	return r.addTail(ctx, parts)
}

// folded sums up the folded rows, or takes what is cached of them.
func (r *reading) folded(ctx context.Context, p *part, version int64) (*summary, error) {
	if len(r.q.tiers) == 0 {
		return r.gather(ctx, p.question, p.plan)
	}
	key := r.cacheKey(version, p.question)
	if s, ok := r.q.cached(ctx, key, p.plan); ok {
		r.q.metrics.hits.Inc()
		r.q.counts.hits.Add(1)
		return s, nil
	}
	r.q.metrics.misses.Inc()
	r.q.counts.misses.Add(1)
	s, err := r.gather(ctx, p.question, p.plan)
	if err != nil {
		return nil, err
	}
	b, err := s.encode()
	if err != nil {
		return nil, err
	}
	for _, t := range r.q.tiers {
		t.Put(ctx, key, b)
	}
	return s, nil
}

// cacheKey names a summary over folded rows. Texts are quoted, so that no two
// questions join to the same key; its head changes with the form of a summary.
func (r *reading) cacheKey(version int64, qu question) string {
	b := append([]byte("usance:sum1:"), strconv.Quote(r.license.ID)...)
	b = fmt.Appendf(b, ":%d:%q:%q", version, r.viewer.Key, r.license.Timezone)
	b = fmt.Appendf(b, ":%d+%d:%d+%d:%s:", qu.rng.First, qu.rng.FirstSlot, qu.rng.End, qu.rng.EndSlot, qu.granularity)
	b = fmt.Appendf(b, "%t:%q:%q:%t:%t", qu.types == nil, qu.types, qu.dimensions, qu.sessions, qu.dailies)
	return string(b)
}

func (s *summary) encode() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(s)
	return b.Bytes(), err
}

// decode reads what encode wrote, for the buckets of the plan.
func decode(b []byte, p *plan) (*summary, error) {
	s := new(summary)
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(s); err != nil {
		return nil, err
	}
	for name, tallies := range s.Types {
		if len(tallies) != len(p.spans) {
			return nil, fmt.Errorf("query: %d buckets of %s are kept of %d", len(tallies), name, len(p.spans))
		}
	}
	s.init()
	return s, nil
}

// init makes the maps that an empty summary lacks.
func (s *summary) init() {
	if s.Types == nil {
		s.Types = make(map[string][]usance.Tally)
	}
	if s.Values == nil {
		s.Values = make(usance.Breakdown)
	}
	if s.Days == nil {
		s.Days = make(map[usance.Date]int64)
	}
}

// gather sums up the folded rows.
func (r *reading) gather(ctx context.Context, qu question, p *plan) (*summary, error) {
	s := new(summary)
	s.init()
	if err := r.gatherRows(ctx, s, qu, p); err != nil {
		return nil, err
	}
	if !qu.sessions && !qu.dailies {
		return s, nil
	}
	var merged usance.Sessions
	from, to := p.dates()
	err := r.view.DaySessions(ctx, r.license.ID, from, to, func(d usance.Date, day *usance.Sessions) error {
		if qu.dailies {
			s.Days[d] = day.Estimate()
		}
		if qu.sessions {
			return merged.Merge(day)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Sessions, err = merged.MarshalBinary()
	return s, err
}

// gatherRows sums up tallies and values. Rows with their breakdowns are costly
// to read, so that they are read only where hours or values are asked for.
func (r *reading) gatherRows(ctx context.Context, s *summary, qu question, p *plan) error {
	row := func(row *usance.Rollup) error { s.addRow(row, qu, p); return nil }
	from, to := p.dates()
	if p.hourly || len(qu.dimensions) > 0 {
		return r.view.Rollups(ctx, r.license.ID, from, to, qu.types, row)
	}
	for _, day := range qu.rng.Partial() {
		if err := r.view.Rollups(ctx, r.license.ID, day.Date, day.Date+1, qu.types, row); err != nil {
			return err
		}
	}
	from, to = qu.rng.Whole()
	if from >= to {
		return nil
	}
	sums, err := r.view.FoldedUsage(ctx, r.license.ID, from, to)
	if err != nil {
		return err
	}
	for i := range sums {
		if qu.has(sums[i].UsageType) {
			s.add(p, sums[i].UsageType, p.bucket(sums[i].Date, 0), sums[i].Tally)
		}
	}
	return nil
}

// addRow adds what the range covers of a rollup row.
func (s *summary) addRow(row *usance.Rollup, qu question, p *plan) {
	// A partial day has hours that the range leaves out.
	partial := p.touches(row.Date) && (row.Date == p.First && p.FirstSlot > 0 || row.Date == p.End && p.EndSlot > 0)
	if !p.hourly && !partial {
		s.add(p, row.UsageType, p.bucket(row.Date, 0), row.Tally)
	} else {
		for name, t := range row.Breakdown[usance.ByHour] {
			if slot, err := strconv.Atoi(name); err == nil {
				s.add(p, row.UsageType, p.bucket(row.Date, slot), t)
			}
		}
	}
	for _, d := range qu.dimensions {
		for value, t := range row.Breakdown[d] {
			if d == usance.ByHour {
				if slot, err := strconv.Atoi(value); err != nil || !p.covers(row.Date, slot) {
					continue
				}
			}
			s.addValue(d, value, t)
		}
	}
}

// add adds to a usage type's bucket; bucket -1 is outside the range.
func (s *summary) add(p *plan, usageType string, bucket int, t usance.Tally) {
	if bucket < 0 {
		return
	}
	tallies := s.Types[usageType]
	if tallies == nil {
		tallies = make([]usance.Tally, len(p.spans))
		s.Types[usageType] = tallies
	}
	tallies[bucket] = tallies[bucket].Plus(t)
}

func (s *summary) addValue(d usance.Dimension, value string, t usance.Tally) {
	m := s.Values[d]
	if m == nil {
		m = make(map[string]usance.Tally)
		s.Values[d] = m
	}
	m[value] = m[value].Plus(t)
}

// has tells whether the question covers the usage type.
func (qu *question) has(usageType string) bool {
	return qu.types == nil || slices.Contains(qu.types, usageType)
}

// tally is what an event counts for.
func tally(e *usance.Event) usance.Tally {
	return usance.Tally{Events: e.Sign(), Quantity: e.Quantity, RevenueCents: e.RevenueCents}
}
