package watch

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// busy puts eight weeks of use that is as it always is, up to yesterday.
func (f *fixture) busy(license string, change ...func(*usance.Rollup)) {
	r := rand.New(rand.NewPCG(5, 5)) //nolint:gosec // must repeat
	f.rows(license, "view", day("2024-08-10"), day("2024-10-08"), func(_ usance.Date, hour int) int64 {
		if hour < 6 {
			return int64(r.IntN(5))
		}
		return 40 + int64(r.IntN(20))
	}, change...)
}

func (f *fixture) detect(want int) []usance.Alert {
	f.t.Helper()
	n, err := f.Detect(f.t.Context())
	if err != nil || n != want {
		f.t.Errorf("%d alerts raised, want %d; %v", n, want, err)
	}
	return f.alerts("l")
}

func TestNothingUnusualRaisesNothing(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.license("without any use")
	f.busy("l")
	for range 5 {
		f.detect(0)
		f.now = f.now.Add(time.Minute)
	}
}

func TestBotsOfThisHourAreTold(t *testing.T) {
	f := newFixture(t)
	f.license("l", func(l *usance.License) { l.Timezone = "Asia/Tokyo" })
	f.busy("l")
	f.now = time.Date(2024, 10, 7, 17, 15, 0, 0, time.UTC) // a quarter past two there
	var bots []usance.Event
	for range 60 {
		bots = append(bots, usance.Event{LicenseID: "l", UsageType: "view", Quantity: 50, OccurredAt: f.now, LocalDate: day("2024-10-08"), HourSlot: 1})
	}
	f.events(bots...) // not folded yet
	a := f.detect(1)[0]
	if a.Level != 0 || a.Kind != usance.AlertSpike || a.Severity != usance.SeverityCritical || a.PeriodStart != day("2024-10-08") || a.Quantity != 3000 ||
		!strings.Contains(a.Reason, "view usage came to 3000 between 01:00 and 02:00 on 2024-10-08") {
		t.Errorf("%+v", a)
	}
	// The same spike is looked at for a day, and told once.
	f.now = f.now.Add(time.Hour)
	f.detect(0)
}

func TestASourceAndASession(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.busy("l", func(r *usance.Rollup) {
		share := r.Quantity / 20
		if r.Date == day("2024-10-07") {
			share = r.Quantity * 9 / 10
		}
		r.Breakdown[usance.BySource] = map[string]usance.Tally{
			"scraper.example": {Events: 1, Quantity: share}, usance.NoValue: {Events: r.Events - 1, Quantity: r.Quantity - share},
		}
	})
	// Two hundred sessions a day; yesterday twenty, of which one did nearly all.
	f.update(func(ctx context.Context, tx usance.Tx) error {
		var sketches []usance.DaySketch
		for d := day("2024-09-20"); d < day("2024-10-08"); d++ {
			s := usance.DaySketch{Day: usance.Day{LicenseID: "l", Date: d}}
			n := 200
			if d == day("2024-10-07") {
				n = 20
			}
			for i := range n {
				s.Sessions.Add(mix(d.String() + string(rune(i))))
			}
			sketches = append(sketches, s)
		}
		return tx.MergeSessions(ctx, sketches)
	})
	f.now = time.Date(2024, 10, 8, 1, 15, 0, 0, time.UTC)
	var events []usance.Event
	for i := range 100 {
		e := usance.Event{LicenseID: "l", UsageType: "view", Quantity: 1, OccurredAt: f.now, LocalDate: day("2024-10-07"), HourSlot: 12, SessionHash: 7}
		if i%10 == 0 {
			e.SessionHash = uint64(100 + i)
		}
		events = append(events, e)
	}
	f.events(events...)
	kinds := make(map[string]usance.Alert)
	for _, a := range f.detect(2) {
		kinds[a.UsageType] = a
	}
	source, session := kinds["view"], kinds[usance.AllTypes]
	if source.Kind != usance.AlertConcentration || !strings.Contains(source.Reason, "scraper.example carried 8") || source.Severity != usance.SeverityWarning {
		t.Errorf("%+v", source)
	}
	if session.Kind != usance.AlertConcentration || session.Reason != "one session carried 90 % of the usage on 2024-10-07" {
		t.Errorf("%+v", session)
	}
	f.detect(0)
}

