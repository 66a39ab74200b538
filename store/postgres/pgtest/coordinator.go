package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usance/usance/store/postgres"
)

// Citus is the variable that names a database on a coordinator of Citus, on which
// some tests run too where it is set. Each test makes a schema of its own in that
// database, and drops it.
const Citus = "USANCE_TEST_CITUS_URL"

// coordinator is what the variable holds. It is taken out of the environment: the
// program, which tests start, refuses variables of such a name that it has no
// setting for.
var coordinator = func() string {
	defer os.Unsetenv(Citus)
	return os.Getenv(Citus)
}()

// OnCitus gives the URL of an empty schema in the database that the variable
// names, which is gone when the test ends; the test is skipped where there is none.
func OnCitus(t testing.TB) string {
	t.Helper()
	if coordinator == "" {
		t.Skip(Citus + " names no coordinator")
	}
	schema, drop, err := CreateOnCitus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return schema
}

// CreateOnCitus is OnCitus for those who drop the schema themselves; the variable
// is set.
func CreateOnCitus(ctx context.Context) (schema string, drop func() error, err error) {
	u, err := url.Parse(coordinator)
	if err != nil || u.Scheme == "" {
		return "", nil, errors.New(Citus + " holds no URL") // no secret is told
	}
	name := "usance_test_" + strings.ToLower(rand.Text())
	exec := func(ctx context.Context, statement string) error {
		conn, err := postgres.Connect(ctx, coordinator)
		if err != nil {
			return fmt.Errorf("%s: %w", Citus, err)
		}
		defer conn.Close(ctx)
		for try := 1; ; try++ { // others' tables come and go on the same servers
			var e *pgconn.PgError
			if _, err = conn.Exec(ctx, statement); try == 20 || !errors.As(err, &e) || e.Code != "40P01" {
				return err
			}
		}
	}
	if err := exec(ctx, "CREATE SCHEMA "+name); err != nil {
		return "", nil, err
	}
	q := u.Query()
	q.Set("search_path", name)
	if !q.Has("citus.shard_count") {
		q.Set("citus.shard_count", "4") // of the usual 32, a schema takes seconds to make
	}
	u.RawQuery = q.Encode()
	return u.String(), func() error { return exec(context.WithoutCancel(ctx), "DROP SCHEMA "+name+" CASCADE") }, nil
}
