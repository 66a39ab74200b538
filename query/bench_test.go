package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/usance/usance"
)

// newYear is a licence with a year of three usage types: 30,000 events.
func newYear(b *testing.B, ttl time.Duration) *fixture {
	b.Helper()
	f := newFixture(b, "America/New_York", "2025-12-31T12:00:00Z", ttl)
	start := instant(b, "2025-01-01T05:00:00Z")
	places := []string{"US", "DE", "IN", "BR", "JP", "FR", "GB", "MX"}
	var events []usance.Event
	for i := range 30_000 {
		at := start.Add(time.Duration(i) * 364 * 24 * time.Hour / 30_000)
		e := f.event(at.Format(time.RFC3339), usance.UsageTypes[i%3], int64(1+i%7), int64(i%50), session(uint64(i/2)))
		e.Platform, e.DeviceType = usance.Platforms[i%5], usance.DeviceTypes[i%4]
		e.GeographicLocation, e.Referrer = places[i%len(places)], fmt.Sprintf("https://site%d.example/a", i%97)
		events = append(events, e)
		if len(events) == 10_000 {
			f.track(events...)
			events = events[:0]
		}
	}
	f.fold()
	f.track(f.event("2025-12-31T11:00:00Z", "view", 1, 0))
	return f
}

func BenchmarkAnalytics(b *testing.B) {
	for _, c := range []struct {
		name string
		ttl  time.Duration
	}{{"cold", 0}, {"warm", time.Hour}} {
		for _, g := range []Granularity{Daily, Monthly} {
			b.Run(c.name+"/"+string(g), func(b *testing.B) {
				f := newYear(b, c.ttl)
				req := AnalyticsRequest{LicenseID: licenseID, StartDate: "2025-01-01", EndDate: "2025-12-31", Granularity: g}
				f.analytics(req)
				for b.Loop() {
					f.analytics(req)
				}
			})
		}
	}
}

func BenchmarkCurrentUsage(b *testing.B) {
	f := newYear(b, time.Hour)
	for b.Loop() {
		if _, err := f.CurrentUsage(f.ctx, CurrentRequest{LicenseID: licenseID}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDailyAggregates(b *testing.B) {
	f := newYear(b, 0)
	for b.Loop() {
		if _, err := f.DailyAggregates(f.ctx, DailyRequest{LicenseID: licenseID, StartDate: "2025-01-01", EndDate: "2025-12-31"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrend(b *testing.B) {
	q := make([]int64, 365)
	for i := range q {
		q[i] = int64(i * i % 101)
	}
	for b.Loop() {
		trendOf(q)
	}
}
