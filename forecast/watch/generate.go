package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

const (
	// The names under which the job's state is kept.
	generateState = "generateUsageForecasts"
	priorState    = "forecastPrior"

	// page is how many thresholds one look-up takes, and group how many forecasts
	// one transaction writes: few, since those who send events wait for its end.
	page  = 200
	group = 5
	// learnFrom is how many licences the prior is learned from.
	learnFrom = 1500
	// resumeFor is how long a run that was cut short is gone on with.
	resumeFor = 12 * time.Hour
	// keepScored is how long forecasts are kept once they are scored.
	keepScored = 120 * 24 * time.Hour
)

// progress is how far a run over all licences has come.
type progress struct {
	StartedAt time.Time `json:"startedAt"`
	Cursor    string    `json:"cursor,omitempty"` // of the next page
	Done      bool      `json:"done,omitempty"`
}

func readProgress(ctx context.Context, v usance.View, name string) (p progress, err error) {
	state, err := v.JobState(ctx, name)
	if err == nil && len(state) > 0 {
		err = json.Unmarshal(state, &p)
	}
	return p, err
}

func (p progress) write(ctx context.Context, tx usance.Tx, name string, now time.Time) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return tx.PutJobState(ctx, name, value, now)
}

// resume gives the progress of the run that was cut short within that time, or
// of a new one.
func (w *Watch) resume(ctx context.Context, name string, within time.Duration) (p progress, err error) {
	now := w.now()
	err = w.store.View(ctx, func(v usance.View) error {
		p, err = readProgress(ctx, v, name)
		return err
	})
	if err != nil {
		return p, err
	}
	if p.Done || p.Cursor == "" || now.Sub(p.StartedAt) > within || now.Before(p.StartedAt) {
		p = progress{StartedAt: now}
	}
	return p, nil
}

// Generate forecasts every active threshold of every licence for its current
// period: the job generateUsageForecasts. A run that was cut short within twelve
// hours is gone on with. A licence that cannot be forecast does not keep it from
// the rest. It tells how many forecasts it made.
func (w *Watch) Generate(ctx context.Context) (made int, err error) {
	p, err := w.resume(ctx, generateState, resumeFor)
	if err != nil {
		return 0, err
	}
	var prior *forecast.Prior
	if p.Cursor == "" {
		prior, err = w.learn(ctx)
	} else {
		w.o.Logger.Info("forecasts: going on where the last run was cut short", "startedAt", p.StartedAt)
		prior, err = w.prior(ctx)
	}
	if err != nil {
		return 0, err
	}
	var f forecast.Forecaster
	faults := faults{count: w.m.failed}
	for !p.Done {
		thresholds, facts, next, err := w.thresholds(ctx, p.Cursor)
		if err != nil {
			return made, err
		}
		p.Cursor, p.Done = next, next == ""
		var rows []usance.Forecast
		for i := range facts {
			began := time.Now()
			own := slices.DeleteFunc(slices.Clone(thresholds), func(t usance.Threshold) bool { return t.LicenseID != facts[i].License.ID })
			fresh, err := w.forecastLicense(ctx, &f, &facts[i], own, prior)
			if err != nil && ctx.Err() != nil {
				return made, err
			}
			faults.add(facts[i].License.ID, errors.Join(err, facts[i].Fault))
			rows = append(rows, fresh...)
			w.m.seconds.Observe(time.Since(began).Seconds())
			if len(rows) >= group {
				if err := w.yield(ctx); err != nil {
					return made, err
				}
				if err := w.put(ctx, rows, nil); err != nil {
					return made, err
				}
				made, rows = made+len(rows), nil
			}
			if err := w.rest(ctx, began); err != nil {
				return made, err
			}
		}
		if err := w.put(ctx, rows, &p); err != nil {
			return made, err
		}
		made += len(rows)
	}
	return made, errors.Join(faults.err("forecasting"), w.prune(ctx))
}

// thresholds gives a page of active thresholds, and the facts of their licences.
func (w *Watch) thresholds(ctx context.Context, cursor string) (list []usance.Threshold, facts []usance.Facts, next string, err error) {
	err = w.store.View(ctx, func(v usance.View) error {
		if list, next, err = v.Thresholds(ctx, usance.ThresholdFilter{}, usance.Page{Cursor: cursor, Limit: page}); err != nil {
			return err
		}
		ids := make([]string, len(list))
		for i := range list {
			ids[i] = list[i].LicenseID
		}
		facts, err = v.Facts(ctx, slices.Compact(ids))
		return err
	})
	return list, facts, next, err
}

// watched tells whether a licence's usage goes on.
func watched(l *usance.License) bool {
	return l.DeletedAt == nil && l.UsageTrackingEnabled && l.Status.Counts()
}

