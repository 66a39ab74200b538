package usance

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// This file is the storage contract. Every store is proved by
// store/storetest, so that all behave alike. What an implementation
// must hold to:
//
//   - Text compares by bytes (collation C), so that both stores sort alike.
//   - Times are UTC and kept to the microsecond; a time read equals the time
//     written after Truncate(time.Microsecond).
//   - A Date is a local day of the licence it belongs to. SQL never computes
//     one from a time.
//   - Multi-row writes are given sorted by key and are carried out in that order.
//   - A function given to Update may run twice; it must not touch anything but
//     its Tx and variables that it sets anew on each run.

// ErrKeyExists is what AddEvents answers when some event's licence and key are
// there already. The transaction is of no more use: return the error, and judge
// again with the keys looked up.
var ErrKeyExists = errors.New("usance: an idempotency key exists")

// ErrRetry aborts an Update, which then runs its function again.
var ErrRetry = errors.New("usance: retry the transaction")

// ErrUndo is in the errors by which a function undoes its own Update on purpose:
// nothing is wrong.
var ErrUndo = errors.New("usance: undo the transaction")

// Store is everything that is kept.
type Store interface {
	Updater
	Viewer
	Sharder
	KeyStore
	JobStore

	// Together runs fn with a context under which everything that is read of the
	// store belongs to one instant: each View, and each look-up without one, is of
	// one snapshot. They come one after the other, and nothing is written under it.
	// A read that fails as a fault may leave the snapshot unfit for others.
	Together(ctx context.Context, fn func(ctx context.Context) error) error

	// Ping tells whether the store answers, and refuses with ErrKeyIndex in the
	// error when nothing keeps events from being counted twice.
	Ping(ctx context.Context) error
	// CheckSchema compares the tables, views and indexes with those that the
	// program's migrations make, and changes nothing. It means nothing while one is
	// pending.
	CheckSchema(ctx context.Context) ([]SchemaFault, error)
	// Secret gives the store's own random bytes of that name, made on first
	// use and the same ever after: the key of session hashes, for one.
	Secret(ctx context.Context, name string) ([]byte, error)
	Close() error
}

// Locks names licences whose groups a transaction locks before all else.
// Shared: it adds usage. Exclusive: it changes facts that usage is judged by,
// or must see all that was counted. Lazy is of the commit, not of a lock.
type Locks struct {
	Shared    []string
	Exclusive []string
	// Lazy lets the commit return before it is on the disk: a power cut may undo
	// it as a whole, unless something was committed otherwise after it. For what is worked out anew then.
	Lazy bool
}

// Updater carries out one transaction over events, counters, alerts and jobs.
// On an error of fn, or of the commit, nothing is changed.
type Updater interface {
	Update(ctx context.Context, locks Locks, fn func(Tx) error) error
}

// Sharder tells which licences lie together.
type Sharder interface {
	Shards() Shards
}

// Shards is how licences are distributed. A transaction over licences of several
// shards does what any other does, and costs a multiple of one over a single
// shard's, which is why stages that are given many licences go shard by shard.
type Shards struct {
	Count int                        // from 1 to MaxGroups
	Of    func(licenseID string) int // from 1 to Count
}

// OneShard is where all licences lie together.
func OneShard() Shards { return Shards{1, func(string) int { return 1 }} }

// Several tells whether there is more than one.
func (s Shards) Several() bool { return s.Count > 1 }

// Viewer gives fn one snapshot: all that it reads belongs to one instant.
type Viewer interface {
	View(ctx context.Context, fn func(View) error) error
}

// View is what can be read. Single look-ups answer an error of code NOT_FOUND
// (LICENSE_NOT_FOUND for a licence) when there is no such row.
type View interface {
	PartyView
	UsageView
	LimitView
	ForecastView
	// APIKey finds a key by its id.
	APIKey(ctx context.Context, id string) (APIKey, error)
}

