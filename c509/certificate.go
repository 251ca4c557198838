// Package c509 reads, writes and checks C509 certificates: natively signed (type 2), re-encoded from X.509 and
// back (type 3), and as JSON and text. It follows draft-ietf-cose-cbor-encoded-cert-20 with the registries of the
// editors' copy of September 2026; sections without a document's name are the draft's.
//
// The package knows the format and makes no policy: what a product's certificates may contain is for others to
// say. But it takes one encoding of each certificate only, where the draft leaves no choice to the encoder.
package c509

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Types of certificates, section 8.2.
const (
	Native = 2 // signed over the CBOR encoding
	X509   = 3 // an X.509 certificate in CBOR, signed over the DER encoding
)

// NoExpiry is the notAfter of a certificate that does not expire, 9999-12-31T23:59:59Z (RFC 5280, section
// 4.1.2.5). It is null in the encoding. Later times do not exist.
const NoExpiry uint64 = 253402300799

// tbsItems are what is signed; a certificate is those and the signature (section 3.1, figure 1).
const tbsItems = 10

// Errors that a caller can tell apart. What this package finds wrong with a certificate wraps one of them.
var (
	ErrMalformed   = errors.New("malformed")
	ErrUnsupported = errors.New("not supported")
	ErrSignature   = errors.New("signature does not verify")
)

// Certificate is one C509 certificate (section 3.1). Raw and RawTBS are the bytes as Parse, FromX509 or Sign
// left them; Encode, TBS and the signature work on the other fields.
type Certificate struct {
	Type               int    // Native or X509
	SerialNumber       []byte // big-endian, at least one byte, no leading zero
	SignatureAlgorithm SignatureAlgorithm
	Issuer             Name   // nil: identical to Subject
	NotBefore          uint64 // POSIX seconds, at most NoExpiry
	NotAfter           uint64 // POSIX seconds or NoExpiry
	Subject            Name
	PublicKeyAlgorithm PublicKeyAlgorithm
	PublicKey          PublicKey
	Extensions         Extensions
	Signature          []byte // ECDSA: r and s, each as long as the issuer's field (RFC 9053, section 2.1)

	Raw    []byte // the whole encoding
	RawTBS []byte // the first ten items of it, without the array head
}

// Parse reads one certificate. It accepts deterministic CBOR only, no trailing bytes, and of several possible
// encodings of a value only the one that the draft demands: Encode of the result gives b again. The certificate
// keeps a copy of b. The error wraps ErrMalformed, or ErrUnsupported for what is well-formed but not handled
// here. Neither the signature is checked nor whether the public key is a point of its curve: VerifySignature and
// Key do that.
func Parse(b []byte) (*Certificate, error) {
	r := &reader{rest: bytes.Clone(b)}
	c := &Certificate{Raw: r.rest}
	if n := r.array(); r.err == nil && n != tbsItems+1 {
		r.malformed("array of %d items, want %d", n, tbsItems+1)
	}
	tbs := r.rest
	c.readTBS(r)
	c.RawTBS = tbs[:len(tbs)-len(r.rest)]
	r.where = "issuerSignatureValue"
	c.Signature = r.bytes()
	err := r.end()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return c, nil
}

func (c *Certificate) readTBS(r *reader) {
	r.where = "c509CertificateType"
	c.Type = r.code()
	r.where = "certificateSerialNumber"
	c.SerialNumber = r.bytes()
	r.where = "issuerSignatureAlgorithm"
	c.SignatureAlgorithm = SignatureAlgorithm(r.algorithm())
	r.where = "issuer"
	if !r.null() {
		c.Issuer = r.name()
	}
	r.where = "validityNotBefore"
	c.NotBefore = r.uint()
	r.where = "validityNotAfter"
	if r.null() {
		c.NotAfter = NoExpiry
	} else if c.NotAfter = r.uint(); c.NotAfter == NoExpiry {
		r.malformed("9999-12-31T23:59:59Z is written as null")
	}
	r.where = "subject"
	c.Subject = r.name()
	r.where = "subjectPublicKeyAlgorithm"
	c.PublicKeyAlgorithm = PublicKeyAlgorithm(r.algorithm())
	r.where = "subjectPublicKey"
	c.PublicKey = r.publicKey()
	r.where = "extensions"
	c.Extensions = r.extensions()
}

