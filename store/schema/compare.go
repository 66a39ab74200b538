package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/usance/usance"
)

// The kinds of parts.
const (
	Table = "table"
	View  = "view"
	Index = "index"
)

// Part is a table, view or index of a schema.
type Part struct {
	Kind       string   `json:"kind"`
	Name       string   `json:"name"`
	Of         string   `json:"of,omitempty"`         // the table of an index
	Columns    []string `json:"columns,omitempty"`    // of a table or view: name and type
	Definition string   `json:"definition,omitempty"` // of an index, as the store tells it
	Unique     bool     `json:"unique,omitempty"`
	Make       string   `json:"make,omitempty"` // the statement that makes an index
	Renew      string   `json:"-"`              // the statement that makes it whole, when it is there and not in use
}

// Compare tells what the database lacks, or has otherwise, of what the steps
// make: want, in its order, after the table that tells which of them are applied.
// What it has beyond that is nobody's business.
func (m Migrations) Compare(want, have []Part) ([]usance.SchemaFault, error) {
	steps, err := ReadAll(m.Files)
	if err != nil {
		return nil, err
	}
	there := make(map[[2]string]*Part, len(have))
	for i := range have {
		there[[2]string{have[i].Of, have[i].Name}] = &have[i]
	}
	out := []usance.SchemaFault{}
	if there[[2]string{"", m.Table.Name}] == nil {
		out = append(out, usance.SchemaFault{Kind: Table, Name: m.Table.Name, Problem: "is missing", Fix: m.Table.again(steps)})
	}
	for i := range want {
		w := &want[i]
		h := there[[2]string{w.Of, w.Name}]
		switch {
		case w.Kind == Index && there[[2]string{"", w.Of}] == nil: // told of its table
		case w.Kind == Index:
			out = append(out, w.index(h)...)
		case h == nil || h.Kind != w.Kind:
			out = append(out, usance.SchemaFault{Kind: w.Kind, Name: w.Name, Problem: "is missing", Fix: w.again(steps)})
		default:
			out = append(out, w.columns(h, steps)...)
		}
	}
	return out, nil
}

func (w *Part) index(h *Part) []usance.SchemaFault {
	f := usance.SchemaFault{Kind: Index, Name: w.Name, Vital: w.Unique}
	switch {
	case h == nil:
		f.Problem, f.Fix = "of "+w.Of+" is missing", "run: "+w.Make
	case h.Definition != w.Definition:
		f.Problem, f.Fix = "of "+w.Of+" is another one than it must be: "+h.Definition, "drop it, and run: "+w.Make
	case h.Renew != "":
		f.Problem, f.Fix = "of "+w.Of+" is not in use: making it has not ended, or failed", "when nothing makes it any more, run: "+h.Renew
	default:
		return nil
	}
	return []usance.SchemaFault{f}
}

func (w *Part) columns(h *Part, steps []Migration) (out []usance.SchemaFault) {
	for _, column := range w.Columns {
		if slices.Contains(h.Columns, column) {
			continue
		}
		name, kind, _ := strings.Cut(column, " ")
		f := usance.SchemaFault{Kind: "column", Name: w.Name + "." + name, Problem: "is missing", Fix: w.again(steps)}
		if w.Kind == Table {
			f.Fix = fmt.Sprintf("put the table back from a backup; usance migrate show %s prints how the column is made", maker(steps, w.Name, name))
		}
		if i := slices.IndexFunc(h.Columns, func(c string) bool { return strings.HasPrefix(c, name+" ") }); i >= 0 {
			_, other, _ := strings.Cut(h.Columns[i], " ")
			f.Problem = fmt.Sprintf("is of type %s and must be of type %s", other, kind)
		}
		out = append(out, f)
	}
	return out
}

// again says how a table or view is made again.
func (w *Part) again(steps []Migration) string {
	show := fmt.Sprintf("usance migrate show %s prints the statement that makes it", maker(steps, w.Name, ""))
	if w.Kind == Table {
		return "put it back from a backup; " + show + ", empty"
	}
	return show + ": run that in the database's shell"
}

// maker names the last step that makes a table or view, or the column of it.
func maker(steps []Migration, name, column string) (step string) {
	makes := regexp.MustCompile(`(TABLE|VIEW) (IF NOT EXISTS )?` + regexp.QuoteMeta(name) + `\b`)
	adds := regexp.MustCompile(`ALTER TABLE (IF EXISTS )?` + regexp.QuoteMeta(name) + `\s+ADD COLUMN (IF NOT EXISTS )?` + regexp.QuoteMeta(column) + `\b`)
	alters := regexp.MustCompile(`ALTER TABLE (IF EXISTS )?` + regexp.QuoteMeta(name) + `\b`)
	for _, s := range steps {
		text := s.SQL
		if column != "" && adds.MatchString(text) || makes.MatchString(alters.ReplaceAllString(text, "")) {
			step = s.Name
		}
	}
	return step
}
