package usance

import (
	"context"
	"math"
	"time"
)

// Forecast is what the usage of a period is expected to come to, as of a local
// day of the licence: most often a threshold's current period.
type Forecast struct {
	ID            ID         `json:"id"`
	LicenseID     string     `json:"licenseId"`
	ThresholdID   string     `json:"thresholdId,omitempty"` // none: of no threshold
	UsageType     string     `json:"usageType"`             // a slug, or "all"
	PeriodType    PeriodType `json:"periodType"`
	ForecastDate  Date       `json:"forecastDate"` // the local day it was made on; the days before were known
	PeriodStart   Date       `json:"periodStart"`
	PeriodEnd     Date       `json:"periodEnd"` // exclusive
	LimitQuantity int64      `json:"limitQuantity,omitempty"`
	// LimitWithGrace is 0 without a threshold, as LimitQuantity is.
	LimitWithGrace int64 `json:"limitWithGrace,omitempty"`

	UsedQuantity      int64   `json:"usedQuantity"`      // what was known of the total
	PredictedQuantity int64   `json:"predictedQuantity"` // the total's median
	LowerBound        int64   `json:"lowerBound"`
	UpperBound        int64   `json:"upperBound"`
	ConfidenceLevel   float64 `json:"confidenceLevel"` // share of totals between the bounds, 0 to 1
	// The first day by which the limit is passed with a probability of a half,
	// and the probability that it is passed within the period.
	PredictedBreachDate *Date    `json:"predictedBreachDate,omitempty"`
	BreachProbability   *float64 `json:"breachProbability,omitempty"`
	Outlook             Outlook  `json:"outlook"`

	Status             ForecastStatus `json:"status"`
	ForecastingMethod  string         `json:"forecastingMethod"`
	HistoricalDaysUsed int            `json:"historicalDaysUsed"`
	// Of the backtest, where the history allows one: units that a day was off,
	// and 1 less what the sum of the days was off as a share of it, 0 at least.
	MeanAbsoluteError *float64  `json:"meanAbsoluteError,omitempty"`
	AccuracyScore     *float64  `json:"accuracyScore,omitempty"`
	NaiveError        *float64  `json:"-"` // units that "the same as so many days before" was off on average
	CalculatedAt      time.Time `json:"calculatedAt"`

	Score *ForecastScore `json:"score,omitempty"` // once the period has closed
}

// ForecastStatus says what a forecast rests on.
type ForecastStatus string

// The statuses of a forecast that is kept.
const (
	ForecastOK     ForecastStatus = "OK"     // the licence's own history
	ForecastPooled ForecastStatus = "POOLED" // under 14 days of it: other licences', too
)

// ForecastStatuses are all of them.
var ForecastStatuses = []ForecastStatus{ForecastOK, ForecastPooled}

// Outlook is the rest of what a forecast says.
type Outlook struct {
	Intervals      []Interval `json:"intervals,omitempty"`
	Limit          *Passing   `json:"limit,omitempty"`
	LimitWithGrace *Passing   `json:"limitWithGrace,omitempty"`
	// Through is the day after the last one forecast, where that is not the
	// period's end: the licence ends before, or the period is too long.
	Through *Date `json:"through,omitempty"`
}

// Interval holds the total with the probability Level.
type Interval struct {
	Level float64 `json:"level"`
	Lower int64   `json:"lower"`
	Upper int64   `json:"upper"`
}

// Passing is the passing of a quantity within a period. The dates are the first
// by which it is passed with probability 10, 50 and 90 %, nil where that is not
// reached; when it was passed already, all are that day.
type Passing struct {
	Probability float64 `json:"probability"`
	Early       *Date   `json:"early,omitempty"`
	Median      *Date   `json:"median,omitempty"`
	Late        *Date   `json:"late,omitempty"`
}

