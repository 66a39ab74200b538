package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/usance/usance"
)

var update = flag.Bool("update", false, "write the files that derive from the table of operations")

// golden compares with a file that derives from the table, so that a change of
// the API shows in review.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the table says; run: make generate", path)
	}
}

func TestOpenAPI(t *testing.T) {
	doc := OpenAPI("")
	golden(t, "testdata/openapi.json", doc)
	var parsed struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Parameters  []struct {
				Name, In string
				Required bool
				Schema   map[string]any
			}
			RequestBody struct{ Content map[string]any }
			Responses   map[string]any
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(doc, &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.OpenAPI != "3.1.0" {
		t.Errorf("openapi is %q", parsed.OpenAPI)
	}
	ids := make(map[string]bool)
	for path, item := range parsed.Paths {
		for method, o := range item {
			if o.OperationID == "" || ids[o.OperationID] {
				t.Errorf("%s %s: operationId %q is empty or there twice", method, path, o.OperationID)
			}
			ids[o.OperationID] = true
			if o.Responses["default"] == nil || o.Responses["200"] == nil {
				t.Errorf("%s %s: lacks a response", method, path)
			}
			for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range o.Parameters {
					found = found || p.Name == name[1] && p.In == "path" && p.Required && p.Schema != nil
				}
				if !found {
					t.Errorf("%s %s: path parameter %s is not described", method, path, name[1])
				}
			}
			if (method == "get" || method == "delete") && o.RequestBody.Content != nil {
				t.Errorf("%s %s: has a body", method, path)
			}
		}
	}
	for _, o := range newAPI(Deps{}).ops {
		if o.method != "" && !ids[o.name] {
			t.Errorf("%s is not in the document", o.name)
		}
	}
	if bad := regexp.MustCompile(`"type": (""|\[\s*"")`).Find(doc); bad != nil {
		t.Errorf("a schema has an empty type: %s", bad)
	}
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllSubmatch(doc, -1) {
		if parsed.Components.Schemas[string(ref[1])] == nil {
			t.Errorf("schema %s is named and not there", ref[1])
		}
	}
}

func TestTypeScriptIsCurrent(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTypeScript(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "typescript/router.d.ts", b.Bytes())
}

// The Go client's paths are those of the table.
func TestOpenAPIPathsInClient(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("// Code generated from the table of operations; DO NOT EDIT.\n\npackage client\n\n")
	b.WriteString("// operations are where REST has each operation; query tells those that change nothing.\n")
	b.WriteString("var operations = map[string]struct {\n\tmethod, path string\n\tquery bool\n}{\n")
	for _, o := range newAPI(Deps{}).ops {
		if o.method != "" {
			fmt.Fprintf(&b, "%q: {%q, %q, %t},\n", o.name, o.method, o.path, o.kind == isQuery)
		}
	}
	b.WriteString("}\n")
	src, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../client/operations.go", src)
}

// The page must stand alone: no script, nothing from elsewhere, and every
// operation on it.
func TestDocsPage(t *testing.T) {
	s := newServer(t)
	r := s.send("GET", "/docs", "", "")
	if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", r.status, r.header)
	}
	for _, bad := range []string{"<script", "src=", "@import", "url("} {
		if strings.Contains(r.body, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	for _, o := range s.a.ops {
		if !strings.Contains(r.body, `id="`+o.name+`"`) {
			t.Errorf("%s is not on the page", o.name)
		}
	}
	for _, code := range usance.Codes {
		if !strings.Contains(r.body, `id="`+string(code)+`"`) {
			t.Errorf("error %s is not on the page", code)
		}
	}
	if len(usance.Codes) != len(wires) {
		t.Errorf("usance.Codes has %d codes, wires %d", len(usance.Codes), len(wires))
	}
}

// Closed sets of words come from the nouns alone: a list typed beside a field
// would go on saying what the nouns no longer mean.
func TestClosedSetsAreTheNouns(t *testing.T) {
	var walk func(reflect.Type)
	seen := make(map[reflect.Type]bool)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if seen[typ] {
			return
		}
		seen[typ] = true
		if typ.Kind() == reflect.String && typ.Name() != "string" && wordsOf(typ) == nil {
			t.Errorf("%s is a type of words, and nothing says which", typ)
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for _, f := range reflect.VisibleFields(typ) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); !f.IsExported() || name == "-" {
				continue
			}
			if list, ok := f.Tag.Lookup("enum"); ok {
				t.Errorf("%s.%s has a list of its own: %s", typ, f.Name, list)
			}
			walk(f.Type)
		}
	}
	for _, o := range newAPI(Deps{}).ops {
		walk(o.schemaIn())
		walk(o.in)
		walk(o.out)
	}
	walk(reflect.TypeFor[Problem]())
}
