package api

import (
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A caller's trace goes on through a request that bears a good key, and through
// no other: those begin one of their own, and are not sampled because a header
// says so.
func TestWhoseTraceGoesOn(t *testing.T) {
	t.Parallel()
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	s := newServer(t)
	out := tracetest.NewInMemoryExporter()
	all := sdktrace.NewTracerProvider(sdktrace.WithSyncer(out))
	none := sdktrace.NewTracerProvider(sdktrace.WithSyncer(out), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	for _, c := range []struct {
		what, method, path, route, key string
		provider                       *sdktrace.TracerProvider
		status                         int
		sampled, goesOn                bool
	}{
		{"a good key", "GET", "/v1/licenses/l", "/v1/licenses/{id}", adminKey, none, 404, true, true},
		{"a good key, over tRPC", "GET", "/api/trpc/usage.checkUsage", "/api/trpc/{procedures...}", adminKey, none, 400, true, true},
		{"a bad key", "GET", "/v1/licenses/l", "/v1/licenses/{id}", "usk_bad", none, 401, false, false},
		{"no key", "GET", "/v1/licenses/l", "/v1/licenses/{id}", "", none, 401, false, false},
		{"a bad key where all is sampled", "GET", "/v1/licenses/l", "/v1/licenses/{id}", "usk_bad", all, 401, true, false},
		{"no key over tRPC where all is sampled", "GET", "/api/trpc/usage.checkUsage", "/api/trpc/{procedures...}", "", all, 401, true, false},
	} {
		out.Reset()
		s.a.d.Spans = c.provider.Tracer("test")
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.key != "" {
			req.Header.Set("Authorization", "Bearer "+c.key)
		}
		req.Header.Set("Traceparent", "00-"+trace+"-"+span+"-01")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.what, resp.StatusCode, c.status)
		}
		spans := out.GetSpans()
		if !c.sampled {
			if len(spans) > 0 {
				t.Errorf("%s: sampled: %v", c.what, spans)
			}
			continue
		}
		if len(spans) == 0 {
			t.Errorf("%s: no span", c.what)
			continue
		}
		got := spans[len(spans)-1] // the request's ends last
		if goesOn := got.SpanContext.TraceID().String() == trace && got.Parent.SpanID().String() == span; goesOn != c.goesOn {
			t.Errorf("%s: goes on %v, want %v", c.what, goesOn, c.goesOn)
		}
		if linked := len(got.Links) == 1 && got.Links[0].SpanContext.SpanID().String() == span; linked == c.goesOn {
			t.Errorf("%s: links %v", c.what, got.Links)
		}
		attrs := attribute.NewSet(got.Attributes...)
		if route, _ := attrs.Value("http.route"); route.AsString() != c.route {
			t.Errorf("%s: http.route is %q, want %q", c.what, route.AsString(), c.route)
		}
	}
}
