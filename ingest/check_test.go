package ingest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
)

// TestExplainVerdicts: a verdict for each usage type that an active threshold
// names, with how the thresholds stand that cover it, and one for the rest
// where a threshold covers all types.
func TestExplainVerdicts(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	add := func(usageType string, limit int64, alert bool) usance.Threshold {
		return k.threshold(t, usance.Threshold{
			LicenseID: "l", UsageType: usageType, PeriodType: usance.PeriodMonthly,
			Terms: usance.Terms{LimitQuantity: limit, AllowOverage: alert},
		})
	}
	verdicts := func() []ingest.Verdict {
		t.Helper()
		e, err := k.in.Explain(t.Context(), "l")
		if err != nil {
			t.Fatal(err)
		}
		return e.Verdicts
	}
	if v := verdicts(); len(v) != 1 || v[0].UsageType != "view" || !v[0].Allowed || v[0].Usage != nil {
		t.Errorf("without a threshold: %+v", v)
	}
	view, all := add("view", 2, false), add(usance.AllTypes, 1000, true)
	retired := add("print", 5, false)
	if _, err := k.catalog.RetireThreshold(t.Context(), retired.ID, "test", false); err != nil {
		t.Fatal(err)
	}
	_, err := k.in.Track(t.Context(), ingest.Request{Events: []usance.Event{{LicenseID: "l", UsageType: "view", Quantity: 2, OccurredAt: at}}})
	if err != nil {
		t.Fatal(err)
	}

	got := verdicts()
	if len(got) != 2 {
		t.Fatalf("%+v, want download (for the rest) and view", got)
	}
	rest, full := got[0], got[1]
	month := usance.MakeDate(2026, time.March, 1)
	ofAll := usance.Usage{ThresholdID: all.ID, UsageType: usance.AllTypes, PeriodStart: &month, Used: 2, Limit: 1000, Remaining: 998}
	if rest.UsageType != "download" || !rest.Allowed || rest.Error != nil || len(rest.Usage) != 1 || !cmp.Equal(rest.Usage[0], ofAll) {
		t.Errorf("the rest: %+v", rest)
	}
	if full.UsageType != "view" || full.Allowed || full.Error == nil || full.Error.Code != usance.CodeLimitExceeded {
		t.Errorf("view: %+v", full)
	}
	ofView := usance.Usage{ThresholdID: view.ID, UsageType: "view", PeriodStart: &month, Used: 2, Limit: 2}
	among := func(want usance.Usage) bool {
		return slices.ContainsFunc(full.Usage, func(u usance.Usage) bool { return cmp.Equal(u, want) })
	}
	if len(full.Usage) != 2 || !among(ofView) || !among(ofAll) {
		t.Errorf("the thresholds that cover view: %+v", full.Usage)
	}
	// What is explained is not counted, nor is its explanation.
	if events, quantity := k.used(t, "l"); events != 1 || quantity != 2 {
		t.Errorf("%d events of %d units are there, 1 of 2 was sent", events, quantity)
	}
}

// TestExplainManyThresholds: none is left out, however many were retired.
func TestExplainManyThresholds(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	const retired = 1005
	err := k.store.Update(t.Context(), usance.Locks{Exclusive: []string{"l"}}, func(tx usance.Tx) error {
		for i := range retired + 1 {
			h := usance.Threshold{
				ID: fmt.Sprintf("t%04d", i), LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 5},
				WarningLevels: usance.DefaultWarningLevels, IsActive: i == retired, CreatedAt: at, UpdatedAt: at,
			}
			if i < retired {
				h.RetiredAt = &at
			}
			if err := tx.PutThreshold(t.Context(), h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := k.in.Explain(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	last := slices.IndexFunc(e.Steps, func(s ingest.Step) bool { return s.Name == fmt.Sprintf("threshold t%04d", retired) })
	if last < 0 || len(e.Verdicts) != 1 || len(e.Verdicts[0].Usage) != 1 {
		t.Errorf("%d steps, the last threshold is number %d, verdicts %+v", len(e.Steps), last, e.Verdicts)
	}
}

// TestExplainUnreadableTerm: the one row that explain is asked about most is
// the one that is wrong.
func TestExplainUnreadableTerm(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	err := k.store.Update(t.Context(), usance.Locks{Exclusive: []string{"l"}}, func(tx usance.Tx) error {
		l, err := tx.License(t.Context(), "l")
		if err != nil {
			return err
		}
		l.Timezone = "Mars/Olympus"
		return tx.PutLicense(t.Context(), l)
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := k.in.Explain(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Verdicts) != 1 || e.Verdicts[0].Allowed || e.Verdicts[0].Error.Code != usance.CodeLicenseNotActive {
		t.Errorf("%+v", e.Verdicts)
	}
	for _, s := range e.Steps {
		if s.OK != (s.Name != "term") {
			t.Errorf("step %+v", s)
		}
	}
}

// TestExplainUnreadableThreshold: so it is with a threshold's row.
func TestExplainUnreadableThreshold(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	h := k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 10}})
	h.PeriodType = "MONTHLY"
	if err := k.store.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return tx.PutThreshold(t.Context(), h) }); err != nil {
		t.Fatal(err)
	}
	e, err := k.in.Explain(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Verdicts) != 1 || e.Verdicts[0].Allowed {
		t.Errorf("%+v", e.Verdicts)
	}
	for _, s := range e.Steps {
		if s.OK != (s.Name != "thresholds") || !s.OK && !strings.Contains(s.Fix, h.ID) {
			t.Errorf("step %+v", s)
		}
	}
}

// snapshots counts the snapshots that are taken of a store.
type snapshots struct {
	usance.Store
	taken int
}

func (s *snapshots) View(ctx context.Context, fn func(usance.View) error) error {
	s.taken++
	return s.Store.View(ctx, fn)
}

// TestExplainIsOneInstant: steps and verdicts of two instants could contradict
// one another.
func TestExplainIsOneInstant(t *testing.T) {
	k := newKit(t, ingest.Options{})
	k.license(t, "l")
	for _, usageType := range []string{"view", "click"} {
		k.threshold(t, usance.Threshold{LicenseID: "l", UsageType: usageType, PeriodType: usance.PeriodDaily, Terms: usance.Terms{LimitQuantity: 1}})
	}
	store := &snapshots{Store: k.store}
	in := ingest.New(store, ingest.Options{Now: clock, SessionKey: []byte("test")})
	defer in.Close(t.Context())
	if e, err := in.Explain(t.Context(), "l"); err != nil || len(e.Verdicts) != 2 || store.taken != 1 {
		t.Errorf("%d snapshots were taken for %+v, %v", store.taken, e, err)
	}
}
