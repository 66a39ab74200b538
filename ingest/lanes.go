package ingest

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/usance/usance"
)

// A lane commits one group after the other. Each has licences of its own, so
// that no lane waits for counters that another one has locked; a request whose
// events are of several lanes is divided among them, unless it is atomic. Where
// licences are distributed, a lane has shards of its own, and a transaction holds
// licences of one. Requests of few events keep to half of the lanes, which have the
// licences of all then: what a transaction costs however few its events are is
// shared by twice as many.

// fewEvents is of how many a request at least takes all lanes.
const fewEvents = 16

// laneOf gives the lane of a licence among the first so many.
func (in *Ingester) laneOf(licenseID string, lanes int) int {
	if lanes == 1 {
		return 0
	}
	if in.shards.Several() {
		return in.shards.Of(licenseID) % lanes
	}
	return usance.GroupOf(licenseID, usance.Groups) % lanes
}

// divide gives the parts of a request, each for a lane. What is atomic is one
// transaction, and stays whole.
func (in *Ingester) divide(r *request) []*request {
	lanes := len(in.lanes)
	if len(r.items) < fewEvents && !in.shards.Several() {
		lanes = (lanes + 1) / 2
	}
	r.lane = in.laneOf(r.items[0].event.LicenseID, lanes)
	if in.shards.Several() {
		return in.divideByShard(r)
	}
	several := false
	if lanes > 1 && !r.atomic {
		for i := range r.items {
			several = several || in.laneOf(r.items[i].event.LicenseID, lanes) != r.lane
		}
	}
	if !several {
		r.done = make(chan error, 1)
		return []*request{r}
	}
	var parts []*request
	byLane := make([]*request, lanes)
	fair := 2*len(r.items)/lanes + 1 // more of one lane's are few
	for i := range r.items {
		lane := in.laneOf(r.items[i].event.LicenseID, lanes)
		part := byLane[lane]
		if part == nil {
			part = &request{lane: lane, actor: r.actor, items: make([]item, 0, fair), places: make([]int, 0, fair), done: make(chan error, 1)}
			byLane[lane] = part
			parts = append(parts, part)
		}
		part.items = append(part.items, r.items[i])
		part.places = append(part.places, i)
	}
	return parts
}

// divideByShard is divide where licences are distributed.
func (in *Ingester) divideByShard(r *request) (parts []*request) {
	byShard := make(map[int]*request, 1)
	for i := range r.items {
		id := r.items[i].event.LicenseID
		shard := in.shards.Of(id)
		part := byShard[shard]
		if part == nil {
			part = &request{lane: in.laneOf(id, len(in.lanes)), shard: shard, actor: r.actor, done: make(chan error, 1)}
			byShard[shard] = part
			parts = append(parts, part)
		}
		part.items = append(part.items, r.items[i])
		part.places = append(part.places, i)
	}
	if len(parts) > 1 && !r.atomic {
		return parts
	}
	if r.done = make(chan error, 1); len(parts) == 1 {
		r.shard = parts[0].shard
	}
	return []*request{r}
}

// byShard divides a group into those of one shard each.
func byShard(group []*request) (groups [][]*request) {
	at := make(map[int]int, 1)
	for _, r := range group {
		n, ok := at[r.shard]
		if !ok {
			n = len(groups)
			at[r.shard] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], r)
	}
	return groups
}

// submit queues a request and waits for its answer.
func (in *Ingester) submit(ctx context.Context, r *request) ([]usance.Result, error) {
	parts := in.divide(r)
	if err := in.send(ctx, parts); err != nil {
		return nil, err
	}
	failed := make([]error, len(parts))
	var first error
	counted := false
	for i, part := range parts {
		if failed[i] = part.wait(ctx); failed[i] == nil {
			counted = true
		} else if first == nil {
			first = failed[i]
		}
	}
	switch {
	case !counted:
		return nil, first
	case len(parts) == 1:
		return r.results, nil
	}
	results := make([]usance.Result, len(r.items))
	for i, part := range parts {
		for j, place := range part.places {
			if failed[i] != nil {
				results[place] = refusal(&part.items[j].event, usance.StatusRefused, outward(failed[i]))
			} else {
				results[place] = part.results[j]
			}
		}
	}
	return results, first
}

// send queues what was divided, as part of the span that asks.
func (in *Ingester) send(ctx context.Context, parts []*request) error {
	if in.o.Spans != nil {
		for _, part := range parts {
			part.span = trace.SpanContextFromContext(ctx)
		}
	}
	return in.enqueue(parts...)
}

func (r *request) wait(ctx context.Context) error {
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return usance.WrapError(ctx.Err(), usance.CodeUnavailable,
			"the request ended before its commit; send it again with the same idempotency keys")
	}
}

// enqueue puts requests into their lanes, all of them or none; those of a lane
// are committed together, as far as they can be.
func (in *Ingester) enqueue(requests ...*request) error {
	n := int64(eventsOf(requests))
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.closed {
		return usance.NewError(usance.CodeUnavailable, "the server is shutting down; send the request again")
	}
	if in.waiting.Add(n) > int64(in.o.Queue) {
		in.waiting.Add(-n)
		in.metrics.overloaded.Inc()
		err := usance.NewError(usance.CodeOverloaded, "more events wait than can be counted; nothing of this request was; send it again")
		err.RetryAfter = time.Second
		return err
	}
	byLane := make(map[int][]*request, 1)
	for _, r := range requests {
		byLane[r.lane] = append(byLane[r.lane], r)
	}
	for lane, together := range byLane {
		in.lanes[lane] <- together // never blocks: a lane holds as many as events may wait
	}
	return nil
}

// Busy tells whether events wait for their commit.
func (in *Ingester) Busy() bool { return in.waiting.Load() > 0 }

// run commits a lane's groups until it is closed and empty.
func (in *Ingester) run(lane <-chan []*request) {
	busy := false // the last group held several requests: wait for company
	for first := range lane {
		group := in.gather(lane, first, busy)
		busy = len(group) > 1
		if !in.shards.Several() {
			in.settle(group)
			continue
		}
		for _, some := range byShard(group) {
			in.settle(some)
		}
	}
}

// gather takes what waits, up to about GroupSize events, and under load waits a
// moment for more.
func (in *Ingester) gather(lane <-chan []*request, first []*request, busy bool) []*request {
	group := first
	n := eventsOf(first)
	var timeout <-chan time.Time
	if busy {
		timer := time.NewTimer(in.o.MaxWait)
		defer timer.Stop()
		timeout = timer.C
	}
	for n < in.o.GroupSize {
		var more []*request
		var ok bool
		select {
		case more, ok = <-lane:
		default:
			if timeout == nil {
				return group
			}
			select {
			case more, ok = <-lane:
			case <-timeout:
				return group
			}
		}
		if !ok {
			return group
		}
		group = append(group, more...)
		n += eventsOf(more)
	}
	return group
}

func eventsOf(requests []*request) (n int) {
	for _, r := range requests {
		n += len(r.items)
	}
	return n
}
