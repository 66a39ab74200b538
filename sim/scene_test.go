package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/store/postgres"
)

// station is a node as serve sets it up on PostgreSQL, behind a gate.
type station struct {
	gate    *gate
	store   *postgres.Store
	in      *ingest.Ingester
	fold    *fold.Folder
	catalog *catalog.Catalog
	billing *billing.Billing
}

func (n *station) boot(now func() time.Time) {
	n.fold = fold.New(n.store, fold.Options{Now: now, LateGrace: lateGrace, LightBite: 4000, AtOnce: 2, Groups: 16, Prompt: 4})
	n.in = ingest.New(n.store, ingest.Options{
		Now: now, LateGrace: lateGrace, SessionKey: []byte("sim"), Queue: 1000, Lanes: 4, Split: 16, Shared: true,
		Committed: n.fold.Offer,
	})
	n.catalog = catalog.New(n.store, catalog.Options{Now: now, LateGrace: lateGrace})
	n.billing = billing.New(n.store, billing.Options{Now: now, LateGrace: lateGrace})
}

// world is the model of one licence, in which one order of things happened.
type world struct {
	*Model
	l     *License
	found map[string]*Event // by voids that have looked their event up
	due   map[string][]Day  // by retentions that have closed days
}

// scene is the state in which two operations meet: licences, each with a
// threshold of each kind, a closed and sealed day with an event left to prune, a
// day to close and to seal, and usage that is pending with both nodes and with one
// that died. What led there is kept, to be told to one model after the other.
type scene struct {
	ctx        context.Context
	raw        usance.Store
	nodes      [2]*station
	now        time.Time
	zone       *time.Location
	licenses   []string
	thresholds map[string]string // their ids, by licence and name
	script     map[string][]func(*world) error
}

// The scene's thresholds.
const (
	hardViews      = "views" // monthly, at most 20
	ratedDownloads = "downloads"
	alertAll       = "all" // of each week
)

func (c *scene) clock() time.Time { return c.now }

// on gives an instant of March 2024, when the zone's clocks go forward on the 10th.
func (c *scene) on(day, hour int) time.Time {
	return time.Date(2024, 3, day, hour, 0, 0, 0, c.zone).UTC()
}

// newScene plays what comes before the two nodes' last batches.
func newScene(ctx context.Context, l *lab, licenses ...string) (*scene, error) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		return nil, err
	}
	c := &scene{ctx: ctx, raw: l.raw, nodes: l.nodes, zone: zone, licenses: licenses, thresholds: make(map[string]string), script: make(map[string][]func(*world) error)}
	c.boot()
	defer c.close()
	return c, c.prepare()
}

// set gives the scene anew, its rows being those of then: two nodes that have each
// counted something which is pending.
func (c *scene) set(ctx context.Context) (*scene, error) {
	next := *c
	next.ctx, next.script = ctx, maps.Clone(c.script)
	next.boot()
	if err := next.pending(); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing: %w", err), next.close())
	}
	return &next, nil
}

func (c *scene) boot() {
	for _, n := range c.nodes {
		n.boot(c.clock)
	}
}

func (c *scene) close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.in.Close(context.WithoutCancel(c.ctx)))
	}
	return errors.Join(errs...)
}

// told keeps what happened to a licence.
func (c *scene) told(licence string, step func(*world) error) {
	c.script[licence] = append(slices.Clip(c.script[licence]), step)
}

func (c *scene) prepare() (err error) {
	a, b := c.nodes[0].in, c.nodes[1].in
	// What a node that died has counted is pending, and in nobody's memory.
	died := ingest.New(c.nodes[0].store, ingest.Options{Now: c.clock, LateGrace: lateGrace, SessionKey: []byte("sim"), Shared: true})
	defer func() { err = errors.Join(err, died.Close(context.WithoutCancel(c.ctx))) }()
	c.now = c.on(4, 10)
	for _, id := range c.licenses {
		if err := c.license(id); err != nil {
			return err
		}
	}
	c.now = c.on(4, 11)
	err = c.each(a, func(l string) []Event {
		return []Event{c.event(l, "first", "view", 3), c.event(l, "first download", "download", 8)}
	})
	c.now = c.on(4, 12)
	err = cmp.Or(err, c.each(b, func(l string) []Event { return []Event{c.event(l, "blocked", "view", 50)} }))
	c.now = c.on(4, 13)
	err = cmp.Or(err, c.each(b, func(l string) []Event { return []Event{c.event(l, "old", "view", 1)} }))
	c.now = c.on(5, 12)
	err = cmp.Or(err, c.each(b, func(l string) []Event {
		return []Event{c.due(l), c.event(l, "due download", "download", 7)}
	}))
	c.now = c.on(6, 1)
	err = cmp.Or(err, c.flush(), c.closeAll(), c.retain(c.on(4, 12).Add(-time.Minute)))
	c.now = c.on(6, 17)
	return cmp.Or(err, c.each(died, func(l string) []Event { return []Event{c.event(l, "orphan", "view", 1)} }))
}

