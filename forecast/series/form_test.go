package series

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// Files as others publish them: what can be understood in one way only is read, and
// it is said how; the rest is refused, and it is said what to do.
func TestReadsWhatIsSure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, ids, values, told string }{
		"months, as AirPassengers is published": {"\"Month\",\"Passengers\"\n\"1949-01\",112\n\"1949-02\",118\n\"1949-04\",129\n", "1", "[112 118 0 129]",
			"dates are in Month, values in Passengers: 1 series, monthly, 1949-01 to 1949-04, dates without a row, which count as 0: 1"},
		"months, few of them":            {"date,value\n2024-01,1\n2024-04,2\n2024-09,3\n", "1", "[1 0 0 2 0 0 0 0 3]", "monthly, 2024-01 to 2024-09, dates without a row, which count as 0: 6"},
		"one month":                      {"sku,date,value\na,Jan 2024,1\n", "a", "[1]", "monthly, 2024-01 to 2024-01"},
		"years, one of them left out":    {"year,value\n2020,1\n2021,2\n2023,3\n", "1", "[1 2 0 3]", "yearly"},
		"years":                          {"Year,Water\n1885,356\n1886,386\n", "1", "[356 386]", "1 series, yearly, 1885-01 to 1886-01"},
		"prophet":                        {"ds,y\n2024-01-01,1\n2024-01-02,2\n", "1", "[1 2]", "dates are in ds, values in y: 1 series, daily"},
		"prophet with regressors":        {"ds,y,workingday,holiday\n2024-01-01,1,0,1\n2024-01-02,2,1,0\n", "1", "[1 2]", "; not read: workingday, holiday"},
		"nixtla":                         {"unique_id,ds,y\n7,2024-01-01,1\n7,2024-01-02,2\n8,2024-01-02,3\n", "7 8", "[1 2]", "dates are in ds, values in y, ids in unique_id: 2 series, daily, 2024-01-01 to 2024-01-02"},
		"nixtla, numbered":               {"unique_id,ds,y\nD1,1,1\nD1,2,2\nD2,5,3\n", "D1 D2", "[1 2]", "ids in unique_id: 2 series, numbered, 1 to 5, series that end before the last date, and are forecast from their own: 1"},
		"what psql writes":               {"ds,y\n2024-01-01 00:00:00+00,1\n2024-01-02 00:00:00+00,2\n", "1", "[1 2]", "daily, 2024-01-01 to 2024-01-02"},
		"nixtla with an index":           {",unique_id,ds,y\n0,a,2024-01-01,1\n1,a,2024-01-02,2\n", "a", "[1 2]", "ids in unique_id"},
		"pandas, a column each series":   {"date,a,b\n2024-01-01,1,4\n2024-01-02,,5\n2024-01-03,3,6\n", "a b", "[1 NaN 3]", "dates are in date, a column each series: 2 series, daily, 2024-01-01 to 2024-01-03, values missing: 1"},
		"pandas, by an index of dates":   {",a,b\n2024-01-01,1,4\n2024-01-02,2,5\n", "a b", "[1 2]", "dates are in column 1"},
		"pandas, by an index of numbers": {",day,views,downloads\n0,2024-01-01,1,4\n1,2024-01-02,2,5\n", "views downloads", "[1 2]", "dates are in day"},
		"an id by its name":              {"license_id,day,views\n17,2024-01-01,1\n18,2024-01-01,5\n17,2024-01-02,2\n", "17 18", "[1 2]", "ids in license_id"},
		"what usance export writes":      {"licenseId,date,usageType,quantity,revenueCents,events\na,2024-01-01,view,1,0,1\na,2024-01-02,view,2,0,1\n", "a", "[1 2]", "ids in licenseId: 1 series, daily, 2024-01-01 to 2024-01-02; not read: usageType, revenueCents, events"},
		"an id in camel case":            {"day,licenseId,views\n2024-01-01,17,1\n2024-01-02,17,2\n", "17", "[1 2]", "values in views, ids in licenseId"},
		"an id by its kind":              {"what,when,how many\na,2024-01-01,1\nb,2024-01-01,5\na,2024-01-02,2\n", "a b", "[1 2]", "dates are in when, values in how many, ids in what"},
		"no header":                      {"a,2024-01-01,1\nb,2024-01-01,5\na,2024-01-02,2\n", "a b", "[1 2]", "dates are in column 2, values in column 3, ids in column 1"},
		"no header and no id":            {"2024-01-01,1\n2024-01-02,2\n", "1", "[1 2]", "dates are in column 1"},
		"other columns":                  {"id,date,value,platform\na,2024-01-01,1,web\na,2024-01-02,2,tv\n", "a", "[1 2]", "; not read: platform"},
		"in disorder, with CRLF and BOM": {"\ufeffid, date, value\r\na, 2024-01-03, 3\r\na, 2024-01-01, 1\r\n", "a", "[1 0 3]", "which count as 0: 1"},
		"series that end early":          {"id,date,value\na,2024-01-01,1\nb,2024-01-01,1\na,2024-01-02,2\n", "a b", "[1 2]", "series that end before the last date, and are forecast from their own: 1"},
		"day first, as one line shows":   {"date,value\n01/02/2024,1\n02/02/2024,2\n13/02/2024,3\n", "1", "[1 2 0 0 0 0 0 0 0 0 0 0 3]", "daily, 2024-02-01 to 2024-02-13"},
		"month first, as one line shows": {"date,value\n12/30/24,1\n1/1/25,2\n", "1", "[1 0 2]", "daily, 2024-12-30 to 2025-01-01"},
		"month first, or dates are left out": {"date,value\n10/1/2023,1\n11/1/2023,2\n12/1/2023,3\n1/1/2024,4\n2/1/2024,5\n", "1", "[1 2 3 4 5]",
			"monthly, 2023-10 to 2024-02"},
		"day first, or dates are left out": {"date,value\n01/10/2023,1\n01/11/2023,2\n01/12/2023,3\n01/01/2024,4\n01/02/2024,5\n", "1", "[1 2 3 4 5]",
			"monthly, 2023-10 to 2024-02"},
		"days with points":       {"date,value\n01.02.2024,1\n02.02.2024,2\n", "1", "[1 2]", "daily, 2024-02-01"},
		"names of months":        {"date,value\n31-Jan-2024,1\n01-Feb-2024,2\n", "1", "[1 2]", "daily, 2024-01-31"},
		"plain numbers as dates": {"date,value\n20240131,1\n20240201,2\n", "1", "[1 2]", "daily, 2024-01-31"},
		"zones that pandas writes": {"date,value\n2024-03-30 00:00:00+01:00,1\n2024-03-31 00:00:00+01:00,2\n2024-04-01 00:00:00+02:00,3\n", "1", "[1 2 3]",
			"daily, 2024-03-30 to 2024-04-01"},
		"M4":                     {"\"V1\",\"V2\",\"V3\",\"V4\"\n\"W1\",\"1\",\"2\",\"3\"\n\"W2\",\"4\",\"5\",\"\"\n", "W1 W2", "[1 2 3]", "a row each series: 2 series of 2 to 3 values, without dates"},
		"M4 as R writes it":      {"id,V2,V3,V4\nW1,1,NA,3\nW2,4,5,NA\n", "W1 W2", "[1 NaN 3]", "a row each series: 2 series of 2 to 3 values, without dates"},
		"M4 with numbers as ids": {"V1,V2,V3\n1,5,6\n2,7,8\n", "1 2", "[5 6]", "without dates"},
		"rows and no header":     {"1,5,6\n2,7,8\n", "1 2", "[5 6]", "without dates"},
		"rows under dates":       {"Page,2015-07-01,2015-07-02\nA,5,6\n", "A", "[5 6]", "a row each series: 1 series of 2 to 2 values, daily, 2015-07-01 to 2015-07-02"},
		"rows under months":      {"sku,2015-11,2015-12,2016-01\n7,5,6,7\n", "7", "[5 6 7]", "monthly, 2015-11 to 2016-01"},
	} {
		set, err := Read(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ids, values := strings.Join(set.IDs, " "), fmt.Sprint(set.Values[0]); ids != c.ids || values != c.values || !strings.Contains(set.Told, c.told) {
			t.Errorf("%s: ids %s, values %s, %q; want %s, %s, %q", name, ids, values, set.Told, c.ids, c.values, c.told)
		}
	}
}

