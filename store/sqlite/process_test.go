package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

// The test binary runs itself as another process that opens a file, changes it
// by hand, or holds it.
const (
	asVariable   = "USANCE_TEST_RUN_AS"
	pathVariable = "USANCE_TEST_PATH"
)

func TestMain(m *testing.M) {
	path := os.Getenv(pathVariable)
	switch os.Getenv(asVariable) {
	case "":
		os.Exit(m.Run())
	case "opener":
		s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
		if err != nil {
			fmt.Println(usance.ErrorCode(err), err)
			os.Exit(0)
		}
		fmt.Println("opened")
		io.Copy(io.Discard, os.Stdin) // until it is killed or told to end
		s.Close()
	case "shell":
		db, err := sql.Open("sqlite", path)
		if err == nil {
			// As typed by somebody who knows nothing of this program.
			_, err = db.Exec(`UPDATE licenses
				SET usage_tracking_enabled = TRUE
				WHERE status = 'ACTIVE'
				  AND deleted_at IS NULL;`)
		}
		var total, enabled int
		if err == nil {
			err = db.QueryRow(`SELECT
				  COUNT(*) as total_licenses,
				  SUM(CASE WHEN usage_tracking_enabled THEN 1 ELSE 0 END) as tracking_enabled
				FROM licenses
				WHERE deleted_at IS NULL;`).Scan(&total, &enabled)
		}
		fmt.Println(total, enabled, err)
		db.Close()
	}
}

// process starts the test binary in a role and gives its first line.
func process(t *testing.T, as, path string) (line string, cmd *exec.Cmd, stdin io.Closer) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), asVariable+"="+as, pathVariable+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", as, err)
	}
	return strings.TrimSpace(line), cmd, in
}

func TestSecondProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	want := fmt.Sprintf("is in use by process %d; stop it or talk to it over HTTP", os.Getpid())
	line, _, _ := process(t, "opener", path)
	if !strings.HasPrefix(line, "UNAVAILABLE ") || !strings.Contains(line, want) {
		t.Errorf("a second process was told %q, want UNAVAILABLE … %q", line, want)
	}
	_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err == nil || usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("a second store in this process: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if line, _, _ := process(t, "opener", link); !strings.Contains(line, want) {
		t.Errorf("a second process that names the file by a link was told %q", line)
	}
	// Whoever thinks that a lock was left behind, and removes it, is not believed.
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if line, _, _ := process(t, "opener", path); !strings.Contains(line, "is in use by another process") {
			t.Errorf("a second process was told %q when the lock file had been removed", line)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the first store afterwards: %v", err)
	}
}

// A link may be there before its file is: the start that makes the file locks
// what others do, by the link, by a link to the link, and by the file's own name.
func TestLinkBeforeItsFile(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	folder := filepath.Join(t.TempDir(), "folder") // leads to another, so that .. is data
	if err := errors.Join(os.Mkdir(filepath.Join(data, "inner"), 0o700), os.Symlink(filepath.Join(data, "inner"), folder)); err != nil {
		t.Fatal(err)
	}
	link, second := filepath.Join(t.TempDir(), "link.db"), filepath.Join(filepath.Dir(folder), "second.db")
	if err := errors.Join(os.Symlink(second, link), os.Symlink("folder/../usance.db", second)); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, link)
	for _, path := range []string{link, second, filepath.Join(data, "usance.db")} {
		if line, _, _ := process(t, "opener", path); !strings.Contains(line, "is in use by process") {
			t.Errorf("a second process that names the file %s was told %q", path, line)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the first store afterwards: %v", err)
	}
	nowhere := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink("none/usance.db", nowhere); err != nil {
		t.Fatal(err)
	}
	if line, _, _ := process(t, "opener", nowhere); !strings.Contains(line, "mend the symbolic link") {
		t.Errorf("a link into a folder that is not there: %q", line)
	}
}

// A file that has a second name, by a hard link, is opened by neither: SQLite's
// log and the lock would be two.
func TestHardLink(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	other := filepath.Join(t.TempDir(), "other.db")
	s := openAt(t, path)
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	if line, _, _ := process(t, "opener", other); !strings.HasPrefix(line, "UNAVAILABLE ") || !strings.Contains(line, "2 names (hard links)") {
		t.Errorf("a second process that names the file by a hard link was told %q", line)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the first store afterwards: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if line, _, _ := process(t, "opener", path); !strings.Contains(line, "2 names (hard links)") {
		t.Errorf("afterwards, by its own name: %q", line)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

// A process that was killed leaves no lock behind.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usance.db")
	line, cmd, _ := process(t, "opener", path)
	if line != "opened" {
		t.Fatal(line)
	}
	if _, err := sqlite.Open(t.Context(), path, sqlite.Options{}); usance.ErrorCode(err) != usance.CodeUnavailable {
		t.Errorf("while the other process runs: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	openAt(t, path)
}

// What another program writes counts from the next transaction on.
func TestForeignUpdate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "usance.db")
	s := openAt(t, path)
	put := func(id string, status usance.LicenseStatus) {
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			l := usance.NewLicense(id)
			l.BrandID, l.AssetID, l.Status, l.UsageTrackingEnabled = "b", "a", status, false
			return tx.PutLicense(ctx, l)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("active", usance.LicenseActive)
	put("draft", usance.LicenseDraft)
	line, _, _ := process(t, "shell", path)
	if line != "2 1 <nil>" {
		t.Errorf("the shell said %q", line)
	}
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		facts, err := tx.Facts(ctx, []string{"active", "draft"})
		if err != nil {
			return err
		}
		for _, f := range facts {
			if want := f.License.ID == "active"; f.License.UsageTrackingEnabled != want {
				t.Errorf("%s: tracking enabled %t, want %t", f.License.ID, f.License.UsageTrackingEnabled, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a crash leaves on the disk, in the midst of a transaction, holds all
// that was acknowledged and nothing else.
func TestCrash(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "usance.db")
	s, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add := func(n int, during func()) {
		t.Helper()
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			if err := tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(clock), At: clock, Events: events("l1", n)}}); err != nil {
				return err
			}
			during()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(1, func() {})
	add(2, func() {})
	crashed := filepath.Join(t.TempDir(), "usance.db")
	add(3, func() {
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(crashed+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	count := func(s *sqlite.Store) (n int) {
		t.Helper()
		err := s.View(ctx, func(v usance.View) error {
			return v.Tail(ctx, "l1", 0, usance.MaxDate, func(*usance.Event) error { n++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(openAt(t, crashed)); n != 3 {
		t.Errorf("%d events after the crash, want the 1 + 2 acknowledged", n)
	}
	if n := count(s); n != 6 {
		t.Errorf("%d events where nothing crashed, want 6", n)
	}
}
