package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
)

// starts are days before something happens to the calendar: DST in New York
// and on Lord Howe (by half an hour), a leap day, ends of months and years.
var starts = []time.Time{
	time.Date(2024, 1, 29, 0, 0, 0, 0, time.UTC), time.Date(2024, 2, 27, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 3, 8, 0, 0, 0, 0, time.UTC), time.Date(2024, 3, 29, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 4, 4, 0, 0, 0, 0, time.UTC), time.Date(2024, 10, 3, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 12, 29, 0, 0, 0, 0, time.UTC),
	time.Date(2023, 2, 26, 0, 0, 0, 0, time.UTC), time.Date(2024, 6, 13, 0, 0, 0, 0, time.UTC),
}

var (
	zones   = []string{"UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	anchors = []int{1, 15, 31}
	types   = []string{"view", "download", "print"}
)

// step is something that can happen, and how often.
type step struct {
	weight int
	do     func(*run) error
}

var steps = []step{
	{40, (*run).stepEvents},
	{6, (*run).stepConcurrent},
	{10, (*run).stepVoid},
	{8, (*run).stepFold},
	{5, (*run).stepPartialFold},
	{4, (*run).stepRecalculate},
	{2, (*run).stepVerify},
	{7, (*run).stepCreate},
	{8, (*run).stepUpdate},
	{4, (*run).stepActivate},
	{5, (*run).stepLicense},
	{6, (*run).stepClose},
	{7, (*run).stepMove},
	{3, (*run).stepRetain},
	{1, (*run).stepPrune},
	{2, (*run).stepDamage},
	{4, (*run).stepCheck},
}

var totalWeight = func() (sum int) {
	for _, s := range steps {
		sum += s.weight
	}
	return sum
}()

// prepare puts the licences and their first thresholds.
func (r *run) prepare() error {
	for i := range 2 + r.rng.IntN(3) {
		zone, err := time.LoadLocation(zones[(i+r.rng.IntN(4))%4])
		if err != nil {
			return err
		}
		l := NewLicense(fmt.Sprintf("lic%d", i), zone, pick(r, anchors))
		b := body{"brandId": "b", "assetId": "a", "status": l.Status, "timezone": zone.String(), "billingAnchorDay": l.Anchor}
		if _, _, err := r.catalog.PutLicense(r.ctx, l.ID, b.bytes(), "sim"); err != nil {
			return err
		}
		l.Audit["license.put"]++
		r.model.Licenses[l.ID] = l
		r.licenses = append(r.licenses, l)
		r.note("%s %s licence %s in %s, anchor %d", r.now.Format(time.RFC3339Nano), "put", l.ID, zone, l.Anchor)
		for range r.rng.IntN(4) {
			if err := r.create(l, false); err != nil {
				return err
			}
		}
	}
	return r.compare(true, r.licenses...)
}

// next moves the clock and takes one step.
func (r *run) next() error {
	r.advance()
	n := r.rng.IntN(totalWeight)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			return s.do(r)
		}
	}
	return nil
}

// advance moves the clock: mostly a little, sometimes to a border of a
// licence's calendar, and now and then back.
func (r *run) advance() {
	l := pick(r, r.licenses)
	was := r.now
	around := func(d Day) time.Time {
		return l.Midnight(d).Add(pick(r, []time.Duration{-time.Second, -time.Microsecond, 0, time.Microsecond, time.Hour}))
	}
	today := l.LocalDay(r.now)
	switch n := r.rng.IntN(100); {
	case n < 60:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64(10 * time.Minute))))
	case n < 76:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64(12 * time.Hour))))
	case n < 86:
		r.now = around(today + 1)
	case n < 89:
		_, end := l.PeriodOf(pick(r, []string{"monthly", "weekly"}), today)
		r.now = around(end)
	case n < 93:
		r.now = r.now.Add(day + time.Duration(r.rng.Int64N(int64(2*day))))
	case n < 94:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64(35 * day))))
	case n < 98:
		r.now = r.now.Add(-time.Duration(r.rng.Int64N(int64(10 * time.Minute))))
	}
	// Never the same moment twice, so that ids sort as they were made.
	r.now = r.now.Add(time.Duration(1+r.rng.IntN(1000)) * time.Millisecond).Truncate(time.Microsecond)
	if r.now.Before(was) {
		r.back = append(r.back, [2]time.Time{r.now, r.latest})
	}
	if r.now.After(r.latest) {
		r.latest = r.now
	}
}

