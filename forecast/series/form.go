package series

import (
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/usance/usance"
)

// A form tells which column of a file with a column of dates is what.
type form struct {
	names  []string // empty without a header
	header bool
	width  int
	date   int  // -1 in a file with a row each series
	id     int  // -1 without one
	value  int  // -1 where each of columns is a series
	guess  bool // whether id is, that tells series apart
	// columns are those that are not read, or with value -1 the series.
	columns []int
	// numbers is the column without a name that numbers the rows from start on; -1 without one.
	numbers, start int
}

// What a column of a long file is called.
var (
	dateNames  = []string{"date", "ds", "day", "timestamp", "time", "datetime", "month", "week", "year"}
	valueNames = []string{"value", "y", "quantity"}
	idNames    = []string{"id", "unique_id", "series", "license", "licence", "item", "sku", "product", "asset", "store", "account", "customer", "key"}
	idEnding   = regexp.MustCompile(`(?i:[_ .-]id)$|[a-z]I[dD]$`)
)

func named(names []string) func(string) bool {
	return func(s string) bool { return slices.Contains(names, strings.ToLower(strings.TrimSpace(s))) }
}

func isID(s string) bool { return named(idNames)(s) || idEnding.MatchString(strings.TrimSpace(s)) }

// kind is what a field is: what reads as a number is one, though it could be a year.
type kind int

const (
	text kind = iota
	number
	date
)

func kindOf(s string) kind {
	switch _, err := parseValue(s); {
	case err == nil:
		return number
	case isDate(s):
		return date
	}
	return text
}

const nameThem = "name the columns id,date,value in a first line"

// formOf tells the form of a file by its first line and the one after it. What can
// be meant in two ways is refused.
func formOf(head, row []string) (form, error) {
	f := form{names: make([]string, len(head)), header: true, width: len(head), date: -1, id: -1, value: -1, numbers: -1}
	field := func(i int) string { // rows may be shorter
		if i < len(row) {
			return row[i]
		}
		return ""
	}
	for _, line := range [][]string{head, row} {
		if end := strings.LastIndexAny(line[0], ";\t"); end >= 0 && kindOf(line[0][end+1:]) != text {
			return f, errSeparator
		}
	}
	var byKind, byName []int
	for i, s := range head {
		f.names[i] = strings.TrimSpace(s)
		if kindOf(field(i)) == date && !isID(s) {
			byKind = append(byKind, i)
		}
		if named(dateNames)(s) {
			byName = append(byName, i)
		}
	}
	dates := byKind
	if len(dates) == 0 {
		dates = byName
	}
	if len(dates) > 1 {
		dates = slices.DeleteFunc(slices.Clone(dates), func(i int) bool { return !slices.Contains(byName, i) })
	}
	switch {
	case len(dates) == 1:
		f.date = dates[0]
	case len(byKind) == 0 && len(byName) == 0:
		return f, rowsForm(head, row)
	default:
		return f, errors.New("more than one column could be the date; " + nameThem)
	}
	if kindOf(head[f.date]) == date {
		f.header, f.names = false, make([]string, len(head))
	}
	var ids, values []int
	for i, name := range f.names {
		switch {
		case i == f.date:
		case i == 0 && name == "" && f.header && (row[0] == "0" || row[0] == "1"):
			f.numbers, f.start = i, int(row[0][0]-'0')
		case isID(name):
			ids = append(ids, i)
		case named(valueNames)(name):
			values = append(values, i)
		default:
			f.columns = append(f.columns, i)
		}
	}
	switch {
	case len(ids) > 1 && named(idNames[:2])(f.names[ids[0]]):
		f.columns = append(f.columns, ids[1:]...)
	case len(ids) > 1:
		return f, fmt.Errorf("both %s and %s could tell series apart; %s", f.names[ids[0]], f.names[ids[1]], nameThem)
	}
	if len(values) > 1 {
		return f, fmt.Errorf("both %s and %s could be the value; %s", f.names[values[0]], f.names[values[1]], nameThem)
	}
	if len(ids) > 0 {
		f.id = ids[0]
		name := f.names[f.id]
		f.guess = !named(idNames[:3])(name) && !idEnding.MatchString(name)
	}
	if len(values) > 0 {
		f.value = values[0]
	}
	return f, f.rest(field)
}

