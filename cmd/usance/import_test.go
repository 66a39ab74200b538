package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/usance/usance"
)

// usageServer counts events by licence and key, as a server does.
type usageServer struct {
	*httptest.Server
	mu       sync.Mutex
	counted  map[string]usance.Event
	requests int
	largest  int
	before   func(w http.ResponseWriter, n int) bool // answers request n itself when true
	refuse   func(usance.Event) *usance.Error
}

func newUsageServer(t *testing.T) *usageServer {
	t.Helper()
	s := &usageServer{counted: map[string]usance.Event{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *usageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.before != nil && s.before(w, s.requests) {
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/events" || r.Header.Get("Authorization") != "Bearer the-key" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"code": "UNAUTHORIZED", "detail": "unknown key"}`) //nolint:errcheck // a test
		return
	}
	var events []usance.Event
	if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.largest = max(s.largest, len(events))
	results := make([]usance.Result, len(events))
	for i, e := range events {
		if s.refuse != nil {
			if err := s.refuse(e); err != nil {
				results[i] = usance.Result{Status: usance.StatusRefused, Error: err}
				continue
			}
		}
		k := e.LicenseID + " " + e.IdempotencyKey
		_, dup := s.counted[k]
		s.counted[k] = e
		results[i] = usance.Result{Tracked: true, Duplicate: dup, Status: usance.StatusCounted}
	}
	json.NewEncoder(w).Encode(results) //nolint:errcheck // a test
}

// importLogs runs usance import.
func importLogs(t *testing.T, url string, stdin io.Reader, args ...string) (out, errOut string, err error) {
	t.Helper()
	var c importCmd
	parser, err := kong.New(&c, vocabulary(), kong.Exit(func(int) { t.Error("exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		return "", "", err
	}
	var o, e bytes.Buffer
	p := &program{in: stdin, out: &o, err: &e, log: slog.New(slog.DiscardHandler)}
	p.cfg.BatchSize, p.cfg.URL, p.cfg.Key, p.cfg.DataDir = 100, url, "the-key", t.TempDir()
	err = c.Run(t.Context(), p)
	return o.String(), e.String(), err
}

const weblogSamples = "../../testdata/weblog"

func sampleArgs(more ...string) []string {
	return append(more, "--map", filepath.Join(weblogSamples, "map"), filepath.Join(weblogSamples, "apache_combined_10k.log.gz"))
}

// byDay is the counted events of the server as lines of expected.tsv count them.
func (s *usageServer) byDay() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for _, e := range s.counted {
		out[e.LicenseID+"\t"+e.OccurredAt.Format(time.DateOnly)+"\t"+e.UsageType]++
	}
	return out
}

func (s *usageServer) holdsTheSample(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(weblogSamples, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	got := s.byDay()
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")[1:]
	if len(got) != len(lines) {
		t.Errorf("%d rows, want %d", len(got), len(lines))
	}
	for _, l := range lines {
		f := strings.Split(l, "\t")
		if n := fmt.Sprint(got[strings.Join(f[:3], "\t")]); n != f[6] {
			t.Errorf("%s: counted %s", l, n)
		}
	}
}

func TestImportCountsOnce(t *testing.T) {
	t.Parallel()
	s := newUsageServer(t)
	out, errOut, err := importLogs(t, s.URL, nil, sampleArgs()...)
	if err != nil || errOut != "" {
		t.Fatal(err, errOut)
	}
	s.holdsTheSample(t)
	for _, want := range []string{"Sent 2558 events: 2558 new, 0 counted before", "10000 lines, 2015-05-17T10:05:", "line 8899: no quoted user agent", "lic_portrait   2015-05-17  view"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if s.largest != 100 {
		t.Errorf("batches of %d", s.largest)
	}
	out, _, err = importLogs(t, s.URL, nil, sampleArgs("--json", "--batch=1000")...)
	if err != nil {
		t.Fatal(err)
	}
	var r importReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Server.New != 0 || r.Server.Duplicates != 2558 || r.Counted != 2558 || s.largest != 1000 {
		t.Errorf("second import: %+v, batches of %d", r.Server, s.largest)
	}
	s.holdsTheSample(t)
}

func TestImportThatWasKilledGoesOn(t *testing.T) {
	t.Parallel()
	for _, at := range []int{1, 7, 20} {
		s := newUsageServer(t)
		s.before = func(w http.ResponseWriter, n int) bool {
			if n == at {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		}
		out, _, err := importLogs(t, s.URL, nil, sampleArgs("--batch=50")...)
		if err == nil || !strings.Contains(err.Error(), "Import the same logs again") {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("Sent %d events: %[1]d new", (at-1)*50); !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
		if _, _, err := importLogs(t, s.URL, nil, sampleArgs()...); err != nil {
			t.Fatal(err)
		}
		s.holdsTheSample(t)
	}
}

func TestImportOutlivesABusyServer(t *testing.T) {
	t.Parallel()
	s := newUsageServer(t)
	s.before = func(w http.ResponseWriter, n int) bool {
		switch n {
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"code": "OVERLOADED", "detail": "the queue is full"}`) //nolint:errcheck // a test
			return true
		case 3:
			panic(http.ErrAbortHandler) // the connection breaks
		}
		return false
	}
	if _, _, err := importLogs(t, s.URL, nil, sampleArgs("--batch=1000")...); err != nil {
		t.Fatal(err)
	}
	s.holdsTheSample(t)
	if s.requests != 5 {
		t.Errorf("%d requests", s.requests)
	}
}

func TestImportReportsRefusals(t *testing.T) {
	t.Parallel()
	s := newUsageServer(t)
	s.refuse = func(e usance.Event) *usance.Error {
		switch e.LicenseID {
		case "lic_banner":
			return usance.NewError(usance.CodeBackdateForbidden, "too old")
		case "lic_comics":
			return usance.NewError(usance.CodeLicenseNotFound, "no such licence")
		}
		return nil
	}
	out, _, err := importLogs(t, s.URL, nil, sampleArgs()...)
	if err == nil || !strings.Contains(err.Error(), "did not count 712 of 2558 events") {
		t.Error(err)
	}
	for _, want := range []string{"BACKDATE_FORBIDDEN  502", "a key with the backdate scope (too old)", "LICENSE_NOT_FOUND   210"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	// A key that the server does not know ends the import at once.
	s.before = func(w http.ResponseWriter, n int) bool {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"code": "UNAUTHORIZED", "detail": "unknown key"}`) //nolint:errcheck // a test
		return true
	}
	if _, _, err := importLogs(t, s.URL, nil, sampleArgs()...); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED: unknown key") {
		t.Error(err)
	}
}

func TestImportDryRunAndStandardInput(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(path, []byte("/a lic view\n/b lic view"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Format("02/Jan/2006:15:04:05 -0700")
	log := fmt.Sprintf("1.1.1.1 - - [%s] \"GET /a HTTP/1.1\" 200 5\n1.1.1.1 - - [%[1]s] \"GET /c HTTP/1.1\" 200 5\n", now)
	s := newUsageServer(t)
	out, _, err := importLogs(t, s.URL, strings.NewReader(log), "--dry-run", "--map", path, "-")
	if err != nil || s.requests != 0 {
		t.Fatal(err, s.requests)
	}
	for _, want := range []string{"Dry run", "1 clicks at the end wait", "Lines of the map that nothing matched: 2", `"/c"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if _, _, err = importLogs(t, s.URL, strings.NewReader(log), "--final", "--format=common", "--disorder=0s", "--map", path, "-"); err != nil || len(s.counted) != 1 {
		t.Error(err, len(s.counted))
	}
}

func TestImportFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("/a lic view x=y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(weblogSamples, "map")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"log"}, "missing flags: --map=FILE"},
		{[]string{"--map", good}, "<log>"},
		{[]string{"--map", good, "--format=iis", "x"}, "--format must be one of"},
		{[]string{"--map", bad, "x"}, "bad:\nline 1: unknown option x"},
		{[]string{"--map", filepath.Join(dir, "none"), "x"}, "no such file"},
		{[]string{"--map", good, filepath.Join(dir, "none.log")}, "no such file"},
		{[]string{"--map", good, dir}, "is a folder"},
		{[]string{"--map", good, bad, bad}, "named twice"},
		{[]string{"--map", good, bad, "-"}, "import it alone"},
		{[]string{"--map", good, "--batch=10001", bad}, "--batch must be from 1 to 10000"},
		{[]string{"--map", good, "--disorder=2h", bad}, "--disorder must be"},
	} {
		if _, _, err := importLogs(t, "http://127.0.0.1:1", nil, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	p := newProgress(io.Discard)
	c := p.add(4e6)
	if got, want := p.line(time.Second), "[........................]   0% of 4.0 MB, 0.0 MB/s, ? left"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r := c.reader(io.NopCloser(bytes.NewReader(make([]byte, 1e6))))
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if got, want := p.line(2*time.Second), "[######..................]  25% of 4.0 MB, 0.5 MB/s, 6s left"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.note(strings.Repeat("é\n", 60))
	if got := []rune(p.line(time.Second)); len(got) != 76 {
		t.Errorf("%d characters", len(got))
	}
	p.note("")
	c.reader(nil) // opened again
	if got := p.line(time.Second); !strings.Contains(got, "  0% of 4.0 MB") {
		t.Error(got)
	}
	var shown bytes.Buffer
	p.w, p.show = &shown, true
	stop := p.start()
	stop()
	if !strings.HasSuffix(shown.String(), "\r\x1b[K") {
		t.Errorf("%q", shown.String())
	}
}
