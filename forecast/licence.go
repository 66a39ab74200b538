package forecast

import (
	"fmt"
	"math"
	"slices"

	"github.com/usance/usance"
)

// A Request asks what will be used under one licence and usage type.
type Request struct {
	// Start is the local date of Days[0].
	Start usance.Date
	// Days holds the quantity of each day that is over, up to yesterday: 0 where
	// there was no use, NaN where nothing is known (a gap). The days before the
	// licence was active are left out, not zero.
	Days []float64
	// Hours, where there are any, holds the quantity of each hour of the last
	// whole days, 24 each (on days of 23 or 25 hours put the odd one out or
	// together), and of today so far.
	Hours []float64
	// Today is what today has brought where Hours do not tell: where use is known by
	// the day only, all of a day may still come, but for this.
	Today float64
	// Shut: nothing, or not all that was wanted, could be used today. Its hours tell
	// how much of the day is over, but not how much is wanted.
	Shut bool
	// Period is the period that today, the day after Days, belongs to, and
	// AnchorDay the licence's, for the periods after it.
	Period    usance.Period
	AnchorDay int
	// Before is what the period used before Start.
	Before float64
	// Later is how many periods after the current one are forecast, of those that end
	// within MaxDays.
	Later int
	// Limits are the quantities of a period whose passing is asked for.
	Limits []Limit
	// Confidence is the level of an interval that is wanted beside those of 50,
	// 80 and 95 %; 0 for none.
	Confidence float64
	// Method is Auto when empty.
	Method Method
	// Prior is what other licences show; nil for defaults.
	Prior *Prior
}

// A Limit is a quantity per period, without and with grace.
type Limit struct {
	Quantity  float64 `json:"quantity"`
	WithGrace float64 `json:"withGrace"`
}

// Status says what a forecast rests on.
type Status string

// The statuses.
const (
	StatusOK               Status = "OK"                // the licence's own history
	StatusPooled           Status = "POOLED"            // under 14 days: what other licences show, too
	StatusInsufficientData Status = "INSUFFICIENT_DATA" // nothing is known; there is no forecast
)

// A Forecast answers a Request.
type Forecast struct {
	Status Status `json:"status"`
	Method Method `json:"method"`
	// Members are the methods that Auto weighed, by weight; those under 1 % are
	// left out.
	Members []Member `json:"members,omitempty"`
	// DaysUsed is the number of days looked at.
	DaysUsed int `json:"daysUsed"`
	// MeanAbsoluteError is that of a single day in the backtest, in units of use,
	// and PeriodError that of the sum of the days asked for, as a share of what
	// was used in them; NaN-free: both are 0 where there was no backtest, which
	// Backtests, its number of forecasts, tells.
	MeanAbsoluteError float64 `json:"meanAbsoluteError"`
	PeriodError       float64 `json:"periodError"`
	Backtests         int     `json:"backtests"`
	// Path is the forecast day by day, from today on.
	Path []Day `json:"path"`
	// Periods are the current period and the later ones asked for.
	Periods []PeriodForecast `json:"periods"`
}

// A Member is a method with its part in a forecast.
type Member struct {
	Method Method `json:"method"`
	// Log: the method ran on the logarithm of the series, less the cycles, in
	// days, that are named.
	Log    bool    `json:"log"`
	Cycles []int   `json:"cycles,omitempty"`
	Weight float64 `json:"weight"`
}

// A Band is an interval in which the value lies with probability Level.
type Band struct {
	Level float64 `json:"level"`
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
}

// A Day is the forecast of one day; the first is today, whole.
type Day struct {
	Date   usance.Date `json:"date"`
	Median float64     `json:"median"`
	Bands  []Band      `json:"bands"`
}

// A PeriodForecast is the forecast of a period's total.
type PeriodForecast struct {
	Period usance.Period `json:"period"`
	// Through is the day after the last one that is forecast: the period's end,
	// but for a period longer than MaxDays, whose total is that up to here.
	Through usance.Date `json:"through"`
	// Used is the part of the total that is known.
	Used   float64 `json:"used"`
	Median float64 `json:"median"`
	Bands  []Band  `json:"bands"`
	// Total has the whole distribution.
	Total  Total           `json:"-"`
	Limits []LimitForecast `json:"limits,omitempty"`
}

// A LimitForecast says how likely a limit is passed, without and with grace.
type LimitForecast struct {
	Limit     Limit          `json:"limit"`
	Plain     usance.Passing `json:"plain"`
	WithGrace usance.Passing `json:"withGrace"`
}

// MaxDays is how many days ahead a forecast reaches.
const MaxDays = 400

