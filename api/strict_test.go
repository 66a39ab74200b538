package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// null is what JavaScript makes of NaN and of dates that are none. Wherever the
// schema does not name it, it is refused and nothing happens.
func TestNullIsRefused(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	hard := s.admin("POST", "/v1/thresholds", `{"licenseId":"lic_123","usageType":"view","periodType":"monthly","limitQuantity":5}`).at("id").(string)
	rated := s.admin("POST", "/v1/thresholds", `{"licenseId":"lic_123","usageType":"play","periodType":"monthly","limitQuantity":5,"allowOverage":true,"overageRateCents":2}`).at("id").(string)
	before := s.everything()
	nullable := map[string]bool{
		"catalog.putLicense deletedAt": true, "usage.updateThreshold overageRateCents": true, "usage.updateThreshold overageTiers": true,
	}
	schemas := newRegistry()
	for _, o := range s.a.ops {
		var base map[string]any
		if err := json.Unmarshal([]byte(o.example), &base); err != nil {
			t.Fatal(err)
		}
		if _, ok := base["thresholdId"]; ok {
			base["thresholdId"] = hard
		}
		if o.name == "usage.voidEvent" {
			delete(base, "reason")
		}
		schema := inputSchema(schemas, o)
		for name := range fieldsOf(o.schemaIn()) {
			key := o.name + " " + name
			if ts := typeScriptOf(schemas, schema.Properties[name]); strings.HasSuffix(ts, "| null") != nullable[key] {
				t.Errorf("%s: the schema says %s", key, ts)
			}
			if nullable[key] {
				continue
			}
			in := maps.Clone(base)
			in[name] = nil
			r := s.trpc(o, adminKey, in)
			if r.status != 400 || r.at(0, "error", "json", "data", "usance", "code") != "VALIDATION" || r.at(0, "error", "json", "data", "usance", "field") != name {
				t.Errorf("%s by tRPC: %d %s", key, r.status, r.body)
			}
			if o.method != "" && !o.hasBody() || slices.Contains(o.wildcards(), name) {
				continue
			}
			problem(t, key+" by REST", s.rest(o, adminKey, in), 400, name)
		}
	}
	for _, c := range []struct{ method, path, body, field string }{
		{"PUT", "/v1/assets/asset_1", `{"owners":[{"creatorId":"c","shareBps":null}]}`, "owners[0].shareBps"},
		{"PATCH", "/v1/thresholds/" + rated, `{"overageRateCents":null,"overageTiers":[{"upTo":null,"rateCents":1}]}`, "overageTiers[0].upTo"},
		{"PATCH", "/v1/thresholds/" + rated, `{"warningLevels":[50,null]}`, "warningLevels[1]"},
		{"PATCH", "/v1/thresholds/" + rated, `{"lastWarningAt":null}`, "lastWarningAt"},
		{"POST", "/v1/keys", `{"role":"ingest","brandIds":[null]}`, "brandIds[0]"},
		{"POST", "/v1/thresholds", `{"licenseId":"lic_123","periodType":"monthly","limitQuantity":1,"overageTiers":[{"upTo":null,"rateCents":1}]}`, "overageTiers[0].upTo"},
	} {
		problem(t, c.body, s.send(c.method, c.path, adminKey, c.body), 400, c.field)
	}
	if after := s.everything(); after != before {
		t.Errorf("something was stored:\nwas %s\nis  %s", before, after)
	}

	// Where it has a meaning, it has that.
	s.admin("DELETE", "/v1/licenses/lic_123", "")
	if r := s.admin("PUT", "/v1/licenses/lic_123", `{"deletedAt":null}`); r.at("deletedAt") != nil {
		t.Errorf("restored: %s", r.body)
	}
	if r := s.admin("PATCH", "/v1/thresholds/"+rated, `{"overageRateCents":null,"overageTiers":[{"rateCents":3}]}`); r.at("overageRateCents") != nil || r.at("overageTiers", 0, "rateCents") != 3.0 {
		t.Errorf("tiers for a rate: %s", r.body)
	}
	if r := s.admin("PATCH", "/v1/thresholds/"+rated, `{"overageRateCents":4,"overageTiers":null}`); r.at("overageRateCents") != 4.0 || r.at("overageTiers") != nil {
		t.Errorf("a rate for tiers: %s", r.body)
	}
	// superjson's undefined is left out.
	undefined := `{"json":{"licenseId":"lic_123","usageType":null},"meta":{"values":{"usageType":["undefined"]},"v":1}}`
	if r := s.send("GET", "/api/trpc/usage.getCurrentUsage?input="+url.QueryEscape(undefined), adminKey, ""); r.status != 200 {
		t.Errorf("undefined: %d %s", r.status, r.body)
	}
}

