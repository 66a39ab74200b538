package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/usance/usance"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
)

const (
	lateGrace = 24 * time.Hour
	day       = 24 * time.Hour
)

// node is one process: the stages that hold something in memory.
type node struct {
	in   *ingest.Ingester
	fold *fold.Folder
}

// run is one seed under way: the product on a store, and the model beside it.
type run struct {
	ctx     context.Context
	rng     *rand.Rand
	raw     usance.Store // never crashes: what the comparison reads
	store   *crashStore
	nodes   [2]*node // two processes on one store
	catalog *catalog.Catalog
	billing *billing.Billing
	keep    time.Duration // retention

	model    *Model
	licenses []*License   // in the order of their making
	made     []*Threshold // likewise
	now      time.Time
	latest   time.Time      // the furthest that the clock ever showed
	back     [][2]time.Time // spans that the clock went through twice
	sent     []Event        // for retries
	keys     int
	log      []string
}

func newRun(ctx context.Context, seed uint64, store usance.Store, hits *struck) *run {
	r := &run{
		ctx: ctx, rng: rand.New(rand.NewPCG(seed, 1)), raw: store,
		store: &crashStore{Store: store, all: hits}, model: NewModel(lateGrace),
	}
	r.now = starts[r.rng.IntN(len(starts))].Add(time.Duration(r.rng.Int64N(int64(3 * day)))).Truncate(time.Microsecond)
	r.latest = r.now
	r.keep = time.Duration(2+r.rng.IntN(6)) * day
	for i := range r.nodes {
		r.nodes[i] = r.boot()
	}
	r.catalog = catalog.New(r.store, catalog.Options{Now: r.clock, LateGrace: lateGrace})
	r.billing = billing.New(r.store, billing.Options{Now: r.clock, LateGrace: lateGrace})
	return r
}

func (r *run) clock() time.Time { return r.now }

// boot starts a process. What its ingest hands to its fold may get lost, lose
// its events, or come twice.
func (r *run) boot() *node {
	n := new(node)
	n.fold = fold.New(r.store, fold.Options{Now: r.clock, LateGrace: lateGrace, Bite: 1 + r.rng.IntN(20)})
	luck := r.rng.IntN(4)
	n.in = ingest.New(r.store, ingest.Options{
		Now: r.clock, LateGrace: lateGrace, SessionKey: []byte("sim"), Queue: 1000,
		Split: 1 + r.rng.IntN(usance.MaxGroups),
		Committed: func(b usance.Batch) {
			switch {
			case luck == 1 && b.ID[15]%2 == 0:
				return
			case luck == 2 && b.ID[15]%2 == 0:
				b.Events = nil
			case luck == 3:
				n.fold.Offer(b)
			}
			n.fold.Offer(b)
		},
	})
	return n
}

func (r *run) close() error {
	var errs []error
	for _, n := range r.nodes {
		errs = append(errs, n.in.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// crashed throws a process away and starts another one.
func (r *run) crashed(i int) error {
	err := r.nodes[i].in.Close(context.Background())
	r.nodes[i] = r.boot()
	r.note("  (crash)")
	return err
}

func (r *run) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *run) chance(percent int) bool { return r.rng.IntN(100) < percent }

func pick[T any](r *run, from []T) T { return from[r.rng.IntN(len(from))] }

func code(err error) string {
	if err == nil {
		return ""
	}
	return string(usance.ErrorCode(err))
}

// same compares what the product did with what the rules say.
func same(what string, got, want any) error {
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		return fmt.Errorf("%s:\n  product %s\n  model   %s", what, g, w)
	}
	return nil
}

func usages(rows []usance.Usage) []Usage {
	var out []Usage
	for _, u := range rows {
		start := usance.MinDate // of a total
		if u.PeriodStart != nil {
			start = *u.PeriodStart
		}
		out = append(out, Usage{u.ThresholdID, Day(start), u.Used, u.Limit})
		if u.Remaining != max(0, u.Limit-u.Used) {
			out = append(out, Usage{"remaining is wrong", 0, u.Remaining, 0})
		}
	}
	return out
}

// sameResults compares answers, and learns the ids and keys that the product made.
func sameResults(got []usance.Result, want []Result) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d answers to %d events", len(got), len(want))
	}
	var all []string
	differ := false
	for i := range got {
		g, w := &got[i], &want[i]
		e := w.Event
		if w.Code != "" {
			e = nil
		}
		if e != nil && e.ID == "" {
			e.ID = g.EventID.String()
		}
		if e != nil && e.Key == "" {
			e.Key = g.IdempotencyKey
		}
		type answer struct {
			Status, Code, ID   string
			Tracked, Duplicate bool
			Usage              []Usage
		}
		ga := answer{string(g.Status), "", g.EventID.String(), g.Tracked, g.Duplicate, usages(g.Usage)}
		if g.Error != nil {
			ga.Code = string(g.Error.Code)
		}
		wa := answer{w.Status, w.Code, "", w.Code == "", w.Duplicate, w.Usage}
		if e != nil {
			wa.ID = e.ID
		}
		all = append(all, fmt.Sprintf("  product %+v", ga), fmt.Sprintf("  model   %+v", wa))
		differ = differ || fmt.Sprintf("%+v", ga) != fmt.Sprintf("%+v", wa)
	}
	if differ {
		return fmt.Errorf("answers:\n%s", strings.Join(all, "\n"))
	}
	return nil
}

// body is a JSON object.
type body map[string]any

func (b body) bytes() []byte {
	out, err := json.Marshal(map[string]any(b), json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return out
}

func (e *Event) product() usance.Event {
	out := usance.Event{
		LicenseID: e.License, UsageType: e.Type, Quantity: e.Quantity, OccurredAt: e.At, Platform: e.Platform, DeviceType: e.Device,
		GeographicLocation: e.Geo, Referrer: e.Referrer, SessionID: e.Session, RevenueCents: e.Revenue, IdempotencyKey: e.Key,
	}
	switch e.Invalid {
	case "quantity":
		out.Quantity = usance.MaxQuantity + 1
	case "revenue":
		out.RevenueCents = -1
	case "type":
		out.UsageType = usance.AllTypes
	case "key":
		out.IdempotencyKey = usance.ReservedKeyPrefix + "void:" + e.Key
	}
	return out
}

func (t *Threshold) product() usance.Threshold {
	return usance.Threshold{LicenseID: t.License.ID, UsageType: t.Type, PeriodType: usance.PeriodType(t.Period),
		Terms: t.Terms.product(), WarningLevels: t.Levels}
}

func (t *Terms) product() usance.Terms {
	out := usance.Terms{LimitQuantity: t.Limit, GracePercentage: int(t.Grace), AllowOverage: t.Allow}
	rate := func(s string) usance.Rate {
		p, err := usance.ParseRate(s)
		if err != nil {
			panic(err)
		}
		return p
	}
	if t.Rate != "" {
		p := rate(t.Rate)
		out.OverageRateCents = &p
	}
	for _, tier := range t.Tiers {
		out.OverageTiers = append(out.OverageTiers, usance.Tier{UpTo: tier.UpTo, RateCents: rate(tier.Rate)})
	}
	return out
}
