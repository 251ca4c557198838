//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
)

// A root that was stolen and then rotated: the orders that it is known to have signed go on, the thief's end with the link,
// by value and pinned.
func TestTrustThiefsOrders(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(1)
	var listed [][]byte
	for number := range byte(32) {
		listed = append(listed, a.orderBy(1, number+1))
	}
	thief := a.orderBy(1, 77)
	again := a.orderBy(1, 32) // a listed number, signed once more
	judge := func(epoch int, number byte, order []byte) error {
		peer := a.unitBy(epoch, number, testSerial, newKey(t))
		_, err := unit.Peer(idOf(t, peer, order), false)
		_, pinned := unit.pinned([12]byte(orderHash(order)), []byte(peer))
		if err != pinned {
			t.Errorf("order %d: by value %v, pinned %v", number, err, pinned)
		}
		return err
	}
	good(t, "the thief's before the link", judge(1, 77, thief))
	good(t, "the link", unit.Link(a.link(2, listed...)))
	if len(a.link(2, listed...)) != 557 {
		t.Errorf("a link of %d bytes", len(a.link(2, listed...)))
	}
	for number, order := range listed {
		good(t, fmt.Sprint("order ", number+1), judge(1, byte(number+1), order))
	}
	wantStatus(t, "the thief's order", judge(1, 77, thief), CheckClosed)
	wantStatus(t, "the thief's order of a listed number", judge(1, 32, again), CheckClosed)
	good(t, "an order of epoch 2", judge(2, 40, a.orderBy(2, 40)))
	good(t, "the next link", unit.Link(a.link(3, a.orderBy(2, 39), a.orderBy(2, 41))))
	wantStatus(t, "an order of epoch 2 that is not listed", judge(2, 42, a.orderBy(2, 42)), CheckClosed)
	good(t, "an order of epoch 1 that is", judge(1, 1, listed[0]))
	wantStatus(t, "the thief's order still", judge(1, 77, thief), CheckClosed)
}

func TestTrustPinned(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(2)
	order, key := a.orderBy(2, 1), newKey(t)
	hash := [12]byte(orderHash(order))
	peer := a.unitBy(2, 1, testSerial, key)
	got, err := unit.pinned(hash, peer)
	if err != nil || !bytes.Equal(got[:], publicKey(t, key)) || unit.verifies != 0 {
		t.Errorf("%x, %v, %d signatures verified", got, err, unit.verifies)
	}
	for epoch, want := range map[int]error{1: CheckRoot, 3: CheckRoot} {
		_, err := unit.pinned(hash, a.unitBy(epoch, 1, testSerial, key))
		wantStatus(t, fmt.Sprint("epoch ", epoch), err, want)
	}
	b := *a
	b.flags = 0
	_, err = unit.pinned(hash, b.unitBy(2, 1, testSerial, key))
	wantStatus(t, "a productive authority", err, CheckRoot)
	_, err = unit.pinned(hash, a.unitItems(2, 1, testSerial, key).with(itemKey, append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)).sign(t, a.order))
	wantStatus(t, "no point", err, CheckUnit)
	for size := range peer {
		_, err := unit.pinned(hash, peer[:size])
		wantStatus(t, fmt.Sprint("cut to ", size), err, CheckUnit)
	}
	good(t, "a list", unit.List(a.list(2, listOf(1, nil, [][]byte{{2, 0, 1}}, nil))))
	got, err = unit.pinned(hash, peer)
	if wantStatus(t, "its order is held", err, CheckHeld); !bytes.Equal(got[:], publicKey(t, key)) {
		t.Errorf("held: key %x", got)
	}
	good(t, "a list", unit.List(a.list(2, listOf(2, nil, nil, nil, eui(testSerial)))))
	got, err = unit.pinned(hash, peer)
	if wantStatus(t, "it is revoked", err, CheckRevoked); got != [64]byte{} {
		t.Errorf("revoked: key %x", got)
	}
	good(t, "a list", unit.List(a.list(2, listOf(3, nil, nil, nil))))
	_, err = unit.pinned(hash, peer)
	good(t, "no longer listed", err)
	good(t, "a link that lists it", unit.Link(a.link(3, order)))
	_, err = unit.pinned(hash, peer)
	good(t, "old", err)
	other, _ := a.newTrust(2)
	good(t, "a link that does not", other.Link(a.link(3)))
	_, err = other.pinned(hash, peer)
	wantStatus(t, "closed", err, CheckClosed)
}

