package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An address that cannot be written, as on a full disk, leaves no file without
// one, and does not lie about a server that was there before.
func TestAddressOnAFullDisk(t *testing.T) {
	t.Parallel()
	c, err := loadConfig([]string{"USANCE_DATA_DIR=" + t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.folder(), urlFile)
	for _, name := range []string{path, path + ".new"} { // whichever is written to
		if err := os.Symlink("/dev/full", name); err != nil {
			t.Fatal(err)
		}
	}
	if err := announce(c, "http://127.0.0.1:1"); err == nil {
		t.Error("a full disk took the address")
	}
	if err := announce(c, "http://127.0.0.1:2"); err != nil { // what failed was removed
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "http://127.0.0.1:2\n" {
		t.Errorf("the address reads %q, %v", b, err)
	}
}

// A server whose address could not be written when it started writes it once it
// can; until then commands are told so, by an empty file of before too.
func TestAddressIsWrittenOnceItCanBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, urlFile)
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &testServer{t: t, dir: dir, exited: make(chan struct{}), out: new(lockedBuffer)}
	ctx, cancel := context.WithCancel(t.Context())
	environ := []string{"USANCE_DATA_DIR=" + dir, "USANCE_ADDR=127.0.0.1:0", "USANCE_LOG_LEVEL=warn"}
	go func() {
		defer close(s.exited)
		run(ctx, []string{"serve"}, environ, strings.NewReader(""), s.out, s.out)
	}()
	defer func() { cancel(); <-s.exited }()
	await(t, func() bool { return strings.Contains(s.out.String(), "the address cannot be written") })
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	s.ready()
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, empty := range []bool{true, false} {
		if !empty {
			if err := os.Remove(inTheWay); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		code := run(t.Context(), []string{"jobs", "list"}, environ, strings.NewReader(""), &out, &out)
		if out := out.String(); code == exitOK || !strings.Contains(out, "in use by process") || !strings.Contains(out, "name it with USANCE_URL") {
			t.Errorf("an empty file: %v: code %d: %s", empty, code, out)
		}
	}
}
