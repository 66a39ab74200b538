package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/api"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/client"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/jobs"
	"github.com/usance/usance/query"
	"github.com/usance/usance/store/sqlite"
)

const key = "usk_test_admin_key_of_the_client_tests"

// serve starts the API over a store of its own, behind front.
func serve(t *testing.T, front func(http.Handler) http.Handler, limits api.RateLimits) *client.Client {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "usance.db"), sqlite.Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	runner, err := jobs.New(store, nil, jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := ingest.New(store, ingest.Options{SessionKey: []byte("test")})
	s := httptest.NewServer(front(api.New(api.Deps{
		Store: store, Access: access.New(store, access.Options{AdminKey: key}), Ingest: in, Fold: fold.New(store, fold.Options{}),
		Catalog: catalog.New(store, catalog.Options{NewSecret: access.NewSecret}), Billing: billing.New(store, billing.Options{}),
		Query: query.New(store, query.Options{}), Jobs: runner, Limits: limits,
	})))
	t.Cleanup(func() {
		s.Close()
		if err := errors.Join(in.Close(context.Background()), store.Close()); err != nil {
			t.Error(err)
		}
	})
	c := client.New(s.URL, key, client.Options{Batch: 10, Pause: time.Millisecond, Patience: 10 * time.Second})
	if err := c.Do(t.Context(), "catalog.putLicense", map[string]any{"id": "lic_123", "brandId": "b", "assetId": "a", "status": "ACTIVE"}, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func plain(h http.Handler) http.Handler { return h }

func views(n int) []usance.Event {
	events := make([]usance.Event, n)
	for i := range events {
		events[i] = usance.Event{LicenseID: "lic_123", UsageType: "view"}
	}
	return events
}

func used(t *testing.T, c *client.Client) int64 {
	t.Helper()
	var out struct {
		AllTime struct{ Quantity int64 }
	}
	if err := c.Do(t.Context(), "usage.getCurrentUsage", map[string]string{"licenseId": "lic_123"}, &out); err != nil {
		t.Fatal(err)
	}
	return out.AllTime.Quantity
}

// Whatever goes wrong on the way, each event is counted once.
func TestTrackThroughFailures(t *testing.T) {
	var n atomic.Int64
	c := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/events" {
				h.ServeHTTP(w, r)
				return
			}
			switch n.Add(1) % 5 {
			case 1: // a proxy without a server behind it
				w.WriteHeader(http.StatusBadGateway)
			case 2: // counted, and the answer lost
				h.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case 3: // busy
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, `{"code":"OVERLOADED","detail":"busy","retryable":true}`)
			case 4: // counted, and half of the answer lost
				h.ServeHTTP(httptest.NewRecorder(), r)
				w.Header().Set("Content-Length", "1000")
				io.WriteString(w, `[{"tracked":`)
			default:
				h.ServeHTTP(w, r)
			}
		})
	}, api.RateLimits{})
	events := views(95)
	results, err := c.Track(t.Context(), events)
	if err != nil || len(results) != len(events) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, r := range results {
		if !r.Tracked || r.IdempotencyKey != events[i].IdempotencyKey || r.IdempotencyKey == "" {
			t.Fatalf("event %d: %+v", i, r)
		}
	}
	if got := used(t, c); got != 95 {
		t.Errorf("%d were counted", got)
	}
	again, err := c.Track(t.Context(), events)
	if err != nil || !again[0].Duplicate || again[94].EventID != results[94].EventID {
		t.Errorf("again: %+v, %v", again[0], err)
	}
	r, err := c.Void(t.Context(), "lic_123", events[0].IdempotencyKey, "test")
	if err != nil || !r.Tracked {
		t.Errorf("void: %+v, %v", r, err)
	}
	if got := used(t, c); got != 94 {
		t.Errorf("%d after the void", got)
	}
}

