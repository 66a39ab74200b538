// Package sqlite keeps everything in one SQLite file: the store of a laptop, a
// test and a small server. It needs nothing installed and nothing configured.
//
// One connection writes, each transaction taken with BEGIN IMMEDIATE, so that
// writers stand in line in Go rather than fail in SQLite; that line is also the
// lock that the storage contract speaks of, so the licences of Locks are not looked at. Other
// connections read, each View being one read transaction, that is one snapshot
// of the write-ahead log. A commit is on the disk when Update returns
// (synchronous=FULL).
//
// A process holds the file for itself by a lock beside it, yet other programs,
// such as the sqlite3 shell, can read and change it meanwhile: what they write
// counts from the next transaction on.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"

	"github.com/usance/usance"
	"github.com/usance/usance/store/recent"
	"github.com/usance/usance/store/snapshot"
)

// Options are the settings of a Store; zero fields take the defaults named.
type Options struct {
	// Readers is how many Views can run at once; 4.
	Readers int
	// LeaveSchema opens the file as it is, without migrating it, whatever lacks.
	LeaveSchema bool
	// CurrentSchema refuses a file whose schema is older than the program's; one
	// that is left as it is too, unless nothing tells what it is.
	CurrentSchema bool
	// Volatile gives up durability for speed: for tests, and for data that is made
	// anew in seconds.
	Volatile bool
	// Logger is told when the write-ahead log cannot be copied, and when it can
	// again, and when the file is not where it was any more; nobody is.
	Logger *slog.Logger
}

// Store is a usance.Store in one SQLite file. Its methods may be called at once
// from many goroutines.
type Store struct {
	db   *sql.DB
	lock *fileLock
	file *os.File // the database's, to be synced: closed last, since that drops all locks which SQLite has on it
	// synchronous is how commits wait for the disk, those that are not lazy.
	synchronous string
	writer      chan *conn // holds the one connection that writes, while nobody uses it
	readers     chan *conn // holds idle ones; a nil one is opened when taken
	path        string
	logPath     string // of the write-ahead log, which lies beside the file that links lead to
	held        held
	logger      *slog.Logger
	keys        recent.Version // of all keys
	others      others
	failures    atomic.Int64  // of copying the log
	log         atomic.Int64  // pages written and not copied into the file, about
	logPages    int64         // of them from which on they are copied
	long        chan struct{} // told when the log is long
	copied      chan struct{} // closed when nothing copies it any more
	closed      chan struct{}
	closing     sync.Once
	failed      error // what Close said
}

var _ usance.Store = (*Store)(nil)

// maxRuns bounds how often Update runs its function before it gives up, and
// maxHeld for how long a file that another program holds is waited for, by all who
// stand in line together: whoever waits for longer is served better by an error,
// and /readyz by knowing of it. They wait anew once nobody has asked for as long as heldAnew.
const (
	maxRuns  = 10
	maxHeld  = 5500 * time.Millisecond // three times busy_timeout, about
	heldAnew = 5 * time.Second
)

// Open opens the file, making it and its folder when they do not exist, and
// brings its schema up to date. It fails when another process has it open.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, unavailable(err, "the path of the database file cannot be resolved")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, unavailable(err, "the data folder cannot be made; check USANCE_DATA_DIR and its permissions")
	}
	// Before anything touches the file: to close it again would drop the locks
	// that SQLite has on it, were it open in this process.
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	var file *os.File
	if err = onlyName(path); err == nil {
		file, err = openFile(path)
	}
	if err != nil {
		lock.release()
		return nil, err
	}
	// The file itself too: somebody may have removed the other one, or the folder's
	// name may lead to it by another way. SQLite's locks are of another kind. (To close
	// it drops those, were the holder this very process: which would have to remove the
	// other file first.)
	if err := lockOpen(file, nil); err != nil {
		file.Close()
		lock.release()
		return nil, err
	}
	links, err := target(path)
	if err != nil {
		file.Close()
		lock.release()
		return nil, unavailable(err, "the folder of the database file cannot be found; make it, or mend the symbolic link that leads there")
	}
	s := &Store{
		lock:    lock,
		file:    file,
		path:    path,
		logPath: links + "-wal",
		held:    held{file: file, opened: time.Now()},
		logger:  o.Logger,
		keys:    recent.Version{Keep: shellWait},
		writer:  make(chan *conn, 1),
		readers: make(chan *conn, o.Readers),
		long:    make(chan struct{}, 1),

		logPages: logPages,
		copied:   make(chan struct{}),
		closed:   make(chan struct{}),

		synchronous: "FULL",
	}
	if o.Volatile {
		s.synchronous = "OFF"
	}
	// As durable, and half the wait: it leaves out the file's timestamps.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		s.letGo()
		return nil, failure(err)
	}
	if s.db, err = sql.Open("sqlite", dsn(path, s.synchronous)); err != nil {
		s.letGo()
		return nil, failure(err)
	}
	// Connections are counted here, by the two channels.
	s.db.SetMaxIdleConns(0)
	if err := s.start(ctx, o); err != nil {
		s.db.Close()
		s.letGo()
		return nil, err
	}
	return s, nil
}

