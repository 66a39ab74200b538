package redis

import (
	"context"

	"github.com/redis/rueidis"
)

const (
	opGet = "get"
	opPut = "put"
)

// maxValue bounds what is kept of one thing: a larger one would hold up the
// connection, and is read from the database soon enough.
const maxValue = 512 << 10

// Get gives what Put was given for the key by any node, within the TTL, unless
// the Redis has forgotten it or is away.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool) {
	value, err := ask(ctx, r, opGet, func(ctx context.Context, c rueidis.Client) ([]byte, error) {
		b, err := c.Do(ctx, c.B().Get().Key(r.key("sum", key)).Build()).AsBytes()
		if rueidis.IsRedisNil(err) {
			return nil, nil
		}
		return b, err
	})
	return value, err == nil && value != nil
}

// Put keeps the value for all nodes, if it can.
func (r *Redis) Put(ctx context.Context, key string, value []byte) {
	if len(value) > maxValue {
		return
	}
	// Whether it was kept is of no consequence, and ask has counted it.
	_, _ = ask(ctx, r, opPut, func(ctx context.Context, c rueidis.Client) (none struct{}, err error) {
		return none, c.Do(ctx, c.B().Set().Key(r.key("sum", key)).Value(rueidis.BinaryString(value)).Px(r.ttl).Build()).Error()
	})
}
