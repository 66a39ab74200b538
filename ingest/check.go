package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
)

// Check is what would happen to an event now.
type Check struct {
	Allowed bool           `json:"allowed"`
	Error   *usance.Error  `json:"error,omitempty"` // why not
	Usage   []usance.Usage `json:"usage,omitempty"` // as it is now, without the event
}

// Check tells whether quantity more units of the type would be counted at the
// instant (zero: now). It records nothing; only an event holds its place.
func (in *Ingester) Check(ctx context.Context, licenseID, usageType string, quantity int64, at time.Time) (Check, error) {
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	e := usance.Event{LicenseID: licenseID, UsageType: usageType, Quantity: quantity, OccurredAt: at}
	var out Check
	err := in.store.View(ctx, func(v usance.View) (err error) {
		out, err = in.check(ctx, v, e, now)
		return err
	})
	return out, err
}

// check is Check of an event in a snapshot.
func (in *Ingester) check(ctx context.Context, v usance.View, e usance.Event, now time.Time) (Check, error) {
	it := item{event: e, backdate: true}
	in.prepare(&it, now)
	if it.err != nil {
		return Check{}, it.err
	}
	g := newGroup(in, []*request{{items: []item{it}}}, 1, true)
	g.now = now
	res, err := g.dryRun(ctx, v, e.LicenseID)
	if err != nil {
		return Check{}, err
	}
	return Check{Allowed: res.Error == nil, Error: res.Error, Usage: res.Usage}, nil
}

