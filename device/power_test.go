//go:build cgo

package device

import (
	"bytes"
	"fmt"
	"testing"
)

// resume takes a unit through what its state leaves to do, as a station does with a unit that comes back, with the same
// birth as before. It returns the proven key, nil if there was none to prove.
func (b *bench) resume(t testing.TB, birth *Birth) (key []byte, r reply) {
	t.Helper()
	state := b.call(t, verbHello)
	if state.status != statusOK {
		return nil, state
	}
	var at int
	decode(t, state.results[6], &at)
	if at == 3 {
		return b.key(t), state
	}
	if r = prepareStep(t, b); r.status != statusOK {
		return nil, r
	}
	if r = proveStep(t, b); r.status != statusOK {
		return nil, r
	}
	key = b.key(t)
	if birth.Unit == nil {
		*birth = b.birth(t)
	}
	if at < 2 {
		r = b.call(t, verbInstall, testChallenge, birth.Anchor, birth.Order, birth.Unit)
		if b.installed(t, *birth, r).status != statusOK {
			return key, r
		}
	}
	return key, sealStep(t, b)
}

// finished wants a sealed unit with the certificates of this birth.
func (b *bench) finished(t testing.TB, birth Birth) {
	t.Helper()
	g := b.hello(t)
	if g.state != 3 || g.generation == nil || *g.generation != 0 || !g.closed ||
		!bytes.Equal(g.order, birth.Order) || !bytes.Equal(g.unit, birth.Unit) {
		t.Errorf("not finished: %+v", g)
	}
	if err := b.judge(Birth{Anchor: b.anchor, Order: g.order, Unit: g.unit, Key: b.key(t)}); err != nil {
		t.Errorf("not finished: %v", err)
	}
}

// cutPower loses the supply before each byte that is written on the way, in chip or flash, from what prepare brings the bench to.
func cutPower(t *testing.T, prepare func(b *bench)) {
	for n := 0; ; n++ {
		b := newBench(t)
		prepare(b)
		start, cut := b.bytes, false
		b.cut = func() bool {
			cut = cut || b.bytes > start+n
			if cut {
				b.flash.dead = true // one supply for both
			}
			return cut
		}
		var birth Birth
		before, r := b.resume(t, &birth)
		if !cut {
			if r.status != statusOK {
				t.Fatalf("without a cut: %+v", r)
			}
			b.finished(t, birth)
			if n < 20 {
				t.Errorf("only %d cuts", n)
			}
			return
		}
		b.cut = nil
		b.powerCycle(t)
		after, r := b.resume(t, &birth)
		if r.status != statusOK || before != nil && !bytes.Equal(before, after) {
			t.Fatalf("cut before byte %d: status %d, detail %d, key %x then %x", n, r.status, r.detail, before, after)
		}
		b.finished(t, birth)
	}
}

func TestPowerCut(t *testing.T) {
	cutPower(t, func(b *bench) {})
}

// The same where every page must be erased first: the trust page is full of anchors that were torn, one state page of old
// records and the other of noise.
func TestPowerCutFullPages(t *testing.T) {
	cutPower(t, func(b *bench) {
		for at := 0; at < 512; at += 104 {
			copy(b.flash.pages[0][at:], []byte{1, 0, 0, 98, 1, 3})
		}
		copy(b.flash.pages[1], bytes.Repeat([]byte{2, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}, 32))
		b.flash.pages[2][100] = 0
	})
}

// One attempt after the other loses power within the same record, until the page is full of what they left.
func TestTornAgain(t *testing.T) {
	b := newBench(t)
	b.run(t, 2)
	birth := b.birth(t)
	for attempt := range 20 {
		left := 5 * attempt
		b.cut = func() bool {
			b.flash.dead = left < 0
			left--
			return b.flash.dead
		}
		b.hello(t)
		b.call(t, verbInstall, testChallenge, birth.Anchor, birth.Order, birth.Unit)
		b.cut = nil
		b.powerCycle(t)
	}
	if _, r := b.resume(t, &birth); r.status != statusOK {
		t.Fatalf("%+v", r)
	}
	b.finished(t, birth)
}

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
	{"a status of no command", answers(4, 0x00, 0x03, 0x41)},
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

