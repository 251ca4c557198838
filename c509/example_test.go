package c509_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"math/big"
	"strings"
	"time"

	"github.com/birthmark/birthmark/c509"
)

// A certificate of one's own: signed natively, read back, verified, shown.
func Example() {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(strings.Repeat("\x01", 32)))
	if err != nil {
		log.Fatal(err)
	}
	public, err := c509.CompressedKey(&key.PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	c := &c509.Certificate{
		Type:               c509.Native,
		SerialNumber:       []byte{7},
		SignatureAlgorithm: c509.ECDSAWithSHA256,
		NotBefore:          1767225600,
		NotAfter:           c509.NoExpiry,
		Subject:            c509.BytesName([]byte{0x02, 0x1A, 0x2B, 0, 0, 0, 0, 1}),
		PublicKeyAlgorithm: c509.P256Key,
		PublicKey:          public,
		Extensions:         c509.Extensions{c509.DigitalSignature.Extension(true)},
	}
	if err := c.Sign(nil, key); err != nil { // without randomness: RFC 6979
		log.Fatal(err)
	}
	read, err := c509.Parse(c.Raw)
	if err != nil {
		log.Fatal(err)
	}
	if err := read.VerifySignature(key.Public()); err != nil {
		log.Fatal(err)
	}
	usage, _ := read.KeyUsage()
	fmt.Println(len(read.Raw), "bytes,", usage)
	// Output: 124 bytes, digitalSignature
}

// What was X.509 becomes type 3, and comes back to the byte.
func ExampleFromX509() {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(strings.Repeat("\x01", 32)))
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "02-1A-2B-00-00-00-00-01"},
		NotBefore:    time.Unix(1767225600, 0),
		NotAfter:     time.Unix(1798761600, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	c, err := c509.FromX509(der)
	if err != nil {
		log.Fatal(err)
	}
	raw, err := c.Encode()
	if err != nil {
		log.Fatal(err)
	}
	back, err := c.X509()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(der), "bytes as X.509,", len(raw), "as C509, the same again:", bytes.Equal(back, der))
	// Output: 328 bytes as X.509, 132 as C509, the same again: true
}
