package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/birthmark/birthmark/c509"
)

// rangeID is the critical private-use extension of order certificates: [product, first, last].
const rangeID = 33000

// maxIssued bounds the time of issue, so that it takes at most five bytes and a unit's 32 bits hold it: until 2106.
const maxIssued = math.MaxUint32 // seconds since 1970

// OrderCertificate is an order's C509 certificate, one of the profile (docs/formats.md, "Order certificate").
type OrderCertificate struct {
	Name     OrderName
	Product  uint32
	Range    Range
	Key      *ecdsa.PublicKey
	IssuedAt time.Time
	Raw      []byte // the whole certificate, at most 155 bytes

	signed *c509.Certificate
}

// UnitCertificate is a unit's C509 certificate, one of the profile (docs/formats.md, "Unit certificate").
type UnitCertificate struct {
	Serial   EUI64
	Order    OrderName // its issuer
	Key      *ecdsa.PublicKey
	IssuedAt time.Time
	Raw      []byte // the whole certificate, at most 135 bytes

	signed *c509.Certificate
}

// limits is the value of the range extension, C509 and X.509.
type limits struct {
	_           struct{} `cbor:",toarray"`
	Product     uint32
	First, Last [8]byte
}

func (o *OrderCertificate) limits() []byte {
	return mustEncode(limits{Product: o.Product, First: o.Range.First.Bytes(), Last: o.Range.Last.Bytes()})
}

// template is the one certificate of the profile with these values. Signing starts from it, and parsing ends with it: what
// came must be what it says, to the byte.
func (o *OrderCertificate) template() *c509.Certificate {
	root := o.Name.Root()
	return native(uint64(o.Name.Number()), c509.BytesName(root[:]), c509.BytesName(o.Name[:]), o.Key, o.IssuedAt, c509.Extensions{
		c509.KeyCertSign.Extension(true),
		c509.BasicConstraints{CA: true, PathLen: 0}.Extension(true),
		{ID: rangeID, Critical: true, Value: o.limits()},
	})
}

func (u *UnitCertificate) template() *c509.Certificate {
	subject := u.Serial.Bytes()
	return native(uint64(u.Serial), c509.BytesName(u.Order[:]), c509.BytesName(subject[:]), u.Key, u.IssuedAt, c509.Extensions{
		c509.DigitalSignature.Extension(true),
	})
}

func rootTemplate(name RootName, key *ecdsa.PublicKey, at time.Time) *c509.Certificate {
	return native(uint64(name.Epoch()), nil, c509.BytesName(name[:]), key, at, c509.Extensions{
		c509.KeyCertSign.Extension(true),
		c509.BasicConstraints{CA: true, PathLen: 1}.Extension(true),
	})
}

// native is what all certificates of the profile have in common (draft-ietf-cose-cbor-encoded-cert-21, section 3.1).
func native(serial uint64, issuer, subject c509.Name, key *ecdsa.PublicKey, at time.Time, extensions c509.Extensions) *c509.Certificate {
	public, err := c509.CompressedKey(key)
	if err != nil {
		panic(err) // every key passed p256Key or publicKey
	}
	return &c509.Certificate{
		Type:               c509.Native,
		SerialNumber:       bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, serial), "\x00"),
		SignatureAlgorithm: c509.ECDSAWithSHA256,
		Issuer:             issuer,
		NotBefore:          uint64(at.Unix()),
		NotAfter:           c509.NoExpiry,
		Subject:            subject,
		PublicKeyAlgorithm: c509.P256Key,
		PublicKey:          public,
		Extensions:         extensions,
	}
}

// ParseOrderCertificate reads an order certificate of the profile. Its signature is not checked: Verify does that. Errors
// wrap ErrMalformed.
func ParseOrderCertificate(b []byte) (*OrderCertificate, error) {
	o, err := parseOrderCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("order certificate: %w", err)
	}
	return o, nil
}

func parseOrderCertificate(b []byte) (*OrderCertificate, error) {
	c, key, err := parseProfiled(b)
	if err != nil {
		return nil, err
	}
	o := &OrderCertificate{Key: key, IssuedAt: issuedAt(c), Raw: c.Raw, signed: c}
	if !copyName(o.Name[:], c.Subject) {
		return nil, fmt.Errorf("subject %v is not an order's name: %w", c.Subject, ErrMalformed)
	}
	var l limits
	if e, ok := c.Extensions.Find(rangeID); !ok || decodeStrict(e.Value, &l) != nil {
		return nil, fmt.Errorf("no range extension: %w", ErrMalformed)
	}
	o.Product = l.Product
	o.Range = Range{EUI64(binary.BigEndian.Uint64(l.First[:])), EUI64(binary.BigEndian.Uint64(l.Last[:]))}
	if err := sameTBS(c, o.template()); err != nil {
		return nil, err
	}
	if err := o.Range.check(); err != nil {
		return nil, err
	}
	return o, o.Name.Root().check()
}

// ParseUnitCertificate reads a unit certificate of the profile. Its signature is not checked: Verify does that. Errors wrap
// ErrMalformed.
func ParseUnitCertificate(b []byte) (*UnitCertificate, error) {
	u, err := parseUnitCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("unit certificate: %w", err)
	}
	return u, nil
}

func parseUnitCertificate(b []byte) (*UnitCertificate, error) {
	c, key, err := parseProfiled(b)
	if err != nil {
		return nil, err
	}
	u := &UnitCertificate{Key: key, IssuedAt: issuedAt(c), Raw: c.Raw, signed: c}
	var subject [8]byte
	if !copyName(subject[:], c.Subject) || !copyName(u.Order[:], c.Issuer) {
		return nil, fmt.Errorf("issuer %v or subject %v is not a name of the profile: %w", c.Issuer, c.Subject, ErrMalformed)
	}
	u.Serial = EUI64(binary.BigEndian.Uint64(subject[:]))
	if err := sameTBS(c, u.template()); err != nil {
		return nil, err
	}
	return u, u.Order.Root().check()
}

