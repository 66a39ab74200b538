package series

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

// Tasks are what a file of tasks asks: of each its id, the question, and the limits
// whose passing it asks about.
type Tasks struct {
	IDs       []string
	Questions []forecast.Question
	Limits    [][]float64 // Columns of each task
	Columns   int
}

// ReadTasks reads questions about series that are known by their ids, and the totals
// of periods of so many days, at most forecast.MaxDays. Errors name the line.
func ReadTasks(r io.Reader, ids []string, values [][]float64, days int) (Tasks, error) {
	var t Tasks
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
	var columns []int // of limits
	for n := 1; ; n++ {
		col := slices.Index(header, "L"+strconv.Itoa(n))
		if col < 0 {
			break
		}
		columns = append(columns, col)
	}
	t.Columns = len(columns)
	lines := make(map[string]int)
	for {
		row, err := c.Read()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, err
		}
		line, _ := c.FieldPos(0)
		fail := func(err error) (Tasks, error) { return t, fmt.Errorf("line %d: %w", line, err) }
		if before, ok := lines[row[at[0]]]; ok {
			return fail(fmt.Errorf("there is a task %q already, in line %d", usance.Clip(row[at[0]]), before))
		}
		lines[row[at[0]]] = line
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
		limits := make([]float64, 0, len(columns))
		for _, col := range columns {
			l, err := parseValue(row[col])
			if err != nil {
				return fail(fmt.Errorf("%s: %w", header[col], err))
			}
			if math.IsNaN(l) {
				return fail(fmt.Errorf("%s: a limit is missing", header[col]))
			}
			limits = append(limits, l)
		}
		t.IDs = append(t.IDs, row[at[0]])
		t.Questions = append(t.Questions, q)
		t.Limits = append(t.Limits, limits)
	}
}
