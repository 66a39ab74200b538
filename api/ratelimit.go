package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// RateLimits bound how fast requests come; 0 is no bound.
type RateLimits struct {
	Calls  int // operations a second that one key may call, those that send events apart
	Events int // events a second that one key may send
	// Refused is how many requests without a good key a minute one address may
	// send to this process. Loopback addresses have no bound.
	Refused int
	// Proxies are those whose X-Forwarded-For names the address of a client.
	Proxies []netip.Prefix
	// Shared keeps the buckets of keys for several nodes; each process keeps its
	// own when it is nil.
	Shared Buckets
}

// Buckets keeps buckets of tokens by name: each holds burst tokens when full,
// which it is at first, and gets rate more a second.
type Buckets interface {
	// Take takes n tokens. Unless the bucket holds so many, none is taken; with
	// debt they are taken all the same, and left is below 0 until they have come.
	// n 0 looks, and a negative n puts tokens back. known is false when nobody
	// knows, since what keeps the buckets is away.
	Take(ctx context.Context, name string, rate float64, burst, n int, debt bool) (taken bool, left float64, known bool)
}

// limits holds the bounds that are set; the others are nil.
type limits struct {
	calls, events, addresses *buckets
	proxies                  []netip.Prefix
}

func newLimits(r RateLimits, now func() time.Time, refused *prometheus.CounterVec) limits {
	return limits{
		calls: newBuckets("calls", float64(r.Calls), max(r.Calls, maxCalls), now, refused, r.Shared),
		// The largest batch fits into a full bucket, however low the rate.
		events:    newBuckets("events", float64(r.Events), max(r.Events, usance.MaxBatch), now, refused, r.Shared),
		addresses: newBuckets("addresses", float64(r.Refused)/60, r.Refused, now, refused, nil),
		proxies:   r.Proxies,
	}
}

// buckets is one limit: a bucket for each name. A nil one limits nothing.
type buckets struct {
	name    string
	rate    float64 // tokens a second
	burst   int     // tokens of a full bucket
	now     func() time.Time
	refused prometheus.Counter
	shared  Buckets // nil when each process counts for itself
	own     ownBuckets
}

func newBuckets(name string, perSecond float64, burst int, now func() time.Time, refused *prometheus.CounterVec, shared Buckets) *buckets {
	counter := refused.WithLabelValues(name) // so that it is seen before it moves
	if perSecond <= 0 {
		return nil
	}
	return &buckets{name, perSecond, burst, now, counter, shared, newOwnBuckets(now)}
}

// ask takes tokens, from the bucket that nodes share if that is there. What is
// left of that is noted here: a process that has to go on by itself goes on from
// there.
func (b *buckets) ask(ctx context.Context, name string, n int, debt bool) (taken bool, left float64) {
	if b.shared != nil {
		taken, left, known := b.shared.Take(ctx, b.name+":"+name, b.rate, b.burst, n, debt)
		if known {
			b.own.of(name, b.burst).set(b.now(), left)
			return taken, left
		}
	}
	taken, left, _ = b.own.Take(ctx, name, b.rate, b.burst, n, debt)
	return taken, left
}

// take takes n tokens, or tells how long it is until there are so many; then
// none is taken.
func (b *buckets) take(ctx context.Context, name string, n int) (wait time.Duration, ok bool) {
	if b == nil {
		return 0, true
	}
	n = min(n, b.burst)
	taken, left := b.ask(ctx, name, n, false)
	if taken {
		return 0, true
	}
	b.refused.Inc()
	return b.until(left, n), false
}

// look tells whether there is a token, or how long it is until there is one, and
// takes none: it says what take of one would, and changes nothing.
func (b *buckets) look(ctx context.Context, name string) (wait time.Duration, ok bool) {
	if b == nil {
		return 0, true
	}
	_, left := b.ask(ctx, name, 0, false)
	if left >= 1 {
		return 0, true
	}
	b.refused.Inc()
	return b.until(left, 1), false
}

// spend takes a token, if there is one, and refuses nothing.
func (b *buckets) spend(ctx context.Context, name string) {
	if b != nil {
		b.ask(ctx, name, 1, false)
	}
}

// until is how long it takes to fill a bucket up to n tokens.
func (b *buckets) until(left float64, n int) time.Duration {
	missing := max(0, float64(n)-left)
	return max(time.Millisecond, time.Duration(missing/b.rate*float64(time.Second)))
}

