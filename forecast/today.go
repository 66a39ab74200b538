package forecast

import "math"

// A partDay is what is known of a day of which some hours are over.
type partDay struct {
	share float64 // of a day's use that usually lies before now
	// Of days past: what came after this hour, and in all.
	after, whole []float64
}

// partOfToday gives what is known of today, and what its hours brought.
func (r Request) partOfToday() (p partDay, used float64) {
	n := len(r.Hours) % 24
	past, now := r.Hours[:len(r.Hours)-n], r.Hours[len(r.Hours)-n:]
	for _, v := range now {
		used += max(0, v)
	}
	if n == 0 {
		return partDay{}, 0
	}
	past = past[max(0, len(past)-28*24):]
	all, days := 0.0, len(past)/24
	p.after, p.whole = make([]float64, days), make([]float64, days)
	for i, v := range past {
		d := i / 24
		p.whole[d] += max(0, v)
		if i%24 >= n {
			p.after[d] += max(0, v)
		}
		all += max(0, v)
	}
	before := all - sumOf(p.after)
	// Two days on which the hours are alike keep few days from deciding.
	even := 2 * max(all/max(1, float64(days)), used, tiny)
	p.share = (before + even*float64(n)/24) / (all + even)
	return p, used
}

// partly says that some hours of the first day are over: the rest of it goes on
// between what was expected and what it has shown.
func (o *outlook) partly(p partDay, used float64) {
	if p.share <= 0 || p.share >= 1 {
		return
	}
	o.part = p
	if o.by > 0 {
		path := o.f.engine.end()
		path[0] = (1 - p.share) * ((1-p.share)*path[0] + used/o.by)
	}
}

// scale gives the typical error of the rest of the first day and the days after
// it, so many in all, that come to mean a day in the measure by, of which the rest
// of the first one makes up the share rest: whole is that of as many whole days,
// and fewer that of one day less.
//
// What is left of a day is harder to tell than a day. For many days the error lies
// between those of whole days; of a single one, how unevenly use falls into the
// hours of days past comes on top of it, and of what makes one day differ from
// another, that part counts less which today has shown already. (Were use a
// Poisson process, this would be its spread.)
func (p *partDay) scale(days int, whole, fewer, rest, by float64, k logs) float64 {
	s := p.share
	if s <= 0 || by <= 0 {
		return whole
	}
	uneven, n := 0.0, 0.0
	for d, all := range p.whole {
		if all > 0 {
			uneven += math.Abs(k.of(p.after[d]/by) - k.of((1-s)*all/by))
			n++
		}
	}
	// With few days to tell, as a Poisson process would have it.
	first := whole
	if days > 1 {
		first = fewer
	}
	const guess = 2
	uneven = (uneven + guess*first*math.Sqrt(s/(1-s))) / (n + guess)
	if days == 1 {
		noise := min(whole*whole, uneven*uneven*(1-s)/s)
		return math.Sqrt((1-s)*(1-s)*(whole*whole-noise) + noise + (2-s)*uneven*uneven)
	}
	return max(math.Pow(fewer, s)*math.Pow(whole, 1-s), rest*uneven)
}
