package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A command that is told to stop ends, and leaves nothing half done behind: no
// part of an export, and nothing changed where it had only asked.
func TestStoppedCommands(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	spawn := func(said *lockedBuffer, env []string, args ...string) (cmd *exec.Cmd) {
		cmd = exec.Command(os.Args[0], args...)
		cmd.Env = append([]string{"RUN_AS_USANCE=1", "PATH=" + os.Getenv("PATH")}, env...)
		cmd.Stdout, cmd.Stderr = said, said
		in, err := cmd.StdinPipe() // which says nothing, and stays open
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); in.Close() })
		return cmd
	}
	interrupted := func(cmd *exec.Cmd, said *lockedBuffer) {
		t.Helper()
		_ = cmd.Process.Signal(syscall.SIGINT)
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitFault {
			t.Errorf("%v: %v: %s", cmd.Args[1:], cmd.ProcessState, said)
		}
	}

	dir, said := t.TempDir(), new(lockedBuffer)
	export := spawn(said, []string{"USANCE_URL=" + silent.URL, "USANCE_KEY=k"}, "export", "--daily", "-o", filepath.Join(dir, "out.csv"))
	<-asked
	interrupted(export, said)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the export left %v, %v", left, err)
	}

	data := t.TempDir()
	s := startServer(t, data)
	s.license("")
	s.stop()
	said = new(lockedBuffer)
	reset := spawn(said, []string{"USANCE_DATA_DIR=" + data}, "migrate", "reset")
	await(t, func() bool { return strings.Contains(said.String(), "Type yes") })
	interrupted(reset, said)
	if !strings.Contains(said.String(), "nothing was changed") {
		t.Errorf("reset said %s", said)
	}
}
