package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/forecast"
	"github.com/usance/usance/query"
)

const schemaPrefix = "#/components/schemas/"

// Schemas of types whose JSON is not what their Go kind suggests.
type (
	dateSchema     struct{}
	idSchema       struct{}
	rateSchema     struct{}
	rawSchema      struct{}
	durationSchema struct{}
)

func (dateSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date"}
}

func (idSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "uuid"}
}

func (rateSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "Decimal cents: a number, or a string where a number would lose digits.",
		OneOf:       []*huma.Schema{{Type: huma.TypeNumber}, {Type: huma.TypeString, Pattern: `^[0-9]+(\.[0-9]+)?$`}},
	}
}

func (rawSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Description: "Nanoseconds."}
}

// Closed sets of words that are plain strings where they are kept.
type (
	platform   string
	deviceType string
	keyScope   string
)

// closedSet is a type whose values are the words of a closed set. Go has no enums
// to read them from.
type closedSet struct {
	of     reflect.Type
	words  []string
	schema reflect.Type
}

func setOf[T, W ~string](words []W) closedSet {
	set := closedSet{of: reflect.TypeFor[T](), schema: reflect.TypeFor[wordSchema[T]]()}
	for _, w := range words {
		set.words = append(set.words, string(w))
	}
	return set
}

var closedSets = []closedSet{
	setOf[platform](usance.Platforms),
	setOf[deviceType](usance.DeviceTypes),
	setOf[keyScope](usance.KeyScopes),
	setOf[usance.PeriodType](usance.PeriodTypes),
	setOf[usance.LicenseStatus](usance.LicenseStatuses),
	setOf[usance.EventStatus](usance.EventStatuses),
	setOf[usance.OverageStatus](usance.OverageStatuses),
	setOf[usance.BackfillStatus](usance.BackfillStatuses),
	setOf[usance.Code](usance.Codes),
	setOf[usance.Role](usance.Roles),
	setOf[usance.AlertKind](usance.AlertKinds),
	setOf[forecast.Method](forecast.Methods()),
	setOf[usance.Severity](usance.Severities),
	setOf[usance.ForecastStatus](usance.ForecastStatuses),
	setOf[usance.Dimension](usance.Dimensions),
	setOf[query.State](query.States),
	setOf[query.Granularity](query.Granularities),
}

// wordSchema is the schema of a closed set.
type wordSchema[T ~string] struct{}

func (wordSchema[T]) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, w := range wordsOf(reflect.TypeFor[T]()) {
		s.Enum = append(s.Enum, w)
	}
	return s
}

// wordsOf gives the closed set of words that a type, or that of its elements,
// is made of; nil when it is not.
func wordsOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	for i := range closedSets {
		if closedSets[i].of == t {
			return closedSets[i].words
		}
	}
	return nil
}

// schemaAliases are the types whose schemas are those of others.
var schemaAliases = map[reflect.Type]reflect.Type{
	reflect.TypeFor[usance.Date]():    reflect.TypeFor[dateSchema](),
	reflect.TypeFor[usance.ID]():      reflect.TypeFor[idSchema](),
	reflect.TypeFor[usance.Rate]():    reflect.TypeFor[rateSchema](),
	reflect.TypeFor[usance.RawJSON](): reflect.TypeFor[rawSchema](),
	reflect.TypeFor[time.Duration]():  reflect.TypeFor[durationSchema](),
	reflect.TypeFor[usance.Tier]():    reflect.TypeFor[Tier](),
}

// Tier documents a tier as it is sent: the last one may leave its bound out.
type Tier struct {
	UpTo      int64       `json:"upTo,omitempty" minimum:"0" maximum:"1000000000000000" doc:"The last unit that costs this rate; left out or 0 on the last tier, which has no bound."`
	RateCents usance.Rate `json:"rateCents"`
}

// noNullLists says that lists are [] here, never null: a setting of the package.
var noNullLists = sync.OnceFunc(func() { huma.DefaultArrayNullable = false })

// newRegistry makes schemas from Go types.
func newRegistry() huma.Registry {
	noNullLists()
	r := huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
		name := huma.DefaultSchemaNamer(t, hint)
		if name == "Error" {
			name = "EventError" // Error would hide JavaScript's own in generated code
		}
		return strings.ToUpper(name[:1]) + name[1:]
	})
	for t, alias := range schemaAliases {
		r.RegisterTypeAlias(t, alias)
	}
	for _, set := range closedSets {
		r.RegisterTypeAlias(set.of, set.schema)
	}
	return r
}

