package postgres

import (
	"context"
	"encoding/binary"
	"math/bits"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
)

// On Citus the rows of a licence lie on one shard of one server. What it carries
// out there, and what this file sees to:
//
//   - A statement that locks rows, or writes several, must name the licences, all
//     of one shard: so work on several is done shard by shard, in the order of
//     shards (apart), and each statement names them (pruned).
//   - Rows are inserted as VALUES (insert): as arrays they would go by way of the
//     coordinator, unless joined with rows of each licence that are there already.
//   - What belongs to many licences of a shard is filed under one text that stands
//     for them, the shard's key: pending batches, and how many events were received.
//   - A snapshot of a server begins with the first statement on it: a View begins
//     with one on each.

// shards is how Citus distributes the licences.
type shards struct {
	least []int32  // of the hashes on each shard, in order: the first is the least there is
	keys  []string // of each shard
	touch string   // a statement that reads next to nothing, on each server that has shards

	looks    bool         // whether it is looked, now and then, if they are still the same
	lookedAt atomic.Int64 // when, in nanoseconds since 1970
	changed  atomic.Bool  // they are not
}

// of gives a licence's shard, from 1 on.
func (c *shards) of(licenseID string) int {
	h := hashText(licenseID)
	return sort.Search(len(c.least), func(i int) bool { return c.least[i] > h })
}

// key gives the text that stands for all licences of a licence's shard.
func (c *shards) key(licenseID string) string { return c.keys[c.of(licenseID)-1] }

// numbered gives the shard that a key stands for; 0 when it is no key.
func (c *shards) numbered(key string) int {
	if n := c.of(key); c.keys[n-1] == key {
		return n
	}
	return 0
}

// Shards tells how Citus distributes the licences, where it does.
func (s *Store) Shards() usance.Shards {
	if s.shards == nil {
		return usance.OneShard()
	}
	return usance.Shards{Count: len(s.shards.keys), Of: s.shards.of}
}

