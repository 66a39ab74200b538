package storetest

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
	"github.com/usance/usance/store/sqlite"
)

// Kinds names the stores.
var Kinds = []string{"sqlite", "postgres"}

// Open opens an empty store of the kind, which the caller closes.
func Open(t testing.TB, kind string) usance.Store {
	t.Helper()
	switch kind {
	case "sqlite":
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "usance.db"), sqlite.Options{Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	case "postgres":
		return pgtest.Open(t)
	}
	t.Fatalf("there is no store %q", kind)
	return nil
}

// OnEach runs the tests of a package on each store, one after the other; OpenOne
// opens the one whose turn it is. It stands in for testing.M in TestMain. What
// -cpuprofile and its like write is of the first store: testing writes it once.
type OnEach struct{ M *testing.M }

var turn = Kinds[0]

// Run stops at the first store on which a test fails: the next is not tried.
func (e OnEach) Run() int {
	for _, turn = range Kinds {
		fmt.Println("on", turn) // what fails below fails there
		if code := e.M.Run(); code != 0 {
			return code
		}
	}
	return 0
}

// OpenOne opens an empty store, which the caller closes.
func OpenOne(t testing.TB) usance.Store {
	t.Helper()
	return Open(t, turn)
}
