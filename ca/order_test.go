package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

func TestOrder(t *testing.T) {
	w := newWorks(t)
	first := w.firstOrder(t, 1000)
	r := w.request(t, 1)
	r.Now = r.Now.Add(1500 * time.Millisecond)
	second := w.sign(t, r)

	if first.Number() != 1 || !first.Test() || first.Station != "line-1" || first.Count != 1000 || first.Previous != [32]byte{} ||
		first.Anchor != w.authority.Anchor || !bytes.Equal(first.Profile.Bytes(), w.profile.Bytes()) {
		t.Errorf("%+v", first)
	}
	if want := (Range{0x021A2B0000000001, 0x021A2B00000003E8}); first.Certificate.Range != want {
		t.Errorf("range %v, want %v", first.Certificate.Range, want)
	}
	if second.Number() != 2 || second.Previous != sha256.Sum256(first.File) || second.Certificate.Range != (Range{0x021A2B00000003E9, 0x021A2B00000003E9}) {
		t.Errorf("%+v", second)
	}
	issued := morning.Add(time.Hour + time.Second) // fractions are cut off
	if !second.Issued.Equal(issued) || !second.Expires.Equal(issued.Add(30*24*time.Hour)) {
		t.Errorf("from %v to %v", second.Issued, second.Expires)
	}
	for _, o := range []*Order{first, second} {
		again, err := ParseOrder(o.File)
		if err != nil || again.Certificate.Fingerprint() != o.Certificate.Fingerprint() || again.hash() != o.hash() {
			t.Errorf("order %d: %v", o.Number(), err)
		}
	}
}

// smallOrder is an order whose file is short enough to try every byte of it.
func smallOrder(t testing.TB) (*works, *Order) {
	w := newWorksWith(t, fixedKey(t, 1), fixedKey(t, 2), fixedKey(t, 3))
	var err error
	if w.profile, err = ParseProfile([]byte(smallProfile)); err != nil {
		t.Fatal(err)
	}
	return w, w.firstOrder(t, 10)
}