// wait takes n tokens as soon as there are so many.
func (b *buckets) wait(ctx context.Context, name string, n int) error {
	if b == nil {
		return nil
	}
	n = min(n, b.burst)
	_, left := b.ask(ctx, name, n, true)
	if left >= 0 {
		return nil
	}
	select {
	case <-time.After(time.Duration(-left / b.rate * float64(time.Second))):
		return nil
	case <-ctx.Done():
		b.ask(context.WithoutCancel(ctx), name, -n, true)
		return ctx.Err()
	}
}

// call takes the token of one call of an operation. Operations that send events
// are bounded by those, and refused while the key can send none.
func (l *limits) call(ctx context.Context, p access.Principal, o *operation) error {
	if o != nil && o.need == access.Track {
		return l.open(ctx, p)
	}
	return l.spendCall(ctx, p)
}

// spendCall takes the token of a call, or of a request that is none.
func (l *limits) spendCall(ctx context.Context, p access.Principal) error {
	wait, ok := l.calls.take(ctx, p.ID(), 1)
	return l.called(wait, ok)
}

// mayCall refuses a key that can call nothing now, before its body is read.
func (l *limits) mayCall(ctx context.Context, p access.Principal) error {
	wait, ok := l.calls.look(ctx, p.ID())
	return l.called(wait, ok)
}

func (l *limits) called(wait time.Duration, ok bool) error {
	if ok {
		return nil
	}
	return limited(wait, "the key calls more than %.0f operations a second", l.calls.rate)
}

// spendSend takes the token of a request that holds no event.
func (l *limits) spendSend(ctx context.Context, p access.Principal) error { return l.send(ctx, p, 0) }

// send takes the tokens of n events that a request holds; one that holds none is a
// request all the same.
func (l *limits) send(ctx context.Context, p access.Principal, n int) error {
	wait, ok := l.events.take(ctx, p.ID(), max(1, n))
	if ok {
		return nil
	}
	return limited(wait, "the key sends more than %.0f events a second, and nothing of this request was looked at", l.events.rate)
}

// open refuses a key that can send no event now, before its body is read.
func (l *limits) open(ctx context.Context, p access.Principal) error {
	wait, ok := l.events.look(ctx, p.ID())
	if ok {
		return nil
	}
	return limited(wait, "the key sends more than %.0f events a second, and nothing of this request was looked at", l.events.rate)
}

// limited says when to come back. Nothing was judged: the same request may
// succeed then.
func limited(wait time.Duration, format string, args ...any) *usance.Error {
	e := usance.NewError(usance.CodeRateLimited, format+"; try again in %d s", append(args, seconds(wait))...)
	e.RetryAfter = wait
	return e
}

// seconds rounds up: who comes a moment too early is refused again.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// announce tells a key how far it may go, in the fields RateLimit-Policy and
// RateLimit of the IETF's draft-ietf-httpapi-ratelimit-headers, revision 10. It
// takes the place of what was told before.
func (l *limits) announce(h http.Header, p access.Principal) {
	h.Del("RateLimit-Policy")
	h.Del("RateLimit")
	for _, b := range []*buckets{l.calls, l.events} {
		if b == nil {
			continue
		}
		left := b.own.of(p.ID(), b.burst).level(b.now(), b.rate, b.burst)
		h.Add("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%.0f", b.name, b.burst, math.Ceil(float64(b.burst)/b.rate)))
		h.Add("RateLimit", fmt.Sprintf("%q;r=%.0f;t=%d", b.name, max(0, math.Floor(left)), seconds(b.until(left, b.burst))))
	}
}

// client gives the address that a request came from, as far as the proxies in
// front can be believed, as the name of a bucket: an IPv6 network of 64 bits is
// one client. What a proxy says and cannot be read is one client behind it. It is
// "" where there is no bound: on this machine.
func (l *limits) client(r *http.Request) string {
	if l.addresses == nil {
		return ""
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	addr := from.Addr().Unmap().WithZone("")
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && l.isProxy(addr); i-- {
		said := strings.TrimSpace(forwarded[i])
		if said == "" {
			continue // nothing: the proxy itself asks
		}
		next, err := parseForwarded(said)
		if err != nil { // what is before was written by whoever wrote this
			return "behind " + addr.String()
		}
		addr = next
	}
	switch {
	case addr.IsLoopback():
		return ""
	case addr.Is6():
		network, _ := addr.Prefix(64) // of an IPv6 address: cannot fail
		return network.String()
	}
	return addr.String()
}

// parseForwarded reads an address as proxies write it: some add the port.
func parseForwarded(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var with netip.AddrPort
		with, err = netip.ParseAddrPort(s)
		addr = with.Addr()
	}
	return addr.Unmap().WithZone(""), err
}

func (l *limits) isProxy(addr netip.Addr) bool {
	for _, p := range l.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
