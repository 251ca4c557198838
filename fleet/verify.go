package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/ca"
)

// Errors that Verify wraps: a unit's that is not where it belongs, and of a fleet that Make did not finish, or that was cut short.
var (
	ErrBad        = errors.New("certificate refused")
	ErrUnfinished = errors.New("fleet not finished")
)

// Refused is a unit whose certificate does not hold, and why.
type Refused struct {
	Serial ca.EUI64
	Reason error
}

// Verify judges the certificate of every unit under its order and the bundle, as another unit does that has it, on all cores. Each order
// is verified once. It gives how many units there are, and those that are refused, in the order of the fleet; done is told, now and
// then, how many were judged. Errors are those of reading, an order's that the bundle does not take, or the context's.
func (f *Fleet) Verify(ctx context.Context, b *ca.Bundle, done func(units int)) (units int, refused []Refused, err error) {
	for _, o := range f.Orders {
		if err := b.VerifyFile(o); err != nil {
			return 0, nil, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	var failed error // of reading
	batches := func(yield func([]Unit) bool) {
		var some []Unit
		for u, err := range f.Units() {
			if failed = err; failed != nil {
				return
			}
			if some = append(some, u); len(some) == batch {
				if !yield(some) {
					return
				}
				some = nil
			}
		}
		if len(some) > 0 {
			yield(some)
		}
	}
	work := alike(func(some []Unit) []Refused { return f.judge(b, some) })
	err = inOrder(ctx, batches, work, func(some []Unit, bad []Refused) error {
		refused = append(refused, bad...)
		units += len(some)
		done(units)
		return nil
	})
	failed = errors.Join(err, failed)
	if failed == nil && units != f.Head.Units {
		failed = fmt.Errorf("%s has %d whole units of %d: %w", f.path, units, f.Head.Units, ErrUnfinished)
	}
	return units, refused, failed
}

func (f *Fleet) judge(b *ca.Bundle, units []Unit) (refused []Refused) {
	for _, u := range units {
		if err := f.verify(b, u); err != nil {
			refused = append(refused, Refused{u.Serial, err})
		}
	}
	return refused
}

func (f *Fleet) verify(b *ca.Bundle, u Unit) error {
	o, ok := f.Order(u.Order)
	if !ok {
		return fmt.Errorf("the fleet has no order %d: %w", u.Order, ErrBad)
	}
	c, err := ca.ParseUnitCertificate(u.Certificate)
	if err != nil {
		return err
	}
	if c.Serial != u.Serial {
		return fmt.Errorf("its certificate is of %v: %w", c.Serial, ErrBad)
	}
	if err := c.Verify(o.Certificate); err != nil {
		return err
	}
	return b.Revoked(c.Serial)
}
