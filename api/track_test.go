package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

func TestTrackForms(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	one := `{"licenseId":"lic_123","usageType":"view","quantity":2,"occurredAt":"2024-10-12T10:30:00.123456+02:00","idempotencyKey":"k1","metadata":{"b":1,"a":12345678901234567890}}`
	r := s.admin("POST", "/v1/events", one)
	if r.at("tracked") != true || r.at("duplicate") != false || r.at("status") != "COUNTED" {
		t.Errorf("one: %s", r.body)
	}
	id := r.at("eventId")
	// The same payload, written otherwise.
	r = s.admin("POST", "/v1/events", `{ "metadata" : {"a":12345678901234567890, "\u0062":1}, "idempotencyKey":"k1","occurredAt":"2024-10-12T08:30:00.123456Z","quantity":2,"usageType":"view","licenseId":"lic_123"}`)
	if r.at("duplicate") != true || r.at("eventId") != id {
		t.Errorf("again: %s", r.body)
	}
	// Another payload: the last digit of a number that no float holds.
	r = s.admin("POST", "/v1/events", strings.Replace(one, "7890}", "7891}", 1))
	if r.at("error", "code") != "IDEMPOTENCY_CONFLICT" || r.at("tracked") != false {
		t.Errorf("conflict: %s", r.body)
	}
	r = s.admin("GET", "/v1/licenses/lic_123/events", "")
	if r.at("data", 0, "occurredAt") != "2024-10-12T08:30:00.123456Z" || !strings.Contains(r.body, `"metadata":{"a":12345678901234567890,"b":1}`) {
		t.Errorf("stored: %s", r.body)
	}
	// A bad event refuses itself, not its neighbours.
	r = s.admin("POST", "/v1/events", `[{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k2"},{"licenseId":"lic_123","usageType":"view","quantity":"x","idempotencyKey":"k3"},7,{"licenseId":"nope","usageType":"view"},{"licenseId":"lic_123","usageType":"view","surprise":{"deep":[1]},"idempotencyKey":"k5"},{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k6"}]`)
	for i, want := range []string{"COUNTED", "REFUSED quantity", "REFUSED ", "REFUSED ", "REFUSED surprise", "COUNTED"} {
		got := fmt.Sprint(r.at(i, "status"))
		if f, ok := r.at(i, "error", "field").(string); ok {
			got += " " + f
		} else if got == "REFUSED" {
			got += " "
		}
		if got != want {
			t.Errorf("event %d: %s, want %s: %s", i, got, want, r.body)
		}
	}
	r = s.admin("POST", "/v1/events", `{"events":[{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k7"}],"atomic":true}`)
	if r.at("results", 0, "status") != "COUNTED" {
		t.Errorf("batch: %s", r.body)
	}
	for _, path := range []string{"/v1/events", "/v1/events?atomic=true"} {
		body := `[{"licenseId":"lic_123","usageType":"view","idempotencyKey":"k8"},{"licenseId":"nope","usageType":"view","idempotencyKey":"k9"}]`
		if path == "/v1/events" {
			body = `{"atomic":true,"events":` + body + `}`
		}
		r = s.send("POST", path, adminKey, body)
		if r.status != 409 || r.at("code") != "ABORTED" || r.at("results", 1, "error", "code") != "LICENSE_NOT_FOUND" || r.at("results", 0, "error", "code") != "ABORTED" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	r = s.send("POST", "/v1/events?atomic=true", adminKey, `[{"licenseId":"nope","usageType":"view"},{"licenseId":"nope","usageType":"view"}]`)
	if r.status != 409 || r.at("results", 1, "error", "code") == nil {
		t.Errorf("all refused: %d %s", r.status, r.body)
	}
	r = s.send("POST", "/v1/events?atomic=true", adminKey, `{"licenseId":"nope","usageType":"view"}`)
	if r.status != 200 || r.at("error", "code") != "LICENSE_NOT_FOUND" {
		t.Errorf("one: %d %s", r.status, r.body)
	}
	r = s.admin("GET", "/v1/licenses/lic_123/usage", "")
	if r.at("allTime", "quantity") != 5.0 {
		t.Errorf("usage: %s", r.body)
	}
}

// A key bound to a brand counts its licences and learns nothing of others.
func TestBoundIngestKey(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.admin("PUT", "/v1/licenses/lic_other", `{"brandId":"brand_2","assetId":"asset_2","status":"ACTIVE"}`)
	key := s.key(`{"role":"ingest","brandIds":["brand_1"]}`)
	r := s.send("POST", "/v1/events", key, `[{"licenseId":"lic_123","usageType":"view"},{"licenseId":"lic_other","usageType":"view"},{"licenseId":"lic_none","usageType":"view"}]`)
	if r.at(0, "status") != "COUNTED" || r.at(1, "error", "code") != "LICENSE_NOT_FOUND" || r.at(2, "error", "code") != "LICENSE_NOT_FOUND" {
		t.Errorf("%s", r.body)
	}
	if a, b := r.at(1, "error", "message").(string), r.at(2, "error", "message").(string); strings.ReplaceAll(a, "lic_other", "lic_none") != b {
		t.Errorf("told apart: %q, %q", a, b)
	}
	brand := s.key(`{"role":"brand","partyId":"brand_1"}`)
	if r := s.send("POST", "/v1/events", brand, ev(`"quantity":1`)); r.status != 403 {
		t.Errorf("a brand key counts: %d %s", r.status, r.body)
	}
}

func TestLines(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	var body strings.Builder
	const n = 2500
	for i := range n {
		switch i {
		case 1200:
			body.WriteString("this is no JSON\n")
		case 1300:
			body.WriteString(`{"licenseId":"lic_123","referrer":"` + strings.Repeat("x", 70_000) + "\"}\n")
		case 1400:
			body.WriteString("\r\n\n") // no event
			fallthrough
		default:
			fmt.Fprintf(&body, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"n%d"}`+"\n", i)
		}
	}
	for try := range 2 {
		r := s.send("POST", "/v1/events", adminKey, strings.TrimSuffix(body.String(), "\n"), "Content-Type: application/x-ndjson")
		lines := strings.Split(strings.TrimSuffix(r.body, "\n"), "\n")
		if r.status != 200 || len(lines) != n {
			t.Fatalf("%d, %d lines", r.status, len(lines))
		}
		for i, line := range lines {
			var res usance.Result
			if err := json.Unmarshal([]byte(line), &res); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("COUNTED n%d %t", i, try == 1)
			if i == 1200 || i == 1300 {
				want = "REFUSED  false"
			}
			if got := fmt.Sprintf("%s %s %t", res.Status, res.IdempotencyKey, res.Duplicate); got != want {
				t.Fatalf("line %d: %s, want %s: %s", i, got, want, line)
			}
		}
	}
	if r := s.admin("GET", "/v1/licenses/lic_123/usage", ""); r.at("allTime", "quantity") != float64(n-2) {
		t.Errorf("usage: %s", r.body)
	}
	problem(t, "atomic stream", s.send("POST", "/v1/events?atomic=true", adminKey, "{}", "Content-Type: application/x-ndjson"), 400, "atomic")
}

// Answers come while the stream is still being sent.
func TestLinesBothWays(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", s.URL+"/v1/events", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("Content-Type", "application/x-ndjson")
	answered := make(chan error, 1)
	go func() {
		answered <- func() error {
			res, err := s.Client().Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			in := bufio.NewScanner(res.Body)
			for i := range 3 {
				if !in.Scan() {
					return fmt.Errorf("the answer ended after %d lines: %v", i, in.Err())
				}
				if !strings.Contains(in.Text(), fmt.Sprintf(`"idempotencyKey":"s%d"`, i)) {
					return fmt.Errorf("line %d: %s", i, in.Text())
				}
				if i < 2 { // the next line goes out only once this one was answered
					fmt.Fprintf(pw, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"s%d"}`+"\n", i+1)
				} else {
					pw.Close()
				}
			}
			if in.Scan() {
				return fmt.Errorf("one line too many: %s", in.Text())
			}
			return in.Err()
		}()
	}()
	fmt.Fprintf(pw, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"s0"}`+"\n")
	select {
	case err := <-answered:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("no answer while the stream is open")
	}
}

func TestCloudEvents(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	const structured, many = "Content-Type: application/cloudevents+json", "Content-Type: application/cloudevents-batch+json"
	ce := func(id, rest string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"https://app.example","type":"com.example.usage.view","subject":"lic_123"` + rest + `}`
	}
	for _, c := range []struct {
		what, path, header, body string
		status                   int
		field                    string
	}{
		{"one", "/v1/events", structured, ce("1", `,"time":"2024-10-12T08:30:00Z","data":{"quantity":3,"platform":"web"}`), 204, ""},
		{"again", "/api/v1/events", structured, ce("1", `,"time":"2024-10-12T08:30:00Z","data":{"quantity":3,"platform":"web"}`), 204, ""},
		{"again, as a string", "/api/v1/events", structured, ce("1", `,"time":"2024-10-12T08:30:00Z","data":{"units":"3","platform":"web"},"traceparent":"00-x"`), 204, ""},
		{"other payload", "/v1/events", structured, ce("1", `,"time":"2024-10-12T08:30:00Z","data":{"quantity":4}`), 409, ""},
		{"no data", "/v1/events", structured, ce("2", ``), 204, ""},
		{"null data", "/v1/events", structured, ce("3", `,"data":null`), 204, ""},
		{"batch", "/v1/events", many, "[" + ce("4", ``) + "," + ce("5", `,"datacontenttype":"application/json"`) + "]", 204, ""},
		{"empty batch", "/v1/events", many, "[]", 204, ""},
		{"part of a batch", "/v1/events", many, "[" + ce("6", ``) + "," + ce("7", `,"data":{"quantity":"1.5"}`) + "]", 400, "data.quantity"},
		{"version", "/v1/events", structured, strings.Replace(ce("8", ``), `"1.0"`, `"0.3"`, 1), 400, "specversion"},
		{"subject", "/v1/events", structured, strings.Replace(ce("8", ``), `"subject"`, `"subj"`, 1), 400, "subject"},
		{"source", "/v1/events", structured, strings.Replace(ce("8", ``), `https://app.example`, ``, 1), 400, "source"},
		{"type", "/v1/events", structured, strings.Replace(ce("8", ``), `.view`, `.VIEW`, 1), 400, "type"},
		{"time", "/v1/events", structured, ce("8", `,"time":"now"`), 400, "time"},
		{"data list", "/v1/events", structured, ce("8", `,"data":[1]`), 400, "data"},
		{"data unknown", "/v1/events", structured, ce("8", `,"data":{"quantiy":1}`), 400, "data.quantiy"},
		{"data platform", "/v1/events", structured, ce("8", `,"data":{"platform":7}`), 400, "data.platform"},
		{"both names", "/v1/events", structured, ce("8", `,"data":{"units":1,"quantity":1}`), 400, "data.units"},
		{"base64", "/v1/events", structured, ce("8", `,"data_base64":"e30="`), 400, "data_base64"},
		{"XML data", "/v1/events", structured, ce("8", `,"datacontenttype":"text/xml","data":"<a/>"`), 400, "datacontenttype"},
		{"no object", "/v1/events", structured, `7`, 400, ""},
		{"two", "/v1/events", structured, ce("8", ``) + "," + ce("9", ``), 400, ""},
		{"no JSON", "/v1/events", structured, `{`, 400, ""},
		{"no array", "/v1/events", many, ce("8", ``), 400, ""},
		{"absent licence", "/v1/events", structured, strings.Replace(ce("8", ``), `lic_123`, `lic_0`, 1), 404, ""},
		{"parameter", "/v1/events?x=1", structured, ce("8", ``), 400, "x"},
	} {
		r := s.send("POST", c.path, adminKey, c.body, c.header)
		if c.status == 204 {
			if r.status != 204 || r.body != "" {
				t.Errorf("%s: %d %s", c.what, r.status, r.body)
			}
			continue
		}
		problem(t, c.what, r, c.status, c.field)
	}
	for _, ct := range []string{structured, many, "Content-Type: application/json"} {
		r := s.send("POST", "/v1/events", adminKey, ce("8", ``), ct+"; charset=iso-8859-1", "Ce-Specversion: 1.0", "Ce-Id: b2", "Ce-Source: s", "Ce-Type: view", "Ce-Subject: lic_123")
		problem(t, ct, r, 415, "")
	}
	r := s.send("POST", "/v1/events", adminKey, `{"quantity":"7"}`, "Content-Type: application/json", "Ce-Specversion: 1.0", "Ce-Id: b1",
		"Ce-Source: /caf%C3%A9", "Ce-Type: download", "Ce-Subject: lic_123", "Ce-Time: 2024-10-12T08:00:00Z")
	if r.status != 204 {
		t.Errorf("binary: %d %s", r.status, r.body)
	}
	problem(t, "binary, not JSON", s.send("POST", "/v1/events", adminKey, `x`, "Content-Type: application/json", "Ce-Specversion: 1.0", "Ce-Id: b2",
		"Ce-Source: s", "Ce-Type: view", "Ce-Subject: lic_123"), 400, "data")
	r = s.admin("GET", "/v1/licenses/lic_123/usage", "")
	if r.at("allTime", "byType", "view", "quantity") != 8.0 || r.at("allTime", "byType", "download", "quantity") != 7.0 {
		t.Errorf("usage: %s", r.body)
	}
	if !strings.Contains(s.admin("GET", "/v1/licenses/lic_123/events?usageType=download", "").body, `ce:6:/café:b1`) {
		t.Error("the key of the binary event is another")
	}
}

