package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
)

var (
	// ErrRefused: two units do not accept each other.
	ErrRefused = errors.New("the units do not accept each other")
	// ErrNotProvisioned: a unit has nothing to show in a handshake.
	ErrNotProvisioned = errors.New("the unit is not provisioned")
	// ErrSameUnit: both ports lead to one unit.
	ErrSameUnit = errors.New("one unit twice")
)

// Message is one EDHOC message between two units.
type Message struct {
	Number        int  // 1 to 4; an error message has the number of the one in whose place it came
	Error         bool // an error message
	FromResponder bool
	Size          int           // bytes
	Took          time.Duration // from the request for it to its last byte
	Check         link.Check    // what whoever sent it found of the other's certificates, if it did by then
}

// Meeting is a handshake between two units, as whoever carried it saw it.
type Meeting struct {
	Initiator, Responder *Inspection
	Messages             []Message
}

// Relay lets the units on two ports have a handshake, the first as Initiator, and carries their messages. Neither is paired by
// it, and neither keeps anything of it. Units of the bundle's authority, if there is one, must not be on its status list. The
// meeting is nil unless it came to a first message. Errors wrap ErrRefused, with the meeting as far as it went, ca.ErrRevoked,
// ErrNotProvisioned or ErrSameUnit, or are those of Inspect.
func Relay(ctx context.Context, initiator, responder string, baud int, b *ca.Bundle) (*Meeting, error) {
	r := relay{bundle: b}
	var found [2]*Inspection
	for i, path := range []string{initiator, responder} {
		port, err := link.Open(path, baud)
		if err != nil {
			return nil, err
		}
		r.units[i] = link.Dial(port)
		r.ports[i] = path
		defer r.units[i].Close()
		if found[i], err = r.greet(ctx, i); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if found[0].Chip == found[1].Chip {
		return nil, fmt.Errorf("%s and %s are chip %x: %w", initiator, responder, found[0].Chip, ErrSameUnit)
	}
	m := &Meeting{Initiator: found[0], Responder: found[1]}
	err := r.carry(ctx, m)
	return m, err
}

// relay has the two units by their roles: 0 is the Initiator.
type relay struct {
	bundle *ca.Bundle // may be nil
	units  [2]*link.Conversation
	ports  [2]string
}

func (r *relay) greet(ctx context.Context, unit int) (*Inspection, error) {
	h, err := r.units[unit].Hello(ctx)
	if err != nil {
		return nil, fault(err)
	}
	if h.State != link.Installed && h.State != link.Sealed {
		return nil, fmt.Errorf("chip %x is %v: %w", h.Chip, h.State, ErrNotProvisioned)
	}
	i, err := inspect(h)
	if err == nil && i.Unit != nil && r.bundle != nil && r.bundle.Anchor.Hash() == h.AnchorHash {
		err = r.bundle.Revoked(i.Unit.Serial)
	}
	return i, err
}

// carry gives message n to the unit whose turn it is, from "be the Initiator" to message_4.
func (r *relay) carry(ctx context.Context, m *Meeting) error {
	message := []byte{}
	for number := range link.Messages + 1 {
		turn, err := r.give(ctx, m, number, message)
		if err != nil {
			return err
		}
		if turn.Outcome != link.Failed {
			message = turn.Message
			continue
		}
		if len(turn.Message) > 0 && number < link.Messages {
			// The other unit is told; what it makes of that changes nothing.
			if _, err := r.units[(number+1)%2].Handshake(ctx, number+1, turn.Message); err != nil {
				return r.at(number+1, fault(err))
			}
		}
		reason := fmt.Sprintf("message_%d does not hold", number)
		if turn.Check != 0 {
			reason = turn.Check.String()
		}
		return fmt.Errorf("%s refuses %s: %s: %w", r.ports[number%2], r.ports[(number+1)%2], reason, ErrRefused)
	}
	return nil
}

// give hands one message to its receiver, and notes what comes back.
func (r *relay) give(ctx context.Context, m *Meeting, number int, message []byte) (link.Turn, error) {
	start := time.Now()
	turn, err := r.units[number%2].Handshake(ctx, number, message)
	if err != nil {
		return link.Turn{}, r.at(number, fault(err))
	}
	if len(turn.Message) > 0 {
		m.Messages = append(m.Messages, Message{
			Number:        number + 1,
			Error:         turn.Outcome == link.Failed,
			FromResponder: number%2 == 1,
			Size:          len(turn.Message),
			Took:          time.Since(start),
			Check:         turn.Check,
		})
	}
	return turn, nil
}

// at says on which port the receiver of a message is.
func (r *relay) at(number int, err error) error {
	return fmt.Errorf("%s: %w", r.ports[number%2], err)
}
