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

// A day of a licence may end between its forecast and the alert: there is no warning
// of a period that is over there, nor of a day that is.
func TestNoWarningOfWhatIsOver(t *testing.T) {
	made := time.Date(2024, 10, 1, 3, 0, 0, 0, time.UTC) // 20:00 on 30 September in Los Angeles
	there := func(l *usance.License) { l.Timezone = "America/Los_Angeles" }
	f := newFixture(t)
	f.now = made
	for _, id := range []string{"month", "week", "unsure", "ended"} {
		f.license(id, there)
		f.use(id, "view", day("2024-07-01"), day("2024-10-01"), func(d usance.Date) int64 {
			if d == day("2024-09-30") {
				return 84 // by eight in the evening
			}
			return 100
		})
	}
	weekly := func(h *usance.Threshold) { h.PeriodType = usance.PeriodWeekly }
	f.threshold("month", "month", 2990) // 2,984 are used, and 16 are to come
	f.threshold("week", "week", 85, weekly)
	f.threshold("unsure", "unsure", 85, weekly)
	f.threshold("ended", "ended", 85, weekly)
	f.generate(4)
	// What a quiet evening leaves open.
	rows := f.forecasts(usance.ForecastFilter{LicenseID: "unsure"})
	p := 0.8
	rows[0].BreachProbability, rows[0].PredictedBreachDate, rows[0].Outlook.Limit.Late = &p, rows[0].Outlook.Limit.Median, nil
	f.update(func(ctx context.Context, tx usance.Tx) error { return tx.PutForecasts(ctx, rows) })
	for _, id := range []string{"month", "week", "unsure", "ended"} {
		row := f.forecasts(usance.ForecastFilter{LicenseID: id})[0]
		if row.PredictedBreachDate == nil || *row.PredictedBreachDate != day("2024-09-30") {
			t.Fatalf("%s: %+v", id, row)
		}
	}
	f.now = made.Add(6 * time.Hour) // two in the morning of 1 October
	f.license("ended", there, func(l *usance.License) { l.EndDate = "2024-09-30" })
	if n, err := f.Warn(t.Context()); n != 1 || err != nil {
		t.Errorf("%d warnings, want that of the week; %v", n, err)
	}
	for _, id := range []string{"month", "unsure", "ended"} {
		if got := f.alerts(id); len(got) > 0 {
			t.Errorf("%s: %+v", id, got)
		}
	}
	got := f.alerts("week")
	if len(got) != 1 || *got[0].PredictedBreachDate != day("2024-10-01") || !strings.Contains(got[0].Reason, "on 2024-10-01") || strings.Contains(got[0].Reason, "09-30") ||
		got[0].BreachProbability < 0.7 {
		t.Errorf("%+v", got)
	}
}
