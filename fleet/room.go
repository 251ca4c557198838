package fleet

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
)

// room is where one goroutine holds meetings.
type room struct {
	assembly *assembly
	trusts   []*device.Trust // of the fleets' units
	sides    map[int]*side   // that were prepared, by their indices
}

const maxSides = 4096 // that a room keeps, about 1 KB each

// side is a unit that is ready to meet.
type side struct {
	key         *ecdsa.PrivateKey
	id          []byte // ID_CRED_x
	certificate []byte
	trust       *device.Trust
}

func (a *assembly) newRoom() (*room, error) {
	r := &room{assembly: a, sides: map[int]*side{}}
	for i, f := range a.request.Fleets {
		profile, b := f.Orders[0].Profile, a.bundles[i]
		t, err := device.NewTrust(device.Image{AnchorHash: b.Anchor.Hash(), Product: profile.Product, Peers: profile.Peers}, device.NewFlash())
		if err != nil {
			return r, err
		}
		r.trusts = append(r.trusts, t)
		if err := t.Learn(b.Anchor[:], objects(b.Links), listed(b.List)); err != nil {
			return r, fmt.Errorf("%s: the units do not take their bundle: %w", f.path, err)
		}
	}
	return r, nil
}

func objects(links []*ca.Link) (list [][]byte) {
	for _, l := range links {
		list = append(list, l.Object)
	}
	return list
}

func listed(l *ca.StatusList) []byte {
	if l == nil {
		return nil
	}
	return l.Object
}

func (r *room) close() {
	for _, t := range r.trusts {
		t.Close()
	}
}

// side prepares a unit.
func (r *room) side(i int) (*side, error) {
	if s := r.sides[i]; s != nil {
		return s, nil
	}
	u := &r.assembly.units[i]
	f := r.assembly.request.Fleets[u.fleet]
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), u.Key[:])
	if err != nil {
		return nil, fmt.Errorf("%s: unit %v: %w: %w", f.path, u.Serial, ErrBad, err)
	}
	order, _ := f.Order(u.Order) // there is one: gather
	const c5c = 25               // a chain of C509 certificates
	id, err := cbor.Marshal(map[int][2][]byte{c5c: {u.Certificate, order.Certificate.Raw}})
	if err != nil {
		return nil, err
	}
	if len(r.sides) == maxSides {
		clear(r.sides)
	}
	s := &side{key: key, id: id, certificate: u.Certificate, trust: r.trusts[u.fleet]}
	r.sides[i] = s
	return s, nil
}

// begin starts a side's part of a handshake, as a peer link does that meets somebody for the first time.
func (s *side) begin(role device.Role) (*device.Handshake, error) {
	return device.NewHandshake(role, device.HandshakeConfig{
		Identity: s.key, ID: s.id, Credential: s.certificate, Methods: 1 << 0, Suites: []byte{2, 3}, Connection: []byte{0},
		Resolve: func(attempt int, id []byte) ([]byte, [64]byte, error) {
			if bytes.Equal(id, s.id) {
				return nil, [64]byte{}, device.CheckSelf
			}
			return s.trust.Resolve(attempt, id)
		},
	})
}

// meet lets two units meet. The error is of a unit that cannot come, or of the machine.
func (r *room) meet(begins, answers int) (o outcome, err error) {
	if twins(&r.assembly.units[begins], &r.assembly.units[answers]) {
		return o, nil
	}
	var ends [2]*device.Handshake
	for i, unit := range []int{begins, answers} {
		s, err := r.side(unit)
		if err != nil {
			return o, err
		}
		if ends[i], err = s.begin(device.Role(i)); err != nil {
			return o, err
		}
		defer ends[i].Close()
	}
	o.held = true
	who, err := handshake(ends)
	if err == nil {
		who, err = talk(ends)
	}
	if err == nil {
		return o, nil
	}
	o.refused, o.reason.Answerer = true, who == 1
	var check device.Check
	var status device.Status
	switch {
	case errors.As(err, &check):
		o.reason.Why = device.PeerReason(check)
	case errors.As(err, &status) && status != device.ErrPort && status != device.ErrState:
		o.reason.Why = device.PeerReason(status)
	default:
		return o, fmt.Errorf("%v and %v: %w", r.assembly.units[begins].Serial, r.assembly.units[answers].Serial, err)
	}
	return o, nil
}

// handshake passes the four messages on. The error is of the side that refused the other.
func handshake(ends [2]*device.Handshake) (who int, err error) {
	from := 0
	for range 4 {
		message, err := ends[from].Write()
		if err != nil {
			return from, err
		}
		from = 1 - from
		if err := ends[from].Read(message); err != nil {
			if told := ends[1-from].Read(ends[from].ErrorMessage()); !errors.Is(told, device.ErrPeer) {
				return from, fmt.Errorf("%w, and the other side is told %w", err, told)
			}
			return from, err
		}
	}
	return 0, nil
}

// talk sends a record each way.
func talk(ends [2]*device.Handshake) (who int, err error) {
	var sessions [2]*device.Session
	for i, e := range ends {
		if sessions[i], err = e.Session(); err != nil {
			return i, err
		}
		defer sessions[i].Close()
	}
	text := []byte("good morning")
	for i, s := range sessions {
		record, err := s.Seal(text)
		if err != nil {
			return i, err
		}
		heard, err := sessions[1-i].Open(record)
		if err == nil && !bytes.Equal(heard, text) {
			err = device.ErrMalformed
		}
		if err != nil {
			return 1 - i, err
		}
	}
	return 0, nil
}
