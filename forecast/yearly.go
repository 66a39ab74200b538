package forecast

import (
	"math"
	"slices"
)

// yearly are the days of the year on which a series is far from the days around them,
// each year: a sale, a holiday. The season of a year is smooth and knows nothing of them. They are
// looked for in what is left of a series' logarithms without level and weekday, and taken
// out of it, so that methods forecast the other days; and put back into what is to come.
type yearly struct {
	logs, rest []float64
	bounded    []float64 // how many times as far from usual as days are, as it counts
	place      []int32
	before     []int32 // the same day of the year before; -1 where there is none
	years      [maxYearPlaces][]float64
	effect     [maxYearPlaces]float64 // as a difference of logarithms
	apart      [maxYearPlaces]float64 // by how much years differ in it
	clean      []float64
	// Of the days ahead.
	ahead, uneven []float64
}

const (
	// A year of months of 31 days, of which some are empty, so that a date has its place.
	maxYearPlaces = 12 * 31
	// Weeks to each side that tell what is usual of a weekday.
	aroundWeeks = 4
	// A day of the year is told that was on average so many times as far from usual as days
	// are, and each year by so much; and one that was further counts as that.
	farOnAverage, farEachYear, farthestOff = 2.5, 1.5, 15.0
	// Days within asUsual times are all alike: a single day far out is lost among them.
	asUsual = 2.0
	// That years agree is believed if they do so by so many standard deviations more than
	// when they are laid upon each other with a shift of leastShift to mostShift days.
	agreeing = 4.0
	// And by plainer times as much as with any.
	plainer               = 1.5
	leastShift, mostShift = 10, 45
	// leastNoise is how much days differ at least, as a difference of logarithms.
	leastNoise = 0.03
	// newYear is by what share of it a day of the year may always differ.
	newYear = 0.25
)

// without gives the days, the first on a date that may be known, without what comes each
// year, and notes what of it comes in the days ahead.
func (m *yearly) without(days []float64, on dates, ahead int) []float64 {
	m.ahead, m.uneven = m.ahead[:0], m.uneven[:0]
	if skip := len(days) - maxPoints; skip > 0 {
		days, on.first = days[skip:], on.first.AddDays(skip)
	}
	n := len(days)
	if n < 2*yearDays-MaxDays/10 || n+ahead < 2*yearDays {
		return days
	}
	by := m.left(days)
	if by == 0 {
		return days
	}
	noise := m.noise()
	best, length := agreeing, -1
	for _, l := range [...]int{yearDays, yearDays - 1} {
		m.places(n+ahead, l, on)
		if a := m.agreement(); a > best {
			best, length = a, l
		}
	}
	if length < 0 {
		return days
	}
	m.places(n+ahead, length, on)
	if !m.learn(noise) {
		return days
	}
	m.clean = append(m.clean[:0], days...)
	for i, v := range days {
		if e := m.effect[m.place[i]]; e != 0 && !isGap(v) {
			m.clean[i] = by * fromLog(m.logs[i]-e)
		}
	}
	for _, p := range m.place[n:] {
		m.ahead, m.uneven = append(m.ahead, m.effect[p]), append(m.uneven, m.apart[p])
	}
	return m.clean
}

// left writes the logarithms of the days, and what is left of them without level and
// weekday: by how much they differ from the median of their weekday in the weeks around. It
// gives the measure of the days.
func (m *yearly) left(days []float64) float64 {
	sum, count := 0.0, 0.0
	for _, v := range days {
		if !isGap(v) && v >= tiny {
			sum += min(v, huge)
			count++
		}
	}
	if count < float64(len(days))*(1-rarely) {
		return 0
	}
	n := len(days)
	by := sum / count
	m.logs, m.rest = grow(m.logs, n), grow(m.rest, n)
	for i, v := range days {
		// Rounded, so that a series and its multiple come to the same.
		if m.logs[i] = v; !isGap(v) {
			m.logs[i] = math.Round(toLog(v/by)*(1<<32)) / (1 << 32)
		}
	}
	var around [2*aroundWeeks + 1]float64
	for i := range m.rest {
		k := 0
		for j := max(i-weekDays*aroundWeeks, i%weekDays); j <= min(i+weekDays*aroundWeeks, n-1); j += weekDays {
			if !isGap(m.logs[j]) {
				around[k] = m.logs[j]
				k++
			}
		}
		if m.rest[i] = 0; !isGap(m.logs[i]) {
			m.rest[i] = m.logs[i] - medianOf(around[:k])
		}
	}
	return by
}

