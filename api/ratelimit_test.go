package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// eventsOf makes a JSON array of n events with keys of their own.
func eventsOf(key string, n int) string {
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprintf(`{"licenseId":"lic_1","usageType":"view","idempotencyKey":"%s-%d"}`, key, i)
	}
	return "[" + strings.Join(events, ",") + "]"
}

func (s *server) wantLimited(what string, r reply, retryAfter string) {
	s.t.Helper()
	if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") != retryAfter || r.at("code") != "RATE_LIMITED" || r.at("retryable") != true {
		s.t.Errorf("%s: %d, Retry-After %q, %s", what, r.status, r.header.Get("Retry-After"), r.body)
	}
}

// A key that calls too often is told when to come back; others are not touched.
func TestCallsOfAKeyAreLimited(t *testing.T) {
	s := newServer(t, RateLimits{Calls: 200})
	a, b := s.key(`{"role":"admin"}`), s.key(`{"role":"admin"}`)
	for i := range 200 {
		if r := s.send("GET", "/v1/keys/self", a, ""); r.status != 200 || r.header.Get("RateLimit") != fmt.Sprintf(`"calls";r=%d;t=1`, 199-i) || r.header.Get("RateLimit-Policy") != `"calls";q=200;w=1` {
			t.Fatalf("call %d: %d %v", i, r.status, r.header)
		}
	}
	s.wantLimited("a read", s.send("GET", "/v1/keys/self", a, ""), "1")
	s.wantLimited("a change", s.send("PUT", "/v1/brands/new", a, `{"name":"New"}`), "1")
	if r := s.send("GET", "/v1/keys/self", b, ""); r.status != 200 {
		t.Errorf("another key: %d", r.status)
	}
	if r := s.send("GET", "/v1/brands/new", b, ""); r.status != 404 {
		t.Errorf("the refused change was made: %s", r.body)
	}
	if r := s.send("POST", "/v1/events", a, eventsOf("x", 3)); r.status != 200 {
		t.Errorf("events are no calls: %d", r.status)
	}
	s.advance(5 * time.Millisecond) // a 200th of a second
	if r := s.send("GET", "/v1/keys/self", a, ""); r.status != 200 {
		t.Errorf("after the wait: %d", r.status)
	}
	if !strings.Contains(s.send("GET", "/metrics", "", "").body, `usance_rate_limited_total{limit="calls"} 2`) {
		t.Error("the refusals are not counted")
	}
}

// Each call of a tRPC batch counts.
func TestCallsOfABatchAreLimited(t *testing.T) {
	s := newServer(t, RateLimits{Calls: 1})
	k := s.key(`{"role":"admin"}`)
	path := "/api/trpc/" + strings.TrimSuffix(strings.Repeat("keys.self,", 60), ",") + "?batch=1"
	if r := s.send("GET", path, k, ""); r.status != 200 {
		t.Fatalf("the first: %d %s", r.status, r.body)
	}
	r := s.send("GET", path, k, "") // 40 of a full bucket of 100 are left
	if r.status != 207 || r.at(39, "result") == nil || r.at(40, "error", "data", "code") != "TOO_MANY_REQUESTS" ||
		r.at(40, "error", "data", "usance", "code") != "RATE_LIMITED" || r.at(40, "error", "data", "usance", "retryAfterSeconds") != 1.0 || r.header.Get("Retry-After") != "1" {
		t.Errorf("the second: %d %v %s", r.status, r.header, r.body)
	}
}

// A body that is no JSON, or whose array holds what is none, is a request all the same.
func TestBodiesWithoutEventsAreLimited(t *testing.T) {
	s := newServer(t, RateLimits{Events: 1000})
	k := s.key(`{"role":"ingest"}`)
	left := 10_000
	spent := func(r reply) bool {
		left--
		return strings.Contains(r.header.Get("RateLimit"), fmt.Sprintf(`"events";r=%d;`, left))
	}
	for _, c := range []struct {
		body, media string
		status      int
	}{
		{"no JSON", "application/json", 400}, {"[{]", "application/json", 400}, {"", "application/json", 400}, {"[]", "application/json", 400},
		{"a", "text/plain", 415}, {"no JSON", "application/cloudevents+json", 400}, {"[]", "application/cloudevents-batch+json", 204},
	} {
		if r := s.send("POST", "/v1/events", k, c.body, "Content-Type: "+c.media); r.status != c.status || !spent(r) {
			t.Errorf("%q as %s: %d %v", c.body, c.media, r.status, r.header)
		}
	}
	if r := s.send("POST", "/api/trpc/usage.trackEvent", k, `{"licenseId":1}`); r.status != 400 || !spent(r) {
		t.Errorf("tRPC: %d %v", r.status, r.header)
	}
}

