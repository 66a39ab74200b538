package usance

import (
	"encoding/json"
	"fmt"
	"time"
)

// AuditEntry records who changed what, when and why. Entries are never changed.
type AuditEntry struct {
	ID        ID        `json:"id"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`  // key id, "job:NAME", or "start" of the server
	Action    string    `json:"action"` // such as threshold.update, overage.approve
	Subject   string    `json:"subject"`
	LicenseID string    `json:"licenseId,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Before    RawJSON   `json:"before,omitempty"` // as answers write it; none of a new thing
	After     RawJSON   `json:"after,omitempty"`
}

// NewAuditEntry makes the row of what the actor did to the subject at the
// instant. LicenseID and Reason, where there are any, are the caller's to set.
func NewAuditEntry(now time.Time, actor, action, subject string) AuditEntry {
	now = now.UTC().Truncate(time.Microsecond)
	return AuditEntry{ID: NewID(now), At: now, Actor: actor, Action: action, Subject: subject}
}

// SetStates sets Before and After to what the subject was and has become; nil
// stands for none.
func (e *AuditEntry) SetStates(before, after any) error {
	for _, side := range []struct {
		state any
		to    *RawJSON
	}{{before, &e.Before}, {after, &e.After}} {
		if side.state == nil {
			continue
		}
		b, err := json.Marshal(side.state)
		if err != nil {
			return fmt.Errorf("auditing %s of %s: %w", e.Action, e.Subject, err)
		}
		*side.to = b
	}
	return nil
}
