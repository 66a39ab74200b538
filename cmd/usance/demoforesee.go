package main

import (
	"context"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast/watch"
)

const (
	// In the last foreseenDays of the demo's year a forecast is made of each
	// threshold once a week, so that there are periods to compare them with, and
	// on the last two days.
	foreseenDays = 57
	// watchedDays are the last ones, looked through for what is unusual.
	watchedDays = 10
)

// foresight is what the jobs of forecasts do; it does not rest as it does in a
// server.
func (m *demoMaker) foresight() *watch.Watch {
	c := m.s.cfg
	return watch.New(m.s.store, watch.Options{Now: m.clock.now, LateGrace: c.LateGrace, BreachDays: c.BreachAlertDays})
}

// foresee does on a day what the jobs do: it forecasts, warns, compares with what
// came, and tells what is unusual.
func (m *demoMaker) foresee(ctx context.Context, w *watch.Watch, d usance.Date) error {
	ago := int(usance.DateOf(m.end, m.clock.now().Location()) - d)
	if ago < foreseenDays && (ago%7 == 0 || ago < 2) {
		if _, err := w.Generate(ctx); err != nil {
			return err
		}
		if _, err := w.Warn(ctx); err != nil {
			return err
		}
		if _, err := w.Score(ctx); err != nil {
			return err
		}
	}
	if ago < watchedDays {
		if _, err := w.Detect(ctx); err != nil {
			return err
		}
	}
	return nil
}