// What cannot be read as a whole takes a token, and is refused when there is none.
func TestRequestsWithoutCallsAreLimited(t *testing.T) {
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	many := strings.Repeat("NAME,", 100) + "NAME?batch=1"
	type request struct {
		method, path, body, media string
		status                    int
	}
	ofTRPC := func(name string) (out []request) {
		for _, c := range []request{
			{"POST", "NAME", "{}", "text/plain", 415},
			{"POST", "NAME", deep, "application/json", 400},
			{"POST", "NAME?input={}", "{}", "application/json", 400},
			{"POST", "NAME", strings.Repeat(" ", 1<<20+1), "application/json", 413},
			{"POST", many, "{}", "application/json", 400},
			{"POST", "NAME?input=%zz", "{}", "application/json", 400},
			{"GET", "NAME?input=" + deep, "", "", 400},
		} {
			c.path = "/api/trpc/" + strings.ReplaceAll(c.path, "NAME", name)
			out = append(out, c)
		}
		return out
	}
	lines := []request{
		{"POST", "/v1/events", "", "application/x-ndjson", 200},
		{"POST", "/v1/events", "\n \n\n", "application/x-ndjson", 200},
		{"POST", "/v1/events?atomic=true", "{}", "application/x-ndjson", 400},
		{"POST", "/v1/events?atomic=maybe", "{}", "application/x-ndjson", 400},
	}
	for _, test := range []struct {
		limit    string
		limits   RateLimits
		requests []request
		left     int
		drain    func(s *server, key string)
	}{
		{"events", RateLimits{Events: 1000}, append(ofTRPC("usage.trackEvent"), lines...), 10_000, func(s *server, key string) {
			s.send("POST", "/v1/events", key, eventsOf("a", 10_000-len(lines)-7))
		}},
		{"calls", RateLimits{Calls: 100}, ofTRPC("catalog.putBrand"), 100, func(s *server, key string) {
			for range 100 - 7 {
				s.send("GET", "/v1/keys/self", key, "")
			}
		}},
	} {
		s := newServer(t, test.limits)
		k := s.key(`{"role":"admin"}`)
		for i, c := range test.requests {
			want := fmt.Sprintf("%q;r=%d;", test.limit, test.left-i-1)
			if r := s.send(c.method, c.path, k, c.body, "Content-Type: "+c.media); r.status != c.status || !strings.HasPrefix(r.header.Get("RateLimit"), want) {
				t.Errorf("%s %.60s %.30q as %s: %d %s %.200s, want %s", c.method, c.path, c.body, c.media, r.status, r.header.Get("RateLimit"), r.body, want)
			}
		}
		test.drain(s, k)
		for _, c := range test.requests {
			r := s.send(c.method, c.path, k, c.body, "Content-Type: "+c.media)
			if r.status != 429 || r.header.Get("Retry-After") != "1" || !strings.HasPrefix(r.header.Get("RateLimit"), fmt.Sprintf("%q;r=0;", test.limit)) {
				t.Errorf("without a token: %s %.60s %.30q as %s: %d %v %.200s", c.method, c.path, c.body, c.media, r.status, r.header, r.body)
			}
		}
	}
}

