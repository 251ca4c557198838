package c509

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// vector is one entry of testdata/c509/c509.json: Appendix A of draft-ietf-cose-cbor-encoded-cert and
// draft-ietf-cose-c509-test-vectors-03.
type vector struct {
	Name string          `json:"name"`
	DER  string          `json:"der_hex"`
	C509 string          `json:"c509_hex"`
	Keys json.RawMessage `json:"keys"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("../testdata/c509/c509.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 15 {
		t.Fatalf("%d vectors, want 15", len(file.Vectors))
	}
	return file.Vectors
}

func vectorNamed(t testing.TB, name string) vector {
	t.Helper()
	for _, v := range vectors(t) {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no vector %q", name)
	return vector{}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t testing.TB, s string) *Certificate {
	t.Helper()
	c, err := Parse(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused says why a vector has to be refused, "" if it has to be taken.
func refused(v vector) string {
	switch {
	case strings.HasPrefix(v.Name, "neg-"):
		return "an older draft's framing"
	case v.Name == "A.1.5-C509CertData":
		return "a byte string around a certificate"
	case v.Name == "tv03-selfsign-compress-secp256r1-type2":
		return "key octet FD in a type 2 certificate, against section 3.2.1"
	}
	return ""
}

func TestVectorsParse(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			b := unhex(t, v.C509)
			c, err := Parse(b)
			if why := refused(v); why != "" {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("err = %v, want ErrMalformed: %s", err, why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.Encode()
			if err != nil || !bytes.Equal(again, b) {
				t.Fatalf("re-encoded %x, %v\nwant       %x", again, err, b)
			}
			if tbs, err := c.TBS(); err != nil || !bytes.Equal(tbs, c.RawTBS) || !bytes.Contains(b, tbs) {
				t.Fatalf("TBS %x, %v; RawTBS %x", tbs, err, c.RawTBS)
			}
		})
	}
}

// issuerKey returns the key that a vector's signature verifies with, nil where the draft does not give it.
func issuerKey(t testing.TB, v vector, c *Certificate) any {
	t.Helper()
	var keys struct {
		Issuer string `json:"issuer_pub_compressed"`
	}
	if v.Keys != nil && v.Keys[0] == '{' {
		if err := json.Unmarshal(v.Keys, &keys); err != nil {
			t.Fatal(err)
		}
	}
	if keys.Issuer != "" {
		c = &Certificate{Type: Native, PublicKeyAlgorithm: P256Key, PublicKey: PublicKey{Bytes: unhex(t, keys.Issuer)}}
	} else if c.Issuer != nil {
		return nil
	}
	key, err := c.Key()
	if err != nil && !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	return key
}

func TestVectorsVerify(t *testing.T) {
	verified := 0
	for _, v := range vectors(t) {
		if refused(v) != "" {
			continue
		}
		c := mustParse(t, v.C509)
		key := issuerKey(t, v, c)
		if key == nil || c.SignatureAlgorithm == 5 {
			continue
		}
		if err := c.VerifySignature(key); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		c.NotBefore++
		if err := c.VerifySignature(key); !errors.Is(err, ErrSignature) {
			t.Errorf("%s with another notBefore: %v, want ErrSignature", v.Name, err)
		}
		verified++
	}
	if verified != 5 {
		t.Errorf("%d vectors verified, want 5", verified)
	}
}

func privateKey(t testing.TB, d string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), unhex(t, d))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
