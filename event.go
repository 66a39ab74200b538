package usance

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of an event.
const (
	MaxQuantity      = 1_000_000_000_000     // of one event, units or cents
	MaxTotal         = 1_000_000_000_000_000 // of any sum that is kept; an event that would pass it is refused
	MaxBatch         = 10_000                // events of one request
	MaxMetadataBytes = 8 << 10
	MaxKeyBytes      = 255
	MaxAhead         = 5 * time.Minute // of the server's clock
)

// ReservedKeyPrefix begins the idempotency keys that the program makes itself
// (voids, backfilled totals); clients cannot send it.
const ReservedKeyPrefix = "usance:"

// AllTypes is the usage type of a threshold that covers every type. No event
// may carry it.
const AllTypes = "all"

// UsageTypes are the built-in usage types. Any other slug is accepted as well.
var UsageTypes = []string{"view", "download", "impression", "click", "play", "stream", "print", "custom"}

// Platforms and DeviceTypes are the closed sets of those two dimensions.
var (
	Platforms   = []string{"web", "mobile", "tv", "print", "social", "other"}
	DeviceTypes = []string{"desktop", "mobile", "tablet", "tv", "other"}
)

// EventStatus is what became of an event.
type EventStatus string

// An event is counted once and for all, or kept as evidence and not counted.
// VOIDED is derived: a counted event whose void exists.
const (
	StatusCounted   EventStatus = "COUNTED"
	StatusBlocked   EventStatus = "BLOCKED"
	StatusOutOfTerm EventStatus = "OUT_OF_TERM"
	StatusRefused   EventStatus = "REFUSED"
	StatusVoided    EventStatus = "VOIDED"
)

// EventStatuses are all of them: of events, then of evidence.
var EventStatuses = []EventStatus{StatusCounted, StatusVoided, StatusBlocked, StatusOutOfTerm, StatusRefused}

// Event is one use of a licence. The JSON fields are what a client sends; the
// others are set on the way in.
type Event struct {
	ID                 ID        `json:"eventId,omitzero"`
	LicenseID          string    `json:"licenseId"`
	UsageType          string    `json:"usageType"`
	Quantity           int64     `json:"quantity"`                     // units, 1 to 10^12; negative on a void
	OccurredAt         time.Time `json:"occurredAt"`                   // UTC, microseconds
	Platform           string    `json:"platform,omitempty"`           // one of Platforms
	DeviceType         string    `json:"deviceType,omitempty"`         // one of DeviceTypes
	GeographicLocation string    `json:"geographicLocation,omitempty"` // at most 100 characters
	Referrer           string    `json:"referrer,omitempty"`           // at most 2,048 characters
	SessionID          string    `json:"sessionId,omitempty"`          // never stored; see SessionHash
	RevenueCents       int64     `json:"revenueCents"`                 // cents, 0 to 10^12; negative on a void
	Metadata           RawJSON   `json:"metadata,omitempty"`           // a JSON object of at most 8 KiB
	IdempotencyKey     string    `json:"idempotencyKey,omitempty"`     // at most 255 bytes, scoped to the licence

	Stamped     bool      `json:"-"`                   // the server set OccurredAt; it is no part of the payload
	ReceivedAt  time.Time `json:"receivedAt,omitzero"` // UTC, microseconds; retention counts from here
	LocalDate   Date      `json:"localDate,omitzero"`  // in the licence's zone
	HourSlot    int       `json:"-"`                   // whole hours since local midnight, 0 to 24
	SessionHash uint64    `json:"-"`                   // keyed hash of SessionID; 0 when there is none
	PayloadHash [16]byte  `json:"-"`                   // of the payload as sent
	VoidOf      ID        `json:"voidOf,omitzero"`     // the event that this one takes back
	Voided      bool      `json:"voided,omitempty"`    // derived: the event's void exists
}

// RawJSON is a JSON value kept as it was sent.
type RawJSON []byte

// MarshalJSON gives the value back.
func (r RawJSON) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return r, nil
}

