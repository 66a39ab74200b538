package api

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
)

// batch is the events of one request as they were decoded: errs has a place
// for each event, nil where it decoded.
type batch struct {
	events []usance.Event
	errs   []*usance.Error
	atomic bool
	// form tells how the answer is shaped.
	form batchForm
	room int64 // that it has of the room for lines
}

type batchForm int

const (
	oneEvent   batchForm = iota // an object: answered by a result
	eventList                   // an array: answered by an array
	eventBatch                  // {"events": […]}: answered by {"results": […]}
)

func (b *batch) add(e usance.Event, err *usance.Error) {
	b.events = append(b.events, e)
	b.refuse(err)
}

// refuse says of the last event what is wrong with it; nil when nothing is.
func (b *batch) refuse(err *usance.Error) {
	if err != nil && b.errs == nil {
		b.errs = make([]*usance.Error, len(b.events)-1, cap(b.events))
	}
	if b.errs != nil {
		b.errs = append(b.errs, err)
	}
}

// decodeEvents reads a body of one event, an array of them, or an object that
// holds an array under "events". A field at fault refuses its event, not the
// neighbours; what is no JSON at all refuses the body.
func decodeEvents(body []byte) (*batch, error) {
	d := newEventDecoder(body)
	b := new(batch)
	var err error
	switch d.PeekKind() {
	case '[':
		b.form = eventList
		err = d.list(b)
	case '{':
		err = d.object(b)
	case 0:
		_, err = d.ReadToken()
		if err == io.EOF {
			return nil, usance.Invalid("", "the body is empty; send one event as a JSON object, or an array of events")
		}
		err = jsonFault(err)
	default:
		err = usance.Invalid("", "the body must be one event as a JSON object, or an array of events")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, usance.Invalid("", "something follows the JSON value; newline-delimited events need the content type application/x-ndjson")
	}
	return b, nil
}

// decodeEvent reads one event as a JSON object.
func decodeEvent(v []byte) (e usance.Event, refused *usance.Error, err error) {
	d := newEventDecoder(v)
	if d.PeekKind() != '{' {
		if err := d.skip(); err != nil && err != io.EOF {
			return e, nil, jsonFault(err)
		}
		return e, nil, usance.Invalid("", "an event must be a JSON object")
	}
	if refused, err = d.event(&e); err != nil {
		return e, nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return e, nil, usance.Invalid("", "something follows the event")
	}
	return e, refused, nil
}

// eventDecoder reads events token by token. It is written by hand, since it
// decides how many events a core takes in.
type eventDecoder struct {
	*jsontext.Decoder
	size        int    // of the body
	lastLicense string // shared by neighbours, which mostly have the same
	scratch     []byte
}

func newEventDecoder(body []byte) *eventDecoder {
	return &eventDecoder{Decoder: jsontext.NewDecoder(bytes.NewBuffer(body)), size: len(body)}
}

// skip reads past what is no event, and may be nested without end.
func (d *eventDecoder) skip() error {
	v, err := d.ReadValue()
	if err == nil {
		err = checkDepth(v)
	}
	return err
}

// list reads an array of events.
func (d *eventDecoder) list(b *batch) error {
	if _, err := d.ReadToken(); err != nil {
		return jsonFault(err)
	}
	const usual = 200 // bytes of an event
	b.events = make([]usance.Event, 0, min(d.size/usual+1, usance.MaxBatch))
	for {
		switch d.PeekKind() {
		case ']':
			_, err := d.ReadToken()
			return err
		case '{':
			if len(b.events) == usance.MaxBatch {
				return usance.NewError(usance.CodeTooLarge, "a request holds at most %d events; send several, or NDJSON", usance.MaxBatch)
			}
			b.events = append(b.events, usance.Event{})
			refused, err := d.event(&b.events[len(b.events)-1])
			if err != nil {
				return err
			}
			b.refuse(refused)
		default:
			if err := d.skip(); err != nil {
				return jsonFault(err)
			}
			if len(b.events) == usance.MaxBatch {
				return usance.NewError(usance.CodeTooLarge, "a request holds at most %d events; send several, or NDJSON", usance.MaxBatch)
			}
			b.add(usance.Event{}, usance.Invalid("", "an event must be a JSON object"))
		}
	}
}