// twice tells whether the clock showed the instant more than once: then the
// order of receipt is not that of the clock.
func (r *run) twice(at time.Time) bool {
	return slices.ContainsFunc(r.back, func(span [2]time.Time) bool {
		return !at.Before(span[0].Add(-time.Second)) && !at.After(span[1].Add(time.Second))
	})
}

// arm chooses where this step crashes, if it does.
func (r *run) arm(points ...string) bool {
	return r.chance(20) && r.surely(append(points, beforeUpdate, beforeCommit, afterCommit, duringView)...)
}

func (r *run) surely(points ...string) bool {
	r.store.arm(pick(r, points), pick(r, []int{0, 0, 0, 1, 2}))
	return true
}

func (r *run) begin(format string, args ...any) {
	r.note("%s %s", r.now.Format("2006-01-02T15:04:05.000000Z"), fmt.Sprintf(format, args...))
}

// ---- Events.

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
			r.model.Track(r.now, q.events, q.atomic, q.backdate)
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

// ---- Folding.

func (r *run) stepFold() error {
	r.arm("TakePending", "BatchEvents", "EnsureRollups", "LockRollups", "PutRollups", "MergeSessions", "RaiseVersions")
	i := r.rng.IntN(2)
	r.begin("node %d folds", i)
	_, err := r.nodes[i].fold.Flush(r.ctx)
	if died, _ := r.store.disarm(); died {
		if err := r.crashed(i); err != nil {
			return err
		}
		return r.sameUsageOfAll()
	}
	if err != nil {
		return err
	}
	return r.folded()
}

