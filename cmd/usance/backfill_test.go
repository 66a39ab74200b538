package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/usance/usance"
)

// books is what a server holds of events and totals.
type books struct {
	events   map[string]usance.Event
	totals   map[string]usance.DailyTotal
	requests int
	fail     int  // the request from which on it does not answer; 0: never
	everyone bool // there is a licence nobody
}

func newBooks() *books {
	return &books{events: map[string]usance.Event{}, totals: map[string]usance.DailyTotal{}}
}

func (b *books) request() error {
	if b.requests++; b.fail > 0 && b.requests >= b.fail {
		return errors.New("no answer")
	}
	return nil
}

func (b *books) Track(_ context.Context, events []usance.Event) ([]usance.Result, error) {
	out := make([]usance.Result, len(events))
	if err := b.request(); err != nil {
		return nil, err
	}
	for i, e := range events {
		if e.LicenseID == "nobody" && !b.everyone {
			out[i] = usance.Result{Status: usance.StatusRefused, Error: usance.NewError(usance.CodeLicenseNotFound, "no licence %q", e.LicenseID)}
			continue
		}
		_, dup := b.events[e.IdempotencyKey]
		b.events[e.IdempotencyKey] = e
		out[i] = usance.Result{Tracked: true, Duplicate: dup, Status: usance.StatusCounted}
	}
	return out, nil
}

func (b *books) Totals(_ context.Context, source string, totals []usance.DailyTotal) ([]usance.TotalResult, error) {
	out := make([]usance.TotalResult, len(totals))
	if err := b.request(); err != nil {
		return nil, err
	}
	for i, t := range totals {
		key := fmt.Sprint(t.LicenseID, " ", t.Date, " ", t.UsageType)
		if old, ok := b.totals[key]; ok && old.Line != t.Line && old.Source == source {
			out[i].Status, out[i].Error = usance.StatusRefused, usance.NewError(usance.CodeConflict, "twice")
			continue
		}
		_, dup := b.totals[key]
		t.Source = source
		b.totals[key] = t
		out[i].Result = usance.Result{Tracked: true, Duplicate: dup, Status: usance.StatusCounted}
	}
	return out, nil
}

