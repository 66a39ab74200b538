package forecast

import "math"

const (
	// returning is the power by which silences end: of those that have lasted k days, the
	// share (k / (k + d)) to this power lasts d more, which is a third when it is as long
	// again.
	returning = 1.5
	// ended is how many silences are the end of use for one that is not, when they begin;
	// then it comes again as seldom as what never came, by the power of never.
	ended      = 0.01
	comingAnew = 0.5
	// With more than one break in so many days use comes in spells, and rivals tell when.
	breaksApart = 120
	// delays is how many ways a silence may go on are told apart.
	delays = 40
)

// A silence is what the end of a series does not tell: its last days are gaps, or use that
// was there on most days has stopped for longer than ever. No method can make of such
// days how much comes on others. So days are forecast from the last one that is known, over
// those skipped, as they would have been then; and whether use has come again by
// them is told by how long it has been silent.
type silence struct {
	skip  int     // days at the end that are not looked at
	quiet float64 // days of silence, more than there ever were; 0 for gaps
}

// silenceOf looks at the end of a series, and with stops also for use that has stopped.
func silenceOf(days []float64, stops bool) silence {
	n := len(days)
	for n > 0 && isGap(days[n-1]) {
		n--
	}
	s := silence{skip: min(len(days)-n, MaxDays)}
	if n < youngDays {
		return silence{}
	}
	last := n - 1
	silent := 0
	for ; last >= 0 && !(days[last] >= tiny); last-- {
		if !isGap(days[last]) {
			silent++
		}
	}
	if !stops || silent == 0 || last+1 < grownUp {
		return s
	}
	longest, run, without, breaks := 0, 0, 0, 0
	for _, v := range days[:last+1] {
		switch stateOf(v) {
		case 0:
			run++
			without++
			longest = max(longest, run)
		case 1:
			if run >= shortestBreak {
				breaks++
			}
			run = 0
		}
	}
	if silent <= longest || breaks*breaksApart > last || float64(without) > rarely*float64(last+1) {
		return s
	}
	return silence{skip: min(len(days)-last-1, MaxDays), quiet: float64(silent - longest)}
}

// late gives the total t of the days from ≤ day < to ahead, should use have come again
// by them: its part on the days after that.
func (s silence) late(t Total, from, to int) Total {
	if s.quiet == 0 || t.unit == 0 || to <= from {
		return t
	}
	out := Total{Used: t.Used, unit: t.unit, logs: t.logs, open: true, counts: t.counts}
	var p pool
	for i := 0; i < delays; {
		share := s.share(i, from, to)
		w := 0.0
		for ; i < delays && s.share(i, from, to) == share; i++ {
			w += 1.0 / delays
		}
		if share <= 0 {
			out.none += w
			p.add(0, w)
			continue
		}
		for j, z := range t.at {
			p.add(share*t.logs.back(z), w*weights[j])
		}
	}
	p.spread(&out)
	return out
}

// share gives the share of the days from ≤ day < to ahead that have use, if the silence
// goes on in way i: first those in which use has ended, the longest first.
func (s silence) share(i, from, to int) float64 {
	over := ended / (ended + math.Pow(s.quiet, -returning))
	u, power := (float64(i)+0.5)/delays, comingAnew
	if u < over {
		u /= over
	} else {
		u, power = (u-over)/(1-over), returning
	}
	until := math.Floor(s.quiet * (math.Pow(u, -1/power) - 1))
	return max(0, float64(to)-max(float64(from), until)) / float64(to-from)
}
