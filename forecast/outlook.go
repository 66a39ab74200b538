package forecast

import (
	"math"
	"slices"
)

// dailyCycles are the cycles of days: the week and the year.
var dailyCycles = []int{7, 365}

const (
	// Under youngDays days a series is forecast from the prior alone; from
	// grownUp days on from itself alone. Between, both opinions are mixed.
	youngDays = 14
	grownUp   = 42
	// priorErrors is how many independent errors weigh as much as the spread
	// that other series' backtests show.
	priorErrors = 12.0
	// laterWindow is how much larger errors are for days that do not begin at
	// once, where the backtest is too short to tell.
	laterWindow = 1.15
)

// history is what is known of a series: its days up to the origin.
type history struct {
	days    []float64
	weekday int // of the first
	elapsed int // days that the current period has run
	dates
}

// present is the part of a history that tells how it goes on.
func (h history) present() history {
	start := regime(h.days)
	h.first = h.first.AddDays(start)
	return history{h.days[start:], (h.weekday + start) % 7, h.elapsed, h.dates}
}

// An outlook is what is expected of the days from an origin on, for sums of any
// of them. It is read before its forecaster makes the next one.
type outlook struct {
	f      *Forecaster
	prior  *Prior
	method Method
	young  young
	days   int // days looked at
	left   int // days ahead
	next   int // weekday of the first day ahead
	silence
	by     float64 // the measure of the series' own forecast; 0 without one
	own    float64 // the share of that forecast in the answer
	spread [grid]float64
	part   partDay // what is known of the first day
	// never: none of so many days known brought any use; rare: those that did are few.
	never int
	rare  *rare
	// rivals have a share in totals, where there are days enough to try them.
	rivals *rivals
}

// outlook forecasts left days after a history that is not empty.
func (f *Forecaster) outlook(h history, left int, method Method, p *Prior) *outlook {
	if method == Auto || method == "" {
		h = h.present()
		h.days = f.levelled(h.days)
	}
	n := len(h.days)
	o := &outlook{f: f, prior: p, method: method, days: n, left: left, next: (h.weekday + n) % 7}
	o.silence = silenceOf(h.days, method == Auto || method == "")
	known := f.yearly.without(h.days[:n-o.skip], h.dates, left+o.skip)
	if n < grownUp {
		o.young = look(f.odd.held(h.days), p, h.weekday, make([]float64, 0, n))
	}
	if !slices.ContainsFunc(h.days, func(v float64) bool { return v >= tiny }) {
		for _, v := range h.days {
			if isKnown(v) {
				o.never++
			}
		}
		return o
	}
	if n < youngDays {
		return o
	}
	o.own = min(1, float64(n-youngDays)/(grownUp-youngDays))
	if method != Auto && method != "" {
		o.own = 1
	}
	z, by := f.measure(known)
	if by == 0 {
		o.young = young{}
		return o
	}
	o.by = by
	want := job{
		cycles: dailyCycles, horizon: left + o.skip, method: method, elapsed: max(0, h.elapsed-o.skip), sums: true, oddEnd: f.odd.atEnd,
	}
	h.first = h.first.AddDays(n - o.skip - len(z))
	if f.months.find(z, want.horizon, h.dates); f.months.length > 0 {
		want.calendar, want.cycles = &f.months, []int{7, f.months.length, 365}
	}
	f.engine.run(z, want)
	f.law.learn(&f.engine, true)
	auto := method == Auto || method == ""
	if auto && (f.engine.zeros > rarely || sumOf(f.engine.end()) <= 0) {
		o.rare = &f.rare
		if o.rare.weekday(o.next + 6*(len(z)+o.skip)); f.months.length > 0 { // a weekday back is six on
			o.rare.places(&f.months)
		}
		o.rare.by = by
		o.rare.fit(z)
		o.rare.draw(runs, len(z)+o.skip, left, 0)
	}
	o.spread = f.law.spread
	if p.Grown != ([grid]float64{}) {
		own := f.law.reps / (f.law.reps + priorErrors)
		bias := f.law.spread[grid/2] // which is the series' own
		for i := range o.spread {
			others := f.law.seen*p.Grown[i] + (1-f.law.seen)*common[i]
			o.spread[i] = own*f.law.spread[i] + (1-own)*(others+bias)
		}
	}
	f.law.meet(&o.spread)
	if auto {
		o.enter()
	}
	return o
}

