package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// entry is a line of a client's ledger: an event that was answered as counted,
// or its void.
type entry struct {
	License, Date, Type, Key, ID string
	Units                        int64
	Void                         bool // of the event of that key
}

// ledger is one client's memory of answers, on the disk before it goes on.
type ledger struct {
	file    *os.File
	answers atomic.Int64
}

func openLedger(t *testing.T, path string) *ledger {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &ledger{file: f}
}

func (l *ledger) write(entries []entry) error {
	var text strings.Builder
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	if _, err := l.file.WriteString(text.String()); err != nil {
		return err
	}
	l.answers.Add(int64(len(entries)))
	return l.file.Sync()
}

func readLedger(t *testing.T, path string) (out []entry) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// place is where an event is counted.
type place struct{ License, Date, Type string }

// usage is what was counted there.
type usage struct{ Events, Units int64 }

// judge holds a server, to whose clients every answer has come, against their
// ledgers: everything is counted once, where it belongs.
type judge struct {
	*server
	entries  []entry
	licenses []string
	from, to string         // the dates of all events
	sealed   map[place]bool // days (of no type) whose raw events may be gone
}

func (j *judge) judge() {
	j.t.Helper()
	j.sums()
	j.once()
	j.again()
	j.counters()
}

// sums compares every rollup with what the ledgers come to.
func (j *judge) sums() {
	j.t.Helper()
	want := make(map[place]usage)
	for _, e := range j.entries {
		sign := int64(1)
		if e.Void {
			sign = -1
		}
		p := place{e.License, e.Date, e.Type}
		want[p] = usage{want[p].Events + sign, want[p].Units + sign*e.Units}
	}
	got := make(map[place]usage)
	for _, l := range j.licenses {
		var analytics struct {
			Buckets []struct {
				Date   string
				ByType map[string]struct{ Events, Quantity int64 }
			}
		}
		j.must("GET", "/v1/licenses/"+l+"/analytics?startDate="+j.from+"&endDate="+j.to, "", &analytics)
		for _, b := range analytics.Buckets {
			for usageType, n := range b.ByType {
				got[place{l, b.Date, usageType}] = usage{n.Events, n.Quantity}
			}
		}
	}
	wrong := 0
	for p, w := range want {
		if got[p] != w {
			j.t.Errorf("%v: the server counts %v, the ledgers %v", p, got[p], w)
			if wrong++; wrong == 10 {
				break
			}
		}
		delete(got, p)
	}
	for p, g := range got {
		if g != (usage{}) && wrong < 10 {
			j.t.Errorf("%v: the server counts %v that no ledger has", p, g)
		}
	}
}

// rawEvent is an event as it is listed.
type rawEvent struct {
	EventID, IdempotencyKey, VoidOf, LocalDate string
	ReceivedAt                                 time.Time
}

// raw lists the events of a licence that are kept.
func (s *server) raw(licence string) (out []rawEvent) {
	s.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Data       []rawEvent
			NextCursor string
		}
		s.must("GET", "/v1/licenses/"+licence+"/events?limit=1000&cursor="+cursor, "", &page)
		out = append(out, page.Data...)
		if cursor = page.NextCursor; cursor == "" {
			return out
		}
	}
}

// once lists the raw events: each that a ledger has is there once, unless its
// day is pruned, and no other.
func (j *judge) once() {
	j.t.Helper()
	whole := j.entries
	j.entries = j.unsealed()
	j.have(whole)
	j.entries = whole
}

// unsealed gives the entries of days whose raw events are kept.
func (j *judge) unsealed() []entry {
	return slices.DeleteFunc(slices.Clone(j.entries), func(e entry) bool { return j.sealed[place{e.License, e.Date, ""}] })
}

// again sends every event of the days that are open: each is a duplicate of
// what its ledger says.
func (j *judge) again() {
	j.t.Helper()
	open := slices.DeleteFunc(j.unsealed(), func(e entry) bool { return e.Void })
	for batch := range slices.Chunk(open, 1000) {
		bodies := make([]string, len(batch))
		for i, e := range batch {
			bodies[i] = e.body()
		}
		var results []result
		j.must("POST", "/v1/events", "["+strings.Join(bodies, ",")+"]", &results)
		for i, r := range results {
			if !r.Tracked || !r.Duplicate || r.EventID != batch[i].ID {
				j.t.Fatalf("a retry of %+v answers %+v", batch[i], r)
			}
		}
	}
}

