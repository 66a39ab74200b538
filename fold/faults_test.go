package fold_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// illegible is a store in which one licence's rollups cannot be read.
type illegible struct {
	usance.Store
	license string
}

func (s illegible) View(ctx context.Context, fn func(usance.View) error) error {
	return s.Store.View(ctx, func(v usance.View) error { return fn(illegibleView{v, s.license}) })
}

type illegibleView struct {
	usance.View
	license string
}

func (v illegibleView) Rollups(ctx context.Context, licenseID string, from, to usance.Date, types []string, yield func(*usance.Rollup) error) error {
	if licenseID == v.license {
		return errors.New("the breakdown is damaged")
	}
	return v.View.Rollups(ctx, licenseID, from, to, types, yield)
}

// What cannot be read of one licence keeps no other from being verified, compared,
// sealed and pruned, and is named; drift that was found is counted all the same.
func TestOneLicenseKeepsNoOtherFromBeingVerified(t *testing.T) {
	k := newKit(t)
	k.license(t, "m")
	k.license(t, "n")
	old := k.now
	for _, id := range []string{"l", "m", "n"} {
		k.send(t, id, "a", 9, old)
	}
	if _, err := k.a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.now = k.now.AddDate(0, 0, 2)
	bend := func(by int64) {
		err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
			rows, err := tx.LockRollups(t.Context(), []usance.RollupKey{{LicenseID: "l", Date: usance.DateOf(old, time.UTC), UsageType: "view"}})
			if err != nil {
				return err
			}
			rows[0].Quantity += by
			return tx.PutRollups(t.Context(), rows)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	bend(1)
	f := fold.New(illegible{k.store, "m"}, fold.Options{Now: func() time.Time { return k.now }})
	named := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "licence m: ") || strings.Contains(err.Error(), "licence n") {
			t.Errorf("%s: %v, want the licence that cannot be read named", what, err)
		}
	}
	d, err := f.VerifyDays(t.Context(), 5)
	named("VerifyDays", err)
	if d.Drifted != 1 || d.Rows != 6 || len(d.Keys) != 1 || d.Keys[0].LicenseID != "l" {
		t.Errorf("VerifyDays found %+v, want the row of l of 6", d)
	}
	if got := counted(t, f, "usance_drifted_rows_total"); got != 1 {
		t.Errorf("%v drifted rows are counted, want 1", got)
	}
	books, _, err := f.CheckBooks(t.Context(), usance.Page{Limit: 10}, 5)
	if err != nil || len(books) != 3 || books[0].Wrong[fold.WrongRollup] != 1 || books[1].Wrong[fold.WrongLicense] != 1 || len(books[2].Wrong) != 0 || books[2].Rows != 3 {
		t.Errorf("the books are %+v, %v", books, err)
	}
	bend(-1)
	k.now = k.now.AddDate(0, 0, 40)
	r, err := f.Retain(t.Context(), 30*24*time.Hour)
	named("Retain", err)
	if r.Days != 2 || r.Events != 18 || r.Drifted != 0 {
		t.Errorf("retention came to %+v, want the days of l and n pruned", r)
	}

	// The end of the run is nobody's fault.
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := f.VerifyDays(ended, 5); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "licence") {
		t.Errorf("a run that was ended says %v", err)
	}
}

// counted gives a counter of the folder.
func counted(t *testing.T, f *fold.Folder, name string) (total float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(f.Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families {
		if m.GetName() == name {
			total += m.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return total
}
