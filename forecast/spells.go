package forecast

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/usance/usance"
)

const (
	// A break is so many days without use, or breakTimes as many as nine in ten gaps
	// between days with use have, whichever is more.
	shortestBreak = 7
	breakTimes    = 3
	// The level of the next spell is that of one of so many, and a day's scatter that of
	// one of so many days.
	levelsSeen  = 8
	scatterSeen = 200
	// A level of few days is drawn to the usual one, as if by so many more, and one that
	// lasts is that of the last days.
	usualLevel = 3
	ownLevel   = 28
)

// spells forecasts sums of use that comes in spells with breaks between: work on a
// project for some weeks, and then none. Futures are drawn: how long the present spell or
// break still lasts, given how long it has, out of those that were as long; then breaks
// and spells in turn, out of all (an alternating renewal process). So use every other
// three weeks is expected as that, and where the lengths differ, it is known how much.
// Of k lengths one in k + 1 is yet to be seen.
type spells struct {
	draws
	on, off []float64 // lengths, sorted
	gaps    []float64
	level   []float64 // of the spells of use, weekdays taken out, in order
	scatter []float64 // of days with use, over their spell's level and their weekday's
	week    [7]float64
	n       int
	age     [2]float64 // of the present state, if it is a break, or if it is use
	paused  float64    // the probability that it is a break
	now     float64    // the level of the present spell
	mean    [2]float64 // of the lengths of breaks, and of spells of use
	// blur is how far a length that was seen may be off, as a difference of logarithms:
	// nothing where they are all alike.
	blur [2]float64
}

// fit learns from z, and says whether there were spells and breaks.
func (m *spells) fit(z []float64) bool {
	m.n, m.by = len(z), 1
	m.on, m.off, m.gaps, m.level, m.scatter = m.on[:0], m.off[:0], m.gaps[:0], m.level[:0], m.scatter[:0]
	last := -1
	for i, v := range z {
		if v > 0 {
			if last >= 0 {
				m.gaps = append(m.gaps, float64(i-last-1))
			}
			last = i
		}
	}
	if len(m.gaps) < 2*shortestBreak {
		return false
	}
	most := usance.SelectNth(m.gaps, len(m.gaps)*9/10)
	least := max(shortestBreak, breakTimes*int(most)+1)
	idle := len(z) - 1 - last
	breaks, asLong := 0.0, 0.0
	for _, g := range m.gaps {
		if int(g) >= least {
			m.off = append(m.off, g)
			breaks++
		}
		if int(g) >= idle {
			asLong++
		}
	}
	if len(m.off) == 0 {
		return false
	}
	m.weekdays(z)
	from, last := slices.IndexFunc(z, func(v float64) bool { return v > 0 }), -1
	first := from
	for i := first; i < len(z); i++ {
		if z[i] <= 0 {
			continue
		}
		if last >= 0 && i-last-1 >= least {
			m.spell(z, from, last+1)
			m.on = append(m.on, float64(last+1-from))
			from = i
		}
		last = i
	}
	switch {
	case idle >= least:
		m.spell(z, from, last+1)
		m.on = append(m.on, float64(last+1-from))
		m.paused = 1
	case idle == 0:
		m.paused = 0
	default: // of the gaps that were as long, how many were breaks
		m.paused = (breaks + 0.5) / (asLong + 1)
	}
	m.age = [2]float64{float64(idle), float64(len(z) - from)}
	if m.paused < 1 {
		// What a spell of few days brings is known but from others.
		usual := medianOf(append(m.gaps[:0], m.level...))
		sum, weight := usualLevel*usual, float64(usualLevel)
		for i := max(from, len(z)-ownLevel); i <= last; i++ {
			sum += z[i]
			weight += m.week[i%7]
		}
		m.now = sum / weight
		m.spell(z, from, last+1)
	}
	slices.Sort(m.on)
	slices.Sort(m.off)
	for s, d := range [...][]float64{m.off, m.on} {
		m.mean[s], m.blur[s] = meanOf(d), 0
		log := 0.0
		for _, v := range d {
			log += math.Log(v)
		}
		log /= float64(len(d))
		for _, v := range d {
			m.blur[s] += math.Abs(math.Log(v) - log)
		}
		k := float64(len(d))
		m.blur[s] = 0.02 + 2*m.blur[s]/k/math.Cbrt(k)
	}
	return len(m.scatter) > 0
}

// weekdays gives what the weekdays are worth, on days with use.
func (m *spells) weekdays(z []float64) {
	var sum, count [7]float64
	all, n := 0.0, 0.0
	for i, v := range z {
		if v > 0 {
			sum[i%7] += v
			count[i%7]++
			all += v
			n++
		}
	}
	mean := all / n
	for d := range m.week {
		m.week[d] = max(0.05, (sum[d]/mean+1)/(count[d]+1))
	}
}

// spell notes the level of a spell of use, and how its days scatter.
func (m *spells) spell(z []float64, from, to int) {
	sum, weight := 0.0, 0.0
	for i := from; i < to; i++ {
		sum += z[i]
		weight += m.week[i%7]
	}
	level := sum / weight
	m.level = append(m.level, level)
	for i := from; i < to; i++ {
		m.scatter = append(m.scatter, z[i]/(level*m.week[i%7]))
	}
	m.scatter = m.scatter[max(0, len(m.scatter)-scatterSeen):]
}

// lasts draws how much longer a state lasts that has lasted age days.
func (m *spells) lasts(state int, age float64, dice *rand.Rand) float64 {
	d := m.off
	if state == 1 {
		d = m.on
	}
	at, _ := slices.BinarySearch(d, age-0.5)
	longer := float64(len(d) - at)
	mean := max(m.mean[state], age)
	u := dice.Float64() * (longer + math.Exp(-age/m.mean[state]))
	if u >= longer {
		return dice.ExpFloat64() * mean
	}
	k := int(u)
	v := d[at+k] * math.Exp(m.blur[state]*(2*(u-float64(k))-1))
	if age > 0 {
		return v - age // it may end at once
	}
	return max(1, v)
}

// draw draws so many futures of that many days, of the first of which the share over is
// past; use says that it has brought some.
func (m *spells) draw(futures, left int, over float64, use bool) {
	m.begin(futures, left)
	dice := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // must repeat
	recent := m.level[max(0, len(m.level)-levelsSeen):]
	for r := range futures {
		at := m.sums[r*(left+1):]
		state, age := 1, m.age[1]
		if (float64(r)+0.5)/float64(futures) < m.paused && !use {
			state, age = 0, m.age[0]
		}
		if use && m.paused == 1 {
			age = 1
		}
		lasts := m.lasts(state, age, dice)
		level := m.now
		if m.paused == 1 {
			level = recent[dice.IntN(len(recent))]
		}
		sum := 0.0
		at[0] = 0
		for d := range left {
			for lasts < 0.5 {
				state = 1 - state
				lasts += m.lasts(state, 0, dice)
				level = recent[dice.IntN(len(recent))]
			}
			lasts--
			if state == 1 {
				v := level * m.week[(m.n+d)%7] * m.scatter[dice.IntN(len(m.scatter))]
				if d == 0 {
					v *= 1 - over
				}
				sum += v
			}
			at[d+1] = sum
		}
	}
}
