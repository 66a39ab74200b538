package e2e_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var killsFlag = flag.Int("kills", 12, "how often TestKill kills the server; make kill does it 200 times")

const (
	killClients  = 10
	killLicenses = 4
	moreKills    = 10
)

// cleanup is the job that prunes.
const cleanup = "cleanupOldUsageEvents"

// work is what the server does beside its clients', with what its log says of it.
type work struct{ name, began, ended string }

var background = []work{
	{"fold", "folding", "folded"},
	{"prune", "sealing and pruning", "retained"},
	{"recalculation", "recalculating", "recalculated"},
}

// sender is a client that sends until its server is gone, and after the next
// start first repeats what was not answered.
type sender struct {
	*server
	*ledger
	id     int
	rng    *rand.Rand
	sent   int
	date   string  // of what it sends now
	open   []entry // sent and not answered: events of one request, or one void
	latest []entry // answered, of the present date: to be sent again and voided

	over atomic.Int64 // requests that are: answered, or cut
}

// run sends until a request fails; cut tells that one was under way then.
func (c *sender) run(ctx context.Context) (cut bool, err error) {
	for ctx.Err() == nil {
		if len(c.open) == 0 {
			c.next()
		}
		answered, err := c.ask()
		c.over.Add(1)
		if err != nil {
			return false, err
		}
		if !answered {
			return true, nil
		}
	}
	return false, nil
}

// next makes up the next request.
func (c *sender) next() {
	if n := len(c.latest); n > 0 && c.rng.IntN(8) == 0 {
		i := c.rng.IntN(n)
		void := c.latest[i]
		void.Void = true
		c.latest = slices.Delete(c.latest, i, i+1)
		c.open = []entry{void}
		return
	}
	for range 1 + c.rng.IntN(20) {
		c.sent++
		c.open = append(c.open, entry{
			License: fmt.Sprint("l", c.rng.IntN(killLicenses)), Date: c.date, Type: []string{"view", "click"}[c.rng.IntN(2)],
			Key: fmt.Sprintf("%d-%d", c.id, c.sent), Units: 1 + c.rng.Int64N(9),
		})
	}
}

// try posts; ok is false when no whole answer came, as from a server that is
// killed, or whose database is.
func (s *server) try(path, body string, out any) (status int, ok bool) {
	status, err := s.call("POST", path, body, out)
	return status, err == nil && status != http.StatusServiceUnavailable
}

// ask sends what is open, with some of what was answered before among it, and
// enters the answers into the ledger. answered is false when none came.
func (c *sender) ask() (answered bool, err error) {
	if c.open[0].Void {
		var r result
		status, ok := c.try("/v1/events/void", fmt.Sprintf(`{"licenseId":%q,"idempotencyKey":%q}`, c.open[0].License, c.open[0].Key), &r)
		if !ok {
			return false, nil
		}
		if status != http.StatusOK || !r.Tracked {
			return false, fmt.Errorf("voiding %+v: status %d, %+v", c.open[0], status, r)
		}
		err := c.write(c.open)
		c.open = nil
		return true, err
	}
	batch := c.open
	if n := len(c.latest); n > 0 && c.rng.IntN(4) == 0 {
		batch = append(slices.Clone(batch), c.latest[c.rng.IntN(n)])
	}
	bodies := make([]string, len(batch))
	for i := range batch {
		bodies[i] = batch[i].body()
	}
	var results []result
	status, ok := c.try("/v1/events", "["+strings.Join(bodies, ",")+"]", &results)
	if !ok {
		return false, nil
	}
	if status != http.StatusOK || len(results) != len(batch) {
		return false, fmt.Errorf("status %d, %d results", status, len(results))
	}
	for i, r := range results {
		again := i >= len(c.open)
		if !r.Tracked || again && (!r.Duplicate || r.EventID != batch[i].ID) {
			return false, fmt.Errorf("%+v (sent again: %t) answers %+v", batch[i], again, r)
		}
		batch[i].ID = r.EventID
	}
	err = c.write(batch[:len(c.open)])
	if c.open[0].Date == c.date { // an earlier day may be closed soon
		c.latest = append(c.latest, batch[:len(c.open)]...)
	}
	c.open = nil
	return true, err
}

