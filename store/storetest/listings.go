package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// listing is one of the store's listings over rows that the test numbers.
type listing struct {
	name string
	// list names the rows of a page.
	list func(ctx context.Context, s usance.Store, p usance.Page) ([]string, string, error)
	// add adds the n-th row and names it.
	add func(ctx context.Context, tx usance.Tx, n int) (string, error)
	// descending tells that later rows come first.
	descending bool
}

func names[T any](rows []T, next string, err error, name func(T) string) ([]string, string, error) {
	var out []string
	for _, r := range rows {
		out = append(out, name(r))
	}
	return out, next, err
}

// viewed lists within a View.
func viewed[T any](name func(T) string, list func(context.Context, usance.View, usance.Page) ([]T, string, error)) func(context.Context, usance.Store, usance.Page) ([]string, string, error) {
	return func(ctx context.Context, s usance.Store, p usance.Page) (out []string, next string, err error) {
		err = s.View(ctx, func(v usance.View) error {
			rows, n, err := list(ctx, v, p)
			out, next, err = names(rows, n, err, name)
			return err
		})
		return out, next, err
	}
}

func listings() []listing {
	row := func(n int) string { return fmt.Sprintf("row-%03d", n) }
	return []listing{
		{name: "brands",
			list: viewed(func(b usance.Brand) string { return b.ID }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Brand, string, error) {
				return v.Brands(ctx, usance.Scope{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				return row(n), tx.PutBrand(ctx, usance.Brand{ID: row(n), Name: "B"})
			}},
		{name: "creators",
			list: viewed(func(c usance.Creator) string { return c.ID }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Creator, string, error) {
				return v.Creators(ctx, usance.Scope{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				return row(n), tx.PutCreator(ctx, usance.Creator{ID: row(n), Name: "C"})
			}},
		{name: "assets",
			list: viewed(func(a usance.Asset) string { return fmt.Sprint(a.ID, len(a.Owners)) }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Asset, string, error) {
				return v.Assets(ctx, usance.Scope{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				owners := []usance.Share{{CreatorID: "c2", ShareBps: 4000}, {CreatorID: "c1", ShareBps: 6000}}[:n%3]
				return fmt.Sprint(row(n), len(owners)), tx.PutAsset(ctx, usance.Asset{ID: row(n), Name: "A", Owners: owners})
			}},
		{name: "licences",
			list: viewed(func(l usance.License) string { return l.ID }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.License, string, error) {
				return v.Licenses(ctx, usance.LicenseFilter{BrandID: "paged"}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				return row(n), tx.PutLicense(ctx, license(row(n), "paged", "a"))
			}},
		{name: "events", descending: true,
			list: viewed(func(e usance.Event) string { return e.IdempotencyKey }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Event, string, error) {
				return v.Events(ctx, usance.EventFilter{LicenseID: "l1"}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				e := event("l1", n, today+usance.Date(n/3))
				return e.IdempotencyKey, tx.AddEvents(ctx, []usance.Batch{{ID: id(1000 + n), At: now, Events: []usance.Event{e}}})
			}},
		{name: "evidence", descending: true,
			list: viewed(func(e usance.Evidence) string { return e.IdempotencyKey }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Evidence, string, error) {
				return v.Evidence(ctx, usance.EventFilter{LicenseID: "l1"}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				e := usance.Evidence{Event: event("l1", n, today), Status: usance.StatusBlocked, Attempts: 1, FirstAt: now, LastAt: now.Add(time.Duration(n/2) * time.Second)}
				e.IdempotencyKey = row(n) // several at one instant
				return row(n), tx.PutEvidence(ctx, []usance.Evidence{e})
			}},
		{name: "thresholds",
			list: viewed(func(h usance.Threshold) string { return h.ID }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Threshold, string, error) {
				return v.Thresholds(ctx, usance.ThresholdFilter{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				h := threshold(row(n), fmt.Sprintf("l%d", 1+n/50))
				h.PeriodType = []usance.PeriodType{usance.PeriodDaily, usance.PeriodWeekly, usance.PeriodMonthly}[n%3]
				h.UsageType = fmt.Sprintf("type-%d", n)
				return row(n), tx.PutThreshold(ctx, h)
			}},
		{name: "overages", descending: true,
			list: viewed(func(o usance.Overage) string { return o.Notes }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Overage, string, error) {
				return v.Overages(ctx, usance.OverageFilter{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				o := overage(n, "l1", "t1", n)
				o.Notes = row(n)
				return row(n), tx.PutOverages(ctx, []usance.Overage{o})
			}},
		{name: "alerts", descending: true,
			list: viewed(func(a usance.Alert) string { return a.UsageType }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.Alert, string, error) {
				return v.Alerts(ctx, usance.AlertFilter{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				a := alert(n, "l1")
				a.UsageType = row(n)
				return row(n), tx.AddAlerts(ctx, []usance.Alert{a})
			}},
		{name: "forecasts", descending: true,
			list: viewed(func(f usance.Forecast) string { return f.ForecastingMethod }, listForecasts),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				f := predicted(n, "l1", today+usance.Date(n))
				f.ForecastingMethod = row(n)
				return row(n), tx.PutForecasts(ctx, []usance.Forecast{f})
			}},
		{name: "audit", descending: true,
			list: viewed(func(e usance.AuditEntry) string { return e.Subject }, func(ctx context.Context, v usance.View, p usance.Page) ([]usance.AuditEntry, string, error) {
				return v.Audit(ctx, usance.AuditFilter{}, p)
			}),
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				return row(n), tx.AddAudit(ctx, []usance.AuditEntry{{ID: id(n), At: now, Actor: "a", Action: "x", Subject: row(n)}})
			}},
		{name: "keys",
			list: func(ctx context.Context, s usance.Store, p usance.Page) ([]string, string, error) {
				rows, next, err := s.APIKeys(ctx, p)
				return names(rows, next, err, func(k usance.APIKey) string { return k.ID })
			},
			add: func(ctx context.Context, tx usance.Tx, n int) (string, error) {
				return row(n), tx.PutAPIKey(ctx, usance.APIKey{ID: row(n), Role: usance.RoleAdmin, Hash: []byte(row(n))})
			}},
	}
}

// Pages of any size hold every row that was there from the beginning once and
// in order, though rows are added before and after the cursor meanwhile.
func testPages(t *testing.T, s usance.Store) {
	const rows = 7
	ctx := t.Context()
	putLicenses(t, s, "l1")
	for _, l := range listings() {
		add := func(n int) (name string) {
			update(t, s, func(tx usance.Tx) (err error) {
				name, err = l.add(ctx, tx, n)
				return err
			})
			return name
		}
		var want []string
		for n := range rows {
			want = append(want, add(100+10*n)) // room between them
		}
		if l.descending {
			slices.Reverse(want)
		}
		for size := 1; size <= 3; size++ {
			var got []string
			cursor := ""
			for pages := 0; ; pages++ {
				if pages > 10*rows {
					t.Fatalf("%s: pages without end", l.name)
				}
				page, next, err := l.list(ctx, s, usance.Page{Cursor: cursor, Limit: size})
				if err != nil {
					t.Fatalf("%s: %v", l.name, err)
				}
				if len(page) > size || next != "" && len(page) != size {
					t.Errorf("%s: a page of %d rows, limit %d", l.name, len(page), size)
				}
				got = append(got, page...)
				if next == "" {
					break
				}
				cursor = next
				if pages < 3 {
					// For each size other numbers: at both ends.
					add(10*size + pages)
					add(900 + 10*size + pages)
				}
			}
			if seen := len(got); seen != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
				t.Errorf("%s, %d a page: a row came twice: %q", l.name, size, got)
			}
			old := slices.DeleteFunc(got, func(n string) bool { return !slices.Contains(want, n) })
			equal(t, fmt.Sprintf("%s, %d a page", l.name, size), old, want)
		}
	}
}

func testPageBounds(t *testing.T, s usance.Store) {
	for _, l := range listings() {
		for _, limit := range []int{-1, 0, 1001} {
			_, _, err := l.list(t.Context(), s, usance.Page{Limit: limit})
			wantCode(t, fmt.Sprintf("%s with limit %d", l.name, limit), err, usance.CodeValidation)
		}
		rows, next, err := l.list(t.Context(), s, usance.Page{Limit: 1000})
		if len(rows) > 0 || next != "" || err != nil {
			t.Errorf("%s, empty: %v, %q, %v", l.name, rows, next, err)
		}
	}
}

func testCursors(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1")
	all := listings()
	cursors := make([]string, len(all))
	for i, l := range all {
		for n := range 2 {
			update(t, s, func(tx usance.Tx) error {
				_, err := l.add(ctx, tx, 500+n)
				return err
			})
		}
		_, next, err := l.list(ctx, s, usance.Page{Limit: 1})
		if err != nil || next == "" {
			t.Fatalf("%s: no cursor: %v", l.name, err)
		}
		cursors[i] = next
	}
	for i, l := range all {
		c := []byte(cursors[i])
		bad := map[string]string{
			"cut":     string(c[:len(c)-1]),
			"longer":  string(c) + "A",
			"no text": "\xff",
			"a row":   "row-500",
			"spaced":  " " + string(c),
		}
		for at := range c {
			flipped := slices.Clone(c)
			flipped[at] = map[bool]byte{true: 'B', false: 'A'}[c[at] == 'A']
			bad[fmt.Sprint("changed at ", at)] = string(flipped)
		}
		for j := range all {
			if j != i {
				bad["of "+all[j].name] = cursors[j]
			}
		}
		for what, cursor := range bad {
			_, _, err := l.list(ctx, s, usance.Page{Cursor: cursor, Limit: 1})
			wantCode(t, l.name+", cursor "+what, err, usance.CodeValidation)
		}
	}
}

// testScopes has two brands and two creators:
//
//	licence  brand  asset  owned by
//	l1       b1     a1     c1, from today on by c2
//	l2       b2     a2     c2
//	l3       b1     a2     c2
//	(none)          a3     c1
//	(none)   b3
func testScopes(t *testing.T, s usance.Store) {
	ctx := t.Context()
	update(t, s, func(tx usance.Tx) error {
		for _, b := range []string{"b1", "b2", "b3"} {
			if err := tx.PutBrand(ctx, usance.Brand{ID: b, Name: b}); err != nil {
				return err
			}
		}
		for _, c := range []string{"c1", "c2"} {
			if err := tx.PutCreator(ctx, usance.Creator{ID: c, Name: c}); err != nil {
				return err
			}
		}
		for _, a := range []usance.Asset{
			{ID: "a1", Name: "a1", Owners: []usance.Share{{CreatorID: "c1", ShareBps: 10_000, To: ptr(today)}, {CreatorID: "c2", ShareBps: 10_000, From: ptr(today)}}},
			{ID: "a2", Name: "a2", Owners: []usance.Share{{CreatorID: "c2", ShareBps: 10_000}}},
			{ID: "a3", Name: "a3", Owners: []usance.Share{{CreatorID: "c1", ShareBps: 10_000}}},
		} {
			if err := tx.PutAsset(ctx, a); err != nil {
				return err
			}
		}
		for n, l := range []usance.License{license("l1", "b1", "a1"), license("l2", "b2", "a2"), license("l3", "b1", "a2")} {
			if err := tx.PutLicense(ctx, l); err != nil {
				return err
			}
			if err := tx.PutThreshold(ctx, threshold("t-"+l.ID, l.ID)); err != nil {
				return err
			}
			if err := tx.PutOverages(ctx, []usance.Overage{overage(n+1, l.ID, "t-"+l.ID, 1)}); err != nil {
				return err
			}
			if err := tx.AddAlerts(ctx, []usance.Alert{alert(n+1, l.ID)}); err != nil {
				return err
			}
			if err := tx.PutForecasts(ctx, []usance.Forecast{predicted(n+1, l.ID, today)}); err != nil {
				return err
			}
		}
		return nil
	})
	list := func(what ...string) []string { return what }
	for _, c := range []struct {
		name                               string
		scope                              usance.Scope
		licenses, brands, creators, assets []string
	}{
		{"all", usance.Scope{}, list("l1", "l2", "l3"), list("b1", "b2", "b3"), list("c1", "c2"), list("a1", "a2", "a3")},
		{"brand", usance.Scope{BrandIDs: list("b1")}, list("l1", "l3"), list("b1"), nil, list("a1", "a2")},
		{"two brands", usance.Scope{BrandIDs: list("b1", "b2")}, list("l1", "l2", "l3"), list("b1", "b2"), nil, list("a1", "a2")},
		{"brand without licences", usance.Scope{BrandIDs: list("b3")}, nil, list("b3"), nil, nil},
		{"no brand", usance.Scope{BrandIDs: []string{}}, nil, nil, nil, nil},
		{"unknown brand", usance.Scope{BrandIDs: list("' OR 1=1 --")}, nil, nil, nil, nil},
		{"licences", usance.Scope{LicenseIDs: list("l2", "none")}, list("l2"), list("b2"), nil, list("a2")},
		{"no licence", usance.Scope{LicenseIDs: []string{}}, nil, nil, nil, nil},
		{"brand and licences", usance.Scope{BrandIDs: list("b1"), LicenseIDs: list("l2", "l3")}, list("l3"), list("b1"), nil, list("a2")},
		{"creator yesterday", usance.Scope{CreatorID: "c1", Today: today - 1}, list("l1"), list("b1"), list("c1"), list("a1", "a3")},
		{"creator today", usance.Scope{CreatorID: "c1", Today: today}, nil, nil, list("c1"), list("a3")},
		{"other creator yesterday", usance.Scope{CreatorID: "c2", Today: today - 1}, list("l2", "l3"), list("b1", "b2"), list("c2"), list("a2")},
		{"other creator today", usance.Scope{CreatorID: "c2", Today: today}, list("l1", "l2", "l3"), list("b1", "b2"), list("c2"), list("a1", "a2")},
		{"creator and brand", usance.Scope{CreatorID: "c2", Today: today, BrandIDs: list("b2")}, list("l2"), list("b2"), list("c2"), list("a2")},
		{"unknown creator", usance.Scope{CreatorID: "c3", Today: today}, nil, nil, nil, nil},
	} {
		view(t, s, func(v usance.View) error {
			page := usance.Page{Limit: 100}
			check := func(what string, sort bool, want []string) func([]string, string, error) {
				return func(got []string, _ string, err error) {
					t.Helper()
					if sort {
						slices.Sort(got)
					}
					if err != nil {
						t.Errorf("%s, %s: %v", c.name, what, err)
					}
					equal(t, c.name+", "+what, got, want)
				}
			}
			licenses, n, err := v.Licenses(ctx, usance.LicenseFilter{Scope: c.scope}, page)
			check("licences", false, c.licenses)(names(licenses, n, err, func(l usance.License) string { return l.ID }))
			thresholds, n, err := v.Thresholds(ctx, usance.ThresholdFilter{Scope: c.scope}, page)
			check("thresholds", false, c.licenses)(names(thresholds, n, err, func(h usance.Threshold) string { return h.LicenseID }))
			overages, n, err := v.Overages(ctx, usance.OverageFilter{Scope: c.scope}, page)
			check("overages", true, c.licenses)(names(overages, n, err, func(o usance.Overage) string { return o.LicenseID }))
			alerts, n, err := v.Alerts(ctx, usance.AlertFilter{Scope: c.scope}, page)
			check("alerts", true, c.licenses)(names(alerts, n, err, func(a usance.Alert) string { return a.LicenseID }))
			forecasts, n, err := v.Forecasts(ctx, usance.ForecastFilter{Scope: c.scope}, page)
			check("forecasts", true, c.licenses)(names(forecasts, n, err, func(f usance.Forecast) string { return f.LicenseID }))
			brands, n, err := v.Brands(ctx, c.scope, page)
			check("brands", false, c.brands)(names(brands, n, err, func(b usance.Brand) string { return b.ID }))
			creators, n, err := v.Creators(ctx, c.scope, page)
			check("creators", false, c.creators)(names(creators, n, err, func(c usance.Creator) string { return c.ID }))
			assets, n, err := v.Assets(ctx, c.scope, page)
			check("assets", false, c.assets)(names(assets, n, err, func(a usance.Asset) string { return a.ID }))
			for _, l := range []string{"l1", "l2", "l3"} {
				visible, err := v.Visible(ctx, c.scope, l)
				if err != nil {
					return err
				}
				if visible != slices.Contains(c.licenses, l) {
					t.Errorf("%s: Visible(%s) = %t", c.name, l, visible)
				}
			}
			// A page must not run short for rows that the scope hides.
			for limit := 1; limit <= len(c.licenses); limit++ {
				got, next, err := v.Licenses(ctx, usance.LicenseFilter{Scope: c.scope}, usance.Page{Limit: limit})
				if err != nil {
					return err
				}
				if len(got) != limit || (next == "") != (limit == len(c.licenses)) {
					t.Errorf("%s: a page of %d licences has %d, cursor %q", c.name, limit, len(got), next)
				}
			}
			return nil
		})
	}
}

func testFilters(t *testing.T, s usance.Store) {
	ctx := t.Context()
	update(t, s, func(tx usance.Tx) error {
		l1, l2, l3 := license("l1", "b1", "a1"), license("l2", "b1", "a2"), license("l3", "b2", "a1")
		l2.Status, l3.DeletedAt = usance.LicenseDraft, ptr(now)
		for _, l := range []usance.License{l1, l2, l3} {
			if err := tx.PutLicense(ctx, l); err != nil {
				return err
			}
		}
		h1, h2, h3 := threshold("t1", "l1"), threshold("t2", "l1"), threshold("t3", "l2")
		h2.UsageType, h3.IsActive = "click", false
		for _, h := range []usance.Threshold{h1, h2, h3} {
			if err := tx.PutThreshold(ctx, h); err != nil {
				return err
			}
		}
		o1, o2, o3 := overage(1, "l1", "t1", 1), overage(2, "l1", "t2", 1), overage(3, "l2", "t3", 1)
		o2.Status = usance.OveragePaid
		if err := tx.PutOverages(ctx, []usance.Overage{o1, o2, o3}); err != nil {
			return err
		}
		a1, a2, a3 := alert(1, "l1"), alert(2, "l1"), alert(3, "l2")
		a2.Kind, a3.AcknowledgedAt = usance.AlertOverage, ptr(now)
		a3.ThresholdID, a2.UsageType = "t9", "click"
		return tx.AddAlerts(ctx, []usance.Alert{a1, a2, a3})
	})
	page := usance.Page{Limit: 100}
	view(t, s, func(v usance.View) error {
		for want, f := range map[string]usance.LicenseFilter{
			"[l1 l2]":    {},
			"[l1 l2 l3]": {Deleted: true},
			"[l2]":       {Status: usance.LicenseDraft},
			"[l1]":       {BrandID: "b1", AssetID: "a1"},
			"[l1 l3]":    {AssetID: "a1", Deleted: true},
			"[]":         {BrandID: "b2"},
		} {
			rows, _, err := v.Licenses(ctx, f, page)
			got, _, err := names(rows, "", err, func(l usance.License) string { return l.ID })
			if fmt.Sprint(got) != want || err != nil {
				t.Errorf("Licenses %+v: %v, want %s; %v", f, got, want, err)
			}
		}
		for want, f := range map[string]usance.ThresholdFilter{
			"[t1 t2]":    {},
			"[t1 t2 t3]": {Inactive: true},
			"[t3]":       {LicenseID: "l2", Inactive: true},
			"[t2]":       {UsageType: "click"},
			"[]":         {LicenseID: "l2"},
		} {
			rows, _, err := v.Thresholds(ctx, f, page)
			got, _, err := names(rows, "", err, func(h usance.Threshold) string { return h.ID })
			if fmt.Sprint(got) != want || err != nil {
				t.Errorf("Thresholds %+v: %v, want %s; %v", f, got, want, err)
			}
		}
		for want, f := range map[string]usance.OverageFilter{
			"[t3 t2 t1]": {},
			"[t2 t1]":    {LicenseID: "l1"},
			"[t3]":       {ThresholdID: "t3"},
			"[t2]":       {Status: usance.OveragePaid},
			"[]":         {LicenseID: "l2", Status: usance.OveragePaid},
		} {
			rows, _, err := v.Overages(ctx, f, page)
			got, _, err := names(rows, "", err, func(o usance.Overage) string { return o.ThresholdID })
			if fmt.Sprint(got) != want || err != nil {
				t.Errorf("Overages %+v: %v, want %s; %v", f, got, want, err)
			}
		}
		for want, f := range map[string]usance.AlertFilter{
			"[3 2 1]": {},
			"[2 1]":   {Unread: true},
			"[3]":     {LicenseID: "l2"},
			"[2]":     {Kind: usance.AlertOverage},
			"[]":      {LicenseID: "l2", Unread: true},
			"[3] ":    {ThresholdID: "t9"},
			"[2] ":    {UsageType: "click"},
		} {
			rows, _, err := v.Alerts(ctx, f, page)
			got, _, err := names(rows, "", err, func(a usance.Alert) string { return fmt.Sprint(a.Level) })
			if fmt.Sprint(got) != strings.TrimSpace(want) || err != nil { // a space tells two alike apart
				t.Errorf("Alerts %+v: %v, want %s; %v", f, got, want, err)
			}
		}
		return nil
	})
}
