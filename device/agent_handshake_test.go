//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"testing"
)

// outcomes of docs/wire.md, verb 5.
const (
	goOn = iota
	complete
	failed
)

const stationSerial = 0xffffffffffffffff

// badge is what a peer shows of itself, and the key that it has.
type badge struct {
	id, credential []byte
	key            *ecdsa.PrivateKey
}

// badge has a certificate with this serial number, by the factory's order, over a fresh key.
func (f *factory) badge(t testing.TB, serial uint64) badge {
	t.Helper()
	key := newKey(t)
	unit := f.unitItems.with(itemSerial, eui(serial)).with(itemSubject, eui(serial)).with(itemKey, compress(publicKey(t, key)))
	certificate := unit.sign(t, f.order)
	return badge{shown(t, certificate, f.orderItems.sign(t, f.root)), certificate, key}
}

// shown is ID_CRED_x by value.
func shown(t testing.TB, certificates ...any) []byte {
	t.Helper()
	return encode(t, map[int]any{25: certificates})
}

// peer starts the other side of a handshake with the bench's unit, whose certificates it knows.
func (b *bench) peer(t testing.TB, role Role, own badge) *Handshake {
	t.Helper()
	g := b.hello(t)
	h, err := NewHandshake(role, HandshakeConfig{
		Identity: own.key, ID: own.id, Credential: own.credential,
		Resolve: func(attempt int, id []byte) ([]byte, [64]byte, error) {
			if attempt > 0 || !bytes.Equal(id, shown(t, g.unit, g.order)) {
				return nil, [64]byte{}, ErrAuth
			}
			return g.unit, [64]byte(b.key(t)), nil
		},
		Methods: 1 << 0, Suites: []byte{2, 3}, Connection: []byte{0x01},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// turn is the unit's answer to one message.
type turn struct {
	reply
	outcome, check int
	message        []byte
}

func (b *bench) turn(t testing.TB, number int, message []byte) turn {
	t.Helper()
	if message == nil {
		message = []byte{}
	}
	u := turn{reply: b.call(t, verbHandshake, number, message)}
	if u.status == statusOK {
		if len(u.results) != 3 {
			t.Fatalf("%d results", len(u.results))
		}
		decode(t, u.results[0], &u.outcome)
		decode(t, u.results[1], &u.message)
		decode(t, u.results[2], &u.check)
	}
	return u
}

// meet lets a peer in this role and the unit have a handshake, until one of them ends it.
func (b *bench) meet(t testing.TB, role Role, own badge) turn {
	t.Helper()
	return b.converse(t, role, b.peer(t, role, own))
}

func (b *bench) converse(t testing.TB, role Role, h *Handshake) turn {
	t.Helper()
	number, message := 0, []byte{}
	if role == Initiator {
		number = 1
		message = mustWrite(t, h)
	}
	for ; ; number += 2 {
		u := b.turn(t, number, message)
		if u.status != statusOK || u.outcome == failed || number == 4 {
			return u
		}
		if err := h.Read(u.message); err != nil {
			t.Fatalf("message_%d: %v", number+1, err)
		}
		if number == 3 {
			return u
		}
		message = mustWrite(t, h)
	}
}

func mustWrite(t testing.TB, h *Handshake) []byte {
	t.Helper()
	message, err := h.Write()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// forgotten wants no handshake in the unit's memory.
func (b *bench) forgotten(t testing.TB, name string) {
	t.Helper()
	if kept := b.unit.handshake(); !bytes.Equal(kept, make([]byte, len(kept))) {
		t.Errorf("%s: the unit keeps %x", name, kept)
	}
}

// Before the seal the station is a peer, after it units alone, in both roles; nothing of either stays.
func TestHandshake(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	station, unit := b.badge(t, stationSerial), b.badge(t, testFirst)
	for state := 2; state <= 3; state++ {
		if state == 3 {
			if r := sealStep(t, b); r.status != statusOK {
				t.Fatalf("%+v", r)
			}
		}
		for _, role := range []Role{Initiator, Responder} {
			for name, peer := range map[string]badge{"station": station, "unit": unit} {
				b.still(t, name, func() {
					accepted := state == 2 || name == "unit"
					u := b.meet(t, role, peer)
					switch {
					case u.status != statusOK:
						t.Errorf("state %d, %s, role %d: %+v", state, name, role, u.reply)
					case accepted && (u.outcome != complete || u.check != 0):
						t.Errorf("state %d, %s, role %d: outcome %d, check %d", state, name, role, u.outcome, u.check)
					case !accepted && (u.outcome != failed || Check(u.check) != CheckSerial):
						t.Errorf("state %d, %s, role %d: outcome %d, check %d", state, name, role, u.outcome, u.check)
					case !accepted && !bytes.Equal(u.message, []byte("\x01\x67refused")):
						t.Errorf("state %d, %s, role %d: error message %x", state, name, role, u.message)
					}
					b.forgotten(t, name)
				})
			}
		}
	}
}

// Peers that a unit refuses before the seal, though one of them is near enough to the station.
func TestHandshakeRefuses(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	other := newFactory(t)
	stranger := other.badge(t, stationSerial)
	forged := b.badge(t, stationSerial)
	forged.key = newKey(t)
	mixed := b.badge(t, stationSerial)
	mixed.id = shown(t, stranger.credential, b.orderItems.sign(t, b.root))
	mixed.credential, mixed.key = stranger.credential, stranger.key
	product := *b.factory
	product.orderItems = b.orderItems.with(itemExtensions, extensionsOf(testProduct+1, eui(testFirst), eui(testLast)))
	for _, c := range []struct {
		name  string
		peer  badge
		check Check
	}{
		{"another authority", stranger, CheckOrderSignature},
		{"the station's certificate with another key", forged, 0},
		{"the genuine order with a certificate made elsewhere", mixed, CheckUnitSignature},
		{"a serial number outside the range", b.badge(t, testLast+1), CheckSerial},
		{"nobody", b.badge(t, 0), CheckUnit},
		{"another product", product.badge(t, stationSerial), CheckProduct},
	} {
		b.still(t, c.name, func() {
			for _, role := range []Role{Initiator, Responder} {
				if u := b.meet(t, role, c.peer); u.status != statusOK || u.outcome != failed || Check(u.check) != c.check || len(u.message) == 0 {
					t.Errorf("%s, role %d: %+v, check %d, message %x", c.name, role, u.reply, u.check, u.message)
				}
				b.forgotten(t, c.name)
			}
		})
	}
	if u := b.meet(t, Initiator, b.badge(t, stationSerial)); u.outcome != complete {
		t.Errorf("the station afterwards: %+v", u)
	}
}

// Two units, with somebody between them who carries their messages and nothing more.
func TestHandshakeRelayed(t *testing.T) {
	one, two := newBench(t), newBench(t)
	two.factory = one.factory
	two.image = one.image
	two.powerCycle(t)
	for i, b := range []*bench{one, two} {
		b.unitItems = b.unitItems.with(itemSerial, eui(testFirst+uint64(i))).with(itemSubject, eui(testFirst+uint64(i)))
		b.run(t, 4)
		b.hello(t)
	}
	var sizes []int
	message := []byte{}
	for number := range 5 {
		b := []*bench{one, two}[number%2]
		u := b.turn(t, number, message)
		want := goOn
		if number >= 3 {
			want = complete
		}
		if u.status != statusOK || u.outcome != want || u.check != 0 {
			t.Fatalf("message_%d: %+v, check %d", number, u, u.check)
		}
		message = u.message
		sizes = append(sizes, len(message))
	}
	if sizes[0] != 37 || sizes[1] < 300 || sizes[1] > 410 || sizes[2] < 300 || sizes[2] > 410 || sizes[3] > 17 || sizes[4] != 0 {
		t.Errorf("messages of %v bytes", sizes)
	}
	one.hello(t)
	if u := one.turn(t, 0, nil); u.outcome != goOn {
		t.Fatalf("%+v", u)
	} else if u := one.turn(t, 2, u.message); u.outcome != failed {
		t.Errorf("its own message_1: %+v", u)
	}
}

// A message that is not the awaited one ends the handshake, as every other verb does and a power cut.
func TestHandshakeOrder(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	station := b.badge(t, stationSerial)
	start := func() (*Handshake, []byte) {
		t.Helper()
		h := b.peer(t, Initiator, station)
		u := b.turn(t, 1, mustWrite(t, h))
		if u.status != statusOK || u.outcome != goOn {
			t.Fatalf("%+v", u)
		}
		if err := h.Read(u.message); err != nil {
			t.Fatal(err)
		}
		return h, mustWrite(t, h)
	}
	for name, between := range map[string]func(){
		"hello":             func() { b.hello(t) },
		"prove":             func() { proveStep(t, b) },
		"prepare":           func() { prepareStep(t, b) },
		"an unknown verb":   func() { b.call(t, 99) },
		"a power cut":       func() { b.powerCycle(t); b.hello(t) },
		"message_2":         func() { b.turn(t, 2, []byte{1}) },
		"message_4":         func() { b.turn(t, 4, []byte{1}) },
		"another handshake": func() { b.turn(t, 0, nil) },
	} {
		_, message := start()
		between()
		b.still(t, name, func() {
			if u := b.turn(t, 3, message); u.status != statusState || u.detail != 2 {
				t.Errorf("message_3 after %s: %+v", name, u.reply)
			}
			b.forgotten(t, name)
		})
	}

	h, message := start() // and a request asked for again is not done again
	ask := b.request(t, b.sequence, verbHandshake, 3, message)
	first := b.unit.Receive(ask)
	commands := b.wire.commands
	if again := b.unit.Receive(ask); !bytes.Equal(first, again) || b.wire.commands != commands {
		t.Errorf("%x, then %x after %d chip commands", first, again, b.wire.commands-commands)
	}
	b.sequence++
	var message4 []byte
	decode(t, parseReply(t, first).results[1], &message4)
	if err := h.Read(message4); err != nil {
		t.Error(err)
	}
	if u := b.turn(t, 3, message); u.status != statusState {
		t.Errorf("message_3 after the end: %+v", u.reply)
	}

	start() // the peer gives up, and is told nothing
	if u := b.turn(t, 3, []byte("\x01\x62no")); u.status != statusOK || u.outcome != failed || len(u.message) != 0 || u.check != 0 {
		t.Errorf("an error message: %+v", u)
	}
	b.forgotten(t, "an error message")
}

// Every message cut short or with a bit turned over ends the handshake; the next one goes well.
func TestHandshakeSpoilt(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	station := b.badge(t, stationSerial)
	for at := 0; at < 400; at += 7 {
		for _, spoil := range []func([]byte) []byte{
			func(m []byte) []byte { return m[:min(at+1, len(m)-1)] },
			func(m []byte) []byte { m[at%len(m)] ^= 1 << (at % 8); return m },
		} {
			h := b.peer(t, Initiator, station)
			u := b.turn(t, 1, mustWrite(t, h))
			if err := h.Read(u.message); err != nil {
				t.Fatal(err)
			}
			if u := b.turn(t, 3, spoil(mustWrite(t, h))); u.status != statusOK || u.outcome != failed {
				t.Errorf("message_3 spoilt at %d: %+v", at, u)
			}
			b.forgotten(t, "a spoilt message_3")
		}
	}
	if u := b.meet(t, Initiator, station); u.outcome != complete {
		t.Errorf("%+v", u)
	}
}

// A chip that fails at a command ends the handshake with its status, if the driver cannot cure it, and leaves nothing.
func TestHandshakeChipFails(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	station := b.badge(t, stationSerial)
	for _, role := range []Role{Initiator, Responder} {
		for n := 0; ; n++ {
			h := b.peer(t, role, station)
			first := b.wire.commands + n
			b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
				if i < first {
					return pass()
				}
				return []byte{4, 0x0f, 0x23, 0x42}
			}
			u := b.converse(t, role, h)
			b.wire.spoil = nil
			if b.wire.commands <= first {
				if u.status != statusOK || u.outcome != complete || n < 10 {
					t.Errorf("role %d, %d commands: %+v", role, n, u)
				}
				break
			}
			// A chip that refuses to show its key is taken for one that has none.
			if u.status != statusChip && u.status != statusState || u.status == statusChip && u.detail != 0x0f {
				t.Errorf("role %d, command %d: %+v", role, n, u.reply)
			}
			b.forgotten(t, "a chip that fails")
		}
	}
}
