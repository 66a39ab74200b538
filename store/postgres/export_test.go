package postgres

import (
	"context"
	"math"

	"github.com/usance/usance/store/schema"
)

// Setting is what a setting of the database is within a transaction of the store.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.view(ctx, func(v *view) error {
		_, err := v.one(ctx, `SELECT current_setting($1)`, []any{name}, &value)
		return err
	})
	return value, err
}

// KeptName gives what is kept of a licence another name, and tells whether
// anything is.
func (s *Store) KeptName(licenseID, name string) bool {
	s.facts.mu.Lock()
	defer s.facts.mu.Unlock()
	f, ok := s.facts.known[licenseID]
	f.License.Name = name
	if ok {
		s.facts.known[licenseID] = f
	}
	return ok
}

// ByShards has the store do as it does on Citus, with so many shards.
func (s *Store) ByShards(ctx context.Context, n int) error {
	c := new(shards)
	for i := range n {
		c.least = append(c.least, int32(math.MinInt32+i*(math.MaxUint32/n)))
	}
	return s.distributed(ctx, c, make([]int32, n))
}

// LookAtShards has the next transaction look whether the shards are still the same.
func (s *Store) LookAtShards() { s.shards.lookedAt.Store(0) }

// TextWith gives a text that has a hash.
var TextWith = textWith

// HashText is what Citus finds a licence's shard by.
var HashText = hashText

// Parts gives the tables and views of the current schema, but those of migrating,
// and their indexes.
func (s *Store) Parts(ctx context.Context) (out []schema.Part, err error) {
	err = s.view(ctx, func(v *view) error {
		names, err := all(ctx, v, `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v') AND relname <> $1`,
			[]any{VersionTable}, func(r *rows, name *string) error { return r.Scan(name) })
		if err != nil {
			return err
		}
		out, err = v.parts(ctx, names)
		return err
	})
	return out, err
}
