package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/ingest"
)

// partly is a store that while it is told to counts nothing of the licence bad.
type partly struct {
	usance.Store
	fails atomic.Bool
}

func (s *partly) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	if s.fails.Load() && slices.Contains(locks.Shared, "bad") {
		return usance.NewError(usance.CodeUnavailable, "the disk is full")
	}
	return s.Store.Update(ctx, locks, fn)
}

// A batch of which one lane counts its part and another fails says of each event
// what became of it, in every form.
func TestBatchFailsInPart(t *testing.T) {
	const lanes = 4
	s := newServer(t)
	store := &partly{Store: s.store}
	in := ingest.New(store, ingest.Options{Now: func() time.Time { return noon }, SessionKey: []byte("test"), Lanes: lanes})
	defer func() {
		if err := in.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	s.a.d.Ingest = in
	good := "good" // of another lane
	lane := func(id string) int { return usance.GroupOf(id, usance.Groups) % lanes }
	for n := 0; lane(good) == lane("bad"); n++ {
		good = fmt.Sprint("good", n)
	}
	s.license(good)
	s.license("bad")
	events := func(round string) []string {
		var out []string
		for i, id := range []string{good, "bad", good} {
			out = append(out, fmt.Sprintf(`{"licenseId":%q,"usageType":"view","idempotencyKey":"%s%d"}`, id, round, i))
		}
		return out
	}
	want := func(what string, r reply, n int, bad string, path ...any) {
		t.Helper()
		for i, status := range []string{"COUNTED", bad, "COUNTED"}[:n] {
			at := func(key ...any) any { return r.at(append(append(slices.Clone(path), i), key...)...) }
			if at("status") != status || (status == "COUNTED") != (at("tracked") == true) {
				t.Errorf("%s: event %d is not %s: %s", what, i, status, r.body)
			}
			if status == "REFUSED" && (at("error", "code") != "UNAVAILABLE" || at("error", "retryable") != true) {
				t.Errorf("%s: event %d: %s", what, i, r.body)
			}
		}
	}
	array := func() reply { return s.send("POST", "/v1/events", adminKey, "["+strings.Join(events("a"), ",")+"]") }
	stream := func() reply { // as an array
		r := s.send("POST", "/v1/events", adminKey, strings.Join(events("s"), "\n"), "Content-Type: application/x-ndjson")
		r.body = "[" + strings.ReplaceAll(strings.TrimSpace(r.body), "\n", ",") + "]"
		return r
	}

	store.fails.Store(true)
	r := array()
	if r.status != http.StatusServiceUnavailable || r.at("code") != "UNAVAILABLE" {
		t.Errorf("an array: %d, %s", r.status, r.body)
	}
	want("an array", r, 3, "REFUSED", "results")
	r = stream() // which ends with the chunk that fails, of at least two events
	want("a stream", r, 2, "REFUSED")
	store.fails.Store(false)
	want("the array again", array(), 3, "COUNTED")
	want("the stream again", stream(), 3, "COUNTED")
	for id, n := range map[string]int{good: 4, "bad": 2} {
		r := s.admin("GET", "/v1/licenses/"+id+"/events", "")
		if got, _ := r.at("data").([]any); len(got) != n {
			t.Errorf("%s holds %d events, want %d", id, len(got), n)
		}
	}
}
