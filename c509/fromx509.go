package c509

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// FromX509 re-encodes a DER X.509 v3 certificate as type 3. Uncompressed keys on P-256, P-384 and P-521 are
// compressed (section 3.2.1). What has no encoding of its own, such as unknown extensions, is kept as OID and
// bytes. The error wraps ErrMalformed for what is no certificate, and ErrUnsupported for one that X509 would
// not give back byte for byte: unknown algorithms, several attributes in one relative distinguished name,
// unique identifiers, times before 1970, encodings that are not DER. The signature is not checked.
func FromX509(der []byte) (*Certificate, error) { return fromX509(der, true) }

// FromX509Uncompressed is FromX509, but leaves the key in the form it has. Both results are valid encodings of
// one certificate, and have different fingerprints (section 3.4).
func FromX509Uncompressed(der []byte) (*Certificate, error) { return fromX509(der, false) }

func fromX509(der []byte, compress bool) (*Certificate, error) {
	c := &Certificate{Type: X509}
	err := c.readX509(der, compress)
	var back []byte
	if err == nil {
		back, err = c.x509()
	}
	if err == nil && !bytes.Equal(back, der) {
		err = fmt.Errorf("%w: would come back different", ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("convert X.509 certificate: %w", err)
	}
	c.Raw = c.encode()
	c.RawTBS = c.Raw[1 : 1+len(c.encodeTBS())]
	return c, nil
}

// readX509 fills in the certificate from DER.
func (c *Certificate) readX509(der cryptobyte.String, compress bool) error {
	var certificate, tbs, outer, inner, version, sig cryptobyte.String
	if !der.ReadASN1(&certificate, asn1.SEQUENCE) || !der.Empty() ||
		!certificate.ReadASN1(&tbs, asn1.SEQUENCE) || !certificate.ReadASN1(&outer, asn1.SEQUENCE) ||
		!certificate.ReadASN1BitStringAsBytes((*[]byte)(&sig)) || !certificate.Empty() {
		return fmt.Errorf("%w: no signed structure in DER", ErrMalformed)
	}
	var number int
	if !tbs.ReadASN1(&version, contextConstructed(0)) || !version.ReadASN1Integer(&number) || number != versionV3 {
		return fmt.Errorf("%w: X.509 version other than 3", ErrUnsupported)
	}
	var serial cryptobyte.String
	if !tbs.ReadASN1(&serial, asn1.INTEGER) || !tbs.ReadASN1(&inner, asn1.SEQUENCE) || !bytes.Equal(inner, outer) {
		return fmt.Errorf("%w: serial number or signature algorithm", ErrMalformed)
	}
	c.SerialNumber = bytes.TrimLeft(serial, "\x00")
	if err := c.readSignature(inner, sig); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	var validity cryptobyte.String
	var ok1, ok2 bool
	c.Issuer, ok1 = readName(&tbs)
	if !ok1 || !tbs.ReadASN1(&validity, asn1.SEQUENCE) {
		return fmt.Errorf("%w: issuer", ErrUnsupported)
	}
	c.NotBefore, ok1 = readTime(&validity)
	c.NotAfter, ok2 = readTime(&validity)
	if !ok1 || !ok2 || !validity.Empty() {
		return fmt.Errorf("%w: validity", ErrUnsupported)
	}
	if c.Subject, ok1 = readName(&tbs); !ok1 {
		return fmt.Errorf("%w: subject", ErrUnsupported)
	}
	if slices.Equal(c.Issuer, c.Subject) {
		c.Issuer = nil
	}
	if err := c.readKey(&tbs, compress); err != nil {
		return fmt.Errorf("subject public key: %w", err)
	}
	return c.readExtensions(tbs)
}

// readSignature makes r and s of ECDSA as long as the smallest registered field that holds both. The issuer's
// curve is not known here; the guess falls short for one in 2^18 signatures with P-521, which does no harm:
// the DER encoding comes back the same.
func (c *Certificate) readSignature(algorithm, sig []byte) error {
	e, err := algorithmByDER(signatureAlgorithms, algorithm)
	if err != nil {
		return err
	}
	c.SignatureAlgorithm = SignatureAlgorithm(e.id)
	c.Signature = sig
	if e.form != formEC {
		return nil
	}
	r, s, ok := parseECDSA(sig)
	if !ok {
		return fmt.Errorf("%w: no ECDSA signature", ErrMalformed)
	}
	need := (max(r.BitLen(), s.BitLen()) + 7) / 8
	i := slices.IndexFunc(fieldSizes, func(size int) bool { return size >= need })
	if i < 0 {
		return fmt.Errorf("%w: ECDSA integers of %d bytes", ErrUnsupported, need)
	}
	c.Signature = joinECDSA(r, s, fieldSizes[i])
	return nil
}

// readTime rejects what has no POSIX time from 1970 on. Other forms than those of RFC 5280 do not survive
// the comparison at the end of the conversion.
func readTime(s *cryptobyte.String) (uint64, bool) {
	var t time.Time
	var ok bool
	if s.PeekASN1Tag(asn1.UTCTime) {
		ok = s.ReadASN1UTCTime(&t)
	} else {
		ok = s.ReadASN1GeneralizedTime(&t)
	}
	return uint64(t.Unix()), ok && t.Unix() >= 0
}

func (c *Certificate) readKey(tbs *cryptobyte.String, compress bool) error {
	var info, algorithm, key cryptobyte.String
	if !tbs.ReadASN1(&info, asn1.SEQUENCE) || !info.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!info.ReadASN1BitStringAsBytes((*[]byte)(&key)) || !info.Empty() || key.Empty() {
		return fmt.Errorf("%w: no SubjectPublicKeyInfo", ErrMalformed)
	}
	e, err := algorithmByDER(publicKeyAlgorithms, algorithm)
	if err != nil {
		return err
	}
	c.PublicKeyAlgorithm = PublicKeyAlgorithm(e.id)
	c.PublicKey.Bytes = key
	switch {
	case e.form == formRSA:
		var pair cryptobyte.String
		modulus, exponent := new(big.Int), new(big.Int)
		if !key.ReadASN1(&pair, asn1.SEQUENCE) || !key.Empty() || !pair.ReadASN1Integer(modulus) ||
			!pair.ReadASN1Integer(exponent) || !pair.Empty() {
			return fmt.Errorf("%w: no RSAPublicKey", ErrMalformed)
		}
		c.PublicKey.Bytes = modulus.Bytes()
		if b := exponent.Bytes(); string(b) != defaultExponent {
			c.PublicKey.Exponent = b
		}
	case e.form == formEC && compress && key[0] == pointUncompressed && curveOf(c.PublicKeyAlgorithm) != nil:
		c.PublicKey.Bytes = compressPoint(key, pointEvenWasFull, pointOddWasFull)
	}
	return nil
}

// readExtensions takes what is left of the TBSCertificate.
func (c *Certificate) readExtensions(tbs cryptobyte.String) error {
	c.Extensions = Extensions{}
	if tbs.Empty() {
		return nil
	}
	var wrapped, list cryptobyte.String
	if !tbs.ReadASN1(&wrapped, contextConstructed(3)) || !tbs.Empty() ||
		!wrapped.ReadASN1(&list, asn1.SEQUENCE) || !wrapped.Empty() {
		return fmt.Errorf("%w: something but extensions after the public key", ErrUnsupported)
	}
	for !list.Empty() {
		var content, value cryptobyte.String
		var e Extension
		if !list.ReadASN1(&content, asn1.SEQUENCE) {
			return fmt.Errorf("%w: extension", ErrMalformed)
		}
		oid, ok := readOID(&content)
		if !ok {
			return fmt.Errorf("%w: extension without or with too long an object identifier", ErrUnsupported)
		}
		if content.PeekASN1Tag(asn1.BOOLEAN) && !content.ReadASN1Boolean(&e.Critical) {
			return fmt.Errorf("%w: criticality of extension %s", ErrMalformed, oid)
		}
		if !content.ReadASN1(&value, asn1.OCTET_STRING) || !content.Empty() {
			return fmt.Errorf("%w: extension %s", ErrMalformed, oid)
		}
		e.OID, e.Value = oid, value
		if known, ok := extensionTypes.oid(oid); ok {
			if converted, ok := valueFromDER(known.id, value); ok {
				e.ID, e.OID, e.Value = known.id, "", converted
			}
		}
		c.Extensions = append(c.Extensions, e)
	}
	return nil
}

// readName reads a Name; false if it is none or has several attributes in one RelativeDistinguishedName.
func readName(s *cryptobyte.String) (Name, bool) {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, false
	}
	n := Name{}
	for !list.Empty() {
		var set, pair cryptobyte.String
		if !list.ReadASN1(&set, asn1.SET) || !set.ReadASN1(&pair, asn1.SEQUENCE) || !set.Empty() {
			return nil, false
		}
		oid, ok := readOID(&pair)
		if !ok || !isElement(pair) {
			return nil, false
		}
		n = append(n, attributeFromDER(oid, pair))
	}
	return n, true
}

// attributeFromDER gives the OID form to what the registry does not have, or has but not as that string type.
func attributeFromDER(oid string, element []byte) Attribute {
	s := cryptobyte.String(element)
	var content cryptobyte.String
	var tag asn1.Tag
	known, ok := rdnAttributes.oid(oid)
	if ok && s.ReadAnyASN1(&content, &tag) {
		a := Attribute{Type: known.id, Value: valueOf(string(content))}
		ia5 := known.id == EmailAddress || known.id == DomainComponent
		if tag == asn1.PrintableString {
			a.Type = -known.id
		}
		if ia5 == (tag == asn1.IA5String) && (ia5 || tag == asn1.UTF8String || tag == asn1.PrintableString) &&
			a.check(false) == nil {
			return a
		}
	}
	return Attribute{OID: oid, Value: Value{Bytes, string(element)}}
}
