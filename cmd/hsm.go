package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/hsm"
)

func (p *program) hsm() *cobra.Command {
	c := &cobra.Command{Use: "hsm", Short: "PKCS#11 tokens: list, try, measure; keys with a backup"}
	c.AddCommand(p.hsmList(), p.hsmTest(), p.hsmBench(), p.hsmBackup(), p.hsmRestore())
	return c
}

func (p *program) hsmList() *cobra.Command {
	c := &cobra.Command{
		Use:     "list --module PATH",
		Short:   "List the tokens of a module, their mechanisms and public keys; needs no PIN",
		Example: `  birthmark hsm list --module /usr/lib/softhsm/libsofthsm2.so`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.settings.Module == "" {
				return usage("no module: --module names the token's PKCS#11 library")
			}
			tokens, err := hsm.List(p.settings.Module)
			if err != nil {
				return inHSM(err)
			}
			return p.answer(tokens, func() {
				for _, t := range tokens {
					p.writeToken(t)
				}
			})
		},
	}
	settingFlags(c, "module")
	return c
}

func (p *program) writeToken(t hsm.TokenInfo) {
	name := fmt.Sprintf("%q, serial number %s", t.Label, t.Serial)
	if t.Label == "" && t.Serial == "" {
		name = "not initialized"
	}
	fmt.Fprintf(p.Out, "%s\n  token      %s, %s %s\n  flags      %s\n  mechanisms %s\n",
		t.URI, name, t.Manufacturer, t.Model, strings.Join(t.Flags, ", "), strings.Join(t.Mechanisms, " "))
	for _, k := range t.Keys {
		fmt.Fprintf(p.Out, "  key        %q, id %s\n             %s\n", k.Label, k.ID, k.Point)
	}
}

func (p *program) hsmTest() *cobra.Command {
	c := &cobra.Command{
		Use:   "test --key URI",
		Short: "Try whether a token keeps its promises, on a throwaway key that is destroyed afterwards",
		Long: `Makes a throwaway key and tries what must fail: to read its value, to wrap it,
to copy it as extractable, to derive from it, to sign what is no digest; and
what must work. Attributes are a token's claim, so they are tried. Notes say
what a token has, lacks or does in its own way beyond what Birthmark needs.`,
		Example: `  birthmark hsm test --module /usr/lib/softhsm/libsofthsm2.so \
    --key pkcs11:token=station`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			options, err := p.tokenOptions()
			if err != nil {
				return err
			}
			report, err := hsm.Test(c.Context(), p.settings.Key, options)
			if err != nil {
				return inHSM(err)
			}
			failed := 0
			for _, check := range report.Checks {
				if !check.Passed {
					failed++
				}
			}
			err = p.answer(report, func() { p.writeReport(report) })
			if err == nil && failed > 0 {
				err = inHSM(fmt.Errorf("the token fails %d of %d checks; do not keep an authority's key in it", failed, len(report.Checks)))
			}
			return err
		},
	}
	settingFlags(c, append(keySettings, "key")...)
	return c
}

func (p *program) writeReport(r hsm.Report) {
	fmt.Fprintf(p.Out, "token   %s\nmodule  %s\n\n", r.Token, r.Module)
	width := 0
	for _, trait := range r.Traits {
		width = max(width, len(trait.Name))
	}
	for _, check := range r.Checks {
		width = max(width, len(check.Name))
	}
	for _, trait := range r.Traits {
		fmt.Fprintf(p.Out, "note  %-*s  %s\n", width, trait.Name, trait.Value)
	}
	for _, check := range r.Checks {
		fmt.Fprintf(p.Out, "%-4s  %-*s  %s\n", map[bool]string{true: "ok", false: "FAIL"}[check.Passed], width, check.Name, check.Detail)
	}
}

// tokenOptions is keyOptions for commands that want a token.
func (p *program) tokenOptions() (hsm.Options, error) {
	if !strings.HasPrefix(p.settings.Key, "pkcs11:") {
		return hsm.Options{}, usage("no token: --key wants a PKCS#11 URI such as pkcs11:token=station")
	}
	return p.keyOptions(nil)
}

func (p *program) hsmBench() *cobra.Command {
	var duration time.Duration
	c := &cobra.Command{
		Use:   "bench --key URI",
		Short: "Measure signatures a second, beside the bare calls of the module in the same run",
		Long: `Signs with the key of the URI, or with a throwaway key where it names none:
through Birthmark, which verifies every signature, and through the module's bare
calls, with and without that verification. All three alternate within one run.`,
		Example: `  birthmark hsm bench --module /usr/lib/softhsm/libsofthsm2.so \
    --key pkcs11:token=station --time 10s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if duration <= 0 {
				return usage("--time %v: want more than 0", duration)
			}
			options, err := p.tokenOptions()
			if err != nil {
				return err
			}
			f, err := hsm.Bench(c.Context(), p.settings.Key, options, duration)
			if err != nil {
				return inHSM(err)
			}
			return p.answer(f, func() { p.writeFigures(f) })
		},
	}
	c.Flags().DurationVar(&duration, "time", 3*time.Second, "how long to measure")
	settingFlags(c, append(keySettings, "key")...)
	return c
}

func (p *program) writeFigures(f hsm.Figures) {
	fmt.Fprintf(p.Out, "%s, %d sessions, %d rounds\n", f.Token, f.Workers, f.Rounds)
	for _, row := range []struct {
		name string
		rate hsm.Rate
	}{{"birthmark, verified", f.Sign}, {"bare C_Sign", f.Raw}, {"bare C_Sign, verified", f.Checked}} {
		fmt.Fprintf(p.Out, "%-22s %9.0f /s   median %8v   p99 %8v\n", row.name, row.rate.PerSecond, row.rate.Median.Round(time.Microsecond), row.rate.P99.Round(time.Microsecond))
	}
	fmt.Fprintf(p.Out, "ratio to bare %.2f, to bare and verified %.2f\n", f.OfRaw, f.OfChecked)
}
