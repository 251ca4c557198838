package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"
)

// rangeOID carries [product, first, last] in an X.509 order certificate. It is drawn at random under the arc that anyone
// may use so, with parts small enough for every ASN.1 library.
var rangeOID = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 8000, 2554, 43673, 22625, 41686, 17781, 38237, 1297428, 12990840}

// noExpiry is 99991231235959Z, no well-defined expiration (RFC 5280, section 4.1.2.5).
var noExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// people gives a name of the authority as X.509 shows it; a test authority's begin with TEST.
func people(authority string, test bool, role string, number int) string {
	name := fmt.Sprintf("%s %s %d", authority, role, number)
	if test {
		name = "TEST " + name
	}
	return name
}

func rootX509(random io.Reader, authority string, name RootName, root crypto.Signer, at time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(int64(name.Epoch())),
		Subject:               pkix.Name{CommonName: people(authority, name.Test(), "Root", name.Epoch())},
		NotBefore:             at,
		NotAfter:              noExpiry,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	return createX509(random, template, template, root.Public(), root)
}

// orderX509 is the order as X.509 tools see it. The range is not critical there: openssl refuses what it does not know.
func orderX509(random io.Reader, authority string, root *x509.Certificate, signer crypto.Signer, o *OrderCertificate, station string) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(o.Name.Number())),
		Subject: pkix.Name{
			CommonName:         people(authority, o.Name.Root().Test(), "Order", int(o.Name.Number())),
			OrganizationalUnit: []string{station},
		},
		NotBefore:             o.IssuedAt,
		NotAfter:              noExpiry,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		ExtraExtensions:       []pkix.Extension{{Id: rangeOID, Value: o.limits()}},
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	return createX509(random, template, root, o.Key, signer)
}

// unitX509 is the twin of a unit certificate: same serial number, key and time.
func unitX509(random io.Reader, order *x509.Certificate, signer crypto.Signer, u *UnitCertificate) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetUint64(uint64(u.Serial)),
		Subject:            pkix.Name{CommonName: u.Serial.String()},
		NotBefore:          u.IssuedAt,
		NotAfter:           noExpiry,
		KeyUsage:           x509.KeyUsageDigitalSignature,
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	return createX509(random, template, order, u.Key, signer)
}

// createX509 adds the key identifiers (RFC 7093, section 2, method 1) and signs. The signature was verified, and signer is
// the parent's key.
func createX509(random io.Reader, template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(random, template, parent, key, signer)
	if err != nil {
		return nil, fmt.Errorf("sign X.509 certificate %q: %w", template.Subject.CommonName, err)
	}
	return der, nil
}

// checkX509 holds the order's X.509 form, and the root's that it carries, against the C509 certificate and the anchor.
func (o *OrderCertificate) checkX509(twin, root *x509.Certificate, a Anchor) error {
	if err := sameX509(root, root, uint64(a.Name().Epoch()), a.Key(), root.NotBefore); err != nil {
		return fmt.Errorf("X.509 root: %w", err)
	}
	if err := sameX509(twin, root, uint64(o.Name.Number()), o.Key, o.IssuedAt); err != nil {
		return fmt.Errorf("X.509 form of order %d: %w", o.Name.Number(), err)
	}
	if !slices.ContainsFunc(twin.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(rangeOID) && !e.Critical && bytes.Equal(e.Value, o.limits())
	}) {
		return fmt.Errorf("X.509 form of order %d: its range is not %v of product %d: %w", o.Name.Number(), o.Range, o.Product, ErrVerify)
	}
	return nil
}

// checkX509 holds the unit's X.509 twin against the C509 certificate and the X.509 form of its order.
func (u *UnitCertificate) checkX509(twin, order *x509.Certificate) error {
	err := sameX509(twin, order, uint64(u.Serial), u.Key, u.IssuedAt)
	if err == nil && twin.Subject.CommonName != u.Serial.String() {
		err = fmt.Errorf("its name is %q: %w", twin.Subject.CommonName, ErrVerify)
	}
	if err != nil {
		return fmt.Errorf("X.509 twin of %v: %w", u.Serial, err)
	}
	return nil
}

// sameX509 says whether c, under its issuer, has what its C509 form says.
func sameX509(c, issuer *x509.Certificate, serial uint64, key *ecdsa.PublicKey, at time.Time) error {
	if c.SerialNumber.Cmp(new(big.Int).SetUint64(serial)) != 0 || !key.Equal(c.PublicKey) || !c.NotBefore.Equal(at) {
		return fmt.Errorf("another serial number, key or time than in C509: %w", ErrVerify)
	}
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return fmt.Errorf("another issuer: %w", ErrVerify)
	}
	if err := c.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("%w: %w", err, ErrVerify)
	}
	return nil
}
