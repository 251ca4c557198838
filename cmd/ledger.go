package cmd

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/internal/durable"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) ledger() *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "The station's book of what was signed"}
	c.AddCommand(p.ledgerShow(), p.ledgerVerify(), p.ledgerExport(), p.ledgerImport())
	return c
}

// withBook opens the station's book, which must be of the authority that the bundle names.
func (p *program) withBook(open func(string, [32]byte) (*ledger.Book, error), use func(*ledger.Book, *ca.Bundle) error) error {
	bundle, err := p.bundle()
	if err != nil {
		return err
	}
	book, err := open(p.settings.Ledger, bundle.Anchor.Hash())
	if err != nil {
		return inLedger(err)
	}
	return errors.Join(use(book, bundle), inLedger(book.Close()))
}

func (p *program) ledgerShow() *cobra.Command {
	c := &cobra.Command{
		Use:     "show",
		Short:   "Show the units in the ledger, the count of each order, and which units trust which root",
		Example: `  birthmark ledger show --config station/birthmark.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, _ *ca.Bundle) error { return p.showBook(c.Context(), b) })
		},
	}
	settingFlags(c, "ledger", "bundle")
	return c
}

// bookJSON is a ledger as --json shows it.
type bookJSON struct {
	Station string        `json:"station"`
	Test    bool          `json:"test"`
	Units   []entryJSON   `json:"units"`
	Orders  []summaryJSON `json:"orders"`
	Roots   []rootJSON    `json:"roots"`
}

// entryJSON is one unit of a ledger.
type entryJSON struct {
	Serial   string    `json:"serial"`
	Chip     string    `json:"chip"`
	Order    uint16    `json:"order"`
	State    string    `json:"state"` // reserved, committed, closed or void
	IssuedAt time.Time `json:"issued_at"`
	Leaf     int64     `json:"leaf"`           // place in the log, -1 = no certificate yet
	Code     string    `json:"code,omitempty"` // of the certificate, as on the label
	X509     bool      `json:"x509"`           // there is a twin
}

// summaryJSON is the sum of one order: ordered = issued + reserved + void + unused.
type summaryJSON struct {
	Order    uint16 `json:"order"`
	Ordered  uint64 `json:"ordered"`
	Issued   uint64 `json:"issued"`
	Closed   uint64 `json:"closed"` // of those issued
	Reserved uint64 `json:"reserved"`
	Void     uint64 `json:"void"`
	Unused   uint64 `json:"unused"`
}

// rootJSON is what trusts one root, from its birth on: the units of the orders that the root signed.
type rootJSON struct {
	Root   int    `json:"root"` // epoch
	Orders int    `json:"orders"`
	Issued uint64 `json:"issued"`
	Closed uint64 `json:"closed"`
}

func entryView(e ledger.Entry) (entryJSON, error) {
	v := entryJSON{
		Serial: ca.EUI64(e.Serial).String(), Chip: hex.EncodeToString(e.Chip[:]), Order: e.Order, State: e.State.String(),
		IssuedAt: e.IssuedAt, Leaf: e.Leaf, X509: e.X509 != nil,
	}
	if e.Certificate == nil {
		return v, nil
	}
	u, err := ca.ParseUnitCertificate(e.Certificate)
	if err != nil {
		return v, fmt.Errorf("certificate of %s in the ledger: %w: %w", v.Serial, err, ledger.ErrTampered)
	}
	v.Code = u.Code()
	return v, nil
}

func (p *program) showBook(ctx context.Context, b *ledger.Book) error {
	view := bookJSON{Station: b.Identity().Station, Test: b.Identity().Test, Units: []entryJSON{}, Orders: []summaryJSON{}, Roots: []rootJSON{}}
	for e, err := range b.Units(ctx) {
		if err != nil {
			return inLedger(err)
		}
		v, err := entryView(e)
		if err != nil {
			return err
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
		view.Orders = append(view.Orders, summaryJSON(s))
		order, err := ca.ParseOrder(o.File)
		if err != nil {
			return fmt.Errorf("order %d in the ledger: %w: %w", o.Number, err, ledger.ErrTampered)
		}
		if n := len(view.Roots); n == 0 || view.Roots[n-1].Root != order.Epoch() { // orders are numbered across roots
			view.Roots = append(view.Roots, rootJSON{Root: order.Epoch()})
		}
		r := &view.Roots[len(view.Roots)-1]
		r.Orders, r.Issued, r.Closed = r.Orders+1, r.Issued+s.Issued, r.Closed+s.Closed
	}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "%-23s  %-9s  %-18s  %5s  %-9s  %-19s  %s\n", "SERIAL", "CERT", "CHIP", "ORDER", "STATE", "ISSUED (UTC)", "TWIN")
		for _, u := range view.Units {
			fmt.Fprintf(p.Out, "%-23s  %-9s  %-18s  %5d  %-9s  %-19s  %s\n", u.Serial, u.Code, u.Chip, u.Order, u.State,
				u.IssuedAt.Format(time.DateTime), map[bool]string{true: "X.509", false: "-"}[u.X509])
		}
		p.writeSummaries(view.Orders)
		for _, r := range view.Roots {
			fmt.Fprintf(p.Out, "root %d: %d units issued (%d closed) under %d orders; they trust it, or a newer one that they were told of\n", r.Root, r.Issued, r.Closed, r.Orders)
		}
	})
}

func (p *program) writeSummaries(orders []summaryJSON) {
	for _, s := range orders {
		fmt.Fprintf(p.Out, "order %d: %d ordered = %d issued (%d closed) + %d reserved + %d void + %d unused\n",
			s.Order, s.Ordered, s.Issued, s.Closed, s.Reserved, s.Void, s.Unused)
	}
}

func (p *program) ledgerVerify() *cobra.Command {
	var against string
	c := &cobra.Command{
		Use:   "verify [--against SIZE:ROOT]",
		Short: "Prove the ledger: rows, log, every certificate's signature, the orders' sums",
		Long: `Reads the whole book: the database's own checks, every row against the journal,
the Merkle tree from its leaves, every order file and certificate against the
authority, and ordered = issued + reserved + void + unused. --against takes a
tree head that somebody outside kept (as this command prints it) and shows
whether the book is a continuation of it.`,
		Example: `  birthmark ledger verify --config station/birthmark.yaml
  birthmark ledger verify --ledger ledger.db --bundle bundle.cbor \
    --against 0:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, bundle *ca.Bundle) error {
				return p.verifyBook(c.Context(), b, bundle, against)
			})
		},
	}
	c.Flags().StringVar(&against, "against", "", "tree head that was kept outside, SIZE:ROOT")
	settingFlags(c, "ledger", "bundle")
	return c
}

