package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/usance/usance"
)

// ErrInUse is the cause of Open's error when another process has the file open.
var ErrInUse = errors.New("sqlite: the database file is in use")

// fileLock keeps a second process from opening the same database file, in
// which both would keep counts of their own in memory. SQLite's own locks stay
// free for other programs. The kernel drops the lock with its process, so none
// is left behind by a crash.
type fileLock struct{ f *os.File }

func lockFile(path string) (*fileLock, error) {
	path, err := target(path) // the file has one lock, by whatever link it is named
	if err != nil {
		return nil, unavailable(err, "the folder of the database file cannot be found; make it, or mend the symbolic link that leads there")
	}
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unavailable(err, "the lock file beside the database file cannot be made; check the permissions of its folder")
	}
	if err := lockOpen(f, f); err != nil {
		f.Close()
		return nil, err
	}
	// Who holds it is told to others as far as that can be written.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &fileLock{f}, nil
}

// lockOpen locks an open file for this process. The lock file, named, tells who
// holds it otherwise; nil where that cannot be known.
func lockOpen(f, named *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return unavailable(err, "the database file cannot be locked")
	}
	holder := "another process"
	if named != nil {
		b := make([]byte, 20)
		n, _ := named.ReadAt(b, 0)
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(b[:n]))); err == nil {
			holder = "process " + strconv.Itoa(pid)
		}
	}
	return usance.WrapError(ErrInUse, usance.CodeUnavailable,
		"the database file is in use by %s; stop it or talk to it over HTTP", holder)
}

// maxLinks bounds how many links lead from one to the next, as the kernel does.
const maxLinks = 40

// target is the file that a path leads to by symbolic links, be it there or not:
// the first start makes it, and must lock what later ones do.
func target(path string) (string, error) {
	for range maxLinks {
		// Nothing is cleaned before links are followed: .. may come after one.
		folder, name := filepath.Split(path)
		folder, err := filepath.EvalSymlinks(folder)
		if err != nil {
			return "", err
		}
		path = filepath.Join(folder, name)
		to, err := os.Readlink(path)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // no link, or nothing yet
			return path, nil
		case err != nil:
			return "", err
		case filepath.IsAbs(to):
			path = to
		default:
			path = folder + string(filepath.Separator) + to
		}
	}
	return "", unix.ELOOP
}

// onlyName refuses a file that has other names, by hard links. The lock and
// SQLite's log bear the file's name: a process that opened it by another one
// would neither see the lock nor what is in the log, and spoil the file.
func onlyName(path string) error {
	var s unix.Stat_t
	err := unix.Stat(path, &s)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return unavailable(err, "the database file cannot be looked at; check its path and permissions")
	}
	if s.Mode&unix.S_IFMT == unix.S_IFREG && s.Nlink > 1 {
		return usance.NewError(usance.CodeUnavailable,
			"the database file has %d names (hard links), under each of which it could be opened and spoilt; remove the others, which find -samefile %s tells, or put a copy in their place", s.Nlink, path)
	}
	return nil
}

// release lets others in. The file stays: were it removed, two processes could
// hold locks on two files of its name.
func (l *fileLock) release() {
	_ = l.f.Truncate(0)
	unlock(l.f)
	l.f.Close()
}

// unlock drops the lock at once. To close the file alone would leave it to a
// child process that was just forked, until it runs its own program.
func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