// openAPI makes the OpenAPI 3.1 document of the table.
func (a *api) openAPI() *huma.OpenAPI {
	r := newRegistry()
	version := a.d.Version
	if version == "" {
		version = "dev"
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Usance", Version: version,
			Description: "License usage metering: every use counted once, limits held at the moment of use. Human docs are at /docs. " +
				"Each operation is also a tRPC v11 procedure of its operationId at /api/trpc/{operationId}.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Components: &huma.Components{
			Schemas: r,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"key": {Type: "http", Scheme: "bearer", Description: "An API key: Authorization: Bearer YOUR_KEY"},
			},
		},
		Security: []map[string][]string{{"key": {}}},
		Paths:    make(map[string]*huma.PathItem),
	}
	for _, tag := range []string{tagEvents, tagUsage, tagLimits, tagForecasts, tagBilling, tagCatalog, tagAdmin} {
		doc.Tags = append(doc.Tags, &huma.Tag{Name: tag})
	}
	problem := &huma.Response{
		Description: "The request failed: a problem (RFC 9457).",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: r.Schema(reflect.TypeFor[Problem](), true, "Problem")}},
	}
	doc.Paths["/v1/events"] = &huma.PathItem{Post: a.eventsOperation(r, problem)}
	for _, o := range a.ops {
		if o.method == "" {
			continue
		}
		item := doc.Paths[o.path]
		if item == nil {
			item = new(huma.PathItem)
			doc.Paths[o.path] = item
		}
		place(item, o.method, a.describe(o, r, problem))
	}
	for name, s := range r.Map() {
		if !strings.HasSuffix(name, "Input") {
			s.AdditionalProperties = nil // answers may gain fields
		}
	}
	return doc
}

func place(item *huma.PathItem, method string, o *huma.Operation) {
	switch method {
	case "GET":
		item.Get = o
	case "POST":
		item.Post = o
	case "PUT":
		item.Put = o
	case "PATCH":
		item.Patch = o
	case "DELETE":
		item.Delete = o
	}
}

// describe makes the document's entry of an operation.
func (a *api) describe(o *operation, r huma.Registry, problem *huma.Response) *huma.Operation {
	out := &huma.Operation{
		OperationID: o.name, Summary: o.summary, Description: o.detail + roleNote(o), Tags: []string{o.tag},
		Responses: map[string]*huma.Response{"default": problem},
	}
	in := inputSchema(r, o)
	for _, name := range o.wildcards() {
		out.Parameters = append(out.Parameters, &huma.Param{
			Name: name, In: "path", Required: true, Description: in.Properties[name].Description, Schema: bare(in.Properties[name]),
		})
		delete(in.Properties, name)
		in.Required = slices.DeleteFunc(in.Required, func(s string) bool { return s == name })
	}
	if o.hasBody() && len(in.Properties) > 0 {
		media := &huma.MediaType{Schema: in}
		if ex := bodyExample(o); ex != nil {
			media.Example = ex
		}
		out.RequestBody = &huma.RequestBody{
			Required: len(in.Required) > 0, Content: map[string]*huma.MediaType{"application/json": media},
		}
	} else if !o.hasBody() {
		for _, name := range sortedKeys(in.Properties) {
			s := in.Properties[name]
			p := &huma.Param{Name: name, In: "query", Required: slices.Contains(in.Required, name), Description: s.Description, Schema: bare(s)}
			if s.Type == huma.TypeArray {
				p.Style = "form"
			}
			out.Parameters = append(out.Parameters, p)
		}
	}
	out.Responses["200"] = &huma.Response{
		Description: "Done.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: r.Schema(o.out, true, o.out.Name())}},
	}
	return out
}

// inputSchema is a schema of an operation's own, not shared by reference.
func inputSchema(r huma.Registry, o *operation) *huma.Schema {
	s := *huma.SchemaFromType(r, o.schemaIn())
	props := make(map[string]*huma.Schema, len(s.Properties))
	for name, p := range s.Properties {
		props[name] = orNull(p)
	}
	s.Properties = props
	s.Required = slices.Clone(s.Required)
	return &s
}

