package usance

import (
	"bytes"
	"maps"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// Tally is a count of events with their quantity and revenue.
type Tally struct {
	Events       int64 `json:"events"`
	Quantity     int64 `json:"quantity"`
	RevenueCents int64 `json:"revenueCents"`
}

// Plus is the sum of two tallies.
func (t Tally) Plus(o Tally) Tally {
	return Tally{t.Events + o.Events, t.Quantity + o.Quantity, t.RevenueCents + o.RevenueCents}
}

// Minus is the difference of two tallies.
func (t Tally) Minus(o Tally) Tally {
	return Tally{t.Events - o.Events, t.Quantity - o.Quantity, t.RevenueCents - o.RevenueCents}
}

// Dimension is what a rollup is broken down by.
type Dimension string

// The dimensions of a breakdown.
const (
	ByHour     Dimension = "hour" // slots counted from local midnight, "0" to "24"
	ByPlatform Dimension = "platform"
	ByDevice   Dimension = "device"
	ByGeo      Dimension = "geography"
	BySource   Dimension = "source" // host of the referrer
)

// Dimensions lists them in the order of answers.
var Dimensions = []Dimension{ByHour, ByPlatform, ByDevice, ByGeo, BySource}

// MaxBreakdownValues bounds the named values of one dimension of one row;
// later ones are counted under OtherValue.
const (
	MaxBreakdownValues = 1000
	OtherValue         = "(other)"
	NoValue            = "(none)"
)

// Breakdown holds a tally per dimension and value. Each dimension's tallies
// sum to the row's.
type Breakdown map[Dimension]map[string]Tally

// RollupKey names a rollup row.
type RollupKey struct {
	LicenseID string
	Date      Date
	UsageType string
}

// Compare orders keys as every multi-row write must.
func (k RollupKey) Compare(o RollupKey) int {
	switch {
	case k.LicenseID != o.LicenseID:
		return cmpString(k.LicenseID, o.LicenseID)
	case k.Date != o.Date:
		return int(k.Date) - int(o.Date)
	}
	return cmpString(k.UsageType, o.UsageType)
}

// Rollup is what a licence used on one local day of one usage type.
type Rollup struct {
	RollupKey
	Tally
	Breakdown Breakdown
	// Revision is raised by each recalculation, so that two of them that read
	// the same state cannot both correct it.
	Revision int
}

// slotNames spares the ingest path the making of these strings.
var slotNames = [...]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
	"14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24"}

// Add counts one event, whose licence, day and type are the row's. It names
// every value: a row that is kept takes events by Merge, which bounds them.
func (r *Rollup) Add(e *Event) { r.AddFrom(e, e.SourceHost()) }

// AddFrom is Add of an event whose source host is known.
func (r *Rollup) AddFrom(e *Event, source string) {
	t := Tally{e.Sign(), e.Quantity, e.RevenueCents}
	r.Tally = r.Plus(t)
	if r.Breakdown == nil {
		r.Breakdown = make(Breakdown, len(Dimensions))
	}
	r.Breakdown.add(ByHour, slotNames[min(max(e.HourSlot, 0), len(slotNames)-1)], t)
	r.Breakdown.add(ByPlatform, orNone(e.Platform), t)
	r.Breakdown.add(ByDevice, orNone(e.DeviceType), t)
	r.Breakdown.add(ByGeo, orNone(e.GeographicLocation), t)
	r.Breakdown.add(BySource, source, t)
}

func (b Breakdown) add(d Dimension, value string, t Tally) {
	m := b[d]
	if m == nil {
		m = make(map[string]Tally)
		b[d] = m
	}
	m[value] = m[value].Plus(t)
}

// Merge adds the counts of o, such as a batch's, to the row's. Named values
// stay named; what comes past the bound, in the order of names, is counted
// under OtherValue.
func (r *Rollup) Merge(o *Rollup) { r.combine(o, Tally.Plus) }

// Subtract takes the counts of o from the row's.
func (r *Rollup) Subtract(o *Rollup) { r.combine(o, Tally.Minus) }