// rest tells what the columns are whose names say nothing.
func (f *form) rest(field func(int) string) error {
	words, numbers := []int(nil), []int(nil)
	for _, i := range f.columns {
		if kindOf(field(i)) == number {
			numbers = append(numbers, i)
		} else {
			words = append(words, i)
		}
	}
	id := func() bool {
		return len(words) == 1 && kindOf(field(words[0])) == text && !named(dateNames)(f.names[words[0]])
	}
	switch n := len(f.columns); {
	case f.id >= 0 && f.value >= 0, f.value >= 0 && n == 0:
	case f.value >= 0 && n == 1 && id():
		f.id, f.guess, f.columns = words[0], true, nil
	case f.value >= 0 && f.names[f.date] == "ds" && f.names[f.value] == "y": // as Prophet calls them, with what else it looks at
	case f.value < 0 && n == 1: // a date and a value, and perhaps an id
		f.value, f.columns = f.columns[0], nil
	case f.value < 0 && f.id < 0 && n == 2 && len(numbers) == 1 && id():
		f.id, f.guess, f.value, f.columns = words[0], true, numbers[0], nil
	case f.value < 0 && f.id < 0 && n > 1 && len(words) == 0 && f.date < f.columns[0]:
		return f.series()
	default:
		return errors.New("which column tells series apart, and which is the value, cannot be told for sure; " + nameThem)
	}
	return nil
}

// series checks that columns can be series. Those of a table with a row for each
// year or day, and a column for each month, day or hour, are none.
func (f *form) series() error {
	names := make([]string, 0, len(f.columns))
	for _, i := range f.columns {
		switch name := f.names[i]; {
		case name == "":
			return fmt.Errorf("column %d has no name; name the columns date and then each series, or id,date,value", i+1)
		case slices.Contains(names, name):
			return fmt.Errorf("two columns are named %s", usance.Clip(name))
		case strings.EqualFold(name, "jan") || strings.EqualFold(name, "january"):
			return errors.New("the columns are months; write a row each value instead, as date,value")
		}
		names = append(names, f.names[i])
	}
	if first, ok := numbered(names); ok && first <= 1 && slices.Contains([]int{12, 24, 31}, len(names)) {
		return errors.New("the columns could be months, days or hours; write a row each value instead, as id,date,value")
	}
	return nil
}

var digitsAtEnd = regexp.MustCompile(`\d+$`)

// numbered tells names that differ in a number, which grows by one.
func numbered(names []string) (first int, ok bool) {
	before := ""
	for i, s := range names {
		end := digitsAtEnd.FindString(s)
		n, err := strconv.Atoi(end)
		if i == 0 {
			first, before = n, strings.TrimSuffix(s, end)
		}
		if err != nil || n != first+i || strings.TrimSuffix(s, end) != before {
			return 0, false
		}
	}
	return first, true
}

// counts tells the header that numbers its columns, from 0 or 1 on.
func counts(names []string) bool {
	first, ok := numbered(names)
	return ok && first <= 1 && len(names) > 0 && kindOf(names[0]) == number
}

func isYear(s string) bool { return len(s) == 4 && s > "1800" && s < "2200" && kindOf(s) == number }

// rowsForm refuses what looks like a file with a row each series and could be a
// column of times with values beside them.
func rowsForm(head, row []string) error {
	names := head[1:]
	_, inOrder := numbered(names)
	header := !slices.ContainsFunc(names, ofSeries) || head[0] == "" && counts(names)
	v, err := parseValue(row[0])
	switch id := err == nil && !math.IsNaN(v); {
	case isID(head[0]) || strings.EqualFold(head[0], "V1"):
		return nil
	case inOrder && len(names) > 2 && isYear(names[0]), isYear(head[0]) && isYear(row[0]) && head[0] < row[0]:
		return errors.New("its numbers could be years or values; begin a line that names the columns with id")
	case id && (header || len(row) == 2), header && len(names) > 0 && !inOrder && !isDate(names[0]):
		return errors.New("whether rows are series or times cannot be told for sure; name the first column id where rows are series, or write dates like 2006-01-02 and " + nameThem)
	}
	return nil
}

// datedColumns tells the season of a file with a row each series, whose columns may
// be dates.
func datedColumns(head []string) (season int, told string, err error) {
	const none = "without dates"
	var r dateReader
	list := make([]dated, 0, len(head))
	for i, s := range head[1:] {
		d, err := r.read(s, 1)
		if err != nil || kindOf(s) == number {
			return 0, none, nil //nolint:nilerr // other names are names
		}
		d.value = float64(i)
		list = append(list, d)
	}
	if len(list) < 2 {
		return 0, none, nil
	}
	rows := [][]dated{list}
	step, err := r.spacing(rows)
	if err != nil {
		return 0, "", err
	}
	list = rows[0]
	if !step.whole(rows) || !slices.IsSortedFunc(list, func(a, b dated) int { return int(a.value - b.value) }) {
		return 0, "", errors.New("the dates of the columns leave some out or are in disorder; write a row each value instead, as id,date,value")
	}
	return step.season, fmt.Sprintf("%s, %s to %s", step.name, list[0].at.Format(step.layout), list[len(list)-1].at.Format(step.layout)), nil
}

