package postgres

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/usance/usance"
)

// nameKeys finds a key for each shard, which is no licence's id: those hold no
// slash. It tells the least and the greatest hash, so that a shard which others
// were made of, or which was made of others, has another.
func (c *shards) nameKeys() error {
	if n := len(c.least); n == 0 || n > usance.MaxGroups || c.least[0] != math.MinInt32 || len(slices.Compact(slices.Clone(c.least))) != n {
		return usance.NewError(usance.CodeUnavailable,
			"the tables have %d shards and copies of shards on Citus; Usance takes from 1 to %d, one copy of each", n, usance.MaxGroups)
	}
	c.keys = make([]string, len(c.least))
	for i, least := range c.least {
		greatest := int32(math.MaxInt32)
		if i+1 < len(c.least) {
			greatest = c.least[i+1] - 1
		}
		bounds := "/" + strconv.Itoa(int(least)) + "/" + strconv.Itoa(int(greatest)) + "/"
		for n := 0; n < easyTries && c.keys[i] == ""; n++ {
			if key := bounds + strconv.Itoa(n); c.of(key) == i+1 {
				c.keys[i] = key
			}
		}
		if c.keys[i] == "" {
			c.keys[i] = textWith(least, bounds)
		}
	}
	return nil
}

// easyTries is more than it takes for all shards but narrow ones, such as that of
// a licence which Citus has isolated: its only hash no text may have for minutes.
const easyTries = 1 << 16

// textWith gives a text with that hash, always the same, which begins with bounds:
// ends of the hash are worked back to what its last eleven bytes must be, until
// these are letters and the like. That takes some tens of millions of tries, half
// a second.
func textWith(hash int32, bounds string) string {
	bounds += strings.Repeat("/", (12-len(bounds)%12)%12)
	a0, b0, c0, _ := hashBlocks(bounds, len(bounds)+11)
	rng := rand.NewPCG(uint64(uint32(hash)), 0)
	for {
		x := rng.Uint64()
		a, b, c := uint32(x), uint32(x>>32), uint32(hash)
		c = (c + bits.RotateLeft32(b, 24)) ^ b
		b = (b + bits.RotateLeft32(a, 14)) ^ a
		a = (a + bits.RotateLeft32(c, 4)) ^ c
		c = (c + bits.RotateLeft32(b, 16)) ^ b
		b = (b + bits.RotateLeft32(a, 25)) ^ a
		a = (a + bits.RotateLeft32(c, 11)) ^ c
		c = (c + bits.RotateLeft32(b, 14)) ^ b
		a, b, c = a-a0, b-b0, c-c0
		if c&0xff != 0 { // where the length is
			continue
		}
		last := []byte{byte(a), byte(a >> 8), byte(a >> 16), byte(a >> 24), byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24), byte(c >> 8), byte(c >> 16), byte(c >> 24)}
		if !slices.ContainsFunc(last, func(k byte) bool { return k < '(' || k > '~' || k == '\\' }) { // and no quotes
			return bounds + string(last)
		}
	}
}
