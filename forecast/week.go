package forecast

import (
	"math"
	"slices"
)

const (
	// weekDays is the length of a week.
	weekDays = 7
	// ownWeek is the share of how one week differs from the usual one that the next
	// one shows as well, before series have shown theirs; pairsOfWeeks is how many
	// pairs of weeks it counts as.
	ownWeek      = 0.5
	pairsOfWeeks = 8.0
	// guessed is how many days' deviations weigh as much as what is guessed of a week
	// that nothing confirms yet.
	guessed = 3.0
	// chosen is by how much two days that lie best leave less than chance puts there.
	chosen = 1.85
	// leastWorth is that of a weekday that never brought anything.
	leastWorth = 1e-4
	// followed is the share of methods in the level that so few days show.
	followed = 1.0 / 3
	// asDays is what an error of a usual day comes to on the scale of days.
	asDays = float64((1 + sumLogs) / (1 + dayLogs))
	// mostFitted is the most that a week fits its days.
	mostFitted = 0.85
)

// A week is what the days of the week are worth against the mean day, by weekday.
type week struct {
	worth [weekDays]float64
	// fitted is the share of each day that it was made to fit: by so much, in squares,
	// the days' deviations from it are too small, and those of days to come larger.
	fitted float64
}

// loose makes up for deviations that are too small, and for days to come that are not.
func (w week) loose() float64 { return math.Sqrt((1 + w.fitted) / (1 - w.fitted)) }

// apart is how much more single days can differ from it than whole weeks, in which what
// it has wrong of one day it has wrong of the others the other way.
func (w week) apart(days int) float64 {
	if days >= weekDays {
		return 1
	}
	return math.Sqrt(1 + w.fitted)
}

// ownWeekOf gives the week of a series, the first of whose days is on that weekday:
// the usual one, drawn to what its own days show by how sure that is. This is
// empirical Bayes: of what a weekday differs by from the usual, that share is real
// that its variance among weekdays has beyond what days of one weekday differ by
// (Efron and Morris, "Stein's estimation rule and its competitors", JASA 68, 1973).
// So a week counts the more, the more days were seen, the better they agree with each
// other and the further they are from the usual. Under a whole week it is the usual
// one. Roots of counts are compared, which vary alike, large or small.
func ownWeekOf(days []float64, weekday int, usual *[weekDays]float64, share float64) week {
	out := week{worth: *usual}
	if len(days) < weekDays {
		return out
	}
	var count, sum, roots, squares [weekDays]float64
	known, total, worth := 0.0, 0.0, 0.0
	for i, v := range days {
		if isGap(v) {
			continue
		}
		d := (weekday + i) % weekDays
		v = min(max(0, v), huge)
		known++
		count[d]++
		sum[d] += v
		total += v
		worth += usual[d]
	}
	level := total / max(worth, idleDay*known, tiny)
	if level < tiny || known < weekDays {
		return out
	}
	for i, v := range days {
		if !isGap(v) {
			d := (weekday + i) % weekDays
			r := math.Sqrt(min(max(0, v), huge) / level)
			roots[d] += r
			squares[d] += r * r
		}
	}
	// How each weekday differs from the usual, and the days of one from each other.
	var off [weekDays]float64
	seen, mean, within := 0.0, 0.0, 0.0
	for d, n := range count {
		if n > 0 {
			m := roots[d] / n
			off[d] = m - math.Sqrt(usual[d])
			within += max(0, squares[d]-n*m*m)
			mean += off[d]
			seen++
		}
	}
	mean /= seen
	between, thin := 0.0, 0.0
	for d, n := range count {
		if n > 0 {
			off[d] -= mean
			between += off[d] * off[d]
			thin += 1 / n / seen
		}
	}
	if seen < weekDays || between <= 0 {
		return out
	}
	// What a week by itself tells of the noise: the share that others show; and less
	// where two days next to each other, as a weekend's, explain nearly all of it.
	alone := between / (seen - 1)
	noise := (1 - share) * min(alone, chosen/ownWeek*leftByTwo(&off, between)/(seen-2))
	noise = (guessed*noise + within) / (guessed + known - seen)
	sure := max(0, alone-noise*thin)
	if sure == 0 {
		return out
	}
	// Means of the weekdays, not weighed by how often each was seen.
	ownTotal, all := 0.0, 0.0
	for d, n := range count {
		ownTotal += sum[d] / n
		all += usual[d]
	}
	fitted, whole := 0.0, 0.0
	for d, n := range count {
		s := sure / (sure + noise/n)
		fitted += s
		out.worth[d] = max(leastWorth, usual[d]+s*(sum[d]/n*all/ownTotal-usual[d]))
		whole += out.worth[d]
	}
	for d := range out.worth {
		out.worth[d] *= weekDays / whole
	}
	out.fitted = min(fitted/known, mostFitted)
	return out
}

