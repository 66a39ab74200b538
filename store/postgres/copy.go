package postgres

import (
	"encoding/binary"
	"time"

	"github.com/usance/usance"
)

// Events go into and come out of their table in PostgreSQL's binary form,
// written and read here from the event itself: what the driver does for rows of
// any kind costs a seventh of the throughput.

// CopyEvents is the statement whose data AppendCopy writes; the columns are
// those of appendEvent.
const CopyEvents = `COPY license_usage_events (quantity, revenue_cents, occurred_at, received_at, session_hash, local_date, hour_slot, stamped,
	id, batch_id, license_id, key, usage_type, payload_hash, void_of, platform, device_type, geographic_location, referrer, metadata, long_key)
	FROM STDIN (FORMAT binary)`

const copyColumns = 21

// AppendCopy writes the events of batches as the data of CopyEvents, in the
// order in which they are to be written.
func AppendCopy(b []byte, batches []usance.Batch) []byte { return appendCopy(b, byKey(batches)) }

func appendCopy(b []byte, rows []newRow) []byte {
	b = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...) // no flags, no extension
	for _, r := range rows {
		b = appendEvent(b, *r.batch, r.event, r.key)
	}
	return binary.BigEndian.AppendUint16(b, 0xffff)
}

func appendEvent(b []byte, batch usance.ID, e *usance.Event, key string) []byte {
	b = binary.BigEndian.AppendUint16(b, copyColumns)
	b = appendInt64(b, e.Quantity)
	b = appendInt64(b, e.RevenueCents)
	b = appendInt64(b, toMicros(e.OccurredAt))
	b = appendInt64(b, toMicros(e.ReceivedAt))
	b = appendInt64(b, int64(e.SessionHash))
	b = append(b, 0, 0, 0, 4)
	b = binary.BigEndian.AppendUint32(b, uint32(e.LocalDate-epochDays))
	b = append(b, 0, 0, 0, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(e.HourSlot))
	b = append(b, 0, 0, 0, 1)
	if e.Stamped {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = appendBytes(b, e.ID[:])
	b = appendBytes(b, batch[:])
	b = appendBytes(b, e.LicenseID)
	b = appendBytes(b, key)
	b = appendBytes(b, e.UsageType)
	b = appendBytes(b, e.PayloadHash[:])
	if e.VoidOf.IsZero() {
		b = append(b, null...)
	} else {
		b = appendBytes(b, e.VoidOf[:])
	}
	b = appendOptional(b, e.Platform)
	b = appendOptional(b, e.DeviceType)
	b = appendOptional(b, e.GeographicLocation)
	b = appendOptional(b, e.Referrer)
	b = appendOptional(b, e.Metadata)
	if key == e.IdempotencyKey {
		return append(b, null...)
	}
	return appendBytes(b, e.IdempotencyKey)
}

// null is the length that stands for NULL.
const null = "\xff\xff\xff\xff"

func appendInt64(b []byte, n int64) []byte {
	b = append(b, 0, 0, 0, 8)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// appendOptional writes what is empty as NULL.
func appendOptional[T ~string | ~[]byte](b []byte, s T) []byte {
	if len(s) == 0 {
		return append(b, null...)
	}
	return appendBytes(b, s)
}

// eventColumns are those that readEvent reads.
const eventColumns = `e.quantity, e.revenue_cents, e.occurred_at, e.received_at, e.session_hash, e.local_date, e.hour_slot, e.stamped,
	e.id, e.license_id, e.key, e.usage_type, e.payload_hash, e.void_of, e.platform, e.device_type, e.geographic_location, e.referrer,
	e.metadata, e.long_key`

const eventFields = 20

// readEvent reads the first columns of a row, which are eventColumns.
func readEvent(v [][]byte, e *usance.Event) {
	*e = usance.Event{
		Quantity: readInt64(v[0]), RevenueCents: readInt64(v[1]), OccurredAt: readTime(v[2]), ReceivedAt: readTime(v[3]),
		SessionHash: uint64(readInt64(v[4])), LocalDate: readDate(v[5]),
		HourSlot: int(int16(binary.BigEndian.Uint16(v[6]))), Stamped: v[7][0] != 0,
		LicenseID: string(v[9]), UsageType: string(v[11]),
		Platform: string(v[14]), DeviceType: string(v[15]), GeographicLocation: string(v[16]), Referrer: string(v[17]),
	}
	copy(e.ID[:], v[8])
	copy(e.PayloadHash[:], v[12])
	copy(e.VoidOf[:], v[13])
	if v[18] != nil {
		e.Metadata = append(usance.RawJSON(nil), v[18]...)
	}
	if e.IdempotencyKey = string(v[10]); v[19] != nil {
		e.IdempotencyKey = string(v[19])
	}
}

func readInt64(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func readDate(b []byte) usance.Date {
	return usance.Date(int32(binary.BigEndian.Uint32(b))) + epochDays
}

func readTime(b []byte) time.Time { return fromMicros(readInt64(b)) }
