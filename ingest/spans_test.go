package ingest

import (
	"errors"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
)

// The span of a transaction for several requests is part of the first that is
// sampled, and has links to the others that are: so it is seen from each of them.
func TestSpanOfGroup(t *testing.T) {
	t.Parallel()
	traced := func(n byte, flags trace.TraceFlags) *request {
		return &request{items: make([]item, n), span: trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{n}, SpanID: trace.SpanID{n}, TraceFlags: flags})}
	}
	untraced := &request{items: make([]item, 1)}
	const yes, no = trace.FlagsSampled, trace.TraceFlags(0)
	for what, c := range map[string]struct {
		group  []*request
		parent byte // 0: none
		links  []byte
		events int64
		kept   bool
	}{
		"all sampled":           {[]*request{traced(1, yes), traced(2, yes), traced(3, yes)}, 1, []byte{2, 3}, 6, true},
		"not the first":         {[]*request{traced(1, no), traced(2, yes), traced(3, yes)}, 2, []byte{3}, 6, true},
		"none in between":       {[]*request{traced(1, yes), untraced, traced(2, no)}, 1, nil, 4, true},
		"behind an untraced":    {[]*request{untraced, traced(1, no), traced(2, yes)}, 2, nil, 4, true},
		"no request is sampled": {[]*request{traced(1, no), traced(2, no)}, 0, nil, 0, false},
		"no request is traced":  {[]*request{untraced, untraced}, 0, nil, 2, true},
	} {
		out := tracetest.NewInMemoryExporter()
		in := &Ingester{o: Options{Spans: sdktrace.NewTracerProvider(sdktrace.WithSyncer(out)).Tracer("test")}}
		ctx, end := in.within(c.group)
		if ctx.Err() != nil || ctx.Done() != nil {
			t.Errorf("%s: the context is a client's", what)
		}
		end(nil)
		spans := out.GetSpans()
		if !c.kept {
			if len(spans) > 0 {
				t.Errorf("%s: %+v", what, spans)
			}
			continue
		}
		if len(spans) != 1 {
			t.Errorf("%s: %d spans", what, len(spans))
			continue
		}
		got := spans[0]
		if got.Parent.SpanID() != (trace.SpanID{c.parent}) || c.parent > 0 && got.SpanContext.TraceID() != (trace.TraceID{c.parent}) {
			t.Errorf("%s: part of %v, want %d", what, got.Parent.SpanID(), c.parent)
		}
		var links []byte
		for _, l := range got.Links {
			id := l.SpanContext.SpanID()
			links = append(links, id[0])
		}
		if string(links) != string(c.links) {
			t.Errorf("%s: links to %v, want %v", what, links, c.links)
		}
		for _, a := range got.Attributes {
			if a.Key == "usance.requests" && a.Value.AsInt64() != int64(len(c.group)) || a.Key == "usance.events" && a.Value.AsInt64() != c.events {
				t.Errorf("%s: %v", what, got.Attributes)
			}
		}
	}
}

// A batch that was refused as a whole is answered, not failed.
func TestSpanOfGroupThatFailed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{nil, codes.Unset},
		{usance.NewError(usance.CodeAborted, "another event was refused"), codes.Unset},
		{errors.New("the disk is full"), codes.Error},
	} {
		out := tracetest.NewInMemoryExporter()
		in := &Ingester{o: Options{Spans: sdktrace.NewTracerProvider(sdktrace.WithSyncer(out)).Tracer("test")}}
		_, end := in.within([]*request{{}})
		end(c.err)
		if got := out.GetSpans()[0].Status.Code; got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
