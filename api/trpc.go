package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// maxCalls bounds the calls of one tRPC request; docs/api.md and the types
// tell clients.
const maxCalls = 100

// trpcForm is how a client wraps inputs and reads answers.
type trpcForm int

const (
	formUnknown trpcForm = iota // nothing that was sent tells
	formPlain
	formSuper // superjson's envelope
)

// trpcCall is one procedure call of a request.
type trpcCall struct {
	name  string
	op    *operation
	input jsontext.Value // nil when there is none
	form  trpcForm       // of the input, and so of the answer
	err   error          // found before the call; then what came of it
	in    any            // the input, decoded
	out   any
}

// isQuery tells whether the call changes nothing.
func (c *trpcCall) isQuery() bool { return c.op == nil || c.op.kind == isQuery }

// trpcEnvelope is the answer to one call.
type trpcEnvelope struct {
	Result *trpcResult    `json:"result,omitempty"`
	Error  jsontext.Value `json:"error,omitempty"`
	status int
}

type trpcResult struct {
	Data jsontext.Value `json:"data,omitempty"`
}

// trpcError is the shape of an error: tRPC's default one, and under usance
// what this API says of errors everywhere.
type trpcError struct {
	Message string        `json:"message"`
	Code    int           `json:"code"`
	Data    trpcErrorData `json:"data"`
}

type trpcErrorData struct {
	Code       string      `json:"code"`
	HTTPStatus int         `json:"httpStatus"`
	Path       string      `json:"path,omitempty"`
	Usance     errorDetail `json:"usance"`
}

// errorDetail is what programs decide by.
type errorDetail struct {
	Code       usance.Code     `json:"code"`
	Field      string          `json:"field,omitempty"`
	Retryable  bool            `json:"retryable"`
	RetryAfter int             `json:"retryAfterSeconds,omitempty"`
	RequestID  string          `json:"requestId,omitempty"`
	Results    []usance.Result `json:"results,omitempty"`
}

// serveTRPC answers /api/trpc/{procedures} as tRPC v11 does: queries by GET
// with ?input= (or POST, as with its allowMethodOverride), mutations by POST,
// several of them with batch=1, in answers whose status is 207 when they
// differ. It also takes plain curl lines: plain query parameters instead
// of input, and a JSON body under curl's own content type.
func (a *api) serveTRPC(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent) // as tRPC answers, to warm a connection up
		return
	}
	p, authErr := a.caller(w, r)
	calls, isBatch, err := a.trpcRead(w, r, p, authErr)
	if err != nil {
		if authErr == nil {
			a.limits.announce(w.Header(), p)
		}
		// The request as a whole cannot be read: one error, as tRPC does it.
		e := a.trpcFailure(r.Context(), w, "", err, formUnknown)
		a.writeTRPC(w, r, e, e.status)
		return
	}
	a.trpcCarryOut(w, r, p, authErr, calls)
	envelopes := make([]trpcEnvelope, len(calls))
	status := 0
	for i := range calls {
		envelopes[i] = a.trpcAnswer(w, r, &calls[i])
		switch {
		case status == 0:
			status = envelopes[i].status
		case status != envelopes[i].status:
			status = http.StatusMultiStatus
		}
	}
	if authErr == nil {
		a.limits.announce(w.Header(), p)
	}
	if isBatch {
		a.writeTRPC(w, r, envelopes, status)
		return
	}
	a.writeTRPC(w, r, envelopes[0], status)
}

// trpcCarryOut carries out calls, in their order: queries that follow each other
// in one snapshot of the store, so that their answers agree.
func (a *api) trpcCarryOut(w http.ResponseWriter, r *http.Request, p access.Principal, authErr error, calls []trpcCall) {
	ready := func(c *trpcCall) bool {
		c.in, c.err = a.trpcReady(w, r, p, authErr, c)
		return c.err == nil
	}
	for i := 0; i < len(calls); i++ {
		var queries []*trpcCall
		for ; i < len(calls) && calls[i].isQuery(); i++ {
			if ready(&calls[i]) {
				queries = append(queries, &calls[i])
			}
		}
		if len(queries) > 1 {
			a.trpcTogether(r.Context(), p, queries)
		} else if len(queries) == 1 {
			a.trpcRun(r.Context(), p, queries[0])
		}
		if i < len(calls) && ready(&calls[i]) { // one that may change something
			a.trpcRun(r.Context(), p, &calls[i])
		}
	}
}

// maxSnapshots bounds how often queries are asked together.
const maxSnapshots = 3

// trpcTogether answers queries out of one snapshot. A fault of one may leave the
// snapshot unfit: the others are asked again then, in another one.
func (a *api) trpcTogether(ctx context.Context, p access.Principal, queries []*trpcCall) {
	for n := 1; len(queries) > 0; n++ {
		fault := -1
		err := a.d.Store.Together(ctx, func(ctx context.Context) error {
			for i, c := range queries {
				a.trpcRun(ctx, p, c)
				if n < maxSnapshots && usance.IsFault(c.err) {
					fault = i
					return c.err
				}
			}
			return nil
		})
		if fault < 0 {
			for _, c := range queries {
				if err != nil { // there is no snapshot
					c.err = err
				}
			}
			return
		}
		queries = slices.Delete(queries, fault, fault+1)
	}
}

