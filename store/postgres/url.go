package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usance/usance"
)

// errURL does not name its cause, which may hold the password.
func errURL() error {
	return usance.NewError(usance.CodeUnavailable, "the database's URL is no PostgreSQL URL; write postgres://user:password@host:5432/database")
}

// parse reads a URL, or a list of key=value. All that connects comes by here, so
// that what holds for a URL holds wherever one is named.
func parse(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL()
	}
	if config.ConnConfig.RuntimeParams == nil {
		config.ConnConfig.RuntimeParams = make(map[string]string)
	}
	return config, nil
}

// Connect opens one connection to the database of a URL, for work that is not
// the store's. What keeps it from doing so is UNAVAILABLE; no error holds the
// password.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := parse(url)
	if err != nil {
		return nil, err
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = sessionSettings["application_name"]
	}
	c, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	return c, failure(ctx, err)
}

// WithDatabase is the URL of another database on the same server.
func WithDatabase(url, name string) (string, error) {
	u, err := neturl.Parse(url)
	if err != nil || u.Scheme == "" { // no secret is told
		return "", errURL()
	}
	q := u.Query()
	q.Del("dbname") // either would name another database than the path does
	q.Del("database")
	u.Path, u.RawQuery = "/"+name, q.Encode()
	return u.String(), nil
}

// Where names the database of a URL for people and logs, without any secret. It
// fails when the URL cannot be read.
func Where(url string) (string, error) {
	config, err := parse(url)
	if err != nil {
		return "", err
	}
	c := config.ConnConfig
	if c.Database == "" {
		return "", errors.New("must name a database: postgres://user:password@host:5432/database")
	}
	if strings.HasPrefix(c.Host, "/") { // the folder of a socket
		return fmt.Sprintf("PostgreSQL at %s, database %s", c.Host, c.Database), nil
	}
	return fmt.Sprintf("PostgreSQL at %s, database %s", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database), nil
}

// IsNotUp tells of an error after which another attempt, soon, may find the
// database up: it cannot be reached, it is starting or stopping, or it has no
// room for another connection.
func IsNotUp(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "08") || e.Code == "53300"
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}
