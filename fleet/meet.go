package fleet

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
)

var (
	// ErrSameUnit: a unit that is to meet itself.
	ErrSameUnit = errors.New("one unit twice")
	// ErrNotProvisioned: a unit without an identity.
	ErrNotProvisioned = errors.New("the unit is not provisioned")
	// ErrFault: a unit that lost the record of who its peer is.
	ErrFault = errors.New("a unit's record of its pairing is lost, so that it meets nobody")
	// ErrNotPaired: a genuine unit that another one does not pair with.
	ErrNotPaired = errors.New("the units do not pair")
	// ErrNotGenuine: an impostor, or a unit that another one does not take for genuine.
	ErrNotGenuine = errors.New("the unit is not accepted")
	// ErrSilent: a meeting that came to no end of its own.
	ErrSilent = errors.New("the meeting broke off")
)

// Policy says when a simulated unit's board lets a genuine unit become its peer (docs/peerlink.md, "Policies").
type Policy string

// The policies.
const (
	Expected Policy = "expected" // each unit is told the serial number of the one that it meets
	Wired    Policy = "wired"
	Gesture  Policy = "gesture" // the buttons of both are pressed
)

const (
	maxText    = 547 // bytes of an application's message (docs/peerlink.md, "Limits")
	maxMeeting = 5 * time.Minute
	maxSaying  = 10 * time.Second
	press      = 100 * time.Millisecond
	hold       = 5500 * time.Millisecond // a release takes 5 s
)

// MeetRequest says who meets, and how.
type MeetRequest struct {
	Units    [2]string // where the units' ports would be, as Serve gives them; the first begins
	Policy   Policy
	Hold     string   // one of Units: its button is held down beforehand, which releases its pairing
	Impostor Impostor // stands in the second unit's place
	Text     string   // what each says to the other; empty: a greeting
}

// Meeting is what was seen of two units that met.
type Meeting struct {
	Parties  [2]Party
	Messages []Message // all that was said, in its order
	Texts    []Text    // once they are paired
	New      bool      // they paired in this meeting
	Took     time.Duration
}

// Party is one of the two.
type Party struct {
	Name          string // last element of its path
	Impostor      Impostor
	Unit          *ca.UnitCertificate // this and its order are what it shows of itself
	Order         *ca.OrderCertificate
	Before, After device.Pairing
	// How far its trust went before the meeting, and goes after it.
	TrustBefore, TrustAfter device.Version
}

// Text is what one unit's product gave to its peer link, what went over the line for it, and what the other's got.
type Text struct {
	From       int // index of the party
	Sent, Came string
	Record     []byte
}

// Meet lets two units meet on a line between them, in simulated time: they begin, pair if they are not paired, and say
// something to each other. They must not be served at the same time: the error then wraps syscall.EAGAIN.
//
// Errors wrap ErrRange, ErrSameUnit, ErrNotProvisioned or device.ErrNoCgo, or are of the units' files, and the meeting is nil; or they
// wrap ErrFault, ErrNotPaired, ErrNotGenuine or ErrSilent, and the meeting tells how far it went.
func Meet(r MeetRequest) (_ *Meeting, err error) {
	if err := errors.Join(device.Available(), r.check()); err != nil {
		return nil, err
	}
	paths := r.Units
	if r.Impostor != Nobody {
		var remove func() error
		if paths[1], remove, err = r.Impostor.make(r.Units[1]); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	m := &Meeting{}
	l := new(line)
	var boards [2]*sim.Board
	for i, path := range paths {
		if boards[i], err = sim.OpenBoard(path, l.pass, l.clock); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Units[i], err)
		}
		defer func() { err = errors.Join(err, boards[i].Close()) }()
		if m.Parties[i], err = look(boards[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Units[i], err)
		}
		m.Parties[i].Name = r.name(i)
	}
	m.Parties[1].Impostor = r.Impostor
	for i, board := range boards {
		peer, err := device.NewPeer(board.Image, board.Parts, device.PeerOptions{Policy: r.policy(m.Parties[1-i].Unit)})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Units[i], err)
		}
		l.ends[i] = &end{peer: peer}
		defer peer.Close()
	}
	l.meet(r, m)
	m.Messages, m.Took = l.said, l.now-l.start
	for i, board := range boards {
		after, err := look(board)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Units[i], err)
		}
		m.Parties[i].After, m.Parties[i].TrustAfter = after.Before, after.TrustBefore
	}
	return m, m.verdict(l)
}

func (r MeetRequest) check() error {
	switch {
	case sim.Same(r.Units[0], r.Units[1]):
		return fmt.Errorf("%s: %w", r.Units[0], ErrSameUnit)
	case !slices.Contains([]Policy{Expected, Wired, Gesture}, r.Policy):
		return fmt.Errorf("policy %q, want %s, %s or %s: %w", r.Policy, Expected, Wired, Gesture, ErrRange)
	case r.Hold != "" && !slices.Contains(r.Units[:], r.Hold):
		return fmt.Errorf("the button of %s, which is none of the two units: %w", r.Hold, ErrRange)
	case len(r.Text) > maxText:
		return fmt.Errorf("a text of %d bytes, want at most %d: %w", len(r.Text), maxText, ErrRange)
	}
	return checkImpostor(r.Impostor)
}

