package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

func TestHashText(t *testing.T) {
	t.Parallel()
	var texts []string
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		texts = append(texts, strings.Repeat("licence ", 8)[:n])
		var b strings.Builder
		for range n {
			b.WriteRune(rune(1 + rng.IntN(0x2fff)))
		}
		texts = append(texts, b.String())
	}
	rows, err := raw(t, pgtest.URL(t)).Query(t.Context(), `SELECT hashtext(text COLLATE "C") FROM unnest($1::text[]) WITH ORDINALITY AS u (text, n) ORDER BY n`, texts)
	must(t, err)
	want, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	must(t, err)
	for i, text := range texts {
		if got := postgres.HashText(text); got != want[i] {
			t.Errorf("the hash of %q is %d, and %d in PostgreSQL", text, got, want[i])
		}
	}
}

// Every table has its place: a new one must be given one by its migration.
func TestPlacesOnCitus(t *testing.T) {
	t.Parallel()
	url := pgtest.OnCitus(t)
	s := open(t, url)
	c := raw(t, url)
	rows, err := c.Query(t.Context(), `SELECT c.relname, CASE WHEN p.partmethod = 'h' THEN 'by ' || column_to_column_name(p.logicalrelid, p.partkey)
			WHEN p.repmodel = 't' THEN 'everywhere' WHEN p.repmodel = 's' THEN 'here, and known' ELSE 'here' END
		FROM pg_class c LEFT JOIN pg_dist_partition p ON p.logicalrelid = c.oid
		WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname !~ '_[0-9]+$' ORDER BY 1`)
	must(t, err)
	var name, got string
	_, err = pgx.ForEachRow(rows, []any{&name, &got}, func() error {
		want := map[string]string{
			"licenses": "by id", "brands": "everywhere", "creators": "everywhere", "assets": "everywhere", "asset_owners": "everywhere",
			"api_keys": "here, and known", "api_keys_version": "here, and known", "api_keys_used": "here, and known", "job_states": "here, and known",
			"jobs": "here", "job_runs": "here", "secrets": "here", postgres.VersionTable: "here",
		}[name]
		if want == "" {
			want = "by license_id"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
		return nil
	})
	must(t, err)
	shards := s.Shards()
	for n := range 100 {
		id := fmt.Sprintf("licence-%d", n)
		var want int
		must(t, c.QueryRow(t.Context(), `SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'license_usage_events'::regclass AND shardminvalue::bigint <=
			(SELECT shardminvalue::bigint FROM pg_dist_shard WHERE shardid = get_shard_id_for_distribution_column('license_usage_events', $1::text))`, id).Scan(&want))
		if got := shards.Of(id); got != want {
			t.Errorf("%s lies on shard %d, want %d", id, got, want)
		}
	}
}

// What is there stays when the tables are distributed, and when they are no more.
func TestDistributeWhatIsThereOnCitus(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.OnCitus(t)
	s := open(t, url)
	put := func(licenses ...string) {
		t.Helper()
		must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			err := errors.Join(putBrand(ctx, tx, "b"), tx.PutAsset(ctx, usance.Asset{ID: "a", Name: "a", CreatedAt: clock, UpdatedAt: clock}))
			for _, id := range licenses {
				l := usance.NewLicense(id)
				l.BrandID, l.AssetID, l.Status, l.CreatedAt, l.UpdatedAt = "b", "a", usance.LicenseActive, clock, clock
				batch := usance.Batch{ID: usance.NewID(clock), At: clock, Events: events(id, 3)}
				err = errors.Join(err, tx.PutLicense(ctx, l), tx.AddEvents(ctx, []usance.Batch{batch}))
			}
			return err
		}))
	}
	check := func(what string, licenses ...string) {
		t.Helper()
		must(t, s.View(ctx, func(v usance.View) error {
			st, err := v.Status(ctx)
			if err != nil {
				return err
			}
			if n := int64(len(licenses)); st.EventsLatestDay != 3*n || st.TrackedActive != n || st.PendingEvents < 3*n {
				t.Errorf("%s: %+v", what, st)
			}
			for _, id := range licenses {
				used, err := v.DayUsage(ctx, id, today, today+1)
				if err != nil || len(used) != 1 || used[0].Events != 3 {
					t.Errorf("%s: %s used %+v, %v", what, id, used, err)
				}
			}
			return nil
		}))
	}
	put("l1", "l2", "l3")
	check("distributed", "l1", "l2", "l3")
	undone, err := s.Migrations().Down(ctx)
	must(t, err)
	if undone != "20261130000010_distribute_by_license" {
		t.Fatalf("took back %s", undone)
	}
	if s, err = postgres.Open(ctx, url, postgres.Options{LeaveSchema: true}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Shards().Several() {
		t.Error("the tables are still distributed")
	}
	check("on one server", "l1", "l2", "l3")
	put("l4")
	check("on one server", "l1", "l2", "l3", "l4")
	s = open(t, url) // brings the schema up to date
	if !s.Shards().Several() {
		t.Error("the tables are not distributed")
	}
	check("distributed once more", "l1", "l2", "l3", "l4")
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		var pending []usance.Batch
		if pending, err = tx.Pending(ctx, clock.Add(time.Hour), 100); err != nil {
			return err
		}
		var ids []usance.ID
		if ids, err = tx.TakePending(ctx, pending); err != nil {
			return err
		}
		n := 0
		err = tx.BatchEvents(ctx, ids, func(*usance.Event) error { n++; return nil })
		if n != 12 {
			t.Errorf("%d events of %d batches are pending, want 12", n, len(slices.Compact(ids)))
		}
		return err
	}))
}
