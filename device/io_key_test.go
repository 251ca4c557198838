//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"testing"

	"github.com/birthmark/birthmark/chip"
)

// probe hangs at the wire of one or several chips and hears every byte, both ways. What the chips draw is noted as well, so that a test
// knows which secrets there were; a nil probe notes nothing.
type probe struct {
	heard []byte
	peers [][]byte // of each ECDH, X then Y
	modes []byte   // of each ECDH
	drawn [][]byte // by the chips, private keys among them
}

func (p *probe) Read(out []byte) (int, error) {
	n, err := rand.Read(out)
	if p != nil {
		p.drawn = append(p.drawn, bytes.Clone(out[:n]))
	}
	return n, err
}

// hear takes an answer, or a command and its answer.
func (p *probe) hear(groups ...[]byte) {
	if p == nil {
		return
	}
	for _, group := range groups {
		p.heard = append(p.heard, group...)
	}
	if len(groups) > 1 && groups[0][1] == 0x43 {
		p.peers, p.modes = append(p.peers, bytes.Clone(groups[0][5:69])), append(p.modes, groups[0][2])
	}
}

// The curve's generator, X then Y (SP 800-186, 3.2.1.3), with which prepare tries the IO protection key.
func generator(t testing.TB) []byte {
	return unhex(t, "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
}

// secrets are what the private keys of the chips have in common with each peer that a chip was given. What they have in common with the
// generator is public, and is none.
func (p *probe) secrets(t testing.TB) (found, all [][]byte) {
	t.Helper()
	for _, public := range p.peers {
		peer, err := ecdh.P256().NewPublicKey(append([]byte{4}, public...))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(public, generator(t)) {
			continue
		}
		for _, scalar := range p.drawn {
			own, err := ecdh.P256().NewPrivateKey(scalar)
			if err != nil {
				continue
			}
			secret, err := own.ECDH(peer)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, secret)
			if bytes.Contains(p.heard, secret) {
				found = append(found, secret)
			}
		}
	}
	return found, all
}

// decrypted are what a listener with the key makes of each place in what it heard.
func (p *probe) decrypted(key []byte) (texts [][]byte) {
	for at := 0; at+48 <= len(p.heard); at++ {
		pad := sha256.Sum256(append(bytes.Clone(key), p.heard[at+32:at+48]...))
		subtle.XORBytes(pad[:], pad[:], p.heard[at:at+32])
		texts = append(texts, pad[:])
	}
	return texts
}

// ioKey is the IO protection key that a bench's unit has, from its flash; nil if there is none.
func (b *bench) ioKey(t testing.TB) []byte {
	t.Helper()
	trust, err := NewTrust(b.image, b.flash)
	if err != nil {
		t.Fatal(err)
	}
	defer trust.Close()
	return trust.ioKey()
}

// Whoever listens on the chips' wires while two units are born, have a handshake with the station, meet, talk and meet again learns no
// shared secret if the chips are protected, and every one if they are not.
func TestProbe(t *testing.T) {
	for _, protected := range []bool{false, true} {
		f := newField(t)
		f.ioKey, f.probe = protected, new(probe)
		var benches [2]*bench
		var keys [][]byte
		for i := range benches {
			own := *f.factory
			serial := uint64(testFirst + 1 + i)
			own.unitItems = own.unitItems.with(itemSerial, eui(serial)).with(itemSubject, eui(serial))
			b := wired(&own, 2048)
			b.start(t)
			defer func() { b.unit.Close() }()
			b.run(t, 1)
			benches[i] = b
			if key := b.ioKey(t); protected {
				keys = append(keys, key)
			} else if key != nil {
				t.Errorf("an IO protection key in a unit without: %x", key)
			}
		}
		// On the bench each key crosses the wire in clear, from the chip's generator and back: who hears that, hears all.
		prepared := len(f.probe.heard)
		for _, key := range keys {
			if len(key) != 32 || bytes.Count(f.probe.heard, key) != 2 {
				t.Errorf("IO protection key %x is in what was heard %d times", key, bytes.Count(f.probe.heard, key))
			}
		}
		var nodes [2]*node
		for i, b := range benches {
			b.continueRun(t)
			nodes[i] = &node{bench: b, t: t, name: fmt.Sprint(i), serial: testFirst + 1 + uint64(i), options: PeerOptions{Policy: Wired{}}}
			nodes[i].power()
			defer func() { nodes[i].peer.Close() }()
		}
		c := join(t, nodes[0], nodes[1])
		c.meet(0)
		c.talk()
		c.meet(1)
		c.talk()

		if mode := map[bool]byte{false: 0x0d, true: 0x0f}[protected]; bytes.Count(f.probe.modes, []byte{mode}) != len(f.probe.modes) {
			t.Errorf("protected %t: ECDH in modes %x", protected, f.probe.modes)
		}
		found, all := f.probe.secrets(t)
		const ecdhs = 2*2 + 2*2 // a unit's with the station, in both roles; each one's in two meetings
		if n := len(f.probe.peers); n != ecdhs+len(keys) || len(all) < ecdhs {
			t.Fatalf("protected %t: %d times ECDH, not %d and %d", protected, n, ecdhs, len(keys))
		}
		if !protected {
			if len(found) != ecdhs {
				t.Errorf("%d secrets were heard in clear, not %d", len(found), ecdhs)
			}
			continue
		}
		if len(found) > 0 {
			t.Errorf("%d secrets were heard: %x", len(found), found)
		}
		decrypted := 0
		for _, key := range keys {
			if bytes.Contains(f.probe.heard[prepared:], key) {
				t.Errorf("IO protection key %x was heard behind prepare", key)
			}
			for _, text := range f.probe.decrypted(key) {
				if slices.ContainsFunc(all, func(secret []byte) bool { return bytes.Equal(text, secret) }) {
					decrypted++
				}
			}
		}
		if decrypted != ecdhs {
			t.Errorf("with the keys %d secrets are heard, not %d", decrypted, ecdhs)
		}
	}
}

