package forecast

import (
	"math"
	"slices"
)

const (
	// rivalDays is from how many days on a total has rivals, and tries how often they
	// are tried, with so many futures each.
	rivalDays    = 60
	tries        = 10
	triedFutures = 60
	spellFutures = 120
	// longestPast is as far back as former totals are looked at, and enoughPast how many
	// that begin on the same weekday are enough to look at those only.
	longestPast = 365
	enoughPast  = 8
	fewestPast  = 3
	// A forecast of the total weighs by this power of its loss, and nothing where it is
	// that much worse than the best; one that there are few tries of, less.
	lossPower = 6.0
	lossCut   = 1.3
	fewTries  = 2.0
	// Former totals are good for series that go on as before, which few origins cannot
	// tell: they have to be better by this much to weigh the same.
	goesOn = 1.08
	// levelTold is over how many days the usual is told, by which losses are measured.
	levelTold = 90
)

// lossAt are the quantiles by which totals are compared.
var lossAt = [...]float64{0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975}

// rivals are simple forecasts of the total of some days, beside that of the methods:
// what as many days in a row brought in the past, and spells of use with breaks. Where
// they would have told totals better than the methods and their errors did, they have a
// part in the answer, so that it is never much worse than they are.
type rivals struct {
	spells, tried spells
	inSpells      bool
	rare          rare
	pool          pool
	window        []float64 // former totals, in order
	upTo          []float64 // the sum of the series up to each day, without it
	// The shares of the three in the total of the days from ≤ day < to.
	from, to           int
	own, past, renewal float64
}

// enter prepares the rivals for the series that was run last.
func (o *outlook) enter() {
	v := &o.f.rivals
	v.to, v.inSpells, v.own, v.past, v.renewal = 0, false, 1, 0, 0
	z := o.f.engine.y
	v.upTo = append(v.upTo[:0], 0)
	for i, a := range z {
		v.upTo = append(v.upTo, v.upTo[i]+a)
	}
	if o.rivals = v; len(z) < rivalDays || o.f.law.exact > 0 {
		o.rivals = nil
		return
	}
	if v.inSpells = o.skip == 0 && v.spells.fit(z); v.inSpells {
		v.spells.draw(spellFutures, o.left, 0, false)
	}
}

// weigh gives the shares in the total of the days from ≤ day < to ahead, by how well
// each would have told it at origins of the backtest: by the pinball loss.
func (o *outlook) weigh(from, to int) {
	v := o.rivals
	if v == nil || v.from == from && v.to == to {
		return
	}
	v.from, v.to, v.own, v.past, v.renewal = from, to, 1, 0, 0
	from, to = from+o.skip, to+o.skip
	e := &o.f.engine
	origins := e.origins[:len(e.origins)-1]
	for len(origins) > 0 && origins[len(origins)-1]+to > len(e.y) {
		origins = origins[:len(origins)-1]
	}
	if len(origins) < 3 {
		return
	}
	counts := false
	if o.rare != nil {
		past := o.former(len(e.y), from, to, nil)
		if counts = past.unit == 0 || v.window[0] <= 0; counts && !v.inSpells {
			return // whether any use comes is told by counting it
		}
	}
	step := (len(origins) + tries - 1) / tries
	var loss [3]float64
	first := len(e.y)
	for k := len(origins) - 1; k >= 0; k -= step {
		at := origins[k]
		if at < rivalDays/2 {
			break
		}
		first = at
		z := e.y[:at]
		// Measured by what was usual then, lest the days of most use decide.
		w := e.recent[k] / (meanOf(z[max(0, at-levelTold):]) + float64(sumLogs))
		actual := v.upTo[at+to] - v.upTo[at+from]
		own := o.then(k, from, to)
		l := lossOf(&own, actual)
		loss[0] += w * l
		if past := o.former(at, from, to, nil); past.unit > 0 {
			loss[1] += w * lossOf(&past, actual)
		} else {
			loss[1] += w * l
		}
		if v.inSpells {
			if v.tried.fit(z) {
				v.tried.draw(triedFutures, to, 0, false)
				t := v.tried.total(0, from, to)
				l = lossOf(&t, actual)
			}
			loss[2] += w * l
		}
	}
	if first == len(e.y) {
		return
	}
	if !v.inSpells {
		loss[2] = math.Inf(1)
	}
	if counts {
		loss[1] = math.Inf(1)
	}
	times := float64(len(e.y)-first) / float64(to-from)
	loss[1] *= goesOn
	best := slices.Min(loss[:])
	share, sum := [3]float64{}, 0.0
	for i, l := range loss {
		switch {
		case l <= best:
			share[i] = 1
		case l < lossCut*best:
			share[i] = math.Pow(best/l, lossPower)
		}
		if i > 0 {
			share[i] *= times / (times + fewTries)
		}
		if i == 1 { // what no day has seen yet, no former days tell
			share[i] *= o.f.law.seen
		}
		sum += share[i]
	}
	v.own, v.past, v.renewal = share[0]/sum, share[1]/sum, share[2]/sum
}

