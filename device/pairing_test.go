//go:build cgo

package device

import (
	"bytes"
	"fmt"
	"testing"
)

// weakFlash loses the supply, or has one call that fails, after so many of its bytes or calls.
type weakFlash struct {
	*memoryFlash
	bytes    int  // that still change, an erased step counted as one; -1: all
	calls    int  // until the one that fails; -1: none does
	backward bool // an erasure goes from the page's end to its beginning
}

func (f *weakFlash) fails() bool {
	f.calls--
	return f.dead || f.calls == -1
}

// step says whether there is power for one more byte.
func (f *weakFlash) step() bool {
	f.bytes--
	f.dead = f.dead || f.bytes == -1
	return !f.dead
}

func (f *weakFlash) Read(page, offset int, out []byte) error {
	if f.fails() {
		return errFlash
	}
	return f.memoryFlash.Read(page, offset, out)
}

func (f *weakFlash) Program(page, offset int, data []byte) error {
	if f.fails() {
		return errFlash
	}
	f.cut = func() bool { return !f.step() }
	return f.memoryFlash.Program(page, offset, data)
}

func (f *weakFlash) Erase(page int) error {
	if f.fails() {
		return errFlash
	}
	const step = 32
	for at := 0; at < f.PageSize(); at += step {
		if !f.step() {
			return errFlash
		}
		place := f.pages[page][at:][:step]
		if f.backward {
			place = f.pages[page][f.PageSize()-at-step:][:step]
		}
		copy(place, bytes.Repeat([]byte{0xff}, step))
	}
	return nil
}

// believes is all that a unit has in its flash.
type believes struct {
	pairing pairingRecord
	version Version
	list    string
	ioKey   string
}

func beliefs(unit *Trust) believes {
	return believes{unit.pairing(), unit.Version(), string(unit.Stored(0)), string(unit.ioKey())}
}

// change is one thing that is written, and an error as it should have.
type change struct {
	name string
	make func(unit *Trust) error
}

// changes are a unit's life: it gets its chip's key, pairings come and go, lists and links come.
func changes(a *authority) []change {
	setPairing := func(p pairingRecord) change {
		return change{fmt.Sprintf("pairing %d", p.generation), func(unit *Trust) error { return unit.setPairing(p) }}
	}
	paired := func(generation uint32) change {
		return setPairing(pairingRecord{
			state: pairingPaired, generation: generation, orderHash: [12]byte(orderHash(a.orderBy(1, byte(generation)))),
			unit: string(a.unitBy(1, byte(generation), testSerial, a.order)),
		})
	}
	open := func(generation uint32) change {
		return setPairing(pairingRecord{state: pairingOpen, generation: generation})
	}
	list := func(epoch int, number uint32, serials int) change {
		var listed [][]byte
		for i := range serials {
			listed = append(listed, []byte{byte(i)})
		}
		object := a.list(epoch, listOf(number, eui(testFirst)[:7], nil, nil, listed...))
		return change{fmt.Sprintf("list %d of epoch %d", number, epoch), func(unit *Trust) error { return unit.List(object) }}
	}
	link := func(epoch int) change {
		object := a.link(epoch, a.orderBy(epoch-1, 1))
		return change{fmt.Sprintf("link %d", epoch), func(unit *Trust) error { return unit.Link(object) }}
	}
	ioKey := change{"IO protection key", func(unit *Trust) error { return unit.setIOKey(bytes.Repeat([]byte{0x10}, 32)) }}
	return []change{ioKey, open(0), list(1, 1, 0), paired(1), list(1, 2, 5), link(2), open(2), paired(3), list(2, 1, 40), open(4), paired(5),
		list(2, 7, 1), link(3), paired(6), list(3, 1, 9)}
}

// run makes a change on a copy of the flash, with something that fails, and then looks at what is left with a good flash.
func (c *change) run(t testing.TB, image Image, flash *memoryFlash, failing weakFlash) (after *memoryFlash, err error) {
	t.Helper()
	failing.memoryFlash = flash.copy()
	unit := trusting(t, image, &failing)
	err = c.make(unit)
	failing.cut, failing.dead = nil, false
	return failing.memoryFlash, err
}

