package provision

import (
	"context"
	"fmt"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
)

// Inspection is what a unit says of itself. Order and Unit are nil where it carries no certificates.
type Inspection struct {
	link.Hello
	Order *ca.OrderCertificate
	Unit  *ca.UnitCertificate
}

// Inspect asks the unit on a port what it is. It changes nothing, and nothing of the answer is verified yet.
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
	i := &Inspection{Hello: h}
	if len(h.UnitCertificate) == 0 {
		return i, nil
	}
	if i.Order, err = ca.ParseOrderCertificate(h.OrderCertificate); err != nil {
		return nil, fmt.Errorf("chip %x: %w: %w", h.Chip, err, ErrSetAside)
	}
	if i.Unit, err = ca.ParseUnitCertificate(h.UnitCertificate); err != nil {
		return nil, fmt.Errorf("chip %x: %w: %w", h.Chip, err, ErrSetAside)
	}
	return i, nil
}

// Verify holds what the unit carries and trusts against an authority. Errors wrap ca.ErrVerify or ca.ErrOtherRoot.
func (i *Inspection) Verify(a ca.Anchor) error {
	if i.AnchorHash != a.Hash() {
		return fmt.Errorf("chip %x: its firmware trusts another root: %w", i.Chip, ca.ErrOtherRoot)
	}
	if i.Unit == nil {
		return nil
	}
	if err := i.Order.Verify(a); err != nil {
		return err
	}
	if i.Order.Product != i.Product {
		return fmt.Errorf("order %d is for product %d, the firmware says %d: %w", i.Order.Name.Number(), i.Order.Product, i.Product, ca.ErrVerify)
	}
	return i.Unit.Verify(i.Order)
}
