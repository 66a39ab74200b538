package forecast

import (
	"math"
	"slices"

	"github.com/usance/usance"
)

// Recent is what is looked through for what is unusual: the use of one licence
// and usage type.
type Recent struct {
	// Days are whole days up to yesterday, on the first of which the licence was
	// active, and Weekday is that of the first. At most 56 are looked at.
	Days    []float64
	Weekday int
	// Hours are those of the last of these days, 28 at most, in the same order, and
	// Today those of today that are over. Days whose hours are not known are NaN.
	Hours [][24]float64
	Today []float64
	// Sources are what each named source brought on the days of Hours.
	Sources []map[string]float64
	// Events is how many the last of Days had; 0 where that is not known.
	Events float64
}

// An Anomaly is use that is not as it was.
type Anomaly struct {
	Kind     usance.AlertKind
	Severity usance.Severity
	// DaysAgo is 0 today, 1 yesterday, and Hour the hour of that day, -1 for the
	// whole of it.
	DaysAgo, Hour int
	// Actual is what was used, Expected what usually is: in units, or of a
	// concentration as shares of the day.
	Actual, Expected float64
	// Source names what carries a concentration, unless it is Hour or a session.
	Source  string
	Session bool
	// Hours is how many of them a flat line lasts; of one in whole days, which is
	// the same use again and again, it is a multiple of 24.
	Hours int
	// Same tells a flat line at some quantity from one at none.
	Same bool
}

const (
	unusualDays  = 56 // looked at for weekdays
	levelDays    = 28 // and for level, trend and spread
	fewestDays   = 21 // under which nothing is unusual yet
	fewestUnits  = 20 // that have to be too many, or to be expected
	recentHours  = 24 // in which hours are looked at
	spikeRatio   = 2.5
	hourRatio    = 4
	dropRatio    = 0.4
	daySigmas    = 5
	hourSigmas   = 6
	dropSigmas   = 5
	hourOfDay    = 0.15 // of a usual day that an hour has to bring too much
	longSilence  = 6    // hours
	sameDays     = 7
	concentrated = 0.5
	fromSource   = 0.6
	fewestShared = 50 // units of a day that is told to be concentrated
	fewestLumps  = 5  // portions that are too many, or to be expected
	fewestShares = 15 // of a day that is told to be concentrated, or too small
)

// Unusual tells what is unusual of yesterday and the last hours: each kind at
// most once, the gravest. It goes by medians and quantiles of the weeks before,
// with weekday and trend taken out, so that what happened once neither hides
// what comes later nor makes what is usual look unusual; and by what the series
// itself does now and then: use that comes in lumps has lumps.
// Where few days had use, or none before, it is what is out of all proportion that
// is told, and what carries nearly all of a day of many events.
func Unusual(r Recent) []Anomaly {
	n := len(r.Days)
	if n < fewestDays+1 {
		return nil
	}
	if cut := max(0, n-unusualDays-1); cut > 0 {
		r.Days, r.Weekday = r.Days[cut:], (r.Weekday+cut)%7
		n = len(r.Days)
	}
	u := unusual{Recent: r}
	u.base(n - 1)
	u.lumps()
	var out []Anomaly
	add := func(a *Anomaly) {
		if a == nil {
			return
		}
		for i := range out {
			if out[i].Kind == a.Kind {
				if a.Severity.Rank() > out[i].Severity.Rank() {
					out[i] = *a
				}
				return
			}
		}
		out = append(out, *a)
	}
	if u.active < seldomDays {
		add(u.outsized())
		add(u.burst())
		add(u.newcomer())
		return out
	}
	add(u.day())
	add(u.same())
	if len(r.Hours) >= fewestDays {
		u.profile()
		add(u.hour())
		add(u.silence())
		add(u.hourShare())
	}
	add(u.source())
	return out
}

// unusual is the work on one series.
type unusual struct {
	Recent
	weekday   [7]float64
	level     float64 // of a day without its weekday, at the last day looked at
	slope     float64 // per day
	sigma     float64 // of the roots
	high, low float64 // the tenth highest and lowest in a hundred of the days before, without weekday
	lump      float64 // what an hour with use brings at the least, but for one in ten
	active    int     // of the last 28 days, those with use
	expected  float64 // of yesterday
	hours     [24]float64
	spread    [24]float64
	peak      float64 // the third highest of the days' highest hours
}