// Events are what costs: a batch takes as much as it holds, whatever the
// protocol, and one that does not fit is refused whole, with nothing judged.
func TestEventsOfAKeyAreLimited(t *testing.T) {
	s := newServer(t, RateLimits{Events: 1000})
	s.license("lic_1")
	k := s.key(`{"role":"ingest"}`)
	if r := s.send("POST", "/v1/events", k, eventsOf("a", 9990)); r.status != 200 || r.header.Get("RateLimit") != `"events";r=10;t=10` || r.header.Get("RateLimit-Policy") != `"events";q=10000;w=10` {
		t.Fatalf("a batch: %d %v", r.status, r.header)
	}
	cloud := `[` + strings.TrimSuffix(strings.Repeat(`{"specversion":"1.0","id":"1","source":"/s","type":"view","subject":"lic_1"},`, 11), ",") + `]`
	s.wantLimited("an array", s.send("POST", "/v1/events", k, eventsOf("b", 11)), "1")
	s.wantLimited("a retry of what was counted", s.send("POST", "/v1/events", k, eventsOf("a", 11)), "1")
	s.wantLimited("CloudEvents", s.send("POST", "/v1/events", k, cloud, "Content-Type: application/cloudevents-batch+json"), "1")
	if r := s.send("POST", "/api/trpc/usage.trackBatch", k, `{"events":`+eventsOf("b", 3000)+`}`); r.status != 429 || r.at("error", "data", "usance", "retryAfterSeconds") != 3.0 {
		t.Errorf("trackBatch: %d %.300s", r.status, r.body)
	}
	if r := s.send("POST", "/v1/events", k, eventsOf("c", 10)); r.status != 200 {
		t.Errorf("what fits: %d %s", r.status, r.body)
	}
	// An empty bucket refuses before the body is looked at.
	s.wantLimited("no JSON", s.send("POST", "/v1/events", k, "{"), "1")
	if r := s.send("POST", "/api/trpc/usage.trackEvent", k, `{"licenseId":"lic_1","usageType":"view"}`); r.status != 429 {
		t.Errorf("trackEvent: %d", r.status)
	}
	s.advance(11 * time.Millisecond)
	if r := s.send("POST", "/v1/events", k, eventsOf("b", 11)); r.status != 200 || r.at(10, "tracked") != true || r.at(10, "duplicate") != false {
		t.Errorf("after the wait: %d %s", r.status, r.body)
	}
	if r := s.admin("GET", "/v1/licenses/lic_1/usage", ""); r.at("allTime", "quantity") != 10011.0 {
		t.Errorf("counted: %s", r.body)
	}
}

// Daily totals take as much as events do.
func TestTotalsOfAKeyAreLimited(t *testing.T) {
	s := newServer(t, RateLimits{Events: 500})
	s.license("lic_1")
	day, _ := usance.ParseDate("2020-01-01")
	totals := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, `,{"date":%q,"usageType":"view","quantity":4}`, day)
			day++
		}
		return `{"licenseId":"lic_1","totals":[` + b.String()[1:] + `]}`
	}
	for range 30 { // all but a few of the 10,000 that the bucket holds
		if r := s.send("POST", "/v1/backfill", adminKey, totals(50)); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if r := s.send("POST", "/v1/events", adminKey, eventsOf("a", 8490)); r.status != 200 {
		t.Fatalf("%d %.300s", r.status, r.body)
	}
	s.wantLimited("totals", s.send("POST", "/v1/backfill", adminKey, totals(11)), "1")
	if r := s.send("POST", "/v1/backfill", adminKey, totals(10)); r.status != 200 {
		t.Errorf("what fits: %d %s", r.status, r.body)
	}
}

// A stream is slowed down, not refused.
func TestStreamsAreSlowedDown(t *testing.T) {
	s := newServer(t, RateLimits{Events: 10_000})
	s.license("lic_1")
	k := s.key(`{"role":"ingest"}`)
	if r := s.send("POST", "/v1/events", k, eventsOf("a", 10_000)); r.status != 200 { // the whole bucket
		t.Fatalf("%d %s", r.status, r.body)
	}
	lines := strings.ReplaceAll(strings.Trim(eventsOf("b", 500), "[]"), "},{", "}\n{")
	start := time.Now()
	r := s.send("POST", "/v1/events", k, lines, "Content-Type: application/x-ndjson")
	if n := strings.Count(r.body, `"tracked":true`); r.status != 200 || n != 500 {
		t.Errorf("%d, %d events", r.status, n)
	}
	if took := time.Since(start); took < 50*time.Millisecond { // 500 events of 10,000 a second
		t.Errorf("it took %s", took)
	}
}

