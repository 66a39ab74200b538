package weblog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/usance/usance"
)

// Map says which paths are whose usage. It is a text file with a rule a line:
//
//	# pattern                  licence       usage type   options
//	/images/portrait.png       lic_portrait  view
//	/images/portrait-*.png     lic_portrait  view         asset=portrait
//	/papers/**                 lic_papers    download     host=*.example.com
//	/get?id=paper-7            lic_papers    download     platform=web device=desktop
//
// A pattern is matched against the whole path, percent-decoded. In it, * stands
// for any characters but the slash, ** for any characters, %XX for a byte (%2A
// is a star, %20 a space). The query of a request is ignored, unless the
// pattern has one: then each parameter named there must have the value or match
// the pattern given, in whichever order; others are ignored.
//
// Options: host=NAME or host=*.NAME (a log that names no hosts never matches
// it), asset=ID (all the paths of the rule are one item for the double-click
// rule), platform= and device= (instead of web and of what the user agent says).
//
// The first rule that matches wins. Blank lines and lines that begin with # are
// passed over; so is the rest of a line after a # behind a space.
type Map struct {
	rules []rule
	exact map[string][]int // rules whose path has no star, by path
	globs []int            // the others, in order
}

type rule struct {
	line      int
	path      string // decoded, when exact
	prefix    string // literal start of a glob
	glob      *regexp.Regexp
	host      string // lower case; "*.name" for any host below it
	query     []param
	license   string
	asset     string
	usageType string
	platform  string
	device    string
}

type param struct {
	name  string
	value *regexp.Regexp
}

const (
	maxMapLine   = 4 << 10
	maxMapErrors = 10
)

// ParseMap reads a map. Its error names each line at fault.
func ParseMap(r io.Reader) (*Map, error) {
	m := &Map{exact: map[string][]int{}}
	seen := map[string]int{}
	var faults []error
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, maxMapLine), maxMapLine)
	n := 0
	for scan.Scan() {
		n++
		text := scan.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		words := mapWords(text)
		if len(words) == 0 {
			continue
		}
		ru, err := parseRule(words)
		if err == nil && !utf8.ValidString(text) {
			err = errors.New("is not UTF-8")
		}
		same := words[0] + " " + ru.host
		if first, ok := seen[same]; ok && err == nil {
			err = fmt.Errorf("%s can never match: line %d has the same pattern", words[0], first)
		}
		if err != nil {
			if faults = append(faults, fmt.Errorf("line %d: %w", n, err)); len(faults) == maxMapErrors {
				break
			}
			continue
		}
		seen[same] = n
		ru.line = n
		if ru.glob == nil {
			m.exact[ru.path] = append(m.exact[ru.path], len(m.rules))
		} else {
			m.globs = append(m.globs, len(m.rules))
		}
		m.rules = append(m.rules, ru)
	}
	switch err := scan.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		faults = append(faults, fmt.Errorf("line %d: longer than %d bytes", n+1, maxMapLine))
	case err != nil:
		return nil, err
	}
	if len(faults) == 0 && len(m.rules) == 0 {
		faults = append(faults, errors.New("the map has no rules"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return m, nil
}

func mapWords(text string) []string {
	words := strings.Fields(text)
	for i, w := range words {
		if w[0] == '#' {
			return words[:i]
		}
	}
	return words
}

func parseRule(words []string) (ru rule, err error) {
	if len(words) < 3 {
		return ru, fmt.Errorf("want pattern, licence and usage type, got %d of the 3", len(words))
	}
	if err := ru.pattern(words[0]); err != nil {
		return ru, fmt.Errorf("pattern %s: %w", words[0], err)
	}
	ru.license, ru.usageType, ru.platform = words[1], words[2], "web"
	if err := usance.ValidateID("licence", ru.license); err != nil {
		return ru, plain(err)
	}
	if err := usance.ValidateUsageType(ru.usageType); err != nil {
		return ru, plain(err)
	}
	var given []string
	for _, w := range words[3:] {
		name, value, ok := strings.Cut(w, "=")
		if !ok || value == "" {
			return ru, fmt.Errorf("option %q: want name=value", w)
		}
		if slices.Contains(given, name) {
			return ru, fmt.Errorf("option %s is given twice", name)
		}
		given = append(given, name)
		switch name {
		case "asset":
			ru.asset, err = value, usance.ValidateID("asset", value)
		case "host":
			ru.host = strings.ToLower(value)
			if strings.ContainsAny(strings.TrimPrefix(ru.host, "*."), "*/:") {
				err = fmt.Errorf("host=%s: want a name or *.name", value)
			}
		case "platform":
			ru.platform = value
			if !slices.Contains(usance.Platforms, value) {
				err = fmt.Errorf("platform=%s: want one of %s", value, strings.Join(usance.Platforms, ", "))
			}
		case "device":
			ru.device = value
			if !slices.Contains(usance.DeviceTypes, value) {
				err = fmt.Errorf("device=%s: want one of %s", value, strings.Join(usance.DeviceTypes, ", "))
			}
		default:
			err = fmt.Errorf("unknown option %s: want asset, host, platform or device", name)
		}
		if err != nil {
			return ru, plain(err)
		}
	}
	return ru, nil
}

// plain drops the API's code from an error of the root's validation.
func plain(err error) error {
	var e *usance.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s %s", e.Field, e.Message)
	}
	return err
}

func (ru *rule) pattern(s string) error {
	path, query, hasQuery := strings.Cut(s, "?")
	if path == "" || path[0] != '/' {
		return errors.New("must begin with a slash; name a host by host=")
	}
	exp, literal, stars, err := glob(path, `[^/]*`)
	if err != nil {
		return err
	}
	if stars {
		ru.glob, ru.prefix = exp, literal
	} else {
		ru.path = literal
	}
	if !hasQuery {
		return nil
	}
	for p := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" || strings.Contains(name, "*") {
			return fmt.Errorf("parameter %q: want name=value", p)
		}
		if name, err = url.PathUnescape(name); err != nil {
			return err
		}
		exp, _, _, err := glob(value, `.*`)
		if err != nil {
			return err
		}
		ru.query = append(ru.query, param{name: name, value: exp})
	}
	return nil
}

