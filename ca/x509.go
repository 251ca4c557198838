package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"time"
)

// rangeOID carries [product, first, last] in an X.509 order certificate. It is drawn at random under the arc that anyone
// may use so, with parts small enough for every ASN.1 library.
var rangeOID = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 8000, 2554, 43673, 22625, 41686, 17781, 38237, 1297428, 12990840}

// noExpiry is 99991231235959Z, no well-defined expiration (RFC 5280, 4.1.2.5).
var noExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// keyIdentifier is the left 160 bits of SHA-256 of the key's bits (RFC 7093, section 2, method 1).
func keyIdentifier(key *ecdsa.PublicKey) []byte {
	b, err := key.Bytes()
	if err != nil {
		panic(err) // every key passed p256Key or publicKey
	}
	sum := sha256.Sum256(b)
	return sum[:20]
}

// people gives a name of the authority as X.509 shows it; a test authority's begin with TEST.
func people(authority string, test bool, rest string) string {
	name := authority + " " + rest
	if test {
		name = "TEST " + name
	}
	return name
}

func rootX509(random io.Reader, authority string, name RootName, root crypto.Signer, at time.Time) ([]byte, error) {
	key, err := p256Key(root.Public())
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(int64(name.Epoch())),
		Subject:               pkix.Name{CommonName: people(authority, name.Test(), fmt.Sprintf("Root %d", name.Epoch()))},
		NotBefore:             at,
		NotAfter:              noExpiry,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
		SubjectKeyId:          keyIdentifier(key),
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	return createX509(random, template, template, key, root)
}

// orderX509 is the order as X.509 tools see it. The range is not critical there: openssl refuses what it does not know.
func orderX509(random io.Reader, authority string, root *x509.Certificate, signer crypto.Signer, o *OrderCertificate, station string) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(o.Name.Number())),
		Subject: pkix.Name{
			CommonName:         people(authority, o.Name.Root().Test(), fmt.Sprintf("Order %d", o.Name.Number())),
			OrganizationalUnit: []string{station},
		},
		NotBefore:             o.IssuedAt,
		NotAfter:              noExpiry,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          keyIdentifier(o.Key),
		ExtraExtensions:       []pkix.Extension{{Id: rangeOID, Value: o.limits().encode()}},
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	return createX509(random, template, root, o.Key, signer)
}

// unitX509 is the twin of a unit certificate: same serial number, key and time.
func unitX509(random io.Reader, order *x509.Certificate, signer crypto.Signer, u *UnitCertificate) ([]byte, error) {
	name := u.Serial.Bytes()
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(name[:]),
		Subject:            pkix.Name{CommonName: u.Serial.String()},
		NotBefore:          u.IssuedAt,
		NotAfter:           noExpiry,
		KeyUsage:           x509.KeyUsageDigitalSignature,
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	return createX509(random, template, order, u.Key, signer)
}

// createX509 signs and reads back: what leaves has been parsed and its signature verified.
func createX509(random io.Reader, template, parent *x509.Certificate, key *ecdsa.PublicKey, signer crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(random, template, parent, key, signer)
	if err != nil {
		return nil, fmt.Errorf("sign X.509 certificate %q: %w", template.Subject.CommonName, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back X.509 certificate %q: %w", template.Subject.CommonName, err)
	}
	issuer, err := p256Key(signer.Public())
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(c.RawTBSCertificate)
	if !ecdsa.VerifyASN1(issuer, digest[:], c.Signature) {
		return nil, fmt.Errorf("X.509 certificate %q: its signature does not hold: %w", template.Subject.CommonName, ErrVerify)
	}
	return der, nil
}
