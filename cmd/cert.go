package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/c509"
	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/fleet"
)

func (p *program) cert() *cobra.Command {
	c := &cobra.Command{
		Use:   "cert",
		Short: "Certificates: C509, X.509 as DER or PEM, and JSON",
		Long: `Files may be C509, DER, PEM or JSON; which one is seen from their first byte.
FILE - is standard input.`,
	}
	c.AddCommand(p.certShow(), p.certConvert(), p.certVerify())
	return c
}

func (p *program) certShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show a certificate for people, or with --json for machines",
		Long: `Shows the fields of a certificate in any of the formats; FILE - is standard
input. Of an order or a unit it also says which, as the profile has it. Nothing
is verified. --json gives what 'birthmark cert convert --to json' writes.`,
		Example: `  birthmark cert show certificates/02-1A-2B-00-00-00-00-01.c509`,
		Args:    exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := p.readCertificate(args[0])
			if err != nil {
				return err
			}
			if p.json {
				return p.answer(c, nil)
			}
			if err := c.WriteText(p.Out); err != nil {
				return err
			}
			if role := profileRole(c); role != "" {
				fmt.Fprintf(p.Out, "role        %s\n", role)
			}
			return nil
		},
	}
}

// profileRole says what an order's or a unit's certificate is, or nothing.
func profileRole(c *c509.Certificate) string {
	if o, err := ca.ParseOrderCertificate(c.Raw); err == nil {
		return fmt.Sprintf("order %d of root %d%s, product %d, serial numbers %v",
			o.Name.Number(), o.Name.Root().Epoch(), testMark(o.Name), o.Product, o.Range)
	}
	if u, err := ca.ParseUnitCertificate(c.Raw); err == nil {
		return fmt.Sprintf("unit %v of order %d, root %d%s", u.Serial, u.Order.Number(), u.Order.Root().Epoch(), testMark(u.Order))
	}
	return ""
}

func testMark(n ca.OrderName) string {
	if n.Root().Test() {
		return " (TEST)"
	}
	return ""
}

func (p *program) certConvert() *cobra.Command {
	var to, out string
	c := &cobra.Command{
		Use:   "convert FILE --to c509|der|pem|json [--out FILE]",
		Short: "Convert a certificate between C509, DER, PEM and JSON without loss",
		Long: `Converts a certificate; FILE - is standard input. X.509 becomes C509 type 3
(re-encoded, the DER comes back to the byte); a natively signed C509 certificate
(type 2) has no X.509 form, since its signature covers the CBOR.`,
		Example: `  birthmark cert convert certificates/order-1.pem --to c509 --out order-1.type3
  birthmark cert convert order-1.type3 --to pem`,
		Args: exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := p.readCertificate(args[0])
			if err != nil {
				return err
			}
			data, err := encodeCertificate(c, to)
			if err != nil {
				return err
			}
			return p.write(out, data)
		},
	}
	c.Flags().StringVar(&to, "to", "", "c509, der, pem or json")
	c.Flags().StringVar(&out, "out", "", "file to write (default: standard output)")
	return required(c, "to")
}

func (p *program) certVerify() *cobra.Command {
	var issuer string
	var whole bool
	c := &cobra.Command{
		Use:   "verify FILE (--order FILE | --issuer FILE | --fleet)",
		Short: "Verify a certificate: a unit's under its order as a unit would, or any under its issuer; or a fleet's",
		Long: `With --order and --bundle, typed or configured, verifies a unit's C509
certificate as a unit in the field does: profile, root, range, both signatures.
The unit's own C code, where this build has it, must come to the same verdict.
With --issuer, verifies the signature alone, under the issuer's certificate in
any format; that says nothing about what the certificate may be used for.
With --fleet, FILE is what 'fleet make' made, and the certificates of all its
units are verified, on all cores: under the fleet's own authority, or that of
--bundle if it is typed.`,
		Example: `  birthmark cert verify certificates/02-1A-2B-00-00-00-00-01.c509 \
    --order station/current.order --bundle bundle.cbor
  birthmark cert verify certificates/order-1.pem --issuer certificates/root.pem`,
		Args: exactly(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case whole && issuer == "" && !c.Flags().Changed("order"):
				return p.verifyFleet(c.Context(), args[0], c.Flags().Changed("bundle"))
			case whole:
				return usage("--fleet goes with --bundle alone: a fleet has its own orders")
			case issuer != "" && !c.Flags().Changed("order"):
				return p.verifySignature(args[0], issuer)
			case issuer == "" && p.settings.Order != "":
				return p.verifyUnit(args[0])
			}
			return usage("give --order for a unit's certificate, --issuer for any other, or --fleet for a fleet's")
		},
	}
	c.Flags().StringVar(&issuer, "issuer", "", "the issuer's certificate")
	c.Flags().BoolVar(&whole, "fleet", false, "FILE is a fleet, whose units are all verified")
	settingFlags(c, "order", "bundle")
	return c
}

// goodJSON is a certificate that was verified as --json shows it; all but Verified are of a unit's.
type goodJSON struct {
	Verified bool   `json:"verified"` // true: else there is no answer
	Serial   string `json:"serial,omitempty"`
	Product  uint32 `json:"product,omitempty"`
	Order    uint16 `json:"order,omitempty"`
	Code     string `json:"code,omitempty"`
	Agreed   bool   `json:"agreed,omitempty"` // the unit's own code agrees; absent where the build has none
}

