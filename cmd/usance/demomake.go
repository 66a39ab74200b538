package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/ingest"
)

// demoClock is the clock of the stages while the year is made: each day is
// lived through at its own time, so that alerts, overages and approvals have
// the dates they would have had.
type demoClock struct{ t time.Time }

func (c *demoClock) now() time.Time { return c.t }

// demoKeys are the keys of the demo beside the admin's.
type demoKeys struct {
	Brand   string `json:"brand"`   // of northwind
	Creator string `json:"creator"` // ines
	Ingest  string `json:"ingest"`
}

// demoMaker makes the data.
type demoMaker struct {
	s      *server
	clock  *demoClock
	end    time.Time
	days   int // before the end
	zones  map[string]*time.Location
	brands map[string]string // the key id that acts for a brand
	queue  []usance.Event    // that happen later
	moves  int               // overages decided so far
	events int
}

// demoYear is the most that a demo has, and what growth is told by.
const demoYear = 365

// makeDemo fills the empty store of s with so many days before end. Every event
// takes the way of real ones, through ingest; the same end makes the same data.
func makeDemo(ctx context.Context, s *server, clock *demoClock, end time.Time, days int) (keys demoKeys, events int, err error) {
	m := &demoMaker{s: s, clock: clock, end: end, days: days, zones: make(map[string]*time.Location), brands: make(map[string]string)}
	first := usance.DateOf(end, time.UTC).AddDays(-days)
	clock.t = first.Start(time.UTC).Add(-14 * time.Hour)
	if keys, err = m.parties(ctx); err != nil {
		return keys, 0, err
	}
	// The month of the README's examples, under their licence.
	old := usance.MakeDate(2024, time.October, 1)
	for d := old; d < old+31 && d+60 < first; d++ {
		if err := m.day(ctx, d, "lic_123"); err != nil {
			return keys, m.events, err
		}
	}
	if err := m.send(ctx, (old + 32).Start(time.UTC)); err != nil {
		return keys, m.events, err
	}
	foresight := m.foresight()
	for d := first; d <= usance.DateOf(end, time.UTC)+1; d++ {
		if err := m.day(ctx, d, ""); err != nil {
			return keys, m.events, err
		}
		if err := m.settle(ctx); err != nil {
			return keys, m.events, err
		}
		if err := m.foresee(ctx, foresight, d); err != nil {
			return keys, m.events, err
		}
	}
	if _, err := s.fold.Flush(ctx); err != nil {
		return keys, m.events, err
	}
	return keys, m.events, m.finish(ctx)
}