// What the document says of parameters holds: sets of words, bounds, patterns.
func TestParametersAreAsDocumented(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   struct {
					Enum     []string
					Minimum  *int
					Maximum  *int
					Pattern  string
					MaxItems int
					Items    struct{ Enum []string }
				}
			}
		}
	}
	if err := json.Unmarshal(OpenAPI(""), &doc); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, item := range doc.Paths {
		o := item["get"]
		path = strings.NewReplacer("{licenseId}", "lic_123", "{id}", "lic_123").Replace(path)
		for _, p := range o.Parameters {
			var bad []string
			if p.In != "query" {
				continue
			}
			if len(p.Schema.Enum)+len(p.Schema.Items.Enum) > 0 {
				bad = append(bad, "nonsense", strings.ToLower(strings.Join(append(p.Schema.Enum, p.Schema.Items.Enum...), "")))
			}
			if p.Schema.Minimum != nil {
				bad = append(bad, fmt.Sprint(*p.Schema.Minimum-1))
			}
			if p.Schema.Maximum != nil {
				bad = append(bad, fmt.Sprint(*p.Schema.Maximum+1))
			}
			if p.Schema.Pattern != "" {
				bad = append(bad, "BAD TYPE")
			}
			for _, v := range bad {
				tried++
				problem(t, path+" "+p.Name+"="+v, s.send("GET", path+"?"+p.Name+"="+url.QueryEscape(v), adminKey, ""), 400, p.Name)
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d were tried", tried)
	}
	s.admin("POST", "/v1/events", ev(`"quantity":1`))
	for _, ok := range []string{"/v1/licenses?status=ACTIVE", "/v1/licenses?status=&limit=", "/v1/licenses/lic_123/analytics?granularity=", "/v1/licenses/lic_123/events?usageType=all"} {
		if r := s.admin("GET", ok, ""); strings.Contains(ok, "all") && r.at("data", 0) == nil {
			t.Errorf("%s: %s", ok, r.body)
		}
	}
	// A body says 0 and empty as well.
	problem(t, "negative", s.send("POST", "/v1/keys/x/rotate", adminKey, `{"overlapSeconds":-1}`), 400, "overlapSeconds")
	problem(t, "empty type", s.send("POST", "/v1/thresholds", adminKey, `{"licenseId":"lic_123","usageType":"","periodType":"monthly","limitQuantity":1}`), 400, "usageType")
	problem(t, "long name", s.send("POST", "/v1/keys", adminKey, `{"role":"ingest","name":"`+strings.Repeat("é", 201)+`"}`), 400, "name")
	s.key(`{"role":"ingest","name":"` + strings.Repeat("é", 200) + `"}`)
	for _, in := range []string{`{"licenseId":"lic_123","startDate":""}`, `{"licenseId":"lic_123","top":0}`, `{"licenseId":"lic_123","granularity":""}`} {
		if r := s.send("GET", "/api/trpc/usage.getAnalytics?input="+url.QueryEscape(in), adminKey, ""); r.status != 400 {
			t.Errorf("%s: %d %s", in, r.status, r.body)
		}
	}
}

// Times are RFC 3339, and no more than that.
func TestStrictTimes(t *testing.T) {
	for text, ok := range map[string]bool{
		"2024-10-12T08:30:00Z":             true,
		"2024-10-12T08:30:00.5Z":           true,
		"2024-10-12T08:30:00.123456+02:00": true,
		"2024-10-12T08:30:00-23:59":        true,
		"2024-10-12T8:30:00Z":              false,
		"2024-10-12T08:30:00,5Z":           false,
		"2024-10-12T08:30:00+24:00":        false,
		"2024-10-12T08:30:00-99:00":        false,
		"2024-10-12T08:30:00+02:60":        false,
		"2024-10-12T08:30:00":              false,
		"2024-10-12T08:30:60Z":             false,
		"2024-10-12 08:30:00Z":             false,
		"2024-10-12":                       false,
		"":                                 false,
	} {
		if _, err := eventTime("occurredAt", []byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// PostgreSQL keeps no NUL.
func TestNULIsRefused(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"a":"b"}`:                       true,
		`{"a":"\\u0000"}`:                 true, // a backslash and letters
		`{"a":"\u0001\n\\"}`:              true,
		`{"a":"\u0000"}`:                  false,
		`{"a":"x\\\u0000"}`:               false,
		`{"a\u0000":1}`:                   false,
		`{"a":[{"b":["\"","c\u0000d"]}]}`: false,
	} {
		if _, err := metadata(jsontext.Value(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	s := newServer(t)
	s.license("lic_123")
	const id = "0190a7c2-0000-7000-8000-000000000000"
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", "/v1/overages/" + id + "/dispute", `{"reason":"a\u0000b"}`, "reason"},
		{"POST", "/v1/overages/" + id + "/waive", `{"reason":"a\u0007b"}`, "reason"},
		{"POST", "/v1/events", ev(`"metadata":{"a":"\u0000"}`), "metadata"},
		{"GET", "/v1/licenses/lic%00/usage", "", "licenseId"},
		{"PATCH", "/v1/thresholds/x%00", "{}", "thresholdId"},
		{"GET", "/v1/audit?subject=%00", "", "subject"},
	} {
		problem(t, c.method+" "+c.path+c.body, s.send(c.method, c.path, adminKey, c.body), 400, c.field)
	}
}

func TestEmptyKeyIsRefused(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	problem(t, "empty key", s.send("POST", "/v1/events", adminKey, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":""}`), 400, "idempotencyKey")
}

// The catalog says what a field must be.
func TestCatalogFaults(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	for _, c := range []struct{ path, body, field, says string }{
		{"/v1/licenses/lic_123", `{"feeCents":1.5}`, "feeCents", "whole number"},
		{"/v1/licenses/lic_123", `{"feeCents":"1"}`, "feeCents", "whole number"},
		{"/v1/licenses/lic_123", `{"usageTrackingEnabled":"no"}`, "usageTrackingEnabled", "true or false"},
		{"/v1/licenses/lic_123", `{"deletedAt":"yesterday"}`, "deletedAt", "RFC 3339"},
		{"/v1/assets/a", `{"owners":[{"creatorId":"c","shareBps":1.5}]}`, "owners[0].shareBps", "whole number"},
		{"/v1/assets/a", `{"owners":[{"creatorId":"c","shareBps":1,"from":7}]}`, "owners[0].from", "date"},
	} {
		r := s.send("PUT", c.path, adminKey, c.body)
		problem(t, c.body, r, 400, c.field)
		if detail, _ := r.at("detail").(string); !strings.Contains(detail, c.says) {
			t.Errorf("%s: %s", c.body, detail)
		}
	}
}

// What was read may be sent back as it is.
func TestReadThenPut(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.admin("PUT", "/v1/assets/asset_1", `{"owners":[{"creatorId":"c","shareBps":10000}]}`)
	id := s.admin("POST", "/v1/thresholds", `{"licenseId":"lic_123","periodType":"monthly","limitQuantity":2,"allowOverage":true,"overageTiers":[{"upTo":5,"rateCents":1},{"rateCents":"0.5"}]}`).at("id").(string)
	s.admin("POST", "/v1/events", ev(`"quantity":2`)) // a level is reached
	for path, method := range map[string]string{"/v1/licenses/lic_123": "PUT", "/v1/brands/brand_1": "PUT", "/v1/assets/asset_1": "PUT", "/v1/thresholds/" + id: "PATCH"} {
		was := s.admin("GET", path, "")
		s.admin(method, path, was.body)
		is := s.admin("GET", path, "")
		if was.at("createdAt") == nil || is.at("createdAt") != was.at("createdAt") {
			t.Errorf("%s: was %s, is %s", path, was.body, is.body)
		}
	}
}
