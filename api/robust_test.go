package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/usance/usance"
)

// everything is what the store holds, for "nothing was stored".
func (s *server) everything() string {
	var b strings.Builder
	err := s.store.View(context.Background(), func(v usance.View) error {
		ctx, page := context.Background(), usance.Page{Limit: 1000}
		for _, read := range []func() (any, error){
			func() (any, error) { x, _, err := v.Brands(ctx, usance.Scope{}, page); return x, err },
			func() (any, error) { x, _, err := v.Creators(ctx, usance.Scope{}, page); return x, err },
			func() (any, error) { x, _, err := v.Assets(ctx, usance.Scope{}, page); return x, err },
			func() (any, error) {
				x, _, err := v.Licenses(ctx, usance.LicenseFilter{Deleted: true}, page)
				return x, err
			},
			func() (any, error) {
				x, _, err := v.Thresholds(ctx, usance.ThresholdFilter{Inactive: true}, page)
				return x, err
			},
			func() (any, error) {
				x, _, err := v.Events(ctx, usance.EventFilter{LicenseID: "lic_123"}, page)
				return x, err
			},
			func() (any, error) {
				x, _, err := v.Evidence(ctx, usance.EventFilter{LicenseID: "lic_123"}, page)
				return x, err
			},
			func() (any, error) { x, _, err := v.Audit(ctx, usance.AuditFilter{}, page); return x, err },
			func() (any, error) { x, err := v.Status(ctx); return x.PendingEvents, err },
		} {
			x, err := read()
			if err != nil {
				return err
			}
			out, _ := json.Marshal(x)
			b.Write(out)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// problem checks that an answer is a 4xx that says what is wrong.
func problem(t *testing.T, what string, r reply, status int, field string) {
	t.Helper()
	if status != 0 && r.status != status || r.status < 400 || r.status >= 500 {
		t.Errorf("%s: status %d, want %d: %s", what, r.status, status, r.body)
		return
	}
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s: content type %q", what, ct)
	}
	detail, _ := r.at("detail").(string)
	if detail == "" || r.at("code") == nil || r.at("title") == "" || r.at("status") != float64(r.status) {
		t.Errorf("%s: not a whole problem: %s", what, r.body)
	}
	if got, _ := r.at("field").(string); field != "" && got != field {
		t.Errorf("%s: names the field %q, want %q: %s", what, got, field, r.body)
	}
	if r.header.Get("X-Request-Id") == "" || r.at("requestId") != r.header.Get("X-Request-Id") {
		t.Errorf("%s: no request id", what)
	}
}

func ev(fields string) string {
	return `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k",` + fields + `}`
}

func TestBadInput(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	before := s.everything()
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 4096)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	thresholds := func(fields string) string {
		return `{"licenseId":"lic_123","usageType":"view","periodType":"monthly","limitQuantity":10,` + fields + `}`
	}
	cases := []struct {
		what, method, path, body string
		status                   int
		field                    string
	}{
		// Events.
		{"random bytes", "POST", "/v1/events", string(random), 400, ""},
		{"empty", "POST", "/v1/events", "", 400, ""},
		{"spaces", "POST", "/v1/events", "   ", 400, ""},
		{"null", "POST", "/v1/events", "null", 400, ""},
		{"number", "POST", "/v1/events", "7", 400, ""},
		{"cut off", "POST", "/v1/events", `{"licenseId":"lic_123"`, 400, ""},
		{"cut off array", "POST", "/v1/events", `[` + ev(`"quantity":1`), 400, ""},
		{"trailing garbage", "POST", "/v1/events", ev(`"quantity":1`) + `x`, 400, ""},
		{"two values", "POST", "/v1/events", ev(`"quantity":1`) + "\n" + ev(`"quantity":1`), 400, ""},
		{"NaN", "POST", "/v1/events", ev(`"quantity":NaN`), 400, "quantity"},
		{"Infinity", "POST", "/v1/events", ev(`"quantity":-Infinity`), 400, "quantity"},
		{"null quantity", "POST", "/v1/events", ev(`"quantity":null`), 400, "quantity"},
		{"zero", "POST", "/v1/events", ev(`"quantity":0`), 400, "quantity"},
		{"negative", "POST", "/v1/events", ev(`"quantity":-1`), 400, "quantity"},
		{"fraction", "POST", "/v1/events", ev(`"quantity":1.5`), 400, "quantity"},
		{"whole fraction", "POST", "/v1/events", ev(`"quantity":1.0`), 400, "quantity"},
		{"exponent", "POST", "/v1/events", ev(`"quantity":1e3`), 400, "quantity"},
		{"quoted", "POST", "/v1/events", ev(`"quantity":"1"`), 400, "quantity"},
		{"huge", "POST", "/v1/events", ev(`"quantity":99999999999999999999999999`), 400, "quantity"},
		{"above the bound", "POST", "/v1/events", ev(`"quantity":1000000000001`), 400, "quantity"},
		{"wraps around", "POST", "/v1/events", ev(`"quantity":18446744073709551617`), 400, "quantity"},
		{"negative revenue", "POST", "/v1/events", ev(`"revenueCents":-1`), 400, "revenueCents"},
		{"year 0", "POST", "/v1/events", ev(`"occurredAt":"0000-01-01T00:00:00Z"`), 400, "occurredAt"},
		{"year 1969", "POST", "/v1/events", ev(`"occurredAt":"1970-01-01T00:30:00+01:00"`), 400, "occurredAt"},
		{"year 9999", "POST", "/v1/events", ev(`"occurredAt":"9999-12-31T23:59:59Z"`), 400, "occurredAt"},
		{"year 10000", "POST", "/v1/events", ev(`"occurredAt":"9999-12-31T23:59:59-01:00"`), 400, "occurredAt"},
		{"no zone", "POST", "/v1/events", ev(`"occurredAt":"2024-10-12T08:00:00"`), 400, "occurredAt"},
		{"no such day", "POST", "/v1/events", ev(`"occurredAt":"2024-02-30T08:00:00Z"`), 400, "occurredAt"},
		{"epoch number", "POST", "/v1/events", ev(`"occurredAt":1728720000`), 400, "occurredAt"},
		{"null time", "POST", "/v1/events", ev(`"occurredAt":null`), 400, "occurredAt"},
		{"unknown field", "POST", "/v1/events", ev(`"quantiy":1`), 400, "quantiy"},
		{"wrong case", "POST", "/v1/events", ev(`"Quantity":1`), 400, "Quantity"},
		{"twice", "POST", "/v1/events", ev(`"quantity":1,"quantity":2`), 400, "quantity"},
		{"twice, escaped", "POST", "/v1/events", ev(`"quantity":1,"quantit\u0079":2`), 400, "quantity"},
		{"bad UTF-8", "POST", "/v1/events", ev("\"referrer\":\"\xff\xfe\""), 400, "referrer"},
		{"lone surrogate", "POST", "/v1/events", ev(`"referrer":"\ud800"`), 400, "referrer"},
		{"control character", "POST", "/v1/events", ev(`"referrer":"a\u0000b"`), 400, "referrer"},
		{"platform", "POST", "/v1/events", ev(`"platform":"fridge"`), 400, "platform"},
		{"type all", "POST", "/v1/events", `{"licenseId":"lic_123","usageType":"all"}`, 400, "usageType"},
		{"no license", "POST", "/v1/events", `{"usageType":"view"}`, 400, "licenseId"},
		{"no type", "POST", "/v1/events", `{"licenseId":"lic_123"}`, 400, "usageType"},
		{"list as license", "POST", "/v1/events", `{"licenseId":["lic_123"],"usageType":"view"}`, 400, "licenseId"},
		{"metadata list", "POST", "/v1/events", ev(`"metadata":[1]`), 400, "metadata"},
		{"metadata large", "POST", "/v1/events", ev(`"metadata":{"a":"` + strings.Repeat("x", 9000) + `"}`), 400, "metadata"},
		{"metadata deep", "POST", "/v1/events", ev(`"metadata":` + deep), 400, ""},
		{"deep", "POST", "/v1/events", deep, 400, ""},
		{"deep list", "POST", "/v1/events", strings.Repeat("[", 100_000), 400, ""},
		{"reserved key", "POST", "/v1/events", `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"usance:void:1"}`, 400, "idempotencyKey"},
		{"long key", "POST", "/v1/events", `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"` + strings.Repeat("k", 256) + `"}`, 400, "idempotencyKey"},
		{"no events", "POST", "/v1/events", `[]`, 400, "events"},
		{"beside events", "POST", "/v1/events", `{"events":[],"atomik":true}`, 400, "atomik"},
		{"atomic word", "POST", "/v1/events", `{"events":[],"atomic":"yes"}`, 400, "atomic"},
		{"events as object", "POST", "/v1/events", `{"events":{}}`, 400, "events"},
		{"fields beside events", "POST", "/v1/events", `{"licenseId":"lic_123","events":[]}`, 400, ""},
		{"unknown parameter", "POST", "/v1/events?atomik=true", ev(`"quantity":1`), 400, "atomik"},
		{"too many", "POST", "/v1/events", "[" + strings.Repeat("{},", 10_000) + "{}]", 413, ""},
		// Catalog.
		{"put not JSON", "PUT", "/v1/licenses/lic_9", "x", 400, ""},
		{"put list", "PUT", "/v1/licenses/lic_9", "[]", 400, ""},
		{"put empty", "PUT", "/v1/licenses/lic_9", "", 400, "brandId"},
		{"put unknown", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","assetId":"a","status":"ACTIVE","nope":1}`, 400, "nope"},
		{"put twice", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","brandId":"c","assetId":"a","status":"ACTIVE"}`, 400, "brandId"},
		{"put other id", "PUT", "/v1/licenses/lic_9", `{"id":"lic_8","brandId":"b","assetId":"a","status":"ACTIVE"}`, 400, "id"},
		{"put status", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","assetId":"a","status":"active"}`, 400, "status"},
		{"put zone", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","assetId":"a","status":"ACTIVE","timezone":"Mars/Base"}`, 400, "timezone"},
		{"put zone path", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","assetId":"a","status":"ACTIVE","timezone":"../../etc/passwd"}`, 400, "timezone"},
		{"put date", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","assetId":"a","status":"ACTIVE","startDate":"2024-13-01"}`, 400, "startDate"},
		{"put fraction", "PUT", "/v1/licenses/lic_9", `{"brandId":"b","assetId":"a","status":"ACTIVE","feeCents":1.5}`, 400, "feeCents"},
		{"put space in id", "PUT", "/v1/licenses/lic%209", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, 400, "id"},
		{"put slash in id", "PUT", "/v1/licenses/lic%2F9", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, 400, "id"},
		{"put bad UTF-8 in id", "PUT", "/v1/licenses/lic%ff", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, 400, "id"},
		{"put NUL in id", "PUT", "/v1/licenses/lic%00", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, 400, "id"},
		{"put long id", "PUT", "/v1/licenses/" + strings.Repeat("x", 129), `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, 400, "id"},
		{"put shares", "PUT", "/v1/assets/a1", `{"owners":[{"creatorId":"c","shareBps":9999}]}`, 400, "owners"},
		{"put with query", "PUT", "/v1/brands/b1?x=1", `{}`, 400, "x"},
		// Thresholds.
		{"limit missing", "POST", "/v1/thresholds", `{"licenseId":"lic_123","periodType":"monthly"}`, 400, "limitQuantity"},
		{"limit zero", "POST", "/v1/thresholds", `{"licenseId":"lic_123","periodType":"monthly","limitQuantity":0}`, 400, "limitQuantity"},
		{"period", "POST", "/v1/thresholds", `{"licenseId":"lic_123","periodType":"hourly","limitQuantity":1}`, 400, "periodType"},
		{"grace", "POST", "/v1/thresholds", thresholds(`"gracePercentage":101`), 400, "gracePercentage"},
		{"rate word", "POST", "/v1/thresholds", thresholds(`"allowOverage":true,"overageRateCents":"free"`), 400, "overageRateCents"},
		{"rate negative", "POST", "/v1/thresholds", thresholds(`"allowOverage":true,"overageRateCents":-1`), 400, "overageRateCents"},
		{"rate NaN", "POST", "/v1/thresholds", thresholds(`"allowOverage":true,"overageRateCents":"NaN"`), 400, "overageRateCents"},
		{"tier", "POST", "/v1/thresholds", thresholds(`"allowOverage":true,"overageTiers":[{"upTo":1.5,"rateCents":1}]`), 400, "overageTiers[0].upTo"},
		{"tier unknown", "POST", "/v1/thresholds", thresholds(`"allowOverage":true,"overageTiers":[{"upto":0,"rateCents":1}]`), 400, "overageTiers[0].upto"},
		{"levels", "POST", "/v1/thresholds", thresholds(`"warningLevels":[0]`), 400, "warningLevels"},
		{"word for bool", "POST", "/v1/thresholds", thresholds(`"allowOverage":"true"`), 400, "allowOverage"},
		{"deep body", "POST", "/v1/thresholds", deep, 400, ""},
		// Queries.
		{"unknown parameter", "GET", "/v1/licenses/lic_123/analytics?granularty=daily", "", 400, "granularty"},
		{"parameter twice", "GET", "/v1/licenses/lic_123/analytics?granularity=daily&granularity=weekly", "", 400, "granularity"},
		{"path parameter again", "GET", "/v1/licenses/lic_123/analytics?licenseId=lic_9", "", 400, "licenseId"},
		{"granularity", "GET", "/v1/licenses/lic_123/analytics?granularity=minutely", "", 400, "granularity"},
		{"year 0", "GET", "/v1/licenses/lic_123/analytics?startDate=0000-01-01", "", 400, "startDate"},
		{"far", "GET", "/v1/licenses/lic_123/analytics?startDate=0001-01-01&endDate=9999-12-31", "", 400, "endDate"},
		{"backwards", "GET", "/v1/licenses/lic_123/analytics?startDate=2024-10-12&endDate=2024-10-01", "", 400, "endDate"},
		{"half hour", "GET", "/v1/licenses/lic_123/analytics?startDate=2024-10-12T00:30:00Z", "", 400, "startDate"},
		{"top", "GET", "/v1/licenses/lic_123/analytics?top=1000", "", 400, "top"},
		{"top word", "GET", "/v1/licenses/lic_123/analytics?top=ten", "", 400, "top"},
		{"top huge", "GET", "/v1/licenses/lic_123/analytics?top=99999999999999999999", "", 400, "top"},
		{"bool", "GET", "/v1/licenses/lic_123/analytics?comparePrevious=maybe", "", 400, "comparePrevious"},
		{"dimension", "GET", "/v1/licenses/lic_123/breakdown?dimensions=colour", "", 400, "dimensions"},
		{"semicolon", "GET", "/v1/licenses/lic_123/analytics?a=1;b=2", "", 400, ""},
		{"bad escape", "GET", "/v1/licenses/lic_123/analytics?top=%zz", "", 400, ""},
		{"bad UTF-8 in query", "GET", "/v1/licenses/lic_123/analytics?usageType=%ff", "", 400, ""},
		{"limit", "GET", "/v1/licenses?limit=1001", "", 400, "limit"},
		{"limit negative", "GET", "/v1/licenses?limit=-1", "", 400, "limit"},
		{"cursor", "GET", "/v1/licenses?cursor=%00%01", "", 400, ""},
		{"cursor of nothing", "GET", "/v1/overages?cursor=zzzzzzzz", "", 400, ""},
		{"date", "GET", "/v1/licenses/lic_123/events?startDate=yesterday", "", 400, "startDate"},
		{"id", "GET", "/v1/overages/not-a-uuid", "", 400, "overageId"},
		{"check time", "POST", "/v1/check", `{"licenseId":"lic_123","usageType":"view","at":"0000-01-01T00:00:00Z"}`, 400, "at"},
		{"check zero", "POST", "/v1/check", `{"licenseId":"lic_123","usageType":"view","quantity":0}`, 400, "quantity"},
		{"void of both", "POST", "/v1/events/void", `{"licenseId":"lic_123","idempotencyKey":"k","eventId":"0190a7c2-0000-7000-8000-000000000000"}`, 400, "eventId"},
		{"recalculate", "POST", "/v1/recalculate", `{"licenseId":"lic_123","startDate":"2024-01-01","endDate":"2099-01-01"}`, 400, "endDate"},
		{"role", "POST", "/v1/keys", `{"role":"root"}`, 400, "role"},
		{"overlap", "POST", "/v1/keys/x/rotate", `{"overlapSeconds":-1}`, 400, "overlapSeconds"},
		{"nested event", "POST", "/v1/events", strings.Repeat("[", 66) + strings.Repeat("]", 66), 400, ""},
		{"nested without end", "POST", "/v1/events", strings.Repeat("[", 100_000), 400, ""},
		{"nested field", "POST", "/v1/events", `{"licenseId":"lic_123","usageType":"view","own":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, 400, ""},
		// Routes.
		{"no such path", "GET", "/v1/nothing", "", 404, ""},
		{"no such method", "DELETE", "/v1/events", "", 405, ""},
		{"unclean path", "GET", "/v1//licenses", "", 404, ""},
		{"dots", "GET", "/v1/licenses/../keys", "", 404, ""},
		{"no such license", "GET", "/v1/licenses/lic_0/usage", "", 404, ""},
	}
	for _, c := range cases {
		problem(t, c.what+": "+c.method+" "+c.path, s.send(c.method, c.path, adminKey, c.body), c.status, c.field)
	}
	for what, h := range map[string][]string{
		"XML":         {"Content-Type: application/xml"},
		"plain text":  {"Content-Type: text/plain"},
		"other bytes": {"Content-Type: application/json; charset=utf-16"},
		"multipart":   {"Content-Type: multipart/form-data; boundary=x"},
	} {
		problem(t, what, s.send("POST", "/v1/events", adminKey, ev(`"quantity":1`), h...), 415, "")
		problem(t, what, s.send("POST", "/v1/thresholds", adminKey, thresholds(`"gracePercentage":1`), h...), 415, "")
	}
	if after := s.everything(); after != before {
		t.Errorf("something was stored:\nwas %s\nis  %s", before, after)
	}
	if out := s.logs.String(); strings.Contains(out, "level=ERROR") {
		t.Errorf("the log holds errors:\n%s", out)
	}
}

// A body that is far too long is refused by its length alone, or after as
// much as is allowed, and not taken into memory.
func TestHugeBody(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/v1/events", "/v1/thresholds", "/api/trpc/usage.trackEvent"} {
		for _, length := range []int64{100 << 20, -1} {
			body := new(endless)
			body.left.Store(100 << 20)
			req, err := http.NewRequest("POST", s.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			req.Header.Set("Authorization", "Bearer "+adminKey)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Expect", "100-continue")
			res, err := s.Client().Do(req)
			if err != nil {
				continue // refused while the client was still sending
			}
			got, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 413 {
				t.Errorf("%s: %d %s", path, res.StatusCode, got)
			}
			if sent := 100<<20 - body.left.Load(); sent > 40<<20 {
				t.Errorf("%s: %d bytes were read", path, sent)
			}
		}
	}
}

type endless struct{ left atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	left := e.left.Load()
	if left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), left)
	for i := range p[:n] {
		p[i] = ' '
	}
	e.left.Add(-n)
	return int(n), nil
}

// SQL in every string of every operation's input never makes a 500, and never
// does anything.
func TestSQLInEveryString(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.admin("POST", "/v1/events", ev(`"quantity":1`))
	words := []string{`'; DROP TABLE licenses; --`, `" OR ""="`, `1 UNION SELECT hash FROM api_keys`, `%_\`, "💣\u202e", `${jndi:ldap://x}`}
	for _, o := range s.a.ops {
		var base map[string]any
		if err := json.Unmarshal([]byte(o.example), &base); err != nil {
			t.Fatalf("%s: example: %v", o.name, err)
		}
		for name, f := range fieldsOf(o.schemaIn()) {
			ft := o.schemaIn().FieldByIndex(f.index).Type
			for ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			for _, w := range words {
				in := make(map[string]any)
				for k, v := range base {
					in[k] = v
				}
				switch ft.Kind() {
				case reflect.Slice:
					in[name] = []string{w}
				default:
					in[name] = w
				}
				for how, r := range map[string]reply{"REST": s.rest(o, adminKey, in), "tRPC": s.trpc(o, adminKey, in)} {
					if r.status >= 500 {
						t.Errorf("%s by %s: %s = %s: %d %s", o.name, how, name, w, r.status, r.body)
					}
				}
			}
		}
	}
	if r := s.admin("GET", "/v1/licenses/lic_123/usage", ""); r.at("allTime", "byType", "view", "quantity") == nil {
		t.Errorf("the licence's usage is gone: %s", r.body)
	}
}

func TestErrorsKeepTheirCauses(t *testing.T) {
	s := newServer(t)
	r := s.send("POST", "/v1/jobs/alwaysFails/run", adminKey, "", "X-Request-Id: my-request-1")
	if r.status != 500 || strings.Contains(r.body, "secret-cause") || r.at("requestId") != "my-request-1" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if log := s.logs.String(); !strings.Contains(log, "secret-cause") || !strings.Contains(log, "my-request-1") {
		t.Errorf("the log lacks the cause:\n%s", log)
	}
	r = s.send("GET", "/v1/keys/self", adminKey, "", "X-Request-Id: evil value")
	if id := r.header.Get("X-Request-Id"); id == "" || strings.Contains(id, "evil") {
		t.Errorf("request id %q", id)
	}
}

// Only an Authorization header authenticates, whatever a browser may be made to send.
func TestAuthentication(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	for what, h := range map[string]string{
		"cookie": "Cookie: key=" + adminKey + "; Authorization=Bearer " + adminKey,
		"basic":  "Authorization: Basic " + adminKey,
		"empty":  "Authorization: Bearer ",
		"wrong":  "Authorization: Bearer usk_nope",
		"header": "X-Api-Key: " + adminKey,
	} {
		for _, path := range []string{"/v1/licenses/lic_123/usage", "/api/trpc/usage.getCurrentUsage?licenseId=lic_123"} {
			r := s.send("GET", path, "", "", h)
			if r.status != 401 || !strings.Contains(r.body, `Authorization: Bearer YOUR_KEY`) || r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %s: %d %s", what, path, r.status, r.body)
			}
		}
	}
	r := s.send("POST", "/v1/events", "", ev(`"quantity":1`), "Content-Type: application/x-www-form-urlencoded")
	if r.status != 401 {
		t.Errorf("a form without a key: %d", r.status)
	}
	r = s.send("OPTIONS", "/v1/events", "", "", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
	if r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin is let in: %v", r.header)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"} {
		if r := s.send("GET", path, "", ""); r.status != 200 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func TestPaging(t *testing.T) {
	s := newServer(t)
	for i := range 7 {
		s.license(fmt.Sprintf("lic_%d", i))
	}
	var got []string
	cursor := ""
	for range 10 {
		r := s.admin("GET", "/v1/licenses?limit=3&cursor="+url.QueryEscape(cursor), "")
		for i := 0; r.at("data", i) != nil; i++ {
			got = append(got, r.at("data", i, "id").(string))
		}
		next, more := r.at("nextCursor").(string)
		if !more {
			break
		}
		cursor = next
	}
	if want := "lic_0 lic_1 lic_2 lic_3 lic_4 lic_5 lic_6"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}