// findShards looks whether the tables are distributed, and how. Where the
// extension came after the tables, they are tables like others.
func (s *Store) findShards(ctx context.Context) error {
	var distributed bool
	err := s.direct.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus') AND to_regclass('license_usage_received') IS NOT NULL`).Scan(&distributed)
	if err == nil && distributed {
		err = s.direct.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('license_usage_received'))`).Scan(&distributed)
	}
	if err != nil || !distributed {
		return failure(ctx, err)
	}
	rows, err := s.direct.Query(ctx, `SELECT s.shardminvalue::integer, p.groupid FROM pg_dist_shard s JOIN pg_dist_placement p USING (shardid)
		WHERE s.logicalrelid = 'license_usage_events'::regclass ORDER BY 1`)
	if err != nil {
		return failure(ctx, err)
	}
	c := new(shards)
	servers, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (server int32, err error) {
		var least int32
		err = row.Scan(&least, &server)
		c.least = append(c.least, least)
		return server, err
	})
	if err != nil {
		return failure(ctx, err)
	}
	if err := s.distributed(ctx, c, servers); err != nil {
		return err
	}
	s.shards.lookedAt.Store(time.Now().UnixNano())
	s.shards.looks = true
	return nil
}

// lookAgain is how often a node looks whether the shards are still those that it
// knows.
const lookAgain = 5 * time.Second

// sameShards refuses to go on with shards that are no more: what is filed under
// them would be looked for elsewhere by others. Who comes after lookAgain looks.
func (v *view) sameShards(ctx context.Context) error {
	c := v.c.of.shards
	if c == nil || !c.looks {
		return nil
	}
	now, last := time.Now().UnixNano(), c.lookedAt.Load()
	if !c.changed.Load() && now-last >= int64(lookAgain) && c.lookedAt.CompareAndSwap(last, now) {
		least, err := all(ctx, v, `SELECT shardminvalue::integer FROM pg_dist_shard WHERE logicalrelid = 'license_usage_events'::regclass ORDER BY 1`, nil,
			func(r *rows, least *int32) error { return r.Scan(least) })
		if err != nil {
			c.lookedAt.CompareAndSwap(now, last)
			return err
		}
		if !slices.Equal(least, c.least) {
			c.changed.Store(true)
		}
	}
	if c.changed.Load() {
		return usance.NewError(usance.CodeUnavailable, "the shards of the tables on Citus were changed while this node ran: restart it")
	}
	return nil
}

// distributed has the store do as is to be done on Citus, with shards on servers.
func (s *Store) distributed(ctx context.Context, c *shards, servers []int32) error {
	if err := c.nameKeys(); err != nil {
		return err
	}
	c.touch = c.touchEach(servers)
	s.shards = c
	s.local += "; SET LOCAL citus.max_adaptive_executor_pool_size = 1" // one snapshot of a server, and none of its connections more
	if err := s.checkHash(ctx); err != nil {
		return err
	}
	return s.update(ctx, usance.Locks{}, func(t *tx) error { return t.refile(ctx) })
}

// touchEach makes the statement, of the servers that the shards are on.
func (c *shards) touchEach(servers []int32) string {
	var keys []string
	seen := make(map[int32]bool)
	for i, server := range servers {
		if !seen[server] {
			seen[server] = true
			keys = append(keys, c.keys[i])
		}
	}
	return "; SELECT 1 FROM license_usage_backfills WHERE license_id IN ('" + strings.Join(keys, "', '") + "')"
}

// checkHash compares the hashes that are worked out here with the server's.
func (s *Store) checkHash(ctx context.Context) error {
	texts := slices.Clone(s.shards.keys)
	for n := range 40 {
		texts = append(texts, strings.Repeat("é7-", n)[:n])
	}
	texts = slices.DeleteFunc(texts, func(t string) bool { return strings.ToValidUTF8(t, "") != t })
	var other int
	err := s.direct.QueryRow(ctx, `SELECT count(*) FROM unnest($1::text[], $2::integer[]) AS u (text, hash) WHERE hashtext(text COLLATE "C") <> hash`,
		texts, column(texts, func(t *string) int32 { return hashText(*t) })).Scan(&other)
	if err == nil && other > 0 {
		err = usance.NewError(usance.CodeUnavailable, "the server hashes text in another way than Usance knows: it cannot tell on which shard of Citus a licence lies")
	}
	return failure(ctx, err)
}

// hashText is PostgreSQL's hash of a text, by which Citus distributes: Bob
// Jenkins' lookup3 as hash_bytes has it.
func hashText(s string) int32 {
	a, b, c, k := hashBlocks(s, len(s))
	var rest [12]byte
	copy(rest[:], k[:min(len(k), 8)])
	copy(rest[9:], k[min(len(k), 8):]) // the lowest byte of c is for the length
	a += binary.LittleEndian.Uint32(rest[:])
	b += binary.LittleEndian.Uint32(rest[4:])
	c += binary.LittleEndian.Uint32(rest[8:])
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	c = (c ^ b) - bits.RotateLeft32(b, 24)
	return int32(c)
}

// hashBlocks takes in the whole blocks of a text of so many bytes, and leaves the rest.
func hashBlocks(s string, length int) (a, b, c uint32, k []byte) {
	a = 0x9e3779b9 + uint32(length) + 3923095
	b, c = a, a
	k = []byte(s)
	for ; len(k) >= 12; k = k[12:] {
		a += binary.LittleEndian.Uint32(k)
		b += binary.LittleEndian.Uint32(k[4:])
		c += binary.LittleEndian.Uint32(k[8:])
		a = (a - c) ^ bits.RotateLeft32(c, 4)
		c += b
		b = (b - a) ^ bits.RotateLeft32(a, 6)
		a += c
		c = (c - b) ^ bits.RotateLeft32(b, 8)
		b += a
		a = (a - c) ^ bits.RotateLeft32(c, 16)
		c += b
		b = (b - a) ^ bits.RotateLeft32(a, 19)
		a += c
		c = (c - b) ^ bits.RotateLeft32(b, 4)
		b += a
	}
	return a, b, c, k
}

// onCitus gives text for Citus alone.
func (v *view) onCitus(text string) string {
	if v.c.of.shards == nil {
		return ""
	}
	return text
}

// pruned is the condition by which Citus finds the shards of a table that is
// joined with arrays, of which the first holds the licences.
func (v *view) pruned(column string) string { return v.onCitus(" AND " + column + " = ANY($1)") }

// shardKey gives the key of a licence's shard; nothing asks for it but on Citus.
func (v *view) shardKey(licenseID string) string {
	if c := v.c.of.shards; c != nil {
		return c.key(licenseID)
	}
	return ""
}

// apart does something with columns of rows, of which the first holds the
// licences: with all at once, but on Citus with the rows of each shard, in the
// order of shards. What is no column is passed on as it is.
func (v *view) apart(columns []any, do func(columns []any) error) error {
	c := v.c.of.shards
	licenses, _ := columns[0].([]string)
	if c == nil {
		return do(columns)
	}
	byShard := make([][]int, len(c.keys))
	several := 0
	for i, id := range licenses {
		n := c.of(id) - 1
		if byShard[n] == nil {
			several++
		}
		byShard[n] = append(byShard[n], i)
	}
	if several == 1 {
		return do(columns)
	}
	for _, at := range byShard {
		if len(at) == 0 {
			continue
		}
		part := slices.Clone(columns)
		for n, column := range columns {
			if all := reflect.ValueOf(column); all.Kind() == reflect.Slice && all.Len() == len(licenses) {
				some := reflect.MakeSlice(all.Type(), 0, len(at))
				for _, i := range at {
					some = reflect.Append(some, all.Index(i))
				}
				part[n] = some.Interface()
			}
		}
		if err := do(part); err != nil {
			return err
		}
	}
	return nil
}

// execApart carries out one write of columns of rows, of which the first holds
// the licences, on Citus one for each shard.
func (t *tx) execApart(ctx context.Context, query string, columns ...any) (affected int64, err error) {
	err = t.apart(columns, func(columns []any) error {
		n, err := t.exec(ctx, query, columns...)
		affected += n
		return err
	})
	return affected, err
}

// allApart runs a query that locks rows of several licences, on Citus one for
// each shard, and gives the rows in order.
func allApart[T any](ctx context.Context, v *view, query string, columns []any, scan func(*rows, *T) error, order func(a, b T) int) (out []T, err error) {
	parts := 0
	err = v.apart(columns, func(columns []any) error {
		some, err := all(ctx, v, query, columns, scan)
		out = append(out, some...)
		parts++
		return err
	})
	if parts > 1 {
		slices.SortStableFunc(out, order)
	}
	return out, err
}

// insertion writes rows that are given as columns, of which the first holds the
// licences.
type insertion struct {
	into string // INSERT INTO and what is to be filled
	from string // SELECT of the columns as arrays
	row  string // one of VALUES, with a question mark for each column
	when string // ON CONFLICT
}

// maxValues bounds the rows of one VALUES. There are few lengths, so that the
// server keeps the statements.
const maxValues = 128

func (t *tx) insert(ctx context.Context, in *insertion, columns ...any) error {
	if t.c.of.shards == nil {
		_, err := t.exec(ctx, in.into+" "+in.from+" "+in.when, columns...)
		return err
	}
	return t.apart(columns, func(columns []any) error {
		licenses, _ := columns[0].([]string)
		var lengths []int
		for left := len(licenses); left > 0; {
			n := min(maxValues, 1<<(bits.Len(uint(left))-1))
			lengths = append(lengths, n)
			left -= n
		}
		at := 0
		return t.execStatements(ctx, len(lengths), func(i int) (string, []any, error) {
			n := lengths[i]
			args := make([]any, 0, n*len(columns))
			for row := at; row < at+n; row++ {
				for _, column := range columns {
					args = append(args, reflect.ValueOf(column).Index(row).Interface())
				}
			}
			at += n
			values, _ := numbered(strings.Repeat(in.row+", ", n-1)+in.row, nil)
			return in.into + " VALUES " + values + " " + in.when, args, nil
		})
	})
}