// Page bounds a listing: at most Limit rows (1 to 1,000), those after the one
// that Cursor names; an empty cursor starts at the beginning. Listings answer
// the next cursor, empty at the end. Cursors are opaque, and stay right while
// rows are added.
type Page struct {
	Cursor string
	Limit  int
}

// Scope narrows what a reader sees; a nil slice does not narrow. It is applied
// in every listing, so that no row leaks by being counted or paged.
type Scope struct {
	BrandIDs   []string // licences of these brands
	LicenseIDs []string // these licences
	CreatorID  string   // licences of assets in which the creator holds a share on Today
	Today      Date
}

// Narrows tells whether the scope hides anything.
func (s Scope) Narrows() bool {
	return s.BrandIDs != nil || s.LicenseIDs != nil || s.CreatorID != ""
}

// PartyView reads who is who.
type PartyView interface {
	Brand(ctx context.Context, id string) (Brand, error)
	Creator(ctx context.Context, id string) (Creator, error)
	Asset(ctx context.Context, id string) (Asset, error)
	License(ctx context.Context, id string) (License, error)
	// Facts gives what ingest judges the licences by, sorted by id; ids that
	// do not exist are left out. Deleted licences are there.
	Facts(ctx context.Context, ids []string) ([]Facts, error)
	// HasUsage tells whether any event, rollup or counter of the licence exists.
	HasUsage(ctx context.Context, licenseID string) (bool, error)
	// Visible tells whether the scope holds the licence.
	Visible(ctx context.Context, scope Scope, licenseID string) (bool, error)

	// Listings are in the order of ids. A scope that narrows holds the brands
	// and assets of its licences, a scope of brands alone those brands, and one
	// of a creator alone the assets in which it holds a share, licensed or not.
	// Of creators it holds its own alone: others' addresses are not for brands.
	Brands(ctx context.Context, scope Scope, p Page) ([]Brand, string, error)
	Creators(ctx context.Context, scope Scope, p Page) ([]Creator, string, error)
	Assets(ctx context.Context, scope Scope, p Page) ([]Asset, string, error)
	Licenses(ctx context.Context, f LicenseFilter, p Page) ([]License, string, error)
}

// Facts is what an event is judged by: the licence and every threshold it ever
// had, active or not.
type Facts struct {
	License    License
	Thresholds []Threshold // in the order of ids
	// ClosedTo bounds the closed days: none is at or after it. MinDate when
	// there is none.
	ClosedTo Date
	// Fault is the *UnreadableError of a threshold that Thresholds lacks: nothing of
	// the licence can be judged until its row is mended. nil when all can be read.
	Fault error
}

// Term is the licence's Term, or Fault.
func (f *Facts) Term() (loc *time.Location, from, to time.Time, err error) {
	if f.Fault != nil {
		return nil, from, to, f.Fault
	}
	return f.License.Term()
}

// AddFault adds an *UnreadableError to the facts of its licence, if they are there;
// another error is given back.
func AddFault(facts []Facts, err error) error {
	unreadable, ok := errors.AsType[*UnreadableError](err)
	if !ok {
		return err
	}
	if i := slices.IndexFunc(facts, func(f Facts) bool { return f.License.ID == unreadable.LicenseID }); i >= 0 {
		facts[i].Fault = cmp.Or(facts[i].Fault, err)
	}
	return nil
}

// LicenseFilter narrows a listing of licences; zero fields do not.
type LicenseFilter struct {
	Scope   Scope
	BrandID string
	AssetID string
	Status  LicenseStatus
	Deleted bool // deleted ones too
}

