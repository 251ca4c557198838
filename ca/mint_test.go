package ca

import (
	"bytes"
	"errors"
	"testing"
)

// A Mint gives what signing with all checks gives, at both ends of an order.
func TestMint(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 1000)
	mint, err := NewMint(o, w.order)
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []EUI64{o.Certificate.Range.First, o.Certificate.Range.First + 255, o.Certificate.Range.Last} {
		key := newKey(t)
		certificate, twin, err := mint.Unit(serial, &key.PublicKey, true)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signUnitCertificate(nil, w.order, &UnitCertificate{Serial: serial, Order: o.Certificate.Name, Key: &key.PublicKey, IssuedAt: o.Issued})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(certificate, signed.Raw) {
			t.Errorf("%v: %x, not %x", serial, certificate, signed.Raw)
		}
		if err := signed.Verify(o.Certificate); err != nil {
			t.Error(err)
		}
		if err := CheckRecorded(signed, o, uint64(serial), point(&key.PublicKey), o.Issued, twin); err != nil {
			t.Error(err)
		}
		if again, none, err := mint.Unit(serial, &key.PublicKey, false); err != nil || none != nil || !bytes.Equal(again, certificate) {
			t.Errorf("%v again: %x, %x, %v", serial, again, none, err)
		}
	}
	key := newKey(t)
	for _, serial := range []EUI64{o.Certificate.Range.First - 1, o.Certificate.Range.Last + 1} {
		if _, _, err := mint.Unit(serial, &key.PublicKey, false); !errors.Is(err, ErrPolicy) {
			t.Errorf("%v: %v", serial, err)
		}
	}
	if _, err := NewMint(o, key); !errors.Is(err, ErrPolicy) {
		t.Errorf("another key: %v", err)
	}
}

// No key of a production authority's order is in memory, and if one were, it would not sign here.
func TestMintRefusesProduction(t *testing.T) {
	w := newWorks(t)
	r := w.initRequest(t.TempDir() + "/production")
	r.Test, r.RootURI = false, "pkcs11:object=root"
	var err error
	if w.authority, err = Init(nil, w.root, w.next, r); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMint(w.firstOrder(t, 10), w.order); !errors.Is(err, ErrTest) {
		t.Error(err)
	}
}
