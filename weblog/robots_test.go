package weblog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// onePerPattern matches the list as it is written, one expression after the other.
func onePerPattern(t testing.TB) func(string) bool {
	t.Helper()
	var list []struct{ Pattern string }
	if err := json.Unmarshal(counterBots, &list); err != nil {
		t.Fatal(err)
	}
	var all []*regexp.Regexp
	for _, r := range list {
		all = append(all, regexp.MustCompile("(?i)"+r.Pattern))
	}
	return func(agent string) bool {
		for _, exp := range all {
			if exp.MatchString(agent) {
				return true
			}
		}
		return false
	}
}

var someAgents = []string{
	"-", "", "x", "xy", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "GOOGLEBOT",
	"curl/7.22.0", "java/1.6", "Java/1.8.0_45", "my java/1.6", "catfish", "afish", "破解后的", "脝脝陆芒潞贸碌脛", "破解后的 ",
	"Mozilla/5.0", "mozilla/5x0", "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36", "s\u017Fpider", "\u212Aind", "cr\u0430wl",
	"Alexandria prototype project", "Alexandria+prototype+project", "daumoa", "%default", "IDA", "IDA ", "W3AF.org", "link-check",
}

func TestRobotsMatchAsWritten(t *testing.T) {
	t.Parallel()
	robots, err := CounterRobots()
	if err != nil {
		t.Fatal(err)
	}
	want := onePerPattern(t)
	agents := append([]string{}, someAgents...)
	im, err := New(Options{Map: mapOf(t, "/a lic view")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := im.stream(Source{Open: func() (io.ReadCloser, error) {
		return os.Open(samples + "/apache_combined_10k.log.gz")
	}}, &run{report: newReport(), now: time.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.Close()
	seen := map[string]bool{}
	for {
		h, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !seen[h.agent] {
			seen[h.agent] = true
			agents = append(agents, h.agent)
		}
	}
	n := 0
	for _, a := range agents {
		if got := robots.Match(a); got != want(a) {
			t.Errorf("%q: %v", a, got)
		} else if got {
			n++
		}
	}
	if n < 80 || n == len(agents) {
		t.Errorf("%d of %d are robots", n, len(agents))
	}
}

func FuzzRobots(f *testing.F) {
	for _, a := range someAgents {
		f.Add(a)
	}
	robots, err := CounterRobots()
	if err != nil {
		f.Fatal(err)
	}
	want := onePerPattern(f)
	f.Fuzz(func(t *testing.T, agent string) {
		if got := robots.Match(agent); got != want(agent) {
			t.Errorf("%q: %v", agent, got)
		}
	})
}

func TestRobotList(t *testing.T) {
	t.Parallel()
	robots, err := CounterRobots()
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(counterBots, []byte(`"pattern"`)); robots.n != n || n < 300 {
		t.Errorf("%d patterns of %d", robots.n, n)
	}
	if len(robots.words) < 200 || len(robots.starts) < 30 {
		t.Errorf("%d words, %d starts: slow", len(robots.words), len(robots.starts))
	}
	for _, tt := range []struct{ list, want string }{
		{`[{"pattern": "fine"}, {"pattern": "bad(?=look)"}, {"pattern": "(a)\\1"}]`, `pattern "bad(?=look)" cannot be used`},
		{`[{"pattern": "(a)\\1"}]`, `pattern "(a)\\1" cannot be used`},
		{`[{"pattern": "a)|(b"}]`, `cannot be used`},
		{`[{"pattern": ""}]`, `would match every user agent`},
		{`[]`, "no patterns"},
		{`{`, "robot list"},
	} {
		if _, err := ParseRobots([]byte(tt.list)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.list, err)
		}
	}
	own, err := ParseRobots([]byte(`[{"pattern": "^probe"}, {"pattern": "my-?crawler"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if !own.Match("Probe 1") || own.Match("a probe") || !own.Match("see MyCrawler") || own.Match("Googlebot") {
		t.Error("a list of one's own")
	}
	words, err := ParseRobots([]byte(`[{"pattern": "word"}]`))
	if err != nil || words.Match("w") || !words.Match("WORDS") {
		t.Error("a list of words alone", err)
	}
}

func TestAgentsAreRememberedWithinBounds(t *testing.T) {
	t.Parallel()
	robots, err := ParseRobots([]byte(`[{"pattern": "bot"}]`))
	if err != nil {
		t.Fatal(err)
	}
	a := newAgents(robots)
	for i := range 3 * agentGeneration {
		if !a.of(fmt.Sprintf("bot %d", i)).robot || a.of("person").robot {
			t.Fatal(i)
		}
		if n := len(a.young) + len(a.old); n > 2*agentGeneration {
			t.Fatalf("%d are held", n)
		}
	}
	if v := a.of(""); v.robot || v.device != "" {
		t.Errorf("no user agent in the format: %+v", v)
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 Chrome/32.0":                         "desktop",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) Safari/537.36":                               "desktop",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/120.0":                                      "desktop",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148":                       "mobile",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/120.0 Mobile Safari/537.36":                 "mobile",
		"Mozilla/5.0 (Linux; Android 13; SM-X700) Chrome/120.0 Safari/537.36":                        "tablet",
		"Mozilla/5.0 (iPad; CPU OS 7_0 like Mac OS X) Version/7.0 Mobile/11A465":                     "tablet",
		"Mozilla/5.0 (Linux; Android 9; AFTMM) AppleWebKit/537.36 Chrome/100.0 Mobile Safari/537.36": "tv",
		"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) Version/6.0 TV Safari/537.36":                      "tv",
		"Mozilla/5.0 (Web0S; Linux/SmartTV) Chrome/79.0":                                             "tv",
		"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1)":                                                     "mobile",
		"something":                                                                                  "other",
		"-":                                                                                          "other",
	} {
		if got := device(agent); got != want {
			t.Errorf("%s: %s, want %s", agent, got, want)
		}
	}
}
