package ca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	w := newWorks(t)
	text := strings.Replace(demoProfile(t), "firmware: []", "firmware: ["+strings.Repeat("5a", 32)+"]", 1)
	var err error
	if w.profile, err = ParseProfile([]byte(text)); err != nil {
		t.Fatal(err)
	}
	o := w.firstOrder(t, 10)
	fitting := w.candidate(o, newKey(t))
	fitting.Firmware = [32]byte(bytes.Repeat([]byte{0x5A}, 32))
	for _, test := range []struct {
		name   string
		change func(c *Candidate)
		test   bool
		now    time.Time
		want   error
	}{
		{"fits", func(*Candidate) {}, true, o.Issued, nil},
		{"the last second", func(*Candidate) {}, true, o.Expires.Add(-time.Nanosecond), nil},
		{"a test order without --test", func(*Candidate) {}, false, o.Issued, ErrTest},
		{"expired", func(*Candidate) {}, true, o.Expires, ErrPolicy},
		{"long expired", func(*Candidate) {}, true, o.Expires.Add(9999 * time.Hour), ErrPolicy},
		{"a clock before the order", func(*Candidate) {}, true, o.Issued.Add(-time.Nanosecond), ErrPolicy},
		{"no clock", func(*Candidate) {}, true, time.Time{}, ErrPolicy},
		{"another root", func(c *Candidate) { c.Anchor[31] ^= 1 }, true, o.Issued, ErrOtherRoot},
		{"another product", func(c *Candidate) { c.Product++ }, true, o.Issued, ErrOtherRoot},
		{"another image", func(c *Candidate) { c.Firmware[0]++ }, true, o.Issued, ErrPolicy},
		{"another slot configuration", func(c *Candidate) { c.Configuration[20] ^= 1 }, true, o.Issued, ErrPolicy},
		{"an open data zone", func(c *Candidate) { c.Configuration[86] = 0x55 }, true, o.Issued, ErrPolicy},
		{"an open configuration", func(c *Candidate) { c.Configuration[87] = 0x55 }, true, o.Issued, ErrPolicy},
		{"a key off the curve", func(c *Candidate) { c.Key[63] ^= 1 }, true, o.Issued, ErrMalformed},
		{"a key of zeros", func(c *Candidate) { c.Key = [64]byte{} }, true, o.Issued, ErrMalformed},
	} {
		c := fitting
		test.change(&c)
		draft, err := Check(o, &w.authority.Bundle, c, test.test, test.now)
		wantError(t, test.name, err, test.want)
		if (draft == nil) != (test.want != nil) {
			t.Errorf("%s: draft %v beside error %v", test.name, draft, err)
		}
	}
}

// A production order is refused where test units are wanted, as a test order is on a production line.
func TestCheckProduction(t *testing.T) {
	w := newWorks(t)
	r := w.initRequest(filepath.Join(t.TempDir(), "authority"))
	r.Test, r.RootURI = false, "pkcs11:object=root-1"
	var err error
	if w.authority, err = Init(rand.Reader, w.root, w.next, r); err != nil {
		t.Fatal(err)
	}
	o := w.firstOrder(t, 10)
	if _, err := Check(o, &w.authority.Bundle, w.candidate(o, newKey(t)), false, o.Issued); err != nil {
		t.Error(err)
	}
	_, err = Check(o, &w.authority.Bundle, w.candidate(o, newKey(t)), true, o.Issued)
	wantError(t, "production units under --test", err, ErrTest)
	wantError(t, "production units under --test", err, ErrPolicy)
}

func TestSign(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	key := newKey(t)
	draft, err := Check(o, &w.authority.Bundle, w.candidate(o, key), true, o.Issued)
	if err != nil {
		t.Fatal(err)
	}
	at := o.Issued.Add(90*time.Minute + 700*time.Millisecond)
	for _, serial := range []EUI64{o.Certificate.Range.First, o.Certificate.Range.Last} {
		issued, err := draft.Sign(rand.Reader, w.order, serial, at, false)
		if err != nil {
			t.Fatal(err)
		}
		u := issued.Certificate
		if u.Serial != serial || u.Order != o.Certificate.Name || !u.Key.Equal(&key.PublicKey) || !u.IssuedAt.Equal(at.Truncate(time.Second)) || issued.X509 != nil {
			t.Errorf("%+v", issued)
		}
		if again, err := ParseUnitCertificate(u.Raw); err != nil || again.Verify(o.Certificate) != nil {
			t.Errorf("%v: %v", serial, err)
		}
	}
	first := o.Certificate.Range.First
	for _, test := range []struct {
		name   string
		serial EUI64
		at     time.Time
		want   error
	}{
		{"below the range", first - 1, at, ErrPolicy},
		{"above the range", o.Certificate.Range.Last + 1, at, ErrPolicy},
		{"the station's own", 0xFFFFFFFFFFFFFFFF, at, ErrPolicy},
		{"nobody", 0, at, ErrPolicy},
		{"before the order", first, o.Issued.Add(-time.Nanosecond), ErrPolicy},
		{"after 2106", first, time.Unix(1<<32, 0), ErrMalformed},
	} {
		issued, err := draft.Sign(rand.Reader, w.order, test.serial, test.at, false)
		wantError(t, test.name, err, test.want)
		if issued != nil {
			t.Errorf("%s: a certificate beside an error", test.name)
		}
	}
	_, err = draft.Sign(rand.Reader, w.root, first, at, false)
	wantError(t, "the root's key", err, ErrPolicy)
	_, err = draft.Sign(rand.Reader, newKey(t), first, at, false)
	wantError(t, "another order key", err, ErrPolicy)
	_, err = draft.Sign(rand.Reader, refusingSigner{w.order}, first, at, false)
	wantError(t, "a token that is gone", err, errSigner)
}

