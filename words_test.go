package usance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestClosedSetsAreWhole: each type of words has one list of all of them, which
// is what everybody else reads.
func TestClosedSetsAreWhole(t *testing.T) {
	lists := map[string][]string{
		"LicenseStatus": texts(LicenseStatuses), "PeriodType": texts(PeriodTypes), "Role": texts(Roles), "OverageStatus": texts(OverageStatuses),
		"EventStatus": texts(EventStatuses), "AlertKind": texts(AlertKinds), "BackfillStatus": texts(BackfillStatuses),
		"Severity": texts(Severities), "ForecastStatus": texts(ForecastStatuses), "Code": texts(Codes), "Dimension": texts(Dimensions),
	}
	consts := make(map[string][]string) // by type
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				name, ok := v.Type.(*ast.Ident)
				if !ok {
					continue
				}
				for _, value := range v.Values {
					if l, ok := value.(*ast.BasicLit); ok && l.Kind == token.STRING {
						word, err := strconv.Unquote(l.Value)
						if err != nil {
							t.Fatal(err)
						}
						consts[name.Name] = append(consts[name.Name], word)
					}
				}
			}
		}
	}
	for name, list := range lists {
		got := slices.Sorted(slices.Values(list))
		if want := slices.Sorted(slices.Values(consts[name])); !slices.Equal(got, want) {
			t.Errorf("the words of %s are %v, its list is %v", name, want, got)
		}
	}
}

func texts[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}
