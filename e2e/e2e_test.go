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
	"syscall"
	"testing"
	"time"
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

// server is the program at work on one data folder.
type server struct {
	t    *testing.T
	dir  string
	addr string
	env  []string // settings beside the folder and the key
	http *http.Client

	mu  sync.Mutex
	cmd *exec.Cmd
	log serverLog
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

// listen gives each piece of the log to hear from now on; nil to nobody.
func (l *serverLog) listen(hear func(text string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear = hear
}

// newServer starts the program on an empty folder; environ are settings of it,
// as NAME=value.
func newServer(t *testing.T, environ ...string) *server {
	t.Helper()
	return newServerIn(t, t.TempDir(), environ...)
}

// newServerIn starts the program on a folder that may hold a database.
func newServerIn(t *testing.T, dir string, environ ...string) *server {
	t.Helper()
	if err := watchSources(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, addr: l.Addr().String(), env: environ, http: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			text := s.log.String()
			t.Logf("end of the server's log:\n%s", text[max(0, len(text)-32<<10):])
		}
	})
	return s
}

// start runs the program and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command(binary, "serve", "--addr", s.addr)
	s.cmd.Env = append(append(os.Environ(), "USANCE_DATA_DIR="+s.dir, "USANCE_ADMIN_KEY="+adminKey), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.log.restart()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if r, err := s.http.Get("http://" + s.addr + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(5 * time.Millisecond) // a process of its own tells readiness by answering
	}
	s.t.Fatalf("the server is not ready:\n%s", s.log.String())
}

// stop ends the program by the signal and waits for it.
func (s *server) stop(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		s.t.Errorf("stopped by SIGTERM: %v", err)
	}
	s.cmd = nil
}

// call makes one request and decodes its JSON answer into out.
func (s *server) call(method, path, body string, out any) (int, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
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
