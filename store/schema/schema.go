// Package schema is what the stores do alike with their schemas: the steps that
// lead to them, told, taken and taken back.
package schema

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

// Migration is one step of a schema.
type Migration struct {
	Name      string    // such as 20241012000001_add_license_usage_tracking
	AppliedAt time.Time // UTC; zero while it is pending
	SQL       string    // what applies it
}

// Versions is the table that tells which steps are applied, which goose makes.
type Versions struct {
	Name string
	Make string // the statement that makes it
}

// again says how the table is made again.
func (v Versions) again(steps []Migration) string {
	var rows strings.Builder
	for _, s := range steps {
		number, _, _ := strings.Cut(s.Name, "_")
		rows.WriteString(", (" + number + ", TRUE)")
	}
	return "give it back its name if it has another, or put it back from a backup; or, where everything else is there that this program's migrations make (usance verify --only schema tells), run: " +
		v.Make + " INSERT INTO " + v.Name + " (version_id, is_applied) VALUES (0, TRUE)" + rows.String() + ";"
}

// Pending tells whether the step was not taken yet.
func (m Migration) Pending() bool { return m.AppliedAt.IsZero() }

// Read reads a step out of its file, as pending.
func Read(files fs.FS, file string) (Migration, error) {
	text, err := fs.ReadFile(files, file)
	_, up, _ := strings.Cut(string(text), "-- +goose Up\n")
	up, _, _ = strings.Cut(up, "-- +goose Down")
	up = strings.NewReplacer("-- +goose StatementBegin\n", "", "-- +goose StatementEnd\n", "").Replace(up)
	return Migration{Name: Name(file), SQL: strings.TrimSpace(up) + "\n"}, err
}

// ReadAll reads every step in order, each as pending.
func ReadAll(files fs.FS) (out []Migration, err error) {
	paths, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		m, err := Read(files, p)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Name is the name of the step that a file holds.
func Name(file string) string { return strings.TrimSuffix(path.Base(file), ".sql") }
