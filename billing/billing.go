// Package billing closes periods and moves overages: a period's overage grows
// while the period is open, goes up for approval when it closes, and is
// approved, disputed, resolved or waived by a person. Every move leaves an
// audit row; a move that the overage's status does not allow is INVALID_STATE
// and changes nothing.
package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
)

// DisputeWindow is how long after an overage was put up or billed its brand
// may dispute it.
const DisputeWindow = 30 * 24 * time.Hour

// jobActor signs the moves that the schedule makes.
const jobActor = "job:checkUsageThresholds"

// Store is what billing asks of the store.
type Store interface {
	usance.Updater
	usance.Viewer
}

// Options are the settings of Billing; zero fields take the defaults named.
type Options struct {
	Now       func() time.Time // the clock; time.Now
	LateGrace time.Duration    // how long after its end a period stays open; 24 h
	// AutoApproveCents approves fees (and credits) of at most so many cents
	// without a person; 0 leaves every fee but a zero one to a person.
	AutoApproveCents int64
	Logger           *slog.Logger
}

// Billing closes periods and moves overages. Its methods may be called at once.
type Billing struct {
	store  Store
	o      Options
	closed prometheus.Counter
	moved  *prometheus.CounterVec
}

// New makes a Billing.
func New(store Store, o Options) *Billing {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LateGrace == 0 {
		o.LateGrace = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Billing{store: store, o: o,
		closed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usance_periods_closed_total", Help: "Threshold periods closed.",
		}),
		moved: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usance_overage_moves_total", Help: "Overages moved, by the state they came to.",
		}, []string{"status"}),
	}
}

// Metrics gives the collectors of the stage.
func (b *Billing) Metrics() []prometheus.Collector { return []prometheus.Collector{b.closed, b.moved} }

func (b *Billing) now() time.Time { return b.o.Now().UTC().Truncate(time.Microsecond) }

// bite is how many counters or overages one look-up takes.
const bite = 500

// ClosePeriods closes the periods that ended at least the late grace ago, and
// puts up the overages that are due: the job checkUsageThresholds. What a
// crash left half done it finds again; what cannot be closed or put up does not
// keep it from the rest.
func (b *Billing) ClosePeriods(ctx context.Context) (closed, settled int, err error) {
	closed, closeErr := b.closeEnded(ctx)
	settled, settleErr := b.settleDue(ctx)
	return closed, settled, errors.Join(closeErr, settleErr)
}

func (b *Billing) closeEnded(ctx context.Context) (closed int, err error) {
	now := b.now()
	// No zone is more than 14 hours ahead of UTC: each period that may be due
	// ended by this date, and its licence's own zone decides.
	by := usance.DateOf(now.Add(14*time.Hour-b.o.LateGrace), time.UTC)
	var after usance.CounterKey
	var failed []error
	for {
		var counters []usance.Counter
		var facts []usance.Facts
		err := b.store.View(ctx, func(v usance.View) (err error) {
			if counters, err = v.Ended(ctx, by, after, bite); err != nil {
				return err
			}
			var ids []string
			for i := range counters {
				ids = append(ids, counters[i].LicenseID)
			}
			facts, err = v.Facts(ctx, slices.Compact(ids))
			return err
		})
		if err != nil {
			return closed, err
		}
		if len(counters) == 0 {
			return closed, errors.Join(failed...)
		}
		for i := range counters {
			after = counters[i].CounterKey
			f := factsOf(facts, after.LicenseID)
			if f == nil {
				failed = append(failed, fmt.Errorf("closing periods: counter of licence %q, which does not exist", after.LicenseID))
				continue
			}
			done, err := b.closeCounter(ctx, f, after, now)
			if err != nil && ctx.Err() != nil {
				return closed, err
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("closing the period of threshold %s from %s: %w", after.ThresholdID, after.PeriodStart, err))
			}
			if done {
				closed++
				b.closed.Inc()
			}
		}
	}
}

func factsOf(facts []usance.Facts, licenseID string) *usance.Facts {
	for i := range facts {
		if facts[i].License.ID == licenseID {
			return &facts[i]
		}
	}
	return nil
}

