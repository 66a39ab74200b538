package forecast

import (
	"cmp"
	"math"
	"slices"
)

// A Prior is what many licences together show, for those that are too young to
// show it themselves: how the days of the week differ, how well the first days
// tell the later ones, and how the errors of forecasts are spread. A Learner
// makes one; nil stands for defaults. It is plain data, fit for JSON.
type Prior struct {
	// Series is the number of series it was learned from.
	Series int `json:"series"`
	// Weekday holds what a day is worth against the mean day, by time.Weekday.
	Weekday [7]float64 `json:"weekday"`
	// Own is the share of how a series' week differs from that which its next one shows
	// as well.
	Own float64 `json:"own"`
	// Rules say how the first days' level is corrected, by elapsed.
	Rules [len(elapsedSteps)]Rule `json:"rules"`
	// Size gives the typical error of a young series by sizeOf's terms.
	Size [sizeTerms]float64 `json:"size"`
	// Young is the spread of the errors of young series over that size, by elapsed.
	Young [len(elapsedSteps)][grid]float64 `json:"young"`
	// Grown is the spread of the errors of others over what their own backtest
	// says is typical; all 0 when it was not learned.
	Grown [grid]float64 `json:"grown"`
	// Level is the spread of toLog of the mean day.
	Level [grid]float64 `json:"level"`
	// Idle is what those showed whose first days had no use, by elapsed.
	Idle [len(elapsedSteps)]Idle `json:"idle"`
}

// A Rule corrects the logarithm of the mean of the first days: by a constant, by
// where their median lies, by where the last of them lie, and by how far the
// usual level of all series is.
type Rule [4]float64

// elapsedSteps are the numbers of first days for which rules are learned; others
// take the next lower one's.
var elapsedSteps = [...]int{1, 2, 3, 5, 7, 10, 14, 20}

// defaults is the prior before anything was learned: round figures of what page
// views, cash withdrawals and synthetic counts have in common.
var defaults = func() *Prior {
	p := &Prior{Own: ownWeek, Size: [sizeTerms]float64{-0.65, -0.15, 0.25, -0.1, 0.55}}
	for i := range p.Young {
		p.Young[i] = common
	}
	for i := range p.Weekday {
		p.Weekday[i] = 1
	}
	return p
}()

// A young is what the first days of a series show.
type young struct {
	mean     float64
	features Rule
	wild     float64 // log of the mean absolute deviation of the days' logarithms
	elapsed  int
	week     week
}

// idleDay is the weight of a weekday under which its use tells nothing of other days.
const idleDay = 0.25

// look reads the first days, with the days' weights taken out; buf is scratch.
func look(days []float64, p *Prior, weekday int, buf []float64) young {
	buf = buf[:0]
	y := young{week: ownWeekOf(days, weekday, &p.Weekday, cmp.Or(p.Own, ownWeek))}
	sum, weights := 0.0, 0.0
	var worth [grownUp]float64
	for i, v := range days {
		if math.IsNaN(v) {
			continue
		}
		v = min(max(0, v), huge)
		w := y.week.worth[(weekday+i)%7]
		y.elapsed++
		sum += v
		weights += w
		if w >= idleDay {
			worth[len(buf)] = w
			buf = append(buf, v/w)
		}
	}
	// A ratio of sums, not a mean of ratios: on weekdays that bring next to nothing a
	// ratio is nothing or anything.
	y.mean = sum / max(weights, idleDay*float64(y.elapsed), tiny)
	if y.mean < tiny {
		return young{}
	}
	if len(buf) == 0 {
		buf, worth[0] = append(buf, y.mean), 1
	}
	last := meanOf(buf[max(0, len(buf)-3):])
	wild, log, all := 0.0, 0.0, 0.0
	for i, v := range buf {
		log += worth[i] * toLog(v/y.mean)
		all += worth[i]
	}
	n := float64(len(buf))
	log /= all
	for i, v := range buf {
		wild += worth[i] * math.Abs(toLog(v/y.mean)-log)
	}
	wild *= n / all
	// With few days the deviation says little: it is drawn to a usual one.
	y.wild = math.Log((wild*y.week.loose() + 0.25*3) / (n + 3 - 1))
	y.features = Rule{1, toLog(medianOf(buf)/y.mean) - toLog(1), toLog(last/y.mean) - toLog(1)}
	if usual := fromLog(p.Level[grid/2]); usual > 0 {
		y.features[3] = math.Tanh(math.Log(usual/y.mean) / 2)
	}
	return y
}

