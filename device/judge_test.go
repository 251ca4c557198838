//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
)

// factory is what stands behind one birth; a test breaks a part of it before or after signing.
type factory struct {
	root, order, unit     *ecdsa.PrivateKey
	next                  *ecdsa.PrivateKey // the root after it
	anchor                []byte
	orderItems, unitItems items
	anchorHash            [32]byte // of the image
	product               uint32   // of the image
	ioKey                 bool     // of the image
	probe                 *probe   // at the chip of each unit; nil: none
}

func newFactory(t testing.TB) *factory {
	f := &factory{root: newKey(t), next: newKey(t), order: newKey(t), unit: newKey(t), product: testProduct}
	next := sha256.Sum256(publicKey(t, f.next))
	f.anchor = append(append([]byte{1, 3}, publicKey(t, f.root)...), next[:]...)
	f.anchorHash = sha256.Sum256(f.anchor)
	f.orderItems, f.unitItems = orderItems(t, f.order), unitItems(t, f.unit)
	return f
}

func (f *factory) birth(t testing.TB) Birth {
	return Birth{
		Anchor: f.anchor,
		Order:  f.orderItems.sign(t, f.root),
		Unit:   f.unitItems.sign(t, f.order),
		Key:    publicKey(t, f.unit),
	}
}

func (f *factory) judge(b Birth) error { return Judge(f.anchorHash, f.product, b) }

// want reports a judgement that is not this check.
func want(t *testing.T, name string, err error, check Check) {
	t.Helper()
	var got Check
	if !errors.As(err, &got) || got != check {
		t.Errorf("%s: %v, want check %d, %v", name, err, int(check), check)
	}
}

func TestJudge(t *testing.T) {
	f := newFactory(t)
	b := f.birth(t)
	if err := f.judge(b); err != nil {
		t.Fatal(err)
	}
	first, last := newFactory(t), newFactory(t)
	first.unitItems = first.unitItems.with(itemSerial, eui(testFirst)).with(itemSubject, eui(testFirst))
	last.unitItems = last.unitItems.with(itemSerial, eui(testLast)).with(itemSubject, eui(testLast))
	for _, f := range []*factory{first, last} {
		if err := f.judge(f.birth(t)); err != nil {
			t.Errorf("at the range's end: %v", err)
		}
	}
	for _, wrong := range []Birth{
		{Anchor: b.Anchor[:97], Order: b.Order, Unit: b.Unit, Key: b.Key},
		{Anchor: b.Anchor, Order: b.Order, Unit: b.Unit, Key: b.Key[:63]},
	} {
		var check Check
		if err := f.judge(wrong); err == nil || errors.As(err, &check) {
			t.Errorf("anchor of %d bytes, key of %d: %v", len(wrong.Anchor), len(wrong.Key), err)
		}
	}
}

// defects holds one way, or more, to fail each check alone. What they change is signed afterwards.
var defects = []struct {
	name  string
	check Check
	spoil func(t *testing.T, f *factory)
}{
	{"an anchor of another image", CheckAnchor, func(t *testing.T, f *factory) { f.anchorHash[31] ^= 1 }},
	{"another next key", CheckAnchor, func(t *testing.T, f *factory) { f.anchor[97] ^= 1 }},
	{"an order malformed", CheckOrder, func(t *testing.T, f *factory) { f.orderItems = f.orderItems.with(itemType, 3) }},
	{"an order of epoch 4", CheckOrderIssuer, func(t *testing.T, f *factory) {
		f.orderItems = f.orderItems.with(itemIssuer, []byte{1, 4}).with(itemSubject, []byte{1, 4, 1, 2})
	}},
	{"an order of the productive authority", CheckOrderIssuer, func(t *testing.T, f *factory) {
		f.orderItems = f.orderItems.with(itemIssuer, []byte{0, 3}).with(itemSubject, []byte{0, 3, 1, 2})
	}},
	{"an order of another root", CheckOrderSignature, func(t *testing.T, f *factory) { f.root = newKey(t) }},
	{"another product", CheckProduct, func(t *testing.T, f *factory) { f.product++ }},
	{"a unit malformed", CheckUnit, func(t *testing.T, f *factory) { f.unitItems = f.unitItems.with(itemExtensions, 1) }},
	{"a unit of another order", CheckUnitIssuer, func(t *testing.T, f *factory) {
		f.unitItems = f.unitItems.with(itemIssuer, []byte{1, 3, 1, 3})
	}},
	{"a unit of the order in another epoch", CheckUnitIssuer, func(t *testing.T, f *factory) {
		f.unitItems = f.unitItems.with(itemIssuer, []byte{1, 4, 1, 2})
	}},
	{"a serial below the range", CheckSerial, func(t *testing.T, f *factory) {
		f.unitItems = f.unitItems.with(itemSerial, eui(testFirst-1)).with(itemSubject, eui(testFirst-1))
	}},
	{"a serial above the range", CheckSerial, func(t *testing.T, f *factory) {
		f.unitItems = f.unitItems.with(itemSerial, eui(testLast+1)).with(itemSubject, eui(testLast+1))
	}},
	{"another unit's key", CheckKey, func(t *testing.T, f *factory) { f.unit = newKey(t) }},
	{"the key's negative", CheckKey, func(t *testing.T, f *factory) {
		key := bytes.Clone(f.unitItems[itemKey].([]byte))
		key[0] ^= 1
		f.unitItems = f.unitItems.with(itemKey, key)
	}},
	{"a unit that another order's key signed", CheckUnitSignature, func(t *testing.T, f *factory) { f.order = newKey(t) }},
}

