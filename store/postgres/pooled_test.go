package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
	"github.com/usance/usance/store/storetest"
)

func openPooled(t *testing.T, url, pooled string, o postgres.Options) *postgres.Store {
	t.Helper()
	o.Pooled = pooled
	s, err := postgres.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// By a pooler that gives each transaction another session, it is the same store.
func TestStorePooled(t *testing.T) {
	t.Parallel()
	b := pgtest.Pool(t)
	storetest.Run(t, func(t *testing.T) usance.Store {
		url := pgtest.URL(t)
		return openPooled(t, url, b.URL(url), postgres.Options{})
	})
}

// Migrations go by the direct URL; what the URLs set for sessions holds in each
// transaction, whatever session it gets.
func TestPooledSettings(t *testing.T) {
	t.Parallel()
	b := pgtest.Pool(t)
	url := pgtest.EmptyURL(t)
	pooled := b.URL(url) + "&statement_timeout=7s"
	exec(t, url, `CREATE SCHEMA apart; CREATE SCHEMA "it's"`)
	s := openPooled(t, url+"&search_path=apart,it's&lock_timeout=3s&statement_timeout=5s", pooled, postgres.Options{Conns: 4})
	must(t, s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return putBrand(t.Context(), tx, "b") }))
	// In the schema of the URL it was made, and written to.
	exec(t, url, `INSERT INTO apart.brands SELECT 'c', name, created_at, updated_at FROM apart.brands WHERE id = 'b'`)
	for name, want := range map[string]string{"statement_timeout": "7s", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "1min",
		"timezone": "UTC", "search_path": `apart, "it's"`, "application_name": "usance", "client_connection_check_interval": "1s"} {
		got, err := s.Setting(t.Context(), name)
		if must(t, err); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}

	// Nothing of it stays in the sessions, which others get too.
	c, err := pgx.Connect(t.Context(), b.URL(url)+"&default_query_exec_mode=simple_protocol")
	must(t, err)
	defer c.Close(t.Context())
	for range 20 {
		var got string
		if must(t, c.QueryRow(t.Context(), `SHOW lock_timeout`).Scan(&got)); got != "0" {
			t.Fatalf("lock_timeout of a stranger is %s", got)
		}
	}

	_, err = postgres.Open(t.Context(), url, postgres.Options{Pooled: b.URL(url) + "&options=-clock_timeout%3D1s"})
	if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "options") {
		t.Errorf("options: %v", err)
	}
}

func TestPooledElsewhere(t *testing.T) {
	t.Parallel()
	b := pgtest.Pool(t)
	one, other := pgtest.URL(t), pgtest.URL(t)
	_, err := postgres.Open(t.Context(), one, postgres.Options{Pooled: b.URL(other)})
	if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "another database") {
		t.Errorf("another database: %v", err)
	}
	_, err = postgres.Open(t.Context(), one, postgres.Options{Pooled: b.URL(one) + "&search_path=pg_catalog"})
	if usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "other tables") {
		t.Errorf("another schema: %v", err)
	}
	b.Kill()
	_, err = postgres.Open(t.Context(), one, postgres.Options{Pooled: b.URL(one) + "&password=s3cret"})
	if !postgres.IsNotUp(err) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a pooler that is not up: %v", err)
	}
}

