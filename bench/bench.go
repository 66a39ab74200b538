// Package bench measures how fast usage is counted, and what that costs beside
// the database alone.
//
// Each case sends events over HTTP to a server process of its own, and counts
// the time until every event is acknowledged and folded. Between those runs the
// raw engine (raw.go) writes the same rows into a database of the same schema:
// no HTTP, no limits, no counters, no rollups. Runs of the two alternate, so
// that what else the machine does meets both, and medians are told.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Options are the settings of a measurement.
type Options struct {
	Events   int      // of each run, at least 1
	Rounds   int      // runs of each engine in a case, at least 1
	Licenses int      // at least 1, each with a threshold
	Cases    []string // names of cases; all of them when empty
	Raw      bool     // run the raw engine too
	Dir      string   // where SQLite files are put; each case removes its own
	// DatabaseURL is that of a PostgreSQL server, on which each case makes
	// databases of its own and drops them; empty: SQLite.
	DatabaseURL string

	// Server makes the command that serves a database on a free port of the
	// loopback and prints, as the product does, where: the file usance.db in the
	// folder, or that at the URL when it is not empty.
	Server func(ctx context.Context, dir, url string) *exec.Cmd
	// Progress is told of each run.
	Progress io.Writer
}

// rawEngine is the database alone.
type rawEngine interface {
	// write inserts rows in transactions of the size given, and tells how long
	// that took until the last was durable, and this process's processor time.
	write(ctx context.Context, src *source, rows, perCommit int) (took, cpu time.Duration, err error)
	close() error
}

// kind is how a case's events come.
type kind struct {
	name        string
	batch       int // events of a request
	connections int
	skewed      bool // licences by Zipf's law with exponent 1.2, else uniform
}

var kinds = []kind{
	{"single-uniform", 1, 64, false},
	{"single-zipf", 1, 64, true},
	{"batch-100-uniform", 100, 8, false},
	{"batch-100-zipf", 100, 8, true},
	{"batch-1000-uniform", 1000, 8, false},
	{"batch-1000-zipf", 1000, 8, true},
}

// Cases names the cases in their order.
func Cases() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Result is what a case came to: rates in rows a second, medians over its rounds.
type Result struct {
	Case          string        `json:"case"`
	Events        int           `json:"events"` // of a run
	Rounds        int           `json:"rounds"`
	HTTP          float64       `json:"httpRowsPerSecond"`         // until nothing is pending
	Acknowledged  float64       `json:"acknowledgedRowsPerSecond"` // until the last answer
	Raw           float64       `json:"rawRowsPerSecond,omitempty"`
	Ratio         float64       `json:"ratio,omitempty"`    // HTTP to Raw
	RowsPerCommit int           `json:"rowsPerCommit"`      // of the server, and so of the raw engine
	HTTPCPU       time.Duration `json:"httpCPUNanosPerRow"` // of the server, which other load on the machine moves less than rates
	RawCPU        time.Duration `json:"rawCPUNanosPerRow,omitempty"`
	P50           time.Duration `json:"p50Nanos"` // of a request until its answer
	P99           time.Duration `json:"p99Nanos"`
	Max           time.Duration `json:"maxNanos"` // of all rounds
	RSS           int64         `json:"rssBytes"` // resident memory of the server at the end
	PeakRSS       int64         `json:"peakRSSBytes"`
}

// Run measures case by case and gives each result when it is there.
func Run(ctx context.Context, o Options, yield func(Result) error) error {
	if o.Events < 1 || o.Rounds < 1 || o.Licenses < 1 {
		return errors.New("events, rounds and licences must be at least 1")
	}
	var chosen []kind
	for _, k := range kinds {
		if len(o.Cases) == 0 || slices.Contains(o.Cases, k.name) {
			chosen = append(chosen, k)
		}
	}
	for _, name := range o.Cases {
		if !slices.Contains(Cases(), name) {
			return fmt.Errorf("there is no case %q; there are %v", name, Cases())
		}
	}
	if o.DatabaseURL != "" {
		if err := sweep(ctx, o.DatabaseURL, o.tell); err != nil {
			return err
		}
	}
	for _, k := range chosen {
		r, err := o.measure(ctx, k)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		if err := yield(r); err != nil {
			return err
		}
	}
	return nil
}

// measure runs one case: a server and a raw engine, by turns.
func (o Options) measure(ctx context.Context, k kind) (r Result, err error) {
	dir, err := os.MkdirTemp(o.Dir, "usance-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	licenses := licenseIDs(o.Licenses)
	served, err := o.database(ctx, filepath.Join(dir, "served"), licenses)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, served.drop()) }()
	s, err := startServer(ctx, o.Server(ctx, served.dir, served.url))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	var engine rawEngine
	if o.Raw {
		raw, err := o.database(ctx, filepath.Join(dir, "raw"), licenses)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, raw.drop()) }()
		if engine, err = raw.engine(ctx); err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, engine.close()) }()
	}
	r = Result{Case: k.name, Events: o.Events, Rounds: o.Rounds}
	var http, acked, raw []float64
	var p50, p99, httpCPU, rawCPU []time.Duration
	for round := range o.Rounds {
		run, err := s.load(ctx, k, licenses, round, o.Events)
		if err != nil {
			return r, err
		}
		http = append(http, rate(o.Events, run.total))
		httpCPU = append(httpCPU, run.cpu/time.Duration(o.Events))
		acked = append(acked, rate(o.Events, run.acked))
		p50, p99 = append(p50, run.percentile(0.50)), append(p99, run.percentile(0.99))
		r.Max = max(r.Max, run.percentile(1))
		r.RowsPerCommit = run.rowsPerCommit
		o.tell("%s %d/%d: served %.0f rows/s (acknowledged %.0f), %d a commit, %s of CPU a row", k.name, round+1, o.Rounds, http[round], acked[round], run.rowsPerCommit, httpCPU[round])
		if engine != nil {
			took, cpu, err := engine.write(ctx, newSource(k, licenses, round, engineSeed), o.Events, max(1, run.rowsPerCommit))
			if err != nil {
				return r, fmt.Errorf("the raw engine: %w", err)
			}
			raw = append(raw, rate(o.Events, took))
			rawCPU = append(rawCPU, cpu/time.Duration(o.Events))
			o.tell("; raw %.0f rows/s, %s of CPU a row", raw[round], rawCPU[round])
		}
		o.tell("\n")
	}
	r.HTTP, r.Acknowledged = median(http), median(acked)
	r.HTTPCPU = median(httpCPU)
	r.P50, r.P99 = median(p50), median(p99)
	if engine != nil {
		r.Raw = median(raw)
		r.RawCPU = median(rawCPU)
		r.Ratio = r.HTTP / r.Raw
	}
	r.RSS, r.PeakRSS, err = s.memory()
	return r, err
}

func (o Options) tell(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format, args...)
	}
}

func rate(events int, took time.Duration) float64 { return float64(events) / took.Seconds() }

// median is the middle value, the lower of two.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
