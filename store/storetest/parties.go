package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

func testParties(t *testing.T, s usance.Store) {
	ctx := t.Context()
	brand := usance.Brand{ID: "b1", Name: "Brand \"ä\" 'x' \\ 漢", CreatedAt: now, UpdatedAt: now.Add(time.Second)}
	creator := usance.Creator{ID: "c1", Name: "Creator", Email: "c@example.com", CreatedAt: now, UpdatedAt: now.Add(time.Second)}
	asset := usance.Asset{ID: "a1", Name: "Asset", Type: "photo", CreatedAt: now, UpdatedAt: now.Add(time.Second), Owners: []usance.Share{
		{CreatorID: "z", ShareBps: 4000, To: ptr(today)},
		{CreatorID: "c1", ShareBps: 6000, From: ptr(today - 30), To: ptr(today)},
		{CreatorID: "c1", ShareBps: 10_000, From: ptr(today)},
	}}
	full(t, brand)
	full(t, creator)
	full(t, asset)
	for range 2 { // the second time rewrites
		update(t, s, func(tx usance.Tx) error {
			if err := tx.PutBrand(ctx, brand); err != nil {
				return err
			}
			if err := tx.PutCreator(ctx, creator); err != nil {
				return err
			}
			return tx.PutAsset(ctx, asset)
		})
		view(t, s, func(v usance.View) error {
			gotBrand, err := v.Brand(ctx, "b1")
			if err != nil {
				return err
			}
			equal(t, "Brand", gotBrand, brand)
			gotCreator, err := v.Creator(ctx, "c1")
			if err != nil {
				return err
			}
			equal(t, "Creator", gotCreator, creator)
			gotAsset, err := v.Asset(ctx, "a1")
			equal(t, "Asset", gotAsset, asset)
			return err
		})
		brand.Name, brand.UpdatedAt = "Other", now.Add(time.Hour)
		creator.Name, creator.Email = "Other", ""
		asset.Name, asset.Type = "Other", ""
		asset.Owners = []usance.Share{{CreatorID: "z", ShareBps: 10_000}}
	}
}

func fullLicense() usance.License {
	return usance.License{
		ID: "l1", Name: "Licence", BrandID: "b1", AssetID: "a1", Status: usance.LicenseSuspended, Timezone: "Europe/Berlin",
		BillingAnchorDay: 31, Currency: "EUR", StartDate: "2026-01-01", EndDate: "2026-12-31T23:00:00Z", FeeCents: 123_456,
		RevShareBps: 2500, UsageTrackingEnabled: true, DeletedAt: ptr(now.Add(time.Minute)), CreatedAt: now, UpdatedAt: now.Add(time.Second),
	}
}

func testLicenseUpsert(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s)
	first := fullLicense()
	full(t, first)
	second := license("l1", "brand", "asset")
	second.UsageTrackingEnabled = false
	for _, want := range []usance.License{first, second} {
		update(t, s, func(tx usance.Tx) error { return tx.PutLicense(ctx, want) })
		view(t, s, func(v usance.View) error {
			got, err := v.License(ctx, "l1")
			equal(t, "License", got, want)
			return err
		})
	}
}

