//go:build cgo

package device

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/birthmark/birthmark/chip"
)

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
		{verbLink}, {verbLink, "1"}, {verbList, []byte{1}, 0}, {verbRelease, nil},
		{verbHandshake}, {verbHandshake, 1}, {verbHandshake, 1, []byte{}}, {verbHandshake, 0, []byte{1}}, {verbHandshake, 5, []byte{1}},
		{verbHandshake, -1, []byte{1}}, {verbHandshake, 1, "1"}, {verbHandshake, 1, []byte{1}, 0}, {verbHandshake, 4, []byte{}},
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
	fills := encode(t, []any{b.session, b.sequence, verbPrepare, make([]byte, 640-7)}) // the receiver's buffer, with its CRC
	fills = binary.LittleEndian.AppendUint16(fills, chip.CRC(fills))
	if len(fills) != 642 {
		t.Fatalf("%d bytes", len(fills))
	}
	unended := frame(good) // its last block announces a byte more than comes
	last := 0
	for next := int(unended[0]); unended[next] != 0; next += int(unended[next]) {
		last = next
	}
	unended[last]++
	heads := [][]any{{}, {1}, {1, 2}, {-1, 1, 2}, {b.session, -1, verbPrepare}, {b.session, 256, verbPrepare},
		{b.session, 1, 0}, {b.session, 1, -verbPrepare}, {b.session, 1, "2"}, {uint64(1) << 32, 1, verbPrepare}}
	lines := [][]byte{
		{0}, {0, 0, 0}, {1, 0}, {2, 1, 0}, {3, 1, 1, 0}, random, bad,
		frame(good)[1:], unended,
		append(frame(good)[:4], 0),
		long(640), long(10000), // 640 bytes and the array around them
		cobs(append(fills, "beyond"...)),
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
