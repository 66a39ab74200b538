package watch

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// A licence whose row was left unreadable is named once, and does not keep the
// others from being scored.
func TestAnUnreadableLicenceDoesNotStopScores(t *testing.T) {
	f := newFixture(t)
	ids := []string{"a", "b", "c"}
	for _, id := range ids {
		f.license(id)
		f.use(id, "view", day("2024-07-01"), day("2024-10-08"), hundred)
		f.threshold("t-"+id, id, 2500)
		f.threshold("d-"+id, id, 2500, func(h *usance.Threshold) { h.PeriodType = usance.PeriodDaily })
	}
	f.generate(6)
	f.license("b", func(l *usance.License) { l.Timezone = "Mars/Olympus" })
	f.now = f.now.AddDate(0, 1, 0)
	n, err := f.Score(t.Context())
	if n != 4 || err == nil || strings.Count(err.Error(), "licence b") != 1 || strings.Contains(err.Error(), "licence a") {
		t.Errorf("%d scored, %v", n, err)
	}
	for _, id := range ids {
		for _, k := range f.forecasts(usance.ForecastFilter{LicenseID: id}) {
			if scored := k.Score != nil; scored != (id != "b") {
				t.Errorf("licence %s, %s: scored %t", id, k.PeriodType, scored)
			}
		}
	}
	// Once it is mended, its turn comes.
	f.license("b")
	if n, err := f.Score(t.Context()); n != 2 || err != nil {
		t.Errorf("%d scored, %v", n, err)
	}
}

// A licence of which a threshold cannot be read is named; what can be forecast is.
func TestAnUnreadableThresholdIsNamed(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"a", "b"} {
		f.license(id)
		f.use(id, "view", day("2024-07-01"), day("2024-10-08"), hundred)
		f.threshold("t-"+id, id, 2500)
	}
	f.threshold("u-b", "b", 2500, func(h *usance.Threshold) { h.PeriodType = "DAILY" })
	n, err := f.Generate(t.Context())
	if n != 2 || err == nil || !strings.Contains(err.Error(), "u-b") || strings.Contains(err.Error(), "licence a") {
		t.Errorf("%d made, %v", n, err)
	}
}

// Of a licence that counted nothing in a part of the period nobody knows what would
// have been used: its forecasts are no misses.
func TestACutPeriodIsNoMiss(t *testing.T) {
	f := newFixture(t)
	made := f.now
	suspended := func(l *usance.License) { l.Status = usance.LicenseSuspended }
	set := func(id string, at time.Time, change func(*usance.License)) {
		f.license(id, change)
		f.update(func(ctx context.Context, tx usance.Tx) error {
			l, err := tx.License(ctx, id)
			if err != nil {
				return err
			}
			e := usance.NewAuditEntry(at, "key", "license.put", id)
			e.LicenseID = id
			if err := e.SetStates(nil, l); err != nil {
				return err
			}
			return tx.AddAudit(ctx, []usance.AuditEntry{e})
		})
	}
	none := func(*usance.License) {}
	cases := map[string]struct {
		change func(id string)
		cut    bool
		rest   int64 // a day after the forecast
	}{
		"active":            {func(string) {}, false, 0},
		"changed":           {func(id string) { set(id, made.Add(time.Hour), none) }, false, 0},
		"suspended":         {func(id string) { set(id, made.Add(time.Hour), suspended) }, true, 0},
		"suspended by host": {func(id string) { f.license(id, suspended) }, true, 0},
		"suspended a while": {func(id string) { set(id, made.Add(time.Hour), suspended); set(id, made.AddDate(0, 0, 9), none) }, true, 0},
		"suspended before":  {func(id string) { set(id, made.AddDate(0, 0, -9), suspended); set(id, made.AddDate(0, 0, -8), none) }, false, 0},
		"suspended after":   {func(id string) { set(id, made.AddDate(0, 0, 24), suspended) }, false, 0},
		"not tracked":       {func(id string) { f.license(id, func(l *usance.License) { l.UsageTrackingEnabled = false }) }, true, 0},
		"ended":             {func(id string) { f.license(id, func(l *usance.License) { l.EndDate = "2024-10-10" }) }, true, 0},
		"ends with it":      {func(id string) { f.license(id, func(l *usance.License) { l.EndDate = "2024-10-31" }) }, false, 0},
		"deleted": {func(id string) {
			f.license(id, func(l *usance.License) { at := made.AddDate(0, 0, 2); l.DeletedAt = &at })
		}, true, 0},
		"cut, but passed": {func(id string) { set(id, made.AddDate(0, 0, 20), suspended) }, true, 600},
	}
	for id := range cases {
		f.license(id)
		f.use(id, "view", day("2024-07-01"), day("2024-10-08"), hundred)
		f.threshold("t "+id, id, 2500)
	}
	f.generate(len(cases))
	for id, c := range cases {
		c.change(id)
		f.use(id, "view", day("2024-10-08"), day("2024-10-20"), func(usance.Date) int64 { return c.rest })
	}
	f.now = day("2024-11-02").Start(time.UTC)
	if n, err := f.Score(t.Context()); n != len(cases) || err != nil {
		t.Fatalf("%d scored, %v", n, err)
	}
	for id, c := range cases {
		s := f.forecasts(usance.ForecastFilter{LicenseID: id})[0].Score
		passed := c.rest > 0
		switch {
		case !c.cut && (s.Covered || *s.Breached || *s.BrierScore < 0.5):
			t.Errorf("%s is no miss: %+v", id, s)
		case c.cut && !passed && (!s.Covered || s.Breached != nil || s.BrierScore != nil || s.AbsoluteError != 0 || s.ActualQuantity != 700):
			t.Errorf("%s is one: %+v", id, s)
		case passed && (s.Covered || !*s.Breached || *s.BrierScore > 0.5 || s.AbsoluteError == 0):
			t.Errorf("%s was forecast too low, and the limit was passed: %+v", id, s)
		}
	}
}
