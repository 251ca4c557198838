package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) unit() *cobra.Command {
	c := &cobra.Command{Use: "unit", Short: "One unit: look at it, let it meet another, tell it of new roots, take it out of the book"}
	c.AddCommand(p.unitInspect(), p.unitHandshake(), p.unitUpdate(), p.unitRetire(), p.unitBoard())
	return c
}

func (p *program) unitInspect() *cobra.Command {
	var port string
	c := &cobra.Command{
		Use:   "inspect --port PORT",
		Short: "Ask a unit what it is and verify what it carries; changes nothing",
		Long: `Asks the unit on a port for its state and its certificates and verifies them as
a peer would, against the authority of --bundle where there is one. Where there
is a ledger, too, it looks for another certificate over the same serial number.
A unit that is installed or sealed proves its key: it signs in a handshake that
goes no further than that.`,
		Example: `  birthmark unit inspect --port /dev/ttyUSB0 --config station/birthmark.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			bundle, err := p.bundleIfAny()
			if err != nil {
				return err
			}
			checked := bundle != nil
			r, err := provision.Inspect(c.Context(), port, p.settings.Baud)
			if err != nil {
				return atPort(err)
			}
			if checked {
				err = r.Verify(bundle)
			}
			verified := checked && err == nil
			if verified {
				err = p.compare(c.Context(), r)
				// What the book says of the unit counts against it; a book that cannot be read does not.
				verified = !errors.Is(err, ledger.ErrDouble) && !errors.Is(err, provision.ErrSetAside)
			}
			view := inspection(r, checked, verified, err)
			view.Held = verified && r.Unit != nil && bundle.Holds(r.Unit.Order, r.Unit.Serial)
			return errors.Join(p.answer(view, func() { p.writeInspection(r, view) }), err)
		},
	}
	c.Flags().StringVar(&port, "port", "", "serial port of the unit")
	settingFlags(c, "bundle", "ledger", "baud")
	return required(c, "port")
}

// compare looks the unit up in the ledger where there is one.
func (p *program) compare(ctx context.Context, r *provision.Inspection) error {
	err := p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, _ *ca.Bundle) error { return r.Compare(ctx, b) })
	if errors.Is(err, fs.ErrNotExist) && p.settings.Ledger == defaultLedger {
		return nil
	}
	return err
}

// inspectionJSON is what --json shows of a unit.
type inspectionJSON struct {
	Chip        string  `json:"chip"`
	Revision    string  `json:"revision"`
	ChipOptions string  `json:"chip_options"` // that its firmware gives a chip, and the chip of a prepared unit has
	State       string  `json:"state"`
	Product     uint32  `json:"product"`
	Firmware    string  `json:"firmware"`
	Anchor      string  `json:"anchor"`
	Locks       string  `json:"locks"`
	DebugClosed bool    `json:"debug_closed"`
	Generation  *uint32 `json:"generation"` // of its pairing record
	Serial      string  `json:"serial,omitempty"`
	Root        int     `json:"root,omitempty"` // of its order
	Order       uint16  `json:"order,omitempty"`
	Code        string  `json:"code,omitempty"`
	Certificate string  `json:"certificate,omitempty"`
	Proven      bool    `json:"proven"`   // it has the key of its certificate
	Checked     bool    `json:"checked"`  // a bundle was there to verify against
	Verified    bool    `json:"verified"` // it carries a certificate, which holds
	Held        bool    `json:"held"`     // its order or range is on the status list
	Error       string  `json:"error,omitempty"`
}

func inspection(r *provision.Inspection, checked, verified bool, err error) inspectionJSON {
	v := inspectionJSON{
		Chip:        hex.EncodeToString(r.Chip[:]),
		Revision:    hex.EncodeToString(r.Revision[:]),
		ChipOptions: fmt.Sprintf("%04x", r.ChipOptions),
		State:       r.State.String(),
		Product:     r.Product,
		Firmware:    hex.EncodeToString(r.Firmware[:]),
		Anchor:      hex.EncodeToString(r.AnchorHash[:]),
		Locks:       hex.EncodeToString(r.Locks[:]),
		DebugClosed: r.DebugClosed,
		Generation:  r.Generation,
		Proven:      r.Proven,
		Checked:     checked,
		Verified:    r.Unit != nil && verified,
	}
	if r.Unit != nil {
		v.Root = r.Order.Name.Root().Epoch()
		v.Serial, v.Order, v.Code, v.Certificate = r.Unit.Serial.String(), r.Order.Name.Number(), r.Unit.Code(), hex.EncodeToString(r.Unit.Raw)
	}
	if err != nil {
		v.Error = sentence(err)
	}
	return v
}

func (p *program) writeInspection(r *provision.Inspection, v inspectionJSON) {
	fmt.Fprintf(p.Out, "chip         %s, ATECC608 revision %s, options %s\nstate        %s (lock bytes %s)\nfirmware     %s, product %d\ntrusts       anchor %s\ndebug port   %s\npairing      %s\n",
		v.Chip, v.Revision, v.ChipOptions, v.State, v.Locks, v.Firmware, v.Product, v.Anchor, map[bool]string{true: "closed", false: "open"}[v.DebugClosed], generation(v.Generation))
	if r.Unit == nil {
		fmt.Fprintf(p.Out, "certificate  none\n")
		return
	}
	verdict := "NOT VALID"
	switch {
	case v.Held:
		verdict = "verified up to the root; its order or range is on the status list: it makes no new pairings"
	case v.Verified:
		verdict = "verified up to the root"
	case !v.Checked:
		verdict = "not verified: no bundle given"
	}
	possession := "possession of its key is not proven"
	if v.Proven {
		possession = "possession of its key is proven"
	}
	fmt.Fprintf(p.Out, "certificate  %s, CERT %s, %d bytes, order %d of root %d, issued %s UTC\n             %s; %s\n",
		v.Serial, v.Code, len(r.Unit.Raw), v.Order, v.Root, r.Unit.IssuedAt.Format("2006-01-02 15:04:05"), verdict, possession)
}

// generation says it in words.
func generation(g *uint32) string {
	if g == nil {
		return "no record"
	}
	return fmt.Sprintf("generation %d", *g)
}

func (p *program) unitRetire() *cobra.Command {
	var serial, reason string
	c := &cobra.Command{
		Use:   "retire --serial EUI --reason TEXT",
		Short: "Set a unit aside in the ledger for good: its serial number is never used again",
		Long: `Marks a unit that was begun and will not be finished as void, so that the
order's sum comes out even. A finished unit cannot be retired. The order's count
includes void units.`,
		Example: `  birthmark unit retire --config station/birthmark.yaml \
    --serial 02-1A-2B-00-00-00-00-07 --reason 'chip broken off'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			eui, err := ca.ParseEUI64(serial)
			if err != nil {
				return err
			}
			if reason == "" {
				return usage("--reason is empty: the ledger keeps it for ever")
			}
			return p.withBook(ledger.Open, func(b *ledger.Book, _ *ca.Bundle) error {
				if err := b.Void(c.Context(), uint64(eui), reason); err != nil {
					return inLedger(err)
				}
				view := retiredJSON{Serial: eui.String(), State: ledger.Void.String()}
				return p.answer(view, func() { fmt.Fprintf(p.Out, "%s is %s\n", view.Serial, view.State) })
			})
		},
	}
	f := c.Flags()
	f.StringVar(&serial, "serial", "", "the unit's serial number")
	f.StringVar(&reason, "reason", "", "why, for the ledger")
	settingFlags(c, "ledger", "bundle")
	return required(c, "serial", "reason")
}

// retiredJSON is a unit that was taken out of the book as --json shows it.
type retiredJSON struct {
	Serial string `json:"serial"`
	State  string `json:"state"`
}
