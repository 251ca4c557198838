package provision

import (
	"context"
	"fmt"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
)

// VerifyBook proves a station's book against its authority: the book in itself (ledger.Verify), each order file under the
// anchor, and each certificate under its order, over the key and serial number of its row.
func VerifyBook(ctx context.Context, b *ledger.Book, anchor ca.Anchor) (ledger.Report, error) {
	rows, err := b.Orders(ctx)
	if err != nil {
		return ledger.Report{}, err
	}
	orders := make(map[uint16]*ca.Order, len(rows))
	for _, row := range rows {
		o, err := ca.ParseOrder(row.File)
		if err != nil {
			return ledger.Report{}, fmt.Errorf("order %d in the ledger: %w", row.Number, err)
		}
		if o.Anchor != anchor || o.Number() != row.Number || o.Certificate.Fingerprint() != row.Fingerprint || o.Count != row.Count ||
			o.Certificate.Range != (ca.Range{First: ca.EUI64(row.First), Last: ca.EUI64(row.Last)}) {
			return ledger.Report{}, fmt.Errorf("order %d in the ledger: its row is not what its file says: %w", row.Number, ledger.ErrTampered)
		}
		orders[row.Number] = o
	}
	return b.Verify(ctx, func(e ledger.Entry) error {
		u, err := ca.ParseUnitCertificate(e.Certificate)
		if err != nil {
			return err
		}
		if err := u.Verify(orders[e.Order].Certificate); err != nil {
			return err
		}
		return ca.CheckRecorded(u, orders[e.Order], e.Serial, e.Key, e.IssuedAt, e.X509)
	})
}
