package ingest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
)

// maxTotalTries bounds how often a total is looked at anew when others of the
// same day are sent at the same time.
const maxTotalTries = 8

// Totals counts daily totals and answers a result for each, in order; of one day
// and type, one after the other, as if each were sent by itself. A total
// is one event of a key made of date, type and revision; a total that differs
// from the day's former one voids that in the same transaction, and one of no
// units does nothing else. It is refused as CONFLICT where the day holds other
// events, which it would count twice, or where the same source gives two totals
// for the day. It takes the way of every event past licence, limits and closed
// days. actor is whom the audit trail names for voids.
func (in *Ingester) Totals(ctx context.Context, totals []usance.DailyTotal, actor string) ([]usance.TotalResult, error) {
	if len(totals) == 0 {
		return nil, usance.Invalid("totals", "must hold at least one total")
	}
	if len(totals) > usance.MaxBatch {
		return nil, usance.NewError(usance.CodeTooLarge, "a request holds at most %d totals; send several", usance.MaxBatch)
	}
	out := make([]usance.TotalResult, len(totals))
	var open []int // those that are not decided yet
	for i := range totals {
		t := &totals[i]
		if err := t.Validate(); err != nil {
			var known *usance.Error
			if !errors.As(err, &known) {
				known = usance.WrapError(err, usance.CodeInternal, "the total could not be checked")
			}
			out[i] = refuseTotal(t, known)
			continue
		}
		open = append(open, i)
	}
	for tries := 0; len(open) > 0 && tries < maxTotalTries; {
		first, later := firstOfEach(totals, open)
		again, err := in.tryTotals(ctx, totals, first, out, actor)
		if err != nil {
			return nil, err
		}
		if len(again) > 0 {
			tries++
		}
		open = append(again, later...)
		slices.Sort(open)
	}
	for _, i := range open {
		out[i] = refuseTotal(&totals[i], usance.NewError(usance.CodeUnavailable, "other totals of the day are being counted; send this one again"))
	}
	return out, nil
}

// firstOfEach divides what is open into the first total of each day and type,
// and those that are judged by what that one makes of the day.
func firstOfEach(totals []usance.DailyTotal, open []int) (first, later []int) {
	seen := make(map[usance.RollupKey]bool, len(open))
	for _, i := range open {
		key := usance.RollupKey{LicenseID: totals[i].LicenseID, Date: totals[i].Date, UsageType: totals[i].UsageType}
		if seen[key] {
			later = append(later, i)
		} else {
			first, seen[key] = append(first, i), true
		}
	}
	return first, later
}

func refuseTotal(t *usance.DailyTotal, err *usance.Error) usance.TotalResult {
	return usance.TotalResult{Result: usance.Result{LicenseID: t.LicenseID, Status: usance.StatusRefused, Error: err}}
}

// totalDay is what is known of the day of a total.
type totalDay struct {
	zone   *time.Location
	from   time.Time          // of the licence's term
	former usance.FormerTotal // the latest revision; 0 when there is none
	others bool               // the day holds events that are no totals
	closed bool               // it refuses events
}