// verifiedJSON is a ledger that was proven as --json shows it.
type verifiedJSON struct {
	Size   int64         `json:"size"` // certificates in the log
	Root   string        `json:"root"` // of the Merkle tree
	Head   string        `json:"head"` // SIZE:ROOT, for --against
	Orders []summaryJSON `json:"orders"`
}

func (p *program) verifyBook(ctx context.Context, b *ledger.Book, bundle *ca.Bundle, against string) error {
	// What was typed wrong shows before the book is read.
	size, root, err := parseHead(against)
	if err != nil {
		return err
	}
	report, err := provision.VerifyBook(ctx, b, bundle)
	if err != nil {
		return inLedger(err)
	}
	if against != "" {
		if err := b.VerifyAgainst(ctx, size, root); err != nil {
			return inLedger(err)
		}
	}
	view := verifiedJSON{Size: report.Size, Root: hex.EncodeToString(report.Root[:]), Orders: []summaryJSON{}}
	view.Head = fmt.Sprintf("%d:%s", view.Size, view.Root)
	for _, s := range report.Orders {
		view.Orders = append(view.Orders, summaryJSON(s))
	}
	return p.answer(view, func() {
		p.writeSummaries(view.Orders)
		fmt.Fprintf(p.Out, "good: %d certificates, tree head %s\n", view.Size, view.Head)
	})
}