// name is what a unit is called: the last element of its path, unless the other's is the same.
func (r MeetRequest) name(i int) string {
	if filepath.Base(r.Units[0]) == filepath.Base(r.Units[1]) {
		return r.Units[i]
	}
	return filepath.Base(r.Units[i])
}

// policy is that of a unit's board, which expects to meet the other.
func (r MeetRequest) policy(other *ca.UnitCertificate) device.Policy {
	switch r.Policy {
	case Wired:
		return device.Wired{}
	case Gesture:
		return device.Gesture{}
	}
	serial := other.Serial.Bytes()
	return device.Expected{Serial: serial[:]}
}

// look finds out what a unit is, if it is sealed.
func look(board *sim.Board) (p Party, err error) {
	unit, err := device.NewUnit(board.Image, board.Parts)
	if err != nil {
		return p, err
	}
	defer unit.Close()
	own, order := unit.Certificates()
	if own == nil || !board.Parts.Debug.Closed() {
		return p, ErrNotProvisioned
	}
	if p.Unit, err = ca.ParseUnitCertificate(own); err != nil {
		return p, err
	}
	if p.Order, err = ca.ParseOrderCertificate(order); err != nil {
		return p, err
	}
	p.Before, p.TrustBefore = unit.Pairing(), unit.Trust()
	return p, nil
}

// meet is the story of a meeting.
func (l *line) meet(r MeetRequest, m *Meeting) {
	if i := slices.Index(r.Units[:], r.Hold); i >= 0 {
		l.hold(i)
	}
	l.start = l.now
	if r.Policy == Gesture {
		l.run(step, nil) // what is down since power-up is no press
		for _, e := range l.ends {
			e.peer.Press()
		}
		l.run(press, nil)
		for _, e := range l.ends {
			e.peer.Lift()
		}
	} else {
		_ = l.ends[0].peer.Connect() // no meeting goes on
	}
	l.run(maxMeeting, l.over)
	for _, e := range l.events {
		m.New = m.New || e.Kind == device.PeerReady && e.Reason == 1
	}
	for i, e := range l.ends {
		if !l.ready() {
			return
		}
		text := r.Text
		if text == "" {
			text = "hello from " + m.Parties[i].Name
		}
		if e.peer.Send([]byte(text)) != nil {
			return
		}
		l.run(maxSaying, func() bool { return l.ends[1-i].heard != nil && l.ready() })
		m.Texts = append(m.Texts, Text{From: i, Sent: text, Came: string(l.ends[1-i].heard), Record: e.record})
	}
}

// hold holds a unit's button down, long enough for a release, while it is alone on the line. What it said is forgotten.
func (l *line) hold(i int) {
	e, ends := l.ends[i], l.ends
	l.ends[1-i] = nil
	l.run(step, nil) // what is down since power-up is no press
	e.peer.Press()
	l.run(hold, nil)
	e.peer.Lift()
	l.run(maxMeeting, l.over)
	l.ends, l.said, l.events, e.last = ends, nil, nil, nil
}

// verdict is what went wrong, in the words of the unit that was the first to say no.
func (m *Meeting) verdict(l *line) error {
	for i, p := range m.Parties {
		if p.Before.State == device.PairingFault {
			return fmt.Errorf("%s: %w", m.Parties[i].Name, ErrFault)
		}
	}
	if len(m.Texts) == 2 && m.Texts[0].Sent == m.Texts[0].Came && m.Texts[1].Sent == m.Texts[1].Came {
		return nil
	}
	refused := slices.IndexFunc(l.events, func(e event) bool {
		return e.Kind == device.PeerFailed && !slices.Contains(secondhand, e.Reason)
	})
	if refused < 0 {
		for _, e := range l.events {
			if e.Kind != device.PeerMessage && e.Kind != device.PeerReady {
				return fmt.Errorf("%s: %v: %w", m.Parties[e.end].Name, e.Reason, ErrSilent)
			}
		}
		return ErrSilent
	}
	e := l.events[refused]
	by, of := m.Parties[e.end], m.Parties[1-e.end]
	kind := ErrNotGenuine
	switch {
	case e.Reason == noProof || of.Impostor != Nobody:
	case e.Reason == device.PeerStranger || e.Reason == device.PeerNotAllowed || e.Reason == device.PeerReason(device.CheckHeld):
		kind = ErrNotPaired
	case e.Reason < 0:
		kind = ErrSilent
	}
	return fmt.Errorf("%s refuses %v: %s: %w", by.Name, of, inWords(e.Reason), kind)
}

const noProof = device.PeerReason(device.ErrAuth)

// inWords says why a unit was refused.
func inWords(why device.PeerReason) string {
	if why == noProof {
		return "it does not prove that it has the key of its certificate"
	}
	return why.String()
}

// secondhand are the reasons of a unit that had to give up because the other one did.
var secondhand = []device.PeerReason{device.PeerTimeout, device.PeerDeclined, device.PeerReason(device.ErrPeer)}

// String names the party as people do.
func (p Party) String() string {
	if p.Impostor == Nobody {
		return p.Name
	}
	return fmt.Sprintf("the %s impostor in the place of %s", p.Impostor, p.Name)
}
