// Package api is how programs speak with Usance: REST with an OpenAPI 3.1
// document, the tRPC v11 wire, and CloudEvents on the way in.
//
// One table of operations (operations*.go) feeds all of it: the routes, the
// procedures, the documents, the TypeScript types, the paths of the Go client,
// and the test that walks every operation as every kind of caller. A row names
// the right that it needs and what it is about; one function, call, asks
// package access before any handler runs. Handlers check nothing themselves.
//
// The routing is net/http's own, and schemas come from the Go types by huma's
// registry. Huma's own handlers are left out: their reading of input is lenient
// where this one must be strict, and they speak one protocol where one table
// has to speak two.
//
// Only an Authorization header authenticates; cookies never do. So a form that
// another site makes a browser send can do nothing, even though JSON under the
// form content type, which curl sends by default, is read. GET changes nothing.
// No other origin is allowed anything (there is no CORS).
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/forecast/watch"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/jobs"
	"github.com/usance/usance/query"
)

// Store is what the API itself asks of the store: snapshots for listings, and
// for queries that are asked together, the keys to list, whether the store answers and is whole, and transactions for the writes that
// no stage makes: that an alert was acknowledged, and the audit rows of that, of
// what is done to jobs, and of the rotation of the admin key.
type Store interface {
	usance.Viewer
	usance.Updater
	usance.KeyStore
	Together(ctx context.Context, fn func(ctx context.Context) error) error
	Ping(ctx context.Context) error
	CheckSchema(ctx context.Context) ([]usance.SchemaFault, error)
}

// Deps are the stages that the API speaks for. All but Metrics, Logger, Now and
// Version are needed to serve; none is to write documents.
type Deps struct {
	Store   Store
	Access  *access.Access
	Ingest  *ingest.Ingester
	Fold    *fold.Folder
	Catalog *catalog.Catalog
	Billing *billing.Billing
	Query   *query.Query
	Watch   *watch.Watch
	Jobs    *jobs.Runner
	// Backfill recomputes long ranges; whoever makes it runs it.
	Backfill *fold.Backfiller

	// RotateAdminKey replaces the admin key that is not stored; the old one goes
	// on for the overlap. It has record write what the key was and has become, and
	// in the same transaction replace it, once or more often. There is none to rotate when nil.
	RotateAdminKey func(overlap time.Duration, record func(before, after any, replace func() error) error) (secret string, err error)

	Limits RateLimits
	// Degraded tells what the server does without for now, though it is ready; ""
	// when it lacks nothing. Never asked when nil.
	Degraded func() string

	Metrics http.Handler     // answers /metrics; there is none when nil
	Logger  *slog.Logger     // slog.Default
	Now     func() time.Time // time.Now
	Version string           // of the program, for the OpenAPI document
	Spans   trace.Tracer     // makes a span of each operation's request; none when nil
}

// API answers HTTP requests. Make one with New.
type API struct {
	http.Handler
	a *api
}

// api is what handlers share.
type api struct {
	d        Deps
	log      *slog.Logger
	now      func() time.Time
	ops      []*operation
	byName   map[string]*operation
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	limits   limits
	bodies   room // of all requests
	lines    room // of all streams
}

// New makes the handler of everything under /v1, /api, /openapi.json, /docs,
// /healthz, /readyz and /metrics.
func New(d Deps) *API {
	a := newAPI(d)
	return &API{Handler: a.handler(), a: a}
}

func newAPI(d Deps) *api {
	a := &api{d: d, log: d.Logger, now: d.Now, byName: make(map[string]*operation), bodies: room{size: roomForBodies}, lines: room{size: roomForLines},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_http_requests_total", Help: "Requests answered, by operation and HTTP status.",
		}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usance_http_request_seconds", Help: "Time to answer a request, by operation.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"operation"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_rate_limited_total", Help: "Requests, and calls within them, turned away because they came too fast, by limit.",
		}, []string{"limit"}),
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.limits = newLimits(d.Limits, a.now, a.refused)
	a.ops = a.operations()
	if err := checkTable(a.ops); err != nil {
		panic("api: " + err.Error())
	}
	for _, o := range a.ops {
		for _, name := range append([]string{o.name}, o.aliases...) {
			a.byName[name] = o
		}
	}
	return a
}

// Metrics gives the collectors of requests.
func (x *API) Metrics() []prometheus.Collector {
	return []prometheus.Collector{x.a.requests, x.a.seconds, x.a.refused}
}

