package forecast

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/usance/usance"
)

// life is a made-up licence, hour by hour.
type life struct {
	days  [][24]float64
	rand  *rand.Rand
	shape [24]float64
	lump  float64
}

// kinds of lives that are quiet: nothing in them is worth an alert.
var quiet = map[string]func(l *life, day int) float64{
	"steady":       func(l *life, day int) float64 { return 500 },
	"small":        func(l *life, day int) float64 { return 12 },
	"large":        func(l *life, day int) float64 { return 40_000 },
	"weekly":       func(l *life, day int) float64 { return []float64{80, 900, 1000, 950, 900, 700, 120}[day%7] },
	"working days": func(l *life, day int) float64 { return []float64{0, 300, 300, 300, 300, 300, 0}[day%7] },
	"growing":      func(l *life, day int) float64 { return 100 * math.Pow(1.02, float64(day)) },
	"shrinking":    func(l *life, day int) float64 { return 3000 * math.Pow(0.98, float64(day)) },
	"wild":         func(l *life, day int) float64 { return 400 * math.Exp(0.5*l.rand.NormFloat64()) },
	"very wild":    func(l *life, day int) float64 { return 200 * math.Exp(0.9*l.rand.NormFloat64()) },
	"rare": func(l *life, day int) float64 {
		if l.rand.IntN(5) > 0 {
			return 0
		}
		return 60
	},
	"wandering": func(l *life, day int) float64 {
		return 600 * math.Exp(0.4*math.Sin(float64(day)/9)+0.1*l.rand.NormFloat64())
	},
}

// live makes so many days; each unit, or lump of units, falls into an hour by the
// licence's own shape of a day.
func live(seed uint64, days int, lump float64, level func(l *life, day int) float64) *life {
	l := &life{rand: rand.New(rand.NewPCG(seed, 11)), lump: lump} //nolint:gosec // must repeat
	sum := 0.0
	for h := range l.shape {
		l.shape[h] = 0.15 + max(0, math.Sin(float64(h-6)*math.Pi/16)) + 0.2*l.rand.Float64()
		sum += l.shape[h]
	}
	for d := range days {
		var hours [24]float64
		mean := level(l, d)
		for h := range hours {
			hours[h] = lump * l.poisson(mean*l.shape[h]/sum/lump)
		}
		l.days = append(l.days, hours)
	}
	return l
}

func (l *life) poisson(mean float64) float64 {
	if mean > 50 {
		return math.Max(0, math.Round(mean+math.Sqrt(mean)*l.rand.NormFloat64()))
	}
	n, p := 0.0, l.rand.Float64()
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= l.rand.Float64()
	}
	return n
}

// seen is what Unusual says at an hour of a day, of which h hours are over.
func (l *life) seen(day, h int) []Anomaly {
	r := Recent{Today: l.days[day][:h]}
	for _, d := range l.days[:day] {
		r.Days = append(r.Days, sumOf(d[:]))
	}
	r.Hours = l.days[max(0, day-levelDays):day]
	r.Events = sumOf(l.days[day-1][:]) / l.lump
	return Unusual(r)
}

// told counts what is told of, as alerts are: a kind once, and again after three
// days.
func (l *life) told(from, to int) (kinds []string) {
	last := make(map[usance.AlertKind]int)
	for day := from; day < to; day++ {
		for h := 1; h < 24; h += 4 {
			for _, a := range l.seen(day, h) {
				if before, ok := last[a.Kind]; ok && day-before < 3 {
					continue
				}
				last[a.Kind] = day
				kinds = append(kinds, fmt.Sprintf("%s on day %d: %+v", a.Kind, day, a))
			}
		}
	}
	return kinds
}

// On lives in which nothing happens there is hardly an alert: of all, one in
// twenty weeks at most, and of none more than two a week.
func TestQuietSeriesAreLeftAlone(t *testing.T) {
	t.Parallel()
	const each, weeks = 2, 5
	alerts, lives := 0, 0
	both := maps.Clone(quiet)
	maps.Copy(both, seldom)
	for name, level := range both {
		for seed := range uint64(each) {
			for _, lump := range []float64{1, 25} {
				l := live(seed+100*uint64(len(name)), 63+7*weeks, lump, level)
				told := l.told(63, 63+7*weeks)
				alerts += len(told)
				lives++
				if len(told) > 2*weeks {
					t.Errorf("%s, lumps of %v: %d alerts in %d weeks, such as %s", name, lump, len(told), weeks, told[0])
				}
			}
		}
	}
	rate := float64(alerts) / float64(lives*weeks)
	t.Logf("%d alerts in %d lives of %d weeks: %.3f a week", alerts, lives, weeks, rate)
	if rate > 0.05 {
		t.Errorf("%.3f alerts a week on quiet series", rate)
	}
}