func TestARunOverLicencesGoesOn(t *testing.T) {
	f := newFixture(t)
	for i := range page + 10 {
		f.license(strings.Repeat("x", i%100+1) + time.Duration(i).String())
	}
	cut := New(&failing{Store: f.store, left: 1}, f.o)
	if _, err := cut.Detect(t.Context()); err == nil {
		t.Fatal("the run was not cut short")
	}
	var p progress
	err := f.store.View(t.Context(), func(v usance.View) (err error) {
		p, err = readProgress(t.Context(), v, detectState)
		return err
	})
	if err != nil || p.Done || p.Cursor == "" {
		t.Errorf("%+v, %v", p, err)
	}
	f.detect(0)
}

// What is out of all proportion is told though few days had use: of a licence that is
// used now and then, and of a usage type that was never used before on one that is
// used each day.
func TestAbuseOfWhatIsSeldomUsedIsTold(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.busy("l")
	f.license("seldom")
	for d := day("2024-08-10"); d < day("2024-10-06"); d += 7 {
		f.rows("seldom", "view", d, d+1, func(_ usance.Date, hour int) int64 { return map[bool]int64{true: 3}[hour == 9] })
	}
	night := func(license, usageType string, n int, quantity int64, session func(i int) uint64) {
		var events []usance.Event
		for i := range n {
			events = append(events, usance.Event{
				LicenseID: license, UsageType: usageType, Quantity: quantity, OccurredAt: f.now, LocalDate: day("2024-10-07"), HourSlot: 4, SessionHash: session(i),
			})
		}
		f.events(events...)
	}
	one := func(int) uint64 { return 7 }
	f.now = time.Date(2024, 10, 8, 0, 15, 0, 0, time.UTC)
	night("l", "download", 400, 2, one)
	night("seldom", "view", 400, 100, one)
	if n, err := f.Detect(t.Context()); n != 3 || err != nil {
		t.Errorf("%d alerts, %v", n, err)
	}
	session := f.alerts("l")
	if len(session) != 1 || session[0].Kind != usance.AlertConcentration || session[0].UsageType != "download" || session[0].Quantity != 800 ||
		session[0].Reason != "one session carried 100 % of the download usage on 2024-10-07" {
		t.Errorf("%+v", session)
	}
	kinds := make(map[usance.AlertKind]usance.Alert)
	for _, a := range f.alerts("seldom") {
		kinds[a.Kind] = a
	}
	if a := kinds[usance.AlertSpike]; a.Severity != usance.SeverityCritical || a.Quantity != 40_000 ||
		!strings.Contains(a.Reason, "view usage came to 40000 on 2024-10-07, where about 3 was to be expected") {
		t.Errorf("%+v", kinds)
	}
	if _, ok := kinds[usance.AlertConcentration]; !ok || len(kinds) != 2 {
		t.Errorf("%+v", kinds)
	}
	// Each is told once, and an integration whose sessions are all one no more this month.
	f.now = f.now.Add(time.Hour)
	f.detect(0)
}

// Of a new type with many events, by many sessions all day long, nothing is told.
func TestANewTypeThatIsUsedIsNotTold(t *testing.T) {
	f := newFixture(t)
	f.license("l")
	f.busy("l")
	f.now = time.Date(2024, 10, 8, 0, 15, 0, 0, time.UTC)
	var events []usance.Event
	for i := range 600 {
		events = append(events, usance.Event{
			LicenseID: "l", UsageType: "download", Quantity: 1, OccurredAt: f.now, LocalDate: day("2024-10-07"), HourSlot: 6 + i%15, SessionHash: uint64(1 + i/3),
		})
	}
	f.events(events...)
	f.detect(0)
}
