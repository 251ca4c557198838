// Package sim makes simulated units: the unit's own C code on a simulated ATECC608, on a pseudo-terminal that a station
// opens like any serial port.
package sim

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/device"
)

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

	// Cut is asked before each byte that the chip's EEPROM or the flash would change. Once it says yes the power has
	// failed: that byte and all others stay as they are, and the unit is unplugged. It is called from the unit's
	// goroutine.
	Cut func() bool
}

// Unit is one simulated unit. Its methods may be called from any goroutine but not at the same time, except Spoil.
type Unit struct {
	options Options
	spoiler atomic.Pointer[spoiler]
	life    *life // nil while unplugged
}

// Start makes a unit, or takes one from its files, and plugs it in. Without cgo it gives device.ErrNoCgo. A unit that
// another process runs is an error.
func Start(o Options) (*Unit, error) {
	u := &Unit{options: o}
	u.Spoil(Fault{})
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
// in RAM is lost.
func (u *Unit) Plug() error {
	if err := u.Unplug(); err != nil {
		return err
	}
	l := &life{unit: u, off: make(chan struct{}), done: make(chan struct{})}
	if err := l.begin(); err != nil {
		l.release() // nothing was written yet
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
	l.cutPower()
	<-l.done
	if l.err != nil {
		return fmt.Errorf("unplug %s: %w", u.Port(), l.err)
	}
	return nil
}

// Close unplugs the unit. Its files stay.
func (u *Unit) Close() error { return u.Unplug() }

func (u *Unit) path(suffix string) string { return unitPath(u.options.Dir, u.options.Index) + suffix }

func unitPath(dir string, index int) string {
	return filepath.Join(dir, fmt.Sprintf("unit-%02d", index))
}

const maxOverslept = 2 * time.Millisecond // beyond that a machine is too slow, and no pace is promised

// life is what a unit has from plugging in to unplugging.
type life struct {
	unit  *Unit
	chip  *chip.Device
	flash *Flash
	agent *device.Unit
	line  *line

	overslept time.Duration // by the last wait

	dying  sync.Once
	off    chan struct{} // closed when the power goes
	hungUp error         // from the line, after that
	done   chan struct{} // closed when everything is released, after err is set
	err    error
}

// begin opens what the unit consists of. After an error, release undoes what was done.
func (l *life) begin() (err error) {
	o := l.unit.options
	l.chip, err = chip.Open(l.unit.path(".eeprom"), chip.Options{
		SerialNumber: o.SerialNumber,
		TimeScale:    o.TimeScale,
		Sleep:        l.sleep,
		Cut:          func(int) bool { return l.cut() },
	})
	if err != nil {
		return err
	}
	if l.flash, err = openFlash(l.unit.path(".flash"), l.cut); err != nil {
		return err
	}
	board := device.Board{Chip: l.chip, Flash: l.flash, Debug: debug{l.cut, l.unit.path(".debug")}}
	if l.agent, err = device.NewUnit(o.Image, board); err != nil {
		return err
	}
	if err = writeImage(l.unit.path(".image"), o.Image); err != nil {
		return err
	}
	l.line, err = plugLine(l.unit.Port())
	return err
}

// release closes what begin has opened, without the line.
func (l *life) release() error {
	var errs []error
	if l.agent != nil {
		l.agent.Close()
	}
	if l.flash != nil {
		errs = append(errs, l.flash.Close())
	}
	if l.chip != nil {
		errs = append(errs, l.chip.Close())
	}
	return errors.Join(errs...)
}

// cutPower ends a life: from here on nothing is written and nothing is said.
func (l *life) cutPower() {
	l.dying.Do(func() {
		close(l.off)
		l.hungUp = l.line.unplug()
	})
}

func (l *life) dead() bool {
	select {
	case <-l.off:
		return true
	default:
		return false
	}
}

// cut says whether there is no power for the next byte.
func (l *life) cut() bool {
	if cut := l.unit.options.Cut; cut != nil && !l.dead() && cut() {
		l.cutPower()
	}
	return l.dead()
}

// sleep waits, but not beyond the end of the power. A wait ends up to a millisecond late, which the next one makes up for: in a
// journey there are a hundred.
func (l *life) sleep(d time.Duration) {
	end := time.Now().Add(d - l.overslept)
	select {
	case <-time.After(time.Until(end)):
	case <-l.off:
	}
	l.overslept = min(time.Since(end), maxOverslept)
}

// serve carries bytes between line and agent until the power goes.
func (l *life) serve() {
	defer close(l.done)
	defer func() {
		l.cutPower()
		l.err = errors.Join(l.hungUp, l.release())
	}()
	for b := make([]byte, 256); ; {
		n, err := l.line.Read(b)
		if err != nil {
			return
		}
		l.pace(n)
		spoiler := l.unit.spoiler.Load()
		heard, cut := spoiler.hear(b[:n])
		if cut {
			return
		}
		answer := l.agent.Receive(heard)
		if l.dead() || len(answer) == 0 {
			continue
		}
		said, cut := spoiler.say(answer)
		if l.send(said, spoiler.Dribble) != nil || cut {
			return
		}
	}
}

// send puts bytes on the line, one at a time with a pause before each if there is a pause.
func (l *life) send(b []byte, pause time.Duration) error {
	step := len(b)
	if pause > 0 {
		step = 1
	}
	for ; len(b) > 0; b = b[step:] {
		l.sleep(pause)
		l.pace(step)
		if l.dead() {
			return errPowerCut
		}
		if _, err := l.line.Write(b[:step]); err != nil {
			return err
		}
	}
	return nil
}

// pace waits as long as n bytes take on the line: start bit, eight bits, stop bit.
func (l *life) pace(n int) {
	if baud := l.unit.options.Baud; baud > 0 {
		l.sleep(time.Duration(n) * 10 * time.Second / time.Duration(baud))
	}
}
