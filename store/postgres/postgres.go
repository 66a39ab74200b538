// Package postgres keeps everything in a PostgreSQL database, which several
// nodes may share.
//
// A transaction first takes the locks of its licences' groups (advisory locks,
// shared or exclusive), in ascending order, and runs at READ COMMITTED: each of
// its statements sees what was committed before it began, so that what is read
// after a lock was taken is what the lock guards. What must be read at one
// instant is read by one statement. A View is one snapshot (REPEATABLE READ,
// read only).
//
// Rows that several transactions write are locked in the order of their keys,
// so that none waits for another in a circle; the deadlocks and serialization
// failures that are left run the transaction again.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usance/usance"
	"github.com/usance/usance/store/recent"
	"github.com/usance/usance/store/snapshot"
)

// Options are the settings of a Store; zero fields take the defaults named.
type Options struct {
	// Conns is how many transactions and Views can run at once; 16, or what the
	// URL says by pool_max_conns.
	Conns int
	// Pooled is the URL of a pooler in front of the database, such as PgBouncer,
	// that may give each transaction another session. All work goes by it, but
	// for what needs a session of its own: migrations.
	Pooled string
	// LeaveSchema opens the database as it is, without migrating it, whatever lacks.
	LeaveSchema bool
	// CurrentSchema refuses a database whose schema is older than the program's; one
	// that is left as it is too, unless nothing tells what it is.
	CurrentSchema bool
	// Volatile lets commits return before they are on the disk: for data that is
	// made anew in seconds.
	Volatile bool
	// Moving opens a database that another store is being moved into, which is
	// refused otherwise.
	Moving bool
}

// Store is a usance.Store in a PostgreSQL database. Its methods may be called
// at once from many goroutines.
type Store struct {
	pool   *pgxpool.Pool
	direct *pgxpool.Pool // for what needs a session; the same as pool without a pooler
	pooled bool          // a session must be waited for even when a connection is there
	local  string        // statements that set for a transaction what its session lacks
	closed atomic.Bool
	facts  keptFacts
	keys   recent.Version // of all keys
	shards *shards        // where Citus distributes the licences; nil elsewhere
}

var _ usance.Store = (*Store)(nil)

const (
	// maxRuns bounds how often Update runs its function before it gives up.
	maxRuns = 10
	// finishing is how long the end of a transaction may take, whatever became
	// of the caller.
	finishing = 30 * time.Second
	// stale bounds how long a connection that was broken before takes to say so.
	// What breaks later was whole when it was asked: somebody let it wait in vain.
	stale = time.Second
)

// sessionSettings hold for every connection, unless the URL says otherwise.
// Whoever waits for a lock, or stands within a transaction without doing
// anything, holds up others: there is an end to both.
var sessionSettings = map[string]string{
	"application_name":                    "usance",
	"timezone":                            "UTC",
	"statement_timeout":                   "300s",
	"lock_timeout":                        "30s",
	"idle_in_transaction_session_timeout": "60s",
	// A statement whose client has gone ends instead of waiting for its lock.
	"client_connection_check_interval": "1s",
	// Plans that look dear are carried out in milliseconds, of which to compile
	// them takes fifty.
	"jit": "off",
}

// Open connects to the database at the URL (postgres://user:password@host/name,
// or a list of key=value) and brings its schema up to date.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	config, err := parse(url)
	if err != nil {
		return nil, err
	}
	settings := config.ConnConfig.RuntimeParams
	if o.Volatile {
		settings["synchronous_commit"] = "off"
	}
	setDefaults(settings, sessionSettings)
	s := new(Store)
	if o.Pooled == "" {
		if s.pool, err = s.newPool(ctx, config, url, o); err != nil {
			return nil, err
		}
		s.direct = s.pool
	} else if err = s.openPooled(ctx, config, o); err != nil {
		return nil, err
	}
	err = s.Migrations().Check(ctx, o.LeaveSchema, o.CurrentSchema)
	if err == nil && !o.Moving {
		err = s.whole(ctx)
	}
	if err == nil && o.Pooled != "" {
		err = s.sameDatabase(ctx)
	}
	if err == nil {
		err = s.findShards(ctx)
	}
	if err == nil {
		err = s.findStamps(ctx)
	}
	if err == nil && !o.LeaveSchema {
		var faults []usance.SchemaFault
		if faults, err = s.CheckSchema(ctx); err == nil {
			err = usance.RequireUnique(faults)
		}
	}
	if err != nil {
		_ = s.Close() // never fails
		return nil, err
	}
	return s, nil
}

// newPool makes a pool of connections, which are made when they are needed.
func (s *Store) newPool(ctx context.Context, config *pgxpool.Config, url string, o Options) (*pgxpool.Pool, error) {
	switch {
	case o.Conns > 0:
		config.MaxConns = int32(o.Conns)
	case !strings.Contains(url, "pool_max_conns"):
		config.MaxConns = 16
	}
	config.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		registerTypes(c)
		s.facts.clear()
		return nil
	}
	p, err := pgxpool.NewWithConfig(ctx, config)
	return p, failure(ctx, err)
}

