package ca

import (
	"bytes"
	"slices"
	"testing"

	"github.com/birthmark/birthmark/templates"
)

// FuzzOrder signs whatever payload it is given with a root of its own, so that what is behind the signature is reached.
func FuzzOrder(f *testing.F) {
	w, o := smallOrder(f)
	payload := payloadOf(f, o)
	f.Add(items{[]any(payload)}.encode(f))
	f.Add(items{[]any(payload.with(payloadCount, 11))}.encode(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOrder(handMade(t, w.root, orderTitle, protectedHeader, noHeader, b))
		if err != nil {
			return
		}
		order, root := o.X509()
		again := items{[]any{orderTitle, o.Previous[:], o.Certificate.Raw, order, root, o.Anchor[:], o.Station, o.Count, o.Issued.Unix(), o.Expires.Unix(), o.Profile.Bytes()}}.encode(t)
		if !bytes.Equal(again, b) {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

// FuzzObject looks at the COSE_Sign1 itself, whose signature need not hold.
func FuzzObject(f *testing.F) {
	_, o := smallOrder(f)
	f.Add(o.File)
	f.Add(handMade(f, newKey(f), "birthmark test 1", protectedHeader, noHeader, []byte{1}))
	f.Add(handMade(f, newKey(f), "birthmark test 1", protectedHeader, noHeader, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseObject(orderTitle, b)
		if err != nil {
			return
		}
		head := []byte{0xD2, 0x84, 0x43, 0xA1, 0x01, 0x26, 0xA0}
		if again := slices.Concat(head, items{m.Payload, m.Signature}.encode(t)); !bytes.Equal(again, b) {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

// FuzzProfile wants no profile that a configuration zone made from its own settings would not meet.
func FuzzProfile(f *testing.F) {
	for _, name := range templates.Products() {
		text, err := templates.Product(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(smallProfile))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProfile(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Bytes(), b) || p.Product == 0 || len(p.Peers) == 0 || p.Name == "" {
			t.Fatalf("%q is read as %+v", b, p)
		}
		if err := p.CheckConfiguration(p.configuration.want); err != nil {
			t.Fatal(err)
		}
	})
}

// What parses is the profile's own encoding of what was read, and stays the same when it is read again.
func FuzzUnitCertificate(f *testing.F) {
	b := newBirth(f)
	f.Add(b.unitItems.sign(f, b.order))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ParseUnitCertificate(b)
		if err != nil {
			return
		}
		at := u.Serial.Bytes()
		again := items{2, bytes.TrimLeft(at[:], "\x00"), 0, u.Order[:], u.IssuedAt.Unix(), nil, at[:], 1, compressed(u.Key), -1}.encode(t)
		again = slices.Concat([]byte{0x8B}, again, []byte{0x58, 64}, u.signed.Signature)
		if !bytes.Equal(again, b) || len(b) > 135 {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

func FuzzOrderCertificate(f *testing.F) {
	b := newBirth(f)
	f.Add(b.orderItems.sign(f, b.root))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOrderCertificate(b)
		if err != nil {
			return
		}
		number := o.Name[2:]
		again := items{2, bytes.TrimLeft(number, "\x00"), 0, o.Name[:2], o.IssuedAt.Unix(), nil, o.Name[:], 1, compressed(o.Key),
			extensions(o.Product, eui(uint64(o.Range.First)), eui(uint64(o.Range.Last)))}.encode(t)
		again = slices.Concat([]byte{0x8B}, again, []byte{0x58, 64}, o.signed.Signature)
		if !bytes.Equal(again, b) || len(b) > 155 || o.Range.check() != nil {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

func FuzzBundle(f *testing.F) {
	c := newChain(f)
	f.Add((&Bundle{Anchor: c.anchor(1)}).Encode())
	f.Add(c.bundle(f, 3).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		bundle, err := ParseBundle(b)
		if err != nil {
			return
		}
		if again := bundle.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %x", b, again)
		}
		bundle.Newest().Key() // a parsed anchor has a key
	})
}

func FuzzRequest(f *testing.F) {
	file, err := NewRequest(nil, "line-1", newKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRequest(b); err == nil && (CheckStation(r.Station) != nil || r.Key == nil) {
			t.Fatalf("%q is read as %+v", b, r)
		}
	})
}
