package usance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// DailyTotal is what a licence used of one type on one of its local days, as
// another system counted it. It is counted as one synthetic event; see Event.
type DailyTotal struct {
	LicenseID    string `json:"licenseId"`
	Date         Date   `json:"date"` // in the licence's zone
	UsageType    string `json:"usageType"`
	Quantity     int64  `json:"quantity"`     // units, 0 to 10^12; 0 takes an earlier total of the day back
	RevenueCents int64  `json:"revenueCents"` // cents, 0 to 10^12
	Events       int64  `json:"events"`       // that the total is the sum of, when known; kept as metadata
	Source       string `json:"source"`       // where it came from, at most 255 characters; see FormerTotal.Elsewhere
	Line         int64  `json:"line"`         // of the source
}

// Validate checks a total by itself.
func (t *DailyTotal) Validate() error {
	if t.Date < MakeDate(1970, time.January, 1) {
		return Invalid("date", "lies before 1970")
	}
	if t.Events < 0 || t.Events > MaxTotal {
		return Invalid("events", "must be an integer from 0 to %d", int64(MaxTotal))
	}
	if t.Line < 0 || t.Line > MaxTotal {
		return Invalid("line", "must be an integer from 0 to %d", int64(MaxTotal))
	}
	if err := validateText("source", t.Source, 255); err != nil {
		return err
	}
	e := t.Event(time.UTC, time.Time{}, 1)
	e.IdempotencyKey = "" // the reserved one is no client's
	if t.Quantity == 0 {
		if t.RevenueCents != 0 {
			return Invalid("revenueCents", "a total of no units, which takes the day's total back, bears no revenue")
		}
		e.Quantity = 1
	}
	if t.Quantity < 0 || t.Quantity > MaxQuantity {
		return Invalid("quantity", "must be an integer from 0 to %d", int64(MaxQuantity))
	}
	return e.Validate()
}

// totalPrefix begins the keys of daily totals.
const totalPrefix = ReservedKeyPrefix + "total:"

// Event is the total as it is counted: at the first instant of the day that
// lies in the licence's term, which begins at from, under a key made of date,
// type and revision. The instant is the program's choice and no part of the
// payload. The caller sets ID, ReceivedAt and LocalDate.
func (t *DailyTotal) Event(zone *time.Location, from time.Time, revision int) Event {
	at := t.Date.Start(zone)
	if from.After(at) && from.Before((t.Date + 1).Start(zone)) {
		at = from
	}
	e := Event{
		LicenseID: t.LicenseID, UsageType: t.UsageType, Quantity: t.Quantity, RevenueCents: t.RevenueCents,
		OccurredAt: at.UTC(), Stamped: true, IdempotencyKey: fmt.Sprintf("%s%s:%s:%d", totalPrefix, t.Date, t.UsageType, revision),
	}
	if t.Events != 0 || t.Source != "" || t.Line != 0 {
		if b, err := json.Marshal(totalOrigin{t.Events, t.Line, t.Source}); err == nil { // numbers and text: always
			e.Metadata = b
		}
	}
	e.HashPayload()
	return e
}

// totalOrigin is the metadata of a total's event, its fields in order.
type totalOrigin struct {
	Events int64  `json:"events,omitempty"`
	Line   int64  `json:"line,omitempty"`
	Source string `json:"source,omitempty"`
}

// IsTotal tells whether the event is a daily total.
func (e *Event) IsTotal() bool { return strings.HasPrefix(e.IdempotencyKey, totalPrefix) }

// FormerTotal is the latest revision of a day's total of one type.
type FormerTotal struct {
	Event    Event
	Revision int // from 1; 0 when there is none
}

// Same tells whether t says again what the former total says.
func (f *FormerTotal) Same(t *DailyTotal) bool {
	return f.Event.Quantity == t.Quantity && f.Event.RevenueCents == t.RevenueCents
}

// Elsewhere tells at which other line of t's own source the former total
// stands; 0 when it came from elsewhere or from the same line.
func (f *FormerTotal) Elsewhere(t *DailyTotal) int64 {
	var o totalOrigin
	if t.Source == "" || json.Unmarshal(f.Event.Metadata, &o) != nil || o.Source != t.Source || o.Line == t.Line {
		return 0
	}
	return o.Line
}

// TotalResult is what became of a daily total.
type TotalResult struct {
	Result
	Revision    int `json:"revision,omitempty"`   // of the day's total of this type, from 1
	VoidedEvent ID  `json:"voidedEvent,omitzero"` // the former total, which this one took back
}

// BackfillStatus is the state of a Backfill.
type BackfillStatus string

// A backfill runs until it is done or has failed; one that failed goes on where
// it stopped when it is asked for again.
const (
	BackfillRunning BackfillStatus = "RUNNING"
	BackfillDone    BackfillStatus = "DONE"
	BackfillFailed  BackfillStatus = "FAILED"
)

// BackfillStatuses are all of them.
var BackfillStatuses = []BackfillStatus{BackfillRunning, BackfillDone, BackfillFailed}

// Backfill is the rebuilding of a licence's rollups and counters from its raw
// events over a range of local days, as it is kept: there is one a licence, the
// last that was asked for. NextDate is its checkpoint.
type Backfill struct {
	LicenseID string         `json:"licenseId"`
	StartDate Date           `json:"startDate"`
	EndDate   Date           `json:"endDate"` // inclusive
	Status    BackfillStatus `json:"status"`
	NextDate  Date           `json:"nextDate"` // the first day that is not recomputed yet
	Days      int            `json:"days"`     // recomputed so far
	Skipped   int            `json:"skipped"`  // sealed days so far: their raw events are pruned
	Events    int64          `json:"events"`   // raw events read so far
	Changed   int            `json:"changed"`  // rollup rows, and days of unique sessions, that differed so far
	Counters  int            `json:"counters"` // that differed; known at the end
	Error     string         `json:"error,omitempty"`
	Actor     string         `json:"actor"`
	StartedAt time.Time      `json:"startedAt"`
	UpdatedAt time.Time      `json:"updatedAt"`
	Runner    string         `json:"-"` // the process that works on it; empty when none does
	Part      *BackfillPart  `json:"-"` // of NextDate, when that is read in parts
}

// BackfillPart is what the folded events of a large day come to as far as they were
// read: the checkpoint within the day. What is folded stays so, and no event is
// changed, so these are all the folded events up to the mark for as long as their
// number is that.
type BackfillPart struct {
	Mark     string   // see UsageView.FoldedPart
	Events   int64    // raw events read
	Rollups  []Rollup // by key; Revision is 0
	Sessions Sessions
}
