package watch

import (
	"context"
	"encoding/json"

	"github.com/usance/usance"
)

// maxChanges is how many of a licence's last changes are looked through.
const maxChanges = 200

// history is what is known of a licence's states: as it is, and what the audit trail
// tells of changes, newest first.
type history struct {
	license usance.License
	changes []usance.AuditEntry
}

func readHistory(ctx context.Context, v usance.View, l *usance.License) (*history, error) {
	changes, _, err := v.Audit(ctx, usance.AuditFilter{LicenseID: l.ID, Subject: l.ID}, usance.Page{Limit: maxChanges})
	return &history{*l, changes}, err
}

// cut tells whether the licence counted no usage in a part of what the forecast was
// of: it was suspended, not tracked or deleted, or its term was cut short since. A nil
// history is that of a licence that is gone for good.
func (h *history) cut(f *usance.Forecast) bool {
	if h == nil {
		return true
	}
	zone, start, end, err := h.license.Term()
	if err != nil {
		return true
	}
	through := f.PeriodEnd
	if f.Outlook.Through != nil {
		through = *f.Outlook.Through
	}
	until := through.Start(zone)
	// The last day may be a part of one.
	if usance.DateOf(end.Add(-1), zone)+1 < through || start.After(f.CalculatedAt) {
		return true
	}
	since := false // what it is now, it became after the period
	for i := range h.changes {
		c := &h.changes[i]
		var then usance.License
		if json.Unmarshal(c.After, &then) != nil || watched(&then) {
			if c.At.Before(f.CalculatedAt) {
				break
			}
			continue
		}
		switch {
		case !c.At.Before(until):
			since = true
		case !c.At.Before(f.CalculatedAt):
			return true
		}
	}
	return !watched(&h.license) && !since
}
