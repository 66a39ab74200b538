package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/query"
)

// side is all that belongs to one brand and one creator. Every text in it holds
// a word of its own, made from its kind and the side's letter.
type side struct {
	letter                          string
	brand, creator, asset, license  string
	threshold, overage, alert       string
	event, key                      string // an event's id, an API key's id
	brandKey, creatorKey, ingestKey string // secrets
}

// kinds of sentinel, and who of its own side may be shown it.
var sentinelKinds = map[string]struct{ brand, creator, ingest bool }{
	"brandid":     {brand: true, creator: true},
	"brandname":   {brand: true},
	"creatorid":   {creator: true},
	"creatorname": {creator: true},
	"email":       {creator: true},
	"assetid":     {brand: true, creator: true},
	"assetname":   {brand: true, creator: true},
	"assettype":   {brand: true, creator: true},
	"licenseid":   {brand: true, creator: true, ingest: true},
	"licensename": {brand: true, creator: true},
	"geo":         {brand: true, creator: true},
	"host":        {brand: true, creator: true},
	"path":        {brand: true},
	"metadata":    {brand: true},
	"eventkey":    {brand: true},
	"blockedkey":  {brand: true},
	"custom":      {brand: true, creator: true, ingest: true}, // a usage type
	"voidreason":  {brand: true},
	"notes":       {brand: true},
	"keyname":     {brand: true, creator: true, ingest: true}, // each of its own key, see keyNames
	"77001":       {brand: true},                              // the fee, a number
}

func sentinel(kind, letter string) string {
	if kind == "77001" {
		return map[string]string{"a": "77001", "b": "88002"}[letter]
	}
	return "sentinel" + kind + "x" + letter
}

