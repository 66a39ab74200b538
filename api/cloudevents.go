package api

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// cloudEvent is a CloudEvents 1.0 event. What it is not named here are
// extensions, which any sender may add and which mean nothing to usage.
type cloudEvent struct {
	SpecVersion     string                    `json:"specversion"`
	ID              string                    `json:"id"`
	Source          string                    `json:"source"`
	Type            string                    `json:"type"`
	Subject         string                    `json:"subject"`
	Time            string                    `json:"time"`
	DataContentType string                    `json:"datacontenttype"`
	DataSchema      string                    `json:"dataschema"`
	Data            jsontext.Value            `json:"data"`
	DataBase64      jsontext.Value            `json:"data_base64"`
	Extensions      map[string]jsontext.Value `json:",embed"`
}

// serveCloudEvents counts CloudEvents: 204 when each was counted, now or
// before; else a problem of the worst result.
func (a *api) serveCloudEvents(w http.ResponseWriter, r *http.Request, p access.Principal, media string) {
	results, err := a.countCloudEvents(w, r, p, media)
	a.limits.announce(w.Header(), p)
	if err != nil {
		a.fail(w, r, "usage.trackEvents", err, nil)
		return
	}
	if worst := worstOf(results); worst != nil {
		a.fail(w, r, "usage.trackEvents", worst, results)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *api) countCloudEvents(w http.ResponseWriter, r *http.Request, p access.Principal, media string) ([]usance.Result, error) {
	b, err := readCloudEvents(w, r, media)
	if err != nil {
		a.limits.events.spend(r.Context(), p.ID())
		return nil, err
	}
	if len(b.events) == 0 { // the batch format allows an empty batch
		return nil, a.limits.spendSend(r.Context(), p)
	}
	return a.track(r.Context(), p, b)
}

func readCloudEvents(w http.ResponseWriter, r *http.Request, media string) (*batch, error) {
	q, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	for name := range q {
		return nil, usance.Invalid(usance.Clip(name), "is not a parameter of CloudEvents")
	}
	ct := r.Header.Get("Content-Type")
	if _, params, _ := mime.ParseMediaType(ct); !utf8Charset(params) {
		return nil, usance.NewError(usance.CodeUnsupportedMedia, "the content type %q is not read here; send UTF-8", usance.Clip(ct))
	}
	body, err := readBody(w, r, maxEventsBody)
	if err != nil {
		return nil, err
	}
	var b *batch
	switch media {
	case "application/cloudevents+json":
		b, err = decodeCloudEvents(append(append([]byte("["), body...), ']'))
		if err == nil && len(b.events) != 1 {
			err = usance.Invalid("", "the body must be one CloudEvent; several go as application/cloudevents-batch+json")
		}
	case "application/cloudevents-batch+json":
		b, err = decodeCloudEvents(body)
	default:
		b, err = binaryCloudEvent(r, body)
	}
	return b, err
}

// decodeCloudEvents reads a JSON array of CloudEvents.
func decodeCloudEvents(body []byte) (*batch, error) {
	if err := checkDepth(body); err != nil {
		return nil, err
	}
	var raw []jsontext.Value
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, jsonFault(err)
	}
	if jsontext.Value(body).Kind() != '[' {
		return nil, usance.Invalid("", "the body must be an array of CloudEvents")
	}
	if len(raw) > usance.MaxBatch {
		return nil, usance.NewError(usance.CodeTooLarge, "a request holds at most %d events; send several", usance.MaxBatch)
	}
	b := &batch{form: eventList}
	for _, v := range raw {
		var ce cloudEvent
		if v.Kind() != '{' {
			b.add(usance.Event{}, usance.Invalid("", "a CloudEvent must be a JSON object"))
			continue
		}
		if err := json.Unmarshal(v, &ce); err != nil {
			b.add(usance.Event{}, outward(jsonFault(err)))
			continue
		}
		b.add(ce.event())
	}
	return b, nil
}

// binaryCloudEvent reads the binary mode: attributes are headers, the body is
// the data.
func binaryCloudEvent(r *http.Request, body []byte) (*batch, error) {
	ce := cloudEvent{DataContentType: r.Header.Get("Content-Type")}
	for name, to := range map[string]*string{
		"Ce-Specversion": &ce.SpecVersion, "Ce-Id": &ce.ID, "Ce-Source": &ce.Source, "Ce-Type": &ce.Type,
		"Ce-Subject": &ce.Subject, "Ce-Time": &ce.Time, "Ce-Dataschema": &ce.DataSchema,
	} {
		attribute := strings.ToLower(strings.TrimPrefix(name, "Ce-"))
		values := r.Header.Values(name)
		if len(values) > 1 {
			return nil, usance.Invalid(attribute, "is there twice")
		}
		if len(values) == 0 {
			continue
		}
		text, err := url.PathUnescape(values[0]) // the binding percent-encodes what headers cannot hold
		if err != nil {
			return nil, usance.Invalid(attribute, "is not percent-encoded as the HTTP binding demands")
		}
		*to = text
	}
	if len(body) > 0 {
		if err := checkDepth(body); err != nil {
			return nil, err
		}
		ce.Data = body
		if !ce.Data.IsValid() {
			return nil, usance.Invalid("data", "the body is not valid JSON")
		}
	}
	b := &batch{form: eventList}
	b.add(ce.event())
	return b, nil
}