// letGo ends what was opened before the database.
func (s *Store) letGo() {
	s.held.close()
	unlock(s.file)
	s.file.Close()
	s.lock.release()
}

// The page caches of connections. The writer's holds the pages that one large
// transaction touches, two indexes' for each event. They take twice the memory
// that is named, since the allocator rounds a page and its header up.
const (
	writerCache = "PRAGMA cache_size = -40000" // KB
	readerCache = "PRAGMA cache_size = -2000"
)

func (s *Store) start(ctx context.Context, o Options) error {
	if err := s.Migrations().Check(ctx, o.LeaveSchema, o.CurrentSchema); err != nil {
		return err
	}
	if !o.LeaveSchema {
		faults, err := s.compareSchema(ctx, s.db)
		if err == nil {
			err = usance.RequireUnique(faults)
		}
		if err != nil {
			return err
		}
	}
	c, err := s.connect(ctx, writerCache)
	if err != nil {
		return err
	}
	copier, err := s.connect(ctx, readerCache)
	if err != nil {
		return errors.Join(err, c.close())
	}
	if err := s.hold(); err != nil {
		return errors.Join(err, copier.close(), c.close())
	}
	go s.copyLogs(context.WithoutCancel(ctx), copier)
	s.writer <- c
	for range o.Readers {
		s.readers <- nil
	}
	return nil
}

// openFile makes the file, when it is not there, readable by nobody else; SQLite
// gives its mode to those that it puts beside it.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unavailable(err, "the database file cannot be opened for writing; check its path and permissions")
	}
	return f, nil
}

func dsn(path, synchronous string) string {
	q := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(2000)",
			"journal_mode(WAL)",
			"synchronous(" + synchronous + ")",
			"foreign_keys(ON)",
			"temp_store(MEMORY)",
			"mmap_size(0)",
			"wal_autocheckpoint(0)", // copyLogs does it
			"journal_size_limit(67108864)",
		},
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	return u.String()
}

// Close waits for what is under way and closes the file.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		var errs []error
		<-s.copied
		// The writer last: the last connection to close moves the log into the file.
		for _, pool := range []chan *conn{s.readers, s.writer} {
			for range cap(pool) {
				if c := <-pool; c != nil {
					errs = append(errs, c.close())
				}
			}
		}
		s.failed = errors.Join(append(errs, s.db.Close())...)
		s.letGo()
	})
	return s.failed
}

// Shards is one: a file has all licences.
func (*Store) Shards() usance.Shards { return usance.OneShard() }

// Ping tells whether the file can be read, and is still where it was opened.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	return s.view(ctx, func(v *view) error {
		var n, keyed int64
		_, err := v.one(ctx, `SELECT count(*), (SELECT count(*) FROM pragma_index_list('license_usage_events') WHERE name = 'license_usage_events_key' AND "unique")
			FROM api_keys_version`, nil, &n, &keyed)
		if err == nil && keyed == 0 {
			err = unavailable(usance.ErrKeyIndex, "the unique index license_usage_events_key is missing: retries would be counted again; usance check says how it is made")
		}
		return err
	})
}