// pending leaves a batch with each of the two.
func (c *scene) pending() error {
	c.now = c.on(6, 18)
	err := c.each(c.nodes[0].in, func(l string) []Event {
		return []Event{c.event(l, "pending", "view", 4), c.event(l, "pending download", "download", 1)}
	})
	c.now = c.on(6, 19)
	err = cmp.Or(err, c.each(c.nodes[1].in, func(l string) []Event { return []Event{c.event(l, "pending too", "view", 2)} }))
	c.now = c.on(7, 9)
	return err
}

// each has the events of each licence counted.
func (c *scene) each(by *ingest.Ingester, events func(licence string) []Event) error {
	for _, id := range c.licenses {
		if err := c.track(by, id, events(id)); err != nil {
			return err
		}
	}
	return nil
}

func (c *scene) event(licence, key, usageType string, quantity int64) Event {
	return Event{License: licence, Key: key, Type: usageType, Quantity: quantity, Source: "(direct)", Session: key, Platform: "web"}
}

// due is dated, so that it is refused once its day is sealed and its key is gone.
func (c *scene) due(licence string) Event {
	e := c.event(licence, "due", "view", 2)
	e.At = c.on(5, 9)
	return e
}

func (c *scene) license(id string) error {
	b := body{"brandId": "b", "assetId": "a", "status": "ACTIVE", "timezone": c.zone.String()}
	if _, _, err := c.nodes[0].catalog.PutLicense(c.ctx, id, b.bytes(), "sim"); err != nil {
		return err
	}
	c.told(id, func(w *world) error {
		w.l = NewLicense(id, c.zone, 1)
		w.l.Audit["license.put"]++
		w.Licenses[id] = w.l
		return nil
	})
	levels := []int{50, 75, 90, 100}
	for _, t := range []struct {
		name string
		Threshold
	}{
		{hardViews, Threshold{Type: "view", Period: "monthly", Terms: Terms{Limit: 20}, Levels: levels}},
		{ratedDownloads, Threshold{Type: "download", Period: "daily", Terms: Terms{Limit: 5, Allow: true, Rate: "5"}, Levels: levels}},
		{alertAll, Threshold{Type: "all", Period: "weekly", Terms: Terms{Limit: 40, Allow: true}, Levels: levels}},
	} {
		t.License = &License{ID: id}
		made, err := c.nodes[0].catalog.CreateThreshold(c.ctx, t.product(), "sim", false)
		if err != nil {
			return err
		}
		c.thresholds[id+" "+t.name] = made.ID
		now := c.now
		c.told(id, func(w *world) error { return same("threshold", w.Create(now, w.l, t.Threshold, made.ID), "") })
	}
	return nil
}

func (c *scene) track(by *ingest.Ingester, licence string, events []Event) error {
	q := request{events: events, backdate: true}
	got, err := by.Track(c.ctx, q.product())
	now := c.now
	c.told(licence, func(w *world) error { return sameResults(got, w.Track(now, q.events, false, true)) })
	return err
}

