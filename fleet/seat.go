package fleet

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// maxFaults bounds what a unit is given: a client that never clears would fill the memory.
const maxFaults = 64

// armed is a fault that a unit has.
type armed struct {
	Fault
	random      *rand.Rand
	struck      int  // times
	seen, taken int  // of the frames that the fault takes its part of
	counting    bool // the bytes that the unit writes for this request
	written     int
}

// limit is how often it strikes: a state that a unit is in goes on, what happens to it happens once.
func (a *armed) limit() int {
	switch {
	case a.Times != 0:
		return int(a.Times)
	case a.gone():
		return 1
	}
	return int(always)
}

// gone says that the unit has no power after it.
func (a *armed) gone() bool { return a.Kind == unplug || a.Kind == powerCut }

func (a *armed) over() bool { return a.struck >= a.limit() }

// takes draws whether the next frame is of those that the fault takes.
func (a *armed) takes() bool {
	if a.Frames == (Frames{}) {
		return true
	}
	if a.seen == a.Frames.Of {
		a.seen, a.taken = 0, 0
	}
	take := a.random.IntN(a.Frames.Of-a.seen) < a.Frames.Some-a.taken // each choice is as likely as any other
	a.seen++
	if take {
		a.taken++
	}
	return take
}

// line is what the fault is to the line, for one frame and its answer.
func (a *armed) line() sim.Fault {
	f := sim.Fault{Seed: a.random.Uint64(), Delay: time.Duration(a.Delay), Dribble: time.Duration(a.Pause)}
	switch a.Kind {
	case dead:
		f.Deaf = true
	case mute:
		f.Silent = true
	case garbage:
		f.Changed = max(1, a.Bytes)
	case unplug:
		f.CutAfter = 1 // the request does not get through
	case powerCut:
		f.PowerFails = true
	}
	return f
}

// seat is a unit's place: its cable, its power, and what goes wrong with them.
type seat struct {
	number int
	unit   *sim.Unit
	watch  func(port, event string)

	switching sync.Mutex // held while cable and power are taken or given; before state
	closed    bool

	state    sync.Mutex // held for what follows, and never while the unit is waited for
	faults   []*armed
	plugged  bool
	power    bool
	requests int
	asked    string      // the stage of the last
	comeback *time.Timer // nil: it stays as it is
}

// start plugs the unit in for the first time.
func (s *seat) start() error {
	s.switching.Lock()
	defer s.switching.Unlock()
	return s.plug()
}

// request says what is wrong with the line for a frame: sim.Options.Request. The first fault that it is for strikes.
func (s *seat) request(frame []byte) sim.Fault {
	stage, ok := asks(frame)
	if !ok {
		return sim.Fault{} // what is none reaches the unit as noise does
	}
	s.state.Lock()
	defer s.state.Unlock()
	s.requests++
	s.asked = stage
	var strikes *armed
	for _, a := range s.faults {
		fits := !a.over() && (a.Stage == "" || a.Stage == stage)
		switch {
		case a.Write != 0:
			a.counting, a.written = fits, 0
		case fits && strikes == nil && a.takes():
			strikes = a
		}
	}
	if strikes == nil {
		return sim.Fault{}
	}
	s.strike(strikes, "")
	return strikes.line()
}

// write says whether the power fails at the next byte that the unit writes: sim.Options.Cut.
func (s *seat) write() bool {
	s.state.Lock()
	defer s.state.Unlock()
	for _, a := range s.faults {
		if !a.counting {
			continue
		}
		if a.written++; a.written == a.Write {
			a.counting = false
			s.strike(a, fmt.Sprintf(" byte %d of", a.Write))
			return true
		}
	}
	return false
}

// strike records that a fault strikes now. The caller holds state.
func (s *seat) strike(a *armed, where string) {
	a.struck++
	stage := s.asked
	if stage == "" {
		stage = "a request of no stage"
	}
	s.watch(s.unit.Port(), fmt.Sprintf("%s at%s %s, request %d", a.Kind, where, stage, s.requests))
	if a.gone() {
		s.leave(a.Kind, a.Back)
	}
}

// leave records that cable or power are gone, and until when. The caller holds state.
func (s *seat) leave(kind string, back Span) {
	s.power = false
	s.plugged = s.plugged && kind != unplug
	if s.comeback != nil {
		s.comeback.Stop()
		s.comeback = nil
	}
	if back == 0 {
		return
	}
	var own *time.Timer
	own = time.AfterFunc(time.Duration(back), func() {
		s.switching.Lock()
		defer s.switching.Unlock()
		s.state.Lock()
		stale := s.closed || s.comeback != own
		s.state.Unlock()
		if stale {
			return
		}
		event := "back"
		if err := s.plug(); err != nil {
			event = fmt.Sprintf("not back: %v", err)
		}
		s.watch(s.unit.Port(), event)
	})
	s.comeback = own
}