// then gives the total as the methods would have told it at origin number k.
func (o *outlook) then(k, from, to int) Total {
	e, v := &o.f.engine, o.rivals
	days := float64(to - from)
	if o.rare != nil {
		at := e.origins[k]
		v.rare.like(o.rare)
		if !v.rare.fit(e.y[:at]) {
			return Total{open: true}
		}
		v.rare.draw(triedFutures, at, to, 0)
		return v.rare.total(0, from, to)
	}
	scale := o.f.law.scale[to-1] - o.f.law.doubt
	if from > 0 {
		scale = e.windowScale(from, to, scale)
	}
	return newTotal(0, days, meanOf(e.at(k)[from:to]), scale, &o.spread, sumLogs)
}

// lossOf gives the pinball loss of a total.
func lossOf(t *Total, actual float64) float64 {
	sum := 0.0
	for _, p := range lossAt {
		d := actual - t.Quantile(p)
		sum += max(p*d, (p-1)*d)
	}
	return sum
}

// former gives what as many days in a row brought in the last year, as a forecast of the
// days from ≤ day < to after the first n: of those that began on the same day of the month, where
// months are plain, or on the same weekday, if there are enough; the first of them is told
// by part. As they are few that do
// not overlap, the spread is made wider. It is a sum of nothing where they are too few.
func (o *outlook) former(n, from, to int, part *partDay) Total {
	v, c := o.rivals, &o.f.months
	z, length := o.f.engine.y, to-from
	t := Total{open: true, logs: sumLogs, counts: true}
	first, last := max(0, n-longestPast), n-length
	if v.window = v.window[:0]; last < first {
		return t
	}
	step, at := 1, last
	if c.length == 0 && (last-first)/7 >= enoughPast {
		step = 7
		at = n + from - (length+from+6)/7*7 // the last such day that leaves a whole window
	}
	for s := at; s >= first; s -= step {
		if c.length > 0 && c.place[s] != c.place[n+from] {
			continue
		}
		sum := max(0, v.upTo[s+length]-v.upTo[s])
		if part != nil {
			sum -= max(part.share*z[s], min(part.counted, z[s]))
		}
		v.window = append(v.window, sum)
	}
	reps := 1 + float64(last-first)/float64(length)
	if c.length > 0 {
		reps = float64(len(v.window))
	}
	if len(v.window) < fewestPast {
		return t
	}
	t.unit = float64(length)
	slices.Sort(v.window)
	middle := sortedQuantile(v.window, 0.5)
	dev := 0.0
	for _, a := range v.window {
		dev += math.Abs(a - middle)
	}
	dev /= float64(len(v.window))
	own := reps / (reps + ownErrors)
	for i, p := range probabilities {
		q := own*(sortedQuantile(v.window, p)-middle) + (1-own)*common[i]*dev
		t.at[i] = toLog(max(0, middle+widened(p, reps)*q) / float64(length))
	}
	return t
}

// among gives t its share among the rivals, for days of which the first is told by part.
func (o *outlook) among(t Total, used float64, from, to int, single bool) Total {
	v := o.rivals
	if v == nil || v.own == 1 || single && v.renewal == 0 {
		return t
	}
	own := v.own
	shares := [...]float64{v.past, v.renewal}
	if single {
		own, shares[0], shares[1] = own/(own+v.renewal), 0, v.renewal/(own+v.renewal)
	}
	days := float64(to - from)
	if shares[0] > 0 && (to > 1 || o.part.share == 0) { // what is left of a day is not the like of days
		var part *partDay
		if from == 0 {
			part = &partDay{share: o.part.share, counted: o.part.counted / o.by}
		}
		past := o.former(len(o.f.engine.y), from+o.skip, to+o.skip, part)
		if past.unit > 0 {
			past.unit *= o.by
			t = t.mix(past, shares[0]/(own+shares[0]))
			t.Used, t.open = used, true
		}
	}
	if shares[1] == 0 {
		return t
	}
	// Spells are a matter of either or: the two are pooled, not averaged.
	out := Total{Used: used, unit: days * o.by, logs: sumLogs, open: true, counts: true}
	by := t.unit / out.unit
	p := &v.pool
	p.parts = p.parts[:0]
	for i, z := range t.at {
		p.add(by*t.logs.back(z), (1-shares[1])*weights[i])
	}
	drawn := v.spells.sort(from, to)
	for _, a := range drawn {
		p.add(a/days, shares[1]/float64(len(drawn)))
	}
	p.spread(&out)
	return out
}