// orNull writes null as a choice of its own where there are choices: huma would
// write it beside a type, which such a schema lacks.
func orNull(s *huma.Schema) *huma.Schema {
	if !s.Nullable || s.Type != "" {
		return s
	}
	out := *s
	out.Nullable, out.OneOf = false, append(slices.Clone(s.OneOf), &huma.Schema{Type: typeNull})
	return &out
}

const typeNull = "null"

// bare is a schema without the description that its parameter bears.
func bare(s *huma.Schema) *huma.Schema {
	out := *s
	out.Description = ""
	return &out
}

func bodyExample(o *operation) any {
	var ex map[string]any
	if json.Unmarshal([]byte(o.example), &ex) != nil || len(ex) == 0 {
		return nil
	}
	for _, name := range o.wildcards() {
		delete(ex, name)
	}
	if len(ex) == 0 {
		return nil
	}
	return ex
}

// roleNote says which keys may call an operation.
func roleNote(o *operation) string {
	note := "Keys: " + strings.Join(rolesOf(o.need), ", ") + "."
	if o.detail != "" {
		return " " + note
	}
	return note
}

func rolesOf(need access.Need) []string {
	var out []string
	for _, role := range access.Roles(need) {
		out = append(out, string(role))
	}
	return out
}

// eventsOperation describes POST /v1/events, which reads more than JSON.
func (a *api) eventsOperation(r huma.Registry, problem *huma.Response) *huma.Operation {
	event := r.Schema(reflect.TypeFor[EventInput](), true, "EventInput")
	many := r.Schema(reflect.TypeFor[BatchInput](), true, "BatchInput")
	result := r.Schema(reflect.TypeFor[usance.Result](), true, "Result")
	results := r.Schema(reflect.TypeFor[BatchResult](), true, "BatchResult")
	list := func(of *huma.Schema) *huma.Schema { return &huma.Schema{Type: huma.TypeArray, Items: of} }
	free := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
	var example any
	_ = json.Unmarshal([]byte(exampleEvent), &example) // a constant of this package
	return &huma.Operation{
		OperationID: "usage.trackEvents", Summary: "Count events: one, an array, a stream, or CloudEvents", Tags: []string{tagEvents},
		Description: "One object is answered by a result, an array by an array of results, {\"events\": […]} by {\"results\": […]}: HTTP 200 whatever the results. " +
			"One event that breaks a rule, and an atomic batch that was given up (409), are problems. " +
			"application/x-ndjson is a stream without bound, a line of at most 64 KiB for each event, answered line by line in order while it is sent; " +
			"where the answer ends early its last error says why. CloudEvents 1.0 (structured, batch, binary) are answered 204 when each was counted. " +
			"A body of one object or an array is at most 16 MiB. Keys: " + strings.Join(rolesOf(access.Track), ", ") + ".",
		Parameters: []*huma.Param{{
			Name: "atomic", In: "query", Description: "Count all events of the array or none.", Schema: &huma.Schema{Type: huma.TypeBoolean},
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json":                   {Schema: &huma.Schema{OneOf: []*huma.Schema{event, list(event), many}}, Example: example},
			"application/x-ndjson":               {Schema: event},
			"application/cloudevents+json":       {Schema: free},
			"application/cloudevents-batch+json": {Schema: list(free)},
		}},
		Responses: map[string]*huma.Response{
			"200": {Description: "Processed; each result says what became of its event.", Content: map[string]*huma.MediaType{
				"application/json":     {Schema: &huma.Schema{OneOf: []*huma.Schema{result, list(result), results}}},
				"application/x-ndjson": {Schema: result},
			}},
			"204":     {Description: "Every CloudEvent was counted, now or before."},
			"default": problem,
		},
	}
}

// openAPIDocument is the document as it is served: indented, so that a change
// shows in review.
func (a *api) openAPIDocument() []byte {
	raw, err := json.Marshal(a.openAPI())
	if err != nil {
		panic(fmt.Sprintf("api: the OpenAPI document cannot be written: %v", err)) // a fault of the program, at start
	}
	var out bytes.Buffer
	_ = json.Indent(&out, raw, "", "  ") // raw is valid
	out.WriteByte('\n')
	return out.Bytes()
}

// OpenAPI gives the OpenAPI 3.1 document of an API of the given version.
func OpenAPI(version string) []byte { return newAPI(Deps{Version: version}).openAPIDocument() }

// Statuses of codes, as the docs list them.
func statusText(code usance.Code) string { return strconv.Itoa(wireOf(code).status) }
