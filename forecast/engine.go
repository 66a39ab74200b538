package forecast

import "math"

// engine makes the forecasts of one series after another and reuses what it
// needs for it, so that a series costs no allocation. The series it is given is
// measured by its own mean, without gaps.
type engine struct {
	y []float64
	h int
	// oddEnd and calendar are a job's.
	oddEnd   bool
	calendar *calendar
	// logs are the series' logarithms, once they are asked for.
	logs []float64
	// zeros is the share of zeros in the series, and bySum that of the error of
	// the sum in a member's error, the rest being that of the single values.
	zeros, bySum float64
	views        []*view // those in use come first
	used         int
	// origins are the indices from which the series is forecast: those of the
	// backtest, and last the series' end.
	origins []int
	// recent is what an error at an origin weighs, by how long ago it was.
	recent []float64
	// paths are the members' forecasts, one origin after another, each h long.
	paths   [][]float64
	members []member
	blend   []float64 // the weighted forecast, one origin after another

	naive naive
	again []again
	ets   [2]ets
	tsb   tsb
	sba   sba
}

// A member is a method on a view.
type member struct {
	view   *view
	level  level
	err    float64 // in the backtest: between the mean absolute and the mean relative error
	weight float64
}

const (
	// maxPoints is as far back as methods look; a forecast's time grows with it.
	maxPoints = 1500
	// maxOrigins and checkpoints bound the backtest: the seasons are estimated
	// anew at each checkpoint, from what was known there.
	maxOrigins  = 32
	checkpoints = 4
	// Beyond longAhead values ahead, origins as near to each other as that tell the same:
	// there are fewer, but fewestOrigins.
	longAhead     = 60
	fewestOrigins = 12
	// An error counts half of one that was made that many values later, when
	// members are compared.
	halfLife = 120.0
)

// A view is how members see a series: on which scale, and without which cycles.
type view struct {
	log     bool
	lengths []int
	z       []float64 // the series on the scale, which views share
	x       []float64 // less the cycles, as known at the end
	// Per checkpoint, the cycles as known there and the series less them.
	known []seasons
	less  [][]float64
	seen  []reach // by origin
	// smear is how many times the mean of days is what the mean of their logarithms comes
	// to (Duan, "Smearing estimate", JASA 78, 1983).
	smear float64
	buf   []float64

	ses     ses
	holt    holt
	theta   theta
	robust  robust
	medians medians
	average average
	line    straight
}

// logs is a logarithmic scale on which this much is added to a value before its
// logarithm is taken, so that small ones stay tame; values are measured by the
// series' own mean.
type logs float64

const (
	// Sums and levels grow and shrink by factors. Single days scatter more evenly
	// about them: their intervals are sharper on a scale nearer to their own.
	sumLogs logs = 0.1
	dayLogs logs = 1
	// nothing is what there may be of rounding where there is nothing: values are kept to
	// 2^-32 of the usual one.
	nothing = 1e-10
)

func (k logs) of(v float64) float64 { return math.Log(max(v, 0) + float64(k)) }
func (k logs) back(z float64) float64 {
	if v := math.Exp(min(z, 50)) - float64(k); v > nothing {
		return v
	}
	return 0
}

func toLog(v float64) float64   { return sumLogs.of(v) }
func fromLog(z float64) float64 { return sumLogs.back(z) }

// plan chooses the backtest's origins for a series of n values.
func (e *engine) plan(n int) {
	e.origins = e.origins[:0]
	first := max(n-max(3*e.h, 365), n*2/5, min(7, n-1), 1)
	if first < n {
		last := n - min(e.h, max(1, (n-first)/2))
		most := maxOrigins
		if e.h > longAhead {
			most = max(fewestOrigins, maxOrigins*longAhead/e.h)
		}
		count := min(most, last-first+1)
		for i := range count {
			o := last
			if count > 1 {
				o = first + (last-first)*i/(count-1)
			}
			e.origins = append(e.origins, o)
		}
	}
	e.origins = append(e.origins, n)
	e.recent = e.recent[:0]
	for _, at := range e.origins {
		e.recent = append(e.recent, math.Exp2(float64(at-n)/halfLife))
	}
}

// checkpoint gives a view's checkpoint of origin number o: the end has one of its
// own, which is the only one where there are no cycles that could be known by then.
func (e *engine) checkpoint(v *view, o int) int {
	back := len(e.origins) - 1
	if o == back || len(v.lengths) == 0 {
		return checkpoints
	}
	return o * checkpoints / back
}

// view prepares the next view, and says whether its longest cycle is worth
// telling from the view without it.
func (e *engine) view(log bool, lengths []int) (*view, bool) {
	if e.used == len(e.views) {
		e.views = append(e.views, &view{known: make([]seasons, checkpoints+1), less: make([][]float64, checkpoints+1)})
	}
	v := e.views[e.used]
	v.log, v.lengths = log, lengths
	n := len(e.y)
	if v.z = e.y; log {
		v.z = e.logarithms()
	}
	for c := range v.known {
		v.known[c].calendar = e.calendar
	}
	last := &v.known[checkpoints]
	last.fit(v.z, lengths)
	if k := len(last.cycles); k < len(lengths) || k > 0 && last.cycles[k-1].strength == 0 {
		return nil, false
	}
	e.used++
	done := -1
	for o, at := range e.origins {
		c := e.checkpoint(v, o)
		if c == done {
			continue
		}
		done = c
		if c < checkpoints {
			v.known[c].fit(v.z[:at], lengths)
		}
		v.less[c] = grow(v.less[c], n)
		v.known[c].without(v.z, v.less[c])
	}
	v.x = v.less[checkpoints]
	if v.smear = 1; log && e.bySum > 0 {
		v.smear = v.smeared(e.y)
	}
	v.reaches(e)
	return v, true
}