// Encode returns the encoding of the whole certificate, made from its fields. The error wraps ErrMalformed or
// ErrUnsupported when they make none that Parse would take.
func (c *Certificate) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	return c.encode(), nil
}

// TBS returns the first ten items in a row, without an array head. That is what a type 2 certificate's
// signature covers (section 3.1.12); a type 3 certificate's covers the DER TBSCertificate. The signature
// itself may still be missing. Errors are those of Encode.
func (c *Certificate) TBS() ([]byte, error) {
	if err := c.checkTBS(); err != nil {
		return nil, fmt.Errorf("encode to-be-signed items: %w", err)
	}
	return c.encodeTBS(), nil
}

func (c *Certificate) encode() []byte {
	var w writer
	w.array(tbsItems + 1)
	w.raw(c.encodeTBS())
	w.bytes(c.Signature)
	return w.buf
}

func (c *Certificate) encodeTBS() []byte {
	var w writer
	w.int(int64(c.Type))
	w.bytes(c.SerialNumber)
	w.int(int64(c.SignatureAlgorithm))
	if c.Issuer == nil {
		w.null()
	} else {
		w.name(c.Issuer)
	}
	w.uint(c.NotBefore)
	if c.NotAfter == NoExpiry {
		w.null()
	} else {
		w.uint(c.NotAfter)
	}
	w.name(c.Subject)
	w.int(int64(c.PublicKeyAlgorithm))
	w.publicKey(c.PublicKey)
	w.extensions(c.Extensions)
	return w.buf
}

func (c *Certificate) check() error {
	if err := c.checkTBS(); err != nil {
		return err
	}
	if err := c.SignatureAlgorithm.checkSignature(c.Signature); err != nil {
		return fmt.Errorf("issuerSignatureValue: %w", err)
	}
	return nil
}

// checkTBS holds the fields to the rules that the grammar of the encoding does not express.
func (c *Certificate) checkTBS() error {
	native := c.Type == Native
	switch {
	case !native && c.Type != X509:
		return fmt.Errorf("%w: certificate type %d", ErrUnsupported, c.Type)
	case !positiveInteger(c.SerialNumber):
		return fmt.Errorf("certificateSerialNumber: %w: empty or with a leading zero", ErrMalformed)
	case c.NotBefore > NoExpiry || c.NotAfter > NoExpiry:
		return fmt.Errorf("validity: %w: beyond the year 9999", ErrMalformed)
	case c.Issuer != nil && slices.Equal(c.Issuer, c.Subject):
		return fmt.Errorf("issuer: %w: identical to subject, so it has to be null", ErrMalformed)
	}
	if err := c.Issuer.check(native); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if err := c.Subject.check(native); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if _, err := c.SignatureAlgorithm.entry(); err != nil {
		return fmt.Errorf("issuerSignatureAlgorithm: %w", err)
	}
	if err := c.PublicKeyAlgorithm.checkKey(c.PublicKey, native); err != nil {
		return fmt.Errorf("subjectPublicKey: %w", err)
	}
	if err := c.Extensions.check(native); err != nil {
		return fmt.Errorf("extensions: %w", err)
	}
	return nil
}

// positiveInteger tells whether b is an unwrapped unsigned bignum (~biguint) above 0 (RFC 8949, section 3.4.3).
func positiveInteger(b []byte) bool { return len(b) > 0 && b[0] != 0 }

// Fingerprint returns the SHA-256 of Raw: what names the certificate in lists and in the COSE header c5t
// (section 3.4, RFC 9360). It names a certificate uniquely only where the issuer's signatures are unique,
// which takes low s with ECDSA.
func (c *Certificate) Fingerprint() [sha256.Size]byte { return sha256.Sum256(c.Raw) }

// Code returns the first 32 bits of the fingerprint as people compare them: 9F3A-77C1.
func (c *Certificate) Code() string {
	sum := c.Fingerprint()
	return fmt.Sprintf("%02X%02X-%02X%02X", sum[0], sum[1], sum[2], sum[3])
}
