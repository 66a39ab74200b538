package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Of backups to one name at once one is made, the others say why not, and
// nothing else is left.
func TestBackupsToOneName(t *testing.T) {
	t.Parallel()
	path, dir := filepath.Join(t.TempDir(), "usance.db"), t.TempDir()
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // it was read only
	const n = 3
	done := make(chan error, n)
	for range n {
		go func() { done <- Backup(t.Context(), path, filepath.Join(dir, "copy.db")) }()
	}
	made := 0
	for range n {
		if err := <-done; err == nil {
			made++
		} else if !strings.Contains(err.Error(), "name a new file") {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || made != 1 || len(left) != 1 || left[0].Name() != "copy.db" {
		t.Errorf("%d made, %v left, %v", made, left, err)
	}
}

// A file that came meanwhile stays as it is.
func TestBackupOverwritesNothing(t *testing.T) {
	t.Parallel()
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	for _, path := range []string{from, to} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := moveNew(from, to)
	if text, e := os.ReadFile(to); !os.IsExist(err) || e != nil || string(text) != to {
		t.Errorf("%v, %q, %v", err, text, e)
	}
}