func TestTrustLinkRefused(t *testing.T) {
	a := newAuthority(t)
	payload := func(epoch int, rest ...byte) []byte { return append(a.anchor(epoch), rest...) }
	hash := func(first byte) []byte { return append([]byte{first}, make([]byte, 11)...) }
	sign := func(key *ecdsa.PrivateKey, payload []byte) []byte { return object(t, key, "birthmark link 1", payload) }
	otherName := payload(3)
	otherName[0] = 0
	unknown := payload(3)
	unknown[0] = 3
	off := payload(3)
	off[65] ^= 1
	// An authority that left the hash of no point at all.
	b := newAuthority(t)
	hash3 := sha256.Sum256(off[2:66])
	noPoint := append(b.anchor(2)[:66:66], hash3[:]...)
	for _, c := range []struct {
		name   string
		object []byte
		want   error
	}{
		{"a gap", a.link(4), ErrAuth},
		{"older than the anchor", a.link(1), ErrAuth},
		{"another authority's", newAuthority(t).link(3), ErrAuth},
		{"signed by the old root", sign(a.roots[2], payload(3)), ErrAuth},
		{"signed by the one after", sign(a.roots[4], payload(3)), ErrAuth},
		{"the old root's key in the next epoch", sign(a.roots[2], slices.Concat([]byte{1, 3}, a.anchor(2)[2:])), ErrAuth},
		{"of a productive authority", sign(a.roots[3], otherName), ErrAuth},
		{"an unknown flag", sign(a.roots[3], unknown), ErrMalformed},
		{"a key that is no point", sign(a.roots[3], off), ErrAuth},
		{"epoch 0", sign(a.roots[3], slices.Concat([]byte{1, 0}, a.anchor(3)[2:])), ErrMalformed},
		{"a list's title", object(t, a.roots[3], "birthmark list 1", payload(3)), ErrAuth},
		{"no title", object(t, a.roots[3], "", payload(3)), ErrAuth},
		{"orders that descend", sign(a.roots[3], payload(3, slices.Concat(hash(2), hash(1))...)), ErrMalformed},
		{"an order twice", sign(a.roots[3], payload(3, slices.Concat(hash(1), hash(1))...)), ErrMalformed},
		{"orders that descend in their last byte", sign(a.roots[3], payload(3, slices.Concat(append(hash(1)[:11:11], 1), hash(1))...)), ErrMalformed},
		{"a part of an order", sign(a.roots[3], payload(3, 1, 2, 3)), ErrMalformed},
		{"33 orders", sign(a.roots[3], payload(3, ascendingHashes(33)...)), ErrMalformed},
		{"a payload cut short", sign(a.roots[3], payload(3)[:97]), ErrMalformed},
		{"an empty payload", sign(a.roots[3], nil), ErrMalformed},
		{"the tag of a COSE_Sign1", append([]byte{0xd2}, a.link(3)...), ErrMalformed},
		{"an unprotected header", slices.Concat(a.link(3)[:5], []byte{0xa1, 0x04, 0x40}, a.link(3)[6:]), ErrMalformed},
		{"a longer head of the payload", slices.Concat(a.link(3)[:6], []byte{0x59, 0, 98}, a.link(3)[8:]), ErrMalformed},
		{"high s", negated(a.link(3)), ErrMalformed},
		{"nothing", nil, ErrMalformed},
	} {
		unit, flash := a.newTrust(2)
		unchanged(t, c.name, flash, func() { wantStatus(t, c.name, unit.Link(c.object), c.want) })
		good(t, c.name+", then the right one", unit.Link(a.link(3)))
	}
	unit := trusting(t, b.image(2), newFlash(2048))
	good(t, "anchor", unit.Anchor(noPoint))
	wantStatus(t, "a key that is no point, and announced", unit.Link(sign(b.roots[3], off)), ErrAuth)
	if unit.verifies > 0 {
		t.Error("the chip was asked about a key that is no point")
	}
	good(t, "32 orders", func() error {
		unit, _ := a.newTrust(2)
		return unit.Link(sign(a.roots[3], payload(3, ascendingHashes(32)...)))
	}())
}

func ascendingHashes(n int) (hashes []byte) {
	for i := range n {
		hashes = append(append(hashes, byte(i)), make([]byte, 11)...)
	}
	return hashes
}