// trpcRun carries out one call.
func (a *api) trpcRun(ctx context.Context, p access.Principal, c *trpcCall) {
	ctx, end := a.callSpan(ctx, c.op.name)
	c.out, c.err = a.call(ctx, p, c.op, c.in)
	end(c.err)
}

// trpcAnswer is the answer to a call that was carried out, or refused.
func (a *api) trpcAnswer(w http.ResponseWriter, r *http.Request, c *trpcCall) trpcEnvelope {
	if c.err != nil {
		return a.trpcFailure(r.Context(), w, c.name, c.err, c.form)
	}
	e := trpcEnvelope{Result: new(trpcResult), status: http.StatusOK}
	if c.out == (none{}) {
		if c.form == formSuper {
			e.Result.Data = jsontext.Value(`{"json":null}`)
		}
		return e
	}
	body, err := json.Marshal(c.out, marshalOptions)
	if err != nil {
		return a.trpcFailure(r.Context(), w, c.name, fmt.Errorf("writing the answer: %w", err), c.form)
	}
	e.Result.Data = superWrap(body, c.form == formSuper)
	return e
}

// trpcReady decodes a call's input, unless the call is refused as it is.
func (a *api) trpcReady(w http.ResponseWriter, r *http.Request, p access.Principal, authErr error, c *trpcCall) (in any, err error) {
	if authErr != nil {
		return nil, authErr
	}
	if err := a.limits.call(r.Context(), p, c.op); err != nil {
		return nil, err
	}
	if c.op == nil {
		return nil, usance.NewError(usance.CodeNotFound, "No procedure found on path %q", usance.Clip(c.name))
	}
	if r.Method != http.MethodPost && (c.op.kind == isMutation || r.Method != http.MethodGet) {
		allow := "GET, POST"
		if c.op.kind == isMutation {
			allow = "POST"
		}
		w.Header().Set("Allow", allow)
		return nil, usance.NewError(usance.CodeMethodNotAllowed, "Unsupported %s-request to %s procedure at path %q", usance.Clip(r.Method), c.op.kind, c.name)
	}
	in, err = nil, c.err
	if err == nil {
		in, err = c.op.decode(c.input)
	}
	if err != nil && c.op.need == access.Track { // it holds no event, and is work all the same
		a.limits.events.spend(r.Context(), p.ID())
	}
	return in, err
}

// trpcRead reads the calls of a request. One that cannot be read as a whole is work
// all the same, and takes a token; where there is none for any call that it names,
// it is not read.
func (a *api) trpcRead(w http.ResponseWriter, r *http.Request, p access.Principal, authErr error) (calls []trpcCall, isBatch bool, err error) {
	if authErr != nil {
		return a.trpcCalls(w, r, false)
	}
	var sends, others bool
	for name := range strings.SplitSeq(r.PathValue("procedures"), ",") {
		if o := a.byName[name]; o != nil && o.need == access.Track {
			sends = true
		} else {
			others = true
		}
	}
	if !sends {
		err = a.limits.mayCall(r.Context(), p)
	} else if !others {
		err = a.limits.open(r.Context(), p)
	}
	if err != nil {
		return nil, false, err
	}
	calls, isBatch, err = a.trpcCalls(w, r, true)
	if err == nil {
		return calls, isBatch, nil
	}
	spend := a.limits.spendCall
	if sends {
		spend = a.limits.spendSend
	}
	if e := spend(r.Context(), p); e != nil {
		err = e
	}
	return nil, isBatch, err
}

// trpcCalls reads the calls of a request with their inputs. Without a good key
// only as much is read as tells how to answer.
func (a *api) trpcCalls(w http.ResponseWriter, r *http.Request, known bool) (calls []trpcCall, isBatch bool, err error) {
	params, err := parseQuery(r)
	if err != nil {
		return nil, false, err
	}
	isBatch = params.Get("batch") == "1"
	names := []string{r.PathValue("procedures")}
	if isBatch {
		names = strings.Split(names[0], ",")
		if len(names) > maxCalls {
			return nil, true, usance.Invalid("batch", "must hold at most %d calls; give the link maxItems: %[1]d", maxCalls)
		}
	}
	calls = make([]trpcCall, len(names))
	for i, name := range names {
		calls[i] = trpcCall{name: name, op: a.byName[name]}
	}
	raw, err := a.trpcInput(w, r, params, calls, known)
	if err != nil {
		if !known {
			return calls, isBatch, nil // the missing key matters more
		}
		return nil, isBatch, err
	}
	if len(raw) == 0 {
		return calls, isBatch, nil
	}
	if !isBatch {
		calls[0].setInput(raw)
		return calls, false, nil
	}
	var inputs map[string]jsontext.Value
	if err := json.Unmarshal(raw, &inputs); err != nil || raw.Kind() != '{' {
		err = usance.Invalid("input", `must be a JSON object such as {"0": …} when doing a batch call`)
		for i := range calls {
			calls[i].err = err
		}
		return calls, true, nil
	}
	for i := range calls {
		calls[i].setInput(inputs[strconv.Itoa(i)])
	}
	return calls, true, nil
}

