//go:build cgo

package device

import (
	"bytes"
	"fmt"
	"testing"
)

// stuckFlash fails in one of its calls, or only says that it works.
type stuckFlash struct {
	*memoryFlash
	program, erase, lie bool
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
		for _, stuck := range []stuckFlash{{program: true}, {lie: true}, {erase: true}} {
			b := newBench(t)
			if stuck.erase {
				b.flash.pages[0][511], b.flash.pages[1][511] = 0, 0
				if steps == 3 {
					b.flash.pages[0][511] = 0xff
				}
				b.unit.remap(t)
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
			b.hello(t)
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

// record is a record as docs/formats.md has it.
func record(kind byte, payload ...byte) []byte {
	r := append([]byte{kind, 0, byte(len(payload) >> 8), byte(len(payload))}, payload...)
	crc := crc16Of(r)
	r = append(r, byte(crc), byte(crc>>8))
	return append(r, make([]byte, (8-len(r)%8)%8)...)
}

// Kinds of records.
const (
	recordAnchor = 1 + iota
	recordPairing
	recordList
	recordLink
	recordMark
)

// The pairing that counts is the last one in the page with the highest mark; seal leaves it.
func TestGeneration(t *testing.T) {
	open := func(generation byte) []byte { return record(recordPairing, 0, 0, 0, generation) }
	mark := func(number ...byte) []byte {
		return record(recordMark, append(make([]byte, 4-len(number)), number...)...)
	}
	changed := func(at int, to byte) []byte { r := open(99); r[at] = to; return r }
	torn, other := changed(8, 1), record(99, 0, 0, 0, 99) // other: a kind of a later release
	join := func(records ...[]byte) []byte { return bytes.Join(records, nil) }
	first := join(mark(1), bytes.Repeat(open(7), 31)) // to the page's last byte
	for i, c := range []struct {
		a, b []byte
		want int // -1: none
	}{
		{nil, nil, -1},
		{open(5), open(6), -1}, // without a mark
		{join(open(5), mark(0)), nil, -1},
		{mark(1), join(open(5), mark(0)), -1},
		{join(torn, other, mark(1)), nil, -1},
		{join(record(recordPairing, 0, 0, 9), mark(1)), nil, -1}, // no generation
		{join(open(5), mark(1)), nil, 5},
		{nil, join(open(5), mark(1)), 5},
		{join(open(9), mark(1)), join(open(6), mark(2)), 6}, // the mark counts, not the generation
		{join(open(6), mark(1, 0)), join(open(9), mark(0xff)), 6},
		{join(mark(1), open(6), mark(3)), join(open(9), mark(2)), 6},
		{join(open(6), mark(1)), join(open(7), changed(0, recordMark)), 6}, // a torn mark
		{join(torn, open(5), mark(1), torn), nil, 5},
		{join(open(1), mark(1), open(2), other, open(3)), nil, 3},
		{join(open(4), mark(1), changed(1, 1), open(9)), nil, 9},                       // no head: the search goes on
		{join(open(4), mark(1), changed(2, 2), open(9)), nil, 9},                       // longer than the page
		{join(open(4), mark(1), changed(3, 20), open(9), open(8)), nil, 8},             // torn, and longer
		{join(open(4), mark(1), bytes.Repeat([]byte{0xff}, 8), open(9)), nil, 4},       // behind free space
		{join(open(4), mark(1), record(recordPairing, make([]byte, 152)...)), nil, -1}, // too long to be one
		{join(open(4), mark(1), record(recordPairing, make([]byte, 16)...)), nil, -1},  // without a certificate
		{first, nil, 7},
		{append(first[:496:496], 2, 0, 0, 11, 0, 0, 0, 0), nil, 7}, // one byte too long
		{append(first[:496:496], open(8)[:8]...), nil, 7},          // torn at the end
		{append(first[:496:496], 0xff, 0xff, 0xff), nil, 7},        // one place left
	} {
		b := newBench(t)
		copy(b.flash.pages[1], c.a)
		copy(b.flash.pages[2], c.b)
		b.unit.remap(t)
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

// What a seal leaves in a blank store, to the byte; whatever was there without a mark is erased.
func TestFirstRecord(t *testing.T) {
	b := newBench(t)
	b.flash.pages[1][511] = 0
	b.flash.pages[2][0] = 0
	b.unit.remap(t)
	b.run(t, 4)
	want := append(unhex(t, "0200000400000000980e000000000000"+"0500000400000001fc0f000000000000"), bytes.Repeat([]byte{0xff}, 480)...)
	if !bytes.Equal(b.flash.pages[1], want) || !bytes.Equal(b.flash.pages[2], bytes.Repeat([]byte{0xff}, 512)) {
		t.Errorf("pages %x and %x", b.flash.pages[1], b.flash.pages[2])
	}
}