// continueRun takes a prepared unit through what is left of the journey, with a handshake in both roles.
func (b *bench) continueRun(t testing.TB) {
	t.Helper()
	for _, step := range []step{proveStep, installStep} {
		if r := step(t, b); r.status != statusOK {
			t.Fatalf("status %d, detail %d", r.status, r.detail)
		}
	}
	station := b.badge(t, stationSerial)
	for _, role := range []Role{Initiator, Responder} {
		if u := b.meet(t, role, station); u.outcome != complete {
			t.Fatalf("handshake as %v: %+v", role, u)
		}
	}
	if b.hello(t); sealStep(t, b).status != statusOK {
		t.Fatal("not sealed")
	}
}

// protectedBench is a bench whose unit has an IO protection key, or is to get one.
func protectedBench(t testing.TB, steps int) *bench {
	f := newFactory(t)
	f.ioKey = true
	b := wired(f, 512)
	b.start(t)
	t.Cleanup(func() { b.unit.Close() })
	if steps > 0 {
		b.run(t, steps)
	}
	return b
}

// works wants ECDH to give what it should.
func (b *bench) works(t testing.TB) {
	t.Helper()
	p := b.unit.port()
	peer, peerKey := newPeer(t)
	own, status := p.ephemeral()
	if status != portOK {
		t.Fatalf("ephemeral: %d", status)
	}
	if secret, status := p.ecdh(ownEphemeral, peerKey); status != portOK || !bytes.Equal(secret, sharedWith(t, peer, own)) {
		t.Errorf("ecdh: %d, chip %02x, %x", status, b.unit.chipStatus(), secret)
	}
}

// The chip's configuration is that of every unit but for its options, which hello tells; slot 6 and the flash have the same key.
func TestIOKey(t *testing.T) {
	b := protectedBench(t, 4)
	if g := b.hello(t); g.options != 0x6102 {
		t.Errorf("hello: %+v", g)
	}
	zone := b.zone()
	plain := newBench(t)
	plain.run(t, 4)
	want := plain.zone()
	want[90], want[91] = 0x02, 0x61
	copy(want[:13], zone[:13]) // another chip
	if !bytes.Equal(zone, want) {
		t.Errorf("configuration %x, not %x", zone, want)
	}
	b.works(t)

	key := b.ioKey(t)
	page := append(append(record(6, key...), record(5, 0, 0, 0, 1)...), record(2, 0, 0, 0, 0)...)
	if !bytes.HasPrefix(b.flash.pages[1], page) {
		t.Errorf("the state page begins with %x, not %x", b.flash.pages[1][:len(page)], page)
	}
	// Whatever is asked of it, by somebody in the middle for instance, such a chip gives no secret in clear (data sheet of the
	// ATECC608A-TNGLoRaWAN, 5.2.1.2).
	peer, peerKey := newPeer(t)
	own, _ := b.unit.port().ephemeral()
	answer := b.exchange(append([]byte{0x43, 0x0d, 0, 0}, peerKey...)...)
	pad := sha256.Sum256(append(bytes.Clone(key), answer[33:49]...))
	subtle.XORBytes(pad[:], pad[:], answer[1:33])
	if len(answer) != 67 || !bytes.Equal(pad[:], sharedWith(t, peer, own)) {
		t.Errorf("ECDH in clear: %x", answer)
	}
}

// A chip of another setting than its firmware's is foreign, and nothing is written.
func TestIOKeyForeign(t *testing.T) {
	for _, protected := range []bool{false, true} {
		b := protectedBench(t, 0)
		b.image.IOKey = !protected
		b.powerCycle(t)
		b.run(t, 2)
		b.image.IOKey = protected
		b.powerCycle(t)
		if g := b.hello(t); g.state != 4 {
			t.Errorf("protected %t: state %d", protected, g.state)
		}
		b.still(t, "prepare", func() {
			if r := prepareStep(t, b); r.status != statusConfiguration {
				t.Errorf("protected %t: %+v", protected, r)
			}
		})
	}
}

