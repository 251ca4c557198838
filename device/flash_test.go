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

// The newest pairing record is the one of the highest generation, in whichever page; seal leaves it.
func TestGeneration(t *testing.T) {
	record := func(kind byte, payload ...byte) []byte {
		r := append([]byte{kind, 0, 0, byte(len(payload))}, payload...)
		crc := crc16Of(r)
		r = append(r, byte(crc), byte(crc>>8))
		return append(r, make([]byte, (8-len(r)%8)%8)...)
	}
	open := func(generation byte) []byte { return record(2, 0, 0, 0, generation) }
	changed := func(at int, to byte) []byte { r := open(99); r[at] = to; return r }
	torn, other := changed(8, 1), record(3, 0, 0, 0, 99) // other: a kind of a later release
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
		{join(open(4), changed(1, 1), open(9)), nil, 4},                                    // a head that no append wrote
		{join(open(4), changed(2, 2), open(9)), nil, 4},                                    // longer than the page
		{join(open(4), record(2, 0, 0, 0, 99, 0)), record(2, 0, 0, 99), 4},                 // other sizes
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

// When the record had to go to the other page, the full one is erased for the time when that one is full.
func TestOldPageErased(t *testing.T) {
	b := newBench(t)
	b.flash.pages[1][511] = 0
	b.flash.pages[2][0] = 0
	b.run(t, 4)
	if !bytes.Equal(b.flash.pages[1], bytes.Repeat([]byte{0xff}, 512)) || b.flash.pages[2][0] != 2 {
		t.Errorf("pages %x and %x", b.flash.pages[1], b.flash.pages[2])
	}
}
