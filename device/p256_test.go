//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"
)

// recoverAsGo is the same by crypto/elliptic: X then Y, or nil.
func recoverAsGo(compressed []byte) []byte {
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), compressed)
	if x == nil {
		return nil
	}
	return append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
}

func compress(key []byte) []byte {
	return append([]byte{2 | key[63]&1}, key[:32]...)
}

// agree compares all on one compressed point and returns what they say.
func agree(t *testing.T, compressed []byte) []byte {
	t.Helper()
	want := recoverAsGo(compressed)
	got, err := recoverKey(compressed)
	short, shortErr := shortRecover(compressed)
	if (err != nil) != (want == nil) || !bytes.Equal(got, want) || (shortErr != nil) != (want == nil) || !bytes.Equal(short, want) {
		t.Fatalf("%x: %x (%v) and %x (%v), not %x", compressed, got, err, short, shortErr, want)
	}
	if err != nil {
		return nil
	}
	if !onCurve(t, got) {
		t.Fatalf("%x: recovered, but not on the curve", compressed)
	}
	if !bytes.Equal(compress(got), compressed) {
		t.Fatalf("%x: compresses to %x", compressed, compress(got))
	}
	return got
}

// onCurve is what both widths of limbs say.
func onCurve(t *testing.T, key []byte) bool {
	t.Helper()
	long, short := checkKey(key), shortCheck(key)
	if (long == nil) != (short == nil) {
		t.Fatalf("%x: limbs of 32 bits say %v, of 16 %v", key, long, short)
	}
	return long == nil
}

func TestRecover(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	on := 0
	for round := range 3000 {
		compressed := make([]byte, 33)
		compressed[0] = byte(2 + round%2)
		for i := 1; i < 33; i++ {
			compressed[i] = byte(random.Uint32())
		}
		if round%3 == 0 { // runs of ones and zeros carry furthest
			for i := 1; i < 33; i += 2 {
				fill := byte(random.Uint32()%2) * 0xff
				compressed[i], compressed[i+1] = fill, fill
			}
		}
		if agree(t, compressed) != nil {
			on++
		}
	}
	if on < 1000 || on > 2000 { // about half of all x are on the curve
		t.Errorf("%d of 3000 on the curve", on)
	}
}

// Numbers around 0, p and 2^256: below p both decide by the curve, from p on both refuse.
func TestRecoverEdges(t *testing.T) {
	p := elliptic.P256().Params().P
	for _, base := range []*big.Int{new(big.Int), p, new(big.Int).Lsh(big.NewInt(1), 256)} {
		for delta := int64(-50); delta <= 50; delta++ {
			x := new(big.Int).Add(base, big.NewInt(delta))
			if x.Sign() < 0 || x.BitLen() > 256 {
				continue
			}
			for _, first := range []byte{2, 3} {
				key := agree(t, append([]byte{first}, x.FillBytes(make([]byte, 32))...))
				if key != nil && x.Cmp(p) >= 0 {
					t.Errorf("x = %x, which is p or more: accepted", x)
				}
			}
		}
	}
}

func TestRecoverRefusesOtherForms(t *testing.T) {
	generator := unhex(t, "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
	for first := range 256 {
		generator[0] = byte(first)
		if _, err := recoverKey(generator); (err == nil) != (first == 2 || first == 3) {
			t.Errorf("first byte %02x: %v", first, err)
		}
	}
}

// The check knows nothing of recovery: a wrong y, the other y, p added to a coordinate.
func TestCheckKey(t *testing.T) {
	p := elliptic.P256().Params().P
	x := big.NewInt(5) // small, so that x + p has 256 bits
	compressed := append([]byte{2}, x.FillBytes(make([]byte, 32))...)
	key := agree(t, compressed)
	if key == nil {
		t.Fatal("5 is not on the curve")
	}
	y := new(big.Int).SetBytes(key[32:])
	tests := []struct {
		name string
		x, y *big.Int
		good bool
	}{
		{"the point", x, y, true},
		{"its negative", x, new(big.Int).Sub(p, y), true},
		{"x + p", new(big.Int).Add(x, p), y, false},
		{"y + 1", x, new(big.Int).Add(y, big.NewInt(1)), false},
		{"y = 0", x, new(big.Int), false},
		{"y = p", x, p, false},
		{"x and y swapped", y, x, false},
		{"0, 0", new(big.Int), new(big.Int), false},
		{"p, p", p, p, false},
	}
	for _, test := range tests {
		b := append(test.x.FillBytes(make([]byte, 32)), test.y.FillBytes(make([]byte, 32))...)
		if good := onCurve(t, b); good != test.good {
			t.Errorf("%s: %v", test.name, good)
		}
	}
	for bit := range 8 * len(key) {
		flipped := bytes.Clone(key)
		flipped[bit/8] ^= 1 << (bit % 8)
		if onCurve(t, flipped) {
			t.Errorf("bit %d flipped: accepted", bit)
		}
	}
}

func TestWycheproofPoints(t *testing.T) {
	var file struct {
		TestGroups []struct {
			Tests []struct {
				ID     int    `json:"tcId"`
				Public string `json:"public"`
				Result string `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	text, err := os.ReadFile("../testdata/primitives/ecdh_secp256r1_ecpoint_test.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	full, compressed := 0, 0
	for _, group := range file.TestGroups {
		for _, test := range group.Tests {
			public := unhex(t, test.Public)
			valid := test.Result != "invalid" // "acceptable" marks what some implementations leave out
			switch len(public) {
			case 65:
				full++
				_, err := ecdh.P256().NewPublicKey(public)
				if (err == nil) != valid || onCurve(t, public[1:]) != valid {
					t.Errorf("test %d: not %s", test.ID, test.Result)
				}
				if valid && !bytes.Equal(agree(t, compress(public[1:])), public[1:]) {
					t.Errorf("test %d: recovered another point", test.ID)
				}
			case 33:
				compressed++
				if (agree(t, public) != nil) != valid {
					t.Errorf("test %d: not %s", test.ID, test.Result)
				}
			}
		}
	}
	if full != 346 || compressed != 8 {
		t.Errorf("%d points in full and %d compressed in the file, not 346 and 8", full, compressed)
	}
}

func FuzzPoint(f *testing.F) {
	f.Add(unhex(f, "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"))
	f.Add(unhex(f, "02ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"))
	f.Fuzz(func(t *testing.T, compressed []byte) {
		if len(compressed) == 33 {
			agree(t, compressed)
		}
	})
}