func TestOrderFileEveryBit(t *testing.T) {
	_, o := smallOrder(t)
	file := bytes.Clone(o.File)
	for bit := range 8 * len(file) {
		file[bit/8] ^= 1 << (bit % 8)
		if _, err := ParseOrder(file); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVerify) {
			t.Errorf("byte %d, bit %d: %v", bit/8, bit%8, err)
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
}

func TestOrderFileEveryCut(t *testing.T) {
	_, o := smallOrder(t)
	for size := range o.File {
		_, err := ParseOrder(o.File[:size])
		wantError(t, "cut", err, ErrMalformed)
	}
	_, err := ParseOrder(append(bytes.Clone(o.File), 0))
	wantError(t, "a byte more", err, ErrMalformed)
	_, err = ParseOrder(negated(o.File))
	wantError(t, "high s", err, ErrMalformed)
}

// The places of the items of an order's payload (docs/formats.md).
const (
	payloadTitle = iota
	payloadPrevious
	payloadCertificate
	payloadX509
	payloadRootX509
	payloadAnchor
	payloadStation
	payloadCount
	payloadIssued
	payloadExpires
	payloadProfile
)

func payloadOf(t testing.TB, o *Order) items {
	t.Helper()
	m, err := parseObject(orderTitle, o.File)
	if err != nil {
		t.Fatal(err)
	}
	var payload items
	if err := cbor.Unmarshal(m.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	return payload
}

// signed is the payload as an order file.
func (it items) signed(t testing.TB, root *ecdsa.PrivateKey) []byte {
	return handMade(t, root, orderTitle, protectedHeader, noHeader, items{[]any(it)}.encode(t))
}

// A root's signature makes no order of what is not one.
func TestOrderPayloads(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	payload := payloadOf(t, o)
	if _, err := ParseOrder(payload.signed(t, w.root)); err != nil {
		t.Fatal(err)
	}
	issued, expires := uint64(o.Issued.Unix()), uint64(o.Expires.Unix())
	other := newWorks(t)
	theirs := payloadOf(t, other.firstOrder(t, 10))
	resigned, err := signOrderCertificate(rand.Reader, other.root, o.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		place int
		value any
		want  error
	}{
		{"another title", payloadTitle, "birthmark order 2", ErrMalformed},
		{"previous of 31 bytes", payloadPrevious, make([]byte, 31), ErrMalformed},
		{"previous of 33 bytes", payloadPrevious, make([]byte, 33), ErrMalformed},
		{"previous null", payloadPrevious, nil, ErrMalformed},
		{"another authority's certificate", payloadCertificate, theirs[payloadCertificate], ErrVerify},
		{"another root's signature on the certificate", payloadCertificate, resigned.Raw, ErrVerify},
		{"a certificate cut", payloadCertificate, o.Certificate.Raw[:100], ErrMalformed},
		{"certificate null", payloadCertificate, nil, ErrMalformed},
		{"X.509 of another order", payloadX509, theirs[payloadX509], ErrVerify},
		{"X.509 cut", payloadX509, o.x509.Raw[:100], ErrMalformed},
		{"X.509 null", payloadX509, nil, ErrMalformed},
		{"X.509 root of another authority", payloadRootX509, theirs[payloadRootX509], ErrVerify},
		{"X.509 root cut", payloadRootX509, o.rootX509.Raw[:100], ErrMalformed},
		{"anchor of 97 bytes", payloadAnchor, o.Anchor[:97], ErrMalformed},
		{"anchor of zeros", payloadAnchor, make([]byte, 98), ErrMalformed},
		{"anchor of another authority", payloadAnchor, theirs[payloadAnchor], ErrVerify},
		{"no station", payloadStation, "", ErrMalformed},
		{"station too long", payloadStation, strings.Repeat("x", 65), ErrMalformed},
		{"station that moves the cursor", payloadStation, "a\x1b[2J", ErrMalformed},
		{"station in bytes", payloadStation, []byte("line-1"), ErrMalformed},
		{"count 0", payloadCount, 0, ErrMalformed},
		{"count beyond the range", payloadCount, 11, ErrMalformed},
		{"count negative", payloadCount, -1, ErrMalformed},
		{"another time of issue", payloadIssued, issued + 1, ErrMalformed},
		{"issued far beyond", payloadIssued, uint64(1<<64 - 1), ErrMalformed},
		{"expires when issued", payloadExpires, issued, ErrMalformed},
		{"expires before", payloadExpires, issued - 1, ErrMalformed},
		{"expires after 9999", payloadExpires, uint64(253402300800), ErrMalformed},
		{"another product's profile", payloadProfile, []byte(strings.Replace(demoProfile(t), "product: 7 ", "product: 8 ", 1)), ErrMalformed},
		{"no profile", payloadProfile, []byte{}, ErrMalformed},
		{"expires later", payloadExpires, expires + 1, nil},
		{"fewer units than the range", payloadCount, 9, nil},
	} {
		_, err := ParseOrder(payload.with(test.place, test.value).signed(t, w.root))
		wantError(t, test.name, err, test.want)
	}
	_, err = ParseOrder(append(slices.Clone(payload), 0).signed(t, w.root))
	wantError(t, "an item more", err, ErrMalformed)
	_, err = ParseOrder(payload[:payloadProfile].signed(t, w.root))
	wantError(t, "an item less", err, ErrMalformed)
	_, err = ParseOrder(payload.signed(t, other.root))
	wantError(t, "signed by another root", err, ErrVerify)
}

// The X.509 forms say what the C509 ones say. What an attacker's own root signs must not stop the program either.
func TestOrderX509Payloads(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	payload := payloadOf(t, o)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent := *o.rootX509
	form := func(key crypto.PublicKey, change func(c *x509.Certificate)) []byte {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TEST ACME Order 1"}, NotBefore: o.Issued, NotAfter: noExpiry,
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
			ExtraExtensions: []pkix.Extension{{Id: rangeOID, Value: o.Certificate.limits()}},
		}
		change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, &parent, key, w.root)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	key := o.Certificate.Key
	narrower := *o.Certificate
	narrower.Range.Last--
	for _, test := range []struct {
		name string
		der  []byte
		want error
	}{
		{"the same", form(key, func(*x509.Certificate) {}), nil},
		{"another key", form(&w.next.PublicKey, func(*x509.Certificate) {}), ErrVerify},
		{"a key of another kind", form(ed, func(*x509.Certificate) {}), ErrVerify},
		{"a key of no known kind", unknownKey(form(ed, func(*x509.Certificate) {})), ErrVerify},
		{"another serial number", form(key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) }), ErrVerify},
		{"another time", form(key, func(c *x509.Certificate) { c.NotBefore = o.Issued.Add(time.Second) }), ErrVerify},
		{"another range", form(key, func(c *x509.Certificate) { c.ExtraExtensions[0].Value = narrower.limits() }), ErrVerify},
		{"a critical range", form(key, func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = true }), ErrVerify},
		{"no range", form(key, func(c *x509.Certificate) { c.ExtraExtensions = nil }), ErrVerify},
	} {
		_, err := ParseOrder(payload.with(payloadX509, test.der).signed(t, w.root))
		wantError(t, test.name, err, test.want)
	}
	renumbered := *o.rootX509
	renumbered.SerialNumber = big.NewInt(2)
	der, err := createX509(rand.Reader, &renumbered, &renumbered, &w.root.PublicKey, w.root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseOrder(payload.with(payloadRootX509, der).signed(t, w.root))
	wantError(t, "a root of another epoch", err, ErrVerify)
	parent.RawSubject, parent.Subject = nil, pkix.Name{CommonName: "TEST Other Root 1"}
	_, err = ParseOrder(payload.with(payloadX509, form(key, func(*x509.Certificate) {})).signed(t, w.root))
	wantError(t, "another issuer", err, ErrVerify)
	_, err = ParseOrder(payload.with(payloadRootX509, unknownKey(form(ed, func(*x509.Certificate) {}))).signed(t, w.root))
	wantError(t, "a root's key of no known kind", err, ErrVerify)
	_, err = ParseOrder(payload.with(payloadRootX509, o.x509.Raw).signed(t, w.root))
	wantError(t, "the order for the root", err, ErrVerify)
}

