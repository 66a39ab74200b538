package forecast

import "math"

// Method names how a forecast is made.
type Method string

// The methods that can be asked for.
const (
	// Auto weighs the methods by their backtest on the series.
	Auto Method = "AUTO"

	LinearRegression      Method = "LINEAR_REGRESSION"      // a line through the last 90 days, less the season
	MovingAverage         Method = "MOVING_AVERAGE"         // the mean of the last 28 days
	ExponentialSmoothing  Method = "EXPONENTIAL_SMOOTHING"  // simple, damped and seasonal smoothing, weighed
	SeasonalDecomposition Method = "SEASONAL_DECOMPOSITION" // all seasons taken out, the rest smoothed

	Naive          Method = "NAIVE"           // the last day goes on
	SeasonalNaive  Method = "SEASONAL_NAIVE"  // the last week goes on
	WeekdayProfile Method = "WEEKDAY_PROFILE" // medians of the last weeks, times the weekday
	SES            Method = "SES"
	DampedHolt     Method = "DAMPED_HOLT"
	ETS            Method = "ETS"
	Theta          Method = "THETA"
	TSB            Method = "TSB"
	SBA            Method = "SBA"
	Pacing         Method = "PACING" // the period's mean day so far, by the weights of the days to come
)

// robustSES is a member that Auto weighs and nobody asks for by itself.
const robustSES Method = "ROBUST_SES"

// Methods lists the methods that can be asked for.
func Methods() []Method {
	return []Method{
		Auto, LinearRegression, MovingAverage, ExponentialSmoothing, SeasonalDecomposition, Naive, SeasonalNaive,
		WeekdayProfile, SES, DampedHolt, ETS, Theta, TSB, SBA, Pacing,
	}
}

const (
	lineDays    = 90
	averageDays = 28
	// maxPace bounds the days that pacing looks back.
	maxPace = 92
	// On views that do worse than this against the best one, by the methods
	// tried on all, no others are tried.
	screen = 1.2
	// From this share of zeros on, use is intermittent.
	intermittent = 0.3
	// longestState bounds the season of ets, whose states are its length.
	longestState = 24
)

// auto runs what Auto weighs: on every view two methods that are quick and
// differ most, on the views that do well by them the others too.
func (e *engine) auto(lengths []int, elapsed int) {
	best := math.Inf(1)
	for _, log := range [...]bool{false, true} {
		if log && e.zeros > 2*intermittent {
			break
		}
		for k := range len(lengths) + 1 {
			v, ok := e.view(log, lengths[:k])
			if !ok {
				continue
			}
			best = min(best, e.add(v, &v.ses).err, e.add(v, &v.medians).err)
		}
	}
	views := e.views[:e.used]
	for i, v := range views {
		if min(e.members[2*i].err, e.members[2*i+1].err) > screen*best {
			continue
		}
		e.add(v, &v.holt)
		e.add(v, &v.theta)
		e.add(v, &v.robust)
		if v.log && e.bySum > 0 { // growth by a share each day, which others are late for
			v.line.window = lineDays
			e.add(v, &v.line)
		}
		if !v.log && elapsed >= 5 && elapsed <= maxPace {
			v.average.window = elapsed
			e.add(v, &v.average)
		}
	}
	plain := views[0]
	e.add(plain, &e.naive)
	e.addAgain(plain, lengths)
	if e.addETS(plain, lengths, false) && e.zeros == 0 {
		e.addETS(plain, lengths, true)
	}
	if e.zeros > intermittent {
		e.add(plain, &e.tsb)
		e.add(plain, &e.sba)
	}
}

// addAgain adds the seasonal naive of each length of which there are two cycles.
func (e *engine) addAgain(plain *view, lengths []int) bool {
	e.again = e.again[:0]
	for _, m := range lengths {
		if len(e.y) >= 2*m {
			e.again = append(e.again, again{length: m})
		}
	}
	for i := range e.again {
		e.add(plain, &e.again[i])
	}
	return len(e.again) > 0
}

// addETS adds the seasonal state space method, if there is a season for it.
func (e *engine) addETS(plain *view, lengths []int, times bool) bool {
	if len(lengths) == 0 || lengths[0] < 2 || lengths[0] > longestState || len(e.y) < 3*lengths[0] {
		return false
	}
	m := &e.ets[0]
	if times {
		m = &e.ets[1]
	}
	m.length, m.times = lengths[0], times
	e.add(plain, m)
	return true
}

// deepest gives the view with the most of the given cycles.
func (e *engine) deepest(lengths []int) *view {
	for k := len(lengths); ; k-- {
		if v, ok := e.view(false, lengths[:k]); ok {
			return v
		}
	}
}

// single runs one method that was asked for. Where the series does not have what
// it needs, the nearest one that can do without it runs.
func (e *engine) single(method Method, lengths []int, elapsed int) {
	plain, _ := e.view(false, nil)
	short := lengths[:min(1, len(lengths))]
	switch method {
	case Naive:
		e.add(plain, &e.naive)
	case SeasonalNaive:
		if !e.addAgain(plain, short) {
			e.add(plain, &e.naive)
		}
	case MovingAverage:
		plain.average.window, plain.average.method = averageDays, MovingAverage
		e.add(plain, &plain.average)
	case TSB:
		e.add(plain, &e.tsb)
	case SBA:
		e.add(plain, &e.sba)
	case ETS:
		if !e.addETS(plain, lengths, false) {
			e.add(plain, &plain.holt)
		}
	case SeasonalDecomposition:
		v := e.deepest(lengths)
		e.add(v, &v.ses)
		e.add(v, &v.holt)
	default:
		e.adjusted(method, e.deepest(short), lengths, elapsed)
	}
}

// adjusted runs a method on the series less its short season.
func (e *engine) adjusted(method Method, v *view, lengths []int, elapsed int) {
	switch method {
	case LinearRegression:
		v.line.window = lineDays
		e.add(v, &v.line)
	case ExponentialSmoothing:
		e.add(v, &v.ses)
		e.add(v, &v.holt)
		e.addETS(e.views[0], lengths, false)
	case WeekdayProfile:
		e.add(v, &v.medians)
	case DampedHolt:
		e.add(v, &v.holt)
	case Theta:
		e.add(v, &v.theta)
	case Pacing:
		v.average.window, v.average.method = max(1, min(elapsed, maxPace)), Pacing
		e.add(v, &v.average)
	default:
		e.add(v, &v.ses)
	}
}