func TestAtomic(t *testing.T) {
	c := serve(t, plain, api.RateLimits{})
	events := append(views(2), usance.Event{LicenseID: "lic_none", UsageType: "view"})
	results, err := c.TrackAtomic(t.Context(), events)
	var e *usance.Error
	if !errors.As(err, &e) || e.Code != usance.CodeAborted || len(results) != 3 || results[2].Error.Code != usance.CodeLicenseNotFound {
		t.Errorf("%+v, %v", results, err)
	}
	if results, err := c.TrackAtomic(t.Context(), views(2)); err != nil || len(results) != 2 {
		t.Errorf("%+v, %v", results, err)
	}
	if got := used(t, c); got != 2 {
		t.Errorf("%d were counted", got)
	}
}

func TestDo(t *testing.T) {
	c := serve(t, plain, api.RateLimits{})
	var analytics query.Analytics
	err := c.Do(t.Context(), "usage.getAnalytics", map[string]any{"licenseId": "lic_123", "usageTypes": []string{"view", "print"}, "startDate": "2024-10-01", "endDate": "2024-10-03", "top": 3}, &analytics)
	if err != nil || len(analytics.Buckets) != 3 || len(analytics.Totals.ByType) != 2 {
		t.Errorf("%+v, %v", analytics, err)
	}
	var e *usance.Error
	if err := c.Do(t.Context(), "usage.getAnalytics", map[string]any{"licenseId": "lic_none"}, nil); !errors.As(err, &e) || e.Code != usance.CodeLicenseNotFound {
		t.Errorf("%v", err)
	}
	if err := c.Do(t.Context(), "usage.createThreshold", map[string]any{"licenseId": "lic_123"}, nil); !errors.As(err, &e) || e.Code != usance.CodeValidation || e.Field == "" {
		t.Errorf("%v", err)
	}
	if err := c.Do(t.Context(), "catalog.putLicense", map[string]any{"brandId": "b"}, nil); err == nil {
		t.Error("a put without an id succeeded")
	}
	if err := c.Do(t.Context(), "no.such", nil, nil); err == nil {
		t.Error("an operation that there is none of succeeded")
	}
}

// A change that may have been carried out is not made again.
func TestDoDoesNotRepeatChanges(t *testing.T) {
	var tries atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer s.Close()
	c := client.New(s.URL, key, client.Options{Pause: time.Millisecond, Patience: 50 * time.Millisecond})
	for name, repeats := range map[string]bool{"keys.create": false, "keys.list": true, "catalog.putBrand": true, "usage.checkUsage": true} {
		tries.Store(0)
		err := c.Do(t.Context(), name, map[string]string{"id": "x"}, nil)
		var e *usance.Error
		if !errors.As(err, &e) || e.Code != usance.CodeUnavailable || (tries.Load() > 1) != repeats {
			t.Errorf("%s: %d tries, %v", name, tries.Load(), err)
		}
	}
}

// What was refused because it came too fast was not carried out: it is sent
// again, whatever it is, when the server says.
func TestWaitsAsLongAsItIsTold(t *testing.T) {
	var tries atomic.Int64
	var after atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) > 1 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Retry-After", after.Load().(string))
		w.WriteHeader(http.StatusTooManyRequests) // as a proxy answers, without a code
	}))
	defer s.Close()
	for name, value := range map[string]func(now time.Time) string{
		"seconds": func(time.Time) string { return "1" },
		"a date":  func(now time.Time) string { return now.Add(3 * time.Second).UTC().Format(http.TimeFormat) }, // of whole seconds: 2 s or more
	} {
		tries.Store(0)
		start := time.Now()
		after.Store(value(start))
		if err := client.New(s.URL, key, client.Options{Pause: time.Millisecond}).Do(t.Context(), "keys.create", nil, nil); err != nil || tries.Load() != 2 {
			t.Errorf("%s: %d tries, %v", name, tries.Load(), err)
		}
		if took := time.Since(start); took < time.Second {
			t.Errorf("%s: came back after %s", name, took)
		}
	}
	tries.Store(0)
	after.Store("3600")
	err := client.New(s.URL, key, client.Options{}).Do(t.Context(), "keys.list", nil, nil)
	var e *usance.Error
	if !errors.As(err, &e) || e.Code != usance.CodeRateLimited || !e.Retryable || e.RetryAfter != time.Hour || tries.Load() != 1 {
		t.Errorf("longer than its patience: %d tries, %v", tries.Load(), err)
	}
}

