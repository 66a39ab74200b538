package api

import (
	"context"
	"fmt"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// totalInput is one daily total as it is sent.
type totalInput struct {
	LicenseID    string      `json:"licenseId,omitempty" doc:"The licence; that of the request when left out."`
	Date         usance.Date `json:"date" doc:"A local day of the licence, YYYY-MM-DD, today at the latest."`
	UsageType    string      `json:"usageType" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"The usage type."`
	Quantity     *int64      `json:"quantity" minimum:"0" maximum:"1000000000000" doc:"Units of the whole day; 0 takes an earlier total back."`
	RevenueCents int64       `json:"revenueCents,omitempty" minimum:"0" maximum:"1000000000000" doc:"Revenue of the whole day, in cents."`
	Events       int64       `json:"events,omitempty" minimum:"0" maximum:"1000000000000000" doc:"How many events the total is of; kept as metadata, since a total counts as one."`
	Line         int64       `json:"line,omitempty" minimum:"0" maximum:"1000000000000000" doc:"Where in the source it stands."`
}

type backfillInput struct {
	LicenseID string       `json:"licenseId,omitempty" doc:"The licence of the range, and of totals that name none."`
	StartDate string       `json:"startDate,omitempty" format:"date-or-instant" doc:"First local day to rebuild from raw events."`
	EndDate   string       `json:"endDate,omitempty" format:"date-or-instant" doc:"Last local day to rebuild, inclusive (a timestamp is exclusive)."`
	Totals    []totalInput `json:"totals,omitempty" maxItems:"10000" doc:"Daily totals to count."`
	Source    string       `json:"source,omitempty" maxLength:"255" doc:"Where the totals are from, such as a file. One source that gives two totals for a day is refused the second, which else would correct the first."`
}

// BackfillState is how far a backfill is.
type BackfillState struct {
	usance.Backfill
	Sealed []usance.Date `json:"sealed" doc:"Days that it passed and left alone: their raw events are pruned."`
}

// BackfillAnswer is what a backfill came to so far.
type BackfillAnswer struct {
	Results  []usance.TotalResult `json:"results,omitempty" doc:"Of each total, in order."`
	Backfill *BackfillState       `json:"backfill,omitempty" doc:"Of the range; it goes on behind the answer, see usage.getBackfill."`
}

func (a *api) backfillOperations() []*operation {
	return []*operation{
		op(operation{
			name: "usage.backfillAggregates", kind: isMutation, method: "POST", path: "/v1/backfill", need: access.Recalculate, tag: tagUsage,
			summary: "Count daily totals, or rebuild a long range from raw events",
			detail: "With totals, each is counted as one event of its day; sent again it is a duplicate, and one that differs takes the former's place. " +
				"A day that holds other events, or is closed, refuses it: see each result. With startDate and endDate, the licence's days are rebuilt " +
				"from the stored raw events as usage.recalculateAggregates does it, behind the answer, with a checkpoint that survives restarts; there is one at a time a licence.",
			example: `{"licenseId":"lic_123","totals":[{"date":"2024-10-01","usageType":"view","quantity":1200,"revenueCents":350}]}`,
		}, func(in *backfillInput) target { return target{license: in.LicenseID} }, a.backfill),
		op(operation{
			name: "usage.getBackfill", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/backfill", need: access.Recalculate, tag: tagUsage,
			summary: "How far the licence's last rebuild from raw events is",
			example: `{"licenseId":"lic_123"}`,
		}, (*OfLicense).target, func(ctx context.Context, c *Call, in *OfLicense) (BackfillState, error) {
			b, sealed, err := a.d.Backfill.Status(ctx, in.LicenseID)
			return backfillState(b, sealed), err
		}),
	}
}

func backfillState(b usance.Backfill, sealed []usance.Date) BackfillState {
	if sealed == nil {
		sealed = []usance.Date{}
	}
	return BackfillState{b, sealed}
}

func (a *api) backfill(ctx context.Context, c *Call, in *backfillInput) (out BackfillAnswer, err error) {
	var from, to usance.Date
	ranged := in.StartDate != "" || in.EndDate != ""
	switch {
	case !ranged && len(in.Totals) == 0:
		return out, usance.Invalid("totals", "give daily totals to count, or licenseId, startDate and endDate to rebuild from raw events")
	case ranged && in.LicenseID == "":
		return out, usance.Invalid("licenseId", "is required beside startDate and endDate")
	case ranged:
		if from, to, err = localDays(&c.License, in.StartDate, in.EndDate); err != nil {
			return out, err
		}
	}
	totals := make([]usance.DailyTotal, len(in.Totals))
	if len(totals) > 0 {
		for i, t := range in.Totals {
			if t.Quantity == nil {
				return out, usance.Invalid(fmt.Sprintf("totals[%d].quantity", i), "is required; 0 takes an earlier total of the day back")
			}
			if t.LicenseID == "" {
				t.LicenseID = in.LicenseID
			}
			totals[i] = usance.DailyTotal{
				LicenseID: t.LicenseID, Date: t.Date, UsageType: t.UsageType, Quantity: *t.Quantity, RevenueCents: t.RevenueCents,
				Events: t.Events, Source: in.Source, Line: t.Line,
			}
		}
		if err := a.limits.send(ctx, c.Principal, len(totals)); err != nil {
			return out, err
		}
	}
	if ranged { // first, since it may be refused; what is counted meanwhile is right all the same
		b, err := a.d.Backfill.Start(ctx, in.LicenseID, from, to, c.actor())
		if err != nil {
			return out, err
		}
		state := backfillState(b, nil)
		out.Backfill = &state
	}
	if len(totals) > 0 {
		out.Results, err = a.d.Ingest.Totals(ctx, totals, c.actor())
	}
	return out, err
}
