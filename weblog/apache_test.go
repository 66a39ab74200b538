package weblog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
)

const samples = "../testdata/weblog"

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(samples, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleMap(t testing.TB) *Map {
	t.Helper()
	m, err := ParseMap(bytes.NewReader(sample(t, "map")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// table prints a report as count.py does.
func table(r Report) string {
	var b strings.Builder
	b.WriteString("licence\tday\tusage_type\tgross\trobots\tdouble_clicks\tcounted\n")
	for _, w := range r.Rows {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%d\t%d\t%d\t%d\n", w.LicenseID, w.Day, w.UsageType, w.Gross, w.Robots, w.DoubleClicks, w.Counted)
	}
	return b.String()
}

// collect is an emit that keeps what it is given.
func collect(into *[]usance.Event) func([]usance.Event) error {
	return func(e []usance.Event) error {
		*into = append(*into, e...)
		return nil
	}
}

// balanced checks the two sums that a report promises.
func balanced(t interface{ Fatalf(string, ...any) }, r Report) {
	if sum := r.Malformed + r.Unfinished + r.OtherMethod + r.OtherStatus + r.Unmatched + r.Gross; sum != r.Lines {
		t.Fatalf("%d lines, %d accounted for: %+v", r.Lines, sum, r)
	}
	if sum := r.Robots + r.DoubleClicks + r.Waiting + r.Counted; sum != r.Gross {
		t.Fatalf("gross %d, %d accounted for: %+v", r.Gross, sum, r)
	}
}

func TestApacheLogAgainstIndependentCount(t *testing.T) {
	t.Parallel()
	im, err := New(Options{Map: sampleMap(t)})
	if err != nil {
		t.Fatal(err)
	}
	var first, second []usance.Event
	r, err := im.readOne(t.Context(), bytes.NewReader(sample(t, "apache_combined_10k.log.gz")), collect(&first))
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, r)
	if got, want := table(r), string(sample(t, "expected.tsv")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if r.Lines != 10_000 || r.Malformed != 1 || r.Problems[0].Line != 8899 || r.Late != 0 || r.Waiting != 0 || len(r.UnusedRules) > 0 {
		t.Errorf("report %+v", r)
	}
	if r.Emitted != r.Counted || int64(len(first)) != r.Counted {
		t.Errorf("emitted %d, handed over %d, counted %d", r.Emitted, len(first), r.Counted)
	}
	keys := map[string]bool{}
	for i := range first {
		e := &first[i]
		if err := e.Validate(); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if keys[e.LicenseID+" "+e.IdempotencyKey] {
			t.Fatalf("key twice: %+v", e)
		}
		keys[e.LicenseID+" "+e.IdempotencyKey] = true
		if i > 0 && e.OccurredAt.Before(first[i-1].OccurredAt) {
			t.Fatalf("event %d is out of order", i)
		}
	}
	if _, err = im.readOne(t.Context(), bytes.NewReader(sample(t, "apache_combined_10k.log.gz")), collect(&second)); err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(first, second, sameEvent) {
		t.Error("the second import does not send the same events")
	}
}

func sameEvent(a, b usance.Event) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

// The sample is worth its place only if the mapped paths hold each of the cases
// that the rules are about.
func TestApacheLogHoldsTheCases(t *testing.T) {
	t.Parallel()
	m := sampleMap(t)
	if len(m.rules) < 12 || len(m.licenses()) < 4 {
		t.Fatalf("%d rules for %d licences", len(m.rules), len(m.licenses()))
	}
	im, err := New(Options{Map: m})
	if err != nil {
		t.Fatal(err)
	}
	s, err := im.stream(Source{Open: func() (io.ReadCloser, error) {
		return os.Open(filepath.Join(samples, "apache_combined_10k.log.gz"))
	}}, &run{report: newReport(), now: time.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.Close()
	cases := map[string]int{}
	times := map[string][]int64{}
	var newest int64
	for {
		h, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.time < newest {
			cases["out of order"]++
		}
		newest = max(newest, h.time)
		i, item := m.match(h)
		if i < 0 {
			continue
		}
		switch {
		case h.method != "GET":
			cases[h.method]++
		case h.status != 200:
			cases[fmt.Sprint(h.status)]++
		}
		if h.method == "GET" && (h.status == 200 || h.status == 304) {
			if im.agents.of(h.agent).robot {
				cases["robot"]++
			} else {
				k := strings.Join([]string{strings.Clone(item), m.rules[i].license, h.client, h.agent}, " ")
				times[k] = append(times[k], h.time)
			}
		}
	}
	for _, ts := range times {
		slices.Sort(ts)
		for i := 1; i < len(ts); i++ {
			switch d := ts[i] - ts[i-1]; {
			case d == 0:
				cases["same second"]++
			case d == 30:
				cases["exactly 30 seconds"]++
			}
			if i > 1 && ts[i]-ts[i-1] <= 30 && ts[i-1]-ts[i-2] <= 30 && ts[i]-ts[i-2] > 30 {
				cases["chain of three, longer than 30 seconds in all"]++
			}
		}
	}
	for _, c := range []string{"robot", "304", "404", "206", "HEAD", "out of order", "same second", "exactly 30 seconds", "chain of three, longer than 30 seconds in all"} {
		if cases[c] == 0 {
			t.Errorf("no mapped request is a case of: %s", c)
		}
	}
	t.Log(cases)
}

func TestCountPyPrintsTheTable(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no python3 on this machine")
		}
		t.Skip("no python3 on this machine")
	}
	cmd := exec.CommandContext(t.Context(), python, "count.py", "map", "../../weblog/counter_bots.json", "apache_combined_10k.log.gz")
	cmd.Dir = samples
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(sample(t, "expected.tsv")) {
		t.Errorf("count.py prints\n%s", out)
	}
}

func BenchmarkApacheLog(b *testing.B) {
	im, err := New(Options{Map: sampleMap(b)})
	if err != nil {
		b.Fatal(err)
	}
	log := sample(b, "apache_combined_10k.log.gz")
	drop := func([]usance.Event) error { return nil }
	for b.Loop() {
		if _, err := im.readOne(context.Background(), bytes.NewReader(log), drop); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
