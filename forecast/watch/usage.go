package watch

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

const (
	// historyDays is how far back a forecast looks.
	historyDays = 3 * 366
	// hourDays is over how many days it is learned how a day's use falls into hours.
	hourDays = 14
	// profileDays is how many of those, with use, say whether there are hours to learn from.
	profileDays = 7
)

// usage is what a licence used, up to an instant.
type usage struct {
	license usance.License
	zone    *time.Location
	today   usance.Date // in the licence's zone
	over    int         // hours of today that are over, 23 at most
	begun   bool        // the licence's term has
	first   usance.Date // from which on a day without use is a zero
	days    []usance.Rollup
	hours   map[string]*[hourDays + 1][24]float64 // by type; the last day is today
	slots   map[string]*[hourDays]int             // by type: of days whose hours tell nothing, the hour that had all, else manyHours
	full    map[string][]usance.Period            // by hard threshold: the days on which it let nothing in
}

// readUsage reads a licence's usage in one snapshot. from is the earliest day that is
// asked for; thresholds are those whose refusals matter.
func readUsage(ctx context.Context, v usance.View, l usance.License, now time.Time, from usance.Date, thresholds []usance.Threshold) (*usage, error) {
	zone, start, _, err := l.Term()
	if err != nil {
		return nil, err
	}
	u := &usage{license: l, zone: zone, today: usance.DateOf(now, zone), over: usance.HourSlot(now, zone), begun: !start.After(now)}
	u.over = min(max(u.over, 1), 23) // within the first hour it counts as over: what it brought is known
	if u.days, err = v.DayUsage(ctx, l.ID, min(from, u.today-historyDays), u.today+1); err != nil {
		return nil, err
	}
	u.first = usance.DateOf(l.CreatedAt, zone)
	if start.After(l.CreatedAt) {
		u.first = usance.DateOf(start, zone)
	}
	for i := range u.days {
		if u.days[i].Quantity != 0 {
			u.first = min(u.first, u.days[i].Date)
			break
		}
	}
	u.first = max(u.first, u.today-historyDays)
	if err := u.readHours(ctx, v); err != nil {
		return nil, err
	}
	return u, u.readFull(ctx, v, thresholds)
}

