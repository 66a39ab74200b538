package forecast

import (
	"flag"
	"math"
	"testing"

	"github.com/usance/usance"
)

// kinds of lives with use on few days, or with use that begins or comes again: nothing
// in them is worth an alert, but for a beginning that may be told once.
var seldom = map[string]func(l *life, day int) float64{
	"once a week": func(l *life, day int) float64 { return map[bool]float64{true: 300}[day%7 == 2] },
	"a wild week": func(l *life, day int) float64 {
		return map[bool]float64{true: 200 * math.Exp(0.8*l.rand.NormFloat64())}[day%7 == 2]
	},
	"now and then": func(l *life, day int) float64 {
		return map[bool]float64{true: 40 * math.Exp(1.2*l.rand.NormFloat64())}[l.rand.IntN(9) == 0]
	},
	"wild now and then": func(l *life, day int) float64 {
		return map[bool]float64{true: 30 * math.Exp(1.6*l.rand.NormFloat64())}[l.rand.IntN(12) == 0]
	},
	"a batch a week, in one hour": func(l *life, day int) float64 {
		l.inOneHour(day)
		return map[bool]float64{true: 800}[day%7 == 2]
	},
	"a batch a month, in one hour": func(l *life, day int) float64 {
		l.inOneHour(day)
		return map[bool]float64{true: 3000}[day%30 == 20]
	},
	"a campaign a month": func(l *life, day int) float64 { return map[bool]float64{true: 2000}[day%30 < 4] },
	"again as before":    func(l *life, day int) float64 { return map[bool]float64{true: 200}[day < 40 || day >= 70] },
	"again, three times": func(l *life, day int) float64 {
		return map[bool]float64{true: 200}[day < 40] + map[bool]float64{true: 600}[day >= 75]
	},
	"again, and growing": func(l *life, day int) float64 {
		return map[bool]float64{true: 100}[day < 45] + map[bool]float64{true: 50 * float64(day-75)}[day > 75]
	},
	"begins":        func(l *life, day int) float64 { return map[bool]float64{true: 400}[day >= 72] },
	"begins slowly": func(l *life, day int) float64 { return max(0, 3*float64(day-70)) },
	"tried, then used": func(l *life, day int) float64 {
		return map[bool]float64{true: 3}[day == 50 || day == 61] + map[bool]float64{true: 500}[day >= 75]
	},
}

// inOneHour lets all of the days fall into an hour.
func (l *life) inOneHour(day int) {
	if day == 0 {
		sum := sumOf(l.shape[:])
		l.shape = [24]float64{4: sum}
	}
}

var unusualRates = flag.Bool("unusual-rates", false, "print the rates of alerts on quiet lives, of many of them")

// TestRatesOfAlerts prints how many alerts a week there are on each kind of life.
func TestRatesOfAlerts(t *testing.T) {
	each, weeks := uint64(2), 5
	if *unusualRates {
		each = 40
	}
	total := 0
	for name, level := range seldom {
		alerts, worst, such := 0, 0, ""
		for seed := range each {
			for _, lump := range []float64{1, 25} {
				told := live(seed+7*uint64(len(name)), 63+7*weeks, lump, level).told(63, 63+7*weeks)
				alerts += len(told)
				if len(told) > worst {
					worst, such = len(told), told[0]
				}
			}
		}
		total += alerts
		if *unusualRates {
			t.Logf("%-30s %.4f a week; at most %d in %d weeks, such as %s", name, float64(alerts)/float64(2*int(each)*weeks), worst, weeks, such)
		}
		if worst > 6 {
			t.Errorf("%s: %d alerts in %d weeks, such as %s", name, worst, weeks, such)
		}
	}
	rate := float64(total) / float64(len(seldom)*2*int(each)*weeks)
	t.Logf("%.4f a week", rate)
	if rate > 0.03 {
		t.Errorf("%.3f alerts a week on lives of few days of use", rate)
	}
}

