package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

const (
	testFirst   = 0x021A2B0000000100
	testLast    = 0x021A2B00000001FF
	testSerial  = 0x021A2B0000000123
	testProduct = 70000
)

// birth is what a unit is given, made by hand so that any part of it can be wrong.
type birth struct {
	root, order, unit     *ecdsa.PrivateKey // who signs; and whose key the chip has
	anchor                Anchor
	orderItems, unitItems items
	product               uint32 // of the unit's image
}

func newBirth(t testing.TB) *birth {
	b := &birth{root: newKey(t), order: newKey(t), unit: newKey(t), product: testProduct}
	b.anchor = newAnchor(RootName{1, 3}, &b.root.PublicKey, &newKey(t).PublicKey)
	b.orderItems = items{2, []byte{1, 2}, 0, []byte{1, 3}, 1_800_000_000, nil, []byte{1, 3, 1, 2}, 1,
		compressed(&b.order.PublicKey), extensions(testProduct, eui(testFirst), eui(testLast))}
	b.unitItems = items{2, eui(testSerial), 0, []byte{1, 3, 1, 2}, 1_800_000_001, nil, eui(testSerial), 1,
		compressed(&b.unit.PublicKey), -1}
	return b
}

// extensions are an order's.
func extensions(product, first, last any) []any {
	return []any{-2, 32, -4, 0, -33000, []any{product, first, last}}
}

// The stages at which a unit can be refused: the numbers of docs/wire.md, status 6.
const (
	checkOrder = 2 + iota
	checkOrderIssuer
	checkOrderSignature
	checkProduct
	checkUnit
	checkUnitIssuer
	checkSerial
	checkKey
	checkUnitSignature
	good = 0
)

// verdict is this package's on certificates under a root: the first stage that does not hold, with its error.
func verdict(a Anchor, product uint32, key *ecdsa.PublicKey, order, unit []byte) (int, error) {
	o, err := ParseOrderCertificate(order)
	if err != nil {
		return checkOrder, err
	}
	if err := o.Verify(a); o.Name.Root() != a.Name() {
		return checkOrderIssuer, err
	} else if err != nil {
		return checkOrderSignature, err
	}
	if o.Product != product {
		return checkProduct, errors.New("product")
	}
	u, err := ParseUnitCertificate(unit)
	if err != nil {
		return checkUnit, err
	}
	err = u.Verify(o)
	switch {
	case u.Order != o.Name:
		return checkUnitIssuer, err
	case !o.Range.Contains(u.Serial):
		return checkSerial, err
	case !u.Key.Equal(key):
		return checkKey, errors.New("key")
	case err != nil:
		return checkUnitSignature, err
	}
	return good, nil
}

// A refusal names the stage that must refuse it.
type refusal struct {
	name        string
	stage       int
	order, unit []byte
}