func (u *usage) readHours(ctx context.Context, v usance.View) error {
	u.hours = make(map[string]*[hourDays + 1][24]float64)
	u.slots = make(map[string]*[hourDays]int)
	counts := make(map[string]*[hourDays + 1]int64) // of events
	from := u.today - hourDays
	add := func(usageType string, d usance.Date, slot int, t usance.Tally) {
		if u.hours[usageType] == nil {
			u.hours[usageType], counts[usageType] = new([hourDays + 1][24]float64), new([hourDays + 1]int64)
		}
		u.hours[usageType][d-from][min(max(slot, 0), 23)] += float64(t.Quantity)
		counts[usageType][d-from] += t.Events
	}
	err := v.Rollups(ctx, u.license.ID, from, u.today+1, nil, func(r *usance.Rollup) error {
		for slot, t := range hourSlots(r) {
			add(r.UsageType, r.Date, slot, t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = v.Tail(ctx, u.license.ID, from, u.today+1, func(e *usance.Event) error {
		add(e.UsageType, e.LocalDate, e.HourSlot, usance.Tally{Events: e.Sign(), Quantity: e.Quantity})
		return nil
	})
	// Daily totals that were brought in, and the like, tell nothing of hours; but of
	// today what came is known.
	for name, days := range counts {
		u.slots[name] = new([hourDays]int)
		for d, n := range days[:hourDays] {
			if n < 3 {
				u.slots[name][d] = onlyHour(&u.hours[name][d])
				u.hours[name][d] = [24]float64{}
			}
		}
	}
	return err
}

// hourSlots gives a row's tallies by hour.
func hourSlots(r *usance.Rollup) map[int]usance.Tally {
	out := make(map[int]usance.Tally, 24)
	for name, t := range r.Breakdown[usance.ByHour] {
		slot := 0
		for _, c := range name {
			slot = 10*slot + int(c-'0')
		}
		out[slot] = t
	}
	return out
}

// readFull finds the days on which a hard threshold was full: what would have
// been used then, nobody knows.
func (u *usage) readFull(ctx context.Context, v usance.View, thresholds []usance.Threshold) error {
	for i := range thresholds {
		t := &thresholds[i]
		if t.LicenseID != u.license.ID || t.PeriodType == usance.PeriodDaily {
			continue
		}
		counters, err := v.CountersOf(ctx, u.license.ID, t.ID)
		if err != nil {
			return err
		}
		for j := range counters {
			c := &counters[j]
			end := c.PeriodEnd
			if t.RetiredAt != nil { // from the next day on it held nothing
				end = min(end, usance.DateOf(*t.RetiredAt, u.zone)+1)
			}
			if end <= u.first {
				continue
			}
			if d, ok := filled(t, c, u.days); ok {
				if u.full == nil {
					u.full = make(map[string][]usance.Period)
				}
				u.full[t.UsageType] = append(u.full[t.UsageType], usance.Period{Start: d + 1, End: end})
			}
		}
	}
	return nil
}

// filled gives the day on which the period of a hard threshold was full: less was
// left of its limit than a usual event takes, so that hardly any got in from then
// on. Whether it was hard, the counter's terms say: the threshold's may have changed
// since. days are the licence's, of the period at least.
func filled(t *usance.Threshold, c *usance.Counter, days []usance.Rollup) (usance.Date, bool) {
	terms := c.TermsOf(t)
	if terms.Kind() != usance.KindHard {
		return 0, false
	}
	limit := terms.LimitWithGrace()
	within := func(d *usance.Rollup) bool {
		return d.Date >= c.PeriodStart && d.Date < c.PeriodEnd && t.Covers(d.UsageType)
	}
	var all usance.Tally
	for i := range days {
		if d := &days[i]; within(d) {
			all = all.Plus(d.Tally)
		}
	}
	usual := int64(1)
	if all.Events > 0 {
		usual = max(1, all.Quantity/all.Events)
	}
	if c.Quantity <= limit-usual {
		return 0, false
	}
	sum := int64(0)
	for i := range days {
		if d := &days[i]; within(d) {
			if sum += d.Quantity; sum > limit-usual {
				return d.Date, true
			}
		}
	}
	return 0, false
}

// series gives the quantity of each day from first on, up to yesterday: 0 where
// nothing was used, NaN where nothing could be, or where the day's total has yet to
// come, which is so of the last ones, as many as away tells. totals tells that use is
// known by the day only.
func (u *usage) series(usageType string) (days []float64, totals bool, away int) {
	if u.first >= u.today {
		return nil, !u.hourly(usageType, nil), 0
	}
	out := make([]float64, u.today-u.first)
	for i := range u.days {
		if d := &u.days[i]; d.Date >= u.first && d.Date < u.today && covers(usageType, d.UsageType) {
			out[d.Date-u.first] += float64(d.Quantity)
		}
	}
	for by, periods := range u.full {
		if !covers(by, usageType) {
			continue
		}
		for _, p := range periods {
			for d := max(p.Start, u.first); d < min(p.End, u.today); d++ {
				if out[d-u.first] == 0 {
					out[d-u.first] = math.NaN()
				}
			}
		}
	}
	if totals = !u.hourly(usageType, out); !totals || !u.oneHour(usageType, out) || u.usedOn(usageType, u.today) != 0 {
		return out, totals, 0
	}
	away, stopped := missing(out)
	if stopped {
		return out, totals, 0
	}
	for i := range out[len(out)-away:] {
		out[len(out)-1-i] = math.NaN()
	}
	return out, totals, away
}

// oneHour tells whether what the last days with use brought, where hours tell
// nothing, came in the same hour of each, as totals do and a few events do not.
func (u *usage) oneHour(usageType string, days []float64) bool {
	for name, slots := range u.slots {
		if !covers(usageType, name) {
			continue
		}
		var one sameHour
		for back, with := 1, 0; back <= min(hourDays, len(days)) && with < profileDays; back++ {
			if days[len(days)-back] > 0 {
				with++
				one.see(slots[hourDays-back])
			}
		}
		if one.differs {
			return false
		}
	}
	return true
}

// usedOn is what was used on a day.
func (u *usage) usedOn(usageType string, day usance.Date) (sum float64) {
	for i := range u.days {
		if d := &u.days[i]; d.Date == day && covers(usageType, d.UsageType) {
			sum += float64(d.Quantity)
		}
	}
	return sum
}

// before is what was used from a day on before the series begins.
func (u *usage) before(usageType string, from usance.Date) (sum float64) {
	for i := range u.days {
		if d := &u.days[i]; d.Date >= from && d.Date < u.first && covers(usageType, d.UsageType) {
			sum += float64(d.Quantity)
		}
	}
	return sum
}

// hourly tells whether the hours tell how use falls into a day: whether they hold
// at least half of what the last days with use brought. Those that are fed by daily
// totals have none, and today's is still to come.
func (u *usage) hourly(usageType string, days []float64) bool {
	all, told := 0.0, 0.0
	for back, with := 1, 0; back <= min(hourDays, len(days)) && with < profileDays; back++ {
		if q := days[len(days)-back]; q > 0 {
			with++
			all += q
			for name, hours := range u.hours {
				if covers(usageType, name) {
					for _, q := range hours[hourDays-back] {
						told += q
					}
				}
			}
		}
	}
	return 2*told >= all
}

// shut tells whether today, or a part of it, a hard limit lets nothing in.
func (u *usage) shut(usageType string) bool {
	for by, periods := range u.full {
		if covers(by, usageType) && slices.ContainsFunc(periods, func(p usance.Period) bool { return p.Start-1 <= u.today && u.today < p.End }) {
			return true
		}
	}
	return false
}

// byHour gives the hours of the days that the series has of the last ones, and
// of today those that are over, the last of which holds what came since.
func (u *usage) byHour(usageType string) []float64 {
	var sum [hourDays + 1][24]float64
	for name, hours := range u.hours {
		if !covers(usageType, name) {
			continue
		}
		for d := range hours {
			for h, q := range hours[d] {
				sum[d][h] += q
			}
		}
	}
	var out []float64
	for d := max(0, int(u.first-u.today)+hourDays); d < hourDays; d++ {
		out = append(out, sum[d][:]...)
	}
	today := sum[hourDays]
	for h := u.over; h < 24; h++ {
		today[u.over-1] += today[h]
	}
	return append(out, today[:u.over]...)
}

func sumOf(v []float64) (sum float64) {
	for _, x := range v {
		sum += x
	}
	return sum
}

func covers(usageType, other string) bool {
	return usageType == usance.AllTypes || usageType == other
}

// question is what is forecast: a period of a usage type, and what it is held to.
type question struct {
	usageType  string
	threshold  string // its id, if there is one
	periodType usance.PeriodType
	terms      *usance.Terms
	confidence float64
	method     forecast.Method
	later      int // further periods
}

func ofThreshold(t *usance.Threshold) question {
	return question{usageType: t.UsageType, threshold: t.ID, periodType: t.PeriodType, terms: &t.Terms, confidence: defaultConfidence}
}

const defaultConfidence = 0.8

// answer forecasts. ok is false where nothing is known, or nothing is to come.
func (u *usage) answer(f *forecast.Forecaster, q question, prior *forecast.Prior, now time.Time) (out usance.Forecast, whole forecast.Forecast, ok bool, err error) {
	period := usance.PeriodOf(q.periodType, u.today, u.license.BillingAnchorDay)
	asked := period
	if _, _, end, err := u.license.Term(); err != nil {
		return out, whole, false, err
	} else if last := usance.DateOf(end.Add(-1), u.zone); last+1 < asked.End {
		asked.End, q.later = last+1, 0
	}
	if asked.End <= u.today || !u.begun {
		return out, whole, false, nil
	}
	days, totals, away := u.series(q.usageType)
	known := days[:len(days)-away]
	// The days of the period whose totals are yet to come are a part of what is: it is
	// forecast as of the first of them.
	asOf := max(u.today-usance.Date(away), asked.Start)
	days = days[:len(days)-int(u.today-asOf)]
	r := forecast.Request{
		Start: asOf - usance.Date(len(days)), Days: days, Hours: u.byHour(q.usageType), Period: asked, AnchorDay: u.license.BillingAnchorDay,
		Before: u.before(q.usageType, asked.Start), Later: q.later, Confidence: q.confidence, Method: q.method, Prior: prior,
	}
	if r.Shut = u.shut(q.usageType); totals {
		r.Today = sumOf(r.Hours[len(r.Hours)-u.over:])
		r.Hours = nil
	}
	if q.terms != nil {
		r.Limits = []forecast.Limit{{Quantity: float64(q.terms.LimitQuantity), WithGrace: float64(q.terms.LimitWithGrace())}}
	}
	if whole, err = f.Forecast(r); err != nil || whole.Status == forecast.StatusInsufficientData {
		return out, whole, false, err
	}
	whole.Path = whole.Path[u.today-asOf:]
	p := &whole.Periods[0]
	out = usance.Forecast{
		ID: usance.NewID(now), LicenseID: u.license.ID, ThresholdID: q.threshold, UsageType: q.usageType, PeriodType: q.periodType,
		ForecastDate: u.today, PeriodStart: period.Start, PeriodEnd: period.End,
		UsedQuantity: units(p.Used), PredictedQuantity: units(p.Median), ConfidenceLevel: q.confidence,
		Status: usance.ForecastStatus(whole.Status), ForecastingMethod: string(whole.Method), HistoricalDaysUsed: whole.DaysUsed,
		NaiveError: naiveError(known, int(p.Through-asOf)), CalculatedAt: now,
	}
	out.Outlook.Intervals = intervals(p.Bands)
	for i, b := range p.Bands {
		if i := out.Outlook.Intervals[i]; b.Level == q.confidence {
			out.LowerBound, out.UpperBound = i.Lower, i.Upper
		}
	}
	if p.Through < period.End {
		out.Outlook.Through = &p.Through
	}
	if whole.Backtests > 0 {
		off, score := whole.MeanAbsoluteError, max(0, 1-whole.PeriodError)
		out.MeanAbsoluteError, out.AccuracyScore = &off, &score
	}
	if q.terms != nil {
		l := p.Limits[0]
		l.Plain = fromTodayOn(l.Plain, p.Used, l.Limit.Quantity, u.today)
		l.WithGrace = fromTodayOn(l.WithGrace, p.Used, l.Limit.WithGrace, u.today)
		out.LimitQuantity, out.LimitWithGrace = q.terms.LimitQuantity, q.terms.LimitWithGrace()
		out.PredictedBreachDate, out.BreachProbability = l.Plain.Median, &l.Plain.Probability
		out.Outlook.Limit, out.Outlook.LimitWithGrace = &l.Plain, &l.WithGrace
	}
	return out, whole, true, nil
}

// fromTodayOn gives the passing of a limit that is not reached yet no earlier than
// today: a total that comes of a day before counts when it comes.
func fromTodayOn(p usance.Passing, used, limit float64, today usance.Date) usance.Passing {
	if used > limit {
		return p
	}
	for _, d := range []**usance.Date{&p.Early, &p.Median, &p.Late} {
		if *d != nil && **d < today {
			*d = &today
		}
	}
	return p
}

func units(v float64) int64 { return int64(math.Round(min(max(v, 0), maxUnits))) }

// maxUnits bounds what is predicted: a float holds every whole number up to it.
const maxUnits = 1 << 53

// naiveError is how far, on average over the last year, the sum of so many days
// was from that of as many days before; nil when there are not twice as many.
func naiveError(days []float64, n int) *float64 {
	days = days[max(0, len(days)-366-2*n):]
	if n < 1 || len(days) < 2*n || slices.ContainsFunc(days, math.IsNaN) {
		return nil
	}
	var before, after, sum float64
	for i := range n {
		before += days[i]
		after += days[n+i]
	}
	count := 1.0
	for i := 2 * n; ; i++ {
		sum += math.Abs(after - before)
		if i == len(days) {
			break
		}
		before += days[i-n] - days[i-2*n]
		after += days[i] - days[i-n]
		count++
	}
	sum /= count
	return &sum
}