// The supply is lost before each byte that prepare and the rest write, in chip and flash, whose state pages are one of old records and
// one of noise.
func TestIOKeyPowerCut(t *testing.T) {
	cutPower(t, func(b *bench) {
		b.image.IOKey = true
		b.powerCycle(t)
		copy(b.flash.pages[1], bytes.Repeat([]byte{2, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}, 32))
		b.flash.pages[2][100] = 0
		b.unit.remap(t)
	})
}

// A chip whose key the unit's flash does not have gets no further: the flash is another one, or the chip only said that it took it.
func TestIOKeyLost(t *testing.T) {
	refused := func(name string, b *bench) {
		t.Helper()
		b.still(t, name, func() {
			if r := prepareStep(t, b); r.status != statusConfiguration {
				t.Errorf("%s: %+v", name, r)
			}
		})
	}
	b := protectedBench(t, 1)
	other := protectedBench(t, 1)
	copy(b.flash.pages[1], other.flash.pages[1])
	b.unit.remap(t)
	b.hello(t)
	refused("another unit's flash", b)
	if err := b.flash.Erase(1); err != nil {
		t.Fatal(err)
	}
	b.unit.remap(t)
	refused("an erased flash", b)
	_, peerKey := newPeer(t)
	if _, status := b.unit.port().ephemeral(); status != portOK {
		t.Fatal(status)
	}
	if secret, status := b.unit.port().ecdh(ownEphemeral, peerKey); status != portFailed || !bytes.Equal(secret, make([]byte, 32)) {
		t.Errorf("ECDH without the key: %d, %x", status, secret)
	}

	b = protectedBench(t, 0)
	b.hello(t)
	b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
		if group[1] == 0x12 && group[2] == 0x82 {
			return []byte{4, 0x00, 0x03, 0x40}
		}
		return pass()
	}
	if r := prepareStep(t, b); r.status != statusConfiguration {
		t.Errorf("a chip that did not take it: %+v", r)
	}

	// As long as the data zone is open the key is the flash's, or a new one where that has none.
	for _, kept := range []bool{true, false} {
		b := protectedBench(t, 0)
		b.hello(t)
		b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
			if group[1] == 0x17 && group[2] == 0x81 {
				return nil
			}
			return pass()
		}
		if r := prepareStep(t, b); r.status != statusChip {
			t.Fatalf("%+v", r)
		}
		b.wire.spoil = nil
		first := b.ioKey(t)
		if !kept {
			if err := b.flash.Erase(1); err != nil {
				t.Fatal(err)
			}
			b.unit.remap(t)
		}
		if r := prepareStep(t, b); r.status != statusOK {
			t.Fatalf("%+v", r)
		}
		if again := b.ioKey(t); len(again) != 32 || bytes.Equal(first, again) != kept {
			t.Errorf("kept %t: the key was %x and is %x", kept, first, again)
		}
		b.works(t)
	}
}

// A flash that does not keep the key leaves the chip's data zone open, and the next run goes on.
func TestIOKeyFlashFails(t *testing.T) {
	for _, stuck := range []stuckFlash{{program: true}, {lie: true}, {erase: true}} {
		b := protectedBench(t, 0)
		stuck.memoryFlash = b.flash
		unit, err := NewUnit(b.image, Board{Chip: b.wire, Flash: &stuck, Debug: b.debug})
		if err != nil {
			t.Fatal(err)
		}
		b.unit.Close()
		b.unit = unit
		b.hello(t)
		if r := prepareStep(t, b); r.status != statusFlash || r.detail != 0 {
			t.Errorf("%+v: %+v", stuck, r)
		}
		if zone := b.zone(); zone[86] != 0x55 || zone[87] != 0 {
			t.Errorf("%+v: locks %x", stuck, zone[86:88])
		}
		b.powerCycle(t)
		b.run(t, 4)
		b.works(t)
	}
}

// A command of prepare that fails once changes nothing in its outcome.
func TestIOKeyChipFailsOnce(t *testing.T) {
	b := protectedBench(t, 1)
	commands := b.wire.commands
	for _, f := range passing {
		for n := range commands {
			b := protectedBench(t, 0)
			b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
				if i == n {
					return f.spoil(group, pass)
				}
				return pass()
			}
			b.hello(t)
			if r := prepareStep(t, b); r.status != statusOK {
				t.Fatalf("%s at command %d: status %d, detail %d", f.name, n, r.status, r.detail)
			}
			b.works(t)
		}
	}
}

// The vectors' secrets come out of the encryption as they are.
func TestIOKeyWycheproofECDH(t *testing.T) {
	numbers := &drawn{}
	b := protectedBench(t, 0)
	b.wire.chip = chip.New(chip.Options{Rand: numbers})
	b.run(t, 1)
	b.agreesWithWycheproof(t, numbers)
}