// Forecast answers r. The error says what is wrong with the request.
func (f *Forecaster) Forecast(r Request) (Forecast, error) {
	today := r.Start.AddDays(len(r.Days))
	if err := r.check(today); err != nil {
		return Forecast{}, err
	}
	p := r.Prior
	if p == nil {
		p = defaults
	}
	method := r.Method
	if method == "" {
		method = Auto
	}
	out := Forecast{Method: method, DaysUsed: len(r.Days)}
	if !slices.ContainsFunc(r.Days, isKnown) {
		out.Status, out.DaysUsed = StatusInsufficientData, 0
		return out, nil
	}
	periods := []usance.Period{r.Period}
	for range r.Later {
		last := periods[len(periods)-1]
		if last.Type == usance.PeriodTotal {
			break
		}
		next := last.Next(r.AnchorDay)
		if int(next.End-today) > MaxDays {
			break // a part of it is no total
		}
		periods = append(periods, next)
	}
	h := history{r.Days, int(r.Start.Weekday()), int(today - r.Period.Start), dates{r.Start, max(1, r.AnchorDay)}}
	part, usedToday := r.partOfToday()
	used := usedToday + max(0, r.Before)
	for d := max(r.Period.Start, r.Start); d < today; d++ {
		used += known0(r.Days[d-r.Start])
	}
	// Methods are tried over as many days as are asked for: each period is forecast by
	// itself, so that what is said of it does not depend on which later ones are asked for.
	for i, period := range periods {
		left := min(MaxDays, int(period.End-today))
		o := f.outlook(h, left, method, p)
		if i == 0 {
			out.Status, out.DaysUsed = StatusOK, o.days
			if o.days < youngDays {
				out.Status, out.Method = StatusPooled, Auto
			}
			f.explain(&out, o)
		} else {
			used = 0
		}
		path := o.pathWith(part, usedToday, today, min(left, int(r.Period.End-today)), r.levels())
		out.Path = append(out.Path, path[len(out.Path):]...)
		out.Periods = append(out.Periods, o.period(r, period, today, used, left))
	}
	return out, nil
}

// pathWith is path, of which the first day is as what is known of it tells; what else is
// asked knows of that from then on. period is how many days the current period has left.
func (o *outlook) pathWith(part partDay, used float64, today usance.Date, period int, levels []float64) []Day {
	if used > 0 {
		o.quiet = 0
	}
	out := o.path(today, o.left, period, levels)
	if o.partly(part, used) {
		t := o.total(used, 0, 1)
		out[0].Median, out[0].Bands = t.Median(), bands(t, levels)
	}
	return out
}

// isKnown tells values from gaps.
func isKnown(v float64) bool { return !math.IsNaN(v) }

// known0 is v, or 0 for a gap.
func known0(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return max(0, v)
}

func (r Request) check(today usance.Date) error {
	switch {
	case !r.Period.Contains(today):
		return fmt.Errorf("forecast: the period %s to %s does not hold the day after the last one known, %s",
			r.Period.Start, r.Period.End, today)
	case math.IsInf(r.Before, 0) || math.IsNaN(r.Before):
		return fmt.Errorf("forecast: a quantity of %v before the first day", r.Before)
	case math.IsInf(r.Today, 0) || math.IsNaN(r.Today):
		return fmt.Errorf("forecast: a quantity of %v today", r.Today)
	case r.Later < 0:
		return fmt.Errorf("forecast: %d later periods", r.Later)
	case r.Confidence < 0 || r.Confidence >= 1 || math.IsNaN(r.Confidence):
		return fmt.Errorf("forecast: a confidence of %v; it must lie between 0 and 1", r.Confidence)
	case r.Method != "" && !slices.Contains(Methods(), r.Method):
		return fmt.Errorf("forecast: there is no method %q; choose one of %v", r.Method, Methods())
	}
	for _, v := range r.Days {
		if math.IsInf(v, 0) {
			return fmt.Errorf("forecast: a day's quantity is infinite")
		}
	}
	for _, v := range r.Hours {
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return fmt.Errorf("forecast: an hour's quantity is not a number")
		}
	}
	return nil
}

// levels gives the levels of the intervals, in order.
func (r Request) levels() []float64 {
	levels := []float64{0.5, 0.8, 0.95}
	if r.Confidence > 0 {
		levels = append(levels, r.Confidence)
	}
	slices.Sort(levels)
	return slices.Compact(levels)
}

// bands gives a distribution's intervals.
func bands(t Total, levels []float64) []Band {
	out := make([]Band, len(levels))
	for i, l := range levels {
		out[i] = Band{l, t.Quantile((1 - l) / 2), t.Quantile((1 + l) / 2)}
	}
	return out
}

