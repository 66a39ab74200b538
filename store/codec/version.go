package codec

import (
	"crypto/rand"
	"encoding/binary"
)

// NewVersion makes a version that no licence has had: 62 random bits, above
// the lowest, which is always 1. Had it
// been counted up, a commit that a crash undid and the one that came instead
// would bear the same number, and so would two databases of one backup, though
// they say different things; a cache that outlives the one or serves both would
// mix them up. It is never 0, the version of what was never folded.
func NewVersion() int64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return int64(binary.BigEndian.Uint64(b[:])>>1) | 1
}