// step gives the index of the rule for that many first days.
func step(elapsed int) int {
	i := len(elapsedSteps) - 1
	for i > 0 && elapsedSteps[i] > elapsed {
		i--
	}
	return i
}

// center gives toLog of the expected mean of the days to come, in measures of
// the first days' mean.
func (p *Prior) center(y young) float64 {
	c := toLog(1)
	for i, b := range p.Rules[step(y.elapsed)] {
		c += b * y.features[i]
	}
	return c
}

const sizeTerms = 5

func sizeOf(y young, lead int) [sizeTerms]float64 {
	n := float64(y.elapsed)
	return [sizeTerms]float64{1, math.Log(n), 1 / n, math.Log(float64(lead)), y.wild}
}

// size gives the typical error for the mean of the next lead days.
func (p *Prior) size(y young, lead int) float64 {
	s := 0.0
	for i, f := range sizeOf(y, lead) {
		s += p.Size[i] * f
	}
	// What was learned of shorter windows says too little of longer ones: even were the
	// days independent of each other, no less could be wrong.
	alone := math.Exp(y.wild) * math.Sqrt(1/float64(y.elapsed)+1/float64(lead))
	return min(max(math.Exp(s), 0.9*alone, 0.02), 2)
}

// weight gives the sum of the days' weights from weekday on.
func (w week) weight(weekday, days int) float64 {
	sum := 0.0
	for i := range days {
		sum += w.worth[(weekday+i)%7]
	}
	return sum
}

// unknown forecasts the total of that many days of a series of which nothing is
// known.
func (p *Prior) unknown(days int) Total {
	t := Total{unit: float64(days), at: p.Level, logs: sumLogs, open: days > 0}
	if p.Level == ([grid]float64{}) {
		t.unit, t.unknown = 0, true
	}
	return t
}

// A Learner makes a Prior from series, keeping few enough of them that any
// number can be shown to it. The order in which they are added is part of the
// result.
type Learner struct {
	series []learned
	odd    odd
	seen   int
	every  int
}

type learned struct {
	days    []float64
	weekday int
}

const (
	maxLearned = 1500 // series kept
	maxDays    = 1095 // days kept of each
	maxGrown   = 250  // series whose own backtests are tried
	grownDays  = 28
	// The common spread counts as so many errors, of which a window gives four
	// that are much alike; and no error counts for more than so many usual ones.
	grownErrors = 200
	farthest    = 8
)

// Add shows the learner a series, day by day, NaN being a gap, the first of them on
// the given weekday (time.Weekday, 0 to 6).
func (l *Learner) Add(days []float64, weekday int) {
	l.every = max(l.every, 1)
	l.seen++
	if (l.seen-1)%l.every != 0 {
		return
	}
	if len(l.series) == maxLearned {
		// Every other one makes room for as many more.
		for i := range maxLearned / 2 {
			l.series[i] = l.series[2*i]
		}
		l.series = l.series[:maxLearned/2]
		l.every *= 2
		if (l.seen-1)%l.every != 0 {
			return
		}
	}
	cut := max(0, len(days)-maxDays)
	days = days[cut:]
	z := make([]float64, len(days))
	for i, v := range days {
		if z[i] = v; !isGap(v) {
			z[i] = min(max(0, v), huge)
		}
	}
	fill(z)
	l.series = append(l.series, learned{l.odd.held(z), (weekday + cut) % 7})
}

// Prior gives what the series show, shrunk to the defaults where they are few.
func (l *Learner) Prior() *Prior {
	p := *defaults
	p.Series = l.seen
	l.weekdays(&p)
	l.ownShare(&p)
	l.levels(&p)
	l.young(&p)
	l.grown(&p)
	return &p
}