// refusals are births with one thing wrong each, all signed by the right keys unless the signature is what is wrong.
func refusals(t testing.TB, b *birth) []refusal {
	order, unit := b.orderItems.sign(t, b.root), b.unitItems.sign(t, b.order)
	var all []refusal
	for name, it := range malformedOrders(b.orderItems) {
		all = append(all, refusal{"order: " + name, checkOrder, it.sign(t, b.root), unit})
	}
	for name, it := range malformedUnits(b.unitItems) {
		all = append(all, refusal{"unit: " + name, checkUnit, order, it.sign(t, b.order)})
	}
	for name, spoil := range map[string]func(signature []byte){
		"high s":         func(s []byte) { copy(s, negated(s)) },
		"r is 0":         func(s []byte) { clear(s[:32]) },
		"s is 0":         func(s []byte) { clear(s[32:]) },
		"r is the group": func(s []byte) { elliptic.P256().Params().N.FillBytes(s[:32]) },
	} {
		badOrder, badUnit := bytes.Clone(order), bytes.Clone(unit)
		spoil(badOrder[len(order)-64:])
		spoil(badUnit[len(unit)-64:])
		all = append(all, refusal{"order: " + name, checkOrder, badOrder, unit}, refusal{"unit: " + name, checkUnit, order, badUnit})
	}
	other := newKey(t)
	of := func(number byte) []byte { return []byte{1, 3, 1, number} }
	serial := func(n uint64) items { return b.unitItems.with(itemSerial, eui(n)).with(itemSubject, eui(n)) }
	return append(all,
		refusal{"order: trailing byte", checkOrder, append(bytes.Clone(order), 0), unit},
		refusal{"unit: trailing byte", checkUnit, order, append(bytes.Clone(unit), 0)},
		refusal{"order: another epoch", checkOrderIssuer, b.orderItems.with(itemIssuer, []byte{1, 4}).with(itemSubject, []byte{1, 4, 1, 2}).sign(t, b.root), unit},
		refusal{"order: not a test authority's", checkOrderIssuer, b.orderItems.with(itemIssuer, []byte{0, 3}).with(itemSubject, []byte{0, 3, 1, 2}).sign(t, b.root), unit},
		refusal{"order: another root's signature", checkOrderSignature, b.orderItems.sign(t, other), unit},
		refusal{"order: signed by itself", checkOrderSignature, b.orderItems.sign(t, b.order), unit},
		refusal{"order: another product", checkProduct, b.orderItems.with(itemExtensions, extensions(testProduct+1, eui(testFirst), eui(testLast))).sign(t, b.root), unit},
		refusal{"unit: another order", checkUnitIssuer, order, b.unitItems.with(itemIssuer, of(3)).sign(t, b.order)},
		refusal{"unit: below the range", checkSerial, order, serial(testFirst-1).sign(t, b.order)},
		refusal{"unit: above the range", checkSerial, order, serial(testLast+1).sign(t, b.order)},
		refusal{"unit: the station's own name", checkSerial, order, serial(math.MaxUint64).sign(t, b.order)},
		refusal{"unit: another key", checkKey, order, b.unitItems.with(itemKey, compressed(&other.PublicKey)).sign(t, b.order)},
		refusal{"unit: the key's negative", checkKey, order, b.unitItems.with(itemKey, flipped(compressed(&b.unit.PublicKey))).sign(t, b.order)},
		refusal{"unit: another key's signature", checkUnitSignature, order, b.unitItems.sign(t, other)},
		refusal{"unit: the root's signature", checkUnitSignature, order, b.unitItems.sign(t, b.root)},
		refusal{"unit: signed by itself", checkUnitSignature, order, b.unitItems.sign(t, b.unit)},
	)
}

// flipped is a compressed point with the other y.
func flipped(key []byte) []byte {
	key[0] ^= 1
	return key
}

