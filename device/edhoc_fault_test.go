//go:build cgo

package device

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// recording is a whole handshake of the library with itself, to which both sides can be brought back.
type recording struct {
	sides    [2]*Handshake // by Role
	messages [5][]byte     // from 1
	memory   [2][6][]byte  // by Role and state
}

func record4(t *testing.T, method, suite int, id []byte) *recording {
	t.Helper()
	modelI, modelR := newModels(t, method, suite)
	if id != nil {
		modelI.id, modelR.id = id, id
		modelI.acquaint(modelR)
	}
	rec := &recording{sides: [2]*Handshake{modelI.library(t), modelR.library(t)}}
	rec.keep()
	for n := 1; n <= 4; n++ {
		rec.messages[n] = must(rec.sides[(n+1)%2].Write())
		if err := rec.sides[n%2].Read(rec.messages[n]); err != nil {
			t.Fatal(err)
		}
		rec.keep()
	}
	return rec
}

func (rec *recording) keep() {
	for role, h := range rec.sides {
		rec.memory[role][h.state()] = h.memory()
	}
}

// at brings the side to a state.
func (rec *recording) at(role Role, state int) *Handshake {
	rec.sides[role].setMemory(rec.memory[role][state])
	return rec.sides[role]
}

// sender and receiver of message n.
func sender(n int) Role   { return Role((n + 1) % 2) }
func receiver(n int) Role { return Role(n % 2) }

// kinds runs a test for the handshakes that differ: all methods, both suites, by reference and by value.
func kinds(t *testing.T, test func(t *testing.T, rec *recording)) {
	for method := range 4 {
		for _, suite := range []int{2, 3} {
			t.Run(fmt.Sprintf("method %d, suite %d", method, suite), func(t *testing.T) {
				test(t, record4(t, method, suite, nil))
			})
		}
	}
	t.Run("by value", func(t *testing.T) {
		test(t, record4(t, 0, 2, joined(unhex(t, "a1181982588758"), bytes.Repeat([]byte{0x19}, 134), []byte{0x58, 0x9b}, make([]byte, 155))))
	})
}

// refuse reads a message that is not the one that was sent. Message 1 is bound by message 2 alone, so if the Responder
// takes another, the Initiator has to refuse what follows.
func (rec *recording) refuse(t *testing.T, n int, message []byte, what string) {
	t.Helper()
	h := rec.at(receiver(n), n)
	err := h.Read(message)
	if n == 1 && err == nil {
		message, err = h.Write()
		if err != nil {
			t.Fatal(err)
		}
		h = rec.at(Initiator, 2)
		err = h.Read(message)
	}
	if err == nil {
		t.Fatalf("message_%d %s: accepted", n, what)
	}
	if !h.wiped() {
		t.Fatalf("message_%d %s: %v, not wiped", n, what, err)
	}
}

func TestHandshakeCut(t *testing.T) {
	kinds(t, func(t *testing.T, rec *recording) {
		for n := 1; n <= 4; n++ {
			for size := range rec.messages[n] {
				rec.refuse(t, n, rec.messages[n][:size], fmt.Sprintf("cut to %d bytes", size))
			}
			for _, more := range []byte{0, 0x20, 0x40, 0x80, 0xf6, 0xff} {
				rec.refuse(t, n, append(bytes.Clone(rec.messages[n]), more), fmt.Sprintf("with %02x behind", more))
			}
		}
	})
}

func TestHandshakeFlipped(t *testing.T) {
	kinds(t, func(t *testing.T, rec *recording) {
		for n := 1; n <= 4; n++ {
			for bit := range 8 * len(rec.messages[n]) {
				message := bytes.Clone(rec.messages[n])
				message[bit/8] ^= 1 << (bit % 8)
				rec.refuse(t, n, message, fmt.Sprintf("with bit %d flipped", bit))
			}
		}
	})
}