// forecastLicense forecasts those of a licence's thresholds that are in force.
func (w *Watch) forecastLicense(ctx context.Context, f *forecast.Forecaster, facts *usance.Facts, thresholds []usance.Threshold, prior *forecast.Prior) (out []usance.Forecast, err error) {
	if !watched(&facts.License) {
		return nil, nil
	}
	now := w.now()
	from := usance.MaxDate
	for i := range thresholds {
		if thresholds[i].PeriodType == usance.PeriodTotal {
			from = usance.MinDate
		}
	}
	var u *usage
	err = w.store.View(ctx, func(v usance.View) error {
		u, err = readUsage(ctx, v, facts.License, now, from, facts.Thresholds)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range thresholds {
		if err := w.yield(ctx); err != nil {
			return out, err
		}
		if t := &thresholds[i]; t.EffectiveFrom <= u.today {
			row, _, ok, err := u.answer(f, ofThreshold(t), prior, now)
			if err != nil {
				return out, fmt.Errorf("threshold %s: %w", t.ID, err)
			}
			if ok {
				out = append(out, row)
			}
		}
	}
	return out, nil
}

// put writes forecasts, and how far the run has come with them.
func (w *Watch) put(ctx context.Context, rows []usance.Forecast, p *progress) error {
	err := w.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) error {
		if err := tx.PutForecasts(ctx, rows); err != nil || p == nil {
			return err
		}
		return p.write(ctx, tx, generateState, w.now())
	})
	if err == nil {
		w.m.made.Add(float64(len(rows)))
	}
	return err
}

// learn makes a prior of a sample of the licences that have thresholds, the
// same one on a day whatever their order, and keeps it.
func (w *Watch) learn(ctx context.Context) (*forecast.Prior, error) {
	now := w.now()
	seed := rand.New(rand.NewPCG(uint64(now.Unix()/86400), 1)) //nolint:gosec // a sample, no secret
	var sample []string
	seen := 0
	for cursor := ""; ; {
		began := time.Now()
		list, _, next, err := w.thresholds(ctx, cursor)
		if err != nil {
			return nil, err
		}
		for i := range list {
			id := list[i].LicenseID
			if len(sample) > 0 && id == sample[len(sample)-1] || i > 0 && id == list[i-1].LicenseID {
				continue
			}
			if seen++; len(sample) < learnFrom {
				sample = append(sample, id)
			} else if k := seed.IntN(seen); k < learnFrom {
				sample[k] = id
			}
		}
		if err := w.rest(ctx, began); err != nil {
			return nil, err
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	slices.SortFunc(sample, func(a, b string) int { return cmp.Compare(mix(a), mix(b)) })
	var learner forecast.Learner
	for _, id := range sample {
		began := time.Now()
		if err := w.show(ctx, &learner, id, now); err != nil {
			return nil, err
		}
		if err := w.rest(ctx, began); err != nil {
			return nil, err
		}
	}
	prior := learner.Prior()
	value, err := json.Marshal(prior)
	if err != nil {
		return nil, err
	}
	return prior, w.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) error { return tx.PutJobState(ctx, priorState, value, now) })
}

// mix scatters names.
func mix(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

// show shows the learner what a licence used of each type.
func (w *Watch) show(ctx context.Context, learner *forecast.Learner, id string, now time.Time) error {
	return w.store.View(ctx, func(v usance.View) error {
		facts, err := v.Facts(ctx, []string{id})
		if err != nil || len(facts) == 0 || !watched(&facts[0].License) {
			return err
		}
		u, err := readUsage(ctx, v, facts[0].License, now, usance.MaxDate, facts[0].Thresholds)
		if err != nil {
			return nil //nolint:nilerr // it is named when its turn comes to be forecast
		}
		var types []string
		for i := range facts[0].Thresholds {
			if t := &facts[0].Thresholds[i]; t.IsActive && !slices.Contains(types, t.UsageType) {
				types = append(types, t.UsageType)
			}
		}
		for _, name := range types {
			if days, _, away := u.series(name); len(days) > away {
				learner.Add(days[:len(days)-away], int(u.first.Weekday()))
			}
		}
		return nil
	})
}

// prior gives what the last run learned; nil before the first one.
func (w *Watch) prior(ctx context.Context) (*forecast.Prior, error) {
	var value usance.RawJSON
	err := w.store.View(ctx, func(v usance.View) (err error) {
		value, err = v.JobState(ctx, priorState)
		return err
	})
	if err != nil || len(value) == 0 {
		return nil, err
	}
	out := new(forecast.Prior)
	if err := json.Unmarshal(value, out); err != nil {
		// Of another version of the program: the next run makes a new one.
		w.o.Logger.Warn("forecasts: what was learned of other licences cannot be read; defaults stand in for it", "error", err)
		return nil, nil
	}
	return out, nil
}

// prune deletes forecasts whose scores are old.
func (w *Watch) prune(ctx context.Context) error {
	before := w.now().Add(-keepScored)
	for {
		began, n := time.Now(), 0
		err := w.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) (err error) {
			n, err = tx.PruneForecasts(ctx, before, group)
			return err
		})
		if err != nil || n < group {
			return err
		}
		if err := w.rest(ctx, began); err != nil {
			return err
		}
	}
}

// faults are what went wrong with some licences of a run.
type faults struct {
	count interface{ Inc() }
	named []error
	all   int
}

func (f *faults) add(licenseID string, err error) {
	if err == nil {
		return
	}
	f.count.Inc()
	if f.all++; len(f.named) < maxNamed {
		f.named = append(f.named, fmt.Errorf("licence %s: %w", licenseID, err))
	}
}

func (f *faults) err(doing string) error {
	if f.all > len(f.named) {
		return fmt.Errorf("%s: %d licences failed, such as %w", doing, f.all, errors.Join(f.named...))
	}
	if f.all > 0 {
		return fmt.Errorf("%s: %w", doing, errors.Join(f.named...))
	}
	return nil
}