func TestRefusesWhatIsNotSure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"a number that may be an id":     {"lic,date,value\n1,2024-01-01,5\n", "line 1: which column tells series apart"},
		"two numbers beside a value":     {"date,value,a,b\n2024-01-01,5,6,7\n", "name the columns id,date,value"},
		"two values of an id":            {"id,date,views,downloads\na,2024-01-01,5,6\n", "which is the value"},
		"two ids":                        {"date,store,item,sales\n2024-01-01,1,1,5\n", "line 1: both store and item could tell series apart"},
		"two dates":                      {"begin,end,n\n2024-01-01,2024-01-02,5\n", "line 1: more than one column could be the date"},
		"a date in parts":                {"year,month,value\n2024,1,5\n", "line 1: more than one column could be the date"},
		"a word that is no id":           {"date,holiday,value\n2024-01-01,new year,5\n2024-01-02,none,6\n", "line 1: whether holiday tells series apart"},
		"series in one column":           {"date,value\n2024-01-01,5\n2024-01-01,6\n", "line 3: it has a value for 2024-01-01 00:00:00 already, in line 2; name the column that tells series apart id"},
		"two usage types":                {"licenseId,date,usageType,quantity\na,2024-01-01,view,5\na,2024-01-01,play,6\n", `series "a": line 3: it has a value for 2024-01-01 00:00:00 already, in line 2; leave rows of one kind, since usageType is not read`},
		"two channels":                   {"date,store,web\n2024-01-01,12,5\n2024-01-02,13,6\n", "line 1: whether store tells series apart"},
		"years in rows":                  {"1949,112,118,132\n1950,115,126,141\n", "line 1: its numbers could be years"},
		"an id left out":                 {"id,date,value\na,2024-01-01,5\n,2024-01-02,6\n", "line 3: the series has no id"},
		"columns of the same name":       {"date,a,a\n2024-01-01,5,6\n", "line 1: two columns are named a"},
		"a column without a name":        {"date,a,\n2024-01-01,5,6\n", "line 1: column 3 has no name"},
		"series without names":           {"2024-01-01,5,6\n2024-01-02,5,6\n", "line 1: column 2 has no name"},
		"an index that counts no rows":   {",date,value\n1,2024-01-01,5\n1,2024-01-02,6\n", "line 3: the column without a name does not number the rows"},
		"a table of months":              {"Year,Jan,Feb,Mar\n1949,112,118,132\n", "line 1: the columns are months"},
		"a table of hours":               {"date,h0,h1,h2,h3,h4,h5,h6,h7,h8,h9,h10,h11\n2024-01-01,0,1,2,3,4,5,6,7,8,9,10,11\n", "line 1: the columns could be months, days or hours"},
		"a table of years":               {"Table,1958,1959,1960\nJAN,340,360,417\n", "line 1: its numbers could be years"},
		"dates in words":                 {"Month,Passengers\nJan-49,112\nFeb-49,118\n", `line 2: "Jan-49" is not a date`},
		"a number left out":              {"unique_id,ds,y\na,1,5\na,3,6\n", `series "a": line 3: it has no row 2; where rows are numbered`},
		"a number twice":                 {"unique_id,ds,y\na,1,5\na,1,6\n", `line 3: it has a value for 1 already, in line 2`},
		"dates after numbers":            {"unique_id,ds,y\na,1,5\na,2024-01-01,6\n", `line 3: "2024-01-01" is not the number of a row`},
		"quarters":                       {"quarter,a,b\n2024Q1,5,6\n", "line 1: whether rows are series or times"},
		"rows that are numbered":         {"t,y\n1,112\n2,118\n", "line 1: whether rows are series or times"},
		"numbers and values":             {"1,112\n2,118\n", "line 1: whether rows are series or times"},
		"an index of numbers":            {",a,b\n0,5,6\n1,7,8\n", "line 1: whether rows are series or times"},
		"numbers over an index":          {",0,1\n0,5,6\n1,7,8\n", "line 1: whether rows are series or times"},
		"day or month first":             {"date,value\n01/02/2024,1\n02/02/2024,2\n", "line 3: whether day or month comes first"},
		"day and month first":            {"date,value\n13/02/2024,1\n02/14/2024,2\n", "line 3: the date has its month first, and in line 2 its day"},
		"years of two digits":            {"date,value\n06/01/02,1\n06/01/13,2\n", "line 3: whether day or month comes first"},
		"columns of dates, some missing": {"id,2024-01-01,2024-01-02,2024-01-04\na,5,6,7\n", "line 1: the dates of the columns leave some out"},
		"columns of dates in disorder":   {"id,2024-01-02,2024-01-01\na,5,6\n", "line 1: the dates of the columns leave some out or are in disorder"},
		"a comma in numbers":             {"id;date;value\na;2024-01-01;1,5\n", "line 1: fields must be separated by commas"},
		"the same without a header":      {"a;2024-01-01;1,5\na;2024-01-02;1,6\n", "line 1: fields must be separated by commas"},
		"thousands":                      {"id,date,value\na,2024-01-01,\"12,500\"\n", `line 2: "12,500" is not a number`},
		"thousands as in Go":             {"id,date,value\na,2024-01-01,1_000\n", `line 2: "1_000" is not a number`},
		"numbers by sixteen":             {"id,date,value\na,2024-01-01,0x1p4\n", `line 2: "0x1p4" is not a number`},
		"a column that is no series":     {"date,a,b\n2024-01-01,5,6\n2024-01-02,5,x\n", `line 3: "x" is not a number; name the columns`},
		"a row too long":                 {"id,date,value\na,2024-01-01,5,6\n", "line 2: it has 4 fields, and the first line 3"},
		"UTF-16":                         {"\xff\xfei\x00d\x00", "line 1: the file is in UTF-16"},
		"other separators":               {"id|date|value\na|2026-01-01|5\n", "line 1: there is one column"},
		"line ends of old Macs":          {"ds,y\r1949-01-01,112\r", "line 1: lines end as on old Macs"},
	} {
		set, err := Read(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v %v; want %s", name, err, set.IDs, set.Values, c.says)
		}
	}
}

