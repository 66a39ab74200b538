package codec

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// MakeCursor writes a cursor: the listing's name and the parts of a sort key,
// each with its length, and a checksum: not to keep secrets, but to tell a
// damaged cursor from one that would quietly skip rows.
func MakeCursor(listing string, parts []string) string {
	b := appendPart(nil, listing)
	for _, p := range parts {
		b = appendPart(b, p)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

func appendPart(b []byte, part string) []byte {
	b = binary.AppendUvarint(b, uint64(len(part)))
	return append(b, part...)
}

// ParseCursor reads the n parts of a cursor that the listing gave; ok is false
// for anything else.
func ParseCursor(listing, cursor string, n int) (parts []string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 4 {
		return nil, false
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(b) != sum {
		return nil, false
	}
	for len(b) > 0 {
		size, used := binary.Uvarint(b)
		if used <= 0 || size > uint64(len(b)-used) {
			return nil, false
		}
		b = b[used:]
		parts = append(parts, string(b[:size]))
		b = b[size:]
	}
	if len(parts) != n+1 || parts[0] != listing {
		return nil, false
	}
	return parts[1:], true
}
