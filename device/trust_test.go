//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
)

// authority is a test authority through all its epochs, and the order key that all its orders have. What it makes is put
// together by hand.
type authority struct {
	t     testing.TB
	flags byte
	roots []*ecdsa.PrivateKey // by epoch; the first is of epoch 0, which is none
	order *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, flags: 1, order: newKey(t)}
	for range 9 {
		a.roots = append(a.roots, newKey(t))
	}
	return a
}

// anchor is that of the root of this epoch.
func (a *authority) anchor(epoch int) []byte {
	next := sha256.Sum256(publicKey(a.t, a.roots[epoch+1]))
	return slices.Concat([]byte{a.flags, byte(epoch)}, publicKey(a.t, a.roots[epoch]), next[:])
}

// object is a COSE_Sign1 as docs/formats.md has it.
func object(t testing.TB, key *ecdsa.PrivateKey, title string, payload []byte) []byte {
	t.Helper()
	protected := []byte{0xa1, 0x01, 0x26}
	digest := sha256.Sum256(encode(t, []any{"Signature1", protected, []byte(title), payload}))
	r, s, err := ecdsa.Sign(nil, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if n := key.Params().N; new(big.Int).Lsh(s, 1).Cmp(n) > 0 {
		s.Sub(n, s)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return encode(t, []any{protected, map[int]int{}, payload, signature})
}

func orderHash(order []byte) []byte {
	hash := sha256.Sum256(order)
	return hash[:12]
}

// link closes the root before this epoch, with the orders that it signed.
func (a *authority) link(epoch int, orders ...[]byte) []byte {
	var hashes [][]byte
	for _, order := range orders {
		hashes = append(hashes, orderHash(order))
	}
	slices.SortFunc(hashes, bytes.Compare)
	return object(a.t, a.roots[epoch], "birthmark link 1", append(a.anchor(epoch), slices.Concat(hashes...)...))
}

// listOf is a status list's payload without its name.
func listOf(number uint32, prefix []byte, orders, ranges [][]byte, serials ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, number)
	b = append(b, byte(len(prefix)), byte(len(orders)), byte(len(ranges)))
	return slices.Concat(b, prefix, slices.Concat(orders...), slices.Concat(ranges...), slices.Concat(serials...))
}

func (a *authority) list(epoch int, rest []byte) []byte {
	return object(a.t, a.roots[epoch], "birthmark list 1", append([]byte{a.flags, byte(epoch)}, rest...))
}

func (a *authority) release(epoch int, serial uint64, generation uint32) []byte {
	payload := append([]byte{a.flags, byte(epoch)}, eui(serial)...)
	return object(a.t, a.roots[epoch], "birthmark release 1", binary.BigEndian.AppendUint32(payload, generation))
}

// orderBy is an order's certificate, of this number, by the root of this epoch.
func (a *authority) orderBy(epoch int, number byte) []byte {
	return a.orderItems(epoch, number).sign(a.t, a.roots[epoch])
}

func (a *authority) orderItems(epoch int, number byte) items {
	name := []byte{a.flags, byte(epoch), 0, number}
	return orderItems(a.t, a.order).with(itemSerial, []byte{number}).with(itemIssuer, name[:2]).with(itemSubject, name)
}

// unitBy is a unit's certificate by the order of this epoch and number.
func (a *authority) unitBy(epoch int, number byte, serial uint64, key *ecdsa.PrivateKey) []byte {
	return a.unitItems(epoch, number, serial, key).sign(a.t, a.order)
}

func (a *authority) unitItems(epoch int, number byte, serial uint64, key *ecdsa.PrivateKey) items {
	return unitItems(a.t, key).with(itemIssuer, []byte{a.flags, byte(epoch), 0, number}).
		with(itemSerial, bytes.TrimLeft(eui(serial), "\x00")).with(itemSubject, eui(serial))
}

// idOf is ID_CRED_x by value.
func idOf(t testing.TB, unit, order []byte) []byte {
	t.Helper()
	return encode(t, map[int][]any{25: {unit, order}})
}

// image is of a unit that this authority's root of that epoch is the first one of, and that talks to others than its like.
func (a *authority) image(epoch int) Image {
	return Image{AnchorHash: sha256.Sum256(a.anchor(epoch)), Product: 9, Peers: []uint32{1, testProduct}}
}

// trusting starts a unit on a flash.
func trusting(t testing.TB, image Image, flash Flash) *Trust {
	t.Helper()
	unit, err := NewTrust(image, flash)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unit.Close)
	return unit
}

