package bench

import (
	"path/filepath"
	"testing"
	"time"

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
		if got, err := e.count(t.Context()); err != nil || got != want {
			t.Fatalf("%d rows after writing %d (%v)", got, want, err)
		}
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