// UnmarshalJSON keeps the value.
func (r *RawJSON) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// Validate checks an event as a client sent it, by itself: what the clock says
// of it is decided after its key was looked up. OccurredAt must be set.
func (e *Event) Validate() error {
	if err := ValidateID("licenseId", e.LicenseID); err != nil {
		return err
	}
	if err := ValidateUsageType(e.UsageType); err != nil {
		return err
	}
	if e.Quantity < 1 || e.Quantity > MaxQuantity {
		return Invalid("quantity", "must be an integer from 1 to %d", int64(MaxQuantity))
	}
	if e.RevenueCents < 0 || e.RevenueCents > MaxQuantity {
		return Invalid("revenueCents", "must be an integer number of cents from 0 to %d", int64(MaxQuantity))
	}
	if y := e.OccurredAt.Year(); y < 1970 {
		return Invalid("occurredAt", "lies before 1970")
	}
	if e.Platform != "" {
		if err := ValidateWord("platform", e.Platform, Platforms); err != nil {
			return err
		}
	}
	if e.DeviceType != "" {
		if err := ValidateWord("deviceType", e.DeviceType, DeviceTypes); err != nil {
			return err
		}
	}
	if err := validateText("geographicLocation", e.GeographicLocation, 100); err != nil {
		return err
	}
	if err := validateText("referrer", e.Referrer, 2048); err != nil {
		return err
	}
	if err := validateText("sessionId", e.SessionID, 255); err != nil {
		return err
	}
	if len(e.Metadata) > MaxMetadataBytes {
		return Invalid("metadata", "must be at most %d bytes of JSON", MaxMetadataBytes)
	}
	if len(e.Metadata) > 0 && e.Metadata[0] != '{' {
		return Invalid("metadata", "must be a JSON object")
	}
	if len(e.IdempotencyKey) > MaxKeyBytes || !printable(e.IdempotencyKey) {
		return Invalid("idempotencyKey", "must be at most %d bytes of printable UTF-8", MaxKeyBytes)
	}
	if strings.HasPrefix(e.IdempotencyKey, ReservedKeyPrefix) {
		return Invalid("idempotencyKey", "must not begin with %q, which Usance keeps for itself", ReservedKeyPrefix)
	}
	return nil
}

// ValidateUsageType accepts a slug [a-z][a-z0-9_.-]{0,49} that is not "all".
func ValidateUsageType(s string) error {
	ok := len(s) >= 1 && len(s) <= 50 && s[0] >= 'a' && s[0] <= 'z'
	for i := 1; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
	}
	if !ok {
		return Invalid("usageType", "must be a slug of at most 50 characters such as view or social-embed: a-z, then a-z 0-9 _ . -")
	}
	if s == AllTypes {
		return Invalid("usageType", "%q stands for every usage type; an event needs one of its own", AllTypes)
	}
	return nil
}

// ValidateWord accepts the words of a closed set.
func ValidateWord[T ~string](field string, word T, words []T) error {
	if slices.Contains(words, word) {
		return nil
	}
	return Invalid(field, "must be one of %s", JoinWords(words))
}

