package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usance/usance/bench"
)

type benchCmd struct {
	Events   int      `help:"Send so many events in each run." default:"200000"`
	Rounds   int      `help:"Run each engine so many times a case, by turns; medians are told." default:"3"`
	Licenses int      `help:"Spread the events over so many licences, each with a threshold." default:"10000"`
	Cases    []string `help:"Only these cases: ${cases}." placeholder:"CASE"`
	Raw      bool     `help:"Measure the raw engine beside the server." default:"true" negatable:""`
	Dir      string   `help:"Put SQLite files into this folder; default: where temporary files go." type:"existingdir" placeholder:"FOLDER"`

	PreloadEvents   int           `help:"Instead of the cases: load so many events into PostgreSQL, and measure reads while more come in." placeholder:"N"`
	PreloadLicenses int           `help:"Spread those over so many licences." default:"100000"`
	PreloadRate     int           `help:"So many events a second come in meanwhile." default:"5000"`
	PreloadFor      time.Duration `help:"Measure for so long." default:"30s"`

	JSON bool `help:"Print a line of JSON a case." name:"json"`
}

// Run measures a server of its own and prints a line a case.
func (b benchCmd) Run(ctx context.Context, p *program) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o := bench.Options{
		Events: b.Events, Rounds: b.Rounds, Licenses: b.Licenses, Cases: b.Cases, Raw: b.Raw, Dir: b.Dir, Progress: p.err,
		Server: func(ctx context.Context, dir, url string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, self, "serve")
			cmd.Env = append(slices.DeleteFunc(os.Environ(), isSetting),
				"USANCE_DATA_DIR="+dir, "USANCE_ADDR=127.0.0.1:0", "USANCE_LOG_LEVEL=warn")
			if url != "" {
				cmd.Env = append(cmd.Env, "DATABASE_URL="+url, "USANCE_ADMIN_KEY="+rand.Text())
			}
			return cmd
		},
	}
	if p.cfg.onPostgres() {
		o.DatabaseURL = string(p.cfg.DatabaseURL)
	}
	if b.PreloadEvents > 0 {
		return b.loaded(ctx, p, o)
	}
	if b.JSON {
		enc := json.NewEncoder(p.out)
		return bench.Run(ctx, o, func(r bench.Result) error { return enc.Encode(r) })
	}
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	put(w, "CASE", "HTTP rows/s", "acknowledged", "raw rows/s", "RATIO", "rows/commit", "CPU/row", "raw CPU/row", "p50", "p99", "max", "RSS", "peak")
	err = bench.Run(ctx, o, func(r bench.Result) error {
		put(w, r.Case, fmt.Sprintf("%.0f", r.HTTP), fmt.Sprintf("%.0f", r.Acknowledged), fmt.Sprintf("%.0f", r.Raw), fmt.Sprintf("%.2f", r.Ratio),
			fmt.Sprint(r.RowsPerCommit), r.HTTPCPU.Round(100*time.Nanosecond).String(), r.RawCPU.Round(100*time.Nanosecond).String(), short(r.P50), short(r.P99), short(r.Max), inMB(r.RSS), inMB(r.PeakRSS))
		return nil
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

// loaded measures reads beside writes, with much in the database.
func (b benchCmd) loaded(ctx context.Context, p *program, o bench.Options) error {
	r, err := bench.MeasureLoaded(ctx, o, bench.Load{Events: b.PreloadEvents, Licenses: b.PreloadLicenses, Rate: b.PreloadRate, For: b.PreloadFor})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(p.out).Encode(r)
	}
	p.printf("%d events, %d licences: loaded in %s, %s; %.0f events/s came in meanwhile\n",
		b.PreloadEvents, b.PreloadLicenses, r.Loading.Round(time.Second), inMB(r.Bytes), r.Rate)
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	put(w, "REQUEST", "N", "p50", "p99", "max")
	for _, a := range r.Answers {
		put(w, a.Name, fmt.Sprint(a.N), short(a.P50), short(a.P99), short(a.Max))
	}
	return w.Flush()
}

// isSetting tells whether an environment line is a setting of this program,
// which must not reach the server that is measured.
func isSetting(line string) bool {
	name, _, _ := strings.Cut(line, "=")
	return ours(name) || slices.ContainsFunc(settings(), func(s setting) bool { return s.Variable == name })
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

func inMB(n int64) string { return fmt.Sprintf("%d MB", n>>20) }