func TestCloudEventKeysDoNotMeet(t *testing.T) {
	seen := make(map[string][2]string)
	parts := []string{"", "a", ":", "a:", ":a", "a:a", "1:a", "2:a:", strings.Repeat("x", 200), strings.Repeat("x", 201), strings.Repeat("x", 300)}
	for _, source := range parts {
		for _, id := range parts {
			key := cloudEventKey(source, id)
			if len(key) > usance.MaxKeyBytes {
				t.Errorf("key of %d bytes", len(key))
			}
			if other, ok := seen[key]; ok {
				t.Errorf("%q and %q join to %q", other, [2]string{source, id}, key)
			}
			seen[key] = [2]string{source, id}
		}
	}
}

func FuzzDecodeEvents(f *testing.F) {
	f.Add([]byte(exampleEvent))
	f.Add([]byte(`[` + exampleEvent + `,{"quantity":1.5},7]`))
	f.Add([]byte(`{"atomic":true,"events":[{}]}`))
	f.Add([]byte(`{"licenseId":"\ud83d\ude00","metadata":{"a":[1,{"b":null}]},"occurredAt":"2024-10-12T08:30:00.5+02:00"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := decodeEvents(bytes.Clone(body))
		if err != nil {
			if usance.ErrorCode(err) == usance.CodeInternal {
				t.Fatalf("not a user's error: %v", err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("took what is no JSON: %q", body)
		}
		if b.errs != nil && len(b.errs) != len(b.events) {
			t.Fatalf("%d events, %d errors", len(b.events), len(b.errs))
		}
		for i := range b.events {
			e := &b.events[i]
			if b.errs != nil && b.errs[i] != nil {
				continue
			}
			if e.Quantity < 0 || e.RevenueCents < 0 || len(e.Metadata) > usance.MaxMetadataBytes || len(e.Metadata) > 0 && !json.Valid(e.Metadata) {
				t.Fatalf("decoded %+v", e)
			}
			if y := e.OccurredAt.Year(); !e.OccurredAt.IsZero() && (y < 1970 || y > 9999) {
				t.Fatalf("year %d", y)
			}
		}
	})
}

func FuzzDecodeCloudEvents(f *testing.F) {
	f.Add([]byte(`[{"specversion":"1.0","id":"1","source":"s","type":"a.view","subject":"l","time":"2024-10-12T08:30:00Z","data":{"units":"3"}}]`))
	f.Add([]byte(`[{"specversion":"1.0","data_base64":"e30="},null]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := decodeCloudEvents(body)
		if err != nil {
			if usance.ErrorCode(err) == usance.CodeInternal {
				t.Fatalf("not a user's error: %v", err)
			}
			return
		}
		for i := range b.events {
			if (b.errs == nil || b.errs[i] == nil) && (b.events[i].LicenseID == "" || b.events[i].IdempotencyKey == "" || b.events[i].Quantity < 0) {
				t.Fatalf("decoded %+v", b.events[i])
			}
		}
	})
}

