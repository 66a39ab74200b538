package e2e_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
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
	cmd.Env = append(os.Environ(), "USANCE_URL="+s.base(), "USANCE_KEY="+adminKey, "USAGE_TRACKING_BATCH_SIZE=20")
	return cmd
}

// TestImport imports a real log: the counts are those of an independent
// computation, after a second import and after both sides were killed too.
func TestImport(t *testing.T) { onEach(t, testImport) }

func testImport(t *testing.T, store string) {
	want := expectedCounts(t)
	s := newServer(t, store)
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
	t.Run("backup", func(t *testing.T) { importRestored(t, s, want) })
	t.Run("prune", func(t *testing.T) { importPruned(t, s, want) })
}

// importRestored restores a backup of the server: the same counts, and the log
// imported again changes none.
func importRestored(t *testing.T, s *server, want map[string]int64) {
	copied := s.backup()
	r := newServerOn(t, copied)
	for _, when := range []string{"restored", "imported again"} {
		if got := r.counts(want); !maps.Equal(got, want) {
			t.Errorf("%s: counts differ\ngot  %v\nwant %v", when, got, want)
		}
		if out, err := r.importer().CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	r.verify("--deep", "--only", "books")
}

// importPruned lets the retention of the log's first days pass: their raw events
// go, and every count and breakdown stays; the days are closed to late events.
func importPruned(t *testing.T, s *server, want map[string]int64) {
	const firstKept = "2015-05-19"
	breakdowns := func() (out []any) {
		for _, id := range slices.Sorted(slices.Values(licences(want))) {
			var answer any
			s.must("GET", "/v1/licenses/"+id+"/breakdown?startDate=2015-05-01&endDate=2015-05-31&limit=1000", "", &answer)
			out = append(out, answer)
		}
		return out
	}
	before := breakdowns()
	s.stop(syscall.SIGTERM)
	s.age(firstKept, 100*24*time.Hour) // beyond the 90 days that are kept
	s.start()
	s.must("POST", "/v1/jobs/cleanupOldUsageEvents/run", "", nil)

	sealed, pruned := 0, 0
	for _, id := range licences(want) {
		var answer struct {
			Changed int
			Sealed  []string
		}
		s.must("POST", "/v1/recalculate", fmt.Sprintf(`{"licenseId":%q,"startDate":"2015-05-01","endDate":"2015-05-31"}`, id), &answer)
		if answer.Changed != 0 {
			t.Errorf("%s: a recalculation after pruning changed %d rows", id, answer.Changed)
		}
		kept := make(map[string]bool) // days with raw events
		for _, e := range s.raw(id) {
			kept[e.LocalDate] = true
			// What overtook others on the way in was received after the first of a later day.
			if slices.Contains(answer.Sealed, e.LocalDate) && time.Since(e.ReceivedAt) > 90*24*time.Hour {
				t.Errorf("%s: an event of the sealed %s, received at %s, is still there", id, e.LocalDate, e.ReceivedAt)
			}
		}
		for _, day := range answer.Sealed {
			sealed++
			if day >= firstKept {
				t.Errorf("%s: %s is sealed, though its first event is not due", id, day)
			}
			if !kept[day] {
				pruned++
			}
			var r result
			s.must("POST", "/v1/events", fmt.Sprintf(`{"licenseId":%q,"usageType":"view","occurredAt":"%sT12:00:00Z","idempotencyKey":"late"}`, id, day), &r)
			if r.Tracked || r.Error == nil || r.Error.Code != "TOO_LATE" {
				t.Errorf("%s: an event into the sealed %s answers %+v", id, day, r)
			}
		}
	}
	if sealed < 2 || pruned == 0 {
		t.Errorf("%d days of licences are sealed, %d without raw events", sealed, pruned)
	}
	if got := s.counts(want); !maps.Equal(got, want) {
		t.Errorf("after pruning: counts differ\ngot  %v\nwant %v", got, want)
	}
	if diff := gocmp.Diff(before, breakdowns()); diff != "" {
		t.Errorf("after pruning: breakdowns differ (-before +after)\n%s", diff)
	}
	s.verify("--deep", "--only", "books")
}
