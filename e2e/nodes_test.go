package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// until waits for what other processes bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen within three minutes: %s", what)
		}
	}
}

// value reads one value of the database.
func value[T any](t *testing.T, db *sql.DB, query string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// mustOn calls one node and wants success.
func (s *server) mustOn(n *node, method, path, body string, out any) {
	s.t.Helper()
	if out == nil {
		out = new(any)
	}
	if status, err := s.callOn(n, method, path, body, out); err != nil || status >= 300 {
		s.t.Fatalf("%s %s: %d, %v, %v", method, path, status, err, out)
	}
}

// track sends one view to a node.
func (s *server) track(n *node, key string) (r result) {
	s.t.Helper()
	s.mustOn(n, "POST", "/v1/events", fmt.Sprintf(`{"licenseId":"l","usageType":"view","idempotencyKey":%q}`, key), &r)
	return r
}

// What is changed on one node holds on all with the next request: keys,
// thresholds, and the usage that answers are made of.
func TestNodesSeeChangesAtOnce(t *testing.T) {
	for _, store := range []string{"postgres", "shared"} {
		t.Run(store, func(t *testing.T) { testNodesSeeChangesAtOnce(t, store) })
	}
}

func testNodesSeeChangesAtOnce(t *testing.T, store string) {
	s := newServer(t, store)
	s.must("PUT", "/v1/licenses/l", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)

	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	s.mustOn(s.nodes[0], "POST", "/v1/keys", `{"role":"ingest"}`, &made)
	withKey := func(n *node) int {
		t.Helper()
		status, err := s.callAs(made.Secret, n, "GET", "/v1/keys/self", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	for i, n := range s.nodes {
		if status := withKey(n); status != http.StatusOK {
			t.Errorf("node %d does not know the key that was just made: %d", i, status)
		}
	}
	s.mustOn(s.nodes[1], "POST", "/v1/keys/"+made.Key.ID+"/revoke", "", nil)
	for i, n := range s.nodes {
		if status := withKey(n); status != http.StatusUnauthorized {
			t.Errorf("node %d takes the key that was just revoked: %d", i, status)
		}
	}

	views := func(n *node) int64 {
		t.Helper()
		var a struct{ Totals struct{ Quantity int64 } }
		s.mustOn(n, "GET", "/v1/licenses/l/analytics", "", &a)
		return a.Totals.Quantity
	}
	var threshold struct{ ID string }
	s.mustOn(s.nodes[0], "POST", "/v1/thresholds", `{"licenseId":"l","usageType":"view","periodType":"monthly","limitQuantity":2}`, &threshold)
	want := int64(0)
	step := func(node int, counted bool) {
		t.Helper()
		r := s.track(s.nodes[node], fmt.Sprint(time.Now().UnixNano()))
		if r.Tracked != counted || !counted && r.Status != "BLOCKED" {
			t.Errorf("on node %d: %+v, want it counted: %t", node, r, counted)
		}
		if counted {
			want++
		}
		for i, n := range s.nodes {
			if got := views(n); got != want {
				t.Errorf("node %d answers %d views, want %d", i, got, want)
			}
		}
	}
	step(1, true)
	step(2, true)
	step(0, false)
	s.mustOn(s.nodes[2], "PATCH", "/v1/thresholds/"+threshold.ID, `{"limitQuantity":3}`, nil)
	step(1, true)
	step(2, false)
	s.mustOn(s.nodes[1], "DELETE", "/v1/thresholds/"+threshold.ID, "", nil)
	step(0, true)
	step(2, true)
}

// Each time that a job is due it runs once, on whichever node; a node that dies
// in the middle is taken over from, when its lease has run out.
func TestNodesShareTheJobs(t *testing.T) {
	const job = "checkUsageThresholds"
	s := newServer(t, "postgres")
	s.must("PUT", "/v1/licenses/l", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	db := s.open(t, "rw")
	runs := func() int { return value[int](t, db, `SELECT runs FROM jobs WHERE name = $1`, job) }
	due := func() {
		t.Helper()
		if _, err := db.Exec(`UPDATE jobs SET next_run_at = now() - interval '1 second' WHERE name = $1`, job); err != nil {
			t.Fatal(err)
		}
	}
	first := runs()
	const rounds = 5
	for i := 1; i <= rounds; i++ {
		due()
		until(t, "the job runs", func() bool { return runs() >= first+i })
	}
	if n := runs(); n != first+rounds {
		t.Errorf("the job was due %d times and ran %d times", rounds, n-first)
	}

	// It cannot go on while the counters are locked.
	lock, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback() //nolint:errcheck // it is over by then
	if _, err := lock.Exec(`LOCK TABLE license_usage_counters IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	due()
	const stuck = `SELECT coalesce(min(application_name), '') FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%license_usage_counters%'`
	until(t, "a node is in the middle of the job", func() bool { return value[string](t, db, stuck) != "" })
	name := value[string](t, db, stuck)
	for _, n := range s.nodes {
		if n.name == name {
			s.kill(n)
		}
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if owner := value[string](t, db, `SELECT coalesce(lease_owner, '') FROM jobs WHERE name = $1`, job); owner == "" {
		t.Error("nobody holds the lease of the job that was killed")
	}
	if n := runs(); n != first+rounds {
		t.Errorf("the killed run is counted: %d", n)
	}
	if _, err := db.Exec(`UPDATE jobs SET lease_until = now() - interval '1 second' WHERE name = $1`, job); err != nil {
		t.Fatal(err)
	}
	until(t, "another node takes over", func() bool { return runs() == first+rounds+1 })
	s.start()
}

// What a node has counted and not folded when it dies is folded by another; its
// answers held it all the time.
func TestNodesFoldForTheDead(t *testing.T) {
	s := newServer(t, "postgres")
	s.must("PUT", "/v1/licenses/l", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	db := s.open(t, "rw")
	lock, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()                                                                      //nolint:errcheck // it is over by then
	if _, err := lock.Exec(`LOCK TABLE license_usage_rollups IN EXCLUSIVE MODE`); err != nil { // nobody folds meanwhile
		t.Fatal(err)
	}
	dead := s.nodes[0]
	for i := range 10 {
		if r := s.track(dead, fmt.Sprint(i)); !r.Tracked {
			t.Fatalf("%+v", r)
		}
	}
	s.kill(dead)
	views := func() int64 {
		return value[int64](t, db, `SELECT coalesce(sum(total_views), 0)::bigint FROM license_usage_daily_aggregates`)
	}
	if n := views(); n != 10 {
		t.Errorf("before anybody folded: %d views, want 10", n)
	}
	if n := value[int](t, db, `SELECT count(*) FROM pending_batches`); n == 0 {
		t.Error("nothing is pending: the run says nothing")
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	// Others wait for longer than a node that lives lets what it counted gather.
	if _, err := db.Exec(`UPDATE pending_batches SET at = at - interval '3 minutes'`); err != nil {
		t.Fatal(err)
	}
	until(t, "another node folds", func() bool { return value[int](t, db, `SELECT count(*) FROM pending_batches`) == 0 })
	if folded, n := value[int64](t, db, `SELECT sum(quantity)::bigint FROM license_usage_rollups`), views(); folded != 10 || n != 10 {
		t.Errorf("%d units are folded, the day's views are %d; want 10", folded, n)
	}
	s.start()
	s.verify("--deep", "--only", "books")
}

// Nodes are stopped and started one after the other under load: every request
// that was not answered is, when it is sent again with its keys.
func TestRollingRestart(t *testing.T) {
	s := newServer(t, "postgres", "USANCE_RATE_LIMIT_CALLS=0")
	s.must("PUT", "/v1/licenses/l", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const clients = 6
	sent := make(chan int, clients)
	for c := range clients {
		go func() {
			n := 0
			defer func() { sent <- n }()
			for ; ctx.Err() == nil && !t.Failed(); n++ {
				body := fmt.Sprintf(`{"licenseId":"l","usageType":"view","idempotencyKey":"%d-%d"}`, c, n)
				for tries := 0; ; tries++ {
					var r result
					status, err := s.call("POST", "/v1/events", body, &r)
					if err == nil && status == http.StatusOK && r.Tracked {
						break
					}
					// Beyond connections that end with their process, nothing fails.
					if err == nil && status != http.StatusServiceUnavailable || tries > 1000 {
						t.Errorf("%s: %d, %v, %+v", body, status, err, r)
						return
					}
				}
			}
		}()
	}
	for range 2 {
		for _, n := range s.nodes {
			s.signal(n, syscall.SIGTERM)
			s.wait(n, syscall.SIGTERM)
			s.start()
		}
	}
	stop()
	want := int64(0)
	for range clients {
		want += int64(<-sent)
	}
	var usage struct{ CurrentPeriod struct{ Events int64 } }
	s.must("GET", "/v1/licenses/l/usage", "", &usage)
	t.Logf("%d events over %d restarts", want, 2*len(s.nodes))
	if usage.CurrentPeriod.Events != want || want == 0 {
		t.Errorf("%d events are counted, %d were acknowledged", usage.CurrentPeriod.Events, want)
	}
	for i, n := range s.nodes {
		if text := n.log.String(); strings.Contains(text, `"level":"ERROR"`) {
			t.Errorf("node %d logged errors:\n%.2000s", i, text)
		}
	}
}
