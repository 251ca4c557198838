package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	key := newKey(t)
	file, err := NewRequest(rand.Reader, "line-1", key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(file)
	if err != nil || r.Station != "line-1" || !r.Key.Equal(&key.PublicKey) {
		t.Errorf("%+v, %v", r, err)
	}
	if out := openssl(t, file, "req", "-verify", "-noout", "-subject"); !strings.Contains(out, "verify OK") || !strings.Contains(out, "CN = line-1") {
		t.Errorf("openssl: %s", out)
	}
}

func TestRequestRefused(t *testing.T) {
	key, other := newKey(t), newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", strings.Repeat("x", 65), "a\tb"} {
		_, err := NewRequest(rand.Reader, name, key)
		wantError(t, name, err, ErrMalformed)
	}
	_, err = NewRequest(rand.Reader, "line-1", p384)
	wantError(t, "P-384", err, ErrMalformed)
	_, err = NewRequest(rand.Reader, "line-1", refusingSigner{key})
	wantError(t, "a token that is gone", err, errSigner)

	file, err := NewRequest(rand.Reader, strings.Repeat("x", 64), key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	pemOf := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	der := func(name pkix.Name, key *ecdsa.PrivateKey) []byte {
		b, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: name}, key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// Another's key under this one's signature: possession is not proven.
	stolen := bytes.Replace(block.Bytes, sec1(&key.PublicKey), sec1(&other.PublicKey), 1)
	for _, test := range []struct {
		name string
		file []byte
		want error
	}{
		{"nothing", nil, ErrMalformed},
		{"no PEM", block.Bytes, ErrMalformed},
		{"another kind of block", pemOf("CERTIFICATE", block.Bytes), ErrMalformed},
		{"two blocks", append(bytes.Clone(file), file...), ErrMalformed},
		{"no DER", pemOf(requestBlock, []byte("request")), ErrMalformed},
		{"cut", pemOf(requestBlock, block.Bytes[:len(block.Bytes)-1]), ErrMalformed},
		{"another's key", pemOf(requestBlock, stolen), ErrVerify},
		{"P-384", pemOf(requestBlock, der(pkix.Name{CommonName: "line-1"}, p384)), ErrMalformed},
		{"no name", pemOf(requestBlock, der(pkix.Name{Organization: []string{"ACME"}}, key)), ErrMalformed},
		{"a name too long", pemOf(requestBlock, der(pkix.Name{CommonName: strings.Repeat("x", 65)}, key)), ErrMalformed},
		{"a name that moves the cursor", pemOf(requestBlock, der(pkix.Name{CommonName: "a\x1b[2Jb"}, key)), ErrMalformed},
	} {
		r, err := ParseRequest(test.file)
		wantError(t, test.name, err, test.want)
		if r != nil {
			t.Errorf("%s: a request beside an error", test.name)
		}
	}
}