// What the server says is final is not asked again.
func TestFinalFailuresAreFinal(t *testing.T) {
	var tries atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, `{"code":"INTERNAL","detail":"broken for good","retryable":false}`)
	}))
	defer s.Close()
	if err := client.New(s.URL, key, client.Options{Pause: time.Millisecond}).Do(t.Context(), "keys.list", nil, nil); err == nil || tries.Load() != 1 {
		t.Errorf("%d tries, %v", tries.Load(), err)
	}
}

// Events pass through the limit of their key, if slowly, and each counts once.
func TestTrackUnderARateLimit(t *testing.T) {
	c := serve(t, plain, api.RateLimits{Events: 40})
	if _, err := c.TrackAtomic(t.Context(), views(10_000)); err != nil { // all that a full bucket holds
		t.Fatal(err)
	}
	events := views(30)
	results, err := c.Track(t.Context(), events)
	if err != nil || len(results) != len(events) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	if got := used(t, c); got != 10_030 {
		t.Errorf("%d were counted", got)
	}
}

func TestContextEnds(t *testing.T) {
	c := client.New("http://127.0.0.1:1", key, client.Options{Patience: 5 * time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := c.Track(ctx, views(1)); err == nil || time.Since(start) > 2*time.Minute {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// What a client sends is what the events decoder reads, field by field.
func TestEveryFieldArrives(t *testing.T) {
	c := serve(t, plain, api.RateLimits{})
	e := usance.Event{
		LicenseID: "lic_123", UsageType: "print", Quantity: 7, OccurredAt: time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond),
		Platform: "print", DeviceType: "other", GeographicLocation: "Köln", Referrer: "https://x.example/ü", SessionID: "s",
		RevenueCents: 99, Metadata: usance.RawJSON(`{"a":[1,2]}`), IdempotencyKey: "k",
	}
	results, err := c.Track(t.Context(), []usance.Event{e})
	if err != nil || !results[0].Tracked {
		t.Fatalf("%+v, %v", results, err)
	}
	var page struct{ Data []usance.Event }
	if err := c.Do(t.Context(), "usage.listEvents", map[string]string{"licenseId": "lic_123"}, &page); err != nil || len(page.Data) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	got := page.Data[0]
	got.ID, got.ReceivedAt, got.LocalDate, got.SessionID = usance.ID{}, time.Time{}, 0, e.SessionID
	want, _ := json.Marshal(e)
	if have, _ := json.Marshal(got); string(have) != string(want) {
		t.Errorf("got  %s\nwant %s", have, want)
	}
}

// Totals are counted once, though the answer to the first request is lost.
func TestTotals(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	c := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/backfill" && requests.Add(1) == 1 {
				h.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			h.ServeHTTP(w, r)
		})
	}, api.RateLimits{})
	day := usance.MakeDate(2024, time.October, 1)
	results, err := c.Totals(t.Context(), "a file", []usance.DailyTotal{
		{LicenseID: "lic_123", Date: day, UsageType: "view", Quantity: 7, RevenueCents: 3, Events: 2, Line: 2},
		{LicenseID: "nobody", Date: day, UsageType: "view", Quantity: 7, Line: 3},
		{LicenseID: "lic_123", Date: day, UsageType: "view", Quantity: 8, Line: 4},
	})
	if err != nil || requests.Load() != 2 {
		t.Fatal(err, requests.Load())
	}
	if r := results[0]; !r.Tracked || !r.Duplicate || r.Revision != 1 {
		t.Errorf("the first: %+v", r)
	}
	if r := results[1]; r.Error == nil || r.Error.Code != usance.CodeLicenseNotFound {
		t.Errorf("of no licence: %+v", r)
	}
	if r := results[2]; r.Error == nil || r.Error.Code != usance.CodeConflict {
		t.Errorf("twice in one source: %+v", r)
	}
}
