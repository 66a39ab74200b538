package catalog

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/usance/usance"
)

// CreateThreshold puts a threshold in force. It judges from the period that
// contains this moment on, seeded with what that period has counted already,
// and raises the alert of the level that was reached.
//
// At most one threshold that limits or bills stands for a licence, usage type
// and period type (THRESHOLD_EXISTS). Where one of its kind was retired it is revived
// with the new terms: same id, counters and overages. One that bills a usage type
// which an active one bills is refused as well; one that was retired has billed
// its periods, and the new one begins with its own first period after those.
func (c *Catalog) CreateThreshold(ctx context.Context, t usance.Threshold, actor string, alertOnly bool) (usance.Threshold, error) {
	t.WarningLevels = usance.SortedLevels(t.WarningLevels)
	if t.UsageType == "" {
		t.UsageType = usance.AllTypes
	}
	if err := t.Validate(); err != nil {
		return t, err
	}
	if t.ByBrand = alertOnly; alertOnly && !isAlarm(&t) {
		return t, errAlertOnly()
	}
	asked := t
	err := c.change(ctx, t.LicenseID, func(ctx context.Context, tx usance.Tx, l *usance.License, all []usance.Threshold, m usance.Moment) (err error) {
		t = asked
		t.ID, t.IsActive, t.RetiredAt = usance.NewID(m.Now).String(), true, nil
		t.LastWarningLevel, t.LastWarningAt, t.CreatedAt, t.UpdatedAt = nil, nil, m.Now, m.Now
		var old *usance.Threshold
		if t.Kind() != usance.KindAlert {
			for i := range all {
				o := &all[i]
				if o.Kind() == usance.KindAlert || o.UsageType != t.UsageType || o.PeriodType != t.PeriodType {
					continue
				}
				if o.IsActive {
					return exists(o)
				}
				if o.Kind() == t.Kind() {
					old = o
				}
			}
		}
		action, before := "threshold.create", any(nil)
		if old != nil {
			t.ID, t.CreatedAt, t.Epoch = old.ID, old.CreatedAt, old.Epoch+1
			action, before = "threshold.revive", *old
		}
		if err := c.enforce(ctx, tx, l, &t, nil, all, m, usance.Cause{Actor: actor, Reason: action}); err != nil {
			return err
		}
		if t, err = tx.Threshold(ctx, t.ID); err != nil { // with the level it has reached
			return err
		}
		return c.audit(ctx, tx, m.Now, actor, action, t.ID, l.ID, before, t)
	})
	return t, err
}

// UpdateThreshold changes terms, warning levels or isActive; fields that body
// omits keep their value. A period that has ended keeps the terms it ended
// with. A changed limit opens the warning levels of the current period anew. A
// total that bills cannot become another kind (CONFLICT).
func (c *Catalog) UpdateThreshold(ctx context.Context, id string, body []byte, actor string, alertOnly bool) (usance.Threshold, error) {
	var t usance.Threshold
	licenseID, err := c.licenseOf(ctx, id)
	if err != nil {
		return t, err
	}
	err = c.change(ctx, licenseID, func(ctx context.Context, tx usance.Tx, l *usance.License, all []usance.Threshold, m usance.Moment) error {
		old, err := pick(all, id)
		if err != nil {
			return err
		}
		t = old.Clone() // decode writes where pointers point
		if err := decode(body, &t); err != nil {
			return err
		}
		t.WarningLevels = usance.SortedLevels(t.WarningLevels)
		if len(t.OverageTiers) == 0 {
			t.OverageTiers = nil // as it is stored
		}
		if err := fixed(&old, &t); err != nil {
			return err
		}
		if err := t.Validate(); err != nil {
			return err
		}
		if alertOnly && !old.ByBrand {
			return usance.NewError(usance.CodeForbidden, "threshold %s was not set by a brand; ask the licensor to change it, or create one of your own", id)
		}
		if alertOnly && !isAlarm(&t) {
			return errAlertOnly()
		}
		if reflect.DeepEqual(t, old) {
			return nil // nothing changes: a retry, as a rule
		}
		if !isAlarm(&t) {
			t.ByBrand = false // a limit or price is the licensor's, who made it one
		}
		if ceases(&old, &t) {
			return usance.NewError(usance.CodeConflict, "a total that bills cannot become another kind, for its units would be billed again or late; set overageRateCents to 0 for units that are free, or retire it and create another threshold")
		}
		t.UpdatedAt = m.Now
		if t.LimitQuantity != old.LimitQuantity || t.IsActive && !old.IsActive {
			t.Epoch++
		}
		if err := c.keepTerms(ctx, tx, l, &old, m); err != nil {
			return err
		}
		by := usance.Cause{Actor: actor, Reason: "threshold.update"}
		switch {
		case !t.IsActive && old.IsActive:
			t.RetiredAt = &m.Now
			err = c.freeze(ctx, tx, &old, &t, m)
		case t.IsActive && (!old.IsActive || t.Kind() != old.Kind()):
			err = c.enforce(ctx, tx, l, &t, &old, all, m, by)
		case t.IsActive:
			if err = tx.PutThreshold(ctx, t); err == nil {
				_, err = usance.Recount(ctx, tx, l, &t, t.EffectiveFrom, usance.MaxDate, t.Epoch != old.Epoch, m, by)
			}
		default:
			err = tx.PutThreshold(ctx, t)
		}
		if err != nil {
			return err
		}
		if t, err = tx.Threshold(ctx, id); err != nil { // with the level it has reached
			return err
		}
		return c.audit(ctx, tx, m.Now, actor, "threshold.update", id, l.ID, old, t)
	})
	return t, err
}