// UsageView reads events and rollups.
type UsageView interface {
	// Rollups yields the rows of one licence with from <= date < to, in key
	// order; types nil means all. Rows whose counts are all zero are there too.
	Rollups(ctx context.Context, licenseID string, from, to Date, types []string, yield func(*Rollup) error) error
	// Tail yields the licence's events that are counted but not folded, with
	// from <= LocalDate < to, in no order. Rollups and Tail of one View
	// together hold each counted event exactly once.
	Tail(ctx context.Context, licenseID string, from, to Date, yield func(*Event) error) error
	// Folded yields the licence's events that are folded, with
	// from <= LocalDate < to, in the order of LocalDate.
	Folded(ctx context.Context, licenseID string, from, to Date, yield func(*Event) error) error
	// FoldedPart yields about n folded events of a day, in the order in which they
	// came in, from behind a mark that it gave before ("": from the first), and gives
	// the mark behind them. What came in just before now, or behind what is pending, is
	// left out, since what came earlier may be folded yet; with n 0 it yields all to
	// the last. To hold the number of events against that of the day tells for sure.
	FoldedPart(ctx context.Context, licenseID string, day Date, mark string, n int, now time.Time, yield func(*Event) error) (next string, err error)
	// DayEvents counts the licence's raw events by local day, folded or not.
	DayEvents(ctx context.Context, licenseID string, from, to Date) (map[Date]int64, error)
	// DayUsage sums rollups and tail by local day and type (Tally only), in key
	// order: what counters are seeded from.
	DayUsage(ctx context.Context, licenseID string, from, to Date) ([]Rollup, error)
	// FoldedUsage sums rollups alone by local day and type (Tally only), in key
	// order: DayUsage without the tail.
	FoldedUsage(ctx context.Context, licenseID string, from, to Date) ([]Rollup, error)
	// DaySessions yields the licence's session sketches, as of the last fold.
	DaySessions(ctx context.Context, licenseID string, from, to Date, yield func(Date, *Sessions) error) error
	// UniqueSessions gives the numbers that are kept beside those sketches for SQL
	// to read, by day: the sketches' estimates.
	UniqueSessions(ctx context.Context, licenseID string, from, to Date) (map[Date]int64, error)
	// Version is another one after each fold and recalculation that touches the
	// licence, and never one of before: what is cached of folded rows is filed
	// under it. 0 is that of a licence of which nothing was folded.
	Version(ctx context.Context, licenseID string) (int64, error)

	// EventByKey finds a counted event by its idempotency key (not its stored form).
	EventByKey(ctx context.Context, licenseID, idempotencyKey string) (Event, error)
	// EventByID finds a counted event of the licence by its id, which was made
	// in the millisecond of its receipt.
	EventByID(ctx context.Context, licenseID string, id ID) (Event, error)
	// EventsByKey gives the events whose licence and key are among refs, each
	// with ID, LicenseID, IdempotencyKey, PayloadHash, LocalDate, OccurredAt, UsageType, Quantity set.
	EventsByKey(ctx context.Context, refs []EventRef) ([]Event, error)
	// Events lists counted events and voids of one licence, newest local day
	// first, within it newest received first. Status COUNTED means those that
	// no void took back, voids included; VOIDED the others.
	Events(ctx context.Context, f EventFilter, p Page) ([]Event, string, error)
	// Evidence lists attempts that were not counted, latest attempt first.
	Evidence(ctx context.Context, f EventFilter, p Page) ([]Evidence, string, error)
	// ClosedDays gives those of the days that refuse events.
	ClosedDays(ctx context.Context, days []Day) ([]Day, error)
	// SealedDays gives the licence's sealed days with from <= date < to, in order.
	SealedDays(ctx context.Context, licenseID string, from, to Date) ([]Date, error)
	// DueDays gives the days, in order and after the day named, that hold raw
	// events received before the instant and are not sealed.
	DueDays(ctx context.Context, before time.Time, after Day, limit int) ([]Day, error)
	// LastReceived is when an event of the batch that was added last was received;
	// zero when there is no raw event.
	LastReceived(ctx context.Context) (time.Time, error)
	// Pending gives batches of before the instant that are not folded, oldest first.
	Pending(ctx context.Context, before time.Time, limit int) ([]Batch, error)
	// Backfill finds the licence's backfill; NOT_FOUND when it never had one.
	Backfill(ctx context.Context, licenseID string) (Backfill, error)
	// RunningBackfills gives those of status RUNNING, in the order of licences.
	RunningBackfills(ctx context.Context) ([]Backfill, error)
	// Status tells how far folding has come and how much is stored.
	Status(ctx context.Context) (StoreStatus, error)
	// Activity tells what happened lately, as seen at the instant. It reads the
	// events of a week.
	Activity(ctx context.Context, now time.Time) (Activity, error)
}

