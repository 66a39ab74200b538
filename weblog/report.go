package weblog

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Report is what an import found. Lines = Malformed + Unfinished + OtherMethod
// + OtherStatus + Unmatched + Gross, and Gross = Robots + DoubleClicks + Waiting
// + Counted.
type Report struct {
	Lines       int64     `json:"lines"`       // requests; not blank lines and headers
	Malformed   int64     `json:"malformed"`   // lines that could not be read
	Problems    []Problem `json:"problems"`    // the first of them
	Unfinished  int64     `json:"unfinished"`  // last lines that are still being written
	OtherMethod int64     `json:"otherMethod"` // not GET
	OtherStatus int64     `json:"otherStatus"` // GET with a status other than 200 and 304
	Unmatched   int64     `json:"unmatched"`   // countable, and no rule of the map
	// UnmatchedPaths are the most requested of those, among the first 10,000.
	UnmatchedPaths []PathCount `json:"unmatchedPaths"`
	// UnusedRules are the lines of the map whose rules nothing matched.
	UnusedRules []int `json:"unusedRules"`

	Gross        int64 `json:"gross"`        // countable requests that a rule maps
	Robots       int64 `json:"robots"`       // of those, robots
	DoubleClicks int64 `json:"doubleClicks"` // of those, double clicks
	Waiting      int64 `json:"waiting"`      // of those, to be judged by the next import
	Counted      int64 `json:"counted"`      // of those, usage
	Emitted      int64 `json:"emitted"`      // usage that was handed over; Counted unless the import failed
	Late         int64 `json:"late"`         // lines further behind in time than Disorder

	From time.Time `json:"from,omitzero"` // oldest and newest request
	To   time.Time `json:"to,omitzero"`
	Rows []Row     `json:"rows"` // by licence, day and usage type
}

// Row is the table of one licence, day in UTC, and usage type. The server files
// usage under the licence's own day, which differs where its zone is not UTC.
type Row struct {
	LicenseID    string `json:"licenseId"`
	Day          string `json:"day"`
	UsageType    string `json:"usageType"`
	Gross        int64  `json:"gross"`
	Robots       int64  `json:"robots"`
	DoubleClicks int64  `json:"doubleClicks"`
	Waiting      int64  `json:"waiting"`
	Counted      int64  `json:"counted"`
}

// Problem is a line that could not be read.
type Problem struct {
	Log    string `json:"log,omitempty"`
	Line   int64  `json:"line"`
	Reason string `json:"reason"`
}

// PathCount is a path with its requests.
type PathCount struct {
	Path  string `json:"path"`
	Count int64  `json:"count"`
}

const (
	maxProblems       = 10
	maxUnmatchedPaths = 10_000
	topUnmatched      = 10
)

type report struct {
	Report
	first, last int64
	any         bool
	rows        map[rowKey]*Row
	paths       map[string]int64
}

type rowKey struct {
	license, usageType string
	day                int64
}

func newReport() *report {
	return &report{rows: map[rowKey]*Row{}, paths: map[string]int64{}}
}

func (r *report) span(t int64) {
	if !r.any {
		r.any, r.first, r.last = true, t, t
	}
	r.first, r.last = min(r.first, t), max(r.last, t)
}

func (r *report) malformed(log string, line int64, err error) {
	r.Malformed++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{Log: log, Line: line, Reason: err.Error()})
	}
}

func (r *report) unmatched(h *hit) {
	r.Unmatched++
	path, _, _ := strings.Cut(h.target, "?")
	if n, ok := r.paths[path]; ok {
		r.paths[path] = n + 1
	} else if len(r.paths) < maxUnmatchedPaths {
		r.paths[strings.Clone(path)] = 1
	}
}

func (r *report) row(ru *rule, t int64) *Row {
	const day = 24 * 60 * 60
	k := rowKey{ru.license, ru.usageType, t / day}
	row := r.rows[k]
	if row == nil {
		row = &Row{LicenseID: k.license, UsageType: k.usageType, Day: time.Unix(t, 0).UTC().Format(time.DateOnly)}
		r.rows[k] = row
	}
	return row
}

func (r *report) finish(m *Map, used []bool) Report {
	out := r.Report
	out.Problems = append([]Problem{}, out.Problems...)
	out.Rows, out.UnusedRules, out.UnmatchedPaths = []Row{}, []int{}, []PathCount{}
	for _, row := range r.rows {
		out.Rows = append(out.Rows, *row)
		out.Gross += row.Gross
		out.Robots += row.Robots
		out.DoubleClicks += row.DoubleClicks
		out.Waiting += row.Waiting
		out.Counted += row.Counted
	}
	slices.SortFunc(out.Rows, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.LicenseID, b.LicenseID), strings.Compare(a.Day, b.Day), strings.Compare(a.UsageType, b.UsageType))
	})
	for path, n := range r.paths {
		out.UnmatchedPaths = append(out.UnmatchedPaths, PathCount{Path: path, Count: n})
	}
	slices.SortFunc(out.UnmatchedPaths, func(a, b PathCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Path, b.Path))
	})
	out.UnmatchedPaths = out.UnmatchedPaths[:min(topUnmatched, len(out.UnmatchedPaths))]
	for i, u := range used {
		if !u {
			out.UnusedRules = append(out.UnusedRules, m.rules[i].line)
		}
	}
	if r.any {
		out.From, out.To = time.Unix(r.first, 0).UTC(), time.Unix(r.last, 0).UTC()
	}
	return out
}