// handler routes and wraps.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	for _, o := range a.ops {
		if o.method != "" {
			mux.HandleFunc(o.method+" "+o.path, a.observed(o.name, a.rest(o)))
		}
	}
	events := a.observed("usage.trackEvents", a.serveEvents)
	mux.HandleFunc("POST /v1/events", events)
	mux.HandleFunc("POST /api/v1/events", events)
	mux.HandleFunc("/api/trpc/{procedures...}", a.observed("trpc", a.serveTRPC))

	doc := a.openAPIDocument()
	docs := a.docsPage()
	mux.HandleFunc("GET /openapi.json", static("application/json", doc))
	mux.HandleFunc("GET /docs", static("text/html; charset=utf-8", docs))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { writeText(w, 200, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	if a.d.Metrics != nil {
		mux.Handle("GET /metrics", a.d.Metrics)
	}
	return a.wrap(a.strictMux(mux))
}

// strictMux answers what no route takes in the form of all errors. net/http
// would redirect unclean paths; ids must not be rewritten, so these are refused.
func (a *api) strictMux(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if clean := path.Clean(r.URL.Path); clean != r.URL.Path {
			a.fail(w, r, "", usance.NewError(usance.CodeNotFound, "there is nothing at this path; see /docs"), nil)
			return
		}
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &probe{header: make(http.Header)}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.header.Get("Allow"))
			a.fail(w, r, "", usance.NewError(usance.CodeMethodNotAllowed, "%s is not allowed here; allowed: %s", usance.Clip(r.Method), probe.header.Get("Allow")), nil)
			return
		}
		a.fail(w, r, "", usance.NewError(usance.CodeNotFound, "there is nothing at this path; see /docs"), nil)
	}
}

// probe takes in what net/http would answer.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

type contextKey int

const (
	requestIDKey contextKey = iota
	principalKey            // an authentication
)

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// wrap gives each request an id, survives panics, and sets the headers that
// every answer bears.
func (a *api) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !plainID(id) {
			id = rand.Text()
		}
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey, id))
		answer := &answerWriter{ResponseWriter: w, status: http.StatusOK, held: held{room: &a.bodies}}
		defer answer.held.release()
		w = answer
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			a.log.Error("request panicked", "panic", v, "requestId", id, "stack", string(debug.Stack()))
			if answer.begun {
				panic(http.ErrAbortHandler) // a second answer cannot follow half of one
			}
			a.fail(w, r, "", usance.NewError(usance.CodeInternal, "something went wrong on the server; its log has the cause under the request id"), nil)
		}()
		next.ServeHTTP(w, r)
	})
}

// answerWriter knows whether an answer has begun, and with what status, and what
// the request holds until it ends.
type answerWriter struct {
	http.ResponseWriter
	held   held
	status int
	begun  bool
}

func (w *answerWriter) WriteHeader(status int) {
	if !w.begun {
		w.status, w.begun = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// plainID tells whether a caller's request id may be logged and sent back.
func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// observed counts and times an operation's requests, and makes spans of them; they
// come by wrap.
func (a *api) observed(name string, next http.HandlerFunc) http.HandlerFunc {
	seconds := a.seconds.WithLabelValues(name)
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s := w.(*answerWriter)
		r, end := r, func(int) {}
		returned := false
		defer func() {
			if !returned && !s.begun {
				s.status = http.StatusInternalServerError // wrap answers the panic
			}
			took := time.Since(start)
			seconds.Observe(took.Seconds())
			a.requests.WithLabelValues(name, strconv.Itoa(s.status)).Inc()
			end(s.status)
			a.log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("operation", name), slog.Int("httpStatus", s.status),
				slog.Duration("took", took), slog.String("requestId", requestID(r.Context())))
		}()
		r, end = a.span(name, r, start)
		next(w, r)
		returned = true
	}
}

// Authenticate finds the principal of a request, or answers UNAUTHORIZED; or
// RATE_LIMITED when too many without a good key came from where it comes from.
func (x *API) Authenticate(r *http.Request) (access.Principal, error) { return x.a.authenticated(r) }

// authenticated finds the principal of a request. An address that has sent too
// many bad keys has its keys looked up no more for a while; those that were
// found good before go on, since behind a proxy that is not among
// RateLimits.Proxies all clients have one address.
func (a *api) authenticated(r *http.Request) (access.Principal, error) {
	if early, ok := r.Context().Value(principalKey).(authentication); ok {
		return early.principal, early.err
	}
	header, from := r.Header.Get("Authorization"), a.limits.client(r)
	if from != "" && !a.d.Access.Recognizes(header) {
		if wait, ok := a.limits.addresses.look(r.Context(), from); !ok {
			return access.Principal{}, limited(wait, "too many requests without a good key came from this address")
		}
	}
	p, err := a.d.Access.Authenticate(r.Context(), header)
	if len(r.Header.Values("Authorization")) > 1 {
		p, err = access.Principal{}, usance.NewError(usance.CodeUnauthorized, "there is more than one Authorization header; send one")
	}
	if from != "" && err != nil && usance.ErrorCode(err) == usance.CodeUnauthorized {
		a.limits.addresses.spend(r.Context(), from)
	}
	return p, err
}

