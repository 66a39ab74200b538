package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// RateLimits bound how fast requests come; 0 is no bound.
type RateLimits struct {
	Calls  int // operations a second that one key may call, those that send events apart
	Events int // events a second that one key may send
	// Refused is how many requests without a good key a minute one address may
	// send. Loopback addresses have no bound.
	Refused int
	// Proxies are those whose X-Forwarded-For names the address of a client.
	Proxies []netip.Prefix
}

// limits holds the bounds that are set; the others are nil.
type limits struct {
	calls, events, addresses *buckets
	proxies                  []netip.Prefix
}

func newLimits(r RateLimits, now func() time.Time, refused *prometheus.CounterVec) limits {
	return limits{
		calls: newBuckets("calls", float64(r.Calls), max(r.Calls, maxCalls), now, refused),
		// The largest batch fits into a full bucket, however low the rate.
		events:    newBuckets("events", float64(r.Events), max(r.Events, usance.MaxBatch), now, refused),
		addresses: newBuckets("addresses", float64(r.Refused)/60, r.Refused, now, refused),
		proxies:   r.Proxies,
	}
}

// maxBuckets bounds the memory of a limit. What is forgotten is, as a rule,
// what has not sent anything for long, whose bucket is full again anyway.
const maxBuckets = 100_000

// buckets is one limit: a bucket of tokens for each name, filled at a steady
// rate. A nil one limits nothing.
type buckets struct {
	name    string
	rate    float64 // tokens a second
	burst   int     // tokens of a full bucket
	now     func() time.Time
	refused prometheus.Counter
	byName  *otter.Cache[string, *rate.Limiter]
}

func newBuckets(name string, perSecond float64, burst int, now func() time.Time, refused *prometheus.CounterVec) *buckets {
	counter := refused.WithLabelValues(name) // so that it is seen before it moves
	if perSecond <= 0 {
		return nil
	}
	return &buckets{name, perSecond, burst, now, counter, otter.Must(&otter.Options[string, *rate.Limiter]{MaximumSize: maxBuckets})}
}

func (b *buckets) of(name string) *rate.Limiter {
	l, _ := b.byName.ComputeIfAbsent(name, func() (*rate.Limiter, bool) {
		return rate.NewLimiter(rate.Limit(b.rate), b.burst), false
	})
	return l
}

// take takes n tokens, or tells how long it is until there are so many; then
// none is taken.
func (b *buckets) take(name string, n int) (wait time.Duration, ok bool) {
	if b == nil {
		return 0, true
	}
	now, l := b.now(), b.of(name)
	n = min(n, b.burst)
	if l.AllowN(now, n) {
		return 0, true
	}
	b.refused.Inc()
	return b.until(l, now, n), false
}

// look is take of one token that is put back.
func (b *buckets) look(name string) (wait time.Duration, ok bool) {
	if b == nil {
		return 0, true
	}
	now, l := b.now(), b.of(name)
	if l.TokensAt(now) >= 1 {
		return 0, true
	}
	b.refused.Inc()
	return b.until(l, now, 1), false
}

// spend takes a token, if there is one, and refuses nothing.
func (b *buckets) spend(name string) { b.of(name).AllowN(b.now(), 1) }

// until is how long it takes to fill up to n tokens.
func (b *buckets) until(l *rate.Limiter, now time.Time, n int) time.Duration {
	missing := max(0, float64(n)-l.TokensAt(now))
	return max(time.Millisecond, time.Duration(missing/b.rate*float64(time.Second)))
}

// wait takes n tokens as soon as there are so many.
func (b *buckets) wait(ctx context.Context, name string, n int) error {
	if b == nil {
		return nil
	}
	now := b.now()
	r := b.of(name).ReserveN(now, min(n, b.burst))
	delay := r.DelayFrom(now)
	if delay == 0 {
		return nil
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		r.CancelAt(b.now())
		return ctx.Err()
	}
}

// call takes the token of one call of an operation. Operations that send events
// are bounded by those.
func (l *limits) call(p access.Principal, o *operation) error {
	if o != nil && o.need == access.Track {
		return nil
	}
	wait, ok := l.calls.take(p.ID(), 1)
	if ok {
		return nil
	}
	return limited(wait, "the key calls more than %.0f operations a second", l.calls.rate)
}

// send takes the tokens of n events that a request holds.
func (l *limits) send(p access.Principal, n int) error {
	wait, ok := l.events.take(p.ID(), n)
	if ok {
		return nil
	}
	return limited(wait, "the key sends more than %.0f events a second, and nothing of this request was looked at", l.events.rate)
}

// open refuses a key that can send no event now, before its body is read.
func (l *limits) open(p access.Principal) error {
	wait, ok := l.events.look(p.ID())
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
// RateLimit of the IETF's draft-ietf-httpapi-ratelimit-headers, revision 10.
func (l *limits) announce(h http.Header, p access.Principal) {
	for _, b := range []*buckets{l.calls, l.events} {
		if b == nil {
			continue
		}
		now, bucket := b.now(), b.of(p.ID())
		h.Add("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%.0f", b.name, b.burst, math.Ceil(float64(b.burst)/b.rate)))
		h.Add("RateLimit", fmt.Sprintf("%q;r=%.0f;t=%d", b.name, max(0, math.Floor(bucket.TokensAt(now))), seconds(b.until(bucket, now, b.burst))))
	}
}

// client gives the address that a request came from, as far as the proxies in
// front can be believed, as the name of a bucket: an IPv6 network of 64 bits is
// one client. It is "" where there is no bound: on this machine.
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
		next, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break // what is before was written by whoever wrote this
		}
		addr = next.Unmap().WithZone("")
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

func (l *limits) isProxy(addr netip.Addr) bool {
	for _, p := range l.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
