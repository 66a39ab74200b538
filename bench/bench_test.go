package bench

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// What the raw engine says that it wrote is there, whatever the sizes.
func TestRawEngineWritesAllRows(t *testing.T) {
	t.Parallel()
	licenses := licenseIDs(7)
	for name, o := range map[string]Options{"sqlite": {}, "postgres": {DatabaseURL: pgtest.EmptyURL(t)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writesAllRows(t, o, licenses)
		})
	}
}

func writesAllRows(t *testing.T, o Options, licenses []string) {
	d, err := o.database(t.Context(), filepath.Join(t.TempDir(), "raw"), licenses)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.drop(); err != nil {
			t.Error(err)
		}
	}()
	e, err := d.engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	want := 0
	for round, c := range []struct{ rows, perCommit int }{{1, 1}, {25, 4}, {100, 33}, {3, 1000}} {
		if _, _, err := e.write(t.Context(), newSource(kinds[round], licenses, round, engineSeed), c.rows, c.perCommit); err != nil {
			t.Fatal(err)
		}
		want += c.rows
		if got, err := count(t.Context(), e); err != nil || got != want {
			t.Fatalf("%d rows after writing %d (%v)", got, want, err)
		}
	}
}

// count tells how many rows there are: what was written is there.
func count(ctx context.Context, e rawEngine) (n int, err error) {
	const rows = `SELECT count(*) FROM license_usage_events`
	switch e := e.(type) {
	case *sqliteEngine:
		err = e.conn.QueryRowContext(ctx, rows).Scan(&n)
	case *postgresEngine:
		err = e.conns[0].QueryRow(ctx, rows).Scan(&n)
	}
	return n, err
}

// What is loaded is whole: rollups are their events, and counters their rollups.
func TestPreload(t *testing.T) {
	t.Parallel()
	o := Options{DatabaseURL: pgtest.EmptyURL(t)}
	licenses := licenseIDs(30)
	d, err := o.database(t.Context(), t.TempDir(), licenses)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.drop(); err != nil {
			t.Error(err)
		}
	}()
	const n = 3000
	if err := preload(t.Context(), d.url, licenses, n, o.tell); err != nil {
		t.Fatal(err)
	}
	store, err := d.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	all := int64(0)
	err = store.View(t.Context(), func(v usance.View) error {
		for _, id := range licenses {
			used := make(map[usance.Date]int64) // by month
			var events, rollups int64
			if err := v.Folded(t.Context(), id, usance.MinDate, usance.MaxDate, func(*usance.Event) error { events++; return nil }); err != nil {
				return err
			}
			err := v.Rollups(t.Context(), id, usance.MinDate, usance.MaxDate, nil, func(r *usance.Rollup) error {
				rollups += r.Events
				used[usance.PeriodOf(usance.PeriodMonthly, r.Date, 1).Start] += r.Quantity
				return nil
			})
			if err != nil {
				return err
			}
			counters, err := v.CountersOf(t.Context(), id, thresholdOf(id))
			if err != nil {
				return err
			}
			for _, c := range counters {
				if c.Quantity != used[c.PeriodStart] {
					t.Errorf("%s: a counter of %d, where %d were used", id, c.Quantity, used[c.PeriodStart])
				}
			}
			if events != rollups || len(counters) == 0 != (id == licenses[len(licenses)-1]) {
				t.Errorf("%s: %d events, %d in rollups, %d counters", id, events, rollups, len(counters))
			}
			all += events
		}
		return nil
	})
	if err != nil || all != n {
		t.Errorf("%d events, want %d (%v)", all, n, err)
	}
}

// Neither rounds nor connections repeat a key, which would count once.
func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	licenses := licenseIDs(100)
	seen := make(map[string]bool)
	for _, k := range kinds {
		clear(seen) // a case has databases of its own
		for round := range 3 {
			for _, seed := range []int{0, 1, 63, engineSeed} {
				src := newSource(k, licenses, round, seed)
				for range 200 {
					e := src.next(time.Unix(0, 0))
					if err := e.Validate(); err != nil {
						t.Fatal(err)
					}
					if seen[e.LicenseID+e.IdempotencyKey] {
						t.Fatalf("%s: key %s twice", k.name, e.IdempotencyKey)
					}
					seen[e.LicenseID+e.IdempotencyKey] = true
				}
			}
		}
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	r := run{latencies: []time.Duration{1, 2, 3, 4}}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 4, 1: 4} {
		if got := r.percentile(p); got != want {
			t.Errorf("percentile %v of %v is %v, want %v", p, r.latencies, got, want)
		}
	}
	if got := median([]int{5, 1, 3, 2}); got != 2 {
		t.Errorf("median %d, want 2", got)
	}
}
