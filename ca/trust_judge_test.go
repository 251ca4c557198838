//go:build cgo

package ca

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/birthmark/birthmark/device"
)

// memory is a unit's flash.
type memory [3][2048]byte

func newMemory() *memory {
	m := &memory{}
	for page := range m {
		_ = m.Erase(page)
	}
	return m
}

func (m *memory) PageSize() int { return len(m[0]) }

func (m *memory) Read(page, offset int, out []byte) error {
	copy(out, m[page][offset:])
	return nil
}

func (m *memory) Program(page, offset int, data []byte) error {
	copy(m[page][offset:], data)
	return nil
}

func (m *memory) Erase(page int) error {
	for i := range m[page] {
		m[page][i] = 0xFF
	}
	return nil
}

// newTrust is a unit that was born under this anchor, with this flash.
func newTrust(t testing.TB, a Anchor, m *memory) *device.Trust {
	t.Helper()
	unit, err := device.NewTrust(device.Image{AnchorHash: a.Hash(), Product: 7, Peers: []uint32{7}}, m)
	if err == nil {
		err = unit.Anchor(a[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unit.Close)
	return unit
}

// everyBit gives all that is one bit, or an end, away from b.
func everyBit(b []byte, f func(name string, b []byte)) {
	for bit := range 8 * len(b) {
		changed := bytes.Clone(b)
		changed[bit/8] ^= 0x80 >> (bit % 8)
		f(fmt.Sprintf("bit %d", bit), changed)
	}
	everyEnd(b, f)
}

// verifyByTitle reads and verifies an object that follows, or is of, this root.
func verifyByTitle(title string, object []byte, a Anchor) error {
	switch title {
	case linkTitle:
		l, err := ParseLink(object)
		if err != nil {
			return err
		}
		return l.Verify(a)
	case listTitle:
		l, err := ParseStatusList(object)
		if err != nil {
			return err
		}
		return l.Verify(a)
	default:
		r, err := ParseRelease(object)
		if err != nil {
			return err
		}
		return r.Verify(a)
	}
}

// giveByTitle gives an object to a unit, whose serial number and generation are those of the release.
func giveByTitle(unit *device.Trust, title string, object []byte) error {
	switch title {
	case linkTitle:
		return unit.Link(object)
	case listTitle:
		return unit.List(object)
	default:
		return unit.Release(EUI64(0x021A2B0000000105).Bytes(), 9, object)
	}
}

// What this package signs a unit takes, and what is one bit or an end away from it neither does.
func TestUnitsAgreeOnObjects(t *testing.T) {
	c := newChain(t)
	orders := []*OrderCertificate{c.order(t, 1, 1), c.order(t, 1, 2)}
	list, err := SignStatusList(rand.Reader, c[1], c.anchor(1), StatusList{
		Number: 4, Orders: []OrderName{{1, 1, 0, 2}}, Ranges: []Range{{0x021A2B0000000110, 0x021A2B0000000120}}, Serials: []EUI64{0x021A2B0000000105},
	})
	if err != nil {
		t.Fatal(err)
	}
	release, err := SignRelease(rand.Reader, c[1], c.anchor(1), 0x021A2B0000000105, 9)
	if err != nil {
		t.Fatal(err)
	}
	unit := newTrust(t, c.anchor(1), newMemory())
	for title, object := range map[string][]byte{linkTitle: c.link(t, 2, orders...).Object, listTitle: list.Object, releaseTitle: release.Object} {
		everyBit(object, func(name string, b []byte) {
			ours, theirs := verifyByTitle(title, b, c.anchor(1)), giveByTitle(unit, title, b)
			if ours == nil || theirs == nil { // a release's unit and generation are signed too
				t.Errorf("%s, %s: %v; the unit says %v", title, name, ours, theirs)
			}
		})
	}
	for _, title := range []string{releaseTitle, listTitle, linkTitle} {
		object := map[string][]byte{linkTitle: c.link(t, 2, orders...).Object, listTitle: list.Object, releaseTitle: release.Object}[title]
		if err := giveByTitle(unit, title, object); err != nil {
			t.Errorf("%s: the unit says %v", title, err)
		}
	}
}

// Both refuse the same payloads.
func TestUnitsAgreeOnBadPayloads(t *testing.T) {
	c := newChain(t)
	unit := newTrust(t, c.anchor(1), newMemory())
	for title, payloads := range badPayloads(t, c) {
		key := c[1]
		if title == linkTitle {
			key = c[2]
		}
		for name, payload := range payloads {
			object := forUnits(t, key, title, payload)
			wantError(t, title+": "+name, verifyByTitle(title, object, c.anchor(1)), ErrMalformed)
			if err := giveByTitle(unit, title, object); err == nil {
				t.Errorf("%s: %s: the unit takes it", title, name)
			}
		}
	}
}

// A unit takes any payload of a list that this package takes, and no other; and then it judges as the list says.
func FuzzUnitsAgreeOnLists(f *testing.F) {
	c := newChain(f)
	order := c.order(f, 1, 1)
	draft, err := signUnitCertificate(nil, c[0], &UnitCertificate{Serial: 0x021A2B0000000105, Order: order.Name, Key: &c[5].PublicKey, IssuedAt: morning})
	if err != nil {
		f.Fatal(err)
	}
	id := items{map[int][]any{25: {draft.Raw, order.Raw}}}.encode(f)
	f.Add([]byte{6, 1, 1, 2, 0x1A, 0x2B, 0, 0, 0, 1, 0, 1, 1, 0, 1, 9, 1, 5})
	f.Add([]byte{7, 0, 0, 2, 0x1A, 0x2B, 0, 0, 0, 1, 4, 5, 6})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, rest []byte) {
		unit := newTrust(t, c.anchor(1), newMemory())
		object := forUnits(t, c[1], listTitle, append([]byte{1, 1, 0, 0, 0, 1}, rest...))
		l, err := ParseStatusList(object)
		if theirs := unit.List(object); (err == nil) != (theirs == nil) {
			t.Fatalf("%x: %v; the unit says %v", rest, err, theirs)
		}
		var want error
		if err == nil {
			want = l.of(draft)
		}
		if _, err := unit.Peer(id, false); err != want {
			t.Errorf("%x: the unit says %v, the list %v", rest, err, want)
		}
	})
}

// of is what a list says of a unit.
func (l *StatusList) of(u *UnitCertificate) (verdict error) {
	for _, o := range l.Orders {
		if o == u.Order {
			verdict = device.CheckHeld
		}
	}
	for _, r := range l.Ranges {
		if r.Contains(u.Serial) {
			verdict = device.CheckHeld
		}
	}
	for _, serial := range l.Serials {
		if serial == u.Serial {
			verdict = device.CheckRevoked
		}
	}
	return verdict
}
