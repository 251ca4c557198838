package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) unitUpdate() *cobra.Command {
	var port, file string
	c := &cobra.Command{
		Use:   "update --port PORT [--release FILE]",
		Short: "Tell a unit what its authority has to say: newer roots, the status list, a release",
		Long: `Hands the unit on a port what the bundle has and the unit lacks: the links to
newer roots and the status list. Units tell each other the same when they meet;
this is for one that meets nobody soon. With --release also the end of its
pairing ('birthmark ca release'). The unit verifies all of it. Nothing is taken
back: what it has already stays, and telling it again does no harm.`,
		Example: `  birthmark unit update --port /dev/ttyUSB0 --bundle bundle-2.cbor
  birthmark unit update --port /dev/ttyUSB0 --release 07.release`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			bundle, err := p.bundle()
			if err != nil {
				return err
			}
			var release *ca.Release
			if file != "" {
				object, err := readFile(file)
				if err != nil {
					return err
				}
				if release, err = ca.ParseRelease(object); err == nil {
					err = release.Verify(bundle.Newest())
				}
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			u, err := provision.Tell(c.Context(), port, p.settings.Baud, bundle, release)
			if err != nil {
				return atPort(err)
			}
			view := updateView(u)
			return p.answer(view, func() { p.writeUpdate(view) })
		},
	}
	c.Flags().StringVar(&port, "port", "", "serial port of the unit")
	c.Flags().StringVar(&file, "release", "", "a release for this unit's pairing")
	settingFlags(c, "bundle", "baud")
	return required(c, "port")
}

// updateJSON is a unit that was told as --json shows it.
type updateJSON struct {
	Serial     string `json:"serial"`
	Root       uint32 `json:"root"`      // epoch of the newest that it trusts, at least
	ListRoot   uint32 `json:"list_root"` // epoch and number of its status list, at least; 0: none
	ListNumber uint32 `json:"list_number"`
	Released   bool   `json:"released"`
	Generation uint32 `json:"generation,omitempty"` // of its pairing record, if it has one
}

func updateView(u *provision.Update) updateJSON {
	v := updateJSON{
		Serial: u.Unit.Serial.String(), Root: u.Trust.Epoch, ListRoot: u.Trust.ListEpoch, ListNumber: u.Trust.ListNumber, Released: u.Released,
	}
	if u.Generation != nil {
		v.Generation = *u.Generation
	}
	return v
}

func (p *program) writeUpdate(v updateJSON) {
	list := "no status list"
	if v.ListRoot > 0 {
		list = fmt.Sprintf("status list %d of root %d", v.ListNumber, v.ListRoot)
	}
	fmt.Fprintf(p.Out, "%s trusts root %d and has %s\n", v.Serial, v.Root, list)
	if v.Released {
		fmt.Fprintf(p.Out, "%s is released: open, generation %d\n", v.Serial, v.Generation)
	}
}
