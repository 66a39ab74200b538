package api

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
)

// span begins the span of a request, part of the one that its traceparent names;
// end tells how it was answered.
func (a *api) span(operation string, r *http.Request) (_ *http.Request, end func(status int)) {
	if a.d.Spans == nil {
		return r, func(int) {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := a.d.Spans.Start(ctx, operation, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		semconv.HTTPRequestMethodKey.String(r.Method), semconv.HTTPRoute(r.Pattern), attribute.String("usance.request.id", requestID(ctx))))
	return r.WithContext(ctx), func(status int) {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
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
