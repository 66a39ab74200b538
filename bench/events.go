package bench

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/usance/usance"
)

func licenseIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("lic_%06d", i)
	}
	return ids
}

// unreached is a limit that no run comes near: what is measured is counting.
const unreached = 1_000_000_000_000

// ingestKey is the secret that events are sent with: of the role that hosts have.
const ingestKey = "bench-ingest-key"

func thresholdOf(licenseID string) string { return "thr_" + licenseID }

// readKey is the secret of a key that may read all.
const readKey = "bench-read-key"

// prepare makes a database that holds the licences, each with a threshold by
// the month on its views: every second one blocks, the others bill.
func prepare(ctx context.Context, store usance.Store, licenses []string) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	rate, err := usance.ParseRate("5")
	if err != nil {
		return err
	}
	return store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		if err := tx.PutBrand(ctx, usance.Brand{ID: "brand", Name: "brand", CreatedAt: now, UpdatedAt: now}); err != nil {
			return err
		}
		if err := tx.PutAsset(ctx, usance.Asset{ID: "asset", Name: "asset", CreatedAt: now, UpdatedAt: now}); err != nil {
			return err
		}
		hash := sha256.Sum256([]byte(ingestKey))
		if err := tx.PutAPIKey(ctx, usance.APIKey{ID: "bench", Role: usance.RoleIngest, Hash: hash[:], CreatedAt: now}); err != nil {
			return err
		}
		hash = sha256.Sum256([]byte(readKey))
		if err := tx.PutAPIKey(ctx, usance.APIKey{ID: "read", Role: usance.RoleAdmin, Hash: hash[:], CreatedAt: now}); err != nil {
			return err
		}
		for i, id := range licenses {
			l := usance.NewLicense(id)
			l.BrandID, l.AssetID, l.Status, l.CreatedAt, l.UpdatedAt = "brand", "asset", usance.LicenseActive, now, now
			if err := tx.PutLicense(ctx, l); err != nil {
				return err
			}
			t := usance.Threshold{
				ID: thresholdOf(id), LicenseID: id, UsageType: "view", PeriodType: usance.PeriodMonthly,
				Terms:         usance.Terms{LimitQuantity: unreached, GracePercentage: 10},
				WarningLevels: usance.SortedLevels(nil), IsActive: true, CreatedAt: now, UpdatedAt: now,
				EffectiveFrom: usance.PeriodOf(usance.PeriodMonthly, usance.DateOf(now, time.UTC)-1, 1).Start,
			}
			if i%2 == 1 {
				t.AllowOverage, t.OverageRateCents = true, &rate
			}
			if err := tx.PutThreshold(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// The values that events take.
const (
	places   = 60
	hosts    = 200
	sessions = 1_000_000
)

// source makes up events: platform, device, place, source host and session of
// each are drawn uniformly.
type source struct {
	licenses []string
	rng      *rand.Rand
	zipf     *rand.Zipf // nil: licences are drawn uniformly
	prefix   string     // of keys
	n        int
}

// Seeds beside those of the connections, which count from 0.
const engineSeed = 1 << 20

func newSource(k kind, licenses []string, round, seed int) *source {
	rng := rand.New(rand.NewPCG(uint64(round), uint64(seed))) //nolint:gosec // made-up data must be the same each time
	s := &source{licenses: licenses, rng: rng, prefix: fmt.Sprintf("%02x%02x-", round, seed&0xff)}
	if k.skewed && len(licenses) > 1 {
		s.zipf = rand.NewZipf(rng, 1.2, 1, uint64(len(licenses)-1))
	}
	return s
}

// next makes up an event that occurs now. Its key is random, as those of most
// clients are.
func (s *source) next(now time.Time) usance.Event {
	s.n++
	r := s.rng.Uint64()
	pick := func(n int) int {
		v := int(r % uint64(n))
		r /= uint64(n)
		return v
	}
	var at int
	if s.zipf != nil {
		// The busy ones lie anywhere among the ids.
		at = int(s.zipf.Uint64() * 7919 % uint64(len(s.licenses)))
	} else {
		at = s.rng.IntN(len(s.licenses))
	}
	return usance.Event{
		LicenseID: s.licenses[at], UsageType: "view", Quantity: 1, OccurredAt: now,
		Platform: usance.Platforms[pick(len(usance.Platforms))], DeviceType: usance.DeviceTypes[pick(len(usance.DeviceTypes))],
		GeographicLocation: placeNames[pick(places)], Referrer: referrers[pick(hosts)],
		SessionID:      "session-" + strconv.Itoa(pick(sessions)),
		IdempotencyKey: s.prefix + strconv.FormatUint(s.rng.Uint64(), 36) + strconv.FormatInt(int64(s.n), 36),
	}
}

var placeNames, referrers = func() (p, r []string) {
	for i := range places {
		p = append(p, fmt.Sprintf("region-%02d", i))
	}
	for i := range hosts {
		r = append(r, fmt.Sprintf("https://host-%03d.example.com/page", i))
	}
	return p, r
}()

// appendEvent writes an event as a client sends it. None of its texts needs an
// escape.
func appendEvent(b []byte, e *usance.Event) []byte {
	b = append(b, `{"licenseId":"`...)
	b = append(b, e.LicenseID...)
	b = append(b, `","usageType":"view","quantity":1,"occurredAt":"`...)
	b = e.OccurredAt.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","platform":"`...)
	b = append(b, e.Platform...)
	b = append(b, `","deviceType":"`...)
	b = append(b, e.DeviceType...)
	b = append(b, `","geographicLocation":"`...)
	b = append(b, e.GeographicLocation...)
	b = append(b, `","referrer":"`...)
	b = append(b, e.Referrer...)
	b = append(b, `","sessionId":"`...)
	b = append(b, e.SessionID...)
	b = append(b, `","idempotencyKey":"`...)
	b = append(b, e.IdempotencyKey...)
	return append(b, `"}`...)
}
