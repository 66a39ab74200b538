package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// forecastRun runs the command in a folder of its own and reads what it printed.
func forecastRun(t *testing.T, stdin string, args ...string) (rows [][]string, code int, message string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), append([]string{"forecast"}, args...), nil, strings.NewReader(stdin), &out, &errOut)
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows, code, errOut.String()
}

func readTable(t *testing.T, name string) [][]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func cell(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// weekly is a series of a clear week.
func weekly(i int) float64 { return []float64{70, 80, 90, 80, 70, 20, 10}[i%7] }

func TestForecastLong(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("id,date,value\n")
	start := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)
	for i := range 84 {
		day := start.AddDate(0, 0, i).Format(time.DateOnly)
		fmt.Fprintf(&b, "a,%s,%v\n", day, weekly(i))
		switch {
		case i%7 == 3: // no row: nothing was used
		case i%7 == 5: // no value: a gap
			fmt.Fprintf(&b, "b,%s,\n", day)
		default:
			fmt.Fprintf(&b, "b,%s,50\n", day)
		}
	}
	rows, code, message := forecastRun(t, b.String(), "--csv", "-", "--horizon", "14")
	const told = "-: dates are in date, values in value, ids in id: 2 series, daily, 2024-01-01 to 2024-03-24, dates without a row, which count as 0: 12, values missing: 12\n"
	if code != exitOK || message != told {
		t.Fatal(code, message)
	}
	if len(rows) != 3 || len(rows[0]) != 15 || strings.Join(rows[0][:3], ",") != "id,h1,h2" || rows[1][0] != "a" || rows[2][0] != "b" {
		t.Fatalf("%v", rows)
	}
	for h := range 14 {
		if v := cell(t, rows[1][h+1]); math.Abs(v-weekly(h)) > 2 {
			t.Errorf("a, h%d: %v, want %v", h+1, v, weekly(h))
		}
	}
	if none, gap := cell(t, rows[2][4]), cell(t, rows[2][6]); none > 10 || gap < 30 {
		t.Errorf("the day without rows: %v; the day of gaps: %v", none, gap)
	}
}

func TestForecastWideWithIntervals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "wide.csv.gz")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, `"V1","V2","V3"`+"\n")
	for _, id := range []string{"W1", "W2"} {
		fmt.Fprintf(z, "%q", id)
		for i := range 100 {
			fmt.Fprintf(z, ",%v", weekly(i)+float64((i*i*7)%5))
		}
		fmt.Fprint(z, ",,\n")
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "f.csv")
	if _, code, message := forecastRun(t, "", "--csv", name, "--horizon", "7", "--season", "7", "--intervals", "80,95", "--out", out); code != exitOK {
		t.Fatal(message)
	}
	tables := make([][][]string, 0, 5)
	for _, n := range []string{"f.lower95.csv", "f.lower80.csv", "f.csv", "f.upper80.csv", "f.upper95.csv"} {
		tables = append(tables, readTable(t, filepath.Join(dir, n)))
	}
	for h := 1; h <= 7; h++ {
		last := 0.0
		for i, table := range tables {
			v := cell(t, table[1][h])
			if v < last {
				t.Errorf("h%d: %v in table %d, after %v", h, v, i, last)
			}
			last = v
		}
		if v, want := cell(t, tables[2][1][h]), weekly(100+h-1)+2; math.Abs(v-want) > 4 {
			t.Errorf("h%d: %v, the week says %v", h, v, want)
		}
	}
}