// Whatever a file holds, it is read, with ids of its own and values that can be
// forecast, or what is wrong is said, and in which line.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"id,date,value\na,2024-01-01,5\nb,2024-01-02,\na,2024-03-01,1e9\n", "date,a,b\n2024-01-31,1,2\n2024-02-29,3,4\n", "V1,V2,V3\nW1,1,2\nW2,3,\n",
		"Page,2015-07-01,2015-07-02\nA,5,6\n", "date,value\n01/02/2024,1\n02/02/2024 10:00,2\n", "a,2025-03-29T23:00:00Z,1\na,2025-03-30T22:00:00Z,2\n",
		",ds,y\n0,2024,5\n1,2025,6\n", "x,1/1/06 ,3\n", "a;1\nb\t2,3\n", "\ufeff\"Month\",\"Passengers\"\r\n\"1949-01\",112\r\n",
	} {
		f.Add(text)
	}
	line := regexp.MustCompile(`line \d+`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Read(strings.NewReader(text))
		switch {
		case err != nil:
			if s := err.Error(); !line.MatchString(s) && s != errNoSeries.Error() && s != "the file is empty" {
				t.Fatalf("it says not where: %s", s)
			}
			return
		case len(set.IDs) == 0 || len(set.IDs) != len(set.Values) || set.Told == "":
			t.Fatalf("%d ids, %d series, %q", len(set.IDs), len(set.Values), set.Told)
		}
		seen := make(map[string]bool)
		for i, id := range set.IDs {
			if seen[id] {
				t.Fatalf("%q comes twice", id)
			}
			seen[id] = true
			for _, v := range set.Values[i] {
				if math.Abs(v) > largest {
					t.Fatalf("%q holds %v", id, v)
				}
			}
		}
	})
}