// leftByTwo gives what is left of the sum of the squares, whose values sum up to 0,
// when the two days next to each other that explain most have a mean of their own.
func leftByTwo(off *[weekDays]float64, squares float64) float64 {
	most := 0.0
	for d, v := range off {
		both := v + off[(d+1)%weekDays]
		most = max(most, both*both/2+both*both/(weekDays-2))
	}
	return max(0, squares-most)
}

// ownShare learns how much of what one week differs by the next one shows as well.
func (l *Learner) ownShare(p *Prior) {
	sum, pairs := ownWeek*pairsOfWeeks, pairsOfWeeks
	for _, s := range l.series {
		weeks := min(len(s.days)/weekDays, 5)
		var last [weekDays]float64
		lastSquares := 0.0
		for w := range weeks {
			at := len(s.days) - (weeks-w)*weekDays
			off, squares := offOf(s.days[at:at+weekDays], (s.weekday+at)%weekDays, p)
			if squares > 0 && lastSquares > 0 {
				both := 0.0
				for d, v := range off {
					both += v * last[d]
				}
				// Weeks of one series are much alike.
				sum += 2 * both / (squares + lastSquares) / float64(weeks-1)
				pairs += 1 / float64(weeks-1)
			}
			last, lastSquares = off, squares
		}
	}
	p.Own = min(max(sum/pairs, 0.05), 0.95)
}

// offOf gives by how much the roots of a week's days, by weekday, differ from the
// usual, less the mean of that, and the sum of the squares.
func offOf(days []float64, weekday int, p *Prior) (off [weekDays]float64, squares float64) {
	mean := meanOf(days)
	if mean < tiny {
		return off, 0
	}
	sum := 0.0
	for i, v := range days {
		d := (weekday + i) % weekDays
		off[d] = math.Sqrt(v/mean) - math.Sqrt(p.Weekday[d])
		sum += off[d]
	}
	for d := range off {
		off[d] -= sum / weekDays
		squares += off[d] * off[d]
	}
	return off, squares
}

// firstWeeks looks at z, the first values of a series of days, too few of them for
// methods to find the week, and takes it out of them in place; the second value says
// whether it did.
func firstWeeks(z []float64, cycles []int) (young, bool) {
	if len(z) >= youngDays || !slices.Contains(cycles, weekDays) {
		return young{}, false
	}
	y := look(z, defaults, 0, make([]float64, 0, len(z)))
	for i := range z {
		if f := y.week.worth[i%weekDays]; f >= idleDay {
			z[i] /= f
		} else {
			// On days that bring next to nothing a ratio is nothing or anything.
			z[i] = y.mean
		}
	}
	return y, true
}

// putBack puts the week back into what methods made of the rest of z. Few days tell
// methods neither how the level moves nor how far they err: most of the level is the
// days' mean, and the errors are those that days as wild as these show elsewhere.
func (y young) putBack(v *Values, at int) {
	v.spread = defaults.Young[step(y.elapsed)]
	size := defaults.size(y, 1) * y.week.apart(1) * asDays
	for i, a := range v.path {
		v.path[i] = (followed*a + (1-followed)*y.mean) * y.week.worth[(at+i)%weekDays]
		v.scale[i] = size
		if i > 0 {
			v.scale[i] *= laterWindow
		}
	}
}