// JoinWords writes a closed set of words for people.
func JoinWords[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// validateText bounds a free text: characters, valid UTF-8, no control characters.
func validateText(field, s string, maxLen int) error {
	if len(s) > maxLen && utf8.RuneCountInString(s) > maxLen {
		return Invalid(field, "must be at most %d characters", maxLen)
	}
	if !printable(s) {
		return Invalid(field, "must be valid UTF-8 without control characters")
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// Key is the stored form of an idempotency key: its own bytes when there are
// fewer than 32, else its first 16 bytes and 16 bytes of its SHA-256. The two
// forms differ in length, so they never meet; keys that begin with a time stay
// neighbours in the index.
func Key(idempotencyKey string) string {
	if len(idempotencyKey) < 32 {
		return idempotencyKey
	}
	sum := sha256.Sum256([]byte(idempotencyKey))
	return idempotencyKey[:16] + string(sum[:16])
}

// VoidKey is the idempotency key of the event that takes back the event id.
func VoidKey(id ID) string { return ReservedKeyPrefix + "void:" + id.String() }

// HashPayload sets PayloadHash: 16 bytes of SHA-256 over every field as sent,
// each with its length, so that no two payloads join to the same bytes. A time
// that the server stamped is no part of it; metadata must be canonical.
func (e *Event) HashPayload() {
	b := make([]byte, 0, 256)
	for _, s := range [...]string{e.UsageType, e.Platform, e.DeviceType, e.GeographicLocation, e.Referrer, string(e.Metadata)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendVarint(b, e.Quantity)
	b = binary.AppendVarint(b, e.RevenueCents)
	b = binary.LittleEndian.AppendUint64(b, e.SessionHash)
	if !e.Stamped {
		b = binary.AppendVarint(b, e.OccurredAt.UnixMicro())
	}
	b = append(b, e.VoidOf[:]...)
	sum := sha256.Sum256(b)
	copy(e.PayloadHash[:], sum[:])
}

// Void makes the event that takes e back: its signs turned, its time and local
// day kept, and a key derived from it, so that it happens once.
func (e *Event) Void() Event {
	v := *e
	v.ID, v.VoidOf, v.Voided = ID{}, e.ID, false
	v.Quantity, v.RevenueCents = -e.Quantity, -e.RevenueCents
	v.IdempotencyKey = VoidKey(e.ID)
	v.Metadata = nil
	v.Stamped = false
	v.HashPayload()
	return v
}

// Sign is 1, or -1 on a void: what the event adds to a count of events.
func (e *Event) Sign() int64 {
	if e.VoidOf.IsZero() {
		return 1
	}
	return -1
}

// SourceHost is the host of the referrer in lower case, "(direct)" when there
// is none and "(invalid)" when no host can be read.
func (e *Event) SourceHost() string {
	s := e.Referrer
	if s == "" {
		return "(direct)"
	}
	if _, after, ok := strings.Cut(s, "//"); ok {
		s = after
	} else if scheme, _, ok := strings.Cut(s, ":"); ok && !strings.Contains(scheme, ".") {
		return "(invalid)" // about:blank, data:…: no host
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		s = s[:i]
	}
	if s == "" || len(s) > 253 || strings.ContainsAny(s, " \"<>\\^`{|}") {
		return "(invalid)"
	}
	return strings.ToLower(s)
}

// Result is the answer to one event, in input order.
type Result struct {
	EventID        ID          `json:"eventId,omitzero"`
	LicenseID      string      `json:"licenseId,omitempty"`
	IdempotencyKey string      `json:"idempotencyKey,omitempty"`
	Tracked        bool        `json:"tracked"`   // the event is counted, now or by an earlier request
	Duplicate      bool        `json:"duplicate"` // the key was counted before; eventId and status repeat
	Status         EventStatus `json:"status"`
	Error          *Error      `json:"error,omitempty"`
	Usage          []Usage     `json:"usage,omitempty"` // live state of the thresholds that cover the event
}

// Usage is what a threshold's period holds at the moment of the answer.
type Usage struct {
	ThresholdID string `json:"thresholdId"`
	UsageType   string `json:"usageType"`
	PeriodStart *Date  `json:"periodStart,omitempty"` // nil: all time, of a total
	Used        int64  `json:"used"`
	Limit       int64  `json:"limit"`     // limitQuantity with grace
	Remaining   int64  `json:"remaining"` // units until Limit, never negative
}

// Evidence is an attempt that was not counted: blocked by a limit, out of the
// licence's term, or refused by its status. There is one row per licence and
// key, with a count of the attempts.
type Evidence struct {
	Event
	Status      EventStatus `json:"status"`
	Code        Code        `json:"code"`
	ThresholdID string      `json:"thresholdId,omitempty"`
	Attempts    int64       `json:"attempts"`
	FirstAt     time.Time   `json:"firstAt"`
	LastAt      time.Time   `json:"lastAt"`
}
