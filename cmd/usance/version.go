package main

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker.
var version string

type versionCmd struct{}

// Run prints the version, the commit and the toolchain.
func (versionCmd) Run(p *program) error {
	v, commit := buildVersion()
	p.printf("usance %s", v)
	if commit != "" {
		p.printf(" (%s)", commit)
	}
	p.printf(" %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// buildVersion gives the version and the commit, as far as the build knows them.
func buildVersion() (v, commit string) {
	v = version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, ""
	}
	if v == "" {
		v = info.Main.Version
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if commit != "" {
		commit += dirty
	}
	return v, commit
}
