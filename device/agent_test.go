//go:build cgo

package device

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// still runs f and wants nothing written by the chip or the flash.
func (b *bench) still(t testing.TB, name string, f func()) {
	t.Helper()
	zone, flash, before := b.zone(), b.flash.pages, b.bytes
	for i := range flash {
		flash[i] = bytes.Clone(flash[i])
	}
	f()
	if b.bytes != before || !bytes.Equal(b.zone(), zone) {
		t.Errorf("%s: the chip or the flash was written", name)
	}
	for i := range flash {
		if !bytes.Equal(b.flash.pages[i], flash[i]) {
			t.Errorf("%s: page %d has changed", name, i)
		}
	}
}

// states are ways to bring a unit into each state.
var states = []func(t testing.TB, b *bench){
	func(t testing.TB, b *bench) { b.run(t, 0) },
	func(t testing.TB, b *bench) { b.run(t, 2) },
	func(t testing.TB, b *bench) { b.run(t, 3) },
	func(t testing.TB, b *bench) { b.run(t, 4) },
	func(t testing.TB, b *bench) {
		if answer := b.exchange(0x17, 0x80, 0, 0); answer[1] != 0 {
			t.Fatalf("lock: %x", answer)
		}
		b.run(t, 0)
	},
}

func TestStates(t *testing.T) {
	// Statuses of docs/wire.md, "Verbs", by state.
	const no = statusState
	table := map[int][5]int{
		verbPrepare:   {0, 0, 0, no, statusConfiguration},
		verbProve:     {no, 0, 0, no, no},
		verbInstall:   {no, 0, 0, no, no},
		verbSeal:      {no, no, 0, no, no},
		verbHandshake: {no, no, 0, 0, no},
		verbLink:      {no, statusMalformed, statusMalformed, statusMalformed, no},
		verbList:      {no, statusMalformed, statusMalformed, statusMalformed, no},
		verbRelease:   {no, no, no, no, no},
		99:            {no, no, no, no, no},
		1 << 31:       {no, no, no, no, no},
	}
	for verb, statuses := range table {
		for state, want := range statuses {
			b := newBench(t)
			states[state](t, b)
			if g := b.hello(t); g.state != state {
				t.Fatalf("state %d, want %d", g.state, state)
			}
			ask := func() {
				var r reply
				switch verb {
				case verbPrepare:
					r = prepareStep(t, b)
				case verbProve:
					r = proveStep(t, b)
				case verbInstall:
					r = installStep(t, b)
				case verbHandshake:
					r = b.turn(t, 0, nil).reply
				case verbSeal:
					r = sealStep(t, b)
				case verbLink, verbList, verbRelease:
					r = b.call(t, verb, []byte{1})
				default:
					r = b.call(t, verb)
				}
				if r.status != want || want == statusState && r.detail != state || want == statusConfiguration && r.detail != 0 {
					t.Errorf("verb %d in state %d: status %d, detail %d, want %d", verb, state, r.status, r.detail, want)
				}
			}
			// In states 1 and 2 prepare only reads, and prove always does.
			if want != statusOK || verb == verbProve || verb == verbHandshake || verb == verbPrepare && state > 0 {
				b.still(t, fmt.Sprintf("verb %d in state %d", verb, state), ask)
			} else {
				ask()
			}
		}
	}
}

// The chip's part of each verb leaves most of the time that a station waits (docs/wire.md, "Verbs") to line and
// microcontroller.
func TestTimes(t *testing.T) {
	b := newBench(t)
	within := func(name string, waits time.Duration, f func()) {
		t.Helper()
		b.spent = 0
		f()
		t.Logf("%-17s %v", name, b.spent)
		if b.spent > waits/2 {
			t.Errorf("%s: the chip takes %v of %v", name, b.spent, waits)
		}
	}
	hello := func() { b.hello(t) }
	steps := func(s step) func() {
		return func() {
			if r := s(t, b); r.status != statusOK {
				t.Fatalf("%+v", r)
			}
		}
	}
	within("hello, blank", 2*time.Second, hello)
	within("prepare", 15*time.Second, steps(prepareStep))
	within("hello, prepared", 2*time.Second, hello)
	within("prove", 3*time.Second, steps(proveStep))
	within("install", 8*time.Second, steps(installStep))
	within("hello, installed", 2*time.Second, hello)
	station := b.badge(t, stationSerial)
	h := b.peer(t, Initiator, station)
	within("message_1, installed", 6*time.Second, func() {
		if err := h.Read(b.turn(t, 1, mustWrite(t, h)).message); err != nil {
			t.Fatal(err)
		}
	})
	within("message_3", 6*time.Second, func() {
		if err := h.Read(b.turn(t, 3, mustWrite(t, h)).message); err != nil {
			t.Fatal(err)
		}
	})
	within("seal", 4*time.Second, steps(sealStep))
	within("hello, sealed", 2*time.Second, hello)
}

