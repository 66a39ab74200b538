package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/usance/usance"
)

// dailyColumns is where a CSV of daily totals holds what: a row is of one usage
// type, which a column names, or has a column of units for each type.
type dailyColumns struct {
	license, date, usageType int // -1: there is none
	types                    []typeColumns
	columns                  int    // that there are
	fallback                 string // the licence where no column names it
}

// typeColumns are the numbers of one usage type; -1: there is none.
type typeColumns struct {
	name                      string // empty where a column names it
	quantity, revenue, events int
}

// The fields of a daily total, by the names that columns and --map may have.
var dailyFields = map[string]string{
	"licenseid": "licenseId", "license": "licenseId", "licence": "licenseId", "date": "date", "usagetype": "usageType", "type": "usageType",
	"quantity": "quantity", "revenuecents": "revenueCents", "events": "events",
}

// canonical gives the field that a name means; ok is false when it means none.
func canonical(name string, fields map[string]string) (field string, ok bool) {
	field, ok = fields[strings.ToLower(strings.ReplaceAll(name, "_", ""))]
	return field, ok
}

// meanings gives what each column holds, in the words of fields; empty for such
// as are left out. renamed is --map, what it is to the name of the column.
func meanings(header []string, renamed map[string]string, ignored []string, fields map[string]string, other func(name string) bool) ([]string, error) {
	out := make([]string, len(header))
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, column := range ignored {
		if !slices.Contains(header, column) {
			fault("--ignore names a column %q that is not there", column)
		}
	}
	for what, column := range renamed {
		i := slices.Index(header, column)
		field, known := canonical(what, fields)
		if !known {
			field = what
		}
		switch {
		case i < 0:
			fault("--map %s=%s names a column that is not there", what, column)
		case !known && !other(what):
			fault("--map %s=%s: there is nothing called %q to be found in a file; there are %s", what, column, what, fieldNames(fields))
		case out[i] != "":
			fault("--map takes the column %q for two things", column)
		default:
			out[i] = field
		}
	}
	for i, column := range header {
		if out[i] != "" || slices.Contains(ignored, column) {
			continue
		}
		field, known := canonical(column, fields)
		if !known && other(column) && !slices.Contains(out, column) && isBuiltIn(column) {
			field, known = column, true
		}
		if known && slices.Contains(out, field) {
			fault("the columns %q and %q are both %s; leave one out with --ignore", header[slices.Index(out, field)], column, field)
			continue
		}
		if !known {
			fault("the column %q is not known; say what it is with --map NAME=%[2]s, or leave it out with --ignore %[2]s", column, columnNames([]string{column}))
			continue
		}
		out[i] = field
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return nil, errors.New(strings.Join(faults, "\n  "))
	}
	return out, nil
}

