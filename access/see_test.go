package access

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// world is two brands and three creators: l1 and l2 of brand b1, l3 of b2. c1
// owns a1 and half of a2 (with c2), c3 owned a1 until yesterday, a3 is nobody's.
func world(t testing.TB) (*sqlite.Store, *Access) {
	t.Helper()
	store := newStore(t)
	today := usance.DateOf(now, time.UTC)
	rate, err := usance.ParseRate("1")
	if err != nil {
		t.Fatal(err)
	}
	put(t, store, func(ctx context.Context, tx usance.Tx) error {
		for _, id := range []string{"b1", "b2"} {
			if err := tx.PutBrand(ctx, usance.Brand{ID: id, Name: id, CreatedAt: now, UpdatedAt: now}); err != nil {
				return err
			}
		}
		for _, id := range []string{"c1", "c2", "c3"} {
			if err := tx.PutCreator(ctx, usance.Creator{ID: id, Name: id, CreatedAt: now, UpdatedAt: now}); err != nil {
				return err
			}
		}
		owners := map[string][]usance.Share{
			"a1": {{CreatorID: "c3", ShareBps: 10_000, To: &today}, {CreatorID: "c1", ShareBps: 10_000, From: &today}},
			"a2": {{CreatorID: "c1", ShareBps: 5000}, {CreatorID: "c2", ShareBps: 5000}},
			"a3": nil,
		}
		for id, shares := range owners {
			if err := tx.PutAsset(ctx, usance.Asset{ID: id, Name: id, Owners: shares, CreatedAt: now, UpdatedAt: now}); err != nil {
				return err
			}
		}
		for _, l := range [][3]string{{"l1", "b1", "a1"}, {"l2", "b1", "a3"}, {"l3", "b2", "a2"}} {
			licence := usance.NewLicense(l[0])
			licence.BrandID, licence.AssetID, licence.Status = l[1], l[2], usance.LicenseActive
			licence.FeeCents, licence.RevShareBps, licence.CreatedAt, licence.UpdatedAt = 777, 2000, now, now
			if l[0] == "l2" {
				licence.DeletedAt = &now
			}
			if err := tx.PutLicense(ctx, licence); err != nil {
				return err
			}
			threshold := usance.Threshold{
				ID: "t-" + l[0], LicenseID: l[0], UsageType: "view", PeriodType: usance.PeriodMonthly, IsActive: true,
				Terms:         usance.Terms{LimitQuantity: 1, AllowOverage: true, OverageRateCents: &rate},
				WarningLevels: []int{100}, CreatedAt: now, UpdatedAt: now,
			}
			if err := tx.PutThreshold(ctx, threshold); err != nil {
				return err
			}
			if err := tx.PutOverages(ctx, []usance.Overage{{
				ID: numbered(l[0], 1), LicenseID: l[0], ThresholdID: threshold.ID, Revision: 1, UsageType: "view",
				LimitQuantity: 1, OverageRateCents: &rate, Currency: "USD", Status: usance.OverageDetected,
				PeriodStart: now, PeriodEnd: now, DetectedAt: now, SettleAt: now, UpdatedAt: now,
			}}); err != nil {
				return err
			}
			if err := tx.AddAlerts(ctx, []usance.Alert{{
				ID: numbered(l[0], 2), Kind: usance.AlertThreshold, LicenseID: l[0], ThresholdID: threshold.ID,
				UsageType: "view", Level: 100, CreatedAt: now,
			}}); err != nil {
				return err
			}
		}
		return nil
	})
	return store, New(store, Options{Now: func() time.Time { return now }})
}

// numbered makes an id that a test can name again.
func numbered(licence string, n byte) usance.ID {
	id := usance.ID{6: 0x70, 8: 0x80, 14: n}
	id[15] = licence[1]
	return id
}

var (
	admin  = principal(usance.RoleAdmin, "")
	brand1 = principal(usance.RoleBrand, "b1")
	brand2 = principal(usance.RoleBrand, "b2")
	owner1 = principal(usance.RoleCreator, "c1")
	owner2 = principal(usance.RoleCreator, "c2")
	former = principal(usance.RoleCreator, "c3")
	free   = principal(usance.RoleIngest, "")
	bound  = Principal{key: usance.APIKey{ID: "bound", Role: usance.RoleIngest, BrandIDs: []string{"b1"}, LicenseIDs: []string{"l3"}}}
	narrow = Principal{key: usance.APIKey{ID: "narrow", Role: usance.RoleIngest, LicenseIDs: []string{"l3"}}}
	nobody = principal("", "")
)

