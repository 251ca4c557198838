package ca

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"
)

// The station's certificate is the unit certificate of formats.md with the serial number that no range contains.
func TestSignStation(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	key := newKey(t)
	now := o.Issued.Add(time.Hour)
	u, err := o.SignStation(rand.Reader, w.order, &key.PublicKey, true, now)
	if err != nil {
		t.Fatal(err)
	}
	name := o.Certificate.Name
	want := items{2, bytes.Repeat([]byte{0xFF}, 8), 0, name[:], now.Unix(), nil, bytes.Repeat([]byte{0xFF}, 8), 1, compressed(&key.PublicKey), -1}
	if got, encoded := u.Raw[1:len(u.Raw)-66], want.encode(t); !bytes.Equal(got, encoded) {
		t.Errorf("signed %x\nwant   %x", got, encoded)
	}
	wantError(t, "as a unit's", u.Verify(o.Certificate), ErrVerify)
	if err := u.signed.VerifySignature(&w.order.PublicKey); err != nil {
		t.Error(err)
	}

	for _, test := range []struct {
		name string
		sign func() (*UnitCertificate, error)
		want error
	}{
		{"a test order without --test", func() (*UnitCertificate, error) {
			return o.SignStation(rand.Reader, w.order, &key.PublicKey, false, now)
		}, ErrTest},
		{"expired", func() (*UnitCertificate, error) {
			return o.SignStation(rand.Reader, w.order, &key.PublicKey, true, o.Expires)
		}, ErrPolicy},
		{"a clock before the order", func() (*UnitCertificate, error) {
			return o.SignStation(rand.Reader, w.order, &key.PublicKey, true, o.Issued.Add(-time.Second))
		}, ErrPolicy},
		{"another key", func() (*UnitCertificate, error) {
			return o.SignStation(rand.Reader, newKey(t), &key.PublicKey, true, now)
		}, ErrPolicy},
		{"a token that is gone", func() (*UnitCertificate, error) {
			return o.SignStation(rand.Reader, refusingSigner{w.order}, &key.PublicKey, true, now)
		}, errSigner},
		{"a signature by another key", func() (*UnitCertificate, error) {
			digest := bytes.Repeat([]byte{1}, 32)
			signature, err := newKey(t).Sign(rand.Reader, digest, nil)
			if err != nil {
				t.Fatal(err)
			}
			return o.SignStation(rand.Reader, answeringSigner{w.order, signature}, &key.PublicKey, true, now)
		}, nil},
	} {
		u, err := test.sign()
		if u != nil || err == nil {
			t.Errorf("%s: %v, %v", test.name, u, err)
		}
		if test.want != nil {
			wantError(t, test.name, err, test.want)
		}
	}
}

// A forgery is right in everything but the keys that signed it.
func TestForgeStation(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	key := newKey(t)
	station, order, err := o.ForgeStation(rand.Reader, &key.PublicKey, o.Issued)
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := o.SignStation(rand.Reader, w.order, &key.PublicKey, true, o.Issued)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := func(b []byte) []byte { return b[:len(b)-64] }
	if !bytes.Equal(unsigned(station.Raw), unsigned(genuine.Raw)) {
		t.Errorf("forged %x\nof     %x", station.Raw, genuine.Raw)
	}
	unsigned = func(b []byte) []byte { // and without the key
		at := bytes.Index(b, []byte{0x58, 33})
		return slices.Concat(b[:at], b[at+35:len(b)-64])
	}
	if !bytes.Equal(unsigned(order.Raw), unsigned(o.Certificate.Raw)) || order.Key.Equal(o.Certificate.Key) {
		t.Errorf("forged %x\nof     %x", order.Raw, o.Certificate.Raw)
	}
	wantError(t, "forged order", order.Verify(o.Anchor), ErrVerify)
	if err := station.signed.VerifySignature(order.Key); err != nil {
		t.Error(err)
	}
	if station.signed.VerifySignature(o.Certificate.Key) == nil {
		t.Error("signed by the order's own key")
	}
}

func TestIDCred(t *testing.T) {
	u, o := &UnitCertificate{Raw: bytes.Repeat([]byte{1}, 135)}, &OrderCertificate{Raw: bytes.Repeat([]byte{2}, 150)}
	want := slices.Concat([]byte{0xA1, 0x18, 0x19, 0x82, 0x58, 135}, u.Raw, []byte{0x58, 150}, o.Raw)
	if got := IDCred(u, o); !bytes.Equal(got, want) {
		t.Errorf("%x", got)
	}
}

func TestParseIDCred(t *testing.T) {
	w := newWorks(t)
	order := w.firstOrder(t, 3)
	o := order.Certificate
	u := w.issue(t, order, newKey(t), o.Range.First).Certificate
	id := IDCred(u, o)
	unit, parsed, err := ParseIDCred(id)
	if err != nil || !bytes.Equal(unit.Raw, u.Raw) || !bytes.Equal(parsed.Raw, o.Raw) {
		t.Fatalf("%+v, %+v, %v", unit, parsed, err)
	}
	for name, b := range map[string][]byte{
		"another label":       slices.Concat([]byte{0xA1, 0x18, 0x18}, id[3:]),
		"a label more":        slices.Concat([]byte{0xA2}, id[1:], []byte{0x18, 0x1A, 0xF6}),
		"a unit alone":        slices.Concat([]byte{0xA1, 0x18, 0x19, 0x81, 0x58, byte(len(u.Raw))}, u.Raw),
		"an order more":       slices.Concat([]byte{0xA1, 0x18, 0x19, 0x83}, id[4:], []byte{0x40}),
		"a longer head":       slices.Concat([]byte{0xA1, 0x19, 0, 0x19}, id[3:]),
		"the order first":     slices.Concat([]byte{0xA1, 0x18, 0x19, 0x82, 0x58, byte(len(o.Raw))}, o.Raw, []byte{0x58, byte(len(u.Raw))}, u.Raw),
		"a certificate alone": u.Raw,
		"null":                {0xF6},
	} {
		_, _, err := ParseIDCred(b)
		wantError(t, name, err, ErrMalformed)
	}
	everyEnd(id, func(name string, b []byte) {
		_, _, err := ParseIDCred(b)
		wantError(t, name, err, ErrMalformed)
	})
}

// everyEnd gives b cut to every length, and a byte more.
func everyEnd(b []byte, f func(name string, b []byte)) {
	for size := range b {
		f(fmt.Sprintf("cut to %d bytes", size), b[:size])
	}
	f("a byte more", append(bytes.Clone(b), 0))
}
