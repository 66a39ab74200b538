package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usance/usance"
)

// group is the state of one transaction: what the store said, and what the
// events judged so far have changed of it.
type group struct {
	in       *Ingester
	requests []*request
	now      time.Time
	careful  bool

	facts    map[string]*facts
	existing map[usance.EventRef]usance.Event // counted before, by licence and key
	closed   map[usance.Day]bool
	sums     map[string]*usance.Tally // all that a licence holds, where a large event needs it
	counters map[usance.CounterKey]*counter

	moved    []*counter     // in key order, as they are now
	batches  []usance.Batch // what was staged, as it was written
	staged   []usance.Event // to be recorded, in the order of judging
	stagedAt map[usance.EventRef]int
	evidence []usance.Evidence
	audit    []usance.AuditEntry
	alerts   int  // raised
	refused  bool // some event was refused or found: the careful way is needed

	answers []answer // whose usage is filled in at the end
}

// facts is a licence as events are judged by it.
type facts struct {
	usance.Facts
	zone     *time.Location
	from, to time.Time
	fault    *usance.Error // why the licence can judge nothing

	// What countersOf found last: most events of a licence ask the same.
	lastType string
	lastDay  usance.Date
	last     []*counter
}

// counter is a threshold's period that some event of the group moves.
type counter struct {
	key       usance.CounterKey
	period    usance.Period
	threshold *usance.Threshold
	facts     *facts
	exists    bool // it is in the store
	must      bool // it has to be made when it is missing
	known     bool // it was seen before
	made      bool // it was, or was seen
	locked    bool // state is the store's, under lock, and judges
	state     usance.Counter
	settled   []usance.Overage // revisions of a total, which price what they billed
	move
}

// move is what the events judged so far make of a counter.
type move struct {
	delta int64
	most  int64 // that delta was after an event that adds, if any does
	adds  bool
}

func (m *move) add(quantity int64) {
	m.delta += quantity
	if quantity > 0 && (!m.adds || m.delta > m.most) {
		m.most, m.adds = m.delta, true
	}
}

// answer is a result that shows the live state of the thresholds covering the
// type on the day: for a duplicate, those of its first.
type answer struct {
	result    *usance.Result
	facts     *facts
	usageType string
	day       usance.Date
}

// maxJudgings bounds how often a group is judged.
const maxJudgings = 12

// errCareful asks for the careful way.
var errCareful = fmt.Errorf("ingest: judge with keys looked up: %w", usance.ErrUndo)

// commit judges and records a group in one transaction.
func (in *Ingester) commit(ctx context.Context, requests []*request) (err error) {
	ids := licenseIDs(requests)
	start := time.Now()
	var g *group
	careful := false
	for range maxJudgings {
		err = in.store.Update(ctx, usance.Locks{Shared: ids}, func(tx usance.Tx) error {
			g = newGroup(in, requests, len(ids), careful)
			return in.contained(ctx, func() error { return g.run(ctx, tx, ids) })
		})
		// On the careful way another node may still be faster with a key.
		if !errors.Is(err, errCareful) && !errors.Is(err, usance.ErrKeyExists) {
			break
		}
		if !careful {
			careful = true
			in.metrics.careful.Inc()
		}
	}
	if err != nil {
		return err
	}
	in.counters.know(g.counters)
	in.metrics.observe(g, time.Since(start))
	for _, b := range g.batches {
		in.o.Committed(b)
	}
	return nil
}

