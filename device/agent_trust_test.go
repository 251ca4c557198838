//go:build cgo

package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// link makes the root after the factory's the newest, and lists no order.
func (f *factory) link(t testing.TB) []byte {
	t.Helper()
	after := sha256.Sum256(publicKey(t, newKey(t)))
	return object(t, f.next, "birthmark link 1", slices.Concat([]byte{1, 4}, publicKey(t, f.next), after[:]))
}

// list revokes one serial number.
func (f *factory) list(t testing.TB, number uint32, serial uint64) []byte {
	t.Helper()
	head := binary.BigEndian.AppendUint32([]byte{1, 3}, number)
	return object(t, f.root, "birthmark list 1", slices.Concat(head, []byte{0, 0, 0}, eui(serial)))
}

func (f *factory) release(t testing.TB, serial uint64, generation uint32) []byte {
	t.Helper()
	return object(t, f.root, "birthmark release 1", binary.BigEndian.AppendUint32(append([]byte{1, 3}, eui(serial)...), generation))
}

// trusts wants a reply that says how far trust goes.
func trusts(t testing.TB, name string, r reply, epoch, listEpoch, listNumber int) {
	t.Helper()
	var got [3]int
	if r.status != statusOK || len(r.results) != len(got) {
		t.Fatalf("%s: %+v", name, r)
	}
	for i := range got {
		decode(t, r.results[i], &got[i])
	}
	if got != [3]int{epoch, listEpoch, listNumber} {
		t.Errorf("%s: trust goes as far as %v", name, got)
	}
}

// declined wants a reply of this status and detail, and nothing written.
func (b *bench) declined(t testing.TB, name string, status, detail, verb int, object []byte) {
	t.Helper()
	b.still(t, name, func() {
		if r := b.call(t, verb, object); r.status != status || r.detail != detail {
			t.Errorf("%s: %+v, want status %d, detail %d", name, r, status, detail)
		}
	})
}

// An image of the first root, an order of the second: anchor and link come before install.
func TestLinkBeforeInstall(t *testing.T) {
	b := newBench(t)
	b.run(t, 2)
	old := *b.factory
	b.orderItems = b.orderItems.with(itemIssuer, []byte{1, 4}).with(itemSubject, []byte{1, 4, 1, 2})
	b.unitItems = b.unitItems.with(itemIssuer, []byte{1, 4, 1, 2})
	b.root = b.next

	if r := installStep(t, b); r.status != statusRefused || Check(r.detail) != CheckOrderIssuer {
		t.Errorf("install without link: %+v", r)
	}
	b.declined(t, "a link without an anchor", statusRefused, 17, verbLink, old.link(t))
	b.declined(t, "another anchor", statusRefused, 1, verbLink, newFactory(t).anchor)
	trusts(t, "anchor", b.call(t, verbLink, b.anchor), 3, 0, 0)
	b.declined(t, "a link by the old root", statusRefused, 17, verbLink, object(t, old.root, "birthmark link 1", slices.Concat([]byte{1, 4}, make([]byte, 96))))
	trusts(t, "link", b.call(t, verbLink, old.link(t)), 4, 0, 0)
	b.still(t, "the anchor again", func() { trusts(t, "anchor again", b.call(t, verbLink, b.anchor), 4, 0, 0) })
	for i, s := range journey[2:] {
		if r := s(t, b); r.status != statusOK {
			t.Fatalf("step %d: %+v", i, r)
		}
	}
	if u := b.meet(t, Initiator, b.badge(t, testFirst)); u.outcome != complete {
		t.Errorf("a unit of the same order: %+v", u)
	}
	if u := b.meet(t, Initiator, old.badge(t, testFirst)); u.outcome != failed || u.check != 12 {
		t.Errorf("an order that the link closed out: %+v", u)
	}
	b.declined(t, "the anchor after the seal", statusMalformed, 0, verbLink, b.anchor)
}

func TestStatusListVerb(t *testing.T) {
	b := newBench(t)
	b.run(t, 4)
	revoked := testFirst + uint64(5)
	peer := b.badge(t, revoked)
	if u := b.meet(t, Initiator, peer); u.outcome != complete {
		t.Fatalf("%+v", u)
	}
	trusts(t, "list", b.call(t, verbList, b.list(t, 7, revoked)), 3, 3, 7)
	if u := b.meet(t, Initiator, peer); u.outcome != failed || u.check != 13 {
		t.Errorf("%+v", u)
	}
	b.declined(t, "the same number", statusRefused, 18, verbList, b.list(t, 7, testFirst))
	b.declined(t, "by another key", statusRefused, 17, verbList, newFactory(t).list(t, 8, testFirst))
	held := append(binary.BigEndian.AppendUint32([]byte{1, 3}, 8), 0, 1, 0, 3, 1, 2) // order 258 of root 3
	trusts(t, "a later list", b.call(t, verbList, object(t, b.root, "birthmark list 1", held)), 3, 3, 8)
	if u := b.meet(t, Initiator, peer); u.outcome != complete || u.check != 14 {
		t.Errorf("%+v", u)
	}
}

func TestReleaseVerb(t *testing.T) {
	b := newBench(t)
	b.run(t, 4)
	b.declined(t, "nothing to release", statusState, 3, verbRelease, b.release(t, testSerial, 0))
	// paired(1), put where the seal's two records end (docs/formats.md, "In the unit").
	peer := b.badge(t, testFirst).credential
	record := []byte{2, 0, 0, byte(16 + len(peer)), 0, 0, 0, 1}
	record = slices.Concat(record, make([]byte, 12), peer)
	record = binary.LittleEndian.AppendUint16(record, crc16Of(record))
	copy(b.flash.pages[1][32:], append(record, make([]byte, -len(record)&7)...))
	b.unit.remap(t)
	generation := func() string {
		if g := b.hello(t).generation; g != nil {
			return fmt.Sprint(*g)
		}
		return "none"
	}
	if g := generation(); g != "1" {
		t.Fatalf("paired with generation %s", g)
	}
	for name, object := range map[string][]byte{
		"another generation": b.release(t, testSerial, 2),
		"another unit":       b.release(t, testSerial+1, 1),
		"another root":       newFactory(t).release(t, testSerial, 1),
	} {
		b.declined(t, name, statusRefused, 17, verbRelease, object)
	}
	release := b.release(t, testSerial, 1)
	r := b.call(t, verbRelease, release)
	if r.status != statusOK || !bytes.Equal(r.results[0], []byte{2}) || generation() != "2" {
		t.Errorf("%+v, generation %s", r, generation())
	}
	b.declined(t, "a second time", statusState, 3, verbRelease, release)
}