// parseHead reads a tree head; none is the empty tree's, which every book continues.
func parseHead(s string) (size int64, root [32]byte, err error) {
	if s == "" {
		return 0, root, nil
	}
	before, after, _ := strings.Cut(s, ":")
	size, err = strconv.ParseInt(before, 10, 64)
	b, hexErr := hex.DecodeString(after)
	if err != nil || hexErr != nil || size < 0 || len(b) != len(root) {
		return 0, root, usage("tree head %q: want SIZE:ROOT, a number and 64 hexadecimal digits", s)
	}
	return size, [32]byte(b), nil
}

func (p *program) ledgerExport() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "export --out DIR",
		Short: "Write every certificate of the ledger into a new folder",
		Long: `Writes SERIAL.c509 and, where there is a twin, SERIAL.pem for each unit, and
order-NUMBER.c509 and order-NUMBER.pem for each order, with root.pem beside
them, so that other tools can check them:

  openssl verify -CAfile DIR/root.pem -untrusted DIR/order-1.pem DIR/SERIAL.pem`,
		Example: `  birthmark ledger export --config station/birthmark.yaml --out certificates`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withBook(ledger.OpenReadOnly, func(b *ledger.Book, _ *ca.Bundle) error { return p.exportBook(c.Context(), b, out) })
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to make")
	settingFlags(c, "ledger", "bundle")
	return required(c, "out")
}

// exportedJSON is what was exported as --json shows it.
type exportedJSON struct {
	Folder string `json:"folder"`
	Units  int    `json:"units"`
	Orders int    `json:"orders"`
}

func (p *program) exportBook(ctx context.Context, b *ledger.Book, out string) error {
	view := exportedJSON{Folder: out}
	err := newFolder(out, func(folder string) error {
		e := exporter{folder: folder}
		orders, err := b.Orders(ctx)
		if err != nil {
			return inLedger(err)
		}
		for _, row := range orders {
			if err := e.order(row.File); err != nil {
				return err
			}
			view.Orders++
		}
		if err := e.place("root.pem", e.roots); err != nil {
			return err
		}
		for entry, err := range b.Units(ctx) {
			if err != nil {
				return inLedger(err)
			}
			if entry.Certificate == nil {
				continue
			}
			if err := e.unit(entry); err != nil {
				return err
			}
			view.Units++
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.answer(view, func() { fmt.Fprintf(p.Out, "units %d, orders %d, in %s\n", view.Units, view.Orders, view.Folder) })
}

// exporter writes certificates into one folder.
type exporter struct {
	folder string
	roots  []byte // PEM, each once
}

func (e *exporter) order(file []byte) error {
	o, err := ca.ParseOrder(file)
	if err != nil {
		return fmt.Errorf("order in the ledger: %w: %w", err, ledger.ErrTampered)
	}
	order, root := o.X509()
	if block := certificatePEM(root); !bytes.Contains(e.roots, block) {
		e.roots = append(e.roots, block...)
	}
	name := fmt.Sprintf("order-%d", o.Number())
	return errors.Join(e.place(name+".c509", o.Certificate.Raw), e.pem(name, order))
}

func (e exporter) unit(entry ledger.Entry) error {
	name := ca.EUI64(entry.Serial).String()
	err := e.place(name+".c509", entry.Certificate)
	if err == nil && entry.X509 != nil {
		err = e.pem(name, entry.X509)
	}
	return err
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (e exporter) pem(name string, der []byte) error {
	return e.place(name+".pem", certificatePEM(der))
}

func (e exporter) place(name string, data []byte) error {
	return durable.Create(filepath.Join(e.folder, name), data, 0o644)
}