// root makes the spread of counts alike whatever their size (Anscombe, "The
// transformation of Poisson, binomial and negative-binomial data", 1948).
func root(v float64) float64 { return 2 * math.Sqrt(max(0, v)+0.375) }

func weekdayOf(first, day int) int { return (first + day) % 7 }

// base learns from the days before the one at that index.
func (u *unusual) base(at int) {
	days := u.Days[:at]
	var by [7][]float64
	for i := 3; i+3 < len(days); i++ {
		if mid := medianKnown(days[i-3 : i+4]); mid > 0 && isKnown(days[i]) {
			w := weekdayOf(u.Weekday, i)
			by[w] = append(by[w], days[i]/mid)
		}
	}
	for w := range by {
		u.weekday[w] = 1
		if len(by[w]) >= 2 {
			u.weekday[w] = medianOf(by[w])
		}
	}
	from := max(0, at-levelDays)
	var x, y []float64
	for i := from; i < at; i++ {
		if !isKnown(days[i]) {
			continue
		}
		if days[i] > 0 {
			u.active++
		}
		if w := u.weekday[weekdayOf(u.Weekday, i)]; w > 0.05 {
			x, y = append(x, float64(i-at)), append(y, days[i]/w)
		}
	}
	if len(y) == 0 {
		return
	}
	slopes := make([]float64, 0, len(y)*len(y)/2)
	for i := range y {
		for j := i + 7; j < len(y); j++ {
			slopes = append(slopes, (y[j]-y[i])/(x[j]-x[i]))
		}
	}
	if len(slopes) > 0 {
		u.slope = medianOf(slopes)
	}
	flat := make([]float64, len(y))
	for i := range y {
		flat[i] = y[i] - u.slope*x[i]
	}
	// The last two weeks say where it is now.
	u.level = max(0, medianOf(slices.Clone(flat[max(0, len(flat)-14):])))
	off := make([]float64, len(y))
	for i := range y {
		off[i] = math.Abs(root(y[i]) - root(u.level+u.slope*x[i]))
	}
	u.sigma = max(1, 1.4826*medianOf(off))
	slices.Sort(flat)
	u.low, u.high = max(0, sortedQuantile(flat, 0.1)), sortedQuantile(flat, 0.9)
	u.expected = u.level * u.weekday[weekdayOf(u.Weekday, at)]
}

// lumps finds out in what portions use comes: two of a hundred units are no more
// to go by than two of one.
func (u *unusual) lumps() {
	var some []float64
	for _, d := range u.Hours {
		for _, v := range d {
			if v > 0 {
				some = append(some, v)
			}
		}
	}
	if len(some) > 0 {
		slices.Sort(some)
		u.lump = sortedQuantile(some, 0.1)
	}
}

// enough is how many units are to go by, of so many at least.
func (u *unusual) enough(units, lumps float64) float64 { return max(units, lumps*u.lump) }

// day compares yesterday, as a whole, with what was to be expected.
func (u *unusual) day() *Anomaly {
	x := u.Days[len(u.Days)-1]
	if !isKnown(x) {
		return nil
	}
	w := u.weekday[weekdayOf(u.Weekday, len(u.Days)-1)]
	z := (root(x) - root(u.expected)) / u.sigma
	a := Anomaly{DaysAgo: 1, Hour: -1, Actual: x, Expected: u.expected, Severity: usance.SeverityInfo}
	switch {
	case z >= daySigmas && x >= spikeRatio*u.expected && x-u.expected >= u.enough(fewestUnits, fewestLumps) && x >= 1.5*u.high*max(w, 1):
		a.Kind = usance.AlertSpike
		a.Severity = grade(x, u.expected)
	case z <= -dropSigmas && x <= dropRatio*u.expected && u.expected >= u.enough(fewestUnits, fewestShares) && x < 0.6*u.low*w:
		a.Kind = usance.AlertDrop
		if x <= 0.1*u.expected {
			a.Severity = usance.SeverityWarning
		}
	default:
		return nil
	}
	return &a
}

// grade says how grave it is that so much came where less was expected.
func grade(x, expected float64) usance.Severity {
	switch {
	case x >= 10*expected:
		return usance.SeverityCritical
	case x >= 4*expected:
		return usance.SeverityWarning
	}
	return usance.SeverityInfo
}

