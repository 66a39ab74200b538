package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

// shardsURL gives a database whose tables are such as Citus has them.
func shardsURL(t *testing.T) string {
	t.Helper()
	url := pgtest.URL(t)
	_, err := raw(t, url).Exec(t.Context(), `ALTER TABLE license_usage_received DROP CONSTRAINT license_usage_received_pkey;
		ALTER TABLE license_usage_received ADD COLUMN license_id text COLLATE "C" NOT NULL DEFAULT '';
		ALTER TABLE license_usage_received ADD PRIMARY KEY (license_id, day, slot)`)
	must(t, err)
	return url
}

// recordOne records one batch with an event of each of so many licences.
func recordOne(t *testing.T, s *postgres.Store, licenses int) {
	t.Helper()
	ctx := t.Context()
	batch := usance.Batch{ID: usance.NewID(clock), At: clock}
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		err := errors.Join(putBrand(ctx, tx, "b"), tx.PutAsset(ctx, usance.Asset{ID: "a", Name: "a", CreatedAt: clock, UpdatedAt: clock}))
		for n := range licenses {
			l := usance.NewLicense(fmt.Sprintf("licence-%d", n))
			l.BrandID, l.AssetID, l.Status, l.CreatedAt, l.UpdatedAt = "b", "a", usance.LicenseActive, clock, clock
			err = errors.Join(err, tx.PutLicense(ctx, l))
			batch.Events = append(batch.Events, events(l.ID, 1)...)
		}
		return errors.Join(err, tx.AddEvents(ctx, []usance.Batch{batch}))
	}))
}

// takeAll takes what is pending, and gives how many events that were.
func takeAll(ctx context.Context, tx usance.Tx) (taken int, err error) {
	pending, err := tx.Pending(ctx, clock.Add(time.Hour), 100)
	if err != nil {
		return 0, err
	}
	ids, err := tx.TakePending(ctx, pending)
	if err != nil {
		return 0, err
	}
	return taken, tx.BatchEvents(ctx, ids, func(*usance.Event) error { taken++; return nil })
}

func mustTake(t *testing.T, s *postgres.Store, what string, want int) {
	t.Helper()
	must(t, s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		got, err := takeAll(t.Context(), tx)
		if err == nil && got != want {
			t.Errorf("%s: %d events were pending, want %d", what, got, want)
		}
		return err
	}))
}

// What is pending when shards were split is folded once, whichever nodes find it.
func TestSplitShards(t *testing.T) {
	t.Parallel()
	url := shardsURL(t)
	before, a, b := open(t, url), open(t, url), open(t, url)
	must(t, before.ByShards(t.Context(), 4))
	recordOne(t, before, 40)
	both := make(chan error)
	for _, s := range []*postgres.Store{a, b} {
		go func() { both <- s.ByShards(t.Context(), 8) }()
	}
	must(t, errors.Join(<-both, <-both))
	mustTake(t, a, "after the split", 40)
	mustTake(t, b, "once more", 0)
}

// A node that does not know of a split yet leaves pending what others find.
func TestLateNodeAfterSplit(t *testing.T) {
	t.Parallel()
	url := shardsURL(t)
	late, s := open(t, url), open(t, url)
	must(t, late.ByShards(t.Context(), 4))
	must(t, s.ByShards(t.Context(), 8))
	recordOne(t, late, 40)
	mustTake(t, s, "of a late node", 40)
	mustTake(t, late, "once more", 0)
}

// What another node folds while shards are looked up is not pending once more.
func TestFoldWhileShardsAreFound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := shardsURL(t)
	before, s, c := open(t, url), open(t, url), raw(t, url)
	must(t, before.ByShards(ctx, 4))
	recordOne(t, before, 40)
	found := make(chan error, 1)
	must(t, before.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		n, err := takeAll(ctx, tx)
		if err != nil || n != 40 {
			t.Errorf("%d events, %v", n, err)
		}
		go func() { found <- s.ByShards(ctx, 8) }()
		for waits := false; !waits && err == nil; {
			err = c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%pending_batches%')`).Scan(&waits)
		}
		return err
	}))
	must(t, <-found)
	mustTake(t, s, "after both", 0)
}

// A shard may hold one hash, of a licence that was isolated.
func TestKeyOfOneHash(t *testing.T) {
	t.Parallel()
	for _, hash := range []int32{postgres.HashText("licence-1"), -1, 1<<31 - 1} {
		if text := postgres.TextWith(hash, "/1/1/"); postgres.HashText(text) != hash {
			t.Errorf("%q has another hash", text)
		}
	}
}

// A node ends its work when a shard was split, and finds all when it starts anew.
func TestSplitOnCitus(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.OnCitus(t)
	s := open(t, url)
	recordOne(t, s, 40)
	_, err := raw(t, url).Exec(ctx, `SELECT isolate_tenant_to_new_shard('licenses', 'licence-7', 'CASCADE', shard_transfer_mode => 'block_writes')`)
	must(t, err)
	s.LookAtShards()
	if err := s.Ping(ctx); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("after a split: %v", err)
	}
	s = open(t, url)
	if n := s.Shards().Count; n < 5 {
		t.Errorf("%d shards", n)
	}
	mustTake(t, s, "after the split", 40)
	must(t, s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(clock), At: clock, Events: events("licence-7", 1)}})
	}))
	mustTake(t, s, "of the isolated licence", 1)
}
