package sim

import (
	"errors"
	"sync"
	"time"

	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/device"
)

const maxOverslept = 2 * time.Millisecond // beyond that a machine is too slow, and no pace is promised

// supply is what a unit has while it has power.
type supply struct {
	unit  *Unit
	chip  *chip.Device
	flash *Flash
	agent *device.Unit

	overslept time.Duration // by the last wait

	failing sync.Once
	off     chan struct{} // closed when the power goes
}

// newSupply gives power to what the unit consists of.
func newSupply(u *Unit) (_ *supply, err error) {
	s := &supply{unit: u, off: make(chan struct{})}
	defer func() {
		if err != nil {
			s.release() // nothing was written yet
		}
	}()
	s.chip, err = chip.Open(u.path(".eeprom"), chip.Options{
		SerialNumber: u.options.SerialNumber,
		TimeScale:    u.options.TimeScale,
		Sleep:        s.sleep,
		Cut:          func(int) bool { return s.cut() },
	})
	if err != nil {
		return nil, err
	}
	if s.flash, err = openFlash(u.path(".flash"), s.cut); err != nil {
		return nil, err
	}
	board := device.Board{Chip: s.chip, Flash: s.flash, Debug: debug{s.cut, u.path(".debug")}}
	if s.agent, err = device.NewUnit(u.options.Image, board); err != nil {
		return nil, err
	}
	return s, writeImage(u.path(".image"), u.options.Image)
}

// release closes what newSupply has opened.
func (s *supply) release() error {
	var errs []error
	if s.agent != nil {
		s.agent.Close()
	}
	if s.flash != nil {
		errs = append(errs, s.flash.Close())
	}
	if s.chip != nil {
		errs = append(errs, s.chip.Close())
	}
	return errors.Join(errs...)
}

// fail takes the power away: from here on nothing is written and nothing is said.
func (s *supply) fail() { s.failing.Do(func() { close(s.off) }) }

func (s *supply) failed() bool {
	select {
	case <-s.off:
		return true
	default:
		return false
	}
}

// cut says whether there is no power for the next byte.
func (s *supply) cut() bool {
	if cut := s.unit.options.Cut; cut != nil && !s.failed() && cut() {
		s.fail()
	}
	return s.failed()
}

// sleep waits, but not beyond the end of the power. A wait ends up to a millisecond late, which the next one makes up for: in a
// journey there are a hundred.
func (s *supply) sleep(d time.Duration) {
	end := time.Now().Add(d - s.overslept)
	select {
	case <-time.After(time.Until(end)):
	case <-s.off:
	}
	s.overslept = min(time.Since(end), maxOverslept)
}

// take gives the unit a frame, and the line its answer. It reports whether the line is still there.
func (s *supply) take(frame []byte, l *line) bool {
	s.pace(len(frame))
	spoiler := s.unit.spoiler.Load()
	if request := s.unit.options.Request; request != nil && len(frame) > 1 {
		spoiler = newSpoiler(request(frame[:len(frame)-1]))
	}
	if spoiler.PowerFails {
		s.fail()
		return true
	}
	heard, cut := spoiler.hear(frame)
	if cut {
		return false
	}
	answer := s.agent.Receive(heard)
	if len(answer) == 0 {
		return true
	}
	if spoiler.Delay > 0 {
		s.sleep(spoiler.Delay)
	}
	said, cut := spoiler.say(answer)
	return s.send(said, l, spoiler.Dribble) == nil && !cut
}

// send puts bytes on the line while there is power, one at a time with a pause before each if there is a pause.
func (s *supply) send(b []byte, l *line, pause time.Duration) error {
	step := len(b)
	if pause > 0 {
		step = 1
	}
	for ; len(b) > 0; b = b[step:] {
		s.sleep(pause)
		s.pace(step)
		if s.failed() {
			return nil
		}
		if _, err := l.Write(b[:step]); err != nil {
			return err
		}
	}
	return nil
}

// pace waits as long as n bytes take on the line: start bit, eight bits, stop bit.
func (s *supply) pace(n int) {
	if baud := s.unit.options.Baud; baud > 0 {
		s.sleep(time.Duration(n) * 10 * time.Second / time.Duration(baud))
	}
}
