package cmd

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) unit() *cobra.Command {
	c := &cobra.Command{Use: "unit", Short: "One unit: look at it, take it out of the book"}
	c.AddCommand(p.unitInspect(), p.unitRetire())
	return c
}

func (p *program) unitInspect() *cobra.Command {
	var port string
	c := &cobra.Command{
		Use:   "inspect --port PORT",
		Short: "Ask a unit what it is and verify what it carries; changes nothing",
		Long: `Asks the unit on a port for its state and its certificates and verifies them as a peer would: against the authority of
--bundle where one is given or configured. A unit's own key is not exercised: a sealed unit proves it only in a handshake.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := provision.Inspect(c.Context(), port, p.settings.Baud)
			if err != nil {
				return err
			}
			anchor, anchorErr := p.anchor()
			if anchorErr == nil {
				err = r.Verify(anchor)
			}
			if err := p.answer(inspection(r, anchorErr == nil, err), func() { p.writeInspection(r, anchorErr == nil, err) }); err != nil {
				return err
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&port, "port", "", "serial port of the unit")
	f.String("bundle", "", "the authority's bundle, to verify against")
	f.Int("baud", 0, "speed of the serial line, bits a second")
	return required(c, "port")
}

// inspectionJSON is what --json shows of a unit.
type inspectionJSON struct {
	Chip        string `json:"chip"`
	State       string `json:"state"`
	Product     uint32 `json:"product"`
	Firmware    string `json:"firmware"`
	Anchor      string `json:"anchor"`
	Locks       string `json:"locks"`
	DebugClosed bool   `json:"debug_closed"`
	Serial      string `json:"serial,omitempty"`
	Order       uint16 `json:"order,omitempty"`
	Code        string `json:"code,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Verified    bool   `json:"verified"`
	Error       string `json:"error,omitempty"`
}

func inspection(r *provision.Inspection, checked bool, err error) inspectionJSON {
	v := inspectionJSON{
		Chip:        hex.EncodeToString(r.Chip[:]),
		State:       r.State.String(),
		Product:     r.Product,
		Firmware:    hex.EncodeToString(r.Firmware[:]),
		Anchor:      hex.EncodeToString(r.AnchorHash[:]),
		Locks:       hex.EncodeToString(r.Locks[:]),
		DebugClosed: r.DebugClosed,
		Verified:    r.Unit != nil && checked && err == nil,
	}
	if r.Unit != nil {
		v.Serial, v.Order, v.Code, v.Certificate = r.Unit.Serial.String(), r.Order.Name.Number(), r.Unit.Code(), hex.EncodeToString(r.Unit.Raw)
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

func (p *program) writeInspection(r *provision.Inspection, checked bool, err error) {
	fmt.Fprintf(p.Out, "chip         %x, ATECC608 revision %x\nstate        %v (lock bytes %x)\nfirmware     %x, product %d\ntrusts       anchor %x\n",
		r.Chip, r.Revision, r.State, r.Locks, r.Firmware, r.Product, r.AnchorHash)
	if r.Unit == nil {
		fmt.Fprintf(p.Out, "certificate  none\n")
		return
	}
	verdict := "not verified: no bundle given"
	if checked && err == nil {
		verdict = "verified up to the root; possession of its key is not proven without a handshake"
	} else if err != nil {
		verdict = "NOT VALID"
	}
	fmt.Fprintf(p.Out, "certificate  %v, CERT %s, %d bytes, order %d, issued %s\n             %s\ndebug port   %s\n",
		r.Unit.Serial, r.Unit.Code(), len(r.Unit.Raw), r.Order.Name.Number(), r.Unit.IssuedAt.Format("2006-01-02 15:04:05"), verdict,
		map[bool]string{true: "closed", false: "open"}[r.DebugClosed])
}

func (p *program) unitRetire() *cobra.Command {
	var serial, reason string
	c := &cobra.Command{
		Use:   "retire --serial EUI --reason TEXT",
		Short: "Set a unit aside in the ledger for good: its serial number is never used again",
		Long: `Marks a unit that was begun and will not be finished as void, so that the order's sum comes out even. A finished unit cannot
be retired. The order's count includes void units.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			eui, err := ca.ParseEUI64(serial)
			if err != nil {
				return err
			}
			return p.withBook(ledger.Open, func(b *ledger.Book, _ ca.Anchor) error {
				if err := b.Void(c.Context(), uint64(eui), reason); err != nil {
					return inLedger(err)
				}
				fmt.Fprintf(p.Out, "%v is void\n", eui)
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&serial, "serial", "", "the unit's serial number")
	f.StringVar(&reason, "reason", "", "why, for the ledger")
	bookFlags(c)
	return required(c, "serial", "reason")
}
