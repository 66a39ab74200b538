package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// span begins the span of a request; end tells how it was answered. It is part of
// the one that its traceparent names when a good key stands for it, and else
// only has a link to it: who may not call may not have spans sampled either.
func (a *api) span(operation string, r *http.Request, began time.Time) (_ *http.Request, end func(status int)) {
	if a.d.Spans == nil {
		return r, func(int) {}
	}
	route := r.Pattern // the method, where there is one, and the path
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	o := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began), trace.WithAttributes(
		semconv.HTTPRequestMethodKey.String(r.Method), semconv.HTTPRoute(route), attribute.String("usance.request.id", requestID(r.Context())))}
	ctx := r.Context()
	if caller := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))); caller.IsValid() {
		var known bool
		if ctx, known = a.authenticatedEarly(r); known {
			ctx = trace.ContextWithRemoteSpanContext(ctx, caller)
		} else {
			o = append(o, trace.WithLinks(trace.Link{SpanContext: caller}))
		}
	}
	ctx, span := a.d.Spans.Start(ctx, operation, o...)
	return r.WithContext(ctx), func(status int) {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// authenticatedEarly finds the principal of a request before its operation asks
// for it, and keeps the answer in the context. A request without a key is not
// looked at: what it comes to is the operation's.
func (a *api) authenticatedEarly(r *http.Request) (_ context.Context, known bool) {
	if r.Header.Get("Authorization") == "" {
		return r.Context(), false
	}
	p, err := a.authenticated(r)
	return context.WithValue(r.Context(), principalKey, authentication{p, err}), err == nil
}

// authentication is what became of a request's key.
type authentication struct {
	principal access.Principal
	err       error
}

// callSpan begins the span of one call of a tRPC request.
func (a *api) callSpan(ctx context.Context, operation string) (_ context.Context, end func(error)) {
	if a.d.Spans == nil {
		return ctx, func(error) {}
	}
	ctx, span := a.d.Spans.Start(ctx, operation)
	return ctx, func(err error) {
		if err != nil {
			span.SetAttributes(semconv.ErrorTypeKey.String(string(usance.ErrorCode(err))))
		}
		span.End()
	}
}
