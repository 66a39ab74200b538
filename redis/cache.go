package redis

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"github.com/redis/rueidis"
)

const (
	opGet = "get"
	opPut = "put"
)

// maxValue bounds what is kept of one thing, and what is read of one: a larger
// one would hold up the connection, and is read from the database soon enough.
const maxValue = 512 << 10

// Get gives what Put was given for the key by any node, within the TTL, unless
// the Redis has forgotten it or is away. What others wrote there is not given.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool) {
	name := r.key("signed", key)
	kept, err := ask(ctx, r, opGet, func(ctx context.Context, c rueidis.Client) ([]byte, error) {
		return get(ctx, c, name)
	})
	if err != nil || len(kept) == 0 {
		return nil, false
	}
	value, ok := r.unseal(name, kept)
	if !ok && r.forged.speak() {
		r.log.WarnContext(ctx, "Redis holds what no node of this database put there; it is not used")
	}
	return value, ok
}

// Put keeps the value for all nodes, if it can.
func (r *Redis) Put(ctx context.Context, key string, value []byte) {
	if len(value) > maxValue {
		return
	}
	name := r.key("signed", key)
	kept := r.seal(name, value)
	// Whether it was kept is of no consequence, and ask has counted it.
	_, _ = ask(ctx, r, opPut, func(ctx context.Context, c rueidis.Client) (none struct{}, err error) {
		return none, put(ctx, c, name, kept, r.ttl)
	})
}

// get reads no more than Put can have written, and one byte that tells of more;
// nothing when nothing is there.
func get(ctx context.Context, c rueidis.Client, name string) ([]byte, error) {
	return c.Do(ctx, c.B().Getrange().Key(name).Start(0).End(sha256.Size+maxValue).Build()).AsBytes()
}

func put(ctx context.Context, c rueidis.Client, name string, kept []byte, ttl time.Duration) error {
	return c.Do(ctx, c.B().Set().Key(name).Value(rueidis.BinaryString(kept)).Px(ttl).Build()).Error()
}

// seal puts a signature before the value. It covers the name too, so that no
// value can be put in another one's place.
func (r *Redis) seal(name string, value []byte) []byte {
	return append(r.signature(name, value), value...)
}

// unseal gives the value of what seal made.
func (r *Redis) unseal(name string, kept []byte) (value []byte, ok bool) {
	if len(kept) < sha256.Size || len(kept) > sha256.Size+maxValue {
		return nil, false
	}
	value = kept[sha256.Size:]
	if !hmac.Equal(kept[:sha256.Size], r.signature(name, value)) {
		return nil, false
	}
	return value, true
}

func (r *Redis) signature(name string, value []byte) []byte {
	h := hmac.New(sha256.New, r.secret)
	h.Write([]byte(name)) // of one length for all of a space, so that it cannot run into the value
	h.Write(value)
	return h.Sum(nil)
}