// RetireThreshold ends a threshold: what it counted of the current period
// stays and is billed, nothing after this moment adds to it.
func (c *Catalog) RetireThreshold(ctx context.Context, id, actor string, alertOnly bool) (usance.Threshold, error) {
	return c.UpdateThreshold(ctx, id, []byte(`{"isActive":false}`), actor, alertOnly)
}

// change runs fn with the licence and its thresholds, in a transaction that
// holds the licence's group exclusively.
func (c *Catalog) change(ctx context.Context, licenseID string, fn func(context.Context, usance.Tx, *usance.License, []usance.Threshold, usance.Moment) error) error {
	return c.store.Update(ctx, usance.Locks{Exclusive: []string{licenseID}}, func(tx usance.Tx) error {
		facts, err := tx.Facts(ctx, []string{licenseID})
		if err != nil {
			return err
		}
		if len(facts) == 0 {
			return usance.LicenseNotFound(licenseID)
		}
		l := &facts[0].License
		zone, _, _, err := facts[0].Term()
		if err != nil {
			return err
		}
		m := usance.Moment{Now: c.now(), Zone: zone, AnchorDay: l.BillingAnchorDay, LateGrace: c.o.LateGrace}
		return fn(ctx, tx, l, facts[0].Thresholds, m)
	})
}

// enforce puts t in force from its first period on: it settles where that
// begins, opens counters that a retirement froze, and counts what is there. old
// is what it was before, if it was: one that is in force cannot wait for a later
// period.
func (c *Catalog) enforce(ctx context.Context, tx usance.Tx, l *usance.License, t, old *usance.Threshold, all []usance.Threshold, m usance.Moment, by usance.Cause) error {
	today := usance.DateOf(m.Now, m.Zone)
	t.RetiredAt = nil
	t.EffectiveFrom = usance.PeriodOf(t.PeriodType, today, l.BillingAnchorDay).Start
	if t.Kind() != usance.KindAlert {
		free, err := c.freeFrom(ctx, tx, l, t, all)
		if err != nil {
			return err
		}
		if free > t.EffectiveFrom {
			if t.PeriodType == usance.PeriodTotal {
				return usance.NewError(usance.CodeConflict, "another threshold has billed this usage type, and a total would bill it again; choose a period")
			}
			if old != nil && old.IsActive {
				return usance.NewError(usance.CodeConflict, "another threshold has billed this usage type until %s; set the price from then on", free)
			}
			p := usance.PeriodOf(t.PeriodType, free, l.BillingAnchorDay)
			if p.Start < free {
				p = p.Next(l.BillingAnchorDay)
			}
			t.EffectiveFrom = p.Start
		}
	}
	if err := bound(t, all); err != nil {
		return err
	}
	if err := tx.PutThreshold(ctx, *t); err != nil {
		return err
	}
	counters, err := tx.CountersOf(ctx, l.ID, t.ID)
	if err != nil {
		return err
	}
	counters = slices.DeleteFunc(counters, func(k usance.Counter) bool {
		return k.State != usance.CounterFrozen || k.PeriodStart < t.EffectiveFrom
	})
	for i := range counters {
		counters[i].State, counters[i].Terms = usance.CounterOpen, nil
	}
	if len(counters) > 0 {
		if err := tx.PutCounters(ctx, counters); err != nil {
			return err
		}
	}
	_, err = usance.Recount(ctx, tx, l, t, t.EffectiveFrom, usance.MaxDate, old == nil || t.Epoch != old.Epoch, m, by)
	return err
}

