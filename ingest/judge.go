package ingest

import (
	"github.com/usance/usance"
)

// judge decides a request's events in input order and stages what they change.
// An atomic request that holds any refusal is taken back as a whole; its
// evidence stays.
func (g *group) judge(r *request) {
	r.results = make([]usance.Result, len(r.items))
	var before snapshot
	if r.atomic {
		before = g.snapshot()
	}
	failed := false
	for i := range r.items {
		ok := g.judgeItem(&r.items[i], &r.results[i])
		failed = failed || !ok
	}
	if r.atomic && failed {
		g.refused = true // abort refuses events whose keys must be looked up first
		g.abort(r, before)
	}
}

// snapshot is what abort goes back to.
type snapshot struct {
	staged, answers, audit int
	moves                  map[*counter]move
}

func (g *group) snapshot() snapshot {
	s := snapshot{staged: len(g.staged), answers: len(g.answers), audit: len(g.audit), moves: make(map[*counter]move, len(g.counters))}
	for _, c := range g.counters {
		s.moves[c] = c.move
	}
	return s
}

// abort takes back what an atomic request staged. An event that repeats one of
// an earlier request stays a duplicate; one that repeats an event of this
// request goes with it.
func (g *group) abort(r *request, before snapshot) {
	own := make(map[usance.ID]bool)
	for i := before.staged; i < len(g.staged); i++ {
		e := &g.staged[i]
		own[e.ID] = true
		delete(g.stagedAt, usance.EventRef{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey})
	}
	for i := before.staged; i < len(g.staged); i++ {
		if sum := g.sums[g.staged[i].LicenseID]; sum != nil {
			*sum = sum.Minus(usance.Tally{Events: g.staged[i].Sign(), Quantity: g.staged[i].Quantity, RevenueCents: g.staged[i].RevenueCents})
		}
	}
	g.staged, g.audit = g.staged[:before.staged], g.audit[:before.audit]
	for c, was := range before.moves {
		c.move = was
	}
	for i := range r.results {
		res := &r.results[i]
		if res.Error == nil && own[res.EventID] {
			*res = refusal(&r.items[i].event, usance.StatusRefused,
				usance.NewError(usance.CodeAborted, "another event of the atomic batch was refused; nothing of the batch was counted"))
		}
	}
	kept := g.answers[:before.answers]
	for _, a := range g.answers[before.answers:] {
		if a.result.Error == nil || a.result.Error.Code != usance.CodeAborted {
			kept = append(kept, a)
		}
	}
	g.answers = kept
}

// judgeItem decides one event. ok is false when it is refused in any way.
func (g *group) judgeItem(it *item, res *usance.Result) (ok bool) {
	e := &it.event
	if it.err != nil {
		*res = refusal(e, usance.StatusRefused, it.err)
		return false
	}
	f := g.facts[e.LicenseID]
	ref := usance.EventRef{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey}
	if first, found := g.existing[ref]; found {
		return g.repeat(e, &first, res)
	}
	if at, found := g.stagedAt[ref]; found {
		return g.repeat(e, &g.staged[at], res)
	}
	if f == nil {
		g.refused = true
		*res = refusal(e, usance.StatusRefused, usance.LicenseNotFound(e.LicenseID))
		return false
	}
	if err := it.refusal; err != nil {
		g.refused = true
		status := usance.StatusRefused
		switch err.Code {
		case usance.CodeOutOfTerm:
			status = usance.StatusOutOfTerm
			g.keep(e, status, err.Code, "")
		case usance.CodeLicenseNotActive:
			g.keep(e, status, err.Code, "")
		}
		*res = refusal(e, status, err)
		return false
	}
	if sum := g.sums[e.LicenseID]; sum != nil && max(sum.Quantity+e.Quantity, sum.RevenueCents+e.RevenueCents) > usance.MaxTotal {
		g.refused = true
		*res = refusal(e, usance.StatusRefused, usance.Invalid("quantity", "the licence's sum would pass %d, the largest that is kept", int64(usance.MaxTotal)))
		return false
	}
	counters := g.countersOf(f, e.UsageType, e.LocalDate)
	if full, err := room(counters, e); err != nil {
		g.refused = true
		status := usance.StatusRefused
		if err.Code == usance.CodeLimitExceeded {
			status = usance.StatusBlocked
			g.keep(e, status, err.Code, full.threshold.ID)
			g.answers = append(g.answers, answer{res, f, e.UsageType, e.LocalDate})
		}
		*res = refusal(e, status, err)
		return false
	}
	for _, c := range counters {
		if c.moves() {
			c.add(e.Quantity)
		}
	}
	if sum := g.sums[e.LicenseID]; sum != nil {
		*sum = sum.Plus(usance.Tally{Events: e.Sign(), Quantity: e.Quantity, RevenueCents: e.RevenueCents})
	}
	g.stagedAt[ref] = len(g.staged)
	g.staged = append(g.staged, *e)
	if it.audit != nil {
		g.audit = append(g.audit, *it.audit)
	}
	*res = usance.Result{
		EventID: e.ID, LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey,
		Tracked: true, Status: usance.StatusCounted,
	}
	g.answers = append(g.answers, answer{res, f, e.UsageType, e.LocalDate})
	return true
}

