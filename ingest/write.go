package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/usance/usance"
)

// write records what was staged: events, counters, and what follows from them.
func (g *group) write(ctx context.Context, tx usance.Tx) error {
	if len(g.evidence) > 0 {
		if err := tx.PutEvidence(ctx, mergeEvidence(g.evidence)); err != nil {
			return err
		}
	}
	if len(g.staged) == 0 {
		return nil
	}
	// Counters come before events, as on the careful way: of two transactions with
	// the same key none then waits for the other one's counters while it is waited for.
	if err := g.addToCounters(ctx, tx); err != nil {
		return err
	}
	g.split()
	if err := tx.AddEvents(ctx, g.batches); err != nil {
		return err
	}
	if len(g.audit) > 0 {
		if err := tx.AddAudit(ctx, g.audit); err != nil {
			return err
		}
	}
	return g.follow(ctx, tx)
}

// split puts what is staged into batches, the events of a licence together: one
// for each group of licences, since folded by groups, a few rows at a time take
// many events each.
func (g *group) split() {
	n := len(g.staged)
	groups := make([]int, n)
	order := make([]int, n)
	for i := range g.staged {
		order[i], groups[i] = i, g.in.foldedWith(g.staged[i].LicenseID)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(groups[a]-groups[b], strings.Compare(g.staged[a].LicenseID, g.staged[b].LicenseID), a-b)
	})
	sorted := make([]usance.Event, n)
	for to, from := range order {
		sorted[to] = g.staged[from]
	}
	g.staged, g.batches = sorted, nil
	for start, i := 0, 1; i <= n; i++ {
		if i == n || groups[order[i]] != groups[order[start]] {
			g.batches = append(g.batches, usance.Batch{
				ID: usance.NewID(g.now), At: g.now, Count: i - start, Group: groups[order[start]], Events: sorted[start:i],
			})
			start = i
		}
	}
}

// foldedWith gives the group of licences that a licence is folded with.
func (in *Ingester) foldedWith(licenseID string) int {
	if in.shards.Several() {
		return in.shards.Of(licenseID)
	}
	return usance.GroupOf(licenseID, in.o.Split)
}

// mergeEvidence leaves one row per licence and key, sorted, with the attempts
// of one group added up.
func mergeEvidence(rows []usance.Evidence) []usance.Evidence {
	slices.SortStableFunc(rows, func(a, b usance.Evidence) int {
		ka := usance.EventRef{LicenseID: a.LicenseID, IdempotencyKey: a.IdempotencyKey}
		kb := usance.EventRef{LicenseID: b.LicenseID, IdempotencyKey: b.IdempotencyKey}
		return ka.Compare(kb)
	})
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].LicenseID == r.LicenseID && out[n-1].IdempotencyKey == r.IdempotencyKey {
			r.Attempts += out[n-1].Attempts
			out[n-1] = r
			continue
		}
		out = append(out, r)
	}
	return out
}

// addToCounters adds the deltas and notes the counters that moved, as they are now.
func (g *group) addToCounters(ctx context.Context, tx usance.Tx) error {
	var moving []*counter
	for _, c := range g.counters {
		// One that comes to nothing in the end is looked at too, by what it was before.
		if c.moves() && (c.delta != 0 || c.adds && !c.locked) {
			moving = append(moving, c)
		}
	}
	if len(moving) == 0 {
		return nil
	}
	slices.SortFunc(moving, func(a, b *counter) int { return a.key.Compare(b.key) })
	deltas := make([]usance.CounterDelta, len(moving))
	for i, c := range moving {
		deltas[i] = usance.CounterDelta{CounterKey: c.key, Quantity: c.delta}
	}
	after, err := tx.AddToCounters(ctx, deltas)
	if err != nil {
		return err
	}
	if len(after) < len(deltas) {
		if err := g.checkMissing(ctx, tx, deltas, after); err != nil {
			return err
		}
	}
	g.moved = moving[:0]
	for i := range after {
		for moving[0].key != after[i].CounterKey { // both are in key order
			moving = moving[1:]
		}
		c := moving[0]
		moving = moving[1:]
		c.state, c.exists = after[i], true
		g.moved = append(g.moved, c)
		if !c.locked && c.tooMuch() {
			return errCareful // which finds the event that has no room
		}
	}
	return nil
}

// tooMuch tells of a counter that was moved before anything was held against it
// whether some event of the group took it past what it may come to: at the most
// that it was, since a void may have come before or after.
func (c *counter) tooMuch() bool {
	if !c.adds {
		return false
	}
	most := c.state.Quantity - c.delta + c.most
	terms := c.state.TermsOf(c.threshold)
	return most > usance.MaxTotal || terms.Kind() == usance.KindHard && most > terms.LimitWithGrace()
}

