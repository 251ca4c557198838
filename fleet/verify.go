package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

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
	type job struct {
		units  []Unit
		result chan []Refused
	}
	jobs, queue := make(chan job), make(chan job, 2*runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				j.result <- f.judge(b, j.units)
			}
		})
	}
	var failed error // of reading; told when the queue is closed
	go func() {
		defer close(queue)
		defer close(jobs)
		hand := func(some []Unit) {
			j := job{some, make(chan []Refused, 1)}
			queue <- j
			jobs <- j
		}
		var some []Unit
		for u, err := range f.Units() {
			if failed = errors.Join(err, ctx.Err()); failed != nil {
				return
			}
			if some = append(some, u); len(some) == batch {
				hand(some)
				some = nil
			}
		}
		if len(some) > 0 {
			hand(some)
		}
	}()
	for j := range queue {
		refused = append(refused, <-j.result...)
		units += len(j.units)
		done(units)
	}
	workers.Wait()
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