// runBackfill runs usance backfill against the books.
func runBackfill(t *testing.T, b sender, args ...string) (r backfillReport, errOut string, err error) {
	t.Helper()
	c := backfillCmd{send: b}
	parser, err := kong.New(&c, kong.Exit(func(int) { t.Error("exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append(args, "--json")); err != nil {
		return r, "", err
	}
	var out, e bytes.Buffer
	p := &program{out: &out, err: &e, log: slog.New(slog.DiscardHandler)}
	p.cfg.BatchSize = 3
	err = c.Run(t.Context(), p)
	if out.Len() > 0 {
		if e := json.Unmarshal(out.Bytes(), &r); e != nil {
			t.Fatal(e, out.String())
		}
	}
	return r, e.String(), err
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBackfillColumns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, content, args string
		want                []string // lic date type quantity revenue events
		err                 string
	}{
		{"long", "licenseId,date,usageType,quantity,revenueCents,events\nl,2024-10-01,view,5,7,3\nl,2024-10-01,social-embed,1,,\n", "",
			[]string{"l 2024-10-01 social-embed 1 0 0", "l 2024-10-01 view 5 7 3"}, ""},
		{"snake case, a mark, quotes", "\ufefflicense_id,date,usage_type,quantity\n\"l\"\"1\",2024-10-01,view,5\n", "", []string{`l"1 2024-10-01 view 5 0 0`}, ""},
		{"wide", "license_id,metric_date,views,downloads,dl_cents,made_at\nl,2024-10-01,5,,9,x\nm,2024-10-02,1,2,9,x\n",
			"--map date=metric_date,view=views,download=downloads,download.revenueCents=dl_cents --ignore made_at",
			[]string{"l 2024-10-01 view 5 0 0", "m 2024-10-02 download 2 9 0", "m 2024-10-02 view 1 0 0"}, ""},
		{"built-in types need no map", "date,view,print\n2024-10-01,5,6\n", "--license l", []string{"l 2024-10-01 print 6 0 0", "l 2024-10-01 view 5 0 0"}, ""},
		{"unknown", "licenseId,date,view,foo\nl,2024-10-01,5,6\n", "", nil, `line 1: the column "foo" is not known; say what it is with --map NAME=foo, or leave it out with --ignore foo`},
		{"no date", "licenseId,view\nl,5\n", "", nil, "there is no column date; name it with --map date=NAME (the columns are licenseId, view)"},
		{"no licence", "date,view\n2024-10-01,5\n", "", nil, "or the licence of all rows with --license"},
		{"no type", "licenseId,date,quantity\nl,2024-10-01,5\n", "", nil, "neither a column usageType nor one of a usage type's units"},
		{"both", "licenseId,date,usageType,view\nl,2024-10-01,view,5\n", "", nil, "leave one of them out with --ignore"},
		{"revenue of no type", "licenseId,date,view,revenueCents\nl,2024-10-01,5,1\n", "", nil, "belong to no type"},
		{"map to nothing", "licenseId,date,view\nl,2024-10-01,5\n", "--map date=day", nil, "--map date=day names a column that is not there"},
		{"twice", "licenseId,date,date\n", "", nil, `two columns "date"`},
		{"empty", "", "", nil, "is empty"},
		{"JSON", "{}", "", nil, "holds JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBooks()
			path := write(t, "daily.csv", c.content)
			_, _, err := runBackfill(t, b, append(strings.Fields(c.args), "--daily", path)...)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			var got []string
			for _, d := range b.totals {
				got = append(got, fmt.Sprint(d.LicenseID, " ", d.Date, " ", d.UsageType, " ", d.Quantity, " ", d.RevenueCents, " ", d.Events))
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What is refused is told by reason and line, and kept to be sent once mended.
func TestBackfillRejects(t *testing.T) {
	t.Parallel()
	daily := write(t, "daily.csv", "licenseId,date,usageType,quantity\nl,2024-10-01,view,5\nl,2024-13-01,view,5\n\nl,2024-10-02,view,x\n\"l\",\"2024-10-03\",view\nl,2024-10-01,view,6\nl,2024-10-04,view,1\n")
	b := newBooks()
	r, _, err := runBackfill(t, b, "--daily", daily)
	if err == nil || !strings.Contains(err.Error(), "4 of 6 rows were refused") || r.New != 2 || r.Rows != 6 {
		t.Errorf("%+v, %v", r, err)
	}
	lines := map[string][]int64{}
	for _, f := range r.Refused {
		lines[string(f.Code)+" "+f.Field] = f.Lines
	}
	if want := fmt.Sprint(map[string][]int64{"CONFLICT ": {7}, "VALIDATION ": {6}, "VALIDATION date": {3}, "VALIDATION quantity": {5}}); fmt.Sprint(lines) != want {
		t.Errorf("got %v, want %v", lines, want)
	}
	text, err := os.ReadFile(r.Rejects)
	if want := "licenseId,date,usageType,quantity\nl,2024-13-01,view,5\nl,2024-10-02,view,x\nl,2024-10-03,view\nl,2024-10-01,view,6\n"; err != nil || string(text) != want || r.Rejects != daily+".rejects.csv" {
		t.Errorf("rejects in %s: %v\n%s", r.Rejects, err, text)
	}

	events := write(t, "events.csv", "license_id,usage_type,occurred_at,metadata,idempotency_key\nl,view,2024-10-01T00:00:00Z,\"{\"\"a\"\":1}\",k\n"+
		"l,view,2024-10-01T00:00:00Z,,\nl,view,,,\nnobody,view,2024-10-01T00:00:00Z,,\nl,Views!,2024-10-01T00:00:00Z,,z\n")
	r, _, err = runBackfill(t, b, "--events", events)
	if err == nil || r.New != 2 || len(b.events) != 2 || b.events["k"].Quantity != 1 || string(b.events["k"].Metadata) != `{"a":1}` {
		t.Errorf("%+v, %v, %v", r, err, b.events)
	}
	text, err = os.ReadFile(events + ".rejects.ndjson")
	var kept []fileEvent
	for line := range strings.Lines(string(text)) {
		var e fileEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Error(err)
		}
		kept = append(kept, e)
	}
	if err != nil || len(kept) != 3 || !strings.HasPrefix(kept[1].IdempotencyKey, "backfill:") || kept[2].IdempotencyKey != "z" {
		t.Errorf("rejects: %v\n%s", err, text)
	}
}

// A row without a line end may be half of one: it is not counted before it has its end.
func TestBackfillLeavesARowThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, name, whole string }{
		{"--events", "e.csv", "licenseId,usageType,occurredAt,quantity\nl,view,2024-10-01T00:00:00Z,5\nl,view,2024-10-01T00:00:01Z,1234\n"},
		{"--daily", "d.csv", "licenseId,date,view\nl1,2024-10-01,5\nl2,2024-10-01,1234\n"},
		{"--events", "e.ndjson", strings.Repeat(`{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:00Z"}`+"\n", 2)},
		{"--events", "whole.ndjson", strings.Repeat(`{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:00Z"}`+"\n", 2) + "  "},
	} {
		b := newBooks()
		path := write(t, c.name, c.whole[:len(c.whole)-3])
		if r, _, err := runBackfill(t, b, c.flag, path); err == nil || !strings.Contains(err.Error(), "has no line end") || r.New != 1 {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		if err := os.WriteFile(path, []byte(c.whole), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, _, err := runBackfill(t, b, c.flag, path); err != nil || len(b.events)+len(b.totals) != 2 {
			t.Errorf("%s, whole: %+v, %v, %d events, %d totals", c.name, r, err, len(b.events), len(b.totals))
		}
	}
}

// What is named for a checkpoint, and is none, is not written over.
func TestBackfillLeavesOtherFilesAlone(t *testing.T) {
	t.Parallel()
	const daily = "licenseId,date,view\nl1,2024-10-01,5\n"
	path := write(t, "d.csv", daily)
	other := write(t, "notes", "mine")
	locked := write(t, "d.csv.lock", daily)
	for _, c := range []struct{ path, checkpoint, rejects, says string }{
		{path, path, path + ".r", "is of the checkpoint"},
		{path, path + ".x", path + ".x", "is of the checkpoint"},
		{path, path + ".x", filepath.Dir(path) + "/./" + filepath.Base(path) + ".x.new", "is of the checkpoint"},
		{locked, strings.TrimSuffix(locked, ".lock"), path + ".r", "is of the checkpoint"},
		{path, other, path + ".r", "is no checkpoint"},
	} {
		b := newBooks()
		if _, _, err := runBackfill(t, b, "--daily", c.path, "--checkpoint", c.checkpoint, "--rejects", c.rejects); err == nil || !strings.Contains(err.Error(), c.says) || b.requests > 0 {
			t.Errorf("%+v: %v, %d requests", c, err, b.requests)
		}
		if now, err := os.ReadFile(c.path); err != nil || string(now) != daily {
			t.Errorf("%+v: %q, %v", c, now, err)
		}
	}
	if now, err := os.ReadFile(other); err != nil || string(now) != "mine" {
		t.Errorf("%q, %v", now, err)
	}
}

// cutting is a server while whose first answer the file loses its end.
type cutting struct {
	*books
	path string
}

func (c cutting) Track(ctx context.Context, events []usance.Event) ([]usance.Result, error) {
	if c.requests == 0 {
		if err := os.Truncate(c.path, 0); err != nil {
			return nil, err
		}
	}
	return c.books.Track(ctx, events)
}

// A file that is cut short while it is read has not ended.
func TestBackfillOfAFileThatIsCut(t *testing.T) {
	t.Parallel()
	line := `{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:00Z","metadata":{"a":"` + strings.Repeat("x", 500) + `"}}` + "\n"
	path := write(t, "e.ndjson", strings.Repeat(line, 1000))
	b := cutting{newBooks(), path}
	if _, _, err := runBackfill(t, b, "--events", path); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path + ".checkpoint"); err != nil {
		t.Error(err)
	}
}

// A backfill that ended early goes on where it was, unless the server holds
// nothing of it; whatever the form of the file, all is counted once.
func TestBackfillResumes(t *testing.T) {
	t.Parallel()
	var jsonLines, csvLines, daily strings.Builder
	csvLines.WriteString("licenseId,usageType,occurredAt\n")
	daily.WriteString("licenseId,date,view\n")
	for i := range 300 {
		fmt.Fprintf(&jsonLines, `{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:%02dZ","metadata":{"n":%d45678901234567890}}`+"\n", i%60, (i+1)*2654435761)
		fmt.Fprintf(&csvLines, "l,view,2024-10-01T00:00:%02dZ\n", i%60)
		fmt.Fprintf(&daily, "l%d,2024-10-01,%d\n", i, 1+i)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(jsonLines.String())); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flag, name, content string }{
		{"--events", "e.ndjson", jsonLines.String()}, {"--events", "e.ndjson.gz", packed.String()}, {"--events", "e.csv", csvLines.String()}, {"--daily", "d.csv", daily.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, c.name, c.content)
			b := newBooks()
			if r, _, err := runBackfill(t, b, c.flag, path, "--dry-run"); err != nil || r.Rows != 300 || b.requests != 0 {
				t.Errorf("dry: %+v, %v", r, err)
			}
			b.fail = 51
			r, _, err := runBackfill(t, b, c.flag, path)
			if err == nil || r.Error == "" || r.Rows != 150 {
				t.Errorf("broken off: %+v, %v", r, err)
			}
			before := b.requests
			b.fail = 0
			r, errOut, err := runBackfill(t, b, c.flag, path)
			if err != nil || errOut != "" || r.Rows != 300 || r.New != 300 || r.Duplicates != 0 || b.requests-before != 51 || r.ResumedAt < 150 {
				t.Errorf("taken up: %+v %s, %v, %d requests", r, errOut, err, b.requests-before)
			}
			if len(b.events)+len(b.totals) != 300 {
				t.Errorf("%d events, %d totals", len(b.events), len(b.totals))
			}
			// Once more, from elsewhere: all are there.
			moved := write(t, "moved", c.content)
			if c.flag == "--events" {
				if r, _, err := runBackfill(t, b, c.flag, moved); err != nil || r.Duplicates != 300 || r.New != 0 {
					t.Errorf("moved: %+v, %v", r, err)
				}
			}
			// The data of the server are gone.
			b.fail, b.requests = 51, 0
			if _, _, err := runBackfill(t, b, c.flag, path); err == nil {
				t.Fatal("it did not break off")
			}
			empty := newBooks()
			r, errOut, err = runBackfill(t, empty, c.flag, path)
			if err != nil || !strings.Contains(errOut, "starting at the beginning") || len(empty.events)+len(empty.totals) != 300 || r.Rows != 300 {
				t.Errorf("another server: %+v %s, %v", r, errOut, err)
			}
		})
	}
}

// A file that was written since does not go on from the checkpoint, wherever in it
// that was and whatever time it bears: what was answered before may be another row by now.
func TestBackfillOfAChangedFile(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("licenseId,date,view\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "l%d,2024-10-01,%d\n", i, 100)
	}
	path := write(t, "d.csv", text.String())
	b := newBooks()
	b.fail = 401
	if r, _, err := runBackfill(t, b, "--daily", path); err == nil || r.Rows < 1000 {
		t.Fatalf("broken off: %+v, %v", r, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(text.String(), "l701,2024-10-01,100", "l701,2024-10-01,777", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	b.fail = 0
	r, _, err := runBackfill(t, b, "--daily", path)
	if got := b.totals["l701 2024-10-01 view"].Quantity; err != nil || r.ResumedAt != 0 || got != 777 {
		t.Errorf("%+v, %v: %d units, want the corrected 777", r, err, got)
	}
}

// Servers that write the same are told apart by --source.
func TestBackfillOfSeveralServers(t *testing.T) {
	t.Parallel()
	const text = `{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:00Z"}` + "\n"
	b := newBooks()
	for i, source := range []string{"", "host1", "host2", "host1"} {
		args := []string{"--events", write(t, "e.ndjson", text)}
		if source != "" {
			args = append(args, "--source", source)
		}
		if r, _, err := runBackfill(t, b, args...); err != nil || len(b.events) != min(i+1, 3) {
			t.Errorf("%q: %+v, %v, %d events are there", source, r, err, len(b.events))
		}
	}
}

// A backfill of which nothing was counted yet, since all so far was refused, goes on
// where it was all the same, unless the server takes now what it refused.
func TestBackfillResumesBehindRefusals(t *testing.T) {
	t.Parallel()
	for name, beginning := range map[string]string{
		"of the server": `{"licenseId":"nobody","usageType":"view","occurredAt":"2024-10-01T00:00:00Z"}`,
		"of their form": `{"licenseId":"l","usageType":"Views!","occurredAt":"2024-10-01T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text strings.Builder
			for i := range 300 {
				line := beginning
				if i >= 240 {
					line = fmt.Sprintf(`{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:00Z","idempotencyKey":"k%d"}`, i)
				}
				text.WriteString(line + "\n")
			}
			asked := name == "of the server"
			for _, everyone := range []bool{false, true} {
				path := write(t, "e.ndjson", text.String())
				b := newBooks()
				if b.fail = 61; !asked {
					b.fail = 1
				}
				if r, _, err := runBackfill(t, b, "--events", path); err == nil || r.New != 0 || r.Rows < 180 {
					t.Fatalf("broken off: %+v, %v", r, err)
				}
				b.fail, b.requests, b.everyone = 0, 0, everyone
				r, errOut, err := runBackfill(t, b, "--events", path)
				if asked && everyone {
					if err != nil || r.New+r.Duplicates != 300 || r.ResumedAt != 0 || !strings.Contains(errOut, "takes what the checkpoint says was refused; starting at the beginning") {
						t.Errorf("once the licence is there: %+v %s, %v", r, errOut, err)
					}
					continue
				}
				if err == nil || errOut != "" || r.New != 60 || r.Rows != 300 || r.ResumedAt < 180 || r.ReadBytes > int64(text.Len())/2 {
					t.Errorf("taken up: %+v %s, %v", r, errOut, err)
				}
				kept, err := os.ReadFile(r.Rejects)
				if err != nil || strings.Count(string(kept), "\n") != 240 {
					t.Errorf("rejects: %v\n%s", err, kept)
				}
			}
		})
	}
}

// A checkpoint tells apart every way in which an input can be read.
func TestBackfillHow(t *testing.T) {
	t.Parallel()
	day := usance.Date(20000)
	seen := make(map[string]int)
	for i, c := range []backfillCmd{
		{}, {License: "a"}, {Source: "a"}, {Ignore: []string{"a"}}, {Ignore: []string{"a", "b"}}, {Ignore: []string{"a b"}}, {Ignore: []string{"a"}, Source: "b"},
		{Ignore: []string{`a" "b`}}, {Map: map[string]string{"a": "b"}}, {Map: map[string]string{"a": "b c=d"}}, {Map: map[string]string{"a": "b", "c": "d"}},
		{License: "x a=b"}, {License: "x", Map: map[string]string{"a": "b"}}, {License: "x", Ignore: []string{"a=b"}}, {Daily: "f"},
		{Table: "t"}, {Table: "t", Since: &day}, {Table: "t", Until: &day}, {Table: "t", RowKey: []string{"a b"}}, {Table: "t", RowKey: []string{"a", "b"}}, {Table: "t", Timezone: "UTC"},
	} {
		how := c.how("id")
		if other, ok := seen[how]; ok {
			t.Errorf("%d and %d are told alike: %s", other, i, how)
		}
		seen[how] = i
	}
}

// A checkpoint of a later version is left for that; one of before there were
// versions is taken up.
func TestBackfillOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", `"version":1,`, `"version":2,`} {
		var text strings.Builder
		for i := range 300 {
			fmt.Fprintf(&text, `{"licenseId":"l","usageType":"view","occurredAt":"2024-10-01T00:00:00Z","idempotencyKey":"k%d"}`+"\n", i)
		}
		path := write(t, "e.ndjson", text.String())
		b := newBooks()
		b.fail = 61
		if r, _, err := runBackfill(t, b, "--events", path); err == nil || r.Rows < 180 {
			t.Fatalf("broken off: %+v, %v", r, err)
		}
		kept, err := os.ReadFile(path + ".checkpoint")
		if err != nil || !strings.HasPrefix(string(kept), `{"version":1,`) {
			t.Fatalf("%v\n%s", err, kept)
		}
		was := strings.Replace(string(kept), `"version":1,`, version, 1)
		if err := os.WriteFile(path+".checkpoint", []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		b.fail, b.requests = 0, 0
		r, _, err := runBackfill(t, b, "--events", path)
		now, readErr := os.ReadFile(path + ".checkpoint")
		if version == `"version":2,` {
			if err == nil || !strings.Contains(err.Error(), "later version") || b.requests != 0 || string(now) != was {
				t.Errorf("a later version: %+v, %v; %d requests", r, err, b.requests)
			}
			continue
		}
		if err != nil || r.ResumedAt < 180 || r.Rows != 300 || readErr == nil {
			t.Errorf("version %q: %+v, %v", version, r, err)
		}
	}
}