// take waits for a connection of the pool and opens it when it is none yet.
func (s *Store) take(ctx context.Context, pool chan *conn) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-s.closed:
		return nil, errClosed()
	default:
	}
	select {
	case <-s.closed:
		return nil, errClosed()
	case <-ctx.Done():
		return nil, ctx.Err()
	case c := <-pool:
		if c != nil {
			return c, nil
		}
		cache := readerCache
		if pool == s.writer {
			cache = writerCache
		}
		c, err := s.connect(ctx, cache)
		if err != nil {
			pool <- nil
			return nil, err
		}
		return c, nil
	}
}

func errClosed() error {
	return usance.NewError(usance.CodeUnavailable, "the store is closed")
}

// end rolls back what is left of a transaction and gives the connection back;
// one that cannot be rolled back is replaced by another when it is next needed.
func (s *Store) end(c *conn, pool chan *conn) {
	if !c.rollback() {
		c.close()
		c = nil
	}
	pool <- c
}

// View gives fn one snapshot of everything.
func (s *Store) View(ctx context.Context, fn func(usance.View) error) error {
	return s.view(ctx, func(v *view) error { return fn(v) })
}

// Together gives fn a context whose views are one.
func (s *Store) Together(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.view(ctx, func(v *view) error { return snapshot.With(ctx, s, v, fn) })
}

func (s *Store) view(ctx context.Context, fn func(*view) error) error {
	if v := snapshot.Of[view](ctx, s); v != nil {
		return fn(v)
	}
	c, err := s.take(ctx, s.readers)
	if err != nil {
		return err
	}
	defer s.end(c, s.readers)
	if err := s.inPlace(ctx); err != nil {
		return err
	}
	if err := c.begin(ctx, "BEGIN"); err != nil {
		return err
	}
	return fn(&view{c})
}

// Update carries out one transaction. Whoever comes while another one runs
// waits for it, or for the end of ctx.
func (s *Store) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.run(ctx, locks.Lazy, func(t *tx) error { return fn(t) })
}

func (s *Store) update(ctx context.Context, fn func(*tx) error) error { return s.run(ctx, false, fn) }

func (s *Store) run(ctx context.Context, lazy bool, fn func(*tx) error) error {
	for run := 1; ; run++ {
		err := s.updateOnce(ctx, lazy, fn)
		if err == nil || !errors.Is(err, usance.ErrRetry) && !isBusy(err) {
			return err
		}
		if isBusy(err) && s.others.tooLong() {
			return err
		}
		if run == maxRuns {
			return unavailable(err, "the transaction met others %d times; try again", run)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(run) * time.Millisecond):
		}
	}
}

func (s *Store) updateOnce(ctx context.Context, lazy bool, fn func(*tx) error) error {
	c, err := s.take(ctx, s.writer)
	if err != nil {
		return err
	}
	defer s.end(c, s.writer) // also when fn panics
	if err := s.inPlace(ctx); err != nil {
		return err
	}
	if err := c.sync(ctx, lazy); err != nil {
		return err
	}
	asked := time.Now()
	begin := func() error { return c.begin(ctx, "BEGIN IMMEDIATE") }
	if s.others.tooLong() {
		err = c.briefly(ctx, begin)
	} else {
		err = begin()
	}
	s.others.met(isBusy(err), asked)
	if err != nil {
		return err
	}
	t := &tx{view: view{c}}
	committed := false
	defer func() {
		if !committed {
			t.forget()
		}
	}()
	if err := c.cache.refresh(ctx, &t.view); err != nil {
		return err
	}
	if err := fn(t); err != nil {
		return err
	}
	if t.err != nil {
		return t.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = c.commit()
	committed = err == nil
	if t.keysChanged {
		s.keys.Changed()
	}
	s.lengthen(c)
	return err
}

// Secret gives the store's random bytes of that name.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	const read = `SELECT value FROM secrets WHERE name = ?`
	var value []byte
	var found bool
	err := s.view(ctx, func(v *view) (err error) {
		found, err = v.one(ctx, read, []any{name}, &value)
		return err
	})
	if err != nil || found {
		return value, err
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("making the secret %s: %w", name, err)
	}
	err = s.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, name, fresh); err != nil {
			return err
		}
		_, err := t.one(ctx, read, []any{name}, &value)
		return err
	})
	return value, err
}