// body is the event as it was sent.
func (e *entry) body() string {
	return fmt.Sprintf(`{"licenseId":%q,"usageType":%q,"quantity":%d,"occurredAt":%q,"idempotencyKey":%q,"platform":"web","geographicLocation":"g%d","sessionId":"s%d"}`,
		e.License, e.Type, e.Units, e.Date+"T10:00:00Z", e.Key, e.Units, e.Units)
}

// counters compares the licence's limits with the ledgers.
func (j *judge) counters() {
	j.t.Helper()
	units := make(map[string]int64) // by licence and type
	for _, e := range j.entries {
		n := e.Units
		if e.Void {
			n = -n
		}
		units[e.License+" "+e.Type] += n
		units[e.License+" all"] += n
	}
	for _, l := range j.licenses {
		var answer struct {
			Thresholds []struct {
				UsageType string
				Used      int64
			}
		}
		j.must("GET", "/v1/licenses/"+l+"/thresholds/status", "", &answer)
		if len(answer.Thresholds) == 0 {
			j.t.Errorf("%s has no thresholds", l)
		}
		for _, th := range answer.Thresholds {
			if want := units[l+" "+th.UsageType]; th.Used != want {
				j.t.Errorf("%s: the counter of %s holds %d, the ledgers %d", l, th.UsageType, th.Used, want)
			}
		}
	}
}

// sealedDays asks which days are pruned, by a recalculation of all, which mends
// what a test bent.
func (j *judge) sealedDays() {
	j.t.Helper()
	j.sealed = make(map[place]bool)
	for _, l := range j.licenses {
		var answer struct{ Sealed []string }
		status, err := j.call("POST", "/v1/recalculate", fmt.Sprintf(`{"licenseId":%q,"startDate":%q,"endDate":%q}`, l, j.from, j.to), &answer)
		if err != nil || status != http.StatusOK {
			j.t.Fatalf("recalculation: status %d, %v", status, err)
		}
		for _, d := range answer.Sealed {
			j.sealed[place{l, d, ""}] = true
		}
	}
}

// read reads every client's ledger.
func (j *judge) read(folder string) (out []entry) {
	j.t.Helper()
	for i := range killClients {
		out = append(out, readLedger(j.t, filepath.Join(folder, fmt.Sprint(i)))...)
	}
	return out
}

// have wants every event and void of the judge's entries to be there, and
// nothing that is not among all.
func (j *judge) have(all []entry) {
	j.t.Helper()
	known, voided := make(map[string]entry), make(map[string]bool)
	for _, e := range all {
		if e.Void {
			voided[e.License+" "+e.Key] = true
		} else {
			known[e.License+" "+e.Key] = e
		}
	}
	there := make(map[string]bool) // by key; voids by that of their event
	byID := make(map[string]string)
	for _, e := range known {
		byID[e.ID] = e.License + " " + e.Key
	}
	for _, l := range j.licenses {
		for _, e := range j.raw(l) {
			key := l + " " + e.IdempotencyKey
			if e.VoidOf != "" {
				key = byID[e.VoidOf]
				if !voided[key] {
					j.t.Errorf("the void of %q was never asked for", key)
				}
				key = "void " + key
			} else if known[key].ID != e.EventID {
				j.t.Errorf("the event %q, %s, is in no ledger", key, e.EventID)
			}
			if there[key] {
				j.t.Errorf("%q is there twice", key)
			}
			there[key] = true
		}
	}
	var lost []string
	for _, e := range j.entries {
		key := e.License + " " + e.Key
		if e.Void {
			key = "void " + key
		}
		if !there[key] {
			lost = append(lost, key)
		}
	}
	if len(lost) > 0 {
		j.t.Errorf("%d of %d acknowledged are not there: %.500s", len(lost), len(j.entries), strings.Join(lost, ", "))
	}
}
