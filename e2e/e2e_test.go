// Package e2e_test runs the program as its users do: built, started, killed
// and started again, and spoken to over HTTP only.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usance/usance/redis/redistest"
	"github.com/usance/usance/store/postgres/pgtest"
)

const adminKey = "e2e-admin-key-0123456789"

var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() { // real processes, minutes of load: not a quick test
		return
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "usance-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "usance")
		build := exec.Command("go", "build", "-o", binary, "../cmd/usance")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the program:", err)
			return 1
		}
		return m.Run()
	}())
}

// watchSources looks at the sources that the program is built from, which this
// package does not import: so the go command does not take a test's result from
// its cache after they changed. It notes only what tests themselves look at.
var watchSources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".sql")) {
			_, err = os.Stat(path)
		}
		return err
	})
})

// onEach runs a test on each store: one process on a SQLite file, and several
// nodes on a PostgreSQL database.
func onEach(t *testing.T, test func(t *testing.T, store string)) {
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) { test(t, store) })
	}
}

// nodesOnPostgres is how many processes serve one PostgreSQL database.
const nodesOnPostgres = 3

// server is the program at work on one database, in one process or several,
// between which each request chooses.
type server struct {
	t *testing.T
	database
	env   []string // settings beside the database and the key
	http  *http.Client
	nodes []*node
	turn  atomic.Int64
}

// node is one process of a server.
type node struct {
	name string // to PostgreSQL
	addr string
	mu   sync.Mutex
	cmd  *exec.Cmd
	log  serverLog
}

// serverLog is what the program writes, a line at a time, also read while it does.
type serverLog struct {
	mu    sync.Mutex
	text  bytes.Buffer
	begin int // where the present process began
	hear  func(text string)
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hear != nil {
		l.hear(string(p))
	}
	return l.text.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *serverLog) restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin = l.text.Len()
}

// underWay tells whether the present process said that it began something
// after it last said that it ended it.
func (l *serverLog) underWay(began, ended string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.Bytes()[l.begin:]
	last := func(message string) int { return bytes.LastIndex(text, []byte(`"msg":"`+message+`"`)) }
	return last(began) > last(ended)
}

// took lists how long each piece of work lasted that the log tells both the
// beginning and the end of: the last beginning before an end counts.
func (l *serverLog) took(began, ended string) (list []time.Duration) {
	var since time.Time
	for line := range strings.Lines(l.String()) {
		var entry struct {
			Time time.Time `json:"timestamp"`
			Msg  string
		}
		if !strings.Contains(line, `"msg":"`+began+`"`) && !strings.Contains(line, `"msg":"`+ended+`"`) || json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		if entry.Msg == began {
			since = entry.Time
		} else if !since.IsZero() {
			list, since = append(list, entry.Time.Sub(since)), time.Time{}
		}
	}
	return list
}

// listen gives each piece of the log to hear from now on; nil to nobody.
func (l *serverLog) listen(hear func(text string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear = hear
}

// newServer starts the program on an empty database of the store: "sqlite",
// "postgres", "shared", which is PostgreSQL with a pooler in front and a Redis
// beside, or "citus", which skips the test where no coordinator is named. environ are settings of it, as NAME=value.
func newServer(t *testing.T, store string, environ ...string) *server {
	t.Helper()
	if store == "sqlite" {
		return newServerOn(t, database{dir: t.TempDir()}, environ...)
	}
	if store == "citus" {
		return newServerOn(t, database{dir: t.TempDir(), url: pgtest.OnCitus(t)}, environ...)
	}
	pg := pgtest.Start(t)
	url, err := pg.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db := database{dir: t.TempDir(), url: url, pg: pg}
	if store == "shared" {
		db.pooler, db.redis = pg.Pool(t), redistest.Start(t)
		environ = append([]string{"DATABASE_URL_POOLED=" + db.pooler.URL(url), "REDIS_URL=" + db.redis.URL(), "USANCE_RATE_LIMIT_CALLS=100000"}, environ...)
	}
	return newServerOn(t, db, environ...)
}

// newServerOn starts the program on a database that may hold something.
func newServerOn(t *testing.T, db database, environ ...string) *server {
	t.Helper()
	if err := watchSources(); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, database: db, env: environ, http: &http.Client{
		Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}}
	nodes := 1
	if s.url != "" {
		nodes = nodesOnPostgres
	}
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.nodes = append(s.nodes, &node{name: fmt.Sprint("node", i), addr: l.Addr().String()})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			for i, n := range s.nodes {
				text := n.log.String()
				t.Logf("end of the log of node %d:\n%s", i, text[max(0, len(text)-32<<10/len(s.nodes)):])
			}
		}
	})
	return s
}

