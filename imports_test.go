package usance_test

import (
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/usance/usance"

// The allowed import graph. "A stage" is a step of the way of the data; it
// knows the nouns of the root package and libraries, never another stage's
// inside nor a database. cmd/usance alone knows everything.
var (
	stages = []string{
		"ingest", "fold", "catalog", "query", "notify", "forecast", "billing", "royalty", "access", "weblog", "jobs",
	}
	// rootLibraries are the only ones the nouns lean on.
	rootLibraries = []string{"github.com/cockroachdb/apd/v3", "github.com/axiomhq/hyperloglog"}
	// databases are known to the stores alone.
	databases = []string{
		"database/sql", "modernc.org/sqlite", "github.com/jackc/pgx", "github.com/pressly/goose", "github.com/lib/pq",
		"github.com/mattn/go-sqlite3",
	}
	// sharing is known to redis alone.
	sharing = "github.com/redis/rueidis"
)

// mayImport gives the folders of this module that a folder may import, by the
// rule of the first prefix that matches; "." is the root package. Tests are
// held to it too, but for what testsAlso adds.
func mayImport(folder string) (allowed func(string) bool, known bool) {
	in := func(list ...string) func(string) bool {
		return func(s string) bool {
			return slices.ContainsFunc(list, func(p string) bool { return s == p || strings.HasPrefix(s, p+"/") })
		}
	}
	first, _, _ := strings.Cut(folder, "/")
	switch {
	case folder == ".":
		return func(string) bool { return false }, true
	case slices.Contains(stages, first):
		return func(s string) bool { return s == "." || s == first || strings.HasPrefix(s, first+"/") }, true
	case first == "store":
		return func(s string) bool { return s == "." || strings.HasPrefix(s, "store/") }, true
	case first == "api", first == "dashboard":
		stage := in(append(stages, first)...)
		return func(s string) bool { return s == "." || stage(s) }, true
	case first == "redis":
		return in("redis"), true
	case first == "client":
		return func(s string) bool { return s == "." || strings.HasPrefix(s, "client/") }, true
	case first == "cmd":
		return func(string) bool { return true }, true
	case first == "e2e", first == "sim": // tests of the whole
		return func(s string) bool { return s == "." || s == first }, true
	case first == "bench": // a client, and the database alone
		return in(".", "bench", "store"), true
	case first == "testdata", first == "docs", first == "deploy":
		return func(s string) bool { return s == "." }, true
	}
	return nil, false
}

// testsAlso: a stage's tests may run on a real store, and the store's suite may
// be run by anyone; tests of the API drive the whole.
func testsAlso(folder, imported string) bool {
	first, _, _ := strings.Cut(folder, "/")
	switch {
	case folder == ".", first == "api", first == "client", first == "dashboard", first == "e2e", first == "sim":
		return true
	case slices.Contains(stages, first):
		return strings.HasPrefix(imported, "store/") || slices.Contains(stages, imported)
	}
	return false
}

func TestImportGraph(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "bin" || base == "dist") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		checkFile(t, filepath.ToSlash(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 15 {
		t.Fatalf("only %d Go files were seen; the test looks at the wrong folder", files)
	}
}

// What is decided or said in one place is looked for in all others.
func TestInOnePlace(t *testing.T) {
	t.Parallel()
	for _, rule := range []struct {
		text string
		in   []string // the only files that may hold it
	}{
		{`"no licence %q`, []string{"error.go"}},
		// Who may do what is decided in access; the catalog adds what depends on
		// the state of the threshold that a brand changes.
		{"NewError(usance.CodeForbidden", []string{"access/need.go", "catalog/thresholds.go"}},
		{"usance.AuditEntry{ID:", []string{"store/storetest/limits.go"}},
		// Whatever takes a URL of PostgreSQL takes the same ones.
		{".ParseConfig(", []string{"store/postgres/url.go"}},
		{"pgx.Connect(", nil},
	} {
		err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			source, err := os.ReadFile(name)
			if err == nil && strings.Contains(string(source), rule.text) && !slices.Contains(rule.in, filepath.ToSlash(name)) {
				t.Errorf("%s holds %s, which belongs into %v", name, rule.text, rule.in)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func checkFile(t *testing.T, name string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	folder := path.Dir(name)
	test := strings.HasSuffix(name, "_test.go")
	allowed, known := mayImport(folder)
	if !known {
		t.Errorf("%s: the folder has no rule here; name it in imports_test.go on purpose", name)
		return
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(errors.Join(errors.New(name), err))
			continue
		}
		rel, own := inModule(imported)
		if own {
			if !allowed(rel) && (!test || !testsAlso(folder, rel)) {
				t.Errorf("%s imports %s, which the graph does not allow", name, imported)
			}
			continue
		}
		if test || folder == "cmd/usance" {
			continue
		}
		mayStore := strings.HasPrefix(folder, "store/") || folder == "bench"
		if !mayStore && slices.ContainsFunc(databases, func(p string) bool { return imported == p || strings.HasPrefix(imported, p+"/") }) {
			t.Errorf("%s imports the database %s; only store/ and bench may", name, imported)
		}
		if strings.HasPrefix(imported, sharing) && folder != "redis" {
			t.Errorf("%s imports %s; only redis may", name, imported)
		}
		if folder == "." && strings.Contains(imported, ".") && !slices.Contains(rootLibraries, imported) {
			t.Errorf("%s imports %s; the root package leans on %v only", name, imported, rootLibraries)
		}
	}
}

func inModule(imported string) (rel string, ok bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// TestImportRules shows that the rules refuse what they are there to refuse.
func TestImportRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		folder, imported string
		want             bool
	}{
		{".", "ingest", false},
		{"ingest", ".", true},
		{"ingest", "fold", false},
		{"ingest", "store/sqlite", false},
		{"billing/stripe", "billing", true},
		{"billing/stripe", "ingest", false},
		{"store/sqlite", "store/storetest", true},
		{"store/sqlite", "ingest", false},
		{"api", "ingest", true},
		{"api", "store/sqlite", false},
		{"client", "api", false},
		{"cmd/usance", "store/sqlite", true},
	} {
		allowed, known := mayImport(c.folder)
		if !known || allowed(c.imported) != c.want {
			t.Errorf("may %s import %s? want %v", c.folder, c.imported, c.want)
		}
	}
	if _, known := mayImport("utils"); known {
		t.Error("a folder called utils has a rule")
	}
}
