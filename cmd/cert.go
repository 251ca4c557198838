package cmd

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/c509"
	"github.com/birthmark/birthmark/ca"
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
		Long: `Shows the fields of a certificate in any of the formats, or of both in a chain,
{25: [unit, order]} as a unit shows itself; FILE - is standard input. Of an
order or a unit it also says which, as the profile has it. Nothing is verified.
--json gives what 'birthmark cert convert --to json' writes, of a chain a list.`,
		Example: `  birthmark cert show certificates/02-1A-2B-00-00-00-00-01.c509
  birthmark cert show fleet/units/0000/02-1A-2B-00-00-00-00-01.chain`,
		Args: exactly(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			shown, err := p.readShown(args[0])
			if err != nil {
				return err
			}
			if p.json && len(shown) == 1 {
				return p.answer(shown[0], nil)
			}
			if p.json {
				return p.answer(shown, nil)
			}
			for i, c := range shown {
				if i > 0 {
					fmt.Fprintln(p.Out)
				}
				if err := c.WriteText(p.Out); err != nil {
					return err
				}
				if role := profileRole(c); role != "" {
					fmt.Fprintf(p.Out, "role        %s\n", role)
				}
			}
			return nil
		},
	}
}

// readShown reads a certificate in any of the formats, or the two of a chain.
func (p *program) readShown(path string) ([]*c509.Certificate, error) {
	data, err := p.readInput(path)
	if err != nil {
		return nil, err
	}
	files := [][]byte{data}
	if len(data) > 0 && data[0] == chainHead {
		unit, order, err := ca.ParseIDCred(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		files = [][]byte{unit.Raw, order.Raw}
	}
	var shown []*c509.Certificate
	for _, data := range files {
		c, err := certificateOf(path, data)
		if err != nil {
			return nil, err
		}
		shown = append(shown, c)
	}
	return shown, nil
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

// readCertificate reads a certificate in any of the four formats; "-" is standard input.
func (p *program) readCertificate(path string) (*c509.Certificate, error) {
	data, err := p.readInput(path)
	if err != nil {
		return nil, err
	}
	return certificateOf(path, data)
}

// readInput reads a file; "-" is standard input.
func (p *program) readInput(path string) ([]byte, error) {
	if path == "-" {
		return readAll(p.In, path)
	}
	return readFile(path)
}

// certificateOf decodes what was read from path. Errors wrap ca.ErrMalformed.
func certificateOf(path string, data []byte) (*c509.Certificate, error) {
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