func TestForecastBreach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var series, tasks strings.Builder
	tasks.WriteString("task_id,id,pstart,origin,hist,L1,L2,L3,L4\n")
	for s := range 30 {
		fmt.Fprintf(&series, "s%d", s)
		for i := range 200 {
			fmt.Fprintf(&series, ",%v", math.Round(float64(10+s)*weekly(i)*(1+0.2*math.Sin(float64(i*(s+3))))))
		}
		series.WriteString("\n")
		usual := 4 * 420 * float64(10+s)
		for k, hist := range []string{"full", "cold"} {
			fmt.Fprintf(&tasks, "t%d-%d,s%d,140,%d,%s,%v,%v,%v,%v\n", s, k, s, 150+k, hist, 0.5*usual, 0.95*usual, 1.05*usual, 2*usual)
		}
	}
	seriesFile, tasksFile := filepath.Join(dir, "series.csv"), filepath.Join(dir, "tasks.csv")
	for name, text := range map[string]string{seriesFile: series.String(), tasksFile: tasks.String()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--breach", "--series", seriesFile, "--tasks", tasksFile, "--days", "28"}
	rows, code, message := forecastRun(t, "", args...)
	if code != exitOK {
		t.Fatal(message)
	}
	if strings.Join(rows[0], ",") != "task_id,q025,q10,q50,q90,q975,p1,p2,p3,p4" || len(rows) != 61 || rows[2][0] != "t0-1" {
		t.Fatalf("%d rows from %v", len(rows), rows[0])
	}
	for _, row := range rows[1:] {
		var v []float64
		for _, s := range row[1:] {
			v = append(v, cell(t, s))
		}
		if v[0] > v[1] || v[1] > v[2] || v[2] > v[3] || v[3] > v[4] || v[5] < v[6] || v[6] < v[7] || v[7] < v[8] {
			t.Errorf("out of order: %v", row)
		}
		if v[5] < 0.95 || v[8] > 0.05 {
			t.Errorf("half of the usual is passed with %v, twice of it with %v", v[5], v[8])
		}
	}
	again, _, _ := forecastRun(t, "", args...)
	for i := range rows {
		if strings.Join(rows[i], ",") != strings.Join(again[i], ",") {
			t.Errorf("%v, and the second time %v", rows[i], again[i])
		}
	}
	bad := filepath.Join(dir, "bad.csv")
	for text, want := range map[string]string{
		"task_id,id,pstart,origin\n":                            `no "hist"`,
		"task_id,id,pstart,origin,hist\nt,nobody,1,2,full\n":    `line 2: there is no series "nobody"`,
		"task_id,id,pstart,origin,hist\nt,s1,1,900,full\n":      "origin 900",
		"task_id,id,pstart,origin,hist,L1\nt,s1,1,2,full,x\n":   "L1",
		"task_id,id,pstart,origin,hist\nt,s1,soon,2,full\n":     "pstart",
		"task_id,id,pstart,origin,hist\nt,s1,1,2,Cold\n":        `line 2: hist: "Cold" is neither full nor cold`,
		"task_id;id;pstart;origin;hist\nt;s1;1;2;full\n":        "line 1: fields must be separated by commas",
		"task_id,id,pstart,origin,hist\nt,s1,1,tomorrow,full\n": "origin",
	} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, code, message := forecastRun(t, "", "--breach", "--series", seriesFile, "--tasks", bad); code != exitFault || !strings.Contains(message, want) {
			t.Errorf("%q: %d, %s; want %s", text, code, message, want)
		}
	}
}

// Where nothing is known, neither of the series nor of others, there is no number.
func TestForecastBreachOfNothingKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	series, tasks := filepath.Join(dir, "s.csv"), filepath.Join(dir, "t.csv")
	for name, text := range map[string]string{
		series: "a,1,2,3\n", tasks: "task_id,id,pstart,origin,hist,L1\nt,a,2,2,cold,5\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rows, code, message := forecastRun(t, "", "--breach", "--series", series, "--tasks", tasks)
	if code != exitOK || !strings.Contains(message, "of 1 of 1 questions nothing is known") || !strings.Contains(message, "INSUFFICIENT_DATA") {
		t.Errorf("%d, %s", code, message)
	}
	if strings.Join(rows[1], ",") != "t,,,,,," {
		t.Errorf("%v", rows)
	}
}

func TestForecastRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		args []string
		want string
	}{
		{"", nil, "--csv FILE"},
		{"", []string{"--csv", "-"}, "--horizon"},
		{"", []string{"--csv", "-", "--horizon", "3"}, "empty"},
		{"id,date,value\na,soon,3\n", []string{"--csv", "-", "--horizon", "3"}, `line 2: "soon" is not a date`},
		{"id,date,value\na,2024-01-01,many\n", []string{"--csv", "-", "--horizon", "3"}, `"many" is not a number`},
		{"id,date,value\na,2024-01-01,1\na,2024-01-01,2\n", []string{"--csv", "-", "--horizon", "3"}, `series "a": line 3: it has a value for 2024-01-01 00:00:00 already, in line 2`},
		{"\ufeffid,date,value\r\n", []string{"--csv", "-", "--horizon", "3"}, "no series"},
		{"id,date,value\na,2024-01-01\n", []string{"--csv", "-", "--horizon", "3"}, "line 2"},
		{"a,1,2\nb,1,2\na,3,4\n", []string{"--csv", "-", "--horizon", "3"}, `line 3: there is a series "a" already, in line 1`},
		{"a,x,2\nb,1,2\n", []string{"--csv", "-", "--horizon", "3"}, `line 1: "x" is not a number`},
		{"a,1,1e200\n", []string{"--csv", "-", "--horizon", "3"}, "line 1: 1e200 is too large"},
		{"a,1,2\n", []string{"--csv", "-", "--horizon", "10001"}, "from 1 to 10000"},
		{"a,1,2\n", []string{"--csv", "-", "--horizon", "3", "--intervals", "NaN"}, "between 0 and 100"},
		{"\x1f\x8b", []string{"--csv", "-", "--horizon", "3"}, "EOF"},
		{"", []string{"--csv", t.TempDir(), "--horizon", "3"}, "directory"},
		{"a,1,2,x\n", []string{"--csv", "-", "--horizon", "3"}, `line 1: "x" is not a number`},
		{"a,1,2\n", []string{"--csv", "-", "--horizon", "3", "--intervals", "0.8,100"}, "between 0 and 100"},
		{"", []string{"--csv", "nowhere.csv", "--horizon", "3"}, "nowhere.csv"},
		{"", []string{"--breach"}, "--series FILE"},
		{"", []string{"--breach", "--series", "a", "--tasks", "b", "--days", "0"}, "--days"},
	} {
		if _, code, message := forecastRun(t, c.in, c.args...); code != exitFault || !strings.Contains(message, c.want) {
			t.Errorf("%v: %d, %s; want %s", c.args, code, message, c.want)
		}
	}
}

