package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
)

// Inspection is what a unit says of itself. Order and Unit are nil where it carries no certificates.
type Inspection struct {
	link.Hello
	Order  *ca.OrderCertificate
	Unit   *ca.UnitCertificate
	Proven bool // the unit has the key of its certificate: it signed in a handshake that went no further than that
}

// Inspect asks the unit on a port what it is, at baud bits a second, and has one that is installed or sealed prove its key. It
// changes nothing, and what the certificates are worth is not verified yet. Errors are link's, ErrRetry where the unit does
// not answer as one, and ErrSetAside where it carries what is no certificate of the profile or not its own.
func Inspect(ctx context.Context, path string, baud int) (*Inspection, error) {
	port, err := link.Open(path, baud)
	if err != nil {
		return nil, err
	}
	conversation := link.Dial(port)
	defer conversation.Close()
	h, err := conversation.Hello(ctx)
	if err != nil {
		return nil, fault(err)
	}
	i, err := inspect(h)
	if err == nil && i.Unit != nil && device.Available() == nil && (i.State == link.Installed || i.State == link.Sealed) {
		err = counterpart{conversation, i.Chip, i.Unit, i.Order}.prove(ctx)
		i.Proven = err == nil
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// inspect reads the certificates in a hello.
func inspect(h link.Hello) (*Inspection, error) {
	i := &Inspection{Hello: h}
	if len(h.UnitCertificate) == 0 {
		return i, nil
	}
	var err error
	if i.Order, err = ca.ParseOrderCertificate(h.OrderCertificate); err != nil {
		return nil, fmt.Errorf("chip %x: %w: %w", h.Chip, err, ErrSetAside)
	}
	if i.Unit, err = ca.ParseUnitCertificate(h.UnitCertificate); err != nil {
		return nil, fmt.Errorf("chip %x: %w: %w", h.Chip, err, ErrSetAside)
	}
	return i, nil
}

// Verify holds what the unit carries and trusts against an authority, as its bundle has it. That the key in its certificate is the
// unit's own Proven says. Errors wrap ca.ErrOtherRoot, or are those of Bundle.VerifyUnit.
func (i *Inspection) Verify(b *ca.Bundle) error {
	if i.AnchorHash != b.Anchor.Hash() {
		return fmt.Errorf("the unit trusts another root: %w", ca.ErrOtherRoot)
	}
	if i.Unit == nil {
		return nil
	}
	if err := b.VerifyOrder(i.Order); err != nil {
		return err
	}
	if i.Order.Product != i.Product {
		return fmt.Errorf("order %d is for product %d, the firmware says %d: %w", i.Order.Name.Number(), i.Order.Product, i.Product, ca.ErrVerify)
	}
	return b.VerifyUnit(i.Order, i.Unit)
}

// Compare looks the unit's serial number up in a book. The error wraps ledger.ErrDouble if the book gave the number to
// another chip or has another certificate over it: whoever held the order's key signed it twice, provided that what the
// unit carries holds, which Verify says. A serial number that the book does not have is no error.
func (i *Inspection) Compare(ctx context.Context, b *ledger.Book) error {
	if i.Unit == nil {
		return nil
	}
	e, err := b.Serial(ctx, uint64(i.Unit.Serial))
	if errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	same := bytes.Equal(e.Certificate, i.Unit.Raw)
	switch {
	case same && e.Chip != i.Chip:
		return fmt.Errorf("chip %x carries the certificate of chip %x: %w", i.Chip, e.Chip, ErrSetAside)
	case same, e.Certificate == nil && e.Chip == i.Chip: // the latter in a book that is older than the certificate
		return nil
	}
	return fmt.Errorf("chip %x carries certificate %s over serial number %v, which the ledger of station %q gave to chip %x%s: %w",
		i.Chip, i.Unit.Code(), i.Unit.Serial, b.Identity().Station, e.Chip, code(e), ledger.ErrDouble)
}

// code names an entry's certificate as labels do, if it has one that can be read.
func code(e ledger.Entry) string {
	c, err := ca.ParseUnitCertificate(e.Certificate)
	if err != nil {
		return ""
	}
	return " with certificate " + c.Code()
}