// EventRef names an event by licence and idempotency key.
type EventRef struct{ LicenseID, IdempotencyKey string }

// Compare orders refs by licence, then key.
func (r EventRef) Compare(o EventRef) int {
	if r.LicenseID != o.LicenseID {
		return cmpString(r.LicenseID, o.LicenseID)
	}
	return cmpString(r.IdempotencyKey, o.IdempotencyKey)
}

// Day is a local day of a licence.
type Day struct {
	LicenseID string
	Date      Date
}

// Compare orders days by licence, then date.
func (d Day) Compare(o Day) int {
	if d.LicenseID != o.LicenseID {
		return cmpString(d.LicenseID, o.LicenseID)
	}
	return int(d.Date) - int(o.Date)
}

// EventFilter narrows a listing of events; zero fields do not. LicenseID is required.
type EventFilter struct {
	LicenseID string
	UsageType string
	From, To  Date // half-open; To 0 means no bound
	Status    EventStatus
}

// Batch is events of one ingest transaction that are folded together: all of
// them, or those of one group of licences.
// Memory hand-overs carry the events; a batch read from the store has none.
type Batch struct {
	ID     ID
	At     time.Time
	Count  int
	Group  int // of all its licences, from 1 to MaxGroups, which is their shard where there are several; 0: it is of several, or that is not known
	Events []Event
}

// MaxFoldLag is the age of a pending batch from which on something is wrong with
// the fold, whatever the load.
const MaxFoldLag = 5 * time.Minute

// Groups is how many groups of licences are locked apart, and MaxGroups into how
// many their events may be split for folding.
const (
	Groups    = 64
	MaxGroups = 256
)

// GroupOf gives a licence's group of so many, from 1 on.
func GroupOf(licenseID string, groups int) int {
	const offset, prime = 2166136261, 16777619 // FNV-1a
	h := uint32(offset)
	for i := range len(licenseID) {
		h = (h ^ uint32(licenseID[i])) * prime
	}
	return 1 + int((h>>16^h)%uint32(groups))
}

// StoreStatus is the state of counting as a whole.
type StoreStatus struct {
	PendingBatches int64     `json:"pendingBatches"`
	PendingEvents  int64     `json:"pendingEvents"`
	OldestPending  time.Time `json:"oldestPending,omitzero"`
	TrackedActive  int64     `json:"activeLicensesTracked"` // ACTIVE licences with tracking enabled
	// EventsLatestDay is how many events were received on the last UTC day on which
	// any was; Activity counts those of the last 24 hours.
	EventsLatestDay int64                   `json:"eventsLatestDay"`
	Overages        map[OverageStatus]int64 `json:"overages"`
}

// LimitView reads thresholds and what follows from them.
type LimitView interface {
	Threshold(ctx context.Context, id string) (Threshold, error)
	// Thresholds lists in the order of licence and id; active ones only unless Inactive is
	// set. One that cannot be read (UnreadableError) is left out where the filter names
	// no licence, so that it stops no job of others, and fails a listing of its own licence.
	Thresholds(ctx context.Context, f ThresholdFilter, p Page) ([]Threshold, string, error)
	// Counters gives those of the keys that exist, in key order.
	Counters(ctx context.Context, keys []CounterKey) ([]Counter, error)
	// CountersOf gives every counter of one threshold, in key order.
	CountersOf(ctx context.Context, licenseID, thresholdID string) ([]Counter, error)
	// Ended gives open and frozen counters whose period ends by local day `by`
	// at the latest, in key order, at most limit, after the key `after`.
	Ended(ctx context.Context, by Date, after CounterKey, limit int) ([]Counter, error)
	// Due gives DETECTED overages with SettleAt <= now, in id order, at most limit.
	Due(ctx context.Context, now time.Time, limit int) ([]Overage, error)
	Overage(ctx context.Context, id ID) (Overage, error)
	// Revisions gives every overage row of the counters, by key and revision.
	Revisions(ctx context.Context, keys []CounterKey) ([]Overage, error)
	// Overages lists newest first (by id, descending).
	Overages(ctx context.Context, f OverageFilter, p Page) ([]Overage, string, error)
	Alert(ctx context.Context, id ID) (Alert, error)
	// Alerts lists newest first.
	Alerts(ctx context.Context, f AlertFilter, p Page) ([]Alert, string, error)
	// Audit lists newest first.
	Audit(ctx context.Context, f AuditFilter, p Page) ([]AuditEntry, string, error)
}

