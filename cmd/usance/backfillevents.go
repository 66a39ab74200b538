package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/usance/usance"
)

// fileEvent is an event as a file holds it, by the names that the API has.
type fileEvent struct {
	LicenseID          string         `json:"licenseId"`
	UsageType          string         `json:"usageType"`
	Quantity           *int64         `json:"quantity,omitempty"`
	OccurredAt         time.Time      `json:"occurredAt,omitzero"`
	Platform           string         `json:"platform,omitempty"`
	DeviceType         string         `json:"deviceType,omitempty"`
	GeographicLocation string         `json:"geographicLocation,omitempty"`
	Referrer           string         `json:"referrer,omitempty"`
	SessionID          string         `json:"sessionId,omitempty"`
	RevenueCents       int64          `json:"revenueCents,omitempty"`
	Metadata           usance.RawJSON `json:"metadata,omitempty"`
	IdempotencyKey     string         `json:"idempotencyKey,omitempty"`
}

// eventFields are the names that columns and --map may have.
var eventFields = map[string]string{
	"licenseid": "licenseId", "license": "licenseId", "licence": "licenseId", "usagetype": "usageType", "type": "usageType", "quantity": "quantity",
	"occurredat": "occurredAt", "platform": "platform", "devicetype": "deviceType", "geographiclocation": "geographicLocation",
	"referrer": "referrer", "sessionid": "sessionId", "revenuecents": "revenueCents", "metadata": "metadata", "idempotencykey": "idempotencyKey",
}

// eventReader makes events of the records of one input.
type eventReader struct {
	names    []string // what the columns hold
	fallback string   // the licence where nothing names it
	first    []byte   // the first record, which tells files apart
	source   string   // which server's file it is, where several write the same
}

func newEventReader(in *inputFile, c *backfillCmd) (*eventReader, error) {
	r := &eventReader{fallback: c.License, source: c.Source}
	var err error
	if in.isJSON {
		if len(c.Map)+len(c.Ignore) > 0 {
			return nil, fmt.Errorf("--map and --ignore are of the columns of a CSV")
		}
	} else if r.names, err = eventColumns(in.header, c.Map, c.Ignore); err != nil {
		return nil, err
	}
	if err := in.start(context.Background(), position{}); err != nil {
		return nil, err
	}
	first, err := in.next(context.Background())
	if err == nil {
		r.first = first.bytes()
	}
	return r, nil // a file without records is found to be so when it is read
}

// eventColumns tells what the columns of events hold.
func eventColumns(header []string, renamed map[string]string, ignored []string) ([]string, error) {
	return meanings(header, renamed, ignored, eventFields, func(string) bool { return false })
}

// bytes is all that a record holds.
func (r *record) bytes() []byte {
	if r.json != nil {
		return r.json
	}
	return csvLine(r.cells)
}

// event reads a record. One without a key is given that of its row in a table,
// or one made of the file's first record, the line, what it holds and --source: the same
// whenever the file is read, also when it was moved, or has grown.
func (er *eventReader) event(r record) (usance.Event, error) {
	fe, err := er.decode(r)
	if err != nil {
		return usance.Event{}, err
	}
	if fe.LicenseID == "" {
		fe.LicenseID = er.fallback
	}
	if fe.OccurredAt.IsZero() {
		return usance.Event{}, usance.Invalid("occurredAt", "is required of what is backfilled")
	}
	if fe.IdempotencyKey == "" {
		fe.IdempotencyKey = r.key
	}
	if fe.IdempotencyKey == "" {
		h := sha256.New()
		fmt.Fprintf(h, "%d\n%d\n%d\n", len(er.first), r.line, len(r.bytes()))
		h.Write(er.first)
		h.Write(r.bytes())
		h.Write([]byte(er.source))
		fe.IdempotencyKey = "backfill:" + hex.EncodeToString(h.Sum(nil)[:16])
	}
	e := usance.Event{
		LicenseID: fe.LicenseID, UsageType: fe.UsageType, Quantity: 1, OccurredAt: fe.OccurredAt.UTC().Truncate(time.Microsecond), Platform: fe.Platform,
		DeviceType: fe.DeviceType, GeographicLocation: fe.GeographicLocation, Referrer: fe.Referrer, SessionID: fe.SessionID,
		RevenueCents: fe.RevenueCents, Metadata: fe.Metadata, IdempotencyKey: fe.IdempotencyKey,
	}
	if fe.Quantity != nil {
		e.Quantity = *fe.Quantity
	}
	return e, e.Validate()
}

func (er *eventReader) decode(r record) (fe fileEvent, err error) {
	if r.json != nil {
		if err := jsonv2.Unmarshal(r.json, &fe, jsonv2.RejectUnknownMembers(true)); err != nil {
			return fe, usance.Invalid("", "%s", strings.TrimPrefix(err.Error(), "json: "))
		}
		return fe, nil
	}
	if len(r.cells) != len(er.names) {
		return fe, usance.Invalid("", "has %d cells where the header has %d", len(r.cells), len(er.names))
	}
	texts := map[string]*string{
		"licenseId": &fe.LicenseID, "usageType": &fe.UsageType, "platform": &fe.Platform, "deviceType": &fe.DeviceType,
		"geographicLocation": &fe.GeographicLocation, "referrer": &fe.Referrer, "sessionId": &fe.SessionID, "idempotencyKey": &fe.IdempotencyKey,
	}
	for i, name := range er.names {
		cell := strings.TrimSpace(r.cells[i])
		if cell == "" {
			continue
		}
		switch name {
		case "quantity":
			fe.Quantity = new(int64)
			_, err = cellNumber(r.cells, i, name, fe.Quantity)
		case "revenueCents":
			_, err = cellNumber(r.cells, i, name, &fe.RevenueCents)
		case "occurredAt":
			if fe.OccurredAt, err = time.Parse(time.RFC3339, cell); err != nil {
				err = usance.Invalid(name, "%.40q is no RFC 3339 timestamp such as 2024-10-12T08:30:00Z", cell)
			}
		case "metadata":
			if !json.Valid([]byte(cell)) {
				err = usance.Invalid(name, "is not valid JSON")
			}
			fe.Metadata = usance.RawJSON(cell)
		default:
			if to := texts[name]; to != nil {
				*to = cell
			}
		}
		if err != nil {
			return fe, err
		}
	}
	return fe, nil
}

// reject is an event as the file of rejects holds it, with its key, so that it
// counts once from whichever file it is sent.
func reject(e *usance.Event) ([]byte, error) {
	b, err := json.Marshal(fileEvent{
		e.LicenseID, e.UsageType, &e.Quantity, e.OccurredAt, e.Platform, e.DeviceType, e.GeographicLocation, e.Referrer, e.SessionID,
		e.RevenueCents, e.Metadata, e.IdempotencyKey,
	})
	return append(b, '\n'), err
}

// rejectRecord is a record that cannot be read as an event, to be mended: a line
// of JSON as it is, a row of CSV by the names of its columns.
func (er *eventReader) rejectRecord(r record) ([]byte, error) {
	if r.json != nil {
		return append(slices.Clip(r.json), '\n'), nil
	}
	row := make(map[string]string)
	if r.key != "" {
		row["idempotencyKey"] = r.key // unless a column holds one
	}
	for i, cell := range r.cells {
		name := fmt.Sprint("column ", i+1)
		if i < len(er.names) && er.names[i] != "" {
			name = er.names[i]
		}
		if cell != "" {
			row[name] = cell
		}
	}
	b, err := json.Marshal(row)
	return append(b, '\n'), err
}