// At each change the supply is lost before each byte that is programmed and within each erasure: what the unit then has is what it
// had or what it was given, never a fault, never an open pairing that was not; and the change can be made again.
func TestPairingPowerCut(t *testing.T) {
	a := newAuthority(t)
	image := a.image(1)
	for _, backward := range []bool{false, true} {
		flash := newFlash(896)
		good(t, "anchor", trusting(t, image, flash).Anchor(a.anchor(1)))
		moved := 0
		for _, c := range changes(a) {
			old := beliefs(trusting(t, image, flash))
			done, err := c.run(t, image, flash, weakFlash{bytes: -1, calls: -1})
			good(t, c.name, err)
			now := beliefs(trusting(t, image, done))
			if (done.pages[1][0] == 0xff) != (flash.pages[1][0] == 0xff) {
				moved++
			}
			for n := 0; ; n++ {
				name := fmt.Sprintf("%s, cut before byte %d, backward %t", c.name, n, backward)
				left, err := c.run(t, image, flash, weakFlash{bytes: n, calls: -1, backward: backward})
				if err == nil {
					if n < 16 {
						t.Errorf("%s: only %d cuts", c.name, n)
					}
					break
				}
				wantStatus(t, name, err, ErrPort)
				unit := trusting(t, image, left)
				got := beliefs(unit)
				if got != old && got != now {
					t.Fatalf("%s: %+v, neither\n%+v nor\n%+v", name, got, old, now)
				}
				if got == old {
					good(t, name+", again", c.make(unit))
				}
				if got := beliefs(unit); got != now {
					t.Fatalf("%s, again: %+v, not %+v", name, got, now)
				}
			}
			flash = done
		}
		if moved < 2 {
			t.Errorf("the page that counts changed %d times", moved)
		}
	}
}

// The same with each call of the flash failing in turn.
func TestPairingFlashFails(t *testing.T) {
	a := newAuthority(t)
	image := a.image(1)
	flash := newFlash(896)
	good(t, "anchor", trusting(t, image, flash).Anchor(a.anchor(1)))
	for _, c := range changes(a) {
		old := beliefs(trusting(t, image, flash))
		done, err := c.run(t, image, flash, weakFlash{bytes: -1, calls: -1})
		good(t, c.name, err)
		now := beliefs(trusting(t, image, done))
		for n := 0; ; n++ {
			name := fmt.Sprintf("%s, call %d fails", c.name, n)
			left, err := c.run(t, image, flash, weakFlash{bytes: -1, calls: 3 + n}) // after the three of the start
			if err == nil {
				break
			}
			wantStatus(t, name, err, ErrPort)
			if got := beliefs(trusting(t, image, left)); got != old && got != now {
				t.Fatalf("%s: %+v, neither\n%+v nor\n%+v", name, got, old, now)
			}
		}
		flash = done
	}
}

// A flash that cannot be read is found at the start, before anything is believed.
func TestPairingReadFails(t *testing.T) {
	for n := range 3 {
		unit, err := NewTrust(newAuthority(t).image(1), &weakFlash{memoryFlash: newFlash(2048), bytes: -1, calls: n})
		if err == nil {
			unit.Close()
			t.Errorf("page %d cannot be read, and nobody says so", n)
		}
	}
}

// A link that was torn takes room and nothing else: it comes again, and the next one after it.
func TestTrustLinkPowerCut(t *testing.T) {
	a := newAuthority(t)
	image := a.image(1)
	flash := newFlash(2048)
	unit := trusting(t, image, flash)
	good(t, "anchor", unit.Anchor(a.anchor(1)))
	good(t, "link 2", unit.Link(a.link(2)))
	link3, link4 := a.link(3, a.orderBy(2, 1)), a.link(4)
	give := change{"link 3", func(unit *Trust) error { return unit.Link(link3) }}
	for n := 0; ; n++ {
		name := fmt.Sprintf("cut before byte %d", n)
		left, err := give.run(t, image, flash, weakFlash{bytes: n, calls: -1})
		if err == nil {
			if n != 192 {
				t.Errorf("%d cuts", n)
			}
			break
		}
		again, err := give.run(t, image, left, weakFlash{bytes: n, calls: -1}) // twice at the same place
		wantStatus(t, name+", twice", err, ErrPort)
		for _, torn := range []*memoryFlash{left, again} {
			unit := trusting(t, image, torn)
			if v := unit.Version(); v.Epoch != 2 {
				t.Fatalf("%s: %+v, %v", name, v, err)
			}
			good(t, name+": link 3", unit.Link(link3))
			good(t, name+": link 4", unit.Link(link4))
			for epoch, want := range map[int][]byte{3: link3, 4: link4} {
				if got := unit.Stored(epoch); !bytes.Equal(got, want) {
					t.Fatalf("%s: link %d is %x, %v", name, epoch, got, err)
				}
			}
		}
	}
}

