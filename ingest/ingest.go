// Package ingest takes events in: it validates them, groups the requests that
// arrive together into one transaction, and in that transaction looks their
// keys up, holds them against licence and limits, and writes events, counters,
// alerts and overages. It answers when the transaction is durable.
//
// A group is first judged as if every key were new, which is the rule. When
// the store says otherwise, or when any event is refused, the transaction is
// rolled back and the group judged again with its counters locked first and
// its keys looked up after that: no refusal is answered for an event that was
// counted before.
package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
)

// Store is what ingest asks of the store.
type Store interface {
	usance.Updater
	usance.Viewer
	usance.Sharder
}

// Options are the settings of an Ingester; zero fields take the defaults named.
type Options struct {
	Now        func() time.Time   // the clock; time.Now
	LateGrace  time.Duration      // how far back an ordinary key may date an event; 24 h
	GroupSize  int                // events of a group, about; 4,000
	MaxWait    time.Duration      // how long a group waits for company under load; 2 ms
	Queue      int                // events that may wait; 100,000
	Lanes      int                // groups committed at once, which helps where the store takes several, each of licences of its own; 1, at most Groups
	Shared     bool               // transactions meet others in the store: of other nodes, or, which follows from several, of other lanes
	Split      int                // groups of licences whose events are left pending apart; MaxGroups, which is the most
	SessionKey []byte             // the key of session hashes; required
	Committed  func(usance.Batch) // told of every batch that is pending, with its events
	Logger     *slog.Logger
	Spans      trace.Tracer // makes a span of each transaction, part of what asked for it; none
}

// Request is the events of one call.
type Request struct {
	Events []usance.Event
	// Errors, when not nil, holds for each event why it could not be decoded.
	Errors []*usance.Error
	// Atomic counts all events or none.
	Atomic bool
	// Backdate allows events older than the late grace.
	Backdate bool
	// Actor is the key that sends, for the audit trail: of what the events make of
	// overages whose period is closed.
	Actor string
}

// Ingester groups requests and commits them. Its methods may be called at once
// from many goroutines.
type Ingester struct {
	store    Store
	shards   usance.Shards
	o        Options
	lanes    []chan []*request // what was put in together
	waiting  atomic.Int64      // events in the queues and being committed
	metrics  *metrics
	counters knownCounters
	failed   atomic.Int64 // when the last commit failed, in nanoseconds; 0 once one has not

	mu     sync.RWMutex // held shared while a request is put into the queue
	closed bool
	done   chan struct{} // closed when the last lane has ended
}

// request is a Request, or the part of it that a lane takes, on its way through.
type request struct {
	items   []item
	places  []int // of the items in the whole; nil when they are the whole
	lane    int
	shard   int // of all its licences; 0: of several
	atomic  bool
	actor   string
	results []usance.Result
	done    chan error
	span    trace.SpanContext // that it is part of
}

// item is one event on its way through.
type item struct {
	event    usance.Event
	err      *usance.Error      // refused before the store was asked
	backdate bool               // exempt from the rule on backdating
	audit    *usance.AuditEntry // written when the event is counted
	refusal  *usance.Error      // what licence, clock and closed days say against it
}

