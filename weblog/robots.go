package weblog

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

//go:embed counter_bots.json
var counterBots []byte

// Robots is a list of patterns of user agents of robots. Most patterns are plain
// words and most of the others hold only at the start; looked for as such they
// take a twentieth of the time of one expression of all.
type Robots struct {
	n        int
	words    []string         // lower case
	starts   []*regexp.Regexp // anchored at the start
	anywhere *regexp.Regexp   // the others
	all      *regexp.Regexp   // every pattern, for user agents that are not ASCII
}

// CounterRobots is COUNTER's list of robots, as shipped in counter_bots.json.
func CounterRobots() (*Robots, error) { return ParseRobots(counterBots) }

// ParseRobots reads a list in COUNTER's form, [{"pattern": "…"}, …]: regular
// expressions, matched anywhere in a user agent and whatever the case. They are
// written for engines that backtrack; one that asks for more than Go's linear
// engine does (look-around, back references) is an error that names it, since
// to leave it out would count a robot. Every pattern of the shipped list
// compiles.
func ParseRobots(b []byte) (*Robots, error) {
	var list []struct {
		Pattern string `json:"pattern"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("robot list: %w", err)
	}
	var faults []error
	var anywhere, all []string
	robots := &Robots{n: len(list)}
	for _, r := range list {
		tree, err := syntax.Parse(r.Pattern, syntax.Perl|syntax.FoldCase)
		if r.Pattern == "" {
			err = errors.New("it is empty and would match every user agent")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("robot list: pattern %q cannot be used: %w", r.Pattern, err))
			continue
		}
		group := `(?:` + r.Pattern + `)`
		all = append(all, group)
		switch word := strings.ToLower(string(tree.Rune)); {
		case tree.Op == syntax.OpLiteral && ascii(word):
			robots.words = append(robots.words, word)
		case tree.Op == syntax.OpConcat && tree.Sub[0].Op == syntax.OpBeginText:
			robots.starts = append(robots.starts, regexp.MustCompile(`(?i)`+r.Pattern))
		default:
			anywhere = append(anywhere, group)
		}
	}
	if len(list) == 0 {
		faults = append(faults, errors.New("robot list: no patterns"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	var err1, err2 error
	robots.all, err1 = regexp.Compile(`(?i)` + strings.Join(all, "|"))
	if len(anywhere) > 0 {
		robots.anywhere, err2 = regexp.Compile(`(?i)` + strings.Join(anywhere, "|"))
	}
	if err := errors.Join(err1, err2); err != nil { // too large together
		return nil, fmt.Errorf("robot list: %w", err)
	}
	return robots, nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Match tells whether a user agent is that of a robot. A missing user agent is
// "-", as logs write it, and matches COUNTER's "^.?$".
func (r *Robots) Match(agent string) bool {
	if !ascii(agent) {
		// Case has more than two sides there.
		return r.all.MatchString(agent)
	}
	lower := strings.ToLower(agent)
	for _, w := range r.words {
		if strings.Contains(lower, w) {
			return true
		}
	}
	for _, exp := range r.starts {
		if exp.MatchString(agent) {
			return true
		}
	}
	return r.anywhere != nil && r.anywhere.MatchString(agent)
}

// agent is what a user agent tells.
type agent struct {
	robot  bool
	device string
}

// agents remembers what user agents tell: matching one takes longer than
// reading its line, and a log has few. Memory is bounded by two generations: when
// the young one is full it becomes the old one.
type agents struct {
	robots     *Robots
	young, old map[string]agent
}

const agentGeneration = 8192

func newAgents(r *Robots) *agents {
	return &agents{robots: r, young: map[string]agent{}}
}

func (a *agents) of(name string) agent {
	if v, ok := a.young[name]; ok {
		return v
	}
	v, ok := a.old[name]
	if !ok && name != "" { // the common format has no user agents
		v = agent{robot: a.robots.Match(name), device: device(name)}
	}
	if len(a.young) >= agentGeneration {
		a.old, a.young = a.young, make(map[string]agent, agentGeneration)
	}
	a.young[strings.Clone(name)] = v
	return v
}

// Words that tell a device, in the order in which they are looked for: a
// television's user agent may name Android, a tablet's may say Mobile.
var (
	tvWords      = []string{"smarttv", "smart-tv", "smart tv", "appletv", "apple tv", "googletv", "android tv", "hbbtv", "netcast", "web0s", "webos.tv", "roku", "crkey", "bravia", "viera", " aft", "playstation", "xbox", "nintendo"}
	tabletWords  = []string{"ipad", "tablet", "kindle", "silk/", "playbook"}
	mobileWords  = []string{"mobi", "iphone", "ipod", "blackberry", "opera mini", "windows phone", "windows ce", "symbian", "midp", "nokia"}
	desktopWords = []string{"windows", "macintosh", "x11", "cros", "linux", "bsd"}
)

// device tells the kind of device from what the user agent says of itself, no
// finer than that can be told honestly.
func device(agent string) string {
	s := strings.ToLower(agent)
	has := func(words []string) bool {
		for _, w := range words {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has(tvWords):
		return "tv"
	case has(tabletWords):
		return "tablet"
	case has(mobileWords):
		return "mobile"
	case strings.Contains(s, "android"): // without "mobile", by Google's convention
		return "tablet"
	case has(desktopWords):
		return "desktop"
	}
	return "other"
}
