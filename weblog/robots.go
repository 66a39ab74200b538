package weblog

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

//go:embed counter_bots.json
var counterBots []byte

// Robots is a list of patterns of user agents of robots.
type Robots struct {
	any *regexp.Regexp
	n   int
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
	var all strings.Builder
	all.WriteString(`(?i)`)
	for i, r := range list {
		// Apart first, so that no pattern can break out of its group.
		if _, err := regexp.Compile(`(?i)` + r.Pattern); err != nil || r.Pattern == "" {
			faults = append(faults, fmt.Errorf("robot list: pattern %q cannot be used: %w", r.Pattern, errors.Join(err, emptyPattern(r.Pattern))))
			continue
		}
		if i > 0 {
			all.WriteByte('|')
		}
		all.WriteString(`(?:` + r.Pattern + `)`)
	}
	if len(list) == 0 {
		faults = append(faults, errors.New("robot list: no patterns"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	exp, err := regexp.Compile(all.String())
	if err != nil {
		return nil, fmt.Errorf("robot list: %w", err)
	}
	return &Robots{any: exp, n: len(list)}, nil
}

func emptyPattern(p string) error {
	if p == "" {
		return errors.New("it is empty and would match every user agent")
	}
	return nil
}

// Len is the number of patterns.
func (r *Robots) Len() int { return r.n }

// Match tells whether a user agent is that of a robot. A missing user agent is
// "-", as logs write it, and matches COUNTER's "^.?$".
func (r *Robots) Match(agent string) bool { return r.any.MatchString(agent) }

// agent is what a user agent tells.
type agent struct {
	robot  bool
	device string
}

// agents remembers what user agents tell: matching one takes as long as parsing
// a hundred lines, and a log has few. Memory is bounded by two generations: when
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
