package weblog

import (
	"net/netip"
	"strings"
	"time"
)

// errNoAgent says that a line of the combined format ends where one of the
// common format does.
const errNoAgent = lineError("no referrer and user agent: a line of the common format?")

// parseNCSA reads a line of the common log format, or with agent the combined
// one:
//
//	client ident user [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 512 "referrer" "agent"
//
// Anything after that is ignored. A first word host:port before the client, as
// Apache's vhost_combined writes it, is the virtual host.
func parseNCSA(line string, h *hit, agent bool) error {
	head, rest, ok := cutTime(line, h)
	if !ok {
		return lineError("no time like [17/May/2015:10:05:03 +0000]")
	}
	h.client, head, _ = strings.Cut(head, " ")
	if host, port, ok := strings.Cut(h.client, ":"); ok && host != "" && number(port) {
		if next, _, _ := strings.Cut(head, " "); next != "" && next != "-" {
			if _, err := netip.ParseAddr(next); err == nil {
				h.host, h.client = host, next
			}
		}
	}
	if h.client == "" {
		return lineError("no client address")
	}
	request, rest, ok := quoted(rest)
	if !ok {
		return lineError("no quoted request")
	}
	h.request(request)
	rest, ok = strings.CutPrefix(rest, " ")
	if !ok || len(rest) < 3 || !number(rest[:3]) || len(rest) > 3 && rest[3] != ' ' {
		return lineError("no status of three digits")
	}
	h.status = int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
	size, rest, _ := strings.Cut(strings.TrimPrefix(rest[3:], " "), " ")
	if size != "-" && !number(size) {
		return lineError("no size after the status")
	}
	if !agent {
		return nil
	}
	if rest == "" {
		return errNoAgent
	}
	h.referrer, rest, ok = quoted(rest)
	if !ok {
		return lineError("no quoted referrer")
	}
	h.agent, _, ok = quoted(strings.TrimPrefix(rest, " "))
	if !ok {
		return lineError("no quoted user agent")
	}
	if h.referrer == "-" {
		h.referrer = ""
	}
	if h.agent == "" {
		h.agent = "-"
	}
	return nil
}

// request takes the request line apart. One that is no HTTP, as clients that
// speak TLS to a plain port send it, leaves the method empty.
func (h *hit) request(line string) {
	method, rest, ok := strings.Cut(line, " ")
	if !ok || method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
		return
	}
	// A target may hold raw spaces; the protocol is behind the last.
	if i := strings.LastIndex(rest, " HTTP/"); i >= 0 {
		rest = rest[:i]
	}
	h.method, h.target = method, rest
}

// cutTime finds the bracketed time, which ends the fields that a client can
// fill with what it likes, and gives what stands before and behind it.
func cutTime(line string, h *hit) (before, after string, ok bool) {
	for from := 0; ; {
		i := strings.Index(line[from:], " [")
		if i < 0 {
			return "", "", false
		}
		i += from
		from = i + 2
		if t, ok := parseTime(line[from:]); ok {
			h.time = t
			return line[:i], line[from+28:], true
		}
	}
}

// parseTime reads "17/May/2015:10:05:03 +0000] " at the start of s.
func parseTime(s string) (int64, bool) {
	if len(s) < 28 || s[2] != '/' || s[6] != '/' || s[11] != ':' || s[14] != ':' || s[17] != ':' || s[20] != ' ' || s[26] != ']' || s[27] != ' ' {
		return 0, false
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", s[3:6])
	if month < 0 || month%3 != 0 {
		return 0, false
	}
	for _, d := range [...]string{s[0:2], s[7:11], s[12:14], s[15:17], s[18:20], s[22:26]} {
		if !number(d) {
			return 0, false
		}
	}
	t, ok := unix(atoi(s[7:11]), month/3+1, atoi(s[0:2]), atoi(s[12:14]), atoi(s[15:17]), atoi(s[18:20]))
	offset := int64(atoi(s[22:24])*3600 + atoi(s[24:26])*60)
	switch s[21] {
	case '+':
		return t - offset, ok
	case '-':
		return t + offset, ok
	}
	return 0, false
}

// unix checks a date and time in UTC. The sixtieth second is a leap second.
func unix(year, month, day, hour, minute, second int) (int64, bool) {
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	ok := year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31 &&
		hour < 24 && minute < 60 && second <= 60 &&
		time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() == day
	return t.Unix(), ok
}

// quoted takes a quoted string off the start of s and undoes its escapes.
func quoted(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if escaped {
				return unescape(s[1:i]), s[i+1:], true
			}
			return s[1:i], s[i+1:], true
		}
	}
	return "", "", false
}

// unescape undoes what Apache (\" \\ \t \xhh) and nginx (\xHH) write for bytes
// that would break a line. Other escapes stay as they are.
func unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte(c)
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'x':
			if i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0 {
				b.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
				i += 2
				continue
			}
			b.WriteString(`\x`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// number tells whether s is one or more digits.
func number(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// atoi reads a few digits that number has seen.
func atoi(s string) int {
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// canonicalAddress gives one spelling to every spelling of an address.
func canonicalAddress(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(s)
}