func fieldNames(fields map[string]string) string {
	var names []string
	for _, f := range fields {
		names = append(names, f)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// isBuiltIn tells whether a column is of a built-in usage type: such need no --map.
func isBuiltIn(column string) bool {
	name, _, _ := strings.Cut(column, ".")
	return slices.Contains(usance.UsageTypes, name)
}

// ofType takes a name such as view, view.revenueCents or view.events apart.
func ofType(name string) (usageType, field string, ok bool) {
	usageType, field = name, "quantity"
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		if f, known := canonical(name[i+1:], dailyFields); known && (f == "revenueCents" || f == "events" || f == "quantity") {
			usageType, field = name[:i], f
		}
	}
	return usageType, field, usance.ValidateUsageType(usageType) == nil
}

// newDailyColumns reads the header of a CSV of daily totals.
func newDailyColumns(header []string, renamed map[string]string, ignored []string, license string) (*dailyColumns, error) {
	names, err := meanings(header, renamed, ignored, dailyFields, func(name string) bool { _, _, ok := ofType(name); return ok })
	if err != nil {
		return nil, err
	}
	d := &dailyColumns{
		license: slices.Index(names, "licenseId"), date: slices.Index(names, "date"), usageType: slices.Index(names, "usageType"),
		columns: len(header), fallback: license,
	}
	for i, name := range names {
		if _, field := dailyFields[strings.ToLower(name)]; field || name == "" {
			continue
		}
		usageType, field, _ := ofType(name)
		n := slices.IndexFunc(d.types, func(c typeColumns) bool { return c.name == usageType })
		if n < 0 {
			n = len(d.types)
			d.types = append(d.types, typeColumns{usageType, -1, -1, -1})
		}
		switch field {
		case "quantity":
			d.types[n].quantity = i
		case "revenueCents":
			d.types[n].revenue = i
		case "events":
			d.types[n].events = i
		}
	}
	one := typeColumns{"", slices.Index(names, "quantity"), slices.Index(names, "revenueCents"), slices.Index(names, "events")}
	numbers := one.quantity >= 0 || one.revenue >= 0 || one.events >= 0
	have := "the columns are " + columnNames(header)
	switch {
	case d.date < 0:
		return nil, fmt.Errorf("there is no column date; name it with --map date=NAME (%s)", have)
	case d.license < 0 && license == "":
		return nil, fmt.Errorf("there is no column licenseId; name it with --map licenseId=NAME, or the licence of all rows with --license (%s)", have)
	case d.usageType >= 0 && len(d.types) > 0:
		return nil, fmt.Errorf("a column names the usage type of each row, and there is one for the type %s; leave one of them out with --ignore", d.types[0].name)
	case d.usageType >= 0 && one.quantity < 0:
		return nil, fmt.Errorf("there is no column quantity; name it with --map quantity=NAME (%s)", have)
	case d.usageType >= 0:
		d.types = []typeColumns{one}
	case len(d.types) == 0:
		return nil, fmt.Errorf("there is neither a column usageType nor one of a usage type's units; name it with --map view=NAME (%s)", have)
	case numbers:
		return nil, fmt.Errorf("quantity, revenueCents and events of a row with a column for each type belong to no type; name that, as in --map view.revenueCents=NAME")
	}
	for _, c := range d.types {
		if c.quantity < 0 {
			return nil, fmt.Errorf("there is no column of the units of %s; name it with --map %[1]s=NAME (%s)", c.name, have)
		}
	}
	return d, nil
}

// totals reads a row. In one with a column for each type, an empty cell is no
// total.
func (d *dailyColumns) totals(r record) ([]usance.DailyTotal, error) {
	if len(r.cells) != d.columns {
		return nil, usance.Invalid("", "has %d cells where the header has %d", len(r.cells), d.columns)
	}
	t := usance.DailyTotal{LicenseID: d.fallback, Line: r.line}
	if d.license >= 0 {
		t.LicenseID = strings.TrimSpace(r.cells[d.license])
	}
	var err error
	if t.Date, err = usance.ParseDate(strings.TrimSpace(r.cells[d.date])); err != nil {
		return nil, usance.Invalid("date", "%v", err)
	}
	var out []usance.DailyTotal
	for _, c := range d.types {
		t := t
		t.UsageType = c.name
		if c.name == "" {
			t.UsageType = strings.TrimSpace(r.cells[d.usageType])
		}
		empty, err := cellNumber(r.cells, c.quantity, "quantity", &t.Quantity)
		if err != nil {
			return nil, err
		}
		if empty && c.name == "" {
			return nil, usance.Invalid("quantity", "is missing; 0 takes an earlier total of the day back")
		}
		if empty {
			continue
		}
		if _, err := cellNumber(r.cells, c.revenue, "revenueCents", &t.RevenueCents); err != nil {
			return nil, err
		}
		if _, err := cellNumber(r.cells, c.events, "events", &t.Events); err != nil {
			return nil, err
		}
		if err := t.Validate(); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// cellNumber reads a cell of digits.
func cellNumber(cells []string, at int, field string, to *int64) (empty bool, err error) {
	if at < 0 {
		return true, nil
	}
	text := strings.TrimSpace(cells[at])
	if text == "" {
		return true, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || text[0] == '+' {
		return false, usance.Invalid(field, "%.40q is no whole number in digits", text)
	}
	*to = n
	return false, nil
}