// closeCounter closes one period, under its counter's lock, with the terms in
// force at its end.
func (b *Billing) closeCounter(ctx context.Context, f *usance.Facts, key usance.CounterKey, now time.Time) (done bool, err error) {
	zone, _, _, err := f.Term()
	if err != nil {
		return false, err
	}
	err = b.store.Update(ctx, usance.Locks{Shared: []string{key.LicenseID}}, func(tx usance.Tx) error {
		done = false
		rows, err := tx.LockCounters(ctx, []usance.CounterKey{key})
		if err != nil {
			return err
		}
		if len(rows) == 0 || rows[0].State == rows[0].State.Closed() || now.Before(rows[0].PeriodEnd.Start(zone).Add(b.o.LateGrace)) {
			return nil
		}
		fresh, err := tx.Facts(ctx, []string{key.LicenseID})
		if err != nil {
			return err
		}
		t, err := thresholdOf(fresh, key.ThresholdID)
		if err != nil {
			return err
		}
		c := rows[0]
		terms := c.TermsOf(t)
		c.State, c.Terms = c.State.Closed(), &terms
		if err := tx.PutCounters(ctx, []usance.Counter{c}); err != nil {
			return err
		}
		done = true
		return b.resetLevel(ctx, tx, f, t, zone, now)
	})
	return done, err
}

// resetLevel makes the threshold's last warning level the current period's:
// levels reset with the period.
func (b *Billing) resetLevel(ctx context.Context, tx usance.Tx, f *usance.Facts, t *usance.Threshold, zone *time.Location, now time.Time) error {
	if t.LastWarningLevel == nil || t.LastWarningAt == nil {
		return nil
	}
	p := usance.PeriodOf(t.PeriodType, usance.DateOf(now, zone), f.License.BillingAnchorDay)
	rows, err := tx.Counters(ctx, []usance.CounterKey{{LicenseID: t.LicenseID, ThresholdID: t.ID, PeriodStart: p.Start}})
	if err != nil {
		return err
	}
	level := 0
	if len(rows) > 0 {
		level = rows[0].Level
	}
	if level == *t.LastWarningLevel {
		return nil
	}
	return tx.WarnThresholds(ctx, []usance.Warning{{LicenseID: t.LicenseID, ThresholdID: t.ID, Level: level, At: *t.LastWarningAt}})
}

func thresholdOf(facts []usance.Facts, id string) (*usance.Threshold, error) {
	for i := range facts {
		for j := range facts[i].Thresholds {
			if t := &facts[i].Thresholds[j]; t.ID == id {
				return t, nil
			}
		}
	}
	return nil, usance.NewError(usance.CodeNotFound, "no threshold %q; list the licence's to find its id", id)
}

// settleDue puts up the overages whose time has come.
func (b *Billing) settleDue(ctx context.Context) (settled int, err error) {
	now := b.now()
	var failed []error
	for {
		var due []usance.Overage
		err := b.store.View(ctx, func(v usance.View) (err error) {
			due, err = v.Due(ctx, now, bite+len(failed))
			return err
		})
		if err != nil {
			return settled, err
		}
		before := settled
		failed = nil // the due ones that failed are among those looked up again
		for i := range due {
			moved := false
			_, err := b.move(ctx, due[i].ID, jobActor, "", func(o *usance.Overage, at time.Time) (usance.OverageAction, error) {
				moved = false
				if o.Status != usance.OverageDetected || now.Before(o.SettleAt) {
					return "", nil // another node was faster
				}
				moved = true
				o.SettledAt = &at
				if fee := max(o.CalculatedFeeCents, -o.CalculatedFeeCents); fee <= b.o.AutoApproveCents {
					o.ApprovedBy, o.ApprovedAt = "auto", &at
					return usance.ActionAutoApprove, nil
				}
				return usance.ActionSettle, nil
			})
			switch {
			case err != nil && ctx.Err() != nil:
				return settled, err
			case err != nil:
				failed = append(failed, fmt.Errorf("settling overage %s: %w", due[i].ID, err))
			case moved:
				settled++
			}
		}
		if settled == before {
			return settled, errors.Join(failed...)
		}
	}
}