// Each check is made before the ones that cost more: a key that was not announced costs no signature.
func TestTrustLinkCheapFirst(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(1)
	for _, link := range [][]byte{a.link(3), newAuthority(t).link(2)} {
		if err := unit.Link(link); err == nil || unit.verifies > 0 {
			t.Errorf("%v, %d signatures verified", err, unit.verifies)
		}
	}
	good(t, "link", unit.Link(a.link(2)))
	if unit.verifies != 1 {
		t.Errorf("%d signatures verified", unit.verifies)
	}
}

func TestTrustObjectsEveryBit(t *testing.T) {
	a := newAuthority(t)
	unit, flash := a.newTrust(1)
	serial := [8]byte(eui(testSerial))
	link, release := a.link(2, a.orderBy(1, 1), a.orderBy(1, 2)), a.release(1, testSerial, 5)
	list := a.list(1, listOf(1, eui(testSerial)[:5], [][]byte{{1, 0, 1}, {1, 0, 2}}, [][]byte{{0, 0, 1, 0, 0, 9}}, []byte{0, 1, 0}, []byte{0, 1, 1}))
	refused := func(name string, give func([]byte) error) func(string, []byte) {
		return func(what string, b []byte) {
			if err := give(b); err == nil {
				t.Errorf("%s, %s: taken", name, what)
			}
		}
	}
	unchanged(t, "every bit", flash, func() {
		everyBit(link, refused("link", unit.Link))
		everyBit(list, refused("list", unit.List))
		everyBit(release, refused("release", func(b []byte) error { return unit.Release(serial, 5, b) }))
	})
	good(t, "release", unit.Release(serial, 5, release))
	good(t, "list", unit.List(list))
	good(t, "link", unit.Link(link))
	// A link that is there is taken again as it is, and no other of its epoch.
	unchanged(t, "every bit of a stored link", flash, func() {
		everyBit(link, func(what string, b []byte) {
			if err := unit.Link(b); err == nil {
				t.Errorf("stored link, %s: taken", what)
			}
		})
		good(t, "the link again", unit.Link(link))
		wantStatus(t, "another link of that epoch", unit.Link(a.link(2)), ErrAuth)
	})
}

func TestTrustStored(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(2)
	links := map[int][]byte{3: a.link(3, a.orderBy(2, 1)), 4: a.link(4)}
	list := a.list(4, listOf(7, nil, nil, nil, eui(5)))
	for epoch := range 6 {
		if got := unit.Stored(epoch); got != nil {
			t.Errorf("epoch %d: %x", epoch, got)
		}
	}
	good(t, "link", unit.Link(links[3]))
	good(t, "link", unit.Link(links[4]))
	good(t, "list", unit.List(list))
	links[0] = list
	for epoch := range 6 {
		if got := unit.Stored(epoch); !bytes.Equal(got, links[epoch]) {
			t.Errorf("epoch %d: %x, want %x", epoch, got, links[epoch])
		}
	}
	if v := unit.Version(); v != (Version{4, 4, 7}) {
		t.Errorf("%+v", v)
	}
}

// Links go in until the page is full, and what is there stays.
func TestTrustPageFull(t *testing.T) {
	a := newAuthority(t)
	flash := newFlash(512) // the anchor takes 104, each link 184
	unit := trusting(t, a.image(1), flash)
	good(t, "anchor", unit.Anchor(a.anchor(1)))
	good(t, "link 2", unit.Link(a.link(2)))
	good(t, "link 3", unit.Link(a.link(3)))
	unchanged(t, "link 4", flash, func() { wantStatus(t, "link 4", unit.Link(a.link(4)), ErrSpace) })
	if v := unit.Version(); v.Epoch != 3 {
		t.Errorf("%+v", v)
	}
}

