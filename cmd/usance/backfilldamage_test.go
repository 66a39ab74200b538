package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two backfills with one checkpoint are kept apart, and what a killed one left is
// taken over.
func TestBackfillsOfOneCheckpoint(t *testing.T) {
	t.Parallel()
	path := write(t, "daily.csv", "licenseId,date,view\nl,2024-10-01,5\n")
	release, err := holdCheckpoint(path + ".checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	b := newBooks()
	if r, _, err := runBackfill(t, b, "--daily", path); err == nil || !strings.Contains(err.Error(), "another backfill is at work") || r.Sent != 0 {
		t.Errorf("beside another: %+v, %v", r, err)
	}
	if r, _, err := runBackfill(t, b, "--daily", path, "--dry-run"); err != nil || r.WouldSend != 1 {
		t.Errorf("a dry run beside another: %+v, %v", r, err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".checkpoint.lock", nil, 0o600); err != nil { // as a killed one leaves it
		t.Fatal(err)
	}
	if r, _, err := runBackfill(t, b, "--daily", path); err != nil || r.New != 1 {
		t.Errorf("behind another: %+v, %v", r, err)
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// What is no CSV of ours is told in letters that a terminal shows.
func TestBackfillShowsNoControlCharacters(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ text, want string }{
		"UTF-16":             {"\xff\xfel\x00,\x00d\x00", "is UTF-16; write it as UTF-8"},
		"control characters": {"a\x1b[2J,view\nb,5\n", `--ignore "a\x1b[2J"`},
		"no UTF-8":           {"caf\xe9,view\nb,5\n", `--ignore "caf\xe9"`},
		"known to --ignore":  {"a\x1b[2J,view\nb,5\n", `(the columns are "a\x1b[2J", view)`},
	} {
		args := []string{"--daily", write(t, "daily.csv", c.text)}
		if strings.HasPrefix(what, "known") {
			args = append(args, "--ignore", "a\x1b[2J")
		}
		if _, _, err := runBackfill(t, newBooks(), args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

// A file of rejects that somebody changed or moved since is left alone, and
// the backfill goes on; one that nobody touched is gone on with.
func TestBackfillRejectsOfOthers(t *testing.T) {
	t.Parallel()
	const header = "licenseId,date,view\n"
	var daily strings.Builder
	daily.WriteString(header)
	for i := range 60 {
		fmt.Fprintf(&daily, "l%d,2024-10-01,%d\nl%d,2024-13-01,1\n", i, 1+i, i)
	}
	for _, c := range []struct {
		name   string
		change func(path, text string) error
		second bool // another file is begun
	}{
		{"untouched", func(string, string) error { return nil }, false},
		{"moved away", func(path, _ string) error { return os.Rename(path, path+".old") }, false},
		{"shortened", func(path, text string) error { return os.Truncate(path, int64(len(text)/2)) }, true},
		{"lengthened", func(path, text string) error { return os.WriteFile(path, []byte(text+"mine\n"), 0o600) }, true},
		{"as long as before", func(path, text string) error {
			return os.WriteFile(path, []byte(strings.ReplaceAll(text, "2024-13-01", "2024-12-01")), 0o600)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "daily.csv", daily.String())
			b := newBooks()
			b.fail = 10
			r, _, err := runBackfill(t, b, "--daily", path)
			kept := path + ".rejects.csv"
			before, e := os.ReadFile(kept)
			if err == nil || !strings.Contains(err.Error(), "goes on where it stopped") || e != nil || r.Rejects != kept {
				t.Fatalf("broken off: %+v, %v, %v", r, err, e)
			}
			if err := c.change(kept, string(before)); err != nil {
				t.Fatal(err)
			}
			changed, _ := os.ReadFile(kept)
			b.fail = 0
			want := kept
			if c.second {
				want = path + ".rejects.2.csv"
			}
			r, errOut, err := runBackfill(t, b, "--daily", path)
			if err == nil || !strings.Contains(err.Error(), "60 of 120 rows") || r.New != 60 || r.Rejects != want {
				t.Errorf("taken up: %+v, %v", r, err)
			}
			if (errOut == "") != (c.name == "untouched") {
				t.Errorf("it says %q", errOut)
			}
			if after, err := os.ReadFile(kept); c.second && (err != nil || !bytes.Equal(after, changed)) {
				t.Errorf("what was changed is now, %v:\n%s", err, after)
			}
			text, err := os.ReadFile(want)
			lines := 61
			if c.name != "untouched" {
				lines -= bytes.Count(before, []byte("\n")) - 1
			}
			if err != nil || !strings.HasPrefix(string(text), header) || bytes.Count(text, []byte("\n")) != lines {
				t.Errorf("%v, want %d lines:\n%s", err, lines, text)
			}
			// Once more from the start: what came of the former run stays.
			r, _, err = runBackfill(t, b, "--daily", path)
			if again, e := os.ReadFile(want); err == nil || e != nil || !bytes.Equal(again, text) || r.Rejects == want {
				t.Errorf("again: %+v, %v, %v", r, err, e)
			}
		})
	}
}

// A damaged file is to be mended: to run it again as it is does not help.
func TestBackfillDamaged(t *testing.T) {
	t.Parallel()
	const lines = "licenseId,date,view\nl,2024-10-01,5\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(lines)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"malformed.csv": lines + "l,2024-10-02,\"5\n",
		"cut.csv.gz":    packed.String()[:packed.Len()-4],
	} {
		r, _, err := runBackfill(t, newBooks(), "--daily", write(t, name, content))
		if err == nil || !strings.Contains(err.Error(), "Mend the file") || strings.Contains(err.Error(), "where it stopped") || r.New != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