// MoveTable is there while another store is moved into the database.
const MoveTable = "usance_move"

// whole refuses a database into which a move has begun and not ended.
func (s *Store) whole(ctx context.Context) error {
	var moving bool
	if err := s.direct.QueryRow(ctx, `SELECT to_regclass('`+MoveTable+`') IS NOT NULL`).Scan(&moving); err != nil {
		return failure(ctx, err)
	}
	if moving {
		return usance.NewError(usance.CodeUnavailable, "a move into the database has begun and not ended: run usance move again, or throw what it brought away with: usance move --anew")
	}
	return nil
}

// Close waits for what is under way and closes the connections.
func (s *Store) Close() error {
	if !s.closed.Swap(true) {
		s.pool.Close()
		s.direct.Close()
	}
	return nil
}

// Ping tells whether the database can be read.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(v *view) error {
		var n int64
		if _, err := v.one(ctx, `SELECT count(*) FROM api_keys_version`, nil, &n); err != nil {
			return err
		}
		return v.keyed(ctx)
	})
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
	for dead := 0; ; dead++ {
		begun, err := s.viewOnce(ctx, fn)
		if begun || err == nil || s.isLast(dead) || ctx.Err() != nil {
			return err
		}
	}
}

// isLast tells whether the connection that turned out to be broken, after so
// many others, was none of those that the pool kept: a restart of PostgreSQL or
// of a pooler breaks all of them at once, and a new one tells how things stand.
func (s *Store) isLast(dead int) bool { return dead >= int(s.pool.Config().MaxConns) }

// viewOnce runs fn unless the connection turns out to be broken from before;
// begun is false then, and another one may do.
func (s *Store) viewOnce(ctx context.Context, fn func(*view) error) (begun bool, err error) {
	c, err := s.take(ctx)
	if err != nil {
		return true, err
	}
	defer c.end()
	touch := ""
	if s.shards != nil {
		touch = s.shards.touch
	}
	if wasBroken, err := c.begin(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"+s.local, touch); err != nil {
		return !wasBroken, err
	}
	v := &view{c}
	if err := v.sameShards(ctx); err != nil {
		return true, err
	}
	return true, fn(v)
}

// Update carries out one transaction.
func (s *Store) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.update(ctx, locks, func(t *tx) error { return fn(t) })
}

// inKeyOrder has joins with arrays go through these in their order, which is that
// of keys, each by the index: as they would where there are many rows. Rows are
// then locked in one order by all transactions that count.
const inKeyOrder = "; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"

func (s *Store) update(ctx context.Context, locks usance.Locks, fn func(*tx) error) error {
	first := lockStatement(locks)
	if len(locks.Shared) > 0 {
		first = inKeyOrder + first
	}
	if locks.Lazy {
		first = "; SET LOCAL synchronous_commit = off" + first
	}
	for run, dead := 1, 0; ; run++ {
		begun, again, err := s.updateOnce(ctx, first, fn)
		if !again {
			return err
		}
		if !begun && !s.isLast(dead) {
			dead, run = dead+1, run-1
			continue
		}
		if run == maxRuns {
			return unavailable(err, "the transaction met others %d times; try again", run)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(run*run) * time.Millisecond):
		}
	}
}

// updateOnce runs fn once, after the first statements. begun is false when the
// connection turned out to be broken from before; again says that nothing was
// changed and another run may do better.
func (s *Store) updateOnce(ctx context.Context, first string, fn func(*tx) error) (begun, again bool, err error) {
	c, err := s.take(ctx)
	if err != nil {
		return false, false, err
	}
	defer c.end() // also when fn panics
	t := &tx{view: view{c}, facts: &s.facts}
	wasBroken, err := c.begin(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"+s.local, first)
	begun = !wasBroken
	if err != nil && c.IsClosed() && begun {
		return begun, false, err // it waited, for a lock or for a session, and would wait again
	}
	if err == nil {
		err = t.sameShards(ctx)
	}
	if err == nil {
		err = fn(t)
	}
	if err == nil {
		err = c.err
	}
	if err == nil {
		err = t.countReceived(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// It met another one, or the connection broke before the commit.
		again = errors.Is(err, usance.ErrRetry) || isConflict(err) || isConflict(c.err) || c.IsClosed()
		return begun, again && ctx.Err() == nil, err
	}
	err = c.commit()
	if t.keysChanged {
		s.keys.Changed() // perhaps also when nobody knows whether it was committed
	}
	return begun, isConflict(err), err
}

// Secret gives the store's random bytes of that name.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	const read = `SELECT value FROM secrets WHERE name = $1`
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
	err = s.update(ctx, usance.Locks{}, func(t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, fresh); err != nil {
			return err
		}
		found, err := t.one(ctx, read, []any{name}, &value)
		if err == nil && !found {
			err = errors.New("postgres: a secret that was written is not there")
		}
		return err
	})
	return value, err
}