// Whoever waits for a session of the pooler may leave; whom the pooler lets go is
// told so at once, and does not wait again.
func TestPoolerWithoutASession(t *testing.T) {
	t.Parallel()
	b := pgtest.Pool(t, "default_pool_size = 1", "query_wait_timeout = 2")
	url := pgtest.URL(t)
	s := openPooled(t, url, b.URL(url), postgres.Options{Conns: 4})
	look := func(usance.View) error { return nil }
	end := held(t, s, usance.Locks{}, nothing)

	for what, wait := range map[string]func(context.Context) error{
		"a view":    func(ctx context.Context) error { return s.View(ctx, look) },
		"an update": func(ctx context.Context) error { return s.Update(ctx, usance.Locks{}, nothing) },
		"a locker":  func(ctx context.Context) error { return s.Update(ctx, usance.Locks{Shared: []string{"l"}}, nothing) },
	} {
		// How long it took tells of the machine too; whom the pooler let go, its log does.
		letGo := b.Closed("query_wait_timeout")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := wait(ctx)
		cancel()
		if n := b.Closed("query_wait_timeout") - letGo; !errors.Is(err, context.DeadlineExceeded) || n > 0 {
			t.Errorf("%s that leaves: %v, let go %d times", what, err, n)
		}
		err = wait(t.Context())
		// The pooler lets go of it once, and of the one that left, which it notices only then.
		if n := b.Closed("query_wait_timeout") - letGo; usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "the pooler had no connection") || n < 1 || n > 2 {
			t.Errorf("%s that stays: %v, let go %d times", what, err, n)
		}
	}
	must(t, end(nil))
	must(t, s.View(t.Context(), look))
	must(t, s.Update(t.Context(), usance.Locks{}, nothing))
}

func exec(t *testing.T, url, statements string) {
	t.Helper()
	_, err := raw(t, url).PgConn().Exec(t.Context(), statements).ReadAll()
	must(t, err)
}

// fill lets every connection of the store's pool be made.
func fill(t *testing.T, s usance.Store, conns int) {
	t.Helper()
	var all, done sync.WaitGroup
	all.Add(conns)
	for range conns {
		done.Go(func() {
			err := s.View(t.Context(), func(v usance.View) error {
				_, err := v.Version(t.Context(), "l")
				all.Done()
				all.Wait()
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}

// After a restart of what they lead to, every connection of the pool is broken.
// Nobody is told so who asks afterwards.
func TestBrokenConnectionsCostNothing(t *testing.T) {
	t.Parallel()
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprint("pooled ", pooled), func(t *testing.T) {
			t.Parallel()
			pg := pgtest.Start(t)
			url, err := pg.Database(t.Context())
			must(t, err)
			const conns = 16
			var s *postgres.Store
			var restarts []func()
			restarts = append(restarts, func() { must(t, pg.Kill()); must(t, pg.Restart(t.Context())) })
			if pooled {
				b := pg.Pool(t)
				s = openPooled(t, url, b.URL(url), postgres.Options{Conns: conns})
				direct := restarts[0]
				restarts[0] = func() {
					direct()
					reach(t, b.URL(url)) // the pooler that tried meanwhile refuses everybody for a second
				}
				restarts = append(restarts, func() { b.Kill(); b.Restart() })
			} else {
				s = open(t, url)
			}
			for i, restart := range restarts {
				for _, kind := range []string{"reads", "writes"} {
					fillSome(t, s, conns, pooled)
					restart()
					for n := range 2 * conns {
						var err error
						if kind == "reads" {
							err = s.Ping(t.Context())
						} else {
							err = s.Update(t.Context(), usance.Locks{Shared: []string{"l"}}, func(tx usance.Tx) error { return putBrand(t.Context(), tx, "b") })
						}
						if err != nil {
							t.Errorf("restart %d, %s: number %d fails: %v", i, kind, n, err)
						}
					}
				}
			}
		})
	}
}

// reach waits until a new connection finds the database.
func reach(t *testing.T, url string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := postgres.Connect(t.Context(), url)
		if err == nil {
			err = errors.Join(c.Ping(t.Context()), c.Close(t.Context()))
		}
		if err == nil {
			return
		}
		if time.Since(begin) > time.Minute {
			t.Fatal(err)
		}
	}
}

// fillSome is fill; a pooler lets fewer transactions run at once than it has
// clients, so that they are held up by the server's own sleep instead.
func fillSome(t *testing.T, s *postgres.Store, conns int, pooled bool) {
	t.Helper()
	if !pooled {
		fill(t, s, conns)
		return
	}
	var done sync.WaitGroup
	var failed atomic.Int64
	for range conns {
		done.Go(func() {
			for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
				if s.Ping(context.WithoutCancel(t.Context())) != nil {
					failed.Add(1)
				}
			}
		})
	}
	done.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d pings failed", n)
	}
}
