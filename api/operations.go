package api

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/query"
)

// The chapters of the docs.
const (
	tagEvents    = "Events"
	tagUsage     = "Usage"
	tagLimits    = "Thresholds and alerts"
	tagForecasts = "Forecasts"
	tagBilling   = "Overages"
	tagCatalog   = "Catalog"
	tagAdmin     = "Administration"
)

// operations is the table.
func (a *api) operations() []*operation {
	return slices.Concat(a.eventOperations(), a.usageOperations(), a.backfillOperations(), a.limitOperations(), a.forecastOperations(),
		a.overageOperations(), a.catalogOperations(), a.adminOperations())
}

// Page is one page of a listing.
type Page[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"nextCursor,omitempty" doc:"Give it as cursor for the next page; absent on the last."`
}

// Paging is embedded by the inputs of listings.
type Paging struct {
	Cursor string `json:"cursor,omitempty" doc:"nextCursor of the page before; empty for the first."`
	Limit  int    `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"Rows of a page; 100 unless told."`
}

func (p Paging) page() usance.Page {
	out := usance.Page{Cursor: p.Cursor, Limit: p.Limit}
	if out.Limit == 0 {
		out.Limit = 100
	}
	return out
}

// listed reads one page in a snapshot of its own.
func listed[T any](ctx context.Context, a *api, read func(v usance.View) ([]T, string, error)) (out Page[T], err error) {
	err = a.d.Store.View(ctx, func(v usance.View) (err error) {
		out.Data, out.NextCursor, err = read(v)
		return err
	})
	return out, err
}

// OfLicense is the input of what is about one licence and nothing else.
type OfLicense struct {
	LicenseID string `json:"licenseId" doc:"The licence's id."`
}

func (in *OfLicense) target() target { return target{license: in.LicenseID} }

// SchemaState is what of the database is not as it must be.
type SchemaState struct {
	Faults []usance.SchemaFault `json:"faults" doc:"Empty when all is there."`
}

func (a *api) eventOperations() []*operation {
	return []*operation{
		op(operation{
			name: "usage.trackEvent", aliases: []string{"usage.trackUsageEvent"}, kind: isMutation, need: access.Track, tag: tagEvents,
			summary: "Count one event",
			detail:  "Over REST this is POST /v1/events. A refusal is in the result (status and error), with HTTP 200; only input that breaks a rule is an error. A retry with the same idempotencyKey and payload gets the first answer again, with duplicate: true.",
			docIn:   typeOf[EventInput](), decode: decodeOne, example: exampleEvent,
		}, nil, func(ctx context.Context, c *Call, in *batch) (usance.Result, error) {
			return a.trackOne(ctx, c.Principal, in)
		}),
		op(operation{
			name: "usage.trackBatch", kind: isMutation, need: access.Track, tag: tagEvents,
			summary: "Count up to 10,000 events",
			detail:  "Over REST this is POST /v1/events with an array, or with {\"events\": […], \"atomic\": true}. Events are judged in order, each on its own. With atomic, any refusal aborts all, and the error CONFLICT holds every result.",
			docIn:   typeOf[BatchInput](), decode: decodeBatch, example: `{"events":[` + exampleEvent + `],"atomic":false}`,
		}, nil, func(ctx context.Context, c *Call, in *batch) (BatchResult, error) {
			results, err := a.track(ctx, c.Principal, in)
			return BatchResult{Results: results}, err
		}),
		op(operation{
			name: "usage.voidEvent", kind: isMutation, method: "POST", path: "/v1/events/void", need: access.Void, tag: tagEvents,
			summary: "Take a counted event back",
			detail:  "The event stays and a void with its signs turned is counted at the same place. It happens once; asking again answers the same as a duplicate. Name the event by eventId or by idempotencyKey.",
			example: `{"licenseId":"lic_123","idempotencyKey":"view-2024-10-12-0001","reason":"sent by mistake"}`,
		}, (*voidInput).target, a.voidEvent),
		op(operation{
			name: "usage.checkUsage", kind: isQuery, method: "POST", path: "/v1/check", need: access.Check, tag: tagEvents,
			summary: "Ask whether so many more units would fit",
			detail:  "Records nothing and holds no place: only an event does.",
			example: `{"licenseId":"lic_123","usageType":"view","quantity":10}`,
		}, (*checkInput).target, a.checkUsage),
		op(operation{
			name: "usage.selfTest", kind: isMutation, method: "POST", path: "/v1/self-test", need: access.ManageJobs, tag: tagEvents,
			summary: "Count a test event, and take it back",
			detail:  "The event goes the whole way of every event in one transaction that is rolled back: nothing of it is kept.",
			example: `{}`,
		}, nil, func(ctx context.Context, _ *Call, _ *none) (none, error) { return none{}, a.d.Ingest.SelfTest(ctx) }),
		op(operation{
			name: "usage.checkSchema", kind: isQuery, method: "GET", path: "/v1/schema", need: access.ReadAll, tag: tagAdmin,
			summary: "Compare the database's tables, views and indexes with those that it must have",
			detail:  "Names what is missing, or is another one, and the statement or migration that makes it again. Changes nothing.",
			example: `{}`,
		}, nil, func(ctx context.Context, _ *Call, _ *none) (out SchemaState, err error) {
			out.Faults, err = a.d.Store.CheckSchema(ctx)
			return out, err
		}),
		op(operation{
			name: "usage.listEvents", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/events", need: access.ReadEvents, tag: tagEvents,
			summary: "List counted events and voids",
			detail:  "Newest local day first, within it newest received first.",
			example: `{"licenseId":"lic_123","usageType":"view","limit":50}`,
		}, (*eventsInput).target, func(ctx context.Context, c *Call, in *eventsInput) (Page[usance.Event], error) {
			f, err := in.filter()
			if err != nil {
				return Page[usance.Event]{}, err
			}
			return listed(ctx, a, func(v usance.View) ([]usance.Event, string, error) { return v.Events(ctx, f, in.page()) })
		}),
		op(operation{
			name: "usage.listEvidence", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/evidence", need: access.ReadEvents, tag: tagEvents,
			summary: "List attempts that were not counted",
			detail:  "One row per idempotency key, with the number of attempts; latest attempt first.",
			example: `{"licenseId":"lic_123","status":"BLOCKED"}`,
		}, (*eventsInput).target, func(ctx context.Context, c *Call, in *eventsInput) (Page[usance.Evidence], error) {
			f, err := in.filter()
			if err != nil {
				return Page[usance.Evidence]{}, err
			}
			return listed(ctx, a, func(v usance.View) ([]usance.Evidence, string, error) { return v.Evidence(ctx, f, in.page()) })
		}),
	}
}

const exampleEvent = `{"licenseId":"lic_123","usageType":"view","quantity":1,"platform":"web","deviceType":"desktop","idempotencyKey":"view-2024-10-12-0001"}`

// EventInput is an event as clients send it. It documents what the decoder in
// events.go reads.
type EventInput struct {
	LicenseID          string         `json:"licenseId" doc:"The licence under which the use happened."`
	UsageType          string         `json:"usageType" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"view, download, impression, click, play, stream, print, custom, or any slug of your own."`
	Quantity           int64          `json:"quantity,omitempty" minimum:"1" maximum:"1000000000000" default:"1" doc:"Units; a whole number in digits."`
	OccurredAt         time.Time      `json:"occurredAt,omitzero" doc:"RFC 3339 with any offset, kept to the microsecond; at most five minutes ahead. The server's clock when left out."`
	Platform           platform       `json:"platform,omitempty"`
	DeviceType         deviceType     `json:"deviceType,omitempty"`
	GeographicLocation string         `json:"geographicLocation,omitempty" maxLength:"100" doc:"Country, region or place, as you name them."`
	Referrer           string         `json:"referrer,omitempty" maxLength:"2048" doc:"Where the use came from; its host is the source in breakdowns."`
	SessionID          string         `json:"sessionId,omitempty" maxLength:"255" doc:"Kept as a keyed hash only, for unique sessions."`
	RevenueCents       int64          `json:"revenueCents,omitempty" minimum:"0" maximum:"1000000000000" doc:"Revenue that the use brought, in cents."`
	Metadata           map[string]any `json:"metadata,omitempty" doc:"An object of your own, at most 8 KiB of JSON."`
	IdempotencyKey     string         `json:"idempotencyKey,omitempty" maxLength:"255" doc:"Makes a retry safe: within the licence a key counts once. Made and returned when left out."`
}

// BatchInput is many events.
type BatchInput struct {
	Events []EventInput `json:"events" maxItems:"10000"`
	Atomic bool         `json:"atomic,omitempty" doc:"Count all or none."`
}

// BatchResult is what became of each event of a batch, in its order.
type BatchResult struct {
	Results []usance.Result `json:"results"`
}

func decodeOne(v jsontext.Value) (any, error) {
	e, refused, err := decodeEvent(v)
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return &batch{events: []usance.Event{e}}, nil
}

func decodeBatch(v jsontext.Value) (any, error) {
	b, err := decodeEvents(v)
	if err == nil && b.form == oneEvent {
		err = usance.Invalid("events", "is required: an array of events")
	}
	return b, err
}

type eventsInput struct {
	OfLicense
	UsageType string             `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"Only this usage type."`
	StartDate *usance.Date       `json:"startDate,omitempty" doc:"First local day."`
	EndDate   *usance.Date       `json:"endDate,omitempty" doc:"Last local day, inclusive."`
	Status    usance.EventStatus `json:"status,omitempty" doc:"COUNTED or VOIDED of events; BLOCKED, OUT_OF_TERM or REFUSED of evidence."`
	Paging
}

func (in *eventsInput) filter() (usance.EventFilter, error) {
	f := usance.EventFilter{LicenseID: in.LicenseID, UsageType: in.UsageType, Status: in.Status}
	if f.UsageType == usance.AllTypes {
		f.UsageType = "" // as in all questions about usage
	}
	if in.StartDate != nil {
		f.From = *in.StartDate
	}
	if in.EndDate != nil {
		f.To = in.EndDate.AddDays(1)
		if in.StartDate != nil && f.To <= f.From {
			return f, usance.Invalid("endDate", "must not lie before startDate")
		}
	}
	return f, nil
}

// UsageRange is what questions about a range of usage have in common.
type UsageRange struct {
	OfLicense
	UsageType  string   `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"One usage type; all when neither this nor usageTypes is given."`
	UsageTypes []string `json:"usageTypes,omitempty" doc:"Several usage types."`
	StartDate  string   `json:"startDate,omitempty" format:"date-or-instant" doc:"A local date YYYY-MM-DD of the licence, or an RFC 3339 timestamp on a whole hour; 30 days before the end when left out."`
	EndDate    string   `json:"endDate,omitempty" format:"date-or-instant" doc:"A local date, inclusive, or a timestamp, exclusive; today when left out."`
}

func (in *UsageRange) types() []string {
	if in.UsageType == "" {
		return in.UsageTypes
	}
	return append(slices.Clone(in.UsageTypes), in.UsageType)
}

type analyticsInput struct {
	UsageRange
	Granularity     query.Granularity `json:"granularity,omitempty" doc:"Length of the buckets; daily unless told."`
	ComparePrevious *bool             `json:"comparePrevious,omitempty" doc:"Compare with the range of equal length before; true unless told."`
	Top             int               `json:"top,omitempty" minimum:"1" maximum:"100" doc:"Values of each top list; 10 unless told."`
}

type breakdownInput struct {
	UsageRange
	Dimensions []usance.Dimension `json:"dimensions,omitempty" doc:"All that are known for the range when left out."`
	Limit      int                `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"Values of each dimension; 50 unless told."`
}

type compareInput struct {
	UsageRange
	PreviousStartDate string `json:"previousStartDate,omitempty" format:"date-or-instant" doc:"The range to compare with; the one of equal length before when left out."`
	PreviousEndDate   string `json:"previousEndDate,omitempty" format:"date-or-instant"`
}

type currentInput struct {
	OfLicense
	UsageType string `json:"usageType,omitempty" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"One usage type; all when left out."`
}

type dailyInput struct {
	OfLicense
	StartDate string `json:"startDate,omitempty" doc:"First local date; 30 days before the end when left out."`
	EndDate   string `json:"endDate,omitempty" doc:"Last local date, inclusive; today when left out."`
}

type recalculateInput struct {
	OfLicense
	StartDate string `json:"startDate" format:"date-or-instant" doc:"First local day."`
	EndDate   string `json:"endDate" format:"date-or-instant" doc:"Last local day, inclusive (a timestamp is exclusive)."`
}

type booksInput struct {
	Days int  `json:"days,omitempty" minimum:"1" maximum:"3660" doc:"Local days back, today included; 35 unless told."`
	All  bool `json:"all,omitempty" doc:"All days whose raw events are kept, instead."`
	Paging
}

// viewer is the caller of a question about usage. Whether it sees the licence is
// asked again in the snapshot that the answer is made of: a creator may have
// lost its share since.
func (a *api) viewer(c *Call) query.Viewer {
	return query.Viewer{Key: c.Principal.Viewer(), NoLimits: access.Authorize(c.Principal, access.ReadLimits), Check: a.d.Access.Check(c.Principal)}
}

func (a *api) usageOperations() []*operation {
	return []*operation{
		op(operation{
			name: "usage.getCurrentUsage", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/usage", need: access.ReadUsage, tag: tagUsage,
			summary: "What is used today, in the current billing month, and in all",
			detail:  "Always live: it holds every event that was acknowledged before the question.",
			example: `{"licenseId":"lic_123"}`,
		}, (*currentInput).target, func(ctx context.Context, c *Call, in *currentInput) (query.CurrentUsage, error) {
			return a.d.Query.CurrentUsage(ctx, query.CurrentRequest{Viewer: a.viewer(c), LicenseID: in.LicenseID, UsageType: in.UsageType})
		}),
		op(operation{
			name: "usage.getUsageBreakdown", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/breakdown", need: access.ReadUsage, tag: tagUsage,
			summary: "Usage by hour, platform, device, geography and source",
			example: `{"licenseId":"lic_123","startDate":"2024-10-01","endDate":"2024-10-31","dimensions":["platform","device"]}`,
		}, (*breakdownInput).target, func(ctx context.Context, c *Call, in *breakdownInput) (query.UsageBreakdown, error) {
			return a.d.Query.Breakdown(ctx, query.BreakdownRequest{
				Viewer: a.viewer(c), LicenseID: in.LicenseID, UsageTypes: in.types(), StartDate: in.StartDate, EndDate: in.EndDate,
				Dimensions: in.Dimensions, Limit: in.Limit,
			})
		}),
		op(operation{
			name: "usage.getAnalytics", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/analytics", need: access.ReadUsage, tag: tagUsage,
			summary: "Usage over time: buckets, trends, top values, comparison",
			example: `{"licenseId":"lic_123","startDate":"2024-10-01","endDate":"2024-10-31","granularity":"daily"}`,
		}, (*analyticsInput).target, func(ctx context.Context, c *Call, in *analyticsInput) (query.Analytics, error) {
			return a.d.Query.Analytics(ctx, query.AnalyticsRequest{
				Viewer: a.viewer(c), LicenseID: in.LicenseID, UsageTypes: in.types(), StartDate: in.StartDate, EndDate: in.EndDate,
				Granularity: in.Granularity, ComparePrevious: in.ComparePrevious, Top: in.Top,
			})
		}),
		op(operation{
			name: "usage.comparePeriods", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/compare", need: access.ReadUsage, tag: tagUsage,
			summary: "Two ranges side by side",
			example: `{"licenseId":"lic_123","startDate":"2024-10-01","endDate":"2024-10-31"}`,
		}, (*compareInput).target, func(ctx context.Context, c *Call, in *compareInput) (query.PeriodComparison, error) {
			return a.d.Query.ComparePeriods(ctx, query.CompareRequest{
				Viewer: a.viewer(c), LicenseID: in.LicenseID, UsageTypes: in.types(), StartDate: in.StartDate, EndDate: in.EndDate,
				PreviousStartDate: in.PreviousStartDate, PreviousEndDate: in.PreviousEndDate,
			})
		}),
		op(operation{
			name: "usage.getDailyAggregates", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/daily", need: access.ReadUsage, tag: tagUsage,
			summary: "A row for each local day on which anything was counted",
			example: `{"licenseId":"lic_123","startDate":"2024-10-01","endDate":"2024-10-31"}`,
		}, (*dailyInput).target, func(ctx context.Context, c *Call, in *dailyInput) (query.DailyUsage, error) {
			return a.d.Query.DailyAggregates(ctx, query.DailyRequest{Viewer: a.viewer(c), LicenseID: in.LicenseID, StartDate: in.StartDate, EndDate: in.EndDate})
		}),
		op(operation{
			name: "usage.recalculateAggregates", kind: isMutation, method: "POST", path: "/v1/recalculate", need: access.Recalculate, tag: tagUsage,
			summary: "Recompute daily aggregates and counters from raw events",
			detail:  "Adds only differences, so usage goes on meanwhile. Days whose raw events were pruned are sealed: they are skipped and listed. Answered at the end; for long ranges, usage.backfillAggregates does the same behind its answer.",
			example: `{"licenseId":"lic_123","startDate":"2024-01-01","endDate":"2024-10-12"}`,
		}, (*recalculateInput).target, a.recalculate),
		op(operation{
			name: "usage.getAggregationStatus", kind: isQuery, method: "GET", path: "/v1/status", need: access.ReadAll, tag: tagUsage,
			summary: "How far folding has come, and what is stored",
			example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *none) (query.AggregationStatus, error) {
			return a.d.Query.AggregationStatus(ctx)
		}),
		op(operation{
			name: "usage.getActivity", kind: isQuery, method: "GET", path: "/v1/activity", need: access.ReadAll, tag: tagUsage,
			summary: "What came in during the last week, what was aggregated, warned and charged",
			detail:  "Answers the verification queries of the deployment guide.",
			example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *none) (out usance.Activity, err error) {
			err = a.d.Store.View(ctx, func(v usance.View) error {
				out, err = v.Activity(ctx, a.instant())
				return err
			})
			return out, err
		}),
		op(operation{
			name: "usage.checkBooks", kind: isQuery, method: "GET", path: "/v1/books", need: access.ReadAll, tag: tagUsage,
			summary: "Compare rollups with raw events, counters with usage, overages with counters",
			detail:  "Licence by licence, and changes nothing. A page that takes long ends early, with the cursor of the next.",
			example: `{"days":35}`,
		}, nil, func(ctx context.Context, c *Call, in *booksInput) (out Page[fold.Books], err error) {
			days := in.Days
			if in.All {
				days = 0
			} else if days == 0 {
				days = 35
			}
			out.Data, out.NextCursor, err = a.d.Fold.CheckBooks(ctx, in.page(), days)
			return out, err
		}),
	}
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
