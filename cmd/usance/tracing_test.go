package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// collector takes spans by OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	from  map[string]string // attributes of who sent them
	calls []string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{from: make(map[string]string)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req coltrace.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls = append(c.calls, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"))
		for _, of := range req.ResourceSpans {
			for k, v := range attributes(of.Resource.Attributes) {
				c.from[k] = v
			}
			for _, s := range of.ScopeSpans {
				c.spans = append(c.spans, s.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func attributes(list []*common.KeyValue) map[string]string {
	out := make(map[string]string)
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.Key] = fmt.Sprint(v.IntValue)
		}
	}
	return out
}

// find gives the first span of the name that fits.
func (c *collector) find(t *testing.T, name string, fits func(*tracepb.Span) bool) *tracepb.Span {
	t.Helper()
	for _, s := range c.spans {
		if s.Name == name && (fits == nil || fits(s)) {
			return s
		}
	}
	var names []string
	for _, s := range c.spans {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	t.Fatalf("there is no such span %q; there are %v", name, slices.Compact(names))
	return nil
}

// child gives the span of the name that is part of another.
func (c *collector) child(t *testing.T, of *tracepb.Span, name string) *tracepb.Span {
	t.Helper()
	return c.find(t, name, func(s *tracepb.Span) bool {
		return string(s.ParentSpanId) == string(of.SpanId) && string(s.TraceId) == string(of.TraceId)
	})
}

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
)

// Requests, transactions, folds and jobs are spans that hang together, a
// caller's own trace goes on through them, and the log names it.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"sqlite", "postgresql"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			environ := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_SERVICE_NAME=usance-test", "USANCE_LOG_LEVEL=debug"}
			var s *testServer
			if store == "sqlite" {
				s = startServer(t, t.TempDir(), environ...)
			} else {
				s = startNode(t, pgtest.URL(t), environ...)
				await(t, s.isReady)
			}
			s.license("")
			req, err := http.NewRequest("POST", s.url+"/v1/events", strings.NewReader(`{"licenseId":"lic_1","usageType":"view","idempotencyKey":"k"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+s.key)
			req.Header.Set("Traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
			resp, err := http.DefaultClient.Do(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
			s.must("POST", "/v1/jobs/checkUsageThresholds/run", "", nil)
			s.must("GET", "/api/trpc/usage.getThresholdStatus?licenseId=lic_1", "", nil)
			if code := s.stop(); code != exitOK {
				t.Fatalf("exit %d: %s", code, s.out)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.check(t, store)
			checkTracedLog(t, s.out.String())
		})
	}
}

func (c *collector) check(t *testing.T, store string) {
	t.Helper()
	for _, call := range c.calls {
		if call != "POST /v1/traces application/x-protobuf" {
			t.Errorf("the collector was sent %s", call)
		}
	}
	if c.from["service.name"] != "usance-test" || c.from["service.version"] == "" {
		t.Errorf("spans are of %v", c.from)
	}
	request := c.find(t, "usage.trackEvents", nil)
	if hex.EncodeToString(request.TraceId) != callersTrace || hex.EncodeToString(request.ParentSpanId) != callersSpan || request.Kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("the request's span: %v", request)
	}
	if a := attributes(request.Attributes); a["http.request.method"] != "POST" || a["http.response.status_code"] != "200" || a["http.route"] == "" {
		t.Errorf("the request's span: %v", a)
	}
	group := c.child(t, request, "ingest")
	if a := attributes(group.Attributes); a["usance.events"] != "1" || a["usance.requests"] != "1" {
		t.Errorf("the span of the group: %v", a)
	}
	if a := attributes(c.child(t, group, "store.update").Attributes); a["db.system.name"] != store {
		t.Errorf("the span of the transaction: %v", a)
	}
	folded := c.find(t, "fold", func(s *tracepb.Span) bool { return attributes(s.Attributes)["usance.events"] == "1" })
	if len(folded.ParentSpanId) > 0 {
		t.Error("the fold is part of another trace")
	}
	c.child(t, folded, "store.update")
	c.find(t, "usage.trackEvents", func(s *tracepb.Span) bool { return attributes(s.Attributes)["http.route"] == "/v1/events" })
	job := c.find(t, "job checkUsageThresholds", nil)
	c.child(t, job, "store.view")
	c.child(t, c.find(t, "trpc", nil), "usage.getThresholdStatus")
	for _, s := range c.spans {
		if strings.HasPrefix(s.Name, "store.") && len(s.ParentSpanId) == 0 {
			t.Error("a transaction is no part of anything")
		}
	}
}

// checkTracedLog looks at the line of the request as an agent reads it.
func checkTracedLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["operation"] != "usage.trackEvents" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(entry["timestamp"]))
		took, isNumber := entry["tookSeconds"].(float64)
		if err != nil || at.Location() != time.UTC || entry["level"] != "DEBUG" || entry["msg"] != "request" || entry["service"] != "usance-test" || !isNumber || took <= 0 || took > 60 {
			t.Errorf("%v in %s", err, line)
		}
		// The lower half of the trace's id, as a number.
		if entry["trace_id"] != callersTrace || len(fmt.Sprint(entry["span_id"])) != 16 || entry["dd.trace_id"] != "9532127138774266268" || entry["dd.span_id"] == nil {
			t.Error(line)
		}
		for _, taken := range []string{"status", "host", "message", "time"} {
			if entry[taken] != nil {
				t.Errorf("the line holds %q, which agents take for something else: %s", taken, line)
			}
		}
		return
	}
	t.Errorf("the log has no line of the request:\n%s", log)
}

// Without a collector there is nothing of all that: the very same store, and no
// spans made.
func TestNoTraces(t *testing.T) {
	t.Parallel()
	c, err := loadConfig([]string{"USANCE_DATA_DIR=" + t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	none, err := newTracing(t.Context(), c, nil)
	if err != nil || none != nil || none.spans() != nil {
		t.Fatal(none, err)
	}
	s := stages(t, &demoClock{t: time.Now()})
	if none.over(s.store, c) != s.store {
		t.Error("the store is wrapped")
	}
	none.close(t.Context())
	if _, err := loadConfig([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, nil); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_ENDPOINT  must be the http:// or https:// URL") {
		t.Errorf("a collector that is no URL: %v", err)
	}
}

// Who switches OpenTelemetry off in the environment gets none, in whichever case.
func TestTracesSwitchedOff(t *testing.T) {
	c, err := loadConfig([]string{"USANCE_DATA_DIR=" + t.TempDir(), "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range [][2]string{{"OTEL_SDK_DISABLED", "true"}, {"OTEL_SDK_DISABLED", "True"}, {"OTEL_TRACES_EXPORTER", "none"}} {
		t.Run(set[0]+"="+set[1], func(t *testing.T) {
			t.Setenv(set[0], set[1])
			if none, err := newTracing(t.Context(), c, nil); err != nil || none != nil {
				t.Errorf("%v, %v", none, err)
			}
		})
	}
}

// A collector that is down, or does not take spans, harms nothing.
func TestTracesNotTaken(t *testing.T) {
	t.Parallel()
	deaf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer deaf.Close()
	s := startServer(t, t.TempDir(), "OTEL_EXPORTER_OTLP_ENDPOINT="+deaf.URL)
	s.license("")
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view"}`, nil)
	if code := s.stop(); code != exitOK || !strings.Contains(s.out.String(), "traces are not taken") {
		t.Errorf("exit %d: %s", code, s.out)
	}
}

// A transaction's span is an error when the store failed, and not when the answer
// was no, or the transaction was to be undone or carried out again.
func TestSpansOfFaultsAlone(t *testing.T) {
	t.Parallel()
	s := stages(t, &demoClock{t: time.Now()})
	out := tracetest.NewInMemoryExporter()
	tr := &tracing{tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(out)).Tracer("test")}
	store := tr.over(s.store, s.cfg)
	for _, c := range []struct {
		err   error
		fault bool
	}{
		{nil, false},
		{usance.LicenseNotFound("l"), false},
		{usance.NewError(usance.CodeAborted, "another event was refused"), false},
		{usance.ErrKeyExists, false},
		{fmt.Errorf("on purpose: %w", usance.ErrUndo), false},
		{context.Canceled, false},
		{errors.New("a pipe broke"), true},
		{usance.NewError(usance.CodeUnavailable, "the database does not answer"), true},
		{usance.NewError(usance.CodeInternal, "a fault"), true},
	} {
		out.Reset()
		ctx, span := tr.tracer.Start(t.Context(), "whole")
		if err := store.Update(ctx, usance.Locks{}, func(usance.Tx) error { return c.err }); !errors.Is(err, c.err) {
			t.Fatalf("%v came back as %v", c.err, err)
		}
		spans := out.GetSpans()
		if len(spans) != 1 || spans[0].Name != "store.update" || (spans[0].Status.Code == codes.Error) != c.fault {
			t.Errorf("%v: %+v", c.err, spans)
		}
		span.End()
	}
}

// A collector that is away is told of once a minute, however often it fails.
func TestTraceFaultsAreToldRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &traceFaults{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 13 { // 0 to 60 seconds
			f.Handle(errors.New("connection refused"))
			time.Sleep(5 * time.Second)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.HasSuffix(lines[0], "failures=1") || !strings.HasSuffix(lines[1], "failures=12") {
			t.Errorf("%q", lines)
		}
	})
}
