package main

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/mattn/go-isatty"
	"go.opentelemetry.io/otel/trace"
)

// newLogger logs to w as the settings say: JSON for machines, text for people.
func newLogger(w io.Writer, c config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	text := c.LogFormat == "text"
	if c.LogFormat == "auto" {
		f, ok := w.(*os.File)
		text = ok && isatty.IsTerminal(f.Fd())
	}
	if text {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
	}
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: forAgents})
	return slog.New(traced{h.WithAttrs([]slog.Attr{slog.String("service", c.ServiceName)})})
}

// forAgents gives a line of JSON the form that agents read as it is: the time as
// timestamp, in UTC, and durations in seconds, with the unit in their name. The
// names status, host, service and message mean something of their own to them,
// and are no attributes of ours.
func forAgents(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		return slog.String("timestamp", a.Value.Time().UTC().Format(time.RFC3339Nano))
	case a.Value.Kind() == slog.KindDuration:
		return slog.Float64(a.Key+"Seconds", a.Value.Duration().Seconds())
	}
	return a
}

// traced says in each line to which span it belongs, in the form of
// OpenTelemetry and in that of Datadog, where there is one.
type traced struct{ slog.Handler }

// Handle writes a line.
func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		id, of := span.SpanID(), span.TraceID()
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", of.String()), slog.String("span_id", id.String()),
			slog.String("dd.trace_id", strconv.FormatUint(binary.BigEndian.Uint64(of[8:]), 10)),
			slog.String("dd.span_id", strconv.FormatUint(binary.BigEndian.Uint64(id[:]), 10)))
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs gives a handler whose lines bear the attributes.
func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

// WithGroup gives a handler whose attributes stand in a group.
func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }
