package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

var (
	everyFlag = flag.Bool("every", false, "stop before every statement of an operation, not before a few")
	pairFlag  = flag.String("pair", "", "try what begins so alone, such as a pair or what a failure names")
)

// meeting is two operations, and where the first stops for the second, and the
// second, if it does, for the first.
type meeting struct {
	a, b  *operation
	apart bool // each is about a licence of its own
	at    int  // the number of the first one's statement
	then  int  // of the second one's; 0: it stops for nobody
}

func (m *meeting) String() string {
	return fmt.Sprintf("%s/%s/%s/%d/%d", m.a.name, m.b.name, map[bool]string{true: "apart", false: "same"}[m.apart], m.at, m.then)
}

// named gives the one meeting that a failure named.
func named(name string) (*meeting, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 5 {
		return nil, false
	}
	m := &meeting{apart: parts[2] == "apart"}
	for i := range operations {
		if operations[i].name == parts[0] {
			m.a = &operations[i]
		}
		if operations[i].name == parts[1] {
			m.b = &operations[i]
		}
	}
	var errs [2]error
	m.at, errs[0] = strconv.Atoi(parts[3])
	m.then, errs[1] = strconv.Atoi(parts[4])
	return m, m.a != nil && m.b != nil && errors.Join(errs[:]...) == nil
}

// licenses of the two.
func (m *meeting) licenses() (a, b string) {
	if m.apart {
		return licenses[0], licenses[1]
	}
	return licenses[0], licenses[0]
}

// licenses are of two groups, and of two batches.
var licenses = []string{"lic1", "lic2"}

// lab is a database with two nodes, each behind its gate.
type lab struct {
	raw      *postgres.Store
	nodes    [2]*station
	observer *pgx.Conn
	scenes   map[bool]*scene // of two licences, or of one
	restore  map[bool]string // the statements that bring their rows back
}

// newLab makes one, with its scenes.
func newLab(t *testing.T) *lab {
	t.Helper()
	ctx := t.Context()
	url := pgtest.URL(t)
	o := postgres.Options{Conns: 4, LeaveSchema: true, Volatile: true}
	l := &lab{scenes: make(map[bool]*scene), restore: make(map[bool]string)}
	var err error
	if l.raw, err = postgres.Open(ctx, url, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.raw.Close() })
	for i := range l.nodes {
		gate, by := newGate(t, url, stationNames[i])
		s, err := postgres.Open(ctx, by, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		l.nodes[i] = &station{gate: gate, store: s}
	}
	if l.observer, err = postgres.Connect(ctx, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.observer.Close(context.WithoutCancel(ctx)) })
	rows, err := l.observer.Query(ctx, `SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()
		AND tablename NOT IN ('secrets', 'api_keys_version') AND tablename NOT LIKE '%migrations%'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	wipe := "SET session_replication_role = replica; DELETE FROM " + strings.Join(tables, "; DELETE FROM ")
	for _, apart := range []bool{false, true} {
		of := licenses[:1]
		if apart {
			of = licenses
		}
		if l.scenes[apart], err = newScene(ctx, l, of...); err != nil {
			t.Fatal(err)
		}
		keep := ""
		l.restore[apart] = wipe
		for _, table := range tables {
			kept := fmt.Sprintf("%s_kept_%t", table, apart)
			keep += fmt.Sprintf("CREATE TABLE %s AS TABLE %s; ", kept, table)
			l.restore[apart] += fmt.Sprintf("; INSERT INTO %s TABLE %s", table, kept)
		}
		if _, err := l.observer.Exec(ctx, keep+wipe); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// scene gives the state in which two meet, of one licence or of two.
func (l *lab) scene(ctx context.Context, apart bool) (*scene, error) {
	if _, err := l.observer.Exec(ctx, l.restore[apart]); err != nil {
		return nil, err
	}
	return l.scenes[apart].set(ctx)
}

var stationNames = [2]string{"first", "second"}

// waits tells whether one of the two waits for a lock that the other one holds.
func (l *lab) waits(ctx context.Context, who, whom int) (waits bool, err error) {
	err = l.observer.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock'
			AND pg_blocking_pids(pid) && ARRAY(SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $2))`,
		stationNames[who], stationNames[whom]).Scan(&waits)
	return waits, err
}

// met is how a meeting went.
type met struct {
	statement string // before which the first one stopped
	waited    bool   // the second one, for the first
	stopped   bool   // the second one, before a statement; else it was done in between
}

// meet has the first operation stop before its statement until the second one is
// done, waits for the first, or stops before a statement of its own; there it goes
// on when the first is done, or waits for the second.
func (l *lab) meet(ctx context.Context, m *meeting) (how met, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // one takes milliseconds
	defer cancel()
	onA, onB := m.licenses()
	c, err := l.scene(ctx, m.apart)
	if err != nil {
		return how, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	first, second := l.nodes[0].gate, l.nodes[1].gate
	first.arm(m.at)
	second.arm(m.then)
	var a, b outcome
	doneA, doneB := make(chan bool), make(chan bool)
	go func() {
		defer close(doneA)
		a = m.a.do(c, 0, onA)
	}()
	select {
	case how.statement = <-first.reached:
	case <-doneA:
		return how, fmt.Errorf("the first came to its end with %d statements, and did not stop: %w", len(first.statements()), a.err)
	}
	go func() {
		defer close(doneB)
		b = m.b.do(c, 1, onB)
	}()
	how.waited, how.stopped, err = l.await(ctx, 1, 0, doneB)
	first.release()
	if how.stopped && err == nil {
		_, _, err = l.await(ctx, 0, 1, doneA)
	}
	second.release()
	<-doneA
	<-doneB
	if err == nil {
		err = c.check(a, b)
	}
	return how, err
}

// await returns when one of the two is done, waits for the other one, or stops.
func (l *lab) await(ctx context.Context, who, whom int, done <-chan bool) (waited, stopped bool, err error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return false, false, nil
		case <-l.nodes[who].gate.reached:
			return false, true, nil
		case <-tick.C:
		}
		if waited, err = l.waits(ctx, who, whom); waited || err != nil {
			return waited, false, err
		}
	}
}

// statements gives those of an operation that nobody disturbs.
func (l *lab) statements(ctx context.Context, m *meeting) ([]string, error) {
	onA, _ := m.licenses()
	c, err := l.scene(ctx, m.apart)
	if err != nil {
		return nil, err
	}
	l.nodes[0].gate.arm(0)
	a := m.a.do(c, 0, onA)
	n := l.nodes[0].gate.statements()
	return n, errors.Join(c.check(a, ofAll(nil)), c.close())
}

// TestInterleaved has two nodes, each with a transaction open, meet on one
// database: the first stops before a statement, COMMIT too, and the second does
// all that it has to do, or comes to wait for a lock of the first, or stops in its
// turn until the first is done. It is tried with every pair of operations, on one
// licence and on two. Whatever statement it is, what was answered and what is
// stored must be explained by an order of the transactions of both, and no
// deadlock or other conflict may come about.
func TestInterleaved(t *testing.T) {
	if usance.GroupOf(licenses[0], usance.Groups) == usance.GroupOf(licenses[1], usance.Groups) {
		t.Fatal("the two licences are of one group")
	}
	started := time.Now()
	labs := make([]*lab, runtime.GOMAXPROCS(0))
	for i := range labs {
		labs[i] = newLab(t)
	}
	meetings := meetingsToTry(t, labs[0])
	if *pairFlag != "" {
		meetings = slices.DeleteFunc(meetings, func(m *meeting) bool { return !strings.HasPrefix(m.String(), *pairFlag) })
	}
	if m, ok := named(*pairFlag); ok {
		meetings = []*meeting{m}
	}
	queue := make(chan *meeting)
	var mu sync.Mutex
	through, waited, stopped, failed := 0, 0, 0, 0
	pairs := make(map[string]bool)
	var wait sync.WaitGroup
	for _, l := range labs {
		wait.Go(func() {
			for m := range queue {
				how, err := l.meet(t.Context(), m)
				mu.Lock()
				pairs[m.a.name+"/"+m.b.name] = true
				switch {
				case err != nil:
					failed++
					t.Errorf("%s, stopped before %.200q, the other waited: %t, stopped: %t: %v\n\nreplay: go test ./sim -run TestInterleaved -pair '%s'", m, how.statement, how.waited, how.stopped, err, m)
				case how.waited:
					waited++
				case how.stopped:
					stopped++
				default:
					through++
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range meetings {
		mu.Lock()
		enough := failed >= 3 && !*allFlag
		mu.Unlock()
		if enough {
			break
		}
		queue <- m
	}
	close(queue)
	wait.Wait()
	t.Logf("%d meetings of %d pairs in %s: in %d the second was done in between, in %d it waited, in %d it stopped too",
		len(meetings), len(pairs), time.Since(started).Round(time.Millisecond), through, waited, stopped)
	for _, l := range labs {
		for i, n := range l.nodes {
			refusals := n.gate.refused()
			delete(refusals, "23505") // a key that was counted: the careful way follows
			if len(refusals) > 0 {
				t.Errorf("errors of the database, by code, to the %s node: %v", stationNames[i], refusals)
			}
		}
	}
	if *pairFlag == "" && (through == 0 || waited == 0 || stopped == 0) {
		t.Error("not all ways to meet came about")
	}
}

// meetingsToTry are those of every pair: with every statement, or with a few.
func meetingsToTry(t *testing.T, l *lab) (all []*meeting) {
	t.Helper()
	type alone struct {
		*operation
		apart bool
	}
	statements := make(map[alone][]string)
	for i := range operations {
		for _, apart := range []bool{false, true} {
			of, err := l.statements(t.Context(), &meeting{a: &operations[i], apart: apart})
			if err != nil {
				t.Fatalf("%s alone: %v", operations[i].name, err)
			}
			statements[alone{&operations[i], apart}] = of
		}
	}
	for i := range operations {
		for j := range operations {
			for _, apart := range []bool{false, true} {
				a, b := &operations[i], &operations[j]
				h := fnv.New64a()
				fmt.Fprint(h, a.name, b.name, apart)
				rng := rand.New(rand.NewPCG(*seedFlag, h.Sum64()))
				for _, m := range boundaries(rng, statements[alone{a, apart}], statements[alone{b, apart}]) {
					m.a, m.b, m.apart = a, b, apart
					all = append(all, m)
				}
			}
		}
	}
	// Those that are alike stand side by side, and are found out as well by the first.
	rand.New(rand.NewPCG(*seedFlag, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// boundaries are where the two of a pair stop: before any statement of the first,
// or before one and one COMMIT; and once more with the second one stopping too.
// Those of a search that asks the same question again and again are left out of
// the few.
func boundaries(rng *rand.Rand, first, second []string) (out []*meeting) {
	few := func(of []string) (others, commits []int) {
		for i := range of {
			if of[i] == "COMMIT" {
				commits = append(commits, i+1)
			} else if i == 0 || of[i] != of[i-1] {
				others = append(others, i+1)
			}
		}
		return others, commits
	}
	one := func(from []int) int { return from[rng.IntN(len(from))] }
	others, commits := few(first)
	then, _ := few(second)
	if !*everyFlag {
		return []*meeting{{at: one(others)}, {at: one(commits)}, {at: one(append(others, commits...)), then: one(then)}}
	}
	for i := range first {
		out = append(out, &meeting{at: i + 1}, &meeting{at: i + 1, then: one(then)})
	}
	return out
}