// Questions that cannot be answered are named by their line; a mark at the
// beginning of a file and the line ends of other systems are none of them.
func TestForecastBreachRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const header = "task_id,id,pstart,origin,hist,L1,L2,L3,L4\n"
	const series = "a,1,2,3,4,5\nb,9,9,9,9,9\n"
	for i, c := range []struct{ series, tasks, want string }{
		{"", header, "empty"},
		{"\n", header, "no series"},
		{series, "", "empty"},
		{series, "id,pstart\n", `no "task_id"`},
		{"a,1,x\n", header, `line 1: "x" is not a number`},
		{"a,1\na,2\n", header, `line 2: there is a series "a" already`},
		{series, header + "q,c,0,2,full,1,2,3,4\n", `line 2: there is no series "c"`},
		{series, header + "q,a,0,2,full,1,2,3\n", "line 2"},
		{series, header + "q,a,0,2,full,1,2,3,4\nr,a,0,6,full,1,2,3,4\n", "line 3: origin 6"},
		{series, header + "q,a,0,2,full,1,2,3,4\nq,b,0,2,full,1,2,3,4\n", `line 3: there is a task "q" already, in line 2`},
		{series, header + "q,a,-1,2,full,1,2,3,4\n", "line 2: pstart -1"},
		{series, header + "q,a,9000000000000000000,2,full,1,2,3,4\n", "line 2: pstart 9"},
		{series, header + "q,a,99999999999999999999,2,full,1,2,3,4\n", "line 2: pstart: "},
		{series, header + "q,a,1.5,2,full,1,2,3,4\n", "is not the index of a day"},
		{series, header + "q,a,0,2,full,1,NaN,3,4\n", "line 2: L2: a limit is missing"},
		{series, header + "q,a,0,2,full,1,2,Inf,4\n", "line 2: L3: "},
	} {
		_, code, message := forecastRun(t, "", "--breach", "--series", file(fmt.Sprint("s", i), c.series), "--tasks", file(fmt.Sprint("t", i), c.tasks))
		if code != exitFault || !strings.Contains(message, c.want) {
			t.Errorf("%q and %q: %d, %s; want %s", c.series, c.tasks, code, message, c.want)
		}
	}
	marked, code, message := forecastRun(t, "", "--breach", "--series", file("s", "\ufeff"+strings.ReplaceAll(series, "\n", "\r\n")),
		"--tasks", file("t", "\ufeff"+strings.ReplaceAll(header+"q,a,1,4,cold,0,9,99,1e30\n", "\n", "\r\n")))
	if code != 0 || len(marked) != 2 || marked[1][0] != "q" {
		t.Errorf("%d, %s\n%v", code, message, marked)
	}
}

// A mark at the beginning of a file is no part of the first id.
func TestForecastMarkedFiles(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"\ufeffa,1,2,3\r\n", "\ufeff\"id\",\"date\",\"value\"\r\n\"a\",\"2024-01-01\",\"1\"\r\n"} {
		if out, code, message := forecastRun(t, in, "--csv", "-", "--horizon", "1"); code != 0 || len(out) != 2 || out[1][0] != "a" {
			t.Errorf("%q: %d, %s, %s", in, code, message, out)
		}
	}
}

// A first row is a header by what its fields are: one whose number cannot be read is
// a series with a fault, which must not vanish.
func TestAFirstRowWithABadNumberIsNoHeader(t *testing.T) {
	t.Parallel()
	const more = "b,1,2,3\nc,4,5,6\n"
	for _, c := range []struct{ row, says string }{
		{"a,1e101", "line 1: 1e101 is too large"},
		{"a,1e999", `line 1: "1e999" is not a number`},
		{"a,inf,inf", `line 1: "inf" is not a number`},
		{"a,12x,7y", `line 1: "12x" is not a number; begin a row that names the columns with id`},
		{"a,-1e200,-1e300", "line 1: -1e200 is too large"},
	} {
		for _, rest := range []string{"", more} {
			rows, code, message := forecastRun(t, c.row+"\n"+rest, "--csv", "-", "--horizon", "2")
			if code == exitOK || !strings.Contains(message, c.says) {
				t.Errorf("%s: %d, %q, %v", c.row, code, message, rows)
			}
		}
	}
	for _, header := range []string{"V1,V2,V3,V4", "Page,2015-07-01,2015-07-02,2015-07-03", "id,1e101,9x,2", ",0,1,2"} {
		rows, code, message := forecastRun(t, header+"\n"+more, "--csv", "-", "--horizon", "2")
		if code != exitOK || len(rows) != 3 || rows[1][0] != "b" {
			t.Errorf("%s: %d, %q, %v", header, code, message, rows)
		}
	}
}
