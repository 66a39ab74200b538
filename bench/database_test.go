package bench

import (
	"crypto/rand"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

// What a killed run left on the server is dropped by the next one, and nothing
// else: not the databases of a run under way, not such as bear another name.
func TestSweep(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := pgtest.EmptyURL(t)
	live, err := Options{DatabaseURL: server}.database(ctx, filepath.Join(t.TempDir(), "live"), licenseIDs(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := live.drop(); err != nil {
			t.Error(err)
		}
	}()
	c, err := postgres.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	exec := func(statement, name string) {
		t.Helper()
		if _, err := c.Exec(ctx, statement+" "+pgx.Identifier{name}.Sanitize()); err != nil {
			t.Fatal(err)
		}
	}
	dead, others := databasePrefix+rand.Text(), databasePrefix+"of mine"
	exec("CREATE DATABASE", dead)
	exec("CREATE DATABASE", others)
	defer exec("DROP DATABASE", others)
	left, err := postgres.WithDatabase(server, dead)
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := postgres.Connect(ctx, left) // the server that the killed run had started
	if err != nil {
		t.Fatal(err)
	}
	defer orphan.Close(ctx)

	told := 0
	if err := sweep(ctx, server, func(string, ...any) { told++ }); err != nil || told != 1 {
		t.Errorf("%v, %d are told of", err, told)
	}
	there := func(name string) (is bool) {
		t.Helper()
		if err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	var at string
	used, err := postgres.Connect(ctx, live.url)
	if err == nil {
		err = used.QueryRow(ctx, "SELECT current_database()").Scan(&at)
		used.Close(ctx)
	}
	if err != nil || there(dead) || !there(others) || !there(at) {
		t.Errorf("%v; of the dead run: %t, of others: %t, of the live run: %t", err, there(dead), there(others), there(at))
	}
}