// ThresholdFilter narrows a listing of thresholds; zero fields do not.
type ThresholdFilter struct {
	Scope     Scope
	LicenseID string
	UsageType string
	Inactive  bool // retired ones too
}

// OverageFilter narrows a listing of overages; zero fields do not.
type OverageFilter struct {
	Scope       Scope
	LicenseID   string
	ThresholdID string
	Status      OverageStatus
}

// AlertFilter narrows a listing of alerts; zero fields do not.
type AlertFilter struct {
	Scope       Scope
	LicenseID   string
	ThresholdID string
	UsageType   string
	Kind        AlertKind
	Unread      bool // only those not acknowledged
}

// AuditFilter narrows the audit trail; zero fields do not.
type AuditFilter struct {
	LicenseID string
	Subject   string
}

// Tx reads and writes within one transaction, its own writes included.
type Tx interface {
	View
	ForecastTx

	PutBrand(ctx context.Context, b Brand) error
	PutCreator(ctx context.Context, c Creator) error
	PutAsset(ctx context.Context, a Asset) error // replaces its owners
	PutLicense(ctx context.Context, l License) error

	// AddEvents records the counted events of batches and leaves those pending;
	// ErrKeyExists when any event is there already. The events carry everything
	// but their licence's existence, which the caller has checked.
	AddEvents(ctx context.Context, batches []Batch) error
	// PutEvidence adds or refreshes one row per licence and key: the attempts
	// are added up, FirstAt and ID are kept, the rest is of the latest attempt.
	PutEvidence(ctx context.Context, rows []Evidence) error

	PutThreshold(ctx context.Context, t Threshold) error
	// WarnThresholds sets lastWarningLevel and lastWarningAt; level 0 clears
	// the level and leaves the time. warnings is sorted by licence and id.
	WarnThresholds(ctx context.Context, warnings []Warning) error
	// EnsureCounters inserts those of the counters that are missing.
	EnsureCounters(ctx context.Context, counters []Counter) error
	// LockCounters locks and gives those of the keys that exist, in key order.
	LockCounters(ctx context.Context, keys []CounterKey) ([]Counter, error)
	// AddToCounters adds each delta to a counter that exists and gives the
	// counters as they are now, in key order; keys that do not exist, and
	// counters that do not move (frozen, final), are left out and left alone.
	AddToCounters(ctx context.Context, deltas []CounterDelta) ([]Counter, error)
	// PutCounters writes counters whole; they exist and are locked.
	PutCounters(ctx context.Context, counters []Counter) error
	// PutOverages inserts or rewrites rows by id.
	PutOverages(ctx context.Context, rows []Overage) error
	// AddAlerts inserts alerts; one that exists (same threshold, period, kind,
	// level and epoch) is left as it is.
	AddAlerts(ctx context.Context, alerts []Alert) error
	// AcknowledgeAlert marks an alert as seen; the first one to do so stays.
	AcknowledgeAlert(ctx context.Context, id ID, by string, at time.Time) error
	AddAudit(ctx context.Context, entries []AuditEntry) error
	PutAPIKey(ctx context.Context, k APIKey) error
	// LockAPIKeys has other transactions that lock them wait for the end of this one:
	// who rewrites keys as it has read them locks first.
	LockAPIKeys(ctx context.Context) error

	// TakePending deletes those of the pending batches that are there, known by
	// ID and Group, and gives their ids: who deletes, folds.
	TakePending(ctx context.Context, batches []Batch) ([]ID, error)
	// BatchEvents yields the events of those of the batches that this transaction took.
	BatchEvents(ctx context.Context, ids []ID, yield func(*Event) error) error
	// EnsureRollups inserts missing rows empty; LockRollups locks and gives
	// those that exist, in key order, and PutRollups writes them whole.
	EnsureRollups(ctx context.Context, keys []RollupKey) error
	LockRollups(ctx context.Context, keys []RollupKey) ([]Rollup, error)
	PutRollups(ctx context.Context, rows []Rollup) error
	// MergeSessions merges sketches into those stored, with the new estimate
	// beside them. days is sorted.
	MergeSessions(ctx context.Context, days []DaySketch) error
	// RenewVersions gives the licences new versions; ids are sorted.
	RenewVersions(ctx context.Context, licenseIDs []string) error
	// CloseDays marks days that refuse events from now on; SealDays marks
	// closed days whose raw events may be pruned, which no recalculation touches
	// (one that is not closed is closed by it).
	CloseDays(ctx context.Context, days []Day) error
	SealDays(ctx context.Context, days []Day) error
	// PutBackfill inserts or rewrites the licence's backfill.
	PutBackfill(ctx context.Context, b Backfill) error
	// PruneEvents deletes at most limit raw events that were received before
	// the instant, are folded and lie on sealed days, in order of receipt, and
	// tells how many.
	PruneEvents(ctx context.Context, before time.Time, limit int) (int, error)
	// PruneEvidence deletes at most limit rows whose last attempt was before
	// the instant, and tells how many.
	PruneEvidence(ctx context.Context, before time.Time, limit int) (int, error)
}

