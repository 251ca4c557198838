package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// capturedProfile is the demo profile for chips that these keys captured.
func capturedProfile(t testing.TB, keys ...*ecdsa.PrivateKey) *Profile {
	t.Helper()
	p, err := ParseProfile([]byte(capturedText(t, keys...)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func capturedText(t testing.TB, keys ...*ecdsa.PrivateKey) string {
	t.Helper()
	var list []string
	for _, key := range keys {
		list = append(list, hex.EncodeToString(compressed(&key.PublicKey)))
	}
	return strings.Replace(demoProfile(t), "attestation: none", "attestation: captured\n  goods_in: ["+strings.Join(list, ", ")+"]", 1)
}

// chips are n captured ones, each with a key of its own.
func chips(t testing.TB, n int) (all []Captured) {
	for i := range n {
		all = append(all, Captured{Chip: [9]byte{0x01, 0x23, 0, byte(i >> 8), byte(i), 0, 0, 0, 0xEE}, Key: &newKey(t).PublicKey})
	}
	return all
}

func signCapture(t testing.TB, key *ecdsa.PrivateKey, all []Captured) *Capture {
	t.Helper()
	c, err := SignCapture(rand.Reader, key, "goods-in", morning, all)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCapture(t *testing.T) {
	key := newKey(t)
	p := capturedProfile(t, newKey(t), key)
	all := chips(t, 3)
	list := signCapture(t, key, []Captured{all[2], all[0], all[1]})
	if list.Station != "goods-in" || !list.At.Equal(morning) || list.Fingerprint() != sha256.Sum256(list.Object) || len(list.Chips) != 3 {
		t.Errorf("%+v", list)
	}
	c := p.NewCaptures()
	for range 2 { // the same list twice, in two files
		if err := c.Add(list); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range all {
		got, err := c.Find(want.Chip)
		if err != nil || !got.Key.Equal(want.Key) || got.List != list || list.Chips[i].Chip != want.Chip {
			t.Errorf("chip %x: %+v, %v", want.Chip, got, err)
		}
	}
	if c.Len() != 3 {
		t.Errorf("%d chips", c.Len())
	}
	_, err := c.Find([9]byte{1})
	wantError(t, "a chip on no list", err, ErrNotCaptured)

	other := newKey(t)
	wantError(t, "another station's key", p.NewCaptures().Add(signCapture(t, other, all)), ErrVerify)
	wantError(t, "another station's key", p.CheckGoodsIn(&other.PublicKey), ErrPolicy)
	if err := p.CheckGoodsIn(&key.PublicKey); err != nil {
		t.Error(err)
	}
	wantError(t, "a profile without attestation", newWorks(t).profile.CheckGoodsIn(&key.PublicKey), ErrPolicy)
	again := slices.Clone(all[2:])
	again[0].Key = &other.PublicKey
	wantError(t, "a chip with two keys", c.Add(signCapture(t, key, again)), ErrVerify)
}

func TestCaptureRefused(t *testing.T) {
	key, all := newKey(t), chips(t, maxCaptured+1)
	if list := signCapture(t, key, all[:maxCaptured]); len(list.Object) > maxObject {
		t.Errorf("%d bytes", len(list.Object))
	}
	for _, test := range []struct {
		name, station string
		at            time.Time
		all           []Captured
	}{
		{"no chip", "goods-in", morning, nil},
		{"a chip too many", "goods-in", morning, all},
		{"a chip twice", "goods-in", morning, []Captured{all[0], all[1], all[0]}},
		{"no name", "", morning, all[:1]},
		{"before 1970", "goods-in", time.Unix(-1, 0), all[:1]},
		{"after 2106", "goods-in", time.Unix(math.MaxUint32+1, 0), all[:1]},
	} {
		_, err := SignCapture(rand.Reader, key, test.station, test.at, test.all)
		wantError(t, test.name, err, ErrMalformed)
	}
	_, err := SignCapture(rand.Reader, refusingSigner{key}, "goods-in", morning, all[:1])
	wantError(t, "a token that is gone", err, errSigner)
	_, err = SignCapture(rand.Reader, answeringSigner{key, encodeDER(t, big.NewInt(1), big.NewInt(1))}, "goods-in", morning, all[:1])
	wantError(t, "a token that signs something else", err, ErrVerify)
}

// A list is what was signed, to the last bit, and nothing that is cut off or put behind it.
func TestCaptureEveryBit(t *testing.T) {
	key := newKey(t)
	p := capturedProfile(t, key)
	file := signCapture(t, key, chips(t, 2)).Object
	for bit := range 8 * len(file) {
		changed := bytes.Clone(file)
		changed[bit/8] ^= 1 << (bit % 8)
		if list, err := ParseCapture(changed); err != nil {
			wantError(t, "flipped", err, ErrMalformed)
		} else {
			wantError(t, "flipped", p.NewCaptures().Add(list), ErrVerify)
		}
	}
	for size := range file {
		_, err := ParseCapture(file[:size])
		wantError(t, "cut", err, ErrMalformed)
	}
	_, err := ParseCapture(append(bytes.Clone(file), 0))
	wantError(t, "a byte more", err, ErrMalformed)
	_, err = ParseCapture(negated(file))
	wantError(t, "high s", err, ErrMalformed)
}

// What goods-in's key signed counts only as the list of docs/formats.md, put together here by hand.
func TestCapturePayloads(t *testing.T) {
	key, unit := newKey(t), newKey(t)
	p := capturedProfile(t, key)
	a, b := []any{make([]byte, 9), compressed(&unit.PublicKey)}, []any{bytes.Repeat([]byte{1}, 9), compressed(&unit.PublicKey)}
	read := func(title string, payload ...any) error {
		list, err := ParseCapture(handMade(t, key, title, protectedHeader, noHeader, items{payload}.encode(t)))
		if err != nil {
			return err
		}
		return p.NewCaptures().Add(list)
	}
	if err := read(captureTitle, captureTitle, "x", 0, []any{a, b}); err != nil {
		t.Error(err)
	}
	wantError(t, "signed as something else", read(orderTitle, captureTitle, "x", 0, []any{a, b}), ErrVerify)
	offCurve := bytes.Clone(compressed(&unit.PublicKey))
	for {
		offCurve[32]++
		if _, err := compressedKey(offCurve).parse(); err != nil {
			break
		}
	}
	for name, payload := range map[string][]any{
		"another title":     {orderTitle, "x", 0, []any{a}},
		"out of order":      {captureTitle, "x", 0, []any{b, a}},
		"twice":             {captureTitle, "x", 0, []any{a, a}},
		"none":              {captureTitle, "x", 0, []any{}},
		"null":              {captureTitle, "x", 0, nil},
		"no name":           {captureTitle, "", 0, []any{a}},
		"a name of bytes":   {captureTitle, []byte("x"), 0, []any{a}},
		"a negative time":   {captureTitle, "x", -1, []any{a}},
		"a late time":       {captureTitle, "x", uint64(math.MaxUint32 + 1), []any{a}},
		"an item less":      {captureTitle, "x", 0},
		"an item more":      {captureTitle, "x", 0, []any{a}, 0},
		"a short serial":    {captureTitle, "x", 0, []any{[]any{make([]byte, 8), a[1]}}},
		"a short key":       {captureTitle, "x", 0, []any{[]any{a[0], make([]byte, 32)}}},
		"a key of zeros":    {captureTitle, "x", 0, []any{[]any{a[0], make([]byte, 33)}}},
		"a key off P-256":   {captureTitle, "x", 0, []any{[]any{a[0], offCurve}}},
		"a whole key":       {captureTitle, "x", 0, []any{[]any{a[0], sec1(&unit.PublicKey)}}},
		"an entry too long": {captureTitle, "x", 0, []any{[]any{a[0], a[1], 0}}},
	} {
		wantError(t, name, read(captureTitle, payload...), ErrMalformed)
	}
}

// FuzzCapture signs whatever payload it is given with a key of its own.
func FuzzCapture(f *testing.F) {
	key := fixedKey(f, 1)
	f.Add(items{[]any{captureTitle, "x", 0, []any{[]any{make([]byte, 9), compressed(&key.PublicKey)}}}}.encode(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseCapture(handMade(t, key, captureTitle, protectedHeader, noHeader, b))
		if err != nil {
			return
		}
		var entries []any
		for _, c := range list.Chips {
			entries = append(entries, []any{c.Chip[:], compressed(c.Key)})
		}
		if again := (items{[]any{captureTitle, list.Station, list.At.Unix(), entries}}).encode(t); !bytes.Equal(again, b) {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

// attest signs a chip's statement as docs/formats.md, "Attestation", has it, with the demo profile's slots.
func attest(t testing.TB, by *ecdsa.PrivateKey, a *Attestation) {
	t.Helper()
	sn := a.Chip
	first := make([]byte, 128)
	copy(first, a.Nonce[:])
	copy(first[32:], []byte{0x40, 0x08, 0, 0, sn[8], sn[0], sn[1]})
	copy(first[64:], a.Key[:])
	digest := sha256.Sum256(first)
	second := make([]byte, 55)
	copy(second, digest[:])
	copy(second[32:], []byte{0x41, 0x40, 1, 0, 0x81, 0x00, 0x13, 0x00, 0x50, 0, 0, sn[8]})
	copy(second[44:], sn[4:8])
	copy(second[48:], sn[:4])
	second[52] = 1
	copy(a.Signature[:], rawSign(t, by, second))
}

// A statement holds for its chip, nonce, key and configuration, to the last bit.
func TestAttestation(t *testing.T) {
	goodsIn, slot1, identity := newKey(t), newKey(t), newKey(t)
	p := capturedProfile(t, goodsIn)
	a := Attestation{Chip: [9]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, Nonce: sha256.Sum256(nil), Key: point(&identity.PublicKey)}
	attest(t, slot1, &a)
	if err := p.VerifyAttestation(&slot1.PublicKey, a); err != nil {
		t.Fatal(err)
	}
	wantError(t, "another chip's key", p.VerifyAttestation(&newKey(t).PublicKey, a), ErrVerify)
	for bit := range 8 * (9 + 32 + 64 + 64) {
		changed := a
		place := bit / 8
		for _, part := range [][]byte{changed.Chip[:], changed.Nonce[:], changed.Key[:], changed.Signature[:]} {
			if 0 <= place && place < len(part) {
				part[place] ^= 1 << (bit % 8)
			}
			place -= len(part)
		}
		wantError(t, "flipped", p.VerifyAttestation(&slot1.PublicKey, changed), ErrVerify)
	}
	for _, slot := range []string{"4081 0013", "0081 0033", "2081 0013"} { // PrivWrite allowed, lockable, GenKey allowed
		other, err := ParseProfile([]byte(strings.Replace(capturedText(t, goodsIn), "0081 0013", slot, 1)))
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, slot, other.VerifyAttestation(&slot1.PublicKey, a), ErrVerify)
	}
}

// No draft of a key that was not attested by a captured chip, where the profile asks for that.
func TestCheckOrigin(t *testing.T) {
	w := newWorks(t)
	goodsIn, slot1, identity := newKey(t), newKey(t), newKey(t)
	w.profile = capturedProfile(t, goodsIn)
	o := w.firstOrder(t, 10)
	c := w.candidate(o, identity)
	a := Attestation{Chip: [9]byte{1}, Key: c.Key}
	attest(t, slot1, &a)
	list := signCapture(t, goodsIn, []Captured{{a.Chip, &slot1.PublicKey}})
	captures := func(p *Profile) Attested {
		all := p.NewCaptures()
		if err := all.Add(list); err != nil {
			t.Fatal(err)
		}
		attested, err := all.Attest(a)
		if err != nil {
			t.Fatal(err)
		}
		return attested
	}
	check := func(key [64]byte, attested Attested) error {
		c.Key, c.Attested = key, attested
		_, err := Check(o, &w.authority.Bundle, c, true, o.Issued)
		return err
	}
	if err := check(a.Key, captures(o.Profile)); err != nil {
		t.Error(err)
	}
	wantError(t, "nothing attested", check(a.Key, Attested{}), ErrPolicy)
	wantError(t, "another key attested", check(point(&newKey(t).PublicKey), captures(o.Profile)), ErrPolicy)
	wantError(t, "under another profile", check(a.Key, captures(capturedProfile(t, goodsIn))), ErrPolicy)
	none := o.Profile.NewCaptures()
	_, err := none.Attest(a)
	wantError(t, "on no list", err, ErrNotCaptured)
	a.Nonce[0] ^= 1
	all := o.Profile.NewCaptures()
	if err := all.Add(list); err != nil {
		t.Fatal(err)
	}
	_, err = all.Attest(a)
	wantError(t, "another nonce", err, ErrVerify)
}

func TestFormatKey(t *testing.T) {
	key := newKey(t)
	text, err := FormatKey(&key.PublicKey)
	if err != nil || text != hex.EncodeToString(compressed(&key.PublicKey)) {
		t.Errorf("%q, %v", text, err)
	}
	_, err = FormatKey(7)
	wantError(t, "no key", err, ErrMalformed)
}