func TestJudgeDefects(t *testing.T) {
	seen := map[Check]bool{}
	for _, defect := range defects {
		f := newFactory(t)
		defect.spoil(t, f)
		want(t, defect.name, f.judge(f.birth(t)), defect.check)
		seen[defect.check] = true
	}
	for check := CheckAnchor; check <= CheckUnitSignature; check++ {
		if !seen[check] {
			t.Errorf("no defect fails check %d, %v", int(check), check)
		}
	}
}

// Of two defects the one with the lower number is reported, so the order of the checks is the one that wire.md fixes.
func TestJudgeOrder(t *testing.T) {
	for i, one := range defects {
		for _, other := range defects[i+1:] {
			if one.check == other.check {
				continue
			}
			f := newFactory(t)
			other.spoil(t, f)
			one.spoil(t, f)
			want(t, one.name+" and "+other.name, f.judge(f.birth(t)), one.check)
		}
	}
}

// What the parser refuses is check 2 in an order and check 6 in a unit, well signed though it is.
func TestJudgeRefusals(t *testing.T) {
	f := newFactory(t)
	good := f.birth(t)
	for name, it := range orderRefusals(t, f.orderItems) {
		b := good
		b.Order = it.sign(t, f.root)
		want(t, "order: "+name, f.judge(b), CheckOrder)
	}
	for name, it := range unitRefusals(t, f.unitItems) {
		b := good
		b.Unit = it.sign(t, f.order)
		want(t, "unit: "+name, f.judge(b), CheckUnit)
	}
	off := append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...) // x is above p
	b := good
	b.Order = f.orderItems.with(itemKey, off).sign(t, f.root)
	want(t, "an order's key that is no point", f.judge(b), CheckOrder)
}

// An image whose own anchor is nonsense accepts nothing.
func TestJudgeAnchorContent(t *testing.T) {
	for name, spoil := range map[string]func(anchor []byte){
		"an unknown flag":         func(anchor []byte) { anchor[0] = 2 },
		"epoch 0":                 func(anchor []byte) { anchor[1] = 0 },
		"a key off the curve":     func(anchor []byte) { anchor[65] ^= 1 },
		"a key that is all zeros": func(anchor []byte) { clear(anchor[2:66]) },
	} {
		f := newFactory(t)
		spoil(f.anchor)
		f.anchorHash = sha256.Sum256(f.anchor)
		want(t, name, f.judge(f.birth(t)), CheckAnchor)
	}
}

func TestJudgeEveryCut(t *testing.T) {
	f := newFactory(t)
	good := f.birth(t)
	for size := range good.Order {
		b := good
		b.Order = good.Order[:size]
		want(t, fmt.Sprintf("order cut to %d bytes", size), f.judge(b), CheckOrder)
	}
	for size := range good.Unit {
		b := good
		b.Unit = good.Unit[:size]
		want(t, fmt.Sprintf("unit cut to %d bytes", size), f.judge(b), CheckUnit)
	}
	b := good
	b.Order = append(bytes.Clone(good.Order), 0)
	want(t, "a byte after the order", f.judge(b), CheckOrder)
	b = good
	b.Unit = append(bytes.Clone(good.Unit), 0)
	want(t, "a byte after the unit", f.judge(b), CheckUnit)
}

// Every bit of the anchor and of both certificates counts; a flipped one fails no check of an earlier part.
func TestJudgeEveryBit(t *testing.T) {
	f := newFactory(t)
	good := f.birth(t)
	parts := []struct {
		name     string
		part     func(b *Birth) *[]byte
		from, to Check
	}{
		{"anchor", func(b *Birth) *[]byte { return &b.Anchor }, CheckAnchor, CheckAnchor},
		{"order", func(b *Birth) *[]byte { return &b.Order }, CheckOrder, CheckOrderSignature},
		{"unit", func(b *Birth) *[]byte { return &b.Unit }, CheckUnit, CheckUnitSignature},
	}
	for _, part := range parts {
		for bit := range 8 * len(*part.part(&good)) {
			b := good
			bits := part.part(&b)
			*bits = bytes.Clone(*bits)
			(*bits)[bit/8] ^= 0x80 >> (bit % 8)
			var check Check
			if err := f.judge(b); !errors.As(err, &check) || check < part.from || check > part.to {
				t.Errorf("%s, bit %d: %v", part.name, bit, err)
			}
		}
	}
}

// A chip that does not answer is no judgement, whichever of the two signatures it leaves open.
func TestTrustWithoutChip(t *testing.T) {
	f := newFactory(t)
	for answers := range 3 {
		status := trustStatus(f.anchorHash, f.product, f.birth(t), answers)
		if wantStatus := []int{-5, -5, 0}[answers]; status != wantStatus { // BM_ERR_PORT, BM_OK
			t.Errorf("chip that answers %d times: %d, not %d", answers, status, wantStatus)
		}
	}
}
