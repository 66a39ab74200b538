package usance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Code names a kind of failure. Codes are part of the API: they never change
// their meaning, and each maps to one HTTP status and one tRPC code.
type Code string

// The codes of the API.
const (
	CodeValidation          Code = "VALIDATION"           // the input breaks a rule; nothing was stored
	CodeUnauthorized        Code = "UNAUTHORIZED"         // no key, or one that is unknown or revoked
	CodeForbidden           Code = "FORBIDDEN"            // the key's role may not do this
	CodeNotFound            Code = "NOT_FOUND"            // no such thing, or not one the key may see
	CodeLicenseNotFound     Code = "LICENSE_NOT_FOUND"    // no such licence, or not one the key may see
	CodeLicenseNotActive    Code = "LICENSE_NOT_ACTIVE"   // the licence's status refuses usage
	CodeTrackingDisabled    Code = "TRACKING_DISABLED"    // usage_tracking_enabled is false
	CodeOutOfTerm           Code = "OUT_OF_TERM"          // the event lies outside the licence's term
	CodeLimitExceeded       Code = "LIMIT_EXCEEDED"       // a hard limit has no room for the quantity
	CodeTooLate             Code = "TOO_LATE"             // the local day is closed for pruning
	CodeBackdateForbidden   Code = "BACKDATE_FORBIDDEN"   // older than the late grace, without the scope
	CodeIdempotencyConflict Code = "IDEMPOTENCY_CONFLICT" // the key was used with another payload
	CodeAborted             Code = "ABORTED"              // another event of the atomic batch was refused
	CodeConflict            Code = "CONFLICT"             // the change contradicts what is recorded
	CodeThresholdExists     Code = "THRESHOLD_EXISTS"     // one such threshold is in force already
	CodeInvalidState        Code = "INVALID_STATE"        // the overage's status does not allow the move
	CodeTooLarge            Code = "TOO_LARGE"            // the body or batch passes its bound
	CodeUnsupportedMedia    Code = "UNSUPPORTED_MEDIA"    // the content type is none that the operation reads
	CodeMethodNotAllowed    Code = "METHOD_NOT_ALLOWED"   // the path exists, the method does not
	CodeRateLimited         Code = "RATE_LIMITED"         // the key sent too much; see Retry-After
	CodeOverloaded          Code = "OVERLOADED"           // the queue is full; see Retry-After
	CodeUnavailable         Code = "UNAVAILABLE"          // the store cannot be reached or is shutting down
	CodeInternal            Code = "INTERNAL"             // a fault of the server; the log has the cause
)

// Codes are all of them, in the order of the documents.
var Codes = []Code{
	CodeValidation, CodeUnauthorized, CodeForbidden, CodeBackdateForbidden,
	CodeNotFound, CodeLicenseNotFound, CodeMethodNotAllowed,
	CodeLicenseNotActive, CodeTrackingDisabled, CodeOutOfTerm, CodeLimitExceeded,
	CodeTooLate, CodeIdempotencyConflict, CodeAborted, CodeConflict,
	CodeThresholdExists, CodeInvalidState, CodeTooLarge, CodeUnsupportedMedia,
	CodeRateLimited, CodeOverloaded, CodeUnavailable, CodeInternal,
}

// Error is a failure that a caller may see. Its message says what to do next
// and never holds another party's data.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Field is the JSON path of the input at fault, when there is one.
	Field string `json:"field,omitempty"`
	// Retryable tells whether the same request can succeed later unchanged.
	Retryable bool `json:"retryable"`
	// RetryAfter is how long to wait before trying again; 0 when unknown.
	RetryAfter time.Duration `json:"-"`
	// cause is for the log only.
	cause error
}

func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Field, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap gives the cause kept for the log.
func (e *Error) Unwrap() error { return e.cause }

// NewError makes an error of the given code. Whether a retry can help follows
// from the code.
func NewError(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Retryable: code.retryable()}
}

// LicenseNotFound is the one answer about a licence that is absent, or not one
// that the caller may see.
func LicenseNotFound(id string) *Error {
	return NewError(CodeLicenseNotFound, "no licence %q; put it first, or check the id", Clip(id))
}

// Invalid makes a VALIDATION error that names the JSON field at fault.
func Invalid(field, format string, args ...any) *Error {
	e := NewError(CodeValidation, format, args...)
	e.Field = field
	return e
}

// WrapError makes an error of the given code whose cause goes to the log and
// never to the caller.
func WrapError(cause error, code Code, format string, args ...any) *Error {
	e := NewError(code, format, args...)
	e.cause = cause
	return e
}

// Clip bounds what a message repeats of what was sent, and makes it UTF-8. An id
// that is one is never cut.
func Clip(s string) string {
	if len(s) <= MaxIDBytes {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:MaxIDBytes], "") + "…"
}

// FieldPath writes a JSON pointer (RFC 6901) as errors name fields:
// owners[0].to for /owners/0/to.
func FieldPath(pointer string) string {
	var b strings.Builder
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if _, err := strconv.ParseUint(token, 10, 31); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(Clip(unescape.Replace(token)))
	}
	return b.String()
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// ErrorCode gives the code of err: INTERNAL for errors that are none of ours.
func ErrorCode(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// IsFault tells whether an error is a fault of the server, or of what it leans on,
// rather than an answer, a transaction that is to be undone or carried out again,
// or a caller that left.
func IsFault(err error) bool {
	for _, meant := range []error{ErrUndo, ErrKeyExists, ErrRetry, context.Canceled} {
		if errors.Is(err, meant) {
			return false
		}
	}
	code := ErrorCode(err)
	return err != nil && (code == CodeUnavailable || code == CodeInternal)
}

// retryable tells whether the same request can succeed later unchanged: a
// limit may be raised, a licence activated, a queue drained.
func (c Code) retryable() bool {
	switch c {
	case CodeLimitExceeded, CodeLicenseNotActive, CodeTrackingDisabled, CodeOutOfTerm,
		CodeRateLimited, CodeOverloaded, CodeUnavailable, CodeInternal, CodeAborted:
		return true
	}
	return false
}
