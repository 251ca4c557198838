// Package fleet has test units in numbers: Make makes them as keys and certificates, package spoil negative ones, Serve runs them behind
// pseudo-terminals as the library's own code over simulated chips, ServeBoards as machine code; Meet lets two of these meet, MeetAll all
// of those that Make made.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
)

// MaxUnits is how many simulated units one process serves: each has a pseudo-terminal, of which Linux hands out 4096 by
// default, and four open files.
const MaxUnits = 1000

const maxTimeScale = 100 // a chip a hundred times slower than the data sheet's slowest

// ErrRange is wrapped where a request asks for what cannot be served.
var ErrRange = errors.New("out of range")

// Request says which units to serve.
type Request struct {
	Units     int
	Dir       string   // exists; ports and state go there, see sim.Options
	Anchor    [32]byte // what the image trusts
	Firmware  [32]byte // the image's hash
	Product   uint32
	Peers     []uint32
	IOKey     bool    // the chips encrypt what ECDH gives
	TimeScale float64 // chip's execution times: 1 as in the data sheet, 0 none
	Baud      int     // pace of the line, bits a second; 0 = as fast as it goes

	Plan    *Plan                    // what goes wrong with them; nil: nothing
	Control string                   // a Unix socket of this name takes commands while the units answer; "": none
	Watch   func(port, event string) // told of each fault that strikes, and what is back, one at a time
}

// Serve runs simulated units on pseudo-terminals. ready gets the ports once all units have power; the units answer until
// the context ends, which is no error. Before it returns, every unit is unplugged; their files stay, and the next Serve on
// the same folder goes on with the same units.
//
// Errors wrap ErrRange, also of a plan that names units which are not there, ca.ErrMalformed of what is no plan, device.ErrNoCgo,
// fs.ErrExist or syscall.EAGAIN where the socket's name is taken, or what the system says about a unit's files or terminal.
func Serve(ctx context.Context, r Request, ready func(ports []string)) (err error) {
	if r.Units < 1 || r.Units > MaxUnits {
		return fmt.Errorf("%d units, want 1 to %d: %w", r.Units, MaxUnits, ErrRange)
	}
	if err := checkPace(r.TimeScale, r.Baud); err != nil {
		return err
	}
	j := newJig(r)
	if r.Plan != nil {
		if err := r.Plan.check(); err != nil {
			return fmt.Errorf("fault plan: %w: %w", err, ca.ErrMalformed)
		}
		for i, f := range r.Plan.Faults {
			if _, err := j.arm(f); err != nil {
				return fmt.Errorf("fault plan, entry %d: %w", i+1, err)
			}
		}
	}
	defer func() { err = errors.Join(err, j.close()) }()
	var ports []string
	for _, s := range j.seats {
		if err := s.start(); err != nil {
			return err
		}
		ports = append(ports, s.unit.Port())
	}
	if r.Control == "" {
		ready(ports)
		<-ctx.Done()
		return nil
	}
	l, err := sim.Listen(r.Control)
	if err != nil {
		return err
	}
	ready(ports)
	return j.control(ctx, l)
}

func checkPace(scale float64, baud int) error {
	if baud < 0 || !(scale >= 0 && scale <= maxTimeScale) { // a scale that is no number compares with nothing
		return fmt.Errorf("pace of %d bits a second and time scale %v, want a pace of 0 or more and a scale from 0 to %d: %w", baud, scale, maxTimeScale, ErrRange)
	}
	return nil
}

// jig is what the units of a fleet are served in.
type jig struct {
	seats []*seat
	seed  string
	mutex sync.Mutex // one command at a time
	armed int        // faults so far, each of which draws for itself
}

func newJig(r Request) *jig {
	j := new(jig)
	if r.Plan != nil {
		j.seed = r.Plan.Seed
	}
	var watching sync.Mutex
	watch := func(port, event string) {
		watching.Lock()
		defer watching.Unlock()
		if r.Watch != nil {
			r.Watch(port, event)
		}
	}
	for i := range r.Units {
		s := &seat{number: i + 1, watch: watch}
		s.unit = sim.New(sim.Options{
			Dir:       r.Dir,
			Index:     s.number,
			TimeScale: r.TimeScale,
			Baud:      r.Baud,
			OwnSupply: true,
			Image:     device.Image{AnchorHash: r.Anchor, FirmwareHash: r.Firmware, Product: r.Product, Peers: r.Peers, IOKey: r.IOKey},
			Request:   s.request,
			Cut:       s.write,
		})
		j.seats = append(j.seats, s)
	}
	return j
}

// arm gives a fault to the units that it is for, to all of them or, with an error, to none.
func (j *jig) arm(f Fault) ([]*seat, error) {
	seats, err := j.choose(f)
	if err != nil {
		return nil, err
	}
	for _, s := range seats {
		if s.full() {
			return nil, fmt.Errorf("unit %d has %d faults already: %w", s.number, maxFaults, ErrRange)
		}
	}
	for _, s := range seats {
		s.arm(f, draws(j.seed, j.armed, s.number))
	}
	j.armed++
	return seats, nil
}

// choose finds the units that a fault is for. Errors wrap ErrRange.
func (j *jig) choose(f Fault) ([]*seat, error) {
	numbers, err := f.choose(len(j.seats), draws(j.seed, j.armed))
	var seats []*seat
	for _, n := range numbers {
		seats = append(seats, j.seats[n-1])
	}
	return seats, err
}

func (j *jig) close() error {
	var errs []error
	for _, s := range j.seats {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
