package forecast

import "math"

const (
	// A pause is so many days in a row without use: longer than a month's closure
	// or a holiday. What comes after it is looked at by itself.
	pause = 28
	// wait is as much before the first use: less is a weekend, and costs little.
	wait = 3
	// soon is the number of days over which use is expected to go on, or not.
	soon = 28
	// likely is the share of those days from which on it is.
	likely = 0.6
	// evident is the odds, as a logarithm, from which on a change is believed.
	evident = 1.1
	// firstUse is how much more likely a change is, as a logarithm, where there was no
	// use before: licences are often made before they are needed.
	firstUse = 0.7
)

// regime gives the index of the day on which the present way of use began, 0 where
// it is that of all the days. A licence may be made long before it is used, tried
// once and used much later, or be used daily after a year of a use now and then: then
// the days before tell nothing of how much a day brings, only that there was less.
//
// Whether a day has use is taken for a Markov chain of two states, so that neither
// bursts nor free weekends are surprising. There are two signs of a new way. The one
// is evidence: two chains, one before and one after the change, explain the days
// better than one does, wherever among all days the change may lie (Adams and MacKay,
// "Bayesian Online Changepoint Detection", 2007, with a single change), and the second
// has use on most days. The other is a pause, or a wait for the first use, after which use
// is expected to go on.
func regime(days []float64) int {
	start := 0
	if at, ok := afterPause(days); ok {
		start = at
	}
	return start + change(days[start:])
}

// A chain counts the steps from a day without (0) or with use (1) to the next day.
type chain [2][2]float64

// count counts the steps of days, of which gaps tell nothing.
func (c *chain) count(days []float64) {
	last := -1
	for _, v := range days {
		now := stateOf(v)
		if last >= 0 && now >= 0 {
			c[last][now]++
		}
		last = now
	}
}

// stateOf is 1 for a day with use, 0 for one without and -1 for a gap.
func stateOf(v float64) int {
	switch {
	case math.IsNaN(v):
		return -1
	case v >= tiny:
		return 1
	}
	return 0
}

// likelihood is the logarithm of that of the steps counted, whatever the chances
// (Jeffreys' prior).
func (c *chain) likelihood() float64 {
	sum := 0.0
	for _, n := range c {
		sum += lnBeta(n[0]+0.5, n[1]+0.5) - math.Log(math.Pi)
	}
	return sum
}

func lnBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// share is the share of the days after one with use that are expected to have some.
func (c *chain) share() float64 {
	begin := (c[0][1] + 0.5) / (c[0][0] + c[0][1] + 1)
	stay := (c[1][1] + 0.5) / (c[1][0] + c[1][1] + 1)
	p, sum := 1.0, 0.0
	for range soon {
		p = p*stay + (1-p)*begin
		sum += p
	}
	return sum / soon
}

// A split is what is known of a change on one day.
type split struct {
	before, after chain
	odds          float64 // for two chains, against one: its logarithm
}

// judge weighs a change on a day, which has use, when the steps before are known.
func (s *split) judge(all, before *chain, last, known int) {
	s.before = *before
	one := *all
	for i := range one {
		for j := range one[i] {
			s.after[i][j] = one[i][j] - before[i][j]
		}
	}
	if last >= 0 {
		s.after[last][1]-- // the step of the change itself
	}
	s.odds = s.before.likelihood() + s.after.likelihood() - one.likelihood() - math.Log(float64(known))
}

// change gives the day of a change from rare to daily use, 0 where there is none.
func change(days []float64) int {
	var all chain
	all.count(days)
	var with, known float64
	for _, v := range days {
		if s := stateOf(v); s >= 0 {
			known++
			with += float64(s)
		}
	}
	if with == known || with == 0 {
		return 0
	}
	var before chain
	var beforeWith, beforeKnown float64
	at, last, most := 0, -1, evident
	for i, v := range days {
		now := stateOf(v)
		if now == 1 && last != 1 &&
			beforeWith < (1-rarely)*beforeKnown && with-beforeWith > (1-rarely)*(known-beforeKnown) {
			var s split
			if s.judge(&all, &before, last, int(known)); s.odds > most {
				at, most = i, s.odds
			}
		}
		if now >= 0 {
			beforeKnown++
			beforeWith += float64(now)
			if last >= 0 {
				before[last][now]++
			}
		}
		last = now
	}
	return at
}

// afterPause gives the first day with use after the last pause, and whether use is
// expected to go on from there: because a new way began, or because under the old
// one use, once begun, goes on.
func afterPause(days []float64) (at int, ok bool) {
	idle, found, least := 0, 0, wait
	for i, v := range days {
		switch stateOf(v) {
		case 0:
			idle++
		case 1:
			if idle >= least {
				found, at = idle, i
			}
			idle, least = 0, pause
		}
	}
	if found == 0 || recurs(days, found) {
		return 0, false
	}
	if idle < wait { // as of the last day with use: that the last days are a weekend tells nothing
		days = days[:len(days)-idle]
	}
	var all, before chain
	all.count(days)
	before.count(days[:at])
	known := 0
	for _, v := range days {
		if isKnown(v) {
			known++
		}
	}
	var s split
	s.judge(&all, &before, stateOf(days[at-1]), known)
	if s.before[1] == [2]float64{} {
		s.odds += firstUse
	}
	anew := 1 / (1 + math.Exp(-s.odds))
	return at, anew*s.after.share()+(1-anew)*all.share() >= likely
}

// recurs tells that a pause of idle days is one of several, as those of work on projects
// or of seasons are, with spells of use between: then what was before it tells how long
// the present one goes on, unless it has lasted much longer than any.
func recurs(days []float64, idle int) bool {
	least := max(pause/2, idle/3)
	from, last, without, longest, pauses := -1, -1, 0, 0, 0
	for i, v := range days {
		switch stateOf(v) {
		case 0:
			without++
		case 1:
			if without >= least {
				pauses++
				if from >= 0 && mostly(days[from:last+1]) == 1 {
					longest = max(longest, last+1-from)
				}
				from = i
			}
			if from < 0 {
				from = i
			}
			without, last = 0, i
		}
	}
	present := last + 1 - from
	if without >= least {
		longest, present = max(longest, present), 0
	}
	return pauses > 1 && longest >= shortestBreak && 2*present <= 3*longest
}

// mostly is the state of most of the days.
func mostly(days []float64) int {
	with := 0
	for _, v := range days {
		if stateOf(v) == 1 {
			with++
		}
	}
	if 2*with > len(days) {
		return 1
	}
	return 0
}
