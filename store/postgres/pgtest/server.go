package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usance/usance/store/postgres"
)

// Server is a PostgreSQL of one test alone, which the test may kill. It is
// durable: a commit waits for fsync.
type Server struct {
	c         *cluster
	databases atomic.Int64
	killed    int
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	c, err := startAs("again")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.life.Close()
		// The watcher is a child that nobody else waits for.
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(c.watcher, &status, 0, nil); err != nil {
			t.Errorf("the end of PostgreSQL: %v", err)
		}
	})
	return &Server{c: c}
}

// Database makes a database without any schema.
func (s *Server) Database(ctx context.Context) (url string, err error) {
	name := fmt.Sprintf("usance_%d", s.databases.Add(1))
	return s.c.url(name), s.c.exec(ctx, "CREATE DATABASE "+name)
}

// Kill ends every process of the server at once, as a power cut would from
// outside, and keeps it down until Restart.
func (s *Server) Kill() error {
	pid, ok := s.c.pid()
	if !ok {
		return errors.New("the server is not up")
	}
	if err := os.WriteFile(s.c.down(), nil, 0o600); err != nil {
		return err
	}
	s.killed = pid
	children := childrenOf(pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for _, p := range children {
		_ = syscall.Kill(p, syscall.SIGKILL) // some went with their parent
	}
	return nil
}

// Restart lets the server come up, and waits until it takes connections.
func (s *Server) Restart(ctx context.Context) error {
	if err := os.Remove(s.c.down()); err != nil {
		return err
	}
	if err := s.c.await(s.killed); err != nil {
		return err
	}
	// It is ready before its last recovery is over.
	for {
		conn, err := postgres.Connect(ctx, s.c.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *cluster) down() string { return filepath.Join(c.folder, "down") }

// childrenOf lists the processes that a process started.
func childrenOf(parent int) (out []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; the parent is the second field after it.
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 2 || f[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