func testMissingRows(t *testing.T, s usance.Store) {
	ctx := t.Context()
	view(t, s, func(v usance.View) error {
		_, err := v.License(ctx, "none")
		wantCode(t, "License", err, usance.CodeLicenseNotFound)
		for what, read := range map[string]func() error{
			"Brand":      func() error { _, err := v.Brand(ctx, "none"); return err },
			"Creator":    func() error { _, err := v.Creator(ctx, "none"); return err },
			"Asset":      func() error { _, err := v.Asset(ctx, "none"); return err },
			"Threshold":  func() error { _, err := v.Threshold(ctx, "none"); return err },
			"Overage":    func() error { _, err := v.Overage(ctx, id(1)); return err },
			"Alert":      func() error { _, err := v.Alert(ctx, id(1)); return err },
			"EventByKey": func() error { _, err := v.EventByKey(ctx, "none", "k"); return err },
			"EventByID":  func() error { _, err := v.EventByID(ctx, "none", id(1)); return err },
			"APIKey":     func() error { _, err := v.APIKey(ctx, "none"); return err },
		} {
			wantCode(t, what, read(), usance.CodeNotFound)
		}
		facts, err := v.Facts(ctx, []string{"none"})
		if err != nil {
			return err
		}
		equal(t, "Facts", facts, nil)
		visible, err := v.Visible(ctx, usance.Scope{}, "none")
		if visible {
			t.Error("a licence that does not exist is visible")
		}
		return err
	})
	_, err := s.APIKeyByHash(ctx, []byte("none"))
	wantCode(t, "APIKeyByHash", err, usance.CodeNotFound)
}

func testFacts(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l3", "l1", "l2")
	deleted := license("l2", "brand", "asset")
	deleted.DeletedAt = ptr(now)
	thresholds := []usance.Threshold{threshold("t1", "l1"), threshold("t2", "l1"), threshold("t0", "l3")}
	thresholds[1].IsActive = false
	update(t, s, func(tx usance.Tx) error {
		for _, h := range thresholds {
			if err := tx.PutThreshold(ctx, h); err != nil {
				return err
			}
		}
		if err := tx.CloseDays(ctx, []usance.Day{{LicenseID: "l2", Date: today - 20}, {LicenseID: "l2", Date: today - 10}}); err != nil {
			return err
		}
		return tx.PutLicense(ctx, deleted)
	})
	view(t, s, func(v usance.View) error {
		got, err := v.Facts(ctx, []string{"l3", "none", "l1", "l2", "it's \"quoted\" \\ ä"})
		equal(t, "Facts", got, []usance.Facts{
			{License: license("l1", "brand", "asset"), Thresholds: thresholds[:2], ClosedTo: usance.MinDate},
			{License: deleted, ClosedTo: today - 9},
			{License: license("l3", "brand", "asset"), Thresholds: thresholds[2:], ClosedTo: usance.MinDate},
		})
		return err
	})
}

// testUnreadable has a threshold that somebody wrote by SQL: it is nobody's but its
// licence's trouble.
func testUnreadable(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	good, other, bad := threshold("t1", "l1"), threshold("t2", "l2"), threshold("t3", "l2")
	bad.PeriodType = "MONTHLY"
	update(t, s, func(tx usance.Tx) error {
		for _, h := range []usance.Threshold{good, other, bad} {
			if err := tx.PutThreshold(ctx, h); err != nil {
				return err
			}
		}
		return nil
	})
	told := func(what string, err error) {
		t.Helper()
		unreadable, ok := errors.AsType[*usance.UnreadableError](err)
		if !ok || unreadable.LicenseID != "l2" || unreadable.ThresholdID != "t3" || !strings.Contains(unreadable.Problem, `"MONTHLY"`) {
			t.Errorf("%s: %v, want one that names the row and what is wrong with it", what, err)
		}
	}
	check := func(what string, v usance.View) error {
		facts, err := v.Facts(ctx, []string{"l1", "l2"})
		if err != nil {
			return err
		}
		equal(t, what+": thresholds that can be read", [][]usance.Threshold{facts[0].Thresholds, facts[1].Thresholds}, [][]usance.Threshold{{good}, {other}})
		if facts[0].Fault != nil {
			t.Errorf("%s: %v for a licence whose thresholds are right", what, facts[0].Fault)
		}
		_, _, _, err = facts[1].Term()
		told(what+": the licence's facts", err)
		return nil
	}
	view(t, s, func(v usance.View) error {
		_, err := v.Threshold(ctx, "t3")
		told("the threshold", err)
		_, _, err = v.Thresholds(ctx, usance.ThresholdFilter{LicenseID: "l2"}, usance.Page{Limit: 10})
		told("those of its licence", err)
		var listed []string
		for p := (usance.Page{Limit: 1}); ; {
			var some []usance.Threshold
			if some, p.Cursor, err = v.Thresholds(ctx, usance.ThresholdFilter{}, p); err != nil {
				return err
			}
			for i := range some {
				listed = append(listed, some[i].ID)
			}
			if p.Cursor == "" {
				break
			}
		}
		equal(t, "those of all", listed, []string{"t1", "t2"})
		return check("view", v)
	})
	for _, what := range []string{"read", "kept"} {
		update(t, s, func(tx usance.Tx) error { return check(what, tx) })
	}
	bad.PeriodType = usance.PeriodMonthly
	update(t, s, func(tx usance.Tx) error { return tx.PutThreshold(ctx, bad) })
	update(t, s, func(tx usance.Tx) error {
		facts, err := tx.Facts(ctx, []string{"l2"})
		if err == nil && (facts[0].Fault != nil || len(facts[0].Thresholds) != 2) {
			t.Errorf("mended: %v, %d thresholds", facts[0].Fault, len(facts[0].Thresholds))
		}
		return err
	})
}