// weekdays averages what the days are worth in each series: shares of its mean day, so
// that days on which nobody has use are worth nothing.
func (l *Learner) weekdays(p *Prior) {
	var sum [7]float64
	weeks := 0.0
	for _, s := range l.series {
		n := min(len(s.days)/7, 26) * 7
		if n == 0 {
			continue
		}
		at := len(s.days) - n
		days := s.days[at:]
		mean := meanOf(days)
		if mean <= 0 {
			continue
		}
		var by [7]float64
		for i, v := range days {
			// One day counts for no more than four, lest a spike be a weekday.
			by[(s.weekday+at+i)%7] += min(v/mean, 4)
		}
		for i, v := range by {
			sum[i] += v / float64(n/7) * math.Sqrt(float64(n/7))
		}
		weeks += math.Sqrt(float64(n / 7))
	}
	total := 0.0
	for i, v := range sum {
		p.Weekday[i] = (v + 8) / (weeks + 8)
		total += p.Weekday[i]
	}
	for i := range p.Weekday {
		p.Weekday[i] *= 7 / total
	}
}

// levels spreads the means of the series.
func (l *Learner) levels(p *Prior) {
	var z []float64
	for _, s := range l.series {
		if len(s.days) > 0 {
			z = append(z, toLog(meanOf(s.days[max(0, len(s.days)-grownDays):])))
		}
	}
	slices.Sort(z)
	if len(z) > 1 {
		for i, q := range probabilities {
			p.Level[i] = sortedQuantile(z, q)
		}
	}
}

// A lesson is a window of a known series, seen as if it were a young one's.
type lesson struct {
	young
	lead   int
	target float64
}

// young learns from windows of the series how the first days tell the later
// ones: for each number of first days a ridge regression of the later days'
// level, one of the size of what it leaves, and the spread of that.
func (l *Learner) young(p *Prior) {
	var lessons [len(elapsedSteps)][]lesson
	var all []lesson
	var idleLevels, idleDays [len(elapsedSteps)][]float64
	buf := make([]float64, 0, 32)
	for _, s := range l.series {
		for i, e := range elapsedSteps {
			lead := grownDays - e
			last := len(s.days) - e - lead
			if last < 0 {
				// Too young itself: it shows as much as it has.
				lead = min(len(s.days)-e, lead)
				last = len(s.days) - e - lead
				if lead < 3 {
					continue
				}
			}
			windows := min(8, last/grownDays+1)
			for w := range windows {
				at := last - w*grownDays
				day := (s.weekday + at) % 7
				y := look(s.days[at:at+e], p, day, buf)
				actual := sumOf(s.days[at+e : at+e+lead])
				if y.mean <= 0 {
					idleLevels[i], idleDays[i] = append(idleLevels[i], actual/float64(lead)), append(idleDays[i], float64(lead))
					continue
				}
				level := actual / y.week.weight((day+e)%7, lead)
				lessons[i] = append(lessons[i], lesson{y, lead, toLog(level/y.mean) - toLog(1)})
			}
		}
	}
	for i, cases := range lessons {
		p.Rules[i] = ridge(cases)
		all = append(all, cases...)
	}
	p.idles(idleLevels, idleDays)
	if len(all) < 30 {
		return
	}
	p.sizes(all)
}

// ridge regresses the lessons' targets on their features, drawn to 0: the mean
// of the first days goes on.
func ridge(cases []lesson) (b Rule) {
	const k = len(b)
	var a [k][k]float64
	var v [k]float64
	for _, c := range cases {
		// A target far out counts as one that is not.
		t := max(-2, min(c.target, 2))
		for i, f := range c.features {
			v[i] += f * t
			for j := range i + 1 {
				a[i][j] += f * c.features[j]
			}
		}
	}
	for i := range k {
		a[i][i] += 10
	}
	rows := make([][]float64, k)
	for i := range a {
		rows[i] = a[i][:]
	}
	if !solve(rows, v[:]) {
		return Rule{}
	}
	return Rule(v)
}

