package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

// TestBackfillTable: usage out of a host platform's own tables. Killed half way,
// less than a tenth is read again, and all of it counts once; so does the same
// table again.
func TestBackfillTable(t *testing.T) { onEach(t, testBackfillTable) }

func testBackfillTable(t *testing.T, store string) {
	const rows = 6000
	host := pgtest.EmptyURL(t)
	c, err := postgres.Connect(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), `
		CREATE TABLE events (id uuid PRIMARY KEY, license text NOT NULL, kind text NOT NULL, units numeric, created_at timestamptz NOT NULL);
		INSERT INTO events SELECT gen_random_uuid(), 'lic', 'view', CASE WHEN n % 3 > 0 THEN n % 3 END, timestamptz '2024-01-01 00:00+00' + n * interval '10 minutes' FROM generate_series(0, 5999) n;
		CREATE TABLE daily_metrics (id bigserial PRIMARY KEY, license_id text NOT NULL, metric_date date NOT NULL, views bigint);
		INSERT INTO daily_metrics (license_id, metric_date, views) SELECT 'daily', date '2006-01-01' + n, 1 + n % 7 FROM generate_series(0, 5999) n`); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, store)
	s.must("PUT", "/v1/licenses/lic", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	s.must("PUT", "/v1/licenses/daily", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	for _, c := range []struct{ table, mapped string }{
		{"events", "usageType=kind,quantity=units,occurredAt=created_at"},
		{"daily_metrics", "date=metric_date,view=views"},
	} {
		checkpoint := filepath.Join(t.TempDir(), c.table)
		args := []string{"--from", host, "--table", c.table, "--map", c.mapped, "--checkpoint", checkpoint}
		r := s.killHalfWay(checkpoint, rows, args...)
		whole := s.output(append([]string{"backfill"}, args...)...)
		t.Logf("%s: the first %d of %d by the run that was killed, %d counted before, %d bytes read", c.table, r.ResumedAt, rows, r.Duplicates, r.ReadBytes)
		if r.Rows != rows || r.New+r.Duplicates != rows || r.ResumedAt < rows/2 || r.Duplicates >= rows/10 || len(r.Refused) > 0 {
			t.Errorf("%s: %+v", c.table, r)
		}
		if !strings.Contains(whole, "Sent 6000") || !strings.Contains(whole, ": 0 new, 6000 counted before") {
			t.Errorf("%s again: %s", c.table, whole)
		}
	}
	var usage struct{ Days []struct{ TotalViews int64 } }
	sum := func(path string) (n int64) {
		s.must("GET", path, "", &usage)
		for _, d := range usage.Days {
			n += d.TotalViews
		}
		return n
	}
	if n := sum("/v1/licenses/lic/daily?startDate=2024-01-01&endDate=2024-12-31"); n != rows/3*(1+1+2) { // none said is one
		t.Errorf("%d units of events are counted, want %d", n, rows/3*4)
	}
	want := int64(0)
	for i := range rows {
		want += int64(1 + i%7)
	}
	if n := sum("/v1/licenses/daily/daily?startDate=2006-01-01&endDate=2015-12-30") + sum("/v1/licenses/daily/daily?startDate=2015-12-31&endDate=2024-12-31"); n != want {
		t.Errorf("%d units of totals are counted, want %d", n, want)
	}
}
