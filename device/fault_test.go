//go:build cgo

package device

import (
	"bytes"
	"testing"
)

// fault is something wrong with the exchange of one command.
type fault struct {
	name  string
	spoil func(group []byte, pass func() []byte) []byte
}

func answers(group ...byte) func([]byte, func() []byte) []byte {
	return func([]byte, func() []byte) []byte { return group }
}

// What the next try cures.
var passing = []fault{
	{"no answer", answers()},
	{"the chip read noise", answers(4, 0xff, 0x01, 0x42)},
	{"an ECC fault", answers(4, 0x05, 0xc3, 0x43)},
	{"the watchdog", answers(4, 0xee, 0x31, 0x41)},
	{"a sag of the supply", answers(4, 0x11, 0x33, 0x43)},
	{"an answer with a wrong CRC", answers(4, 0x00, 0x03, 0x41)},
	{"a status in place of data", func(group []byte, pass func() []byte) []byte {
		if answer := pass(); len(answer) == 4 {
			return answer
		}
		return []byte{4, 0x00, 0x03, 0x40}
	}},
	{"a count of 0", answers(0)},
	{"a count of 3", answers(3, 0x00, 0x03)},
	{"a count beyond any answer", answers(68, 0x00, 0x03)},
	{"an answer cut short", func(_ []byte, pass func() []byte) []byte {
		answer := pass()
		return answer[:len(answer)-1]
	}},
	{"an answer with a bit turned over", func(_ []byte, pass func() []byte) []byte {
		answer := pass()
		answer[len(answer)/2] ^= 0x10
		return answer
	}},
	{"an answer lost", func(_ []byte, pass func() []byte) []byte {
		pass()
		return nil
	}},
}

// What stays, and the detail that the station is given.
var lasting = []struct {
	fault
	detail int
}{
	{fault{"no answer", answers()}, 0},
	{fault{"noise", answers(4, 0xff, 0x01, 0x42)}, 0xff},
	{fault{"a refusal", answers(4, 0x0f, 0x23, 0x42)}, 0x0f},
	{fault{"a parse error", answers(4, 0x03, 0x83, 0x42)}, 0x03},
	{fault{"a failed self-test", answers(4, 0x07, 0x40, 0xc2)}, 0x07},
}

// journeyCommands is how many commands the chip has on a journey where nothing fails.
func journeyCommands(t *testing.T) int {
	b := newBench(t)
	b.resume(t, &Birth{})
	return b.wire.commands
}

// A command that fails once changes nothing in the outcome of the journey.
func TestChipFailsOnce(t *testing.T) {
	commands := journeyCommands(t)
	for _, f := range passing {
		for n := range commands {
			b := newBench(t)
			b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
				if i == n {
					return f.spoil(group, pass)
				}
				return pass()
			}
			var birth Birth
			key, r := b.resume(t, &birth)
			if r.status != statusOK {
				t.Fatalf("%s at command %d: status %d, detail %d", f.name, n, r.status, r.detail)
			}
			b.wire.spoil = nil
			b.finished(t, birth)
			if !bytes.Equal(key, b.key(t)) {
				t.Errorf("%s at command %d: the key has changed", f.name, n)
			}
		}
	}
}

// A chip that fails for good gives status 4 and what it said; when it works again the journey goes on.
func TestChipFails(t *testing.T) {
	commands := journeyCommands(t)
	for _, f := range lasting {
		for n := range commands {
			b := newBench(t)
			opcode := byte(0)
			b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
				if i == n {
					opcode = group[1]
				}
				if i >= n {
					return f.spoil(group, pass)
				}
				return pass()
			}
			var birth Birth
			before, r := b.resume(t, &birth)
			// Without the attestation or identity key in sight the refusal itself is no failure: a key is made next.
			if r.status != statusChip && !(r.status == statusState && opcode == 0x40) || r.status == statusChip && r.detail != f.detail {
				t.Fatalf("%s at command %d, opcode %02x: status %d, detail %d", f.name, n, opcode, r.status, r.detail)
			}
			b.wire.spoil = nil
			after, r := b.resume(t, &birth)
			if r.status != statusOK || before != nil && !bytes.Equal(before, after) {
				t.Fatalf("%s at command %d, then again: status %d, detail %d", f.name, n, r.status, r.detail)
			}
			b.finished(t, birth)
		}
	}
}

// One command that the chip refuses for good is named by its status, whatever else the driver asks meanwhile.
func TestChipRefuses(t *testing.T) {
	for _, opcode := range []byte{0x02, 0x12, 0x16, 0x17, 0x40, 0x41, 0x45} {
		b := newBench(t)
		b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
			if group[1] == opcode {
				return []byte{4, 0x0f, 0x23, 0x42}
			}
			return pass()
		}
		if _, r := b.resume(t, &Birth{}); r.status != statusChip || r.detail != 0x0f {
			t.Errorf("opcode %02x: status %d, detail %d", opcode, r.status, r.detail)
		}
	}
}

