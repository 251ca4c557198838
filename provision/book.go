package provision

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
)

// row is what the book keeps of an order.
func row(o *ca.Order) ledger.Order {
	c := o.Certificate
	return ledger.Order{
		Number:      o.Number(),
		Fingerprint: c.Fingerprint(),
		First:       uint64(c.Range.First),
		Last:        uint64(c.Range.Last),
		Count:       o.Count,
		Product:     c.Product,
		File:        o.File,
	}
}

// VerifyBook proves a station's book against its authority: the book in itself (ledger.Verify), each order file by the
// bundle's roots, and each certificate, with its X.509 twin, under its order, over the key, serial number and time of its row.
// The error names what does not hold and wraps ledger.ErrTampered.
func VerifyBook(ctx context.Context, b *ledger.Book, bundle *ca.Bundle) (ledger.Report, error) {
	orders, err := readOrders(ctx, b, bundle)
	if err != nil {
		return ledger.Report{}, err
	}
	return b.Verify(ctx, func(e ledger.Entry) error {
		if orders[e.Order] == nil { // recorded since, by a station that is at work
			if orders, err = readOrders(ctx, b, bundle); err != nil {
				return err
			}
		}
		_, err := verifyEntry(e, orders[e.Order])
		return err
	})
}

// readOrders parses the order files of a book, by number, and compares each with its row.
func readOrders(ctx context.Context, b *ledger.Book, bundle *ca.Bundle) (map[uint16]*ca.Order, error) {
	rows, err := b.Orders(ctx)
	if err != nil {
		return nil, err
	}
	orders := make(map[uint16]*ca.Order, len(rows))
	for _, r := range rows {
		o, err := ca.ParseOrder(r.File)
		if err != nil {
			return nil, fmt.Errorf("order %d in the ledger: %w: %w", r.Number, err, ledger.ErrTampered)
		}
		if err := bundle.VerifyFile(o); err != nil {
			return nil, fmt.Errorf("order %d in the ledger: %w", r.Number, notInBundle(err))
		}
		if !reflect.DeepEqual(r, row(o)) {
			return nil, fmt.Errorf("order %d in the ledger: its row is not what its file says: %w", r.Number, ledger.ErrTampered)
		}
		orders[r.Number] = o
	}
	return orders, nil
}

// verifyEntry reads the certificate of a unit's entry and verifies it under the order: the signature, and that the row
// says what was signed.
func verifyEntry(e ledger.Entry, o *ca.Order) (*ca.UnitCertificate, error) {
	c, err := ca.ParseUnitCertificate(e.Certificate)
	if err == nil {
		err = c.Verify(o.Certificate)
	}
	if err == nil {
		err = ca.CheckRecorded(c, o, e.Serial, e.Key, e.IssuedAt, e.X509)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of chip %x in the ledger: %w: %w", e.Chip, err, ledger.ErrTampered)
	}
	return c, nil
}

// notInBundle says what an order is that the bundle does not admit: of a newer root, and then the bundle is too old to judge it, or not
// what the station was given.
func notInBundle(err error) error {
	if errors.Is(err, ca.ErrUnknownRoot) {
		return err
	}
	return fmt.Errorf("%w: %w", err, ledger.ErrTampered)
}