// start runs the processes that do not run, all at once, and waits until they
// are ready.
func (s *server) start() {
	s.t.Helper()
	for _, n := range s.nodes {
		s.run(n)
	}
	for i, n := range s.nodes {
		s.await(i, n)
	}
}

func (s *server) run(n *node) {
	s.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return
	}
	n.cmd = exec.Command(binary, "serve", "--addr", n.addr)
	n.cmd.Env = append(append(os.Environ(), s.settings()...), s.env...)
	if s.url != "" {
		n.cmd.Env = append(n.cmd.Env, "DATABASE_URL="+s.url+"&application_name="+n.name)
	}
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	n.log.restart()
	if err := n.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) await(i int, n *node) {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		if r, err := s.http.Get("http://" + n.addr + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(5 * time.Millisecond) // a process of its own tells readiness by answering
	}
	s.t.Fatalf("node %d is not ready:\n%s", i, n.log.String())
}

// stop ends every process by the signal and waits for it.
func (s *server) stop(sig syscall.Signal) {
	s.t.Helper()
	for _, n := range s.nodes {
		s.signal(n, sig)
	}
	for _, n := range s.nodes {
		s.wait(n, sig)
	}
}

// kill ends one process as if its machine had gone.
func (s *server) kill(n *node) {
	s.t.Helper()
	s.signal(n, syscall.SIGKILL)
	s.wait(n, syscall.SIGKILL)
}

func (s *server) signal(n *node, sig syscall.Signal) {
	s.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
}

func (s *server) wait(n *node, sig syscall.Signal) {
	s.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		s.t.Errorf("stopped by SIGTERM: %v", err)
	}
	n.cmd = nil
}

// listen gives each piece of every log to hear from now on; nil to nobody.
func (s *server) listen(hear func(text string)) {
	for _, n := range s.nodes {
		n.log.listen(hear)
	}
}

// pick chooses the node of a request, by turns.
func (s *server) pick() *node { return s.nodes[int(s.turn.Add(1))%len(s.nodes)] }

// base is the address of one of the nodes.
func (s *server) base() string { return "http://" + s.pick().addr }

// call makes one request and decodes its JSON answer into out.
func (s *server) call(method, path, body string, out any) (int, error) {
	return s.callOn(s.pick(), method, path, body, out)
}

func (s *server) callOn(n *node, method, path, body string, out any) (int, error) {
	return s.callAs(adminKey, n, method, path, body, out)
}

func (s *server) callAs(key string, n *node, method, path, body string, out any) (int, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+n.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			return res.StatusCode, fmt.Errorf("%w in %.200q", err, b)
		}
	}
	return res.StatusCode, nil
}

// must calls and wants success.
func (s *server) must(method, path, body string, out any) {
	s.t.Helper()
	if out == nil {
		out = new(any)
	}
	status, err := s.call(method, path, body, out)
	if err != nil || status >= 300 {
		s.t.Fatalf("%s %s: %d, %v, %v", method, path, status, err, out)
	}
}

// result is the answer to one event.
type result struct {
	EventID   string
	Tracked   bool
	Duplicate bool
	Status    string
	Error     *struct{ Code, Message string }
}
