package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asClient is the program as a client of the server.
func (s *server) asClient(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "USANCE_URL="+s.base(), "USANCE_KEY="+adminKey)
	return cmd
}

// output runs the program to its end.
func (s *server) output(args ...string) string {
	s.t.Helper()
	out, err := s.asClient(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// dailyTotals reads what usance export wrote: units and cents by licence, day and type.
func dailyTotals(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		f := strings.Split(line, ",")
		out[strings.Join(f[:3], " ")] = strings.Join(f[3:5], " ")
	}
	return out
}

// TestBackfillDaily: the daily totals of a log, exported and backfilled into an
// empty database, are the same totals, however often.
func TestBackfillDaily(t *testing.T) { onEach(t, testBackfillDaily) }

func testBackfillDaily(t *testing.T, store string) {
	want := expectedCounts(t)
	file, again := filepath.Join(t.TempDir(), "daily.csv"), filepath.Join(t.TempDir(), "again.csv")
	from := newServer(t, store)
	to := newServer(t, store)
	for _, s := range []*server{from, to} {
		for _, id := range licences(want) {
			s.must("PUT", "/v1/licenses/"+id, `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
		}
	}
	if out, err := from.importer().CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	from.output("export", "--daily", "-o", file)
	exported := dailyTotals(t, file)
	for key, n := range want {
		if exported[key] != fmt.Sprint(n, " 0") {
			t.Errorf("exported %s: %q, want %d", key, exported[key], n)
		}
	}
	if len(exported) != len(want) {
		t.Errorf("%d totals, want %d", len(exported), len(want))
	}
	for _, says := range []string{fmt.Sprintf("Sent %d daily totals: %[1]d new, 0 counted before", len(want)), fmt.Sprintf("%d counted before", len(want))} {
		if out := to.output("backfill", "--daily", file); !strings.Contains(out, says) {
			t.Errorf("want %q in:\n%s", says, out)
		}
		to.output("export", "--daily", "-o", again)
		if got := dailyTotals(t, again); !maps.Equal(got, exported) {
			t.Errorf("totals differ\ngot  %v\nwant %v", got, exported)
		}
	}
	for _, id := range licences(want) {
		if out := to.output("backfill", "--raw", "--license", id, "--from", "2015-05-01", "--to", "2015-05-31"); !strings.Contains(out, "0 rows and 0 counters differed") {
			t.Error(out)
		}
	}
	// The days of the first server hold events: their totals would count twice.
	out, err := from.asClient("backfill", "--daily", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CONFLICT") {
		t.Errorf("a day with events takes a total: %v\n%s", err, out)
	}
	if got := from.counts(want); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// report is what usance backfill --json prints.
type report struct {
	Rows, Sent, New, Duplicates, ResumedAt, ReadBytes int64
	Refused                                           []any
}

// killHalfWay runs a backfill that is killed when half of the input is sent, and
// then to its end.
func (s *server) killHalfWay(checkpoint string, rows int64, args ...string) report {
	s.t.Helper()
	args = append(append([]string{"backfill"}, args...), "--json")
	cmd := s.asClient(args...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for {
		var c struct{ At struct{ Line int64 } }
		b, _ := os.ReadFile(checkpoint)
		if json.Unmarshal(b, &c) == nil && c.At.Line >= rows/2 {
			break
		}
		select {
		case <-ended:
			s.t.Fatal("it ended before it was killed")
		case <-time.After(time.Millisecond): // a process of its own tells how far it is by a file
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	cmd = s.asClient(args...)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		s.t.Fatalf("%v in %s", err, out)
	}
	if _, err := os.Stat(checkpoint); err == nil {
		s.t.Error("the checkpoint is left behind")
	}
	return r
}

// TestBackfillKilled: killed half way, each kind of backfill reads less than a
// tenth again, and counts all of it once.
func TestBackfillKilled(t *testing.T) { onEach(t, testBackfillKilled) }

func testBackfillKilled(t *testing.T, store string) {
	const rows = 6000
	s := newServer(t, store)
	s.must("PUT", "/v1/licenses/lic", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	s.must("PUT", "/v1/licenses/daily", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	var events, daily strings.Builder
	daily.WriteString("licenseId,date,usageType,quantity\n")
	day := time.Date(2006, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range rows {
		fmt.Fprintf(&events, `{"licenseId":"lic","usageType":"view","occurredAt":%q}`+"\n", time.Date(2024, 1, 1+i/100, 0, 0, i%100, 0, time.UTC).Format(time.RFC3339))
		fmt.Fprintf(&daily, "daily,%s,view,%d\n", day.AddDate(0, 0, i).Format(time.DateOnly), 1+i%7)
	}
	for _, c := range []struct{ flag, name, content string }{{"--events", "events.ndjson", events.String()}, {"--daily", "daily.csv", daily.String()}} {
		file := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := s.killHalfWay(file+".checkpoint", rows, c.flag, file)
		t.Logf("%s: read on behind line %d of %d, %d counted before, %d of %d bytes read", c.flag, r.ResumedAt, rows, r.Duplicates, r.ReadBytes, len(c.content))
		if r.Rows != rows || r.New+r.Duplicates != rows || r.ResumedAt < rows/2 || r.Duplicates >= rows/10 || r.ReadBytes > int64(len(c.content))*6/10 || len(r.Refused) > 0 {
			t.Errorf("%s: %+v", c.flag, r)
		}
	}
	var usage struct{ Days []struct{ TotalViews int64 } }
	sum := func(path string) (n int64) {
		s.must("GET", path, "", &usage)
		for _, d := range usage.Days {
			n += d.TotalViews
		}
		return n
	}
	if n := sum("/v1/licenses/lic/daily?startDate=2024-01-01&endDate=2024-12-31"); n != rows {
		t.Errorf("%d events are counted, want %d", n, rows)
	}
	want := int64(0)
	for i := range rows {
		want += int64(1 + i%7)
	}
	if n := sum("/v1/licenses/daily/daily?startDate=2006-01-01&endDate=2015-12-30") + sum("/v1/licenses/daily/daily?startDate=2015-12-31&endDate=2024-12-31"); n != want {
		t.Errorf("%d units are counted, want %d", n, want)
	}

	// The server is killed while it rebuilds; the next goes on by itself.
	s.must("POST", "/v1/backfill", `{"licenseId":"daily","startDate":"2006-01-01","endDate":"2015-12-31"}`, nil)
	s.stop(syscall.SIGKILL)
	s.start()
	out := s.output("backfill", "--raw", "--license", "daily", "--from", "2006-01-01", "--to", "2015-12-31")
	if !strings.Contains(out, "3652 days rebuilt from 3652 raw events; 0 rows and 0 counters differed") {
		t.Error(out)
	}
}
