package main

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestContainerfile builds the program as the Containerfile does, and uses the
// result as a container would: nothing beside it, as told by ENV, ENTRYPOINT,
// CMD and HEALTHCHECK.
func TestContainerfile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the program anew")
	}
	text, err := os.ReadFile("../../deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	instruction := func(name string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^`+name+` (.*)$`).FindAllStringSubmatch(string(text), -1)
		if len(m) == 0 {
			t.Fatalf("the Containerfile has no %s", name)
		}
		return m[len(m)-1][1]
	}
	list := func(text string) (out []string) {
		t.Helper()
		if err := json.Unmarshal([]byte(text[strings.IndexByte(text, '['):]), &out); err != nil || len(out) == 0 {
			t.Fatalf("%s: %v", text, err)
		}
		return out
	}
	if user := instruction("USER"); strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("it runs as %s", user)
	}
	line := "CGO_ENABLED=0 go build " + instruction("RUN CGO_ENABLED=0 go build")
	if !strings.Contains(line, "-o /out/usance ") {
		t.Fatalf("the build is %q", line)
	}
	binary := filepath.Join(t.TempDir(), "usance")
	build := exec.Command("/bin/sh", "-c", strings.Replace(line, "/out/usance", binary, 1))
	build.Dir, build.Env = "../..", append(os.Environ(), "VERSION=v1.2.3")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	program, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Error("the program is not static: it does not run in an empty container")
		}
	}
	dir := t.TempDir()
	environ := []string{"USANCE_DATA_DIR=" + dir, "USANCE_ADDR=" + freeAddr(t)}
	if set := instruction("ENV"); !strings.Contains(set, "USANCE_ADDR=:8080") || !strings.Contains(set, "USANCE_DATA_DIR="+instruction("VOLUME")) {
		t.Errorf("ENV %s", set)
	}
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env, cmd.Dir = environ, dir
		return cmd
	}
	if out, err := inside("version").CombinedOutput(); err != nil || !strings.Contains(string(out), "usance v1.2.3") {
		t.Errorf("%v: %s", err, out)
	}
	health := list(instruction("HEALTHCHECK"))[1:]
	if out, err := inside(health...).CombinedOutput(); err == nil {
		t.Errorf("healthy before it runs: %s", out)
	}
	if entry := list(instruction("ENTRYPOINT")); len(entry) != 1 || entry[0] != "/usance" {
		t.Errorf("ENTRYPOINT %q", entry)
	}
	node := inside(list(instruction("CMD"))...)
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = node.Process.Kill()
		_ = node.Wait()
	}()
	if _, err := awaitFile(filepath.Join(dir, urlFile)); err != nil {
		t.Fatal(err)
	}
	if out, err := inside(health...).CombinedOutput(); err != nil {
		t.Errorf("not healthy while it runs: %v: %s", err, out)
	}
}