// UnreadableRow is of a store's own tests, since what a row can hold is the
// dialect's: a threshold whose row does not scan is its licence's trouble alone,
// and the rows behind it are read. exec runs a statement behind the store's back;
// each of spoiled is what an UPDATE sets.
func UnreadableRow(t *testing.T, s usance.Store, exec func(statement string), spoiled ...string) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2", "l3")
	update(t, s, func(tx usance.Tx) error {
		for _, id := range []string{"l1", "l2", "l3"} {
			if err := tx.PutThreshold(ctx, threshold("of "+id, id)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, set := range spoiled {
		exec(`UPDATE license_usage_thresholds SET overage_rate_cents = NULL, warning_levels = '[]', overage_tiers = NULL, retired_at = NULL`)
		exec(`UPDATE license_usage_thresholds SET ` + set + ` WHERE license_id = 'l2'`)
		look := func(v usance.View) error {
			facts, err := v.Facts(ctx, []string{"l1", "l2", "l3"})
			if err != nil {
				return fmt.Errorf("%s: %w", set, err)
			}
			for _, f := range facts {
				if bad := f.License.ID == "l2"; (f.Fault != nil) != bad || (len(f.Thresholds) == 1) == bad {
					t.Errorf("%s: %s has %d thresholds, fault %v", set, f.License.ID, len(f.Thresholds), f.Fault)
				}
			}
			all, _, err := v.Thresholds(ctx, usance.ThresholdFilter{}, usance.Page{Limit: 10})
			if len(all) != 2 || err != nil {
				t.Errorf("%s: %d thresholds are listed, %v", set, len(all), err)
			}
			_, err = v.Threshold(ctx, "of l2")
			if unreadable, ok := errors.AsType[*usance.UnreadableError](err); !ok || unreadable.LicenseID != "l2" {
				t.Errorf("%s: the threshold by its id: %v", set, err)
			}
			return nil
		}
		view(t, s, look)
		update(t, s, func(tx usance.Tx) error { return look(tx) })
	}
}

func testTimes(t *testing.T, s usance.Store) {
	ctx := t.Context()
	zone, err := usance.ParseZone("Asia/Kathmandu")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{
		now, now.In(zone), time.Unix(0, 0), time.Unix(-1, 999_999_999),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		update(t, s, func(tx usance.Tx) error {
			return tx.PutBrand(ctx, usance.Brand{ID: "b", Name: "B", CreatedAt: at, UpdatedAt: at})
		})
		view(t, s, func(v usance.View) error {
			b, err := v.Brand(ctx, "b")
			// Strictly: the same instant, in UTC, with no finer part.
			if want := at.UTC().Truncate(time.Microsecond); b.CreatedAt != want {
				t.Errorf("%v was read as %v, want %v", at, b.CreatedAt, want)
			}
			return err
		})
	}
}