// ForecastScore is how a forecast compares with what its period came to.
type ForecastScore struct {
	ScoredAt       time.Time `json:"scoredAt"`
	ActualQuantity int64     `json:"actualQuantity"`
	AbsoluteError  int64     `json:"absoluteError"` // of the median, in units
	// ScaledError is AbsoluteError over that of the naive forecast, on average
	// over the history: below 1 is better. Nil where that is unknown or 0.
	ScaledError *float64 `json:"scaledError,omitempty"`
	PinballLoss float64  `json:"pinballLoss"` // mean over bounds and median, in units
	Covered     bool     `json:"covered"`     // the total lies within the bounds
	// BrierScore is the squared error of BreachProbability, 0 to 1.
	Breached   *bool    `json:"breached,omitempty"`
	BrierScore *float64 `json:"brierScore,omitempty"`
}

// Key names the forecast.
func (f *Forecast) Key() ForecastKey { return ForecastKey{f.PeriodEnd, f.LicenseID, f.ID} }

// Against scores the forecast by what was used in its period.
func (f *Forecast) Against(actual int64, at time.Time) ForecastScore {
	return f.against(actual, false, at)
}

// AgainstHeld scores the forecast of a period in which a hard limit was reached:
// how much more than actual would have been used, nobody knows. So what was
// forecast above it is taken for right, and the limit for passed.
func (f *Forecast) AgainstHeld(actual int64, at time.Time) ForecastScore {
	return f.against(actual, true, at)
}

// AgainstCut scores the forecast of a period in a part of which the licence counted no
// usage: more than actual might have been used otherwise. So what was forecast above it
// is taken for right, and whether the limit was passed is told only if it was.
func (f *Forecast) AgainstCut(actual int64, at time.Time) ForecastScore {
	s := f.against(actual, true, at)
	if actual <= f.LimitQuantity {
		s.Breached, s.BrierScore = nil, nil
	}
	return s
}

func (f *Forecast) against(actual int64, held bool, at time.Time) ForecastScore {
	lower, median, upper := f.LowerBound, f.PredictedQuantity, f.UpperBound
	if held {
		lower, median, upper = min(lower, actual), min(median, actual), min(upper, actual)
	}
	s := ForecastScore{ScoredAt: at, ActualQuantity: actual, AbsoluteError: actual - median}
	s.AbsoluteError = max(s.AbsoluteError, -s.AbsoluteError)
	if f.NaiveError != nil && *f.NaiveError > 0 {
		v := float64(s.AbsoluteError) / *f.NaiveError
		s.ScaledError = &v
	}
	tail := (1 - f.ConfidenceLevel) / 2
	s.PinballLoss = (pinball(actual, lower, tail) + pinball(actual, median, 0.5) + pinball(actual, upper, 1-tail)) / 3
	s.Covered = lower <= actual && actual <= upper
	if f.BreachProbability != nil {
		breached := held || actual > f.LimitQuantity
		happened := 0.0
		if breached {
			happened = 1
		}
		brier := math.Pow(*f.BreachProbability-happened, 2)
		s.Breached, s.BrierScore = &breached, &brier
	}
	return s
}

// pinball is the loss of a quantile q for the probability p (Koenker, Bassett,
// "Regression Quantiles", 1978).
func pinball(actual, q int64, p float64) float64 {
	d := float64(actual - q)
	return max(p*d, (p-1)*d)
}

