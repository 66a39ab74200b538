package pgtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/usance/usance/store/postgres"
)

// template is a database whose schema is made once, of which the others are
// copies. It sorts text as people do, not by bytes: what must sort by bytes has
// to say so.
const template = "usance_template"

var makeTemplate = sync.OnceValue(func() error {
	c, err := theCluster()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := c.exec(ctx, "CREATE DATABASE "+template+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"); err != nil {
		return err
	}
	s, err := postgres.Open(ctx, c.url(template), postgres.Options{Conns: 2})
	if err != nil {
		return err
	}
	return s.Close()
})

// exec runs a statement about databases, which no transaction may hold.
func (c *cluster) exec(ctx context.Context, statement string) error {
	conn, err := postgres.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

var databases atomic.Int64

// URL gives an empty database, migrated, which is gone when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, template)
}

// EmptyURL gives a database without any schema.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return database(t, "template0")
}

func database(t testing.TB, from string) string {
	t.Helper()
	url, drop, err := create(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return url
}

// Create is URL for tests that use up many databases: whoever called drops it.
func Create(ctx context.Context) (url string, drop func() error, err error) {
	return create(ctx, template)
}

// CreateEmpty is EmptyURL for those who drop the database themselves.
func CreateEmpty(ctx context.Context) (url string, drop func() error, err error) {
	return create(ctx, "template0")
}

func create(ctx context.Context, from string) (url string, drop func() error, err error) {
	if err := makeTemplate(); err != nil {
		return "", nil, err
	}
	c, err := theCluster()
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprintf("usance_%d", databases.Add(1))
	if err := c.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+from); err != nil {
		return "", nil, err
	}
	return c.url(name), func() error {
		return c.exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
	}, nil
}

// Open gives a store in an empty database, which the test closes.
func Open(t testing.TB) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), URL(t), postgres.Options{LeaveSchema: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