func TestTrustListRefused(t *testing.T) {
	a := newAuthority(t)
	sign := func(payload ...byte) []byte { return object(t, a.roots[2], "birthmark list 1", payload) }
	list := func(rest []byte) []byte { return a.list(2, rest) }
	three := [][]byte{{1}, {2}, {3}}
	long := func(n int) []byte { return listOf(9, make([]byte, 6), nil, nil, slices.Repeat([][]byte{{0, 0}}, n)...) }
	for _, c := range []struct {
		name   string
		object []byte
		want   error
	}{
		{"the same again", list(listOf(5, nil, nil, nil, eui(1))), ErrState},
		{"another of the same number", list(listOf(5, nil, nil, nil)), ErrState},
		{"an older number", list(listOf(4, nil, nil, nil)), ErrState},
		{"the old root's, newer", a.list(1, listOf(1<<32-1, nil, nil, nil)), ErrState},
		{"the next root's", a.list(3, listOf(9, nil, nil, nil)), ErrAuth},
		{"another root's", object(t, newKey(t), "birthmark list 1", append([]byte{1, 2}, listOf(9, nil, nil, nil)...)), ErrAuth},
		{"the old root's in this one's name", object(t, a.roots[1], "birthmark list 1", append([]byte{1, 2}, listOf(9, nil, nil, nil)...)), ErrAuth},
		{"of a productive authority", sign(append([]byte{0, 2}, listOf(9, nil, nil, nil)...)...), ErrAuth},
		{"a link's title", object(t, a.roots[2], "birthmark link 1", append([]byte{1, 2}, listOf(9, nil, nil, nil)...)), ErrAuth},
		{"a release's title", object(t, a.roots[2], "birthmark release 1", append([]byte{1, 2}, listOf(9, nil, nil, nil)...)), ErrAuth},
		{"eight common bytes", list(listOf(9, eui(1), nil, nil)), ErrMalformed},
		{"255 common bytes", sign(1, 2, 0, 0, 0, 9, 255, 0, 0), ErrMalformed},
		{"fewer common bytes than it says", sign(1, 2, 0, 0, 0, 9, 3, 0, 0, 1, 2), ErrMalformed},
		{"no counts", sign(1, 2, 0, 0, 0, 9, 0, 0), ErrMalformed},
		{"a part of a serial number", list(listOf(9, eui(1)[:6], nil, nil, []byte{1})), ErrMalformed},
		{"fewer orders than it says", sign(1, 2, 0, 0, 0, 9, 0, 2, 0, 1, 0, 1), ErrMalformed},
		{"255 orders and ranges that are not there", sign(1, 2, 0, 0, 0, 9, 0, 255, 255), ErrMalformed},
		{"fewer ranges than it says", sign(1, 2, 0, 0, 0, 9, 7, 0, 1, 0, 1), ErrMalformed},
		{"orders that descend", list(listOf(9, nil, [][]byte{{2, 0, 1}, {1, 0, 2}}, nil)), ErrMalformed},
		{"an order twice", list(listOf(9, nil, [][]byte{{1, 0, 2}, {1, 0, 2}}, nil)), ErrMalformed},
		{"a range that ends before it begins", list(listOf(9, eui(1)[:7], nil, [][]byte{{2, 1}})), ErrMalformed},
		{"a range of one", list(listOf(9, eui(1)[:7], nil, [][]byte{{2, 2}})), ErrMalformed},
		{"ranges that overlap", list(listOf(9, eui(1)[:7], nil, [][]byte{{2, 5}, {5, 9}})), ErrMalformed},
		{"serial numbers that descend", list(listOf(9, eui(1)[:7], nil, nil, slices.Concat(three[1:], three[:1])...)), ErrMalformed},
		{"a serial number twice", list(listOf(9, eui(1)[:7], nil, nil, []byte{2}, []byte{2})), ErrMalformed},
		{"513 bytes", list(listOf(9, eui(1)[:7], nil, nil, slices.Repeat([][]byte{{0}}, 422)...)), ErrMalformed},
		{"far too much", list(long(2000)), ErrMalformed},
		{"nothing", nil, ErrMalformed},
	} {
		unit, flash := a.newTrust(1)
		good(t, "link", unit.Link(a.link(2)))
		good(t, "list", unit.List(list(listOf(5, nil, nil, nil, eui(1)))))
		unchanged(t, c.name, flash, func() { wantStatus(t, c.name, unit.List(c.object), c.want) })
		good(t, c.name+", then a newer one", unit.List(list(listOf(6, nil, nil, nil))))
	}
}

