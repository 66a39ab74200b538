package query

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/usance/usance"
)

// Totals is usage in all and per usage type. Quantity sums units of whatever
// kind: of a licence that counts views and prints it means little, its parts
// by type are what to read.
type Totals struct {
	usance.Tally
	ByType map[string]usance.Tally `json:"byType"`
}

// Span is the time that an answer covers.
type Span struct {
	Start     time.Time   `json:"start"`     // instant, in the licence's zone
	End       time.Time   `json:"end"`       // instant, exclusive
	StartDate usance.Date `json:"startDate"` // local date of the start
	EndDate   usance.Date `json:"endDate"`   // last local date that is covered, inclusive
}

// Value is one value of a dimension with its usage.
type Value struct {
	Value string `json:"value"`
	usance.Tally
	SharePercent float64 `json:"sharePercent"` // of the quantity of all values
}

// Change is a difference between two numbers.
type Change struct {
	Absolute int64    `json:"absolute"`
	Percent  *float64 `json:"percent"` // of the earlier number; null when that is 0
}

// Changes are the differences between two tallies.
type Changes struct {
	Events       Change `json:"events"`
	Quantity     Change `json:"quantity"`
	RevenueCents Change `json:"revenueCents"`
}

// Notes that answers carry when they leave something out.
const (
	notePartialDays = "the range begins or ends within a local day; platforms, devices, sources, geography and unique sessions are known per whole day only and are left out"
	noteTypes       = "unique sessions are counted over all usage types together and are left out of an answer for some of them"
	noteNoPrevious  = "the range before this one does not fall on whole hours of the licence's zone; the comparison is left out"
)

// checkTypes validates a list of usage types and gives it sorted, nil for all.
func checkTypes(types []string) ([]string, error) {
	var out []string
	for _, t := range types {
		if t == "" {
			continue
		}
		if t == usance.AllTypes {
			return nil, nil
		}
		if err := usance.ValidateUsageType(t); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(out) > maxTypes {
		return nil, usance.Invalid("usageTypes", "must not be more than %d", maxTypes)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

const maxTypes = 50

// defaultDays is the length of a range whose start is not given.
const defaultDays = 30

// rangeOf reads the ends of a range. Without an end it ends with today; without
// a start it begins 30 local days before its end.
func (r *reading) rangeOf(startDate, endDate string) (usance.Range, error) {
	if endDate == "" {
		endDate = r.today.String()
	}
	if startDate == "" {
		last := r.today // what cannot be read is refused below
		if d, err := usance.ParseDate(endDate); err == nil {
			last = d
		} else if t, err := time.Parse(time.RFC3339, endDate); err == nil {
			last = usance.DateOf(t.Add(-1), r.zone) // the end is exclusive
		}
		startDate = max(last.AddDays(1-defaultDays), usance.MinDate).String()
	}
	return usance.DateRange(startDate, endDate, r.zone)
}

// days is the range of whole local days from first to end, exclusive.
func (r *reading) days(first, end usance.Date) usance.Range {
	return usance.Range{From: first.Start(r.zone), To: end.Start(r.zone), First: first, End: end}
}

// previous gives the range of equal length that ends where rng begins: of as
// many local days, or hours. ok is false when its start is on no whole hour.
func (r *reading) previous(rng usance.Range) (prev usance.Range, ok bool) {
	if rng.FirstSlot == 0 && rng.EndSlot == 0 {
		prev = r.days(rng.First-(rng.End-rng.First), rng.First)
		return prev, prev.First >= usance.MinDate
	}
	from := rng.From.Add(-rng.To.Sub(rng.From))
	if from.Year() < 1 {
		return prev, false
	}
	prev, err := usance.DateRange(from.UTC().Format(time.RFC3339), rng.From.UTC().Format(time.RFC3339), r.zone)
	return prev, err == nil
}

// span tells of a range as answers do.
func (r *reading) span(rng usance.Range) Span {
	last := rng.End
	if rng.EndSlot == 0 {
		last--
	}
	return Span{Start: rng.From.In(r.zone), End: rng.To.In(r.zone), StartDate: rng.First, EndDate: last}
}

// totals sums up the buckets; the types asked for are there even unused.
func (p *part) totals() Totals {
	t := Totals{ByType: make(map[string]usance.Tally, len(p.Types))}
	for _, name := range p.types {
		t.ByType[name] = usance.Tally{}
	}
	for name, tallies := range p.Types {
		var sum usance.Tally
		for _, b := range tallies {
			sum = sum.Plus(b)
		}
		t.ByType[name] = sum
		t.Tally = t.Plus(sum)
	}
	return t
}

// top gives the values of a dimension, greatest quantity first, at most n; n 0
// gives all. rest is the sum of those left out, distinct how many there are.
// Hours come in their own order. Values whose usage was voided are none.
func (s *summary) top(d usance.Dimension, n int) (values []Value, rest usance.Tally, distinct int) {
	var whole usance.Tally
	values = []Value{}
	for value, t := range s.Values[d] {
		if t != (usance.Tally{}) {
			values = append(values, Value{Value: value, Tally: t})
			whole = whole.Plus(t)
		}
	}
	for i := range values {
		values[i].SharePercent = percent(values[i].Quantity, whole.Quantity)
	}
	slices.SortFunc(values, func(a, b Value) int {
		if d == usance.ByHour {
			return cmp.Or(cmp.Compare(len(a.Value), len(b.Value)), cmp.Compare(a.Value, b.Value))
		}
		return cmp.Or(cmp.Compare(b.Quantity, a.Quantity), cmp.Compare(b.Events, a.Events),
			cmp.Compare(b.RevenueCents, a.RevenueCents), cmp.Compare(a.Value, b.Value))
	})
	distinct = len(values)
	if n > 0 && len(values) > n && d != usance.ByHour {
		for _, v := range values[n:] {
			rest = rest.Plus(v.Tally)
		}
		values = values[:n:n]
	}
	return values, rest, distinct
}

// percent gives part of whole in percent, to two decimals; 0 of nothing.
func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return math.Round(float64(part)/float64(whole)*1e4) / 1e2
}

func change(now, before int64) Change {
	c := Change{Absolute: now - before}
	if before != 0 {
		p := percent(now-before, before)
		c.Percent = &p
	}
	return c
}

func changes(now, before usance.Tally) Changes {
	return Changes{
		Events:       change(now.Events, before.Events),
		Quantity:     change(now.Quantity, before.Quantity),
		RevenueCents: change(now.RevenueCents, before.RevenueCents),
	}
}

// union gives the keys of both, sorted.
func union(a, b map[string]usance.Tally) []string {
	names := slices.Collect(maps.Keys(a))
	names = slices.AppendSeq(names, maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}