func names() map[string]Principal {
	return map[string]Principal{
		"admin": admin, "brand1": brand1, "brand2": brand2, "owner1": owner1, "owner2": owner2, "former": former,
		"free": free, "bound": bound, "narrow": narrow, "nobody": nobody,
	}
}

// Who sees what by its id. What is hidden gets, letter for letter, the answer
// to an id that never was.
func TestWhatIsSeen(t *testing.T) {
	t.Parallel()
	store, a := world(t)
	seen := map[string]string{ // kind and id → the principals who see it
		"license l1": "admin brand1 owner1 free bound", "license l2": "admin brand1 free bound", "license l3": "admin brand2 owner1 owner2 free bound narrow",
		"brand b1": "admin brand1", "brand b2": "admin brand2",
		"creator c1": "admin owner1", "creator c2": "admin owner2", "creator c3": "admin former",
		"asset a1": "admin brand1 owner1", "asset a2": "admin brand2 owner1 owner2", "asset a3": "admin brand1",
		"threshold t-l1": "admin brand1", "threshold t-l2": "admin brand1", "threshold t-l3": "admin brand2",
		"overage l1": "admin brand1", "overage l2": "admin brand1", "overage l3": "admin brand2",
		"alert l1": "admin brand1", "alert l2": "admin brand1", "alert l3": "admin brand2",
	}
	look := func(v usance.View, p Principal, kind, id string) (err error) {
		ctx := t.Context()
		switch kind {
		case "license":
			_, err = a.License(ctx, v, p, id)
			if again := a.Check(p)(ctx, v, id); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("Check answers %v, License %v", again, err)
			}
		case "brand":
			_, err = a.Brand(ctx, v, p, id)
		case "creator":
			_, err = a.Creator(ctx, v, p, id)
		case "asset":
			_, err = a.Asset(ctx, v, p, id)
		case "threshold":
			_, err = a.Threshold(ctx, v, p, id)
		case "overage":
			_, err = a.Overage(ctx, v, p, numbered(id, 1))
		case "alert":
			_, err = a.Alert(ctx, v, p, numbered(id, 2))
		}
		return err
	}
	err := store.View(t.Context(), func(v usance.View) error {
		for thing, by := range seen {
			kind, id, _ := strings.Cut(thing, " ")
			for name, p := range names() {
				err := look(v, p, kind, id)
				want := slices.Contains(strings.Fields(by), name)
				if (err == nil) != want {
					t.Errorf("%s looks at %s: %v", name, thing, err)
				}
				if err == nil {
					continue
				}
				absent := "x9"
				if kind == "asset" || kind == "threshold" {
					absent = "no-such"
				}
				other := look(v, p, kind, absent)
				asHidden := strings.ReplaceAll(other.Error(), shown(kind, absent), shown(kind, id))
				if err.Error() != asHidden || usance.ErrorCode(err) != usance.ErrorCode(other) {
					t.Errorf("%s can tell %s from nothing: %v and %v", name, thing, err, other)
				}
				if code := usance.ErrorCode(err); code != usance.CodeNotFound && code != usance.CodeLicenseNotFound {
					t.Errorf("%s looks at %s: %v", name, thing, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// shown is an id as a message has it.
func shown(kind, id string) string {
	switch kind {
	case "overage":
		return fmt.Sprintf("%q", numbered(id, 1))
	case "alert":
		return fmt.Sprintf("%q", numbered(id, 2))
	}
	return fmt.Sprintf("%q", id)
}

// Listings through the scope show what look-ups by id show.
func TestScopeAgreesWithLookUps(t *testing.T) {
	t.Parallel()
	store, a := world(t)
	err := store.View(t.Context(), func(v usance.View) error {
		for name, p := range names() {
			if name == "bound" {
				continue // it lists nothing, and sends to the union; see Principal.Scope
			}
			listed, _, err := v.Licenses(t.Context(), usance.LicenseFilter{Scope: a.Scope(p), Deleted: true}, usance.Page{Limit: 100})
			if err != nil {
				return err
			}
			for _, id := range []string{"l1", "l2", "l3"} {
				_, err := a.License(t.Context(), v, p, id)
				in := slices.ContainsFunc(listed, func(l usance.License) bool { return l.ID == id })
				if in != (err == nil) {
					t.Errorf("%s: %s listed %t, looked up %v", name, id, in, err)
				}
			}
			assets, _, err := v.Assets(t.Context(), a.Scope(p), usance.Page{Limit: 100})
			if err != nil {
				return err
			}
			for _, id := range []string{"a1", "a2", "a3"} {
				_, err := a.Asset(t.Context(), v, p, id)
				in := slices.ContainsFunc(assets, func(x usance.Asset) bool { return x.ID == id })
				if p.May(ReadLicenses) && in != (err == nil) {
					t.Errorf("%s: %s listed %t, looked up %v", name, id, in, err)
				}
			}
		}
		if ls, _, err := v.Licenses(t.Context(), usance.LicenseFilter{Scope: a.Scope(bound), Deleted: true}, usance.Page{Limit: 100}); err != nil || len(ls) != 0 {
			t.Errorf("a key bound both ways lists %v, %v", ls, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHidden(t *testing.T) {
	t.Parallel()
	store, a := world(t)
	ids := []string{"l3", "l1", "none", "l1", "l2"}
	err := store.View(t.Context(), func(v usance.View) error {
		for _, c := range []struct {
			p    Principal
			want []string
		}{
			{admin, nil},
			{free, nil},
			{bound, []string{"none"}},
			{narrow, []string{"l1", "l2", "none"}},
			{brand1, []string{"l1", "l2", "l3", "none"}},
			{owner1, []string{"l1", "l2", "l3", "none"}},
		} {
			hidden, err := a.Hidden(t.Context(), v, c.p, ids)
			if err != nil {
				return err
			}
			var got []string
			for id := range hidden {
				got = append(got, id)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v hidden, want %v", c.p.ID(), got, c.want)
			}
			if c.p.SendsToAll() != (c.want == nil) {
				t.Errorf("%s: sends to all licences: %t", c.p.ID(), c.p.SendsToAll())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A licence may have been another brand's before it was used: what it was then
// is not for its brand of today.
func TestShowAudit(t *testing.T) {
	t.Parallel()
	row := usance.AuditEntry{Before: usance.RawJSON(`{"brandId":"b2","name":"x"}`), After: usance.RawJSON(`{"brandId":"b1"}`)}
	for _, c := range []struct {
		p             Principal
		before, after bool
	}{{admin, true, true}, {brand1, false, true}, {owner1, false, false}} {
		got := c.p.ShowAudit(row)
		if (got.Before != nil) != c.before || (got.After != nil) != c.after {
			t.Errorf("%s is shown %s and %s", c.p.ID(), got.Before, got.After)
		}
	}
	of := usance.AuditEntry{Before: usance.RawJSON(`{"limitQuantity":5}`), After: usance.RawJSON(`not JSON`)}
	if got := brand1.ShowAudit(of); got.Before == nil || got.After != nil {
		t.Errorf("of a threshold %s is shown, of what cannot be read %s", got.Before, got.After)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	licence := usance.NewLicense("l1")
	licence.FeeCents, licence.RevShareBps = 777, 2000
	asset := usance.Asset{ID: "a2", Owners: []usance.Share{{CreatorID: "c1", ShareBps: 5000}, {CreatorID: "c2", ShareBps: 5000}}}
	for _, c := range []struct {
		p      Principal
		fee    bool
		owners string
	}{
		{admin, true, `["c1","c2"]`}, {brand1, true, `[]`}, {owner1, false, `["c1"]`}, {owner2, false, `["c2"]`}, {former, false, `[]`}, {free, false, `[]`},
	} {
		b, err := json.Marshal(c.p.ShowLicense(licence))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if strings.Contains(text, `"feeCents":777`) != c.fee || strings.Contains(text, "feeCents") != c.fee || !strings.Contains(text, `"revShareBps":2000`) {
			t.Errorf("%s sees %s", c.p.ID(), text)
		}
		ids := []string{}
		for _, s := range c.p.ShowAsset(asset).Owners {
			ids = append(ids, s.CreatorID)
		}
		if b, _ := json.Marshal(ids); string(b) != c.owners {
			t.Errorf("%s %s sees owners %s", c.p.key.Role, c.p.key.PartyID, b)
		}
	}
	if len(asset.Owners) != 2 {
		t.Error("the asset itself was changed")
	}
}

// No two principals who see different things share a name in cache keys.
func TestViewer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for name, p := range names() {
		p.key.ID = name
		if other, ok := seen[p.Viewer()]; ok {
			t.Errorf("%s and %s are both %q", name, other, p.Viewer())
		}
		seen[p.Viewer()] = name
	}
}
