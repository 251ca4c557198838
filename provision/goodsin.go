package provision

import (
	"context"
	"fmt"
	"io"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
)

// GoodsIn is where chips are captured before a line sees them: stages 1 to 3 without an order, by other people than the line's. It
// is safe for several lanes at once. Its fields are set before the first Run.
type GoodsIn struct {
	Profile *ca.Profile
	Begun   *Begun
	Baud    int
	Watch   func(Event) // as Station's
}

// Run captures the chip of the unit on each port and reports each as it ends, as Station.Run does.
func (g *GoodsIn) Run(ctx context.Context, ports []string, done func(Result)) {
	lanes(ports, func(port string) Result {
		u := &unit{watch: g.Watch}
		return u.lane(port, g.open, func(r *Result) (err error) {
			r.Captured, err = g.capture(ctx, u)
			return err
		})
	}, done)
}

func (g *GoodsIn) open(path string) (io.ReadWriteCloser, error) { return link.Open(path, g.Baud) }

// capture takes a chip from blank to prepared, and has it attest its key once, so that the key that goes on the list is known to work.
// There is no order yet, and its name is zeros.
func (g *GoodsIn) capture(ctx context.Context, u *unit) (*ca.Captured, error) {
	greeting, err := u.hello(ctx)
	if err != nil {
		return nil, err
	}
	if greeting.State == link.Sealed {
		return nil, fmt.Errorf("chip %x is sealed: %w", u.chip, ErrProvisioned)
	}
	if err := u.suits(g.Profile, greeting); err != nil {
		return nil, err
	}
	if err := g.Begun.admit(u.chip, greeting.Locks.Configuration()); err != nil {
		return nil, err
	}
	p, err := u.prepareChip(ctx, g.Profile)
	if err != nil {
		return nil, err
	}
	said, err := u.proveKey(ctx, ca.OrderName{}, greeting.Firmware)
	if err != nil {
		return nil, err
	}
	captured, err := g.Profile.Capture(p.AttestationKey, said)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrSetAside)
	}
	return captured, nil
}
