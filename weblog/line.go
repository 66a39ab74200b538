package weblog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/usance/usance"
)

// maxLine bounds a line of a log; a longer one is malformed.
const maxLine = 64 << 10

// Format of an access log.
type Format string

// The formats. Auto tells the format by the first line.
const (
	Auto       Format = ""
	Combined   Format = "combined"   // Apache and nginx; with or without the virtual host in front
	Common     Format = "common"     // the same without referrer and user agent
	CloudFront Format = "cloudfront" // standard logs: tab-separated W3C with a #Fields header
)

// Formats are the names that ParseFormat takes.
var Formats = []string{"auto", string(Combined), string(Common), string(CloudFront)}

// ParseFormat reads the name of a format; "auto" and "" are Auto.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "auto", Auto:
		return Auto, nil
	case Combined, Common, CloudFront:
		return f, nil
	}
	return Auto, fmt.Errorf("unknown log format %q: use one of %s", s, strings.Join(Formats, ", "))
}

// hit is one request line.
type hit struct {
	time     int64 // seconds since 1970
	client   string
	host     string // "" when the log does not say
	method   string // "" when the request line is no HTTP
	target   string // as requested: path and query, percent-encoded
	status   int
	referrer string // "" when there is none
	agent    string // "-" when the client sent none, "" when the format has none
}

// lineError says what is wrong with a line.
type lineError string

func (e lineError) Error() string { return string(e) }

// stream reads the hits of one log.
type stream struct {
	name   string
	file   io.Closer
	buf    *bufio.Reader
	format Format
	fields *w3cFields // of the last #Fields header
	report *report
	final  bool
	now    int64

	line   int64
	newest int64
	quiet  bool // looking where the log begins: nothing is reported
	h      hit
}

// next reads the next hit, valid until the call after. Broken lines are
// reported and passed over.
func (s *stream) next() (*hit, error) {
	for {
		text, whole, err := s.read()
		if err != nil {
			return nil, err
		}
		if text == "" || s.header(text) {
			continue
		}
		s.h = hit{}
		err = s.parse(text)
		if err == nil && s.h.time > s.now+int64(usance.MaxAhead/time.Second) {
			// A wrong clock would close every chain before its time.
			err = lineError("its time lies in the future")
		}
		if err == nil {
			s.newest = max(s.newest, s.h.time)
		}
		if !whole && !s.final && (s.newest == 0 || s.newest > s.now-int64(settled/time.Second)) {
			// The rest of the line is still to come, and may change what it says.
			if !s.quiet {
				s.report.Lines++
				s.report.Unfinished++
			}
			continue
		}
		if !s.quiet {
			s.report.Lines++
			if err != nil {
				s.report.malformed(s.name, s.line, err)
			}
		}
		if err != nil {
			continue
		}
		return &s.h, nil
	}
}

// read gives the next line without its end, and whether it had one. Of a line
// that is too long it gives the beginning, which no parser takes for a whole.
func (s *stream) read() (text string, whole bool, err error) {
	b, err := s.buf.ReadSlice('\n')
	s.line++
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = s.buf.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", false, s.fail(err)
		}
		return tooLong, true, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, s.fail(err)
	}
	if err != nil && len(b) == 0 {
		return "", false, io.EOF
	}
	whole = err == nil
	text = strings.TrimRight(string(b), "\r\n")
	if strings.TrimSpace(text) == "" {
		text = ""
	}
	return text, whole, nil
}

// tooLong stands for a line of more than maxLine bytes; none can be read as it,
// since lines end at a line feed.
const tooLong = "\n"

func (s *stream) fail(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: the compressed log is cut short after line %d; import it again when it is complete", s.name, s.line-1)
	}
	return fmt.Errorf("%s: line %d: %w", s.name, s.line, err)
}

// header takes the lines that are about the log and not in it.
func (s *stream) header(text string) bool {
	if text[0] != '#' {
		return false
	}
	if names, ok := strings.CutPrefix(text, "#Fields:"); ok {
		s.fields = newW3CFields(names)
		if s.format == Auto {
			s.format = CloudFront
		}
	}
	return true
}

func (s *stream) parse(text string) error {
	if text == tooLong {
		return lineError("longer than 64 KiB")
	}
	switch s.format {
	case Combined:
		return parseNCSA(text, &s.h, true)
	case Common:
		return parseNCSA(text, &s.h, false)
	case CloudFront:
		return s.fields.parse(text, &s.h)
	}
	// The first line that can be read tells the format.
	switch err := parseNCSA(text, &s.h, true); err {
	case nil:
		s.format = Combined
		return nil
	case errNoAgent:
		s.h, s.format = hit{}, Common
		return parseNCSA(text, &s.h, false)
	}
	return lineError("neither the combined nor the common nor the CloudFront format")
}
