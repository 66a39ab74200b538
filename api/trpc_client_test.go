package api

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// typescriptTools makes node, npm and the packages of typescript/ ready. Where
// they are missing the test is skipped, but for CI, where they must be there.
func typescriptTools(t *testing.T) {
	t.Helper()
	miss := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			miss("%s is not installed", tool)
		}
	}
	lock, err := os.Stat("typescript/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	// npm writes this file last, so that it is newer than the lock when all is there.
	if done, err := os.Stat("typescript/node_modules/.package-lock.json"); err == nil && !done.ModTime().Before(lock.ModTime()) {
		return
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = "typescript"
	if out, err := cmd.CombinedOutput(); err != nil {
		miss("npm ci: %v\n%s", err, out)
	}
}

// The real @trpc/client works against this server, and a program with the
// generated AppRouter compiles; see typescript/program.ts.
func TestTRPCClient(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles TypeScript")
	}
	typescriptTools(t)
	dir, err := filepath.Abs("typescript")
	if err != nil {
		t.Fatal(err)
	}
	// Beside node_modules, so that node finds them.
	out, err := os.MkdirTemp(filepath.Join(dir, "node_modules"), ".program-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(out) })
	tsc := exec.Command("node", "node_modules/typescript/bin/tsc", "--outDir", out)
	tsc.Dir = dir
	if msg, err := tsc.CombinedOutput(); err != nil {
		t.Fatalf("tsc: %v\n%s", err, msg)
	}
	if err := os.WriteFile(filepath.Join(out, "package.json"), []byte(`{"type":"module"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	run := exec.Command("node", filepath.Join(out, "program.js"), s.URL+"/api/trpc", adminKey)
	msg, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, msg, s.logs)
	}
	t.Logf("%s", msg)
}
