package watch

import (
	"strings"
	"testing"

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
