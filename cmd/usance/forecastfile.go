package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usance/usance"
)

// A seriesSet is what a file of series holds, in the file's order.
type seriesSet struct {
	ids    []string
	values [][]float64 // NaN is a gap
	season int         // what the distance of the dates tells; 0 if nothing
}

// readSeries reads series of either form: long, a row each value, with a header
// that names a date, or wide, a row each series.
func readSeries(r io.Reader) (seriesSet, error) {
	b := unmarked(r)
	start, err := b.Peek(4096)
	if len(start) == 0 {
		return seriesSet{}, emptyOr(err)
	}
	line, _, _ := strings.Cut(string(start), "\n")
	if err := commas(line); err != nil {
		return seriesSet{}, fmt.Errorf("line 1: %w", err)
	}
	header, err := csv.NewReader(strings.NewReader(line)).Read()
	if err == nil && len(header) <= 8 {
		if cols, ok := longColumns(header); ok {
			return readLong(b, cols)
		}
	}
	ids, values, err := readRows(b, true)
	return seriesSet{ids: ids, values: values}, err
}

// columns are where a long file has its fields; id is -1 without one.
type columns struct{ id, date, value int }

// idNames are the names of the column that tells series apart.
var idNames = []string{"id", "unique_id", "series"}

func longColumns(header []string) (columns, bool) {
	find := func(names ...string) int {
		return slices.IndexFunc(header, func(h string) bool {
			return slices.Contains(names, strings.ToLower(strings.TrimSpace(h)))
		})
	}
	c := columns{find(idNames...), find("date", "ds", "day", "timestamp", "time"), find("value", "y", "quantity")}
	if c.value < 0 && len(header) == 2 && c.date == 0 {
		c.value = 1
	}
	return c, c.date >= 0 && c.value >= 0
}

// dateLayouts are the ways of writing a date that are understood.
var dateLayouts = []string{
	"2006-01-02", "2006-01-02 15:04:05", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006/01/02", "1/2/2006", "1/2/06",
}

func parseDay(s string) (time.Time, error) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date; write 2006-01-02, or 2006-01-02 15:04:05", s)
}

// largest bounds values: beyond it their multiples and sums would overflow.
const largest = 1e100

// parseValue reads a value; none, NA and NaN are gaps.
func parseValue(s string) (float64, error) {
	switch strings.TrimSpace(s) {
	case "", "NA", "NaN", "nan", "null":
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is not a number", usance.Clip(s))
	}
	if math.Abs(v) > largest {
		return 0, fmt.Errorf("%s is too large; values go up to %g", usance.Clip(s), largest)
	}
	return v, nil
}

// readLong reads a row each value. Dates of the file's spacing that have no row are
// zeros; rows without a value are gaps.
func readLong(r io.Reader, cols columns) (seriesSet, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	if _, err := c.Read(); err != nil {
		return seriesSet{}, err
	}
	var set seriesSet
	index := make(map[string]int)
	var rows [][]dated
	for {
		row, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return set, err
		}
		line, _ := c.FieldPos(0)
		id := "1"
		if cols.id >= 0 {
			id = row[cols.id]
		}
		at, err := parseDay(row[cols.date])
		if err != nil {
			return set, fmt.Errorf("line %d: %w", line, err)
		}
		v, err := parseValue(row[cols.value])
		if err != nil {
			return set, fmt.Errorf("line %d: %w", line, err)
		}
		i, ok := index[id]
		if !ok {
			i = len(set.ids)
			id = strings.Clone(id)
			index[id] = i
			set.ids = append(set.ids, id)
			rows = append(rows, nil)
		}
		rows[i] = append(rows[i], dated{at, v, line})
	}
	if len(rows) == 0 {
		return set, errNoSeries
	}
	step, err := spacingOf(rows)
	if err != nil {
		return set, err
	}
	set.season = step.season()
	for i, list := range rows {
		values, err := step.spaced(list)
		if err != nil {
			return set, fmt.Errorf("series %q: %w", usance.Clip(set.ids[i]), err)
		}
		set.values = append(set.values, values)
	}
	return set, nil
}

// readRows reads a row each series: an id and its values. A first row whose fields
// are names or dates is a header; with ends so is one that begins with "id". Empty
// fields are gaps, but with ends those at a row's end are no values.
func readRows(r io.Reader, ends bool) (ids []string, values [][]float64, err error) {
	c := csv.NewReader(unmarked(r))
	c.FieldsPerRecord = -1
	c.ReuseRecord = true
	lines := make(map[string]int)
	for {
		row, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		line, _ := c.FieldPos(0)
		if len(row) == 1 {
			if err := commas(row[0]); err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		if line == 1 && len(row) > 1 && (ends && (slices.Contains(idNames, strings.ToLower(row[0])) || row[0] == "" && counts(row[1:])) || !slices.ContainsFunc(row[1:], ofSeries)) {
			continue
		}
		if strings.TrimSpace(row[0]) == "" {
			return nil, nil, fmt.Errorf("line %d: the series has no id; write it in the first field", line)
		}
		if before, ok := lines[row[0]]; ok {
			return nil, nil, fmt.Errorf("line %d: there is a series %q already, in line %d", line, usance.Clip(row[0]), before)
		}
		for ends && len(row) > 1 && strings.TrimSpace(row[len(row)-1]) == "" {
			row = row[:len(row)-1]
		}
		y := make([]float64, 0, len(row)-1)
		for _, s := range row[1:] {
			v, err := parseValue(s)
			if err != nil && line == 1 && ends {
				return nil, nil, fmt.Errorf("line 1: %w; begin a row that names the columns with id", err)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", line, err)
			}
			y = append(y, v)
		}
		ids = append(ids, strings.Clone(row[0]))
		lines[ids[len(ids)-1]] = line
		values = append(values, y)
	}
	if len(ids) == 0 {
		return nil, nil, errNoSeries
	}
	return ids, values, nil
}

// commas tells a line whose fields are plainly separated by something else.
func commas(line string) error {
	if !strings.Contains(line, ",") && strings.ContainsAny(line, ";\t") {
		return errors.New("fields must be separated by commas, as in id,date,value; these are by semicolons or tabs")
	}
	return nil
}

// counts tells the header that numbers its columns, from 0 or 1 on.
func counts(row []string) bool {
	for i, s := range row {
		if n, err := strconv.Atoi(s); err != nil || n != i && n != i+1 {
			return false
		}
	}
	return true
}

var errNoSeries = errors.New("there is no series in it")

// ofSeries tells fields of a series from names and dates of columns. What is written
// like a number, though it cannot be read as one, is no name: taken for one, it would
// cost its series.
func ofSeries(s string) bool {
	if _, err := parseValue(s); err == nil {
		return true
	}
	s = strings.TrimSpace(s)
	if _, err := parseDay(s); err == nil {
		return false
	}
	_, err := strconv.ParseFloat(s, 64) // beyond all bounds, or infinite
	return err == nil || errors.Is(err, strconv.ErrRange) || strings.IndexAny(s, "0123456789+-.") == 0
}

// unmarked reads r without the byte order mark that some programs put first.
func unmarked(r io.Reader) *bufio.Reader {
	b := bufio.NewReaderSize(r, 1<<20)
	if start, err := b.Peek(3); err == nil && string(start) == "\ufeff" {
		_, _ = b.Discard(len(start)) // what was peeked at is there
	}
	return b
}

// emptyOr says that a file is empty, unless it could not be read.
func emptyOr(err error) error {
	if err == io.EOF {
		return errors.New("the file is empty")
	}
	return err
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