// refuse applies what licence, clock and closed days say against an event. Its
// age is measured from its receipt: waiting in the queue makes no event late.
func (g *group) refuse(it *item, f *facts) *usance.Error {
	e := &it.event
	if f.fault != nil {
		return f.fault
	}
	if e.VoidOf.IsZero() && e.OccurredAt.After(e.ReceivedAt.Add(usance.MaxAhead)) {
		err := usance.Invalid("occurredAt", "lies more than five minutes ahead of the server's clock; check the sender's clock")
		err.Retryable = true // its time comes
		return err
	}
	if !it.backdate && e.OccurredAt.Before(e.ReceivedAt.Add(-g.in.o.LateGrace)) {
		return usance.NewError(usance.CodeBackdateForbidden,
			"the event is older than %s; send it with an admin key or one of scope %q", g.in.o.LateGrace, usance.ScopeBackdate)
	}
	if err := f.License.Admit(e.OccurredAt, f.from, f.to); err != nil {
		return err
	}
	if g.closed[usance.Day{LicenseID: e.LicenseID, Date: e.LocalDate}] {
		return usance.NewError(usance.CodeTooLate, "the local day %s is closed, since its raw events are past the retention; an event of it cannot be counted any more", e.LocalDate)
	}
	return nil
}

// room looks for a counter that has none for the event. Voids always fit a
// limit. On the way without locks most counters are not known yet; write looks at
// their limits and sums.
func room(counters []*counter, e *usance.Event) (*counter, *usance.Error) {
	for _, c := range counters {
		if !c.locked || !c.moves() {
			continue
		}
		after := c.state.Quantity + c.delta + e.Quantity
		terms := c.state.TermsOf(c.threshold)
		if e.Quantity > 0 && terms.Kind() == usance.KindHard && after > terms.LimitWithGrace() {
			remedy := "raise the limit or wait for the next period"
			if c.threshold.PeriodType == usance.PeriodTotal {
				remedy = "raise the limit"
			}
			return c, usance.NewError(usance.CodeLimitExceeded,
				"the %s limit of %d %s has room for %d more; %s",
				c.threshold.PeriodType, terms.LimitWithGrace(), c.threshold.UsageType,
				max(0, terms.LimitWithGrace()-c.state.Quantity-c.delta), remedy)
		}
		if after > terms.LimitWithGrace() && terms.Kind() == usance.KindRated {
			then := c.state
			then.Quantity = after
			if _, _, err := c.threshold.Due(then, c.settled); err != nil {
				return c, usance.Invalid("quantity", "the fee of the period's overage would pass what can be billed")
			}
		}
		if after > usance.MaxTotal {
			return c, usance.Invalid("quantity", "the %s sum would pass %d, the largest that is kept", c.threshold.PeriodType, int64(usance.MaxTotal))
		}
	}
	return nil, nil
}

// repeat answers an event whose key was counted before: the first answer
// again, or a conflict when it is not the same event.
func (g *group) repeat(e, first *usance.Event, res *usance.Result) bool {
	if e.PayloadHash != first.PayloadHash {
		g.refused = true
		*res = refusal(e, usance.StatusRefused, usance.NewError(usance.CodeIdempotencyConflict,
			"the idempotency key was used for another event; send this one under a key of its own"))
		return false
	}
	*res = usance.Result{
		EventID: first.ID, LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey,
		Tracked: true, Duplicate: true, Status: usance.StatusCounted,
	}
	g.answers = append(g.answers, answer{res, g.facts[e.LicenseID], first.UsageType, first.LocalDate})
	return true
}

// keep stages evidence of an attempt that was not counted.
func (g *group) keep(e *usance.Event, status usance.EventStatus, code usance.Code, thresholdID string) {
	g.evidence = append(g.evidence, usance.Evidence{
		Event: *e, Status: status, Code: code, ThresholdID: thresholdID, Attempts: 1, FirstAt: g.now, LastAt: g.now,
	})
}

func refusal(e *usance.Event, status usance.EventStatus, err *usance.Error) usance.Result {
	return usance.Result{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey, Status: status, Error: err}
}
