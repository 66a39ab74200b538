package main

import (
	"bytes"
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// checked runs usance check on a data folder.
func checked(t *testing.T, dir string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = run(context.Background(), []string{"check"}, []string{"USANCE_DATA_DIR=" + dir}, strings.NewReader(""), &b, &b)
	return code, b.String()
}

// What is missing of the database is named by check and by verify, while a server
// runs and when none does, with what makes it again; without the unique key no
// server is ready, and none starts.
func TestMissingIndexesAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "usance.db")
	s := startServer(t, dir)
	s.license("")
	if code, out := checked(t, dir); code != exitOK || !strings.Contains(out, "every table, column, view and index is there") {
		t.Errorf("all is there: exit %d\n%s", code, out)
	}
	const day = "CREATE INDEX license_usage_events_day ON license_usage_events (license_id, local_date);"
	bend(t, path, `DROP INDEX license_usage_events_day; DROP VIEW license_usage_daily_aggregates`)
	missing := func(when string) {
		t.Helper()
		for _, view := range []string{day, "license_usage_daily_aggregates"} {
			if code, out := checked(t, dir); code != exitFault || !strings.Contains(out, view) {
				t.Errorf("%s: check exits with %d\n%s", when, code, out)
			}
			if code, out, _ := verified(t, dir, "--only", "schema"); code != exitFault || !strings.Contains(out, view) {
				t.Errorf("%s: verify exits with %d\n%s", when, code, out)
			}
		}
	}
	missing("a server runs")

	bend(t, path, `DROP INDEX license_usage_events_key`)
	resp, err := http.Get(s.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without the unique key /readyz answers %d", resp.StatusCode)
	}
	if code := s.stop(); code != exitOK {
		t.Fatal(s.out)
	}
	const key = "CREATE UNIQUE INDEX license_usage_events_key ON license_usage_events (license_id, key);"
	if code, out, errOut := verified(t, dir, "--only", "schema"); code != exitFault || !strings.Contains(out+errOut, key) {
		t.Errorf("verify without the unique key exits with %d: %s\n%s", code, errOut, out)
	}
	var b bytes.Buffer
	code := run(context.Background(), []string{"serve", "--addr", "127.0.0.1:0"}, []string{"USANCE_DATA_DIR=" + dir}, strings.NewReader(""), &b, &b)
	if code == exitOK || !strings.Contains(b.String(), key) {
		t.Errorf("serve without the unique key exits with %d: %s", code, b.String())
	}
	bend(t, path, key)
	missing("none runs")

	// A fault of this process has no log that its cause could be read in.
	if code, out, _ := verified(t, dir, "--only", "books"); code != exitFault || !strings.Contains(out, "no such index: license_usage_events_day") {
		t.Errorf("verify does not tell why it failed: exit %d: %s", code, out)
	}
}
