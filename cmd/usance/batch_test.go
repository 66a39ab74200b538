package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// USAGE_TRACKING_BATCH_SIZE decides how many events the importer sends at once.
func TestBatchSizeDecidesHowManyAreSentAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	s.license("")
	dir := t.TempDir()
	var log strings.Builder
	at := time.Now().UTC().Add(-2 * time.Hour)
	for i := range 40 {
		fmt.Fprintf(&log, "192.0.2.%d - - [%s] \"GET /a.png HTTP/1.1\" 200 10 \"-\" \"Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\"\n",
			i, at.Add(time.Duration(i)*time.Minute).Format("02/Jan/2006:15:04:05 -0700"))
	}
	logFile, mapFile := filepath.Join(dir, "access.log"), filepath.Join(dir, "paths.map")
	for path, content := range map[string]string{logFile: log.String(), mapFile: "/a.png lic_1 view\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	requests := func() int {
		n, _ := strconv.Atoi(s.metric(`usance_http_requests_total{operation="usage.trackEvents",status="200"}`))
		return n
	}
	for _, c := range []struct{ size, requests int }{{1, 40}, {10, 4}, {100, 1}} {
		before := requests()
		var out lockedBuffer
		environ := []string{"USANCE_URL=" + s.url, "USANCE_KEY=" + s.key, "USAGE_TRACKING_BATCH_SIZE=" + strconv.Itoa(c.size)}
		if code := run(t.Context(), []string{"import", "--final", "--map", mapFile, logFile}, environ, strings.NewReader(""), &out, &out); code != exitOK {
			t.Fatalf("exit code %d: %s", code, out.String())
		}
		if got := requests() - before; got != c.requests {
			t.Errorf("40 events with a batch size of %d took %d requests, want %d", c.size, got, c.requests)
		}
	}
	if events, _ := s.used("view"); events != 40 {
		t.Errorf("three imports of one log counted %d, want 40", events)
	}
}
