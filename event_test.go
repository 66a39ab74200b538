package usance

import (
	"strings"
	"testing"
)

func TestSourceHost(t *testing.T) {
	for referrer, want := range map[string]string{
		"":                                     "(direct)",
		"https://Example.COM/a?b#c":            "example.com",
		"example.com":                          "example.com",
		"//example.com/path":                   "example.com",
		"https://user:secret@example.com:8443": "example.com",
		"http://[2001:db8::1]:80/":             "[2001:db8::1]",
		"http://[2001:db8::1]/":                "[2001:db8::1]",
		"https://":                             "(invalid)",
		"/a/path":                              "(invalid)",
		"about:blank":                          "(invalid)",
		"data:text/html,x":                     "(invalid)",
		"android-app://com.example.reader":     "com.example.reader",
		"https://exam ple.com":                 "(invalid)",
		"https://" + strings.Repeat("a", 254):  "(invalid)",
		"https://" + strings.Repeat("a", 253):  strings.Repeat("a", 253),
	} {
		e := Event{Referrer: referrer}
		if got := e.SourceHost(); got != want {
			t.Errorf("SourceHost of %.60q = %.60q, want %.60q", referrer, got, want)
		}
	}
}

func FuzzSourceHost(f *testing.F) {
	for _, s := range []string{"", "https://user@example.com:1/a", "about:blank", "http://[::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := Event{Referrer: s}
		host := e.SourceHost()
		if host == "" || len(host) > 3*253 || strings.ContainsAny(host, "/?#@ ") {
			t.Errorf("SourceHost of %q = %q", s, host)
		}
		if secret := "user:secret@"; strings.Contains((&Event{Referrer: "https://" + secret + "example.com/" + s}).SourceHost(), "secret") {
			t.Errorf("a password becomes a source, with %q", s)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("01928099-8e00-7000-8899-740a14c65854")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		again, err := ParseID(id.String())
		if err != nil || again != id {
			t.Errorf("ParseID(%q) = %s, which reads as %s, %v", s, id, again, err)
		}
	})
}