// Verify checks the order under its root: names first, since they cost nothing, then the signature. Errors wrap ErrVerify.
func (o *OrderCertificate) Verify(a Anchor) error {
	if o.Name.Root() != a.Name() {
		return fmt.Errorf("order %d is of root %x, not of %x: %w", o.Name.Number(), o.Name.Root(), a.Name(), ErrVerify)
	}
	if err := o.signed.VerifySignature(a.Key()); err != nil {
		return fmt.Errorf("order %d: %w: %w", o.Name.Number(), err, ErrVerify)
	}
	return nil
}

// Verify checks the unit under its order: issuer, range, signature. Errors wrap ErrVerify.
func (u *UnitCertificate) Verify(o *OrderCertificate) error {
	if u.Order != o.Name {
		return fmt.Errorf("unit %v is of order %x, not of %x: %w", u.Serial, u.Order, o.Name, ErrVerify)
	}
	if !o.Range.Contains(u.Serial) {
		return fmt.Errorf("unit %v is outside the range of order %d (%v): %w", u.Serial, o.Name.Number(), o.Range, ErrVerify)
	}
	if err := u.signed.VerifySignature(o.Key); err != nil {
		return fmt.Errorf("unit %v: %w: %w", u.Serial, err, ErrVerify)
	}
	return nil
}

// Fingerprint is SHA-256 of the certificate.
func (o *OrderCertificate) Fingerprint() [32]byte { return o.signed.Fingerprint() }

// Fingerprint is SHA-256 of the certificate.
func (u *UnitCertificate) Fingerprint() [32]byte { return u.signed.Fingerprint() }

// Code is the first 32 bits of the fingerprint as labels show them: 9F3A-77C1.
func (u *UnitCertificate) Code() string { return u.signed.Code() }

func signOrderCertificate(random io.Reader, root crypto.Signer, o *OrderCertificate) (*OrderCertificate, error) {
	raw, err := sign(random, root, o.template())
	if err != nil {
		return nil, fmt.Errorf("order certificate %d: %w", o.Name.Number(), err)
	}
	return ParseOrderCertificate(raw)
}

func signUnitCertificate(random io.Reader, order crypto.Signer, u *UnitCertificate) (*UnitCertificate, error) {
	raw, err := sign(random, order, u.template())
	if err != nil {
		return nil, fmt.Errorf("unit certificate %v: %w", u.Serial, err)
	}
	return ParseUnitCertificate(raw)
}

func signRootCertificate(random io.Reader, root crypto.Signer, name RootName, at time.Time) ([]byte, error) {
	key, err := p256Key(root.Public())
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	raw, err := sign(random, root, rootTemplate(name, key, at))
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	return raw, nil
}

func sign(random io.Reader, signer crypto.Signer, template *c509.Certificate) ([]byte, error) {
	if err := checkIssued(template); err != nil {
		return nil, err
	}
	err := template.Sign(random, signer)
	return template.Raw, err
}

// verifyRootCertificate holds a root's C509 certificate against the anchor.
func verifyRootCertificate(b []byte, a Anchor) error {
	c, key, err := parseProfiled(b)
	if err != nil {
		return fmt.Errorf("root certificate: %w", err)
	}
	if err := sameTBS(c, rootTemplate(a.Name(), key, issuedAt(c))); err != nil {
		return fmt.Errorf("root certificate: %w", err)
	}
	if !key.Equal(a.Key()) {
		return fmt.Errorf("root certificate: another key than the anchor's: %w", ErrVerify)
	}
	if err := c.VerifySignature(key); err != nil {
		return fmt.Errorf("root certificate: %w: %w", err, ErrVerify)
	}
	return nil
}

// parseProfiled reads a certificate that may be of the profile: C509, a P-256 key, a time that units can hold, and a
// signature in its one form.
func parseProfiled(b []byte) (*c509.Certificate, *ecdsa.PublicKey, error) {
	c, err := c509.Parse(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	if err := checkIssued(c); err != nil {
		return nil, nil, err
	}
	public, err := c.Key()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	key, err := p256Key(public)
	if err != nil {
		return nil, nil, err
	}
	if !isSignature(c.Signature) {
		return nil, nil, fmt.Errorf("signature is not r and s of 32 bytes each with a low s: %w", ErrMalformed)
	}
	return c, key, nil
}

func checkIssued(c *c509.Certificate) error {
	if c.NotBefore > maxIssued {
		return fmt.Errorf("time of issue is before 1970 or after 2106: %w", ErrMalformed)
	}
	return nil
}

func issuedAt(c *c509.Certificate) time.Time { return time.Unix(int64(c.NotBefore), 0).UTC() }

// sameTBS is the profile's check: what was signed is exactly what the profile would have signed.
func sameTBS(c, template *c509.Certificate) error {
	want, err := template.TBS()
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	if !bytes.Equal(c.RawTBS, want) {
		return fmt.Errorf("not of the profile: to-be-signed bytes are %x, the profile has %x: %w", c.RawTBS, want, ErrMalformed)
	}
	return nil
}

// copyName copies a name that is one byte string of out's length, and says whether it is.
func copyName(out []byte, name c509.Name) bool {
	v, ok := name.CommonName()
	return ok && v.Kind == c509.Bytes && len(v.Data) == len(out) && copy(out, v.Data) == len(out)
}