// A message_2 for which the key stream does not last (RFC 5869, 2.3) costs no ECDH.
func TestHandshakeTooLong(t *testing.T) {
	for size, calls := range map[int]int{31: 0, 32: 1, 32 + 255*32: 1, 32 + 255*32 + 1: 0} {
		modelI, modelR := newModels(t, 0, 2)
		i := modelI.library(t)
		must(i.Write())
		port := &countingPort{handshakePort: i.port}
		i.port = port
		content := append(modelR.ephemeral.PublicKey().Bytes()[1:33], make([]byte, 255*32+1)...)
		if err := i.Read(bstr(content[:size])); !errors.Is(err, ErrMalformed) || port.calls != calls {
			t.Errorf("%d bytes: %v, %d calls of the port", size, err, port.calls)
		}
	}
}

// Each message, of this and of another handshake, and each error message, in each state of each role; and each call out of turn.
func TestHandshakeStates(t *testing.T) {
	rec, other := record4(t, 0, 2, nil), record4(t, 0, 2, nil)
	messages := map[string][]byte{"error 1": unhex(t, "0160"), "error 2": unhex(t, "0203"), "error 3": unhex(t, "03f5"), "nothing": {}}
	for n := 1; n <= 4; n++ {
		messages[fmt.Sprintf("message_%d", n)] = rec.messages[n]
		messages[fmt.Sprintf("message_%d of another", n)] = other.messages[n]
	}
	for _, role := range []Role{Initiator, Responder} {
		for state := range 6 {
			if state == 0 {
				rec.memory[role][0] = make([]byte, len(rec.memory[role][1]))
			}
			turn := state >= 1 && state <= 4 && receiver(state) == role
			for name, message := range messages {
				h := rec.at(role, state)
				err := h.Read(message)
				switch right := turn && (name == fmt.Sprintf("message_%d", state) || state == 1 && name == "message_1 of another"); {
				case !turn:
					if !errors.Is(err, ErrState) || !bytes.Equal(h.memory(), rec.memory[role][state]) {
						t.Errorf("role %d, state %d, %s: %v", role, state, name, err)
					}
				case right:
					if err != nil || h.state() != state+1 {
						t.Errorf("role %d, state %d, %s: %v", role, state, name, err)
					}
				case err == nil || errors.Is(err, ErrState) || !h.wiped():
					t.Errorf("role %d, state %d, %s: %v", role, state, name, err)
				}
			}
			h := rec.at(role, state)
			if state == 0 || state == 5 || turn {
				if message, err := h.Write(); !errors.Is(err, ErrState) || len(message) > 0 || !bytes.Equal(h.memory(), rec.memory[role][state]) {
					t.Errorf("role %d, state %d: wrote %x, %v", role, state, message, err)
				}
			}
			if h.ErrorMessage() != nil {
				t.Errorf("role %d, state %d: an error message", role, state)
			}
			if state < 5 {
				if _, err := h.Export(1, nil, 1); !errors.Is(err, ErrState) {
					t.Errorf("role %d, state %d: export %v", role, state, err)
				}
				if err := h.KeyUpdate(nil); !errors.Is(err, ErrState) || !bytes.Equal(h.memory(), rec.memory[role][state]) {
					t.Errorf("role %d, state %d: key update %v", role, state, err)
				}
			}
		}
	}
}

// countingPort counts the calls and lets one fail, by an error or by zeros in place of what it gives.
type countingPort struct {
	handshakePort
	calls, fail int
	zeros       bool
}

var errBroken = errors.New("broken")

func (p *countingPort) step(out []byte, call func() error) error {
	p.calls++
	switch {
	case p.calls != p.fail:
		return call()
	case p.zeros && out != nil:
		clear(out)
		return nil
	}
	return errBroken
}

func (p *countingPort) sign(digest, signature []byte) error {
	return p.step(signature, func() error { return p.handshakePort.sign(digest, signature) })
}

func (p *countingPort) verify(key, digest, signature []byte) error {
	return p.step(nil, func() error { return p.handshakePort.verify(key, digest, signature) })
}

func (p *countingPort) ephemeral(key []byte) error {
	return p.step(key, func() error { return p.handshakePort.ephemeral(key) })
}

