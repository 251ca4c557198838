package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Mint signs unit certificates of a test authority's order in numbers. It gives what a Draft gives of the same values, byte for byte,
// and reads nothing back: a signature in memory is the whole price. What it skips is what a station may not.
type Mint struct {
	order *Order
	key   *ecdsa.PrivateKey
}

// NewMint takes the order's key, which a production order never lets out of a token: such an order wraps ErrTest, another key ErrPolicy.
func NewMint(o *Order, key *ecdsa.PrivateKey) (*Mint, error) {
	if !o.Test() {
		return nil, fmt.Errorf("order %d is of a production authority: %w", o.Number(), ErrTest)
	}
	if !o.Certificate.Key.Equal(key.Public()) {
		return nil, fmt.Errorf("the key is not that of order %d: %w", o.Number(), ErrPolicy)
	}
	return &Mint{o, key}, nil
}

// Unit gives the certificate of a unit that was made when its order was issued, signed deterministically (RFC 6979), and its X.509 twin
// where it is asked for. A serial number outside the order's range wraps ErrPolicy.
func (m *Mint) Unit(serial EUI64, key *ecdsa.PublicKey, twin bool) (certificate, x509 []byte, err error) {
	if !m.order.Certificate.Range.Contains(serial) {
		return nil, nil, fmt.Errorf("serial number %v is outside order %d (%v): %w", serial, m.order.Number(), m.order.Certificate.Range, ErrPolicy)
	}
	u := &UnitCertificate{Serial: serial, Order: m.order.Certificate.Name, Key: key, IssuedAt: m.order.Issued}
	tbs, err := u.template().TBS()
	if err != nil {
		return nil, nil, err
	}
	digest := sha256.Sum256(tbs)
	der, err := m.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, nil, err
	}
	certificate = make([]byte, 0, 1+len(tbs)+2+64)
	certificate = append(certificate, 0x8B) // an array of eleven
	certificate = append(certificate, tbs...)
	certificate = append(certificate, 0x58, 64)
	if certificate, err = appendSignature(certificate, der); err != nil || !twin {
		return certificate, nil, err
	}
	x509, err = unitX509(nil, m.order.x509, m.key, u)
	return certificate, x509, err
}

// appendSignature adds r and s of an ECDSA signature that came as ASN.1 (RFC 3279, 2.2.3), 32 bytes each, low s.
func appendSignature(to, der []byte) ([]byte, error) {
	var r, s []byte
	input := cryptobyte.String(der)
	var sequence cryptobyte.String
	if !input.ReadASN1(&sequence, asn1.SEQUENCE) || !sequence.ReadASN1Integer(&r) || !sequence.ReadASN1Integer(&s) || len(r) > 32 || len(s) > 32 {
		return nil, fmt.Errorf("signer returned no ECDSA signature: %x: %w", der, ErrMalformed)
	}
	var signature [64]byte
	copy(signature[32-len(r):32], r)
	copy(signature[64-len(s):], s)
	lowS(signature[:])
	return append(to, signature[:]...), nil
}
