// Package sim makes simulated units: the unit's own C code on a simulated ATECC608, on a pseudo-terminal that a station
// opens like any serial port.
package sim

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/birthmark/birthmark/device"
)

const maxFrame = 1024 // bytes without an end, which are no request: those have 650 at most (docs/wire.md, "Frame")

// Options say which unit it is and where it lives.
type Options struct {
	// Dir is where the unit keeps what survives without power, as unit-NN.eeprom, unit-NN.flash and unit-NN.debug, what its
	// firmware was built with, as unit-NN.image, and its port, unit-NN, NN being Index. The directory must exist. A unit
	// whose files are there already goes on.
	Dir   string
	Index int

	// Image is what the unit's firmware was built with; a unit that goes on gets this firmware.
	Image device.Image

	// SerialNumber of a new unit's chip; zero draws one.
	SerialNumber [9]byte

	// TimeScale is what the chip's commands take as a fraction of their time in silicon; 0 is no time.
	TimeScale float64

	// Baud is the speed of the line, bits a second; 0 is without limit.
	Baud int

	// OwnSupply says that the unit's power does not come with its line: when it fails, the port stays and nobody answers.
	// Without it the unit is unplugged then.
	OwnSupply bool

	// Cut is asked before each byte that the chip's EEPROM or the flash would change. Once it says yes the power has
	// failed: that byte and all others stay as they are. It is called from the unit's goroutine.
	Cut func() bool

	// Request is asked before the unit gets a frame, which is without the zero that ends it here, and says what is wrong with
	// the line for it and its answer; without one Spoil does. It is called from the unit's goroutine.
	Request func(frame []byte) Fault
}

// Unit is one simulated unit. Its methods may be called from any goroutine but not at the same time, except Spoil.
type Unit struct {
	options Options
	spoiler atomic.Pointer[spoiler]
	life    *life // nil while unplugged
}

// New gives a unit that is not plugged in yet.
func New(o Options) *Unit {
	u := &Unit{options: o}
	u.Spoil(Fault{})
	return u
}

// Start makes a unit, or takes one from its files, and plugs it in. Errors are those of Plug.
func Start(o Options) (*Unit, error) {
	u := New(o)
	if err := u.Plug(); err != nil {
		return nil, err
	}
	return u, nil
}

// Port is the path for link.Open. It stays the same when the unit is plugged in again, and does not exist between.
func (u *Unit) Port() string { return u.path("") }

// Spoil gives the line a fault, from the next bytes on; the zero Fault mends it.
func (u *Unit) Spoil(f Fault) { u.spoiler.Store(newSpoiler(f)) }

// Plug gives the unit power and connects its line, after taking both away if it was plugged in. What chip and agent had
// in RAM is lost. Without cgo it gives device.ErrNoCgo. A unit that another process runs is an error.
func (u *Unit) Plug() error {
	if err := u.Unplug(); err != nil {
		return err
	}
	l := &life{unit: u, done: make(chan struct{})}
	if err := l.begin(); err != nil {
		return fmt.Errorf("plug %s: %w", u.Port(), err)
	}
	go l.serve()
	u.life = l
	return nil
}

// Unplug takes line and power away at whatever byte the unit is; the station sees its port hang up. It returns when the
// files are closed, with the first write that one of them did not take. On an unplugged unit it does nothing.
func (u *Unit) Unplug() error {
	l := u.life
	if l == nil {
		return nil
	}
	u.life = nil
	l.hangUp()
	<-l.done
	if l.err != nil {
		return fmt.Errorf("unplug %s: %w", u.Port(), l.err)
	}
	return nil
}

// PowerOff takes the power alone away, at whatever byte the unit is: its port stays, and nobody answers. On a unit without power
// it does nothing. Errors are those of Unplug.
func (u *Unit) PowerOff() error {
	l := u.life
	if l == nil {
		return nil
	}
	if s := l.supply.Load(); s != nil {
		s.fail() // ends what the unit is at
	}
	l.computing.Lock()
	defer l.computing.Unlock()
	if err := l.dark(); err != nil {
		return fmt.Errorf("power off %s: %w", u.Port(), err)
	}
	return nil
}

// PowerOn gives a unit that is plugged in its power back. What chip and agent had in RAM is lost.
func (u *Unit) PowerOn() error {
	if err := u.PowerOff(); err != nil || u.life == nil {
		return err
	}
	u.life.computing.Lock()
	defer u.life.computing.Unlock()
	s, err := newSupply(u)
	if err != nil {
		return fmt.Errorf("power on %s: %w", u.Port(), err)
	}
	u.life.supply.Store(s)
	return nil
}

// Close unplugs the unit. Its files stay.
func (u *Unit) Close() error { return u.Unplug() }

func (u *Unit) path(suffix string) string { return unitPath(u.options.Dir, u.options.Index) + suffix }

func unitPath(dir string, index int) string {
	return filepath.Join(dir, fmt.Sprintf("unit-%02d", index))
}

// life is what a unit has from plugging in to unplugging.
type life struct {
	unit *Unit
	line *line

	computing sync.Mutex             // held while the unit computes, and while its power comes or is gone for good
	supply    atomic.Pointer[supply] // nil: it has none
	lost      error                  // by files that were closed since

	hanging sync.Once
	hungUp  error         // from the line
	done    chan struct{} // closed when everything is released, after err is set
	err     error
}

// begin gives power first: a unit that another process runs keeps its port.
func (l *life) begin() error {
	s, err := newSupply(l.unit)
	if err != nil {
		return err
	}
	if l.line, err = plugLine(l.unit.Port()); err != nil {
		s.release() // nothing was written yet
		return err
	}
	l.supply.Store(s)
	return nil
}

// hangUp ends a life: from here on nothing is written and nothing is said.
func (l *life) hangUp() {
	if s := l.supply.Load(); s != nil {
		s.fail()
	}
	l.hanging.Do(func() { l.hungUp = l.line.unplug() })
}

// dark closes what lives on power. The caller holds computing.
func (l *life) dark() error {
	s := l.supply.Swap(nil)
	if s == nil {
		return nil
	}
	s.fail()
	return s.release()
}

// serve carries bytes between line and unit until the line is gone.
func (l *life) serve() {
	defer close(l.done)
	defer func() {
		l.hangUp()
		l.computing.Lock()
		defer l.computing.Unlock()
		l.err = errors.Join(l.hungUp, l.lost, l.dark())
	}()
	var heard []byte // since the last frame's end
	for b := make([]byte, 256); ; {
		n, err := l.line.Read(b)
		if err != nil {
			return
		}
		heard = append(heard, b[:n]...)
		for {
			end := bytes.IndexByte(heard, 0) + 1
			if end == 0 && len(heard) > maxFrame {
				end = len(heard) // it is none
			}
			if end == 0 {
				break
			}
			if !l.take(heard[:end]) {
				return
			}
			heard = heard[end:]
		}
	}
}

// take gives the unit a frame, and the line its answer. It reports whether the line is still there.
func (l *life) take(frame []byte) bool {
	l.computing.Lock()
	defer l.computing.Unlock()
	s := l.supply.Load()
	if s == nil {
		return true
	}
	plugged := s.take(frame, l.line)
	if s.failed() {
		plugged = plugged && l.unit.options.OwnSupply
		l.lost = errors.Join(l.lost, l.dark())
	}
	return plugged
}
