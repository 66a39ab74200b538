package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
	"github.com/usance/usance/jobs"
)

// tracing sends spans to a collector. There is none, and nothing is done for it,
// unless OTEL_EXPORTER_OTLP_ENDPOINT is set.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// newTracing makes the tracing that the settings ask for; nil when they ask for
// none. What the SDK reads from the environment itself (sampling, headers, the
// size of batches) holds.
func newTracing(ctx context.Context, c config, log *slog.Logger) (*tracing, error) {
	if c.OTLPEndpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	var o []otlptracehttp.Option
	if os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" { // which names a URL of its own, as it is
		o = append(o, otlptracehttp.WithEndpointURL(strings.TrimRight(c.OTLPEndpoint, "/")+"/v1/traces"))
	}
	exporter, err := otlptracehttp.New(ctx, o...)
	if err != nil {
		return nil, err
	}
	version, _ := buildVersion()
	of, err := resource.New(ctx,
		resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName(c.ServiceName), semconv.ServiceVersion(version)),
		resource.WithFromEnv(), // last, so that it holds
	)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, err
	}
	otel.SetErrorHandler(&traceFaults{log: log})
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))
	return &tracing{provider: p, tracer: p.Tracer("github.com/usance/usance")}, nil
}

// lastSpans is how long the spans that are left may take to be sent at the end.
const lastSpans = 5 * time.Second

// checkEndpoint tells what is wrong with OTEL_EXPORTER_OTLP_ENDPOINT.
func (c *config) checkEndpoint() error {
	u, err := url.Parse(c.OTLPEndpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("must be the http:// or https:// URL of a collector that speaks OTLP over HTTP, such as http://127.0.0.1:4318")
	}
	return nil
}

// traceFaults tells of spans that could not be sent, once a minute at most: each
// batch fails for as long as the collector is away.
type traceFaults struct {
	log *slog.Logger

	mu    sync.Mutex
	told  time.Time
	since int // failures since then
}

// Handle takes a failure from the SDK.
func (f *traceFaults) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since++
	if now := time.Now(); f.told.IsZero() || now.Sub(f.told) >= time.Minute {
		f.log.Warn("traces are not taken; they are let go", "error", err, "failures", f.since)
		f.told, f.since = now, 0
	}
}

// spans makes the spans; nil when there is no tracing.
func (t *tracing) spans() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// close sends what is left.
func (t *tracing) close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // what it could not send was logged
	}
}

// over gives a store whose transactions are spans of whatever they are part of.
// Those of nothing, as when a node looks whether there is work, are none.
func (t *tracing) over(store usance.Store, c config) usance.Store {
	if t == nil {
		return store
	}
	system := semconv.DBSystemNameSQLite
	if c.onPostgres() {
		system = semconv.DBSystemNamePostgreSQL
	}
	return &tracedStore{Store: store, tracer: t.tracer, system: trace.WithAttributes(system)}
}

type tracedStore struct {
	usance.Store
	tracer trace.Tracer
	system trace.SpanStartEventOption
}

// View reads within a span.
func (s *tracedStore) View(ctx context.Context, do func(usance.View) error) error {
	return s.within(ctx, "store.view", func(ctx context.Context) error { return s.Store.View(ctx, do) })
}

// Update writes within a span.
func (s *tracedStore) Update(ctx context.Context, locks usance.Locks, do func(usance.Tx) error) error {
	return s.within(ctx, "store.update", func(ctx context.Context) error { return s.Store.Update(ctx, locks, do) })
}

func (s *tracedStore) within(ctx context.Context, name string, do func(ctx context.Context) error) error {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return do(ctx)
	}
	ctx, span := s.tracer.Start(ctx, name, s.system, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	err := do(ctx)
	if usance.IsFault(err) {
		failed(span, err)
	}
	return err
}

// tasks gives tasks each attempt of which is a trace of its own.
func (t *tracing) tasks(list []jobs.Task) []jobs.Task {
	if t == nil {
		return list
	}
	for i := range list {
		run, name := list[i].Run, list[i].Name
		list[i].Run = func(ctx context.Context, fired []string) error {
			ctx, span := t.tracer.Start(ctx, "job "+name, trace.WithNewRoot(), trace.WithAttributes(
				attribute.String("usance.job", name), attribute.StringSlice("usance.job.schedule", fired)))
			defer span.End()
			err := run(ctx, fired)
			if err != nil {
				failed(span, err)
			}
			return err
		}
	}
	return list
}

// failed notes an error in its span.
func failed(span trace.Span, err error) {
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