// malformed are changes of one item that neither an order nor a unit may have.
func malformed(it items) map[string]items {
	serial, subject, key := it[itemSerial].([]byte), it[itemSubject].([]byte), it[itemKey].([]byte)
	raw := func(hex ...byte) cbor.RawMessage { return hex }
	return map[string]items{
		"type 3":                     it.with(itemType, 3),
		"type in two bytes":          it.with(itemType, raw(0x18, 2)),
		"serial with a leading zero": it.with(itemSerial, append([]byte{0}, serial...)),
		"serial a byte longer":       it.with(itemSerial, append([]byte{1}, serial...)),
		"serial a byte shorter":      it.with(itemSerial, serial[1:]),
		"serial not the subject":     it.with(itemSerial, append([]byte{serial[0] ^ 4}, serial[1:]...)),
		"serial empty":               it.with(itemSerial, []byte{}),
		"serial tagged":              it.with(itemSerial, cbor.Tag{Number: 2, Content: serial}),
		"algorithm SHA-384":          it.with(itemAlgorithm, 1),
		"issuer null":                it.with(itemIssuer, nil),
		"issuer a byte longer":       it.with(itemIssuer, append(bytes.Clone(it[itemIssuer].([]byte)), 1)),
		"issuer text":                it.with(itemIssuer, "ab"),
		"issuer an attribute":        it.with(itemIssuer, []any{1, it[itemIssuer]}),
		"issuer in epoch 0":          it.with(itemIssuer, append([]byte{1, 0}, it[itemIssuer].([]byte)[2:]...)),
		"issuer with flag 2":         it.with(itemIssuer, append([]byte{3, 3}, it[itemIssuer].([]byte)[2:]...)),
		"notBefore null":             it.with(itemNotBefore, nil),
		"notBefore negative":         it.with(itemNotBefore, -1),
		"notBefore after 2106":       it.with(itemNotBefore, uint64(1<<32)),
		"notBefore tagged":           it.with(itemNotBefore, cbor.Tag{Number: 1, Content: 1_800_000_000}),
		"notBefore in nine bytes":    it.with(itemNotBefore, raw(0x1B, 0, 0, 0, 0, 0x6B, 0x49, 0xD2, 0)),
		"notAfter a time":            it.with(itemNotAfter, 1_900_000_000),
		"notAfter the last time":     it.with(itemNotAfter, 253402300799),
		"notAfter undefined":         it.with(itemNotAfter, raw(0xF7)),
		"subject null":               it.with(itemSubject, nil),
		"subject tagged 48":          it.with(itemSubject, cbor.Tag{Number: 48, Content: subject}),
		"subject a byte longer":      it.with(itemSubject, append([]byte{0}, subject...)),
		"subject not the serial":     it.with(itemSubject, append(bytes.Clone(subject[:len(subject)-1]), subject[len(subject)-1]^1)),
		"key algorithm P-384":        it.with(itemKeyAlgorithm, 2),
		"key uncompressed":           it.with(itemKey, bytes.Repeat([]byte{4}, 65)),
		"key as X.509 had it":        it.with(itemKey, append([]byte{0xFE}, key[1:]...)),
		"key a byte shorter":         it.with(itemKey, key[:32]),
		"no extensions":              it.with(itemExtensions, []any{}),
		"no notAfter":                append(append(items{}, it[:itemNotAfter]...), it[itemNotAfter+1:]...),
		"an item more":               append(append(items{}, it...), 0),
	}
}

