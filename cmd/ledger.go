package cmd

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) ledger() *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "The station's book of what was signed"}
	c.AddCommand(p.ledgerShow(), p.ledgerVerify(), p.ledgerExport(), p.ledgerImport())
	return c
}

func bookFlags(c *cobra.Command) {
	c.Flags().String("ledger", "", "the station's ledger")
	c.Flags().String("bundle", "", "the authority's bundle")
}

// withBook opens the station's book, which must be of the authority that the bundle names.
func (p *program) withBook(open func(string, [32]byte) (*ledger.Book, error), use func(*ledger.Book, ca.Anchor) error) error {
	anchor, err := p.anchor()
	if err != nil {
		return err
	}
	book, err := open(p.settings.Ledger, anchor.Hash())
	if err != nil {
		return inLedger(err)
	}
	return errors.Join(use(book, anchor), inLedger(book.Close()))
}

func (p *program) ledgerShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the units in the ledger and the count of each order",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, _ ca.Anchor) error { return p.showBook(c.Context(), b) })
		},
	}
	bookFlags(c)
	return c
}

// entryJSON is one unit of the ledger with --json.
type entryJSON struct {
	Serial   string    `json:"serial"`
	Chip     string    `json:"chip"`
	Order    uint16    `json:"order"`
	State    string    `json:"state"`
	IssuedAt time.Time `json:"issued_at"`
	Leaf     int64     `json:"leaf"` // -1 = no certificate yet
	Code     string    `json:"code,omitempty"`
	X509     bool      `json:"x509"`
}

func (p *program) showBook(ctx context.Context, b *ledger.Book) error {
	view := struct {
		Station string           `json:"station"`
		Test    bool             `json:"test"`
		Units   []entryJSON      `json:"units"`
		Orders  []ledger.Summary `json:"orders"`
	}{Station: b.Identity().Station, Test: b.Identity().Test, Units: []entryJSON{}}
	for e, err := range b.Units(ctx) {
		if err != nil {
			return inLedger(err)
		}
		v := entryJSON{
			Serial: ca.EUI64(e.Serial).String(), Chip: hex.EncodeToString(e.Chip[:]), Order: e.Order, State: e.State.String(),
			IssuedAt: e.IssuedAt, Leaf: e.Leaf, X509: e.X509 != nil,
		}
		if e.Certificate != nil {
			u, err := ca.ParseUnitCertificate(e.Certificate)
			if err != nil {
				return fmt.Errorf("certificate of %s: %w: %w", v.Serial, err, ledger.ErrTampered)
			}
			v.Code = u.Code()
		}
		view.Units = append(view.Units, v)
	}
	orders, err := b.Orders(ctx)
	if err != nil {
		return inLedger(err)
	}
	for _, o := range orders {
		s, err := b.Summary(ctx, o.Number)
		if err != nil {
			return inLedger(err)
		}
		view.Orders = append(view.Orders, s)
	}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "%-23s  %-9s  %-18s  %5s  %-9s  %-20s  %s\n", "SERIAL", "CERT", "CHIP", "ORDER", "STATE", "ISSUED (UTC)", "TWIN")
		for _, u := range view.Units {
			fmt.Fprintf(p.Out, "%-23s  %-9s  %-18s  %5d  %-9s  %-20s  %s\n", u.Serial, u.Code, u.Chip, u.Order, u.State,
				u.IssuedAt.Format(time.DateTime), map[bool]string{true: "X.509", false: "-"}[u.X509])
		}
		for _, s := range view.Orders {
			p.writeSummary(s)
		}
	})
}

func (p *program) writeSummary(s ledger.Summary) {
	fmt.Fprintf(p.Out, "order %d: %d ordered = %d issued (%d closed) + %d reserved + %d void + %d unused\n",
		s.Order, s.Ordered, s.Issued, s.Closed, s.Reserved, s.Void, s.Unused)
}

