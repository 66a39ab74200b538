package watch

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usance/usance"
)

// More than one page of breaches, and two nodes that tell of them at once: one
// alert each, with all that it is to say.
func TestBreachesAreToldOnce(t *testing.T) {
	f := newFixture(t)
	const licenses = group + 20
	for i := range licenses {
		id := fmt.Sprintf("l%03d", i)
		f.license(id)
		f.use(id, "view", day("2024-08-01"), day("2024-10-08"), hundred)
		f.threshold("t-"+id, id, 1150)
	}
	f.generate(licenses)
	f.now = f.now.Add(6 * time.Hour)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := f.Warn(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range licenses {
		alerts := f.alerts(fmt.Sprintf("l%03d", i))
		if len(alerts) != 1 {
			t.Fatalf("licence %d has %d alerts", i, len(alerts))
		}
	}
	a := f.alerts("l007")[0]
	if a.Kind != usance.AlertForecast || a.PredictedBreachDate == nil || *a.PredictedBreachDate != day("2024-10-12") || a.BreachProbability < 0.95 ||
		a.Severity != usance.SeverityCritical || a.Quantity != 700 || a.LimitQuantity != 1150 || a.PeriodStart != day("2024-10-01") {
		t.Errorf("%+v", a)
	}
	for _, part := range []string{"view usage is expected to pass its monthly limit of 1150 on 2024-10-12", "probability of 9", "by 2024-10-31 it is expected to come to 30"} {
		if !strings.Contains(a.Reason, part) {
			t.Errorf("%q does not say %q", a.Reason, part)
		}
	}
	if n, err := f.Warn(t.Context()); n != 0 || err != nil {
		t.Errorf("%d alerts raised once more, %v", n, err)
	}
}

// reads counts what is read of days while a store is written.
type reads struct {
	Store
	days int
}

type readsTx struct {
	usance.Tx
	of *reads
}

func (s *reads) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.Store.Update(ctx, locks, func(tx usance.Tx) error { return fn(readsTx{tx, s}) })
}

func (t readsTx) DayUsage(ctx context.Context, licenseID string, from, to usance.Date) ([]usance.Rollup, error) {
	t.of.days++
	return t.Tx.DayUsage(ctx, licenseID, from, to)
}

// Whether a hard limit is full already takes the days of its whole period: they
// are read for a warning that is to be given, not for each that was.
func TestWhatWasToldReadsNoDays(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.use("l", "view", day("2024-08-01"), day("2024-10-08"), hundred)
	f.threshold("t", "l", 1150, func(h *usance.Threshold) { h.AllowOverage, h.GracePercentage = false, 0 })
	f.update(func(ctx context.Context, tx usance.Tx) error {
		return tx.EnsureCounters(ctx, []usance.Counter{{
			CounterKey: usance.CounterKey{LicenseID: "l", ThresholdID: "t", PeriodStart: day("2024-10-01")},
			PeriodEnd:  day("2024-11-01"), Quantity: 700, State: usance.CounterOpen,
		}})
	})
	f.generate(1)
	s := &reads{Store: f.store}
	w := New(s, Options{Now: func() time.Time { return f.now }})
	for _, want := range []int{1, 0} {
		s.days = 0
		if n, err := w.Warn(t.Context()); n != want || err != nil || s.days != want {
			t.Errorf("%d warnings and %d reads of days, want %d; %v", n, s.days, want, err)
		}
	}
}