// endsEarly sends a line, which is counted, and another after something happened:
// the answer ends with why that one was not.
func (s *server) endsEarly(key string, happens func(), code string) {
	s.t.Helper()
	pr, pw := io.Pipe()
	defer pw.Close()
	req, err := http.NewRequest("POST", s.URL+"/v1/events", pr)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	go func() {
		fmt.Fprintf(pw, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"s0"}`+"\n")
	}()
	res, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "COUNTED") {
		s.t.Fatalf("%s, %v", line, err)
	}
	happens()
	go func() {
		fmt.Fprintf(pw, `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"s1"}`+"\n")
	}()
	start := time.Now()
	rest, _ := io.ReadAll(in)
	if !strings.Contains(string(rest), code) || !strings.Contains(string(rest), `"idempotencyKey":"s1"`) {
		s.t.Errorf("%s", rest)
	}
	if took := time.Since(start); took > 2*time.Minute {
		s.t.Errorf("the answer ended after %s", took)
	}
}

// A stream whose answer ends early says why, and holds nothing open.
func TestLinesEndEarly(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.endsEarly(adminKey, func() {
		if err := s.a.d.Ingest.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, `"UNAVAILABLE"`)
	if r := s.send("GET", "/readyz", "", ""); r.status != 503 {
		t.Errorf("ready while shutting down: %d", r.status)
	}
}

// A key that is revoked counts nothing more, in a stream that is open either.
func TestLinesOfARevokedKey(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	made := s.admin("POST", "/v1/keys", `{"role":"ingest"}`)
	s.endsEarly(made.at("secret").(string), func() {
		s.admin("POST", "/v1/keys/"+made.at("key", "id").(string)+"/revoke", "")
	}, `"UNAUTHORIZED"`)
	if r := s.admin("GET", "/v1/licenses/lic_123/usage", ""); r.at("allTime", "quantity") != float64(1) {
		t.Errorf("usage: %s", r.body)
	}
}
