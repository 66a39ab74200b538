// Package redistest gives tests a Redis of their own: a private server made from
// the installed redis-server, on a free port of this machine, which the test may
// kill, stop, start again and empty. Nothing needs to run before, and nothing is
// left afterwards, also when the test's process is killed. A test that asks for a
// Redis fails when there is none to have; it is never skipped.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// password is what clients must name.
const password = "redistest-secret"

// Server is a Redis of one test. It keeps nothing over a restart.
type Server struct {
	t      testing.TB
	folder string
	addr   string
	more   []string // arguments
	as     *syscall.Credential

	life    *os.File
	watcher *exec.Cmd
	pid     int
}

// watch runs the server until its standard input ends, which is when the test
// process does, however that comes about.
const watch = `
folder=$1; shift
"$@" >>"$folder/log" 2>&1 &
pid=$!
echo $pid >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
cat >/dev/null
kill -KILL $pid 2>/dev/null
wait $pid
[ -e "$folder/again" ] || rm -rf "$folder"
`

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t)
}

// StartTLS starts a server that also takes TLS, with the certificate and key in
// the files named; url is the way to it by TLS.
func StartTLS(t testing.TB, cert, key string) (s *Server, url string) {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	s = start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
	return s, strings.Replace(urlOf(addr), "redis://", "rediss://", 1)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func start(t testing.TB, more ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("no redis-server is installed; run: make tools")
	}
	as, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "usance-redis") //nolint:usetesting // another user must get to it
	if err != nil {
		t.Fatal(err)
	}
	if as != nil {
		if err := os.Chown(folder, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, folder: folder, addr: addr, more: more, as: as}
	t.Cleanup(func() {
		s.end()
		os.RemoveAll(folder)
	})
	if err := s.run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log")) // what there is of it
		t.Fatalf("starting redis-server: %v\n%s", err, log)
	}
	return s
}

// URL names the server and its password.
func (s *Server) URL() string { return urlOf(s.addr) }

func urlOf(addr string) string { return "redis://:" + password + "@" + addr + "/0" }

// Kill ends the server at once, with all that it holds.
func (s *Server) Kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
	s.reap()
}

// Restart starts a server that was killed, empty, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop lets the server hang: it takes connections and answers nothing.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Continue lets a server that hangs go on.
func (s *Server) Continue() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

// Flush empties the server.
func (s *Server) Flush() {
	s.t.Helper()
	s.Do("FLUSHALL")
	s.Do("SCRIPT", "FLUSH")
}

// Do carries out a command and gives the first line of the reply.
func (s *Server) Do(command ...string) string {
	s.t.Helper()
	reply, err := s.do(command...)
	if err != nil || strings.HasPrefix(reply, "-") {
		s.t.Fatalf("redis: %v: %s, %v", command, reply, err)
	}
	return reply
}

// do speaks the protocol itself: what is tested is not tested by itself.
func (s *Server) do(command ...string) (string, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	c, err := dialer.DialContext(context.Background(), "tcp", s.addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	for _, words := range [][]string{{"AUTH", password}, command} {
		if _, err := fmt.Fprintf(c, "*%d\r\n", len(words)); err != nil {
			return "", err
		}
		for _, w := range words {
			if _, err := fmt.Fprintf(c, "$%d\r\n%s\r\n", len(w), w); err != nil {
				return "", err
			}
		}
	}
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || line != "+OK\r\n" {
		return "", fmt.Errorf("AUTH: %q, %w", line, err)
	}
	line, err := in.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) run() error {
	read, life, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	for _, name := range []string{"pid", "again"} {
		if err := os.Remove(filepath.Join(s.folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	args := []string{"-c", watch, "sh", s.folder, "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", s.folder, "--requirepass", password,
		"--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"}
	s.watcher = exec.CommandContext(context.Background(), "/bin/sh", append(args, s.more...)...) //nolint:gosec // of this package alone
	s.watcher.Dir = "/"
	// Setsid: an interrupt of the terminal reaches the tests alone.
	s.watcher.SysProcAttr, s.watcher.Stdin = &syscall.SysProcAttr{Credential: s.as, Setsid: true}, read
	if err := s.watcher.Start(); err != nil {
		life.Close()
		return err
	}
	s.life = life
	return s.await()
}

func (s *Server) await() error {
	for late := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			return errors.New("it is not ready after a minute")
		}
		text, err := os.ReadFile(filepath.Join(s.folder, "pid"))
		if err != nil {
			continue // the watcher has not come so far
		}
		if s.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return err
		}
		if reply, err := s.do("PING"); err == nil && reply == "+PONG" {
			return nil
		}
	}
}

// reap waits for the end of a server that was killed, and leaves its folder.
func (s *Server) reap() {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, "again"), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.end()
}

func (s *Server) end() {
	if s.life == nil {
		return
	}
	if log, err := os.ReadFile(filepath.Join(s.folder, "log")); err == nil && s.t.Failed() {
		s.t.Logf("the log of redis-server:\n%s", log)
	}
	s.life.Close()
	s.life = nil
	if err := s.watcher.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Errorf("the end of redis-server: %v", err)
	}
}

// unprivileged gives the user to run the server as when the tests run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"redis", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
	}
	return nil, errors.New("redistest: there is neither a user redis nor nobody")
}
