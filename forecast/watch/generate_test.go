package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

func hundred(usance.Date) int64 { return 100 }

func near(t *testing.T, what string, got, want, by int64) {
	t.Helper()
	if got < want-by || got > want+by {
		t.Errorf("%s: %d, want %d or %d off", what, got, want, by)
	}
}

func TestThresholdsAreForecast(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.use("l", "view", day("2024-07-01"), day("2024-10-08"), hundred)
	f.use("l", "click", day("2024-07-01"), day("2024-10-08"), func(usance.Date) int64 { return 10 })
	f.threshold("month", "l", 2500)
	f.threshold("all", "l", 5000, func(h *usance.Threshold) { h.UsageType = usance.AllTypes })
	f.threshold("week", "l", 690, func(h *usance.Threshold) { h.PeriodType = usance.PeriodWeekly })
	f.threshold("ever", "l", 12_000, func(h *usance.Threshold) { h.PeriodType = usance.PeriodTotal })
	f.threshold("retired", "l", 1, func(h *usance.Threshold) { h.IsActive = false })
	f.threshold("later", "l", 1, func(h *usance.Threshold) { h.EffectiveFrom = day("2024-11-01") })
	f.generate(4)
	by := make(map[string]usance.Forecast)
	for _, row := range f.forecasts(usance.ForecastFilter{}) {
		by[row.ThresholdID] = row
	}
	month := by["month"]
	if month.ForecastDate != day("2024-10-08") || month.PeriodStart != day("2024-10-01") || month.PeriodEnd != day("2024-11-01") ||
		month.Status != usance.ForecastOK || month.HistoricalDaysUsed != 31+31+30+7 ||
		month.LimitQuantity != 2500 || month.LimitWithGrace != 2750 || month.ConfidenceLevel != 0.8 || month.MeanAbsoluteError == nil {
		t.Errorf("the month: %+v", month)
	}
	// Of today three hours are over, in which nothing came.
	near(t, "used", month.UsedQuantity, 700, 0)
	near(t, "the month", month.PredictedQuantity, 3075, 25)
	if d := month.PredictedBreachDate; d == nil || *d < day("2024-10-25") || *d > day("2024-10-27") || *month.BreachProbability < 0.95 {
		t.Errorf("2,500 are passed on %v with %v", d, *month.BreachProbability)
	}
	if g := month.Outlook.LimitWithGrace; g == nil || g.Median == nil || *g.Median <= *month.PredictedBreachDate || len(month.Outlook.Intervals) != 3 {
		t.Errorf("the outlook: %+v", month.Outlook)
	}
	near(t, "all types", by["all"].PredictedQuantity, 3382, 30)
	if p := by["all"].BreachProbability; p == nil || *p > 0.05 || by["all"].PredictedBreachDate != nil {
		t.Errorf("5,000 of all types: %v", p)
	}
	near(t, "the week", by["week"].PredictedQuantity, 675, 15)
	ever := by["ever"]
	near(t, "ever, used", ever.UsedQuantity, 9900, 0)
	if d := ever.PredictedBreachDate; d == nil || *d < day("2024-10-27") || *d > day("2024-10-30") || ever.Outlook.Through == nil {
		t.Errorf("12,000 in all are passed on %v", d)
	}

	// Made anew on the same day they stand in the same place, on the next beside it.
	f.generate(4)
	if n := len(f.forecasts(usance.ForecastFilter{})); n != 4 {
		t.Errorf("%d forecasts after a second run", n)
	}
	f.now = f.now.AddDate(0, 0, 1)
	f.generate(4)
	if n := len(f.forecasts(usance.ForecastFilter{})); n != 8 {
		t.Errorf("%d forecasts on the second day", n)
	}
	if n := len(f.forecasts(usance.ForecastFilter{Latest: true})); n != 4 {
		t.Errorf("%d newest forecasts on the second day", n)
	}
}

