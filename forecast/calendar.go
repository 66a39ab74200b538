package forecast

import (
	"math"
	"slices"

	"github.com/usance/usance"
)

// A calendar is a cycle longer than a week that a series shows: that of the months, in
// which the same day, or as many days before the end, are alike; or one of a fixed
// number of days. Months are not of the same length, so a place in it is looked up.
type calendar struct {
	length int     // in days, about; 0 where the series shows none
	labels int     // how many places there are
	place  []uint8 // of each day of the series and of those ahead, the last being told apart
	try    []uint8
	rest   []float64
	count  [maxPlaces]float64
	sum    [maxPlaces]float64
	seasons
}

// dates tells which days a series has.
type dates struct {
	first usance.Date // of the series
	// anchor is the day of the month on which the licence's months begin; 0: no dates
	// are known.
	anchor int
}

const (
	maxPlaces   = 31
	yearDays    = 365
	monthDays   = 30      // as long as a month, about
	monthMean   = 30.4369 // as long as a month is on average
	shortestOwn = 8       // of the cycles that are no months, those looked for
	longestOwn  = 31
	// Places differ if their variance is so many standard deviations (of Snedecor's F)
	// above what chance makes of it: those of a month whose dates are known, and those
	// of one of many cycles that are tried. A month of which but the mean length is known
	// hints at months from the last on.
	plainly, searched, hinted = 3.0, 6.0, 1.0
)

// find looks for a cycle in a series, measured by its mean, of which left more days are
// asked for.
func (c *calendar) find(z []float64, left int, on dates) {
	c.length, c.labels = 0, 0
	n := len(z)
	if n < 2*monthDays {
		return
	}
	c.rest, c.try = grow(c.rest, n), grow(c.try, n+left)
	c.without7(z)
	best := 0.0
	keep := func(length, labels int, least float64) {
		if s := c.share(c.try[:n], labels, least); s > best {
			best, c.length, c.labels = s, length, labels
			c.place = append(c.place[:0], c.try...)
		}
	}
	for length := shortestOwn; length <= min(longestOwn, n/4); length++ {
		for i := range c.try {
			c.try[i] = uint8(i % length)
		}
		keep(length, length, searched)
	}
	if on.anchor > 0 {
		for _, anchor := range slices.Compact([]int{1, on.anchor}) {
			for _, end := range [...]bool{false, true} {
				c.months(on.first, anchor, end)
				keep(monthDays, maxPlaces, plainly)
			}
		}
		return
	}
	// No dates are known: months show, if at all, in one of a thousand ways.
	for i := range c.try {
		c.try[i] = uint8(math.Mod(float64(i), monthMean))
	}
	if n < 3*monthDays || c.share(c.try[:n], maxPlaces, hinted) == 0 {
		return
	}
	at, most := 0, 0.0
	look := func(first int) {
		for _, t := range anyMonths {
			if s := c.share(t[first:first+n], maxPlaces, searched); s > most {
				at, most = first, s
			}
		}
	}
	for first := range yearDays {
		look(first)
	}
	for years := range 3 {
		look(at%yearDays + (years+1)*yearDays)
	}
	if most > best {
		for _, t := range anyMonths {
			copy(c.try, t[at:])
			keep(monthDays, maxPlaces, searched)
		}
	}
}

// anyMonths are the places in months of four years that begin anew each, from the
// beginning and to the end, for series of which no dates are known.
var anyMonths = func() (t [2][]uint8) {
	c := calendar{try: make([]uint8, 4*yearDays+maxPoints+MaxDays)}
	for i := range t {
		c.months(usance.MakeDate(2001, 1, 1), 1, i > 0)
		t[i] = slices.Clone(c.try)
	}
	return t
}()

// months gives the places in months that begin on the day anchor: days from their
// beginning, or to their end.
func (c *calendar) months(first usance.Date, anchor int, end bool) {
	p := usance.PeriodOf(usance.PeriodMonthly, first, anchor)
	for i := range c.try {
		d := first.AddDays(i)
		if d >= p.End {
			p = p.Next(anchor)
		}
		if c.try[i] = uint8(d - p.Start); end {
			c.try[i] = uint8(p.End - 1 - d)
		}
	}
}

// without7 writes the logarithms of z, less their weekdays and their running mean over a
// month, into c.rest.
func (c *calendar) without7(z []float64) {
	var sum, count [7]float64
	buf := grow(c.b, len(z))
	c.b = buf
	for i, v := range z {
		buf[i] = toLog(v)
	}
	c.detrend(buf, c.rest, monthDays)
	for i, v := range c.rest {
		sum[i%7] += v
		count[i%7]++
	}
	for i := range c.rest {
		c.rest[i] -= sum[i%7] / count[i%7]
	}
}

// share gives the share of the variance that the places explain, 0 where they do not
// differ by more than by chance.
func (c *calendar) share(place []uint8, labels int, least float64) float64 {
	count, sum := c.count[:labels], c.sum[:labels]
	clear(count)
	clear(sum)
	all := 0.0
	for i, p := range place {
		v := c.rest[i]
		count[p]++
		sum[p] += v
		all += v * v
	}
	between, places := 0.0, -1.0
	for p, k := range count {
		if k > 0 {
			between += sum[p] * sum[p] / k
			places++
		}
	}
	n := float64(len(place))
	if all < noError*n {
		return 0
	}
	within := (all - between) / max(1, n-places-1)
	if within <= 0 {
		return 1
	}
	chance := math.Sqrt(2/places + 2/max(1, n-places-1))
	if f := between / places / within; f > 1+least*chance {
		return (1 - 1/f) * between / all
	}
	return 0
}