// Approve accepts an overage that is up for approval: from here it never changes.
func (b *Billing) Approve(ctx context.Context, id usance.ID, actor, reason string) (usance.Overage, error) {
	return b.move(ctx, id, actor, reason, func(o *usance.Overage, now time.Time) (usance.OverageAction, error) {
		o.ApprovedBy, o.ApprovedAt = actor, &now
		return usance.ActionApprove, nil
	})
}

// Dispute is the brand's objection, within DisputeWindow of the overage being
// put up or billed.
func (b *Billing) Dispute(ctx context.Context, id usance.ID, actor, reason string) (usance.Overage, error) {
	if reason == "" {
		return usance.Overage{}, usance.Invalid("reason", "say what is wrong, so that it can be resolved")
	}
	return b.move(ctx, id, actor, reason, func(o *usance.Overage, now time.Time) (usance.OverageAction, error) {
		since := o.SettledAt
		if o.BilledAt != nil {
			since = o.BilledAt
		}
		if since != nil && now.After(since.Add(DisputeWindow)) {
			return "", usance.NewError(usance.CodeInvalidState, "the 30 days in which the overage could be disputed ended on %s", since.Add(DisputeWindow).Format(time.DateOnly))
		}
		o.DisputedFrom = o.Status
		return usance.ActionDispute, nil
	})
}

// Resolve ends a dispute: the overage goes back to the state it left.
func (b *Billing) Resolve(ctx context.Context, id usance.ID, actor, reason string) (usance.Overage, error) {
	return b.move(ctx, id, actor, reason, func(*usance.Overage, time.Time) (usance.OverageAction, error) {
		return usance.ActionResolve, nil
	})
}

// Waive gives an overage up. Its quantity and fee stay on record.
func (b *Billing) Waive(ctx context.Context, id usance.ID, actor, reason string) (usance.Overage, error) {
	if reason == "" {
		return usance.Overage{}, usance.Invalid("reason", "say why the fee is waived; it goes into the audit trail")
	}
	return b.move(ctx, id, actor, reason, func(*usance.Overage, time.Time) (usance.OverageAction, error) {
		return usance.ActionWaive, nil
	})
}

// move changes an overage's state under its counter's lock. prepare names the
// action and sets what goes with it; no action leaves the row alone.
func (b *Billing) move(ctx context.Context, id usance.ID, actor, reason string, prepare func(*usance.Overage, time.Time) (usance.OverageAction, error)) (usance.Overage, error) {
	if len(reason) > 2000 {
		return usance.Overage{}, usance.Invalid("reason", "must be at most 2000 bytes")
	}
	var o usance.Overage
	err := b.store.View(ctx, func(v usance.View) (err error) {
		o, err = v.Overage(ctx, id)
		return err
	})
	if err != nil {
		return o, err
	}
	key := usance.CounterKey{LicenseID: o.LicenseID, ThresholdID: o.ThresholdID, PeriodStart: o.PeriodDate}
	moved := false
	err = b.store.Update(ctx, usance.Locks{Shared: []string{o.LicenseID}}, func(tx usance.Tx) error {
		moved = false
		counters, err := tx.LockCounters(ctx, []usance.CounterKey{key})
		if err != nil {
			return err
		}
		old, err := tx.Overage(ctx, id)
		if err != nil {
			return err
		}
		o = old
		now := b.now()
		action, err := prepare(&o, now)
		if err != nil || action == "" {
			return err
		}
		if o.Status, err = old.Status.Next(action, old.DisputedFrom); err != nil {
			return err
		}
		if action == usance.ActionResolve {
			o.DisputedFrom = ""
		}
		if old.Status == usance.OverageDetected && len(counters) > 0 {
			o.ActualQuantity = counters[0].Quantity // usage within the limit moves no overage
		}
		if reason != "" {
			o.Notes = reason
		}
		o.UpdatedAt = now
		if err := tx.PutOverages(ctx, []usance.Overage{o}); err != nil {
			return err
		}
		moved = true
		e := usance.NewAuditEntry(now, actor, "overage."+string(action), id.String())
		e.LicenseID, e.Reason = o.LicenseID, reason
		if err := e.SetStates(old, o); err != nil {
			return err
		}
		return tx.AddAudit(ctx, []usance.AuditEntry{e})
	})
	if moved && err == nil {
		b.moved.WithLabelValues(string(o.Status)).Inc()
	}
	return o, err
}
