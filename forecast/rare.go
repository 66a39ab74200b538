package forecast

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

const (
	// rarely is the share of days without use from which on totals are counted, not
	// spread around a mean: then nothing at all is likely, or one use, or two.
	rarely = 0.5
	// runs is how many futures are drawn.
	runs = 400
	// An occurrence counts half of one that was that many days later.
	rareHalfLife = 365.0
	// usualDays is how many days of the usual chance a weekday's own counts against.
	usualDays = 8.0
	// fewestAgainst is as few as they may be.
	fewestAgainst = 0.3
	// mostRegular bounds how much less by chance use may come than on days alike.
	mostRegular = 20.0
	// surest is how many days' worth of evidence the chance of a use has at most:
	// chances change.
	surest = 300.0
	// ending is the chance a day that use ends for good.
	ending = 1.0 / 1000
)

// rare forecasts sums of use that comes now and then, by drawing futures: whether a
// day brings any is drawn with the chance of its weekday, or its day of the month, and how much from what
// such days brought. How sure the chance is follows from how many days tell it
// (a Beta distribution). Use that has stopped for long may have ended (Fader, Hardie
// and Shang, "Customer-base analysis in a discrete-time noncontractual setting",
// Marketing Science 29, 2010); then what never came in so many days comes as rarely.
// The draws are the same each time.
type rare struct {
	draws
	sizes []float64
	upTo  []float64 // the sizes' weights, summed up
	// chance is that of the days of a kind: a weekday, or a place in a longer cycle.
	chance []float64
	kind   func(day int) int
	shrink float64   // how many days of the usual chance those of a kind count against at most
	ahead  []float64 // the chance of each day to come
	mean   float64   // of the chance
	// regular is how many times less by chance use comes than if days were alike.
	regular float64
	certain
}

// certain is what is known of the chance: the days with use and all, and the days
// since the last use and the likelihood that none came in them by chance.
type certain struct{ with, days, since, likely float64 }

// weekday tells the kinds of days by weekday, that of day 0 being given.
func (m *rare) weekday(first int) {
	m.chance, m.shrink = grow(m.chance, 7), usualDays
	m.kind = func(day int) int { return (first + day) % 7 }
}

// places tells them by their places in a cycle.
func (m *rare) places(c *calendar) {
	m.chance, m.shrink = grow(m.chance, c.labels), 1
	m.kind = func(day int) int { return int(c.place[day]) }
}

// like makes m tell kinds of days as another one does.
func (m *rare) like(o *rare) {
	m.kind, m.shrink, m.by = o.kind, o.shrink, 1
	m.chance = grow(m.chance, len(o.chance))
}

// fit learns from z, and says whether there was any use.
func (m *rare) fit(z []float64) bool {
	m.sizes, m.upTo = m.sizes[:0], m.upTo[:0]
	var with, days [maxPlaces]float64
	m.certain = certain{likely: 1}
	last := -1
	sum := 0.0
	for i, v := range z {
		w := math.Exp2(float64(i-len(z)+1) / rareHalfLife)
		d := m.kind(i)
		days[d] += w
		m.days += w
		if v > 0 {
			with[d] += w
			m.with += w
			sum += w
			m.sizes, m.upTo = append(m.sizes, v), append(m.upTo, sum)
			last = i
		}
	}
	if m.mean = m.with / m.days; last < 0 {
		return false
	}
	against := m.agree(with[:len(m.chance)], days[:len(m.chance)])
	alone := 0.0
	for d := range m.chance {
		m.chance[d] = (with[d] + against*m.mean) / (days[d] + against)
		alone += days[d] / m.days * m.chance[d] * (1 - m.chance[d])
	}
	m.regular = max(1, min(m.mean*(1-m.mean)/max(alone, tiny), mostRegular))
	for i := last + 1; i < len(z); i++ {
		m.since++
		m.likely *= 1 - m.tell(m.kind(i))
	}
	return true
}

// agree gives how many days of the usual chance those of a kind count against: fewer,
// where kinds differ by more than chance would have them, as a batch on each Tuesday
// does (the moments of a beta-binomial distribution).
func (m *rare) agree(with, days []float64) float64 {
	one := m.mean * (1 - m.mean)
	sum, kinds, squares := 0.0, 0.0, 0.0
	for d, n := range days {
		if n > 0 {
			off := with[d]/n - m.mean
			sum += n * off * off
			squares += n * n
			kinds++
		}
	}
	others := (m.days-squares/m.days)/(kinds-1) - 1 // for each day, of its kind
	if one <= 0 || kinds < 2 || others <= 0 {
		return m.shrink
	}
	// What days of a kind share, beyond chance and what it may well come to.
	beyond := sum/(kinds-1)/one - 1 - math.Sqrt(2/(kinds-1))
	shared := beyond / others
	if !(shared > 0) {
		return m.shrink
	}
	return min(m.shrink, max(fewestAgainst, (1-shared)/shared))
}

