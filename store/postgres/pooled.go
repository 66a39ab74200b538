package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usance/usance"
)

// pooledSettings are those that PgBouncer keeps for each client over all
// sessions. It refuses a client that names another one when it connects.
var pooledSettings = []string{"application_name", "client_encoding", "datestyle", "standard_conforming_strings", "timezone"}

// setDefaults sets what is not set.
func setDefaults(settings, defaults map[string]string) {
	for name, value := range defaults {
		if _, given := settings[name]; !given {
			settings[name] = value
		}
	}
}

// openPooled makes a pool of connections to a pooler, and one of few and short
// lived direct ones. What the direct URL sets for its sessions holds by the
// pooler too.
func (s *Store) openPooled(ctx context.Context, direct *pgxpool.Config, o Options) error {
	config, err := parse(o.Pooled)
	if err != nil {
		return err
	}
	settings := config.ConnConfig.RuntimeParams
	setDefaults(settings, direct.ConnConfig.RuntimeParams)
	if settings["options"] != "" {
		return usance.NewError(usance.CodeUnavailable, "the URL's options cannot go by a pooler; write each as a parameter of its own, such as &lock_timeout=3s")
	}
	s.pooled, s.local = true, takeLocal(settings)
	// A prepared statement belongs to a session, which the next transaction may
	// not have: statements are parsed each time, but described once. A pooler that
	// knows of prepared statements may be named with another mode.
	if !strings.Contains(o.Pooled, "default_query_exec_mode") {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if s.pool, err = s.newPool(ctx, config, o.Pooled, o); err != nil {
		return err
	}
	direct.MaxConnIdleTime = 10 * time.Second // migrations are over then
	if s.direct, err = s.newPool(ctx, direct, "", Options{Conns: 4}); err != nil {
		s.pool.Close()
	}
	return err
}

// takeLocal takes the settings that no pooler keeps out of those that are sent
// when connecting, and gives them as statements for the begin of a transaction.
func takeLocal(settings map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if slices.Contains(pooledSettings, strings.ToLower(name)) {
			continue
		}
		// As text in quotes, a list such as that of search_path would be one name.
		fmt.Fprintf(&b, "; SET LOCAL %s = %s", pgx.Identifier(strings.Split(name, ".")).Sanitize(), quoteList(settings[name]))
		delete(settings, name)
	}
	return b.String()
}

// quoteList quotes a setting's value, which may be a list of names.
func quoteList(value string) string {
	parts := strings.Split(value, ",")
	for i, p := range parts {
		p = strings.Trim(strings.TrimSpace(p), `"`)
		parts[i] = "'" + strings.ReplaceAll(p, "'", "''") + "'"
	}
	return strings.Join(parts, ", ")
}

// sameDatabase refuses a pooler that leads to another database than the direct
// URL does, or to other tables of it.
func (s *Store) sameDatabase(ctx context.Context) error {
	const which = `SELECT current_database(), pg_postmaster_start_time(), coalesce(to_regclass('license_usage_events')::oid::bigint, 0)`
	type place struct {
		name  string
		since time.Time
		table int64
	}
	for try := 1; ; try++ {
		var direct, pooled place
		if err := s.direct.QueryRow(ctx, which).Scan(&direct.name, &direct.since, &direct.table); err != nil {
			return failure(ctx, err)
		}
		err := s.view(ctx, func(v *view) error {
			_, err := v.one(ctx, which, nil, &pooled.name, &pooled.since, &pooled.table)
			return err
		})
		if err != nil {
			return err
		}
		if direct.since.Equal(pooled.since) && direct.name == pooled.name && direct.table == pooled.table {
			return nil
		}
		if try == 3 { // it may have been restarted in between
			return usance.NewError(usance.CodeUnavailable,
				"the pooler leads to another database than DATABASE_URL, or to other tables of it: %s there, %s here; DATABASE_URL_POOLED must name the same one", usance.Clip(pooled.name), usance.Clip(direct.name))
		}
	}
}