// A chip that says it has written, or locked, and has not: nothing is locked over what was not read back.
func TestChipLies(t *testing.T) {
	const write, lock = 0x12, 0x17
	success := []byte{4, 0x00, 0x03, 0x40}
	for n := range journeyCommands(t) {
		b := newBench(t)
		opcode, stage := byte(0), b.zone()
		b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
			if i < n || group[1] != write && group[1] != lock {
				return pass()
			}
			if opcode == 0 {
				opcode, stage = group[1], b.zone()
			}
			return success
		}
		var birth Birth
		_, r := b.resume(t, &birth)
		if opcode == 0 && r.status == statusOK {
			break // the seal was the last to lock anything
		}
		if r.status != statusChip || r.detail != 0 {
			t.Fatalf("from command %d on: status %d, detail %d", n, r.status, r.detail)
		}
		if !bytes.Equal(b.zone()[86:90], stage[86:90]) {
			t.Errorf("from command %d on: locks %x, then %x", n, stage[86:90], b.zone()[86:90])
		}
		b.wire.spoil = nil
		if _, r := b.resume(t, &birth); r.status != statusOK {
			t.Fatalf("from command %d on, then again: status %d, detail %d", n, r.status, r.detail)
		}
		b.finished(t, birth)
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

// stuckFlash fails in one of its calls, or only says that it works.
type stuckFlash struct {
	*memoryFlash
	read, program, erase, lie bool
}

func (f *stuckFlash) Read(page, offset int, out []byte) error {
	if f.read {
		return errFlash
	}
	return f.memoryFlash.Read(page, offset, out)
}

func (f *stuckFlash) Program(page, offset int, data []byte) error {
	if f.program {
		return errFlash
	}
	if f.lie {
		return nil
	}
	return f.memoryFlash.Program(page, offset, data)
}

func (f *stuckFlash) Erase(page int) error {
	if f.erase {
		return errFlash
	}
	return f.memoryFlash.Erase(page)
}

func TestFlashFails(t *testing.T) {
	for _, steps := range []int{2, 3} { // before install, before seal
		for _, stuck := range []stuckFlash{{read: true}, {program: true}, {lie: true}, {erase: true}} {
			b := newBench(t)
			if stuck.erase {
				b.flash.pages[0][511], b.flash.pages[1][511] = 0, 0
				if steps == 3 {
					b.flash.pages[0][511] = 0xff
				}
			}
			b.run(t, steps)
			stuck.memoryFlash = b.flash
			unit, err := NewUnit(b.image, Board{Chip: b.wire, Flash: &stuck, Debug: b.debug})
			if err != nil {
				t.Fatal(err)
			}
			b.unit.Close()
			b.unit = unit
			name := fmt.Sprintf("step %d, %+v", steps, stuck)
			if r := b.call(t, verbHello); (r.status == statusFlash) != stuck.read || r.status != statusOK && !stuck.read {
				t.Errorf("%s: hello: status %d", name, r.status)
			}
			if r := journey[steps](t, b); r.status != statusFlash || r.detail != 0 {
				t.Errorf("%s: status %d, detail %d", name, r.status, r.detail)
			}
			if zone := b.zone(); zone[89] != 0xff {
				t.Errorf("%s: sealed", name)
			}
			b.powerCycle(t)
			b.hello(t)
			for i := steps; i < len(journey); i++ {
				if r := journey[i](t, b); r.status != statusOK {
					t.Errorf("%s: afterwards step %d: status %d, detail %d", name, i, r.status, r.detail)
				}
			}
		}
	}
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

// The newest pairing record is the one of the highest generation, in whichever page; seal leaves it.
func TestGeneration(t *testing.T) {
	open := func(generation byte) []byte {
		record := []byte{2, 0, 0, 4, 0, 0, 0, generation}
		crc := crc16Of(record)
		return append(record, byte(crc), byte(crc>>8), 0, 0, 0, 0, 0, 0)
	}
	torn := append([]byte{2, 0, 0, 4, 0, 0, 0, 99, 1, 1}, make([]byte, 6)...)
	other := append([]byte{3, 0, 0, 10, 0, 0, 0, 99}, make([]byte, 8)...) // a kind of a later release
	join := func(records ...[]byte) []byte { return bytes.Join(records, nil) }
	for i, c := range []struct {
		a, b []byte
		want int // -1: none
	}{
		{nil, nil, -1},
		{torn, other, -1},
		{open(5), nil, 5},
		{nil, open(5), 5},
		{open(5), open(6), 6},
		{open(6), open(5), 6},
		{join(torn, open(5), torn), nil, 5},
		{join(open(1), open(2), other, open(3)), open(2), 3},
		{join(open(4), []byte{2, 1, 0, 4, 0, 0, 0, 0}, open(9)), nil, 4},                   // a head that no append wrote
		{join(open(4), []byte{2, 0, 0xff, 0xff, 0, 0, 0, 0}, open(9)), nil, 4},             // longer than the page
		{join(open(4), bytes.Repeat([]byte{0xff}, 8), open(9)), nil, 4},                    // behind free space
		{bytes.Repeat(open(7), 32), nil, 7},                                                // to the page's last byte
		{append(bytes.Repeat(open(7), 31), 2, 0, 0, 11, 0, 0, 0, 0), nil, 7},               // one byte too long
		{append(bytes.Repeat(open(7), 31), open(8)[:8]...), open(3), 7},                    // torn at the end
		{append(bytes.Repeat(open(7), 31), 0xff, 0xff, 0xff), bytes.Repeat(open(8), 1), 8}, // one place left
	} {
		b := newBench(t)
		copy(b.flash.pages[1], c.a)
		copy(b.flash.pages[2], c.b)
		g := b.hello(t)
		if got := g.generation; (got == nil) != (c.want < 0) || got != nil && int(*got) != c.want {
			t.Errorf("%d: %v, want %d", i, got, c.want)
		}
		b.run(t, 3)
		r := b.call(t, verbSeal)
		var generation int
		if r.status == statusOK {
			decode(t, r.results[1], &generation)
		}
		if r.status != statusOK || generation != max(c.want, 0) {
			t.Errorf("%d: sealed with status %d, generation %d, want %d", i, r.status, generation, c.want)
		}
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

func TestNewUnitRefuses(t *testing.T) {
	b := newBench(t)
	good := Board{Chip: b.wire, Flash: b.flash, Debug: b.debug}
	peers := func(n int) Image { image := b.image; image.Peers = make([]uint32, n); return image }
	for _, c := range []struct {
		image Image
		board Board
	}{
		{peers(0), good}, {peers(9), good},
		{b.image, Board{Flash: b.flash, Debug: b.debug}},
		{b.image, Board{Chip: b.wire, Debug: b.debug}},
		{b.image, Board{Chip: b.wire, Flash: b.flash}},
		{b.image, Board{Chip: b.wire, Flash: newFlash(0), Debug: b.debug}},
		{b.image, Board{Chip: b.wire, Flash: newFlash(1004), Debug: b.debug}},
	} {
		if unit, err := NewUnit(c.image, c.board); err == nil {
			unit.Close()
			t.Errorf("%+v, %+v: no error", c.image, c.board)
		}
	}
}