func (p *program) ledgerVerify() *cobra.Command {
	var against string
	c := &cobra.Command{
		Use:   "verify [--against SIZE:ROOT]",
		Short: "Prove the ledger: rows, log, every certificate's signature, the orders' sums",
		Long: `Reads the whole book: the database's own checks, every row against the journal, the Merkle tree from its leaves, every order
file and certificate against the authority, and ordered = issued + reserved + void + unused. --against takes a tree head that
somebody outside kept (as this command prints it) and shows whether the book is a continuation of it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, anchor ca.Anchor) error {
				report, err := provision.VerifyBook(c.Context(), b, anchor)
				if err != nil {
					return inLedger(err)
				}
				if against != "" {
					size, root, err := parseHead(against)
					if err != nil {
						return err
					}
					if err := b.VerifyAgainst(c.Context(), size, root); err != nil {
						return inLedger(err)
					}
				}
				return p.answer(report, func() {
					for _, s := range report.Orders {
						p.writeSummary(s)
					}
					fmt.Fprintf(p.Out, "good: %d certificates, tree head %d:%x\n", report.Size, report.Size, report.Root)
				})
			})
		},
	}
	c.Flags().StringVar(&against, "against", "", "tree head that was kept outside, SIZE:ROOT")
	bookFlags(c)
	return c
}

func parseHead(s string) (size int64, root [32]byte, err error) {
	before, after, _ := strings.Cut(s, ":")
	size, err = strconv.ParseInt(before, 10, 64)
	b, hexErr := hex.DecodeString(after)
	if err != nil || hexErr != nil || size < 0 || copy(root[:], b) != len(root) || len(b) != len(root) {
		return 0, root, usage("tree head %q: want SIZE:ROOT, a number and 64 hexadecimal digits", s)
	}
	return size, root, nil
}

func (p *program) ledgerExport() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "export --out DIR",
		Short: "Write every certificate of the ledger into a new folder",
		Long: `Writes SERIAL.c509 and, where there is a twin, SERIAL.pem for each unit, and NUMBER.c509 and NUMBER.pem for each order, with
root.pem beside them, so that other tools can check them:

  openssl verify -CAfile DIR/root.pem -untrusted DIR/order-1.pem DIR/02-1A-2B-00-00-00-00-01.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, _ ca.Anchor) error { return p.export(c.Context(), b, out) })
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to make")
	bookFlags(c)
	return required(c, "out")
}

func (p *program) export(ctx context.Context, b *ledger.Book, folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	place := func(name string, data []byte) error { return writeNew(filepath.Join(folder, name), data) }
	placePEM := func(name string, der []byte) error {
		return place(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	orders, err := b.Orders(ctx)
	if err != nil {
		return inLedger(err)
	}
	for i, row := range orders {
		o, err := ca.ParseOrder(row.File)
		if err != nil {
			return err
		}
		order, root := o.X509()
		if i == 0 {
			if err := placePEM("root.pem", root); err != nil {
				return err
			}
		}
		name := fmt.Sprintf("order-%d", o.Number())
		if err := errors.Join(place(name+".c509", o.Certificate.Raw), placePEM(name+".pem", order)); err != nil {
			return err
		}
	}
	n := 0
	for e, err := range b.Units(ctx) {
		if err != nil {
			return inLedger(err)
		}
		name := ca.EUI64(e.Serial).String()
		if e.Certificate != nil {
			n++
			if err := place(name+".c509", e.Certificate); err != nil {
				return err
			}
		}
		if e.X509 != nil {
			if err := placePEM(name+".pem", e.X509); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(p.Out, "%d units and %d orders in %s\n", n, len(orders), folder)
	return nil
}

func (p *program) ledgerImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring another station's ledger together with this one, and find what was signed twice",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withBook(ledger.Open, func(b *ledger.Book, anchor ca.Anchor) error {
				other, err := ledger.OpenReadOnly(args[0], anchor.Hash())
				if err != nil {
					return inLedger(err)
				}
				defer other.Close()
				if _, err := provision.VerifyBook(c.Context(), other, anchor); err != nil {
					return inLedger(err)
				}
				findings, err := b.Import(c.Context(), other)
				for _, d := range findings.Doubles {
					fmt.Fprintf(p.Err, "birthmark: twice: %v\n", d)
				}
				if err != nil {
					return inLedger(err)
				}
				return p.answer(findings, func() {
					fmt.Fprintf(p.Out, "station %q: %d certificates in its log, %d records new here\n", findings.Station, findings.Size, findings.Added)
				})
			})
		},
	}
	bookFlags(c)
	return c
}
