package api

import (
	"errors"
	"io"
	"os"
	"sync"
)

// spool holds the answers to a stream until the client reads them. Many clients
// send a whole body before they read anything: were the answers to wait for
// them, neither side would move. Beyond its memory they go to a file without a
// name, which ends with the process.
type spool struct {
	mu      sync.Mutex
	more    *sync.Cond
	memory  []byte // what is held while there is no file, from offset read on
	file    *os.File
	read    int64
	written int64
	closed  bool
	err     error
}

// Bounds of a spool: what it holds in memory, and what a client may leave unread.
const (
	spoolMemory = 1 << 20
	spoolBound  = 1 << 30
)

func newSpool() *spool {
	s := new(spool)
	s.more = sync.NewCond(&s.mu)
	return s
}

// Write takes answers; it waits for nobody.
func (s *spool) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.written-s.read+int64(len(b)) > spoolBound {
		s.err = errors.New("the client leaves too many answers unread")
		return 0, s.err
	}
	if s.file == nil && len(s.memory)+len(b) > spoolMemory {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		s.memory = append(s.memory, b...)
	} else if _, err := s.file.WriteAt(b, s.written); err != nil {
		s.err = err
		return 0, err
	}
	s.written += int64(len(b))
	s.more.Signal()
	return len(b), nil
}

// spill moves what is held in memory to a file.
func (s *spool) spill() error {
	f, err := os.CreateTemp("", "usance-answers-")
	if err == nil {
		_, err = f.WriteAt(s.memory, s.read)
		err = errors.Join(err, os.Remove(f.Name()))
	}
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		s.err = err
		return err
	}
	s.file, s.memory = f, nil
	return nil
}

// Read gives answers in order, waiting for more until the spool is closed.
func (s *spool) Read(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.read == s.written && !s.closed && s.err == nil {
		s.more.Wait()
	}
	switch {
	case s.err != nil:
		return 0, s.err
	case s.read == s.written:
		return 0, io.EOF
	case s.file == nil:
		n = copy(b, s.memory)
		s.memory = append(s.memory[:0], s.memory[n:]...)
	default:
		n, err = s.file.ReadAt(b[:min(int64(len(b)), s.written-s.read)], s.read)
	}
	s.read += int64(n)
	if s.file != nil && s.read == s.written && err == nil {
		// All is read: the file begins anew, else a long stream would fill the disk.
		s.read, s.written = 0, 0
		err = s.file.Truncate(0)
	}
	return n, err
}

// Close says that no more answers come; those held can still be read.
func (s *spool) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.more.Signal()
}

// abandon ends both sides at once: the client is gone.
func (s *spool) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.more.Signal()
}

// free gives the file back.
func (s *spool) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close()
	}
}
