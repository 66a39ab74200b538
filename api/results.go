package api

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
)

// appendResults writes results as json.Marshal does, which for a thousand of them
// takes as long as to decode the events and to judge them.
func appendResults(b []byte, results []usance.Result) (_ []byte, err error) {
	b = append(b, '[')
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendResult(b, &results[i]); err != nil {
			return b, err
		}
		if i == 0 {
			b = slices.Grow(b, (len(b)+8)*len(results)) // the others are about as long
		}
	}
	return append(b, ']'), nil
}

func appendResult(b []byte, r *usance.Result) ([]byte, error) {
	if r.Error != nil {
		whole, err := json.Marshal(r, marshalOptions)
		return append(b, whole...), err
	}
	b = append(b, '{')
	if !r.EventID.IsZero() {
		b = append(b, `"eventId":"`...)
		b, _ = r.EventID.AppendText(b) // never fails
		b = append(b, `",`...)
	}
	if r.LicenseID != "" {
		b = append(b, `"licenseId":`...)
		b = append(appendString(b, r.LicenseID), ',')
	}
	if r.IdempotencyKey != "" {
		b = append(b, `"idempotencyKey":`...)
		b = append(appendString(b, r.IdempotencyKey), ',')
	}
	b = append(b, `"tracked":`...)
	b = strconv.AppendBool(b, r.Tracked)
	b = append(b, `,"duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	b = append(b, `,"status":`...)
	b = appendString(b, string(r.Status))
	for i := range r.Usage {
		if i == 0 {
			b = append(b, `,"usage":[`...)
		} else {
			b = append(b, ',')
		}
		u := &r.Usage[i]
		b = append(b, `{"thresholdId":`...)
		b = appendString(b, u.ThresholdID)
		b = append(b, `,"usageType":`...)
		b = appendString(b, u.UsageType)
		if u.PeriodStart != nil {
			b = append(b, `,"periodStart":"`...)
			var err error
			if b, err = u.PeriodStart.AppendText(b); err != nil {
				return b, err
			}
			b = append(b, '"')
		}
		b = append(b, `,"used":`...)
		b = strconv.AppendInt(b, u.Used, 10)
		b = append(b, `,"limit":`...)
		b = strconv.AppendInt(b, u.Limit, 10)
		b = append(b, `,"remaining":`...)
		b = append(strconv.AppendInt(b, u.Remaining, 10), '}')
	}
	if len(r.Usage) > 0 {
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // what is no UTF-8 is replaced, as marshalOptions have it
	return b
}