// caller is authenticated, and has what is read of the body held against the key.
func (a *api) caller(w http.ResponseWriter, r *http.Request) (access.Principal, error) {
	p, err := a.authenticated(r)
	heldOf(w).key = p.ID()
	return p, err
}

// rest answers an operation over REST.
func (a *api) rest(o *operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := a.answerREST(w, r, o)
		if err != nil {
			var withResults *resultsError
			errors.As(err, &withResults)
			if withResults != nil {
				a.fail(w, r, o.name, withResults.Err, withResults.Results)
				return
			}
			a.fail(w, r, o.name, err, nil)
			return
		}
		a.answer(w, r, o.name, out)
	}
}

// resultsError is the fault of a batch that was refused as a whole, or failed in
// part, with what became of each of its events.
type resultsError struct {
	Err     *usance.Error
	Results []usance.Result
}

func (e *resultsError) Error() string { return e.Err.Error() }
func (e *resultsError) Unwrap() error { return e.Err }

func (a *api) answerREST(w http.ResponseWriter, r *http.Request, o *operation) (any, error) {
	p, err := a.caller(w, r)
	if err != nil {
		return nil, err
	}
	defer a.limits.announce(w.Header(), p)
	if err := a.limits.call(r.Context(), p, o); err != nil {
		return nil, err
	}
	in, err := a.inputREST(w, r, o)
	if err != nil {
		return nil, err
	}
	return a.call(r.Context(), p, o, in)
}

// inputREST puts together the input of an operation: body or query, and path.
func (a *api) inputREST(w http.ResponseWriter, r *http.Request, o *operation) (any, error) {
	params, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	var obj jsontext.Value
	if o.hasBody() {
		for name := range params {
			return nil, usance.Invalid(usance.Clip(name), "is not a parameter of this operation; its input is the JSON body")
		}
		if err := jsonContent(r); err != nil {
			return nil, err
		}
		body, err := readBody(w, r, maxBody)
		if err != nil {
			return nil, err
		}
		obj = body
	} else {
		for _, name := range o.wildcards() {
			if params.Has(name) {
				return nil, usance.Invalid(name, "is in the path already")
			}
		}
		if obj, err = queryObject(o.schemaIn(), params); err != nil {
			return nil, err
		}
	}
	for _, name := range o.wildcards() {
		if obj, err = setMember(obj, name, r.PathValue(name)); err != nil {
			return nil, err
		}
	}
	return o.decode(obj)
}

// jsonContent refuses bodies that say they are something other than JSON. The
// form type is what curl says of any body; an Authorization header was there.
func jsonContent(r *http.Request) error {
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(ct)
	if err == nil && (media == "application/json" || media == "application/x-www-form-urlencoded" ||
		strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")) {
		if utf8Charset(params) {
			return nil
		}
	}
	return usance.NewError(usance.CodeUnsupportedMedia, "the content type %q is not read here; send application/json", usance.Clip(ct))
}

// utf8Charset tells whether a content type's parameters leave it UTF-8.
func utf8Charset(params map[string]string) bool {
	cs := params["charset"]
	return cs == "" || strings.EqualFold(cs, "utf-8")
}

func (a *api) answer(w http.ResponseWriter, r *http.Request, operation string, out any) {
	if out == nil || out == (none{}) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var body []byte
	var err error
	if results, ok := out.([]usance.Result); ok {
		body, err = appendResults(nil, results)
	} else {
		body, err = json.Marshal(out, marshalOptions)
	}
	if err != nil {
		a.fail(w, r, operation, fmt.Errorf("writing the answer: %w", err), nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// ready tells whether requests can be answered: the store answers and ingest
// takes events. What is only degraded is ready.
func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	switch err := a.d.Store.Ping(ctx); {
	case errors.Is(err, usance.ErrKeyIndex):
		a.log.Error("not ready", "cause", err, "requestId", requestID(r.Context()))
		writeText(w, http.StatusServiceUnavailable, "the index that keeps events from being counted twice is missing; see the server's log\n")
	case err != nil:
		a.log.Warn("not ready", "cause", err, "requestId", requestID(r.Context()))
		writeText(w, http.StatusServiceUnavailable, "the store does not answer\n")
	case !a.d.Ingest.Accepting():
		writeText(w, http.StatusServiceUnavailable, "events are not taken: the server is stopping, or the last could not be recorded; see its log\n")
	default:
		if a.d.Degraded != nil {
			if lack := a.d.Degraded(); lack != "" {
				writeText(w, http.StatusOK, "ready; degraded: "+lack+"\n")
				return
			}
		}
		writeText(w, http.StatusOK, "ready\n")
	}
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text))
}

// static answers a document that does not change while the program runs.
func static(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if strings.HasPrefix(contentType, "text/html") {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		}
		w.Write(body)
	}
}