// object reads one event, or the form {"events": […], "atomic": true}, which
// its first field tells.
func (d *eventDecoder) object(b *batch) error {
	var e usance.Event
	refused, err := d.members(&e, func(name []byte) (bool, error) {
		switch string(name) {
		case "events":
			b.form = eventBatch
			if d.PeekKind() != '[' {
				return true, usance.Invalid("events", "must be an array of events")
			}
			return true, d.list(b)
		case "atomic":
			b.form = eventBatch
			v, err := d.ReadValue()
			if err != nil {
				return true, jsonFault(err)
			}
			if k := v.Kind(); k != 't' && k != 'f' {
				return true, usance.Invalid("atomic", "must be true or false")
			}
			b.atomic = v.Kind() == 't'
			return true, nil
		}
		if b.form == eventBatch {
			return true, usance.Invalid(usance.Clip(string(name)), "is not a field beside events and atomic")
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if b.form == oneEvent {
		b.add(e, refused)
		return nil
	}
	if e.LicenseID != "" || e.UsageType != "" || refused != nil {
		return usance.Invalid("events", "the fields of an event must be inside the array events")
	}
	if b.events == nil {
		return usance.Invalid("events", "is required")
	}
	return nil
}

// event reads one event. refused says what is wrong with it; err that the
// input is not JSON from here on.
func (d *eventDecoder) event(e *usance.Event) (refused *usance.Error, err error) {
	return d.members(e, nil)
}

// members reads the fields of an event. other, when set, is asked first about
// each name and tells whether it took the value.
func (d *eventDecoder) members(e *usance.Event, other func(name []byte) (bool, error)) (refused *usance.Error, err error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, jsonFault(err)
	}
	for d.PeekKind() != '}' {
		key, err := d.ReadValue()
		if err != nil {
			return refused, jsonFault(err)
		}
		name := d.text(key)
		if other != nil {
			took, err := other(name)
			if err != nil {
				return refused, err
			}
			if took {
				continue
			}
		}
		set := setterOf(name)
		unknown := ""
		if set == nil {
			unknown = usance.Clip(string(name))
		}
		v, err := d.ReadValue() // metadata, which alone may be nested, is looked at when it is set
		if set == nil && err == nil {
			err = checkDepth(v)
		}
		if err != nil {
			return refused, jsonFault(err)
		}
		if refused != nil {
			continue
		}
		if set == nil {
			refused = usance.Invalid(unknown, "is not a field of an event; put what is your own into metadata")
			continue
		}
		refused = set(d, e, v)
	}
	_, err = d.ReadToken()
	return refused, err
}

// text gives the bytes that a JSON string stands for, until the next read.
func (d *eventDecoder) text(v jsontext.Value) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	d.scratch, _ = jsontext.AppendUnquote(d.scratch[:0], v) // v is valid
	return d.scratch
}

// setterOf gives what sets the field of that name, nil if there is none.
func setterOf(name []byte) func(*eventDecoder, *usance.Event, jsontext.Value) *usance.Error {
	switch string(name) {
	case "licenseId":
		return (*eventDecoder).setLicense
	case "usageType":
		return func(d *eventDecoder, e *usance.Event, v jsontext.Value) *usance.Error {
			return d.word(&e.UsageType, "usageType", v, usance.UsageTypes)
		}
	case "quantity":
		return (*eventDecoder).setQuantity
	case "occurredAt":
		return (*eventDecoder).setOccurredAt
	case "platform":
		return func(d *eventDecoder, e *usance.Event, v jsontext.Value) *usance.Error {
			return d.word(&e.Platform, "platform", v, usance.Platforms)
		}
	case "deviceType":
		return func(d *eventDecoder, e *usance.Event, v jsontext.Value) *usance.Error {
			return d.word(&e.DeviceType, "deviceType", v, usance.DeviceTypes)
		}
	case "geographicLocation":
		return func(d *eventDecoder, e *usance.Event, v jsontext.Value) *usance.Error {
			return d.word(&e.GeographicLocation, "geographicLocation", v, nil)
		}
	case "referrer":
		return func(d *eventDecoder, e *usance.Event, v jsontext.Value) *usance.Error {
			return d.word(&e.Referrer, "referrer", v, nil)
		}
	case "sessionId":
		return func(d *eventDecoder, e *usance.Event, v jsontext.Value) *usance.Error {
			return d.word(&e.SessionID, "sessionId", v, nil)
		}
	case "revenueCents":
		return (*eventDecoder).setRevenue
	case "metadata":
		return (*eventDecoder).setMetadata
	case "idempotencyKey":
		return (*eventDecoder).setKey
	}
	return nil
}

// word sets a text field. Known words are not copied for each event.
func (d *eventDecoder) word(to *string, field string, v jsontext.Value, known []string) *usance.Error {
	switch v.Kind() {
	case 'n':
		return null(field)
	case '"':
	default:
		return usance.Invalid(field, "must be a string")
	}
	b := d.text(v)
	for _, w := range known {
		if string(b) == w {
			*to = w
			return nil
		}
	}
	*to = string(b)
	return nil
}

func (d *eventDecoder) setLicense(e *usance.Event, v jsontext.Value) *usance.Error {
	if v.Kind() == '"' && string(v[1:len(v)-1]) == d.lastLicense { // never with a backslash
		e.LicenseID = d.lastLicense
		return nil
	}
	if err := d.word(&e.LicenseID, "licenseId", v, nil); err != nil {
		return err
	}
	if bytes.IndexByte(v, '\\') < 0 {
		d.lastLicense = e.LicenseID
	}
	return nil
}

// setKey refuses an empty key: its sender believes that a retry is safe.
func (d *eventDecoder) setKey(e *usance.Event, v jsontext.Value) *usance.Error {
	err := d.word(&e.IdempotencyKey, "idempotencyKey", v, nil)
	if err == nil && e.IdempotencyKey == "" {
		err = usance.Invalid("idempotencyKey", "must not be empty; leave it out, and one is made and returned")
	}
	return err
}

func (d *eventDecoder) setQuantity(e *usance.Event, v jsontext.Value) *usance.Error {
	n, ok := integer(v)
	if !ok || n < 1 || n > usance.MaxQuantity {
		return usance.Invalid("quantity", "must be a whole number in digits from 1 to %d, without fraction, exponent or quotes", int64(usance.MaxQuantity))
	}
	e.Quantity = n
	return nil
}

func (d *eventDecoder) setRevenue(e *usance.Event, v jsontext.Value) *usance.Error {
	n, ok := integer(v)
	if !ok || n < 0 || n > usance.MaxQuantity {
		return usance.Invalid("revenueCents", "must be a whole number of cents in digits from 0 to %d, without fraction, exponent or quotes", int64(usance.MaxQuantity))
	}
	e.RevenueCents = n
	return nil
}

// integer reads the digits of a JSON number; ok false for anything else.
func integer(v jsontext.Value) (n int64, ok bool) {
	digits := v
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(v) {
		n = -n
	}
	return n, true
}

func (d *eventDecoder) setOccurredAt(e *usance.Event, v jsontext.Value) *usance.Error {
	if v.Kind() != '"' {
		return usance.Invalid("occurredAt", "must be an RFC 3339 timestamp such as 2024-10-12T08:30:00Z")
	}
	t, err := eventTime("occurredAt", d.text(v))
	e.OccurredAt = t
	return err
}

// eventTime reads an RFC 3339 timestamp with any offset and keeps microseconds.
func eventTime(field string, text []byte) (time.Time, *usance.Error) {
	var t time.Time
	if err := t.UnmarshalText(text); err != nil || !strictTime(text) {
		return time.Time{}, usance.Invalid(field, "must be an RFC 3339 timestamp such as 2024-10-12T08:30:00Z or 2024-10-12T10:30:00.123456+02:00")
	}
	t = t.UTC().Truncate(time.Microsecond)
	if y := t.Year(); y < 1970 || y > 9999 {
		return time.Time{}, usance.Invalid(field, "must lie in the years 1970 to 9999")
	}
	return t, nil
}

// strictTime refuses what the time package takes beyond RFC 3339: hours of one
// digit, a comma before the fraction, offsets of a day and more.
func strictTime(text []byte) bool {
	const hour, end = len("2006-01-02T"), len("2006-01-02T15:04:05")
	if len(text) <= end || text[hour+1] == ':' || text[end] == ',' {
		return false
	}
	if zone := text[len(text)-len("+00:00"):]; zone[0] == '+' || zone[0] == '-' {
		return string(zone[1:3]) < "24" && string(zone[4:6]) < "60"
	}
	return true
}

func (d *eventDecoder) setMetadata(e *usance.Event, v jsontext.Value) *usance.Error {
	if v.Kind() == 'n' {
		return null("metadata")
	}
	m, err := metadata(v)
	e.Metadata = m
	return err
}

// metadata brings an object to one form: no spaces, fields in order, one way to
// write each character. Numbers stay as they were sent: as floats, long ids
// would lose their last digits.
func metadata(v jsontext.Value) (usance.RawJSON, *usance.Error) {
	if v.Kind() != '{' {
		return nil, usance.Invalid("metadata", "must be a JSON object")
	}
	if len(v) > 8*usance.MaxMetadataBytes {
		return nil, usance.Invalid("metadata", "must be at most %d bytes of JSON", usance.MaxMetadataBytes)
	}
	if checkDepth(v) != nil {
		return nil, usance.Invalid("metadata", "is nested more than %d levels", maxDepth)
	}
	m := slices.Clone(v)
	if err := m.Format(jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return nil, usance.Invalid("metadata", "is not valid JSON")
	}
	if len(m) > usance.MaxMetadataBytes {
		return nil, usance.Invalid("metadata", "must be at most %d bytes of JSON", usance.MaxMetadataBytes)
	}
	if holdsNUL(m) {
		return nil, usance.Invalid("metadata", `must not hold the character \u0000, which PostgreSQL cannot keep`)
	}
	return usance.RawJSON(m), nil
}

// holdsNUL tells whether a JSON value, valid and brought to one form, holds
// \u0000 in any name or string.
func holdsNUL(v jsontext.Value) bool {
	for i := bytes.IndexByte(v, '\\'); i >= 0 && i+1 < len(v); {
		if bytes.HasPrefix(v[i:], []byte(`\u0000`)) {
			return true
		}
		next := bytes.IndexByte(v[i+2:], '\\') // behind what the backslash escapes
		if next < 0 {
			return false
		}
		i += 2 + next
	}
	return false
}

// integerText reads a whole number that CloudEvents sent as number or string.
func integerText(v jsontext.Value) (int64, bool) {
	if v.Kind() == '"' {
		text, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		return n, err == nil && len(text) > 0 && text[0] != '+'
	}
	return integer(v)
}
