package sqlite_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// told keeps what is logged.
type told struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *told) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *told) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// add commits one event.
func add(t *testing.T, s *sqlite.Store) error {
	t.Helper()
	return s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error {
		return tx.AddEvents(t.Context(), []usance.Batch{{ID: usance.NewID(clock), At: clock, Events: events("l1", 1)}})
	})
}

// tail counts the events.
func tail(t *testing.T, s *sqlite.Store) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(v usance.View) error {
		return v.Tail(t.Context(), "l1", 0, usance.MaxDate, func(*usance.Event) error { n++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// move renames files, and their logs.
func move(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(from+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// A file that is not where it was opened any more is neither written nor read,
// not even when it comes back; and it is told once.
func TestFileThatIsGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gone func(t *testing.T, path string)
		want string
	}{
		"removed": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "the database file was removed or replaced under the server"},
		"replaced": {func(t *testing.T, path string) {
			other := filepath.Join(t.TempDir(), "usance.db")
			if err := sqlite.Backup(t.Context(), path, other); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, path); err != nil {
				t.Fatal(err)
			}
		}, "the database file was removed or replaced under the server"},
		"folder moved": {func(t *testing.T, path string) {
			if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+".before"); err != nil {
				t.Fatal(err)
			}
		}, "the database file was removed or replaced under the server"},
		"moved and back": {func(t *testing.T, path string) {
			move(t, path, path+".away")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "the database file was removed or replaced under the server"},
		"log removed": {func(t *testing.T, path string) {
			if err := os.Remove(path + "-wal"); err != nil {
				t.Fatal(err)
			}
		}, "usance.db-wal, was removed or replaced under the server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "data", "usance.db")
			var log told
			s, err := sqlite.Open(t.Context(), path, sqlite.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := errors.Join(add(t, s), s.Ping(t.Context())); err != nil {
				t.Fatal(err)
			}
			c.gone(t, path)
			// A writer finds it by itself, without being asked.
			for deadline := time.Now().Add(2 * time.Minute); err == nil; err = add(t, s) {
				if time.Now().After(deadline) {
					t.Fatal("the file is written on")
				}
			}
			for _, err := range []error{err, add(t, s), s.Ping(t.Context())} {
				if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want UNAVAILABLE … %s", err, c.want)
				}
			}
			if name == "moved and back" {
				move(t, path+".away", path)
				if err := add(t, s); usance.ErrorCode(err) != usance.CodeUnavailable {
					t.Errorf("when it has come back: %v", err)
				}
			}
			if got := strings.Count(log.String(), "level=ERROR"); got != 1 {
				t.Errorf("told %d times:\n%s", got, log.String())
			}
			err = s.View(t.Context(), func(v usance.View) error { t.Error("another file may be read"); return nil })
			if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), c.want) {
				t.Errorf("reading: %v, want UNAVAILABLE … %s", err, c.want)
			}
			if name == "removed" {
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("another file was made in the place: %v", err)
				}
			}
		})
	}
}

// Whoever asks is told at once, before anybody writes.
func TestPingLooksForTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	if err := errors.Join(add(t, s), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("Ping: %v", err)
	}
}

// A log that was removed is not lost by an orderly stop.
func TestRemovedLogIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	for range 3 {
		if err := add(t, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("it is not noticed")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := tail(t, openAt(t, path)); n != 3 {
		t.Errorf("%d events after a stop and a start, want 3", n)
	}
}

// Another that serves what was put in the place is not harmed by the end of the
// one that has the former file.
func TestEndOfTheFormerHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "usance.db")
	old := openAt(t, path)
	if err := errors.Join(add(t, old), os.Rename(filepath.Dir(path), filepath.Dir(path)+".before")); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path)
	if err := errors.Join(add(t, s), add(t, s), old.Close(), s.Ping(t.Context()), add(t, s)); err != nil {
		t.Fatal(err)
	}
	if n := tail(t, s); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	if n := tail(t, openAt(t, filepath.Join(filepath.Dir(path)+".before", "usance.db"))); n != 1 {
		t.Errorf("%d events in the former file, want 1", n)
	}
}

// By a link too.
func TestFileThatIsGoneByALink(t *testing.T) {
	t.Parallel()
	path, link := filepath.Join(t.TempDir(), "usance.db"), filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, link)
	if err := errors.Join(add(t, s), s.Ping(t.Context())); err != nil {
		t.Fatal(err)
	}
	if s.Log().Bytes == 0 {
		t.Error("the log of a file named by a link is not found")
	}
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("Ping: %v", err)
	}
}

// What looks at the whole file opens no other one either, which would make an
// empty database where the file was and remove the log that is beside it.
func TestChecksOfAFileThatIsGone(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(*sqlite.Store) error{
		"schema": func(s *sqlite.Store) error { _, err := s.CheckSchema(t.Context()); return err },
		"file":   func(s *sqlite.Store) error { return s.Check(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "usance.db")
			s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if err := add(t, s); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			if err := s.Ping(t.Context()); usance.ErrorCode(err) != usance.CodeUnavailable { // which looks at once
				t.Fatal(err)
			}
			if err := ask(s); usance.ErrorCode(err) != usance.CodeUnavailable {
				t.Errorf("while the file is away: %v", err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("another file was made: %v", err)
			}
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = sqlite.Open(t.Context(), path, sqlite.Options{}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if n := tail(t, s); n != 5 {
				t.Errorf("%d of 5 events are left", n)
			}
		})
	}
}