func TestWhatIsOverIsNotForecast(t *testing.T) {
	f := newFixture(t)
	for id, change := range map[string]func(*usance.License){
		"deleted":   func(l *usance.License) { l.DeletedAt = &f.now },
		"untracked": func(l *usance.License) { l.UsageTrackingEnabled = false },
		"suspended": func(l *usance.License) { l.Status = usance.LicenseSuspended },
		"ended":     func(l *usance.License) { l.EndDate = "2024-10-07" },
		"new":       func(l *usance.License) { l.CreatedAt = f.now }, // and nothing is known of it
		"ending":    func(l *usance.License) { l.EndDate = "2024-10-10" },
	} {
		f.license(id, change)
		if id != "new" {
			f.use(id, "view", day("2024-07-01"), day("2024-10-08"), hundred)
		}
		f.threshold("t-"+id, id, 900)
	}
	f.generate(1)
	got := f.forecasts(usance.ForecastFilter{})[0]
	if got.LicenseID != "ending" || got.PeriodEnd != day("2024-11-01") || got.Outlook.Through == nil || *got.Outlook.Through != day("2024-10-11") {
		t.Errorf("%+v", got)
	}
	near(t, "until the licence ends", got.PredictedQuantity, 975, 15)
}

// What a hard limit let nobody use is not known to be zero.
func TestDaysThatWereFullAreGaps(t *testing.T) {
	f := newFixture(t)
	hard := func(h *usance.Threshold) { h.AllowOverage, h.GracePercentage = false, 0 }
	for _, id := range []string{"held", "free"} {
		f.license(id)
		// A hundred a day, and nothing after ten days of each month.
		f.use(id, "view", day("2024-06-01"), day("2024-10-08"), func(d usance.Date) int64 {
			if _, _, n := d.YMD(); n > 10 {
				return 0
			}
			return 100
		})
	}
	f.threshold("t", "held", 1000, hard)
	f.threshold("u", "free", 1000)
	f.update(func(ctx context.Context, tx usance.Tx) error {
		var counters []usance.Counter
		for m := time.June; m <= time.October; m++ {
			start := usance.MakeDate(2024, m, 1)
			c := usance.Counter{CounterKey: usance.CounterKey{LicenseID: "held", ThresholdID: "t", PeriodStart: start},
				PeriodEnd: usance.MakeDate(2024, m+1, 1), Quantity: 1000, State: usance.CounterOpen}
			if m == time.October {
				c.Quantity = 700
			}
			counters = append(counters, c)
		}
		return tx.EnsureCounters(ctx, counters)
	})
	f.generate(2)
	held, free := f.forecasts(usance.ForecastFilter{LicenseID: "held"})[0], f.forecasts(usance.ForecastFilter{LicenseID: "free"})[0]
	near(t, "a hundred a day wherever there was room", held.PredictedQuantity, 3100, 150)
	if free.PredictedQuantity > 2500 {
		t.Errorf("%d are expected where days without use were free to have some", free.PredictedQuantity)
	}
}

func TestTodayCounts(t *testing.T) {
	f := newFixture(t)
	f.license("l", func(l *usance.License) { l.Timezone = "America/New_York" })
	f.use("l", "view", day("2024-07-01"), day("2024-10-08"), func(usance.Date) int64 { return 240 })
	f.threshold("t", "l", 10_000)
	f.now = time.Date(2024, 10, 8, 16, 30, 0, 0, time.UTC) // half past twelve there
	f.use("l", "view", day("2024-10-08"), day("2024-10-09"), func(usance.Date) int64 { return 24 })
	f.events(usance.Event{LicenseID: "l", UsageType: "view", Quantity: 500, OccurredAt: f.now, LocalDate: day("2024-10-08"), HourSlot: 12})
	f.generate(1)
	got := f.forecasts(usance.ForecastFilter{})[0]
	near(t, "used", got.UsedQuantity, 7*240+24+500, 0)
	if got.ForecastDate != day("2024-10-08") || got.PredictedQuantity < 7*240+524+23*230 {
		t.Errorf("%+v", got)
	}
}

// failing is a store on which updates fail from the n-th on, as if the program
// had been killed there.
type failing struct {
	Store
	left int
}

var errKilled = errors.New("killed")

func (s *failing) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	if s.left--; s.left < 0 {
		return errKilled
	}
	return s.Store.Update(ctx, locks, fn)
}

