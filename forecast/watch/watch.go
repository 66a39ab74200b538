// Package watch keeps watch over the licences of a store: it forecasts their
// thresholds, warns of limits that will be passed, scores forecasts once their
// periods have closed, and tells of usage that is not as it was.
//
// What is reckoned is reckoned by package forecast; here is what is read for it
// and what becomes of it. The jobs go through the licences page by page and keep
// in the store where they are, so that a run that was cut short goes on there.
// They read in short snapshots, write in bounded groups, and rest between
// licences, so that those who send usage hardly notice.
package watch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

// Store is what is asked of the store.
type Store interface {
	usance.Updater
	usance.Viewer
}

// Options are the settings of a Watch; zero fields take the defaults named.
type Options struct {
	Now       func() time.Time // the clock; time.Now
	LateGrace time.Duration    // how long after its end a period stays open; 24 h
	// BreachDays is within how many days a limit is to be passed for an alert; 7.
	BreachDays int
	// Rest is how many times as long as a piece of work took (a licence, or a group
	// of rows) the jobs rest after it, 20 ms at most; 0 for not at all.
	Rest float64
	// Busy tells whether events wait for their commit; the jobs let them go first,
	// for as long as such a rest lasts at most. Never, unless set.
	Busy   func() bool
	Logger *slog.Logger // none
}

// Watch forecasts, warns and scores. Its methods may be called at once.
type Watch struct {
	store       Store
	o           Options
	m           metrics
	forecasters sync.Pool
}

// New makes a Watch over the store.
func New(store Store, o Options) *Watch {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LateGrace == 0 {
		o.LateGrace = 24 * time.Hour
	}
	if o.BreachDays == 0 {
		o.BreachDays = 7
	}
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Watch{store: store, o: o, m: newMetrics()}
	w.forecasters.New = func() any { return new(forecast.Forecaster) }
	return w
}

func (w *Watch) now() time.Time { return w.o.Now().UTC().Truncate(time.Microsecond) }

// rest lets others go first, after a piece of work that began at the instant
// (of the real clock).
func (w *Watch) rest(ctx context.Context, began time.Time) error {
	if err := wait(ctx, min(time.Duration(float64(time.Since(began))*w.o.Rest), maxRest)); err != nil {
		return err
	}
	return w.yield(ctx)
}

// yield lets events go first that wait for their commit, before a piece of work.
func (w *Watch) yield(ctx context.Context) error {
	for until := time.Now().Add(maxRest); w.o.Rest > 0 && w.o.Busy() && time.Now().Before(until); {
		if err := wait(ctx, time.Millisecond/2); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func wait(ctx context.Context, pause time.Duration) error {
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

const (
	maxRest = 20 * time.Millisecond
	// maxNamed bounds the faults that a run names; it counts them all.
	maxNamed = 20
)
