package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/usance/usance"
)

// A file that is removed, or another put in its place, while it is open is
// written on unseen: what is committed into it ends with the process, and a
// connection opened then reads another. So it is looked at whether the database
// file and its log are still those that stand at their names, once in lookEach
// of use and whenever a connection is opened. Once they are not, nothing is
// written or read any more, even if they come back: others may have opened them
// meanwhile.
const lookEach = time.Second

// held are the files that have to stay where they are.
type held struct {
	file *os.File // the database's
	log  *os.File // its write-ahead log; nil when there is none
	// next is when to look again: nanoseconds since opened.
	opened time.Time
	next   atomic.Int64
	gone   atomic.Pointer[usance.Error]
}

// hold opens the write-ahead log beside the database, to look after both.
// SQLite keeps the one log for as long as a connection is open, and has no
// locks on it that closing it again could drop.
func (s *Store) hold() error {
	log, err := os.Open(s.logPath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return unavailable(err, "the log beside the database file cannot be opened; check its permissions")
	}
	if err == nil {
		s.held.log = log
	}
	return nil
}

// inPlace refuses to use files that are gone. It looks at them when the last
// look is a while ago.
func (s *Store) inPlace(ctx context.Context) error {
	h := &s.held
	now, next := int64(time.Since(h.opened)), h.next.Load()
	if now < next || !h.next.CompareAndSwap(next, now+int64(lookEach)) {
		return h.known()
	}
	return s.look(ctx)
}

// known is what the last look found.
func (h *held) known() error {
	if gone := h.gone.Load(); gone != nil {
		return gone
	}
	return nil
}

// look looks at the files now, and tells the log of them once.
func (s *Store) look(ctx context.Context) error {
	h := &s.held
	if h.gone.Load() != nil {
		return h.known()
	}
	var found *usance.Error
	switch {
	case moved(h.file):
		found = usance.NewError(usance.CodeUnavailable,
			"the database file was removed or replaced under the server, and is not used any more; restart it with the file it is to have, and let senders send the last seconds again")
	case h.log != nil && moved(h.log):
		found = usance.NewError(usance.CodeUnavailable,
			"the database's log, %s, was removed or replaced under the server, and the database is not used any more; stop the server, which moves what the log holds into the database file, put the file in place if it is to be another, and start it", filepath.Base(s.logPath))
	default:
		return nil
	}
	if h.gone.CompareAndSwap(nil, found) {
		s.logger.ErrorContext(ctx, "the database is not where it was opened any more, and is not used", "database", s.path, "error", found)
	}
	return h.known()
}

// moved tells whether another file, or none, bears the name by which f was
// opened. What cannot be looked at is taken to be where it was.
func moved(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Stat(f.Name())
	if err != nil {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
	}
	return !os.SameFile(open, at)
}

func (h *held) close() {
	if h.log != nil {
		h.log.Close()
	}
}