func TestWhatIsUnusualIsSeen(t *testing.T) {
	t.Parallel()
	const day = 72
	for _, c := range []struct {
		name  string
		want  usance.AlertKind
		hours int // of the day that are over
		do    func(l *life)
	}{
		{"a day of six times as much", usance.AlertSpike, 1, func(l *life) { l.times(day-1, 6) }},
		{"an hour of bots today", usance.AlertSpike, 12, func(l *life) { l.days[day][11] += 1.5 * sumOf(l.days[day-7][:]) }},
		{"a tenth of a day", usance.AlertDrop, 1, func(l *life) { l.times(day-1, 0.1) }},
		{"nothing since yesterday", usance.AlertFlat, 12, func(l *life) {
			clear(l.days[day][:])
			clear(l.days[day-1][20:])
		}},
		{"the same each hour", usance.AlertFlat, 12, func(l *life) {
			for h := range 24 {
				l.days[day][h], l.days[day-1][h] = 17, 17
			}
		}},
		{"an hour that carries a day", usance.AlertConcentration, 1, func(l *life) {
			s := sumOf(l.days[day-1][:])
			clear(l.days[day-1][:])
			l.days[day-1][3], l.days[day-1][12] = 0.8*s, 0.2*s
		}},
	} {
		for name, level := range quiet {
			if name == "rare" || name == "small" || name == "very wild" || name == "working days" || name == "wild" && c.want == usance.AlertDrop {
				continue // too little happens there, or too much, to tell
			}
			for seed := range uint64(3) {
				// An earlier campaign hides nothing.
				l := live(seed, day+1, 1, level)
				l.times(day-12, 4)
				l.times(day-11, 3)
				c.do(l)
				found := false
				for _, a := range l.seen(day, c.hours) {
					found = found || a.Kind == c.want
				}
				if !found {
					t.Errorf("%s, on %s: %+v", c.name, name, l.seen(day, c.hours))
				}
			}
		}
	}
}

func (l *life) times(day int, by float64) {
	for h := range l.days[day] {
		l.days[day][h] = math.Round(by * l.days[day][h])
	}
}

// A campaign is a spike, once or twice; its end is no drop.
func TestTheEndOfACampaignIsNoDrop(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		l := live(seed, 100, 1, quiet["weekly"])
		for d := 70; d < 75; d++ {
			l.times(d, 5)
		}
		told := l.told(64, 100)
		spikes := 0
		for _, s := range told {
			if s[:5] == "spike" {
				spikes++
			} else {
				t.Errorf("a campaign of five days: %s", s)
			}
		}
		if spikes < 1 || spikes > 3 {
			t.Errorf("a campaign of five days is told %d times: %v", spikes, told)
		}
	}
}

func TestASourceThatCarriesADay(t *testing.T) {
	t.Parallel()
	l := live(3, 70, 1, quiet["steady"])
	look := func(share func(day int) float64) []Anomaly {
		r := Recent{Hours: l.days[70-levelDays:]}
		for i, d := range l.days {
			r.Days = append(r.Days, sumOf(d[:]))
			if i >= 70-levelDays {
				r.Sources = append(r.Sources, map[string]float64{
					"bots.example": share(i) * r.Days[i], "blog.example": (0.9 - share(i)) * r.Days[i],
				})
			}
		}
		return Unusual(r)
	}
	at := func(last float64) func(int) float64 {
		return func(day int) float64 {
			if day == 69 {
				return last
			}
			return 0.05 + 0.01*float64(day%5)
		}
	}
	got := look(at(0.85))
	if len(got) != 1 || got[0].Kind != usance.AlertConcentration || got[0].Source != "bots.example" || got[0].Severity != usance.SeverityWarning {
		t.Errorf("%+v", got)
	}
	if got := look(at(0.1)); len(got) > 0 {
		t.Errorf("nothing happened: %+v", got)
	}
	if got := look(func(int) float64 { return 0.85 }); len(got) > 0 {
		t.Errorf("it always carries that much: %+v", got)
	}
}

func TestWhatIsYoungOrUnknownIsLeftAlone(t *testing.T) {
	t.Parallel()
	l := live(4, 60, 1, quiet["steady"])
	l.times(19, 50)
	if got := (&life{days: l.days[:21]}).seen(20, 1); len(got) > 0 {
		t.Errorf("after 20 days: %+v", got)
	}
	days := make([]float64, 40)
	for i := range days {
		days[i] = math.NaN()
	}
	if got := Unusual(Recent{Days: days}); len(got) > 0 {
		t.Errorf("of gaps: %+v", got)
	}
	// A source and hours that do not fit are passed over, not read beyond.
	if got := Unusual(Recent{Days: make([]float64, 40), Sources: make([]map[string]float64, 3)}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

// FuzzUnusual takes any bytes as the use of hours: nothing must crash, and what
// is told is in order.
func FuzzUnusual(f *testing.F) {
	f.Add([]byte{0, 1, 2, 255}, uint8(3), 40)
	f.Add([]byte{7}, uint8(0), 90)
	f.Fuzz(func(t *testing.T, data []byte, today uint8, days int) {
		days = min(max(days, 0), 100)
		if len(data) == 0 {
			return
		}
		var r Recent
		k := 0
		for range days {
			var d [24]float64
			for h := range d {
				d[h] = float64(data[k%len(data)]) * math.Pow(3, float64(k%7))
				k += 1 + len(data)/24
			}
			r.Days, r.Hours = append(r.Days, sumOf(d[:])), append(r.Hours, d)
			r.Sources = append(r.Sources, map[string]float64{"a": d[0], "b": d[1]})
		}
		r.Hours, r.Sources = r.Hours[max(0, days-levelDays):], r.Sources[max(0, days-levelDays):]
		r.Today = make([]float64, today%25)
		seen := make(map[usance.AlertKind]bool)
		for _, a := range Unusual(r) {
			if seen[a.Kind] || a.Severity.Rank() == 0 || a.DaysAgo < 0 || a.DaysAgo > 1 || a.Hour < -1 || a.Hour > 23 ||
				math.IsNaN(a.Actual) || math.IsNaN(a.Expected) || a.Actual < 0 || a.Expected < 0 {
				t.Fatalf("%+v", a)
			}
			seen[a.Kind] = true
		}
	})
}