func malformedOrders(it items) map[string]items {
	first, last := eui(testFirst), eui(testLast)
	limits := []any{testProduct, first, last}
	all := malformed(it)
	for name, x := range map[string][]any{
		"keyUsage not critical":       {2, 32, -4, 0, -33000, limits},
		"keyUsage cRLSign as well":    {-2, 96, -4, 0, -33000, limits},
		"keyUsage digitalSignature":   {-2, 1, -4, 0, -33000, limits},
		"constraints not critical":    {-2, 32, 4, 0, -33000, limits},
		"pathLen 1":                   {-2, 32, -4, 1, -33000, limits},
		"no pathLen":                  {-2, 32, -4, -1, -33000, limits},
		"no authority":                {-2, 32, -4, -2, -33000, limits},
		"range not critical":          {-2, 32, -4, 0, 33000, limits},
		"range under another number":  {-2, 32, -4, 0, -33001, limits},
		"no range":                    {-2, 32, -4, 0},
		"range twice":                 {-2, 32, -4, 0, -33000, limits, -33000, limits},
		"extensions in another order": {-4, 0, -2, 32, -33000, limits},
		"an extension more":           {-2, 32, -4, 0, 1, []byte{1}, -33000, limits},
		"range of two":                {-2, 32, -4, 0, -33000, []any{first, last}},
		"range of four":               {-2, 32, -4, 0, -33000, []any{testProduct, first, last, 0}},
		"product negative":            extensions(-1, first, last),
		"product 2^32":                extensions(1<<32, first, last),
		"product in too many bytes":   extensions(cbor.RawMessage{0x18, 1}, first, last),
		"first of 7 bytes":            extensions(testProduct, first[1:], last),
		"last of 9 bytes":             extensions(testProduct, first, append([]byte{0}, last...)),
		"first a number":              extensions(testProduct, testFirst, last),
		"first after last":            extensions(testProduct, last, first),
		"range with nobody":           extensions(testProduct, eui(0), last),
		"range with the station":      extensions(testProduct, eui(math.MaxUint64-5), eui(math.MaxUint64)),
		"range up to FF-FE":           extensions(testProduct, first, eui(0x021A2BFFFE000000)),
		"range from FF-FE":            extensions(testProduct, eui(0x021A2BFFFEFFFFFF), eui(0x021A2BFFFF000000)),
		"range about FF-FE":           extensions(testProduct, eui(0x021A2BFFFDFFFFFF), eui(0x021A2BFFFF000000)),
	} {
		all[name] = it.with(itemExtensions, x)
	}
	all["flag 2 throughout"] = it.with(itemIssuer, []byte{3, 3}).with(itemSubject, []byte{3, 3, 1, 2})
	all["epoch 0 throughout"] = it.with(itemIssuer, []byte{1, 0}).with(itemSubject, []byte{1, 0, 1, 2})
	all["number 0"] = it.with(itemSerial, []byte{0}).with(itemSubject, []byte{1, 3, 0, 0})
	all["number of three bytes"] = it.with(itemSerial, []byte{1, 1, 2}).with(itemSubject, []byte{1, 3, 1, 1, 2})
	all["subject of another root"] = it.with(itemSubject, []byte{1, 4, 1, 2})
	all["a unit's extensions"] = it.with(itemExtensions, -1)
	all["key that is no point"] = it.with(itemKey, append([]byte{2}, bytes.Repeat([]byte{0xFF}, 32)...))
	return all
}

func malformedUnits(it items) map[string]items {
	all := malformed(it)
	for name, x := range map[string]any{
		"keyUsage not critical":      1,
		"keyUsage keyCertSign":       -32,
		"keyUsage more":              -3,
		"keyUsage in an array":       []any{-2, 1},
		"keyUsage and an extension":  []any{-2, 1, 1, []byte{1}},
		"an authority's constraints": []any{-2, 32, -4, 0},
		"an order's extensions":      extensions(testProduct, eui(testFirst), eui(testLast)),
	} {
		all[name] = it.with(itemExtensions, x)
	}
	all["nobody"] = it.with(itemSerial, []byte{0}).with(itemSubject, eui(0))
	return all
}

func TestCertificatesRefused(t *testing.T) {
	b := newBirth(t)
	if stage, err := verdict(b.anchor, b.product, &b.unit.PublicKey, b.orderItems.sign(t, b.root), b.unitItems.sign(t, b.order)); stage != good {
		t.Fatalf("the good one: check %d, %v", stage, err)
	}
	for _, r := range refusals(t, b) {
		stage, err := verdict(b.anchor, b.product, &b.unit.PublicKey, r.order, r.unit)
		if stage != r.stage {
			t.Errorf("%s: check %d, want %d (%v)", r.name, stage, r.stage, err)
		}
		switch r.stage {
		case checkOrder, checkUnit:
			wantError(t, r.name, err, ErrMalformed)
		case checkProduct, checkKey: // the caller's to compare
		default:
			wantError(t, r.name, err, ErrVerify)
		}
	}
}

