package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
)

var sources = [][2]string{
	{"", "(direct)"}, {"", "(direct)"}, {"https://News.example.com/a?b", "news.example.com"},
	{"http://blog.example:8080", "blog.example"}, {"a b", "(invalid)"},
}

// event makes a new event, or one that was sent before, changed or not.
func (r *run) event(l *License, keyed bool) Event {
	if len(r.sent) > 0 && r.chance(25) {
		e := r.sent[max(0, len(r.sent)-1-r.rng.IntN(min(len(r.sent), 60)))]
		if r.chance(15) {
			e.Quantity++
		}
		if r.chance(5) {
			e.Revenue++
		}
		return e
	}
	src := pick(r, sources)
	e := Event{
		License: l.ID, Type: pick(r, types), Quantity: int64(r.rng.IntN(12)), Revenue: int64(r.rng.IntN(3) * 50),
		Platform: pick(r, []string{"", "web", "tv"}), Device: pick(r, []string{"", "mobile"}),
		Geo: pick(r, []string{"", "DE", "US"}), Referrer: src[0], Source: src[1],
		Session: pick(r, []string{"", "s1", "s2", "s3", "s4"}),
	}
	if r.chance(4) {
		e.Quantity = 100 + int64(r.rng.IntN(200))
	}
	if r.chance(1) {
		e.Quantity = 1_000_000_000_000
	}
	if r.chance(1) {
		e.License = "nobody"
	}
	if r.chance(3) {
		e.Invalid = pick(r, []string{"quantity", "revenue", "type", "key"})
	}
	if keyed || !r.chance(5) {
		r.keys++
		e.Key = fmt.Sprintf("k%d", r.keys)
		if r.chance(10) {
			e.Key = strings.Repeat("long", 10) + e.Key
		}
	}
	e.At = r.occurrence(l)
	if e.Key != "" {
		r.sent = append(r.sent, e)
	}
	return e
}

// occurrence dates an event: not at all, now, late, at a border, out of bounds.
func (r *run) occurrence(l *License) time.Time {
	today := l.LocalDay(r.now)
	at := r.now
	switch n := r.rng.IntN(100); {
	case n < 45:
		return time.Time{}
	case n < 60:
		at = at.Add(-time.Duration(r.rng.Int64N(int64(time.Hour))))
	case n < 70:
		at = at.Add(-time.Duration(r.rng.Int64N(int64(day + time.Hour))))
	case n < 80:
		at = at.Add(-time.Duration(r.rng.Int64N(int64(8 * day))))
	case n < 85:
		at = at.Add(-time.Duration(r.rng.Int64N(int64(40 * day))))
	case n < 95:
		at = l.Midnight(today - r.rng.IntN(3)).Add(pick(r, []time.Duration{-1000, 0, 90 * time.Minute, 2 * time.Hour, 150 * time.Minute}))
	case n < 98:
		at = at.Add(4*time.Minute + time.Duration(r.rng.IntN(59))*time.Second)
	default:
		at = at.Add(5*time.Minute + time.Microsecond)
	}
	return at.UTC().Truncate(time.Microsecond)
}

// request is what one client sends.
type request struct {
	events           []Event
	atomic, backdate bool
}

func (r *run) request(keyed bool, licenses ...*License) request {
	n := 1
	if r.chance(35) {
		n = 2 + r.rng.IntN(6)
	}
	q := request{atomic: r.chance(25), backdate: r.chance(60)}
	for range n {
		q.events = append(q.events, r.event(pick(r, licenses), keyed))
	}
	if n > 1 && r.chance(15) { // a repeat within the request
		q.events = append(q.events, q.events[0])
		if q.events[0].Key == "" {
			q.events = q.events[:n]
		}
	}
	return q
}

func (q *request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "events atomic %t late %t:", q.atomic, q.backdate)
	for _, e := range q.events {
		at := "now"
		if !e.At.IsZero() {
			at = e.At.Format(time.RFC3339Nano)
		}
		fmt.Fprintf(&b, "\n    %s %s %d key %q at %s %s", e.License, e.Type, e.Quantity, e.Key, at, e.Invalid)
	}
	return b.String()
}

func (q *request) product() ingest.Request {
	out := ingest.Request{Atomic: q.atomic, Backdate: q.backdate}
	for i := range q.events {
		out.Events = append(out.Events, q.events[i].product())
	}
	return out
}

// touched are the licences that a request names.
func (r *run) touched(q *request) (out []*License) {
	for _, l := range r.licenses {
		if slices.ContainsFunc(q.events, func(e Event) bool { return e.License == l.ID }) {
			out = append(out, l)
		}
	}
	return out
}

// recorded are those of the request's events that its first transactions hold:
// all, but where licences are distributed over shards, each of which has one.
func (r *run) recorded(q *request, commits int) (out []Event) {
	shards := r.raw.Shards()
	if !shards.Several() || q.atomic {
		return q.events
	}
	turn := make(map[int]int)
	for _, e := range q.events {
		shard := shards.Of(e.License)
		if _, ok := turn[shard]; !ok {
			turn[shard] = len(turn)
		}
		if turn[shard] < commits {
			out = append(out, e)
		}
	}
	return out
}

