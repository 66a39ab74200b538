package api

import (
	"context"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/forecast"
	"github.com/usance/usance/forecast/watch"
)

type forecastInput struct {
	OfLicense
	ThresholdID       string            `json:"thresholdId,omitempty" doc:"Only of this threshold; of every active one when left out."`
	UsageType         string            `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"A usage type, or all: only of its thresholds, or, without any, of its usage."`
	PeriodType        usance.PeriodType `json:"periodType,omitempty" doc:"Likewise; monthly where no threshold says."`
	ConfidencePercent int               `json:"confidencePercent,omitempty" minimum:"1" maximum:"99" doc:"How many of a hundred totals lie between lowerBound and upperBound; 80 unless told."`
	Method            forecast.Method   `json:"method,omitempty" doc:"AUTO unless told; see the docs of forecasts."`
	Later             int               `json:"later,omitempty" minimum:"0" maximum:"12" doc:"Further periods after the current one; none unless told."`
}

func (in *forecastInput) target() target {
	return target{license: in.LicenseID, threshold: in.ThresholdID}
}

type forecastsInput struct {
	LicenseID   string `json:"licenseId,omitempty" doc:"Only of this licence."`
	ThresholdID string `json:"thresholdId,omitempty" doc:"Only of this threshold."`
	UsageType   string `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"Only of this usage type, or of all."`
	Latest      bool   `json:"latest,omitempty" doc:"Only the newest of each licence, threshold and usage type."`
	Paging
}

func (in *forecastsInput) target() target {
	return target{license: in.LicenseID, threshold: in.ThresholdID}
}

type accuracyInput struct {
	LicenseID string       `json:"licenseId,omitempty" doc:"Only of this licence."`
	UsageType string       `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"Only of this usage type, or of all."`
	StartDate *usance.Date `json:"startDate,omitempty" doc:"Only periods that ended on this day or later."`
	EndDate   *usance.Date `json:"endDate,omitempty" doc:"Only periods that ended on this day or before."`
}

func (in *accuracyInput) target() target { return target{license: in.LicenseID} }

// Accuracy is how forecasts compare with what their periods came to.
type Accuracy struct {
	ByLead []usance.ForecastAccuracy `json:"byLead" doc:"By the number of days to the period's end when the forecast was made."`
}

func (a *api) forecastOperations() []*operation {
	return []*operation{
		op(operation{
			name: "usage.generateForecast", kind: isMutation, method: "POST", path: "/v1/forecasts", need: access.MakeForecasts, tag: tagForecasts,
			summary: "Forecast a licence's current periods now",
			detail:  "Says what a period is expected to come to, how sure that is, how likely a limit is passed, and when, day by day. Forecasts by AUTO with bounds of 80 % are kept, in the place of what was made earlier on the licence's local day; others, by another method or with other bounds, are answered and not kept; each night the job generateUsageForecasts makes one of every active threshold.",
			example: `{"licenseId":"lic_123","confidencePercent":90}`,
		}, (*forecastInput).target, func(ctx context.Context, c *Call, in *forecastInput) (watch.Answer, error) {
			return a.d.Watch.Forecast(ctx, watch.Request{
				LicenseID: in.LicenseID, ThresholdID: in.ThresholdID, UsageType: in.UsageType, PeriodType: in.PeriodType,
				Confidence: float64(in.ConfidencePercent) / 100, Method: in.Method, Later: in.Later, Limits: c.Principal.May(access.ReadLimits), Check: a.d.Access.Check(c.Principal),
			})
		}),
		op(operation{
			name: "usage.getForecasts", kind: isQuery, method: "GET", path: "/v1/forecasts", need: access.ReadForecasts, tag: tagForecasts,
			summary: "List forecasts, newest first",
			detail:  "With their scores, once their periods have closed. Forecasts are kept for 120 days after that.",
			example: `{"licenseId":"lic_123","latest":true}`,
		}, (*forecastsInput).target, func(ctx context.Context, c *Call, in *forecastsInput) (Page[usance.Forecast], error) {
			f := usance.ForecastFilter{Scope: c.Scope, LicenseID: in.LicenseID, ThresholdID: in.ThresholdID, UsageType: in.UsageType, Latest: in.Latest}
			return listed(ctx, a, func(v usance.View) ([]usance.Forecast, string, error) { return v.Forecasts(ctx, f, in.page()) })
		}),
		op(operation{
			name: "usage.getForecastAccuracy", kind: isQuery, method: "GET", path: "/v1/forecasts/accuracy", need: access.ReadForecasts, tag: tagForecasts,
			summary: "How good the forecasts were",
			detail:  "Of the forecasts whose periods have closed and that the caller sees: errors, how often totals lay within their bounds, and how right the probabilities of passing a limit were.",
			example: `{"licenseId":"lic_123"}`,
		}, (*accuracyInput).target, func(ctx context.Context, c *Call, in *accuracyInput) (out Accuracy, err error) {
			f := usance.AccuracyFilter{Scope: c.Scope, LicenseID: in.LicenseID, UsageType: in.UsageType}
			// A period's end is the day after its last one.
			if in.StartDate != nil {
				f.From = in.StartDate.AddDays(1)
			}
			if in.EndDate != nil {
				if f.To = in.EndDate.AddDays(2); f.To <= f.From {
					return out, usance.Invalid("endDate", "must not lie before startDate")
				}
			}
			err = a.d.Store.View(ctx, func(v usance.View) error {
				out.ByLead, err = v.ForecastAccuracy(ctx, f)
				return err
			})
			return out, err
		}),
	}
}