// dryRun judges the one event of the group against a snapshot.
func (g *group) dryRun(ctx context.Context, v usance.View, licenseID string) (*usance.Result, error) {
	if err := g.load(ctx, v, []string{licenseID}); err != nil {
		return nil, err
	}
	r := g.requests[0]
	e := &r.items[0].event
	if f := g.facts[licenseID]; f != nil {
		g.countersOf(f, e.UsageType, e.LocalDate) // to be shown, though it may be refused without
	}
	keys := make([]usance.CounterKey, 0, len(g.counters))
	for key := range g.counters {
		keys = append(keys, key)
	}
	rows, err := v.Counters(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, c := range g.counters {
		c.state, c.locked = c.empty(), c.must
	}
	if err := g.hold(ctx, v, rows); err != nil {
		return nil, err
	}
	g.judge(r)
	res := &r.results[0]
	if f := g.facts[licenseID]; f != nil {
		g.answers = []answer{{res, f, e.UsageType, e.LocalDate}}
		res.Usage = nil
		g.showUsage()
	}
	return res, nil
}

// Explanation answers "why is this licence's usage not counted", step by step
// and in the end. All of it is of one snapshot.
type Explanation struct {
	LicenseID string    `json:"licenseId"`
	Verdicts  []Verdict `json:"verdicts"` // in the order of their usage types
	Steps     []Step    `json:"steps"`
}

// Verdict is what would happen to one unit of a usage type, sent now, and how
// the active thresholds that cover the type stand.
type Verdict struct {
	UsageType string `json:"usageType"`
	Check
}

// Step is one thing that must hold for usage to count.
type Step struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// Explain goes through all that decides about an event of the licence now: the
// licence, its tracking, status and term, its thresholds, and the state of
// folding. It gives a verdict on each usage type that an active threshold
// names. Where one covers all types, or none is active, a built-in type that
// none names stands for the rest: view, if it is not named.
func (in *Ingester) Explain(ctx context.Context, licenseID string) (Explanation, error) {
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	var out Explanation
	err := in.store.View(ctx, func(v usance.View) error {
		out = Explanation{LicenseID: licenseID}
		facts, err := v.Facts(ctx, []string{licenseID})
		if err != nil {
			return err
		}
		if len(facts) == 0 {
			return usance.LicenseNotFound(licenseID)
		}
		f := &facts[0]
		if out.Steps, err = explainSteps(ctx, v, f, now); err != nil {
			return err
		}
		for _, usageType := range typesToExplain(f.Thresholds) {
			check, err := in.check(ctx, v, usance.Event{LicenseID: licenseID, UsageType: usageType}, now)
			if err != nil {
				return err
			}
			out.Verdicts = append(out.Verdicts, Verdict{usageType, check})
		}
		return nil
	})
	if err != nil {
		return Explanation{}, err
	}
	return out, nil
}

// otherType stands for the types that no threshold names, where it is none of
// the built-in ones.
const otherType = "other"

// typesToExplain gives the usage types that Explain gives a verdict on.
func typesToExplain(thresholds []usance.Threshold) []string {
	named := make(map[string]bool)
	for i := range thresholds {
		if thresholds[i].IsActive {
			named[thresholds[i].UsageType] = true
		}
	}
	if len(named) == 0 || named[usance.AllTypes] {
		delete(named, usance.AllTypes)
		rest := append(slices.Clone(usance.UsageTypes), otherType)
		if i := slices.IndexFunc(rest, func(s string) bool { return !named[s] }); i >= 0 {
			named[rest[i]] = true
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// explainSteps gives what must hold for usage to count, and whether it does.
func explainSteps(ctx context.Context, v usance.View, f *usance.Facts, now time.Time) (steps []Step, err error) {
	l := &f.License
	step := func(name string, ok bool, detail, fix string) {
		if ok {
			fix = ""
		}
		steps = append(steps, Step{name, ok, detail, fix})
	}
	zone, from, to, fault := l.Term()
	if fault != nil { // a host's own UPDATE may leave such a row
		zone = time.UTC
	}
	step("license exists", l.DeletedAt == nil, fmt.Sprintf("brand %s, asset %s", l.BrandID, l.AssetID),
		fmt.Sprintf("the licence is deleted; PUT /v1/licenses/%s with {\"deletedAt\": null}", l.ID))
	step("usage_tracking_enabled", l.UsageTrackingEnabled, fmt.Sprintf("%t", l.UsageTrackingEnabled),
		fmt.Sprintf("PUT /v1/licenses/%s with {\"usageTrackingEnabled\": true}", l.ID))
	step("status", l.Status.Counts(), string(l.Status), "usage counts once the licence is ACTIVE")
	term := fmt.Sprintf("%s to %s in %s", orOpen(l.StartDate), orOpen(l.EndDate), l.Timezone)
	if fault != nil {
		step("term", false, term, "it cannot be read; put it right: "+fault.Error())
	} else {
		step("term", !now.Before(from) && now.Before(to), term, "change startDate or endDate, or send events whose occurredAt lies within")
	}
	if err := explainThresholds(ctx, v, f, usance.DateOf(now, zone), step); err != nil {
		return nil, err
	}
	status, err := v.Status(ctx)
	if err != nil {
		return nil, err
	}
	behind := status.PendingEvents > 0 && now.Sub(status.OldestPending) > usance.MaxFoldLag
	step("aggregation", !behind, fmt.Sprintf("%d events wait to be folded", status.PendingEvents),
		"answers are right all the same; see the log for errors of the fold")
	return steps, nil
}

func explainThresholds(ctx context.Context, v usance.View, f *usance.Facts, today usance.Date, step func(name string, ok bool, detail, fix string)) error {
	if f.Fault != nil {
		step("thresholds", false, "one cannot be read: nothing of the licence counts", f.Fault.Error())
	} else if len(f.Thresholds) == 0 {
		step("thresholds", true, "none: usage is counted without limit, no alert or overage can arise", "")
	}
	for i := range f.Thresholds {
		t := &f.Thresholds[i]
		p := usance.PeriodOf(t.PeriodType, today, f.License.BillingAnchorDay)
		key := usance.CounterKey{LicenseID: t.LicenseID, ThresholdID: t.ID, PeriodStart: p.Start}
		rows, err := v.Counters(ctx, []usance.CounterKey{key})
		if err != nil {
			return err
		}
		c := usance.Counter{CounterKey: key}
		if len(rows) > 0 {
			c = rows[0]
		}
		u := c.Usage(t)
		what := map[usance.Kind]string{usance.KindHard: "blocks", usance.KindRated: "bills overage", usance.KindAlert: "alerts only"}[t.Kind()]
		detail := fmt.Sprintf("%s per %s, %s: %d of %d used", t.UsageType, t.PeriodType, what, u.Used, u.Limit)
		name := "threshold " + t.ID
		switch {
		case !t.IsActive:
			step(name, true, detail+"; is_active is false, so it neither limits nor bills", "")
		case t.EffectiveFrom > today:
			step(name, true, fmt.Sprintf("%s; judges from %s on", detail, t.EffectiveFrom), "")
		case t.Kind() == usance.KindHard:
			step(name, u.Remaining > 0, detail, "raise limitQuantity or gracePercentage, or allow overage")
		default:
			step(name, true, detail, "")
		}
	}
	return nil
}

func orOpen(s string) string {
	if s == "" {
		return "(open)"
	}
	return s
}

// errRollback undoes the self test.
var errRollback = fmt.Errorf("ingest: self test: %w", usance.ErrUndo)

// SelfTest counts a test event under a test licence and rolls all of it back.
func (in *Ingester) SelfTest(ctx context.Context) error {
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	id := "usance-check-" + usance.NewID(now).String()
	l := usance.NewLicense(id)
	l.BrandID, l.AssetID, l.Status, l.CreatedAt, l.UpdatedAt = id, id, usance.LicenseActive, now, now
	it := item{event: usance.Event{LicenseID: id, UsageType: "view"}}
	in.prepare(&it, now)
	if it.err != nil {
		return it.err
	}
	r := &request{items: []item{it}}
	err := in.store.Update(ctx, usance.Locks{Shared: []string{id}}, func(tx usance.Tx) error {
		for _, put := range []func() error{
			func() error { return tx.PutBrand(ctx, usance.Brand{ID: id, Name: id, CreatedAt: now, UpdatedAt: now}) },
			func() error { return tx.PutAsset(ctx, usance.Asset{ID: id, Name: id, CreatedAt: now, UpdatedAt: now}) },
			func() error { return tx.PutLicense(ctx, l) },
		} {
			err := put()
			if usance.ErrorCode(err) == usance.CodeLicenseNotFound {
				// Licences are a host platform's, and no test licence can be made among
				// them: the event is recorded without being judged.
				e := it.event
				e.ID, e.LocalDate = usance.NewID(now), usance.DateOf(now, time.UTC)
				if err := tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(now), At: now, Events: []usance.Event{e}}}); err != nil {
					return err
				}
				return errRollback
			}
			if err != nil {
				return err
			}
		}
		g := newGroup(in, []*request{r}, 1, true)
		if err := g.run(ctx, tx, []string{id}); err != nil {
			return err
		}
		if res := r.results[0]; !res.Tracked {
			return res.Error
		}
		return errRollback
	})
	if errors.Is(err, errRollback) {
		return nil
	}
	return err
}
