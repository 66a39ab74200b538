package sim

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each deliberate break applies to the product as it is, in full context. The
// simulation is run on them by make mutants, which takes too long for each
// change; that one moved the code away from under a patch is seen at once here.
func TestMutantsApply(t *testing.T) {
	t.Parallel()
	patches, err := filepath.Glob("../testdata/mutants/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("%d patches, %v", len(patches), err)
	}
	for _, patch := range patches {
		t.Run(strings.TrimSuffix(filepath.Base(patch), ".patch"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(patch)
			if err != nil {
				t.Fatal(err)
			}
			tree := t.TempDir()
			files := 0
			for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
				name, ok := strings.CutPrefix(lines.Text(), "+++ b/")
				if !ok {
					continue
				}
				files++
				source, err := os.ReadFile(filepath.Join("..", name))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(tree, name), source, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if files == 0 {
				t.Fatal("the patch names no file")
			}
			apply := exec.CommandContext(t.Context(), "git", "apply", "--check", "-")
			apply.Dir, apply.Stdin = tree, bytes.NewReader(text)
			apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(tree)) // a copy, part of no repository
			if out, err := apply.CombinedOutput(); err != nil {
				t.Errorf("write the patch anew: %v\n%s", err, out)
			}
		})
	}
}