// freeFrom is the first day that no other threshold has billed or bills for a
// usage type that t bills: the end of the last period that an overlapping one
// counted for money, MinDate when there is none. An overlapping active one is
// THRESHOLD_EXISTS.
func (c *Catalog) freeFrom(ctx context.Context, tx usance.Tx, l *usance.License, t *usance.Threshold, all []usance.Threshold) (usance.Date, error) {
	free := usance.MinDate
	zone, err := usance.ParseZone(l.Timezone)
	if err != nil {
		return free, err
	}
	for i := range all {
		o := &all[i]
		if o.ID == t.ID {
			continue
		}
		same := o.UsageType == t.UsageType && o.PeriodType == t.PeriodType && o.Kind() != usance.KindAlert
		overlaps := t.Kind() == usance.KindRated && o.Overlaps(t)
		if o.IsActive && (same || overlaps && o.Kind() == usance.KindRated) {
			return free, exists(o)
		}
		if !overlaps {
			continue
		}
		counters, err := tx.CountersOf(ctx, l.ID, o.ID)
		if err != nil {
			return free, err
		}
		for _, k := range counters {
			if k.TermsOf(o).Kind() != usance.KindRated || !k.State.Moves() && k.Quantity == 0 {
				continue
			}
			end := k.PeriodEnd
			if o.PeriodType == usance.PeriodTotal && o.RetiredAt != nil {
				// It counted until it was retired, and its last month is billed whole.
				end = usance.PeriodOf(usance.PeriodMonthly, usance.DateOf(*o.RetiredAt, zone), l.BillingAnchorDay).End
			}
			free = max(free, end)
		}
	}
	return free, nil
}

// ceases tells whether t is old without its price, though old is a total: its
// one period never ends, so what it billed would be forgotten, and what is free
// for a time billed once it has a price again.
func ceases(old, t *usance.Threshold) bool {
	return old.PeriodType == usance.PeriodTotal && old.Kind() == usance.KindRated && t.Kind() != usance.KindRated
}

// keepTerms gives the periods that have ended the terms they ended with, before
// those change; periods without usage too, for what may still come late.
func (c *Catalog) keepTerms(ctx context.Context, tx usance.Tx, l *usance.License, old *usance.Threshold, m usance.Moment) error {
	counters, err := tx.CountersOf(ctx, old.LicenseID, old.ID)
	if err != nil {
		return err
	}
	today := usance.DateOf(m.Now, m.Zone)
	known := make(map[usance.Date]bool, len(counters))
	var keep, missing []usance.Counter
	for _, k := range counters {
		known[k.PeriodStart] = true
		if k.Terms == nil && k.PeriodEnd <= today {
			k.Terms = &old.Terms
			keep = append(keep, k)
		}
	}
	if old.IsActive {
		for p := usance.PeriodOf(old.PeriodType, old.EffectiveFrom, l.BillingAnchorDay); p.End <= today; p = p.Next(l.BillingAnchorDay) {
			if !known[p.Start] {
				missing = append(missing, usance.Counter{
					CounterKey: usance.CounterKey{LicenseID: l.ID, ThresholdID: old.ID, PeriodStart: p.Start},
					PeriodEnd:  p.End, State: usance.CounterOpen, Terms: &old.Terms,
				})
			}
		}
	}
	if len(missing) > 0 {
		if err := tx.EnsureCounters(ctx, missing); err != nil {
			return err
		}
	}
	if len(keep) == 0 {
		return nil
	}
	return tx.PutCounters(ctx, keep)
}

// freeze retires t: the counters of periods that have not ended stay as they are.
func (c *Catalog) freeze(ctx context.Context, tx usance.Tx, old, t *usance.Threshold, m usance.Moment) error {
	if err := tx.PutThreshold(ctx, *t); err != nil {
		return err
	}
	counters, err := tx.CountersOf(ctx, t.LicenseID, t.ID)
	if err != nil {
		return err
	}
	today := usance.DateOf(m.Now, m.Zone)
	counters = slices.DeleteFunc(counters, func(k usance.Counter) bool {
		return k.State != usance.CounterOpen || k.PeriodEnd <= today
	})
	for i := range counters {
		counters[i].State = usance.CounterFrozen
		if counters[i].Terms == nil {
			counters[i].Terms = &old.Terms
		}
	}
	if len(counters) == 0 {
		return nil
	}
	return tx.PutCounters(ctx, counters)
}

