package weblog

import (
	"net/url"
	"strings"
)

// The fields of a CloudFront log that matter, each with its place in
// w3cFields.at.
const (
	w3cDate = iota
	w3cTime
	w3cClient
	w3cMethod
	w3cStem
	w3cStatus
	w3cReferrer
	w3cAgent
	w3cQuery
	w3cHost
	w3cHostHeader
	w3cCount
)

var w3cNames = [w3cCount]string{
	"date", "time", "c-ip", "cs-method", "cs-uri-stem", "sc-status",
	"cs(Referer)", "cs(User-Agent)", "cs-uri-query", "cs(Host)", "x-host-header",
}

// w3cFields is a #Fields header: for each column, which field it holds.
type w3cFields struct {
	columns []int // index into w3cNames, or -1
	missing string
}

func newW3CFields(names string) *w3cFields {
	f := &w3cFields{}
	var seen [w3cCount]bool
	for name := range strings.FieldsSeq(names) {
		column := -1
		for i, n := range w3cNames {
			if strings.EqualFold(n, name) && !seen[i] {
				column, seen[i] = i, true
			}
		}
		f.columns = append(f.columns, column)
	}
	for i := w3cDate; i <= w3cStatus; i++ {
		if !seen[i] {
			f.missing = w3cNames[i]
			break
		}
	}
	return f
}

// parse reads a line by the header above it. Times are UTC; CloudFront writes
// them apart, and percent-encodes the user agent, in old logs twice.
func (f *w3cFields) parse(line string, h *hit) error {
	if f == nil {
		return lineError("no #Fields header above it")
	}
	if f.missing != "" {
		return lineError("the #Fields header above it lacks " + f.missing)
	}
	var at [w3cCount]string
	n := 0
	for rest, more := line, true; more; n++ {
		var value string
		value, rest, more = strings.Cut(rest, "\t")
		if n < len(f.columns) && f.columns[n] >= 0 && value != "-" {
			at[f.columns[n]] = value
		}
	}
	if n != len(f.columns) {
		return lineError("not as many tab-separated fields as the #Fields header names")
	}
	var ok bool
	if h.time, ok = parseW3CTime(at[w3cDate], at[w3cTime]); !ok {
		return lineError("no date and time like 2015-05-17 and 10:05:03")
	}
	if at[w3cClient] == "" {
		return lineError("no client address")
	}
	if s := at[w3cStatus]; len(s) != 3 || !number(s) {
		return lineError("no status of three digits")
	}
	h.client, h.method, h.target, h.status = at[w3cClient], at[w3cMethod], at[w3cStem], atoi(at[w3cStatus])
	if at[w3cQuery] != "" {
		h.target += "?" + at[w3cQuery]
	}
	h.host = at[w3cHostHeader]
	if h.host == "" {
		h.host = at[w3cHost]
	}
	h.referrer = at[w3cReferrer]
	if h.agent = decode(at[w3cAgent]); h.agent == "" {
		h.agent = "-"
	}
	return nil
}

// parseW3CTime reads 2015-05-17 and 10:05:03.
func parseW3CTime(d, t string) (int64, bool) {
	if len(d) != 10 || d[4] != '-' || d[7] != '-' || len(t) != 8 || t[2] != ':' || t[5] != ':' {
		return 0, false
	}
	for _, s := range [...]string{d[:4], d[5:7], d[8:], t[:2], t[3:5], t[6:]} {
		if !number(s) {
			return 0, false
		}
	}
	return unix(atoi(d[:4]), atoi(d[5:7]), atoi(d[8:]), atoi(t[:2]), atoi(t[3:5]), atoi(t[6:]))
}

// decode undoes percent-encoding, and once more when a space is still encoded.
func decode(s string) string {
	for range 2 {
		if !strings.Contains(s, "%") {
			break
		}
		d, err := url.PathUnescape(s)
		if err != nil {
			break
		}
		s = d
		if !strings.Contains(s, "%20") {
			break
		}
	}
	return s
}
