package usance

import "errors"

// SchemaFault is a table, view, column or index of the database that is not as
// the program's migrations make it.
type SchemaFault struct {
	Kind    string `json:"kind"` // table, view, column or index
	Name    string `json:"name"` // of a column: table.column
	Problem string `json:"problem"`
	Fix     string `json:"fix"`   // the statement, or the step, that makes it again
	Vital   bool   `json:"vital"` // it keeps from being there twice what must be there once: no server starts without it
}

// ErrKeyIndex is in what Ping answers when the unique index of idempotency keys
// is not there, without which retries are counted again.
var ErrKeyIndex = errors.New("usance: the unique index of idempotency keys is missing")

// RequireUnique refuses a database of which a unique index is missing.
func RequireUnique(faults []SchemaFault) error {
	for _, f := range faults {
		if f.Vital {
			return WrapError(ErrKeyIndex, CodeUnavailable,
				"the %s %s %s: what must be there once would be counted twice without it. %s; see \"A table or an index is missing\" in docs/operations.md",
				f.Kind, f.Name, f.Problem, f.Fix)
		}
	}
	return nil
}
