package fleet

import (
	"bytes"
	"time"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link"
)

const (
	bits = 115200 // a second, both ways
	step = 10 * time.Millisecond
)

// Message is one message of the peer link (docs/peerlink.md) as it went over the line.
type Message struct {
	Name   string // trust, link, message_1 to message_4, error or record
	From   int    // index of the party
	At     time.Duration
	Bytes  int // on the line, in all its frames, repetitions included
	Frames int
}

// line joins two units in simulated time, of which one thing after the other takes its share: bytes, and the units' chips.
type line struct {
	now    time.Duration
	start  time.Duration // when the meeting began
	ends   [2]*end       // nil: nobody is there
	said   []Message
	edhoc  int // number of the handshake's last message
	events []event
}

// end is one unit on the line.
type end struct {
	peer    *device.Peer
	partial []byte // of a frame
	last    []byte // header of the last frame with data
	message int    // index of the message that the last frame belongs to
	record  []byte // the last record
	heard   []byte // the last text that came
}

// event is what a unit's peer link told its product.
type event struct {
	device.PeerEvent
	end int
}

func (l *line) pass(d time.Duration) { l.now += d }

func (l *line) clock() time.Time { return time.Time{}.Add(l.now) }

// run lets time pass until done says so; it may be nil.
func (l *line) run(limit time.Duration, done func() bool) {
	for end := l.now + limit; l.now < end && (done == nil || !done()); {
		l.pass(step)
		for _, e := range l.ends {
			if e != nil {
				e.peer.Tick(uint32(l.now.Milliseconds()))
			}
		}
		for l.carry() {
		}
		l.collect()
	}
}

// carry takes to the other end what each has said, and reports whether that was anything.
func (l *line) carry() bool {
	moved := false
	for i, e := range l.ends {
		if e == nil {
			continue
		}
		said := e.peer.Out()
		l.watch(i, said)
		l.pass(time.Duration(len(said)) * 10 * time.Second / bits)
		if other := l.ends[1-i]; other != nil {
			other.peer.Receive(said)
		}
		moved = moved || len(said) > 0
	}
	return moved
}

func (l *line) collect() {
	for i, e := range l.ends {
		if e == nil {
			continue
		}
		for _, told := range e.peer.Events() {
			if told.Kind == device.PeerMessage {
				e.heard = told.Message
			}
			l.events = append(l.events, event{told, i})
		}
	}
}

// over says that a meeting has come to its end, and nobody goes on.
func (l *line) over() bool {
	for _, e := range l.ends {
		if e == nil {
			continue
		}
		if state := e.peer.State(); state == device.PeerMeeting || state == device.PeerSending {
			return false
		}
	}
	return true
}

// ready says that both may send a message.
func (l *line) ready() bool {
	return l.ends[0].peer.State() == device.PeerOpen && l.ends[1].peer.State() == device.PeerOpen
}

// Frames of the peer link.
const (
	headerSize = 5

	acknowledgement = 0
	trust           = 1
	linkFrame       = 2
	message1        = 3
	message         = 4
	record          = 5
)

// watch notes what one unit says, from the outside.
func (l *line) watch(from int, said []byte) {
	e := l.ends[from]
	for _, b := range said {
		if b != 0 {
			e.partial = append(e.partial, b)
			continue
		}
		if frame, err := link.DecodeFrame(e.partial); err == nil && len(frame) > headerSize && frame[0] != acknowledgement {
			l.note(from, frame, len(e.partial)+2) // and the zeros around it
		}
		e.partial = e.partial[:0]
	}
}

// note counts a frame to the message that it begins, goes on with or repeats.
func (l *line) note(from int, frame []byte, size int) {
	e := l.ends[from]
	header, data := frame[:headerSize], frame[headerSize:]
	repeated := bytes.Equal(header, e.last)
	first := header[4]>>4 == 1 && !repeated
	e.last = bytes.Clone(header)
	if first {
		e.message = len(l.said)
		l.said = append(l.said, Message{Name: l.name(header[0], data[0]), From: from, At: l.now - l.start})
	}
	m := &l.said[e.message]
	m.Bytes += size
	m.Frames++
	if header[0] != record || repeated {
		return
	}
	if first {
		e.record = nil
	}
	e.record = append(e.record, data...)
}

// name says what a message is, by its type and first byte.
func (l *line) name(kind, first byte) string {
	switch kind {
	case trust:
		return "trust"
	case linkFrame:
		return "link"
	case message1:
		l.edhoc = 1
		return "message_1"
	case message:
		if first>>5 == 0 { // an error message begins with an integer, others are byte strings (RFC 9528, section 6)
			return "error"
		}
		l.edhoc++
		return "message_" + string(rune('0'+l.edhoc))
	case record:
		return "record"
	}
	return "unknown"
}