// parties makes who is who, the limits, and the keys.
func (m *demoMaker) parties(ctx context.Context) (keys demoKeys, err error) {
	c := m.s.catalog
	const actor = access.BootstrapKeyID
	for _, b := range demoBrands {
		if _, err := c.PutBrand(ctx, b.id, fmt.Appendf(nil, `{"name":%q}`, b.name), actor); err != nil {
			return keys, err
		}
	}
	for _, p := range demoCreators {
		if _, err := c.PutCreator(ctx, p.id, fmt.Appendf(nil, `{"name":%q,"email":%q}`, p.name, p.email), actor); err != nil {
			return keys, err
		}
	}
	for _, a := range demoAssets {
		if _, _, err := c.PutAsset(ctx, a.id, fmt.Appendf(nil, `{"name":%q,"type":%q,"owners":%s}`, a.name, a.kind, a.owners), actor); err != nil {
			return keys, err
		}
	}
	for _, l := range demoLicenses {
		if m.zones[l.id], err = usance.ParseZone(l.zone); err != nil {
			return keys, err
		}
		status := l.status
		if status != "EXPIRING_SOON" {
			status = "ACTIVE" // it ends up as listed when the year is over
		}
		body := fmt.Appendf(nil, `{"name":%q,"brandId":%q,"assetId":%q,"status":%q,"timezone":%q,"billingAnchorDay":%d,%s}`,
			l.name, l.brand, l.asset, status, l.zone, l.anchor, l.fields)
		if _, _, err := c.PutLicense(ctx, l.id, body, actor); err != nil {
			return keys, err
		}
	}
	for _, t := range demoLimits {
		if t.limit == 0 {
			t.limit = m.soonUsed(t.license, t.usageType)
		}
		var threshold usance.Threshold
		body := fmt.Appendf(nil, `{"licenseId":%q,"usageType":%q,"periodType":%q,"limitQuantity":%d,%s}`, t.license, t.usageType, t.period, t.limit, t.fields)
		if err := json.Unmarshal(body, &threshold); err != nil {
			return keys, err
		}
		if _, err := c.CreateThreshold(ctx, threshold, actor, false); err != nil {
			return keys, fmt.Errorf("%s: %w", body, err)
		}
	}
	for _, b := range demoBrands {
		k, secret, err := c.CreateKey(ctx, usance.APIKey{Name: b.name, Role: usance.RoleBrand, PartyID: b.id}, actor)
		if err != nil {
			return keys, err
		}
		if m.brands[b.id] = k.ID; b.id == "northwind" {
			keys.Brand = secret
		}
	}
	if _, keys.Creator, err = c.CreateKey(ctx, usance.APIKey{Name: "Inês Carvalho", Role: usance.RoleCreator, PartyID: "ines"}, actor); err != nil {
		return keys, err
	}
	_, keys.Ingest, err = c.CreateKey(ctx, usance.APIKey{Name: "Event sources", Role: usance.RoleIngest}, actor)
	return keys, err
}