func TestParseCertificates(t *testing.T) {
	b := newBirth(t)
	raw := b.orderItems.sign(t, b.root)
	o, err := ParseOrderCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	if o.Name != (OrderName{1, 3, 1, 2}) || o.Product != testProduct || o.Range != (Range{testFirst, testLast}) || !o.Key.Equal(&b.order.PublicKey) ||
		!o.IssuedAt.Equal(time.Unix(1_800_000_000, 0)) || !bytes.Equal(o.Raw, raw) {
		t.Errorf("%+v", o)
	}
	raw = b.unitItems.sign(t, b.order)
	u, err := ParseUnitCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	if u.Serial != testSerial || u.Order != o.Name || !u.Key.Equal(&b.unit.PublicKey) || !u.IssuedAt.Equal(time.Unix(1_800_000_001, 0)) || !bytes.Equal(u.Raw, raw) {
		t.Errorf("%+v", u)
	}
	if sum := u.Fingerprint(); u.Code() != fmt.Sprintf("%02X%02X-%02X%02X", sum[0], sum[1], sum[2], sum[3]) {
		t.Errorf("%x has the code %s", sum, u.Code())
	}
}

// What this package signs is what docs/formats.md says, item for item.
func TestSignedAreAsDocumented(t *testing.T) {
	b := newBirth(t)
	o, err := signOrderCertificate(rand.Reader, b.root, &OrderCertificate{
		Name: OrderName{1, 3, 1, 2}, Product: testProduct, Range: Range{testFirst, testLast}, Key: &b.order.PublicKey, IssuedAt: time.Unix(1_800_000_000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := signUnitCertificate(rand.Reader, b.order, &UnitCertificate{
		Serial: testSerial, Order: o.Name, Key: &b.unit.PublicKey, IssuedAt: time.Unix(1_800_000_001, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	root, err := signRootCertificate(rand.Reader, b.root, RootName{1, 3}, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	rootItems := items{2, []byte{3}, 0, nil, 1_800_000_000, nil, []byte{1, 3}, 1, compressed(&b.root.PublicKey), []any{-2, 32, -4, 1}}
	for name, test := range map[string]struct {
		signed []byte
		items  items
	}{"order": {o.Raw, b.orderItems}, "unit": {u.Raw, b.unitItems}, "root": {root, rootItems}} {
		want := append(append([]byte{0x8B}, test.items.encode(t)...), 0x58, 64)
		if got := test.signed[:len(test.signed)-64]; !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x, want\n%x", name, got, want)
		}
	}
}

// The largest certificates have every number at its largest; the bounds of birthmark.h are theirs, not a byte more.
func TestCertificateSizes(t *testing.T) {
	b := newBirth(t)
	last := time.Unix(maxIssued, 0)
	largest := OrderCertificate{Name: OrderName{1, 255, 255, 255}, Product: math.MaxUint32, Range: Range{0xFEFFFFFFFFFF0000, 0xFEFFFFFFFFFFFFFF}, Key: &b.order.PublicKey, IssuedAt: last}
	smallest := OrderCertificate{Name: OrderName{0, 1, 0, 1}, Product: 0, Range: Range{1, 1}, Key: &b.order.PublicKey, IssuedAt: time.Unix(1<<16, 0)}
	for _, test := range []struct {
		order OrderCertificate
		size  int
	}{{largest, 155}, {smallest, 150}} {
		o, err := signOrderCertificate(rand.Reader, b.root, &test.order)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Raw) != test.size {
			t.Errorf("order %x of product %d: %d bytes, want %d", o.Name, o.Product, len(o.Raw), test.size)
		}
	}
	for _, test := range []struct {
		serial EUI64
		size   int
	}{{0xFEFFFFFFFFFFFFFF, 135}, {0x0100000000000000, 135}, {0x00FFFFFFFFFFFFFF, 134}, {1, 128}} {
		u, err := signUnitCertificate(rand.Reader, b.order, &UnitCertificate{Serial: test.serial, Order: OrderName{1, 255, 255, 255}, Key: &b.unit.PublicKey, IssuedAt: last})
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Raw) != test.size {
			t.Errorf("unit %v: %d bytes, want %d", test.serial, len(u.Raw), test.size)
		}
	}
	// Both in one slot of the chip: array of two, each a byte string of more than 23 bytes.
	if slot := 1 + 2 + 155 + 2 + 135; slot > 416 {
		t.Errorf("both certificates take %d bytes", slot)
	}
}

// Whatever the values, what is signed parses back to them and keeps to the bounds.
func TestCertificatesRoundTrip(t *testing.T) {
	b := newBirth(t)
	rapid.Check(t, func(r *rapid.T) {
		o := OrderCertificate{
			Name:     newOrderName(newRootName(rapid.Bool().Draw(r, "test"), rapid.IntRange(1, 255).Draw(r, "epoch")), rapid.Uint16Range(1, math.MaxUint16).Draw(r, "number")),
			Product:  rapid.Uint32().Draw(r, "product"),
			Key:      &b.order.PublicKey,
			IssuedAt: time.Unix(int64(rapid.Uint32().Draw(r, "issued")), 0).UTC(),
		}
		first := EUI64(rapid.Uint64Range(1, math.MaxUint64-1).Draw(r, "first"))
		o.Range = Range{first, first + EUI64(rapid.Uint64Max(uint64(math.MaxUint64-1-first)).Draw(r, "more"))}
		signed, err := signOrderCertificate(rand.Reader, b.root, &o)
		if (err == nil) != (o.Range.check() == nil) {
			r.Fatalf("%+v: %v", o, err)
		}
		if err != nil {
			return
		}
		if signed.Name != o.Name || signed.Product != o.Product || signed.Range != o.Range || !signed.IssuedAt.Equal(o.IssuedAt) || len(signed.Raw) > 155 {
			r.Fatalf("%+v is read as %+v", o, signed)
		}
		u, err := signUnitCertificate(rand.Reader, b.order, &UnitCertificate{Serial: first, Order: o.Name, Key: &b.unit.PublicKey, IssuedAt: o.IssuedAt})
		if err != nil || u.Serial != first || u.Order != o.Name || len(u.Raw) > 135 || u.Verify(signed) != nil {
			r.Fatalf("%+v: %v", u, err)
		}
	})
}

func TestRootCertificatesRefused(t *testing.T) {
	b := newBirth(t)
	it := items{2, []byte{3}, 0, nil, 1_800_000_000, nil, []byte{1, 3}, 1, compressed(&b.root.PublicKey), []any{-2, 32, -4, 1}}
	if err := verifyRootCertificate(it.sign(t, b.root), b.anchor); err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]items{
		"pathLen 0":              it.with(itemExtensions, []any{-2, 32, -4, 0}),
		"keyUsage not critical":  it.with(itemExtensions, []any{2, 32, -4, 1}),
		"keyUsage of a unit":     it.with(itemExtensions, -1),
		"another serial":         it.with(itemSerial, []byte{4}),
		"another epoch":          it.with(itemSerial, []byte{4}).with(itemSubject, []byte{1, 4}),
		"not a test authority":   it.with(itemSubject, []byte{0, 3}),
		"an issuer":              it.with(itemIssuer, []byte{1, 2}),
		"an end":                 it.with(itemNotAfter, 1_900_000_000),
		"a beginning after 2106": it.with(itemNotBefore, 1<<32),
	} {
		wantError(t, name, verifyRootCertificate(wrong.sign(t, b.root), b.anchor), ErrMalformed)
	}
	wantError(t, "another key", verifyRootCertificate(it.with(itemKey, compressed(&b.order.PublicKey)).sign(t, b.order), b.anchor), ErrVerify)
	wantError(t, "another signature", verifyRootCertificate(it.sign(t, b.order), b.anchor), ErrVerify)
}

// What no certificate can hold is refused before the key is used.
func TestSignRefusesTimes(t *testing.T) {
	b := newBirth(t)
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Unix(maxIssued+1, 0)} {
		_, err := signUnitCertificate(rand.Reader, refusingSigner{b.order}, &UnitCertificate{Serial: 1, Order: OrderName{1, 3, 1, 2}, Key: &b.unit.PublicKey, IssuedAt: at})
		wantError(t, at.String(), err, ErrMalformed)
	}
}