func (r *run) stepEvents() error {
	armed := r.arm("AddEvents", "AddToCounters", "EnsureCounters", "LockCounters", "EventsByKey", "PutEvidence", "PutCounters",
		"PutOverages", "PutOverages", "AddAlerts", "WarnThresholds", "Revisions")
	q := r.request(armed, r.licenses...)
	i := r.rng.IntN(2)
	r.begin("node %d %s", i, q.String())
	got, err := r.nodes[i].in.Track(r.ctx, q.product())
	died, commits := r.store.disarm()
	if died {
		if err == nil {
			return fmt.Errorf("answered %v by a process that is dead", got)
		}
		if err := r.crashed(i); err != nil {
			return err
		}
		if commits > 0 {
			r.model.Track(r.now, r.recorded(&q, commits), q.atomic, q.backdate)
			if err := r.learn(r.touched(&q)...); err != nil {
				return err
			}
		}
		if err := r.compare(false, r.touched(&q)...); err != nil || r.chance(30) {
			return err
		}
		// The client asks again.
		r.begin("again")
		if got, err = r.nodes[i].in.Track(r.ctx, q.product()); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	want := r.model.Track(r.now, q.events, q.atomic, q.backdate)
	if err := sameResults(got, want); err != nil {
		return err
	}
	if !died && r.chance(60) {
		return nil // seen by a later step
	}
	return r.compare(false, r.touched(&q)...)
}

// stepConcurrent sends several requests at once. Each is about a licence of
// its own, so that every order gives the same; one of them may be sent twice,
// and then one of its two answers is that of a repeat.
func (r *run) stepConcurrent() error {
	var all []request
	for _, l := range r.licenses {
		q := r.request(false, l)
		q.events = slices.DeleteFunc(q.events, func(e Event) bool { return e.License != l.ID || e.Key == "" })
		if len(q.events) > 0 {
			all = append(all, q)
		}
	}
	if len(all) == 0 {
		return nil
	}
	r.begin("at once:")
	for i := range all {
		r.note("  %s", all[i].String())
	}
	twin := r.chance(50)
	if twin {
		all = append(all, all[0])
		r.note("  the first of them twice")
	}
	got := make([][]usance.Result, len(all))
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i := range all {
		n := r.nodes[r.rng.IntN(2)]
		wait.Go(func() { got[i], errs[i] = n.in.Track(r.ctx, all[i].product()) })
	}
	wait.Wait()
	if twin {
		last := len(all) - 1
		if duplicates(got[0]) > duplicates(got[last]) {
			got[0], got[last] = got[last], got[0]
		}
	}
	for i := range all {
		if errs[i] != nil {
			return errs[i]
		}
		want := r.model.Track(r.now, all[i].events, all[i].atomic, all[i].backdate)
		if err := sameResults(got[i], want); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
	}
	return r.compare(false, r.licenses...)
}

func duplicates(rows []usance.Result) (n int) {
	for i := range rows {
		if rows[i].Duplicate {
			n++
		}
	}
	return n
}

func (r *run) stepVoid() error {
	l := pick(r, r.licenses)
	v := ingest.VoidRequest{LicenseID: l.ID, IdempotencyKey: "nothing", Reason: "because", Actor: "sim"}
	var of *Event
	if len(l.Events) > 0 && !r.chance(3) {
		of = l.Events[max(0, len(l.Events)-1-r.rng.IntN(min(len(l.Events), 40)))]
		switch {
		case of.ID != "" && (of.Void != nil || r.chance(50)):
			id, err := usance.ParseID(of.ID)
			if err != nil {
				return err
			}
			v.EventID = id
			if of.Pruned {
				of = nil
			}
		case of.Void != nil:
			of = nil
		default:
			v.IdempotencyKey = of.Key
			of = l.Find(of.Key)
		}
	}
	r.arm("AddEvents", "AddToCounters", "AddAudit", "LockCounters", "EventsByKey", "PutOverages", "Revisions")
	i := r.rng.IntN(2)
	r.begin("node %d void %s key %q id %s", i, l.ID, v.IdempotencyKey, v.EventID)
	got, err := r.nodes[i].in.Void(r.ctx, v)
	died, commits := r.store.disarm()
	if died {
		if err == nil {
			return fmt.Errorf("answered %v by a process that is dead", got)
		}
		if commits > 0 {
			r.model.Void(r.now, l, of)
			if err := r.learn(l); err != nil {
				return err
			}
		}
		if err := r.crashed(i); err != nil {
			return err
		}
		return r.compare(false, l)
	}
	want := r.model.Void(r.now, l, of)
	if err != nil {
		return same("void", code(err), want.Code)
	}
	if err := sameResults([]usance.Result{got}, []Result{want}); err != nil {
		return err
	}
	return r.compare(false, l)
}

// learn reads the ids of events whose answer was lost.
func (r *run) learn(licenses ...*License) error {
	return r.raw.View(r.ctx, func(v usance.View) error {
		for _, l := range licenses {
			err := r.eachEvent(v, l, func(row *usance.Event) {
				for _, e := range l.Events {
					original := e.Void != nil && e.Void.ID == row.VoidOf.String() || e.Void == nil && e.Key == row.IdempotencyKey
					if e.ID == "" && !e.Pruned && original {
						e.ID = row.ID.String()
					}
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *run) stepCheck() error {
	l := pick(r, r.licenses)
	e := r.event(l, true)
	if r.chance(50) {
		e.At = time.Time{}
	}
	if e.Invalid != "type" {
		e.Invalid = ""
	}
	r.begin("check %s %s %d at %s", e.License, e.Type, e.Quantity, e.At)
	p := e.product()
	got, err := r.nodes[0].in.Check(r.ctx, p.LicenseID, p.UsageType, p.Quantity, p.OccurredAt)
	want := r.model.Check(r.now, e)
	if err != nil {
		return same("check", code(err), want.Code)
	}
	refusal := ""
	if got.Error != nil {
		refusal = string(got.Error.Code)
	}
	return same("check", fmt.Sprint(got.Allowed, refusal, usages(got.Usage)), fmt.Sprint(want.Code == "", want.Code, want.Usage))
}