func (c *Catalog) licenseOf(ctx context.Context, thresholdID string) (licenseID string, err error) {
	err = c.store.View(ctx, func(v usance.View) error {
		t, err := v.Threshold(ctx, thresholdID)
		licenseID = t.LicenseID
		return err
	})
	return licenseID, err
}

func equal[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// micros makes two pointers to one instant compare equal.
func micros(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	at := t.UnixMicro()
	return &at
}

func pick(all []usance.Threshold, id string) (usance.Threshold, error) {
	for i := range all {
		if all[i].ID == id {
			return all[i], nil
		}
	}
	return usance.Threshold{}, usance.NewError(usance.CodeNotFound, "no threshold %q; list the licence's to find its id", id)
}

// fixed refuses changes of what a threshold is about, and restores what only
// the program sets.
func fixed(old, t *usance.Threshold) error {
	switch {
	case t.ID != old.ID:
		return usance.Invalid("id", "cannot be changed")
	case t.LicenseID != old.LicenseID:
		return usance.Invalid("licenseId", "cannot be changed; create a threshold for the other licence")
	case t.UsageType != old.UsageType:
		return usance.Invalid("usageType", "cannot be changed; retire this threshold and create another")
	case t.PeriodType != old.PeriodType:
		return usance.Invalid("periodType", "cannot be changed; retire this threshold and create another")
	}
	// What only the program sets may be sent back as it was read.
	for _, f := range []struct {
		name string
		same bool
	}{
		{"lastWarningLevel", equal(t.LastWarningLevel, old.LastWarningLevel)},
		{"lastWarningAt", equal(micros(t.LastWarningAt), micros(old.LastWarningAt))},
		{"retiredAt", equal(micros(t.RetiredAt), micros(old.RetiredAt))},
		{"effectiveFrom", t.EffectiveFrom == old.EffectiveFrom},
		{"createdAt", t.CreatedAt.Equal(old.CreatedAt)},
		{"updatedAt", t.UpdatedAt.Equal(old.UpdatedAt)},
		{"byBrand", t.ByBrand == old.ByBrand},
	} {
		if !f.same {
			return usance.Invalid(f.name, "is set by the program and cannot be changed")
		}
	}
	return nil
}

// bound refuses more thresholds than one licence may have. What brands may set
// leaves room for the licensor's.
func bound(t *usance.Threshold, all []usance.Threshold) error {
	alerting, byBrand, known := 0, 0, false
	for i := range all {
		o := &all[i]
		known = known || o.ID == t.ID
		if o.ID != t.ID && o.IsActive && o.Kind() == usance.KindAlert {
			alerting++
		}
		if o.ByBrand {
			byBrand++
		}
	}
	switch {
	case t.Kind() == usance.KindAlert && alerting >= usance.MaxAlertThresholds:
		return usance.NewError(usance.CodeConflict, "the licence has %d thresholds that only alert, as many as it may; retire one, or change its limit", alerting)
	case known:
		return nil
	case t.ByBrand && byBrand >= usance.MaxBrandThresholds:
		return usance.NewError(usance.CodeConflict, "brands have set %d thresholds of the licence, retired ones too, as many as they may; change one of them", byBrand)
	case len(all) >= usance.MaxThresholds:
		return usance.NewError(usance.CodeConflict, "the licence has %d thresholds, retired ones too, as many as it may; change one of them", len(all))
	}
	return nil
}

// isAlarm tells whether a threshold is such as a brand may set.
func isAlarm(t *usance.Threshold) bool {
	return t.Kind() == usance.KindAlert && t.GracePercentage == 0
}

func exists(o *usance.Threshold) error {
	return usance.NewError(usance.CodeThresholdExists,
		"threshold %s is in force for %s per %s; update or retire it", o.ID, o.UsageType, o.PeriodType)
}

func errAlertOnly() error {
	return usance.NewError(usance.CodeForbidden,
		"a brand's thresholds only alert: send allowOverage: true without gracePercentage, overageRateCents and overageTiers; limits and prices are the licensor's")
}
