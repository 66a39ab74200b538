package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
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
func (c forecastCmd) Run(_ context.Context, p *program) error {
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
	set, err := readSeries(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.CSV, err)
	}
	fmt.Fprintf(p.err, "%s: %s\n", c.CSV, set.told)
	season := c.Season
	if season == 0 {
		season = set.season
	}
	all := forecast.All(set.values, forecast.Cycles(set.values, season), c.Horizon)
	if err := c.write(p, c.Out, set.ids, all, 0.5); err != nil {
		return err
	}
	for _, l := range c.Intervals {
		name := strconv.FormatFloat(l, 'f', -1, 64)
		if err := c.write(p, c.beside("lower"+name), set.ids, all, (1-l/100)/2); err != nil {
			return err
		}
		if err := c.write(p, c.beside("upper"+name), set.ids, all, (1+l/100)/2); err != nil {
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
	lines, err := openRows(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Series, err)
	}
	ids, values, err := lines.series(false)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Series, err)
	}
	tasks, err := p.open(c.Tasks)
	if err != nil {
		return err
	}
	defer tasks.Close()
	t, err := readTasks(tasks, ids, values, c.Days)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Tasks, err)
	}
	totals := forecast.Answer(values, t.questions, c.Days)
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
		for i := range t.limitColumns {
			row = append(row, "p"+strconv.Itoa(i+1))
		}
		if err := w.Write(row); err != nil {
			return err
		}
		for i, total := range totals {
			row = append(row[:0], t.ids[i])
			if !total.Known() {
				if err := w.Write(append(row, make([]string, 5+len(t.limitColumns))...)); err != nil {
					return err
				}
				continue
			}
			for _, q := range [...]float64{0.025, 0.1, 0.5, 0.9, 0.975} {
				row = append(row, digits(total.Quantile(q)))
			}
			for _, l := range t.limits[i] {
				row = append(row, strconv.FormatFloat(total.Above(l), 'f', 6, 64))
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// A taskSet is what a file of tasks asks.
type taskSet struct {
	limitColumns []int
	ids          []string
	questions    []forecast.Question
	limits       [][]float64
}

func readTasks(r io.Reader, ids []string, values [][]float64, days int) (taskSet, error) {
	var t taskSet
	index := make(map[string]int, len(ids))
	for i, id := range ids {
		index[id] = i
	}
	c := csv.NewReader(unmarked(r))
	header, err := c.Read()
	if err != nil {
		return t, emptyOr(err)
	}
	if err := commas(strings.Join(header, ",")); err != nil {
		return t, fmt.Errorf("line 1: %w", err)
	}
	var at [5]int
	for i, name := range [...]string{"task_id", "id", "pstart", "origin", "hist"} {
		if at[i] = slices.Index(header, name); at[i] < 0 {
			return t, fmt.Errorf("the header has no %q; it must be task_id,id,pstart,origin,hist,L1,L2,L3,L4", name)
		}
	}
	for n := 1; ; n++ {
		col := slices.Index(header, "L"+strconv.Itoa(n))
		if col < 0 {
			break
		}
		t.limitColumns = append(t.limitColumns, col)
	}
	for {
		row, err := c.Read()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, err
		}
		line, _ := c.FieldPos(0)
		fail := func(err error) (taskSet, error) { return t, fmt.Errorf("line %d: %w", line, err) }
		if h := row[at[4]]; h != "full" && h != "cold" {
			return fail(fmt.Errorf("hist: %q is neither full nor cold", usance.Clip(h)))
		}
		q := forecast.Question{Cold: row[at[4]] == "cold"}
		var ok bool
		if q.Series, ok = index[row[at[1]]]; !ok {
			return fail(fmt.Errorf("there is no series %q", usance.Clip(row[at[1]])))
		}
		for _, day := range []struct {
			to *int
			at int
		}{{&q.Start, at[2]}, {&q.Origin, at[3]}} {
			if *day.to, err = strconv.Atoi(row[day.at]); err != nil {
				return fail(fmt.Errorf("%s: %q is not the index of a day", header[day.at], usance.Clip(row[day.at])))
			}
		}
		n := len(values[q.Series])
		if q.Origin < 0 || q.Origin > n {
			return fail(fmt.Errorf("origin %d: it must be from 0 to %d, of how many days the series knows", q.Origin, n))
		}
		if q.Start < 0 || q.Start > q.Origin+forecast.MaxDays-days || q.Origin > q.Start+days {
			return fail(fmt.Errorf("pstart %d: the period must not end before the origin, %d, nor more than %d days after it", q.Start, q.Origin, forecast.MaxDays))
		}
		limits := make([]float64, 0, len(t.limitColumns))
		for _, col := range t.limitColumns {
			l, err := parseValue(row[col])
			if err != nil {
				return fail(fmt.Errorf("%s: %w", header[col], err))
			}
			if math.IsNaN(l) {
				return fail(fmt.Errorf("%s: a limit is missing", header[col]))
			}
			limits = append(limits, l)
		}
		t.ids = append(t.ids, row[at[0]])
		t.questions = append(t.questions, q)
		t.limits = append(t.limits, limits)
	}
}
