package cmd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/fleet"
)

func (p *program) fleet() *cobra.Command {
	c := &cobra.Command{Use: "fleet", Short: "Simulated units for tests"}
	c.AddCommand(p.fleetMake(), p.fleetSpoil(), p.fleetServe(), p.fleetMeet())
	return c
}

func (p *program) fleetServe() *cobra.Command {
	var r fleet.Request
	var profile, faults string
	c := &cobra.Command{
		Use:   "serve -n N --dir DIR --profile NAME|FILE [--faults FILE] [--control SOCKET]",
		Short: "Run simulated units on pseudo-terminals until interrupted",
		Long: `Starts simulated units, each the C library's agent over its C driver over a
simulated ATECC608, and prints one port a line once all answer. The ports are
links in --dir that stay the same from run to run; what a unit keeps without
power is in files beside them. Their firmware gives its chips what --profile
wants. Stop it with Ctrl+C; started again, the units go on as they were.

--faults plans what goes wrong with which units, and when: dead, mute, slow,
garbage, unplug, power-cut (docs/formats.md, "Fault plan"). --control takes the
same, and more, while the units answer: a Unix socket, one JSON object a line,
one answer a line. Each fault that strikes is a line on standard error.`,
		Example: `  birthmark fleet serve -n 8 --dir units --bundle bundle.cbor \
    --profile demo-sensor
  birthmark fleet serve -n 8 --dir units --bundle bundle.cbor \
    --profile demo-sensor --faults faults.yaml --control control
  echo '{"do":"unplug","units":3,"back":"2s"}' | socat - UNIX-CONNECT:control`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.runFleetServe(c.Context(), r, profile, faults) },
	}
	f := c.Flags()
	f.IntVarP(&r.Units, "units", "n", 1, "how many units")
	f.StringVar(&r.Dir, "dir", "", "folder for ports and state")
	f.StringVar(&profile, "profile", "", "the units' product, a profile as for 'birthmark ca order'")
	f.Float64Var(&r.TimeScale, "time-scale", 0, "chip's execution times: 1 as in the data sheet, 0 none")
	f.IntVar(&r.Baud, "pace", 0, "pace the line to this many bits a second; 0 does not")
	f.StringVar(&faults, "faults", "", "file that plans what goes wrong")
	f.StringVar(&r.Control, "control", "", "name of a Unix socket that takes commands")
	settingFlags(c, "bundle")
	return required(c, "dir", "profile")
}

// fleetJSON is a fleet that answers as --json shows it.
type fleetJSON struct {
	Ports []string `json:"ports"`
}

func (p *program) runFleetServe(ctx context.Context, r fleet.Request, profile, faults string) error {
	bundle, err := p.bundle()
	if err != nil {
		return err
	}
	product, err := readProfile(profile)
	if err != nil {
		return err
	}
	if faults != "" {
		text, err := os.ReadFile(faults)
		if err != nil {
			return err
		}
		if r.Plan, err = fleet.ParsePlan(text); err != nil {
			return fmt.Errorf("%s: %w", faults, err)
		}
	}
	r.Watch = func(port, event string) { fmt.Fprintf(p.Err, "birthmark: %s: %s\n", port, event) }
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return err
	}
	r.Anchor, r.Product, r.Peers, r.IOKey = bundle.Anchor.Hash(), product.Product, product.Peers, product.IOKey()
	r.Firmware = sha256.Sum256([]byte("birthmark simulated unit 1"))
	var answered error
	err = fleet.Serve(ctx, r, func(ports []string) {
		answered = p.answer(fleetJSON{ports}, func() {
			for _, port := range ports {
				fmt.Fprintln(p.Out, port)
			}
		})
	})
	return errors.Join(err, answered)
}