func (p *program) verifyUnit(path string) error {
	c, err := p.readCertificate(path)
	if err != nil {
		return err
	}
	bundle, err := p.bundle()
	if err != nil {
		return err
	}
	o, err := p.order()
	if err != nil {
		return err
	}
	u, err := ca.ParseUnitCertificate(c.Raw)
	if err == nil {
		err = bundle.VerifyUnit(o.Certificate, u)
	}
	var agreed bool
	if err == nil {
		agreed, err = askUnit(bundle, o.Certificate, u)
	}
	if err != nil {
		return mark(fmt.Errorf("%s: %w", path, err), ca.ErrVerify)
	}
	view := goodJSON{
		Verified: true, Serial: u.Serial.String(), Product: o.Certificate.Product, Order: o.Number(), Code: u.Code(), Agreed: agreed,
	}
	return p.answer(view, func() {
		second := ""
		if agreed {
			second = "; the unit's own code agrees"
		}
		fmt.Fprintf(p.Out, "good: %s, product %d, order %d, CERT %s%s\n", view.Serial, view.Product, view.Order, view.Code, second)
	})
}

// verifiedFleetJSON is a fleet that was verified as --json shows it.
type verifiedFleetJSON struct {
	Units   int           `json:"units"`
	Refused []refusedJSON `json:"refused"`
}

// refusedJSON is a unit of a fleet whose certificate does not hold.
type refusedJSON struct {
	Serial string `json:"serial"`
	Reason string `json:"reason"`
}

func (p *program) verifyFleet(ctx context.Context, path string, typed bool) error {
	f, err := fleet.Open(path)
	if err != nil {
		return err
	}
	bundle := f.Bundle
	if typed {
		if bundle, err = p.bundle(); err != nil {
			return err
		}
	}
	bar := newBar(p.Err, "cert verify", f.Head.Units, p.now)
	units, refused, err := f.Verify(ctx, bundle, bar.show)
	bar.clear()
	if err != nil {
		return err
	}
	view := verifiedFleetJSON{Units: units, Refused: []refusedJSON{}}
	for _, r := range refused {
		view.Refused = append(view.Refused, refusedJSON{r.Serial.String(), sentence(r.Reason)})
	}
	if len(refused) > 0 {
		err = mark(fmt.Errorf("%s: %d of %d units are refused", path, len(refused), units), ca.ErrVerify)
	}
	return errors.Join(p.answer(view, func() {
		for _, r := range view.Refused {
			fmt.Fprintf(p.Out, "refused: %s: %s\n", r.Serial, r.Reason)
		}
		fmt.Fprintf(p.Out, "good: %d of %d units, under %d orders, TEST\n", units-len(refused), units, len(f.Orders))
	}), err)
}

// askUnit has the unit's own code judge the certificates, in an image of the bundle's anchor and the order's product. A build that
// lacks the code does not agree, which is no error.
func askUnit(b *ca.Bundle, o *ca.OrderCertificate, u *ca.UnitCertificate) (agreed bool, err error) {
	key, err := u.Key.Bytes() // 04, X, Y
	if err != nil {
		return false, err
	}
	birth := device.Birth{Anchor: b.Anchor[:], Order: o.Raw, Unit: u.Raw, Key: key[1:]}
	for _, l := range b.Links {
		birth.Links = append(birth.Links, l.Object)
	}
	if b.List != nil {
		birth.List = b.List.Object
	}
	err = device.Judge(b.Anchor.Hash(), o.Product, birth)
	if errors.Is(err, device.ErrNoCgo) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the unit's own code refuses it: %w", err)
	}
	return true, nil
}

func (p *program) verifySignature(path, issuer string) error {
	c, err := p.readCertificate(path)
	if err != nil {
		return err
	}
	i, err := p.readCertificate(issuer)
	if err != nil {
		return err
	}
	key, err := i.Key()
	if err == nil {
		err = c.VerifySignature(key)
	}
	if err != nil {
		return mark(fmt.Errorf("%s under %s: %w", path, issuer, err), ca.ErrVerify)
	}
	return p.answer(goodJSON{Verified: true}, func() { fmt.Fprintf(p.Out, "good: signed by the key of %s\n", issuer) })
}

// readCertificate reads a certificate in any of the four formats; "-" is standard input.
func (p *program) readCertificate(path string) (*c509.Certificate, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = readAll(p.In, path)
	} else {
		data, err = readFile(path)
	}
	if err != nil {
		return nil, err
	}
	c, err := decodeCertificate(data)
	if err != nil {
		return nil, mark(fmt.Errorf("%s: %w", path, err), ca.ErrMalformed)
	}
	return c, nil
}

func decodeCertificate(data []byte) (*c509.Certificate, error) {
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
			return nil, fmt.Errorf("want one PEM block CERTIFICATE, found %q", block.Type)
		}
		return c509.FromX509(block.Bytes)
	}
	switch text := bytes.TrimSpace(data); {
	case len(text) > 0 && text[0] == '{':
		c := new(c509.Certificate)
		return c, json.Unmarshal(text, c)
	case len(data) > 0 && data[0] == 0x30:
		return c509.FromX509(data)
	}
	return c509.Parse(data)
}

func encodeCertificate(c *c509.Certificate, to string) ([]byte, error) {
	switch to {
	case "c509":
		return c.Encode()
	case "json":
		text, err := json.MarshalIndent(c, "", "  ")
		return append(text, '\n'), err
	case "der", "pem":
		if c.Type == c509.Native {
			return nil, usage("a natively signed certificate (type 2) has no X.509 form: its signature covers the CBOR")
		}
		der, err := c.X509()
		if err != nil || to == "der" {
			return der, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
	}
	return nil, usage("--to %q: want c509, der, pem or json", to)
}