// The policy of every unit's chip, spelt out once more.
func TestPolicy(t *testing.T) {
	b := newBench(t)
	if answer := b.exchange(0x12, 0x00, 68/4, 0, 1, 2, 3, 4); answer[1] != 0 { // what the factory leaves zero
		t.Fatalf("write: %x", answer)
	}
	before := b.zone()
	b.run(t, 1)
	zone := b.zone()
	for slot := range 16 {
		wantSlot, wantKey := uint16(0x8080), uint16(0x001c)
		switch slot {
		case 0:
			wantSlot, wantKey = 0x0081, 0x0013
		case 1:
			wantSlot, wantKey = 0x0082, 0x0013
		case 6:
			wantKey = 0x007c
		case 8:
			wantSlot, wantKey = 0x0000, 0x003c
		}
		word := func(at int) uint16 { return uint16(zone[at+2*slot]) | uint16(zone[at+2*slot+1])<<8 }
		if word(20) != wantSlot || word(96) != wantKey {
			t.Errorf("slot %d: SlotConfig %04x, KeyConfig %04x", slot, word(20), word(96))
		}
	}
	for at, want := range map[int]byte{16: 0xc0, 17: 0, 18: 0, 19: 0, 68: 0, 69: 0, 70: 0, 71: 0, 86: 0, 87: 0, 88: 0xff, 89: 0xff,
		90: 0, 91: 0, 92: 0, 93: 0, 94: 0, 95: 0} {
		if zone[at] != want {
			t.Errorf("byte %d is %02x, not %02x", at, zone[at], want)
		}
	}
	for _, kept := range [][2]int{{0, 16}, {52, 68}, {72, 86}} {
		if !bytes.Equal(zone[kept[0]:kept[1]], before[kept[0]:kept[1]]) {
			t.Errorf("bytes %d to %d have changed", kept[0], kept[1])
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	seen := map[Check]bool{}
	for _, defect := range defects {
		b := newBench(t)
		b.run(t, 2)
		key := b.factory.unit
		defect.spoil(t, b.factory)
		if b.factory.unit != key { // the certificate is another unit's
			b.unitItems = b.unitItems.with(itemKey, compress(publicKey(t, b.factory.unit)))
		}
		b.image.AnchorHash, b.image.Product = b.anchorHash, b.product
		b.powerCycle(t)
		b.hello(t)
		b.still(t, defect.name, func() {
			if r := installStep(t, b); r.status != statusRefused || Check(r.detail) != defect.check {
				t.Errorf("%s: status %d, detail %d, want check %d", defect.name, r.status, r.detail, defect.check)
			}
		})
		seen[defect.check] = true
		if g := b.hello(t); g.state != 1 || len(g.order) > 0 {
			t.Errorf("%s: state %d, order %x", defect.name, g.state, g.order)
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d of 10 checks were seen to fail", len(seen))
	}
}

// An installed unit keeps what it has when it is offered something bad, and writes nothing for the same bytes again.
func TestInstallAgain(t *testing.T) {
	b := newBench(t)
	b.run(t, 2)
	birth := b.birth(t)
	install := func(birth Birth) reply {
		t.Helper()
		return b.installed(t, birth, b.call(t, verbInstall, testChallenge, birth.Anchor, birth.Order, birth.Unit))
	}
	if r := install(birth); r.status != statusOK {
		t.Fatalf("%+v", r)
	}
	b.still(t, "a bad install after a good one", func() {
		bad := birth
		bad.Unit = bytes.Clone(birth.Unit)
		bad.Unit[len(bad.Unit)-1] ^= 1
		if r := install(bad); r.status != statusRefused || Check(r.detail) != CheckUnitSignature {
			t.Errorf("%+v", r)
		}
	})
	b.still(t, "the same install again", func() {
		if r := install(birth); r.status != statusOK {
			t.Errorf("%+v", r)
		}
	})
	b.hello(t)                                        // whose reply is longer than the certificates, and fills the buffer that they are put together in
	if r := installStep(t, b); r.status != statusOK { // another certificate over the same key
		t.Errorf("%+v", r)
	}
	if g := b.hello(t); g.state != 2 || !bytes.Equal(g.order[:20], birth.Order[:20]) || bytes.Equal(g.unit, birth.Unit) {
		t.Errorf("%+v", g)
	}
}

// What lies in slot 8 is reported if it has the form, and believed only if it holds.
func TestStored(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	birth := b.birth(t)
	write := func(slot []byte) {
		t.Helper()
		slot = append(slot, make([]byte, 416-len(slot))...)
		for block := range byte(13) {
			command := append([]byte{0x12, 0x82, 8 << 3, block}, slot[32*int(block):][:32]...)
			if answer := b.exchange(command...); answer[1] != 0 {
				t.Fatalf("write: %x", answer)
			}
		}
	}
	turned := shown(t, birth.Unit, birth.Order)
	turned[len(turned)-1] ^= 1
	tail := make([]byte, 416-len(turned))
	tail[len(tail)-1] = 1
	for _, c := range []struct {
		name  string
		slot  []byte
		found bool
	}{
		{"a signature with a bit turned over", turned, true},
		{"two strings", shown(t, []byte("unit"), []byte("order")), true},
		{"strings without a zero byte", shown(t, bytes.Repeat([]byte{1}, 135), bytes.Repeat([]byte{1}, 155)), true},
		{"empty strings", shown(t, []byte{}, []byte{}), false},
		{"one certificate", shown(t, birth.Unit), false},
		{"one certificate that is no array", encode(t, map[int]any{25: birth.Unit}), false},
		{"three", shown(t, birth.Unit, birth.Order, []byte{}), false},
		{"an unordered bag", encode(t, map[int]any{24: []any{birth.Unit, birth.Order}}), false},
		{"no map", encode(t, []any{birth.Unit, birth.Order}), false},
		{"a second label", encode(t, map[int]any{25: []any{birth.Unit, birth.Order}, 26: 0}), false},
		{"something after the zeros", append(shown(t, birth.Unit, birth.Order), 0, 0, 1), false},
		{"something in the last byte", append(shown(t, birth.Unit, birth.Order), tail...), false},
		{"an order of 156 bytes", shown(t, birth.Unit, make([]byte, 156)), false},
		{"a unit of 136 bytes", shown(t, make([]byte, 136), birth.Order), false},
		{"a string beyond the slot", append([]byte{0xa1, 0x18, 0x19, 0x82, 0x43, 1, 2, 3, 0x59, 1, 0xa0}, make([]byte, 400)...), false},
		{"text", shown(t, "unit", "order"), false},
		{"zeros", nil, false},
	} {
		write(c.slot)
		g := b.hello(t)
		if g.state != 1 || (len(g.order) > 0) != c.found || (len(g.unit) > 0) != c.found ||
			c.found && !bytes.Equal(shown(t, g.unit, g.order), c.slot) {
			t.Errorf("%s: state %d, order %x, unit %x", c.name, g.state, g.order, g.unit)
		}
		if r := sealStep(t, b); r.status != statusState || r.detail != 1 {
			t.Errorf("%s: seal: %+v", c.name, r)
		}
	}
	write(shown(t, birth.Unit, birth.Order))
	if g := b.hello(t); g.state != 2 {
		t.Errorf("the unit's own certificates: state %d", g.state)
	}
	b.flash.pages[0][50] ^= 1
	b.unit.remap(t)
	if g := b.hello(t); g.state != 1 {
		t.Errorf("without an anchor: state %d", g.state)
	}
}