// trpcInput gives the JSON that holds the input of all calls.
func (a *api) trpcInput(w http.ResponseWriter, r *http.Request, params url.Values, calls []trpcCall, known bool) (jsontext.Value, error) {
	if r.Method == http.MethodPost {
		if err := trpcContent(r); err != nil {
			return nil, err
		}
		limit := int64(maxBody)
		if !known { // memory is for those who may send
			limit = smallBody
		}
		for i := range calls {
			if known && calls[i].op != nil && calls[i].name == "usage.trackBatch" {
				limit = maxEventsBody
			}
		}
		body, err := readBody(w, r, limit)
		if err != nil {
			return nil, err
		}
		if len(body) > 0 {
			if err := checkDepth(body); err != nil {
				return nil, err
			}
			if params.Has("input") {
				return nil, usance.Invalid("input", "is in the query and in the body; send it once")
			}
		}
		return body, nil
	}
	if params.Has("input") || params.Get("batch") == "1" {
		for name, values := range params {
			if name != "input" && name != "batch" {
				return nil, usance.Invalid(usance.Clip(name), "cannot go beside input; put it into input, or send parameters alone")
			}
			if len(values) > 1 {
				return nil, usance.Invalid(name, "is there twice")
			}
		}
		raw := jsontext.Value(params.Get("input"))
		return raw, checkDepth(raw)
	}
	// Plain parameters, as a person types them.
	params.Del("batch")
	if o := calls[0].op; o != nil && o.kind == isQuery && len(params) > 0 {
		var raw jsontext.Value
		raw, calls[0].err = queryObject(o.schemaIn(), params)
		return raw, nil
	}
	return nil, nil
}

// trpcContent refuses bodies that are not JSON by their own word. Whatever
// curl says when it is told nothing is taken, since the key is in a header.
func trpcContent(r *http.Request) error {
	ct := r.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(ct)
	switch {
	case ct == "" && r.ContentLength == 0:
	case !utf8Charset(params):
		return usance.NewError(usance.CodeUnsupportedMedia, "the content type %q is not read here; send UTF-8", usance.Clip(ct))
	case err == nil && media == "application/json":
	case r.Header.Get("Authorization") != "" && (ct == "" || err == nil && media == "application/x-www-form-urlencoded"):
	default:
		return usance.NewError(usance.CodeUnsupportedMedia, "Unsupported content-type %q", usance.Clip(ct))
	}
	return nil
}

// setInput takes superjson's envelope off an input that comes in one.
func (c *trpcCall) setInput(raw jsontext.Value) {
	c.input = raw
	if len(raw) == 0 || raw.Kind() != '{' {
		if raw.Kind() == 'n' {
			c.input = nil
		}
		return
	}
	plain, super, err := superUnwrap(raw)
	c.form, c.err = formPlain, err
	if super {
		c.form, c.input = formSuper, plain
	}
}

// trpcFailure is err as tRPC shapes it. Where the form is not known it is in
// both: superjson reads the member json and passes over the others, plain
// clients pass over that one.
func (a *api) trpcFailure(ctx context.Context, w http.ResponseWriter, path string, err error, form trpcForm) trpcEnvelope {
	e := outward(err)
	logFault(ctx, a.log, path, e)
	setRetryAfter(w.Header(), e)
	if e.Code == usance.CodeUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="usance"`)
	}
	wr := wireOf(e.Code)
	shape := trpcError{Message: e.Message, Code: wr.number, Data: trpcErrorData{
		Code: wr.trpc, HTTPStatus: wr.status, Path: path,
		Usance: errorDetail{Code: e.Code, Field: e.Field, Retryable: e.Retryable, RetryAfter: seconds(e.RetryAfter), RequestID: requestID(ctx)},
	}}
	if e.Field != "" {
		shape.Message = e.Field + ": " + e.Message
	}
	var withResults *resultsError
	if errors.As(err, &withResults) {
		shape.Data.Usance.Results = withResults.Results
	}
	body, _ := json.Marshal(shape, marshalOptions) // of strings and numbers: cannot fail
	switch form {
	case formSuper:
		body = superWrap(body, true)
	case formUnknown:
		both := superWrap(body, true)
		body = append(append(both[:len(both)-1:len(both)-1], ','), body[1:]...)
	}
	return trpcEnvelope{Error: body, status: wr.status}
}

func (a *api) writeTRPC(w http.ResponseWriter, r *http.Request, out any, status int) {
	body, err := json.Marshal(out, marshalOptions)
	if err != nil {
		a.fail(w, r, "trpc", fmt.Errorf("writing the answer: %w", err), nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}
