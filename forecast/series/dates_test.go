package series

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// readLongText reads a file that must be readable.
func readLongText(t *testing.T, text string) Set {
	t.Helper()
	set, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A file has one spacing: dates are days, and those without a row are zeros, however
// regular the rows of one series are; weeks and months are found where most rows are
// that far apart and all others fit.
func TestSpacing(t *testing.T) {
	t.Parallel()
	rows := func(id string, n int, at func(i int) string) (out string) {
		for i := range n {
			out += fmt.Sprintf("%s,%s,%d\n", id, at(i), i+1)
		}
		return out
	}
	first := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)
	every := func(days int) func(int) string {
		return func(i int) string { return first.AddDate(0, 0, days*i).Format(time.DateOnly) }
	}
	months := func(by, day int) func(int) string {
		return func(i int) string {
			return time.Date(2023, time.Month(1+by*i), day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		}
	}
	const header = "id,date,value\n"
	for name, c := range map[string]struct {
		text   string
		season int
		values string
	}{
		"every tenth day":    {rows("a", 3, every(10)), 7, "[1 0 0 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0 0 0 3]"},
		"every second day":   {rows("a", 4, every(2)), 7, "[1 0 2 0 3 0 4]"},
		"two, then the next": {rows("a", 3, every(2)) + "a,2024-01-06,9\n", 7, "[1 0 2 0 3 9]"},
		"weeks":              {rows("a", 4, every(7)) + "a,2024-02-12,9\n", 52, "[1 2 3 4 0 0 9]"},
		"months":             {rows("a", 4, months(1, 1)) + "a,2023-06-01,9\n", 12, "[1 2 3 4 0 9]"},
		"ends of months":     {rows("a", 4, months(1, 0)), 12, "[1 2 3 4]"},
		"quarters":           {rows("a", 4, months(3, 1)), 4, "[1 2 3 4]"},
		"years":              {rows("a", 4, months(12, 5)), 0, "[1 2 3 4]"},
		"a year's one day":   {"a,2024-01-01,1\na,2024-01-04,2\n", 7, "[1 0 0 2]"},
		"hours":              {rows("a", 3, func(i int) string { return first.Add(time.Duration(3*i) * time.Hour).Format(time.DateTime) }), 24, "[1 0 0 2 0 0 3]"},
		"half hours": {rows("a", 3, func(i int) string { return first.Add(time.Duration(30*i) * time.Minute).Format(time.DateTime) }),
			0, "[1 2 3]"},
		"summer time": {"a,2024-03-09T00:00:00-05:00,1\na,2024-03-10T00:00:00-05:00,2\na,2024-03-11T00:00:00-04:00,3\na,2024-03-12T00:00:00-04:00,4\n",
			7, "[1 2 3 4]"},
		"winter time, hours":                   {"a,2024-11-03T01:00:00-04:00,1\na,2024-11-03T01:00:00-05:00,2\na,2024-11-03T02:00:00-05:00,3\n", 24, "[1 2 3]"},
		"summer time in UTC":                   {"a,2025-03-28T23:00:00Z,1\na,2025-03-29T23:00:00Z,2\na,2025-03-30T22:00:00Z,3\na,2025-04-01T22:00:00Z,4\n", 7, "[1 2 3 0 4]"},
		"winter time in UTC":                   {"a,2024-10-25T23:00:00Z,1\na,2024-10-26T23:00:00Z,2\na,2024-10-28T00:00:00Z,3\na,2024-10-29T00:00:00Z,4\n", 7, "[1 2 3 4]"},
		"west, in UTC":                         {"a,2025-03-08T05:00:00Z,1\na,2025-03-09T05:00:00Z,2\na,2025-03-10T04:00:00Z,3\n", 7, "[1 2 3]"},
		"months in UTC":                        {"a,2025-01-31T23:00:00Z,1\na,2025-02-28T23:00:00Z,2\na,2025-03-31T22:00:00Z,3\na,2025-05-31T22:00:00Z,4\n", 12, "[1 2 3 0 4]"},
		"reports by night":                     {"a,2025-01-01 00:00:07,1\na,2025-01-02 00:03:11,2\na,2025-01-02 23:59:58,3\n", 7, "[1 2 3]"},
		"ends of months that are working days": {"a,2024-01-31,1\na,2024-02-29,2\na,2024-03-29,3\na,2024-04-30,4\na,2024-06-28,5\n", 12, "[1 2 3 4 0 5]"},
		"weeks around holidays":                {rows("a", 5, every(7)) + "a,2024-02-06,6\na,2024-02-12,7\n", 52, "[1 2 3 4 5 6 7]"},
		"days that are nearly weeks":           {"a,2024-01-01,1\na,2024-01-09,2\na,2024-01-15,3\n", 7, "[1 0 0 0 0 0 0 0 2 0 0 0 0 0 3]"},
		"ahead of Greenwich":                   {"a,2024-03-10T00:00:00+09:00,1\na,2024-03-12T00:00:00+09:00,2\n", 7, "[1 0 2]"},
	} {
		set := readLongText(t, header+c.text)
		if got := fmt.Sprint(set.Values[0]); got != c.values || set.Season != c.season {
			t.Errorf("%s: %s, season %d; want %s, %d", name, got, set.Season, c.values, c.season)
		}
	}
	// Each series has its own weekday, and its own day of the month.
	for text, want := range map[string]string{
		rows("b", 4, every(7)) + rows("a", 3, func(i int) string { return first.AddDate(0, 0, 3+7*i).Format(time.DateOnly) }): "[[1 2 3 4] [1 2 3]] 52",
		rows("b", 4, months(1, 1)) + rows("a", 3, months(1, 20)) + rows("c", 4, months(1, 0)):                                 "[[1 2 3 4] [1 2 3] [1 2 3 4]] 12",
	} {
		if set := readLongText(t, header+text); fmt.Sprint(set.Values, set.Season) != want {
			t.Errorf("%v, season %d; want %s", set.Values, set.Season, want)
		}
	}
	// The other series of a file show that it is one of days.
	set := readLongText(t, header+rows("b", 5, every(1))+rows("a", 3, every(7)))
	if got := fmt.Sprint(set.Values[1]); got != "[1 0 0 0 0 0 0 2 0 0 0 0 0 0 3]" {
		t.Errorf("beside a series of days: %s", got)
	}
}

func TestOtherForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"id;date;value\na;2024-01-01;5\n":     "line 1: fields must be separated by commas",
		"id\tdate\tvalue\na\t2024-01-01\t5\n": "line 1: fields must be separated by commas",
		"a,1,2\nb;1;2\n":                      "line 2: fields must be separated by commas",
		"a,1,2\n,1,2\n":                       "line 2: the series has no id",
		"id,date,value\na,2024-01-01 00:00:00,1\na,2024-01-01 00:00:01,2\n":                                                   "line 3: 2024-01-01 00:00:01 is not a whole number of minutes after",
		"id,date,value\na,2024-01-01 03:00:00,1\na,2024-01-02 09:00:00,2\na,2024-01-03 01:00:00,2\n":                          "line 2: rows are mostly 16h0m0s apart, but not at one time of day",
		"id,date,value\na,2024-01-01 00:00:00,1\na,2024-01-01 01:00:00,2\na,2024-01-01 02:00:00,2\na,2024-01-01 02:30:00,2\n": "line 5: rows are mostly 1h0m0s apart, but 2024-01-01 02:30:00",
		"id,date,value\na,2024-01-01T00:00:00Z,1\na,2024-01-01T00:00:00+05:00,2\n":                                            `line 3: it has a value for 2024-01-01 00:00:00 already, in line 2`,
		"id,date,value\na,2024-01-01,1\na,2024-01-03,2\na,2024-01-05,2\na,1/13/2024,3\na,1/3/2024,3":                          "line 6: it has a value for 2024-01-03 00:00:00 already, in line 3",
	} {
		if _, err := Read(strings.NewReader(text)); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
	// A header that numbers its columns is no series.
	for _, header := range []string{",0,1,2,3", "id,1,2,3,4", "unique_id,0,1,2,3"} {
		if set, err := Read(strings.NewReader(header + "\nA,5,6,5,6\n")); err != nil || fmt.Sprint(set.IDs, set.Values) != "[A] [[5 6 5 6]]" {
			t.Errorf("%s: %+v, %v", header, set, err)
		}
	}
}