// What a list says of each unit, whatever the common bytes.
func TestTrustListed(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(1)
	order := a.orderBy(1, 1)
	peers := map[uint64][]byte{}
	for serial := uint64(testFirst); serial <= testFirst+40; serial++ {
		peers[serial] = idOf(t, a.unitBy(1, 1, serial, newKey(t)), order)
	}
	judge := func(name string, want func(serial uint64) error) {
		t.Helper()
		for serial, id := range peers {
			key, err := unit.Peer(id, false)
			wantStatus(t, fmt.Sprintf("%s: %x", name, serial), err, want(serial))
			if (key == [64]byte{}) != (err != nil && err != error(CheckHeld)) {
				t.Errorf("%s: %x: %v with key %x", name, serial, err, key)
			}
		}
	}
	nobody := func(uint64) error { return nil }
	judge("no list", nobody)
	number := uint32(0)
	for p := range 8 {
		tail := func(serial uint64) []byte { return eui(serial)[p:] }
		prefix := eui(testFirst)[:p]
		give := func(orders, ranges [][]byte, serials ...[]byte) {
			t.Helper()
			number++
			good(t, "list", unit.List(a.list(1, listOf(number, prefix, orders, ranges, serials...))))
		}
		name := fmt.Sprintf("%d common bytes", p)
		give(nil, nil)
		judge(name+", empty", nobody)
		give([][]byte{{1, 0, 2}, {1, 1, 1}, {2, 0, 1}}, [][]byte{slices.Concat(tail(testFirst+41), tail(testFirst+99))}, tail(testFirst+100))
		judge(name+", others", nobody)
		give(nil, nil, tail(testFirst), tail(testFirst+7), tail(testFirst+40))
		judge(name+", serial numbers", func(serial uint64) error {
			if serial == testFirst || serial == testFirst+7 || serial == testFirst+40 {
				return CheckRevoked
			}
			return nil
		})
		give(nil, [][]byte{slices.Concat(tail(testFirst+2), tail(testFirst+5)), slices.Concat(tail(testFirst+6), tail(testFirst+7))}, tail(testFirst+5), tail(testFirst+8))
		judge(name+", ranges", func(serial uint64) error {
			switch {
			case serial == testFirst+5 || serial == testFirst+8:
				return CheckRevoked
			case serial >= testFirst+2 && serial <= testFirst+7:
				return CheckHeld
			}
			return nil
		})
		give([][]byte{{1, 0, 0}, {1, 0, 1}}, nil, tail(testFirst+1))
		judge(name+", its order", func(serial uint64) error {
			if serial == testFirst+1 {
				return CheckRevoked
			}
			return CheckHeld
		})
		if p > 0 { // the same endings behind other common bytes
			prefix = eui(testFirst ^ 1<<(64-8*p))[:p]
			give(nil, [][]byte{slices.Concat(tail(testFirst+2), tail(testFirst+5))}, tail(testFirst), tail(testFirst+1))
			judge(name+", other common bytes", nobody)
		}
	}
	// The largest list there is: 141 serial numbers under five bytes.
	var serials [][]byte
	for i := range 141 {
		serials = append(serials, []byte{0, 0, byte(2 * i)})
		serials[i][1] = byte(2 * i >> 8)
	}
	largest := a.list(1, listOf(number+1, eui(testFirst)[:5], nil, nil, serials...))
	good(t, "the largest list", unit.List(largest))
	if len(largest) != 512 {
		t.Errorf("%d bytes", len(largest))
	}
	judge("the largest list", func(serial uint64) error {
		if serial&0xffffff <= 280 && serial%2 == 0 {
			return CheckRevoked
		}
		return nil
	})
}

// A list of the highest number, signed by a root that was stolen, holds until the link that no list keeps out: the next epoch's list
// goes over it.
func TestTrustThiefsList(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(1)
	order := a.orderBy(1, 1)
	id := idOf(t, a.unitBy(1, 1, testSerial, newKey(t)), order)
	thiefs := a.list(1, listOf(1<<32-1, nil, nil, nil, eui(testSerial)))
	good(t, "the thief's list", unit.List(thiefs))
	wantStatus(t, "the authority's", unit.List(a.list(1, listOf(2, nil, nil, nil))), ErrState)
	good(t, "link", unit.Link(a.link(2, order)))
	_, err := unit.Peer(id, false)
	wantStatus(t, "its old list applies", err, CheckRevoked)
	wantStatus(t, "the thief's list again", unit.List(thiefs), ErrState)
	good(t, "the next root's first list", unit.List(a.list(2, listOf(0, nil, nil, nil))))
	if v := unit.Version(); v != (Version{2, 2, 0}) {
		t.Errorf("%+v", v)
	}
	_, err = unit.Peer(id, false)
	good(t, "healed", err)
}