// series is a run of kills.
type series struct {
	*server
	t        *testing.T
	rng      *rand.Rand
	base     time.Time // the first date
	clients  []*sender
	cut      int            // kills that cut a request
	hit      map[string]int // kills in the middle of background work
	postgres int            // kills of PostgreSQL, the others are of all processes
}

func (s *series) dateOf(round int) string { return s.base.AddDate(0, 0, round).Format(time.DateOnly) }

// drive calls an operation again and again until the server is gone.
func (s *series) drive(ctx context.Context, path string, body func() string) error {
	for ctx.Err() == nil {
		status, ok := s.try(path, body(), new(any))
		if !ok {
			return nil
		}
		if status != http.StatusOK && status != http.StatusConflict {
			return fmt.Errorf("%s: status %d", path, status)
		}
	}
	return nil
}

// missed gives the kinds of background work that no kill was in the middle of
// yet, all when there is none.
func (s *series) missed() []work {
	list := slices.DeleteFunc(slices.Clone(background), func(w work) bool { return s.hit[w.name] > 0 })
	if len(list) == 0 {
		return background
	}
	return list
}

// lasts is how long such work took in the middle, of what the logs tell.
func (s *series) lasts(w work) time.Duration {
	var took []time.Duration
	for _, n := range s.nodes {
		took = append(took, n.log.took(w.began, w.ended)...)
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// round lets clients and background work go on until the kill, every other one
// at any instant, the rest after the log told that background work has begun: a
// part of the time that such work took so far.
//
// Folds and recalculations have more to do the longer the clients have sent. The
// days that a prune finds are there before the round begins, and nothing is left
// of them when the first prune has ended; so prunes are held back until each
// client has asked once.
func (s *series) round(n int) {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var working sync.WaitGroup
	var cut atomic.Int64
	fail := func(err error) {
		if err != nil {
			s.t.Error(err)
		}
	}

	heard := make(chan struct{}, 1)
	wait := time.Duration(s.rng.Int64N(int64(400 * time.Millisecond)))
	missed := s.missed()
	aimed := n%2 == 1 || n >= *killsFlag
	if aimed {
		at := missed[n/2%len(missed)]
		wait = time.Duration(s.rng.Int64N(int64(max(s.lasts(at), time.Millisecond))))
		var after atomic.Int64 // lines of all logs, so that there is something to work on
		if at.name != "prune" {
			after.Store(20 + s.rng.Int64N(100))
		}
		s.listen(func(text string) {
			if after.Add(-1) < 0 && strings.Contains(text, `"msg":"`+at.began+`"`) {
				select {
				case heard <- struct{}{}:
				default:
				}
			}
		})
	}

	var before []int64
	for _, c := range s.clients {
		if c.date != s.dateOf(n) {
			c.date, c.latest = s.dateOf(n), nil
		}
		before = append(before, c.over.Load())
		working.Go(func() {
			wasCut, err := c.run(ctx)
			if wasCut {
				cut.Add(1)
			}
			fail(err)
		})
	}
	rng := rand.New(rand.NewPCG(uint64(n), 3))
	working.Go(func() {
		fail(s.drive(ctx, "/v1/recalculate", func() string {
			return fmt.Sprintf(`{"licenseId":"l%d","startDate":%q,"endDate":%q}`, rng.IntN(killLicenses), s.dateOf(0), s.dateOf(n))
		}))
	})
	until(s.t, "each client has asked once", func() bool {
		for i, c := range s.clients {
			if c.over.Load() == before[i] {
				return false
			}
		}
		return true
	})
	s.must("POST", "/v1/jobs/"+cleanup+"/resume", "", nil)
	working.Go(func() { fail(s.drive(ctx, "/v1/jobs/"+cleanup+"/run", func() string { return "" })) })

	if aimed {
		select {
		case <-heard:
		case <-time.After(3 * time.Second): // there was none: any instant does
		}
	}
	time.Sleep(wait) // the instant of the kill is what is random here
	killsPostgres := s.pg != nil && n%3 == 2
	if killsPostgres {
		fail(s.pg.Kill())
	} else {
		s.stop(syscall.SIGKILL)
	}
	s.listen(nil)
	stop()
	working.Wait()
	if cut.Load() > 0 {
		s.cut++
	}
	if killsPostgres { // under processes that go on
		s.postgres++
		fail(s.pg.Restart(context.Background()))
		return
	}
	for _, b := range background {
		if slices.ContainsFunc(s.nodes, func(n *node) bool { return n.log.underWay(b.began, b.ended) }) {
			s.hit[b.name]++
		}
	}
}

// meanwhile lets two days pass over the file of a server that is dead, for
// events of dates that nobody sends any more, and the lease of a job end. Prunes
// are paused until the next round is under way. Now and then it bends a rollup,
// so that recalculations have something to mend.
func (s *series) meanwhile(n int) {
	s.t.Helper()
	sending := s.dateOf(n)
	for _, c := range s.clients {
		for _, e := range c.open {
			sending = min(sending, e.Date)
		}
	}
	s.inspect()
	s.age(sending, 48*time.Hour)
	s.exec(`UPDATE jobs SET paused = 1 WHERE name = ?1`, `UPDATE jobs SET paused = TRUE WHERE name = $1`, cleanup)
	if n%5 == 4 {
		s.exec(fmt.Sprintf(`UPDATE license_usage_rollups SET quantity = quantity + %d WHERE date = %d`, bend, epochDay(s.t, sending)),
			fmt.Sprintf(`UPDATE license_usage_rollups SET quantity = quantity + %d WHERE date = '%s'`, bend, sending))
	}
}

// bend is by how much rollups are bent: whole multiples of it are no loss.
const bend = 1_000_000

// inspect reads the file as a kill left it: rollups are their raw events, and
// counters are rollups and what is pending.
func (s *server) inspect() {
	s.t.Helper()
	const folded = `SELECT license_id, date, usage_type, quantity FROM license_usage_rollups`
	pending := `SELECT e.license_id, e.local_date, e.usage_type, e.quantity FROM license_usage_events e
		JOIN pending_batches p ON e.seq BETWEEN p.first_seq AND p.last_seq`
	if s.pg != nil {
		pending = `SELECT e.license_id, e.local_date, e.usage_type, e.quantity FROM license_usage_events e
			WHERE e.batch_id IN (SELECT batch_id FROM pending_batches)`
	}
	for what, query := range map[string]string{
		"rollup less raw events": `SELECT license_id, date, usage_type, sum(quantity) FROM (
				` + folded + ` UNION ALL ` + pending + ` UNION ALL
				SELECT license_id, local_date, usage_type, -quantity FROM license_usage_events) d
			WHERE NOT EXISTS (SELECT 1 FROM license_usage_days s WHERE s.license_id = d.license_id AND s.date = d.date AND s.sealed)
			GROUP BY 1, 2, 3`,
		"usage less counter": `SELECT t.license_id, min(d.date), t.usage_type, sum(d.quantity) - (SELECT c.quantity FROM license_usage_counters c WHERE c.threshold_id = t.id)
			FROM license_usage_thresholds t JOIN (` + folded + ` UNION ALL ` + pending + `) d
				ON d.license_id = t.license_id AND t.usage_type IN (d.usage_type, 'all')
			GROUP BY t.id, t.license_id, t.usage_type`,
	} {
		s.query(query, func(rows *sql.Rows) error {
			var license, usageType string
			var date any
			var units int64
			err := rows.Scan(&license, &date, &usageType, &units)
			if units%bend != 0 {
				s.t.Errorf("after a kill: %s of %s, day %v, %s is %d units", what, license, date, usageType, units)
			}
			return err
		})
	}
}

// TestKill kills the server again and again while clients send and fold, prune
// and recalculation run. Every acknowledged event is there once, nothing is
// there twice, and rollups, raw events and counters agree.
func TestKill(t *testing.T) { onEach(t, testKill) }

func testKill(t *testing.T, store string) {
	start := time.Now()
	s := &series{
		t: t, rng: rand.New(rand.NewPCG(uint64(*killsFlag), uint64(start.UnixNano()))), hit: make(map[string]int),
		base:   time.Now().UTC().AddDate(0, 0, -*killsFlag-moreKills-30).Truncate(24 * time.Hour),
		server: newServer(t, store, "USANCE_LOG_LEVEL=debug", "USANCE_FOLD_INTERVAL=20ms", "USAGE_EVENT_RETENTION_DAYS=2", "USANCE_LATE_GRACE=1h", "USANCE_RATE_LIMIT_CALLS=0"),
	}
	ledgers := t.TempDir()
	j := &judge{server: s.server, from: s.dateOf(0), to: s.dateOf(*killsFlag + moreKills)}
	for i := range killLicenses {
		l := fmt.Sprint("l", i)
		j.licenses = append(j.licenses, l)
		s.must("PUT", "/v1/licenses/"+l, `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
		for _, th := range []string{
			`"usageType":"all","periodType":"total","limitQuantity":1000000000`,
			`"usageType":"view","periodType":"total","limitQuantity":500,"allowOverage":true,"overageRateCents":"0.25"`,
			`"usageType":"click","periodType":"total","limitQuantity":1000,"allowOverage":true`,
		} {
			s.must("POST", "/v1/thresholds", fmt.Sprintf(`{"licenseId":%q,%s}`, l, th), nil)
		}
	}
	for i := range killClients {
		s.clients = append(s.clients, &sender{server: s.server, id: i, rng: rand.New(rand.NewPCG(uint64(i), 5)),
			ledger: openLedger(t, filepath.Join(ledgers, fmt.Sprint(i)))})
	}
	// Some more when chance left one kind of background work out.
	kills := 0
	for n := 0; n < *killsFlag || n < *killsFlag+moreKills && len(s.missed()) < len(background); n++ {
		kills++
		s.round(n)
		s.meanwhile(n)
		if t.Failed() {
			t.Fatalf("kill %d", n+1)
		}
		s.start()
	}
	s.must("POST", "/v1/jobs/"+cleanup+"/resume", "", nil)
	for _, c := range s.clients { // what is open is answered now
		if len(c.open) == 0 {
			continue
		}
		if answered, err := c.ask(); !answered || err != nil {
			t.Fatalf("after the last kill: %t, %v", answered, err)
		}
	}

	j.entries = j.read(ledgers)
	j.sealedDays() // mends what was bent, so that the prune leaves nothing for later
	for status := 0; status != http.StatusOK && !t.Failed(); {
		var err error
		if status, err = s.call("POST", "/v1/jobs/"+cleanup+"/run", "", new(any)); err != nil || status != http.StatusOK && status != http.StatusConflict {
			t.Fatalf("the last prune: status %d, %v", status, err) // a conflict: one that was cut short goes on
		}
	}
	j.sealedDays()
	j.judge()
	// A process that has found no drift: the last one mended what was bent.
	s.stop(syscall.SIGTERM)
	s.start()
	// What the schedule would have done within a day.
	for _, job := range []string{"aggregateUsageMetrics", "checkUsageThresholds"} {
		s.must("POST", "/v1/jobs/"+job+"/run", "", nil)
	}
	s.verify("--deep", "--only", allButSpeed)
	t.Logf("%d kills, %d of them of PostgreSQL, in %s: %d cut a request; %d answers in the ledgers, %d days sealed",
		kills, s.postgres, time.Since(start).Round(time.Second), s.cut, len(j.entries), len(j.sealed))
	for _, b := range background {
		t.Logf("in the middle of a %s, which lasts about %s: %d kills", b.name, s.lasts(b).Round(time.Microsecond), s.hit[b.name])
	}
	if s.pg != nil && s.postgres == 0 {
		t.Error("PostgreSQL was never killed")
	}
	if 2*s.cut < kills || len(j.sealed) == 0 || j.entries == nil {
		t.Error("too few requests were cut, or no day was pruned: the run says nothing")
	}
	for _, b := range background {
		if s.hit[b.name] == 0 {
			t.Errorf("no kill hit a %s: the run says nothing of it", b.name)
		}
	}
}

// verify runs usance verify on the server, which must find all well.
// allButSpeed are the checks that do not judge how fast the machine is just now.
const allButSpeed = "events,aggregation,thresholds,errors,cache,jobs,forecasts,books,file,schema"

func (s *server) verify(args ...string) {
	s.t.Helper()
	s.command(append([]string{"verify"}, args...)...)
}

func (s *server) command(args ...string) {
	s.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), s.settings()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("usance %s: %v\n%s", args[0], err, out)
	}
}
