package api

import (
	"bytes"
	"fmt"
	"testing"
)

func eventBody(n int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"licenseId":"lic_%d","usageType":"view","quantity":%d,"occurredAt":"2024-10-12T08:30:00.%06dZ","platform":"web","deviceType":"desktop","geographicLocation":"DE","referrer":"https://example.com/page/%d","sessionId":"sess_%d","idempotencyKey":"01J9Z8X7W6V5U4T3S2R1Q0P%06d"}`,
			i/50, i%9+1, i, i, i/3, i)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func BenchmarkDecodeEvents(b *testing.B) {
	const n = 1000
	body := eventBody(n)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := decodeEvents(append([]byte(nil), body...))
		if err != nil || len(got.events) != n {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
}