// smeared gives the view's smear: about the mean of seven days, of the last year.
func (v *view) smeared(y []float64) float64 {
	from := max(3, len(y)-yearDays)
	mean, usual := 0.0, 0.0
	for i := from; i < len(y)-3; i++ {
		level := sumOf(v.x[i-3:i+4]) / 7
		mean += y[i]
		usual += fromLog(level + v.z[i] - v.x[i])
	}
	if usual <= 0 {
		return 1
	}
	return max(1, min(mean/usual, mostSmeared))
}

// mostSmeared bounds it: what is further out is a day of its own.
const mostSmeared = 1.2

// logarithms gives those of the series.
func (e *engine) logarithms() []float64 {
	if len(e.logs) == 0 {
		for _, a := range e.y {
			e.logs = append(e.logs, toLog(a))
		}
	}
	return e.logs
}

// add makes a member's forecasts at every origin, and notes its error: the
// geometric mean of the mean absolute and the mean relative one, since the first
// alone follows the largest days and the second alone the smallest.
func (e *engine) add(v *view, l level) *member {
	l.fit(v.x)
	i := len(e.members)
	e.members = append(e.members, member{view: v, level: l})
	if i == len(e.paths) {
		e.paths = append(e.paths, nil)
	}
	e.paths[i] = grow(e.paths[i], len(e.origins)*e.h)
	sum, rel, count := 0.0, 0.0, 0.0
	done := -1
	for o, at := range e.origins {
		c := e.checkpoint(v, o)
		x := v.less[c]
		if c != done {
			l.reset(x)
			done = c
		}
		l.advance(x, at)
		p := e.paths[i][o*e.h : (o+1)*e.h]
		l.emit(p)
		if l.name() != SBA { // whose correction goes below what was seen
			v.hold(p, x[:at], &v.seen[o])
		}
		v.known[c].add(p, at)
		if v.log {
			for j, z := range p {
				p[j] = fromLog(z) * v.smear
			}
		} else {
			for j, z := range p {
				p[j] = min(max(0, z), 1e15)
			}
		}
		actual := e.y[at:min(at+e.h, len(e.y))]
		var abs, part float64
		for j, a := range actual {
			d := math.Abs(a - p[j])
			abs += d
			part += d / (a + p[j] + 0.1)
		}
		if k := float64(len(actual)); k > 0 && e.bySum > 0 {
			a, f := sumOf(actual), sumOf(p[:len(actual)])
			off := math.Abs(a - f)
			abs += e.bySum * (off - abs)
			part += e.bySum * (k*off/(a+f+0.1*k) - part)
		}
		w := e.recent[o]
		sum += w * abs
		rel += w * part
		count += w * float64(len(actual))
	}
	m := &e.members[i]
	if count > 0 {
		m.err = math.Sqrt(sum*rel) / count
	}
	return m
}

// A job says what is wanted of a series.
type job struct {
	cycles  []int
	horizon int
	method  Method
	elapsed int  // values that a period has run, for pacing
	sums    bool // sums of values are wanted rather than single ones
	oddEnd  bool // the last value was far above all others
	// calendar, if there is one, has the places of the cycle of its length.
	calendar *calendar
}

// run forecasts y.
func (e *engine) run(y []float64, want job) {
	e.y, e.h, e.oddEnd, e.calendar = y, want.horizon, want.oddEnd, want.calendar
	e.used, e.members, e.logs = 0, e.members[:0], e.logs[:0]
	e.zeros = 0
	for _, v := range y {
		if v <= 0 {
			e.zeros++
		}
	}
	e.zeros /= float64(len(y))
	e.bySum = 0
	switch {
	case want.sums && e.zeros > intermittent:
		// The median of a day is 0 here, which says nothing of the sum.
		e.bySum = 1
	case want.sums:
		e.bySum = 0.5
	}
	e.plan(len(y))
	if want.method == "" || want.method == Auto {
		e.auto(want.cycles, want.elapsed)
	} else {
		e.single(want.method, want.cycles, want.elapsed)
	}
	e.weigh()
}

const (
	// A member's weight falls by this power of its error, and is nothing where
	// the error is this much larger than the best one's.
	weightPower = 8.0
	weightCut   = 1.35
)

// weigh gives each member its weight by its backtest error, and makes the
// weighted forecast at every origin.
func (e *engine) weigh() {
	best := math.Inf(1)
	for _, m := range e.members {
		best = min(best, m.err)
	}
	total := 0.0
	for i := range e.members {
		m := &e.members[i]
		switch {
		case m.err == best:
			m.weight = 1
		case m.err > best*weightCut:
			m.weight = 0
		default:
			m.weight = math.Pow(best/m.err, weightPower)
		}
		total += m.weight
	}
	e.blend = grow(e.blend, len(e.origins)*e.h)
	clear(e.blend)
	for i := range e.members {
		m := &e.members[i]
		m.weight /= total
		if m.weight == 0 {
			continue
		}
		for j, v := range e.paths[i] {
			e.blend[j] += m.weight * v
		}
	}
}

// end gives the weighted forecast from the series' end.
func (e *engine) end() []float64 { return e.at(len(e.origins) - 1) }

// at gives the weighted forecast made at origin number o; the last is the
// series' end.
func (e *engine) at(o int) []float64 { return e.blend[o*e.h : (o+1)*e.h] }