// CounterDelta is an amount to add to a counter.
type CounterDelta struct {
	CounterKey
	Quantity int64
}

// Warning is the highest level that a threshold has reached in its current period.
type Warning struct {
	LicenseID   string
	ThresholdID string
	Level       int
	At          time.Time
}

// DaySketch is the sessions of one licence and local day.
type DaySketch struct {
	Day
	Sessions Sessions
}

// KeyStore keeps API keys.
type KeyStore interface {
	// APIKeyByHash finds a key by the SHA-256 of its secret; NOT_FOUND if none.
	APIKeyByHash(ctx context.Context, hash []byte) (APIKey, error)
	// APIKeys lists in the order of ids, revoked ones too.
	APIKeys(ctx context.Context, p Page) ([]APIKey, string, error)
	// KeysVersion changes whenever any key changes, so that nodes can keep keys.
	// That a key is used is no change.
	KeysVersion(ctx context.Context) (int64, error)
	// UseAPIKeys records by id when keys were used last; an earlier time than
	// the one recorded changes nothing. PutAPIKey leaves it alone.
	UseAPIKeys(ctx context.Context, used map[string]time.Time) error
}

// JobStore keeps the schedule: which jobs are paused, which are running where.
type JobStore interface {
	// SyncJobs makes the jobs exist; a job that exists keeps all but its schedule.
	SyncJobs(ctx context.Context, jobs []Job) error
	Jobs(ctx context.Context) ([]Job, error)
	// ClaimJob takes the lease of a job that is due (or named by force), not
	// paused and not leased, and sets its next run; ok false when there is nothing to take.
	ClaimJob(ctx context.Context, name, owner string, now, next, until time.Time, force bool) (ok bool, err error)
	// RenewJob prolongs a lease; ok false when it was lost.
	RenewJob(ctx context.Context, name, owner string, until time.Time) (ok bool, err error)
	// FinishJob ends the owner's lease and records how the run went; nothing
	// changes when the lease was lost. What ended more than 24 hours before is
	// remembered in Runs and Failures alone.
	FinishJob(ctx context.Context, name, owner string, at time.Time, took time.Duration, runErr string) error
	// PauseJob stops or resumes a job's schedule; NOT_FOUND if there is none.
	PauseJob(ctx context.Context, name string, paused bool) error
}
