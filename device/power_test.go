//go:build cgo

package device

import (
	"bytes"
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
	if b.image.IOKey {
		b.works(t)
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
		b.unit.remap(t)
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
