package watch

import (
	"context"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

// MaxLater is how many further periods can be asked for.
const MaxLater = 12

// Request asks for forecasts of one licence. Of its active thresholds, all or
// those that the fields name; a licence that has none of these, and a request
// that names a period type, get one of the usage type and period type.
type Request struct {
	LicenseID   string
	ThresholdID string
	UsageType   string            // a slug or "all"; empty: any threshold's, else "all"
	PeriodType  usance.PeriodType // empty: any threshold's, else monthly
	Confidence  float64           // of the bounds, above 0 and below 1; 0.8 when 0
	Method      forecast.Method   // AUTO when empty
	Later       int               // periods after the current one, up to MaxLater
	Limits      bool              // thresholds may be shown
	// Check, when set, is asked in the snapshot that the answer comes from.
	Check func(ctx context.Context, v usance.View, licenseID string) error
}

// Answer is what is expected of a licence.
type Answer struct {
	LicenseID string        `json:"licenseId"`
	Timezone  string        `json:"timezone"`
	Forecasts []Expected    `json:"forecasts"`
	Unknown   []NotForecast `json:"unknown"` // what could not be forecast, and why
}

// Expected is a forecast, day by day and beyond its period.
type Expected struct {
	usance.Forecast
	// Members are the methods that AUTO weighed.
	Members []forecast.Member `json:"members,omitempty"`
	Path    []DayForecast     `json:"path"` // from today on, whole days
	Later   []LaterPeriod     `json:"later,omitempty"`
}

// DayForecast is what a day is expected to bring.
type DayForecast struct {
	Date      usance.Date       `json:"date"`
	Median    int64             `json:"median"`
	Intervals []usance.Interval `json:"intervals"`
}

// LaterPeriod is what a later period is expected to come to.
type LaterPeriod struct {
	PeriodStart       usance.Date       `json:"periodStart"`
	PeriodEnd         usance.Date       `json:"periodEnd"` // exclusive
	PredictedQuantity int64             `json:"predictedQuantity"`
	Intervals         []usance.Interval `json:"intervals"`
	Limit             *usance.Passing   `json:"limit,omitempty"`
	LimitWithGrace    *usance.Passing   `json:"limitWithGrace,omitempty"`
}

// NotForecast is a question that has no answer.
type NotForecast struct {
	ThresholdID string            `json:"thresholdId,omitempty"`
	UsageType   string            `json:"usageType"`
	PeriodType  usance.PeriodType `json:"periodType"`
	// Status is INSUFFICIENT_DATA: no day of the licence is known yet; NOT_IN_FORCE:
	// the licence or the threshold has ended, or has not begun.
	Status string `json:"status"`
}

// What NotForecast.Status says.
const (
	InsufficientData = string(forecast.StatusInsufficientData)
	NotInForce       = "NOT_IN_FORCE"
)

// Forecast makes forecasts of a licence as of now. Those made with AUTO and bounds
// of 0.8 are kept, in the place of what was made today; the answer to any other
// question is not, and its ids name nothing that is kept.
func (w *Watch) Forecast(ctx context.Context, r Request) (out Answer, err error) {
	if err := r.check(); err != nil {
		return out, err
	}
	prior, err := w.prior(ctx)
	if err != nil {
		return out, err
	}
	now := w.now()
	var u *usage
	var questions []asked
	var known bool
	err = w.store.View(ctx, func(v usance.View) error {
		if r.Check != nil {
			if err := r.Check(ctx, v, r.LicenseID); err != nil {
				return err
			}
		}
		l, err := v.License(ctx, r.LicenseID)
		if err != nil {
			return err
		}
		facts, err := v.Facts(ctx, []string{r.LicenseID})
		if err != nil {
			return err
		}
		if facts[0].Fault != nil {
			return facts[0].Fault
		}
		if questions, err = r.questions(facts); err != nil {
			return err
		}
		known = watched(&l)
		u, err = readUsage(ctx, v, l, now, usance.MinDate, facts[0].Thresholds)
		return err
	})
	if err != nil {
		return out, err
	}
	out = Answer{LicenseID: r.LicenseID, Timezone: u.license.Timezone, Forecasts: []Expected{}, Unknown: []NotForecast{}}
	f := w.forecasters.Get().(*forecast.Forecaster)
	defer w.forecasters.Put(f)
	for _, q := range questions {
		row, whole, ok := usance.Forecast{}, forecast.Forecast{}, false
		if known && q.from <= u.today {
			if row, whole, ok, err = u.answer(f, q.question, prior, now); err != nil {
				return out, err
			}
		}
		if !ok {
			no := NotForecast{ThresholdID: q.threshold, UsageType: q.usageType, PeriodType: q.periodType, Status: NotInForce}
			if whole.Status == forecast.StatusInsufficientData {
				no.Status = InsufficientData
			}
			out.Unknown = append(out.Unknown, no)
			continue
		}
		out.Forecasts = append(out.Forecasts, expected(row, whole))
	}
	if r.whatIf() {
		return out, nil
	}
	return out, w.keep(ctx, r.LicenseID, out.Forecasts)
}

// whatIf tells whether the request asks for another method or other bounds than
// the night's forecasts have. Alerts and scores rest on the forecasts that are
// kept: a question must not change what they say.
func (r *Request) whatIf() bool {
	return r.Method != "" && r.Method != forecast.Auto || r.Confidence != defaultConfidence
}

// keep writes forecasts and gives each the id that it is kept under: that of the
// one made earlier today.
func (w *Watch) keep(ctx context.Context, licenseID string, list []Expected) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([]usance.Forecast, len(list))
	for i := range list {
		rows[i] = list[i].Forecast
	}
	err := w.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.PutForecasts(ctx, rows); err != nil {
			return err
		}
		kept, _, err := tx.Forecasts(ctx, usance.ForecastFilter{LicenseID: licenseID, Latest: true}, usance.Page{Limit: 1000})
		for i := range list {
			f := &list[i].Forecast
			for _, k := range kept {
				if k.ThresholdID == f.ThresholdID && k.UsageType == f.UsageType && k.ForecastDate == f.ForecastDate &&
					k.PeriodStart == f.PeriodStart && k.PeriodEnd == f.PeriodEnd {
					f.ID = k.ID
				}
			}
		}
		return err
	})
	if err == nil {
		w.m.made.Add(float64(len(list)))
	}
	return err
}

