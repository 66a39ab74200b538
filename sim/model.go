// Package sim proves the stages by simulation: seeded schedules of clients,
// folds, corrections and crashes run against a real store, and every answer
// and every row is compared with the model here. The model is what the
// rules say (docs, testdata/rules), in as few words as possible: it keeps
// every event for ever, has no transaction, no fold and no cache, and adds up
// from scratch whatever is asked. It imports nothing of the product.
//
// TestInterleaved proves in the same way what two nodes do to each other on one
// PostgreSQL, each stopping before any statement of the other's: the state must be
// that of the model after some order of their transactions.
package sim

import "time"

// Codes of refusals.
const (
	Validation       = "VALIDATION"
	LicenseNotFound  = "LICENSE_NOT_FOUND"
	NotActive        = "LICENSE_NOT_ACTIVE"
	TrackingDisabled = "TRACKING_DISABLED"
	OutOfTerm        = "OUT_OF_TERM"
	LimitExceeded    = "LIMIT_EXCEEDED"
	TooLate          = "TOO_LATE"
	Backdate         = "BACKDATE_FORBIDDEN"
	KeyConflict      = "IDEMPOTENCY_CONFLICT"
	Aborted          = "ABORTED"
	NotFound         = "NOT_FOUND"
	Conflict         = "CONFLICT"
	ThresholdExists  = "THRESHOLD_EXISTS"
	InvalidState     = "INVALID_STATE"
)

// License is what an event is judged by, besides its thresholds.
type License struct {
	ID       string
	Zone     *time.Location
	Anchor   int
	Status   string
	Tracking bool
	Deleted  bool
	Start    string // first local day, or empty
	End      string // last local day, or empty

	Events     []*Event     // all that were ever counted, voids too
	Thresholds []*Threshold // in the order of ids
	Evidence   map[string]*Evidence
	Closed     map[Day]bool   // days that take no event
	Sealed     map[Day]bool   // days whose raw events may go
	Audit      map[string]int // how often which change was made
}

// Event is one use as it was sent, and, once counted, as it is kept.
type Event struct {
	License, Key, Type                                string
	Quantity, Revenue                                 int64
	At                                                time.Time // zero: the server stamps it
	Platform, Device, Geo, Referrer, Session, Invalid string

	Source   string // host of the referrer
	Stamped  bool
	Received time.Time
	Day      Day
	Slot     int
	ID       string // as the product answered; empty while unknown
	Void     *Event // what this event takes back
	Pruned   bool   // its raw form is gone, and with it its key
}

// Result is the answer to one event.
type Result struct {
	Status, Code string
	Duplicate    bool
	Event        *Event // the one that counts
	Usage        []Usage
}

// Usage is a threshold's period at the moment of an answer.
type Usage struct {
	Threshold   string
	Start       Day
	Used, Limit int64
}

// Evidence is what is kept of attempts that did not count.
type Evidence struct {
	Status, Code, Threshold string
	Quantity, Attempts      int64
	Last                    time.Time
}

// Terms are what a threshold holds a period to.
type Terms struct {
	Limit, Grace int64
	Allow        bool
	Rate         string // decimal cents per unit
	Tiers        []Tier
}

// Tier prices units up to UpTo; 0 on the last.
type Tier struct {
	UpTo int64
	Rate string
}

// Threshold limits, bills or alerts.
type Threshold struct {
	ID, Type, Period string
	Terms
	Levels    []int
	Active    bool
	Retired   Day // when it was, if it is not active
	From      Day // the first period it judges begins here
	LastLevel int // 0: none
	Epoch     int // raised when levels open anew
	License   *License
	Counters  []*Counter
}

// Counter is one period of a threshold.
type Counter struct {
	Start, End Day
	State      string // open, closed: moving; frozen, final: retired within, and that closed
	Level      int
	Terms      *Terms // its own, once the period ended or froze
	kept       int64  // what it held when it froze
	Overages   []*Overage
}

// Overage is one revision of what a period costs.
type Overage struct {
	Revision              int
	Quantity, Fee, Actual int64
	Terms                 Terms  // what it is priced by
	Status, Left          string // Left: the state that a dispute left
	SettleAt, SettledAt   time.Time
}

// AlertKey says what an alert is about: there is one each.
type AlertKey struct {
	Threshold    string
	Start        Day
	Kind         string
	Level, Epoch int
}

// Alert is what it told.
type Alert struct{ Quantity, Limit int64 }

// Model is the whole state.
type Model struct {
	Grace    time.Duration
	Licenses map[string]*License
	Alerts   map[AlertKey]Alert
	made     int // keys
}

// NewModel is the empty state.
func NewModel(grace time.Duration) *Model {
	return &Model{Grace: grace, Licenses: make(map[string]*License), Alerts: make(map[AlertKey]Alert)}
}

// NewLicense is a licence as it is first put.
func NewLicense(id string, zone *time.Location, anchor int) *License {
	return &License{ID: id, Zone: zone, Anchor: anchor, Status: "ACTIVE", Tracking: true,
		Evidence: make(map[string]*Evidence), Closed: make(map[Day]bool), Sealed: make(map[Day]bool), Audit: make(map[string]int)}
}
