//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// A certificate as the eleven items of its array but the signature, whatever they are: what this file writes knows nothing of
// the profile, so that it can break it.
type items []any

// The places of the items (docs/formats.md).
const (
	itemType = iota
	itemSerial
	itemAlgorithm
	itemIssuer
	itemNotBefore
	itemNotAfter
	itemSubject
	itemKeyAlgorithm
	itemKey
	itemExtensions
)

// with is a copy with one item replaced.
func (it items) with(place int, value any) items {
	changed := append(items{}, it...)
	changed[place] = value
	return changed
}

func (it items) encode(t testing.TB) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var encoded []byte
	for _, item := range it {
		if b, ok := item.(verbatim); ok {
			encoded = append(encoded, b...)
			continue
		}
		b, err := mode.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, b...)
	}
	return encoded
}

// sign gives the certificate: the array's head, the items, the signature with low s.
func (it items) sign(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	digest := sha256.Sum256(it.encode(t))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	n := key.Params().N
	if new(big.Int).Lsh(s, 1).Cmp(n) > 0 {
		s.Sub(n, s)
	}
	return it.seal(t, r, s)
}

func (it items) seal(t testing.TB, r, s *big.Int) []byte {
	certificate := append([]byte{0x8b}, it.encode(t)...)
	certificate = append(certificate, 0x58, 0x40)
	certificate = append(certificate, r.FillBytes(make([]byte, 32))...)
	return append(certificate, s.FillBytes(make([]byte, 32))...)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// publicKey gives X then Y.
func publicKey(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b[1:]
}

func eui(serial uint64) []byte { return binary.BigEndian.AppendUint64(nil, serial) }

// extensionsOf gives an order's extensions.
func extensionsOf(product, first, last any) []any {
	return []any{-2, 32, -4, 0, -33000, []any{product, first, last}}
}

const (
	testFirst   = 0x0212340000000100
	testLast    = 0x02123400000001ff
	testSerial  = 0x0212340000000123
	testProduct = 70000
)

func orderItems(t testing.TB, key *ecdsa.PrivateKey) items {
	return items{2, []byte{0x01, 0x02}, 0, []byte{1, 3}, uint32(1_800_000_000), nil, []byte{1, 3, 1, 2}, 1,
		compress(publicKey(t, key)), extensionsOf(testProduct, eui(testFirst), eui(testLast))}
}

func unitItems(t testing.TB, key *ecdsa.PrivateKey) items {
	return items{2, eui(testSerial), 0, []byte{1, 3, 1, 2}, uint32(1_800_000_001), nil, eui(testSerial), 1,
		compress(publicKey(t, key)), -1}
}

// verbatim is an item that is encoded already, if it is CBOR at all.
type verbatim []byte

func TestParseOrder(t *testing.T) {
	key := newKey(t)
	order := orderItems(t, key)
	b := order.sign(t, newKey(t))
	c, err := parseOrder(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.signed, order.encode(t)) || !bytes.Equal(c.issuer, []byte{1, 3}) ||
		!bytes.Equal(c.subject, []byte{1, 3, 1, 2}) || !bytes.Equal(c.key, compress(publicKey(t, key))) ||
		c.notBefore(t) != 1_800_000_000 || c.product != testProduct || c.first != testFirst || c.last != testLast ||
		!bytes.Equal(c.signature, b[len(b)-64:]) {
		t.Errorf("%x was read as %+v", b, c)
	}
	if _, err := parseUnit(b); err == nil {
		t.Error("an order's certificate is taken for a unit's")
	}
}

func TestParseUnit(t *testing.T) {
	key := newKey(t)
	unit := unitItems(t, key)
	b := unit.sign(t, newKey(t))
	c, err := parseUnit(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.signed, unit.encode(t)) || !bytes.Equal(c.issuer, []byte{1, 3, 1, 2}) ||
		!bytes.Equal(c.subject, eui(testSerial)) || !bytes.Equal(c.key, compress(publicKey(t, key))) ||
		!bytes.Equal(c.signature, b[len(b)-64:]) {
		t.Errorf("%x was read as %+v", b, c)
	}
	if _, err := parseOrder(b); err == nil {
		t.Error("a unit's certificate is taken for an order's")
	}
}

// Everything in which two good certificates may differ.
func TestParseAccepts(t *testing.T) {
	key := newKey(t)
	order, unit := orderItems(t, key), unitItems(t, key)
	const limit = 1<<64 - 1
	for name, it := range map[string]items{
		"order number 1":         order.with(itemSerial, []byte{1}).with(itemSubject, []byte{1, 3, 0, 1}),
		"order number 65535":     order.with(itemSerial, []byte{255, 255}).with(itemSubject, []byte{1, 3, 255, 255}),
		"a productive authority": order.with(itemIssuer, []byte{0, 3}).with(itemSubject, []byte{0, 3, 1, 2}),
		"epoch 255":              order.with(itemIssuer, []byte{1, 255}).with(itemSubject, []byte{1, 255, 1, 2}),
		"issued in 1970":         order.with(itemNotBefore, 0),
		"issued in 2106":         order.with(itemNotBefore, uint32(1<<32-1)),
		"product 0":              order.with(itemExtensions, extensionsOf(0, eui(testFirst), eui(testLast))),
		"product 2^32 - 1":       order.with(itemExtensions, extensionsOf(uint32(1<<32-1), eui(testFirst), eui(testLast))),
		"a range of one":         order.with(itemExtensions, extensionsOf(1, eui(testFirst), eui(testFirst))),
		"the lowest range":       order.with(itemExtensions, extensionsOf(1, eui(1), eui(0xfffdffffff))),
		"the highest range":      order.with(itemExtensions, extensionsOf(1, eui(0xffffffffff000000), eui(limit-1))),
		"up to FF-FE":            order.with(itemExtensions, extensionsOf(1, eui(0x021234ffff000000), eui(0x021235fffdffffff))),
	} {
		b := it.sign(t, key)
		if _, err := parseOrder(b); err != nil {
			t.Errorf("%s: %x: %v", name, b, err)
		}
		if len(b) > 155 { // BM_ORDER_CERTIFICATE_MAX
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
	for name, it := range map[string]items{
		"serial 1":            unit.with(itemSerial, []byte{1}).with(itemSubject, eui(1)),
		"the highest serial":  unit.with(itemSerial, eui(limit)).with(itemSubject, eui(limit)),
		"the lowest issuer":   unit.with(itemIssuer, []byte{0, 1, 0, 1}),
		"issued in 2106":      unit.with(itemNotBefore, uint32(1<<32-1)),
		"a serial of 7 bytes": unit.with(itemSerial, eui(1 << 48)[1:]).with(itemSubject, eui(1<<48)),
	} {
		b := it.sign(t, key)
		if _, err := parseUnit(b); err != nil {
			t.Errorf("%s: %x: %v", name, b, err)
		}
		if len(b) > 135 { // BM_UNIT_CERTIFICATE_MAX
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
}

// refusals are single changes that no certificate of the profile may have, order's and unit's alike.
func refusals(t testing.TB, good items) map[string]items {
	serial, subject, key := good[itemSerial].([]byte), good[itemSubject].([]byte), good[itemKey].([]byte)
	return map[string]items{
		"type 3":                       good.with(itemType, 3),
		"type in two bytes":            good.with(itemType, verbatim(unhex(t, "1802"))),
		"serial empty":                 good.with(itemSerial, []byte{}),
		"serial 0":                     good.with(itemSerial, []byte{0}),
		"serial with a leading zero":   good.with(itemSerial, append([]byte{0}, serial...)),
		"serial with a byte more":      good.with(itemSerial, append([]byte{1}, serial...)),
		"serial of 9 bytes":            good.with(itemSerial, append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0}[:9-len(serial)], serial...)),
		"serial that wraps to subject": good.with(itemSerial, append(bytes.Repeat([]byte{1}, 8), serial...)),
		"serial with a byte less":      good.with(itemSerial, serial[1:]),
		"serial not the subject":       good.with(itemSerial, append([]byte{serial[0] ^ 4}, serial[1:]...)),
		"serial a text":                good.with(itemSerial, string(serial)),
		"serial tagged as a bignum":    good.with(itemSerial, cbor.Tag{Number: 2, Content: serial}),
		"serial a number":              good.with(itemSerial, 0x0102),
		"algorithm SHA-384":            good.with(itemAlgorithm, 1),
		"issuer null":                  good.with(itemIssuer, nil),
		"issuer empty":                 good.with(itemIssuer, []byte{}),
		"issuer a byte longer":         good.with(itemIssuer, append(bytes.Clone(good[itemIssuer].([]byte)), 1)),
		"issuer a text":                good.with(itemIssuer, "abcd"[:len(good[itemIssuer].([]byte))]),
		"issuer in an array":           good.with(itemIssuer, []any{1, good[itemIssuer]}),
		"issuer in epoch 0":            good.with(itemIssuer, append([]byte{1, 0}, good[itemIssuer].([]byte)[2:]...)),
		"issuer with an unknown flag":  good.with(itemIssuer, append([]byte{3, 3}, good[itemIssuer].([]byte)[2:]...)),
		"notBefore null":               good.with(itemNotBefore, nil),
		"notBefore negative":           good.with(itemNotBefore, -1),
		"notBefore past 2^32":          good.with(itemNotBefore, uint64(1<<32)),
		"notBefore in nine bytes":      good.with(itemNotBefore, verbatim(unhex(t, "1b000000006b49d200"))),
		"notBefore tagged":             good.with(itemNotBefore, cbor.Tag{Number: 1, Content: 1_800_000_000}),
		"notBefore a float":            good.with(itemNotBefore, 1.5),
		"notAfter a time":              good.with(itemNotAfter, uint32(1_900_000_000)),
		"notAfter undefined":           good.with(itemNotAfter, verbatim(unhex(t, "f7"))),
		"notAfter null in two bytes":   good.with(itemNotAfter, verbatim(unhex(t, "f816"))),
		"subject null":                 good.with(itemSubject, nil),
		"subject a byte longer":        good.with(itemSubject, append([]byte{0}, subject...)),
		"subject tagged":               good.with(itemSubject, cbor.Tag{Number: 48, Content: subject}),
		"subject not the serial":       good.with(itemSubject, append(bytes.Clone(subject[:len(subject)-1]), subject[len(subject)-1]^1)),
		"key algorithm P-384":          good.with(itemKeyAlgorithm, 2),
		"key in X.509's form":          good.with(itemKey, append([]byte{0xfe}, key[1:]...)),
		"key uncompressed":             good.with(itemKey, append([]byte{4}, bytes.Repeat([]byte{1}, 64)...)),
		"key marked 04":                good.with(itemKey, append([]byte{4}, key[1:]...)),
		"key a byte short":             good.with(itemKey, key[:32]),
		"no extensions":                good.with(itemExtensions, []any{}),
		"no notAfter at all":           append(append(items{}, good[:itemNotAfter]...), good[itemNotAfter+1:]...),
		"an item more":                 append(append(items{}, good...), 0),
		"extensions nonsense":          good.with(itemExtensions, verbatim(unhex(t, "ff"))),
	}
}

// orderRefusals adds what only an order has.
func orderRefusals(t testing.TB, good items) map[string]items {
	first, last := eui(testFirst), eui(testLast)
	changes := map[string][]any{
		"keyUsage not critical":         {2, 32, -4, 0, -33000, []any{1, first, last}},
		"keyUsage cRLSign as well":      {-2, 96, -4, 0, -33000, []any{1, first, last}},
		"keyUsage digitalSignature":     {-2, 1, -4, 0, -33000, []any{1, first, last}},
		"constraints not critical":      {-2, 32, 4, 0, -33000, []any{1, first, last}},
		"pathLen 1":                     {-2, 32, -4, 1, -33000, []any{1, first, last}},
		"no pathLen":                    {-2, 32, -4, -1, -33000, []any{1, first, last}},
		"no authority":                  {-2, 32, -4, -2, -33000, []any{1, first, last}},
		"range not critical":            {-2, 32, -4, 0, 33000, []any{1, first, last}},
		"another extension":             {-2, 32, -4, 0, -33001, []any{1, first, last}},
		"no range":                      {-2, 32, -4, 0},
		"range twice":                   {-2, 32, -4, 0, -33000, []any{1, first, last}, -33000, []any{1, first, last}},
		"another order of extensions":   {-4, 0, -2, 32, -33000, []any{1, first, last}},
		"range of two":                  {-2, 32, -4, 0, -33000, []any{first, last}},
		"range of four":                 {-2, 32, -4, 0, -33000, []any{1, first, last, 0}},
		"product negative":              extensionsOf(-1, first, last),
		"product 2^32":                  extensionsOf(uint64(1<<32), first, last),
		"product in too many bytes":     extensionsOf(cbor.RawMessage{0x18, 0x01}, first, last),
		"first of 7 bytes":              extensionsOf(1, first[1:], last),
		"last of 9 bytes":               extensionsOf(1, first, append([]byte{0}, last...)),
		"first a number":                extensionsOf(1, testFirst, last),
		"first after last":              extensionsOf(1, last, first),
		"range with nobody":             extensionsOf(1, eui(0), eui(5)),
		"range with the station":        extensionsOf(1, eui(0xffffffffff000000), eui(1<<64-1)),
		"range that is FF-FE":           extensionsOf(1, eui(0x021234fffe000000), eui(0x021234fffe000000)),
		"range that ends in FF-FE":      extensionsOf(1, eui(0x021234fffd000000), eui(0x021234fffeffffff)),
		"range that begins in FF-FE":    extensionsOf(1, eui(0x021234fffeffffff), eui(0x021234ffff000000)),
		"range that has FF-FE inside":   extensionsOf(1, eui(0x0212340000000000), eui(0x0212350000000000)),
		"range with many FF-FEs inside": extensionsOf(1, eui(0x0212340000000000), eui(0xfe12340000000000)),
	}
	all := refusals(t, good)
	for name, extensions := range changes {
		all[name] = good.with(itemExtensions, extensions)
	}
	all["unknown flag throughout"] = good.with(itemIssuer, []byte{3, 3}).with(itemSubject, []byte{3, 3, 1, 2})
	all["epoch 0 throughout"] = good.with(itemIssuer, []byte{1, 0}).with(itemSubject, []byte{1, 0, 1, 2})
	all["order number 0"] = good.with(itemSerial, []byte{0}).with(itemSubject, []byte{1, 3, 0, 0})
	all["subject of another root"] = good.with(itemSubject, []byte{1, 4, 1, 2})
	all["subject without the flag"] = good.with(itemSubject, []byte{0, 3, 1, 2})
	all["subject of a large order number"] = good.with(itemSerial, []byte{1, 1, 2}).with(itemSubject, []byte{1, 3, 1, 1, 2})
	return all
}

// unitRefusals adds what only a unit has.
func unitRefusals(t testing.TB, good items) map[string]items {
	all := refusals(t, good)
	for name, extensions := range map[string]any{
		"keyUsage not critical":      1,
		"keyUsage keyCertSign":       -32,
		"keyUsage more":              -3,
		"keyUsage as an array":       []any{-2, 1},
		"keyUsage in two bytes":      verbatim(unhex(t, "3800")),
		"an authority's extensions":  extensionsOf(testProduct, eui(testFirst), eui(testLast)),
		"keyUsage and an extra item": []any{-2, 1, 36, nil},
	} {
		all[name] = good.with(itemExtensions, extensions)
	}
	all["nobody"] = good.with(itemSerial, []byte{0}).with(itemSubject, eui(0))
	return all
}

func TestParseRefuses(t *testing.T) {
	key := newKey(t)
	for name, it := range orderRefusals(t, orderItems(t, key)) {
		if _, err := parseOrder(it.sign(t, key)); err == nil {
			t.Errorf("order: %s: accepted", name)
		}
	}
	for name, it := range unitRefusals(t, unitItems(t, key)) {
		if _, err := parseUnit(it.sign(t, key)); err == nil {
			t.Errorf("unit: %s: accepted", name)
		}
	}
}

// r in 1 .. n - 1 and s in 1 .. (n - 1) / 2.
func TestParseSignatureRange(t *testing.T) {
	unit := unitItems(t, newKey(t))
	n := elliptic.P256().Params().N
	one, zero := big.NewInt(1), new(big.Int)
	half := new(big.Int).Rsh(n, 1)
	largest := new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)
	plus := func(a *big.Int, b int64) *big.Int { return new(big.Int).Add(a, big.NewInt(b)) }
	tests := []struct {
		r, s *big.Int
		good bool
	}{
		{one, one, true},
		{zero, one, false},
		{one, zero, false},
		{plus(n, -1), half, true},
		{n, one, false},
		{plus(n, 1), one, false},
		{largest, one, false},
		{one, plus(half, 1), false},
		{one, plus(half, -1), true},
		{one, plus(n, -1), false},
		{one, n, false},
		{one, largest, false},
		{one, new(big.Int).Lsh(one, 255), false},
		{new(big.Int).Lsh(one, 255), plus(new(big.Int).Lsh(one, 255), -1<<40), false},
		{one, new(big.Int).Lsh(one, 254), true},
	}
	for _, test := range tests {
		if _, err := parseUnit(unit.seal(t, test.r, test.s)); (err == nil) != test.good {
			t.Errorf("r = %x, s = %x: %v", test.r, test.s, err)
		}
	}
}

// notBefore is the fifth item of what is signed, which the parser passes over.
func (c certificate) notBefore(t testing.TB) (seconds uint64) {
	t.Helper()
	items := cbor.NewDecoder(bytes.NewReader(c.signed))
	for range 4 {
		if err := items.Skip(); err != nil {
			t.Fatal(err)
		}
	}
	if err := items.Decode(&seconds); err != nil {
		t.Fatal(err)
	}
	return seconds
}

// encodeAgain writes a certificate from nothing but the fields that the parser gave.
func (c certificate) encodeAgain(t testing.TB, order bool) []byte {
	subject := c.subject
	var extensions any = -1
	if order {
		subject = subject[2:]
		extensions = extensionsOf(c.product, eui(c.first), eui(c.last))
	}
	it := items{2, bytes.TrimLeft(subject, "\x00"), 0, c.issuer, c.notBefore(t), nil, c.subject, 1, c.key, extensions}
	return it.seal(t, new(big.Int).SetBytes(c.signature[:32]), new(big.Int).SetBytes(c.signature[32:]))
}

func FuzzCertificate(f *testing.F) {
	key := newKey(f)
	f.Add(orderItems(f, key).sign(f, key))
	f.Add(unitItems(f, key).sign(f, key))
	f.Add([]byte{0x8b})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, order := range []bool{true, false} {
			c, err := parse(b, order)
			if err != nil {
				continue
			}
			if again := c.encodeAgain(t, order); !bytes.Equal(again, b) {
				t.Fatalf("%x\nis read as %+v, which is\n%x", b, c, again)
			}
			if !bytes.Contains(b, c.signed) || len(c.signed) != len(b)-67 {
				t.Fatalf("%x: %x is not what is signed", b, c.signed)
			}
		}
	})
}