func licenseIDs(requests []*request) []string {
	var ids []string
	for _, r := range requests {
		for i := range r.items {
			if r.items[i].err == nil {
				ids = append(ids, r.items[i].event.LicenseID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// newGroup makes the group of requests that name so many licences. As a rule
// each event is counted, and moves a counter of its licence.
func newGroup(in *Ingester, requests []*request, licenses int, careful bool) *group {
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	events := eventsOf(requests)
	return &group{
		in: in, requests: requests, now: now, careful: careful,
		facts: make(map[string]*facts, licenses), counters: make(map[usance.CounterKey]*counter, licenses),
		stagedAt: make(map[usance.EventRef]int, events), staged: make([]usance.Event, 0, events), answers: make([]answer, 0, events),
	}
}

// run is the transaction. Its order matters: facts, then counters locked, then
// keys looked up, then judged, then written.
func (g *group) run(ctx context.Context, tx usance.Tx, ids []string) error {
	if err := g.load(ctx, tx, ids); err != nil {
		return err
	}
	if err := g.lock(ctx, tx); err != nil {
		return err
	}
	if g.careful {
		if err := g.lookUp(ctx, tx); err != nil {
			return err
		}
	}
	if err := g.loadSums(ctx, tx); err != nil {
		return err
	}
	for _, r := range g.requests {
		g.judge(r)
	}
	if g.refused && !g.careful {
		return errCareful
	}
	if err := g.write(ctx, tx); err != nil {
		return err
	}
	return g.fillUsage(ctx, tx)
}

// load reads the licences, puts every event on its local day and names the
// counters of those that nothing refuses yet.
func (g *group) load(ctx context.Context, tx usance.View, ids []string) error {
	rows, err := tx.Facts(ctx, ids)
	if err != nil {
		return err
	}
	for i := range rows {
		f := &facts{Facts: rows[i]}
		if f.zone, f.from, f.to, err = f.Term(); err != nil {
			// A host's own UPDATE may leave such a row: its events alone wait for its mend.
			f.fault = usance.WrapError(err, usance.CodeLicenseNotActive, "the licence holds a term, zone or threshold that cannot be read; put it right and send the event again")
		}
		g.facts[f.License.ID] = f
	}
	for _, r := range g.requests {
		for i := range r.items {
			e := &r.items[i].event
			f := g.facts[e.LicenseID]
			if r.items[i].err != nil || f == nil || f.fault != nil {
				continue
			}
			if e.VoidOf.IsZero() {
				e.LocalDate = usance.DateOf(e.OccurredAt, f.zone)
				e.HourSlot = usance.HourSlot(e.OccurredAt, f.zone)
			}
		}
	}
	if err := g.loadClosedDays(ctx, tx); err != nil {
		return err
	}
	g.place()
	return nil
}

// place names the counters of the events that licence, clock and closed days
// let pass. Others make no counter: they are refused whatever it holds.
func (g *group) place() {
	for _, r := range g.requests {
		for i := range r.items {
			it := &r.items[i]
			f := g.facts[it.event.LicenseID]
			if it.err != nil || f == nil {
				continue
			}
			if it.refusal = g.refuse(it, f); it.refusal == nil {
				g.countersOf(f, it.event.UsageType, it.event.LocalDate)
			}
		}
	}
}

// countersOf names the counters that an event of the type and day may move. A
// threshold that is active counts from its first period on, and its counters
// are made when they are missing; of any other period, and of a retired
// threshold, only counters that exist are moved.
func (g *group) countersOf(f *facts, usageType string, day usance.Date) []*counter {
	if f.fault != nil {
		return nil
	}
	if f.lastType == usageType && f.lastDay == day {
		return f.last
	}
	var out []*counter
	for i := range f.Thresholds {
		t := &f.Thresholds[i]
		if !t.Covers(usageType) {
			continue
		}
		p := usance.PeriodOf(t.PeriodType, day, f.License.BillingAnchorDay)
		key := usance.CounterKey{LicenseID: f.License.ID, ThresholdID: t.ID, PeriodStart: p.Start}
		c := g.counters[key]
		if c == nil {
			c = &counter{key: key, period: p, threshold: t, facts: f}
			c.must = t.IsActive && p.Start >= t.EffectiveFrom
			g.counters[key] = c
		}
		out = append(out, c)
	}
	f.lastType, f.lastDay, f.last = usageType, day, out
	return out
}

// judges tells whether events are held against the counter as it is stored before
// it is moved: on the careful way, and when what its period was limited to, which
// may have ended, is known to the counter alone. Other events are let pass, and the
// limit is looked at when the counter was moved, which locks it.
func (g *group) judges(c *counter) bool {
	return g.careful || !c.must || c.period.End <= usance.DateOf(g.now, c.facts.zone)
}

// lock locks the counters that judge, if any, and where other transactions meet
// these, all that are moved: in one order, whatever each of them needs them for. Those
// that may be missing are made before any is locked: a transaction that made one
// while it held others would wait for another one that waits for those.
func (g *group) lock(ctx context.Context, tx usance.Tx) error {
	var keys []usance.CounterKey
	judged := false
	for _, c := range g.counters {
		judged = judged || g.judges(c)
		c.made = c.must
	}
	for _, c := range g.counters {
		if judged && (g.in.o.Shared || g.judges(c)) {
			keys = append(keys, c.key)
		}
	}
	if fresh := g.in.counters.unknown(g.counters); len(fresh) > 0 {
		if err := tx.EnsureCounters(ctx, fresh); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, usance.CounterKey.Compare)
	rows, err := tx.LockCounters(ctx, keys)
	if err != nil {
		return err
	}
	return g.hold(ctx, tx, rows)
}

// hold takes in counters as they are stored, with what prices those of totals.
func (g *group) hold(ctx context.Context, v usance.View, rows []usance.Counter) error {
	var totals []usance.CounterKey
	for i := range rows {
		c := g.counters[rows[i].CounterKey]
		c.state, c.exists, c.locked = rows[i], true, g.judges(c)
		if terms := rows[i].TermsOf(c.threshold); c.locked && c.threshold.PeriodType == usance.PeriodTotal && terms.Kind() == usance.KindRated {
			totals = append(totals, c.key)
		}
	}
	if len(totals) == 0 {
		return nil
	}
	revisions, err := v.Revisions(ctx, totals)
	if err != nil {
		return err
	}
	for key, of := range usance.GroupRevisions(revisions) {
		g.counters[key].settled = of
	}
	return nil
}

func (c *counter) empty() usance.Counter {
	return usance.Counter{CounterKey: c.key, PeriodEnd: c.period.End, State: usance.CounterOpen}
}

// moves tells whether events count into the counter. One that is not locked is
// added to without looking: the store leaves alone what does not move.
func (c *counter) moves() bool { return !c.locked || c.state.State.Moves() }

// lookUp finds the keys of the group that were counted before.
func (g *group) lookUp(ctx context.Context, tx usance.Tx) error {
	var refs []usance.EventRef
	for _, r := range g.requests {
		for i := range r.items {
			if e := &r.items[i].event; r.items[i].err == nil {
				refs = append(refs, usance.EventRef{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey})
			}
		}
	}
	rows, err := tx.EventsByKey(ctx, refs)
	if err != nil {
		return err
	}
	g.existing = make(map[usance.EventRef]usance.Event, len(rows))
	for i := range rows {
		g.existing[usance.EventRef{LicenseID: rows[i].LicenseID, IdempotencyKey: rows[i].IdempotencyKey}] = rows[i]
	}
	return nil
}

// loadClosedDays asks for the days that refuse events, where there can be any.
func (g *group) loadClosedDays(ctx context.Context, tx usance.View) error {
	asked := make(map[usance.Day]bool)
	var days []usance.Day
	for _, r := range g.requests {
		for i := range r.items {
			e := &r.items[i].event
			f := g.facts[e.LicenseID]
			if r.items[i].err != nil || f == nil || f.fault != nil || e.LocalDate >= f.ClosedTo {
				continue
			}
			if d := (usance.Day{LicenseID: e.LicenseID, Date: e.LocalDate}); !asked[d] {
				asked[d] = true
				days = append(days, d)
			}
		}
	}
	if len(days) == 0 {
		return nil
	}
	rows, err := tx.ClosedDays(ctx, days)
	if err != nil {
		return err
	}
	g.closed = make(map[usance.Day]bool, len(rows))
	for _, d := range rows {
		g.closed[d] = true
	}
	return nil
}

// largeEvent is the quantity, or revenue in cents, from which on an event has its
// licence's sums looked up. Smaller ones are held against the sums of counters
// only: where no threshold covers them they may pass MaxTotal, but it takes nine
// billion more of them to pass what an integer holds.
const largeEvent = usance.MaxTotal / 1_000_000

// loadSums sums up the licences that large events are of.
func (g *group) loadSums(ctx context.Context, tx usance.View) error {
	g.sums = make(map[string]*usance.Tally)
	for _, r := range g.requests {
		for i := range r.items {
			e := &r.items[i].event
			if r.items[i].err != nil || max(e.Quantity, e.RevenueCents) < largeEvent || g.sums[e.LicenseID] != nil {
				continue
			}
			rows, err := tx.DayUsage(ctx, e.LicenseID, usance.MinDate, usance.MaxDate)
			if err != nil {
				return err
			}
			var sum usance.Tally
			for j := range rows {
				sum = sum.Plus(rows[j].Tally)
			}
			g.sums[e.LicenseID] = &sum
		}
	}
	return nil
}