func (r *Rollup) combine(o *Rollup, op func(Tally, Tally) Tally) {
	r.Tally = op(r.Tally, o.Tally)
	if r.Breakdown == nil {
		r.Breakdown = make(Breakdown, len(Dimensions))
	}
	for _, d := range Dimensions {
		from := o.Breakdown[d]
		if len(from) == 0 {
			continue
		}
		to := r.Breakdown[d]
		if to == nil {
			to = make(map[string]Tally, len(from))
			r.Breakdown[d] = to
		}
		if len(to)+len(from) <= MaxBreakdownValues {
			for value, t := range from {
				to[value] = op(to[value], t)
			}
			continue
		}
		for _, value := range slices.Sorted(maps.Keys(from)) {
			t := from[value]
			if _, named := to[value]; !named && len(to) >= MaxBreakdownValues {
				value = OtherValue
			}
			to[value] = op(to[value], t)
		}
	}
}

// Names is an empty row of the same key that holds r's named values: what a
// recalculation starts from, so that it puts the same values under OtherValue.
func (r *Rollup) Names() Rollup {
	out := Rollup{RollupKey: r.RollupKey, Breakdown: make(Breakdown, len(Dimensions))}
	for d, m := range r.Breakdown {
		names := make(map[string]Tally, len(m))
		for value := range m {
			names[value] = Tally{}
		}
		out.Breakdown[d] = names
	}
	return out
}

// NamesLess tells whether r counts values under OtherValue, of which o may name one
// that r does not.
func (r *Rollup) NamesLess(o *Rollup) bool {
	for d, m := range r.Breakdown {
		if _, full := m[OtherValue]; !full {
			continue
		}
		for value := range o.Breakdown[d] {
			if _, named := m[value]; !named {
				return true
			}
		}
	}
	return false
}

// IsZero tells whether every count of the row is zero.
func (r *Rollup) IsZero() bool {
	if r.Tally != (Tally{}) {
		return false
	}
	for _, m := range r.Breakdown {
		for _, t := range m {
			if t != (Tally{}) {
				return false
			}
		}
	}
	return true
}

// Clone is a deep copy.
func (r *Rollup) Clone() Rollup {
	out := *r
	out.Breakdown = make(Breakdown, len(r.Breakdown))
	for d, m := range r.Breakdown {
		out.Breakdown[d] = maps.Clone(m)
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return NoValue
	}
	return s
}

// Sessions estimates how many different sessions were seen: a HyperLogLog
// sketch (Heule et al., "HyperLogLog in Practice", 2013) of 2^14 registers,
// standard error 0.8 %. Sketches merge; estimates are never summed.
type Sessions struct{ sketch *hyperloglog.Sketch }

// Add counts a session by its keyed hash; 0 is no session.
func (s *Sessions) Add(hash uint64) {
	if hash == 0 {
		return
	}
	if s.sketch == nil {
		s.sketch = hyperloglog.New14()
	}
	s.sketch.InsertHash(hash)
}

// Merge adds the sessions of o.
func (s *Sessions) Merge(o *Sessions) error {
	if o.sketch == nil {
		return nil
	}
	if s.sketch == nil {
		s.sketch = hyperloglog.New14()
	}
	return s.sketch.Merge(o.sketch)
}

// Contains tells whether s holds all that o holds: merging o into s would
// change nothing. It changes neither.
func (s *Sessions) Contains(o *Sessions) (bool, error) {
	merged := Sessions{hyperloglog.New14()}
	if err := merged.Merge(s); err != nil {
		return false, err
	}
	before, err := merged.compact()
	if err != nil {
		return false, err
	}
	if err := merged.Merge(o); err != nil {
		return false, err
	}
	after, err := merged.compact()
	return bytes.Equal(before, after), err
}

// compact gives the one encoding that all sketches of the same content share:
// what is not compacted depends on the order of insertion, and Estimate compacts.
func (s *Sessions) compact() ([]byte, error) {
	s.sketch.Estimate()
	return s.sketch.MarshalBinary()
}

// Estimate is the number of different sessions.
func (s *Sessions) Estimate() int64 {
	if s.sketch == nil {
		return 0
	}
	return int64(s.sketch.Estimate())
}

// MarshalBinary gives the sketch as it is stored; nil when it is empty.
func (s *Sessions) MarshalBinary() ([]byte, error) {
	if s.sketch == nil {
		return nil, nil
	}
	return s.sketch.MarshalBinary()
}

// UnmarshalBinary reads a stored sketch.
func (s *Sessions) UnmarshalBinary(b []byte) error {
	s.sketch = nil
	if len(b) == 0 {
		return nil
	}
	s.sketch = new(hyperloglog.Sketch)
	return s.sketch.UnmarshalBinary(b)
}