// event maps a CloudEvent: subject is the licence, the last dotted part of type
// the usage type, source and id the key, time when it occurred, and data the
// other fields.
func (ce *cloudEvent) event() (e usance.Event, refused *usance.Error) {
	if ce.SpecVersion != "1.0" {
		return e, usance.Invalid("specversion", "must be 1.0")
	}
	for _, f := range []struct{ name, value string }{{"id", ce.ID}, {"source", ce.Source}, {"type", ce.Type}} {
		if f.value == "" {
			return e, usance.Invalid(f.name, "is required")
		}
	}
	e.LicenseID, e.UsageType = ce.Subject, ce.Type[strings.LastIndexByte(ce.Type, '.')+1:]
	e.IdempotencyKey = cloudEventKey(ce.Source, ce.ID)
	if ce.Subject == "" {
		return e, usance.Invalid("subject", "is required: the licence's id")
	}
	if usance.ValidateUsageType(e.UsageType) != nil {
		return e, usance.Invalid("type", "must end in a usage type, such as com.example.view")
	}
	if ce.Time != "" {
		if e.OccurredAt, refused = eventTime("time", []byte(ce.Time)); refused != nil {
			return e, refused
		}
	}
	if len(ce.DataBase64) > 0 {
		return e, usance.Invalid("data_base64", "is not read; send data as JSON")
	}
	if ct := ce.DataContentType; ct != "" && !jsonMedia(ct) {
		return e, usance.Invalid("datacontenttype", "must be application/json")
	}
	return e, ce.setData(&e)
}

func jsonMedia(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// cloudEventKey joins source and id so that no two pairs give one key: the
// source goes with its length. A key that would be too long is a hash.
func cloudEventKey(source, id string) string {
	key := "ce:" + strconv.Itoa(len(source)) + ":" + source + ":" + id
	if len(key) <= usance.MaxKeyBytes {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "ce#" + hex.EncodeToString(sum[:])
}

// cloudEventFields are those of an event that data may hold.
var cloudEventFields = map[string]bool{
	"platform": true, "deviceType": true, "geographicLocation": true, "referrer": true, "sessionId": true, "metadata": true,
}

// setData reads the fields in data. Numbers may be decimal strings there, as
// metering senders write them.
func (ce *cloudEvent) setData(e *usance.Event) *usance.Error {
	if len(ce.Data) == 0 || ce.Data.Kind() == 'n' {
		return nil
	}
	if ce.Data.Kind() != '{' {
		return usance.Invalid("data", "must be a JSON object")
	}
	var fields map[string]jsontext.Value
	if err := json.Unmarshal(ce.Data, &fields); err != nil {
		return outward(jsonFault(err))
	}
	d := newEventDecoder(nil)
	if fields["quantity"] != nil && fields["units"] != nil {
		return usance.Invalid("data.units", "is quantity by another name; send one of them")
	}
	for _, name := range sortedKeys(fields) {
		v := fields[name]
		switch name {
		case "quantity", "units":
			n, ok := integerText(v)
			if !ok || n < 1 || n > usance.MaxQuantity {
				return usance.Invalid("data."+name, "must be a whole number from 1 to %d, as a number or a decimal string", int64(usance.MaxQuantity))
			}
			e.Quantity = n
		case "revenueCents":
			n, ok := integerText(v)
			if !ok || n < 0 || n > usance.MaxQuantity {
				return usance.Invalid("data.revenueCents", "must be a whole number of cents from 0 to %d, as a number or a decimal string", int64(usance.MaxQuantity))
			}
			e.RevenueCents = n
		default:
			if !cloudEventFields[name] {
				return usance.Invalid("data."+usance.Clip(name), "is not a field of an event's data; put what is your own into data.metadata")
			}
			if err := setterOf([]byte(name))(d, e, v); err != nil {
				err.Field = "data." + err.Field
				return err
			}
		}
	}
	return nil
}

// worstOf gives the error of the result that answers for all: the one of the
// greatest HTTP status. nil when each was counted.
func worstOf(results []usance.Result) *usance.Error {
	var worst *usance.Error
	for i := range results {
		if e := results[i].Error; e != nil && (worst == nil || wireOf(e.Code).status > wireOf(worst.Code).status) {
			worst = e
		}
	}
	return worst
}
