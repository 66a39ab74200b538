package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/usance/usance/access"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/forecast/watch"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/jobs"
	"github.com/usance/usance/query"
	"github.com/usance/usance/store/sqlite"
)

// adminKey is the bootstrap key of test servers.
const adminKey = "usk_test_admin_key_of_the_api_tests"

// noon is when test servers start.
var noon = time.Date(2024, 10, 12, 12, 0, 0, 0, time.UTC)

// server is a whole Usance over a SQLite file, under a clock that stands still
// until a test moves it.
type server struct {
	*httptest.Server
	t     testing.TB
	a     *api
	store *sqlite.Store
	fold  *fold.Folder
	bill  *billing.Billing
	logs  *syncBuffer

	mu  sync.Mutex
	now time.Time
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// readers is how many transactions that read the tests' store takes at once.
const readers = 4

func newServer(t testing.TB, limits ...RateLimits) *server {
	t.Helper()
	s := &server{t: t, now: noon, logs: new(syncBuffer)}
	clock := func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}
	ctx := context.Background()
	var err error
	if s.store, err = sqlite.Open(ctx, filepath.Join(t.TempDir(), "usance.db"), sqlite.Options{Volatile: true, Readers: readers}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.logs, nil))
	s.fold = fold.New(s.store, fold.Options{Now: clock, Logger: log})
	s.bill = billing.New(s.store, billing.Options{Now: clock, Logger: log})
	in := ingest.New(s.store, ingest.Options{Now: clock, SessionKey: []byte("test"), Committed: s.fold.Offer, Logger: log})
	runner, err := jobs.New(s.store, []jobs.Task{
		{Name: "checkUsageThresholds", Schedule: []string{"30 * * * *"}, Run: func(ctx context.Context, _ []string) error {
			_, _, err := s.bill.ClosePeriods(ctx)
			return err
		}},
		{Name: "alwaysFails", Schedule: []string{"0 0 1 1 *"}, Run: func(context.Context, []string) error {
			return fmt.Errorf("secret-cause-of-the-job")
		}},
	}, jobs.Options{Now: clock, Logger: log, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	backfill := fold.NewBackfiller(s.fold, true)
	working, stop := context.WithCancel(ctx)
	worked := make(chan struct{})
	go func() { defer close(worked); _ = backfill.Run(working) }()
	reg := prometheus.NewRegistry()
	d := Deps{
		Store: s.store, Access: access.New(s.store, access.Options{Now: clock, AdminKey: adminKey}), Ingest: in, Fold: s.fold,
		Catalog: catalog.New(s.store, catalog.Options{Now: clock, NewSecret: access.NewSecret}), Billing: s.bill,
		Query: query.New(s.store, query.Options{Now: clock, TTL: 5 * time.Minute}), Jobs: runner, Backfill: backfill,
		Watch:   watch.New(s.store, watch.Options{Now: clock, Logger: log}),
		Metrics: promhttp.HandlerFor(reg, promhttp.HandlerOpts{}), Logger: log, Now: clock, Version: "test",
	}
	if len(limits) > 0 {
		d.Limits = limits[0]
	}
	x := New(d)
	reg.MustRegister(x.Metrics()...)
	s.a = x.a
	s.Server = httptest.NewServer(x)
	t.Cleanup(func() {
		s.Server.Close()
		stop()
		<-worked
		if err := in.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) advance(d time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
}

func (s *server) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *server) flush() {
	s.t.Helper()
	if _, err := s.fold.Flush(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   string
}

// at digs into a JSON body: at("results", 0, "status").
func (r reply) at(path ...any) any {
	var v any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		return nil
	}
	for _, p := range path {
		switch key := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			l, _ := v.([]any)
			if key >= len(l) {
				return nil
			}
			v = l[key]
		}
	}
	return v
}

// send makes a request. headers are "Name: value".
func (s *server) send(method, path, key, body string, headers ...string) reply {
	s.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, s.URL+path, rd)
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{res.StatusCode, res.Header, string(got)}
}

// admin sends as the admin and wants success.
func (s *server) admin(method, path, body string) reply {
	s.t.Helper()
	r := s.send(method, path, adminKey, body)
	if r.status/100 != 2 {
		s.t.Fatalf("%s %s %s: %d %s", method, path, body, r.status, r.body)
	}
	return r
}

func (s *server) license(id string) {
	s.t.Helper()
	s.admin("PUT", "/v1/licenses/"+id, `{"brandId":"brand_1","assetId":"asset_1","status":"ACTIVE"}`)
}

func (s *server) key(body string) string {
	s.t.Helper()
	return s.admin("POST", "/v1/keys", body).at("secret").(string)
}