// A token that answers with another's signature is found out before the certificate leaves Sign, and so is one that fails
// at the twin.
func TestSignWithABrokenToken(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	draft, err := Check(o, &w.authority.Bundle, w.candidate(o, newKey(t)), true, o.Issued)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := w.order.Sign(rand.Reader, make([]byte, 32), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, twin := range []bool{false, true} {
		if issued, err := draft.Sign(rand.Reader, answeringSigner{w.order, stale}, o.Certificate.Range.First, o.Issued, twin); err == nil || issued != nil {
			t.Errorf("signed with a stale signature: %+v, %v", issued, err)
		}
	}
	once := &tiringSigner{Signer: w.order, left: 1}
	issued, err := draft.Sign(rand.Reader, once, o.Certificate.Range.First, o.Issued, true)
	wantError(t, "no twin", err, errSigner)
	if issued != nil {
		t.Errorf("without its twin: %+v", issued)
	}
}

func TestTwin(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	key := newKey(t)
	issued := w.issue(t, o, key, 0x021A2B0000000003)
	twin, err := x509.ParseCertificate(issued.X509)
	if err != nil {
		t.Fatal(err)
	}
	if twin.Subject.String() != "CN=02-1A-2B-00-00-00-00-03" || twin.SerialNumber.Text(16) != "21a2b0000000003" || !key.PublicKey.Equal(twin.PublicKey) ||
		!twin.NotBefore.Equal(issued.Certificate.IssuedAt) || !twin.NotAfter.Equal(noExpiry) || twin.KeyUsage != x509.KeyUsageDigitalSignature || twin.IsCA {
		t.Errorf("%+v", twin)
	}
}

func TestCheckRecorded(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	key := newKey(t)
	one, two := w.issue(t, o, key, o.Certificate.Range.First), w.issue(t, o, key, o.Certificate.Range.First+1)
	u := one.Certificate
	serial, xy := uint64(u.Serial), point(u.Key)
	otherKey := point(&newKey(t).PublicKey)
	foreign := newWorks(t)
	foreignOrder := foreign.firstOrder(t, 10)
	forged := foreign.issue(t, foreignOrder, key, o.Certificate.Range.First)
	misnamed, err := createX509(rand.Reader, &x509.Certificate{
		SerialNumber: new(big.Int).SetUint64(serial), Subject: pkix.Name{CommonName: two.Certificate.Serial.String()}, NotBefore: u.IssuedAt, NotAfter: noExpiry,
	}, o.x509, u.Key, w.order)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		serial uint64
		key    [64]byte
		at     time.Time
		twin   []byte
		want   error
	}{
		{"as recorded", serial, xy, u.IssuedAt, one.X509, nil},
		{"without a twin", serial, xy, u.IssuedAt, nil, nil},
		{"another serial number", serial + 1, xy, u.IssuedAt, one.X509, ErrVerify},
		{"another key", serial, otherKey, u.IssuedAt, one.X509, ErrVerify},
		{"another time", serial, xy, u.IssuedAt.Add(time.Second), one.X509, ErrVerify},
		{"another unit's twin", serial, xy, u.IssuedAt, two.X509, ErrVerify},
		{"a twin of another authority", serial, xy, u.IssuedAt, forged.X509, ErrVerify},
		{"a twin of another name", serial, xy, u.IssuedAt, misnamed, ErrVerify},
		{"a twin that is none", serial, xy, u.IssuedAt, one.X509[1:], ErrMalformed},
		{"an empty twin", serial, xy, u.IssuedAt, []byte{}, ErrMalformed},
	} {
		wantError(t, test.name, CheckRecorded(u, o, test.serial, test.key, test.at, test.twin), test.want)
	}
}