// profile learns how much comes in each hour of a day, and how that varies.
func (u *unusual) profile() {
	var known [][24]float64
	for _, d := range u.Hours[:len(u.Hours)-1] {
		if isKnown(d[0]) {
			known = append(known, d)
		}
	}
	if len(known) < fewestDays-1 {
		u.hours, u.peak = [24]float64{}, math.Inf(1)
		return
	}
	v := make([]float64, len(known))
	for h := range 24 {
		for i := range known {
			v[i] = known[i][h]
		}
		slices.Sort(v)
		u.hours[h] = meanOf(v[:len(v)-2]) // what came once or twice does not count
	}
	usual := 0.0
	for _, m := range u.hours {
		usual += m
	}
	for h := range u.hours {
		if usual > 0 {
			u.hours[h] *= u.level / usual
		}
	}
	off := make([]float64, 0, 3*len(known))
	for h := range 24 {
		off = off[:0]
		for i := range known {
			for _, k := range [...]int{(h + 23) % 24, h, (h + 1) % 24} {
				off = append(off, math.Abs(root(known[i][k])-root(u.hours[k])))
			}
		}
		u.spread[h] = max(1, 1.4826*medianOf(off))
	}
	peaks := make([]float64, len(known))
	for i := range known {
		peaks[i] = slices.Max(known[i][:])
	}
	slices.Sort(peaks)
	u.peak = peaks[len(peaks)-3]
}

// last gives the last hours that are over, oldest first, each with its hour of
// the day and whether it was yesterday.
func (u *unusual) last() (values []float64, hour, daysAgo []int) {
	yesterday := u.Hours[len(u.Hours)-1]
	for h := range 24 {
		values, hour, daysAgo = append(values, yesterday[h]), append(hour, h), append(daysAgo, 1)
	}
	for h, v := range u.Today {
		values, hour, daysAgo = append(values, v), append(hour, h), append(daysAgo, 0)
	}
	cut := max(0, len(values)-recentHours)
	return values[cut:], hour[cut:], daysAgo[cut:]
}

// hour looks for one of the last hours that brought far more than it usually does.
func (u *unusual) hour() (out *Anomaly) {
	values, hours, ago := u.last()
	worst := 0.0
	for i, x := range values {
		h := hours[i]
		e := u.hours[h] * max(1, u.weekday[weekdayOf(u.Weekday, len(u.Days)-ago[i])])
		z := (root(x) - root(e)) / u.spread[h]
		if !isKnown(x) || z < hourSigmas || z <= worst || x < hourRatio*e || x-e < max(u.enough(fewestUnits, fewestLumps), hourOfDay*u.level) || x < 1.5*u.peak {
			continue
		}
		worst = z
		out = &Anomaly{Kind: usance.AlertSpike, Severity: usance.SeverityInfo, DaysAgo: ago[i], Hour: h, Actual: x, Expected: e}
		// An hour that brings as much as a day, or more, is grave by that measure.
		switch {
		case x >= 3*u.level:
			out.Severity = usance.SeverityCritical
		case x >= u.level:
			out.Severity = usance.SeverityWarning
		}
	}
	return out
}

// silence looks for a time without use, up to now, that is longer than those
// that happen.
func (u *unusual) silence() *Anomaly {
	if u.active < levelDays*3/4 {
		return nil
	}
	hours := slices.Clone(u.Today)
	for _, d := range slices.Backward(u.Hours) {
		hours = append(d[:], hours...)
	}
	run := 0
	for run < len(hours) && hours[len(hours)-1-run] == 0 {
		run++
	}
	expected := 0.0
	for i := range run {
		at := len(hours) - 1 - i
		day := len(u.Days) - len(u.Hours) + at/24
		expected += u.hours[at%24] * u.weekday[weekdayOf(u.Weekday, day)]
	}
	var before []int
	for at, r := 0, 0; at < len(hours)-run; at++ {
		if hours[at] == 0 {
			r++
			continue
		}
		before, r = append(before, r), 0
	}
	slices.Sort(before)
	if len(before) < 3 || run < longSilence || run < 2*before[len(before)-3] || expected < u.enough(fewestUnits, fewestLumps) {
		return nil
	}
	a := &Anomaly{Kind: usance.AlertFlat, Severity: usance.SeverityWarning, Hour: -1, Expected: expected, Hours: run}
	if run >= 24 {
		a.Severity = usance.SeverityCritical
	}
	return a
}

