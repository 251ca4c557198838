package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/scripts/figures"
)

// COSE header parameters that name a credential (docs/peerlink.md).
var (
	byValue = []byte{0xA1, 0x18, 25, 0x82}       // {25: [unit, order]}, up to the first certificate
	byHash  = []byte{0xA1, 22, 0x82, 0x2E, 0x48} // {22: [-15, h'...']}, up to the eight bytes
)

// side is one end of a handshake over a unit's real certificates, with a key of its own in software.
type side struct {
	key           *ecdsa.PrivateKey
	unit, value   []byte // its certificate; ID_CRED_x by value
	hash          []byte // ID_CRED_x by hash
	certificates  int    // bytes of unit and order
	agrees, hides bool   // static Diffie-Hellman instead of signatures; shown by hash
}

func newSide(unit, order []byte, agrees, hides bool) (*side, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	value := bytes.Clone(byValue)
	for _, certificate := range [][]byte{unit, order} {
		value = append(append(value, 0x58, byte(len(certificate))), certificate...)
	}
	digest := sha256.Sum256(unit)
	return &side{key: key, unit: unit, value: value, hash: append(bytes.Clone(byHash), digest[:8]...),
		certificates: len(unit) + len(order), agrees: agrees, hides: hides}, nil
}

func (s *side) id() []byte {
	if s.hides {
		return s.hash
	}
	return s.value
}

// begin starts this side's handshake, which takes the peer for who it says it is.
func (s *side) begin(role device.Role, peer *side, methods uint8) (*device.Handshake, error) {
	return device.NewHandshake(role, device.HandshakeConfig{
		Identity: s.key, KeyAgreement: s.agrees, ID: s.id(), Credential: s.unit, Methods: methods, Suites: []byte{2}, Connection: []byte{0},
		Resolve: func(attempt int, id []byte) ([]byte, [64]byte, error) {
			var key [64]byte
			if attempt > 0 || !bytes.Equal(id, peer.id()) {
				return nil, key, device.ErrAuth
			}
			point, err := peer.key.PublicKey.Bytes()
			if err != nil {
				return nil, key, err
			}
			copy(key[:], point[1:])
			return peer.unit, key, nil
		},
	})
}

// handshake runs one and gives the bytes of each message.
func handshake(i, r *side, methods uint8) (sizes []int, err error) {
	initiator, err := i.begin(device.Initiator, r, methods)
	if err != nil {
		return nil, err
	}
	defer initiator.Close()
	responder, err := r.begin(device.Responder, i, methods)
	if err != nil {
		return nil, err
	}
	defer responder.Close()
	from, to := initiator, responder
	for range 4 {
		message, err := from.Write()
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, len(message))
		if err := to.Read(message); err != nil {
			return nil, err
		}
		from, to = to, from
	}
	return sizes, nil
}

// handshakes gives the bytes on the wire of whole handshakes, before frames, and of each message of method 0, by value and by hash. The
// floor is what cannot go: two coordinates, the signatures or MACs, two tags, and the certificates or their hashes.
func handshakes(unit, order []byte) (list []figures.Figure, edhoc [2][]int, err error) {
	for _, c := range []struct {
		name    string
		methods uint8
		proof   int // bytes of a signature or a MAC
	}{{"m0", 1 << 0, 64}, {"m3", 1 << 3, 8}} {
		for form, hides := range []bool{false, true} {
			i, err := newSide(unit, order, c.proof == 8, hides)
			if err != nil {
				return nil, edhoc, err
			}
			r, err := newSide(unit, order, c.proof == 8, hides)
			if err != nil {
				return nil, edhoc, err
			}
			r.unit = bytes.Clone(r.unit)
			r.unit[len(r.unit)-1] ^= 1 // another certificate of the same size: nobody takes his own
			sizes, err := handshake(i, r, c.methods)
			if err != nil {
				return nil, edhoc, fmt.Errorf("handshake %s: %w", c.name, err)
			}
			if c.methods == 1<<0 {
				edhoc[form] = sizes
			}
			name, shown := "_value", i.certificates
			if hides {
				name, shown = "_hash", 8
			}
			total := 0
			for _, size := range sizes {
				total += size
			}
			if len(sizes) != 4 {
				return nil, edhoc, errors.New("a handshake has four messages")
			}
			list = append(list, figures.Figure{Name: "handshake_bytes_" + c.name + name, Value: float64(total), Unit: "B",
				Floor: figures.Of(float64(2*32 + 2*c.proof + 2*8 + 2*shown)),
				Note: fmt.Sprintf("messages of %d, %d, %d, %d; floor: coordinates, proofs, tags, certificates or hashes",
					sizes[0], sizes[1], sizes[2], sizes[3])})
		}
	}
	return list, edhoc, nil
}