// noise gives how far days are usually from usual, and writes how many times as far each is.
func (m *yearly) noise() float64 {
	m.clean = m.clean[:0]
	for _, v := range m.rest {
		m.clean = append(m.clean, math.Abs(v))
	}
	noise := max(leastNoise, 1.48*medianOf(m.clean))
	m.bounded = m.bounded[:0]
	for _, v := range m.rest {
		if v = max(-farthestOff, min(v/noise, farthestOff)); math.Abs(v) < asUsual {
			v = 0
		}
		m.bounded = append(m.bounded, v)
	}
	return noise
}

// places gives each day's place in years of so many days, those of the calendar where dates
// are known.
func (m *yearly) places(n, length int, on dates) {
	m.place = m.place[:0]
	for i := range n {
		p := i % length
		if on.anchor > 0 && length == yearDays {
			_, month, day := on.first.AddDays(i).YMD()
			p = 31*(int(month)-1) + day - 1
		}
		m.place = append(m.place, int32(p))
	}
}

// agreement gives by how many standard deviations the years agree more than when one is
// laid upon another with a shift.
func (m *yearly) agreement() float64 {
	n := len(m.rest)
	var last [maxYearPlaces]int32
	for i := range last {
		last[i] = -1
	}
	product := func(shift int) float64 {
		sum := 0.0
		for i, b := range m.before {
			if j := int(b) + shift; b >= 0 && j >= 0 && j < n {
				sum += m.bounded[i] * m.bounded[j]
			}
		}
		return sum
	}
	m.before = grow(m.before, n)
	for i := range m.before {
		p := m.place[i]
		m.before[i], last[p] = last[p], int32(i)
	}
	sum, squares, most, count := 0.0, 0.0, 0.0, 0.0
	for shift := leastShift; shift <= mostShift; shift++ {
		for _, s := range [...]int{shift, -shift} {
			v := product(s)
			sum += v
			squares += v * v
			most = max(most, v)
			count++
		}
	}
	own, mean := product(0), sum/count
	if own <= plainer*most {
		return 0
	}
	return (own - mean) / max(math.Sqrt(squares/count-mean*mean), tiny)
}

// learn tells what each day of the year brings, and says whether there is one that differs.
func (m *yearly) learn(noise float64) bool {
	for p := range m.years {
		m.years[p] = m.years[p][:0]
	}
	for i, v := range m.rest {
		if !isGap(m.logs[i]) {
			m.years[m.place[i]] = append(m.years[m.place[i]], v)
		}
	}
	found := false
	for p, years := range m.years {
		m.effect[p], m.apart[p] = 0, 0
		if len(years) < 2 {
			continue
		}
		slices.Sort(years)
		k := float64(len(years))
		middle := (years[len(years)/2] + years[(len(years)-1)/2]) / 2
		sign := math.Copysign(1, middle)
		against := 0
		apart := newYear * math.Abs(middle)
		for _, v := range years {
			if sign*v < farEachYear*noise {
				against++
			}
			apart += math.Abs(v - middle)
		}
		if sign*middle < farOnAverage*noise || against > (len(years)-1)/2 {
			continue
		}
		m.effect[p], m.apart[p] = middle, apart/k
		found = true
	}
	return found
}

// of gives how many times as much the days from ≤ day < to ahead bring as without what comes
// each year, path being their forecast without it in the measure of its series, and how
// uncertain that is, as a difference of logarithms.
func (m *yearly) of(path []float64, from, to int) (times, uneven float64) {
	if to > len(m.ahead) {
		return 1, 0
	}
	without, with := 0.0, 0.0
	for j := from; j < to; j++ {
		v := path[j]
		without += v
		if e := m.ahead[j]; e != 0 {
			much := fromLog(toLog(v) + e)
			uneven += m.uneven[j] * max(v, much)
			v = much
		}
		with += v
	}
	if without <= tiny || uneven == 0 {
		return 1, 0
	}
	return with / without, uneven / max(with, tiny)
}