// unknownKey turns Ed25519's object identifier into that of an algorithm that nobody knows.
func unknownKey(der []byte) []byte {
	return bytes.ReplaceAll(der, []byte{0x06, 0x03, 0x2B, 0x65, 0x70}, []byte{0x06, 0x03, 0x2B, 0x65, 0x01})
}

func TestOrderRefused(t *testing.T) {
	w := newWorks(t)
	first := w.firstOrder(t, 100)
	for _, test := range []struct {
		name   string
		change func(r *OrderRequest)
		want   error
	}{
		{"no units", func(r *OrderRequest) { r.Count = 0 }, ErrMalformed},
		{"no validity", func(r *OrderRequest) { r.Validity = 0 }, ErrMalformed},
		{"half a second", func(r *OrderRequest) { r.Validity = time.Second / 2 }, ErrMalformed},
		{"validity below 0", func(r *OrderRequest) { r.Validity = -time.Hour }, ErrMalformed},
		{"too long a validity", func(r *OrderRequest) { r.Validity = MaxValidity + time.Second }, ErrMalformed},
		{"the key of order 1", func(r *OrderRequest) { r.Request.Key = &w.order.PublicKey }, ErrPolicy},
		{"the root's key", func(r *OrderRequest) { r.Request.Key = &w.root.PublicKey }, ErrPolicy},
		{"the next root's key", func(r *OrderRequest) { r.Request.Key = &w.next.PublicKey }, ErrPolicy},
		{"below the prefix", func(r *OrderRequest) { r.First = 0x021A2AFFFFFFFFFF }, ErrPolicy},
		{"the prefix and zeros", func(r *OrderRequest) { r.First = 0x021A2B0000000000 }, ErrPolicy},
		{"beyond the prefix", func(r *OrderRequest) { r.First = 0x021A2BFFFFFFFFFE }, ErrPolicy},
		{"more than there are", func(r *OrderRequest) { r.Count = 1 << 40 }, ErrPolicy},
		{"more than a number holds", func(r *OrderRequest) { r.Count = 1<<64 - 1 }, ErrPolicy},
		{"as many as there are numbers, from 2", func(r *OrderRequest) { r.First, r.Count = 2, 1<<64-1 }, ErrPolicy},
		{"the last of order 1", func(r *OrderRequest) { r.First = first.Certificate.Range.Last }, ErrPolicy},
		{"around order 1", func(r *OrderRequest) { r.First, r.Count = first.Certificate.Range.First, 1000 }, ErrPolicy},
		{"within order 1", func(r *OrderRequest) { r.First, r.Count = first.Certificate.Range.First+5, 1 }, ErrPolicy},
		{"an EUI-48 in disguise", func(r *OrderRequest) { r.First = 0x021A2BFFFDFFFFFE; r.Count = 3 }, ErrMalformed},
		{"a watchdog that the driver does not set", func(r *OrderRequest) { p := *r.Profile; p.Chip.Mode = "04"; r.Profile = &p }, ErrPolicy},
		{"options that the driver does not set", func(r *OrderRequest) { p := *r.Profile; p.Chip.Options = "0002"; r.Profile = &p }, ErrPolicy},
		{"a slot that the driver locks otherwise", func(r *OrderRequest) {
			p := *r.Profile
			p.Chip.Slots = slices.Clone(p.Chip.Slots)
			p.Chip.Slots[8] = "8080 001c"
			r.Profile = &p
		}, ErrPolicy},
		{"a clock before the root", func(r *OrderRequest) { r.Now = morning.Add(-time.Second) }, ErrPolicy},
		{"a clock before order 1", func(r *OrderRequest) { r.Now = first.Issued.Add(-time.Nanosecond) }, ErrPolicy},
	} {
		r := w.request(t, 2)
		test.change(&r)
		o, err := w.authority.Order(rand.Reader, w.root, r)
		wantError(t, test.name, err, test.want)
		if o != nil {
			t.Errorf("%s: an order beside an error", test.name)
		}
		wantError(t, test.name+", asked before", w.authority.CanOrder(r), test.want)
	}
	r := w.request(t, 2)
	_, err := w.authority.Order(rand.Reader, w.next, r)
	wantError(t, "another key than the root's", err, ErrVerify)
	_, err = w.authority.Order(rand.Reader, refusingSigner{w.root}, r)
	wantError(t, "a token that is gone", err, errSigner)
	r.Profile = new(Profile)
	if _, err := w.authority.Order(rand.Reader, w.root, r); err == nil {
		t.Error("a profile that ParseProfile did not make")
	}
	w.reload(t, 1) // nothing of all this was written
	w.sign(t, w.request(t, 2))
	w.reload(t, 2)
}

