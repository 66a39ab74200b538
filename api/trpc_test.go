package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
)

const jsonType = "Content-Type: application/json"

// The wire as @trpc/server 11 speaks it: status, JSON-RPC number, name.
func TestTRPCWire(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	q := func(name, input string) string { return "/api/trpc/" + name + "?input=" + url.QueryEscape(input) }
	for _, c := range []struct {
		what, method, path, body string
		headers                  []string
		status                   int
		number                   float64 // 0: a result
		code                     string
	}{
		{"query", "GET", q("usage.getCurrentUsage", `{"licenseId":"lic_123"}`), "", nil, 200, 0, ""},
		{"query with JSON type", "GET", q("usage.getCurrentUsage", `{"licenseId":"lic_123"}`), "", []string{jsonType}, 200, 0, ""},
		{"query by POST", "POST", "/api/trpc/usage.getCurrentUsage", `{"licenseId":"lic_123"}`, []string{jsonType}, 200, 0, ""},
		{"plain parameters", "GET", "/api/trpc/usage.getCurrentUsage?licenseId=lic_123", "", nil, 200, 0, ""},
		{"input and parameters", "GET", q("usage.getCurrentUsage", `{"licenseId":"lic_123"}`) + "&usageType=view", "", nil, 400, -32600, "BAD_REQUEST"},
		{"input twice", "GET", q("usage.getCurrentUsage", `{"licenseId":"lic_123"}`) + "&input=%7B%7D", "", nil, 400, -32600, "BAD_REQUEST"},
		{"another charset", "POST", "/api/trpc/usage.trackEvent", ev(`"quantity":1`), []string{jsonType + "; charset=utf-16"}, 415, -32015, "UNSUPPORTED_MEDIA_TYPE"},
		{"plain, unknown", "GET", "/api/trpc/usage.getCurrentUsage?licenseId=lic_123&x=1", "", nil, 400, -32600, "BAD_REQUEST"},
		{"mutation", "POST", "/api/trpc/usage.trackEvent", ev(`"quantity":1`), []string{jsonType}, 200, 0, ""},
		{"mutation as curl sends it", "POST", "/api/trpc/usage.trackEvent", ev(`"quantity":1`), []string{"Content-Type: application/x-www-form-urlencoded"}, 200, 0, ""},
		{"mutation by GET", "GET", q("usage.trackEvent", ev(`"quantity":1`)), "", nil, 405, -32005, "METHOD_NOT_SUPPORTED"},
		{"mutation by PUT", "PUT", "/api/trpc/usage.trackEvent", ev(`"quantity":1`), []string{jsonType}, 405, -32005, "METHOD_NOT_SUPPORTED"},
		{"mutation as text", "POST", "/api/trpc/usage.trackEvent", ev(`"quantity":1`), []string{"Content-Type: text/plain"}, 415, -32015, "UNSUPPORTED_MEDIA_TYPE"},
		{"no procedure", "GET", "/api/trpc/usage.nope", "", nil, 404, -32004, "NOT_FOUND"},
		{"no licence", "GET", q("usage.getCurrentUsage", `{"licenseId":"lic_0"}`), "", nil, 404, -32004, "NOT_FOUND"},
		{"no input", "GET", "/api/trpc/usage.getCurrentUsage", "", nil, 400, -32600, "BAD_REQUEST"},
		{"null input", "GET", q("usage.getCurrentUsage", `null`), "", nil, 400, -32600, "BAD_REQUEST"},
		{"input no JSON", "GET", q("usage.getCurrentUsage", `{`), "", nil, 400, -32600, "BAD_REQUEST"},
		{"body no JSON", "POST", "/api/trpc/usage.trackEvent", `{`, []string{jsonType}, 400, -32600, "BAD_REQUEST"},
		{"body and input", "POST", q("usage.trackEvent", ev(`"quantity":1`)), ev(`"quantity":1`), []string{jsonType}, 400, -32600, "BAD_REQUEST"},
		{"deep", "POST", "/api/trpc/usage.trackEvent", strings.Repeat("[", 100_000), []string{jsonType}, 400, -32600, "BAD_REQUEST"},
		{"bad query", "GET", "/api/trpc/usage.getCurrentUsage?input=%zz", "", nil, 400, -32600, "BAD_REQUEST"},
		{"threshold", "POST", "/api/trpc/usage.createThreshold", `{"licenseId":"lic_123","periodType":"monthly","limitQuantity":5}`, []string{jsonType}, 200, 0, ""},
		{"threshold again", "POST", "/api/trpc/usage.createThreshold", `{"licenseId":"lic_123","periodType":"monthly","limitQuantity":5}`, []string{jsonType}, 409, -32009, "CONFLICT"},
		{"fault", "POST", "/api/trpc/jobs.run", `{"name":"alwaysFails"}`, []string{jsonType}, 500, -32603, "INTERNAL_SERVER_ERROR"},
	} {
		r := s.send(c.method, c.path, adminKey, c.body, c.headers...)
		if r.status != c.status || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", c.what, r.status, r.body)
			continue
		}
		if c.number == 0 {
			if r.at("result", "data") == nil || r.at("error") != nil {
				t.Errorf("%s: %s", c.what, r.body)
			}
			continue
		}
		name := strings.TrimPrefix(strings.SplitN(c.path, "?", 2)[0], "/api/trpc/")
		if c.what == "bad query" || c.what == "deep" || c.what == "mutation as text" || c.what == "body and input" || c.what == "another charset" || c.what == "input and parameters" || c.what == "input twice" {
			name = "" // refused before the calls were read
		}
		path, _ := r.at("error", "data", "path").(string)
		if r.at("error", "code") != c.number || r.at("error", "data", "code") != c.code || r.at("error", "data", "httpStatus") != float64(c.status) ||
			path != name || r.at("error", "message") == "" || r.at("result") != nil {
			t.Errorf("%s: %s", c.what, r.body)
		}
		if strings.Contains(r.body, "secret-cause") {
			t.Errorf("%s shows a cause", c.what)
		}
	}
	// What cannot be told to be plain or superjson's is answered as both.
	r := s.send("POST", "/api/trpc/usage.trackEvent", adminKey, "x", "Content-Type: text/plain")
	if r.at("error", "json", "code") != -32015.0 || r.at("error", "code") != -32015.0 || r.at("error", "json", "message") != r.at("error", "message") {
		t.Errorf("both forms: %s", r.body)
	}
	if r := s.send("HEAD", "/api/trpc/usage.getCurrentUsage", "", ""); r.status != 204 {
		t.Errorf("HEAD: %d", r.status)
	}
	if r := s.send("GET", q("usage.trackEvent", "{}"), adminKey, ""); r.header.Get("Allow") != "POST" {
		t.Errorf("Allow: %q", r.header.Get("Allow"))
	}
}