// newTrust is a unit with the anchor of this epoch in a new flash of 2,048 bytes a page.
func (a *authority) newTrust(epoch int) (*Trust, *memoryFlash) {
	a.t.Helper()
	flash := newFlash(2048)
	unit := trusting(a.t, a.image(epoch), flash)
	good(a.t, "anchor", unit.Anchor(a.anchor(epoch)))
	return unit, flash
}

func good(t testing.TB, name string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func wantStatus(t testing.TB, name string, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want: %v", name, err, want)
	}
}

// unchanged runs f and wants every byte of the flash where it was.
func unchanged(t testing.TB, name string, flash *memoryFlash, f func()) {
	t.Helper()
	before := flash.copy()
	f()
	for i := range before.pages {
		if !bytes.Equal(before.pages[i], flash.pages[i]) {
			t.Errorf("%s: page %d has changed", name, i)
		}
	}
}

// copy is another flash of the same content.
func (f *memoryFlash) copy() *memoryFlash {
	c := &memoryFlash{}
	for i := range f.pages {
		c.pages[i] = bytes.Clone(f.pages[i])
	}
	return c
}

// Every peer of a root that the unit knows is taken, whatever lies between the epochs; one of a newer root, or of one before the
// unit's first, is not.
func TestTrustEpochs(t *testing.T) {
	a := newAuthority(t)
	const last = 6
	var orders [last + 1][]byte
	for epoch := 1; epoch <= last; epoch++ {
		orders[epoch] = a.orderBy(epoch, byte(epoch))
	}
	for first := 1; first <= last; first++ {
		unit, _ := a.newTrust(first)
		for newest := first; newest <= last; newest++ {
			if newest > first {
				good(t, "link", unit.Link(a.link(newest, orders[newest-1])))
			}
			if v := unit.Version(); v != (Version{Epoch: newest}) {
				t.Errorf("roots %d to %d: version %+v", first, newest, v)
			}
			for epoch := 1; epoch <= last; epoch++ {
				key := newKey(t)
				id := idOf(t, a.unitBy(epoch, byte(epoch), testSerial, key), orders[epoch])
				unit.verifies = 0
				got, err := unit.Peer(id, false)
				name := fmt.Sprintf("roots %d to %d, order of epoch %d", first, newest, epoch)
				if epoch < first || epoch > newest {
					wantStatus(t, name, err, CheckRoot)
					if unit.verifies > 0 || got != [64]byte{} {
						t.Errorf("%s: %d signatures verified, key %x", name, unit.verifies, got)
					}
				} else if err != nil || !bytes.Equal(got[:], publicKey(t, key)) || unit.verifies != 2 {
					t.Errorf("%s: %v, %d signatures verified, key %x", name, err, unit.verifies, got)
				}
			}
		}
	}
}

// peerDefects holds a way, or more, to fail each check of a peer alone.
var peerDefects = []struct {
	name  string
	check Check
	peer  func(a *authority) []byte
}{
	{"another map", CheckID, func(a *authority) []byte {
		return encode(a.t, map[int][]any{22: {a.unitBy(1, 1, testSerial, a.order), a.orderBy(1, 1)}})
	}},
	{"the order first", CheckUnit, func(a *authority) []byte {
		return idOf(a.t, a.orderBy(1, 1), a.orderBy(1, 1))
	}},
	{"an order's certificate alone", CheckID, func(a *authority) []byte { return encode(a.t, map[int][]any{25: {a.orderBy(1, 1)}}) }},
	{"no map", CheckID, func(a *authority) []byte {
		return encode(a.t, []any{a.unitBy(1, 1, testSerial, a.order), a.orderBy(1, 1)})
	}},
	{"a longer head", CheckID, func(a *authority) []byte {
		return slices.Concat([]byte{0xb8, 0x01}, idOf(a.t, a.unitBy(1, 1, testSerial, a.order), a.orderBy(1, 1))[1:])
	}},
	{"a self-made order", CheckOrderSignature, func(a *authority) []byte {
		return idOf(a.t, a.unitBy(1, 1, testSerial, newKey(a.t)), a.orderItems(1, 1).sign(a.t, newKey(a.t)))
	}},
	{"a malformed order", CheckOrder, func(a *authority) []byte {
		return idOf(a.t, a.unitBy(1, 1, testSerial, newKey(a.t)), a.orderItems(1, 1).with(itemType, 3).sign(a.t, a.roots[1]))
	}},
	{"a productive authority of the same key", CheckRoot, func(a *authority) []byte {
		b := *a
		b.flags = 0
		return idOf(a.t, b.unitBy(1, 1, testSerial, newKey(a.t)), b.orderBy(1, 1))
	}},
	{"a product that it does not talk to", CheckProduct, func(a *authority) []byte {
		order := a.orderItems(1, 1).with(itemExtensions, extensionsOf(9, eui(testFirst), eui(testLast)))
		return idOf(a.t, a.unitBy(1, 1, testSerial, newKey(a.t)), order.sign(a.t, a.roots[1]))
	}},
	{"a malformed unit", CheckUnit, func(a *authority) []byte {
		return idOf(a.t, a.unitItems(1, 1, testSerial, newKey(a.t)).with(itemExtensions, 1).sign(a.t, a.order), a.orderBy(1, 1))
	}},
	{"a unit of another order", CheckUnitIssuer, func(a *authority) []byte {
		return idOf(a.t, a.unitBy(1, 2, testSerial, newKey(a.t)), a.orderBy(1, 1))
	}},
	{"a unit outside the range", CheckSerial, func(a *authority) []byte {
		return idOf(a.t, a.unitBy(1, 1, testLast+1, newKey(a.t)), a.orderBy(1, 1))
	}},
	{"a self-made unit", CheckUnitSignature, func(a *authority) []byte {
		return idOf(a.t, a.unitItems(1, 1, testSerial, newKey(a.t)).sign(a.t, newKey(a.t)), a.orderBy(1, 1))
	}},
	{"a unit's key that is no point", CheckUnit, func(a *authority) []byte {
		off := append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)
		return idOf(a.t, a.unitItems(1, 1, testSerial, newKey(a.t)).with(itemKey, off).sign(a.t, a.order), a.orderBy(1, 1))
	}},
}

