package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionJSON is this build as --json shows it.
type versionJSON struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	CGO     bool   `json:"cgo"`
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Example: `  birthmark version`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := thisBuild()
			return p.answer(v, func() {
				commit := ""
				if v.Commit != "" {
					commit = ", commit " + v.Commit
				}
				fmt.Fprintf(p.Out, "birthmark %s%s, %s, PKCS#11 tokens and simulated units: %s\n", v.Version, commit, v.Go,
					map[bool]string{true: "yes", false: "no, built without cgo"}[v.CGO])
			})
		},
	}
}

func thisBuild() versionJSON {
	v := versionJSON{Version: "(devel)", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "CGO_ENABLED":
			v.CGO = s.Value == "1"
		}
	}
	return v
}
