package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/usance/usance"
)

// wire is how a code is spoken: over REST by its HTTP status and title, over
// tRPC by its name and its JSON-RPC number. tRPC's own table fixes which
// numbers go with which status.
type wire struct {
	status int
	title  string
	trpc   string
	number int
}

// wires is the one place where codes become statuses.
var wires = map[usance.Code]wire{
	usance.CodeValidation:          {400, "The input breaks a rule", "BAD_REQUEST", -32600},
	usance.CodeUnauthorized:        {401, "An API key is needed", "UNAUTHORIZED", -32001},
	usance.CodeForbidden:           {403, "The key may not do this", "FORBIDDEN", -32003},
	usance.CodeNotFound:            {404, "There is no such thing", "NOT_FOUND", -32004},
	usance.CodeLicenseNotFound:     {404, "There is no such licence", "NOT_FOUND", -32004},
	usance.CodeLicenseNotActive:    {409, "The licence's status refuses usage", "CONFLICT", -32009},
	usance.CodeTrackingDisabled:    {409, "Tracking is switched off", "CONFLICT", -32009},
	usance.CodeOutOfTerm:           {409, "The event lies outside the licence's term", "CONFLICT", -32009},
	usance.CodeLimitExceeded:       {409, "A limit has no room", "CONFLICT", -32009},
	usance.CodeTooLate:             {409, "The day is closed", "CONFLICT", -32009},
	usance.CodeBackdateForbidden:   {403, "The key may not backdate", "FORBIDDEN", -32003},
	usance.CodeIdempotencyConflict: {409, "The key was used with another payload", "CONFLICT", -32009},
	usance.CodeAborted:             {409, "The batch was given up", "CONFLICT", -32009},
	usance.CodeConflict:            {409, "The change contradicts what is recorded", "CONFLICT", -32009},
	usance.CodeThresholdExists:     {409, "Such a threshold is in force", "CONFLICT", -32009},
	usance.CodeInvalidState:        {409, "The overage's status does not allow this", "CONFLICT", -32009},
	usance.CodeTooLarge:            {413, "The request is too large", "PAYLOAD_TOO_LARGE", -32013},
	usance.CodeUnsupportedMedia:    {415, "The content type is not read here", "UNSUPPORTED_MEDIA_TYPE", -32015},
	usance.CodeMethodNotAllowed:    {405, "The method is not allowed here", "METHOD_NOT_SUPPORTED", -32005},
	usance.CodeRateLimited:         {429, "Too many requests", "TOO_MANY_REQUESTS", -32029},
	usance.CodeOverloaded:          {503, "The queue is full", "SERVICE_UNAVAILABLE", -32603},
	usance.CodeUnavailable:         {503, "The service is not available", "SERVICE_UNAVAILABLE", -32603},
	usance.CodeInternal:            {500, "A fault of the server", "INTERNAL_SERVER_ERROR", -32603},
}

func wireOf(code usance.Code) wire {
	if w, ok := wires[code]; ok {
		return w
	}
	return wires[usance.CodeInternal]
}

// ProblemType is the type of a problem (RFC 9457): a stable name, not an
// address to fetch. What each means is at /docs#errors.
func ProblemType(code usance.Code) string { return "urn:usance:error:" + string(code) }

// Problem is an error as REST answers it (RFC 9457).
type Problem struct {
	Type      string          `json:"type" doc:"Stable name of the kind of failure: urn:usance:error:CODE."`
	Title     string          `json:"title" doc:"What kind of failure it is, in words."`
	Status    int             `json:"status" doc:"The HTTP status."`
	Detail    string          `json:"detail" doc:"What is wrong and what to do next."`
	Code      usance.Code     `json:"code" doc:"What programs decide by; see /docs#errors."`
	Field     string          `json:"field,omitempty" doc:"JSON path of the input at fault."`
	Retryable bool            `json:"retryable" doc:"Whether the same request can succeed later unchanged."`
	RequestID string          `json:"requestId,omitempty" doc:"Names the request in the server's log."`
	Results   []usance.Result `json:"results,omitempty" doc:"What became of each event, where events were sent."`
}

// outward is err as its caller may see it. What is not an *usance.Error is a
// fault of the server: its cause stays inside.
func outward(err error) *usance.Error {
	var known *usance.Error
	if errors.As(err, &known) {
		return known
	}
	if unreadable, ok := errors.AsType[*usance.UnreadableError](err); ok {
		return usance.WrapError(err, usance.CodeInternal, "a limit of licence %q cannot be read; its operator finds why in the server's log, under the request id, and by usance verify", unreadable.LicenseID)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return usance.WrapError(err, usance.CodeUnavailable, "the request ended before it was answered; send it again")
	}
	return usance.WrapError(err, usance.CodeInternal, "something went wrong on the server; its log has the cause under the request id")
}

// logFault writes the cause of what is the server's fault.
func logFault(ctx context.Context, log *slog.Logger, operation string, e *usance.Error) {
	status := wireOf(e.Code).status
	if status < 500 {
		return
	}
	level := slog.LevelError
	if e.Code != usance.CodeInternal || errors.Is(e, context.Canceled) {
		level = slog.LevelWarn
	}
	log.LogAttrs(ctx, level, "request failed", slog.String("operation", operation), slog.String("code", string(e.Code)),
		slog.String("answer", e.Message), slog.Any("cause", e.Unwrap()), slog.String("requestId", requestID(ctx)))
}

// fail answers err as a problem.
func (a *api) fail(w http.ResponseWriter, r *http.Request, operation string, err error, results []usance.Result) {
	e := outward(err)
	logFault(r.Context(), a.log, operation, e)
	setRetryAfter(w.Header(), e)
	wr := wireOf(e.Code)
	if e.Code == usance.CodeUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="usance"`)
	}
	body, _ := json.Marshal(Problem{ // of strings and numbers: cannot fail
		Type: ProblemType(e.Code), Title: wr.title, Status: wr.status, Detail: e.Message, Code: e.Code,
		Field: e.Field, Retryable: e.Retryable, RequestID: requestID(r.Context()), Results: results,
	}, marshalOptions)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(wr.status)
	w.Write(body)
}

func setRetryAfter(h http.Header, e *usance.Error) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(e.RetryAfter)))
	}
}