// path forecasts day by day; period is how many days the current period has left.
func (o *outlook) path(from usance.Date, left, period int, levels []float64) []Day {
	out := make([]Day, left)
	daily := &o.f.daily
	if o.rivals != nil && o.rivals.inSpells { // of single days, only these have a share
		if period < weekDays || period > 2*soon {
			period = min(left, soon)
		}
		o.weigh(0, period)
	}
	if o.by > 0 {
		daily.learn(&o.f.engine, false)
		// For single days the spread of single days' errors holds, of which there are enough
		// to be sure of their bias: methods that tell sums are above the days' medians.
		sums := o.spread
		o.spread = daily.spread
		for i := range o.spread {
			o.spread[i] += daily.spread[grid/2]
		}
		defer func() { o.spread = sums }()
	}
	for i := range out {
		scale := 0.0
		if o.by > 0 {
			scale = daily.scale[i+o.skip]
		}
		t := o.spreadOver(0, i, i+1, scale, dayLogs)
		out[i] = Day{from.AddDays(i), t.Median(), bands(t, levels)}
	}
	return out
}

// period forecasts the total of one period.
func (o *outlook) period(r Request, p usance.Period, today usance.Date, used float64, left int) PeriodForecast {
	from := max(0, int(p.Start-today))
	to := min(left, int(p.End-today))
	t := o.total(used, from, to)
	out := PeriodForecast{
		Period: p, Through: today.AddDays(to), Used: used, Total: t, Median: t.Median(), Bands: bands(t, r.levels()),
	}
	if len(r.Limits) == 0 {
		return out
	}
	// The distribution of the total up to each day.
	totals := make([]Total, to-from)
	scale := o.scale(from, to)
	for i := range totals {
		if from == 0 {
			scale = o.scale(0, i+1)
		}
		totals[i] = o.spreadOver(used, from, from+i+1, scale, sumLogs)
	}
	for _, l := range r.Limits {
		out.Limits = append(out.Limits, LimitForecast{
			l, r.passing(p, today, today.AddDays(from), totals, l.Quantity), r.passing(p, today, today.AddDays(from), totals, l.WithGrace),
		})
	}
	return out
}

// passing says when limit is passed, by the totals up to each day from first on.
func (r Request) passing(p usance.Period, today, first usance.Date, totals []Total, limit float64) usance.Passing {
	sum := 0.0
	if p.Start == r.Period.Start {
		if sum = max(0, r.Before); sum > limit {
			// No later than this; the days before are not known one by one.
			d := max(p.Start, r.Start-1)
			return usance.Passing{Probability: 1, Early: &d, Median: &d, Late: &d}
		}
	}
	for d := max(p.Start, r.Start); d < today; d++ {
		if sum += known0(r.Days[d-r.Start]); sum > limit {
			return usance.Passing{Probability: 1, Early: &d, Median: &d, Late: &d}
		}
	}
	var out usance.Passing
	for i, t := range totals {
		// What was passed stays passed.
		out.Probability = max(out.Probability, t.Above(limit))
		day := first.AddDays(i)
		for _, c := range []struct {
			at   float64
			date **usance.Date
		}{{0.1, &out.Early}, {0.5, &out.Median}, {0.9, &out.Late}} {
			if *c.date == nil && out.Probability >= c.at {
				*c.date = &day
			}
		}
	}
	return out
}

// explain says what the forecast came from.
func (f *Forecaster) explain(out *Forecast, o *outlook) {
	if o.by == 0 || o.own == 0 {
		return
	}
	e := &f.engine
	for _, m := range e.members {
		if m.weight >= 0.01 {
			out.Members = append(out.Members, Member{m.level.name(), m.view.log, m.view.lengths, m.weight})
		}
	}
	slices.SortStableFunc(out.Members, func(a, b Member) int {
		switch {
		case a.Weight > b.Weight:
			return -1
		case a.Weight < b.Weight:
			return 1
		}
		return 0
	})
	var abs, days, off, all float64
	for i, at := range e.origins[:len(e.origins)-1] {
		var a, p float64
		path := e.at(i)
		for j, v := range e.y[at:min(at+e.h, len(e.y))] {
			abs += math.Abs(v - path[j])
			days++
			a += v
			p += path[j]
		}
		off += math.Abs(a - p)
		all += a
		out.Backtests++
	}
	if days > 0 {
		out.MeanAbsoluteError = abs / days * o.by
	}
	if all > 0 {
		out.PeriodError = off / all
	}
}
