package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Commit  string `json:"commit,omitempty"`
				Go      string `json:"go"`
				CGO     bool   `json:"cgo"`
			}{Version: "(devel)", Go: runtime.Version()}
			if info, ok := debug.ReadBuildInfo(); ok {
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
			}
			return p.answer(v, func() {
				fmt.Fprintf(p.Out, "birthmark %s %s %s, PKCS#11 tokens and simulated units: %s\n", v.Version, v.Commit, v.Go,
					map[bool]string{true: "yes", false: "no, built without cgo"}[v.CGO])
			})
		},
	}
}
