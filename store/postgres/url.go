package postgres

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usance/usance"
)

// errURL does not name its cause, which may hold the password.
func errURL() error {
	return usance.NewError(usance.CodeUnavailable, "DATABASE_URL is no PostgreSQL URL; write postgres://user:password@host:5432/database")
}

// Where names the database of a URL for people and logs, without any secret. It
// fails when the URL cannot be read.
func Where(url string) (string, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return "", errURL()
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
