package usance

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// ID is a UUIDv7 (RFC 9562): its first 48 bits are the milliseconds of its
// making and the next 12 the fraction of that millisecond, so that ids sort by
// time to about a quarter of a microsecond.
type ID [16]byte

// NewID makes the UUIDv7 of the instant t.
func NewID(t time.Time) ID {
	var id ID
	_, _ = rand.Read(id[6:]) // never fails: crypto/rand
	fraction := uint64(t.Nanosecond()) % 1e6 * 4096 / 1e6
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16|0x7000|fraction)
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// Time is the millisecond that the id was made in.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC()
}

// ParseID reads the 36-character form.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, Invalid("id", "%.40q is not a UUID", s)
	}
	src := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(src)); err != nil {
		return ID{}, Invalid("id", "%.40q is not a UUID", s)
	}
	return id, nil
}

// IsZero tells whether the id was never set.
func (id ID) IsZero() bool { return id == ID{} }

func (id ID) String() string {
	b, _ := id.MarshalText()
	return string(b)
}

// MarshalText writes the 36-character form; the zero id is empty.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// AppendText appends what MarshalText writes.
func (id ID) AppendText(b []byte) ([]byte, error) {
	if id.IsZero() {
		return b, nil
	}
	b = hex.AppendEncode(b, id[0:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:6])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[6:8])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[8:10])
	b = append(b, '-')
	return hex.AppendEncode(b, id[10:16]), nil
}

// UnmarshalText reads the 36-character form; empty text is the zero id.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
