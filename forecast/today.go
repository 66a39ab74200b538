package forecast

import (
	"math"
	"slices"
)

// A partDay is what is known of a day of which some hours are over.
type partDay struct {
	share float64 // of a day's use that usually lies before now
	// Of days past: what came after this hour, and in all.
	after, whole []float64
	// counted is what the day has brought where its hours do not tell.
	counted float64
	shut    bool // its hours tell nothing of what is wanted
}

// partOfToday gives what is known of today, and what its hours brought.
func (r Request) partOfToday() (p partDay, used float64) {
	n := len(r.Hours) % 24
	past, now := r.Hours[:len(r.Hours)-n], r.Hours[len(r.Hours)-n:]
	for _, v := range now {
		used += max(0, v)
	}
	if n == 0 {
		used = max(0, r.Today)
		return partDay{counted: used}, used
	}
	p.shut = r.Shut
	past = past[max(0, len(past)-28*24):]
	days := len(past) / 24
	p.after, p.whole = make([]float64, days), make([]float64, days)
	for i, v := range past {
		d := i / 24
		p.whole[d] += max(0, v)
		if i%24 >= n {
			p.after[d] += max(0, v)
		}
	}
	before, all := p.usually()
	// Two days on which the hours are alike keep few days from deciding.
	even := 2 * max(all/max(1, float64(days)), used, tiny)
	p.share = (before + even*float64(n)/24) / (all + even)
	return p, used
}

// heaviest is how many times the median day's use a day counts at most.
const heaviest = 3.0

// usually sums up what the days past brought before this hour, and in all; a day that
// brought far more than the others counts for no more than a large one.
func (p *partDay) usually() (before, all float64) {
	var some []float64
	for _, v := range p.whole {
		if v > 0 {
			some = append(some, v)
		}
	}
	if len(some) == 0 {
		return 0, 0
	}
	most := heaviest * medianOf(some)
	for d, v := range p.whole {
		if v > 0 {
			w := min(1, most/v)
			before += w * (v - p.after[d])
			all += w * v
		}
	}
	return before, all
}

// partly says that some hours of the first day are over: the rest of it goes on
// between what was expected and what it has shown. Where the day is known by its
// sum only, what is counted may be all of it or not: the rest of what was expected
// is to come. It tells whether anything is known.
func (o *outlook) partly(p partDay, used float64) bool {
	if p.share >= 1 || p.share <= 0 && used <= 0 {
		return false
	}
	o.part = p
	o.rarely(p, used)
	if v := o.rivals; v != nil && v.inSpells {
		v.spells.draw(spellFutures, o.left, p.share, used > 0)
	}
	if o.by <= 0 {
		return true
	}
	path := o.f.engine.end()[o.skip:]
	if times, _ := o.f.yearly.of(o.f.engine.end(), o.skip, o.skip+1); times > 0 { // in the measure of other days
		p.counted, used = p.counted/times, used/times
	}
	switch {
	case p.counted > 0:
		path[0] = max(0, path[0]-p.counted/o.by)
	case p.shut:
		path[0] *= 1 - p.share
	default:
		path[0] = (1 - p.share) * ((1-p.share)*path[0] + used/o.by)
	}
	return true
}

// rarely does so where days with use are few: one more of them says much, and so it
// does where there was none.
func (o *outlook) rarely(p partDay, used float64) {
	next := len(o.f.engine.y) + o.skip
	switch {
	case o.never == 0 && o.rare == nil:
		return
	case used > 0 && o.rare == nil:
		next = o.never
		z := make([]float64, o.never+1)
		z[o.never] = 1
		o.rare = &o.f.rare
		o.rare.weekday(o.next + 6*o.never) // a weekday back is six on
		o.rare.by = used
		o.rare.fit(z)
		o.never = 0
	case used > 0 && o.skip == 0:
		z := append(slices.Clone(o.f.engine.y), used/o.by)
		o.rare.fit(z)
	case o.rare == nil:
		return
	}
	over := p.share
	if p.counted > 0 {
		over = 1
	}
	o.rare.draw(runs, next, o.left, over)
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
// Poisson process, this would be its spread.) All errors are differences on the scale
// k, on which the little that is left of a day cannot differ by as much as a day can.
func (p *partDay) scale(days int, whole, fewer, rest, mean, by float64, k logs) float64 {
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
	// A share of the whole day's mean comes to less on the scale.
	left := mean * rest * float64(days)
	all := left / (1 - s)
	less := (all + float64(k)) / (left + float64(k))
	// With few days to tell, as a Poisson process would have it.
	first := whole
	if days > 1 {
		first = fewer
	}
	const guess = 2
	binomial := math.Sqrt(s*(1-s)) * less
	uneven = (uneven + guess*first*binomial) / (n + guess)
	if days == 1 {
		noise := min(whole*whole, uneven*uneven/(binomial*binomial))
		part := (1 - s) * less
		return math.Sqrt(part*part*((1-s)*(1-s)*(whole*whole-noise)+noise) + (2-s)*uneven*uneven)
	}
	return max(math.Pow(fewer, s)*math.Pow(whole, 1-s), rest*uneven)
}
