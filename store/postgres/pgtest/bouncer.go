package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usance/usance/store/postgres"
)

// Bouncer is a PgBouncer of one test, in transaction mode and with its defaults
// but for those that keep tests waiting. It has fewer connections than its
// clients, so that transactions of one client meet other sessions.
type Bouncer struct {
	t       testing.TB
	folder  string
	life    *os.File
	watcher *exec.Cmd
	pid     int
}

// bounce runs the pooler until its standard input ends, as watch does.
const bounce = `
folder=$1; shift
"$@" >>"$folder/log" 2>&1 &
pid=$!
echo $pid >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
cat >/dev/null
kill -KILL $pid 2>/dev/null
wait $pid
[ -e "$folder/again" ] || rm -rf "$folder"
`

const bouncerSettings = `
[databases]
* = host=%s

[pgbouncer]
listen_addr =
unix_socket_dir = %s
listen_port = 6432
auth_type = trust
auth_file = %[2]s/users
pool_mode = transaction
default_pool_size = 6
max_client_conn = 500
server_login_retry = 1
query_wait_timeout = 20
server_idle_timeout = 5
admin_users = usance
`

// Pool starts a PgBouncer in front of the server that the databases of tests
// are on; it ends with the test. Settings, such as "default_pool_size = 1", hold
// in place of those above.
func Pool(t testing.TB, settings ...string) *Bouncer {
	t.Helper()
	c, err := theCluster()
	if err != nil {
		t.Fatal(err)
	}
	return c.pool(t, settings...)
}

// Pool starts a PgBouncer in front of the server, which ends with the test.
func (s *Server) Pool(t testing.TB) *Bouncer {
	t.Helper()
	return s.c.pool(t)
}

func (c *cluster) pool(t testing.TB, settings ...string) *Bouncer {
	t.Helper()
	if _, err := exec.LookPath("pgbouncer"); err != nil {
		t.Fatal("no pgbouncer is installed; run: make tools")
	}
	folder, err := os.MkdirTemp(scratch(), "usance-pgb") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	b := &Bouncer{t: t, folder: folder}
	t.Cleanup(func() {
		b.end()
		os.RemoveAll(folder)
	})
	err = errors.Join(
		os.WriteFile(filepath.Join(folder, "pgbouncer.ini"), fmt.Appendf(nil, bouncerSettings+strings.Join(settings, "\n")+"\n", c.folder, folder), 0o644), //nolint:gosec // another user reads it
		os.WriteFile(filepath.Join(folder, "users"), []byte(`"usance" ""`+"\n"), 0o644))                                                                    //nolint:gosec // likewise
	if err == nil {
		err = b.run()
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log")) // what there is of it
		t.Fatalf("starting pgbouncer: %v\n%s", err, log)
	}
	return b
}

// URL is that of a database by way of the pooler.
func (b *Bouncer) URL(database string) string {
	b.t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		b.t.Fatal(err)
	}
	q := u.Query()
	q.Set("host", b.folder)
	q.Set("port", "6432")
	u.RawQuery = q.Encode()
	return u.String()
}

// Closed tells how many clients' connections the pooler has ended for that reason,
// which its log names.
func (b *Bouncer) Closed(reason string) int {
	b.t.Helper()
	log, err := os.ReadFile(filepath.Join(b.folder, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Count(string(log), "closing because: "+reason)
}

// Kill ends the pooler at once, with the connections of all its clients.
func (b *Bouncer) Kill() {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.folder, "again"), nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := syscall.Kill(b.pid, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
	b.end()
}

// Restart starts a pooler that was killed, and waits until it answers.
func (b *Bouncer) Restart() {
	b.t.Helper()
	if err := b.run(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *Bouncer) run() error {
	as, err := unprivileged()
	if err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(b.folder, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	for _, name := range []string{"pid", "again", ".s.PGSQL.6432", ".s.PGSQL.6432.lock"} {
		if err := os.Remove(filepath.Join(b.folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	read, life, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	b.watcher = exec.CommandContext(context.Background(), "/bin/sh", "-c", bounce, "sh", b.folder, "pgbouncer", filepath.Join(b.folder, "pgbouncer.ini")) //nolint:gosec // an installed program
	b.watcher.Dir = "/"
	b.watcher.SysProcAttr, b.watcher.Stdin = &syscall.SysProcAttr{Credential: as, Setsid: true}, read
	if err := b.watcher.Start(); err != nil {
		life.Close()
		return err
	}
	b.life = life
	return b.await()
}

// await asks the pooler itself, not a server behind it.
func (b *Bouncer) await() error {
	for late := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			return errors.New("it is not ready after a minute")
		}
		text, err := os.ReadFile(filepath.Join(b.folder, "pid"))
		if err != nil {
			continue // the watcher has not come so far
		}
		if b.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		conn, err := postgres.Connect(ctx, fmt.Sprintf("postgres://usance@/pgbouncer?host=%s&port=6432&default_query_exec_mode=simple_protocol", b.folder))
		if err == nil {
			err = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
	}
}

func (b *Bouncer) end() {
	if b.life == nil {
		return
	}
	if log, err := os.ReadFile(filepath.Join(b.folder, "log")); err == nil && b.t.Failed() {
		b.t.Logf("the end of the log of pgbouncer:\n%s", log[max(0, len(log)-8<<10):])
	}
	b.life.Close()
	b.life = nil
	if err := b.watcher.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.t.Errorf("the end of pgbouncer: %v", err)
	}
}