func (r *Request) check() error {
	if r.UsageType != "" && r.UsageType != usance.AllTypes {
		if err := usance.ValidateUsageType(r.UsageType); err != nil {
			return err
		}
	}
	if r.PeriodType != "" {
		if err := usance.ValidateWord("periodType", r.PeriodType, usance.PeriodTypes); err != nil {
			return err
		}
	}
	if r.Confidence == 0 {
		r.Confidence = defaultConfidence
	}
	if !(r.Confidence >= 0.01 && r.Confidence <= 0.99) {
		return usance.Invalid("confidencePercent", "must be from 1 to 99")
	}
	if r.Later < 0 || r.Later > MaxLater {
		return usance.Invalid("later", "must be from 0 to %d", MaxLater)
	}
	if r.Method != "" {
		return usance.ValidateWord("method", r.Method, forecast.Methods())
	}
	return nil
}

// asked is a question that has a meaning from a day on.
type asked struct {
	question
	from usance.Date
}

func (r *Request) questions(facts []usance.Facts) (out []asked, err error) {
	if len(facts) == 0 {
		return nil, usance.LicenseNotFound(r.LicenseID)
	}
	for i := range facts[0].Thresholds {
		t := &facts[0].Thresholds[i]
		if !r.Limits || !t.IsActive || r.ThresholdID != "" && t.ID != r.ThresholdID ||
			r.UsageType != "" && t.UsageType != r.UsageType || r.PeriodType != "" && t.PeriodType != r.PeriodType {
			continue
		}
		q := ofThreshold(t)
		q.confidence, q.method, q.later = r.Confidence, r.Method, r.Later
		out = append(out, asked{q, t.EffectiveFrom})
	}
	if len(out) > 0 {
		return out, nil
	}
	if r.ThresholdID != "" {
		return nil, usance.NewError(usance.CodeNotFound, "no active threshold %q of that licence, usage type and period type; check the id", usance.Clip(r.ThresholdID))
	}
	q := question{usageType: r.UsageType, periodType: r.PeriodType, confidence: r.Confidence, method: r.Method, later: r.Later}
	if q.usageType == "" {
		q.usageType = usance.AllTypes
	}
	if q.periodType == "" {
		q.periodType = usance.PeriodMonthly
	}
	return []asked{{q, usance.MinDate}}, nil
}

func expected(row usance.Forecast, f forecast.Forecast) Expected {
	out := Expected{Forecast: row, Members: f.Members, Path: make([]DayForecast, len(f.Path))}
	for i, d := range f.Path {
		out.Path[i] = DayForecast{d.Date, units(d.Median), intervals(d.Bands)}
	}
	for _, p := range f.Periods[1:] {
		later := LaterPeriod{PeriodStart: p.Period.Start, PeriodEnd: p.Period.End, PredictedQuantity: units(p.Median), Intervals: intervals(p.Bands)}
		if len(p.Limits) > 0 {
			later.Limit, later.LimitWithGrace = &p.Limits[0].Plain, &p.Limits[0].WithGrace
		}
		out.Later = append(out.Later, later)
	}
	return out
}

func intervals(bands []forecast.Band) []usance.Interval {
	out := make([]usance.Interval, len(bands))
	for i, b := range bands {
		out[i] = usance.Interval{Level: b.Level, Lower: units(b.Lower), Upper: units(b.Upper)}
	}
	return out
}
