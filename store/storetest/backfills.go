package storetest

import (
	"testing"

	"github.com/usance/usance"
)

func testBackfills(t *testing.T, s usance.Store) {
	ctx := t.Context()
	whole := usance.Backfill{LicenseID: "l2", StartDate: today - 9, EndDate: today, Status: usance.BackfillRunning, NextDate: today - 3, Days: 5, Skipped: 1,
		Events: 7, Changed: 2, Counters: 3, Error: "why", Actor: "admin", StartedAt: now, UpdatedAt: now, Runner: "node",
		Part: &usance.BackfillPart{Mark: "mark", Events: 3}}
	for hash := range uint64(9) {
		whole.Part.Sessions.Add(hash << 40)
	}
	full(t, whole)
	full(t, *whole.Part, "Rollups")
	for _, usageType := range []string{"click", "view"} {
		r := usance.Rollup{RollupKey: usance.RollupKey{LicenseID: "l2", Date: whole.NextDate, UsageType: usageType}}
		e := event("l2", 1, whole.NextDate)
		e.GeographicLocation = `a "place"`
		r.Add(&e)
		whole.Part.Rollups = append(whole.Part.Rollups, r)
	}
	bare := usance.Backfill{LicenseID: "l1", StartDate: today, EndDate: today, Status: usance.BackfillRunning, NextDate: today, Actor: "admin", StartedAt: now, UpdatedAt: now}
	done := bare
	done.LicenseID, done.Status = "l3", usance.BackfillDone
	update(t, s, func(tx usance.Tx) error {
		for _, b := range []usance.Backfill{whole, bare, done} {
			if err := tx.PutBackfill(ctx, b); err != nil {
				return err
			}
		}
		running, err := tx.RunningBackfills(ctx)
		equal(t, "RunningBackfills of the same transaction", running, []usance.Backfill{bare, whole})
		return err
	})
	read := func(id string) (b usance.Backfill, err error) {
		err = s.View(ctx, func(v usance.View) error {
			b, err = v.Backfill(ctx, id)
			return err
		})
		return b, err
	}
	for _, want := range []usance.Backfill{whole, bare, done} {
		got, err := read(want.LicenseID)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "Backfill", got, want)
	}
	if _, err := read("l4"); usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("Backfill of a licence that has none: %v", err)
	}
	whole.Status, whole.Runner, whole.Error = usance.BackfillFailed, "", ""
	update(t, s, func(tx usance.Tx) error { return tx.PutBackfill(ctx, whole) })
	got, err := read("l2")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Backfill written again", got, whole)
	view(t, s, func(v usance.View) error {
		running, err := v.RunningBackfills(ctx)
		equal(t, "RunningBackfills", running, []usance.Backfill{bare})
		return err
	})
}
