// Package pgtest gives tests a PostgreSQL of their own: a private cluster made
// from the installed binaries, one for each test process, and an empty database
// for each test. Nothing needs to run before, and nothing is left afterwards,
// also when the process is killed. A test that asks for a database fails when
// there is none to have; it is never skipped.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cluster is a running server.
type cluster struct {
	folder  string // holds the data, the socket and the log
	life    *os.File
	watcher int // the process that runs it
}

// theCluster starts at the first test that needs it and ends with the process.
var theCluster = sync.OnceValues(start)

// watch runs the server until its standard input ends, which is when the test
// process does, however that comes about; then it leaves nothing behind. Told
// "again", it starts a server that ended anew, unless a file says not to.
const watch = `
serve() {
	while "$1" -D "$2/data" >>"$2/log" 2>&1; [ "$3" = again ] && [ ! -e "$2/end" ]; do
		while [ -e "$2/down" ] && [ ! -e "$2/end" ]; do sleep 0.05; done
		sleep 0.05
	done
}
serve "$@" &
loop=$!
cat >/dev/null
: >"$2/end"
kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")" 2>/dev/null
wait "$loop"
rm -rf "$2"
`

// settings make the server fit for tests: apart from any other, durable, and
// with a time zone that is not the one the program counts in.
const settings = `
listen_addresses = ''
unix_socket_permissions = 0777
max_connections = 200
timezone = 'America/St_Johns'
log_timezone = 'UTC'
checkpoint_timeout = '1h'
max_wal_size = '256MB'
`

func start() (*cluster, error) { return startAs("once") }

// startAs starts a server of its own, once or again and again.
func startAs(often string) (*cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(scratch(), "usance-pg")
	if err != nil {
		return nil, err
	}
	c := &cluster{folder: folder}
	if err := c.run(bin, often); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log")) // what there is of it
		if c.life != nil {
			c.life.Close()
		} else {
			os.RemoveAll(folder)
		}
		return nil, fmt.Errorf("starting PostgreSQL from %s: %w\n%s", bin, err, log)
	}
	return c, nil
}

// scratch is a folder in memory where there is one with room: making databases
// is most of what tests make a disk wait for. Both paths are short, since that
// of a socket has at most 107 bytes.
func scratch() string {
	const memory, room = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err == nil && int64(fs.Bavail)*fs.Bsize >= room && unix.Access(memory, unix.W_OK) == nil {
		return memory
	}
	return "/tmp"
}

// binaries gives the folder of the newest server that is installed.
func binaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && hasInitdb(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	found = slices.DeleteFunc(found, func(dir string) bool { return !hasInitdb(dir) })
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL server is installed (neither in PATH nor in /usr/lib/postgresql); run: make tools")
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}

// Tool gives the path of a program of the server's own version, such as pg_dump.
func Tool(name string) (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(bin, name)
	if _, err := os.Stat(path); err != nil {
		return exec.LookPath(name)
	}
	return path, nil
}

func hasInitdb(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "initdb"))
	return err == nil
}

func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 for what is none
	return n
}

// unprivileged gives the user to run the server as, which refuses to run as
// root; nil when the tests do not.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
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
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

func (c *cluster) run(bin, often string) error {
	as, err := unprivileged()
	if err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(c.folder, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	// Setsid: an interrupt of the terminal reaches the tests alone.
	attributes := &syscall.SysProcAttr{Credential: as, Setsid: true}
	data := filepath.Join(c.folder, "data")
	initdb := exec.CommandContext(context.Background(), filepath.Join(bin, "initdb"), "-D", data, "-U", "usance", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync") //nolint:gosec // the folder of an installed server
	initdb.Dir, initdb.SysProcAttr = c.folder, attributes
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	file, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(settings + "unix_socket_directories = '" + c.folder + "'\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	read, life, err := os.Pipe()
	if err != nil {
		return err
	}
	watcher := exec.CommandContext(context.Background(), "/bin/sh", "-c", watch, "sh", filepath.Join(bin, "postgres"), c.folder, often) //nolint:gosec // likewise
	watcher.Dir, watcher.SysProcAttr, watcher.Stdin = "/", attributes, read
	err = watcher.Start()
	read.Close()
	if err != nil {
		life.Close()
		return err
	}
	c.life = life
	c.watcher = watcher.Process.Pid
	return c.await(0)
}

// await returns when a server other than the process named takes connections. It
// leaves no goroutine behind, which some tests look for.
func (c *cluster) await(not int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		if pid, ready := c.pid(); ready && pid != not {
			return nil
		}
		if pid, err := unix.Wait4(c.watcher, nil, unix.WNOHANG, nil); err != nil || pid == c.watcher {
			return errors.Join(errors.New("it ended before it was ready"), err)
		}
		select {
		case <-late:
			return errors.New("it is not ready after a minute")
		case <-tick.C:
		}
	}
}

// pid is the process of the server, and whether it takes connections.
func (c *cluster) pid() (pid int, ready bool) {
	text, err := os.ReadFile(filepath.Join(c.folder, "data", "postmaster.pid"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || len(lines) < 8 { // the last line says how far the server is
		return 0, false
	}
	pid, err = strconv.Atoi(lines[0])
	return pid, err == nil && strings.TrimSpace(lines[7]) == "ready"
}

// url is that of a database of the cluster.
func (c *cluster) url(database string) string {
	return fmt.Sprintf("postgres://usance@/%s?host=%s", database, c.folder)
}
