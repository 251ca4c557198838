package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/link/sim"
)

func (p *program) chip() *cobra.Command {
	c := &cobra.Command{Use: "chip", Short: "A simulated ATECC608 by itself"}
	c.AddCommand(p.chipServe())
	return c
}

// chipJSON is a chip that answers as --json shows it.
type chipJSON struct {
	Port string `json:"port"`
}

const maxTimeScale = 100 // a chip a hundred times slower than the data sheet's slowest

func (p *program) chipServe() *cobra.Command {
	var r sim.ChipRequest
	c := &cobra.Command{
		Use:   "serve --eeprom FILE (--kit LINK | --single-wire SOCKET)",
		Short: "Run a simulated ATECC608 until interrupted",
		Long: `Serves one simulated chip, for fixtures and boards that are to have no real one,
and prints where once it answers. A new chip is made where --eeprom has no file;
the file holds its private keys in clear.

  --kit LINK            the kit protocol, lines of text, on a pseudo-terminal
                        that the link leads to. It has power until the end.
  --single-wire SOCKET  the symbols that a UART exchanges with a chip on its
                        single wire, one a byte, on a Unix socket of mode 600.
                        It has power while a host is connected: each finds it
                        asleep.

Its commands take the data sheet's longest times, multiplied by --time-scale.
Stop it with Ctrl+C; what the chip keeps without power is in the file.`,
		Example: `  birthmark chip serve --eeprom chip.eeprom --kit kit
  birthmark chip serve --eeprom chip.eeprom --single-wire wire --time-scale 0`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !(r.TimeScale >= 0 && r.TimeScale <= maxTimeScale) { // what is no number compares with nothing
				return usage("time scale %v: want 0 to %d", r.TimeScale, maxTimeScale)
			}
			view := chipJSON{r.Kit + r.Socket}
			var answered error
			err := sim.ServeChip(c.Context(), r, func() {
				answered = p.answer(view, func() { fmt.Fprintln(p.Out, view.Port) })
			})
			return errors.Join(err, answered)
		},
	}
	f := c.Flags()
	f.StringVar(&r.EEPROM, "eeprom", "", "the chip's file")
	f.StringVar(&r.Kit, "kit", "", "link to a pseudo-terminal, for the kit protocol")
	f.StringVar(&r.Socket, "single-wire", "", "Unix socket, for the single wire's symbols")
	f.Float64Var(&r.TimeScale, "time-scale", 1, "execution times, and symbols: 1 as in the data sheet, 0 none")
	c.MarkFlagsOneRequired("kit", "single-wire")
	c.MarkFlagsMutuallyExclusive("kit", "single-wire")
	return required(c, "eeprom")
}
