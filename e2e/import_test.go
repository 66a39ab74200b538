package e2e_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const weblogs = "../testdata/weblog/"

// expectedCounts reads the table of the independent computation: counted clicks
// by licence, day and usage type.
func expectedCounts(t *testing.T) map[string]int64 {
	t.Helper()
	f, err := os.Open(weblogs + "expected.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := make(map[string]int64)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		if cells[0] == "licence" {
			continue
		}
		n, err := strconv.ParseInt(cells[len(cells)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			want[strings.Join(cells[:3], " ")] = n
		}
	}
	return want
}

// counts asks the server for the same table.
func (s *server) counts(want map[string]int64) map[string]int64 {
	s.t.Helper()
	got := make(map[string]int64)
	for _, licence := range licences(want) {
		var analytics struct {
			Buckets []struct {
				Date   string
				ByType map[string]struct{ Events, Quantity int64 }
			}
		}
		s.must("GET", "/v1/licenses/"+licence+"/analytics?startDate=2015-05-01&endDate=2015-05-31&granularity=daily", "", &analytics)
		for _, b := range analytics.Buckets {
			for usageType, tally := range b.ByType {
				if tally.Events != tally.Quantity {
					s.t.Errorf("%s: %d clicks are %d units", licence, tally.Events, tally.Quantity)
				}
				if tally.Events != 0 {
					got[fmt.Sprint(licence, " ", b.Date, " ", usageType)] = tally.Events
				}
			}
		}
	}
	return got
}

func licences(want map[string]int64) []string {
	seen := make(map[string]bool)
	var ids []string
	for key := range want {
		id, _, _ := strings.Cut(key, " ")
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *server) importer() *exec.Cmd {
	cmd := exec.Command(binary, "import", "--format", "combined", "--map", weblogs+"map", weblogs+"apache_combined_10k.log.gz")
	cmd.Env = append(os.Environ(), "USANCE_URL=http://"+s.addr, "USANCE_KEY="+adminKey, "USAGE_TRACKING_BATCH_SIZE=20")
	return cmd
}

// TestImport imports a real log: the counts are those of an independent
// computation, after a second import and after both sides were killed too.
func TestImport(t *testing.T) {
	want := expectedCounts(t)
	s := newServer(t)
	for _, id := range licences(want) {
		s.must("PUT", "/v1/licenses/"+id, `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	}
	check := func(when string) {
		t.Helper()
		if got := s.counts(want); !maps.Equal(got, want) {
			t.Errorf("%s: counts differ\ngot  %v\nwant %v", when, got, want)
		}
	}
	// Killed at several moments, then run to its end.
	for i := range 6 {
		cmd := s.importer()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(40+60*i) * time.Millisecond) // some moment of its run
		if i%2 == 1 {
			s.stop(syscall.SIGKILL)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if i%2 == 1 {
			s.start()
		}
	}
	for _, when := range []string{"after kills", "after a second import"} {
		if out, err := s.importer().CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", when, err, out)
		}
		check(when)
	}
	for _, id := range licences(want) {
		s.must("POST", "/v1/recalculate", fmt.Sprintf(`{"licenseId":%q,"startDate":"2015-05-01","endDate":"2015-05-31"}`, id), nil)
	}
	check("after recalculation")
}