func TestPairing(t *testing.T) {
	a := newAuthority(t)
	image := a.image(1)
	flash := newFlash(2048)
	unit := trusting(t, image, flash)
	paired := func(generation uint32, size int) pairingRecord {
		return pairingRecord{state: pairingPaired, generation: generation, orderHash: [12]byte{1, 2, 11: 3}, unit: string(bytes.Repeat([]byte{7}, size))}
	}
	open := func(generation uint32) pairingRecord {
		return pairingRecord{state: pairingOpen, generation: generation}
	}
	is := func(want pairingRecord) {
		t.Helper()
		if got := unit.pairing(); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	is(pairingRecord{})
	for _, p := range []pairingRecord{open(1), open(1<<32 - 1), paired(1, 100)} {
		unchanged(t, "not the first generation", flash, func() { wantStatus(t, "", unit.setPairing(p), ErrState) })
	}
	for generation := uint32(0); generation < 100; generation++ { // several moves from page to page
		p := open(generation)
		if generation%3 > 0 {
			p = paired(generation, 1+int(generation*7)%135)
		}
		good(t, fmt.Sprint(generation), unit.setPairing(p))
		is(p)
		for _, wrong := range []pairingRecord{open(generation), open(generation + 2), paired(0, 100), paired(generation-1, 5)} {
			unchanged(t, "another generation", flash, func() { wantStatus(t, "another generation", unit.setPairing(wrong), ErrState) })
		}
	}
	good(t, "a certificate of 135 bytes", unit.setPairing(paired(100, 135)))
	is(paired(100, 135))
}

// A store that has nothing whole is a fault: blank, torn, with two bad pages, with a mark and nothing else.
func TestPairingFault(t *testing.T) {
	a := newAuthority(t)
	image := a.image(1)
	full := newFlash(2048)
	unit := trusting(t, image, full)
	for _, c := range changes(a)[:1] {
		good(t, c.name, c.make(unit))
	}
	noise := bytes.Repeat([]byte{0x5a, 0xc3, 0x00, 0x17, 0x02}, 410)[:2048]
	for name, spoil := range map[string]func(f *memoryFlash){
		"blank":         func(f *memoryFlash) { *f = *newFlash(2048) },
		"zeros":         func(f *memoryFlash) { clear(f.pages[1]); clear(f.pages[2]) },
		"two bad pages": func(f *memoryFlash) { copy(f.pages[1], noise); copy(f.pages[2], noise) },
		"a torn mark":   func(f *memoryFlash) { f.pages[1][24] = 0xff },
		"no mark":       func(f *memoryFlash) { copy(f.pages[1][16:], bytes.Repeat([]byte{0xff}, 16)) },
		"a torn record": func(f *memoryFlash) { f.pages[1][8] ^= 1 },
		"a mark alone":  func(f *memoryFlash) { copy(f.pages[1], f.pages[1][16:]) },
		"records alone": func(f *memoryFlash) { copy(f.pages[1][16:], f.pages[1][:16]) },
	} {
		flash := full.copy()
		spoil(flash)
		if p := trusting(t, image, flash).pairing(); p != (pairingRecord{}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	// One bit in either record is a fault as well, not another pairing. A zero behind a CRC counts as the rest does.
	for bit := range 8 * 32 {
		flash := full.copy()
		flash.pages[1][bit/8] ^= 1 << (bit % 8)
		if p := trusting(t, image, flash).pairing(); p != (pairingRecord{}) {
			t.Errorf("bit %d: %+v", bit, p)
		}
	}
}

// FuzzFlash reads pages of any content: all of it ends, nothing is read beyond a page, and a pairing that is read can be
// written over.
func FuzzFlash(f *testing.F) {
	f.Add(uint8(64), append(record(recordPairing, 0, 0, 0, 5), record(recordMark, 0, 0, 0, 1)...))
	f.Add(uint8(32), append(record(recordAnchor, make([]byte, 98)...), record(recordLink, make([]byte, 172)...)...))
	f.Add(uint8(80), append(record(recordMark, 0, 0, 0, 9), record(recordList, make([]byte, 100)...)...))
	f.Fuzz(func(t *testing.T, units uint8, b []byte) {
		flash := newFlash(max(int(units)*8, 128))
		for i := range flash.pages {
			copy(flash.pages[i], b)
		}
		a := &authority{t: t, flags: 1, order: numberedKey(t, 9)}
		for n := range byte(3) {
			a.roots = append(a.roots, numberedKey(t, n+1))
		}
		unit := trusting(t, a.image(1), flash)
		unit.Version()
		unit.Stored(0)
		unit.Stored(2)
		peer := a.unitBy(1, 1, testSerial, a.order)
		_, _ = unit.pinned([12]byte{}, peer)
		if _, err := unit.Peer(idOf(t, peer, a.orderBy(1, 1)), false); err == nil {
			t.Errorf("a peer is taken")
		}
		p := unit.pairing()
		next := pairingRecord{state: pairingOpen, generation: p.generation + 1}
		if p.state == pairingFault {
			next.generation = 0
		}
		if err := unit.setPairing(next); err == nil {
			if got := unit.pairing(); got != next {
				t.Errorf("%+v, %v, want %+v", got, err, next)
			}
		}
	})
}
