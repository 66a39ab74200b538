package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
)

// instant is the clock as it is stored.
func (a *api) instant() time.Time { return a.now().UTC().Truncate(time.Microsecond) }

// track counts a batch for a principal, unless it sends too fast: then the
// request is refused as a whole, and no event of it was judged.
func (a *api) track(ctx context.Context, p access.Principal, b *batch) ([]usance.Result, error) {
	if err := a.limits.send(ctx, p, len(b.events)); err != nil {
		return nil, err
	}
	return a.count(ctx, p, b)
}

// count has a batch counted. Events of licences that the principal may not send
// to are answered as if there were none.
func (a *api) count(ctx context.Context, p access.Principal, b *batch) ([]usance.Result, error) {
	if err := access.Authorize(p, access.Track); err != nil {
		return nil, err
	}
	if err := a.hide(ctx, p, b); err != nil {
		return nil, err
	}
	results, err := a.d.Ingest.Track(ctx, ingest.Request{Events: b.events, Errors: b.errs, Atomic: b.atomic, Backdate: p.MayBackdate(), Actor: p.ID()})
	var failed *usance.Error
	if results != nil && errors.As(err, &failed) { // a part of the batch was counted
		return nil, &resultsError{Results: results, Err: failed}
	}
	if err != nil {
		return nil, err
	}
	refused := slices.ContainsFunc(results, func(r usance.Result) bool { return r.Error != nil })
	if b.atomic && refused { // each may have been refused for itself, so that none says ABORTED
		return nil, &resultsError{Results: results, Err: usance.NewError(usance.CodeAborted,
			"nothing of the atomic batch was counted, since some of its events cannot be; see results")}
	}
	return results, nil
}

// trackOne counts one event. That it breaks a rule is an error; any other
// refusal is a result.
func (a *api) trackOne(ctx context.Context, p access.Principal, b *batch) (usance.Result, error) {
	if err := a.limits.send(ctx, p, 1); err != nil {
		return usance.Result{}, err
	}
	if b.errs != nil && b.errs[0] != nil {
		return usance.Result{}, b.errs[0]
	}
	b.atomic = false // one is always whole
	results, err := a.count(ctx, p, b)
	if err != nil {
		return usance.Result{}, err
	}
	r := results[0]
	if r.Error != nil && r.Error.Code == usance.CodeValidation {
		return usance.Result{}, r.Error
	}
	return r, nil
}

// hide asks access which licences of the batch the principal may not send to.
func (a *api) hide(ctx context.Context, p access.Principal, b *batch) error {
	if p.SendsToAll() {
		return nil
	}
	ids := make([]string, 0, 16)
	seen := make(map[string]bool)
	for i := range b.events {
		if id := b.events[i].LicenseID; id != "" && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	var hidden map[string]bool
	err := a.d.Store.View(ctx, func(v usance.View) (err error) {
		hidden, err = a.d.Access.Hidden(ctx, v, p, ids)
		return err
	})
	if err != nil || len(hidden) == 0 {
		return err
	}
	if b.errs == nil {
		b.errs = make([]*usance.Error, len(b.events))
	}
	for i := range b.events {
		if b.errs[i] == nil && hidden[b.events[i].LicenseID] {
			b.errs[i] = usance.LicenseNotFound(b.events[i].LicenseID)
		}
	}
	return nil
}

type voidInput struct {
	OfLicense
	EventID        usance.ID `json:"eventId,omitzero" doc:"The id that the event was answered with."`
	IdempotencyKey string    `json:"idempotencyKey,omitempty" doc:"Or the key it was sent with."`
	Reason         string    `json:"reason,omitempty" maxLength:"1000" doc:"Kept in the audit trail."`
}

func (a *api) voidEvent(ctx context.Context, c *Call, in *voidInput) (usance.Result, error) {
	if in.EventID.IsZero() == (in.IdempotencyKey == "") {
		return usance.Result{}, usance.Invalid("eventId", "give either eventId or idempotencyKey")
	}
	return a.d.Ingest.Void(ctx, ingest.VoidRequest{
		LicenseID: in.LicenseID, EventID: in.EventID, IdempotencyKey: in.IdempotencyKey, Reason: in.Reason, Actor: c.actor(),
	})
}

type checkInput struct {
	OfLicense
	UsageType string    `json:"usageType" pattern:"^[a-z][a-z0-9_.-]{0,49}$" doc:"The usage type."`
	Quantity  *int64    `json:"quantity,omitempty" minimum:"1" maximum:"1000000000000" doc:"Units; 1 unless told."`
	At        time.Time `json:"at,omitzero" doc:"When the use would happen; now unless told."`
}

func (a *api) checkUsage(ctx context.Context, c *Call, in *checkInput) (ingest.Check, error) {
	quantity := int64(1)
	if in.Quantity != nil {
		quantity = *in.Quantity
	}
	if !in.At.IsZero() && (in.At.Year() < 1970 || in.At.Year() > 9999) {
		return ingest.Check{}, usance.Invalid("at", "must lie in the years 1970 to 9999")
	}
	return a.d.Ingest.Check(ctx, in.LicenseID, in.UsageType, quantity, in.At)
}

func (a *api) recalculate(ctx context.Context, c *Call, in *recalculateInput) (fold.Recalculation, error) {
	from, to, err := localDays(&c.License, in.StartDate, in.EndDate)
	if err != nil {
		return fold.Recalculation{}, err
	}
	return a.d.Fold.Recalculate(ctx, in.LicenseID, from, to, c.actor())
}

// localDays reads a range as the licence's local days [from, to); a day that it
// touches is in it.
func localDays(l *usance.License, startDate, endDate string) (from, to usance.Date, err error) {
	zone, err := usance.ParseZone(l.Timezone)
	if err != nil {
		return 0, 0, err
	}
	r, err := usance.DateRange(startDate, endDate, zone)
	if err != nil {
		return 0, 0, err
	}
	if r.EndSlot > 0 {
		r.End++
	}
	return r.First, r.End, nil
}
