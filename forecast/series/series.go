// Package series reads files of series as people have them, and says how each was
// understood: what could be meant in two ways is refused.
package series

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/usance/usance"
)

// A Set is what a file of series holds, in the file's order.
type Set struct {
	IDs    []string
	Values [][]float64 // at most 1e100; NaN is a gap
	Season int         // how many values a season has, by the distance of the dates; 0: nothing tells
	Told   string      // how the file was understood, for people to see
}

// Read reads series of any form: long, a row each value, or wide, with a
// column of dates and one for each series, or with a row each series. Errors name the
// line and what to do about it.
func Read(r io.Reader) (Set, error) {
	in, err := openRows(r)
	if err != nil {
		return Set{}, err
	}
	head, row, err := in.first()
	if err != nil {
		return Set{}, err
	}
	f, err := formOf(head, row)
	if err != nil {
		return Set{}, fmt.Errorf("line 1: %w", err)
	}
	if f.date >= 0 {
		return readDated(in, f)
	}
	var set Set
	if set.Season, set.Told, err = datedColumns(head); err != nil {
		return set, fmt.Errorf("line 1: %w", err)
	}
	if set.IDs, set.Values, err = in.series(true); err != nil {
		return set, err
	}
	shortest, longest := math.MaxInt, 0
	for _, v := range set.Values {
		shortest, longest = min(shortest, len(v)), max(longest, len(v))
	}
	set.Told = fmt.Sprintf("a row each series: %d series of %d to %d values, %s", len(set.IDs), shortest, longest, set.Told)
	return set, nil
}

// ReadRows reads a row each series, its id and its values, without a header; empty
// fields are gaps.
func ReadRows(r io.Reader) (ids []string, values [][]float64, err error) {
	in, err := openRows(r)
	if err != nil {
		return nil, nil, err
	}
	return in.series(false)
}

// rows are those of a file of series.
type rows struct {
	csv   *csv.Reader
	ahead []line // what was looked at already
}

type line struct {
	fields []string
	number int
}

func openRows(r io.Reader) (*rows, error) {
	b := unmarked(r)
	start, err := b.Peek(4096)
	if len(start) == 0 {
		return nil, emptyOr(err)
	}
	first, _, _ := strings.Cut(string(start), "\n")
	if strings.HasPrefix(first, "\xff\xfe") || strings.HasPrefix(first, "\xfe\xff") {
		return nil, errors.New("line 1: the file is in UTF-16; save it as UTF-8")
	}
	if strings.Contains(strings.TrimSuffix(first, "\r"), "\r") {
		return nil, errors.New("line 1: lines end as on old Macs, with a carriage return alone; save the file with other line ends")
	}
	if err := commas(first); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	c := csv.NewReader(b)
	c.FieldsPerRecord = -1
	c.ReuseRecord = true
	return &rows{csv: c}, nil
}

// next gives the next row, which holds until the one after it is read, and its line.
func (r *rows) next() (row []string, number int, err error) {
	if len(r.ahead) > 0 {
		l := r.ahead[0]
		r.ahead = r.ahead[1:]
		return l.fields, l.number, nil
	}
	if row, err = r.csv.Read(); err != nil {
		return nil, 0, err
	}
	number, _ = r.csv.FieldPos(0)
	if len(row) == 1 {
		if err := commas(row[0]); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return row, number, nil
}

// first looks at the first two rows, and gives the only one twice.
func (r *rows) first() (head, row []string, err error) {
	var ahead []line
	for len(ahead) < 2 {
		row, number, err := r.next()
		if err == io.EOF && len(ahead) > 0 {
			break
		}
		if err == io.EOF {
			return nil, nil, errNoSeries
		}
		if err != nil {
			return nil, nil, err
		}
		ahead = append(ahead, line{slices.Clone(row), number})
	}
	r.ahead = ahead
	return ahead[0].fields, ahead[len(ahead)-1].fields, nil
}

// largest bounds values: beyond it their multiples and sums would overflow.
const largest = 1e100

// isGap tells what stands for a value that is missing.
func isGap(s string) bool {
	switch strings.TrimSpace(s) {
	case "", "NA", "NaN", "nan", "null":
		return true
	}
	return false
}

// parseValue reads a value; gaps are NaN.
func parseValue(s string) (float64, error) {
	if isGap(s) {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || strings.ContainsAny(s, "_xXiIaA") {
		return 0, fmt.Errorf("%q is not a number", usance.Clip(s))
	}
	if math.Abs(v) > largest {
		return 0, fmt.Errorf("%s is too large; values go up to %g", usance.Clip(s), largest)
	}
	return v, nil
}

// series reads a row each series: an id and its values. A first row whose fields
// are names or dates is a header; with ends so is one that begins with "id". With ends
// gaps at a row's end are no values: they pad it to the length of the longest.
func (r *rows) series(ends bool) (ids []string, values [][]float64, err error) {
	lines := make(map[string]int)
	for {
		row, line, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if line == 1 && len(row) > 1 && (ends && (slices.Contains(idNames[:3], strings.ToLower(row[0])) || (row[0] == "" || isID(row[0])) && counts(row[1:])) || !slices.ContainsFunc(row[1:], ofSeries)) {
			continue
		}
		if len(row) == 1 && line == 1 {
			return nil, nil, errors.New("line 1: there is one column; write an id and its values, separated by commas")
		}
		if strings.TrimSpace(row[0]) == "" {
			return nil, nil, fmt.Errorf("line %d: the series has no id; write it in the first field", line)
		}
		if before, ok := lines[row[0]]; ok {
			return nil, nil, fmt.Errorf("line %d: there is a series %q already, in line %d", line, usance.Clip(row[0]), before)
		}
		for ends && len(row) > 1 && isGap(row[len(row)-1]) {
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

var errSeparator = errors.New("fields must be separated by commas, as in id,date,value, and numbers have a point; these are by semicolons or tabs")

// commas tells a line whose fields are plainly separated by something else.
func commas(line string) error {
	if !strings.Contains(line, ",") && strings.ContainsAny(line, ";\t") {
		return errSeparator
	}
	return nil
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
	if isDate(s) {
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
