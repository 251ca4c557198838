//go:build cgo

package device

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
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
		verbPrepare: {0, 0, 0, no, statusConfiguration},
		verbProve:   {no, 0, 0, no, no},
		verbInstall: {no, 0, 0, no, no},
		verbSeal:    {no, no, 0, no, no},
		5:           {no, no, no, no, no},
		7:           {no, no, no, no, no},
		99:          {no, no, no, no, no},
		1 << 31:     {no, no, no, no, no},
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
				case verbSeal:
					r = sealStep(t, b)
				default:
					r = b.call(t, verb)
				}
				if r.status != want || want == statusState && r.detail != state || want == statusConfiguration && r.detail != 0 {
					t.Errorf("verb %d in state %d: status %d, detail %d, want %d", verb, state, r.status, r.detail, want)
				}
			}
			// In states 1 and 2 prepare only reads, and prove always does.
			if want != statusOK || verb == verbProve || verb == verbPrepare && state > 0 {
				b.still(t, fmt.Sprintf("verb %d in state %d", verb, state), ask)
			} else {
				ask()
			}
		}
	}
}

// The policy that DESIGN fixes for the chip of every unit, spelt out once more.
func TestPolicy(t *testing.T) {
	b := newBench(t)
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

func TestRepeat(t *testing.T) {
	b := newBench(t)
	b.hello(t)
	for i, s := range append([]step{func(t testing.TB, b *bench) reply { return b.call(t, 99) }}, journey...) {
		s(t, b)
		// Whatever verb and arguments a request of the last sequence has, its answer has been given.
		last := b.unit.Receive(b.request(t, b.sequence-1, verbSeal))
		commands := b.wire.commands
		b.still(t, "a repeat", func() {
			for _, request := range [][]byte{
				b.request(t, b.sequence-1, verbPrepare), b.request(t, b.sequence-1, 99, "x"),
			} {
				if again := b.unit.Receive(request); !bytes.Equal(again, last) {
					t.Errorf("step %d: %x, then %x", i, last, again)
				}
			}
			for _, sequence := range []int{b.sequence - 2, b.sequence + 1, 255} {
				r := parseReply(t, b.unit.Receive(b.request(t, sequence, verbPrepare)))
				if r.status != statusSequence || r.detail != 0 || int(r.sequence) != sequence || bytes.Equal(r.serial, make([]byte, 9)) {
					t.Errorf("step %d: sequence %d: %+v", i, sequence, r)
				}
			}
			if again := b.unit.Receive(b.request(t, b.sequence-1, verbSeal)); !bytes.Equal(again, last) {
				t.Errorf("step %d: a refused sequence has replaced the last reply", i)
			}
		})
		if b.wire.commands != commands {
			t.Errorf("step %d: repeats gave the chip %d commands", i, b.wire.commands-commands)
		}
	}
}

func TestSession(t *testing.T) {
	b := newBench(t)
	serial := func() []byte { zone := b.zone(); return append(zone[:4:4], zone[8:13]...) }()
	refused := func(name string, sequence, verb int) {
		t.Helper()
		r := parseReply(t, b.unit.Receive(b.request(t, sequence, verb)))
		if r.status != statusSequence || r.detail != 0 || !bytes.Equal(r.serial, serial) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	refused("before any hello", 0, verbPrepare)
	refused("a hello with sequence 1", 1, verbHello)
	b.hello(t)
	refused("a hello with the next sequence", 1, verbHello)
	b.session++
	refused("another session", 1, verbPrepare)
	b.session--
	if r := prepareStep(t, b); r.status != statusOK {
		t.Errorf("after all this: %+v", r)
	}
	for b.sequence < 256 {
		if r := b.call(t, 99); r.status != statusState {
			t.Fatalf("sequence %d: %+v", b.sequence, r)
		}
	}
	refused("sequence 0 after 255", 0, verbPrepare)
	if answer := b.unit.Receive(b.request(t, 256, verbPrepare)); answer != nil {
		t.Errorf("sequence 256 was answered with %x", answer)
	}
	b.hello(t)
}

func TestMalformed(t *testing.T) {
	challenge, name, anchor := testChallenge, testOrderName, make([]byte, 98)
	b := newBench(t)
	b.run(t, 2)
	for _, request := range [][]any{
		{verbPrepare, 0}, {verbPrepare, nil},
		{verbSeal, 0},
		{verbProve}, {verbProve, challenge}, {verbProve, challenge, name},
		{verbProve, challenge[:31], name, 1}, {verbProve, append([]byte{0}, challenge...), name, 1},
		{verbProve, challenge, name[:3], 1}, {verbProve, challenge, append([]byte{0}, name...), 1},
		{verbProve, challenge, name, 2}, {verbProve, challenge, name, -1}, {verbProve, challenge, name, 1, 1},
		{verbProve, string(challenge), name, 1}, {verbProve, challenge, name, nil},
		{verbInstall}, {verbInstall, challenge, anchor, []byte{}},
		{verbInstall, challenge[1:], anchor, []byte{}, []byte{}}, {verbInstall, challenge, anchor[1:], []byte{}, []byte{}},
		{verbInstall, challenge, anchor, "", []byte{}}, {verbInstall, challenge, anchor, []byte{}, 0},
		{verbInstall, challenge, anchor, []byte{}, []byte{}, nil},
	} {
		commands := b.wire.commands
		r := b.call(t, request[0].(int), request[1:]...)
		if r.status != statusMalformed || r.detail != 0 || b.wire.commands != commands {
			t.Errorf("%v: %+v after %d chip commands", request, r, b.wire.commands-commands)
		}
	}
	// One call, but an array that counts otherwise, and one with something after it.
	good := encode(t, []any{b.session, b.sequence, verbPrepare})
	for _, payload := range [][]byte{append([]byte{0x84}, good[1:]...), append(bytes.Clone(good), 0)} {
		r := parseReply(t, b.unit.Receive(frame(payload)))
		if r.status != statusMalformed {
			t.Errorf("%x: %+v", payload, r)
		}
		b.sequence++
		good[len(good)-2]++
	}
	if r := parseReply(t, b.unit.Receive(frame(encode(t, []any{7, 0, verbHello, 0})))); r.status != statusMalformed {
		t.Errorf("hello with an argument: %+v", r)
	}
}

func TestDropped(t *testing.T) {
	b := newBench(t)
	b.hello(t)
	good := encode(t, []any{b.session, b.sequence, verbPrepare})
	bad := frame(good)
	bad[len(bad)-2] ^= 1
	random, source := make([]byte, 4096), rand.NewPCG(1, 1)
	for i := range random {
		random[i] = byte(source.Uint64())
	}
	long := func(n int) []byte {
		return frame(encode(t, []any{b.session, b.sequence, verbPrepare, make([]byte, n)}))
	}
	heads := [][]any{{}, {1}, {1, 2}, {-1, 1, 2}, {b.session, -1, verbPrepare}, {b.session, 256, verbPrepare},
		{b.session, 1, 0}, {b.session, 1, -verbPrepare}, {b.session, 1, "2"}, {uint64(1) << 32, 1, verbPrepare}}
	lines := [][]byte{
		{0}, {0, 0, 0}, {1, 0}, {2, 1, 0}, {3, 1, 1, 0}, random, bad,
		frame(good)[1:],
		append(frame(good)[:4], 0),
		long(640), long(10000), // 640 bytes and the array around them
		append(bytes.Repeat([]byte{0xff}, 5000), 0),
		b.unit.Receive(b.request(t, 0, verbHello)), // the echo of a reply
		b.unit.Receive(b.request(t, 9, verbHello)), // the echo of a refusal
		frame([]byte{0x83, 0x01, 0x18, 0x01, 0x02}), frame([]byte{0xa0}), frame([]byte{0xff}), frame(nil),
	}
	for _, head := range heads {
		lines = append(lines, frame(encode(t, head)))
	}
	commands := b.wire.commands
	for _, line := range lines {
		if answer := b.unit.Receive(append(line, 0)); answer != nil {
			t.Errorf("%.40x was answered with %x", line, answer)
		}
	}
	if b.wire.commands != commands {
		t.Errorf("the chip had %d commands", b.wire.commands-commands)
	}
	// A request of exactly 640 bytes is read; what it says is another matter.
	overhead := len(encode(t, []any{b.session, b.sequence, verbPrepare, make([]byte, 300)})) - 300
	if r := parseReply(t, b.unit.Receive(long(640-overhead))); r.status != statusMalformed {
		t.Errorf("640 bytes: %+v", r)
	}
	if answer := b.unit.Receive(long(641 - overhead)); answer != nil {
		t.Errorf("641 bytes: %x", answer)
	}
	b.sequence++
	if r := prepareStep(t, b); r.status != statusOK {
		t.Errorf("after all this: %+v", r)
	}
}

// Blocks of COBS with every number of zeros and of other bytes around the 254 that a block holds.
func TestBlocks(t *testing.T) {
	b := newBench(t)
	b.hello(t)
	for n := 240; n <= 520; n++ {
		for _, fill := range []byte{0, 1} {
			r := b.call(t, 99, bytes.Repeat([]byte{fill}, n))
			if r.status != statusState {
				t.Fatalf("%d bytes %02x: %+v", n, fill, r)
			}
			if b.sequence == 256 {
				b.hello(t)
			}
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
	b.run(t, 2)
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
	for _, c := range []struct {
		name  string
		slot  []byte
		found bool
	}{
		{"two certificates without an anchor", encode(t, []any{birth.Order, birth.Unit}), true},
		{"two strings", encode(t, []any{[]byte("order"), []byte("unit")}), true},
		{"empty strings", encode(t, []any{[]byte{}, []byte{}}), false},
		{"one certificate", encode(t, []any{birth.Order}), false},
		{"three", encode(t, []any{birth.Order, birth.Unit, []byte{}}), false},
		{"something after the zeros", append(encode(t, []any{birth.Order, birth.Unit}), 0, 0, 1), false},
		{"an order of 156 bytes", encode(t, []any{make([]byte, 156), birth.Unit}), false},
		{"a unit of 136 bytes", encode(t, []any{birth.Order, make([]byte, 136)}), false},
		{"a string beyond the slot", append([]byte{0x82, 0x43, 1, 2, 3, 0x59, 1, 0xa0}, make([]byte, 400)...), false},
		{"text", encode(t, []any{"order", "unit"}), false},
		{"zeros", nil, false},
	} {
		write(c.slot)
		g := b.hello(t)
		if g.state != 1 || (len(g.order) > 0) != c.found || (len(g.unit) > 0) != c.found {
			t.Errorf("%s: state %d, order %x, unit %x", c.name, g.state, g.order, g.unit)
		}
		if r := sealStep(t, b); r.status != statusState || r.detail != 1 {
			t.Errorf("%s: seal: %+v", c.name, r)
		}
	}
}