// checkMissing has the transaction run again when a counter that has to be there
// is not: somebody deleted it, and it is made then. Others do not move.
func (g *group) checkMissing(ctx context.Context, tx usance.Tx, deltas []usance.CounterDelta, after []usance.Counter) error {
	moved := make(map[usance.CounterKey]bool, len(after))
	for i := range after {
		moved[after[i].CounterKey] = true
	}
	var keys []usance.CounterKey
	for _, d := range deltas {
		if c := g.counters[d.CounterKey]; c.must && !c.exists && !moved[d.CounterKey] {
			keys = append(keys, d.CounterKey)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	there, err := tx.Counters(ctx, keys)
	if err == nil && len(there) < len(keys) {
		g.in.counters.forget(keys)
		err = fmt.Errorf("ingest: a counter is gone: %w", usance.ErrRetry)
	}
	return err
}

// follow writes the alerts and overages that the moved counters bring about.
func (g *group) follow(ctx context.Context, tx usance.Tx) error {
	revisions, err := g.revisions(ctx, tx)
	if err != nil {
		return err
	}
	causes := g.causes()
	var out usance.Consequences
	for _, c := range g.moved {
		m := usance.Moment{Now: g.now, Zone: c.facts.zone, AnchorDay: c.facts.License.BillingAnchorDay, LateGrace: g.in.o.LateGrace}
		v, err := c.threshold.Judge(c.state, revisions[c.key], m)
		if err != nil && !g.careful {
			return errCareful // which finds the event whose fee cannot be billed
		}
		if err != nil {
			return err
		}
		if err := out.Add(c.state, v, c.facts.License.Currency, causes[c.key]...); err != nil {
			return err
		}
	}
	g.alerts = len(out.Alerts)
	return out.Write(ctx, tx)
}

// causes tells who moved the counters whose period is closed, and by how much,
// in the order in which they asked: what that makes of overages is for the audit
// trail. Those of open periods only count on, and are not looked at.
func (g *group) causes() map[usance.CounterKey][]usance.Cause {
	type late struct {
		actor            string
		events, quantity int64
	}
	var moved map[usance.CounterKey][]late
	for _, c := range g.moved {
		if c.state.State == usance.CounterClosed {
			if moved == nil {
				moved = make(map[usance.CounterKey][]late)
			}
			moved[c.key] = nil
		}
	}
	if moved == nil {
		return nil
	}
	for _, r := range g.requests {
		for i := range r.items {
			if res := &r.results[i]; res.Status != usance.StatusCounted || res.Error != nil || res.Duplicate {
				continue
			}
			e := &r.items[i].event
			for _, c := range g.countersOf(g.facts[e.LicenseID], e.UsageType, e.LocalDate) {
				of, closed := moved[c.key]
				if !closed {
					continue
				}
				at := slices.IndexFunc(of, func(l late) bool { return l.actor == r.actor })
				if at < 0 {
					at, of = len(of), append(of, late{actor: r.actor})
				}
				of[at].events++
				of[at].quantity += e.Quantity
				moved[c.key] = of
			}
		}
	}
	out := make(map[usance.CounterKey][]usance.Cause, len(moved))
	for key, of := range moved {
		for _, l := range of {
			out[key] = append(out[key], usance.Cause{Actor: l.actor, Reason: fmt.Sprintf("after the period was closed (events %d, units %d)", l.events, l.quantity)})
		}
	}
	return out
}

// revisions reads the overage rows of the counters that may have any: rated
// ones that are past their limit now or were before, and closed ones.
func (g *group) revisions(ctx context.Context, tx usance.Tx) (map[usance.CounterKey][]usance.Overage, error) {
	var keys []usance.CounterKey
	for _, c := range g.moved {
		terms := c.state.TermsOf(c.threshold)
		if terms.Kind() == usance.KindRated && max(c.state.Quantity, c.state.Quantity-c.delta) > terms.LimitWithGrace() || c.state.State == usance.CounterClosed {
			keys = append(keys, c.key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	rows, err := tx.Revisions(ctx, keys)
	if err != nil {
		return nil, err
	}
	return usance.GroupRevisions(rows), nil
}

// fillUsage gives every answer the live state of its thresholds. Those that
// the group did not write are read.
func (g *group) fillUsage(ctx context.Context, tx usance.Tx) error {
	// What the host platform deleted has no thresholds to show.
	g.answers = slices.DeleteFunc(g.answers, func(a answer) bool { return a.facts == nil })
	for _, a := range g.answers {
		g.countersOf(a.facts, a.usageType, a.day)
	}
	var unread []usance.CounterKey
	for _, c := range g.counters {
		if !c.exists {
			unread = append(unread, c.key)
		}
	}
	if len(unread) > 0 {
		slices.SortFunc(unread, usance.CounterKey.Compare)
		rows, err := tx.Counters(ctx, unread)
		if err != nil {
			return err
		}
		for i := range rows {
			c := g.counters[rows[i].CounterKey]
			c.state, c.exists = rows[i], true
		}
	}
	g.showUsage()
	return nil
}

// showUsage writes the counters' states into the answers.
func (g *group) showUsage() {
	all := make([]usance.Usage, 0, len(g.answers)) // as a rule each has one
	for _, a := range g.answers {
		start := len(all)
		for _, c := range g.countersOf(a.facts, a.usageType, a.day) {
			if !c.threshold.IsActive {
				continue
			}
			if !c.exists {
				if !c.must {
					continue
				}
				c.state = c.empty()
			}
			all = append(all, c.state.Usage(c.threshold))
		}
		if end := len(all); end > start {
			a.result.Usage = all[start:end:end]
		}
	}
}