// tell is the chance of a kind of day, never quite sure.
func (m *rare) tell(kind int) float64 { return min(m.chance[kind], 0.98) }

// draw draws so many futures of that many days, the first of them being day next and of
// it the share over past.
func (m *rare) draw(futures, next, left int, over float64) {
	m.begin(futures, left)
	dice := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // must repeat
	// How often use comes is the surer, the more the kind of day tells when.
	known := min(m.days, surest) * m.regular
	alive := m.likely / (m.likely + ending*(1-m.likely)/m.mean)
	with := m.mean*known + 0.1
	// As many as make a difference: the inverse of the Beta distribution takes long.
	strata := min(20, futures/10)
	var times, again [20]float64
	for i := range strata {
		u := (float64(i) + 0.5) / float64(strata)
		times[i] = mathext.InvRegIncBeta(with, known-m.mean*known+0.1, u) / m.mean
		if alive*float64(futures) < float64(futures)-0.5 {
			again[i] = mathext.InvRegIncBeta(0.5, m.since+0.5, u) / m.mean
		}
	}
	total := m.upTo[len(m.upTo)-1]
	m.ahead = m.ahead[:0]
	for d := range left {
		m.ahead = append(m.ahead, m.chance[m.kind(next+d)])
	}
	if left > 0 {
		m.ahead[0] *= 1 - over
	}
	for r := range futures {
		at := m.sums[r*(left+1):]
		k := times[r%strata]
		if (float64(r)+0.5)/float64(futures) > alive {
			k = again[r%strata]
		}
		sum := 0.0
		at[0] = 0
		for d, p := range m.ahead {
			if dice.Float64() < p*k {
				i, _ := slices.BinarySearch(m.upTo, dice.Float64()*total)
				sum += m.sizes[min(i, len(m.sizes)-1)]
			}
			at[d+1] = sum
		}
	}
}

// An Idle is what series showed whose first days had no use.
type Idle struct {
	Series float64       `json:"series"` // how many there were
	Used   float64       `json:"used"`   // the share of them that came to be used
	Days   float64       `json:"days"`   // in so many days, on average
	Level  [grid]float64 `json:"level"`  // the spread of toLog of the mean day of those that were
}

// idleSeries is how many series weigh as much as what a series' own days tell.
const idleSeries = 3.0

// never forecasts the total of so many days of a series that brought nothing in the
// days known. As of anything that never happened in so many days, the chance that it
// does falls with their number; what others showed that began like this counts for
// more the more they are. Of what is old enough to be known by itself, none is
// expected.
func (p *Prior) never(known, days int, used float64) Total {
	t := Total{Used: used, open: days > 0, unit: float64(days), logs: sumLogs}
	k, d := float64(known), float64(days)
	t.none = math.Sqrt((k + 1) / (k + 1 + d))
	idle := p.Idle[step(known)]
	level := &idle.Level
	if idle.Series > 0 && idle.Days > 0 {
		first := float64(elapsedSteps[step(known)])
		rate := -math.Log1p(-min(idle.Used, 0.99)) / idle.Days * (first + 1) / (max(k, first) + 1)
		own := idleSeries / (idle.Series + idleSeries)
		t.none = own*t.none + (1-own)*math.Exp(-rate*d)
	}
	if *level == ([grid]float64{}) {
		level = &p.Level
	}
	if known >= grownUp {
		t.none = max(t.none, 0.51)
	}
	if *level == ([grid]float64{}) || days == 0 {
		t.unit = 0
		return t
	}
	for i, q := range probabilities {
		if t.at[i] = toLog(0); q > t.none {
			t.at[i] = max(t.at[i], spreadAt(level, (q-t.none)/(1-t.none)))
		}
	}
	return t
}

// idles learns from the windows of series whose first days had no use, by elapsed:
// the mean days that came then, and over how many.
func (p *Prior) idles(levels, days [len(elapsedSteps)][]float64) {
	for i, z := range levels {
		idle := Idle{Series: float64(len(z)), Days: meanOf(days[i])}
		var used []float64
		for _, v := range z {
			if v > 0 {
				used = append(used, toLog(v))
			}
		}
		if len(used) > 0 {
			idle.Used = float64(len(used)) / idle.Series
			slices.Sort(used)
			for j, q := range probabilities {
				idle.Level[j] = sortedQuantile(used, q)
			}
		}
		p.Idle[i] = idle
	}
}
