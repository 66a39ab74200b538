package weblog

import (
	"slices"
	"strings"
	"testing"
)

func mapOf(t testing.TB, rules ...string) *Map {
	t.Helper()
	m, err := ParseMap(strings.NewReader(strings.Join(rules, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMapMatches(t *testing.T) {
	t.Parallel()
	m := mapOf(t,
		"\ufeff# licences of the gallery",
		"/exact.png            one    view",
		"/get?id=7&size=l*     two    download   # a query",
		"/get                  three  view",
		"/img/*.png            four   view",
		"/img/**.jpg           five   view  asset=picture",
		"/a%20b/%2A            six    view",
		"/late.png             seven  view  host=*.Example.com",
		"/late.png             eight  view  host=example.com",
		"/late*                nine   view",
		"",
		"/exact*               ten    view",
		"/über/*               eleven view",
	)
	tests := []struct {
		host, target, license, item string
	}{
		{"", "/exact.png", "one", "/exact.png"},
		{"", "/exact.png?cache=1#top", "one", "/exact.png"},
		{"", "http://www.example.com/exact.png", "one", "/exact.png"},
		{"", "/exact.pngs", "ten", "/exact.pngs"},
		{"", "/get?size=large&id=7&x=y", "two", "/get?id=7&size=large"},
		{"", "/get?size=small&id=7", "three", "/get"},
		{"", "/get?id=%37&size=l%26", "two", "/get?id=7&size=l%26"},
		{"", "/img/x.png", "four", "/img/x.png"},
		{"", "/img/a/x.png", "", ""},
		{"", "/img/a/x.jpg", "five", "asset:picture"},
		{"", "/a%20b/*", "six", "/a b/*"},
		{"", "/a%20b/c", "", ""},
		{"cdn.example.COM:8443", "/late.png", "seven", "cdn.example.com/late.png"},
		{"example.com", "/late.png", "eight", "example.com/late.png"},
		{"badexample.com", "/late.png", "nine", "/late.png"},
		{"", "/late.png", "nine", "/late.png"},
		{"", "https://cdn.example.com", "", ""},
		{"", "/%C3%BCber/x", "eleven", "/über/x"},
		{"", "*", "", ""},
		{"", "", "", ""},
		{"", "/img/%zz.png", "four", "/img/%zz.png"},
	}
	for _, tt := range tests {
		license := ""
		i, item := m.match(&hit{host: tt.host, target: tt.target})
		if i >= 0 {
			license = m.rules[i].license
		}
		if license != tt.license || item != tt.item {
			t.Errorf("%s %s: %q %q, want %q %q", tt.host, tt.target, license, item, tt.license, tt.item)
		}
	}
	if got := strings.Join(m.licenses(), " "); got != "eight eleven five four nine one seven six ten three two" {
		t.Error(got)
	}
}

func TestMapErrorsNameTheirLines(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "the map has no rules"},
		{"# nothing\n", "the map has no rules"},
		{"/a lic", "line 1: want pattern, licence and usage type, got 2 of the 3"},
		{"\n\n/a lic view # ok\nimages/a lic view", "line 4: pattern images/a: must begin with a slash"},
		{"/a li/c view", "line 1: licence must be"},
		{"/a lic View", "line 1: usageType"},
		{"/a lic all", "line 1: usageType"},
		{"/a lic view colour=red", "line 1: unknown option colour"},
		{"/a lic view asset", `line 1: option "asset": want name=value`},
		{"/a lic view asset=", `want name=value`},
		{"/a lic view asset=a asset=b", "option asset is given twice"},
		{"/a lic view platform=fax", "platform=fax: want one of web"},
		{"/a lic view device=fax", "device=fax: want one of desktop"},
		{"/a lic view host=http://x", "want a name or *.name"},
		{"/a lic view\n/b lic view\n/a lic2 view", "line 3: /a can never match: line 1"},
		{"/a?b lic view", `parameter "b": want name=value`},
		{"/a%zz lic view", "write a percent sign as %25"},
		{"/a%ff lic view", "not UTF-8"},
		{"/a\xff lic view", "not UTF-8"},
		{"/" + strings.Repeat("a", maxMapLine) + " lic view", "line 1: longer than"},
		{"/a lic\n/b lic\n", "line 1: want pattern, licence and usage type, got 2 of the 3\nline 2"},
	}
	for _, tt := range tests {
		if _, err := ParseMap(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %q", tt.text, err, tt.want)
		}
	}
	if _, err := ParseMap(strings.NewReader(strings.Repeat("x\n", 1000))); strings.Count(err.Error(), "\n") != maxMapErrors-1 {
		t.Error(err)
	}
}

func FuzzMap(f *testing.F) {
	f.Add("/a/*?x=** lic view asset=b host=*.c", "/a/b?x=1")
	f.Add("/%2A** lic view", "/*%2")
	f.Fuzz(func(t *testing.T, text, target string) {
		m, err := ParseMap(strings.NewReader(text))
		if err != nil {
			return
		}
		if i, item := m.match(&hit{host: "a.c", target: target}); (i >= 0) != (item != "") {
			t.Errorf("rule %d, item %q", i, item)
		}
	})
}

// licenses lists the licences that the map names, sorted.
func (m *Map) licenses() []string {
	var ids []string
	for i := range m.rules {
		ids = append(ids, m.rules[i].license)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