// What is out of all proportion to what came before is told, however few days had use.
func TestWhatIsOutsizedIsSeen(t *testing.T) {
	t.Parallel()
	each := func(n int, of func(day int) float64, then float64) (out []float64) {
		for i := range n {
			out = append(out, of(i))
		}
		return append(out, then)
	}
	until := func(v float64, day int) func(int) float64 {
		return func(i int) float64 { return map[bool]float64{true: v}[i < day] }
	}
	weekly := func(i int) float64 { return map[bool]float64{true: 3}[i%7 == 0] }
	for _, c := range []struct {
		name string
		days []float64
		want usance.Severity // none: nothing is told
	}{
		{"3 a week, then 50,000", each(60, weekly, 50_000), usance.SeverityCritical},
		{"100 a day, 30 days of none, then 50,000", each(56, until(100, 26), 50_000), usance.SeverityWarning},
		{"20 days of 300, 22 of none, then 50,000", each(42, until(300, 20), 50_000), usance.SeverityWarning},
		{"20 days of 3, 22 of none, then 50,000", each(42, until(3, 20), 50_000), usance.SeverityCritical},
		{"5 on two days, then 50,000", each(50, func(i int) float64 { return map[bool]float64{true: 5}[i == 10 || i == 40] }, 50_000), usance.SeverityInfo},
		{"5 on two days, then 400", each(50, func(i int) float64 { return map[bool]float64{true: 5}[i == 10 || i == 40] }, 400), ""},
		{"never any, then 50,000", each(50, until(0, 0), 50_000), ""},
		{"100 a day, 30 days of none, then 300", each(56, until(100, 26), 300), ""},
		{"3 a week, then 90", each(60, weekly, 90), ""},
	} {
		got := Unusual(Recent{Days: c.days})
		if c.want == "" {
			if len(got) > 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Kind != usance.AlertSpike || got[0].Severity != c.want || got[0].DaysAgo != 1 || got[0].Hour != -1 || got[0].Actual != 50_000 {
			t.Errorf("%s: %+v", c.name, got)
		}
		// Told while it comes, not a day later.
		n := len(c.days) - 1
		now := Recent{Days: c.days[:n], Today: []float64{1, 49_000, 999}}
		if got := Unusual(now); len(got) != 1 || got[0].DaysAgo != 0 || got[0].Severity != c.want {
			t.Errorf("%s, today: %+v", c.name, got)
		}
	}
}

// A usage type that was never used on a licence, and then five thousand times in an
// hour of a night.
func TestABurstOfANewTypeIsSeen(t *testing.T) {
	t.Parallel()
	at := func(hour int, rest float64) Recent {
		r := Recent{Days: make([]float64, 57), Hours: make([][24]float64, 28), Sources: make([]map[string]float64, 28), Events: 5000}
		last := &r.Hours[27]
		for h := range last {
			last[h] = rest
		}
		last[hour] = 5000
		r.Days[56] = sumOf(last[:])
		r.Sources[27] = map[string]float64{"scraper.example": r.Days[56]}
		return r
	}
	if got := Unusual(at(4, 1)); len(got) != 1 || got[0].Kind != usance.AlertConcentration || got[0].Hour != 4 || got[0].Severity != usance.SeverityWarning {
		t.Errorf("%+v", got)
	}
	for name, r := range map[string]Recent{
		"all day long":    at(4, 4000),
		"since eleven":    at(23, 0),
		"and goes on":     func() Recent { r := at(23, 0); r.Today = []float64{4500}; return r }(),
		"of a few events": func() Recent { r := at(4, 0); r.Events = 20; return r }(),
		"as the week before": func() Recent {
			r := at(4, 0)
			r.Hours[20], r.Days[49] = [24]float64{7: 900}, 900
			return r
		}(),
	} {
		for _, a := range Unusual(r) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	r := at(23, 0)
	r.Today = []float64{0}
	if got := Unusual(r); len(got) != 1 || got[0].Hour != 23 {
		t.Errorf("at the end of the day: %+v", got)
	}
}

// Of use on a few days, a source that had little of it and then nearly all.
func TestANewSourceOfSeldomUseIsSeen(t *testing.T) {
	t.Parallel()
	r := Recent{Days: make([]float64, 57), Hours: make([][24]float64, 28), Sources: make([]map[string]float64, 28), Events: 900}
	for i := range r.Hours {
		for h := range 20 {
			r.Hours[i][h] = map[bool]float64{true: 30}[i%5 == 2]
		}
		r.Days[29+i] = sumOf(r.Hours[i][:])
		r.Sources[i] = map[string]float64{"blog.example": r.Days[29+i]}
	}
	if got := Unusual(r); len(got) > 0 {
		t.Errorf("as always: %+v", got)
	}
	r.Sources[27] = map[string]float64{"scraper.example": r.Days[56]}
	if got := Unusual(r); len(got) != 1 || got[0].Source != "scraper.example" {
		t.Errorf("%+v", got)
	}
}