// Serial numbers go on after the last one ordered, over the edge of a block of EUI-48s in disguise, and to the prefix's end.
func TestOrderRanges(t *testing.T) {
	w := newWorks(t)
	w.authority.Prefix = Prefix{0x02, 0x1A, 0x2B, 0xFF}
	for _, test := range []struct {
		first EUI64
		count uint64
		want  Range
	}{
		{0, 5, Range{0x021A2BFF00000001, 0x021A2BFF00000005}},
		{0x021A2BFFFDFFFFF0, 8, Range{0x021A2BFFFDFFFFF0, 0x021A2BFFFDFFFFF7}},
		{0, 8, Range{0x021A2BFFFDFFFFF8, 0x021A2BFFFDFFFFFF}},
		{0, 1, Range{0x021A2BFFFF000000, 0x021A2BFFFF000000}},
		{6, 1, Range{}},
		{0x021A2BFF00000006, 0xFDFFFFF0 - 6, Range{0x021A2BFF00000006, 0x021A2BFFFDFFFFEF}}, // the hole, if asked for
		{0, 0xFFFFFE, Range{0x021A2BFFFF000001, 0x021A2BFFFFFFFFFE}},
		{0, 1, Range{}},
	} {
		r := w.request(t, test.count)
		r.First = test.first
		o, err := w.authority.Order(rand.Reader, w.root, r)
		if test.want == (Range{}) {
			wantError(t, "no room", err, ErrPolicy)
			continue
		}
		if err != nil || o.Certificate.Range != test.want {
			t.Errorf("%d from %v: %v, %v", test.count, test.first, o, err)
		}
	}
}

// A range that would reach into a block of EUI-48s in disguise begins after it.
func TestOrderStepsOverDisguise(t *testing.T) {
	w := newWorks(t)
	w.authority.Prefix = Prefix{0x02, 0x1A, 0x2B, 0xFF}
	r := w.request(t, 1)
	r.First = 0x021A2BFFFDFFFFF0
	w.sign(t, r)
	if o := w.sign(t, w.request(t, 16)); o.Certificate.Range != (Range{0x021A2BFFFF000000, 0x021A2BFFFF00000F}) {
		t.Errorf("range %v", o.Certificate.Range)
	}
}

func TestOrdersPerRoot(t *testing.T) {
	w := newWorks(t)
	for n := range MaxOrdersPerRoot {
		if left := w.authority.Remaining(); left != MaxOrdersPerRoot-n {
			t.Fatalf("%d remain after %d", left, n)
		}
		w.sign(t, w.request(t, 1))
	}
	wantError(t, "order 33", w.authority.CanOrder(w.request(t, 1)), ErrPolicy)
	_, err := w.authority.Order(rand.Reader, w.root, w.request(t, 1))
	wantError(t, "order 33", err, ErrPolicy)
	if w.reload(t, MaxOrdersPerRoot); w.authority.Remaining() != 0 {
		t.Errorf("%d remain", w.authority.Remaining())
	}
}
