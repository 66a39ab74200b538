package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

// Of a log that cannot be copied is told once, and once when it can be again;
// one that somebody reads is no failure, until it is long.
func TestTroubleWithTheLogIsToldOnce(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	var trouble trouble
	for i, step := range []struct {
		err  error
		size int64
		want string
	}{
		{nil, 0, ""}, {full, 0, "cannot be copied"}, {full, 0, ""}, {errHeld, 0, ""}, {full, 0, ""}, {nil, 0, "is copied again"}, {nil, 0, ""},
		{errHeld, MaxLogBytes, ""}, {errHeld, MaxLogBytes + 1, "cannot begin anew"}, {errHeld, MaxLogBytes + 2, ""}, {nil, 5, "has begun anew"}, {nil, 5, ""},
	} {
		b.Reset()
		trouble.tell(log, step.err, step.size)
		if got := b.String(); (got == "") != (step.want == "") || !strings.Contains(got, step.want) || strings.Count(got, "\n") > 1 {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

// fill writes until the log holds more pages than are let be.
func fill(t *testing.T, s *Store) {
	t.Helper()
	for n := range 30 {
		err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
			for i := range 20 {
				if err := tx.PutBrand(t.Context(), usance.Brand{ID: fmt.Sprint(n, "-", i), Name: strings.Repeat("x", 4000)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// await waits for what the goroutine that copies the log brings about.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// A failure to copy the log is counted, and the log's size known.
func TestFailuresToCopyTheLogCount(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	c, err := s.connect(t.Context(), readerCache)
	if err != nil {
		t.Fatal(err)
	}
	close(s.closed) // ends what copies the log, for another to take its place
	<-s.copied
	s.closed, s.copied, s.logPages = make(chan struct{}), make(chan struct{}), 100
	if err := c.c.Close(); err != nil { // so that nothing can be copied on it
		t.Fatal(err)
	}
	go s.copyLogs(context.Background(), c)
	fill(t, s)
	await(t, "a failure is counted", func() bool { return s.Log().Failures > 0 })
	if n := s.Log().Bytes; n < 100*4096 {
		t.Errorf("the log has %d bytes", n)
	}
}

// leaveWaiting has a log begin anew, and leaves while it waits for readers, if
// it is seen to.
func leaveWaiting(t *testing.T, path string, w *conn) error {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	done := make(chan error, 1)
	go func() { done <- w.restartLog(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		// It waits for readers with the right to write in its hands.
		_, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
		switch {
		case err == nil:
			if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			continue
		case !isBusy(err):
			t.Fatal(err)
		}
		leave()
		return <-done
	}
}

// Whatever becomes of the attempt, writers wait for others afterwards as before.
func TestRestartLogLeavesNoShortTimeout(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s, err := Open(t.Context(), path, Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	timeout := func() (ms int) {
		t.Helper()
		w := <-s.writer
		defer func() { s.writer <- w }()
		if err := w.c.QueryRowContext(t.Context(), "PRAGMA busy_timeout").Scan(&ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	before := timeout()
	err = s.view(t.Context(), func(v *view) error { // holds the log
		if _, err := v.Version(t.Context(), "l"); err != nil {
			return err
		}
		fill(t, s)
		w := <-s.writer
		defer s.end(w, s.writer)
		err := errHeld
		for deadline := time.Now().Add(2 * time.Minute); errors.Is(err, errHeld); { // it came to its end by itself
			if time.Now().After(deadline) {
				t.Fatal("it is never left while it waits")
			}
			err = leaveWaiting(t, path, w)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the log began anew under a reader: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := timeout(); after != before || before != 2000 {
		t.Errorf("writers wait %d ms for others, %d before", after, before)
	}
}