// folded tells whether nothing is left to fold.
func (r *run) folded() error {
	err := r.raw.View(r.ctx, func(v usance.View) error {
		s, err := v.Status(r.ctx)
		if err == nil && (s.PendingBatches != 0 || s.PendingEvents != 0) {
			err = fmt.Errorf("%d events in %d batches are pending after a fold", s.PendingEvents, s.PendingBatches)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.sameUsageOfAll()
}

// stepPartialFold has a third node fold a few of the batches that it finds,
// and die.
func (r *run) stepPartialFold() error {
	f := fold.New(r.store, fold.Options{Now: r.clock, LateGrace: lateGrace, Bite: 1})
	n := 1 + r.rng.IntN(4)
	r.begin("a third node folds %d batches and dies", n)
	r.store.arm(beforeUpdate, n)
	_, err := f.Flush(r.ctx)
	if died, _ := r.store.disarm(); err != nil && !died {
		return err
	}
	return r.sameUsageOfAll()
}

// untilDone repeats, after a crash, what a job would repeat, and tells whether
// it crashed: then its own counts mean nothing.
func (r *run) untilDone(do func() error) (crashed bool, err error) {
	err = do()
	if died, _ := r.store.disarm(); !died {
		return false, err
	}
	if err := r.crashed(0); err != nil {
		return true, err
	}
	if err := r.sameUsageOfAll(); err != nil {
		return true, fmt.Errorf("after the crash: %w", err)
	}
	return true, do()
}

func (r *run) sameUsageOfAll() error {
	return r.raw.View(r.ctx, func(v usance.View) error {
		for _, l := range r.licenses {
			if err := r.sameUsage(v, l); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *run) stepRecalculate() error {
	l := pick(r, r.licenses)
	today := l.LocalDay(r.now)
	from := today - r.rng.IntN(12)
	to := from + 1 + r.rng.IntN(12)
	if r.chance(10) {
		from, to = today-60, today+2
	}
	r.arm("AddAudit")
	r.begin("recalculate %s %s..%s", l.ID, showDay(from), showDay(to))
	var got fold.Recalculation
	crashed, err := r.untilDone(func() (err error) {
		got, err = r.nodes[0].fold.Recalculate(r.ctx, l.ID, usance.Date(from), usance.Date(to), "sim")
		return err
	})
	if err != nil {
		return err
	}
	sealed := 0
	for d := range l.Sealed {
		if from <= d && d < to {
			sealed++
		}
	}
	if got.Changed != 0 || got.Counters != 0 || got.Days != to-from-sealed || len(got.Sealed) != sealed {
		return fmt.Errorf("recalculated (again: %t) %+v; nothing should change, and %d days are sealed", crashed, got, sealed)
	}
	r.model.Recalculate(r.now, l, from, to)
	return r.compare(false, l)
}

func (r *run) stepVerify() error {
	r.begin("verify")
	d, err := r.nodes[1].fold.VerifyDays(r.ctx, 20)
	if err == nil && d.Drifted != 0 {
		err = fmt.Errorf("drift: %+v", d)
	}
	return err
}

// ---- Thresholds and licences.

func (r *run) terms() Terms {
	t := Terms{Limit: int64(5 + r.rng.IntN(60)), Grace: pick(r, []int64{0, 0, 10, 33, 100})}
	if r.chance(5) {
		t.Limit = 1_000_000
	}
	switch n := r.rng.IntN(100); {
	case n < 40:
	case n < 75:
		t.Allow, t.Rate = true, pick(r, []string{"5", "2.5", "0.3333", "0", "120"})
	case n < 85:
		t.Allow, t.Tiers = true, []Tier{{5, "10"}, {20, "0.5"}, {0, "0.25"}}
	default:
		t.Allow = true
	}
	return t
}

func (r *run) levels() []int {
	return slices.Clone(pick(r, [][]int{{50, 75, 90, 100}, {50, 75, 90, 100}, {80}, {10, 100, 200}, {}}))
}

var periods = []string{"daily", "daily", "weekly", "weekly", "monthly", "monthly", "monthly", "quarterly", "yearly", "total"}

func (r *run) stepCreate() error { return r.create(pick(r, r.licenses), true) }

func (r *run) create(l *License, mayCrash bool) error {
	if err := r.compare(false, l); err != nil {
		return err
	}
	t := Threshold{License: l, Type: pick(r, append([]string{"all"}, types...)), Period: pick(r, periods), Terms: r.terms(), Levels: r.levels()}
	if mayCrash {
		r.arm("PutThreshold", "AddAudit", "EnsureCounters", "PutCounters", "AddAlerts", "PutOverages", "WarnThresholds")
	}
	r.begin("threshold %s %s %s %+v levels %v", l.ID, t.Type, t.Period, t.Terms, t.Levels)
	p, err := r.catalog.CreateThreshold(r.ctx, t.product(), "sim", false)
	died, commits := r.store.disarm()
	id := p.ID
	if died {
		if commits == 0 {
			return r.compare(false, l)
		}
		if id, err = r.newThreshold(l); err != nil {
			return err
		}
	}
	if err := same("threshold", code(err), r.model.Create(r.now, l, t, id)); err != nil {
		return err
	}
	for _, o := range l.Thresholds {
		if !slices.Contains(r.made, o) {
			r.made = append(r.made, o)
		}
	}
	return r.compare(false, l)
}

// newThreshold finds a threshold whose making was not answered.
func (r *run) newThreshold(l *License) (id string, err error) {
	err = r.raw.View(r.ctx, func(v usance.View) error {
		rows, _, err := v.Thresholds(r.ctx, usance.ThresholdFilter{LicenseID: l.ID, Inactive: true}, usance.Page{Limit: 1000})
		for i := range rows {
			if !slices.ContainsFunc(l.Thresholds, func(t *Threshold) bool { return t.ID == rows[i].ID }) {
				id = rows[i].ID
			}
		}
		return err
	})
	return id, err
}

func (r *run) stepUpdate() error {
	if len(r.made) == 0 {
		return nil
	}
	t := pick(r, r.made)
	terms, levels, active := t.Terms, t.Levels, t.Active
	b := body{}
	switch r.rng.IntN(5) {
	case 0, 1:
		terms.Limit = int64(5 + r.rng.IntN(80))
		b["limitQuantity"] = terms.Limit
	case 2:
		terms.Grace = pick(r, []int64{0, 10, 33, 100})
		b["gracePercentage"] = terms.Grace
	case 3:
		levels = r.levels()
		b["warningLevels"] = levels
	default:
		terms = r.terms()
		p := terms.product()
		b = body{"limitQuantity": p.LimitQuantity, "gracePercentage": p.GracePercentage, "allowOverage": p.AllowOverage,
			"overageRateCents": p.OverageRateCents, "overageTiers": nil}
		if len(p.OverageTiers) > 0 {
			b["overageTiers"] = p.OverageTiers
		}
	}
	return r.update(t, b, terms, levels, active)
}

// stepActivate retires a threshold or puts it in force again.
func (r *run) stepActivate() error {
	if len(r.made) == 0 {
		return nil
	}
	t := pick(r, r.made)
	active := !t.Active
	if r.chance(10) {
		active = t.Active
	}
	return r.update(t, body{"isActive": active}, t.Terms, t.Levels, active)
}

func (r *run) update(t *Threshold, b body, terms Terms, levels []int, active bool) error {
	if err := r.compare(false, t.License); err != nil {
		return err
	}
	r.arm("PutThreshold", "AddAudit", "EnsureCounters", "LockCounters", "PutCounters", "AddAlerts", "PutOverages", "WarnThresholds", "Revisions")
	r.begin("update %s of %s (%s %s) %s", t.ID, t.License.ID, t.Type, t.Period, b.bytes())
	var err error
	if retire, ok := b["isActive"]; ok && retire == false {
		_, err = r.catalog.RetireThreshold(r.ctx, t.ID, "sim", false)
	} else {
		_, err = r.catalog.UpdateThreshold(r.ctx, t.ID, b.bytes(), "sim", false)
	}
	died, commits := r.store.disarm()
	switch {
	case died && commits > 0:
		r.model.Update(r.now, t, terms, levels, active)
	case !died:
		if err := same("update", code(err), r.model.Update(r.now, t, terms, levels, active)); err != nil {
			return err
		}
	}
	return r.compare(false, t.License)
}

func (r *run) stepLicense() error {
	l := pick(r, r.licenses)
	today := l.LocalDay(r.now)
	next := *l
	b := body{}
	switch r.rng.IntN(8) {
	case 0:
		next.Status = pick(r, []string{"DRAFT", "ACTIVE", "EXPIRING_SOON", "EXPIRED", "SUSPENDED", "TERMINATED", "DISPUTED", "CANCELED"})
	case 1:
		next.Tracking = r.chance(40)
	case 2:
		next.Start, next.End = pick(r, []string{"", showDay(today - r.rng.IntN(9))}), ""
	case 3:
		next.Start, next.End = "", pick(r, []string{"", showDay(today + r.rng.IntN(9) - 2)})
	case 4:
		if len(l.Events) > 0 {
			field := pick(r, []body{{"timezone": "Europe/Berlin"}, {"billingAnchorDay": 7}, {"brandId": "other"}, {"currency": "EUR"}})
			r.begin("licence %s %s", l.ID, field.bytes())
			_, _, err := r.catalog.PutLicense(r.ctx, l.ID, field.bytes(), "sim")
			return same("licence", code(err), Conflict)
		}
	case 5:
		if !l.Deleted && r.chance(20) {
			return r.deleteLicense(l)
		}
	default: // make it count again
		next.Status, next.Tracking, next.Deleted, next.Start, next.End = "ACTIVE", true, false, "", ""
		b["deletedAt"] = nil
	}
	b["status"], b["usageTrackingEnabled"], b["startDate"], b["endDate"] = next.Status, next.Tracking, next.Start, next.End
	r.arm("PutLicense", "AddAudit")
	r.begin("licence %s %s", l.ID, b.bytes())
	_, _, err := r.catalog.PutLicense(r.ctx, l.ID, b.bytes(), "sim")
	died, commits := r.store.disarm()
	if err != nil && !died {
		return err
	}
	if !died || commits > 0 {
		l.Audit["license.put"]++
		l.Status, l.Tracking, l.Deleted, l.Start, l.End = next.Status, next.Tracking, next.Deleted, next.Start, next.End
	}
	return r.compare(false, l)
}

func (r *run) deleteLicense(l *License) error {
	r.arm("PutLicense", "AddAudit")
	r.begin("delete %s", l.ID)
	_, err := r.catalog.DeleteLicense(r.ctx, l.ID, "sim")
	died, commits := r.store.disarm()
	if err != nil && !died {
		return err
	}
	if !died || commits > 0 {
		l.Audit["license.delete"]++
		l.Deleted = true
	}
	return r.compare(false, l)
}

// ---- Billing.

func (r *run) stepClose() error {
	if err := r.compare(false, r.licenses...); err != nil {
		return err
	}
	r.arm("LockCounters", "PutCounters", "WarnThresholds", "PutOverages", "PutOverages", "AddAudit")
	r.begin("close periods")
	var closed, settled int
	crashed, err := r.untilDone(func() (err error) {
		closed, settled, err = r.billing.ClosePeriods(r.ctx)
		return err
	})
	if err != nil {
		return err
	}
	c, s := r.model.Close(r.now)
	if !crashed {
		if err := same("closed, settled", fmt.Sprint(closed, settled), fmt.Sprint(c, s)); err != nil {
			return err
		}
	}
	return r.compareOneDeep()
}

// compareOneDeep compares what every licence has used, and all that is kept of one.
func (r *run) compareOneDeep() error {
	if err := r.compare(true, pick(r, r.licenses)); err != nil {
		return err
	}
	return r.compare(false, r.licenses...)
}

func (r *run) stepMove() error {
	type row struct {
		t *Threshold
		c *Counter
		o *Overage
	}
	var rows []row
	for _, t := range r.made {
		for _, c := range t.Counters {
			for _, o := range c.Overages {
				rows = append(rows, row{t, c, o})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	of := pick(r, rows)
	action := pick(r, []string{"approve", "approve", "dispute", "dispute", "resolve", "waive"})
	var id usance.ID
	err := r.raw.View(r.ctx, func(v usance.View) error {
		all, err := r.overages(v, of.t.License)
		for i := range all {
			if all[i].ThresholdID == of.t.ID && Day(all[i].PeriodDate) == of.c.Start && all[i].Revision == of.o.Revision {
				id = all[i].ID
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	do := map[string]func(context.Context, usance.ID, string, string) (usance.Overage, error){
		"approve": r.billing.Approve, "dispute": r.billing.Dispute, "resolve": r.billing.Resolve, "waive": r.billing.Waive,
	}[action]
	r.arm("LockCounters", "PutOverages", "PutOverages", "AddAudit")
	r.begin("%s %s %s revision %d, which is %s", action, of.t.ID, showDay(of.c.Start), of.o.Revision, of.o.Status)
	got, err := do(r.ctx, id, "sim", "because")
	died, commits := r.store.disarm()
	if died {
		if commits > 0 {
			of.t.License.Move(r.now, of.o, action)
		}
		return r.sameOverages(of.t.License)
	}
	want := of.t.License.Move(r.now, of.o, action)
	if err := same(action, code(err), want); err != nil {
		return err
	}
	if err == nil {
		if err := same(action, string(got.Status), of.o.Status); err != nil {
			return err
		}
	}
	return r.sameOverages(of.t.License)
}

// ---- Retention.

func undamaged(*License, Day) bool { return false }

func (r *run) stepRetain() error {
	due := r.now.Add(-r.keep)
	if r.twice(due) {
		return nil
	}
	if r.chance(60) {
		r.surely("CloseDays", "SealDays", "PruneEvents", "PruneEvidence", "TakePending", beforeUpdate, beforeCommit, afterCommit, duringView)
	}
	r.begin("retain what was received since %s", due.Format(time.RFC3339Nano))
	var got fold.Retention
	crashed, err := r.untilDone(func() (err error) {
		got, err = r.nodes[0].fold.Retain(r.ctx, r.keep)
		return err
	})
	if err != nil {
		return err
	}
	days, drifted, events, evidence := r.model.Retain(due, undamaged)
	if !crashed {
		if err := same("retention", got, fold.Retention{Days: days, Drifted: drifted, Events: events, Evidence: evidence}); err != nil {
			return err
		}
	}
	return r.compareOneDeep()
}

// stepPrune seals a day by hand and prunes at once, whatever is pending: no
// event that is not folded may go.
func (r *run) stepPrune() error {
	l := pick(r, r.licenses)
	if len(l.Events) == 0 {
		return nil
	}
	d := pick(r, l.Events).Day
	if l.LocalDay(r.now)-d < 1 {
		return nil
	}
	due := r.now
	limit := 1 + r.rng.IntN(5)
	r.begin("seal %s of %s by hand, and prune %d", showDay(d), l.ID, limit)
	one := []usance.Day{{LicenseID: l.ID, Date: usance.Date(d)}}
	err := r.raw.Update(r.ctx, usance.Locks{Exclusive: []string{l.ID}}, func(tx usance.Tx) error {
		if err := tx.CloseDays(r.ctx, one); err != nil {
			return err
		}
		return tx.SealDays(r.ctx, one)
	})
	if err != nil {
		return err
	}
	l.Closed[d], l.Sealed[d] = true, true
	var n int
	err = r.raw.Update(r.ctx, usance.Locks{}, func(tx usance.Tx) (err error) {
		n, err = tx.PruneEvents(r.ctx, due, limit)
		return err
	})
	if err != nil {
		return err
	}
	if n > limit {
		return fmt.Errorf("pruned %d of at most %d", n, limit)
	}
	if err := r.gone(due, n); err != nil {
		return err
	}
	if _, err := r.nodes[0].fold.Flush(r.ctx); err != nil {
		return err
	}
	if err := r.folded(); err != nil {
		return err
	}
	return r.compare(true, r.licenses...)
}

// gone finds which events were pruned: they were n, due, and on sealed days.
func (r *run) gone(due time.Time, n int) error {
	return r.raw.View(r.ctx, func(v usance.View) error {
		for _, l := range r.licenses {
			there := make(map[string]bool)
			if err := r.eachEvent(v, l, func(e *usance.Event) { there[e.ID.String()] = true }); err != nil {
				return err
			}
			for _, e := range l.Events {
				if e.Pruned || there[e.ID] {
					continue
				}
				if !l.Sealed[e.Day] || !e.Received.Before(due) {
					return fmt.Errorf("the event %s of %s was pruned: its day is sealed: %t, received %s", e.Key, l.ID, l.Sealed[e.Day], e.Received)
				}
				e.Pruned = true
				n--
			}
		}
		if n != 0 {
			return fmt.Errorf("%d more events are said to be pruned than are gone", n)
		}
		return nil
	})
}

// stepDamage spoils a rollup, as a fault or a stranger might. Verification
// must tell, retention must not seal the day, and recalculation must mend it.
func (r *run) stepDamage() error {
	l := pick(r, r.licenses)
	f := r.nodes[0].fold
	if _, err := f.Flush(r.ctx); err != nil {
		return err
	}
	if len(l.Events) == 0 {
		return nil
	}
	e := pick(r, l.Events)
	d := usance.Date(e.Day)
	if l.Sealed[e.Day] {
		return nil
	}
	r.begin("damage %s %s of %s", d, e.Type, l.ID)
	key := []usance.RollupKey{{LicenseID: l.ID, Date: d, UsageType: e.Type}}
	err := r.raw.Update(r.ctx, usance.Locks{}, func(tx usance.Tx) error {
		rows, err := tx.LockRollups(r.ctx, key)
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return fmt.Errorf("%d rows of %v", len(rows), key)
		}
		rows[0].Quantity += 3
		return tx.PutRollups(r.ctx, rows)
	})
	if err != nil {
		return err
	}
	drift, err := f.Verify(r.ctx, l.ID, d-3, d+3)
	if err != nil {
		return err
	}
	if drift.Drifted != 1 {
		return fmt.Errorf("one row is spoilt, verification found %+v", drift)
	}
	if due := r.now.Add(-r.keep); !r.twice(due) && r.chance(70) {
		got, err := f.Retain(r.ctx, r.keep)
		if err != nil {
			return err
		}
		days, drifted, events, evidence := r.model.Retain(due, func(o *License, at Day) bool { return o == l && at == e.Day })
		if err := same("retention", got, fold.Retention{Days: days, Drifted: drifted, Events: events, Evidence: evidence}); err != nil {
			return err
		}
	}
	got, err := f.Recalculate(r.ctx, l.ID, d, d+1, "sim")
	if err != nil {
		return err
	}
	if got.Changed != 1 || got.Counters != 0 {
		return fmt.Errorf("one row is spoilt, recalculation changed %+v", got)
	}
	r.model.Recalculate(r.now, l, e.Day, e.Day+1)
	return r.compare(true, r.licenses...)
}