func TestTrustPeerDefects(t *testing.T) {
	a := newAuthority(t)
	unit, flash := a.newTrust(1)
	for _, defect := range peerDefects {
		for _, beforeSeal := range []bool{false, true} {
			if beforeSeal && defect.check == CheckProduct {
				continue // the station's orders are of the unit's own
			}
			unchanged(t, defect.name, flash, func() {
				key, err := unit.Peer(defect.peer(a), beforeSeal)
				wantStatus(t, defect.name, err, defect.check)
				if key != [64]byte{} {
					t.Errorf("%s: a key all the same", defect.name)
				}
			})
		}
	}
}

// Before the seal the station is taken too, whose order builds units of this product; in the field its number is in no range.
func TestTrustStation(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(1)
	own := a.orderItems(1, 1).with(itemExtensions, extensionsOf(9, eui(testFirst), eui(testLast))).sign(t, a.roots[1])
	key := newKey(t)
	station := a.unitBy(1, 1, 1<<64-1, key)
	if got, err := unit.Peer(idOf(t, station, own), true); err != nil || !bytes.Equal(got[:], publicKey(t, key)) {
		t.Errorf("before the seal: %x, %v", got, err)
	}
	_, err := unit.Peer(idOf(t, station, own), false)
	wantStatus(t, "in the field, own product", err, CheckProduct)
	_, err = unit.Peer(idOf(t, station, a.orderBy(1, 1)), false)
	wantStatus(t, "in the field, a peer's product", err, CheckSerial)
	_, err = unit.Peer(idOf(t, a.unitItems(1, 1, 1<<64-1, key).sign(t, newKey(t)), own), true)
	wantStatus(t, "self-made", err, CheckUnitSignature)
	_, err = unit.Peer(idOf(t, a.unitBy(1, 1, 1<<64-2, key), own), true)
	wantStatus(t, "another number", err, CheckSerial)
	_, err = unit.Peer(idOf(t, a.unitBy(1, 1, testSerial, key), a.orderBy(1, 1)), true)
	good(t, "a unit before the seal", err)
}

// Each bit and each length of an ID_CRED_x counts.
func TestTrustPeerEveryBit(t *testing.T) {
	a := newAuthority(t)
	unit, _ := a.newTrust(1)
	id := idOf(t, a.unitBy(1, 1, testSerial, newKey(t)), a.orderBy(1, 1))
	_, err := unit.Peer(id, false)
	good(t, "as it is", err)
	everyBit(id, func(name string, b []byte) {
		if _, err := unit.Peer(b, false); err == nil {
			t.Errorf("%s: taken", name)
		}
	})
}

// everyBit gives all that is one bit, or an end, away from b.
func everyBit(b []byte, f func(name string, b []byte)) {
	for bit := range 8 * len(b) {
		changed := bytes.Clone(b)
		changed[bit/8] ^= 0x80 >> (bit % 8)
		f(fmt.Sprintf("bit %d", bit), changed)
	}
	for size := range b {
		f(fmt.Sprintf("cut to %d bytes", size), b[:size])
	}
	f("a byte more", append(bytes.Clone(b), 0))
}