func (s *failing) View(ctx context.Context, fn func(usance.View) error) error {
	if s.left < 0 {
		return errKilled
	}
	return s.Store.View(ctx, fn)
}

func TestARunThatIsCutShortGoesOn(t *testing.T) {
	f := newFixture(t)
	const licenses = page + 3*group
	for i := range licenses {
		id := fmt.Sprintf("l%03d", i)
		f.license(id)
		f.use(id, "view", day("2024-09-01"), day("2024-09-02"), hundred)
		f.threshold("t-"+id, id, 1000)
	}
	// Killed in the second page, which has written the first of its groups.
	const untilThen = 1 + page/group + 1 + 1 // the prior, the groups, the progress, and one group more
	cut := New(&failing{Store: f.store, left: untilThen}, f.o)
	if _, err := cut.Generate(t.Context()); !errors.Is(err, errKilled) {
		t.Fatalf("a run that is cut short: %v", err)
	}
	f.now = f.now.Add(time.Hour)
	again := New(f.store, f.o)
	made, err := again.Generate(t.Context())
	if err != nil || made != licenses-page {
		t.Errorf("the next run made %d forecasts, want %d: %v", made, licenses-page, err)
	}
	rows := f.forecasts(usance.ForecastFilter{})
	early := 0
	for i := range rows {
		if rows[i].CalculatedAt.Equal(morning) {
			early++
		}
	}
	if len(rows) != licenses || early != page {
		t.Errorf("%d forecasts, %d of the first run", len(rows), early)
	}
	// One that was cut short long ago is not gone on with, nor one that was not.
	f.generate(licenses)
	cut = New(&failing{Store: f.store, left: untilThen}, f.o)
	if _, err := cut.Generate(t.Context()); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	f.now = f.now.Add(13 * time.Hour)
	f.generate(licenses)
}

// A licence that cannot be forecast is named, and does not keep it from the rest.
func TestFaultsAreNamed(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"a", "b", "c"} {
		f.license(id, func(l *usance.License) {
			if id == "b" {
				l.Timezone = "Nowhere/At_All"
			}
		})
		f.use(id, "view", day("2024-07-01"), day("2024-10-08"), hundred)
		f.threshold("t-"+id, id, 1000)
	}
	made, err := f.Generate(t.Context())
	if made != 2 || err == nil || !strings.Contains(err.Error(), "licence b") {
		t.Errorf("made %d: %v", made, err)
	}
}

func TestYoungLicencesLearnFromTheOthers(t *testing.T) {
	f := newFixture(t)
	// All are used on working days alone; the young one shows three of them.
	working := func(d usance.Date) int64 {
		if d.Weekday() == time.Saturday || d.Weekday() == time.Sunday {
			return 0
		}
		return 1000
	}
	for i := range 40 {
		id := fmt.Sprintf("l%02d", i)
		f.license(id)
		f.use(id, "view", day("2024-06-01"), day("2024-10-08"), working)
		f.threshold("t-"+id, id, 1_000_000)
	}
	f.license("young", func(l *usance.License) { l.CreatedAt = morning.AddDate(0, 0, -6) })
	f.use("young", "view", day("2024-10-02"), day("2024-10-05"), working)
	f.use("young", "view", day("2024-10-07"), day("2024-10-08"), working)
	f.threshold("t-young", "young", 1_000_000)
	f.generate(41)
	got := f.forecasts(usance.ForecastFilter{LicenseID: "young"})[0]
	if got.Status != usance.ForecastPooled {
		t.Errorf("status %s", got.Status)
	}
	answer, err := f.Forecast(t.Context(), Request{LicenseID: "young", Limits: true})
	if err != nil {
		t.Fatal(err)
	}
	path := answer.Forecasts[0].Path
	saturday := slices.IndexFunc(path, func(d DayForecast) bool { return d.Date.Weekday() == time.Saturday })
	if path[saturday].Median > path[0].Median/4 {
		t.Errorf("%d are expected on a Saturday, %d on a Tuesday", path[saturday].Median, path[0].Median)
	}
}
