package c509

import (
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// X509 returns the DER encoding of a type 3 certificate, the one that its signature was made over. The error
// wraps ErrUnsupported for a type 2 certificate, which has none, and for a compressed point on a curve that
// the standard library does not have; ErrMalformed for a point that is not on its curve, and as for Encode.
func (c *Certificate) X509() ([]byte, error) {
	der, err := c.x509()
	if err != nil {
		return nil, fmt.Errorf("convert certificate to X.509: %w", err)
	}
	return der, nil
}

func (c *Certificate) x509() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	tbs, err := c.tbsCertificate()
	if err != nil {
		return nil, err
	}
	algorithm, err := c.SignatureAlgorithm.entry()
	if err != nil {
		return nil, err
	}
	sig := c.Signature
	if algorithm.form == formEC {
		if sig, err = encodeECDSA(splitECDSA(sig)); err != nil {
			return nil, err
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		addAlgorithm(b, algorithm)
		b.AddASN1BitString(sig)
	})
	return b.Bytes()
}

// tbsCertificate returns the DER TBSCertificate of a type 3 certificate that checkTBS has passed (RFC 5280,
// section 4.1).
func (c *Certificate) tbsCertificate() ([]byte, error) {
	if c.Type != X509 {
		return nil, fmt.Errorf("%w: certificate of type %d has no X.509 form", ErrUnsupported, c.Type)
	}
	signature, err := c.SignatureAlgorithm.entry()
	if err != nil {
		return nil, err
	}
	issuer := c.Issuer
	if issuer == nil {
		issuer = c.Subject
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(contextConstructed(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(versionV3) })
		addElement(b, asn1.INTEGER, integerContent(c.SerialNumber))
		addAlgorithm(b, signature)
		addName(b, issuer)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, c.NotBefore)
			addTime(b, c.NotAfter)
		})
		addName(b, c.Subject)
		c.addKey(b)
		c.addExtensions(b)
	})
	return b.Bytes()
}

const versionV3 = 2

func addAlgorithm(b *cryptobyte.Builder, e algorithmEntry) {
	content, err := hex.DecodeString(e.der)
	if err != nil {
		b.SetError(err)
	}
	addElement(b, asn1.SEQUENCE, content)
}

// addTime writes UTCTime through 2049 and GeneralizedTime afterwards (RFC 5280, section 4.1.2.5).
func addTime(b *cryptobyte.Builder, posix uint64) {
	t := time.Unix(int64(posix), 0).UTC()
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}

// addKey writes the SubjectPublicKeyInfo.
func (c *Certificate) addKey(b *cryptobyte.Builder) {
	e, err := c.PublicKeyAlgorithm.entry()
	if err != nil {
		b.SetError(err)
		return
	}
	key := c.PublicKey.Bytes
	switch {
	case e.form == formRSA:
		key, err = rsaPublicKey(c.PublicKey)
	case e.form == formEC && (key[0] == pointEvenWasFull || key[0] == pointOddWasFull):
		curve := curveOf(c.PublicKeyAlgorithm)
		if curve == nil {
			b.SetError(fmt.Errorf("%w: compressed point of %s", ErrUnsupported, e.name))
			return
		}
		key, err = uncompressPoint(curve, key)
	}
	if err != nil {
		b.SetError(err)
		return
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addAlgorithm(b, e)
		b.AddASN1BitString(key)
	})
}

// rsaPublicKey returns a DER RSAPublicKey (RFC 8017, appendix A.1.1).
func rsaPublicKey(k PublicKey) ([]byte, error) {
	exponent := k.Exponent
	if exponent == nil {
		exponent = []byte(defaultExponent)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addElement(b, asn1.INTEGER, integerContent(k.Bytes))
		addElement(b, asn1.INTEGER, integerContent(exponent))
	})
	return b.Bytes()
}

func (c *Certificate) addExtensions(b *cryptobyte.Builder) {
	if len(c.Extensions) == 0 {
		return
	}
	b.AddASN1(contextConstructed(3), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, e := range c.Extensions {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { e.addDER(b) })
			}
		})
	})
}

func (e Extension) addDER(b *cryptobyte.Builder) {
	oid, value := e.OID, e.Value
	if oid == "" {
		known, _ := extensionTypes.id(e.ID) // check has found it there
		var err error
		if value, err = valueToDER(e.ID, e.Value, false); err != nil {
			b.SetError(err)
			return
		}
		oid = known.oid
	}
	addOID(b, oid)
	if e.Critical {
		b.AddASN1Boolean(true)
	}
	b.AddASN1OctetString(value)
}

// addName writes a Name of one attribute per RelativeDistinguishedName.
func addName(b *cryptobyte.Builder, n Name) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, a := range n {
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { a.addDER(b) })
			})
		}
	})
}

func (a Attribute) addDER(b *cryptobyte.Builder) {
	if a.OID != "" {
		addOID(b, a.OID)
		b.AddBytes([]byte(a.Value.Data))
		return
	}
	known, _ := rdnAttributes.id(abs(a.Type)) // check has found it there
	addOID(b, known.oid)
	tag := asn1.UTF8String
	switch {
	case a.Type == EmailAddress || a.Type == DomainComponent:
		tag = asn1.IA5String
	case a.Type < 0:
		tag = asn1.PrintableString
	}
	addElement(b, tag, []byte(a.Value.String()))
}