func (c *scene) flush() error {
	var errs []error
	for _, n := range c.nodes {
		_, err := n.fold.Flush(c.ctx)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *scene) closeAll() error {
	_, _, err := c.nodes[0].billing.ClosePeriods(c.ctx)
	now := c.now
	for _, id := range c.licenses {
		c.told(id, func(w *world) error { w.Close(now); return nil })
	}
	return err
}

func (c *scene) retain(due time.Time) error {
	_, err := c.nodes[0].fold.Retain(c.ctx, c.now.Sub(due))
	for _, id := range c.licenses {
		c.told(id, func(w *world) error { w.Retain(due, undamaged); return nil })
	}
	return err
}

// part is what one transaction of an operation does to a licence.
type part func(*world) error

// outcome is what an operation did: to each licence, part by part. An error is one
// that no order of things explains.
type outcome struct {
	err   error
	parts func(licence string) []part
	// loose says that the last two parts touch nothing in common: one that saw
	// what was there before the first of them may write after the second.
	loose bool
}

// ways are the orders in which the parts may seem to have come.
func (o outcome) ways(licence string) [][]part {
	parts := o.parts(licence)
	if n := len(parts); o.loose && n > 1 {
		other := slices.Clone(parts)
		other[n-2], other[n-1] = other[n-1], other[n-2]
		return [][]part{parts, other}
	}
	return [][]part{parts}
}

// interleavings gives the orders in which the parts of two can come, those first
// in which one comes as a whole before the other.
func interleavings(a, b []part) [][]part {
	both := [][]part{slices.Concat(a, b), slices.Concat(b, a)}
	if len(a) == 0 || len(b) == 0 {
		return both[:1]
	}
	var rest func(a, b, before []part)
	rest = func(a, b, before []part) {
		if len(a) == 0 || len(b) == 0 {
			both = append(both, slices.Concat(before, a, b))
			return
		}
		rest(a[1:], b, append(slices.Clip(before), a[0]))
		rest(a, b[1:], append(slices.Clip(before), b[0]))
	}
	rest(a, b, nil)
	return both
}

// replay is the licence's model before the two met.
func (c *scene) replay(licence string) (*world, error) {
	w := &world{Model: NewModel(lateGrace), found: make(map[string]*Event), due: make(map[string][]Day)}
	for _, step := range c.script[licence] {
		if err := step(w); err != nil {
			return nil, fmt.Errorf("before they met: %w", err)
		}
	}
	return w, nil
}

func (c *scene) same(w *world) error {
	r := &run{ctx: c.ctx, raw: c.raw, model: w.Model}
	return r.compare(true, w.l)
}

// explain finds an order of the parts of both after which the model of a licence
// is what is stored, and gave the answers that were given.
func (c *scene) explain(licence string, a, b outcome) (*world, error) {
	var why []error
	var orders [][]part
	for _, first := range a.ways(licence) {
		for _, second := range b.ways(licence) {
			orders = append(orders, interleavings(first, second)...)
		}
	}
	for _, order := range orders {
		w, err := c.replay(licence)
		for i := 0; i < len(order) && err == nil; i++ {
			err = order[i](w)
		}
		if err == nil {
			err = c.same(w)
		}
		if err == nil {
			return w, nil
		}
		why = append(why, err)
	}
	if len(why) > 2 {
		why = append(why[:2], fmt.Errorf("nor does any of the %d other orders", len(why)-2))
	}
	return nil, fmt.Errorf("licence %s: no order of the two explains the state: %w", licence, errors.Join(why...))
}

// check explains what became of each licence, and holds it against what it is once
// all is folded, and against its raw events.
func (c *scene) check(a, b outcome) error {
	if err := errors.Join(a.err, b.err); err != nil {
		return err
	}
	var worlds []*world
	for _, id := range c.licenses {
		w, err := c.explain(id, a, b)
		if err != nil {
			return err
		}
		worlds = append(worlds, w)
	}
	if err := c.flush(); err != nil {
		return err
	}
	r := &run{ctx: c.ctx, raw: c.raw}
	if err := r.folded(); err != nil {
		return err
	}
	for _, w := range worlds {
		if err := c.same(w); err != nil {
			return fmt.Errorf("once folded: %w", err)
		}
	}
	return c.verify()
}

// verify holds rollups, sessions, counters and overages against the raw events.
func (c *scene) verify() error {
	f := c.nodes[1].fold
	for _, id := range c.licenses {
		drift, err := f.Verify(c.ctx, id, usance.DateOf(c.on(1, 0), c.zone), usance.DateOf(c.on(9, 0), c.zone))
		if err == nil && drift.Drifted > 0 {
			err = fmt.Errorf("drift: %+v", drift)
		}
		if err != nil {
			return err
		}
	}
	books, _, err := f.CheckBooks(c.ctx, usance.Page{Limit: 1000}, 20)
	for i := range books {
		if len(books[i].Wrong) > 0 && err == nil {
			err = fmt.Errorf("the books are wrong: %+v", books[i])
		}
	}
	return err
}
