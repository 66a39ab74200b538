package ingest

import (
	"context"
	"time"

	"github.com/usance/usance"
)

// VoidRequest names a counted event of a licence by its id or its key.
type VoidRequest struct {
	LicenseID      string
	EventID        usance.ID
	IdempotencyKey string
	Reason         string
	Actor          string // the key that asks, for the audit trail
}

// Void takes a counted event back: an event of its own, with the original's
// signs turned, goes the way of every event. It happens once; asking again
// answers the same result as a duplicate.
func (in *Ingester) Void(ctx context.Context, v VoidRequest) (usance.Result, error) {
	var original usance.Event
	err := in.store.View(ctx, func(view usance.View) (err error) {
		if !v.EventID.IsZero() {
			original, err = view.EventByID(ctx, v.LicenseID, v.EventID)
		} else {
			original, err = view.EventByKey(ctx, v.LicenseID, v.IdempotencyKey)
		}
		return err
	})
	if err != nil {
		return usance.Result{}, err
	}
	if !original.VoidOf.IsZero() {
		return usance.Result{}, usance.NewError(usance.CodeConflict, "the event is itself a void; send a new event to count the usage again")
	}
	now := in.o.Now().UTC().Truncate(time.Microsecond)
	r := &request{actor: v.Actor, items: []item{{event: original.Void(), backdate: true}}}
	e := &r.items[0].event
	e.ID, e.ReceivedAt = usance.NewID(now), now
	audit := usance.NewAuditEntry(now, v.Actor, "event.void", original.ID.String())
	audit.LicenseID, audit.Reason = v.LicenseID, v.Reason
	r.items[0].audit = &audit
	results, err := in.submit(ctx, r)
	if err != nil {
		return usance.Result{}, err
	}
	return results[0], nil
}
