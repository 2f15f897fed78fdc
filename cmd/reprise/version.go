package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker where the sources have no history to tell it
// from: go build -ldflags "-X main.version=v1.2.3".
var version string

type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(p *program) error {
	_, err := fmt.Fprintln(p.stdout, readVersion())
	return err
}

type versionInfo struct {
	Version string
	Commit  string // "" if the build doesn't know
}

func (v versionInfo) String() string {
	commit := ""
	if v.Commit != "" {
		commit = "commit " + v.Commit + ", "
	}
	return fmt.Sprintf("reprise %s (%s%s, %s/%s)", v.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// readVersion asks the binary what it was built from.
func readVersion() versionInfo {
	v := versionInfo{Version: version}
	info, ok := debug.ReadBuildInfo()
	if ok && v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "devel"
	}
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
