package cmd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) provision() *cobra.Command {
	var ports, chips []string
	var flash string
	var test, twin, verbose bool
	c := &cobra.Command{
		Use:   "provision (--port PORT | --chip kit:PORT) ...",
		Short: "Give the unit on each port its identity",
		Long: `Takes the unit on each port from blank to sealed: its chip is configured and
locked, it makes its key and proves it, gets its certificate signed, recorded
and written back, and is sealed. Several ports work side by side; one unit's
failure touches no other.

What cannot be undone: the chip's configuration and data zone are locked in
stage 2 (prepare), its certificate slot in stage 10 (seal). Everything before
stage 2 refuses without touching the unit. A run that stops anywhere is
continued by running the same command again: same serial number, same
certificate.

--chip provisions a chip before it is on a board: it sits in a kit or fixture
that speaks the kit protocol at PORT. The station runs the unit's own program
for it, and writes what the finished unit is to find in its microcontroller's
flash into --flash as CHIP.flash, for the unit's programmer. Chip and image
belong together: without its image a sealed chip is of no use. A rerun wants
the same folder.

One line per unit goes to standard output (with --json one object per line),
failures and hints to standard error.`,
		Example: `  birthmark provision --config station/birthmark.yaml --port /dev/ttyUSB0
  birthmark provision --config station/birthmark.yaml --x509 \
    --port /dev/ttyUSB0 --port /dev/ttyUSB1
  birthmark provision --config station/birthmark.yaml \
    --chip kit:/dev/ttyACM0 --flash images`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all := slices.Concat(ports, chips)
			if err := checkPorts(all); err != nil {
				return err
			}
			if err := checkChips(ports, chips, flash); err != nil {
				return err
			}
			return p.atStation(c.Context(), test, func(s *provision.Station) error {
				s.Twin, s.Flash = twin, flash
				if verbose {
					s.Watch = p.watch
				}
				var failures []int
				s.Run(c.Context(), all, func(r provision.Result) {
					if r.Err != nil {
						failures = append(failures, p.failed(r))
					} else {
						p.passed(r)
					}
				})
				if len(failures) > 0 {
					return reported{worst(failures)}
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&ports, "port", nil, "serial port of a unit; may be given up to 64 times")
	f.StringArrayVar(&chips, "chip", nil, "kit: and the serial port of a kit with a bare chip; as often")
	f.StringVar(&flash, "flash", "", "folder for the flash images of bare chips")
	f.BoolVar(&test, "test", false, "work for a test authority; without it one is refused")
	f.BoolVar(&twin, "x509", false, "sign an X.509 twin of each certificate as well")
	f.BoolVarP(&verbose, "verbose", "v", false, "say each stage as it begins")
	stationFlags(c)
	settingFlags(c, "baud")
	return c
}

// checkChips tells the two kinds of ports apart, and wants a folder for chips alone.
func checkChips(units, chips []string, flash string) error {
	for i, port := range slices.Concat(units, chips) {
		if bare := i >= len(units); bare != strings.HasPrefix(port, provision.KitPrefix) {
			return usage("%s: --chip wants %sPORT, --port the port alone", port, provision.KitPrefix)
		}
	}
	if (len(chips) > 0) != (flash != "") {
		return usage("--flash names the folder for the flash images of --chip's chips: give both or neither")
	}
	return nil
}

func checkPorts(ports []string) error {
	if len(ports) == 0 {
		candidates := "none is plugged in"
		if found := link.Ports(); len(found) > 0 {
			candidates = "there are " + strings.Join(found, ", ")
		}
		return usage("no port given: --port names the unit's serial port; %s", candidates)
	}
	if len(ports) > provision.MaxLanes {
		return usage("%d ports given, at most %d go into one run", len(ports), provision.MaxLanes)
	}
	for i, port := range ports {
		if slices.Contains(ports[:i], port) {
			return usage("port %s is given twice", port)
		}
	}
	return nil
}

func (p *program) watch(e provision.Event) {
	chip := ""
	if e.Chip != "" {
		chip = ", chip " + e.Chip
	}
	fmt.Fprintf(p.Err, "birthmark: %s: stage %d, %s%s\n", e.Port, e.Stage, e.Stage, chip)
}

// unitSchema changes when a field of unitJSON changes its meaning or goes.
const unitSchema = 1

// unitJSON is one unit's line with --json.
type unitJSON struct {
	Schema  int                `json:"schema"`
	Result  string             `json:"result"` // "pass" or "fail"
	Port    string             `json:"port"`
	Stage   int                `json:"stage"` // where it ended
	Chip    string             `json:"chip,omitempty"`
	Seconds float64            `json:"seconds"`
	Receipt *provision.Receipt `json:"receipt,omitempty"` // pass
	Exit    int                `json:"exit"`              // what the unit alone would exit with
	Error   string             `json:"error,omitempty"`   // fail
	Hint    string             `json:"hint,omitempty"`
}

func (p *program) passed(r provision.Result) {
	if p.json {
		p.line(r, unitJSON{Result: "pass", Receipt: r.Receipt})
		return
	}
	note := "  key origin not attested"
	if r.Receipt.GoodsIn != "" {
		note = fmt.Sprintf("  captured by %q, list %.8s", r.Receipt.GoodsIn, r.Receipt.Capture)
	}
	if r.Receipt.Bare {
		note += "  bare chip"
	}
	if r.Receipt.Test {
		note += "  TEST"
	}
	fmt.Fprintf(p.Out, "PASS  %s  CERT %s  chip %s  %s  %v%s\n",
		r.Receipt.Serial, r.Receipt.Code, r.Chip, r.Port, r.Took.Round(time.Millisecond), note)
}

func (p *program) failed(r provision.Result) int {
	code, hint := outcome(atPort(r.Err))
	if p.json {
		p.line(r, unitJSON{Result: "fail", Exit: code, Error: sentence(r.Err), Hint: hint})
	}
	fmt.Fprintf(p.Err, "birthmark: error: %s, stage %d (%s): %s\nbirthmark: hint: %s\n", r.Port, r.Stage, r.Stage, sentence(r.Err), hint)
	return code
}

// line writes one unit's object. That standard output failed shows when the run ends: the units come first.
func (p *program) line(r provision.Result, v unitJSON) {
	v.Schema, v.Port, v.Stage, v.Chip, v.Seconds = unitSchema, r.Port, int(r.Stage), r.Chip, r.Took.Seconds()
	_ = json.NewEncoder(p.Out).Encode(v)
}

// severity sorts exit codes: what concerns the whole station goes before what concerns one unit.
var severity = []int{exitInternal, exitLedger, exitHSM, exitVerify, exitInterrupted, exitUsage, exitPort, exitSetAside, exitRetry, exitPolicy}

// worst picks the exit code of a run in which units failed.
func worst(codes []int) int {
	for _, code := range severity {
		if slices.Contains(codes, code) {
			return code
		}
	}
	panic("an exit code that is not in the table")
}