// whole says that the unit has its cable and power.
func (s *seat) whole() bool {
	s.state.Lock()
	defer s.state.Unlock()
	return s.plugged && s.power
}

// plug gives back cable and power, or the power alone if that is what the unit lacks. The caller holds switching.
func (s *seat) plug() error {
	s.state.Lock()
	plugged := s.plugged
	s.state.Unlock()
	off, on := s.unit.Unplug, s.unit.Plug
	if plugged {
		off, on = s.unit.PowerOff, s.unit.PowerOn
	}
	if err := off(); err != nil { // the end of what is over, so that no fault strikes until it is on
		return err
	}
	s.state.Lock()
	if s.comeback != nil {
		s.comeback.Stop()
		s.comeback = nil
	}
	s.plugged, s.power = true, true
	s.state.Unlock()
	if err := on(); err != nil {
		s.state.Lock()
		defer s.state.Unlock()
		s.plugged, s.power = plugged, false
		return err
	}
	return nil
}

// take takes the cable, and the power with it, or the power alone. The caller holds switching.
func (s *seat) take(kind string, back Span) error {
	off := s.unit.PowerOff
	if kind == unplug {
		off = s.unit.Unplug
	}
	err := off()
	s.state.Lock()
	defer s.state.Unlock()
	s.leave(kind, back)
	return err
}

// full says that the unit takes no more faults.
func (s *seat) full() bool {
	s.state.Lock()
	defer s.state.Unlock()
	return len(s.faults) >= maxFaults
}

// arm gives the unit a fault.
func (s *seat) arm(f Fault, random *rand.Rand) {
	s.state.Lock()
	defer s.state.Unlock()
	s.faults = append(s.faults, &armed{Fault: f, random: random})
}

// clear takes all faults from the unit.
func (s *seat) clear() {
	s.state.Lock()
	defer s.state.Unlock()
	s.faults = nil
}

// obey does what a command says to this unit.
func (s *seat) obey(c Command) (err error) {
	s.switching.Lock()
	defer s.switching.Unlock()
	switch c.Do {
	case unplug, powerCut:
		err = s.take(c.Do, c.Back)
	case plug:
		if s.whole() {
			return nil
		}
		err = s.plug()
	case clearFaults:
		s.clear()
		return nil
	default:
		return nil
	}
	s.watch(s.unit.Port(), c.Do+", by control")
	return err
}

// close ends the unit. Nothing brings it back.
func (s *seat) close() error {
	s.switching.Lock()
	defer s.switching.Unlock()
	s.closed = true
	return s.unit.Close()
}

// UnitState is how a served unit is.
type UnitState struct {
	Unit     int          `json:"unit"`
	Port     string       `json:"port"`
	Plugged  bool         `json:"plugged"`
	Power    bool         `json:"power"`
	Requests int          `json:"requests"` // that reached it or were to
	Faults   []FaultState `json:"faults"`   // in the order in which they came
}

// FaultState is how far a fault has come.
type FaultState struct {
	Fault  string `json:"fault"`
	Stage  string `json:"stage,omitempty"`
	Struck int    `json:"struck"` // times
	Over   bool   `json:"over"`   // it does not strike again
}

func (s *seat) show() UnitState {
	s.state.Lock()
	defer s.state.Unlock()
	u := UnitState{Unit: s.number, Port: s.unit.Port(), Plugged: s.plugged, Power: s.power, Requests: s.requests, Faults: []FaultState{}}
	for _, a := range s.faults {
		u.Faults = append(u.Faults, FaultState{Fault: a.Kind, Stage: a.Stage, Struck: a.struck, Over: a.over()})
	}
	return u
}

// asks gives the stage of a request, "" if it belongs to none, and whether a frame is one (docs/wire.md, "Messages").
func asks(frame []byte) (stage string, ok bool) {
	payload, err := link.DecodeFrame(frame)
	if err != nil {
		return "", false
	}
	var items []cbor.RawMessage
	var verb uint8
	if cbor.Unmarshal(payload, &items) != nil || len(items) < 3 || cbor.Unmarshal(items[2], &verb) != nil || verb == 0 {
		return "", false
	}
	if int(verb) < len(stages) {
		stage = stages[verb]
	}
	return stage, true
}
