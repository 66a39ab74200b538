package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/usance/usance/store/postgres/pgtest"
)

// TestMain lets this test binary be the program, for tests that need a process
// of its own to signal and kill.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_USANCE") == "1" {
		main()
	}
	testscript.Main(m, map[string]func(){"usance": main})
}

// TestScripts runs the scripts of a store, and those of both on each.
func TestScripts(t *testing.T) {
	for _, c := range []struct{ dir, store string }{
		{"script", "sqlite"}, {"both", "sqlite"}, {"both", "postgres"}, {"postgres", "postgres"},
	} {
		t.Run(c.dir+" on "+c.store, func(t *testing.T) { scripts(t, "testdata/"+c.dir, c.store) })
	}
}

// scriptKey is the admin key of scripts on PostgreSQL.
const scriptKey = "scripts-admin-key-0123456789"

func scripts(t *testing.T, dir, store string) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("USANCE_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			e.Setenv("USANCE_LOG_LEVEL", "error")
			if store != "postgres" {
				return nil
			}
			url, drop, err := pgtest.CreateEmpty(context.Background())
			if err != nil {
				return err
			}
			e.Defer(func() {
				if err := drop(); err != nil {
					t.Error(err)
				}
			})
			e.Setenv("DATABASE_URL", url)
			e.Setenv("USANCE_ADMIN_KEY", scriptKey)
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "postgres" && name != "sqlite" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return name == store, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// await FILE waits until a program has written the file.
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				if _, err := awaitFile(ts.MkAbs(args[0])); err != nil {
					ts.Fatalf("%v", err)
				}
			},
			// private FILE checks that nobody else can read the file.
			"private": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[0]))
				ts.Check(err)
				if info.Mode().Perm() != 0o600 {
					ts.Fatalf("%s has mode %v, want 0600", args[0], info.Mode().Perm())
				}
			},
			// sql FILE runs statements in the PostgreSQL database, as another program
			// would, and keeps what the last one answers as the standard output.
			"sql": func(ts *testscript.TestScript, neg bool, args []string) {
				answer, err := runSQL(ts.Getenv("DATABASE_URL"), ts.ReadFile(args[0]))
				if neg != (err != nil) {
					ts.Fatalf("%s: %v", args[0], err)
				}
				fmt.Fprintln(ts.Stdout(), answer)
			},
		},
	})
}

// runSQL gives the rows that the last of the statements answers, a line each.
func runSQL(url, statements string) (string, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, statements).ReadAll()
	if err != nil || len(results) == 0 {
		return "", err
	}
	var lines []string
	for _, row := range results[len(results)-1].Rows {
		lines = append(lines, string(bytes.Join(row, []byte(" "))))
	}
	return strings.Join(lines, "\n"), nil
}

// awaitFile gives the content of a file once it is there.
func awaitFile(path string) (string, error) {
	deadline := time.Now().Add(3 * time.Minute)
	for {
		b, err := os.ReadFile(path)
		if err == nil && len(b) > 0 && b[len(b)-1] == '\n' {
			return strings.TrimSpace(string(b)), nil
		}
		if time.Now().After(deadline) {
			return "", err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// testServer is a server that a test started, in this process or another.
type testServer struct {
	t    *testing.T
	dir  string
	url  string
	key  string
	stop func() int // stops it in an orderly way and answers the exit code

	process *os.Process // of another process
	exited  chan struct{}
	out     *lockedBuffer
}

// startServer runs the whole program in this process, on a free port.
func startServer(t *testing.T, dir string, environ ...string) *testServer {
	t.Helper()
	s := &testServer{t: t, dir: dir, exited: make(chan struct{}), out: new(lockedBuffer)}
	ctx, cancel := context.WithCancel(context.Background())
	code := 0
	environ = append([]string{"USANCE_DATA_DIR=" + dir, "USANCE_ADDR=127.0.0.1:0", "USANCE_LOG_LEVEL=warn"}, environ...)
	go func() {
		defer close(s.exited)
		code = run(ctx, []string{"serve"}, environ, strings.NewReader(""), s.out, s.out)
	}()
	s.stop = func() int { cancel(); <-s.exited; return code }
	t.Cleanup(func() { s.stop() })
	s.ready()
	return s
}

// spawnServer runs the program in a process of its own.
func spawnServer(t *testing.T, dir string, environ ...string) *testServer {
	t.Helper()
	s := &testServer{t: t, dir: dir, exited: make(chan struct{}), out: new(lockedBuffer)}
	cmd := exec.Command(os.Args[0], "serve")
	cmd.Env = append([]string{"RUN_AS_USANCE=1", "PATH=" + os.Getenv("PATH"), "USANCE_DATA_DIR=" + dir, "USANCE_ADDR=127.0.0.1:0", "USANCE_LOG_LEVEL=warn"}, environ...)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	go func() { _ = cmd.Wait(); close(s.exited) }()
	s.stop = func() int {
		_ = s.process.Signal(syscall.SIGTERM)
		<-s.exited
		return cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() { _ = s.process.Kill(); <-s.exited })
	s.ready()
	return s
}

// kill ends the process as a power cut would, from the program's side.
func (s *testServer) kill() {
	_ = s.process.Kill()
	<-s.exited
	_ = os.Remove(filepath.Join(s.dir, urlFile)) // so that ready waits for the next start's
}

func (s *testServer) ready() {
	s.t.Helper()
	found := make(chan string, 1)
	go func() {
		url, _ := awaitFile(filepath.Join(s.dir, urlFile))
		found <- url
	}()
	select {
	case s.url = <-found:
	case <-s.exited:
		s.t.Fatalf("the server ended: %s", s.out)
	}
	if s.url == "" {
		s.t.Fatalf("the server does not come up: %s", s.out)
	}
	b, err := os.ReadFile(filepath.Join(s.dir, adminKeyFile))
	if err != nil {
		s.t.Fatal(err)
	}
	s.key = strings.TrimSpace(string(b))
}

// try sends a request and gives status and body; an error means no answer.
func (s *testServer) try(method, path, body string) (int, []byte, error) {
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// must sends a request that has to succeed, and reads the answer into out.
func (s *testServer) must(method, path, body string, out any) {
	s.t.Helper()
	status, b, err := s.try(method, path, body)
	if err != nil || status >= 300 {
		s.t.Fatalf("%s %s: %d %s %v\n%s", method, path, status, b, err, s.out)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(b, out); err != nil {
		s.t.Fatalf("%s %s: %s: %v", method, path, b, err)
	}
}

// license makes the licence lic_1 with further JSON members.
func (s *testServer) license(members string) {
	s.t.Helper()
	s.must("PUT", "/v1/licenses/lic_1", `{"brandId":"b1","assetId":"a1","status":"ACTIVE"`+members+`}`, nil)
}

// used is what lic_1 has used of a type in all.
func (s *testServer) used(usageType string) (events, quantity int64) {
	s.t.Helper()
	var out struct {
		Totals struct{ Events, Quantity int64 }
	}
	today := time.Now().UTC()
	s.must("GET", "/v1/licenses/lic_1/analytics?granularity=daily&usageType="+usageType+"&startDate="+today.AddDate(0, 0, -5).Format(time.DateOnly)+
		"&endDate="+today.AddDate(0, 0, 1).Format(time.DateOnly), "", &out)
	return out.Totals.Events, out.Totals.Quantity
}

// metric reads a series of /metrics; 0 when there is none.
func (s *testServer) metric(series string) string {
	s.t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("/metrics: %d %v", resp.StatusCode, err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