// build makes a side through the API, as an admin.
func (s *server) build(letter string) *side {
	w := func(kind string) string { return sentinel(kind, letter) }
	d := &side{letter: letter, brand: w("brandid"), creator: w("creatorid"), asset: w("assetid"), license: w("licenseid")}
	s.admin("PUT", "/v1/brands/"+d.brand, fmt.Sprintf(`{"name":%q}`, w("brandname")))
	s.admin("PUT", "/v1/creators/"+d.creator, fmt.Sprintf(`{"name":%q,"email":"%s@example.com"}`, w("creatorname"), w("email")))
	s.admin("PUT", "/v1/assets/"+d.asset, fmt.Sprintf(`{"name":%q,"type":%q,"owners":[{"creatorId":%q,"shareBps":10000}]}`, w("assetname"), w("assettype"), d.creator))
	s.admin("PUT", "/v1/licenses/"+d.license, fmt.Sprintf(`{"name":%q,"brandId":%q,"assetId":%q,"status":"ACTIVE","feeCents":%s}`, w("licensename"), d.brand, d.asset, w("77001")))
	s.admin("POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":%q,"usageType":"download","periodType":"monthly","limitQuantity":1}`, d.license))
	s.admin("POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":%q,"usageType":"view","periodType":"monthly","limitQuantity":2,"allowOverage":true,"overageRateCents":100}`, d.license))
	d.threshold = s.admin("POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":%q,"usageType":"all","periodType":"daily","limitQuantity":1,"allowOverage":true}`, d.license)).at("id").(string)
	event := func(usageType, key string, quantity int) string {
		return fmt.Sprintf(`{"licenseId":%q,"usageType":%q,"quantity":%d,"platform":"web","geographicLocation":%q,"referrer":"https://%s.example/%s","sessionId":%q,"metadata":{"note":%q},"idempotencyKey":%q}`,
			d.license, usageType, quantity, w("geo"), w("host"), w("path"), w("path"), w("metadata"), key)
	}
	r := s.admin("POST", "/v1/events", "["+strings.Join([]string{
		event("view", w("eventkey"), 10), event(w("custom"), w("eventkey")+"2", 1), event("download", w("eventkey")+"3", 1),
		event("download", w("blockedkey"), 5), event("view", w("eventkey")+"4", 1),
	}, ",")+"]")
	if r.at(3, "status") != "BLOCKED" || r.at(0, "status") != "COUNTED" {
		s.t.Fatalf("building: %s", r.body)
	}
	d.event = r.at(0, "eventId").(string)
	s.admin("POST", "/v1/events/void", fmt.Sprintf(`{"licenseId":%q,"idempotencyKey":%q,"reason":%q}`, d.license, w("eventkey")+"4", w("voidreason")))
	d.brandKey = s.key(fmt.Sprintf(`{"role":"brand","partyId":%q,"name":%q}`, d.brand, w("keyname")))
	d.creatorKey = s.key(fmt.Sprintf(`{"role":"creator","partyId":%q,"name":%q}`, d.creator, w("keyname")))
	made := s.admin("POST", "/v1/keys", fmt.Sprintf(`{"role":"ingest","brandIds":[%q],"name":%q}`, d.brand, w("keyname")))
	d.ingestKey, d.key = made.at("secret").(string), made.at("key", "id").(string)
	return d
}

// settle gives a side its overage and alert once periods are closed.
func (s *server) settle(d *side) {
	r := s.admin("GET", "/v1/overages?licenseId="+d.license, "")
	d.overage, _ = r.at("data", 0, "id").(string)
	s.admin("POST", "/v1/overages/"+d.overage+"/approve", fmt.Sprintf(`{"reason":%q}`, sentinel("notes", d.letter)))
	d.alert, _ = s.admin("GET", "/v1/alerts?licenseId="+d.license, "").at("data", 0, "id").(string)
	if d.overage == "" || d.alert == "" {
		s.t.Fatalf("side %s has no overage or no alert", d.letter)
	}
}

// inputs gives the inputs with which an operation is called about a side: its
// example with the side's ids, and again with each reference and bound that the
// input may hold.
func (d *side) inputs(t *testing.T, o *operation) []map[string]any {
	t.Helper()
	ids := map[string]any{
		"licenseId": d.license, "brandId": d.brand, "assetId": d.asset, "thresholdId": d.threshold,
		"overageId": d.overage, "alertId": d.alert, "keyId": d.key,
	}
	var base map[string]any
	text := strings.NewReplacer(`"lic_123"`, quote(d.license), `"brand_1"`, quote(d.brand), `"asset_1"`, quote(d.asset), `"creator_1"`, quote(d.creator),
		`"view-2024-10-12-0001"`, quote("walk-"+o.name+"-"+d.letter)).Replace(o.example)
	if err := json.Unmarshal([]byte(text), &base); err != nil || o.example == "" {
		t.Fatalf("%s has no example input: %v", o.name, err)
	}
	for name, id := range ids {
		if _, ok := base[name]; ok {
			base[name] = id
		}
	}
	out := []map[string]any{base}
	fields := fieldsOf(o.schemaIn())
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if _, ok := fields[name]; !ok || base[name] != nil || strings.HasPrefix(o.name, "catalog.put") {
			continue
		}
		with := maps.Clone(base)
		with[name] = ids[name]
		out = append(out, with)
	}
	if o.paged {
		with := maps.Clone(base)
		with["limit"] = 1
		out = append(out, with)
	}
	if o.name == "usage.voidEvent" {
		out = append(out, map[string]any{"licenseId": d.license, "eventId": d.event},
			map[string]any{"licenseId": d.license, "idempotencyKey": sentinel("eventkey", d.letter)})
	}
	if _, ok := fields["subject"]; ok {
		with := maps.Clone(base)
		with["subject"] = d.overage
		out = append(out, with)
	}
	return out
}

func quote(s string) string { return `"` + s + `"` }

// rest calls an operation over REST.
func (s *server) rest(o *operation, key string, in map[string]any) reply {
	method, path := o.method, o.path
	if method == "" {
		method, path = "POST", "/v1/events"
	}
	in = maps.Clone(in)
	for _, name := range o.wildcards() {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(fmt.Sprint(in[name])))
		delete(in, name)
	}
	if method == "GET" || method == "DELETE" {
		if q := queryOf(in); q != "" {
			path += "?" + q
		}
		return s.send(method, path, key, "")
	}
	return s.send(method, path, key, marshalAny(in))
}

// trpc calls an operation over tRPC, in a batch of one with superjson's
// envelope, which is the longest way through.
func (s *server) trpc(o *operation, key string, in map[string]any) reply {
	body := `{"0":{"json":` + marshalAny(in) + `}}`
	if o.kind == isQuery {
		return s.send("GET", "/api/trpc/"+o.name+"?batch=1&input="+url.QueryEscape(body), key, "")
	}
	return s.send("POST", "/api/trpc/"+o.name+"?batch=1", key, body, "Content-Type: application/json")
}

// caller is who walks.
type caller struct {
	name, key string
	own       string // letter of its side; empty for nobody
	may       func(kind string) bool
}

// foreign gives the sentinels that the caller must never be shown.
func (c *caller) foreign() []string {
	var out []string
	for kind := range sentinelKinds {
		for _, letter := range []string{"a", "b"} {
			if letter != c.own || !c.may(kind) {
				out = append(out, sentinel(kind, letter))
			}
		}
	}
	slices.Sort(out)
	return out
}

// leaks gives the foreign sentinels in an answer: body, headers, and what is
// packed into cursors. What the caller itself sent is no secret.
func (c *caller) leaks(r reply, sent string) []string {
	text := r.body
	for _, values := range r.header {
		text += "\n" + strings.Join(values, "\n")
	}
	for _, part := range strings.FieldsFunc(r.body, func(c rune) bool { return c == '"' }) {
		for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.StdEncoding} {
			if b, err := enc.DecodeString(part); err == nil {
				text += "\n" + string(b)
			}
		}
	}
	var out []string
	for _, word := range c.foreign() {
		if strings.Contains(text, word) && !strings.Contains(sent, word) {
			out = append(out, word)
		}
	}
	return out
}

// snapshot is all that an admin reads of a side.
func (s *server) snapshot(t *testing.T, d *side) map[string]string {
	s.flush() // how much waits is of all sides
	out := make(map[string]string)
	for _, o := range s.a.ops {
		if o.kind != isQuery || o.name == "usage.getAggregationStatus" || strings.HasPrefix(o.name, "jobs.") {
			continue
		}
		for i, in := range d.inputs(t, o) {
			_, about := in["licenseId"]
			_, byID := in["id"]
			if len(o.wildcards()) == 0 && !about && !byID {
				continue // of both sides
			}
			out[fmt.Sprintf("%s %d", o.name, i)] = withoutID(s.rest(o, adminKey, in).body)
		}
	}
	return out
}

// TestOwnership walks every operation as every kind of caller, over REST and
// tRPC, about its own things and another's.
func TestOwnership(t *testing.T) {
	s := newServer(t)
	sides := map[string]*side{"a": s.build("a"), "b": s.build("b")}
	s.flush()
	s.advance(22 * 24 * time.Hour)
	if _, _, err := s.bill.ClosePeriods(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, letter := range []string{"a", "b"} {
		s.settle(sides[letter])
	}
	// An admin reads all of it first, so that caches hold both sides; and what
	// is read shows that the sentinels are there to be leaked.
	var all strings.Builder
	for _, d := range sides {
		for range 2 {
			for _, body := range s.snapshot(t, d) {
				all.WriteString(body)
			}
		}
	}
	all.WriteString(s.admin("GET", "/v1/keys", "").body)
	for kind := range sentinelKinds {
		for letter := range sides {
			if !strings.Contains(all.String(), sentinel(kind, letter)) {
				t.Errorf("%s is nowhere in what an admin reads", sentinel(kind, letter))
			}
		}
	}

	callers := []caller{{name: "nobody", may: func(string) bool { return false }}}
	for _, letter := range []string{"a", "b"} {
		d := sides[letter]
		callers = append(callers,
			caller{"brand " + letter, d.brandKey, letter, func(k string) bool { return sentinelKinds[k].brand }},
			caller{"creator " + letter, d.creatorKey, letter, func(k string) bool { return sentinelKinds[k].creator }},
			caller{"ingest " + letter, d.ingestKey, letter, func(k string) bool { return sentinelKinds[k].ingest || k == "brandid" }},
		)
	}
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			// Its own side may change under its hands; the other must not.
			before := make(map[string]map[string]string)
			for letter, d := range sides {
				if letter != c.own {
					before[letter] = s.snapshot(t, d)
				}
			}
			succeeded := make(map[string]bool)
			for _, o := range s.a.ops {
				for _, letter := range []string{"b", "a"} {
					d := sides[letter]
					for _, in := range d.inputs(t, o) {
						sent := marshalAny(in)
						for how, r := range map[string]reply{"REST": s.rest(o, c.key, in), "tRPC": s.trpc(o, c.key, in)} {
							if r.status >= 500 {
								t.Errorf("%s by %s with %s: %d %s", o.name, how, sent, r.status, r.body)
							}
							if words := c.leaks(r, sent); len(words) > 0 {
								t.Errorf("%s by %s with %s shows %q: %d %s", o.name, how, sent, words, r.status, r.body)
							}
							if r.status < 300 && how == "REST" {
								succeeded[o.name] = true
								if o.kind == isMutation && letter != c.own && !strings.HasPrefix(o.name, "usage.track") {
									t.Errorf("%s with %s succeeded: %s", o.name, sent, r.body)
								}
							}
							if c.key == "" && r.status != 401 {
								t.Errorf("%s by %s without a key: %d %s", o.name, how, r.status, r.body)
							}
						}
					}
				}
			}
			for letter, old := range before {
				now := s.snapshot(t, sides[letter])
				for what := range old {
					if old[what] != now[what] {
						t.Errorf("side %s changed: %s\nwas %s\nis  %s", letter, what, old[what], now[what])
					}
				}
			}
			// That each role can do its work shows that the walk is no walk past closed doors.
			for _, name := range map[string][]string{
				"brand":   {"usage.getAnalytics", "usage.listEvents", "usage.listEvidence", "usage.getOverages", "usage.listAlerts", "usage.disputeOverage", "usage.acknowledgeAlert", "audit.listLicense", "catalog.listLicenses", "catalog.getAsset", "usage.checkUsage"},
				"creator": {"usage.getAnalytics", "usage.getUsageBreakdown", "catalog.getLicense", "catalog.getCreator", "keys.self"},
				"ingest":  {"usage.trackEvent", "usage.trackBatch", "usage.checkUsage"},
			}[strings.Fields(c.name)[0]] {
				if !succeeded[name] {
					t.Errorf("%s never succeeded for its own", name)
				}
			}
		})
	}
	if out := s.logs.String(); strings.Contains(out, "level=ERROR") {
		t.Errorf("the log holds errors:\n%s", out)
	}
}

// A licence that is another's and one that never was are answered alike, but
// for the id that was sent.
func TestAbsentAndForeignAreAlike(t *testing.T) {
	s := newServer(t)
	a, b := s.build("a"), s.build("b")
	s.flush()
	s.advance(22 * 24 * time.Hour)
	if _, _, err := s.bill.ClosePeriods(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.settle(a)
	s.settle(b)
	never := &side{letter: "n", brand: "sentinelnobrand", creator: "sentinelnocreator", asset: "sentinelnoasset", license: "sentinelnolicense",
		threshold: usance.NewID(noon).String(), overage: usance.NewID(noon).String(), alert: usance.NewID(noon).String(),
		event: usance.NewID(noon).String(), key: usance.NewID(noon).String()}
	ids := func(d *side) *strings.Replacer {
		return strings.NewReplacer(d.brand, "ID", d.creator, "ID", d.asset, "ID", d.license, "ID", d.threshold, "ID", d.overage, "ID", d.alert, "ID", d.event, "ID", d.key, "ID", "-"+d.letter+`"`, `"`)
	}
	for _, o := range s.a.ops {
		if o.name == "usage.trackEvent" || o.name == "usage.trackBatch" {
			continue // answered with the licence's id and key, compared below
		}
		foreign, absent := b.inputs(t, o), never.inputs(t, o)
		for i := range foreign {
			if strings.Contains(marshalAny(foreign[i]), "sentineleventkey") {
				continue
			}
			for who, key := range map[string]string{"brand": a.brandKey, "creator": a.creatorKey, "ingest": a.ingestKey} {
				x, y := s.rest(o, key, foreign[i]), s.rest(o, key, absent[i])
				got, want := withoutID(ids(b).Replace(x.body)), withoutID(ids(never).Replace(y.body))
				if x.status != y.status || got != want {
					t.Errorf("%s as %s tells them apart:\nforeign %d %s\nabsent  %d %s", o.name, who, x.status, got, y.status, want)
				}
			}
		}
	}
}

// withoutID takes out what differs between any two answers.
func withoutID(body string) string {
	if i := strings.Index(body, `"requestId"`); i >= 0 {
		return body[:i]
	}
	return body
}

// Whether a caller sees a licence is asked in the snapshot that answers: one that
// lost sight of it between the two look-ups is told nothing.
func TestSightIsAskedWhereTheAnswerIsMade(t *testing.T) {
	s := newServer(t)
	d := s.build("a")
	p, err := s.a.d.Access.Authenticate(t.Context(), "Bearer "+d.creatorKey)
	if err != nil {
		t.Fatal(err)
	}
	viewer := s.a.viewer(&Call{Principal: p})
	if _, err := s.a.d.Query.CurrentUsage(t.Context(), query.CurrentRequest{Viewer: viewer, LicenseID: d.license}); err != nil {
		t.Fatal(err)
	}
	s.admin("PUT", "/v1/assets/"+d.asset, `{"owners":[{"creatorId":"another","shareBps":10000}]}`)
	if _, err := s.a.d.Query.CurrentUsage(t.Context(), query.CurrentRequest{Viewer: viewer, LicenseID: d.license}); usance.ErrorCode(err) != usance.CodeLicenseNotFound {
		t.Errorf("a creator without a share: %v", err)
	}
}
