package c509

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
)

func TestCompressedKey(t *testing.T) {
	// Appendix A.1.4: the issuer's key pair.
	key, err := CompressedKey(&privateKey(t, draftIssuer).PublicKey)
	want := unhex(t, "02AE4CDB01F614DEFC7121285FDC7F5C6D1D42C95647F061BA0080DF678867845E")
	if err != nil || !bytes.Equal(key.Bytes, want) || key.Exponent != nil {
		t.Errorf("key %x, %v", key, err)
	}
	for range 8 { // both signs of y, in all likelihood
		pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := unit(t)
		if c.PublicKey, err = CompressedKey(&pair.PublicKey); err != nil {
			t.Fatal(err)
		}
		if back, err := c.Key(); err != nil || !pair.PublicKey.Equal(back) {
			t.Errorf("%x came back as %v, %v", c.PublicKey.Bytes, back, err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CompressedKey(&other.PublicKey); !errors.Is(err, ErrUnsupported) {
		t.Errorf("P-384: %v, want ErrUnsupported", err)
	}
}

func TestKey(t *testing.T) {
	c := unit(t)
	c.PublicKeyAlgorithm = X25519Key
	c.PublicKey = PublicKey{Bytes: bytes.Repeat([]byte{9}, 32)}
	if key, err := c.Key(); err != nil || !bytes.Equal(key.(*ecdh.PublicKey).Bytes(), c.PublicKey.Bytes) {
		t.Errorf("X25519: %v, %v", key, err)
	}
	for _, test := range []struct {
		name      string
		algorithm PublicKeyAlgorithm
		key       []byte
		want      error
	}{
		{"point off the curve", P256Key, append([]byte{4}, bytes.Repeat([]byte{1}, 64)...), ErrMalformed},
		{"X448", 9, make([]byte, 56), ErrUnsupported},
		{"unknown algorithm", 99, make([]byte, 56), ErrUnsupported},
		{"short key", Ed25519Key, make([]byte, 31), ErrMalformed},
	} {
		c.PublicKeyAlgorithm, c.PublicKey.Bytes = test.algorithm, test.key
		if key, err := c.Key(); !errors.Is(err, test.want) || key != nil {
			t.Errorf("%s: %v, %v, want %v", test.name, key, err, test.want)
		}
	}
	if got := PublicKeyAlgorithm(99).String() + ", " + SignatureAlgorithm(6).String(); got !=
		"public key algorithm 99, signature algorithm 6" {
		t.Errorf("unknown algorithms are shown as %s", got)
	}
}

func TestVerifySignatureRefuses(t *testing.T) {
	c := mustParse(t, join(nativeItems()))
	right := &privateKey(t, draftIssuer).PublicKey
	wider, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.VerifySignature(&wider.PublicKey); !errors.Is(err, ErrSignature) {
		t.Errorf("key of another size: %v, want ErrSignature", err)
	}
	if err := c.VerifySignature("key"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no key: %v, want ErrUnsupported", err)
	}
	padded := *c
	padded.Signature = append(append(make([]byte, 16), c.Signature[:32]...), append(make([]byte, 16), c.Signature[32:]...)...)
	if err := padded.VerifySignature(right); !errors.Is(err, ErrSignature) {
		t.Errorf("r and s of 48 bytes: %v, want ErrSignature", err)
	}
	unsigned := mustParse(t, vectorNamed(t, "tv03-sec-ca-type2").C509)
	if err := unsigned.VerifySignature(right); !errors.Is(err, ErrUnsupported) {
		t.Errorf("unsigned: %v, want ErrUnsupported", err)
	}
}