// ForecastAccuracy is how the forecasts did that were made so many days before
// their period's end.
type ForecastAccuracy struct {
	MinLeadDays int   `json:"minLeadDays"`
	MaxLeadDays int   `json:"maxLeadDays,omitempty"` // inclusive; 0: no bound
	Forecasts   int64 `json:"forecasts"`
	// MeanAbsoluteError is in units; WeightedError is the sum of the absolute
	// errors over the sum of what was used, nil when nothing was.
	MeanAbsoluteError float64  `json:"meanAbsoluteError"`
	WeightedError     *float64 `json:"weightedError,omitempty"`
	MeanScaledError   *float64 `json:"meanScaledError,omitempty"` // MASE: below 1 beats "the same again"
	MeanPinballLoss   float64  `json:"meanPinballLoss"`
	Coverage          float64  `json:"coverage"`        // share of totals within their bounds
	ConfidenceLevel   float64  `json:"confidenceLevel"` // what that should be, on average
	// Of those that had a limit.
	BreachForecasts       int64    `json:"breachForecasts"`
	BrierScore            *float64 `json:"brierScore,omitempty"`
	MeanBreachProbability *float64 `json:"meanBreachProbability,omitempty"`
	BreachRate            *float64 `json:"breachRate,omitempty"` // share that did pass their limit
}

// LeadBuckets are the least numbers of days to a period's end by which
// ForecastAccuracy is told apart.
var LeadBuckets = []int{1, 4, 8, 15, 32}

// ForecastFilter narrows a listing of forecasts; zero fields do not.
type ForecastFilter struct {
	Scope       Scope
	LicenseID   string
	ThresholdID string
	UsageType   string
	Latest      bool // only the newest of each licence, threshold and usage type
}

// AccuracyFilter narrows which scored forecasts are summed up; zero fields do not.
type AccuracyFilter struct {
	Scope     Scope
	LicenseID string
	UsageType string
	From, To  Date // of the period's end, half-open; To 0 means no bound
}

// BreachFilter asks for the newest forecast of each threshold, if it was made
// at MadeSince or later and says that the limit will be passed.
type BreachFilter struct {
	MadeSince      time.Time
	MinProbability float64
	// Within is how many days after the day the forecast was made on, at most,
	// the limit is to be passed; one that was reached by then is left out.
	Within int
}

// ForecastKey names a forecast by licence and id; PeriodEnd is of its place in
// the order of Unscored.
type ForecastKey struct {
	PeriodEnd Date
	LicenseID string
	ID        ID
}

// ScoredForecast is a forecast's score.
type ScoredForecast struct {
	ForecastKey
	ForecastScore
}

// ForecastView reads forecasts.
type ForecastView interface {
	// Forecasts lists newest first (by id, descending).
	Forecasts(ctx context.Context, f ForecastFilter, p Page) ([]Forecast, string, error)
	// Unscored gives forecasts without a score whose period ends by local day
	// `by` at the latest, in key order, at most limit, after the key `after`.
	Unscored(ctx context.Context, by Date, after ForecastKey, limit int) ([]Forecast, error)
	// Breaches gives what the filter asks for, by licence and id, at most limit,
	// after those of `after`.
	Breaches(ctx context.Context, f BreachFilter, after ForecastKey, limit int) ([]Forecast, error)
	// ForecastAccuracy sums scored forecasts up by LeadBuckets, in their order;
	// a bucket without any is left out.
	ForecastAccuracy(ctx context.Context, f AccuracyFilter) ([]ForecastAccuracy, error)
	// JobState gives what a job keeps between its runs under a name; empty when
	// there is nothing.
	JobState(ctx context.Context, name string) (RawJSON, error)
}

// ForecastTx writes forecasts.
type ForecastTx interface {
	// PutForecasts inserts forecasts. One of the same licence, threshold, usage
	// type, period and forecast date takes the place of that which is there,
	// under its id, and has no score.
	PutForecasts(ctx context.Context, rows []Forecast) error
	// ScoreForecasts gives forecasts their scores; those that are not there are
	// left out.
	ScoreForecasts(ctx context.Context, rows []ScoredForecast) error
	// PruneForecasts deletes at most limit forecasts that were scored before the
	// instant, or were made before it of a period that never ends, and tells how many.
	PruneForecasts(ctx context.Context, before time.Time, limit int) (int, error)
	// PutJobState keeps a JSON value for a job under a name.
	PutJobState(ctx context.Context, name string, value RawJSON, at time.Time) error
}