func (p *countingPort) ecdh(ephemeral bool, peer, secret []byte) error {
	return p.step(secret, func() error { return p.handshakePort.ecdh(ephemeral, peer, secret) })
}

// Every call of the port failing in turn, in every method and role. The peer learns of it by error 1, except of a message_1 that
// was never sent.
func TestHandshakePortFails(t *testing.T) {
	for method := range 4 {
		for role := range 2 {
			for _, zeros := range []bool{false, true} {
				for fail := 1; ; fail++ {
					modelI, modelR := newModels(t, method, 2)
					sides := []*Handshake{modelI.library(t), modelR.library(t)}
					port := &countingPort{handshakePort: sides[role].port, fail: fail, zeros: zeros}
					sides[role].port = port
					messages, err := meet(sides[0].side(t), sides[1].side(t))
					if port.calls < fail {
						// A key, an ECDH, and for each side's proof a signature or its verification or an ECDH.
						if err != nil || port.calls != 4 {
							t.Errorf("method %d, role %d: %d calls, not 4, %v", method, role, port.calls, err)
						}
						break
					}
					if !errors.Is(err, ErrPort) || !zeros && !errors.Is(err, errBroken) || !sides[role].wiped() {
						t.Errorf("method %d, role %d, call %d: %v", method, role, fail, err)
					}
					if message := sides[role].ErrorMessage(); (message == nil) != (role == 0 && len(messages) == 0) {
						t.Errorf("method %d, role %d, call %d: error message %x", method, role, fail, message)
					}
				}
			}
		}
	}
}

// The block cipher failing at each message that it serves.
func TestHandshakeCipherFails(t *testing.T) {
	for n := 3; n <= 4; n++ {
		for _, h := range []func(rec *recording) (*Handshake, error){
			func(rec *recording) (*Handshake, error) {
				h := rec.at(sender(n), n)
				h.breakAES()
				message, err := h.Write()
				if len(message) > 0 {
					t.Errorf("message_%d: %x", n, message)
				}
				return h, err
			},
			func(rec *recording) (*Handshake, error) {
				h := rec.at(receiver(n), n)
				h.breakAES()
				return h, h.Read(rec.messages[n])
			},
		} {
			if h, err := h(record4(t, 0, 2, nil)); !errors.Is(err, ErrPort) || !h.wiped() {
				t.Errorf("message_%d: %v", n, err)
			}
		}
	}
}

// Each message into each buffer that is too small: nothing happens, no key is made, and the next call with room succeeds.
func TestHandshakeBuffers(t *testing.T) {
	kinds(t, func(t *testing.T, rec *recording) {
		for n := 1; n <= 4; n++ {
			h := rec.at(sender(n), n)
			port := &countingPort{handshakePort: h.port}
			h.port = port
			size := len(rec.messages[n])
			for room := range size {
				message, err := h.writeInto(room)
				if !errors.Is(err, ErrSpace) || len(message) != 0 || port.calls != 0 || !bytes.Equal(h.memory(), rec.memory[sender(n)][n]) {
					t.Fatalf("message_%d into %d bytes of %d: %x, %v, %d calls", n, room, size, message, err, port.calls)
				}
			}
			if message, err := h.writeInto(size); err != nil || len(message) != size {
				t.Errorf("message_%d into %d bytes: %v", n, size, err)
			}
			h.port = port.handshakePort
		}
	})
	for want, fail := range map[string]func(r *Handshake) error{
		"016772656675736564": func(r *Handshake) error { return r.Read(nil) },
		"0202":               func(r *Handshake) error { return r.Read(joined([]byte{0, 6}, bstr(make([]byte, 32)), []byte{0})) },
	} {
		_, model := newModels(t, 0, 2)
		h := model.library(t)
		if fail(h) == nil {
			t.Error("accepted")
		}
		for room := range len(want) / 2 {
			if message := h.errorMessageInto(room); message != nil {
				t.Errorf("%s into %d bytes: %x", want, room, message)
			}
		}
		equal(t, "error message", h.errorMessageInto(len(want)/2), unhex(t, want))
	}
}
