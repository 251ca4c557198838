package cmd

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/fleet"
)

func (p *program) unitBoard() *cobra.Command {
	var r fleet.BoardRequest
	var firmware, profile string
	c := &cobra.Command{
		Use:   "board --firmware FILE --dir DIR --profile NAME|FILE [-n N] [--wire]",
		Short: "Run units as the machine code of a product, on emulated boards, until interrupted",
		Long: `Starts boards: each a Cortex-M0 in QEMU that runs the firmware of 'make
firmware', with a simulated ATECC608 behind its single wire. Prints port and
console of each once all have power. The constants of --bundle and --profile go
into the firmware, so that it trusts this authority; where the profile's
ChipOptions are 6102 it must have been built by 'IO_KEY=1 scripts/firmware'.
What a unit keeps without power is in --dir, in the same files as that of 'fleet
serve': started again, the boards go on as they were.

With --wire the lines of the first and the second board are one wire, of the
third and the fourth another, and there are no ports. Open a console with any
terminal program: Ctrl+B presses the board's button, which pairs it if the other
one's is pressed, too; Ctrl+L holds it down for 5 s, which ends its pairing; a
line that is typed goes to the peer, which prints it and sends it back. An
--impostor stands in the second board's place as in 'fleet meet'.`,
		Example: `  make firmware
  birthmark unit board -n 2 --firmware build/firmware/birthmark.elf \
    --dir units --bundle bundle.cbor --profile demo-sensor
  birthmark provision --port units/unit-01 --port units/unit-02
  birthmark unit board -n 2 --firmware build/firmware/birthmark.elf \
    --dir units --bundle bundle.cbor --profile demo-sensor --wire`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			bundle, err := p.bundle()
			if err != nil {
				return err
			}
			product, err := readProfile(profile)
			if err != nil {
				return err
			}
			if r.Firmware, err = os.ReadFile(firmware); err != nil {
				return err
			}
			if err := os.MkdirAll(r.Dir, 0o755); err != nil {
				return err
			}
			r.Anchor, r.Product, r.Peers, r.IOKey = bundle.Anchor.Hash(), product.Product, product.Peers, product.IOKey()
			var answered error
			err = fleet.ServeBoards(c.Context(), r, func(boards []fleet.Board) {
				view := boardsJSON{}
				for _, b := range boards {
					view.Boards = append(view.Boards, boardJSON{b.Port, b.Console})
				}
				answered = p.answer(view, func() {
					for _, b := range view.Boards {
						if b.Port != "" {
							fmt.Fprintln(p.Out, b.Port)
						}
						fmt.Fprintln(p.Out, b.Console)
					}
				})
			})
			return errors.Join(err, answered)
		},
	}
	f := c.Flags()
	f.IntVarP(&r.Units, "units", "n", 1, "how many boards")
	f.StringVar(&firmware, "firmware", "", "ELF file of 'make firmware'")
	f.StringVar(&r.Dir, "dir", "", "folder for ports, consoles and state")
	f.StringVar(&profile, "profile", "", "the units' product, a profile as for 'birthmark ca order'")
	f.BoolVar(&r.Wired, "wire", false, "wire the lines of each two boards to each other")
	f.StringVar((*string)(&r.Impostor), "impostor", "", "who stands in each second board's place: self-made or copied")
	f.Float64Var(&r.TimeScale, "time-scale", 0, "chip's times: 1 as in the data sheet, 0 none; above 0 its wire and the processor take theirs too")
	f.IntVar(&r.Baud, "pace", 0, "pace the line to this many bits a second; 0 does not")
	settingFlags(c, "bundle")
	return required(c, "firmware", "dir", "profile")
}

// boardsJSON is what boards answer at, as --json shows it.
type boardsJSON struct {
	Boards []boardJSON `json:"boards"`
}

type boardJSON struct {
	Port    string `json:"port,omitempty"`
	Console string `json:"console"`
}