// readDated reads a row each date. Dates of the file's spacing that have no row are
// zeros; rows without a value are gaps.
func readDated(in *rows, f form) (Set, error) {
	var set Set
	if f.header {
		if _, _, err := in.next(); err != nil {
			return set, err
		}
	}
	index := make(map[string]int)
	var lists [][]dated
	series := func(id string) int {
		i, ok := index[id]
		if !ok {
			i = len(set.IDs)
			id = strings.Clone(id)
			index[id] = i
			set.IDs = append(set.IDs, id)
			lists = append(lists, nil)
		}
		return i
	}
	dates := dateReader{numbers: f.names[f.date] == "ds"}
	had := make(map[int64]bool) // dates, where it was guessed which column is the id
	shared := false
	for n := f.start; ; n++ {
		row, line, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return set, err
		}
		fail := func(err error) (Set, error) { return set, fmt.Errorf("line %d: %w", line, err) }
		if len(row) != f.width {
			return fail(fmt.Errorf("it has %d fields, and the first line %d", len(row), f.width))
		}
		if f.numbers >= 0 && row[f.numbers] != strconv.Itoa(n) {
			return fail(errors.New("the column without a name does not number the rows; " + nameThem))
		}
		d, err := dates.read(row[f.date], line)
		if err != nil {
			return fail(err)
		}
		if f.value < 0 {
			for _, c := range f.columns {
				if d.value, err = parseValue(row[c]); err != nil {
					return fail(fmt.Errorf("%w; %s", err, nameThem))
				}
				i := series(f.names[c])
				lists[i] = append(lists[i], d)
			}
			continue
		}
		if d.value, err = parseValue(row[f.value]); err != nil {
			return fail(err)
		}
		id := "1"
		if f.id >= 0 {
			if id = row[f.id]; strings.TrimSpace(id) == "" {
				return fail(errors.New("the series has no id"))
			}
		}
		i := series(id)
		lists[i] = append(lists[i], d)
		if f.guess && !shared {
			shared = had[d.at.Unix()]
			had[d.at.Unix()] = true
		}
	}
	switch {
	case len(lists) == 0:
		return set, errNoSeries
	case f.guess && !shared && len(lists) > 1:
		return set, fmt.Errorf("line 1: whether %s tells series apart cannot be told, since no two have a date in common; %s", f.call(f.id), nameThem)
	}
	step, err := dates.spacing(lists)
	if err != nil {
		return set, err
	}
	set.Season = step.season
	for i, list := range lists {
		values, err := step.spaced(list)
		if err != nil && f.id < 0 && f.value >= 0 {
			return set, fmt.Errorf("%w; name the column that tells series apart id", err)
		}
		if err != nil && len(f.columns) > 0 && f.value >= 0 {
			err = fmt.Errorf("%w; leave rows of one kind, since %s is not read", err, f.unread())
		}
		if err != nil {
			return set, fmt.Errorf("series %q: %w", usance.Clip(set.IDs[i]), err)
		}
		set.Values = append(set.Values, values)
	}
	set.Told = f.told(lists, step)
	return set, nil
}

// call gives a column's name.
func (f *form) call(column int) string {
	if name := f.names[column]; name != "" {
		return usance.Clip(name)
	}
	return fmt.Sprintf("column %d", column+1)
}

// unread names the columns that are not read.
func (f *form) unread() string {
	names := make([]string, 0, len(f.columns))
	for _, i := range f.columns {
		names = append(names, f.call(i))
	}
	return strings.Join(names, ", ")
}

// told says how a file was read, and what it lacks.
func (f *form) told(lists [][]dated, step spacing) string {
	first, last := lists[0][0].at, lists[0][0].at
	for _, list := range lists {
		if list[0].at.Before(first) {
			first = list[0].at
		}
		if end := list[len(list)-1].at; end.After(last) {
			last = end
		}
	}
	missing, gaps, early := 0, 0, 0
	for _, list := range lists {
		end := list[len(list)-1].at
		missing += step.values(list[0].at, end) - len(list)
		if step.values(end, last) > 1 {
			early++
		}
		for _, d := range list {
			if math.IsNaN(d.value) {
				gaps++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "dates are in %s", f.call(f.date))
	if f.value < 0 {
		b.WriteString(", a column each series")
	} else {
		fmt.Fprintf(&b, ", values in %s", f.call(f.value))
	}
	if f.id >= 0 {
		fmt.Fprintf(&b, ", ids in %s", f.call(f.id))
	}
	fmt.Fprintf(&b, ": %d series, %s, %s to %s", len(lists), step.name, step.tell(first, step.layout), step.tell(last, step.layout))
	if missing > 0 {
		fmt.Fprintf(&b, ", dates without a row, which count as 0: %d", missing)
	}
	if gaps > 0 {
		fmt.Fprintf(&b, ", values missing: %d", gaps)
	}
	if early > 0 {
		fmt.Fprintf(&b, ", series that end before the last date, and are forecast from their own: %d", early)
	}
	if f.value >= 0 && len(f.columns) > 0 {
		fmt.Fprintf(&b, "; not read: %s", f.unread())
	}
	return b.String()
}