// A chip that says it has written, or locked, and has not: nothing is locked over what was not read back.
func TestChipLies(t *testing.T) {
	const write, lock = 0x12, 0x17
	for _, lies := range [][]byte{{write}, {lock}} {
		for n := range journeyCommands(t) {
			b := newBench(t)
			var locks []byte // at the first lie
			b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
				if i < n || !bytes.Contains(lies, group[1:2]) {
					return pass()
				}
				if locks == nil {
					locks = b.zone()[86:90]
				}
				return []byte{4, 0x00, 0x03, 0x40}
			}
			var birth Birth
			_, r := b.resume(t, &birth)
			if locks == nil && r.status == statusOK {
				break // no such command follows
			}
			if r.status != statusChip || r.detail != 0 || !bytes.Equal(b.zone()[86:90], locks) {
				t.Fatalf("from command %d on: status %d, detail %d, locks %x, then %x", n, r.status, r.detail, locks, b.zone()[86:90])
			}
			b.wire.spoil = nil
			if _, r := b.resume(t, &birth); r.status != statusOK {
				t.Fatalf("from command %d on, then again: status %d, detail %d", n, r.status, r.detail)
			}
			b.finished(t, birth)
		}
	}
}

// The lock's CRC covers what was read back: what changes in between is not locked.
func TestConfigurationChanges(t *testing.T) {
	b := newBench(t)
	b.hello(t)
	b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
		if group[1] == 0x17 {
			b.exchange(0x12, 0x00, 20/4, 0, 0x80, 0, 0x82, 0) // SlotConfig of slot 0
			b.wire.chip.Wake()
		}
		return pass()
	}
	if r := prepareStep(t, b); r.status != statusChip || r.detail != 0x0f || b.zone()[87] != 0x55 {
		t.Errorf("%+v, LockConfig %02x", r, b.zone()[87])
	}
}

// While the data zone is open a key could be made over another: a chip that only does not say whether it has one keeps it.
func TestKeyIsKept(t *testing.T) {
	b := newBench(t)
	b.hello(t)
	refuseLockData := func(_ int, group []byte, pass func() []byte) []byte {
		if group[1] == 0x17 && group[2] == 0x81 {
			return nil
		}
		return pass()
	}
	b.wire.spoil = refuseLockData
	if r := prepareStep(t, b); r.status != statusChip {
		t.Fatalf("%+v", r)
	}
	key := b.key(t)
	b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
		if group[1] == 0x40 && group[2] == 0 {
			return nil
		}
		return pass()
	}
	b.still(t, "prepare", func() {
		if r := prepareStep(t, b); r.status != statusChip || r.detail != 0 {
			t.Errorf("%+v", r)
		}
	})
	if !bytes.Equal(b.key(t), key) {
		t.Error("the key has changed")
	}
}

// Both zones locked around slots without keys: the unit is no prepared one, and prepare says what the chip says.
func TestNoKey(t *testing.T) {
	b := newBench(t)
	b.hello(t)
	b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
		if group[1] != 0x40 {
			return pass()
		}
		key := append([]byte{67}, make([]byte, 64)...)
		crc := crc16Of(key)
		return append(key, byte(crc), byte(crc>>8))
	}
	prepareStep(t, b)
	b.wire.spoil = nil
	if g := b.hello(t); g.state != 0 || !bytes.Equal(g.locks[:2], []byte{0, 0}) {
		t.Errorf("%+v", g)
	}
	if r := prepareStep(t, b); r.status != statusChip || r.detail != 0x0f {
		t.Errorf("%+v", r)
	}
}

// A chip that takes no signature for good leaves everything as it is.
func TestVerifyRefuses(t *testing.T) {
	b := newBench(t)
	b.run(t, 2)
	b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
		if group[1] == 0x45 {
			return []byte{4, 0x01, 0x00, 0xc3}
		}
		return pass()
	}
	b.still(t, "install", func() {
		if r := installStep(t, b); r.status != statusRefused || Check(r.detail) != CheckOrderSignature {
			t.Errorf("%+v", r)
		}
	})
}

func TestDebugPortStaysOpen(t *testing.T) {
	b := newBench(t)
	b.run(t, 3)
	b.debug.stuck = true
	if r := sealStep(t, b); r.status != statusFlash || r.detail != 0 || b.zone()[89] != 0xff {
		t.Errorf("%+v", r)
	}
	b.debug.stuck = false
	if r := sealStep(t, b); r.status != statusOK {
		t.Errorf("%+v", r)
	}
}

func TestRandom(t *testing.T) {
	b := newBench(t)
	if number, ok := b.unit.random(); ok {
		t.Errorf("an open chip gives %x", number)
	}
	b.run(t, 1)
	first, ok1 := b.unit.random()
	second, ok2 := b.unit.random()
	if !ok1 || !ok2 || first == second {
		t.Errorf("%x, %x", first, second)
	}
	b.wire.spoil = func(int, []byte, func() []byte) []byte { return []byte{4, 0x08, 0x60, 0xc0} }
	if number, ok := b.unit.random(); ok {
		t.Errorf("a chip with a bad generator gives %x", number)
	}
}