// An address that sends bad keys is turned away before they are looked up; keys
// that were good from there go on, and so do other addresses.
func TestBadKeysOfAnAddressAreLimited(t *testing.T) {
	s := newServer(t, RateLimits{Refused: 60, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}})
	k, late := s.key(`{"role":"admin"}`), s.key(`{"role":"admin"}`)
	from := func(addr, key string) reply {
		return s.send("GET", "/v1/keys/self", key, "", "X-Forwarded-For: "+addr)
	}
	if r := from("192.0.2.1", k); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for range 30 {
		if r := from("192.0.2.1", "usk_wrong"); r.status != 401 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if r := from("8.8.8.8, 192.0.2.1, 10.1.1.1", ""); r.status != 401 { // what a client writes itself is not believed
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	s.wantLimited("a bad key", from("192.0.2.1", "usk_wrong"), "1")
	s.wantLimited("a good one that was never seen", from("192.0.2.1", late), "1")
	s.wantLimited("the first admin's", from("192.0.2.1", adminKey), "1")
	if r := s.send("GET", "/api/trpc/keys.self", "usk_wrong", "", "X-Forwarded-For: 192.0.2.1"); r.status != 429 {
		t.Errorf("tRPC: %d", r.status)
	}
	s.wantLimited("events", s.send("POST", "/v1/events", "usk_wrong", "{}", "X-Forwarded-For: 192.0.2.1"), "1")
	if r := from("192.0.2.1", k); r.status != 200 {
		t.Errorf("a good key that was seen: %d", r.status)
	}
	if r := from("192.0.2.2", late); r.status != 200 {
		t.Errorf("another address: %d", r.status)
	}
	s.advance(time.Second)
	if r := from("192.0.2.1", adminKey); r.status != 200 {
		t.Errorf("after the wait: %d", r.status)
	}
	for range 70 { // no bound on this machine
		if r := s.send("GET", "/v1/keys/self", "usk_wrong", ""); r.status != 401 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
}

// A proxy on this machine has no bound, but its clients do, however it names them.
func TestBadKeysBehindALocalProxyAreLimited(t *testing.T) {
	here := netip.MustParsePrefix("127.0.0.0/8")
	for what, name := range map[string]string{"with a port": "192.0.2.1:%d", "an IPv6 address": "[2001:db8::1]:%d", "no address": "client%d"} {
		s := newServer(t, RateLimits{Refused: 60, Proxies: []netip.Prefix{here}})
		for i := range 60 {
			if r := s.send("GET", "/v1/keys/self", "usk_wrong", "", "X-Forwarded-For: "+fmt.Sprintf(name, 1000+i)); r.status != 401 {
				t.Fatalf("%s: %d %s", what, r.status, r.body)
			}
		}
		s.wantLimited(what, s.send("GET", "/v1/keys/self", "usk_wrong", "", "X-Forwarded-For: "+fmt.Sprintf(name, 999)), "1")
	}
}

func TestClientAddress(t *testing.T) {
	l := limits{addresses: new(buckets), proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:999", "", "192.0.2.1"},
		{"192.0.2.1:999", "198.51.100.1", "192.0.2.1"}, // no proxy of ours
		{"127.0.0.1:999", "198.51.100.1", ""},
		{"[::1]:999", "", ""},
		{"10.0.0.1:999", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:999", "1.1.1.1, 198.51.100.1,10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:999", "", "10.0.0.1"},
		{"10.0.0.1:999", "rubbish", "behind 10.0.0.1"},
		{"10.0.0.1:999", "198.51.100.1, rubbish, 10.0.0.2", "behind 10.0.0.2"},
		{"10.0.0.1:999", "198.51.100.1:1234", "198.51.100.1"},
		{"10.0.0.1:999", "[2001:db8:1:2::9]:1234", "2001:db8:1:2::/64"},
		{"10.0.0.1:999", "[2001:db8:1:2::9]", "2001:db8:1:2::/64"},
		{"[::ffff:10.0.0.1]:999", "::ffff:198.51.100.1", "198.51.100.1"},
		{"[fd00::1]:999", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2::9%eth0]:999", "", "2001:db8:1:2::/64"},
		{"@", "", "unknown"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": {tt.forwarded}}}
		if got := l.client(r); got != tt.want {
			t.Errorf("%s for %q: %q, want %q", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
