package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) ledgerImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring another station's ledger together with this one, and find what was signed twice",
		Long: `Proves the other station's ledger as 'birthmark ledger verify' does, compares
each of its units with all that are known here by serial number, key and chip,
and copies what contradicts nothing beside this station's own units. A serial
number, a key or a chip that two certificates name is named with both of them,
is not copied, and ends in exit code 9: it is proof that somebody signed twice.`,
		Example: `  birthmark ledger import --config station/birthmark.yaml /media/stick/ledger.db`,
		Args:    exactly(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withBook(ledger.Open, func(b *ledger.Book, bundle *ca.Bundle) error {
				other, err := ledger.OpenReadOnly(args[0], bundle.Anchor.Hash())
				if err != nil {
					return inLedger(err)
				}
				return errors.Join(p.importBook(c.Context(), b, other, bundle), inLedger(other.Close()))
			})
		},
	}
	settingFlags(c, "ledger", "bundle")
	return c
}

// findingsJSON is what an import found as --json shows it.
type findingsJSON struct {
	Station string       `json:"station"`
	Size    int64        `json:"size"` // certificates in its log
	Root    string       `json:"root"`
	Added   int          `json:"added"` // records that are new here
	Doubles []doubleJSON `json:"doubles"`
}

// doubleJSON is one identity that was given out twice.
type doubleJSON struct {
	Same  []string   `json:"same"` // of serial number, key, chip: what both have in common
	Here  recordJSON `json:"here"` // in this ledger
	There recordJSON `json:"there"`
}

// recordJSON is one side of a double.
type recordJSON struct {
	Station string `json:"station"`
	entryJSON
	Certificate string `json:"certificate,omitempty"` // C509
}

func (p *program) importBook(ctx context.Context, b, other *ledger.Book, bundle *ca.Bundle) error {
	if _, err := provision.VerifyBook(ctx, other, bundle); err != nil {
		return inLedger(err)
	}
	findings, err := b.Import(ctx, other)
	if err != nil && !errors.Is(err, ledger.ErrDouble) {
		return inLedger(err)
	}
	view := findingsJSON{
		Station: findings.Station, Size: findings.Size, Root: hex.EncodeToString(findings.Root[:]), Added: findings.Added,
		Doubles: []doubleJSON{},
	}
	for _, d := range findings.Doubles {
		if d.Here.Station == "" { // not imported: this book's own
			d.Here.Station = b.Identity().Station
		}
		v, err := doubleView(d)
		if err != nil {
			return err
		}
		view.Doubles = append(view.Doubles, v)
		fmt.Fprintf(p.Err, "birthmark: one %s twice: %v; %v\n", strings.Join(v.Same, " and one "), v.Here, v.There)
	}
	answered := p.answer(view, func() {
		fmt.Fprintf(p.Out, "station %q: %d certificates in its log, %d records new here, %d identities twice\n",
			view.Station, view.Size, view.Added, len(view.Doubles))
	})
	return errors.Join(answered, inLedger(err))
}

func doubleView(d ledger.Double) (v doubleJSON, err error) {
	for _, field := range []struct {
		same bool
		name string
	}{{d.Serial, "serial number"}, {d.Key, "key"}, {d.Chip, "chip"}} {
		if field.same {
			v.Same = append(v.Same, field.name)
		}
	}
	if v.Here, err = recordView(d.Here); err != nil {
		return v, err
	}
	v.There, err = recordView(d.There)
	return v, err
}

func recordView(r ledger.Record) (recordJSON, error) {
	e, err := entryView(r.Entry)
	return recordJSON{Station: r.Station, entryJSON: e, Certificate: hex.EncodeToString(r.Certificate)}, err
}

// String names a record and its certificate as labels do.
func (r recordJSON) String() string {
	certificate := "without a certificate"
	if r.Code != "" {
		certificate = "CERT " + r.Code
	}
	return fmt.Sprintf("station %q has %s, chip %s, %s", r.Station, r.Serial, r.Chip, certificate)
}
