package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
)

// batchOf asks for procedures in one tRPC request, each with its input.
func (s *server) batchOf(names []string, inputs map[string]jsontext.Value) reply {
	s.t.Helper()
	body, err := json.Marshal(inputs)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send("GET", "/api/trpc/"+strings.Join(names, ",")+"?batch=1&input="+url.QueryEscape(string(body)), adminKey, "")
}

// within has a query do something before it is answered, and gives how often it was.
func (s *server) within(t *testing.T, name string, do func() error) *int {
	t.Helper()
	o, n := s.a.byName[name], new(int)
	run := o.run
	o.run = func(ctx context.Context, c *Call, in any) (any, error) {
		*n++
		if err := do(); err != nil {
			return nil, err
		}
		return run(ctx, c, in)
	}
	return n
}

// Queries of one batch agree, whatever is counted and folded between them, and
// with the cache; those that a mutation lies between do not.
func TestBatchOfQueriesAgrees(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	used := func(r reply, i int) any { return r.at(i, "result", "data", "allTime", "quantity") }
	s.admin("POST", "/v1/events", ev(`"quantity":3`))
	s.flush()
	s.admin("GET", "/v1/licenses/lic_123/usage", "") // cached
	s.within(t, "usage.getThresholdStatus", func() error {
		s.admin("POST", "/v1/events", strings.Replace(ev(`"quantity":4`), `"k"`, `"`+usance.NewID(noon).String()+`"`, 1))
		s.flush()
		return nil
	})
	names := []string{"usage.getCurrentUsage", "usage.getThresholdStatus", "usage.getCurrentUsage", "usage.getAnalytics", "usage.getCurrentUsage"}
	input := jsontext.Value(`{"licenseId":"lic_123"}`)
	inputs := map[string]jsontext.Value{"0": input, "1": input, "2": input, "3": input, "4": jsontext.Value(`{"licenseId":"none"}`)}
	for _, want := range []float64{3, 7, 11} {
		r := s.batchOf(names, inputs)
		if used(r, 0) != want || used(r, 2) != want || r.at(3, "result", "data", "totals", "quantity") != want || r.at(1, "result") == nil {
			t.Errorf("not %v alike: %d %s", want, r.status, r.body)
		}
		if r.status != http.StatusMultiStatus || r.at(4, "error", "data", "httpStatus") != 404.0 {
			t.Errorf("a query about nothing: %d %s", r.status, r.body)
		}
	}
	r := s.send("POST", "/api/trpc/usage.getCurrentUsage,usage.trackEvent,usage.getCurrentUsage?batch=1", adminKey,
		`{"0":{"licenseId":"lic_123"},"1":`+strings.Replace(ev(`"quantity":1`), `"k"`, `"mutation"`, 1)+`,"2":{"licenseId":"lic_123"}}`, jsonType)
	if used(r, 0) != 15.0 || r.at(1, "result", "data", "tracked") != true || used(r, 2) != 16.0 {
		t.Errorf("around a mutation: %d %s", r.status, r.body)
	}
}

// A query that fails as a fault takes no other of its batch with it: those agree.
func TestFaultInABatch(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	first := s.within(t, "usage.getCurrentUsage", func() error { return nil })
	s.within(t, "usage.getThresholdStatus", func() error { return errors.New("broken") })
	input := jsontext.Value(`{"licenseId":"lic_123"}`)
	names := []string{"usage.getCurrentUsage", "usage.getThresholdStatus", "usage.getAnalytics"}
	r := s.batchOf(names, map[string]jsontext.Value{"0": input, "1": input, "2": input})
	if r.status != http.StatusMultiStatus || r.at(0, "result") == nil || r.at(1, "error", "data", "httpStatus") != 500.0 || r.at(2, "result") == nil {
		t.Errorf("%d %s", r.status, r.body)
	}
	if *first != 2 {
		t.Errorf("the query before the fault was answered %d times; its snapshot may have been another", *first)
	}
	// More faults than there are snapshots: each is answered as such.
	s.within(t, "usage.getAnalytics", func() error { return errors.New("broken") })
	names = append(names, "usage.getAnalytics", "usage.getThresholdStatus", "usage.getCurrentUsage")
	r = s.batchOf(names, map[string]jsontext.Value{"0": input, "1": input, "2": input, "3": input, "4": input, "5": input})
	for i := range names {
		if broken := names[i] != "usage.getCurrentUsage"; (r.at(i, "error") != nil) != broken || (r.at(i, "result") != nil) == broken {
			t.Errorf("call %d: %s", i, r.body)
		}
	}
}

// A batch of every query there is needs one of the store's connections: all that
// they read is of the one snapshot, and batches do not wait for each other.
func TestBatchTakesOneView(t *testing.T) {
	s := newServer(t)
	s.license("lic_123")
	s.admin("POST", "/v1/events", ev(`"quantity":3`))
	s.admin("GET", "/v1/jobs", "")
	var names []string
	inputs := make(map[string]jsontext.Value)
	for _, o := range s.a.ops {
		if o.kind == isQuery {
			inputs[strconv.Itoa(len(names))] = jsontext.Value(o.example)
			names = append(names, o.name)
		}
	}
	if len(names) < 30 {
		t.Fatalf("%q", names)
	}
	release := make(chan struct{})
	for range readers - 1 {
		held := make(chan struct{})
		go func() {
			_ = s.store.View(context.Background(), func(usance.View) error {
				close(held)
				<-release
				return nil
			})
		}()
		<-held
	}
	defer close(release)
	done := make(chan reply, 1)
	go func() { done <- s.batchOf(names, inputs) }()
	select {
	case r := <-done:
		for i, name := range names {
			if status, _ := r.at(i, "error", "data", "httpStatus").(float64); status >= 500 || r.at(i) == nil {
				t.Errorf("%s: %s", name, r.body)
			}
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("a query of the batch waits for a second connection")
	}
}