// solve makes v the solution x of a x = v by Cholesky's decomposition, and says
// whether there is one. The matrix is symmetric, its lower half is read and
// overwritten. (A library of matrices would be most of what there is to build.)
func solve(a [][]float64, v []float64) bool {
	for i := range a {
		for j := range i + 1 {
			sum := a[i][j]
			for k := range j {
				sum -= a[i][k] * a[j][k]
			}
			switch {
			case j < i:
				a[i][j] = sum / a[j][j]
			case !(sum > 0): // not positive definite, or no number
				return false
			default:
				a[i][i] = math.Sqrt(sum)
			}
		}
	}
	for i := range v {
		for k := range i {
			v[i] -= a[i][k] * v[k]
		}
		v[i] /= a[i][i]
	}
	for i := len(v) - 1; i >= 0; i-- {
		for k := i + 1; k < len(v); k++ {
			v[i] -= a[k][i] * v[k]
		}
		v[i] /= a[i][i]
	}
	return true
}

// untried is how much wider the spread is for a number of first days that no series
// was old enough to try.
const untried = 1.15

// sizes learns how large the errors are that the rules leave, and their spread.
func (p *Prior) sizes(cases []lesson) {
	const k = sizeTerms
	var a [k][k]float64
	var v [k]float64
	errs := make([]float64, len(cases))
	for n, c := range cases {
		errs[n] = c.target + toLog(1) - p.center(c.young)
		// The distance from the default, so that few lessons stay near it.
		t := math.Log(math.Abs(errs[n])+0.03) - math.Log(defaults.size(c.young, c.lead)) + 0.4
		f := sizeOf(c.young, c.lead)
		for i := range k {
			v[i] += f[i] * t
			for j := range i + 1 {
				a[i][j] += f[i] * f[j]
			}
		}
	}
	for i := range k {
		a[i][i] += 20
	}
	rows := make([][]float64, k)
	for i := range a {
		rows[i] = a[i][:]
	}
	if !solve(rows, v[:]) {
		return
	}
	for i := range k {
		p.Size[i] = defaults.Size[i] + v[i]
	}
	sum := 0.0
	for n, c := range cases {
		sum += math.Abs(errs[n]) / p.size(c.young, c.lead)
	}
	p.Size[0] += math.Log(sum/float64(len(cases)) + 1e-9)
	var by [len(elapsedSteps)][]float64
	for n, c := range cases {
		errs[n] /= p.size(c.young, c.lead)
		by[step(c.elapsed)] = append(by[step(c.elapsed)], errs[n])
	}
	slices.Sort(errs)
	all := blend(errs, &common, 100)
	for i, z := range by {
		slices.Sort(z)
		p.Young[i] = blend(z, &all, 200)
		if len(z) == 0 {
			for j := range p.Young[i] {
				p.Young[i][j] *= untried
			}
		}
	}
}

// blend gives the spread of sorted values, drawn to another one as if that came
// from so many values.
func blend(z []float64, to *[grid]float64, so float64) (out [grid]float64) {
	if len(z) < 2 {
		return *to
	}
	own := float64(len(z)) / (float64(len(z)) + so)
	for i, q := range probabilities {
		out[i] = own*sortedQuantile(z, q) + (1-own)*to[i]
	}
	return out
}

// grown tries the backtests of some of the series: forecast from four weeks
// before their end, how do errors compare with what the backtest called typical?
func (l *Learner) grown(p *Prior) {
	every := len(l.series)/maxGrown + 1
	var f Forecaster
	var z []float64
	for i := 0; i < len(l.series); i += every {
		s := l.series[i]
		for back := 1; back <= 2; back++ {
			n := len(s.days) - back*grownDays
			if n < 42 {
				break
			}
			known, by := f.measure(s.days[:n])
			if by == 0 {
				continue
			}
			f.engine.run(known, job{cycles: dailyCycles, horizon: grownDays, sums: true})
			f.law.learn(&f.engine, true)
			law := &f.law
			path := f.engine.end()
			var a, f float64
			for j, v := range path {
				a += s.days[n+j] / by
				f += v
				if r := j + 1; r%7 == 0 && law.scale[j] > 0 {
					z = append(z, (toLog(a/float64(r))-toLog(f/float64(r)))/law.scale[j])
				}
			}
		}
	}
	slices.Sort(z)
	for i, v := range z {
		z[i] = max(-farthest, min(v, farthest))
	}
	p.Grown = blend(z, &common, grownErrors)
}