// total gives the distribution of used and the days from ≤ day < to ahead.
func (o *outlook) total(used float64, from, to int) Total {
	if to <= from {
		return Total{Used: used}
	}
	o.weigh(from, to)
	return o.spreadOver(used, from, to, o.scale(from, to), sumLogs)
}

// scale gives the typical error of the own forecast of the sum of the days from ≤ day < to
// ahead. What the errors cannot know is as unknown of later days as of the next ones.
func (o *outlook) scale(from, to int) float64 {
	if o.by == 0 {
		return 0
	}
	l := &o.f.law
	if from+o.skip == 0 {
		return l.scale[to-1]
	}
	from, to = from+o.skip, to+o.skip
	return o.f.engine.windowScale(from, to, l.scale[to-1]-l.doubt) + l.doubt
}

// spreadOver is total with the typical error of the own forecast given, on
// the scale k, which is dayLogs for a single day.
func (o *outlook) spreadOver(used float64, from, to int, scale float64, k logs) Total {
	if o.by == 0 {
		return o.alone(used, from, to, scale, k)
	}
	times, uneven := o.f.yearly.of(o.f.engine.end(), from+o.skip, to+o.skip)
	t := o.among(o.alone(used, from, to, math.Hypot(scale, uneven), k), used, from, to, k == dayLogs)
	t.unit *= times
	return o.late(t, from, to)
}

// alone is spreadOver by the methods and their errors.
func (o *outlook) alone(used float64, from, to int, scale float64, k logs) Total {
	switch {
	case o.never > 0:
		return o.prior.never(o.never, to-from, used)
	case o.rare != nil:
		return o.rare.total(used, from, to)
	}
	days := float64(to - from)
	var grown, young Total
	if o.by > 0 {
		path := o.f.engine.end()[from+o.skip : to+o.skip]
		if from == 0 && o.part.share > 0 {
			rest := path[0] / max(sumOf(path), tiny)
			scale = o.part.scale(to, scale, o.scale(0, max(1, to-1)), rest, meanOf(path), o.by, k)
		}
		grown = newTotal(used, days*o.by, meanOf(path), scale, &o.spread, k)
		if apart := o.f.law.apart; apart > 0 && grown.unit > 0 {
			low, high := o.f.engine.furthest(from+o.skip, to+o.skip)
			grown.within(k.of(meanOf(path)), scale, apart, k.of(low), k.of(high))
		}
		grown.counts = o.f.law.exact > 0
		o.f.odd.another(&grown, days)
	}
	if y := o.young; y.mean > 0 {
		w := y.week.weight(o.next+from, to-from)
		first := y.week.worth[o.next]
		whole := max(w, idleDay*days)
		if from == 0 {
			w -= min(o.part.share*first+o.part.counted/y.mean, first)
		}
		// In the measure of whole days, of which a part may be over.
		mean := fromLog(o.prior.center(y)) * w / whole
		size := o.prior.size(y, to-from) * y.week.apart(to-from)
		if from == 0 && o.part.share > 0 {
			rest := (1 - o.part.share) * first / w
			size = o.part.scale(to, size, o.prior.size(y, max(1, to-1)), rest, mean, y.mean*whole/days, sumLogs)
		}
		if from > 0 {
			size *= laterWindow
		}
		at := sumLogs
		if k == dayLogs {
			// A weekday that brings little is known to within a share of a usual day.
			mean, whole, at = mean*whole/days, days, k
			size *= asDays
		}
		young = newTotal(used, y.mean*whole, mean, size, &o.prior.Young[step(y.elapsed)], at)
		o.f.odd.another(&young, days)
	}
	if o.own == 0 || o.by == 0 {
		young.Used, young.open = used, true
		return young
	}
	if o.own == 1 || young.unit == 0 {
		return grown
	}
	return young.mix(grown, o.own)
}

// windowScale gives the typical error of the sum of the days from ≤ day < to
// ahead in the backtest, or, where that is too short, a little more than that of
// the sum of all days up to to.
func (e *engine) windowScale(from, to int, whole float64) float64 {
	sum, count := 0.0, 0.0
	r := 1 / float64(to-from)
	for o, at := range e.origins[:len(e.origins)-1] {
		if at+to > len(e.y) {
			break
		}
		path := e.at(o)
		var a, p float64
		for j := from; j < to; j++ {
			a += e.y[at+j]
			p += path[j]
		}
		sum += math.Abs(toLog(a*r) - toLog(p*r))
		count++
	}
	return (sum + 4*laterWindow*whole) / (count + 4)
}