// New starts an Ingester. Close stops it.
func New(store Store, o Options) *Ingester {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LateGrace == 0 {
		o.LateGrace = 24 * time.Hour
	}
	if o.GroupSize == 0 {
		o.GroupSize = 4000
	}
	if o.MaxWait == 0 {
		o.MaxWait = 2 * time.Millisecond
	}
	if o.Queue == 0 {
		o.Queue = 100_000
	}
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	o.Lanes = min(o.Lanes, usance.Groups)
	o.Shared = o.Shared || o.Lanes > 1 // what is atomic may be of the licences of several
	if o.Split <= 0 || o.Split > usance.MaxGroups {
		o.Split = usance.MaxGroups
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Committed == nil {
		o.Committed = func(usance.Batch) {}
	}
	in := &Ingester{store: store, shards: store.Shards(), o: o, metrics: newMetrics(), done: make(chan struct{})}
	var lanes sync.WaitGroup
	for range o.Lanes {
		// Every request holds at least one event of the bound on waiting events.
		lane := make(chan []*request, o.Queue)
		in.lanes = append(in.lanes, lane)
		lanes.Go(func() { in.run(lane) })
	}
	go func() {
		lanes.Wait()
		close(in.done)
	}()
	return in
}

// Track counts the events of a request and answers one result for each, in
// order, once they are durable. An error is about the request as a whole, and
// then nothing of it was counted, with two exceptions, in which a retry with the
// same keys settles it: the context ended while the commit was under way; or
// results are given beside the error, since one lane failed and another did not.
func (in *Ingester) Track(ctx context.Context, req Request) ([]usance.Result, error) {
	if len(req.Events) == 0 {
		return nil, usance.Invalid("events", "must hold at least one event")
	}
	if len(req.Events) > usance.MaxBatch {
		return nil, usance.NewError(usance.CodeTooLarge, "a request holds at most %d events; send several, or NDJSON", usance.MaxBatch)
	}
	r := &request{atomic: req.Atomic, actor: req.Actor, items: make([]item, len(req.Events))}
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	for i := range req.Events {
		it := &r.items[i]
		it.event = req.Events[i]
		it.backdate = req.Backdate
		if req.Errors != nil && req.Errors[i] != nil {
			it.err = req.Errors[i]
			continue
		}
		in.prepare(it, now)
	}
	return in.submit(ctx, r)
}

// prepare validates an event and sets what needs no store.
func (in *Ingester) prepare(it *item, now time.Time) {
	e := &it.event
	if e.Quantity == 0 {
		e.Quantity = 1
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt, e.Stamped = now, true
	}
	e.OccurredAt = e.OccurredAt.UTC().Truncate(time.Microsecond)
	if err := e.Validate(); err != nil {
		if !errors.As(err, &it.err) {
			it.err = usance.WrapError(err, usance.CodeInternal, "the event could not be checked")
		}
		return
	}
	e.ReceivedAt = now
	e.ID = usance.NewID(now)
	if e.IdempotencyKey == "" {
		e.IdempotencyKey = e.ID.String()
	}
	e.SessionHash = in.hashSession(e.SessionID)
	e.VoidOf = usance.ID{}
	e.HashPayload()
	e.SessionID = ""
}

// hashSession is a keyed hash: SHA-256 over the store's secret and the id, cut
// to 64 bits. 0 stands for no session.
func (in *Ingester) hashSession(id string) uint64 {
	if id == "" {
		return 0
	}
	b := make([]byte, 0, 320)
	b = append(append(b, in.o.SessionKey...), id...)
	sum := sha256.Sum256(b)
	return max(1, binary.LittleEndian.Uint64(sum[:8]))
}

// Close stops taking requests, commits those that wait, and returns when the
// last has been answered.
func (in *Ingester) Close(ctx context.Context) error {
	in.mu.Lock()
	if !in.closed {
		in.closed = true
		for _, lane := range in.lanes {
			close(lane)
		}
	}
	in.mu.Unlock()
	select {
	case <-in.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing ingest: %w", ctx.Err())
	}
}

// failureShown is how long a failed commit makes ingest seem unfit, unless one
// succeeds: long enough to be seen, short enough that traffic comes back to try.
const failureShown = 20 * time.Second

// Accepting tells whether requests are taken and, as far as the last one told,
// can be recorded.
func (in *Ingester) Accepting() bool {
	in.mu.RLock()
	defer in.mu.RUnlock()
	at := in.failed.Load()
	return !in.closed && (at == 0 || in.o.Now().Sub(time.Unix(0, at)) > failureShown)
}

// hopeless is after how many requests in a row, of a group that failed, that found
// the store unavailable the rest get that answer untried: each waits for it as long
// as the group did.
const hopeless = 2

// settle commits a group and answers its requests. A group that fails is
// tried again request by request, so that nobody's input harms a neighbour.
func (in *Ingester) settle(group []*request) {
	err := in.try(group)
	if err == nil || len(group) == 1 {
		in.answer(group, err)
		return
	}
	in.metrics.regrouped.Inc()
	failed := 0
	for i := range group {
		if failed == hopeless {
			in.answer(group[i:], err)
			return
		}
		err = in.try(group[i : i+1])
		in.answer(group[i:i+1], err)
		if usance.ErrorCode(err) == usance.CodeUnavailable {
			failed++
		} else {
			failed = 0
		}
	}
}

func (in *Ingester) try(group []*request) error {
	ctx, end := in.within(group)
	err := in.commit(ctx, group)
	end(err)
	if err != nil && len(group) == 1 {
		in.o.Logger.ErrorContext(ctx, "ingest commit failed", "events", len(group[0].items), "error", err)
	}
	return err
}

// contained is fn, of which a panic is a failure: it is told of, what the transaction
// wrote is undone, and those who wait have their answer, as in a handler of HTTP.
func (in *Ingester) contained(ctx context.Context, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ingest panicked: %v", p)
			in.o.Logger.ErrorContext(ctx, "ingest panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return fn()
}

func (in *Ingester) answer(group []*request, err error) {
	in.note(err)
	for _, r := range group {
		in.waiting.Add(-int64(len(r.items)))
		if err == nil {
			r.done <- nil
			continue
		}
		own := *outward(err) // who has it may add to it
		r.done <- &own
	}
}

// within begins the span of a group's transaction: part of the first request
// that is traced, with links to the others. A client that leaves does not undo
// its neighbours: the context is nobody's.
func (in *Ingester) within(group []*request) (ctx context.Context, end func(error)) {
	ctx = context.Background()
	if in.o.Spans == nil {
		return ctx, func(error) {}
	}
	events := 0
	var parent trace.SpanContext
	var links []trace.Link
	for _, r := range group {
		events += len(r.items)
		switch {
		case !parent.IsSampled() && r.span.IsValid():
			parent = r.span
		case r.span.IsSampled():
			links = append(links, trace.Link{SpanContext: r.span})
		}
	}
	ctx, span := in.o.Spans.Start(trace.ContextWithSpanContext(ctx, parent), "ingest", trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("usance.requests", len(group)), attribute.Int("usance.events", events)))
	return ctx, func(err error) {
		if usance.IsFault(err) {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// note remembers whether the store takes commits.
func (in *Ingester) note(err error) {
	switch code := usance.ErrorCode(err); {
	case err == nil:
		in.failed.Store(0)
	case code == usance.CodeUnavailable || code == usance.CodeInternal:
		in.failed.Store(in.o.Now().UnixNano())
	}
}

// outward is a failed commit as the client sees it.
func outward(err error) *usance.Error {
	var known *usance.Error
	if errors.As(err, &known) {
		if known.Code == usance.CodeUnavailable && known.RetryAfter == 0 {
			known.RetryAfter = time.Second
		}
		return known
	}
	return usance.WrapError(err, usance.CodeInternal, "the events could not be counted; send them again with the same idempotency keys")
}