func TestTRPCBatch(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	get := func(names, inputs string) reply {
		return s.send("GET", "/api/trpc/"+names+"?batch=1&input="+url.QueryEscape(inputs), adminKey, "")
	}
	r := get("usage.getCurrentUsage,usage.getThresholdStatus", `{"0":{"licenseId":"lic_123"},"1":{"licenseId":"lic_123"}}`)
	if r.status != 200 || r.at(0, "result", "data", "licenseId") != "lic_123" || r.at(1, "result", "data", "thresholds") == nil {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = get("usage.getCurrentUsage,usage.getCurrentUsage,usage.trackEvent,nope", `{"0":{"licenseId":"lic_123"},"1":{"licenseId":"lic_0"}}`)
	if r.status != 207 || r.at(0, "result") == nil || r.at(1, "error", "data", "httpStatus") != 404.0 || r.at(2, "error", "data", "httpStatus") != 405.0 || r.at(3, "error", "data", "path") != "nope" {
		t.Errorf("mixed: %d %s", r.status, r.body)
	}
	r = get("usage.getCurrentUsage,usage.getCurrentUsage", `{"0":{"licenseId":"lic_1"},"1":{"licenseId":"lic_0"}}`)
	if r.status != 404 {
		t.Errorf("both absent: %d %s", r.status, r.body)
	}
	r = get("usage.getCurrentUsage", `[]`)
	if r.status != 400 || r.at(0, "error", "code") != -32600.0 {
		t.Errorf("inputs in a list: %d %s", r.status, r.body)
	}
	r = get(strings.Repeat("usage.getCurrentUsage,", 200)+"x", `{}`)
	if r.status != 400 || r.at("error", "code") != -32600.0 {
		t.Errorf("too many: %d %s", r.status, r.body)
	}
	r = s.send("POST", "/api/trpc/usage.trackEvent,usage.trackEvent?batch=1", adminKey,
		`{"0":{"json":{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k"}},"1":{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k"}}`, jsonType)
	if r.status != 200 || r.at(0, "result", "data", "json", "tracked") != true || r.at(1, "result", "data", "duplicate") != true {
		t.Errorf("one with superjson, one without: %d %s", r.status, r.body)
	}
	r = s.send("GET", "/api/trpc/usage.getCurrentUsage,usage.getCurrentUsage?batch=1&input=%7B%7D", "", "")
	if r.status != 401 || r.at(1, "error", "data", "code") != "UNAUTHORIZED" || !strings.Contains(r.body, `Authorization: Bearer YOUR_KEY`) {
		t.Errorf("no key: %d %s", r.status, r.body)
	}
}

func TestSuperJSON(t *testing.T) {
	for _, c := range []struct{ what, in, plain, field string }{
		{"date", `{"json":{"at":"2024-10-12T08:30:00.000Z"},"meta":{"values":{"at":["Date"]},"v":1}}`, `{"at":"2024-10-12T08:30:00.000Z"}`, ""},
		{"undefined field", `{"json":{"a":1,"b":null},"meta":{"values":{"b":["undefined"]}}}`, `{"a":1}`, ""},
		{"undefined input", `{"json":null,"meta":{"values":["undefined"]}}`, ``, ""},
		{"null input", `{"json":null}`, ``, ""},
		{"bigint", `{"json":{"quantity":"9007199254740993"},"meta":{"values":{"quantity":["bigint"]}}}`, `{"quantity":9007199254740993}`, ""},
		{"nested", `{"json":{"events":[{"m":{"a.b":"5"}},{"x":null}]},"meta":{"values":{"events.0.m.a\\.b":["bigint"],"events.1.x":["undefined"]},"v":1}}`, `{"events":[{"m":{"a.b":5}},{}]}`, ""},
		{"set", `{"json":{"usageTypes":["view","5"]},"meta":{"values":{"usageTypes":["set",{"1":["bigint"]}]}}}`, `{"usageTypes":["view",5]}`, ""},
		{"minus zero", `{"json":{"n":"-0"},"meta":{"values":{"n":["number"]}}}`, `{"n":0}`, ""},
		{"NaN", `{"json":{"n":"NaN"},"meta":{"values":{"n":["number"]}}}`, ``, "n"},
		{"no date", `{"json":{"at":null},"meta":{"values":{"at":["Date"]}}}`, ``, "at"},
		{"no bigint", `{"json":{"n":"[1]"},"meta":{"values":{"n":["bigint"]}}}`, ``, "n"},
		{"regexp", `{"json":{"n":"/a/"},"meta":{"values":{"n":["regexp"]}}}`, ``, "n"},
		{"class", `{"json":{"n":{}},"meta":{"values":{"n":[["class","X"]]}}}`, ``, "n"},
		{"of nothing", `{"json":{},"meta":{"values":{"n":["Date"]}}}`, ``, "meta.values"},
		{"garbage", `{"json":{},"meta":{"values":7}}`, ``, "meta.values"},
	} {
		plain, super, err := superUnwrap(jsontext.Value(c.in))
		if !super {
			t.Errorf("%s: not taken for superjson", c.what)
		}
		if c.field != "" {
			if e := outward(err); err == nil || e.Field != c.field || e.Code != usance.CodeValidation {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if err != nil || string(plain) != c.plain {
			t.Errorf("%s: %s, %v", c.what, plain, err)
		}
	}
	for _, in := range []string{`{"licenseId":"l"}`, `{"json":1,"licenseId":"l"}`, `{"json":1,"meta":{},"x":1}`, `[]`, `{"json":1,"json":2}`} {
		if _, super, _ := superUnwrap(jsontext.Value(in)); super {
			t.Errorf("%s was taken for superjson", in)
		}
	}
}

// fuzzAPI reads inputs; there is no stage behind it to carry them out.
func fuzzAPI() *api { return newAPI(Deps{}) }

func FuzzTRPCInput(f *testing.F) {
	a := fuzzAPI()
	f.Add("usage.trackEvent", `{"json":{"at":"x"},"meta":{"values":{"at":["Date"],"a.b\\.c":["set",{"0":["undefined"]}]},"v":1}}`, true)
	f.Add("usage.getAnalytics,usage.trackBatch", `{"0":{"licenseId":"l"},"1":{"json":null,"meta":{"values":["undefined"]}}}`, false)
	f.Fuzz(func(t *testing.T, names, input string, post bool) {
		method, target, body := http.MethodGet, "/api/trpc/x?input="+url.QueryEscape(input), ""
		if strings.Contains(names, ",") {
			target += "&batch=1"
		}
		if post {
			method, target, body = http.MethodPost, strings.Replace(target, "input=", "ignored=", 1), input
		}
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer x")
		r.SetPathValue("procedures", names)
		calls, _, err := a.trpcCalls(&answerWriter{ResponseWriter: httptest.NewRecorder(), held: held{room: &a.bodies}}, r, true)
		if err != nil {
			if usance.ErrorCode(err) == usance.CodeInternal {
				t.Fatalf("not a user's error: %v", err)
			}
			return
		}
		for _, c := range calls {
			if c.err != nil && usance.ErrorCode(c.err) == usance.CodeInternal {
				t.Fatalf("not a user's error: %v", c.err)
			}
			if c.op == nil || c.err != nil {
				continue
			}
			if _, err := c.op.decode(c.input); err != nil && usance.ErrorCode(err) == usance.CodeInternal {
				t.Fatalf("not a user's error: %v", err)
			}
		}
	})
}

func FuzzQueryParameters(f *testing.F) {
	a := fuzzAPI()
	f.Add(uint8(0), "licenseId=lic_123&startDate=2024-10-01&granularity=daily&top=5")
	f.Add(uint8(9), "usageTypes=a,b&usageTypes=c&comparePrevious=true&cursor=%00&limit=-1")
	f.Fuzz(func(t *testing.T, which uint8, raw string) {
		o := a.ops[int(which)%len(a.ops)]
		q, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		v, err := queryObject(o.schemaIn(), q)
		if err == nil {
			if !json.Valid(v) {
				t.Fatalf("made %q", v)
			}
			_, err = o.decode(v)
		}
		if err != nil && usance.ErrorCode(err) == usance.CodeInternal {
			t.Fatalf("%s: not a user's error: %v", o.name, err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	s := newServer(f)
	s.license("lic_123")
	s.admin("POST", "/v1/events", ev(`"quantity":1`))
	f.Add("bGljXzEyMw")
	f.Add("\x00")
	f.Add(strings.Repeat("A", 5000))
	f.Fuzz(func(t *testing.T, cursor string) {
		s.t = t
		for _, path := range []string{"/v1/licenses", "/v1/assets", "/v1/thresholds", "/v1/overages", "/v1/alerts", "/v1/audit", "/v1/keys", "/v1/licenses/lic_123/events", "/v1/licenses/lic_123/evidence"} {
			r := s.send("GET", path+"?cursor="+url.QueryEscape(cursor), adminKey, "")
			if r.status >= 500 {
				t.Fatalf("%s: %d %s\n%s", path, r.status, r.body, s.logs)
			}
		}
	})
}
