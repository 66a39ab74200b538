// Package catalog keeps what usage is judged by: brands, creators, assets,
// licences, thresholds and API keys. A host platform mirrors its own tables
// here, under its own ids.
//
// Every change that ingest relies on holds the licence's group exclusively for
// a moment, so that no event in flight is judged by half of it, and every
// change leaves an audit row.
package catalog

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
)

// Store is what the catalog asks of the store.
type Store interface {
	usance.Updater
	usance.Viewer
}

// Options are the settings of a Catalog; zero fields take the defaults named.
type Options struct {
	Now       func() time.Time // the clock; time.Now
	LateGrace time.Duration    // as ingest has it; 24 h
	// NewSecret makes an API key's secret and the hash that is stored of it.
	NewSecret func() (secret string, hash []byte)
}

// Catalog changes the facts. Its methods may be called at once.
type Catalog struct {
	store Store
	o     Options
}

// New makes a Catalog.
func New(store Store, o Options) *Catalog {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LateGrace == 0 {
		o.LateGrace = 24 * time.Hour
	}
	return &Catalog{store: store, o: o}
}

func (c *Catalog) now() time.Time { return c.o.Now().UTC().Truncate(time.Microsecond) }

// decode reads a JSON object onto v, whose fields keep their value where the
// object omits them. Unknown and repeated fields are refused, and null is but
// where it has a meaning: it is what JavaScript writes for NaN and for dates
// that are none.
func decode(body []byte, v any) error {
	var nullable []jsontext.Pointer
	switch v.(type) {
	case *usance.License:
		nullable = []jsontext.Pointer{"/deletedAt"} // restores
	case *usance.Threshold:
		nullable = []jsontext.Pointer{"/overageRateCents", "/overageTiers"} // takes the price away
	}
	err := json.Unmarshal(body, v, json.RejectUnknownMembers(true), json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, _ any) error {
		if d.PeekKind() == 'n' && !slices.Contains(nullable, d.StackPointer()) {
			return usance.Invalid("", "must not be null; leave the field out to keep its value")
		}
		return errors.ErrUnsupported
	})))
	if err == nil {
		return nil
	}
	var sem *json.SemanticError
	if !errors.As(err, &sem) {
		return usance.Invalid("", "the body is not a JSON object: %s", usance.Clip(err.Error()))
	}
	field := usance.FieldPath(string(sem.JSONPointer))
	var known *usance.Error
	if errors.As(err, &known) {
		if field == "" {
			return known
		}
		e := *known
		e.Field = field
		return &e
	}
	if errors.Is(err, json.ErrUnknownName) {
		return usance.Invalid(field, "is not a field of this object")
	}
	return usance.Invalid(field, "must be %s", wanted(sem.GoType))
}

// wanted says what a field of that type must be.
func wanted(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "of another type"
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return "an RFC 3339 timestamp such as 2024-10-12T08:30:00Z"
	case reflect.TypeFor[usance.Date]():
		return "a date YYYY-MM-DD"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number in digits, without fraction, exponent or quotes"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object"
	}
	return "of another type"
}

// audit writes the row of a change; before is nil for a new thing.
func (c *Catalog) audit(ctx context.Context, tx usance.Tx, now time.Time, actor, action, subject, licenseID string, before, after any) error {
	e := usance.NewAuditEntry(now, actor, action, subject)
	e.LicenseID = licenseID
	if err := e.SetStates(before, after); err != nil {
		return err
	}
	return tx.AddAudit(ctx, []usance.AuditEntry{e})
}

// found tells whether a look-up found something; other errors are passed on.
func found(err error) (bool, error) {
	if err == nil {
		return true, nil
	}
	switch usance.ErrorCode(err) {
	case usance.CodeNotFound, usance.CodeLicenseNotFound:
		return false, nil
	}
	return false, err
}

// sameID refuses a body whose id is not the path's.
func sameID(path, body string) error {
	if path != body {
		return usance.Invalid("id", "must be %q as in the path, or be left out", path)
	}
	return nil
}
