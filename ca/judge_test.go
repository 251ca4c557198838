//go:build cgo

package ca

import (
	"crypto/ecdsa"
	"errors"
	"testing"

	"github.com/birthmark/birthmark/device"
)

// judge is the verdict of the unit's own C code.
func judge(a Anchor, product uint32, key *ecdsa.PublicKey, order, unit []byte) error {
	xy := point(key)
	return device.Judge(a.Hash(), product, device.Birth{Anchor: a[:], Order: order, Unit: unit, Key: xy[:]})
}

// The station and the unit refuse the same certificates, at the same check. Both are held against one table, so neither is
// the other's reference.
func TestUnitsAgree(t *testing.T) {
	b := newBirth(t)
	order, unit := b.orderItems.sign(t, b.root), b.unitItems.sign(t, b.order)
	if err := judge(b.anchor, b.product, &b.unit.PublicKey, order, unit); err != nil {
		t.Fatal(err)
	}
	for _, r := range refusals(t, b) {
		var check device.Check
		if err := judge(b.anchor, b.product, &b.unit.PublicKey, r.order, r.unit); !errors.As(err, &check) || int(check) != r.stage {
			t.Errorf("%s: %v, want check %d", r.name, err, r.stage)
		}
	}
}

// A flipped bit anywhere is refused by both. They may differ in where: a unit compares its key, and has no need to ask
// whether another is a point.
func TestUnitsAgreeOnEveryBit(t *testing.T) {
	b := newBirth(t)
	order, unit := b.orderItems.sign(t, b.root), b.unitItems.sign(t, b.order)
	for _, part := range [][]byte{order, unit} {
		for bit := range 8 * len(part) {
			part[bit/8] ^= 1 << (bit % 8)
			stage, err := verdict(b.anchor, b.product, &b.unit.PublicKey, order, unit)
			theirs := judge(b.anchor, b.product, &b.unit.PublicKey, order, unit)
			if stage == good || theirs == nil {
				t.Errorf("byte %d, bit %d: %v; the unit says %v", bit/8, bit%8, err, theirs)
			}
			part[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// What this package signs a unit accepts; the same under another image it does not.
func TestUnitsAcceptWhatIsSigned(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 3)
	key := newKey(t)
	for serial := o.Certificate.Range.First; serial <= o.Certificate.Range.Last; serial++ {
		u := w.issue(t, o, key, serial)
		if err := judge(o.Anchor, w.profile.Product, &key.PublicKey, o.Certificate.Raw, u.Certificate.Raw); err != nil {
			t.Errorf("%v: %v", serial, err)
		}
	}
	u := w.issue(t, o, key, o.Certificate.Range.First)
	wantError(t, "another product", judge(o.Anchor, w.profile.Product+1, &key.PublicKey, o.Certificate.Raw, u.Certificate.Raw), device.CheckProduct)
	// A root of somebody else's, with all that it signed, in a unit whose image holds the right anchor's hash.
	other := newWorks(t)
	theirs := other.firstOrder(t, 3)
	injected, xy := other.issue(t, theirs, key, theirs.Certificate.Range.First), point(&key.PublicKey)
	wantError(t, "an injected root", device.Judge(o.Anchor.Hash(), w.profile.Product, device.Birth{
		Anchor: theirs.Anchor[:], Order: theirs.Certificate.Raw, Unit: injected.Certificate.Raw, Key: xy[:],
	}), device.CheckAnchor)
	wantError(t, "another anchor", judge(other.authority.Anchor, w.profile.Product, &key.PublicKey, o.Certificate.Raw, u.Certificate.Raw), device.CheckOrderSignature)
}