// same looks for the same use day after day, or hour after hour, of what varied
// before.
func (u *unusual) same() *Anomaly {
	repeats := func(v []float64) float64 {
		n := 0.0
		for i := 1; i < len(v); i++ {
			if v[i] == v[i-1] {
				n++
			}
		}
		return n / float64(max(1, len(v)-1))
	}
	days := u.Days
	if last := days[len(days)-sameDays:]; last[0] >= 5 && repeats(last) == 1 && repeats(days[:len(days)-sameDays]) < 0.2 {
		return &Anomaly{Kind: usance.AlertFlat, Severity: usance.SeverityInfo, DaysAgo: 1, Hour: -1, Actual: last[0], Hours: 24 * sameDays, Same: true}
	}
	if len(u.Hours) < fewestDays {
		return nil
	}
	last, _, _ := u.last()
	var before []float64
	for _, d := range u.Hours[:len(u.Hours)-2] {
		before = append(before, d[:]...)
	}
	if len(last) == recentHours && last[0] >= 5 && repeats(last) == 1 && repeats(before) < 0.2 {
		return &Anomaly{Kind: usance.AlertFlat, Severity: usance.SeverityInfo, Hour: -1, Actual: last[0], Hours: recentHours, Same: true}
	}
	return nil
}

// shares tells whether a share of yesterday is one that no day before came near.
func (u *unusual) shares(share float64, before []float64) bool {
	if len(before) < 10 {
		return false
	}
	slices.Sort(before)
	return sortedQuantile(before, 0.5) <= share/2 && before[max(0, len(before)-3)] <= 0.8*share
}

// hourShare looks for an hour that carried most of yesterday.
func (u *unusual) hourShare() *Anomaly {
	yesterday := u.Hours[len(u.Hours)-1]
	hour, share, sum := topHour(yesterday)
	if !(share >= concentrated) || sum < u.enough(fewestShared, fewestShares) || sum < u.expected/2 {
		return nil
	}
	var before []float64
	for _, d := range u.Hours[:len(u.Hours)-1] {
		if _, s, all := topHour(d); all >= fewestUnits {
			before = append(before, s)
		}
	}
	if !u.shares(share, before) {
		return nil
	}
	return concentration(share, sortedQuantile(before, 0.5), hour, "")
}

// source looks for a source that carried most of yesterday and did not before.
func (u *unusual) source() *Anomaly {
	name, share, before := u.topSource()
	yesterday := u.Days[len(u.Days)-1]
	if share < fromSource || yesterday < u.enough(fewestShared, fewestShares) || share*yesterday < u.expected/2 || !u.shares(share, before) {
		return nil
	}
	return concentration(share, sortedQuantile(before, 0.5), -1, name)
}

// topSource gives the source that carried most of yesterday, its share, and those
// that it had of days before with some use.
func (u *unusual) topSource() (name string, share float64, before []float64) {
	if len(u.Sources) < fewestDays || len(u.Sources) != len(u.Hours) {
		return "", 0, nil
	}
	days := u.Days[len(u.Days)-len(u.Sources):]
	last := len(days) - 1
	if !(days[last] > 0) {
		return "", 0, nil
	}
	for source, v := range u.Sources[last] {
		if s := v / days[last]; s > share || s == share && source < name {
			name, share = source, s
		}
	}
	for i := range last {
		if days[i] >= fewestUnits {
			before = append(before, u.Sources[i][name]/days[i])
		}
	}
	return name, share, before
}

// OfSession is the anomaly of a session that carried so large a share of
// yesterday.
func OfSession(share float64) Anomaly {
	a := *concentration(share, 0, -1, "")
	a.Session = true
	return a
}

func concentration(share, usual float64, hour int, source string) *Anomaly {
	a := &Anomaly{Kind: usance.AlertConcentration, Severity: usance.SeverityInfo, DaysAgo: 1, Hour: hour, Actual: share, Expected: usual, Source: source}
	if share >= 0.8 {
		a.Severity = usance.SeverityWarning
	}
	return a
}

// medianKnown is the median of those values that are known; 0 of none.
func medianKnown(v []float64) float64 {
	known := make([]float64, 0, len(v))
	for _, x := range v {
		if isKnown(x) {
			known = append(known, x)
		}
	}
	if len(known) == 0 {
		return 0
	}
	return medianOf(known)
}
