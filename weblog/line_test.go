package weblog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// noon is the clock of the tests: long after the lines they read, unless said
// otherwise.
var noon = time.Date(2015, 5, 18, 12, 0, 0, 0, time.UTC)

const may17 = 1431857103 // 17 May 2015, 10:05:03 UTC

func newStream(text string, f Format) *stream {
	return &stream{
		file: io.NopCloser(nil), buf: bufio.NewReaderSize(strings.NewReader(text), maxLine),
		format: f, report: newReport(), now: noon.Unix(),
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	const fields = "#Version: 1.0\n#Fields: date time x-edge-location c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query x-host-header\n"
	tests := []struct {
		name   string
		format Format
		text   string
		want   hit
		fault  string
	}{
		{"combined", Combined, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a.png HTTP/1.1" 200 512 "http://x.org/" "Mozilla/5.0"`,
			hit{may17, "10.0.0.1", "", "GET", "/a.png", 200, "http://x.org/", "Mozilla/5.0"}, ""},
		{"zone", Combined, `h.example - ann [17/May/2015:12:35:03 +0230] "GET / HTTP/1.1" 304 - "-" "-" extra "x"`,
			hit{may17, "h.example", "", "GET", "/", 304, "", "-"}, ""},
		{"zone west", Combined, `1.2.3.4 - - [17/May/2015:05:05:03 -0500] "GET / HTTP/1.1" 304 - "-" ""`,
			hit{may17, "1.2.3.4", "", "GET", "/", 304, "", "-"}, ""},
		{"escapes", Combined, `2001:db8::1 - - [17/May/2015:10:05:03 +0000] "GET /a\"b HTTP/1.1" 200 5 "-" "a \"q\" \x22r\x22 \\ \t \z \xzz"`,
			hit{may17, "2001:db8::1", "", "GET", `/a"b`, 200, "", "a \"q\" \"r\" \\ \t \\z \\xzz"}, ""},
		{"user with brackets and spaces", Combined, `1.2.3.4 - a [b] "c [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.0" 200 5 "-" "u"`,
			hit{may17, "1.2.3.4", "", "HEAD", "/", 200, "", "u"}, ""},
		{"virtual host", Combined, `www.x.org:443 2001:db8::1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "u"`,
			hit{may17, "2001:db8::1", "www.x.org", "GET", "/", 200, "", "u"}, ""},
		{"target with spaces", Combined, `1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a b HTTP/1.1" 200 5 "-" "u"`,
			hit{may17, "1.2.3.4", "", "GET", "/a b", 200, "", "u"}, ""},
		{"no request", Combined, `1.2.3.4 - - [17/May/2015:10:05:03 +0000] "-" 408 - "-" "-"`,
			hit{may17, "1.2.3.4", "", "", "", 408, "", "-"}, ""},
		{"TLS on a plain port", Combined, `1.2.3.4 - - [17/May/2015:10:05:03 +0000] "\x16\x03 \x01" 400 226 "-" "-"`,
			hit{may17, "1.2.3.4", "", "", "", 400, "", "-"}, ""},
		{"common", Common, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a.png HTTP/1.1" 200 512`,
			hit{may17, "10.0.0.1", "", "GET", "/a.png", 200, "", ""}, ""},
		{"auto combined", Auto, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "-" "u"`,
			hit{may17, "10.0.0.1", "", "GET", "/", 200, "", "u"}, ""},
		{"auto common", Auto, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /\"a HTTP/1.1" 200 512`,
			hit{may17, "10.0.0.1", "", "GET", `/"a`, 200, "", ""}, ""},
		{"auto CloudFront", Auto, fields + "2015-05-17\t10:05:03\tSEA19-C1\t2001:db8::1\tGET\td1.cloudfront.net\t/a%20b.png\t200\thttp://x.org/a%20b\tMozilla/5.0%20(X11)\tid=7\twww.x.org",
			hit{may17, "2001:db8::1", "www.x.org", "GET", "/a%20b.png?id=7", 200, "http://x.org/a%20b", "Mozilla/5.0 (X11)"}, ""},
		{"CloudFront, missing and twice encoded", CloudFront, fields + "2015-05-17\t10:05:03\tSEA19-C1\t1.2.3.4\tGET\td1.cloudfront.net\t/\t200\t-\tMozilla/5.0%2520(X11)\t-\t-",
			hit{may17, "1.2.3.4", "d1.cloudfront.net", "GET", "/", 200, "", "Mozilla/5.0 (X11)"}, ""},
		{"CloudFront without agent", CloudFront, fields + "2015-05-17\t10:05:03\tSEA19-C1\t1.2.3.4\tGET\t-\t/\t000\t-\t-\t-\t-",
			hit{may17, "1.2.3.4", "", "GET", "/", 0, "", "-"}, ""},

		{"combined expected", Combined, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512`, hit{}, "a line of the common format?"},
		{"cut off", Combined, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "-" "Mozi`, hit{}, "user agent"},
		{"bad status", Combined, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 2000 512 "-" "u"`, hit{}, "status"},
		{"no date", Combined, `10.0.0.1 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "-" "u"`, hit{}, "no time"},
		{"month between months", Combined, `10.0.0.1 - - [17/anF/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "-" "u"`, hit{}, "no time"},
		{"future", Combined, `10.0.0.1 - - [17/May/2055:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "-" "u"`, hit{}, "future"},
		{"too long", Combined, `10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /` + strings.Repeat("a", maxLine) + ` HTTP/1.1" 200 512 "-" "u"`, hit{}, "64 KiB"},
		{"noise", Auto, "hello", hit{}, "neither"},
		{"CloudFront without header", CloudFront, "2015-05-17\t10:05:03", hit{}, "no #Fields"},
		{"CloudFront header lacks a field", CloudFront, "#Fields: date time\n2015-05-17\t10:05:03", hit{}, "lacks c-ip"},
		{"CloudFront short", CloudFront, fields + "2015-05-17\t10:05:03\tSEA", hit{}, "not as many"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStream("\n"+tt.text+"\r\n", tt.format)
			h, err := s.next()
			if tt.fault != "" {
				if !errors.Is(err, io.EOF) || s.report.Malformed != 1 || !strings.Contains(s.report.Problems[0].Reason, tt.fault) {
					t.Fatalf("hit %+v, error %v, report %+v", h, err, s.report.Report)
				}
				if want := int64(2 + strings.Count(tt.text, "\n")); s.report.Problems[0].Line != want {
					t.Errorf("line %d, want %d", s.report.Problems[0].Line, want)
				}
				return
			}
			if err != nil || *h != tt.want {
				t.Fatalf("got %+v, %v %+v\nwant %+v", h, err, s.report.Problems, tt.want)
			}
		})
	}
}

func TestReportsFirstBrokenLinesOnly(t *testing.T) {
	t.Parallel()
	s := newStream(strings.Repeat("junk\n", 50), Combined)
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if s.report.Malformed != 50 || len(s.report.Problems) != maxProblems {
		t.Errorf("%d, %d", s.report.Malformed, len(s.report.Problems))
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	for _, name := range Formats {
		if _, err := ParseFormat(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseFormat("iis"); err == nil || !strings.Contains(err.Error(), "cloudfront") {
		t.Error(err)
	}
}

func TestCompressedLogCutShort(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 1000 {
		io.WriteString(z, line(may17, "1.1.1.1", "/a", "agent")) //nolint:errcheck // into memory
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := read(t, Options{Map: mapOf(t, "/a lic view")}, b.String()[:b.Len()-20])
	if err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("error %v", err)
	}
	if _, _, err := read(t, Options{Map: mapOf(t, "/a lic view")}, b.String()); err != nil {
		t.Error(err)
	}
	// Logs are rotated by appending one compressed part to another.
	if r, _, err := read(t, Options{Map: mapOf(t, "/a lic view")}, b.String()+b.String()); err != nil || r.Lines != 2000 {
		t.Error(r, err)
	}
}

func fuzzFormat(f *testing.F, format Format, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	m, err := ParseMap(strings.NewReader("/** lic view\n"))
	if err != nil {
		f.Fatal(err)
	}
	im, err := New(Options{Map: m, Format: format, Final: true, Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, events, err := readWith(t, im, text)
		if err != nil {
			return // broken gzip
		}
		balanced(t, r)
		for i := range events {
			if err := events[i].Validate(); err != nil {
				t.Fatalf("%+v: %v", events[i], err)
			}
		}
	})
}

func FuzzCombined(f *testing.F) {
	fuzzFormat(f, Combined,
		`10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a\"b?c HTTP/1.1" 200 512 "http://x.org/" "Mozilla/5.0 \x22"`+"\n",
		`www.x.org:443 ::1 - a [b [17/May/2015:10:05:03 -0130] "GET http://y.org/%zz HTTP/1.1" 304 - "-" "Mozilla`)
}

func FuzzCommon(f *testing.F) {
	fuzzFormat(f, Common,
		`10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 512`+"\n",
		`fe80::1%eth0 - - [17/May/2015:10:05:60 +0000] "\x16\x03" 400 -`)
}

func FuzzCloudFront(f *testing.F) {
	fuzzFormat(f, CloudFront,
		"#Fields: date time c-ip cs-method cs-uri-stem sc-status cs(User-Agent)\n2015-05-17\t10:05:03\t1.2.3.4\tGET\t/a%20b\t200\tMozilla%2520X\n",
		"#Fields: date date time c-ip cs-method sc-status cs-uri-stem\n2015-05-17\t-\t10:05:03\t-\tGET\t200\t-")
}

func FuzzAuto(f *testing.F) {
	fuzzFormat(f, Auto, "#Fields: date\n\n\x1f\x8b", "\x1f\x8b\x08\x00", "junk\n"+`1.1.1.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 512`)
}
