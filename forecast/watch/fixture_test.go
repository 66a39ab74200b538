package watch

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *fleet > 0 { // which chooses its store itself
		os.Exit(m.Run())
	}
	os.Exit(storetest.OnEach{M: m}.Run())
}

// fixture is a store and a watch over it, under a clock that tests set.
type fixture struct {
	*Watch
	t     *testing.T
	store usance.Store
	now   time.Time
	seen  map[usance.RollupKey]bool
	batch int
}

// three in the morning of a Tuesday, a week into the month
var morning = time.Date(2024, 10, 8, 3, 0, 0, 0, time.UTC)

func day(s string) usance.Date {
	d, err := usance.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, store: storetest.OpenOne(t), now: morning, seen: make(map[usance.RollupKey]bool)}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
	})
	f.Watch = New(f.store, Options{Now: func() time.Time { return f.now }})
	return f
}

func (f *fixture) update(fn func(ctx context.Context, tx usance.Tx) error) {
	f.t.Helper()
	ctx := f.t.Context()
	if err := f.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return fn(ctx, tx) }); err != nil {
		f.t.Fatal(err)
	}
}

// license puts a licence.
func (f *fixture) license(id string, change ...func(*usance.License)) {
	f.t.Helper()
	l := usance.NewLicense(id)
	l.BrandID, l.AssetID, l.Status, l.CreatedAt = "b", "a", usance.LicenseActive, morning.AddDate(0, 0, -7)
	for _, c := range change {
		c(&l)
	}
	f.update(func(ctx context.Context, tx usance.Tx) error { return tx.PutLicense(ctx, l) })
}

func (f *fixture) threshold(id, license string, limit int64, change ...func(*usance.Threshold)) {
	f.t.Helper()
	h := usance.Threshold{
		ID: id, LicenseID: license, UsageType: "view", PeriodType: usance.PeriodMonthly, IsActive: true, CreatedAt: morning, UpdatedAt: morning,
		Terms: usance.Terms{LimitQuantity: limit, GracePercentage: 10, AllowOverage: true},
	}
	for _, c := range change {
		c(&h)
	}
	f.update(func(ctx context.Context, tx usance.Tx) error { return tx.PutThreshold(ctx, h) })
}

// use puts what a licence used on the days [from, to), spread over the hours of
// the day, as folded rows.
func (f *fixture) use(license, usageType string, from, to usance.Date, quantity func(d usance.Date) int64) {
	f.t.Helper()
	f.rows(license, usageType, from, to, func(d usance.Date, hour int) int64 {
		n := quantity(d)
		return n/24 + map[bool]int64{true: 1}[int64(hour) < n%24]
	})
}

// rows puts what a licence used by hour, an event for each ten units.
func (f *fixture) rows(license, usageType string, from, to usance.Date, quantity func(d usance.Date, hour int) int64, change ...func(*usance.Rollup)) {
	f.t.Helper()
	var rows []usance.Rollup
	var keys []usance.RollupKey
	for d := from; d < to; d++ {
		r := usance.Rollup{RollupKey: usance.RollupKey{LicenseID: license, Date: d, UsageType: usageType}}
		r.Breakdown = usance.Breakdown{usance.ByHour: {}, usance.BySource: {}}
		for hour := range 24 {
			n := quantity(d, hour)
			if n == 0 {
				continue
			}
			one := usance.Tally{Events: 1 + n/10, Quantity: n}
			r.Breakdown[usance.ByHour][strconv.Itoa(hour)] = one
			r.Tally = r.Plus(one)
		}
		r.Breakdown[usance.BySource][usance.NoValue] = r.Tally
		for _, c := range change {
			c(&r)
		}
		if !f.seen[r.RollupKey] {
			f.seen[r.RollupKey] = true
			keys = append(keys, r.RollupKey)
		}
		rows = append(rows, r)
	}
	f.update(func(ctx context.Context, tx usance.Tx) error {
		if err := tx.EnsureRollups(ctx, keys); err != nil {
			return err
		}
		return tx.PutRollups(ctx, rows)
	})
}

// events adds counted events that are not folded.
func (f *fixture) events(list ...usance.Event) {
	f.t.Helper()
	for i := range list {
		e := &list[i]
		f.batch++
		e.ID, e.ReceivedAt, e.IdempotencyKey = usance.NewID(f.now), f.now, fmt.Sprint("key-", f.batch)
		e.HashPayload()
	}
	f.update(func(ctx context.Context, tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(f.now), At: f.now, Count: len(list), Events: list}})
	})
}

func (f *fixture) forecasts(filter usance.ForecastFilter) (out []usance.Forecast) {
	f.t.Helper()
	err := f.store.View(f.t.Context(), func(v usance.View) (err error) {
		out, _, err = v.Forecasts(f.t.Context(), filter, usance.Page{Limit: 1000})
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// alerts gives a licence's alerts, oldest first.
func (f *fixture) alerts(license string) (out []usance.Alert) {
	f.t.Helper()
	err := f.store.View(f.t.Context(), func(v usance.View) (err error) {
		out, _, err = v.Alerts(f.t.Context(), usance.AlertFilter{LicenseID: license}, usance.Page{Limit: 1000})
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.SortFunc(out, func(a, b usance.Alert) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out
}

func (f *fixture) generate(want int) {
	f.t.Helper()
	made, err := f.Generate(f.t.Context())
	if err != nil || made != want {
		f.t.Fatalf("%d forecasts made, want %d; %v", made, want, err)
	}
}
