package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/nova-chat/nova/internal/app"
)

type versionCommand struct {
	JSON bool `help:"As JSON."`
}

type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"commit_time,omitempty"`
	Modified bool   `json:"modified"` // built from a tree with changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: app.Version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// Run shows the build.
func (c *versionCommand) Run(std streams) error {
	b := thisBuild()
	if c.JSON {
		return printJSON(std.out, b)
	}
	line := fmt.Sprintf("nova %s (%s, %s)", b.Version, b.Go, b.Platform)
	if b.Commit != "" {
		line += " commit " + b.Commit
	}
	_, err := fmt.Fprintln(std.out, line)
	return err
}
