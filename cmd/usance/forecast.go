package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/usance/usance/forecast"
	"github.com/usance/usance/forecast/series"
)

type forecastCmd struct {
	CSV       string    `name:"csv" placeholder:"FILE" help:"Series to forecast: rows of id,date,value (or date,value), a column of dates and one for each series, or a row each as in the M4 competition; gzip is recognised, - is the standard input. How it was understood is said on the standard error."`
	Horizon   int       `placeholder:"N" help:"How many values ahead."`
	Season    int       `placeholder:"N" help:"Length of the season to look for first; by default told by the distance of the dates, or by the series. Another one that the series show plainly is found all the same."`
	Intervals []float64 `placeholder:"80,95" help:"Also write the bounds of these intervals, in per cent, each into a file of its own beside --out."`
	Out       string    `default:"-" placeholder:"FILE" help:"Where the medians go; the bounds go to FILE with .lower80 and .upper80 before its ending, and for - to forecast.lower80.csv and so on."`

	Breach bool   `help:"Answer the questions of --tasks about totals of periods, instead."`
	Series string `placeholder:"FILE" help:"With --breach: a line id,y0,y1,… for each series, a value a day, without header."`
	Tasks  string `placeholder:"FILE" help:"With --breach: task_id,id,pstart,origin,hist,L1,L2,L3,L4, with that header. Known are the days before origin, with hist=cold only from pstart on."`
	Days   int    `default:"28" help:"With --breach: the length of the period."`
}

// maxHorizon bounds what one series takes of memory.
const maxHorizon = 10_000

// Run forecasts from files alone, so that anyone can score the forecasts.
func (c forecastCmd) Run(p *program) error {
	if c.Breach {
		return c.breach(p)
	}
	switch {
	case c.CSV == "":
		return errors.New("name the series with --csv FILE, or ask about limits with --breach")
	case c.Horizon < 1 || c.Horizon > maxHorizon:
		return fmt.Errorf("say with --horizon N how many values ahead to forecast, from 1 to %d", maxHorizon)
	case c.Season < 0:
		return errors.New("--season must not be negative")
	}
	for _, l := range c.Intervals {
		if !(l > 0 && l < 100) {
			return fmt.Errorf("--intervals: %v must lie between 0 and 100, as in 80,95", l)
		}
	}
	in, err := p.open(c.CSV)
	if err != nil {
		return err
	}
	defer in.Close()
	set, err := series.Read(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.CSV, err)
	}
	fmt.Fprintf(p.err, "%s: %s\n", c.CSV, set.Told)
	season := c.Season
	if season == 0 {
		season = set.Season
	}
	all := forecast.All(set.Values, forecast.Cycles(set.Values, season), c.Horizon)
	if err := c.write(p, c.Out, set.IDs, all, 0.5); err != nil {
		return err
	}
	for _, l := range c.Intervals {
		name := strconv.FormatFloat(l, 'f', -1, 64)
		if err := c.write(p, c.beside("lower"+name), set.IDs, all, (1-l/100)/2); err != nil {
			return err
		}
		if err := c.write(p, c.beside("upper"+name), set.IDs, all, (1+l/100)/2); err != nil {
			return err
		}
	}
	return nil
}

// beside names the file of one bound.
func (c forecastCmd) beside(bound string) string {
	if c.Out == "-" {
		return "forecast." + bound + ".csv"
	}
	end := filepath.Ext(c.Out)
	return strings.TrimSuffix(c.Out, end) + "." + bound + end
}

// write writes one quantile of all forecasts as id,h1,h2,…
func (c forecastCmd) write(p *program, name string, ids []string, all []forecast.Values, quantile float64) error {
	return p.create(name, func(w *csv.Writer) error {
		row := []string{"id"}
		for h := range c.Horizon {
			row = append(row, "h"+strconv.Itoa(h+1))
		}
		if err := w.Write(row); err != nil {
			return err
		}
		for i, v := range all {
			row = append(row[:0], ids[i])
			for _, x := range v.Quantile(quantile) {
				row = append(row, digits(x))
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// create writes a table to a file, or to the standard output for -.
func (p *program) create(name string, table func(*csv.Writer) error) (err error) {
	out := p.out
	if name != "-" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	b := bufio.NewWriter(out)
	w := csv.NewWriter(b)
	if err := table(w); err != nil {
		return err
	}
	w.Flush()
	return errors.Join(w.Error(), b.Flush())
}

// open opens a file, unpacked, or the standard input for -.
func (p *program) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return unpacked(io.NopCloser(p.in))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	in, err := unpacked(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return in, nil
}

func digits(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }

// breach answers questions about periods' totals.
func (c forecastCmd) breach(p *program) error {
	switch {
	case c.Series == "" || c.Tasks == "":
		return errors.New("--breach needs --series FILE and --tasks FILE")
	case c.Days < 1 || c.Days > forecast.MaxDays:
		return fmt.Errorf("--days must lie between 1 and %d", forecast.MaxDays)
	}
	in, err := p.open(c.Series)
	if err != nil {
		return err
	}
	defer in.Close()
	ids, values, err := series.ReadRows(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Series, err)
	}
	tasks, err := p.open(c.Tasks)
	if err != nil {
		return err
	}
	defer tasks.Close()
	t, err := series.ReadTasks(tasks, ids, values, c.Days)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Tasks, err)
	}
	totals := forecast.Answer(values, t.Questions, c.Days)
	unknown := 0
	for _, total := range totals {
		if !total.Known() {
			unknown++
		}
	}
	if unknown > 0 {
		fmt.Fprintf(p.err, "%s: of %d of %d questions nothing is known, neither of the series nor of others: INSUFFICIENT_DATA, their rows have no numbers\n", c.Tasks, unknown, len(totals))
	}
	return p.create(c.Out, func(w *csv.Writer) error {
		row := []string{"task_id", "q025", "q10", "q50", "q90", "q975"}
		for i := range t.Columns {
			row = append(row, "p"+strconv.Itoa(i+1))
		}
		if err := w.Write(row); err != nil {
			return err
		}
		for i, total := range totals {
			row = append(row[:0], t.IDs[i])
			if !total.Known() {
				if err := w.Write(append(row, make([]string, 5+t.Columns)...)); err != nil {
					return err
				}
				continue
			}
			for _, q := range [...]float64{0.025, 0.1, 0.5, 0.9, 0.975} {
				row = append(row, digits(total.Quantile(q)))
			}
			for _, l := range t.Limits[i] {
				row = append(row, strconv.FormatFloat(total.Above(l), 'f', 6, 64))
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// unpacked reads r, through gzip where it begins like it.
func unpacked(r io.ReadCloser) (io.ReadCloser, error) {
	b := bufio.NewReader(r)
	if start, err := b.Peek(2); err != nil || start[0] != 0x1f || start[1] != 0x8b {
		return readCloser{b, r}, nil //nolint:nilerr // a file too short for gzip is for its reader to judge
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return readCloser{z, r}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