// tryTotals sends the open totals by what their days hold now, and gives those
// that another request was faster with.
func (in *Ingester) tryTotals(ctx context.Context, totals []usance.DailyTotal, open []int, out []usance.TotalResult, actor string) (again []int, err error) {
	byLicense := make(map[string][]int, 1) // places in open
	for n, i := range open {
		byLicense[totals[i].LicenseID] = append(byLicense[totals[i].LicenseID], n)
	}
	days := make([]totalDay, len(open))
	err = in.store.View(ctx, func(v usance.View) error {
		for id, places := range byLicense {
			of := make([]*usance.DailyTotal, len(places))
			for j, n := range places {
				of[j] = &totals[open[n]]
			}
			found, err := readDays(ctx, v, id, of)
			if err != nil {
				return err
			}
			for j, n := range places {
				days[n] = found[j]
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	requests := make([]*request, len(open))
	var together []*request
	for n, i := range open {
		if requests[n] = in.totalRequest(&totals[i], &days[n], &out[i], actor); requests[n] != nil {
			together = append(together, in.divide(requests[n])...) // of one licence: not divided
		}
	}
	if err := in.send(ctx, together); err != nil {
		return nil, err
	}
	for n, i := range open {
		r := requests[n]
		if r == nil {
			continue
		}
		if err := r.wait(ctx); err != nil {
			return nil, err
		}
		if !takeTotal(&out[i], r) {
			again = append(again, i)
		}
	}
	return again, nil
}

// readDays looks at the days of a licence's totals. A licence that is not there,
// or cannot be read, is the judge's to refuse.
func readDays(ctx context.Context, v usance.View, licenseID string, totals []*usance.DailyTotal) ([]totalDay, error) {
	out := make([]totalDay, len(totals))
	for i := range out {
		out[i].zone = time.UTC
	}
	facts, err := v.Facts(ctx, []string{licenseID})
	if err != nil || len(facts) == 0 {
		return out, err
	}
	zone, from, _, err := facts[0].Term()
	if err != nil {
		return out, nil //nolint:nilerr // judged with the event
	}
	days := make(map[usance.Day]bool, len(totals)) // holds others
	for i, t := range totals {
		out[i].zone, out[i].from = zone, from
		days[usance.Day{LicenseID: licenseID, Date: t.Date}] = false
	}
	if err := readFormer(ctx, v, totals, out); err != nil {
		return out, err
	}
	for day := range days {
		if days[day], err = holdsOthers(ctx, v, day); err != nil {
			return out, err
		}
	}
	closed, err := v.ClosedDays(ctx, slices.Collect(maps.Keys(days)))
	for i, t := range totals {
		day := usance.Day{LicenseID: licenseID, Date: t.Date}
		out[i].others, out[i].closed = days[day], slices.Contains(closed, day)
	}
	return out, err
}

// readFormer finds the latest revision of each total, whose keys are numbered.
func readFormer(ctx context.Context, v usance.View, totals []*usance.DailyTotal, out []totalDay) error {
	left := make([]int, len(totals))
	for i := range left {
		left[i] = i
	}
	for n := 1; len(left) > 0; n++ {
		refs := make([]usance.EventRef, len(left))
		for j, i := range left {
			e := totals[i].Event(out[i].zone, out[i].from, n)
			refs[j] = usance.EventRef{LicenseID: e.LicenseID, IdempotencyKey: e.IdempotencyKey}
		}
		rows, err := v.EventsByKey(ctx, refs)
		if err != nil {
			return err
		}
		there := make(map[usance.EventRef]bool, len(rows))
		for i := range rows {
			there[usance.EventRef{LicenseID: rows[i].LicenseID, IdempotencyKey: rows[i].IdempotencyKey}] = true
		}
		var more []int
		for j, i := range left {
			if there[refs[j]] {
				out[i].former.Revision = n
				more = append(more, i)
			}
		}
		left = more
	}
	for i, t := range totals {
		f := &out[i].former
		if f.Revision == 0 {
			continue
		}
		e := t.Event(out[i].zone, out[i].from, f.Revision)
		var err error
		if f.Event, err = v.EventByKey(ctx, e.LicenseID, e.IdempotencyKey); err != nil {
			return err
		}
	}
	return nil
}

// holdsOthers tells whether a day holds events that are no daily totals, other
// than such as were taken back. A day that takes totals holds few events, and
// one that does not shows it soon.
func holdsOthers(ctx context.Context, v usance.View, day usance.Day) (bool, error) {
	f := usance.EventFilter{LicenseID: day.LicenseID, From: day.Date, To: day.Date + 1}
	page := usance.Page{Limit: 100}
	for {
		events, next, err := v.Events(ctx, f, page)
		if err != nil {
			return false, err
		}
		for i := range events {
			if e := &events[i]; !e.IsTotal() && e.VoidOf.IsZero() && !e.Voided {
				return true, nil
			}
		}
		if next == "" {
			return false, nil
		}
		page.Cursor = next
	}
}

// totalRequest makes the request that brings the day to the total; nil when
// there is nothing to send, and the result says why.
func (in *Ingester) totalRequest(t *usance.DailyTotal, d *totalDay, out *usance.TotalResult, actor string) *request {
	former := &d.former
	live := former.Revision > 0 && !former.Event.Voided
	*out = usance.TotalResult{Revision: former.Revision}
	switch {
	case usance.DateOf(t.Date.Start(d.zone), d.zone) != t.Date: // it would count on the next
		*out = refuseTotal(t, usance.Invalid("date", "the clocks of the licence's zone, %s, skipped the day %s", d.zone, t.Date))
		return nil
	case live && former.Elsewhere(t) != 0:
		*out = refuseTotal(t, usance.NewError(usance.CodeConflict,
			"line %d of the same source gives a total of %s for %s already; add the two up in one line", former.Elsewhere(t), t.UsageType, t.Date))
		return nil
	case live && former.Same(t):
		out.Result = usance.Result{
			EventID: former.Event.ID, LicenseID: t.LicenseID, IdempotencyKey: former.Event.IdempotencyKey,
			Tracked: true, Duplicate: true, Status: usance.StatusCounted,
		}
		return nil
	case !live && t.Quantity == 0 && d.closed: // what it held may be pruned
		*out = refuseTotal(t, usance.NewError(usance.CodeTooLate, "the local day %s is closed: its raw events are due for pruning", t.Date))
		return nil
	case !live && t.Quantity == 0:
		out.Result = usance.Result{LicenseID: t.LicenseID, Tracked: true, Duplicate: true, Status: usance.StatusVoided}
		return nil
	case d.others:
		*out = refuseTotal(t, usance.NewError(usance.CodeConflict,
			"the local day %s holds events that are no daily totals, whose usage a total would count twice; leave the day out, or void them first", t.Date))
		return nil
	}
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	r := &request{actor: actor}
	add := func(e usance.Event, audit *usance.AuditEntry) {
		e.ID, e.ReceivedAt = usance.NewID(now), now
		r.items = append(r.items, item{event: e, backdate: true, audit: audit})
	}
	if live {
		out.VoidedEvent = former.Event.ID
		audit := usance.NewAuditEntry(now, actor, "event.void", former.Event.ID.String())
		audit.LicenseID, audit.Reason = t.LicenseID, "a daily total was corrected"
		add(former.Event.Void(), &audit)
	}
	if t.Quantity > 0 {
		out.Revision = former.Revision + 1
		add(t.Event(d.zone, d.from, out.Revision), nil)
	}
	r.atomic = len(r.items) > 1 // the day is never left without its total
	return r
}

// takeTotal reads the answer of the request; false when another total of the day
// and type was counted since the day was read.
func takeTotal(out *usance.TotalResult, r *request) bool {
	last := len(r.results) - 1
	out.Result = r.results[last]
	for i := range r.results {
		e := r.results[i].Error
		switch {
		case e == nil || e.Code == usance.CodeAborted:
		case e.Code == usance.CodeIdempotencyConflict:
			return false
		default:
			out.Result = r.results[i]
		}
	}
	if out.Error != nil {
		out.Revision = 0
	}
	if out.Error != nil || out.Duplicate { // nothing was taken back, or by another request
		out.VoidedEvent = usance.ID{}
	}
	if out.Error == nil && r.items[last].event.Quantity < 0 {
		out.Status = usance.StatusVoided
	}
	return true
}