// day lives through a day of every licence, or of the one named, up to ten in
// the morning in UTC. Its events are those of the local days of that date, which
// begin before and end after; what happens later waits in the queue.
func (m *demoMaker) day(ctx context.Context, d usance.Date, license string) error {
	for i := range demoFlows {
		if f := &demoFlows[i]; license == "" || f.license == license {
			m.queue = f.add(m.queue, d, m.zones[f.license], m.end)
		}
	}
	if err := m.send(ctx, d.Start(time.UTC).Add(10*time.Hour)); err != nil {
		return err
	}
	if d%7 == 0 {
		if _, err := m.s.fold.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send lets time pass until the instant, or the end, and sends what has happened
// by then.
func (m *demoMaker) send(ctx context.Context, until time.Time) error {
	if until.After(m.end) {
		until = m.end
	}
	m.clock.t = until
	slices.SortStableFunc(m.queue, func(a, b usance.Event) int { return a.OccurredAt.Compare(b.OccurredAt) })
	n := 0
	for n < len(m.queue) && !m.queue[n].OccurredAt.After(until) {
		n++
	}
	for batch := range slices.Chunk(m.queue[:n], usance.MaxBatch) {
		results, err := m.s.ingest.Track(ctx, ingest.Request{Events: batch, Backdate: true, Actor: access.BootstrapKeyID})
		if err != nil {
			return err
		}
		for i := range results {
			// Limits are there to be run into; anything else is a slip of the demo.
			if e := results[i].Error; e != nil && e.Code != usance.CodeLimitExceeded {
				return fmt.Errorf("the demo's event %s: %w", batch[i].IdempotencyKey, e)
			}
		}
	}
	m.events += n
	m.queue = slices.Clone(m.queue[n:]) // what was sent is the ingester's
	return nil
}

// add appends the flow's events of a local day, as far as they lie before end.
func (f *demoFlow) add(events []usance.Event, d usance.Date, zone *time.Location, end time.Time) []usance.Event {
	r := rand.New(rand.NewPCG(uint64(uint32(d)), hashOf(f.license+"/"+f.usageType))) //nolint:gosec // made-up data must be the same each time
	ago := int(usance.DateOf(end, time.UTC) - d)
	_, month, dom := d.YMD()
	factor := 1 + f.growth*(1-float64(ago)/demoYear)
	factor *= 1 + f.season*math.Cos(2*math.Pi*(float64(month)+float64(dom-16)/31-float64(f.peakMonth))/12)
	if wd := d.Weekday(); wd == time.Saturday || wd == time.Sunday {
		factor *= f.weekend
	}
	mix := demoMixes[f.mix]
	for _, c := range f.campaigns {
		if ago <= c.daysAgo && ago > c.daysAgo-c.days {
			factor *= c.factor
			if c.referrer != "" {
				mix.referrers = []string{c.referrer}
			}
		}
	}
	factor = max(factor, 0.05)
	start := d.Start(zone)
	hours := usance.HourSlots(d, zone)
	n := max(1, int(float64(f.events)*(0.75+0.5*r.Float64())))
	for i := range n {
		at := start.Add(time.Duration(hour(r, hours))*time.Hour + time.Duration(r.Int64N(3600_000))*time.Millisecond)
		quantity := int64(max(1, math.Round(float64(f.units)*factor*(0.6+0.8*r.Float64()))))
		e := usance.Event{
			LicenseID: f.license, UsageType: f.usageType, Quantity: quantity, OccurredAt: at,
			Platform: pick(r, mix.platforms), DeviceType: pick(r, mix.devices), GeographicLocation: pick(r, mix.places),
			Referrer:       pick(r, mix.referrers),
			SessionID:      fmt.Sprintf("%s-%d-%d", f.license, d, r.IntN(n*3/4+1)),
			RevenueCents:   int64(math.Round(float64(quantity) * f.cents)),
			IdempotencyKey: fmt.Sprintf("demo-%s-%s-%d", d, f.usageType, i),
		}
		if !at.After(end) { // the rest of today comes, if at all, by the reader's own events
			events = append(events, e)
		}
	}
	return events
}

// soonUsed is what a flow uses in all and some four days more, in round
// numbers.
func (m *demoMaker) soonUsed(license, usageType string) int64 {
	today := usance.DateOf(m.end, time.UTC)
	var all, week int64
	for i := range demoFlows {
		f := &demoFlows[i]
		if f.license != license || f.usageType != usageType {
			continue
		}
		for d := today.AddDays(-m.days); d <= today+1; d++ {
			for _, e := range f.add(nil, d, m.zones[license], m.end) {
				all += e.Quantity
				if m.end.Sub(e.OccurredAt) < 7*24*time.Hour {
					week += e.Quantity
				}
			}
		}
	}
	return (all + week*4/7 + 2_500) / 5_000 * 5_000
}

// hour draws an hour slot: quiet nights, a morning and an evening peak.
func hour(r *rand.Rand, hours int) int {
	for {
		h := r.IntN(hours)
		x := float64(h)
		weight := 0.08 + 0.6*math.Exp(-(x-11)*(x-11)/18) + 0.9*math.Exp(-(x-20)*(x-20)/9)
		if r.Float64() < weight {
			return h
		}
	}
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// hashOf is FNV-1a.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(s) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// settle closes what has ended and lets people decide on overages, some days
// after they came up: most are approved, some disputed and then waived or
// upheld. What came up lately is left for the reader.
func (m *demoMaker) settle(ctx context.Context) error {
	b := m.s.billing
	if _, _, err := b.ClosePeriods(ctx); err != nil {
		return err
	}
	now := m.clock.t
	if now.Weekday() != time.Friday { // the day on which people go through them
		return nil
	}
	pending, err := m.overages(ctx, usance.OveragePendingApproval)
	if err != nil {
		return err
	}
	for i := range pending {
		o := &pending[i]
		if o.SettledAt == nil || now.Sub(*o.SettledAt) < 3*24*time.Hour {
			continue
		}
		m.moves++
		switch {
		case m.end.Sub(now) < 35*24*time.Hour && m.moves%3 != 0: // left for the reader
		case m.moves%4 == 3 && now.Sub(*o.SettledAt) < billing.DisputeWindow:
			_, err = b.Dispute(ctx, o.ID, m.brandKey(o.LicenseID), "the campaign was cleared with your sales team in advance")
		default:
			_, err = b.Approve(ctx, o.ID, access.BootstrapKeyID, "checked against the daily figures")
		}
		if err != nil {
			return err
		}
	}
	return m.answerDisputes(ctx, now)
}

// answerDisputes waives every other dispute that is two weeks old and upholds
// the rest; the latest stay open.
func (m *demoMaker) answerDisputes(ctx context.Context, now time.Time) error {
	disputed, err := m.overages(ctx, usance.OverageDisputed)
	if err != nil {
		return err
	}
	for i := range disputed {
		o := &disputed[i]
		if now.Sub(o.UpdatedAt) < 14*24*time.Hour || m.end.Sub(now) < 10*24*time.Hour {
			continue
		}
		m.moves++
		if m.moves%2 == 0 {
			_, err = m.s.billing.Waive(ctx, o.ID, access.BootstrapKeyID, "goodwill: agreed on the phone")
		} else {
			_, err = m.s.billing.Resolve(ctx, o.ID, access.BootstrapKeyID, "the contract names no exception")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaveDispute sees to it that the reader finds a dispute to answer: when none
// is open, a brand disputes what came up last.
func (m *demoMaker) leaveDispute(ctx context.Context) error {
	disputed, err := m.overages(ctx, usance.OverageDisputed)
	if err != nil || len(disputed) > 0 {
		return err
	}
	for _, status := range []usance.OverageStatus{usance.OveragePendingApproval, usance.OverageApproved} {
		list, err := m.overages(ctx, status)
		if err != nil {
			return err
		}
		if status == usance.OveragePendingApproval && len(list) < 2 {
			continue // one must be left to approve
		}
		for i := range list {
			o := &list[i]
			if o.SettledAt == nil || m.end.Sub(*o.SettledAt) > billing.DisputeWindow {
				continue
			}
			_, err := m.s.billing.Dispute(ctx, o.ID, m.brandKey(o.LicenseID), "we count fewer plays on our side; please compare the days from the 12th on")
			return err
		}
	}
	return nil
}

func (m *demoMaker) overages(ctx context.Context, status usance.OverageStatus) (out []usance.Overage, err error) {
	err = m.s.store.View(ctx, func(v usance.View) error {
		out, _, err = v.Overages(ctx, usance.OverageFilter{Status: status}, usance.Page{Limit: 1000})
		return err
	})
	return out, err
}

func (m *demoMaker) brandKey(licenseID string) string {
	for _, l := range demoLicenses {
		if l.id == licenseID {
			return m.brands[l.brand]
		}
	}
	return access.BootstrapKeyID
}

// finish gives the licences that ended, or were stopped, their last status, and
// marks old alerts as read.
func (m *demoMaker) finish(ctx context.Context) error {
	m.clock.t = m.end
	for _, l := range demoLicenses {
		if l.status == "ACTIVE" || l.status == "EXPIRING_SOON" {
			continue
		}
		if _, _, err := m.s.catalog.PutLicense(ctx, l.id, fmt.Appendf(nil, `{"status":%q}`, l.status), access.BootstrapKeyID); err != nil {
			return err
		}
	}
	if err := m.leaveDispute(ctx); err != nil {
		return err
	}
	return m.s.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		page := usance.Page{Limit: 1000}
		for {
			alerts, next, err := tx.Alerts(ctx, usance.AlertFilter{Unread: true}, page)
			if err != nil {
				return err
			}
			for i := range alerts {
				read := alerts[i].CreatedAt.Add(20 * time.Hour)
				if m.end.Sub(alerts[i].CreatedAt) < 14*24*time.Hour {
					continue
				}
				if err := tx.AcknowledgeAlert(ctx, alerts[i].ID, access.BootstrapKeyID, read); err != nil {
					return err
				}
			}
			if page.Cursor = next; next == "" {
				return nil
			}
		}
	})
}