// A release is good for one serial number and one generation, by the newest root.
func TestTrustRelease(t *testing.T) {
	a := newAuthority(t)
	unit, flash := a.newTrust(1)
	serial := [8]byte(eui(testSerial))
	release := a.release(1, testSerial, 5)
	unchanged(t, "a release", flash, func() {
		good(t, "as it is", unit.Release(serial, 5, release))
		wantStatus(t, "recorded: the generation has passed", unit.Release(serial, 6, release), ErrAuth)
		wantStatus(t, "an older generation", unit.Release(serial, 4, release), ErrAuth)
		wantStatus(t, "another unit", unit.Release([8]byte(eui(testSerial+1)), 5, release), ErrAuth)
		wantStatus(t, "a list's title", unit.Release(serial, 5, object(t, a.roots[1], "birthmark list 1", release[7:21])), ErrAuth)
		wantStatus(t, "another key", unit.Release(serial, 5, object(t, a.roots[2], "birthmark release 1", release[7:21])), ErrAuth)
		wantStatus(t, "a byte short", unit.Release(serial, 5, object(t, a.roots[1], "birthmark release 1", release[7:20])), ErrMalformed)
		wantStatus(t, "a byte more", unit.Release(serial, 5, object(t, a.roots[1], "birthmark release 1", append(release[7:21:21], 0))), ErrMalformed)
		wantStatus(t, "the next root's, too early", unit.Release(serial, 5, a.release(2, testSerial, 5)), ErrAuth)
	})
	if len(release) != 87 {
		t.Errorf("a release of %d bytes", len(release))
	}
	good(t, "link", unit.Link(a.link(2)))
	wantStatus(t, "an older root's", unit.Release(serial, 5, release), ErrAuth)
	good(t, "the newest root's", unit.Release(serial, 5, a.release(2, testSerial, 5)))
}

// A chip that does not answer is no judgement.
func TestTrustMute(t *testing.T) {
	a := newAuthority(t)
	unit, flash := a.newTrust(1)
	unit.mute = true
	unchanged(t, "a mute chip", flash, func() {
		_, err := unit.Peer(idOf(t, a.unitBy(1, 1, testSerial, newKey(t)), a.orderBy(1, 1)), false)
		wantStatus(t, "peer", err, ErrPort)
		wantStatus(t, "link", unit.Link(a.link(2)), ErrPort)
		wantStatus(t, "list", unit.List(a.list(1, listOf(1, nil, nil, nil))), ErrPort)
		wantStatus(t, "release", unit.Release([8]byte{}, 0, a.release(1, 0, 0)), ErrPort)
	})
}

// FuzzTrustObject signs whatever payload it is given, so that what is behind the signature is reached: what a unit takes it can hand
// on as it came, and it then judges every peer.
func FuzzTrustObject(f *testing.F) {
	a := &authority{t: f, flags: 1}
	for n := range byte(4) {
		a.roots = append(a.roots, numberedKey(f, n+1))
	}
	a.order = numberedKey(f, 9)
	id := idOf(f, a.unitBy(1, 1, testSerial, numberedKey(f, 10)), a.orderBy(1, 1))
	f.Add(a.anchor(2))
	f.Add(append(a.anchor(2), orderHash([]byte{1})...))
	f.Add(append([]byte{1, 1}, listOf(9, eui(1)[:6], [][]byte{{1, 0, 1}}, [][]byte{{0, 1, 0, 2}}, []byte{0, 1})...))
	f.Add(append([]byte{1, 1}, append(eui(testSerial), 0, 0, 0, 5)...))
	f.Fuzz(func(t *testing.T, payload []byte) {
		unit, _ := (&authority{t: t, flags: 1, roots: a.roots}).newTrust(1)
		for epoch, give := range []func([]byte) error{
			func(b []byte) error { return unit.List(object(t, a.roots[1], "birthmark list 1", b)) },
			func(b []byte) error {
				return unit.Release([8]byte(eui(testSerial)), 5, object(t, a.roots[1], "birthmark release 1", b))
			},
			func(b []byte) error { return unit.Link(object(t, a.roots[2], "birthmark link 1", b)) },
		} {
			if give(payload) != nil || epoch == 1 {
				continue
			}
			if got := unit.Stored(epoch); !bytes.Contains(got, payload) {
				t.Fatalf("%x is stored as %x", payload, got)
			}
			if _, err := unit.Peer(id, false); err != nil && err != error(CheckHeld) && err != error(CheckRevoked) && err != error(CheckClosed) {
				t.Fatalf("%x: %v", payload, err)
			}
		}
	})
}