// A unit whose flash has no anchor, or that of another image, has no peers.
func TestTrustWithoutAnchor(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	id := idOf(t, a.unitBy(1, 1, testSerial, newKey(t)), a.orderBy(1, 1))
	unit := trusting(t, a.image(1), newFlash(2048))
	_, err := unit.Peer(id, true)
	wantStatus(t, "no anchor", err, CheckRoot)
	wantStatus(t, "a link without an anchor", unit.Link(a.link(2)), ErrAuth)
	wantStatus(t, "a list without an anchor", unit.List(a.list(1, listOf(1, nil, nil, nil))), ErrAuth)
	wantStatus(t, "a release without an anchor", unit.Release([8]byte(eui(testSerial)), 0, a.release(1, testSerial, 0)), ErrAuth)
	if v := unit.Version(); v != (Version{}) {
		t.Errorf("%+v", v)
	}
	other := trusting(t, b.image(1), newFlash(2048))
	good(t, "another anchor", other.Anchor(a.anchor(1)))
	_, err = other.Peer(id, true)
	wantStatus(t, "another image's anchor", err, CheckRoot)
}

// The last anchor counts, and only the links behind it.
func TestTrustAnchorAgain(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	flash := newFlash(2048)
	unit := trusting(t, b.image(1), flash)
	good(t, "anchor", unit.Anchor(a.anchor(1)))
	good(t, "link", unit.Link(a.link(2)))
	good(t, "another anchor", unit.Anchor(b.anchor(1)))
	if v := unit.Version(); v.Epoch != 1 {
		t.Errorf("%+v", v)
	}
	_, err := unit.Peer(idOf(t, b.unitBy(1, 1, testSerial, newKey(t)), b.orderBy(1, 1)), false)
	good(t, "a peer of the new one", err)
	_, err = unit.Peer(idOf(t, b.unitBy(2, 1, testSerial, newKey(t)), b.orderBy(2, 1)), false)
	wantStatus(t, "a peer of its next root", err, CheckRoot)
	wantStatus(t, "the old one's link", unit.Link(a.link(2)), ErrAuth)
	good(t, "its own link", unit.Link(b.link(2)))
}

// A birth is judged by the anchor it brings or, once that is stored, by its links as well.
func TestTrustBirth(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t)
	image := a.image(1)
	image.Product = testProduct
	flash := newFlash(2048)
	unit := trusting(t, image, flash)
	orders := [][]byte{nil, a.orderBy(1, 1), a.orderBy(2, 2), a.orderBy(3, 3)}
	thief := a.orderBy(1, 9)
	birth := func(epoch int, number byte, order []byte) error {
		return unit.Birth(Birth{Anchor: a.anchor(1), Order: order, Unit: a.unitBy(epoch, number, testSerial, key), Key: publicKey(t, key)})
	}
	good(t, "before the anchor is stored", birth(1, 1, orders[1]))
	wantStatus(t, "an order of epoch 2", birth(2, 2, orders[2]), CheckOrderIssuer)
	good(t, "anchor", unit.Anchor(a.anchor(1)))
	good(t, "an order that is not closed out", birth(1, 9, thief))
	wantStatus(t, "an order of epoch 2", birth(2, 2, orders[2]), CheckOrderIssuer)
	good(t, "link", unit.Link(a.link(2, orders[1])))
	good(t, "an order of epoch 2", birth(2, 2, orders[2]))
	good(t, "an old order", birth(1, 1, orders[1]))
	wantStatus(t, "an order closed out", birth(1, 9, thief), CheckClosed)
	wantStatus(t, "an order of epoch 3", birth(3, 3, orders[3]), CheckOrderIssuer)
	// The peers' products are none of this.
	image.Product = 9
	other := trusting(t, image, flash)
	err := other.Birth(Birth{Anchor: a.anchor(1), Order: orders[2], Unit: a.unitBy(2, 2, testSerial, key), Key: publicKey(t, key)})
	wantStatus(t, "a peer's product", err, CheckProduct)
	// Another authority's chain in the flash says nothing about this one.
	b := newAuthority(t)
	image.AnchorHash, image.Product = sha256.Sum256(b.anchor(1)), testProduct
	fresh := trusting(t, image, flash)
	good(t, "over another's chain", fresh.Birth(Birth{Anchor: b.anchor(1), Order: b.orderBy(1, 9), Unit: b.unitBy(1, 9, testSerial, key), Key: publicKey(t, key)}))
}

// negated is what ends in a signature, with n - s for s: the other signature of the same message.
func negated(signed []byte) []byte {
	changed := bytes.Clone(signed)
	s := changed[len(changed)-32:]
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(s)).FillBytes(s)
	return changed
}

// numberedKey is the same key in every process, as the workers of a fuzzer need it.
func numberedKey(t testing.TB, n byte) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