// glob turns a pattern with stars into an expression for what it matches, and
// gives what stands before the first star. A regular expression, since those of
// Go match in linear time whatever the pattern.
func glob(s, star string) (exp *regexp.Regexp, literal string, stars bool, err error) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for s != "" {
		switch {
		case strings.HasPrefix(s, "**"):
			b.WriteString(`.*`)
			s, stars = strings.TrimLeft(s, "*"), true
		case s[0] == '*':
			b.WriteString(star)
			s, stars = s[1:], true
		default:
			end := strings.IndexByte(s, '*')
			if end < 0 {
				end = len(s)
			}
			plain, err := url.PathUnescape(s[:end])
			if err != nil {
				return nil, "", false, fmt.Errorf("%w; write a percent sign as %%25", err)
			}
			if !stars {
				literal += plain
			}
			if !utf8.ValidString(plain) {
				return nil, "", false, errors.New("is not UTF-8 when decoded")
			}
			b.WriteString(regexp.QuoteMeta(plain))
			s = s[end:]
		}
	}
	b.WriteString(`\z`)
	exp, err = regexp.Compile(b.String())
	return exp, literal, stars, err
}

// match finds the first rule for a request and names the item; -1 when there is
// none.
func (m *Map) match(h *hit) (int, string) {
	host, path, query := splitTarget(h)
	if path == "" {
		return -1, ""
	}
	best := -1
	for _, i := range m.exact[path] {
		if m.rules[i].matches(host, query) {
			best = i
			break
		}
	}
	for _, i := range m.globs {
		if best >= 0 && i > best {
			break
		}
		ru := &m.rules[i]
		if strings.HasPrefix(path, ru.prefix) && ru.glob.MatchString(path) && ru.matches(host, query) {
			best = i
			break
		}
	}
	if best < 0 {
		return -1, ""
	}
	return best, m.rules[best].item(host, path, query)
}

func (ru *rule) matches(host, query string) bool {
	if ru.host != "" && ru.host != host {
		below, ok := strings.CutPrefix(ru.host, "*")
		if !ok || !strings.HasSuffix(host, below) || len(host) == len(below) {
			return false
		}
	}
	for _, p := range ru.query {
		if v, ok := parameter(query, p.name); !ok || !p.value.MatchString(v) {
			return false
		}
	}
	return true
}

// item names what was clicked. The host is a part of it only when the rule asks
// for one, so that a log names the same item with and without hosts.
func (ru *rule) item(host, path, query string) string {
	if ru.asset != "" {
		return "asset:" + ru.asset
	}
	var b strings.Builder
	if ru.host != "" {
		b.WriteString(host)
	}
	b.WriteString(path)
	for i, p := range ru.query {
		v, _ := parameter(query, p.name)
		b.WriteString([]string{"?", "&"}[min(i, 1)])
		b.WriteString(url.QueryEscape(p.name) + "=" + url.QueryEscape(v))
	}
	return b.String()
}

// parameter is the first value of a query parameter.
func parameter(query, name string) (string, bool) {
	for p := range strings.SplitSeq(query, "&") {
		n, v, _ := strings.Cut(p, "=")
		if u, err := url.QueryUnescape(n); err == nil {
			n = u
		}
		if n != name || p == "" {
			continue
		}
		if u, err := url.QueryUnescape(v); err == nil {
			v = u
		}
		return v, true
	}
	return "", false
}

// splitTarget gives host, decoded path and raw query of a request. The path is
// empty when the target is none, as that of OPTIONS * or CONNECT.
func splitTarget(h *hit) (host, path, query string) {
	host, path = h.host, h.target
	if i := strings.Index(path, "://"); i > 0 && path[0] != '/' {
		path = path[i+3:]
		if i := strings.IndexAny(path, "/?#"); i >= 0 {
			host, path = path[:i], path[i:]
		} else {
			host, path = path, "/"
		}
	}
	if i := strings.IndexByte(path, '#'); i >= 0 {
		path = path[:i]
	}
	path, query, _ = strings.Cut(path, "?")
	if path == "" || path[0] != '/' {
		return "", "", ""
	}
	if strings.Contains(path, "%") {
		if p, err := url.PathUnescape(path); err == nil {
			path = p
		}
	}
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && number(host[i+1:]) {
		host = host[:i]
	}
	return host, path, query
}
